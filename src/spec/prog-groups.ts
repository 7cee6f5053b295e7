/** Groups of program types that get the same helpers (HelperRow.allowed); the kernel's shared func_proto functions. */
export const PROG_GROUPS: Readonly<Record<string, readonly string[]>> = {
  /** Every type with the base helpers; `ext` has those of the program it replaces. */
  base: [
    'socket_filter',
    'sched_cls',
    'sched_act',
    'xdp',
    'cgroup_skb',
    'cgroup_sock',
    'cgroup_sock_addr',
    'lwt_in',
    'lwt_out',
    'lwt_xmit',
    'lwt_seg6local',
    'sock_ops',
    'sk_skb',
    'sk_msg',
    'flow_dissector',
    'kprobe',
    'tracepoint',
    'perf_event',
    'raw_tracepoint',
    'raw_tracepoint_writable',
    'tracing',
    'cgroup_device',
    'cgroup_sysctl',
    'cgroup_sockopt',
    'sk_reuseport',
    'sk_lookup',
    'struct_ops',
    'lsm',
    'syscall',
    'netfilter',
  ],
  /** Programs on kernel events: kprobes, tracepoints, perf events, BTF-typed tracing. */
  kernel_events: [
    'kprobe',
    'tracepoint',
    'perf_event',
    'raw_tracepoint',
    'raw_tracepoint_writable',
    'tracing',
    'lsm',
    'syscall',
  ],
  /** Programs that see typed kernel pointers. */
  btf_tracing: ['tracing', 'lsm', 'syscall'],
  /** Types that see sockets or packets and may cast socket pointers. */
  network: [
    'socket_filter',
    'sched_cls',
    'sched_act',
    'xdp',
    'cgroup_skb',
    'cgroup_sock_addr',
    'lwt_in',
    'lwt_out',
    'lwt_xmit',
    'lwt_seg6local',
    'sock_ops',
    'sk_skb',
    'sk_msg',
    'flow_dissector',
    'sk_lookup',
  ],
  /** Types attached to control groups. */
  cgroup: [
    'cgroup_skb',
    'cgroup_sock',
    'cgroup_sock_addr',
    'sock_ops',
    'cgroup_device',
    'cgroup_sysctl',
    'cgroup_sockopt',
  ],
  /** Traffic control. */
  tc: ['sched_cls', 'sched_act'],
  /** Lightweight tunnels. */
  lwt: ['lwt_in', 'lwt_out', 'lwt_xmit', 'lwt_seg6local'],
};

/** The program types behind names, group names and `all`. */
export function expandProgTypes(names: readonly string[]): ReadonlySet<string> {
  const types = new Set<string>();
  for (const name of names) {
    if (name === 'all') {
      for (const type of PROG_GROUPS.base ?? []) types.add(type);
      types.add('lirc_mode2');
    }
    const group = PROG_GROUPS[name];
    if (group === undefined) types.add(name);
    else for (const type of group) types.add(type);
  }
  types.delete('all');
  return types;
}
