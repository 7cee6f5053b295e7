/**
 * Fields of contexts that came after their program type. Checked against 5.10, 6.1 and 6.12 by test/guest/verdicts (table "ctx").
 * Key: program type, then field of its context.
 */
const SKB = { gso_size: '5.7' } as const;
const CGROUP_SKB = { ...SKB, hwtstamp: '5.16' } as const;
const SCHED = { ...CGROUP_SKB, tstamp_type: '5.18' } as const;

export const CONTEXT_FIELD_RELEASES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  socket_filter: SKB,
  sched_cls: SCHED,
  sched_act: SCHED,
  cgroup_skb: CGROUP_SKB,
  lwt_in: SKB,
  lwt_out: SKB,
  lwt_xmit: SKB,
  lwt_seg6local: SKB,
  sk_skb: SKB,
  xdp: { egress_ifindex: '5.8' },
  sk_lookup: { ingress_ifindex: '5.17' },
  sk_reuseport: { sk: '5.14', migrating_sk: '5.14' },
  sk_msg: { sk: '5.8' },
  sock_ops: {
    skb_data: '5.10',
    skb_data_end: '5.10',
    skb_len: '5.10',
    skb_tcp_flags: '5.10',
    skb_hwtstamp: '6.2',
  },
};
