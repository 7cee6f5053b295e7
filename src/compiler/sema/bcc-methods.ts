/**
 * Methods of tables in the BCC dialect: which function of the dialect's header does the work, and what its arguments are to the table.
 * Names and meaning are those of BCC's reference guide ("Maps").
 */

/**
 * What an argument is to the table: a pointer to a key (`key`) or a value (`leaf`, `out` where it is written), a key by its value (`keyValue`), or
 * whatever the function's parameter says (`plain`).
 */
export type MethodArgument = 'key' | 'leaf' | 'out' | 'keyValue' | 'plain';

export interface MethodRow {
  /** Function of the header; the table is its first argument. */
  readonly function: string;
  readonly arguments: readonly MethodArgument[];
  /** Values of arguments at the end that may be left out. */
  readonly defaults?: readonly bigint[];
  /** The function also gets the size of the table's values. */
  readonly sized?: true;
  /** It gives a pointer to a value of the table. */
  readonly leaf?: true;
  /** Which argument points to an event for user space. */
  readonly event?: number;
  /** It also gets the address of the counter of events that the table lost, NULL where it has none. */
  readonly lost?: true;
  /** Where it gives NULL, the program returns 0. */
  readonly returns?: true;
}

const plain = (name: string, count: number, defaults?: readonly bigint[]): MethodRow => ({
  function: `__bcc_${name}`,
  arguments: Array.from({ length: count }, () => 'plain' as const),
  ...(defaults === undefined ? {} : { defaults }),
});

export const METHODS: Readonly<Record<string, MethodRow>> = {
  lookup: { function: '__bcc_lookup', arguments: ['key'], leaf: true },
  lookup_or_try_init: { function: '__bcc_lookup_or_try_init', arguments: ['key', 'leaf'], leaf: true },
  lookup_or_init: {
    function: '__bcc_lookup_or_try_init',
    arguments: ['key', 'leaf'],
    leaf: true,
    returns: true,
  },
  update: { function: '__bcc_update', arguments: ['key', 'leaf'] },
  insert: { function: '__bcc_insert', arguments: ['key', 'leaf'] },
  delete: { function: '__bcc_delete', arguments: ['key'] },
  increment: {
    function: '__bcc_increment',
    arguments: ['keyValue', 'plain'],
    defaults: [1n],
    sized: true,
  },
  atomic_increment: {
    function: '__bcc_atomic_increment',
    arguments: ['keyValue', 'plain'],
    defaults: [1n],
    sized: true,
  },
  push: { function: '__bcc_push', arguments: ['leaf', 'plain'], defaults: [0n] },
  pop: { function: '__bcc_pop', arguments: ['out'] },
  peek: { function: '__bcc_peek', arguments: ['out'] },
  perf_submit: { ...plain('perf_submit', 3), event: 1 },
  perf_submit_skb: { ...plain('perf_submit_skb', 4), event: 2 },
  ringbuf_output: { ...plain('ringbuf_output', 3, [0n]), event: 0, lost: true },
  ringbuf_reserve: { ...plain('ringbuf_reserve', 1), lost: true },
  ringbuf_submit: { ...plain('ringbuf_submit', 2, [0n]), event: 0 },
  ringbuf_discard: plain('ringbuf_discard', 2, [0n]),
  ringbuf_query: plain('ringbuf_query', 1),
  get_stackid: plain('get_stackid', 2),
  call: plain('call', 2),
  perf_read: plain('perf_read', 1),
  perf_counter_value: {
    function: '__bcc_perf_counter_value',
    arguments: ['plain', 'plain', 'plain'],
  },
  check_current_task: plain('check_current_task', 1),
  check_cgroup: plain('check_cgroup', 2),
  redirect_map: plain('redirect_map', 2, [0n]),
  sock_map_update: plain('sock_map_update', 3, [0n]),
  sock_hash_update: plain('sock_hash_update', 3, [0n]),
  msg_redirect_map: plain('msg_redirect_map', 3, [0n]),
  sk_redirect_map: plain('sk_redirect_map', 3, [0n]),
  msg_redirect_hash: plain('msg_redirect_hash', 3, [0n]),
  sk_redirect_hash: plain('sk_redirect_hash', 3, [0n]),
  get_local_storage: { function: '__bcc_get_local_storage', arguments: ['plain'], leaf: true },
  sk_storage_get: { function: '__bcc_sk_storage_get', arguments: ['plain', 'plain', 'plain'], leaf: true },
  sk_storage_delete: plain('sk_storage_delete', 1),
  inode_storage_get: {
    function: '__bcc_inode_storage_get',
    arguments: ['plain', 'plain', 'plain'],
    leaf: true,
  },
  inode_storage_delete: plain('inode_storage_delete', 1),
  task_storage_get: {
    function: '__bcc_task_storage_get',
    arguments: ['plain', 'plain', 'plain'],
    leaf: true,
  },
  task_storage_delete: plain('task_storage_delete', 1),
};

