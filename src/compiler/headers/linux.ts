/**
 * The UAPI headers that BPF programs include, made from tables: records of `generated/records.ts`, enums of `src/uapi`, constants of
 * `constants.ts`. With a vmlinux.h before them they add the macros alone, since the types are there already.
 */
import * as uapi from '../../uapi/index.ts';
import { ERRNO } from '../../util/index.ts';
import * as known from './constants.ts';
import { UAPI_RECORDS } from './generated/records.ts';
import * as sockets from './socket-constants.ts';
import { constants, enumeration, guarded, macro } from './text.ts';

/** Declarations of records, each once in a program, however many headers have it; what they hold by value comes first. */
export function records(names: readonly string[]): string {
  let text = '';
  const done = new Set<string>();
  const add = (name: string): void => {
    const body = UAPI_RECORDS[name];
    if (body === undefined || done.has(name)) return;
    done.add(name);
    for (const match of body.matchAll(/\b(?:struct|union|enum) (\w+) (?!\{)[^*;{}]*;/g)) add(match[1]!);
    text += `#ifndef __tsbpf_${name}\n#define __tsbpf_${name}\n${body}\n#endif\n`;
  };
  for (const name of names) add(name);
  return withoutVmlinux(text);
}

/** Types are left out where vmlinux.h has been read: it has them all. */
export function withoutVmlinux(text: string): string {
  return `#ifndef __VMLINUX_H__\n${text}#endif\n`;
}

const INTEGERS = [
  ['8', 'char'],
  ['16', 'short'],
  ['32', 'int'],
  ['64', 'long long'],
] as const;

export function asmTypes(): string {
  let text = '';
  for (const [bits, type] of INTEGERS)
    text += `typedef ${bits === '8' ? 'signed ' : ''}${type} __s${bits};\ntypedef unsigned ${type} __u${bits};\n`;
  return guarded('_ASM_GENERIC_INT_LL64_H', withoutVmlinux(text));
}

export function linuxTypes(): string {
  let text = '';
  for (const bits of [16, 32, 64])
    text += `typedef __u${bits} __le${bits};\ntypedef __u${bits} __be${bits};\n`;
  text += 'typedef __u16 __sum16;\ntypedef __u32 __wsum;\ntypedef unsigned int __poll_t;\n';
  const posix: Readonly<Record<string, string>> = {
    __kernel_size_t: 'unsigned long',
    __kernel_ssize_t: 'long',
    __kernel_long_t: 'long',
    __kernel_ulong_t: 'unsigned long',
    __kernel_pid_t: 'int',
    __kernel_uid32_t: 'unsigned int',
    __kernel_gid32_t: 'unsigned int',
    __kernel_loff_t: 'long long',
    __kernel_time64_t: 'long long',
    __kernel_clock_t: 'long',
    __kernel_ino_t: 'unsigned long',
    __kernel_mode_t: 'unsigned int',
    __kernel_off_t: 'long',
    __kernel_sa_family_t: 'unsigned short',
  };
  for (const [name, type] of Object.entries(posix)) text += `typedef ${type} ${name};\n`;
  const aligned = `#define __aligned_u64 __u64 __attribute__((aligned(8)))
#define __aligned_be64 __be64 __attribute__((aligned(8)))
#define __aligned_le64 __le64 __attribute__((aligned(8)))
#ifndef __bitwise
#define __bitwise
#endif
#ifndef __user
#define __user
#endif
`;
  return guarded('_LINUX_TYPES_H', `#include <asm/types.h>\n${withoutVmlinux(text)}${aligned}`);
}

/** Enums of linux/bpf.h: name in C (empty: anonymous) and table. */
const BPF_ENUMS: readonly [name: string, table: Readonly<Record<string, number>>][] = [
  ['', uapi.BPF_REG],
  ['bpf_cgroup_iter_order', uapi.BPF_CGROUP_ITER_ORDER],
  ['bpf_cmd', uapi.BPF_CMD],
  ['bpf_map_type', uapi.BPF_MAP_TYPE],
  ['bpf_prog_type', uapi.BPF_PROG_TYPE],
  ['bpf_attach_type', uapi.BPF_ATTACH_TYPE],
  ['bpf_link_type', uapi.BPF_LINK_TYPE],
  ['bpf_perf_event_type', uapi.BPF_PERF_EVENT_TYPE],
  ['bpf_func_id', uapi.BPF_FUNC],
  ['bpf_stats_type', uapi.BPF_STATS_TYPE],
  ['bpf_task_fd_type', uapi.BPF_TASK_FD_TYPE],
  ['bpf_stack_build_id_status', uapi.BPF_STACK_BUILD_ID_STATUS],
  ['bpf_adj_room_mode', uapi.BPF_ADJ_ROOM_MODE],
  ['bpf_hdr_start_off', uapi.BPF_HDR_START_OFF],
  ['bpf_lwt_encap_mode', uapi.BPF_LWT_ENCAP_MODE],
  ['bpf_ret_code', uapi.BPF_RET_CODE],
  ['tcx_action_base', uapi.TCX_ACTION],
  ['xdp_action', uapi.XDP_ACTION],
  ['sk_action', uapi.SK_ACTION],
  ['bpf_check_mtu_flags', uapi.BPF_CHECK_MTU_FLAGS],
  ['bpf_check_mtu_ret', uapi.BPF_CHECK_MTU_RET],
  ['bpf_core_relo_kind', uapi.BPF_CORE_RELO_KIND],
  ['bpf_addr_space_cast', uapi.BPF_ADDR_SPACE_CAST],
  ['bpf_cond_pseudo_jmp', uapi.BPF_COND_PSEUDO_JMP],
  ['bpf_kfunc_flags', uapi.BPF_KFUNC_FLAGS],
  ...[
    ...[uapi.BPF_UPDATE_FLAGS, uapi.BPF_MAP_FLAGS, uapi.BPF_PERF_OUTPUT_FLAGS, uapi.BPF_BRANCH_FLAGS],
    ...[
      uapi.BPF_UPROBE_MULTI_FLAGS,
      uapi.BPF_KPROBE_MULTI_FLAGS,
      uapi.BPF_TIMER_FLAGS,
      uapi.BPF_RB_WAKEUP_FLAGS,
    ],
    ...[uapi.BPF_RB_QUERY, uapi.BPF_RINGBUF, uapi.BPF_LOCAL_STORAGE_FLAGS, uapi.BPF_REDIRECT_FLAGS],
    ...[
      uapi.BPF_STACK_FLAGS,
      uapi.BPF_SYSCTL_FLAGS,
      uapi.BPF_BPRM_FLAGS,
      uapi.BPF_SOCK_OPS_OP,
      uapi.BTF_SHOW_FLAGS,
    ],
    ...[uapi.BPF_FLOW_DISSECTOR_FLAGS, uapi.BPF_SKB_STORE_FLAGS, uapi.BPF_CSUM_FLAGS, uapi.BPF_CSUM_L4_FLAGS],
    ...[uapi.BPF_TUNNEL_KEY_FLAGS, uapi.BPF_SET_TUNNEL_KEY_FLAGS, uapi.BPF_GET_TUNNEL_KEY_FLAGS],
    ...[uapi.BPF_CSUM_LEVEL, uapi.BPF_ADJ_ROOM_FLAGS, uapi.BPF_ADJ_ROOM_ENCAP, uapi.BPF_SK_LOOKUP_FLAGS],
    ...[
      uapi.BPF_SKB_TSTAMP,
      uapi.BPF_SOCK_OPS_CB_FLAGS,
      uapi.SK_BPF_CB,
      uapi.TCP_BPF,
      uapi.BPF_LOAD_HDR_OPT_FLAGS,
    ],
    ...[
      uapi.BPF_FIB_LOOKUP_FLAGS,
      uapi.BPF_FIB_LKUP_RET,
      uapi.BPF_NETNS,
      uapi.BPF_TCP_STATE,
      uapi.BPF_WRITE_HDR_TCP,
    ],
  ].map((table): [string, Readonly<Record<string, number>>] => ['', table]),
];

const BPF_RECORDS = Object.keys(UAPI_RECORDS).filter(
  (name) => /^(?:bpf_|xdp_md$|__sk_buff$|sk_msg_md$|sk_reuseport_md$|btf_ptr$)/.test(name) && !(name in uapi),
);

/** Fields of instructions as linux/bpf_common.h has them. */
const BPF_COMMON: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    ['LD', 'LDX', 'ST', 'STX', 'ALU', 'JMP', 'RET', 'MISC'].map((name, i) => [`BPF_${name}`, `0x0${i}`]),
  ),
  ...{
    BPF_W: '0x00',
    BPF_H: '0x08',
    BPF_B: '0x10',
    BPF_IMM: '0x00',
    BPF_ABS: '0x20',
    BPF_IND: '0x40',
    BPF_MEM: '0x60',
  },
  ...{ BPF_LEN: '0x80', BPF_MSH: '0xa0', BPF_K: '0x00', BPF_X: '0x08', BPF_JA: '0x00', BPF_JEQ: '0x10' },
  ...{ BPF_JGT: '0x20', BPF_JGE: '0x30', BPF_JSET: '0x40', BPF_MAXINSNS: '4096' },
  ...Object.fromEntries(
    ['ADD', 'SUB', 'MUL', 'DIV', 'OR', 'AND', 'LSH', 'RSH', 'NEG', 'MOD', 'XOR'].map((name, i) => [
      `BPF_${name}`,
      `0x${(i * 16).toString(16).padStart(2, '0')}`,
    ]),
  ),
};

