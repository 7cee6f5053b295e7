/**
 * The header that every program of the BCC dialect begins with: the macros of BCC's reference guide that declare tables and programs, and the
 * functions behind the tables' methods (`sema/bcc-methods.ts` says which). Where a kernel's types are to be had (`vmlinux.h`), all
 * headers of the kernel's sources are those; otherwise what the UAPI headers have is there.
 */
import { guarded, letters, macro } from './text.ts';

export const BCC_HEADER = 'bcc/bcc.h';

/** Directories of the kernel's sources: a header that is not built in has its types in vmlinux.h, and nothing else to give. */
const KERNEL_DIRECTORIES =
  /^(?:uapi\/)?(?:linux|net|asm|asm-generic|trace|scsi|sound|drm|media|rdma|kvm|xen|crypto|acpi|block|fs|kernel|mm|drivers|bcc|soc|video|memory|target|vdso)\//;

/** Headers that bring the short names of a socket's fields. */
const SOCKET_HEADERS = /^(?:net\/.*|linux\/(?:tcp|net|socket|udp|skbuff))\.h$/;

/** Fields of sockets by the names of the kernel's macros: types alone have the long ones. */
const SOCKET_FIELDS: Readonly<Record<string, readonly [path: string, fields: string]>> = {
  sk_: [
    '__sk_common.skc_',
    'node nulls_node refcnt dontcopy_begin dontcopy_end hash portpair num dport addrpair daddr rcv_saddr family state reuse reuseport ipv6only net_refcnt bound_dev_if bind_node prot net v6_daddr v6_rcv_saddr cookie incoming_cpu flags',
  ],
  inet_: ['sk.__sk_common.skc_', 'daddr rcv_saddr dport num'],
};

function socketNames(): string {
  let text = '';
  for (const [prefix, [path, fields]] of Object.entries(SOCKET_FIELDS))
    for (const field of fields.split(' ')) text += `#define ${prefix}${field} ${path}${field}\n`;
  for (const [name, field] of [
    ['s6_addr', 'u6_addr8'],
    ['s6_addr16', 'u6_addr16'],
    ['s6_addr32', 'u6_addr32'],
  ])
    text += `#ifndef ${name}\n#define ${name} in6_u.${field}\n#endif\n`;
  return guarded('__BCC_SOCKET_NAMES', text);
}

/** Headers for the dialect: its own, those of `builtin`, and empty ones for what stands in vmlinux.h. */
export function bccHeaders(
  builtin: (name: string) => string | undefined,
): (name: string) => string | undefined {
  return (name) => {
    if (name === BCC_HEADER) return bccHeader();
    const known = builtin(name) ?? (KERNEL_DIRECTORIES.test(name) && name.endsWith('.h') ? '' : undefined);
    return known !== undefined && SOCKET_HEADERS.test(name) ? known + socketNames() : known;
  };
}

/** `NAME(a, b, c)` with default values for what is left out at the end. */
function withDefaults(name: string, least: number, defaults: readonly string[], target: string): string {
  const most = least + defaults.length;
  let text = '';
  for (let n = least; n <= most; n++) {
    const names = letters(n);
    text += macro(
      `${name}_${n}(${names.join(', ')})`,
      `${target}(${[...names, ...defaults.slice(n - least)].join(', ')})`,
    );
  }
  const slots = letters(most, '_').join(', ');
  const choice = Array.from({ length: most }, (_, i) => {
    const n = most - i;
    return n < least ? `${name}_${least}` : `${name}_${n}`;
  }).join(', ');
  text += macro(`${name}_nth(${slots}, N, ...)`, 'N');
  return text + macro(`${name}(args...)`, `${name}_nth(args, ${choice}, 0)(args)`);
}

