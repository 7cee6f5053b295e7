/**
 * Every program type of the UAPI (enum bpf_prog_type): its context, what R0 may be at exit, which attach types PROG_LOAD
 * accepts, which privileges it asks for. Sources: Linux 6.18 bpf_prog_load_check_attach, check_return_code,
 * may_access_direct_pkt_data, is_net_admin_prog_type, is_perfmon_prog_type.
 */
import { BPF_PROG_TYPE } from '../uapi/index.ts';
import {
  CGROUP_SKB_CTX,
  FLOW_DISSECTOR_CTX,
  LWT_CTX,
  SK_SKB_CTX,
  SOCKET_FILTER_CTX,
  TC_CTX,
  XDP_CTX,
} from './contexts/packet.ts';
import {
  CGROUP_DEVICE_CTX,
  CGROUP_SOCK_ADDR_CTX,
  CGROUP_SOCK_CTX,
  CGROUP_SOCKOPT_CTX,
  CGROUP_SYSCTL_CTX,
  SK_LOOKUP_CTX,
  SK_MSG_CTX,
  SK_REUSEPORT_CTX,
  SOCK_OPS_CTX,
} from './contexts/sock.ts';
import {
  BTF_ARGUMENTS_CTX,
  KPROBE_CTX,
  LIRC_MODE2_CTX,
  NETFILTER_CTX,
  PERF_EVENT_CTX,
  RAW_TRACEPOINT_CTX,
  RAW_TRACEPOINT_WRITABLE_CTX,
  SYSCALL_CTX,
  TRACEPOINT_CTX,
} from './contexts/tracing.ts';
import type { ProgTypeRow, ReturnRange } from './types.ts';

const ZERO_OR_ONE: ReturnRange = { min: 0, max: 1 };
const families = (what: string): string[] => ['INET4', 'INET6', 'UNIX'].map((f) => `CGROUP_${f}_${what}`);
const datagrams = (what: string): string[] => ['UDP4', 'UDP6', 'UNIX'].map((f) => `CGROUP_${f}_${what}`);
const BINDS = ['CGROUP_INET4_BIND', 'CGROUP_INET6_BIND'];
/** Attach types at which the kernel does not ask: the program must let through. */
const NO_VERDICT = [...families('GETPEERNAME'), ...families('GETSOCKNAME'), ...datagrams('RECVMSG')];

const TRAMPOLINES = ['TRACE_FENTRY', 'TRACE_FEXIT', 'MODIFY_RETURN'];
const READ_WRITE = { read: true, write: true } as const;
const READ = { read: true } as const;

type ProgTypeFacts = Omit<ProgTypeRow, 'id' | 'constant'>;