export function bpfCommon(): string {
  return guarded(
    '_UAPI__LINUX_BPF_COMMON_H__',
    macro('BPF_CLASS(code)', '((code) & 0x07)') +
      macro('BPF_SIZE(code)', '((code) & 0x18)') +
      macro('BPF_MODE(code)', '((code) & 0xe0)') +
      macro('BPF_OP(code)', '((code) & 0xf0)') +
      macro('BPF_SRC(code)', '((code) & 0x08)') +
      constants(BPF_COMMON),
  );
}

export function linuxBpf(): string {
  const enums = BPF_ENUMS.filter(([name]) => UAPI_RECORDS[name] === undefined)
    .map(([name, table]) => enumeration(name, table))
    .join('');
  const numbers = Object.fromEntries(
    Object.entries(uapi.BPF_MACROS).map(([name, value]) => [
      name,
      value > 0x7fff_ffff ? `0x${value.toString(16)}${value > 0xffff_ffff ? 'ULL' : 'U'}` : String(value),
    ]),
  );
  const legacyKey = 'struct bpf_lpm_trie_key {\n\t__u32 prefixlen;\n\t__u8 data[0];\n};\n';
  return guarded(
    '_UAPI__LINUX_BPF_H__',
    `#include <linux/types.h>
#include <linux/bpf_common.h>
${constants(numbers)}#define BPF_LINE_INFO_LINE_NUM(line_col) ((line_col) >> 10)
#define BPF_LINE_INFO_LINE_COL(line_col) ((line_col) & 0x3ff)
${withoutVmlinux(`${enums}${legacyKey}`)}${records(BPF_RECORDS)}`,
  );
}

