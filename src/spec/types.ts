/**
 * The shape of every row of the tables: helpers, map types, program types, sections, bpf(2) commands.
 *
 * Rows are data. Verifier, engines, loader, CLI and documentation read their fields; shared code never asks for one
 * row by its name. A new rule becomes a new field here.
 */

// ---------------------------------------------------------------------------------------------------------------
// Helpers (linux/bpf.h: struct bpf_func_proto; UAPI: enum bpf_func_id)

/** What one argument of a helper must be; the names are those of the kernel's `enum bpf_arg_type`, lower case. */
export type ArgKind =
  | 'anything'
  | 'const_map_ptr'
  | 'map_key'
  | 'map_value'
  | 'mem'
  | 'const_size'
  | 'const_size_or_zero'
  | 'const_alloc_size_or_zero'
  | 'ctx'
  | 'spin_lock'
  | 'sock_common'
  | 'socket'
  | 'btf_id'
  | 'btf_id_sock_common'
  | 'percpu_btf_id'
  | 'ringbuf_mem'
  | 'func'
  | 'stack'
  | 'const_str'
  | 'timer'
  | 'kptr_xchg_dest'
  | 'dynptr';

export interface HelperArg {
  readonly name: string;
  readonly kind: ArgKind;
  /** NULL is allowed (PTR_MAYBE_NULL). */
  readonly nullable?: true;
  /** The helper writes the memory and does not need it initialised (MEM_UNINIT). */
  readonly uninit?: true;
  /** The helper writes the memory (MEM_WRITE). */
  readonly write?: true;
  /** The helper only reads the memory (MEM_RDONLY). */
  readonly rdonly?: true;
  /** `mem` of fixed size, in bytes (MEM_FIXED_SIZE); `aligned` asks for alignment to that size. */
  readonly fixedSize?: number;
  readonly aligned?: true;
  /** The reference passed here is released by the call (OBJ_RELEASE). */
  readonly release?: true;
  /** For `btf_id` kinds: the struct's name in vmlinux BTF. */
  readonly btfType?: string;
  /** For `dynptr`: which kinds are accepted; none given means any. */
  readonly dynptr?: 'local' | 'ringbuf' | 'skb' | 'xdp';
  /**
   * How an engine hands a scalar over: `u32` passes the low half, `u64` passes low and high half as two i32.
   * Default: `u64` for `anything`, `u32` for every other kind (pointers pass their offset in the linear memory).
   */
  readonly abi?: 'u32' | 'u64';
}

/** What a helper returns to the verifier; the kernel's `enum bpf_return_type`, lower case. */
export type RetKind =
  | 'integer'
  | 'void'
  | 'map_value'
  | 'socket'
  | 'tcp_sock'
  | 'sock_common'
  | 'mem'
  | 'ringbuf_mem'
  | 'dynptr_mem'
  | 'mem_or_btf_id'
  | 'btf_id';

export interface HelperReturn {
  readonly kind: RetKind;
  readonly nullable?: true;
  /** The memory behind the pointer is read-only (MEM_RDONLY). */
  readonly rdonly?: true;
  /** For `btf_id`: the struct's name; `trusted` where the pointer may be passed on as trusted. */
  readonly btfType?: string;
  readonly trusted?: true;
  /** Bounds of an integer return that the verifier may rely on: [-MAX_ERRNO, size] as the kernel refines them. */
  readonly range?: 'errno_or_size' | 'cpu';
  /**
   * How the implementation gives the value back to an engine:
   * `s32` a JS number, sign-extended to 64 bits (error codes, lengths); `ptr` an offset, 0 = NULL, the engine adds
   * the constant upper half; `u64` the implementation has stored the value at `RUN_STATE.helperResult`; `void` R0 = 0.
   * Default: `ptr` for pointer kinds, `s32` for integer, `void` for void.
   */
  readonly abi?: 's32' | 'u64' | 'ptr' | 'void';
}

/** A reason why a program type may call a helper; see `HelperRow.allowed`. */
export type Capability = 'none' | 'bpf' | 'perfmon' | 'net_admin' | 'sys_admin';

/** The prototype of a helper for the program types in `allowed` (names or groups), where it differs from the row's. */
export interface HelperVariant {
  readonly allowed: readonly string[];
  readonly args?: readonly HelperArg[];
  readonly ret?: HelperReturn;
  readonly gplOnly?: boolean;
  readonly pktAccess?: boolean;
}