const FACTS: readonly ProgTypeFacts[] = [
  {
    name: 'socket_filter',
    updatesSockmap: true,
    noSpinLock: true,
    ctx: SOCKET_FILTER_CTX,
    legacyPacketLoads: true,
    capability: 'bpf',
    unprivileged: true,
    testRun: 'packet',
    since: '3.19',
  },
  {
    name: 'kprobe',
    ctx: KPROBE_CTX,
    returns: [{ min: 0, max: 1, attachTypes: ['TRACE_KPROBE_SESSION', 'TRACE_UPROBE_SESSION'] }],
    capability: 'perfmon',
    tracing: true,
    privateStack: true,
    sleepable: true,
    since: '4.1',
  },
  {
    name: 'sched_cls',
    updatesSockmap: true,
    ctx: TC_CTX,
    packet: READ_WRITE,
    legacyPacketLoads: true,
    capability: 'net_admin',
    testRun: 'packet',
    since: '4.1',
  },
  {
    name: 'sched_act',
    updatesSockmap: true,
    ctx: TC_CTX,
    packet: READ_WRITE,
    legacyPacketLoads: true,
    capability: 'net_admin',
    testRun: 'packet',
    since: '4.1',
  },
  {
    name: 'tracepoint',
    ctx: TRACEPOINT_CTX,
    capability: 'perfmon',
    tracing: true,
    privateStack: true,
    since: '4.7',
  },
  {
    name: 'xdp',
    updatesSockmap: true,
    ctx: XDP_CTX,
    packet: READ_WRITE,
    capability: 'net_admin',
    testRun: 'packet',
    since: '4.8',
  },
  {
    name: 'perf_event',
    ctx: PERF_EVENT_CTX,
    capability: 'perfmon',
    tracing: true,
    privateStack: true,
    since: '4.9',
  },
  {
    name: 'cgroup_skb',
    ctx: CGROUP_SKB_CTX,
    returns: [{ min: 0, max: 3, attachTypes: ['CGROUP_INET_EGRESS'] }, ZERO_OR_ONE],
    packet: READ,
    attachTypes: ['CGROUP_INET_INGRESS', 'CGROUP_INET_EGRESS'],
    capability: 'bpf',
    unprivileged: true,
    testRun: 'packet',
    since: '4.10',
  },
  {
    name: 'cgroup_sock',
    ctx: CGROUP_SOCK_CTX,
    returns: [ZERO_OR_ONE],
    attachTypes: [
      'CGROUP_INET_SOCK_CREATE',
      'CGROUP_INET_SOCK_RELEASE',
      'CGROUP_INET4_POST_BIND',
      'CGROUP_INET6_POST_BIND',
    ],
    defaultAttachType: 'CGROUP_INET_SOCK_CREATE',
    capability: 'net_admin',
    since: '4.10',
  },
  { name: 'lwt_in', ctx: LWT_CTX, packet: READ, capability: 'net_admin', testRun: 'packet', since: '4.10' },
  { name: 'lwt_out', ctx: LWT_CTX, packet: READ, capability: 'net_admin', testRun: 'packet', since: '4.10' },
  {
    name: 'lwt_xmit',
    ctx: LWT_CTX,
    packet: READ_WRITE,
    capability: 'net_admin',
    testRun: 'packet',
    since: '4.10',
  },
  {
    name: 'sock_ops',
    updatesSockmap: 'delete',
    ctx: SOCK_OPS_CTX,
    returns: [ZERO_OR_ONE],
    packet: { read: true, helpers: 'never' },
    capability: 'net_admin',
    since: '4.13',
  },
  { name: 'sk_skb', ctx: SK_SKB_CTX, packet: READ_WRITE, capability: 'net_admin', since: '4.14' },
  {
    name: 'cgroup_device',
    ctx: CGROUP_DEVICE_CTX,
    returns: [ZERO_OR_ONE],
    capability: 'net_admin',
    since: '4.15',
  },
  { name: 'sk_msg', ctx: SK_MSG_CTX, packet: READ_WRITE, capability: 'net_admin', since: '4.17' },
  {
    name: 'raw_tracepoint',
    ctx: RAW_TRACEPOINT_CTX,
    capability: 'perfmon',
    testRun: 'ctx',
    tracing: true,
    privateStack: true,
    since: '4.17',
  },
  {
    name: 'cgroup_sock_addr',
    ctx: CGROUP_SOCK_ADDR_CTX,
    returns: [
      { min: 1, max: 1, attachTypes: NO_VERDICT },
      { min: 0, max: 3, attachTypes: BINDS },
      ZERO_OR_ONE,
    ],
    attachTypes: [...BINDS, ...families('CONNECT'), ...datagrams('SENDMSG'), ...NO_VERDICT],
    capability: 'net_admin',
    since: '4.17',
  },
  {
    name: 'lwt_seg6local',
    ctx: LWT_CTX,
    packet: READ,
    capability: 'net_admin',
    testRun: 'packet',
    since: '4.18',
  },
  { name: 'lirc_mode2', ctx: LIRC_MODE2_CTX, capability: 'bpf', since: '4.18' },
  {
    name: 'sk_reuseport',
    updatesSockmap: true,
    ctx: SK_REUSEPORT_CTX,
    packet: READ,
    attachTypes: ['SK_REUSEPORT_SELECT', 'SK_REUSEPORT_SELECT_OR_MIGRATE'],
    defaultAttachType: 'SK_REUSEPORT_SELECT',
    capability: 'bpf',
    since: '4.19',
  },
  {
    name: 'flow_dissector',
    updatesSockmap: true,
    ctx: FLOW_DISSECTOR_CTX,
    packet: READ,
    capability: 'net_admin',
    testRun: 'packet',
    since: '4.20',
  },
  {
    name: 'cgroup_sysctl',
    ctx: CGROUP_SYSCTL_CTX,
    returns: [ZERO_OR_ONE],
    capability: 'net_admin',
    since: '5.2',
  },
  {
    name: 'raw_tracepoint_writable',
    ctx: RAW_TRACEPOINT_WRITABLE_CTX,
    capability: 'perfmon',
    tracing: true,
    since: '5.2',
  },
  {
    name: 'cgroup_sockopt',
    ctx: CGROUP_SOCKOPT_CTX,
    returns: [ZERO_OR_ONE],
    packet: { read: true, write: true, helpers: 'always' },
    attachTypes: ['CGROUP_GETSOCKOPT', 'CGROUP_SETSOCKOPT'],
    capability: 'net_admin',
    since: '5.3',
  },
  {
    name: 'tracing',
    updatesSockmap: ['TRACE_ITER'],
    ctx: BTF_ARGUMENTS_CTX,
    returns: [
      { min: 0, max: 0, attachTypes: ['TRACE_FENTRY', 'TRACE_FEXIT'] },
      { min: 0, max: 1, attachTypes: ['TRACE_ITER'] },
    ],
    attachTypes: ['TRACE_RAW_TP', ...TRAMPOLINES, 'TRACE_ITER'],
    capability: 'perfmon',
    testRun: 'ctx',
    privateStack: ['TRACE_RAW_TP', ...TRAMPOLINES],
    sleepable: true,
    sleepableAttachTypes: [...TRAMPOLINES, 'TRACE_ITER'],
    needsAttachBtf: true,
    since: '5.5',
  },
  {
    name: 'struct_ops',
    implementsStructs: true,
    ctx: BTF_ARGUMENTS_CTX,
    capability: 'perfmon',
    sleepable: true,
    needsAttachBtf: true,
    since: '5.6',
  },
  {
    // Context, helpers and return value are those of the program that it replaces.
    name: 'ext',
    ctx: BTF_ARGUMENTS_CTX,
    capability: 'net_admin',
    needsAttachBtf: true,
    replacesFunctions: true,
    noAttachType: true,
    since: '5.6',
  },
  {
    name: 'lsm',
    ctx: BTF_ARGUMENTS_CTX,
    returns: [
      { min: 0, max: 1, attachTypes: ['LSM_CGROUP'] },
      { min: -4095, max: 0, attachTypes: ['LSM_MAC'] },
    ],
    attachTypes: ['LSM_MAC', 'LSM_CGROUP'],
    capability: 'perfmon',
    sleepable: true,
    needsAttachBtf: true,
    since: '5.7',
  },
  {
    name: 'sk_lookup',
    updatesSockmap: true,
    ctx: SK_LOOKUP_CTX,
    returns: [ZERO_OR_ONE],
    attachTypes: ['SK_LOOKUP'],
    capability: 'bpf',
    testRun: 'ctx',
    since: '5.9',
  },
  {
    name: 'syscall',
    ctx: SYSCALL_CTX,
    noAttachType: true,
    capability: 'bpf',
    testRun: 'ctx',
    sleepable: true,
    mustSleep: true,
    since: '5.14',
  },
  {
    name: 'netfilter',
    ctx: NETFILTER_CTX,
    returns: [ZERO_OR_ONE],
    attachTypes: ['NETFILTER'],
    capability: 'net_admin',
    testRun: 'packet',
    since: '6.4',
  },
];