export function bpfPerfEvent(): string {
  const body =
    'struct bpf_perf_event_data {\n\tbpf_user_pt_regs_t regs;\n\t__u64 sample_period;\n\t__u64 addr;\n};\n';
  return guarded(
    '_UAPI__LINUX_BPF_PERF_EVENT_H__',
    `#include <linux/types.h>\n#include <linux/ptrace.h>\n${withoutVmlinux(`typedef struct pt_regs bpf_user_pt_regs_t;\n${body}`)}`,
  );
}

/** Registers of other architectures by the names of their UAPI: what `bpf_tracing.h` reads there. */
const USER_REGISTERS: Readonly<Record<string, readonly [record: string, fields: string]>> = {
  arm64: ['user_pt_regs', 'regs[31] sp pc pstate'],
  riscv: [
    'user_regs_struct',
    'pc ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6',
  ],
  loongarch: ['user_pt_regs', 'regs[32] orig_a0 csr_era csr_badv reserved[10]'],
};

/** `struct pt_regs` as the UAPI spells the architecture's registers; x86-64's unless another is asked for. */
export function ptrace(): string {
  const record = (name: string, fields: string): string =>
    `struct ${name} {\n${fields
      .split(' ')
      .map((field) => `\tunsigned long ${field};\n`)
      .join('')}};\n`;
  let text = '';
  for (const [arch, [name, fields]] of Object.entries(USER_REGISTERS))
    text += `${text === '' ? '#if' : '#elif'} defined(__TARGET_ARCH_${arch})\n${record(name, fields)}`;
  const x86 = 'r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss';
  return guarded('_UAPI_ASM_X86_PTRACE_H', withoutVmlinux(`${text}#else\n${record('pt_regs', x86)}#endif\n`));
}

