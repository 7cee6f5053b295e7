/** Where a range of a packet lies. */
import type { HelperContext } from './types.ts';

const S32_MAX = 0x7fff_ffff;

/** Offset in memory of `size` bytes at `offset` (u32) of the packet of a context, or -1. */
export type PacketRange = (ctx: number, offset: number, size: number) => number;

export function packetRange({ env, valid }: HelperContext): PacketRange {
  return (ctx, offset, size) => {
    const at = offset >>> 0;
    const length = size >>> 0;
    if (at > S32_MAX) return -1;
    const packet = env.packets.data(ctx);
    return at + length <= packet.length && valid(packet.start + at, length) ? packet.start + at : -1;
  };
}
