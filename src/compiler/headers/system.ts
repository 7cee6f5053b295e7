/**
 * Headers beside the network's and libbpf's that BPF programs include on a Linux machine: signals, files, clocks, capabilities and the
 * names that the C library has for the network's records. As in `linux.ts`, types stand aside for a vmlinux.h before them.
 */
import { withoutVmlinux } from './linux.ts';
import { SOCKET_OPTIONS } from './socket-constants.ts';
import * as known from './system-constants.ts';
import { constants, enumeration, guarded, macro } from './text.ts';

const TYPES = '#include <linux/types.h>\n';

/** `#define alias name` for each pair: members by the names that the BSDs and the C library have for them. */
function aliases(prefix: string, table: Readonly<Record<string, string>>): string {
  return Object.entries(table)
    .map(([alias, name]) => `#define ${prefix}${alias} ${name}\n`)
    .join('');
}

const include = (...names: string[]): (() => string) => {
  const text = names.map((name) => `#include <${name}>\n`).join('');
  return () => text;
};

function signal(): string {
  const types = 'typedef unsigned long sigset_t;\ntypedef int sig_atomic_t;\n';
  const more = `#define SIGRTMAX 64\n#define _NSIG 64\n`;
  return guarded(
    '_ASM_GENERIC_SIGNAL_H',
    `${TYPES}${withoutVmlinux(types)}${constants(known.SIGNALS)}${more}`,
  );
}

function stat(): string {
  const tests = Object.entries({
    LNK: 'LNK',
    REG: 'REG',
    DIR: 'DIR',
    CHR: 'CHR',
    BLK: 'BLK',
    FIFO: 'FIFO',
    SOCK: 'SOCK',
  });
  const text = tests
    .map(([name, bits]) => macro(`S_IS${name}(m)`, `(((m) & S_IFMT) == S_IF${bits})`))
    .join('');
  return guarded('_UAPI_LINUX_STAT_H', `${TYPES}${constants(known.FILE_MODES)}${text}`);
}

function netlink(): string {
  const types = `struct sockaddr_nl {
	__kernel_sa_family_t nl_family;
	unsigned short nl_pad;
	__u32 nl_pid;
	__u32 nl_groups;
};
struct nlmsghdr {
	__u32 nlmsg_len;
	__u16 nlmsg_type;
	__u16 nlmsg_flags;
	__u32 nlmsg_seq;
	__u32 nlmsg_pid;
};
struct nlattr {
	__u16 nla_len;
	__u16 nla_type;
};
`;
  const macros =
    macro('NLMSG_ALIGN(len)', '(((len) + NLMSG_ALIGNTO - 1) & ~(NLMSG_ALIGNTO - 1))') +
    macro('NLMSG_HDRLEN', '((int)NLMSG_ALIGN(sizeof(struct nlmsghdr)))') +
    macro('NLA_ALIGN(len)', '(((len) + NLA_ALIGNTO - 1) & ~(NLA_ALIGNTO - 1))') +
    macro('NLA_HDRLEN', '((int)NLA_ALIGN(sizeof(struct nlattr)))');
  return guarded(
    '_UAPI__LINUX_NETLINK_H',
    `${TYPES}#include <linux/socket.h>\n${withoutVmlinux(types)}${constants(known.NETLINK)}${macros}`,
  );
}

/** Times as user space has them; the kernel's BTF does not. */
function times(): string {
  const record = (name: string, part: string): string =>
    `#ifndef __tsbpf_${name}\n#define __tsbpf_${name}\nstruct ${name} {\n\tlong tv_sec;\n\tlong ${part};\n};\n#endif\n`;
  return guarded(
    '_UAPI_LINUX_TIME_H',
    `#include <linux/time_types.h>\n${withoutVmlinux(record('timespec', 'tv_nsec') + record('timeval', 'tv_usec'))}${constants(known.CLOCKS)}`,
  );
}

/** struct ip of the BSDs, beside Linux' own iphdr */
const BSD_IP = `struct ip {
	unsigned int ip_hl : 4;
	unsigned int ip_v : 4;
	__u8 ip_tos;
	__u16 ip_len;
	__u16 ip_id;
	__u16 ip_off;
	__u8 ip_ttl;
	__u8 ip_p;
	__u16 ip_sum;
	struct in_addr ip_src, ip_dst;
};
`;