/** All program types, by ascending id. */
export const PROG_TYPES: readonly ProgTypeRow[] = FACTS.map((facts) => {
  const constant = `BPF_PROG_TYPE_${facts.name.toUpperCase()}` as keyof typeof BPF_PROG_TYPE;
  return { ...facts, id: BPF_PROG_TYPE[constant], constant };
}).sort((a, b) => a.id - b.id);

const BY_ID: ReadonlyMap<number, ProgTypeRow> = new Map(PROG_TYPES.map((row) => [row.id, row]));
const BY_NAME: ReadonlyMap<string, ProgTypeRow> = new Map(PROG_TYPES.map((row) => [row.name, row]));

export function progTypeById(id: number): ProgTypeRow | undefined {
  return BY_ID.get(id);
}

/** By bpftool's name, `socket_filter`, or the UAPI constant. */
export function progTypeByName(name: string): ProgTypeRow | undefined {
  return BY_NAME.get(name) ?? BY_NAME.get(name.replace(/^BPF_PROG_TYPE_/, '').toLowerCase());
}

/** The range that R0 must be in at exit; null: any scalar. */
export function returnRange(row: ProgTypeRow, attachType?: string): ReturnRange | null {
  return (
    row.returns?.find(
      ({ attachTypes }) =>
        attachTypes === undefined || (attachType !== undefined && attachTypes.includes(attachType)),
    ) ?? null
  );
}