function tables(): string {
  const map = (type: string, key: string, leaf: string, name: string, size: string, more = ''): string =>
    `struct { __uint(type, ${type}); ${key}${leaf}${size === '' ? '' : `__uint(max_entries, ${size}); `}${more}} ${name} __attribute__((section(".maps"), used))`;
  const typed = (type: string, more = ''): string =>
    map(type, '__type(key, _K); ', '__type(value, _V); ', '_name', '_size', more);
  const keyed = (name: string, type: string, more = ''): string =>
    macro(`__BCC_${name}(_name, _K, _V, _size)`, typed(type, more));
  let text =
    macro('__BCC_TABLE(_type, _K, _V, _name, _size, _flags)', typed('_type', '__uint(map_flags, _flags); ')) +
    macro(
      'BPF_TABLE(_t, _K, _V, _name, _size)',
      '__BCC_TABLE(__bcc_table_kind(_t), _K, _V, _name, _size, 0)',
    ) +
    macro(
      'BPF_F_TABLE(_t, _K, _V, _name, _size, _flags)',
      '__BCC_TABLE(__bcc_table_kind(_t), _K, _V, _name, _size, _flags)',
    );
  for (const name of ['BPF_TABLE_PUBLIC', 'BPF_TABLE_SHARED'])
    text += macro(`${name}(_t, _K, _V, _name, _size)`, 'BPF_TABLE(_t, _K, _V, _name, _size)');
  text += macro('BPF_TABLE_PINNED(_t, _K, _V, _name, _size, _path)', 'BPF_TABLE(_t, _K, _V, _name, _size)');
  text += macro(
    'BPF_QUEUESTACK(_t, _name, _V, _size, _flags)',
    map('__bcc_table_kind(_t)', '', '__type(value, _V); ', '_name', '_size', '__uint(map_flags, _flags); '),
  );
  for (const [name, type] of [
    ['QUEUE', 'BPF_MAP_TYPE_QUEUE'],
    ['STACK', 'BPF_MAP_TYPE_STACK'],
  ] as const) {
    text += macro(
      `__BCC_${name}(_name, _V, _size, _flags)`,
      map(type, '', '__type(value, _V); ', '_name', '_size', '__uint(map_flags, _flags); '),
    );
    text += withDefaults(`BPF_${name}`, 3, ['0'], `__BCC_${name}`);
  }
  for (const [name, type, more] of [
    ['HASH', 'BPF_MAP_TYPE_HASH', ''],
    ['PERCPU_HASH', 'BPF_MAP_TYPE_PERCPU_HASH', ''],
    ['LRU_HASH', 'BPF_MAP_TYPE_LRU_HASH', ''],
    ['LRU_PERCPU_HASH', 'BPF_MAP_TYPE_LRU_PERCPU_HASH', ''],
    ['LPM_TRIE', 'BPF_MAP_TYPE_LPM_TRIE', '__uint(map_flags, BPF_F_NO_PREALLOC); '],
  ] as const) {
    text += keyed(name, type, more);
    text += withDefaults(`BPF_${name}`, 1, ['u64', 'u64', '10240'], `__BCC_${name}`);
  }
  for (const name of ['ARRAY', 'PERCPU_ARRAY']) {
    text += macro(
      `__BCC_${name}(_name, _V, _size)`,
      map(`BPF_MAP_TYPE_${name}`, '__type(key, int); ', '__type(value, _V); ', '_name', '_size'),
    );
    text += withDefaults(`BPF_${name}`, 1, ['u64', '10240'], `__BCC_${name}`);
  }
  // Histograms are arrays where the slots are plain numbers.
  text += macro(
    '__BCC_HISTOGRAM(_name, _K, _size)',
    map(
      '(__builtin_types_compatible_p(_K, int) ? BPF_MAP_TYPE_ARRAY : BPF_MAP_TYPE_HASH)',
      '__type(key, _K); ',
      '__type(value, u64); ',
      '_name',
      '_size',
    ),
  );
  text += withDefaults('BPF_HISTOGRAM', 1, ['int', '64'], '__BCC_HISTOGRAM');
  const slots = (name: string, type: string, size: string, parameters: string): string =>
    macro(`${name}(${parameters})`, map(type, '__type(key, int); ', '__type(value, u32); ', '_name', size));
  text += slots('BPF_PERF_OUTPUT', 'BPF_MAP_TYPE_PERF_EVENT_ARRAY', '', '_name');
  text += slots('BPF_PERF_ARRAY', 'BPF_MAP_TYPE_PERF_EVENT_ARRAY', '_size', '_name, _size');
  text += slots('BPF_PROG_ARRAY', 'BPF_MAP_TYPE_PROG_ARRAY', '_size', '_name, _size');
  text += slots('BPF_CGROUP_ARRAY', 'BPF_MAP_TYPE_CGROUP_ARRAY', '_size', '_name, _size');
  text += slots('BPF_DEVMAP', 'BPF_MAP_TYPE_DEVMAP', '_size', '_name, _size');
  text += slots('BPF_CPUMAP', 'BPF_MAP_TYPE_CPUMAP', '_size', '_name, _size');
  text += slots('BPF_XSKMAP', 'BPF_MAP_TYPE_XSKMAP', '_size', '_name, _size');
  text += slots('BPF_SOCKMAP', 'BPF_MAP_TYPE_SOCKMAP', '_size', '_name, _size');
  text += macro(
    '__BCC_SOCKHASH(_name, _K, _size)',
    map('BPF_MAP_TYPE_SOCKHASH', '__type(key, _K); ', '__type(value, u32); ', '_name', '_size'),
  );
  text += withDefaults('BPF_SOCKHASH', 1, ['u32', '10240'], '__BCC_SOCKHASH');
  text += macro(
    'BPF_RINGBUF_OUTPUT(_name, _pages)',
    map('BPF_MAP_TYPE_RINGBUF', '', '', '_name', '((_pages) * 4096)'),
  );
  text += macro(
    '__BCC_STACK_TRACE(_name, _size, _flags)',
    map(
      'BPF_MAP_TYPE_STACK_TRACE',
      '__uint(key_size, 4); ',
      '__uint(value_size, ((_flags) & BPF_F_STACK_BUILD_ID ? 32 : 8) * 127); ',
      '_name',
      '_size',
      '__uint(map_flags, _flags); ',
    ),
  );
  text += macro('BPF_STACK_TRACE(_name, _size)', '__BCC_STACK_TRACE(_name, _size, 0)');
  text += macro(
    'BPF_STACK_TRACE_BUILDID(_name, _size)',
    '__BCC_STACK_TRACE(_name, _size, BPF_F_STACK_BUILD_ID)',
  );
  for (const name of ['SK', 'INODE', 'TASK'])
    text += macro(
      `BPF_${name}_STORAGE(_name, _V)`,
      map(
        `BPF_MAP_TYPE_${name}_STORAGE`,
        '__type(key, int); ',
        '__type(value, _V); ',
        '_name',
        '',
        '__uint(map_flags, BPF_F_NO_PREALLOC); ',
      ),
    );
  return text;
}

