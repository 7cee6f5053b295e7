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
  /** Paths of the members. */
  readonly fields: readonly string[];
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
    fields: [
      'inet_conn.icsk_ca_priv',
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
    fields: ['scx.slice', 'scx.dsq_vtime', 'scx.disallow'],
  },
];