export interface HelperRow {
  readonly id: number;
  /** `bpf_map_lookup_elem` */
  readonly name: string;
  readonly args: readonly HelperArg[];
  readonly ret: HelperReturn;
  /** Further 64-bit parameters that the helper reads and the verifier does not check (bpf_trace_printk's values). */
  readonly rawArgs?: readonly string[];
  /** Only programs under a GPL-compatible licence may call it. */
  readonly gplOnly?: true;
  /** May sleep: only sleepable programs may call it. */
  readonly mightSleep?: true;
  /** Writes into or moves packet data: all packet pointers of the program become invalid. */
  readonly changesPacket?: true;
  /** Packet pointers may be passed as memory arguments (`pkt_access`). */
  readonly pktAccess?: true;
  /** Writes behind its dynptr argument: if that is a packet's, packet pointers become invalid. */
  readonly writesDynptr?: true;
  /** Returns a new reference that must be released. */
  readonly acquires?: true;
  /** Argument 0-based index whose reference id the result carries (`bpf_tcp_sock` & co.: pointer casts). */
  readonly castOf?: number;
  /** Map types for which the result is a new reference, although the helper acquires nothing on others. */
  readonly acquiresForMaps?: readonly string[];
  /** Types (MapTypeRow.name) that the map argument must have; absent: the map type's own list decides alone. */
  readonly mapTypes?: readonly string[];
  /** The call clobbers only R0 and its argument registers, so that spills around it may be dropped. */
  readonly fastcall?: true;
  /** The `func` argument is called: during the helper, or later from another context. */
  readonly callback?: 'sync' | 'async';
  /** For callbacks: how the verifier sets the callee's R1..R5 (one setter per shape, see verifier/transfer). */
  readonly callbackShape?: 'loop' | 'for_each_map_elem' | 'timer' | 'find_vma' | 'user_ringbuf_drain';
  /** The result is 32 random bits of the kernel's generator, and nothing else happens. */
  readonly random?: true;
  /** The call does not return when it succeeds (tail call). */
  readonly tailCall?: true;
  /** Tracepoint that carries what it writes (`category/name`), off until a program that calls it is loaded. */
  readonly tracepoint?: string;
  /** 0-based index of a flags argument that must be the constant 0 (get_local_storage). */
  readonly zeroFlagsArg?: number;
  /** Map operation behind the helper: what access a read-only or write-only map must allow. */
  readonly mapAccess?: 'read' | 'write' | 'read_write';
  /** Lock or RCU section effects. */
  readonly lock?: 'acquire' | 'release';
  /**
   * Names of the program types that may call it, `'all'`, or the group names of `PROG_GROUPS`
   * ('base' = every program type, further limits in `capability`).
   */
  readonly allowed: readonly string[];
  /** For these program types (keys) only programs with one of these expected attach types may call it. */
  readonly attachTypes?: Readonly<Record<string, readonly string[]>>;
  /** No program whose expected_attach_type is one of these may call it, whatever its type. */
  readonly exceptAttachTypes?: readonly string[];
  /** Other prototypes that some program types get under the same id; what is absent is as in the row. */
  readonly variants?: readonly HelperVariant[];
  /** Capability needed besides the program type's own. */
  readonly capability?: Capability;
  /** First release with it: '3.19'. */
  readonly since: string;
}

// ---------------------------------------------------------------------------------------------------------------
// Map types (UAPI: enum bpf_map_type)

/** A rule for one field of `MAP_CREATE`: an exact value, a range, or a multiple. Bytes or entries. */
export interface SizeRule {
  readonly min?: number;
  readonly max?: number;
  readonly multipleOf?: number;
  /** The only values. */
  readonly oneOf?: readonly number[];
  /** What more than `max` is refused with; default EINVAL. */
  readonly overMax?: 'E2BIG';
  /** Must be a power of two that is a multiple of the page size (RINGBUF). */
  readonly pageAlignedPowerOfTwo?: true;
}

