/**
 * Contexts of programs on sockets: cgroup sockets and addresses, sockops, sk_msg, reuseport and lookup. The rules are
 * those of the kernel's is_valid_access functions of Linux 6.18 (net/core/filter.c, kernel/bpf/cgroup.c).
 */
import { UAPI_LAYOUTS } from '../../uapi/index.ts';
import type { CtxField, CtxLayout } from '../types.ts';
import { type FieldRules, field, NARROW, SOCK_POINTER, sizeOf, type UapiStruct, words } from './fields.ts';

function layout(struct: UapiStruct, fields: readonly CtxField[]): CtxLayout {
  return { struct, size: sizeOf(struct), access: 'fields', fields };
}

const NARROW_AT_START: FieldRules = { narrow: true, narrowAtStart: true };
const OWN_SOCKETS = ['CGROUP_INET_SOCK_CREATE', 'CGROUP_INET_SOCK_RELEASE'] as const;
const BOUND4 = ['CGROUP_INET4_POST_BIND'] as const;
const BOUND6 = ['CGROUP_INET6_POST_BIND'] as const;

/** `struct bpf_sock` as a context; pointers to sockets from helpers have the same fields without attach types. */
function sockFields(asContext: boolean): CtxField[] {
  const own: FieldRules = asContext ? { write: true, attachTypes: OWN_SOCKETS } : {};
  const bound = (attachTypes: readonly string[]): FieldRules => (asContext ? { attachTypes } : {});
  return [
    field('bpf_sock', 'bound_dev_if', own),
    field('bpf_sock', 'family', NARROW_AT_START),
    field('bpf_sock', 'type', NARROW_AT_START),
    field('bpf_sock', 'protocol', NARROW_AT_START),
    field('bpf_sock', 'mark', own),
    field('bpf_sock', 'priority', own),
    field('bpf_sock', 'src_ip4', { ...NARROW, ...bound(BOUND4) }),
    ...words('bpf_sock', 'src_ip6', { ...NARROW, ...bound(BOUND6) }),
    field('bpf_sock', 'src_port', { ...NARROW_AT_START, ...bound([...BOUND4, ...BOUND6]) }),
    field('bpf_sock', 'dst_port', { ...NARROW, alsoSizes: [4] }),
    field('bpf_sock', 'dst_ip4', NARROW),
    ...words('bpf_sock', 'dst_ip6', NARROW),
    field('bpf_sock', 'state', NARROW_AT_START),
    field('bpf_sock', 'rx_queue_mapping', NARROW_AT_START),
  ];
}

export const CGROUP_SOCK_CTX = layout('bpf_sock', sockFields(true));

/** What programs may load through a `struct bpf_sock *` that a helper or a context field gave them. */
export const SOCK_FACADE = layout('bpf_sock', sockFields(false));

export const TCP_SOCK_FACADE = layout(
  'bpf_tcp_sock',
  UAPI_LAYOUTS.bpf_tcp_sock.fields.map(({ name }) => field('bpf_tcp_sock', name)),
);

const INET4 = ['BIND', 'CONNECT', 'GETPEERNAME', 'GETSOCKNAME'].map((what) => `CGROUP_INET4_${what}`);
const INET6 = ['BIND', 'CONNECT', 'GETPEERNAME', 'GETSOCKNAME'].map((what) => `CGROUP_INET6_${what}`);
const ADDRESS: FieldRules = { write: true, narrow: true };

export const CGROUP_SOCK_ADDR_CTX = layout('bpf_sock_addr', [
  field('bpf_sock_addr', 'user_family'),
  field('bpf_sock_addr', 'user_ip4', {
    ...ADDRESS,
    attachTypes: [...INET4, 'CGROUP_UDP4_SENDMSG', 'CGROUP_UDP4_RECVMSG'],
  }),
  ...words('bpf_sock_addr', 'user_ip6', {
    ...ADDRESS,
    wide: true,
    attachTypes: [...INET6, 'CGROUP_UDP6_SENDMSG', 'CGROUP_UDP6_RECVMSG'],
  }),
  field('bpf_sock_addr', 'user_port', ADDRESS),
  field('bpf_sock_addr', 'family'),
  field('bpf_sock_addr', 'type'),
  field('bpf_sock_addr', 'protocol'),
  field('bpf_sock_addr', 'msg_src_ip4', { ...ADDRESS, attachTypes: ['CGROUP_UDP4_SENDMSG'] }),
  ...words('bpf_sock_addr', 'msg_src_ip6', { ...ADDRESS, wide: true, attachTypes: ['CGROUP_UDP6_SENDMSG'] }),
  field('bpf_sock_addr', 'sk', SOCK_POINTER),
]);

