/**
 * Structs of functions that programs may implement (struct_ops): what the verifier operations and stubs of each say about their programs.
 * Facts of Linux 6.18 (net/ipv4/bpf_tcp_ca.c, net/sched/bpf_qdisc.c, kernel/sched/ext.c, drivers/hid/bpf, net/smc, net/bpf).
 */
export interface StructOpsRow {
  readonly struct: string;
  /** Helpers besides those of every program type; null: none at all. */
  readonly helpers: readonly string[] | null;
  /** Of these, what programs of some members may not call. */
  readonly withheld?: readonly { readonly helpers: readonly string[]; readonly members: readonly string[] }[];
  /** Members that no program can be attached to: there is no stub for them. */
  readonly unsupported?: readonly string[];
  /** The only members whose programs may sleep; absent: all. */
  readonly sleepable?: readonly string[];
  /** Arguments that point to one struct are known to point to another one. */
  readonly promoted?: Readonly<Record<string, string>>;
  /** Arguments by member and index that are of another type than the prototype says. */
  readonly argumentTypes?: Readonly<Record<string, Readonly<Record<number, string>>>>;
  /** Members besides functions that may have a value. */
  readonly data?: readonly string[];
  /** Of these, words of flags with the bits that there are. */
  readonly flags?: Readonly<Record<string, number>>;
  /** Of these, the text that names the struct among all that are registered: it is not empty. */
  readonly named?: string;
  /** One function of each of these must be there. */
  readonly required?: readonly (readonly string[])[];
  /** It can be tested only: no map of it is ever filled. */
  readonly notRegistered?: boolean;
}

export const STRUCT_OPS: readonly StructOpsRow[] = [
  {
    struct: 'tcp_congestion_ops',
    helpers: [
      'bpf_tcp_send_ack',
      'bpf_sk_storage_get',
      'bpf_sk_storage_delete',
      'bpf_setsockopt',
      'bpf_getsockopt',
      'bpf_ktime_get_coarse_ns',
    ],
    // The algorithm is on its way out: nothing new is to be asked for.
    withheld: [{ helpers: ['bpf_setsockopt', 'bpf_getsockopt'], members: ['release'] }],
    unsupported: ['get_info'],
    promoted: { sock: 'tcp_sock' },
    data: ['flags', 'name'],
    flags: { flags: 0x1f },
    named: 'name',
    required: [['ssthresh'], ['undo_cwnd'], ['cong_avoid', 'cong_control']],
  },
  { struct: 'bpf_dummy_ops', helpers: null, sleepable: ['test_sleepable'], notRegistered: true },
  {
    struct: 'hid_bpf_ops',
    helpers: [],
    sleepable: ['hid_rdesc_fixup', 'hid_hw_request', 'hid_hw_output_report'],
    data: ['hid_id', 'flags'],
  },
  {
    struct: 'sched_ext_ops',
    helpers: [],
    sleepable: [
      'init_task',
      'cgroup_init',
      'cgroup_exit',
      'cgroup_prep_move',
      'cpu_online',
      'cpu_offline',
      'init',
      'exit',
    ],
    data: ['dispatch_max_batch', 'flags', 'timeout_ms', 'exit_dump_len', 'hotplug_seq', 'name'],
    named: 'name',
  },
  {
    struct: 'Qdisc_ops',
    helpers: [],
    unsupported: [
      'peek',
      'change',
      'attach',
      'change_tx_queue_len',
      'change_real_num_tx',
      'dump',
      'dump_stats',
      'ingress_block_set',
      'egress_block_set',
      'ingress_block_get',
      'egress_block_get',
    ],
    argumentTypes: { enqueue: { 2: 'bpf_sk_buff_ptr' } },
    data: ['id'],
    named: 'id',
  },
  { struct: 'smc_hs_ctrl', helpers: [], data: ['name', 'flags'], named: 'name' },
];

export function structOpsRow(struct: string | undefined): StructOpsRow | undefined {
  return STRUCT_OPS.find((row) => row.struct === struct);
}
