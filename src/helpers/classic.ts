/**
 * What only converted classic programs call (net/core/filter.c): netlink attributes in the packet, the offset of the payload,
 * the hardware type. 0 stands for "not there" everywhere.
 */
import type { PacketOps } from '../contracts/runtime.ts';
import type { GuestMemory } from '../memory/index.ts';
import { MODELLED_SKB } from '../spec/index.ts';
import type { HelperFn } from './types.ts';

/** The part of `HelperContext` that these need. */
export interface ClassicContext {
  readonly env: { readonly packets: Pick<PacketOps, 'data' | 'headers'> };
  readonly memory: GuestMemory;
}

/** struct nlattr: u16 length with the header, u16 type; each starts at a multiple of 4. */
const ATTRIBUTE_HEADER = 4;
/** Without NLA_F_NESTED and NLA_F_NET_BYTEORDER. */
const ATTRIBUTE_TYPE = 0x3fff;

/** Offset in memory of the attribute of `type` between `from` and `end`, or 0. */
function findAttribute(view: DataView, from: number, end: number, type: number): number {
  let at = from;
  while (end - at >= ATTRIBUTE_HEADER) {
    const length = view.getUint16(at, true);
    if (length < ATTRIBUTE_HEADER || length > end - at) return 0;
    if ((view.getUint16(at + 2, true) & ATTRIBUTE_TYPE) === type) return at;
    at += (length + 3) & ~3;
  }
  return 0;
}

function attributeFinder({ env, memory }: ClassicContext, nested: boolean): HelperFn {
  return (ctx, a, x) => {
    const { start, length } = env.packets.data(ctx);
    const offset = a >>> 0;
    if (length < ATTRIBUTE_HEADER || offset > length - ATTRIBUTE_HEADER) return 0;
    const { view } = memory;
    let from = start + offset;
    let end = start + length;
    if (nested) {
      const whole = view.getUint16(from, true);
      if (whole > end - from) return 0;
      end = from + whole;
      from += ATTRIBUTE_HEADER;
    }
    const found = findAttribute(view, from, end, x >>> 0);
    return found === 0 ? 0 : found - start;
  };
}

const ETH_P_IP = 0x0800;
const ETH_P_IPV6 = 0x86dd;
const IPV4_HEADER = 20;
const IPV6_HEADER = 40;
const FRAGMENT_OFFSET = 0x1fff;
const TCP = 6;
const TCP_HEADER = 20;
/** Headers of fixed length by protocol (IPPROTO_*): ICMP, IGMP, UDP, DCCP, ICMPv6, SCTP, UDP-Lite. */
const TRANSPORT_HEADERS: Readonly<Record<number, number>> = {
  1: 8,
  2: 8,
  17: 8,
  33: 12,
  58: 8,
  132: 12,
  136: 8,
};
/** IPv6 headers that name the next one in their first byte and count 8 bytes in their second. */
const IPV6_EXTENSIONS: ReadonlySet<number> = new Set([0, 43, 60]);
const IPV6_FRAGMENT = 44;

/** Where the transport header starts and what it is; null where the packet does not tell. */
function transportOf(
  view: DataView,
  at: number,
  end: number,
  type: number,
): { at: number; protocol: number } | null {
  if (type === ETH_P_IP) {
    if (end - at < IPV4_HEADER) return null;
    const length = (view.getUint8(at) & 15) * 4;
    if (length < IPV4_HEADER) return null;
    const isLater = (view.getUint16(at + 6, false) & FRAGMENT_OFFSET) !== 0;
    return { at: at + length, protocol: isLater ? -1 : view.getUint8(at + 9) };
  }
  if (type !== ETH_P_IPV6 || end - at < IPV6_HEADER) return null;
  let protocol = view.getUint8(at + 6);
  let next = at + IPV6_HEADER;
  while ((IPV6_EXTENSIONS.has(protocol) || protocol === IPV6_FRAGMENT) && end - next >= 8) {
    const isFragment = protocol === IPV6_FRAGMENT;
    protocol = view.getUint8(next);
    if (isFragment && (view.getUint16(next + 2, false) & ~7) !== 0) protocol = -1;
    next += isFragment ? 8 : (view.getUint8(next + 1) + 1) * 8;
  }
  return { at: next, protocol };
}

function payloadOffset({ env, memory }: ClassicContext): HelperFn {
  return (ctx) => {
    const { start, length } = env.packets.data(ctx);
    const end = start + length;
    const network = env.packets.headers?.(ctx).network ?? start;
    const { view } = memory;
    // Network order in a little-endian word.
    const type = view.getUint16(ctx + MODELLED_SKB.protocol, false);
    const transport = transportOf(view, network, end, type);
    if (transport === null) return 0;
    let payload = transport.at;
    if (transport.protocol === TCP) {
      if (payload + TCP_HEADER > end) return 0;
      payload += Math.max(TCP_HEADER, (view.getUint8(payload + 12) >> 4) * 4);
    } else payload += TRANSPORT_HEADERS[transport.protocol] ?? 0;
    return payload > end ? 0 : payload - start;
  };
}

/** By name, as the families of the other helpers. */
export const CLASSIC_FUNCTIONS: Readonly<Record<string, (context: ClassicContext) => HelperFn>> = {
  bpf_classic_nlattr: (context) => attributeFinder(context, false),
  bpf_classic_nlattr_nest: (context) => attributeFinder(context, true),
  bpf_classic_payload_offset: payloadOffset,
  bpf_classic_hardware_type: ({ memory }) => {
    return (ctx) => memory.u32[(ctx + MODELLED_SKB.hardware_type) >>> 2];
  },
};
