/**
 * Helpers that program types got later than the helper itself (`HelperRow.since`): the pairs that the newest kernel allows and
 * an older one does not. Checked against 5.10, 6.1 and 6.12 by test/guest/verdicts (table "helpers").
 */
export interface HelperSince {
  /** Names without `bpf_`. */
  readonly helpers: readonly string[];
  /** Program types, by name, or groups of PROG_GROUPS. */
  readonly progTypes: readonly string[];
  /** Only with these expected attach types (UAPI names without BPF_). */
  readonly attachTypes?: readonly string[];
  readonly since: string;
}

const PACKET_TYPES = [
  'socket_filter',
  'sched_cls',
  'sched_act',
  'xdp',
  'cgroup_skb',
  'lwt_in',
  'lwt_out',
  'lwt_xmit',
  'lwt_seg6local',
  'sock_ops',
  'sk_skb',
  'sk_reuseport',
  'sk_lookup',
  'flow_dissector',
];
const CGROUP_CALLS = ['cgroup_device', 'cgroup_sysctl', 'cgroup_sockopt'];
const UNTRACED = [...PACKET_TYPES, ...CGROUP_CALLS, 'cgroup_sock', 'cgroup_sock_addr', 'sk_msg'];
const PROBES = ['kprobe', 'tracepoint', 'perf_event', 'raw_tracepoint', 'raw_tracepoint_writable'];
const TRACERS = [...PROBES, 'tracing', 'lsm'];

export const HELPER_RELEASES: readonly HelperSince[] = [
  // Tracing helpers became part of what every type has.
  {
    helpers: [
      'perf_event_read',
      'perf_event_read_value',
      'send_signal',
      'send_signal_thread',
      'get_task_stack',
      'copy_from_user',
      'copy_from_user_task',
      'task_storage_get',
      'task_storage_delete',
      'get_branch_snapshot',
      'find_vma',
    ],
    progTypes: [...UNTRACED, 'netfilter'],
    since: '6.16',
  },
  {
    helpers: ['get_current_uid_gid', 'get_current_comm'],
    progTypes: [...PACKET_TYPES, 'netfilter'],
    since: '6.16',
  },
  {
    helpers: ['get_current_pid_tgid', 'get_current_cgroup_id', 'get_current_ancestor_cgroup_id'],
    progTypes: PACKET_TYPES,
    since: '6.10',
  },
  { helpers: ['get_current_comm'], progTypes: ['sk_msg'], since: '6.16' },
  {
    helpers: ['current_task_under_cgroup'],
    progTypes: [...PACKET_TYPES, 'netfilter', 'sk_msg'],
    since: '6.16',
  },
  {
    helpers: ['current_task_under_cgroup'],
    progTypes: [...CGROUP_CALLS, 'cgroup_sock', 'cgroup_sock_addr'],
    since: '6.10',
  },
  {
    helpers: ['get_cgroup_classid'],
    progTypes: [
      'socket_filter',
      'xdp',
      'cgroup_skb',
      'sock_ops',
      'sk_skb',
      'sk_reuseport',
      'sk_lookup',
      'flow_dissector',
      'netfilter',
      ...TRACERS,
    ],
    since: '6.16',
  },
  { helpers: ['get_ns_current_pid_tgid'], progTypes: UNTRACED, since: '6.10' },
  {
    helpers: ['get_netns_cookie'],
    progTypes: ['socket_filter', 'sched_cls', 'sched_act', 'cgroup_skb'],
    since: '6.15',
  },
  { helpers: ['skb_pull_data'], progTypes: ['lwt_seg6local'], since: '6.7' },
  {
    helpers: ['get_attach_cookie'],
    progTypes: ['raw_tracepoint', 'raw_tracepoint_writable'],
    since: '6.10',
  },
  {
    helpers: [
      'get_current_pid_tgid',
      'get_current_comm',
      'get_cgroup_classid',
      'get_current_ancestor_cgroup_id',
    ],
    progTypes: CGROUP_CALLS,
    since: '6.1',
  },
  {
    helpers: ['strtol', 'strtoul'],
    progTypes: [...UNTRACED.filter((name) => name !== 'cgroup_sysctl'), ...TRACERS],
    since: '6.0',
  },
  { helpers: ['copy_from_user'], progTypes: PROBES, since: '6.0' },
  { helpers: ['get_current_ancestor_cgroup_id'], progTypes: TRACERS, since: '5.15' },
  { helpers: ['get_netns_cookie'], progTypes: ['cgroup_sockopt', 'sk_msg', 'sock_ops'], since: '5.15' },
  {
    helpers: ['setsockopt', 'getsockopt'],
    progTypes: ['cgroup_sockopt'],
    attachTypes: ['CGROUP_SETSOCKOPT'],
    since: '5.15',
  },
  { helpers: ['get_socket_cookie'], progTypes: ['sk_reuseport'], since: '5.14' },
  { helpers: ['get_socket_cookie'], progTypes: ['tracing', 'lsm'], since: '5.12' },
  { helpers: ['spin_lock', 'spin_unlock'], progTypes: TRACERS, since: '5.12' },
  {
    helpers: ['setsockopt', 'getsockopt'],
    progTypes: ['cgroup_sock_addr'],
    attachTypes: [
      'CGROUP_INET4_BIND',
      'CGROUP_INET6_BIND',
      'CGROUP_INET4_GETPEERNAME',
      'CGROUP_INET6_GETPEERNAME',
      'CGROUP_INET4_GETSOCKNAME',
      'CGROUP_INET6_GETSOCKNAME',
      'CGROUP_UDP4_SENDMSG',
      'CGROUP_UDP6_SENDMSG',
      'CGROUP_UDP4_RECVMSG',
      'CGROUP_UDP6_RECVMSG',
    ],
    since: '5.12',
  },
  { helpers: ['sk_storage_get', 'sk_storage_delete'], progTypes: ['tracing'], since: '5.11' },
  { helpers: ['setsockopt', 'getsockopt'], progTypes: ['cgroup_sock_addr'], since: '5.8' },
  {
    helpers: [
      'perf_event_output',
      'get_current_uid_gid',
      'get_current_pid_tgid',
      'get_current_cgroup_id',
      'get_cgroup_classid',
    ],
    progTypes: ['sk_msg'],
    since: '5.8',
  },
  {
    helpers: [
      'perf_event_output',
      'get_current_pid_tgid',
      'get_current_comm',
      'get_current_cgroup_id',
      'get_cgroup_classid',
      'get_socket_cookie',
    ],
    progTypes: ['cgroup_sock'],
    since: '5.7',
  },
  {
    helpers: [
      'perf_event_output',
      'get_current_pid_tgid',
      'get_current_comm',
      'get_current_cgroup_id',
      'get_cgroup_classid',
    ],
    progTypes: ['cgroup_sock_addr'],
    since: '5.7',
  },
];