/** Fields of `bpf_sock_ops` that are not plain 4-byte loads. */
const SOCK_OPS_RULES: Readonly<Record<string, FieldRules>> = {
  sk_txhash: { write: true },
  sk: { kind: 'sock', nullable: true },
  skb_data: { kind: 'pkt' },
  skb_data_end: { kind: 'pkt_end' },
  skb_tcp_flags: NARROW_AT_START,
};
const SOCK_OPS_ARRAYS = ['replylong', 'remote_ip6', 'local_ip6'];
/** `args` and `reply` share the bytes of `replylong`. */
const SOCK_OPS_ALIASES = ['args', 'reply'];

export const SOCK_OPS_CTX = layout(
  'bpf_sock_ops',
  UAPI_LAYOUTS.bpf_sock_ops.fields
    .filter(({ name }) => !SOCK_OPS_ALIASES.includes(name))
    .flatMap(({ name }) => {
      if (!SOCK_OPS_ARRAYS.includes(name)) return [field('bpf_sock_ops', name, SOCK_OPS_RULES[name])];
      const rows = words('bpf_sock_ops', name);
      return name === 'replylong' ? rows.map((row, i) => (i === 0 ? { ...row, write: true } : row)) : rows;
    }),
);

export const SK_MSG_CTX = layout('sk_msg_md', [
  field('sk_msg_md', 'data', { kind: 'pkt' }),
  field('sk_msg_md', 'data_end', { kind: 'pkt_end' }),
  field('sk_msg_md', 'family'),
  field('sk_msg_md', 'remote_ip4'),
  field('sk_msg_md', 'local_ip4'),
  ...words('sk_msg_md', 'remote_ip6'),
  ...words('sk_msg_md', 'local_ip6'),
  field('sk_msg_md', 'remote_port'),
  field('sk_msg_md', 'local_port'),
  field('sk_msg_md', 'size'),
  field('sk_msg_md', 'sk', SOCK_POINTER),
]);

export const SK_REUSEPORT_CTX = layout('sk_reuseport_md', [
  field('sk_reuseport_md', 'data', { kind: 'pkt' }),
  field('sk_reuseport_md', 'data_end', { kind: 'pkt_end' }),
  field('sk_reuseport_md', 'len', NARROW),
  field('sk_reuseport_md', 'eth_protocol', { narrow: true, minSize: 2 }),
  field('sk_reuseport_md', 'ip_protocol', NARROW),
  field('sk_reuseport_md', 'bind_inany', NARROW),
  field('sk_reuseport_md', 'hash'),
  field('sk_reuseport_md', 'sk', SOCK_POINTER),
  field('sk_reuseport_md', 'migrating_sk', { kind: 'sock_common', nullable: true }),
]);

const REMOTE_PORT = field('bpf_sk_lookup', 'remote_port', { ...NARROW, alsoSizes: [4] });

export const SK_LOOKUP_CTX = layout('bpf_sk_lookup', [
  field('bpf_sk_lookup', 'sk', { kind: 'sock', nullable: true }),
  field('bpf_sk_lookup', 'family', NARROW),
  field('bpf_sk_lookup', 'protocol', NARROW),
  field('bpf_sk_lookup', 'remote_ip4', NARROW),
  ...words('bpf_sk_lookup', 'remote_ip6', NARROW),
  REMOTE_PORT,
  // Padding that older programs read together with the port; always 0.
  { name: 'padding', offset: REMOTE_PORT.offset + 2, size: 2, read: true, write: false, narrow: true },
  field('bpf_sk_lookup', 'local_ip4', NARROW),
  ...words('bpf_sk_lookup', 'local_ip6', NARROW),
  field('bpf_sk_lookup', 'local_port', NARROW),
  field('bpf_sk_lookup', 'ingress_ifindex', NARROW),
]);

export const CGROUP_DEVICE_CTX = layout('bpf_cgroup_dev_ctx', [
  field('bpf_cgroup_dev_ctx', 'access_type', NARROW),
  field('bpf_cgroup_dev_ctx', 'major'),
  field('bpf_cgroup_dev_ctx', 'minor'),
]);

export const CGROUP_SYSCTL_CTX = layout('bpf_sysctl', [
  field('bpf_sysctl', 'write', NARROW),
  field('bpf_sysctl', 'file_pos', { ...NARROW, write: true }),
]);

const SETSOCKOPT: FieldRules = { write: true, writeAttachTypes: ['CGROUP_SETSOCKOPT'] };

export const CGROUP_SOCKOPT_CTX = layout('bpf_sockopt', [
  field('bpf_sockopt', 'sk', SOCK_POINTER),
  field('bpf_sockopt', 'optval', { kind: 'pkt' }),
  field('bpf_sockopt', 'optval_end', { kind: 'pkt_end' }),
  field('bpf_sockopt', 'level', SETSOCKOPT),
  field('bpf_sockopt', 'optname', SETSOCKOPT),
  field('bpf_sockopt', 'optlen', { write: true }),
  field('bpf_sockopt', 'retval', { write: true, attachTypes: ['CGROUP_GETSOCKOPT'] }),
]);