/** Kinds of tables by the first argument of BPF_TABLE: names of BCC, numbers of the UAPI. */
export const TABLE_KINDS: Readonly<Record<string, number>> = {
  // Of another program: the front end says which kind it is.
  extern: 1,
  // An array or a hash, by its key: the header chooses.
  histogram: 0x1000,
  hash: 1,
  array: 2,
  prog: 3,
  perf_output: 4,
  perf_array: 4,
  percpu_hash: 5,
  percpu_array: 6,
  stacktrace: 7,
  cgroup_array: 8,
  lru_hash: 9,
  lru_percpu_hash: 10,
  lpm_trie: 11,
  array_of_maps: 12,
  hash_of_maps: 13,
  devmap: 14,
  sockmap: 15,
  cpumap: 16,
  xskmap: 17,
  sockhash: 18,
  queue: 22,
  stack: 23,
  cgroup_storage: 19,
  percpu_cgroup_storage: 21,
  sk_storage: 24,
  ringbuf: 27,
  inode_storage: 28,
  task_storage: 29,
};

/** Kinds of programs by how the function's name begins, and the section that says so. `parts`: names in it are parted by `__`. */
export const PROBE_PREFIXES: readonly {
  readonly prefix: string;
  readonly section: string;
  readonly parts?: true;
}[] = [
  { prefix: 'kprobe__', section: 'kprobe/' },
  { prefix: 'kretprobe__', section: 'kretprobe/' },
  { prefix: 'tracepoint__', section: 'tracepoint/', parts: true },
  { prefix: 'raw_tracepoint__', section: 'raw_tracepoint/' },
  { prefix: 'kfunc__', section: 'fentry/' },
  { prefix: 'kretfunc__', section: 'fexit/' },
  { prefix: 'kmod_ret__', section: 'fmod_ret/' },
  { prefix: 'lsm__', section: 'lsm/' },
  { prefix: 'bpf_iter__', section: 'iter/' },
];

/** Where the section of a program begins that has no such name: its type is said when it is loaded. */
export const UNTYPED_SECTION = 'bcc/';

/** Sections by what a program's context is, where its name says nothing: another type may be asked for when it is loaded. */
const CONTEXT_SECTIONS: Readonly<Record<string, string>> = {
  pt_regs: 'kprobe',
  xdp_md: 'xdp',
  __sk_buff: 'socket',
  bpf_raw_tracepoint_args: 'raw_tracepoint',
  bpf_perf_event_data: 'perf_event',
  bpf_sock_ops: 'sockops',
  sk_msg_md: 'sk_msg',
};

/** The section of a program by its name, or by the struct that its context is. */
export function probeSection(name: string, context?: string): string {
  for (const { prefix, section, parts } of PROBE_PREFIXES)
    if (name.startsWith(prefix) && name.length > prefix.length) {
      const rest = name.slice(prefix.length);
      return section + (parts === true ? rest.replace('__', '/') : rest);
    }
  if (context !== undefined && Object.hasOwn(CONTEXT_SECTIONS, context)) return CONTEXT_SECTIONS[context]!;
  return UNTYPED_SECTION + name;
}
