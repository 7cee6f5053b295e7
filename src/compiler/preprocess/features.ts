/** What `__has_builtin`, `__has_attribute` and their like answer: the names that the compiler behind this preprocessor knows. */

const words = (text: string): string[] => text.split(/\s+/).filter((word) => word !== '');

const BUILTINS: ReadonlySet<string> = new Set([
  ...words(`abs align_down align_up alloca assume assume_aligned bitreverse8 bitreverse16 bitreverse32 bitreverse64 bswap16 bswap32 bswap64
    btf_type_id choose_expr classify_type clz clzl clzll constant_p ctz ctzl ctzll debugtrap dynamic_object_size expect expect_with_probability ffs ffsl ffsll frame_address labs llabs
    memcmp memcpy memcpy_inline memmove memset memset_inline object_size offsetof parity parityl parityll
    popcount popcountl popcountll prefetch preserve_access_index preserve_enum_value preserve_field_info
    preserve_type_info return_address rotateleft8 rotateleft16 rotateleft32 rotateleft64 rotateright8
    rotateright16 rotateright32 rotateright64 strcmp strlen strncmp trap
    types_compatible_p unpredictable unreachable va_arg va_copy va_end va_start
    add_overflow sub_overflow mul_overflow sadd_overflow saddl_overflow saddll_overflow uadd_overflow uaddl_overflow
    uaddll_overflow ssub_overflow ssubl_overflow ssubll_overflow usub_overflow usubl_overflow usubll_overflow
    smul_overflow smull_overflow smulll_overflow umul_overflow umull_overflow umulll_overflow
    is_aligned FILE FUNCTION LINE`).map((name) => `__builtin_${name}`),
  ...words(`add_and_fetch and_and_fetch bool_compare_and_swap fetch_and_add fetch_and_and fetch_and_nand fetch_and_or
    fetch_and_sub fetch_and_xor lock_release lock_test_and_set nand_and_fetch or_and_fetch sub_and_fetch synchronize
    val_compare_and_swap xor_and_fetch swap`).map((name) => `__sync_${name}`),
  ...words(`add_fetch always_lock_free and_fetch compare_exchange compare_exchange_n exchange exchange_n fetch_add
    fetch_and fetch_nand fetch_or fetch_sub fetch_xor is_lock_free load load_n nand_fetch or_fetch signal_fence store
    store_n sub_fetch thread_fence xor_fetch`).map((name) => `__atomic_${name}`),
  ...words(`compare_exchange_strong compare_exchange_weak exchange fetch_add fetch_and fetch_or fetch_sub fetch_xor init
    is_lock_free load store signal_fence thread_fence`).map((name) => `__c11_atomic_${name}`),
]);

const ATTRIBUTES: ReadonlySet<string> = new Set(
  words(`address_space alias aligned alloc_size always_inline annotate assume assume_aligned availability
    btf_decl_tag btf_type_tag cleanup cold common const constructor counted_by deprecated destructor diagnose_if
    enable_if error fallthrough flatten format format_arg gnu_inline hot ifunc internal_linkage leaf malloc may_alias
    minsize mode musttail naked no_builtin no_caller_saved_registers no_instrument_function no_sanitize
    no_stack_protector nocf_check noescape noduplicate noinline nomerge nonnull noreturn nothrow opencl_unroll_hint optnone
    overloadable packed pass_object_size preserve_access_index preserve_static_offset pure returns_nonnull section
    sentinel target transparent_union type_visibility unavailable unused used vector_size visibility
    warn_unused_result warning weak weakref regparm ext_vector_type nodebug retain uninitialized loader_uninitialized`),
);

const C_ATTRIBUTES: ReadonlyMap<string, string> = new Map(
  Object.entries({
    fallthrough: '201910L',
    deprecated: '201904L',
    nodiscard: '202003L',
    maybe_unused: '202106L',
    noreturn: '202202L',
    _Noreturn: '202202L',
  }),
);

const FEATURES: ReadonlySet<string> = new Set(
  words(`c_alignas c_alignof c_atomic c_generic_selections c_static_assert c_thread_local c_fixed_enum
    attribute_overloadable attribute_deprecated_with_message attribute_unavailable_with_message enumerator_attributes
    blocks_placeholder assume_nonnull nullability`).filter((name) => name !== 'blocks_placeholder'),
);
/** Extensions besides the features. */
const EXTENSIONS: ReadonlySet<string> = new Set(
  words('gnu_asm gnu_asm_goto_with_outputs statement_attributes_with_gnu_syntax overloadable_unmarked'),
);

/** Whether clang has a GNU attribute of that name, without underscores around it: others get a warning. */
export function isKnownAttribute(name: string): boolean {
  return ATTRIBUTES.has(name);
}

/** `__always_inline__` asks for `always_inline`. */
function plain(name: string): string {
  return /^__.+__$/.test(name) ? name.slice(2, -2) : name;
}

/** The value of each `__has_…(name)`; an attribute's name may have a scope (`gnu::unused`). */
export const FEATURE_TESTS: Readonly<Record<string, (name: string) => string>> = {
  __has_builtin: (name) => (BUILTINS.has(name) ? '1' : '0'),
  __has_constexpr_builtin: () => '0',
  __has_attribute: (name) => (ATTRIBUTES.has(plain(name)) ? '1' : '0'),
  __has_c_attribute: (name) =>
    name.includes('::')
      ? /^(?:gnu|clang|__gnu__|_Clang)::/.test(name) &&
        ATTRIBUTES.has(plain(name.slice(name.indexOf('::') + 2)))
        ? '1'
        : '0'
      : (C_ATTRIBUTES.get(plain(name)) ?? '0'),
  __has_declspec_attribute: () => '0',
  __has_feature: (name) => (FEATURES.has(plain(name)) ? '1' : '0'),
  __has_extension: (name) => (FEATURES.has(plain(name)) || EXTENSIONS.has(plain(name)) ? '1' : '0'),
};
