/**
 * Every map type of the UAPI (enum bpf_map_type) with the rules of MAP_CREATE: sizes, flags, capability, special fields.
 * Limits are those of Linux 6.18 on x86-64: 4 KiB pages, KMALLOC_MAX_SIZE 4 MiB, per-CPU units of 32 KiB.
 */
import { BPF_MAP_TYPE } from '../uapi/index.ts';
import { HELPERS } from './helpers.ts';
import type { MapTypeRow, SizeRule } from './types.ts';

const KMALLOC_MAX_SIZE = 4 << 20;
const PCPU_MIN_UNIT_SIZE = 32 << 10;
/** `struct htab_elem` without key and value. */
const HTAB_ELEM_SIZE = 48;
/** `struct lpm_trie_node` without prefix and value. */
const LPM_NODE_SIZE = 24;
/** BPF_LOCAL_STORAGE_MAX_VALUE_SIZE: 65535 less the element's header. */
const LOCAL_STORAGE_MAX_VALUE = 65_535 - 128;
const S32_MAX = 0x7fff_ffff;

const NONE: SizeRule = { oneOf: [0] };
const FOUR: SizeRule = { oneOf: [4] };
const FOUR_OR_EIGHT: SizeRule = { oneOf: [4, 8] };
const SOME: SizeRule = { min: 1 };
const HASH_MAX_ELEMENT = KMALLOC_MAX_SIZE - HTAB_ELEM_SIZE - 1;

/** Read or write by user space, read or write by programs; at most one of each pair. */
const ACCESS = ['BPF_F_RDONLY', 'BPF_F_WRONLY', 'BPF_F_RDONLY_PROG', 'BPF_F_WRONLY_PROG'] as const;
const USER_ACCESS = ['BPF_F_RDONLY', 'BPF_F_WRONLY'] as const;
const HASH_FLAGS = [
  'BPF_F_NO_PREALLOC',
  'BPF_F_NO_COMMON_LRU',
  'BPF_F_NUMA_NODE',
  'BPF_F_ZERO_SEED',
  ...ACCESS,
] as const;
const without = (flags: readonly string[], ...dropped: string[]): string[] =>
  flags.filter((flag) => !dropped.includes(flag));

const FIELDS_HASH = [
  'spin_lock',
  'timer',
  'workqueue',
  'task_work',
  'kptr',
  'refcount',
  'list_head',
  'rb_root',
] as const;
const FIELDS_LRU = ['timer', 'workqueue', 'task_work', 'kptr', 'refcount', 'list_head', 'rb_root'] as const;
const FIELDS_PERCPU = ['kptr', 'refcount'] as const;
const FIELDS_STORAGE = ['spin_lock', 'kptr', 'refcount'] as const;

/** The table of buckets, 16 bytes each, must be smaller than 4 GiB. */
const HASH_ENTRIES: SizeRule = { min: 1, max: 2 ** 27, overMax: 'E2BIG' };
const HASH = { keySize: SOME, maxEntries: HASH_ENTRIES, maxElementSize: HASH_MAX_ELEMENT } as const;
const HASH_VALUE: SizeRule = { min: 1, max: HASH_MAX_ELEMENT, overMax: 'E2BIG' };
const PERCPU_VALUE: SizeRule = { min: 1, max: PCPU_MIN_UNIT_SIZE, overMax: 'E2BIG' };
const ARRAY_VALUE: SizeRule = { min: 1, max: S32_MAX, overMax: 'E2BIG' };
const FD_ARRAY = {
  keySize: FOUR,
  valueSize: FOUR,
  maxEntries: SOME,
  flags: ['BPF_F_NUMA_NODE', ...USER_ACCESS],
} as const;
const LOCAL_STORAGE = {
  keySize: FOUR,
  valueSize: { min: 1, max: LOCAL_STORAGE_MAX_VALUE, overMax: 'E2BIG' },
  maxEntries: NONE,
  flags: ['BPF_F_NO_PREALLOC', 'BPF_F_CLONE'],
  requiredFlags: ['BPF_F_NO_PREALLOC'],
  needsBtf: true,
  inner: true,
  sleepable: true,
  capability: 'bpf',
} as const;

const HASH_BATCHES = ['lookup', 'lookup_and_delete', 'update', 'delete'] as const;
const ARRAY_BATCHES = ['lookup', 'update'] as const;