function programs(): string {
  let text =
    macro(
      'TRACEPOINT_PROBE(category, event)',
      'int tracepoint__##category##__##event(struct tracepoint__##category##__##event *args)',
    ) +
    macro('RAW_TRACEPOINT_PROBE(event)', 'int raw_tracepoint__##event(struct bpf_raw_tracepoint_args *ctx)') +
    macro('BPF_ITER(target)', 'int bpf_iter__##target(struct bpf_iter__##target *ctx)');
  for (const [name, prefix] of [
    ['KFUNC_PROBE', 'kfunc__'],
    ['KRETFUNC_PROBE', 'kretfunc__'],
    ['KMOD_RET', 'kmod_ret__'],
    ['LSM_PROBE', 'lsm__'],
  ] as const)
    text += macro(`${name}(event, args...)`, `int BPF_PROG(${prefix}##event, ##args)`);
  return text;
}

/** Values that programs take from headers which types alone do not bring. */
const CONSTANTS: Readonly<Record<string, string>> = {
  TASK_COMM_LEN: '16',
  PAGE_SHIFT: '12',
  PAGE_SIZE: '4096UL',
  DNAME_INLINE_LEN: '40',
  IFNAMSIZ: '16',
  AF_UNSPEC: '0',
  AF_UNIX: '1',
  AF_INET: '2',
  AF_INET6: '10',
  PF_INET: '2',
  PF_INET6: '10',
  ETH_P_IP: '0x0800',
  ETH_P_IPV6: '0x86DD',
  ETH_ALEN: '6',
  HZ: '250',
  NSEC_PER_SEC: '1000000000L',
  NSEC_PER_USEC: '1000L',
  DISK_NAME_LEN: '32',
  MINORBITS: '20',
  S_IFMT: '00170000',
  S_IFSOCK: '0140000',
  S_IFLNK: '0120000',
  S_IFREG: '0100000',
  S_IFBLK: '0060000',
  S_IFDIR: '0040000',
  S_IFCHR: '0020000',
  S_IFIFO: '0010000',
  O_ACCMODE: '00000003',
  O_CREAT: '00000100',
  O_TMPFILE: '020200000',
  FMODE_READ: '0x1',
  FMODE_WRITE: '0x2',
  FMODE_CREATED: '0x100000',
  TASK_RUNNING: '0',
  TASK_INTERRUPTIBLE: '1',
  TASK_UNINTERRUPTIBLE: '2',
  CLONE_THREAD: '0x00010000',
  CLONE_VFORK: '0x00004000',
  REQ_OP_BITS: '8',
  REQ_OP_MASK: '0xff',
  PROT_READ: '1',
  PROT_WRITE: '2',
  PROT_EXEC: '4',
  READ: '0',
  WRITE: '1',
  SCM_RIGHTS: '0x01',
  PAGE_OFFSET: '0xffff888000000000UL',
  __START_KERNEL_map: '0xffffffff80000000UL',
  NAME_MAX: '255',
  PATH_MAX: '4096',
};

