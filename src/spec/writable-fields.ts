/**
 * Fields of the kernel's structs that programs may write (btf_struct_access of the verifier operations of Linux 6.18); all others are
 * read only.
 */

export interface WritableRow {
  readonly progTypes: readonly string[];
  /** Only programs of this struct_ops. */
  readonly structOps?: string;
  /** The struct, under any of these names; the log calls it by the first. */
  readonly structs: readonly string[];
  /** Paths of members that are written from their first byte on. */
  readonly fields: readonly string[];
  /** Of members that are written anywhere. */
  readonly ranges?: readonly string[];
  /** All of it may be written. */
  readonly whole?: true;
  /** The log says nothing of a refusal. */
  readonly silent?: true;
}

export const WRITABLE_FIELDS: readonly WritableRow[] = [
  {
    progTypes: ['sched_cls', 'sched_act', 'xdp'],
    structs: ['nf_conn', 'nf_conn___init'],
    fields: ['mark'],
  },
  {
    progTypes: ['struct_ops'],
    structOps: 'tcp_congestion_ops',
    structs: ['tcp_sock'],
    ranges: ['inet_conn.icsk_ca_priv'],
    fields: [
      'inet_conn.icsk_inet.sk.sk_pacing_rate',
      'inet_conn.icsk_inet.sk.sk_pacing_status',
      'inet_conn.icsk_ack.pending',
      'snd_cwnd',
      'snd_cwnd_cnt',
      'snd_cwnd_stamp',
      'snd_ssthresh',
      'ecn_flags',
      'app_limited',
    ],
  },
  {
    progTypes: ['struct_ops'],
    structOps: 'sched_ext_ops',
    structs: ['task_struct'],
    fields: [],
    ranges: ['scx.slice', 'scx.dsq_vtime', 'scx.disallow'],
    silent: true,
  },
  {
    progTypes: ['struct_ops'],
    structOps: 'bpf_dummy_ops',
    structs: ['bpf_dummy_ops_state'],
    fields: [],
    whole: true,
  },
  {
    progTypes: ['struct_ops'],
    structOps: 'Qdisc_ops',
    structs: ['Qdisc'],
    fields: ['limit', 'q.qlen'],
    ranges: ['qstats'],
  },
  {
    progTypes: ['struct_ops'],
    structOps: 'Qdisc_ops',
    structs: ['sk_buff'],
    fields: ['tstamp'],
  },
  {
    progTypes: ['struct_ops'],
    structOps: 'hid_bpf_ops',
    structs: ['hid_bpf_ctx'],
    fields: [],
    ranges: ['retval'],
  },
  {
    progTypes: ['struct_ops'],
    structOps: 'hid_bpf_ops',
    structs: ['hid_device'],
    fields: [],
    ranges: ['name', 'uniq', 'phys'],
  },
];
