/**
 * Ethernet frames from captures of other link types: XDP and tc programs parse Ethernet, but `tcpdump -i any` and tunnels give
 * cooked or bare IP packets. The added header has zero addresses.
 */
import { type CapturedPacket, LINKTYPE } from './types.ts';

const ETH_P_IP = 0x0800;
const ETH_P_IPV6 = 0x86dd;

/** Bytes before the packet, and the EtherType they tell. */
type Strip = (data: Uint8Array) => { skip: number; etherType: number } | undefined;

function byVersion(skip: number): Strip {
  return (data) => {
    const version = (data[skip] ?? 0) >> 4;
    if (version === 4) return { skip, etherType: ETH_P_IP };
    return version === 6 ? { skip, etherType: ETH_P_IPV6 } : undefined;
  };
}

function cooked(typeAt: number, skip: number): Strip {
  return (data) =>
    data.length < skip ? undefined : { skip, etherType: (data[typeAt]! << 8) | data[typeAt + 1]! };
}

const STRIPS: ReadonlyMap<number, Strip> = new Map([
  [LINKTYPE.NULL, byVersion(4)],
  [LINKTYPE.LOOP, byVersion(4)],
  [LINKTYPE.RAW, byVersion(0)],
  [LINKTYPE.IPV4, byVersion(0)],
  [LINKTYPE.IPV6, byVersion(0)],
  [LINKTYPE.LINUX_SLL, cooked(14, 16)],
  [LINKTYPE.LINUX_SLL2, cooked(0, 20)],
]);

/** The packet as an Ethernet frame; undefined where its link type has no such form. */
export function asEthernet(packet: CapturedPacket): Uint8Array | undefined {
  if (packet.interface.linkType === LINKTYPE.ETHERNET) return packet.data;
  const found = STRIPS.get(packet.interface.linkType)?.(packet.data);
  if (found === undefined) return undefined;
  const frame = new Uint8Array(14 + packet.data.length - found.skip);
  frame[12] = found.etherType >> 8;
  frame[13] = found.etherType & 0xff;
  frame.set(packet.data.subarray(found.skip), 14);
  return frame;
}