function general(): string {
  let text = '';
  for (const [name, value] of Object.entries(CONSTANTS))
    text += `#ifndef ${name}\n${macro(name, value)}#endif\n`;
  for (const [head, body] of [
    ['likely(x)', '__builtin_expect(!!(x), 1)'],
    ['unlikely(x)', '__builtin_expect(!!(x), 0)'],
    ['lock_xadd(ptr, val)', '((void)__sync_fetch_and_add(ptr, val))'],
    ['READ_ONCE(x)', '(*(const volatile typeof(x) *)&(x))'],
    ['container_of(ptr, type, member)', '((type *)((void *)(ptr) - offsetof(type, member)))'],
    ['min_t(type, a, b)', '({ type __a = (a); type __b = (b); __a < __b ? __a : __b; })'],
    ['max_t(type, a, b)', '({ type __a = (a); type __b = (b); __a > __b ? __a : __b; })'],
    ['div_u64(a, b)', '((u64)(a) / (u32)(b))'],
    ['ARRAY_SIZE(a)', '(sizeof(a) / sizeof((a)[0]))'],
    ['MINORMASK', '((1U << MINORBITS) - 1)'],
    ['MAJOR(dev)', '((unsigned int)((dev) >> MINORBITS))'],
    ['MINOR(dev)', '((unsigned int)((dev) & MINORMASK))'],
    ['S_ISREG(m)', '(((m) & S_IFMT) == S_IFREG)'],
    ['S_ISDIR(m)', '(((m) & S_IFMT) == S_IFDIR)'],
    ['S_ISLNK(m)', '(((m) & S_IFMT) == S_IFLNK)'],
    ['S_ISCHR(m)', '(((m) & S_IFMT) == S_IFCHR)'],
    ['S_ISBLK(m)', '(((m) & S_IFMT) == S_IFBLK)'],
    ['S_ISFIFO(m)', '(((m) & S_IFMT) == S_IFIFO)'],
    ['S_ISSOCK(m)', '(((m) & S_IFMT) == S_IFSOCK)'],
    ['GENMASK(h, l)', '(((~0UL) << (l)) & (~0UL >> (63 - (h))))'],
    ['offsetof(type, member)', '__builtin_offsetof(type, member)'],
    ['bpf_num_cpus', 'NR_CPUS'],
    ['ntohs(x)', '__builtin_bswap16(x)'],
    ['htons(x)', '__builtin_bswap16(x)'],
    ['ntohl(x)', '__builtin_bswap32(x)'],
    ['htonl(x)', '__builtin_bswap32(x)'],
    ['be64_to_cpu(x)', '__builtin_bswap64(x)'],
    ['be32_to_cpu(x)', '__builtin_bswap32(x)'],
    ['be16_to_cpu(x)', '__builtin_bswap16(x)'],
    ['IS_ERR_VALUE(x)', '((unsigned long)(void *)(x) >= (unsigned long)-4095)'],
    [
      'TP_DATA_LOC_READ_STR(dst, field, length)',
      'bpf_probe_read_str((void *)(dst), length, (char *)args + (args->data_loc_##field & 0xffff))',
    ],
    [
      'TP_DATA_LOC_READ(dst, field)',
      'bpf_probe_read((void *)(dst), args->data_loc_##field >> 16, (char *)args + (args->data_loc_##field & 0xffff))',
    ],
    [
      'TP_DATA_LOC_READ_CONST(dst, field, length)',
      'bpf_probe_read((void *)(dst), length, (char *)args + (args->data_loc_##field & 0xffff))',
    ],
  ] as const)
    text += `#ifndef ${head.replace(/\(.*/, '')}\n${macro(head, body)}#endif\n`;
  return text;
}

