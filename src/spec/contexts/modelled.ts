/**
 * The embedded kernel's own contexts behind the UAPI facades `xdp_md` and `__sk_buff`: named offsets in bytes. Pointers
 * are 8 bytes wide at 8-aligned offsets and hold guest addresses; every scalar has a slot of its own. Hooks fill them,
 * rewrite turns facade offsets into these, packet helpers move the edges.
 *
 * `buffer` and `buffer_end` bound the memory that the packet may grow into; programs never see them.
 */
export const MODELLED_XDP = {
  data: 0,
  data_end: 8,
  data_meta: 16,
  buffer: 24,
  buffer_end: 32,
  ingress_ifindex: 40,
  rx_queue_index: 44,
  egress_ifindex: 48,
} as const;

export const MODELLED_XDP_SIZE = 64;

export const MODELLED_SKB = {
  data: 0,
  data_end: 8,
  data_meta: 16,
  buffer: 24,
  buffer_end: 32,
  /** Guest address of a modelled socket, or NULL. */
  sk: 40,
  /** Guest address of a `struct bpf_flow_keys` (flow dissector). */
  flow_keys: 48,
  tstamp: 56,
  hwtstamp: 64,
  /** 20 bytes. */
  cb: 72,
  len: 92,
  pkt_type: 96,
  mark: 100,
  queue_mapping: 104,
  protocol: 108,
  vlan_present: 112,
  vlan_tci: 116,
  vlan_proto: 120,
  priority: 124,
  ingress_ifindex: 128,
  ifindex: 132,
  tc_index: 136,
  hash: 140,
  tc_classid: 144,
  napi_id: 148,
  family: 152,
  remote_ip4: 156,
  local_ip4: 160,
  /** 16 bytes each. */
  remote_ip6: 164,
  local_ip6: 180,
  remote_port: 196,
  local_port: 200,
  wire_len: 204,
  gso_segs: 208,
  gso_size: 212,
  /** One byte, in a slot of 4. */
  tstamp_type: 216,
  /** ARPHRD_* of the device: no field of `__sk_buff`, but classic programs may ask for it. */
  hardware_type: 220,
} as const;

export const MODELLED_SKB_SIZE = 224;
