/** The builtins that the typed tree calls by name: what each takes and gives. */
/**
 * Builtins that reach `lower`. Everything else (`offsetof`, `types_compatible_p`, `choose_expr`, `sizeof` …) is
 * resolved by `sema`.
 */
export type BuiltinName =
  // memory: (void *dst, const void *src, u64 n) and so on; the result is dst. `memory` may also be an ordinary call.
  | 'memcpy'
  | 'memmove'
  | 'memset'
  | 'memcmp'
  | 'strcmp'
  | 'strncmp'
  | 'strlen'
  | 'memcpy_inline'
  // bits: one argument of the result's width (clz, ctz, ffs, popcount, parity, clrsb: the argument's width decides)
  | 'bswap16'
  | 'bswap32'
  | 'bswap64'
  | 'clz'
  | 'ctz'
  | 'ffs'
  | 'popcount'
  | 'parity'
  | 'clrsb'
  | 'abs'
  | 'rotate-left'
  | 'rotate-right'
  | 'bitreverse'
  // overflow arithmetic: (a, b, pointer to result); a and b keep their own integer types, the result is a bool
  | 'add_overflow'
  | 'sub_overflow'
  | 'mul_overflow'
  // hints: expect (value, expected); expect_with_probability the same; assume (condition)
  | 'expect'
  | 'assume'
  | 'unreachable'
  | 'trap'
  | 'prefetch'
  // 1 where the argument is a constant after optimisation, else 0; not evaluated
  | 'constant_p'
  // object_size (pointer; immediates: [type])
  | 'object_size'
  | 'alloca'
  | 'frame_address'
  | 'return_address'
  // loads from the packet, pointers to the context (old spelling of LD_ABS and LD_IND): (ctx, offset)
  | 'bpf_load_byte'
  | 'bpf_load_half'
  | 'bpf_load_word'
  /**
   * CO-RE.
   * preserve_access_index: args [pointer]; the accesses inside have `preserve`. Type of the argument.
   * preserve_field_info: args [lvalue or its address, not evaluated]; immediates [kind 0 … 5]; u32.
   * preserve_type_info: typeArg; immediates [0 exists, 1 size, 2 matches]; u32.
   * preserve_enum_value: typeArg the enum; immediates [index of enumerator, kind 0 exists, 1 value]; u64.
   * btf_type_id: typeArg; immediates [0 local, 1 target]; u64.
   */
  | 'preserve_access_index'
  | 'preserve_field_info'
  | 'preserve_type_info'
  | 'preserve_enum_value'
  | 'btf_type_id'
  /**
   * Atomics. The first argument is a pointer to a 1-, 2-, 4- or 8-byte object; the values have the object's type.
   * Immediates: [memory order 0 … 5] (compare_exchange: [success, failure]). Result types as in C.
   * `atomic_fetch_*` give the old value, `atomic_*_fetch` the new one.
   * atomic_compare_exchange: (ptr, expected pointer, desired) → bool, writes *expected on failure.
   * sync_val_compare_and_swap: (ptr, old, new) → the old value; the bool form gives whether it was swapped.
   */
  | 'atomic_load'
  | 'atomic_store'
  | 'atomic_exchange'
  | 'atomic_compare_exchange'
  | 'sync_val_compare_and_swap'
  | 'sync_bool_compare_and_swap'
  | 'atomic_fetch_add'
  | 'atomic_fetch_sub'
  | 'atomic_fetch_and'
  | 'atomic_fetch_or'
  | 'atomic_fetch_xor'
  | 'atomic_fetch_nand'
  | 'atomic_add_fetch'
  | 'atomic_sub_fetch'
  | 'atomic_and_fetch'
  | 'atomic_or_fetch'
  | 'atomic_xor_fetch'
  | 'atomic_nand_fetch'
  | 'atomic_fence'
  /** asm("" ::: "memory") in spirit: nothing is moved across. */
  | 'signal_fence';