/** `static __always_inline R __bcc_NAME(void *map, …)` that is one call. */
function simple(): string {
  const functions: readonly (readonly [result: string, name: string, parameters: string, body: string])[] = [
    ['void *', 'lookup', 'const void *key', 'bpf_map_lookup_elem(map, key)'],
    ['long', 'update', 'const void *key, const void *leaf', 'bpf_map_update_elem(map, key, leaf, BPF_ANY)'],
    [
      'long',
      'insert',
      'const void *key, const void *leaf',
      'bpf_map_update_elem(map, key, leaf, BPF_NOEXIST)',
    ],
    ['long', 'delete', 'const void *key', 'bpf_map_delete_elem(map, key)'],
    ['long', 'push', 'const void *leaf, u64 flags', 'bpf_map_push_elem(map, leaf, flags)'],
    ['long', 'pop', 'void *leaf', 'bpf_map_pop_elem(map, leaf)'],
    ['long', 'peek', 'void *leaf', 'bpf_map_peek_elem(map, leaf)'],
    [
      'long',
      'perf_submit',
      'void *ctx, void *data, u64 size',
      'bpf_perf_event_output(ctx, map, BPF_F_CURRENT_CPU, data, size)',
    ],
    [
      'long',
      'perf_submit_skb',
      'void *skb, u64 packet, void *data, u64 size',
      'bpf_perf_event_output(skb, map, BPF_F_CURRENT_CPU | (packet << 32), data, size)',
    ],
    [
      'long',
      'ringbuf_output',
      'void *data, u64 size, u64 flags',
      'bpf_ringbuf_output(map, data, size, flags)',
    ],
    ['void *', 'ringbuf_reserve', 'u64 size', 'bpf_ringbuf_reserve(map, size, 0)'],
    ['u64', 'ringbuf_query', 'u64 flags', 'bpf_ringbuf_query(map, flags)'],
    ['int', 'get_stackid', 'void *ctx, u64 flags', 'bpf_get_stackid(ctx, map, flags)'],
    ['u64', 'perf_read', 'u64 index', 'bpf_perf_event_read(map, index)'],
    [
      'long',
      'perf_counter_value',
      'u64 index, void *buf, u32 size',
      'bpf_perf_event_read_value(map, index, buf, size)',
    ],
    ['long', 'check_current_task', 'u32 index', 'bpf_current_task_under_cgroup(map, index)'],
    ['long', 'check_cgroup', 'void *skb, u32 index', 'bpf_skb_under_cgroup(skb, map, index)'],
    ['long', 'redirect_map', 'u64 index, u64 flags', 'bpf_redirect_map(map, index, flags)'],
    [
      'long',
      'sock_map_update',
      'void *ops, void *key, u64 flags',
      'bpf_sock_map_update(ops, map, key, flags)',
    ],
    [
      'long',
      'sock_hash_update',
      'void *ops, void *key, u64 flags',
      'bpf_sock_hash_update(ops, map, key, flags)',
    ],
    [
      'long',
      'msg_redirect_map',
      'void *msg, u32 key, u64 flags',
      'bpf_msg_redirect_map(msg, map, key, flags)',
    ],
    ['long', 'sk_redirect_map', 'void *skb, u32 key, u64 flags', 'bpf_sk_redirect_map(skb, map, key, flags)'],
    [
      'long',
      'msg_redirect_hash',
      'void *msg, void *key, u64 flags',
      'bpf_msg_redirect_hash(msg, map, key, flags)',
    ],
    [
      'long',
      'sk_redirect_hash',
      'void *skb, void *key, u64 flags',
      'bpf_sk_redirect_hash(skb, map, key, flags)',
    ],
    [
      'void *',
      'sk_storage_get',
      'void *sk, void *value, u64 flags',
      'bpf_sk_storage_get(map, sk, value, flags)',
    ],
    ['long', 'sk_storage_delete', 'void *sk', 'bpf_sk_storage_delete(map, sk)'],
    [
      'void *',
      'inode_storage_get',
      'void *inode, void *value, u64 flags',
      'bpf_inode_storage_get(map, inode, value, flags)',
    ],
    ['int', 'inode_storage_delete', 'void *inode', 'bpf_inode_storage_delete(map, inode)'],
    [
      'void *',
      'task_storage_get',
      'void *task, void *value, u64 flags',
      'bpf_task_storage_get(map, task, value, flags)',
    ],
    ['long', 'task_storage_delete', 'void *task', 'bpf_task_storage_delete(map, task)'],
  ];
  let text = functions
    .map(
      ([result, name, parameters, body]) =>
        `static __always_inline ${result} __bcc_${name}(void *map, ${parameters}) { return ${body}; }\n`,
    )
    .join('');
  for (let i = 1; i <= 6; i++) {
    text += `static __always_inline unsigned long __bcc_parm${i}(struct pt_regs *ctx) { return PT_REGS_PARM${i}(ctx); }\n`;
    text += `static __always_inline unsigned long __bcc_syscall_parm${i}(struct pt_regs *ctx) { struct pt_regs *inner = (struct pt_regs *)PT_REGS_PARM1(ctx); unsigned long value = 0; bpf_probe_read_kernel(&value, sizeof(value), &inner->__PT_PARM${i}_SYSCALL_REG); return value; }\n`;
  }
  return text;
}