const ETHER_HEADER = `struct ether_header {
	__u8 ether_dhost[6];
	__u8 ether_shost[6];
	__u16 ether_type;
} __attribute__((packed));
`;

const MEMORY_ORDERS = 'relaxed consume acquire release acq_rel seq_cst'.split(' ');
const ATOMIC_TYPES: Readonly<Record<string, string>> = {
  bool: '_Bool',
  char: 'char',
  schar: 'signed char',
  uchar: 'unsigned char',
  short: 'short',
  ushort: 'unsigned short',
  int: 'int',
  uint: 'unsigned int',
  long: 'long',
  ulong: 'unsigned long',
  llong: 'long long',
  ullong: 'unsigned long long',
  intptr_t: '__INTPTR_TYPE__',
  uintptr_t: '__UINTPTR_TYPE__',
  size_t: '__SIZE_TYPE__',
  ptrdiff_t: '__PTRDIFF_TYPE__',
};

/** C11 7.17 on the compiler's own atomic operations. */
function atomics(): string {
  const orders = MEMORY_ORDERS.map((name) => `\tmemory_order_${name} = __ATOMIC_${name.toUpperCase()},\n`);
  let text = `typedef enum memory_order {\n${orders.join('')}} memory_order;\n`;
  for (const [name, type] of Object.entries(ATOMIC_TYPES))
    text += `typedef _Atomic(${type}) atomic_${name};\n`;
  text += '#define ATOMIC_VAR_INIT(value) (value)\n#define kill_dependency(y) (y)\n';
  text += macro('atomic_init(object, value)', '__c11_atomic_init(object, value)');
  for (const fence of ['thread', 'signal'])
    text += macro(`atomic_${fence}_fence(order)`, `__c11_atomic_${fence}_fence(order)`);
  const operations = { load: '', store: 'v', exchange: 'v' };
  const all = {
    ...operations,
    ...Object.fromEntries('add sub or xor and'.split(' ').map((op) => [`fetch_${op}`, 'v'])),
  };
  for (const [op, value] of Object.entries(all)) {
    const given = value === '' ? 'object' : 'object, value';
    text += macro(`atomic_${op}(${given})`, `__c11_atomic_${op}(${given}, __ATOMIC_SEQ_CST)`);
    text += macro(`atomic_${op}_explicit(${given}, order)`, `__c11_atomic_${op}(${given}, order)`);
  }
  for (const kind of ['strong', 'weak']) {
    const name = `compare_exchange_${kind}`;
    const given = 'object, expected, desired';
    text += macro(
      `atomic_${name}(${given})`,
      `__c11_atomic_${name}(${given}, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)`,
    );
    text += macro(
      `atomic_${name}_explicit(${given}, success, failure)`,
      `__c11_atomic_${name}(${given}, success, failure)`,
    );
  }
  return guarded('__CLANG_STDATOMIC_H', text);
}

const XDP_ACTIONS = 'BASIC REDIRECT NDO_XMIT XSK_ZEROCOPY HW_OFFLOAD RX_SG NDO_XMIT_SG'.split(' ');

