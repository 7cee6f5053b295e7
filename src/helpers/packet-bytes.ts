/** Copies between a packet and memory of the program: shared by the helpers on XDP frames and on socket buffers. */
import { ERRNO } from '../util/index.ts';
import type { HelperContext } from './types.ts';

const S32_MAX = 0x7fff_ffff;

/** -errno for a range that is not in the packet, by its offset. */
export type Refusal = (offset: number) => number;

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

/** (ctx, offset, to, size): a range outside of the packet is refused, and zeroes the destination where `clear` is set. */
export function loadBytes(context: HelperContext, refusal: Refusal, clear: boolean) {
  const range = packetRange(context);
  return (ctx: number, offset: number, to: number, size: number): number => {
    if (!context.valid(to, size)) return -ERRNO.EFAULT;
    const at = range(ctx, offset, size);
    const { u8 } = context.memory;
    if (at < 0) {
      if (clear) u8.fill(0, to, to + size);
      return refusal(offset >>> 0);
    }
    u8.copyWithin(to, at, at + size);
    return 0;
  };
}

/** (ctx, offset, from, size) */
export function storeBytes(context: HelperContext, refusal: Refusal) {
  const range = packetRange(context);
  return (ctx: number, offset: number, from: number, size: number): number => {
    if (!context.valid(from, size)) return -ERRNO.EFAULT;
    const at = range(ctx, offset, size);
    if (at < 0) return refusal(offset >>> 0);
    context.memory.u8.copyWithin(at, from, from + size);
    return 0;
  };
}