const FUNCTIONS = `
static __always_inline void *__bcc_lookup_or_try_init(void *map, const void *key, const void *leaf)
{
	void *found = bpf_map_lookup_elem(map, key);
	if (!found) {
		bpf_map_update_elem(map, key, leaf, BPF_NOEXIST);
		found = bpf_map_lookup_elem(map, key);
	}
	return found;
}
static __always_inline void __bcc_ringbuf_submit(void *map, void *data, u64 flags) { bpf_ringbuf_submit(data, flags); }
static __always_inline void __bcc_ringbuf_discard(void *map, void *data, u64 flags) { bpf_ringbuf_discard(data, flags); }
static __always_inline void __bcc_call(void *map, void *ctx, u32 index) { bpf_tail_call(ctx, map, index); }
static __always_inline void __bcc_increment(void *map, const void *key, u64 amount, u64 size)
{
	u64 zero = 0;
	void *leaf = __bcc_lookup_or_try_init(map, key, &zero);
	if (!leaf)
		return;
	if (size == 8) *(u64 *)leaf += amount;
	else if (size == 4) *(u32 *)leaf += amount;
	else if (size == 2) *(u16 *)leaf += amount;
	else *(u8 *)leaf += amount;
}
static __always_inline void __bcc_atomic_increment(void *map, const void *key, u64 amount, u64 size)
{
	u64 zero = 0;
	void *leaf = __bcc_lookup_or_try_init(map, key, &zero);
	if (!leaf)
		return;
	if (size == 8) __sync_fetch_and_add((u64 *)leaf, amount);
	else __sync_fetch_and_add((u32 *)leaf, (u32)amount);
}
static __always_inline unsigned int bpf_log2(unsigned int v)
{
	unsigned int r, shift;
	r = (v > 0xFFFF) << 4; v >>= r;
	shift = (v > 0xFF) << 3; v >>= shift; r |= shift;
	shift = (v > 0xF) << 2; v >>= shift; r |= shift;
	shift = (v > 0x3) << 1; v >>= shift; r |= shift;
	r |= (v >> 1);
	return r;
}
static __always_inline unsigned int bpf_log2l(unsigned long v)
{
	unsigned int hi = v >> 32;
	return hi ? bpf_log2(hi) + 32 + 1 : bpf_log2(v) + 1;
}
`;