export interface MapTypeRow {
  /** Its one value is a struct of functions, typed by the kernel (btf_vmlinux_value_type_id). */
  readonly structOfFunctions?: true;
  readonly id: number;
  /** User space maps it before programs that use it are loaded: they know it by its address there. */
  readonly mappedAtLoad?: true;
  /** bpftool's name: `hash`, `percpu_array`, `array_of_maps`. */
  readonly name: string;
  /** `BPF_MAP_TYPE_HASH` */
  readonly constant: string;
  readonly keySize: SizeRule;
  readonly valueSize: SizeRule;
  readonly maxEntries: SizeRule;
  /** Names of the `BPF_F_*` flags that MAP_CREATE accepts. */
  readonly flags: readonly string[];
  /** Flags without which MAP_CREATE answers EINVAL. */
  readonly requiredFlags?: readonly string[];
  /** Flags that are refused with ENOTSUPP instead of EINVAL. */
  readonly unsupportedFlags?: readonly string[];
  /** Pairs of flags that exclude each other, besides those that do for every type. */
  readonly exclusiveFlags?: readonly (readonly [string, string])[];
  /** BPF_F_NUMA_NODE is a known flag, but naming a node is refused (per-CPU types). */
  readonly numaNode?: false;
  /** Another rule for the value's size when a flag is set (BPF_F_STACK_BUILD_ID). */
  readonly valueSizeWith?: { readonly flag: string; readonly rule: SizeRule };
  /** Most bytes of key and value together (E2BIG). */
  readonly maxElementSize?: number;
  /** Bits that `map_extra` may have; absent: it must be 0. */
  readonly mapExtra?: bigint;
  /** May be the inner map of a map of maps (map_meta_equal). */
  readonly inner?: true;
  /** bpf_for_each_map_elem walks it. */
  readonly forEach?: true;
  /** bpf_map_redirect works on it. */
  readonly redirect?: true;
  /** Sleepable programs may use it. */
  readonly sleepable?: true;
  /** A lookup with a constant key below max_entries never gives NULL. */
  readonly everyKeyExists?: true;
  /** A program may use at most one map of this type. */
  readonly oncePerProgram?: true;
  /** Programs may not use it at all. */
  readonly notInPrograms?: true;
  /** The kernel's struct behind a map pointer, which programs may read through its BTF; default `bpf_map`. */
  readonly kernelStruct?: string;
  /** bpf_map_peek_elem reads its value argument instead of filling it (bloom filter). */
  readonly peeksInput?: true;
  /** Keys are networks: the length of the prefix in bits (u32, host order), then the address. */
  readonly prefixKey?: true;
  /** Batch commands that the type has (map_ops: map_lookup_batch and so on). */
  readonly batches?: readonly ('lookup' | 'lookup_and_delete' | 'update' | 'delete')[];
  /** Values are one per possible CPU; user space sees them side by side, each rounded up to 8 bytes. */
  readonly perCpu?: true;
  /** Values hold file descriptors of: maps, programs, perf events, cgroups, sockets. */
  readonly holds?: 'map' | 'prog' | 'perf_event' | 'cgroup' | 'socket' | 'device' | 'xsk' | 'cpu';
  /** Helpers that accept a pointer to this map (kernel: check_map_func_compatibility), by name. */
  readonly helpers: readonly string[];
  /** Programs may take direct addresses of values (BPF_PSEUDO_MAP_VALUE). */
  readonly directValue?: true;
  /** MAP_CREATE needs BTF for key and value. */
  readonly needsBtf?: true;
  /** MAP_CREATE with BTF answers ENOTSUPP; loaders leave the type ids out. */
  readonly noBtf?: true;
  /** Special fields (locks, timers, kptrs) are allowed in values. */
  readonly specialFields?: readonly (
    | 'spin_lock'
    | 'timer'
    | 'kptr'
    | 'list_head'
    | 'rb_root'
    | 'workqueue'
    | 'refcount'
    | 'uptr'
    | 'task_work'
  )[];
  /** Capability for MAP_CREATE; absent: none, where unprivileged_bpf_disabled is 0, and `bpf` otherwise. */
  readonly capability?: Capability;
  readonly since: string;
}

// ---------------------------------------------------------------------------------------------------------------
// Program types (UAPI: enum bpf_prog_type)

/** What a load of a context field gives; a scalar unless named. */
export type CtxFieldKind =
  | 'scalar'
  | 'pkt'
  | 'pkt_meta'
  | 'pkt_end'
  | 'sock'
  | 'sock_common'
  | 'flow_keys'
  | 'buf'
  | 'tp_buffer'
  | 'btf_id';