export function errnoHeader(): string {
  const names = Object.fromEntries(Object.entries(ERRNO).map(([name, value]) => [name, value]));
  return guarded(
    '_ASM_GENERIC_ERRNO_H',
    `${constants(names)}#define EWOULDBLOCK EAGAIN\n#define EDEADLOCK EDEADLK\n`,
  );
}

export function unistd(): string {
  const numbers = Object.fromEntries(
    Object.entries(uapi.SYSCALLS).map(([name, value]) => [`__NR_${name}`, value]),
  );
  return guarded('_UAPI_ASM_X86_UNISTD_H', constants(numbers));
}

/** An IPv6 address' fields by the names of RFC 3493. */
const IN6_NAMES = `#define s6_addr in6_u.u6_addr8
#define s6_addr16 in6_u.u6_addr16
#define s6_addr32 in6_u.u6_addr32
`;

function ipProtocols(): string {
  const lines = Object.keys(known.IP_PROTOCOLS)
    .map((name) => `#define ${name} ${name}\n`)
    .join('');
  return withoutVmlinux(`${enumeration('', known.IP_PROTOCOLS)}${lines}`);
}

const addresses = (table: Readonly<Record<string, string>>): string =>
  Object.entries(table)
    .map(([name, value]) => macro(name, `((__u32) ${value})`))
    .join('');

const FLAGS_OF_INTERFACES =
  'UP BROADCAST DEBUG LOOPBACK POINTOPOINT NOTRAILERS RUNNING NOARP PROMISC ALLMULTI MASTER SLAVE MULTICAST PORTSEL AUTOMEDIA DYNAMIC';

const TYPES = '#include <linux/types.h>\n';

