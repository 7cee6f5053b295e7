/**
 * Reads of addresses that may be anything: kernel addresses are offsets in the linear memory under KERNEL_HI, user addresses
 * are translated by the process that runs. A byte that is not there is a fault, never an exception.
 */
import { KERNEL_HI } from '../memory/index.ts';
import type { HelperContext } from './types.ts';

/** Finds `size` readable bytes: their offset, or -1 on a fault. */
export type Locate = (low: number, high: number, size: number) => number;

export interface GuestAccess {
  readonly kernel: Locate;
  readonly user: Locate;
  /** Either, by the address: user addresses lie below TASK_SIZE. */
  readonly any: Locate;
}

/** High half of the first address that is not user memory on x86-64 with four-level page tables. */
const TASK_SIZE_HI = 0x8000;

export function createAccess(ctx: HelperContext): GuestAccess {
  const kernel: Locate = (low, high, size) =>
    high >>> 0 === KERNEL_HI && ctx.valid(low >>> 0, size) ? low >>> 0 : -1;
  const user: Locate = (low, high, size) => {
    const at = ctx.env.current().userOffset(low >>> 0, high >>> 0, size);
    return at > 0 && ctx.valid(at, size) ? at : -1;
  };
  return {
    kernel,
    user,
    any: (low, high, size) => (high >>> 0 < TASK_SIZE_HI ? user : kernel)(low, high, size),
  };
}

const CHUNK = 64;

/**
 * The bytes before the NUL of a string, at most `limit` - 1; null on a fault before the NUL. `limit` 0 reads nothing.
 * Reads by chunks, and byte by byte where a chunk does not fit the memory that is there.
 */
export function readString(
  memory: { readonly u8: Uint8Array },
  locate: Locate,
  low: number,
  high: number,
  limit: number,
): Uint8Array | null {
  const bytes: number[] = [];
  // As in Linux, all `limit` bytes may be read before the last one is replaced by the NUL.
  while (bytes.length < limit) {
    let step = Math.min(CHUNK, limit - bytes.length);
    // Bytes read so far may carry over into the high half.
    const from = (low >>> 0) + bytes.length;
    const carry = from > 0xffff_ffff ? 1 : 0;
    let at = locate(from >>> 0, high + carry, step);
    if (at < 0) {
      step = 1;
      at = locate(from >>> 0, high + carry, 1);
    }
    if (at < 0) return null;
    const { u8 } = memory;
    for (let i = 0; i < step; i++) {
      if (u8[at + i] === 0) return Uint8Array.from(bytes);
      bytes.push(u8[at + i]);
    }
  }
  return Uint8Array.from(bytes.slice(0, Math.max(0, limit - 1)));
}