/** One field of a program's context, as the program sees it. */
export interface CtxField {
  readonly name: string;
  /** Byte offset and size in the UAPI context struct. */
  readonly offset: number;
  readonly size: number;
  readonly read: boolean;
  readonly write: boolean;
  readonly kind?: CtxFieldKind;
  /** PTR_MAYBE_NULL on the loaded pointer. */
  readonly nullable?: true;
  /** Loads narrower than the field are allowed at any aligned offset inside it (bpf_ctx_narrow_access_ok). */
  readonly narrow?: true;
  /** With `narrow`: only at the field's first byte. */
  readonly narrowAtStart?: true;
  /** With `narrow`: smallest size of a load, bytes; default 1. */
  readonly minSize?: number;
  /** Further sizes of loads at the field's offset that reach over its end (kept for old programs). */
  readonly alsoSizes?: readonly number[];
  /** Narrow stores are allowed. */
  readonly narrowWrite?: true;
  /** An 8-byte access over two neighbouring 4-byte fields is allowed (bpf_ctx_wide_access_ok). */
  readonly wide?: true;
  /** Only with one of these expected attach types (UAPI names without BPF_). */
  readonly attachTypes?: readonly string[];
  /** Stores only with one of these expected attach types. */
  readonly writeAttachTypes?: readonly string[];
  /** Capability that a store needs. */
  readonly writeCapability?: Capability;
  /** For `btf_id`: the struct's name. */
  readonly btfType?: string;
  /**
   * Where the embedded kernel keeps the value: offset and size in the modelled context. Absent: at the field's own
   * offset, in the field's own size (the modelled context is the UAPI struct itself).
   */
  readonly backing?: { readonly offset: number; readonly size: 1 | 2 | 4 | 8 };
  /** Capability that a read needs in unprivileged loads. */
  readonly capability?: Capability;
}

export interface CtxLayout {
  /** UAPI struct: `xdp_md`, `__sk_buff`, `pt_regs`. */
  readonly struct: string;
  /** Size of the struct as the program sees it, bytes; `undefined`: bounded by `maxOffset` alone. */
  readonly size: number;
  /**
   * `fields`: only declared fields (UAPI facade, converted on load). `raw`: any aligned access below `size`
   * (tracepoint, kprobe, raw tracepoint); the context is the memory itself.
   */
  readonly access: 'fields' | 'raw';
  readonly fields: readonly CtxField[];
  /** Access sizes allowed for `raw`: bytes. */
  readonly rawSizes?: readonly number[];
  /** `raw` only: the program may write. */
  readonly rawWrite?: true;
  /** `raw` only: first offset that may be accessed (tracepoints: 8). */
  readonly rawMin?: number;
  /** `raw` only: the words are arguments whose types the kernel's BTF gives (tracing, LSM, struct_ops). */
  readonly btfTyped?: true;
  /** Default access size for `fields` when the field does not allow narrow: field's own size. */
  /** Size of the modelled kernel context behind the facade, bytes. */
  readonly backingSize?: number;
}

/** Range [min, max] that R0 must be proven in at exit, for the given attach types (none: all). */
export interface ReturnRange {
  readonly min: number;
  readonly max: number;
  readonly attachTypes?: readonly string[];
}