/** Arguments of USDT probes; they bring maps of their own, so only where the front end says that they are used. */
const USDT = `
#ifdef __BCC_USDT__
#include <bpf/usdt.bpf.h>
#define bpf_usdt_readarg(_n, _ctx, _buf) ({ long __value = 0; bpf_usdt_arg(_ctx, (_n) - 1, &__value); *(_buf) = (typeof(*(_buf)))__value; 0; })
#define bpf_usdt_readarg_p(_n, _ctx, _buf, _len) ({ long __value = 0; bpf_usdt_arg(_ctx, (_n) - 1, &__value); bpf_probe_read_user(_buf, _len, (void *)__value); })
#endif
`;

/** Registers as the kernel spells them, which is how programs of this dialect do. */
const REGISTERS = 'r15 r14 r13 r12 bp bx r11 r10 r9 r8 ax cx dx si di orig_ax ip cs flags sp ss';

function types(): string {
  const names = [
    ...['u8', 'u16', 'u32', 'u64', 's8', 's16', 's32', 's64'].map((name) => `typedef __${name} ${name};\n`),
    'typedef unsigned int uint;\n',
    'typedef int pid_t;\ntypedef unsigned int uid_t;\ntypedef unsigned int gid_t;\ntypedef unsigned int dev_t;\n',
    'typedef unsigned long size_t;\ntypedef long ssize_t;\ntypedef long long loff_t;\n',
    'typedef _Bool bool;\nenum { false = 0, true = 1 };\n',
    'typedef unsigned short umode_t;\ntypedef unsigned int gfp_t;\n',
    'typedef __u8 uint8_t;\ntypedef __u16 uint16_t;\ntypedef __u32 uint32_t;\ntypedef __u64 uint64_t;\n',
    'typedef __s8 int8_t;\ntypedef __s16 int16_t;\ntypedef __s32 int32_t;\ntypedef __s64 int64_t;\n',
  ].join('');
  const registers = REGISTERS.split(' ')
    .map((field) => `\tunsigned long ${field};\n`)
    .join('');
  return `#if __has_include(<vmlinux.h>)
#include <vmlinux.h>
#else
#include <linux/types.h>
#define _UAPI_ASM_X86_PTRACE_H
struct pt_regs {
${registers}};
${names}#include <linux/bpf.h>
#include <linux/bpf_perf_event.h>
#endif
`;
}

let made: string | undefined;

export function bccHeader(): string {
  made ??= guarded(
    '__BCC_DIALECT_H',
    [
      '#ifndef __KERNEL__\n#define __KERNEL__ 1\n#endif\n#define __BCC__ 1\n',
      '#ifndef LINUX_VERSION_CODE\n#define LINUX_VERSION_CODE 398848\n#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + ((c) > 255 ? 255 : (c)))\n#endif\n',
      types(),
      '#include <bpf/bpf_helpers.h>\n#include <bpf/bpf_tracing.h>\n#include <bpf/bpf_core_read.h>\n#include <bpf/bpf_endian.h>\n#include <linux/errno.h>\n',
      '#ifndef NULL\n#define NULL ((void *)0)\n#endif\n#define __user\n#define __kernel\n#define __rcu\n#define __percpu_\n#define BPF_LICENSE(x) char _license[] SEC("license") = #x\n',
      general(),
      tables(),
      programs(),
      simple(),
      FUNCTIONS,
      USDT,
    ].join(''),
  );
  return made;
}
