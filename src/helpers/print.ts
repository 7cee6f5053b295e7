/** Helpers that print: bpf_trace_printk, bpf_trace_vprintk, bpf_snprintf. */
import { asU64, ERRNO, fromUtf8, highHalf, joinHalves, lowHalf } from '../util/index.ts';
import { bprintf, type FormatAccess } from './format.ts';
import { createAccess, type Locate, readString } from './guest-access.ts';
import type { HelperContext, HelperFamily } from './types.ts';

/** MAX_BPRINTF_BUF: longest line of trace_pipe, with its NUL. */
const LINE = 1024;
/** MAX_BPRINTF_VARARGS. */
const MAX_ARGS = 12;
/** A constant format string of bpf_snprintf ends with its map value; this bounds the search for its NUL. */
const MAX_FORMAT = 1 << 16;

function formatAccess(ctx: HelperContext): FormatAccess {
  const access = createAccess(ctx);
  const locate: Record<'s' | 'k' | 'u', Locate> = { s: access.any, k: access.kernel, u: access.user };
  return {
    kernelBytes(address, size) {
      const at = access.kernel(lowHalf(address), highHalf(address), size);
      return at < 0 ? null : ctx.memory.read(at, size);
    },
    text: (kind, address, limit) =>
      readString(ctx.memory, locate[kind], lowHalf(address), highHalf(address), limit),
    symbol: (kind, address) => ctx.env.symbolName?.(address, kind) ?? `0x${address.toString(16)}`,
  };
}

/** Format of at most `size` bytes; null where it has no NUL. */
function formatAt(ctx: HelperContext, at: number, size: number): Uint8Array | null {
  const { u8 } = ctx.memory;
  const end = u8.subarray(at, Math.min(at + size, ctx.memory.size)).indexOf(0);
  return end < 0 ? null : u8.slice(at, at + end);
}

/** Arguments from an array of u64, or -EINVAL. */
function argsAt(ctx: HelperContext, data: number, size: number): bigint[] | number {
  if (size % 8 !== 0 || size < 0 || size > MAX_ARGS * 8) return -ERRNO.EINVAL;
  if (size > 0 && !ctx.valid(data, size)) return -ERRNO.EINVAL;
  const args: bigint[] = [];
  for (let at = 0; at < size; at += 8) args.push(ctx.memory.readU64(data + at));
  return args;
}

function traceLine(ctx: HelperContext) {
  const access = formatAccess(ctx);
  return (at: number, size: number, args: readonly bigint[]): number => {
    if (!ctx.valid(at, size)) return -ERRNO.EFAULT;
    const fmt = formatAt(ctx, at, size);
    if (fmt === null) return -ERRNO.EINVAL;
    const printed = bprintf(fmt, args, LINE, access);
    if (typeof printed === 'number') return printed;
    const nul = printed.text.indexOf(0);
    ctx.env.tracePrint(fromUtf8(nul < 0 ? printed.text : printed.text.subarray(0, nul)));
    return printed.length;
  };
}

export const PRINT_HELPERS: HelperFamily = {
  bpf_trace_printk: (ctx) => {
    const print = traceLine(ctx);
    return (fmt, size, low1, high1, low2, high2, low3, high3) =>
      print(fmt, size, [joinHalves(low1, high1), joinHalves(low2, high2), joinHalves(low3, high3)]);
  },
  bpf_trace_vprintk: (ctx) => {
    const print = traceLine(ctx);
    return (fmt, size, data, dataSize) => {
      const args = argsAt(ctx, data, dataSize);
      return typeof args === 'number' ? args : print(fmt, size, args);
    };
  },
  bpf_snprintf: (ctx) => {
    const access = formatAccess(ctx);
    return (to, size, fmtAt, data, dataSize) => {
      const args = argsAt(ctx, data, dataSize);
      if (typeof args === 'number') return args;
      if (size > 0 && !ctx.valid(to, size)) return -ERRNO.EFAULT;
      if (!ctx.valid(fmtAt, 1)) return -ERRNO.EFAULT;
      const fmt = formatAt(ctx, fmtAt, MAX_FORMAT);
      if (fmt === null) return -ERRNO.EINVAL;
      const printed = bprintf(fmt, args.map(asU64), size, access);
      if (typeof printed === 'number') return printed;
      if (size > 0) {
        ctx.memory.write(to, printed.text);
        ctx.memory.u8[to + printed.text.length] = 0;
      }
      return printed.length + 1;
    };
  },
};