/** Headers by their names. */
export const LINUX_HEADERS: Readonly<Record<string, () => string>> = {
  'asm/types.h': asmTypes,
  'linux/types.h': linuxTypes,
  'linux/bpf.h': linuxBpf,
  'linux/bpf_common.h': bpfCommon,
  'linux/bpf_perf_event.h': bpfPerfEvent,
  'linux/btf.h': () =>
    guarded(
      '_UAPI__LINUX_BTF_H__',
      `${TYPES}#define BTF_MAGIC 0xeB9F\n#define BTF_VERSION 1\n${records(['btf_header', 'btf_type', 'btf_enum', 'btf_array', 'btf_member', 'btf_param'])}`,
    ),
  'linux/filter.h': () =>
    guarded(
      '_UAPI__LINUX_FILTER_H__',
      `${TYPES}#include <linux/bpf_common.h>\n${records(['sock_filter', 'sock_fprog'])}${macro('BPF_STMT(code, k)', '{ (unsigned short)(code), 0, 0, k }')}${macro('BPF_JUMP(code, k, jt, jf)', '{ (unsigned short)(code), jt, jf, k }')}`,
    ),
  'linux/seccomp.h': () => guarded('_UAPI_LINUX_SECCOMP_H', `${TYPES}${records(['seccomp_data'])}`),
  'linux/perf_event.h': () =>
    guarded(
      '_UAPI_LINUX_PERF_EVENT_H',
      `${TYPES}${withoutVmlinux(
        [
          enumeration('perf_type_id', uapi.PERF_TYPE),
          enumeration('perf_hw_id', uapi.PERF_HW_ID),
          enumeration('perf_sw_ids', uapi.PERF_SW_IDS),
          enumeration('perf_hw_cache_id', uapi.PERF_HW_CACHE_ID),
          enumeration('perf_hw_cache_op_id', uapi.PERF_HW_CACHE_OP_ID),
          enumeration('perf_hw_cache_op_result_id', uapi.PERF_HW_CACHE_OP_RESULT_ID),
        ].join(''),
      )}#define PERF_MAX_STACK_DEPTH 127\n${records(['perf_event_attr', 'perf_branch_entry'])}`,
    ),
  'linux/ptrace.h': () => '#include <asm/ptrace.h>\n',
  'asm/ptrace.h': ptrace,
  'linux/errno.h': errnoHeader,
  'asm/errno.h': errnoHeader,
  'asm-generic/errno.h': errnoHeader,
  'asm-generic/errno-base.h': errnoHeader,
  'asm-generic/types.h': () => '#include <asm/types.h>\n',
  'asm-generic/int-ll64.h': () => '#include <asm/types.h>\n',
  'asm/unistd.h': unistd,
  'linux/unistd.h': () => '#include <asm/unistd.h>\n',
  'asm/byteorder.h': byteOrder,
  'linux/byteorder/little_endian.h': byteOrder,
  'linux/swab.h': byteOrder,
  'linux/stddef.h': () =>
    guarded('_LINUX_STDDEF_H', '#ifndef __always_inline\n#define __always_inline __inline__\n#endif\n'),
  'linux/const.h': () =>
    guarded(
      '_UAPI_LINUX_CONST_H',
      `${macro('_BITUL(x)', '(1UL << (x))')}${macro('_BITULL(x)', '(1ULL << (x))')}`,
    ),
  'linux/version.h': () =>
    guarded(
      '_LINUX_VERSION_H',
      `#define LINUX_VERSION_CODE ${6 * 65536 + 18 * 256}\n#undef KERNEL_VERSION\n${macro('KERNEL_VERSION(a, b, c)', '(((a) << 16) + ((b) << 8) + ((c) > 255 ? 255 : (c)))')}`,
    ),
  'linux/limits.h': () =>
    guarded(
      '_UAPI_LINUX_LIMITS_H',
      constants({ NAME_MAX: 255, PATH_MAX: 4096, NR_OPEN: 1024, ARG_MAX: 131072 }),
    ),
  'linux/time_types.h': () =>
    guarded('_UAPI_LINUX_TIME_TYPES_H', `${TYPES}${records(['__kernel_timespec'])}`),
  'linux/if_ether.h': () =>
    guarded('_UAPI_LINUX_IF_ETHER_H', `${TYPES}${constants(known.ETHERNET)}${records(['ethhdr'])}`),
  'linux/if_packet.h': () => guarded('__LINUX_IF_PACKET_H', `${TYPES}${constants(known.PACKET)}`),
  'linux/if_vlan.h': () => guarded('_UAPI_LINUX_IF_VLAN_H_', TYPES),
  'linux/if_arp.h': () =>
    guarded('_UAPI_LINUX_IF_ARP_H', `${TYPES}${constants(known.ARP)}${records(['arphdr'])}`),
  'linux/if.h': () =>
    guarded(
      '_LINUX_IF_H',
      constants({
        IFNAMSIZ: 16,
        ...Object.fromEntries(
          FLAGS_OF_INTERFACES.split(' ').map((name, i) => [`IFF_${name}`, `(1 << ${i})`]),
        ),
      }),
    ),
  'linux/if_tunnel.h': () => guarded('_UAPI_IF_TUNNEL_H_', TYPES),
  'linux/if_link.h': () =>
    guarded(
      '_UAPI_LINUX_IF_LINK_H',
      `${TYPES}${constants({ XDP_FLAGS_UPDATE_IF_NOEXIST: '(1U << 0)', XDP_FLAGS_SKB_MODE: '(1U << 1)', XDP_FLAGS_DRV_MODE: '(1U << 2)', XDP_FLAGS_HW_MODE: '(1U << 3)', XDP_FLAGS_REPLACE: '(1U << 4)' })}`,
    ),
  'linux/ip.h': () =>
    guarded(
      '_UAPI_LINUX_IP_H',
      `${TYPES}#include <asm/byteorder.h>\n${constants(known.IP)}${records(['iphdr', 'ip_auth_hdr'])}`,
    ),
  'linux/ipv6.h': () =>
    guarded(
      '_UAPI_IPV6_H',
      `${TYPES}#include <linux/in6.h>\n#include <asm/byteorder.h>\n${records(['ipv6_rt_hdr', 'ipv6_opt_hdr', 'ipv6hdr'])}`,
    ),
  'linux/tcp.h': () =>
    guarded(
      '_UAPI_LINUX_TCP_H',
      `${TYPES}#include <asm/byteorder.h>\n#include <linux/socket.h>\n${constants(sockets.TCP_OPTIONS)}${records(['tcphdr'])}`,
    ),
  'linux/udp.h': () => guarded('_UAPI_LINUX_UDP_H', `${TYPES}${records(['udphdr'])}`),
  'linux/icmp.h': () =>
    guarded('_UAPI_LINUX_ICMP_H', `${TYPES}${constants(known.ICMP)}${records(['icmphdr'])}`),
  'linux/icmpv6.h': () =>
    guarded(
      '_UAPI_LINUX_ICMPV6_H',
      `${TYPES}${constants(known.ICMPV6)}${records(['icmp6hdr'])}${ICMP6_NAMES}`,
    ),
  'linux/in.h': () =>
    guarded(
      '_UAPI_LINUX_IN_H',
      `${TYPES}#include <linux/socket.h>\n${ipProtocols()}${records(['in_addr', 'sockaddr_in'])}#define sin_zero __pad\n${addresses({ INADDR_ANY: '0x00000000', INADDR_BROADCAST: '0xffffffff', INADDR_NONE: '0xffffffff', INADDR_LOOPBACK: '0x7f000001' })}`,
    ),
  'linux/in6.h': () =>
    guarded(
      '_UAPI_LINUX_IN6_H',
      `${TYPES}${records(['in6_addr', 'sockaddr_in6'])}${IN6_NAMES}${constants(known.IPV6)}`,
    ),
  'linux/socket.h': () =>
    guarded(
      '_UAPI_LINUX_SOCKET_H',
      `${TYPES}${withoutVmlinux('typedef __kernel_sa_family_t sa_family_t;\n')}${records(['sockaddr'])}${constants(sockets.FAMILIES)}${constants(sockets.SOCKET_OPTIONS)}${constants({ SOCK_STREAM: 1, SOCK_DGRAM: 2, SOCK_RAW: 3, SOCK_SEQPACKET: 5, SOCK_PACKET: 10, SOL_IP: 0, SOL_TCP: 6, SOL_UDP: 17, SOL_IPV6: 41 })}`,
    ),
  'linux/un.h': () =>
    guarded(
      '_LINUX_UN_H',
      `#include <linux/socket.h>\n#define UNIX_PATH_MAX 108\n${records(['sockaddr_un'])}`,
    ),
  'linux/uio.h': () => guarded('_UAPI__LINUX_UIO_H', `${TYPES}${records(['iovec'])}`),
  'linux/pkt_cls.h': () => guarded('__LINUX_PKT_CLS_H', `${TYPES}${constants(known.TC_ACTIONS)}`),
  'linux/pkt_sched.h': () =>
    guarded(
      '__LINUX_PKT_SCHED_H',
      `${TYPES}${constants({ TC_H_ROOT: '(0xFFFFFFFFU)', TC_H_INGRESS: '(0xFFFFFFF1U)', TC_H_CLSACT: 'TC_H_INGRESS', TC_PRIO_CONTROL: 7, TC_PRIO_MAX: 15 })}${macro('TC_H_MAKE(maj, min)', '(((maj) & 0xFFFF0000U) | ((min) & 0x0000FFFFU))')}`,
    ),
  'linux/netfilter.h': () =>
    guarded(
      '_UAPI__LINUX_NETFILTER_H',
      `${TYPES}${constants({ NF_DROP: 0, NF_ACCEPT: 1, NF_STOLEN: 2, NF_QUEUE: 3, NF_REPEAT: 4, NF_STOP: 5 })}${withoutVmlinux(enumeration('nf_inet_hooks', { NF_INET_PRE_ROUTING: 0, NF_INET_LOCAL_IN: 1, NF_INET_FORWARD: 2, NF_INET_LOCAL_OUT: 3, NF_INET_POST_ROUTING: 4, NF_INET_NUMHOOKS: 5 }))}`,
    ),
};