/** What a row does not say of itself: number, constant and the helpers follow from other tables. */
type MapTypeFacts = Omit<MapTypeRow, 'id' | 'constant' | 'helpers'> & {
  /** Names of the helpers that alone may be called with the map, without `bpf_`; absent: every helper that takes any map. */
  readonly only?: readonly string[];
};

const FACTS: readonly MapTypeFacts[] = [
  {
    name: 'hash',
    kernelStruct: 'bpf_htab',
    batches: HASH_BATCHES,
    ...HASH,
    valueSize: HASH_VALUE,
    flags: without(HASH_FLAGS, 'BPF_F_NO_COMMON_LRU'),
    specialFields: FIELDS_HASH,
    inner: true,
    forEach: true,
    sleepable: true,
    since: '3.19',
  },
  {
    name: 'array',
    kernelStruct: 'bpf_array',
    batches: ARRAY_BATCHES,
    everyKeyExists: true,
    keySize: FOUR,
    valueSize: ARRAY_VALUE,
    maxEntries: SOME,
    flags: ['BPF_F_NUMA_NODE', 'BPF_F_MMAPABLE', 'BPF_F_INNER_MAP', ...ACCESS],
    directValue: true,
    specialFields: FIELDS_HASH,
    inner: true,
    forEach: true,
    sleepable: true,
    since: '3.19',
  },
  {
    name: 'prog_array',
    kernelStruct: 'bpf_array',
    ...FD_ARRAY,
    holds: 'prog',
    only: ['tail_call'],
    since: '4.2',
  },
  {
    name: 'perf_event_array',
    kernelStruct: 'bpf_array',
    ...FD_ARRAY,
    flags: ['BPF_F_NUMA_NODE', 'BPF_F_PRESERVE_ELEMS', ...USER_ACCESS],
    holds: 'perf_event',
    inner: true,
    only: ['perf_event_read', 'perf_event_output', 'skb_output', 'perf_event_read_value', 'xdp_output'],
    noBtf: true,
    since: '4.3',
  },
  {
    name: 'percpu_hash',
    kernelStruct: 'bpf_htab',
    batches: HASH_BATCHES,
    ...HASH,
    valueSize: PERCPU_VALUE,
    flags: without(HASH_FLAGS, 'BPF_F_NO_COMMON_LRU'),
    numaNode: false,
    perCpu: true,
    specialFields: FIELDS_PERCPU,
    inner: true,
    forEach: true,
    sleepable: true,
    since: '4.6',
  },
  {
    name: 'percpu_array',
    kernelStruct: 'bpf_array',
    batches: ARRAY_BATCHES,
    everyKeyExists: true,
    keySize: FOUR,
    valueSize: PERCPU_VALUE,
    maxEntries: SOME,
    flags: ['BPF_F_NUMA_NODE', ...ACCESS],
    numaNode: false,
    perCpu: true,
    specialFields: FIELDS_PERCPU,
    inner: true,
    forEach: true,
    sleepable: true,
    since: '4.6',
  },
  {
    name: 'stack_trace',
    kernelStruct: 'bpf_stack_map',
    keySize: FOUR,
    // 127: sysctl kernel.perf_event_max_stack.
    valueSize: { min: 8, max: 127 * 8, multipleOf: 8 },
    valueSizeWith: { flag: 'BPF_F_STACK_BUILD_ID', rule: { min: 32, max: 127 * 32, multipleOf: 32 } },
    maxEntries: { min: 1, max: 2 ** 31, overMax: 'E2BIG' },
    flags: ['BPF_F_NUMA_NODE', 'BPF_F_STACK_BUILD_ID', ...USER_ACCESS],
    inner: true,
    only: ['get_stackid'],
    capability: 'bpf',
    noBtf: true,
    since: '4.6',
  },
  {
    name: 'cgroup_array',
    kernelStruct: 'bpf_array',
    ...FD_ARRAY,
    holds: 'cgroup',
    inner: true,
    only: ['skb_under_cgroup', 'current_task_under_cgroup'],
    noBtf: true,
    since: '4.8',
  },
  {
    name: 'lru_hash',
    kernelStruct: 'bpf_htab',
    batches: HASH_BATCHES,
    ...HASH,
    valueSize: HASH_VALUE,
    flags: without(HASH_FLAGS, 'BPF_F_NO_PREALLOC'),
    specialFields: FIELDS_LRU,
    inner: true,
    forEach: true,
    sleepable: true,
    capability: 'bpf',
    unsupportedFlags: ['BPF_F_NO_PREALLOC'],
    exclusiveFlags: [['BPF_F_NO_COMMON_LRU', 'BPF_F_NUMA_NODE']],
    since: '4.10',
  },
  {
    name: 'lru_percpu_hash',
    kernelStruct: 'bpf_htab',
    batches: HASH_BATCHES,
    ...HASH,
    valueSize: PERCPU_VALUE,
    flags: without(HASH_FLAGS, 'BPF_F_NO_PREALLOC'),
    numaNode: false,
    perCpu: true,
    specialFields: FIELDS_PERCPU,
    inner: true,
    forEach: true,
    sleepable: true,
    capability: 'bpf',
    unsupportedFlags: ['BPF_F_NO_PREALLOC'],
    since: '4.10',
  },
  {
    name: 'lpm_trie',
    kernelStruct: 'lpm_trie',
    batches: ['lookup', 'update', 'delete'],
    prefixKey: true,
    keySize: { min: 4 + 1, max: 4 + 256 },
    valueSize: { min: 1, max: KMALLOC_MAX_SIZE - 256 - LPM_NODE_SIZE },
    maxEntries: SOME,
    flags: ['BPF_F_NO_PREALLOC', 'BPF_F_NUMA_NODE', ...ACCESS],
    requiredFlags: ['BPF_F_NO_PREALLOC'],
    inner: true,
    capability: 'bpf',
    since: '4.11',
  },
  {
    name: 'array_of_maps',
    kernelStruct: 'bpf_array',
    batches: ARRAY_BATCHES,
    ...FD_ARRAY,
    holds: 'map',
    sleepable: true,
    only: ['map_lookup_elem'],
    noBtf: true,
    since: '4.12',
  },
  {
    name: 'hash_of_maps',
    kernelStruct: 'bpf_htab',
    batches: HASH_BATCHES,
    ...HASH,
    valueSize: FOUR,
    flags: without(HASH_FLAGS, 'BPF_F_NO_COMMON_LRU'),
    holds: 'map',
    sleepable: true,
    only: ['map_lookup_elem'],
    noBtf: true,
    since: '4.12',
  },
  {
    name: 'devmap',
    kernelStruct: 'bpf_dtab',
    keySize: FOUR,
    valueSize: FOUR_OR_EIGHT,
    maxEntries: SOME,
    flags: ['BPF_F_NUMA_NODE', ...USER_ACCESS],
    holds: 'device',
    redirect: true,
    inner: true,
    only: ['redirect_map', 'map_lookup_elem'],
    capability: 'net_admin',
    noBtf: true,
    since: '4.14',
  },
  {
    name: 'sockmap',
    kernelStruct: 'bpf_stab',
    batches: ['lookup'],
    keySize: FOUR,
    valueSize: FOUR_OR_EIGHT,
    maxEntries: SOME,
    flags: ['BPF_F_NUMA_NODE', ...USER_ACCESS],
    holds: 'socket',
    only: [
      'sk_redirect_map',
      'sock_map_update',
      'msg_redirect_map',
      'sk_select_reuseport',
      'map_lookup_elem',
      'map_update_elem',
      'map_delete_elem',
    ],
    capability: 'net_admin',
    noBtf: true,
    since: '4.14',
  },
  {
    name: 'cpumap',
    kernelStruct: 'bpf_cpu_map',
    keySize: FOUR,
    valueSize: FOUR_OR_EIGHT,
    // NR_CPUS as distributions set it.
    maxEntries: { min: 1, max: 8192, overMax: 'E2BIG' },
    flags: ['BPF_F_NUMA_NODE'],
    holds: 'cpu',
    redirect: true,
    only: ['redirect_map'],
    capability: 'bpf',
    noBtf: true,
    since: '4.15',
  },
  {
    name: 'xskmap',
    kernelStruct: 'xsk_map',
    keySize: FOUR,
    valueSize: FOUR,
    maxEntries: SOME,
    flags: ['BPF_F_NUMA_NODE', ...USER_ACCESS],
    holds: 'xsk',
    redirect: true,
    inner: true,
    only: ['redirect_map', 'map_lookup_elem'],
    capability: 'net_admin',
    noBtf: true,
    since: '4.18',
  },
  {
    name: 'sockhash',
    kernelStruct: 'bpf_shtab',
    batches: ['lookup'],
    keySize: { min: 1, max: 512, overMax: 'E2BIG' },
    valueSize: FOUR_OR_EIGHT,
    maxEntries: SOME,
    flags: ['BPF_F_NUMA_NODE', ...USER_ACCESS],
    holds: 'socket',
    only: [
      'sk_redirect_hash',
      'sock_hash_update',
      'msg_redirect_hash',
      'sk_select_reuseport',
      'map_lookup_elem',
      'map_update_elem',
      'map_delete_elem',
    ],
    capability: 'net_admin',
    noBtf: true,
    since: '4.18',
  },
  {
    name: 'cgroup_storage',
    kernelStruct: 'bpf_cgroup_storage_map',
    oncePerProgram: true,
    keySize: { oneOf: [8, 16] },
    valueSize: { min: 1, max: LOCAL_STORAGE_MAX_VALUE, overMax: 'E2BIG' },
    maxEntries: NONE,
    flags: ['BPF_F_NUMA_NODE', ...ACCESS],
    specialFields: ['spin_lock'],
    only: ['get_local_storage'],
    since: '4.19',
  },
  {
    name: 'reuseport_sockarray',
    kernelStruct: 'reuseport_array',
    keySize: FOUR,
    valueSize: FOUR_OR_EIGHT,
    maxEntries: SOME,
    flags: ['BPF_F_NUMA_NODE', ...ACCESS],
    holds: 'socket',
    inner: true,
    only: ['sk_select_reuseport'],
    capability: 'bpf',
    since: '4.19',
  },
  {
    name: 'percpu_cgroup_storage',
    kernelStruct: 'bpf_cgroup_storage_map',
    oncePerProgram: true,
    keySize: { oneOf: [8, 16] },
    valueSize: PERCPU_VALUE,
    maxEntries: NONE,
    flags: ['BPF_F_NUMA_NODE', ...ACCESS],
    perCpu: true,
    only: ['get_local_storage'],
    since: '4.20',
  },
  {
    name: 'queue',
    kernelStruct: 'bpf_queue_stack',
    keySize: NONE,
    valueSize: { min: 1, max: KMALLOC_MAX_SIZE, overMax: 'E2BIG' },
    maxEntries: SOME,
    flags: ['BPF_F_NUMA_NODE', ...ACCESS],
    inner: true,
    sleepable: true,
    only: ['map_peek_elem', 'map_pop_elem', 'map_push_elem'],
    capability: 'bpf',
    since: '4.20',
  },
  {
    name: 'stack',
    kernelStruct: 'bpf_queue_stack',
    keySize: NONE,
    valueSize: { min: 1, max: KMALLOC_MAX_SIZE, overMax: 'E2BIG' },
    maxEntries: SOME,
    flags: ['BPF_F_NUMA_NODE', ...ACCESS],
    inner: true,
    sleepable: true,
    only: ['map_peek_elem', 'map_pop_elem', 'map_push_elem'],
    capability: 'bpf',
    since: '4.20',
  },
  {
    name: 'sk_storage',
    kernelStruct: 'bpf_local_storage_map',
    ...LOCAL_STORAGE,
    specialFields: FIELDS_STORAGE,
    only: ['sk_storage_get', 'sk_storage_delete', 'kptr_xchg'],
    since: '5.2',
  },
  {
    name: 'devmap_hash',
    kernelStruct: 'bpf_dtab',
    keySize: FOUR,
    valueSize: FOUR_OR_EIGHT,
    maxEntries: { min: 1, max: 2 ** 31 },
    flags: ['BPF_F_NUMA_NODE', ...USER_ACCESS],
    holds: 'device',
    redirect: true,
    inner: true,
    only: ['redirect_map', 'map_lookup_elem'],
    capability: 'net_admin',
    noBtf: true,
    since: '5.4',
  },
  {
    name: 'struct_ops',
    structOfFunctions: true,
    notInPrograms: true,
    keySize: FOUR,
    valueSize: {},
    maxEntries: { oneOf: [1] },
    flags: ['BPF_F_LINK', 'BPF_F_VTYPE_BTF_OBJ_FD'],
    needsBtf: true,
    only: [],
    capability: 'bpf',
    since: '5.6',
  },
  {
    name: 'ringbuf',
    kernelStruct: 'bpf_ringbuf_map',
    keySize: NONE,
    valueSize: NONE,
    maxEntries: { min: 4096, pageAlignedPowerOfTwo: true },
    flags: ['BPF_F_NUMA_NODE'],
    inner: true,
    sleepable: true,
    only: [
      'ringbuf_output',
      'ringbuf_reserve',
      'ringbuf_query',
      'ringbuf_reserve_dynptr',
      'ringbuf_submit_dynptr',
      'ringbuf_discard_dynptr',
    ],
    since: '5.8',
  },
  {
    name: 'inode_storage',
    kernelStruct: 'bpf_local_storage_map',
    ...LOCAL_STORAGE,
    specialFields: FIELDS_STORAGE,
    only: ['inode_storage_get', 'inode_storage_delete', 'kptr_xchg'],
    since: '5.10',
  },
  {
    name: 'task_storage',
    kernelStruct: 'bpf_local_storage_map',
    ...LOCAL_STORAGE,
    specialFields: [...FIELDS_STORAGE, 'uptr'],
    only: ['task_storage_get', 'task_storage_delete', 'kptr_xchg'],
    since: '5.11',
  },
  {
    name: 'bloom_filter',
    kernelStruct: 'bpf_bloom_filter',
    peeksInput: true,
    keySize: NONE,
    valueSize: SOME,
    maxEntries: SOME,
    flags: ['BPF_F_NUMA_NODE', 'BPF_F_ZERO_SEED', ...ACCESS],
    mapExtra: 0xfn,
    inner: true,
    only: ['map_peek_elem', 'map_push_elem'],
    capability: 'bpf',
    since: '5.16',
  },
  {
    name: 'user_ringbuf',
    kernelStruct: 'bpf_ringbuf_map',
    keySize: NONE,
    valueSize: NONE,
    maxEntries: { min: 4096, pageAlignedPowerOfTwo: true },
    flags: ['BPF_F_NUMA_NODE'],
    inner: true,
    sleepable: true,
    only: ['user_ringbuf_drain'],
    since: '6.1',
  },
  {
    name: 'cgrp_storage',
    kernelStruct: 'bpf_local_storage_map',
    ...LOCAL_STORAGE,
    specialFields: FIELDS_STORAGE,
    only: ['cgrp_storage_get', 'cgrp_storage_delete', 'kptr_xchg'],
    since: '6.2',
  },
  {
    name: 'arena',
    kernelStruct: 'bpf_arena',
    mappedAtLoad: true,
    oncePerProgram: true,
    keySize: NONE,
    valueSize: NONE,
    maxEntries: { min: 1, max: 2 ** 20, overMax: 'E2BIG' },
    flags: ['BPF_F_MMAPABLE', 'BPF_F_SEGV_ON_FAULT', 'BPF_F_NO_USER_CONV'],
    requiredFlags: ['BPF_F_MMAPABLE'],
    mapExtra: 0xffff_ffff_ffff_f000n,
    directValue: true,
    inner: true,
    sleepable: true,
    capability: 'bpf',
    since: '6.9',
  },
];

