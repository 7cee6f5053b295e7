/**
 * The header that every program of the BCC dialect begins with: the macros of BCC's reference guide that declare tables and programs, and the
 * functions behind the tables' methods (`sema/bcc-methods.ts` says which). Where a kernel's types are to be had (`vmlinux.h`), all
 * headers of the kernel's sources are those; otherwise what the UAPI headers have is there.
 */
import { kernelFunctions } from './bcc-kernel.ts';
import { protoHeader } from './bcc-proto.ts';
import { tables } from './bcc-tables.ts';
import { guarded, macro } from './text.ts';

export const BCC_HEADER = 'bcc/bcc.h';
const PROTO_NAMES: ReadonlySet<string> = new Set(['bcc/proto.h', 'net/proto.h', 'proto.h']);

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
  // The kernel's own name for it (linux/socket.h).
  text +=
    '#if defined(__VMLINUX_H__) && !defined(sockaddr_storage)\n#define sockaddr_storage __kernel_sockaddr_storage\n#endif\n';
  return guarded('__BCC_SOCKET_NAMES', text);
}

/** Headers for the dialect: its own, those of `builtin`, and empty ones for what stands in vmlinux.h. */
export function bccHeaders(
  builtin: (name: string) => string | undefined,
): (name: string) => string | undefined {
  return (name) => {
    if (name === BCC_HEADER) return bccHeader();
    if (PROTO_NAMES.has(name)) return protoHeader();
    const known = builtin(name) ?? (KERNEL_DIRECTORIES.test(name) && name.endsWith('.h') ? '' : undefined);
    if (known === undefined) return undefined;
    return known + (SOCKET_HEADERS.test(name) ? socketNames() : '') + kernelFunctions(name);
  };
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
  // The loader finds the module by the function.
  for (const [name, prefix, section] of [
    ['MODULE_KFUNC_PROBE', 'kfunc__', 'fentry/'],
    ['MODULE_KRETFUNC_PROBE', 'kretfunc__', 'fexit/'],
  ] as const)
    text += macro(
      `${name}(module, event, args...)`,
      `SEC("${section}" #event) int BPF_PROG(${prefix}##module##__##event, ##args)`,
    );
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
  NSEC_PER_MSEC: '1000000L',
  USEC_PER_MSEC: '1000L',
  USEC_PER_SEC: '1000000L',
  MSEC_PER_SEC: '1000L',
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
    ['bpf_num_cpus()', '__BCC_CPUS__'],
    ['CUR_CPU_IDENTIFIER', 'BPF_F_CURRENT_CPU'],
    ['BPF_MAX_STACK_DEPTH', '127'],
    ['BPF_ANNOTATE_KV_PAIR(name, key, value)', ''],
    ['BPF_ANNOTATE_KV_PAIR_QUEUESTACK(name, value)', ''],
    ['PT_REGS_SYSCALL_CTX(ctx)', '((struct pt_regs *)PT_REGS_PARM1(ctx))'],
    ['roundup_pow_of_two(n)', '((n) <= 1 ? 1UL : 1UL << (64 - __builtin_clzl((unsigned long)(n) - 1)))'],
    ['cursor_advance(_cursor, _len)', '({ void *_tmp = _cursor; _cursor += _len; _tmp; })'],
    ['MASK(n)', '((n) < 64 ? (1ull << (n)) - 1 : (u64)-1LL)'],
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
    ['void *', 'get_local_storage', 'u64 flags', 'bpf_get_local_storage(map, flags)'],
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
static __always_inline long __bcc_ringbuf_output(void *map, void *data, u64 size, u64 flags, u64 *lost) {
  long failed = bpf_ringbuf_output(map, data, size, flags);
  if (lost && failed) __sync_fetch_and_add(lost, 1);
  return failed;
}
static __always_inline void *__bcc_ringbuf_reserve(void *map, u64 size, u64 *lost) {
  void *room = bpf_ringbuf_reserve(map, size, 0);
  if (lost && !room) __sync_fetch_and_add(lost, 1);
  return room;
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

/**
 * The packet of a socket filter or classifier. Bits count from the most significant one on; a value that crosses a word is loaded with the
 * next larger one, as the kernel's loads do, which end the program where the packet is too short.
 */
const PACKETS = `
unsigned long long load_byte(void *skb, unsigned long long off) asm("llvm.bpf.load.byte");
unsigned long long load_half(void *skb, unsigned long long off) asm("llvm.bpf.load.half");
unsigned long long load_word(void *skb, unsigned long long off) asm("llvm.bpf.load.word");
static __always_inline unsigned long long load_dword(void *skb, unsigned long long off)
{
	return load_word(skb, off) << 32 | load_word(skb, off + 4);
}
static __always_inline u64 __bcc_load(void *skb, u64 off, u64 end)
{
	return end <= 8 ? load_byte(skb, off) : end <= 16 ? load_half(skb, off) : end <= 32 ? load_word(skb, off) : load_dword(skb, off);
}
static __always_inline u64 __bcc_packet_read(void *skb, u64 base, u64 byte, u64 bit, u64 size)
{
	u64 end = bit + size, width = end <= 8 ? 8 : end <= 16 ? 16 : end <= 32 ? 32 : 64;
	return __bcc_load(skb, base + byte, end) >> (width - end) & MASK(size);
}
static __always_inline void __bcc_packet_write(void *skb, u64 base, u64 byte, u64 bit, u64 size, u64 value)
{
	u64 end = bit + size, width = end <= 8 ? 8 : end <= 16 ? 16 : end <= 32 ? 32 : 64, old = value;
	if (size != width)
		old = (__bcc_load(skb, base + byte, end) & ~(MASK(size) << (width - end))) | (value & MASK(size)) << (width - end);
	old = __builtin_bswap64(old << (64 - width));
	bpf_skb_store_bytes(skb, base + byte, &old, width / 8, 0);
}
static __always_inline u64 bpf_dext_pkt(void *skb, u64 off, u64 bit, u64 size) { return __bcc_packet_read(skb, off, 0, bit, size); }
static __always_inline void bpf_dins_pkt(void *skb, u64 off, u64 bit, u64 size, u64 value) { __bcc_packet_write(skb, off, 0, bit, size, value); }
static __always_inline u64 __bcc_network(u64 value, u64 size)
{
	return size == 2 ? __builtin_bswap16(value) : size == 4 ? __builtin_bswap32(value) : size == 8 ? __builtin_bswap64(value) : value;
}
static __always_inline int bpf_l3_csum_replace_(void *skb, u64 off, u64 from, u64 to, u64 flags)
{
	return bpf_l3_csum_replace(skb, off, __bcc_network(from, flags & 0xf), __bcc_network(to, flags & 0xf), flags);
}
static __always_inline int bpf_l4_csum_replace_(void *skb, u64 off, u64 from, u64 to, u64 flags)
{
	return bpf_l4_csum_replace(skb, off, __bcc_network(from, flags & 0xf), __bcc_network(to, flags & 0xf), flags);
}
#define incr_cksum_l3(_off, _old, _new) bpf_l3_csum_replace_(__bcc_packet(), (u64)(_off), _old, _new, sizeof(_new))
#define incr_cksum_l4(_off, _old, _new, _pseudo) bpf_l4_csum_replace_(__bcc_packet(), (u64)(_off), _old, _new, (((_pseudo) & 1) << 4) | sizeof(_new))
#define BPF_PACKET_HEADER __attribute__((packed)) __attribute__((deprecated("packet")))
struct bpf_stacktrace { u64 ip[127]; };
struct bpf_stacktrace_buildid { struct bpf_stack_build_id trace[127]; };
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

function plainTypes(): string {
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
  return `#include <linux/types.h>
#define _UAPI_ASM_X86_PTRACE_H
struct pt_regs {
${registers}};
${names}#include <linux/bpf.h>
#include <linux/bpf_perf_event.h>
`;
}

/** A vmlinux.h for kernels whose BTF has some structs and none of the types that programs are written with. */
export function bccPlainTypes(): string {
  return guarded('__BCC_PLAIN_TYPES', plainTypes());
}

let made: string | undefined;

export function bccHeader(): string {
  made ??= guarded(
    '__BCC_DIALECT_H',
    [
      '#ifndef __KERNEL__\n#define __KERNEL__ 1\n#endif\n#define __BCC__ 1\n#ifndef __BCC_CPUS__\n#define __BCC_CPUS__ 1\n#endif\n',
      '#ifndef LINUX_VERSION_CODE\n#define LINUX_VERSION_CODE 398848\n#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + ((c) > 255 ? 255 : (c)))\n#endif\n',
      `#if __has_include(<vmlinux.h>)\n#include <vmlinux.h>\n#else\n${plainTypes()}#endif\n`,
      '#include <bpf/bpf_helpers.h>\n#include <bpf/bpf_tracing.h>\n#include <bpf/bpf_core_read.h>\n#include <bpf/bpf_endian.h>\n#include <linux/errno.h>\n',
      // The kernel's headers bring these along.
      'void *memcpy(void *, const void *, unsigned long);\nvoid *memmove(void *, const void *, unsigned long);\nvoid *memset(void *, int, unsigned long);\n',
      '#ifndef NULL\n#define NULL ((void *)0)\n#endif\n#define __user\n#define __kernel\n#define __rcu\n#define __percpu_\n',
      general(),
      tables(),
      programs(),
      simple(),
      FUNCTIONS,
      PACKETS,
      USDT,
    ].join(''),
  );
  return made;
}