export interface ProgTypeRow {
  readonly id: number;
  /** bpftool's name: `xdp`, `socket_filter`, `sched_cls`. */
  readonly name: string;
  /** `BPF_PROG_TYPE_XDP` */
  readonly constant: string;
  readonly ctx: CtxLayout;
  /** R0 must be a known scalar in range at exit; the first row for the attach type counts; none: any scalar. */
  readonly returns?: readonly ReturnRange[];
  /** Direct packet access: reading and writing `data..data_end`. */
  readonly packet?: {
    readonly read: true;
    readonly write?: true;
    /** Packet pointers as memory arguments of helpers: `always`, `never`, or where the helper's row has `pktAccess`. */
    readonly helpers?: 'always' | 'never';
  };
  /** BPF_LD_ABS and BPF_LD_IND are allowed. */
  readonly legacyPacketLoads?: true;
  /** expected_attach_type values (UAPI names) that PROG_LOAD accepts; none: only 0 is checked leniently as Linux does. */
  readonly attachTypes?: readonly string[];
  /** Network types need CAP_NET_ADMIN, tracing types CAP_PERFMON. */
  readonly capability: Capability;
  /** May be loaded without any capability when unprivileged_bpf_disabled = 0. */
  readonly unprivileged?: true;
  /** BPF_PROG_TEST_RUN is supported; what the data argument is. */
  readonly testRun?: 'packet' | 'ctx' | 'none';
  /** is_tracing_prog_type: maps with spin locks, timers, workqueues, lists or trees cannot be used. */
  readonly tracing?: true;
  /** Large frames may have a stack of their own, where the kernel sees to it that the program does not run within itself; only with these attach types. */
  readonly privateStack?: true | readonly string[];
  /** Programs may not use maps with a bpf_spin_lock. */
  readonly noSpinLock?: true;
  /** Programs may update sockmaps and sockhashes with the general helpers; `delete`: only delete elements; names: with those attach types. */
  readonly updatesSockmap?: true | 'delete' | readonly string[];
  /** BPF_F_SLEEPABLE is accepted. */
  readonly sleepable?: true;
  /** With `sleepable`: only for these expected attach types. */
  readonly sleepableAttachTypes?: readonly string[];
  /** Only sleepable programs are accepted. */
  readonly mustSleep?: true;
  /** PROG_LOAD needs attach_btf_id (or attach_prog_fd). */
  readonly needsAttachBtf?: true;
  /** What expected_attach_type 0 stands for, where it is not one of `attachTypes` itself. */
  readonly defaultAttachType?: string;
  /** Its programs are members of structs of functions (struct_ops). */
  readonly implementsStructs?: boolean;
  /** It replaces a function of another program, and is verified as a program of that one's type. */
  readonly replacesFunctions?: true;
  /** PROG_LOAD refuses any expected_attach_type but 0. */
  readonly noAttachType?: true;
  readonly since: string;
}

// ---------------------------------------------------------------------------------------------------------------
// ELF sections (libbpf: section_defs)

export interface SectionRow {
  /** `xdp`, `kprobe`, `tracepoint`; what stands before the first `/`, or a whole name. */
  readonly name: string;
  /** `exact`: the whole section name; `optional`: `name` or `name/extra`; `required`: `name/extra` only. */
  readonly extra: 'exact' | 'optional' | 'required';
  /** The program says in C which BTF function it attaches to (`fentry/do_unlinkat`): attach_btf_id at load. */
  readonly attachBtf?: true;
  /** BPF_F_XDP_HAS_FRAGS at load. */
  readonly xdpFrags?: true;
  /** Kept for old objects: what replaced it. */
  readonly legacy?: string;
  readonly progType: string;
  /** UAPI name without BPF_, e.g. `XDP`, `TRACE_FENTRY`. */
  readonly attachType?: string;
  readonly sleepable?: true;
  /** expected_attach_type may be left 0 on kernels that do not know it (SEC_EXP_ATTACH_OPT). */
  readonly attachTypeOptional?: true;
  /** Expected attach type on kernels from that release on, because they attach it in a better way. */
  readonly newerAttachType?: { readonly name: string; readonly since: string };
  /** How the front end attaches a program of this section without being told more. */
  readonly attach?:
    | 'kprobe'
    | 'kretprobe'
    | 'ksyscall'
    | 'kretsyscall'
    | 'kprobe_multi'
    | 'kretprobe_multi'
    | 'kprobe_session'
    | 'uprobe'
    | 'uretprobe'
    | 'uprobe_multi'
    | 'uretprobe_multi'
    | 'uprobe_session'
    | 'freplace'
    | 'perf_event'
    | 'sk_lookup'
    | 'sockmap'
    | 'flow_dissector'
    | 'usdt'
    | 'tracepoint'
    | 'raw_tracepoint'
    | 'trace'
    | 'lsm'
    | 'iter'
    | 'xdp'
    | 'tcx'
    | 'netkit'
    | 'cgroup'
    | 'netfilter'
    | 'struct_ops';
}

// ---------------------------------------------------------------------------------------------------------------
// bpf(2) commands (UAPI: enum bpf_cmd)

export interface CommandRow {
  readonly id: number;
  /** `BPF_MAP_CREATE` */
  readonly name: string;
  /** Method of the `Kernel` contract: `mapCreate`. */
  readonly method: string;
  /** For methods that serve several commands: which objects this one is about. */
  readonly objectKind?: 'prog' | 'map' | 'btf' | 'link';
  /** Other names of the same number. */
  readonly aliases?: readonly string[];
  readonly since: string;
}