/** Helpers with a map argument that do not insist on certain map types themselves. */
const GENERAL_HELPERS: readonly string[] = HELPERS.filter(
  (row) => row.mapTypes === undefined && row.args.some((arg) => arg.kind === 'const_map_ptr'),
).map((row) => row.name);

function complete({ only, ...facts }: MapTypeFacts): MapTypeRow {
  const constant = `BPF_MAP_TYPE_${facts.name.toUpperCase()}` as keyof typeof BPF_MAP_TYPE;
  const asked = HELPERS.filter((row) => row.mapTypes?.includes(facts.name)).map((row) => row.name);
  const helpers = only === undefined ? [...GENERAL_HELPERS, ...asked] : only.map((name) => `bpf_${name}`);
  return { ...facts, id: BPF_MAP_TYPE[constant], constant, helpers };
}

/** All map types, by ascending id. */
export const MAP_TYPES: readonly MapTypeRow[] = FACTS.map(complete).sort((a, b) => a.id - b.id);

const BY_ID: ReadonlyMap<number, MapTypeRow> = new Map(MAP_TYPES.map((row) => [row.id, row]));
const BY_NAME: ReadonlyMap<string, MapTypeRow> = new Map(MAP_TYPES.map((row) => [row.name, row]));

export function mapTypeById(id: number): MapTypeRow | undefined {
  return BY_ID.get(id);
}

/** By bpftool's name, `lpm_trie`, or the UAPI constant. */
export function mapTypeByName(name: string): MapTypeRow | undefined {
  return BY_NAME.get(name) ?? BY_NAME.get(name.replace(/^BPF_MAP_TYPE_/, '').toLowerCase());
}