/** Headers by their names. */
export const SYSTEM_HEADERS: Readonly<Record<string, () => string>> = {
  'asm/signal.h': signal,
  'linux/signal.h': include('asm/signal.h'),
  'signal.h': include('sys/types.h', 'asm/signal.h'),
  'asm/socket.h': () => guarded('__ASM_GENERIC_SOCKET_H', constants(SOCKET_OPTIONS)),
  'asm-generic/socket.h': include('asm/socket.h'),
  'asm/fcntl.h': () => guarded('_ASM_GENERIC_FCNTL_H', `${TYPES}${constants(known.OPEN_FLAGS)}`),
  'asm-generic/fcntl.h': include('asm/fcntl.h'),
  'linux/fcntl.h': () =>
    guarded('_UAPI_LINUX_FCNTL_H', `#include <asm/fcntl.h>\n${constants(known.AT_FLAGS)}`),
  'fcntl.h': include('sys/types.h', 'linux/fcntl.h'),
  'linux/stat.h': stat,
  'sys/stat.h': include('sys/types.h', 'linux/stat.h'),
  'linux/mman.h': () => guarded('_UAPI_LINUX_MMAN_H', constants(known.MAPPINGS)),
  'asm/mman.h': include('linux/mman.h'),
  'sys/mman.h': include('sys/types.h', 'linux/mman.h'),
  'linux/magic.h': () => guarded('__LINUX_MAGIC_H__', constants(known.MAGIC_NUMBERS)),
  'linux/capability.h': () =>
    guarded(
      '_UAPI_LINUX_CAPABILITY_H',
      `${TYPES}${constants(known.CAPABILITIES)}#define CAP_LAST_CAP CAP_CHECKPOINT_RESTORE\n${macro('CAP_TO_INDEX(x)', '((x) >> 5)')}${macro('CAP_TO_MASK(x)', '(1U << ((x) & 31))')}`,
    ),
  'linux/netlink.h': netlink,
  'linux/vm_sockets.h': () =>
    guarded(
      '_UAPI_VM_SOCKETS_H',
      `#include <linux/socket.h>\n${constants(known.VSOCK)}${withoutVmlinux('struct sockaddr_vm {\n\t__kernel_sa_family_t svm_family;\n\tunsigned short svm_reserved1;\n\tunsigned int svm_port;\n\tunsigned int svm_cid;\n\t__u8 svm_flags;\n\tunsigned char svm_zero[3];\n};\n')}`,
    ),
  'linux/mpls.h': () =>
    guarded(
      '_UAPI_MPLS_H',
      `#include <asm/byteorder.h>\n${TYPES}${constants(known.MPLS)}${withoutVmlinux('struct mpls_label {\n\t__be32 entry;\n};\n')}`,
    ),
  'linux/ethtool.h': () =>
    guarded(
      '_UAPI_LINUX_ETHTOOL_H',
      `${TYPES}#include <linux/if_ether.h>\n${constants({ ETH_GSTRING_LEN: 32, DUPLEX_HALF: '0x00', DUPLEX_FULL: '0x01', DUPLEX_UNKNOWN: '0xff', SPEED_UNKNOWN: '-1', AUTONEG_DISABLE: '0x00', AUTONEG_ENABLE: '0x01' })}`,
    ),
  'linux/lirc.h': () =>
    guarded(
      '_LINUX_LIRC_H',
      `${TYPES}${constants({ LIRC_MODE2_SPACE: '0x00000000', LIRC_MODE2_PULSE: '0x01000000', LIRC_MODE2_FREQUENCY: '0x02000000', LIRC_MODE2_TIMEOUT: '0x03000000', LIRC_MODE2_OVERFLOW: '0x04000000', LIRC_VALUE_MASK: '0x00FFFFFF', LIRC_MODE2_MASK: '0xFF000000' })}${macro('LIRC_VALUE(v)', '((v) & LIRC_VALUE_MASK)')}${macro('LIRC_MODE2(v)', '((v) & LIRC_MODE2_MASK)')}${['SPACE', 'PULSE', 'FREQUENCY', 'TIMEOUT', 'OVERFLOW'].map((name) => macro(`LIRC_IS_${name}(v)`, `(LIRC_MODE2(v) == LIRC_MODE2_${name})`)).join('')}`,
    ),
  'linux/netdev.h': () =>
    guarded(
      '_UAPI_LINUX_NETDEV_H',
      withoutVmlinux(
        enumeration('netdev_xdp_act', {
          ...Object.fromEntries(XDP_ACTIONS.map((name, i) => [`NETDEV_XDP_ACT_${name}`, 1 << i])),
          NETDEV_XDP_ACT_MASK: 127,
        }),
      ),
    ),
  'linux/tc_act/tc_bpf.h': include('linux/pkt_cls.h'),
  'linux/string.h': include('linux/types.h', 'string.h'),
  'linux/kernel.h': () =>
    guarded(
      '_UAPI_LINUX_KERNEL_H',
      `${TYPES}${macro('__KERNEL_DIV_ROUND_UP(n, d)', '(((n) + (d) - 1) / (d))')}${macro('__ALIGN_KERNEL(x, a)', '__ALIGN_KERNEL_MASK(x, (__typeof__(x))(a) - 1)')}${macro('__ALIGN_KERNEL_MASK(x, mask)', '(((x) + (mask)) & ~(mask))')}`,
    ),
  'linux/compiler.h': () => guarded('_LINUX_COMPILER_H', ''),
  'linux/time.h': times,
  'time.h': include('sys/types.h', 'linux/time.h'),
  'sys/time.h': include('time.h'),
  'linux/sched.h': () =>
    guarded('_UAPI_LINUX_SCHED_H', `${TYPES}#define TASK_COMM_LEN 16\n${constants(known.CLONE_FLAGS)}`),
  'sched.h': include('sys/types.h', 'linux/sched.h'),
  'stdatomic.h': atomics,
  'assert.h': () =>
    `#undef assert\n${macro('assert(condition)', '((void)(condition))')}#define static_assert _Static_assert\n`,
  'ctype.h': () => guarded('_CTYPE_H', ''),
  'iso646.h': () =>
    guarded(
      '__ISO646_H',
      aliases('', { and: '&&', or: '||', not: '!', compl: '~', bitand: '&', bitor: '|', xor: '^' }),
    ),
  'sys/cdefs.h': () => guarded('_SYS_CDEFS_H', ''),
  'byteswap.h': () =>
    guarded(
      '_BYTESWAP_H',
      [16, 32, 64].map((bits) => macro(`bswap_${bits}(x)`, `__builtin_bswap${bits}(x)`)).join(''),
    ),
  'endian.h': () => {
    let text =
      '#include <asm/byteorder.h>\n#define LITTLE_ENDIAN 1234\n#define BIG_ENDIAN 4321\n#define BYTE_ORDER LITTLE_ENDIAN\n';
    for (const bits of [16, 32, 64]) {
      text +=
        macro(`htobe${bits}(x)`, `__cpu_to_be${bits}(x)`) + macro(`be${bits}toh(x)`, `__be${bits}_to_cpu(x)`);
      text +=
        macro(`htole${bits}(x)`, `__cpu_to_le${bits}(x)`) + macro(`le${bits}toh(x)`, `__le${bits}_to_cpu(x)`);
    }
    return guarded('_ENDIAN_H', text);
  },
  'net/if.h': include('sys/types.h', 'sys/socket.h', 'linux/if.h'),
  'net/ethernet.h': () =>
    guarded(
      '__NET_ETHERNET_H',
      `#include <sys/types.h>\n#include <linux/if_ether.h>\n${ETHER_HEADER}${constants({ ETHERTYPE_IP: '0x0800', ETHERTYPE_ARP: '0x0806', ETHERTYPE_REVARP: '0x8035', ETHERTYPE_VLAN: '0x8100', ETHERTYPE_IPV6: '0x86dd', ETHERTYPE_LOOPBACK: '0x9000', ETHER_ADDR_LEN: 'ETH_ALEN', ETHER_HDR_LEN: 'ETH_HLEN' })}`,
    ),
  'netinet/if_ether.h': include('net/ethernet.h', 'linux/if_arp.h'),
  'netinet/ether.h': include('netinet/if_ether.h'),
  'netinet/ip.h': () =>
    guarded(
      '__NETINET_IP_H',
      `#include <netinet/in.h>\n#include <linux/ip.h>\n${BSD_IP}${constants({ IPVERSION: 4, IP_RF: '0x8000', IP_DF: '0x4000', IP_MF: '0x2000', IP_OFFMASK: '0x1fff', IP_MAXPACKET: 65535 })}`,
    ),
  'netinet/ip_icmp.h': include('netinet/in.h', 'linux/icmp.h'),
  'netinet/udp.h': () =>
    guarded(
      '__NETINET_UDP_H',
      `#include <sys/types.h>\n#include <linux/udp.h>\n${aliases('uh_', { sport: 'source', dport: 'dest', ulen: 'len', sum: 'check' })}#define SOL_UDP 17\n`,
    ),
  'netinet/tcp.h': () =>
    guarded(
      '_NETINET_TCP_H',
      `#include <sys/types.h>\n#include <linux/tcp.h>\n${aliases('th_', { sport: 'source', dport: 'dest', off: 'doff', win: 'window', sum: 'check', urp: 'urg_ptr' })}${constants({ TH_FIN: '0x01', TH_SYN: '0x02', TH_RST: '0x04', TH_PUSH: '0x08', TH_ACK: '0x10', TH_URG: '0x20', SOL_TCP: 6 })}`,
    ),
};
