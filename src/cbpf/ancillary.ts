/**
 * Ancillary data: absolute loads from SKF_AD_OFF on are no packet bytes but facts about the packet (linux/filter.h). Each row says
 * what extended BPF asks in its place: a field of `__sk_buff`, a helper, or a function that only classic programs have.
 */
import { CLASSIC_HELPER } from '../spec/index.ts';

/** SKF_AD_OFF, as a number without sign. */
export const ANCILLARY_OFFSET = 0xffff_f000;

export type AncillarySource =
  /** A 32-bit field; `swap`: it holds 16 bits in network order. */
  | { readonly kind: 'field'; readonly name: string; readonly swap?: true }
  /** A helper by id; `args`: it gets the packet, A and X. */
  | { readonly kind: 'helper'; readonly id: number; readonly args?: true }
  /** A ^= X, on which no packet has any influence. */
  | { readonly kind: 'xor-x' };

export interface AncillaryRow {
  /** From SKF_AD_OFF. */
  readonly offset: number;
  /** Name in the assembler language of filter.rst; null where it has none. */
  readonly name: string | null;
  readonly source: AncillarySource;
  /** A fact about the packet's device: where there is none the program ends and returns A. */
  readonly ofDevice?: true;
}

const GET_PRANDOM_U32 = 7;
const GET_SMP_PROCESSOR_ID = 8;

export const ANCILLARY: readonly AncillaryRow[] = [
  { offset: 0, name: 'proto', source: { kind: 'field', name: 'protocol', swap: true } },
  { offset: 4, name: 'type', source: { kind: 'field', name: 'pkt_type' } },
  { offset: 8, name: 'ifidx', source: { kind: 'field', name: 'ifindex' }, ofDevice: true },
  { offset: 12, name: 'nla', source: { kind: 'helper', id: CLASSIC_HELPER.nlattr, args: true } },
  { offset: 16, name: 'nlan', source: { kind: 'helper', id: CLASSIC_HELPER.nlattrNest, args: true } },
  { offset: 20, name: 'mark', source: { kind: 'field', name: 'mark' } },
  { offset: 24, name: 'queue', source: { kind: 'field', name: 'queue_mapping' } },
  {
    offset: 28,
    name: 'hatype',
    source: { kind: 'helper', id: CLASSIC_HELPER.hardwareType, args: true },
    ofDevice: true,
  },
  { offset: 32, name: 'rxhash', source: { kind: 'field', name: 'hash' } },
  { offset: 36, name: 'cpu', source: { kind: 'helper', id: GET_SMP_PROCESSOR_ID } },
  { offset: 40, name: null, source: { kind: 'xor-x' } },
  { offset: 44, name: 'vlan_tci', source: { kind: 'field', name: 'vlan_tci' } },
  { offset: 48, name: 'vlan_avail', source: { kind: 'field', name: 'vlan_present' } },
  { offset: 52, name: 'poff', source: { kind: 'helper', id: CLASSIC_HELPER.payloadOffset, args: true } },
  { offset: 56, name: 'rand', source: { kind: 'helper', id: GET_PRANDOM_U32 } },
  { offset: 60, name: 'vlan_tpid', source: { kind: 'field', name: 'vlan_proto', swap: true } },
];

const BY_OFFSET = new Map(ANCILLARY.map((row) => [row.offset, row]));

/** The row of an absolute load of `k`; undefined: it loads from the packet. */
export function ancillaryAt(k: number): AncillaryRow | undefined {
  return k >= ANCILLARY_OFFSET ? BY_OFFSET.get(k - ANCILLARY_OFFSET) : undefined;
}
