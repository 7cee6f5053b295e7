/**
 * Dynamic pointers to local memory and to ring-buffer records (kernel/bpf/helpers.c). A dynptr is 16 bytes of the program's
 * stack: {u64 data, u32 size and type, u32 offset}, zeros where it is invalid.
 */
import { KERNEL_HI } from '../memory/index.ts';
import { ERRNO } from '../util/index.ts';
import type { HelperContext, HelperFamily } from './types.ts';

/** Bits 28..30 of the size word tell what it points to, bit 31 that it is read-only. */
const TYPE_SHIFT = 28;
const SIZE_MASK = 0xff_ffff;
const READ_ONLY = 0x8000_0000;
const TYPE_MASK = 7;
const LOCAL = 1;
const RINGBUF = 2;
/** From here on the data is a packet's: the dynptr holds its context. */
const SKB = 3;
const XDP = 4;
export const DYNPTR_BYTES = 16;
const BYTES = DYNPTR_BYTES;

export interface Dynptr {
  /** First byte of what it points to. */
  readonly start: number;
  readonly size: number;
  readonly readOnly: boolean;
  /** Of a packet. */
  readonly packet: boolean;
}

/** The dynptr at `at`, or null where it is invalid. */
export function readDynptr({ memory, valid, env }: HelperContext, at: number): Dynptr | null {
  if (!valid(at, BYTES)) return null;
  const { view } = memory;
  const data = view.getUint32(at, true);
  const word = view.getUint32(at + 8, true);
  if (data === 0) return null;
  const packet = ((word >>> TYPE_SHIFT) & TYPE_MASK) >= SKB;
  return {
    start: (packet ? env.packets.data(data).start : data) + view.getUint32(at + 12, true),
    size: word & SIZE_MASK,
    readOnly: (word & READ_ONLY) !== 0,
    packet,
  };
}

/** Moves the start forward and sets the size. */
export function narrowDynptr({ memory }: HelperContext, at: number, start: number, size: number): void {
  const { view } = memory;
  view.setUint32(at + 8, (view.getUint32(at + 8, true) & ~SIZE_MASK) | size, true);
  view.setUint32(at + 12, view.getUint32(at + 12, true) + start, true);
}

export function clearDynptr(ctx: HelperContext, at: number): void {
  write(ctx, at, 0, 0, 0);
}

/** Makes one of the packet behind a context. */
export function writePacketDynptr(
  ctx: HelperContext,
  at: number,
  context: number,
  kind: 'skb' | 'xdp',
  readOnly: boolean,
): void {
  const { length } = ctx.env.packets.data(context);
  const type = (kind === 'skb' ? SKB : XDP) | (readOnly ? READ_ONLY >>> TYPE_SHIFT : 0);
  write(ctx, at, context, length & SIZE_MASK, type);
}

function write({ memory }: HelperContext, at: number, data: number, size: number, type: number): void {
  memory.writeHalves(at, data, data === 0 ? 0 : KERNEL_HI);
  memory.writeHalves(at + 8, data === 0 ? 0 : size | (type << TYPE_SHIFT), 0);
}

/** Offset of `length` bytes at `offset` of what a dynptr points to; -E2BIG outside of it. */
export function within(pointer: Pick<Dynptr, 'start' | 'size'>, offset: number, length: number): number {
  const at = offset >>> 0;
  const bytes = length >>> 0;
  return bytes > pointer.size || at > pointer.size - bytes ? -ERRNO.E2BIG : pointer.start + at;
}

function finish(ctx: HelperContext, op: (...words: number[]) => number) {
  return (at: number, flags: number, high: number): void => {
    const pointer = readDynptr(ctx, at);
    if (pointer === null) return;
    op(pointer.start, flags, high);
    write(ctx, at, 0, 0, 0);
  };
}

export const DYNPTR_HELPERS: HelperFamily = {
  bpf_dynptr_from_mem: (ctx) => {
    return (data, size, flags, high, at) => {
      if (!ctx.valid(at, BYTES)) return -ERRNO.EFAULT;
      write(ctx, at, 0, 0, 0);
      if (size >>> 0 > SIZE_MASK) return -ERRNO.E2BIG;
      if ((flags | high) !== 0) return -ERRNO.EINVAL;
      write(ctx, at, data, size, LOCAL);
      return 0;
    };
  },
  bpf_dynptr_read: (ctx) => {
    return (to, length, source, offset, flags, high) => {
      const pointer = readDynptr(ctx, source);
      if (pointer === null || (flags | high) !== 0) return -ERRNO.EINVAL;
      const from = within(pointer, offset, length);
      if (from < 0) return from;
      if (!ctx.valid(to, length) || !ctx.valid(from, length)) return -ERRNO.EFAULT;
      ctx.memory.u8.copyWithin(to, from, from + length);
      return 0;
    };
  },
  bpf_dynptr_write: (ctx) => {
    return (target, offset, from, length, flags, high) => {
      const pointer = readDynptr(ctx, target);
      if (pointer === null || pointer.readOnly) return -ERRNO.EINVAL;
      const to = within(pointer, offset, length);
      if (to < 0) return to;
      if ((flags | high) !== 0) return -ERRNO.EINVAL;
      if (!ctx.valid(from, length) || !ctx.valid(to, length)) return -ERRNO.EFAULT;
      ctx.memory.u8.copyWithin(to, from, from + length);
      return 0;
    };
  },
  bpf_dynptr_data: (ctx) => {
    return (at, offset, length) => {
      const pointer = readDynptr(ctx, at);
      // Packets are read by slices only.
      if (pointer === null || pointer.readOnly || pointer.packet) return 0;
      return Math.max(0, within(pointer, offset, length));
    };
  },
  bpf_ringbuf_reserve_dynptr: (ctx) => {
    const { ringbuf_reserve } = ctx.module.wasm;
    return (map, size, flags, high, at) => {
      if (!ctx.valid(at, BYTES)) return -ERRNO.EFAULT;
      write(ctx, at, 0, 0, 0);
      if ((flags | high) !== 0) return -ERRNO.EINVAL;
      if (size >>> 0 > SIZE_MASK) return -ERRNO.E2BIG;
      const sample = ringbuf_reserve(map, size, 0, 0);
      if (sample === 0) return -ERRNO.EINVAL;
      write(ctx, at, sample, size, RINGBUF);
      return 0;
    };
  },
  bpf_ringbuf_submit_dynptr: (ctx) => finish(ctx, ctx.module.wasm.ringbuf_submit),
  bpf_ringbuf_discard_dynptr: (ctx) => finish(ctx, ctx.module.wasm.ringbuf_discard),
};
