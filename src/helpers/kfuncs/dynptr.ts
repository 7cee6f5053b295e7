/** Dynptrs: of packets, slices, narrower views, copies. */
import { ERRNO } from '../../util/errno.ts';
import { clearDynptr, DYNPTR_BYTES, narrowDynptr, readDynptr, within, writePacketDynptr } from '../dynptr.ts';
import type { HelperContext } from '../types.ts';
import { type KfuncFamily, type KfuncImplementation, kfn } from './types.ts';

function fromPacket(kind: 'skb' | 'xdp'): KfuncImplementation {
  return kfn('pqp', 's32', (ctx, { writesPacket }) => (context, low, high, at) => {
    if (!ctx.valid(at, DYNPTR_BYTES)) return -ERRNO.EFAULT;
    clearDynptr(ctx, at);
    if ((low | high) !== 0) return -ERRNO.EINVAL;
    writePacketDynptr(ctx, at, context, kind, kind === 'skb' && !writesPacket);
    return 0;
  });
}

/** The bytes themselves: packets lie in one piece here, so the buffer is never needed. */
function slice(writes: boolean): KfuncImplementation {
  return kfn('pppp', 'ptr', (ctx) => (at, offset, _buffer, size) => {
    const pointer = readDynptr(ctx, at);
    if (pointer === null || (writes && pointer.readOnly)) return 0;
    return Math.max(0, within(pointer, offset, size));
  });
}

/** Offset of the bytes that a call wants to change; -errno where it may not. */
function target(ctx: HelperContext, at: number, offset: number, size: number): number {
  const pointer = readDynptr(ctx, at);
  if (pointer === null || pointer.readOnly) return -ERRNO.EINVAL;
  return within(pointer, offset, size);
}

export const DYNPTR_KFUNCS: KfuncFamily = {
  bpf_dynptr_from_skb: fromPacket('skb'),
  bpf_dynptr_from_xdp: fromPacket('xdp'),
  bpf_dynptr_slice: slice(false),
  bpf_dynptr_slice_rdwr: slice(true),
  bpf_dynptr_adjust: kfn('ppp', 's32', (ctx) => (at, start, end) => {
    const pointer = readDynptr(ctx, at);
    if (pointer === null || start >>> 0 > end >>> 0) return -ERRNO.EINVAL;
    if (end >>> 0 > pointer.size) return -ERRNO.ERANGE;
    narrowDynptr(ctx, at, start, end - start);
    return 0;
  }),
  bpf_dynptr_is_null: kfn('p', 's32', (ctx) => (at) => (readDynptr(ctx, at) === null ? 1 : 0)),
  bpf_dynptr_is_rdonly: kfn('p', 's32', (ctx) => (at) => (readDynptr(ctx, at)?.readOnly ? 1 : 0)),
  // An unsigned 32-bit result.
  bpf_dynptr_size: kfn('p', 'u64', (ctx) => (at) => {
    ctx.returnHalves(readDynptr(ctx, at)?.size ?? -ERRNO.EINVAL, 0);
  }),
  bpf_dynptr_clone: kfn('pp', 's32', (ctx) => (at, clone) => {
    if (!ctx.valid(at, DYNPTR_BYTES) || !ctx.valid(clone, DYNPTR_BYTES)) return -ERRNO.EFAULT;
    if (readDynptr(ctx, at) === null) {
      clearDynptr(ctx, clone);
      return -ERRNO.EINVAL;
    }
    ctx.memory.u8.copyWithin(clone, at, at + DYNPTR_BYTES);
    return 0;
  }),
  bpf_dynptr_copy: kfn('ppppp', 's32', (ctx) => (to, toOffset, from, fromOffset, size) => {
    const source = readDynptr(ctx, from);
    if (source === null) return -ERRNO.EINVAL;
    const at = target(ctx, to, toOffset, size);
    const start = within(source, fromOffset, size);
    if (at < 0) return at;
    if (start < 0) return start;
    ctx.memory.u8.copyWithin(at, start, start + (size >>> 0));
    return 0;
  }),
  bpf_dynptr_memset: kfn('pppp', 's32', (ctx) => (at, offset, size, value) => {
    const start = target(ctx, at, offset, size);
    if (start < 0) return start;
    ctx.memory.u8.fill(value & 0xff, start, start + (size >>> 0));
    return 0;
  }),
};