const ICMP6_NAMES = ['identifier', 'sequence']
  .map((name) => `#define icmp6_${name} icmp6_dataun.u_echo.${name}\n`)
  .concat('#define icmp6_mtu icmp6_dataun.un_data32[0]\n#define icmp6_pointer icmp6_dataun.un_data32[0]\n')
  .join('');

/** Conversions to and from network order, and the word that says which order this is. */
function byteOrder(): string {
  let text =
    '#ifndef __LITTLE_ENDIAN\n#define __LITTLE_ENDIAN 1234\n#endif\n#ifndef __LITTLE_ENDIAN_BITFIELD\n#define __LITTLE_ENDIAN_BITFIELD\n#endif\n';
  for (const bits of [16, 32, 64]) {
    for (const name of [`__swab${bits}`, `__constant_swab${bits}`, `__fswab${bits}`])
      text += macro(`${name}(x)`, `((__u${bits})__builtin_bswap${bits}(x))`);
    for (const constant of ['', 'constant_']) {
      text += macro(`__${constant}cpu_to_be${bits}(x)`, `((__be${bits})__swab${bits}(x))`);
      text += macro(`__${constant}be${bits}_to_cpu(x)`, `__swab${bits}((__u${bits})(x))`);
      text += macro(`__${constant}cpu_to_le${bits}(x)`, `((__le${bits})(x))`);
      text += macro(`__${constant}le${bits}_to_cpu(x)`, `((__u${bits})(x))`);
    }
  }
  for (const [name, bits] of [
    ['s', 16],
    ['l', 32],
  ] as const) {
    text += macro(`__constant_hton${name}(x)`, `((__be${bits})__swab${bits}(x))`);
    text += macro(`__constant_ntoh${name}(x)`, `__swab${bits}((__u${bits})(x))`);
  }
  return guarded('_UAPI_LINUX_BYTEORDER_LITTLE_ENDIAN_H', `${TYPES}${text}`);
}
