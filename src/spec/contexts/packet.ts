/**
 * Contexts of programs that see packets: `__sk_buff` as each type may use it, and `xdp_md`. The rules are those of the
 * kernel's is_valid_access functions of Linux 6.18 (net/core/filter.c). Packet pointers are 4 bytes wide in the UAPI and
 * never sign-extended; the loaded register holds the whole pointer.
 */
import type { CtxField, CtxFieldKind, CtxLayout } from '../types.ts';
import { type FieldRules, field, sizeOf, words } from './fields.ts';
import { MODELLED_SKB, MODELLED_SKB_SIZE, MODELLED_XDP, MODELLED_XDP_SIZE } from './modelled.ts';

/** Fields that every `__sk_buff` type may load, in any size up to 4 at any aligned offset. */
const PLAIN = [
  'len',
  'pkt_type',
  'mark',
  'queue_mapping',
  'protocol',
  'vlan_present',
  'vlan_tci',
  'vlan_proto',
  'priority',
  'ingress_ifindex',
  'ifindex',
  'tc_index',
  'hash',
  'tc_classid',
  'napi_id',
  'family',
  'remote_port',
  'local_port',
  'wire_len',
  'gso_segs',
  'gso_size',
] as const;

/** Socket fields: hidden from types that run before or without a full socket. */
const SOCKET_FIELDS = [
  'family',
  'remote_ip4',
  'local_ip4',
  'remote_ip6',
  'local_ip6',
  'remote_port',
  'local_port',
] as const;

interface SkbRules {
  /** Fields that the type may not touch at all. */
  readonly hidden: readonly string[];
  /** Fields that it may store to. */
  readonly writable: readonly string[];
  /** Kinds of the packet pointers; absent: no direct packet access. */
  readonly pointers?: Readonly<Partial<Record<'data' | 'data_end' | 'data_meta', CtxFieldKind>>>;
  readonly extra?: Readonly<Record<string, FieldRules>>;
}

function backingOf(name: string, size: 1 | 4 | 8): CtxField['backing'] {
  const [, base = name, index] = /^(\w+)\[(\d)\]$/.exec(name) ?? [];
  const offset = MODELLED_SKB[base as keyof typeof MODELLED_SKB] + 4 * Number(index ?? 0);
  return { offset, size };
}

function skbLayout({ hidden, writable, pointers = {}, extra = {} }: SkbRules): CtxLayout {
  const skb = (name: string, rules: FieldRules): CtxField[] => {
    if (hidden.includes(name)) return [];
    const write = writable.includes(name);
    const all = { ...rules, write, ...extra[name] };
    const rows = /_ip6$|^cb$/.test(name) ? words('__sk_buff', name, all) : [field('__sk_buff', name, all)];
    return rows.map((row) => {
      const isPointer = row.kind !== undefined;
      return { ...row, backing: backingOf(row.name, isPointer ? 8 : (row.size as 1 | 4 | 8)) };
    });
  };
  const fields = [
    ...PLAIN.flatMap((name) => skb(name, { narrow: true })),
    ...skb('cb', { narrow: true, narrowWrite: true, wide: true }),
    ...['remote_ip4', 'local_ip4', 'remote_ip6', 'local_ip6'].flatMap((name) => skb(name, {})),
    ...(['data', 'data_end', 'data_meta'] as const).flatMap((name) => {
      const kind = pointers[name];
      return kind === undefined ? [] : skb(name, { kind });
    }),
    ...skb('tstamp', {}),
    ...skb('hwtstamp', {}),
    ...skb('sk', { kind: 'sock_common', nullable: true }),
  ];
  if (extra.tstamp_type !== undefined) fields.push(...skb('tstamp_type', {}));
  return {
    struct: '__sk_buff',
    size: sizeOf('__sk_buff'),
    access: 'fields',
    fields: fields.sort((a, b) => a.offset - b.offset),
    backingSize: MODELLED_SKB_SIZE,
  };
}

const EDGES = { data: 'pkt', data_end: 'pkt_end' } as const;

export const SOCKET_FILTER_CTX = skbLayout({
  hidden: ['tc_classid', ...SOCKET_FIELDS, 'tstamp', 'wire_len', 'hwtstamp'],
  writable: ['cb'],
});

export const TC_CTX = skbLayout({
  hidden: SOCKET_FIELDS,
  writable: ['mark', 'tc_index', 'priority', 'tc_classid', 'cb', 'tstamp', 'queue_mapping'],
  pointers: { ...EDGES, data_meta: 'pkt_meta' },
  extra: { tstamp_type: {} },
});

export const CGROUP_SKB_CTX = skbLayout({
  hidden: ['tc_classid', 'wire_len'],
  writable: ['mark', 'priority', 'cb', 'tstamp'],
  pointers: EDGES,
  extra: { data: { capability: 'bpf' }, data_end: { capability: 'bpf' }, tstamp: { writeCapability: 'bpf' } },
});

export const LWT_CTX = skbLayout({
  hidden: ['tc_classid', ...SOCKET_FIELDS, 'tstamp', 'wire_len', 'hwtstamp'],
  writable: ['mark', 'priority', 'cb'],
  pointers: EDGES,
});

export const SK_SKB_CTX = skbLayout({
  hidden: ['tc_classid', 'tstamp', 'wire_len', 'hwtstamp', 'mark'],
  writable: ['tc_index', 'priority'],
  pointers: EDGES,
});

export const FLOW_DISSECTOR_CTX: CtxLayout = {
  struct: '__sk_buff',
  size: sizeOf('__sk_buff'),
  access: 'fields',
  fields: [
    field('__sk_buff', 'data', { kind: 'pkt', backing: { offset: MODELLED_SKB.data, size: 8 } }),
    field('__sk_buff', 'data_end', { kind: 'pkt_end', backing: { offset: MODELLED_SKB.data_end, size: 8 } }),
    field('__sk_buff', 'flow_keys', {
      kind: 'flow_keys',
      backing: { offset: MODELLED_SKB.flow_keys, size: 8 },
    }),
  ],
  backingSize: MODELLED_SKB_SIZE,
};

const xdp = (name: keyof typeof MODELLED_XDP, rules: FieldRules = {}): CtxField =>
  field('xdp_md', name, {
    backing: { offset: MODELLED_XDP[name], size: rules.kind === undefined ? 4 : 8 },
    ...rules,
  });

export const XDP_CTX: CtxLayout = {
  struct: 'xdp_md',
  size: sizeOf('xdp_md'),
  access: 'fields',
  fields: [
    xdp('data', { kind: 'pkt' }),
    xdp('data_end', { kind: 'pkt_end' }),
    xdp('data_meta', { kind: 'pkt_meta' }),
    xdp('ingress_ifindex'),
    xdp('rx_queue_index'),
    xdp('egress_ifindex', { attachTypes: ['XDP_DEVMAP'] }),
  ],
  backingSize: MODELLED_XDP_SIZE,
};
