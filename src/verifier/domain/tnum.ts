/**
 * Tristate numbers: what is known of each of 64 bits. A bit of `mask` that is set is unknown, and then the same bit of
 * `value` is clear; the other bits of `value` are known. Invariant of every tnum made here: `value & mask == 0`, both in
 * 0..2^64-1. The results are those of Linux 6.18 kernel/bpf/tnum.c, bit for bit, so that logs and verdicts agree.
 */

const M64 = 0xffff_ffff_ffff_ffffn;
const M32 = 0xffff_ffffn;

export interface Tnum {
  /** The known bits, unsigned 64-bit. */
  readonly value: bigint;
  /** The unknown bits, unsigned 64-bit. */
  readonly mask: bigint;
}

export const TNUM_ZERO: Tnum = { value: 0n, mask: 0n };
export const TNUM_UNKNOWN: Tnum = { value: 0n, mask: M64 };

/** From raw halves, which must already satisfy the invariant. */
export function tnum(value: bigint, mask: bigint): Tnum {
  return { value, mask };
}

/** A constant; `value` is taken modulo 2^64. */
export function tnumConst(value: bigint): Tnum {
  return value === 0n ? TNUM_ZERO : { value: BigInt.asUintN(64, value), mask: 0n };
}

/** Number of bits needed to write `n` (0..2^64-1): Linux's fls64. */
function bitLength(n: bigint): number {
  const high = Number(n >> 32n);
  return high !== 0 ? 64 - Math.clz32(high) : 32 - Math.clz32(Number(n & M32));
}

/** The least tnum that holds every number of min..max (unsigned 64-bit): the common leading bits are known. */
export function tnumRange(min: bigint, max: bigint): Tnum {
  if (min === max) return tnumConst(min);
  const bits = bitLength(BigInt.asUintN(64, min ^ max));
  if (bits > 63) return TNUM_UNKNOWN;
  const delta = (1n << BigInt(bits)) - 1n;
  return { value: BigInt.asUintN(64, min) & ~delta, mask: delta };
}

export function tnumLshift(a: Tnum, shift: number): Tnum {
  const by = BigInt(shift);
  return { value: BigInt.asUintN(64, a.value << by), mask: BigInt.asUintN(64, a.mask << by) };
}

export function tnumRshift(a: Tnum, shift: number): Tnum {
  const by = BigInt(shift);
  return { value: a.value >> by, mask: a.mask >> by };
}

/** Arithmetic shift of a 32- or 64-bit number. The 32-bit form sees only the low half and its result has no upper half. */
export function tnumArshift(a: Tnum, shift: number, width: 32 | 64): Tnum {
  const by = BigInt(shift);
  return {
    value: BigInt.asUintN(width, BigInt.asIntN(width, a.value) >> by),
    mask: BigInt.asUintN(width, BigInt.asIntN(width, a.mask) >> by),
  };
}

export function tnumAdd(a: Tnum, b: Tnum): Tnum {
  const sv = BigInt.asUintN(64, a.value + b.value);
  if (a.mask === 0n && b.mask === 0n) return { value: sv, mask: 0n };
  const sigma = BigInt.asUintN(64, a.mask + b.mask + sv);
  const mu = (sigma ^ sv) | a.mask | b.mask;
  return { value: sv & ~mu, mask: mu };
}

export function tnumSub(a: Tnum, b: Tnum): Tnum {
  const dv = BigInt.asUintN(64, a.value - b.value);
  if (a.mask === 0n && b.mask === 0n) return { value: dv, mask: 0n };
  const alpha = BigInt.asUintN(64, dv + a.mask);
  const beta = BigInt.asUintN(64, dv - b.mask);
  const mu = (alpha ^ beta) | a.mask | b.mask;
  return { value: dv & ~mu, mask: mu };
}

export function tnumNeg(a: Tnum): Tnum {
  return tnumSub(TNUM_ZERO, a);
}

export function tnumAnd(a: Tnum, b: Tnum): Tnum {
  const value = a.value & b.value;
  return { value, mask: (a.value | a.mask) & (b.value | b.mask) & ~value };
}

export function tnumOr(a: Tnum, b: Tnum): Tnum {
  const value = a.value | b.value;
  return { value, mask: (a.mask | b.mask) & ~value };
}

export function tnumXor(a: Tnum, b: Tnum): Tnum {
  const mask = a.mask | b.mask;
  return { value: (a.value ^ b.value) & ~mask, mask };
}

/**
 * Product by long multiplication over the bits of `a`: a known one adds `b`, an unknown one joins "added" and "not
 * added" (tnumUnion), as 6.18 does since it replaced the former value/mask split.
 */
export function tnumMul(a: Tnum, b: Tnum): Tnum {
  if (a.mask === 0n && b.mask === 0n) return tnumConst(a.value * b.value);
  const possible = b.value | b.mask;
  if (possible === 0n) return TNUM_ZERO;
  // Below the lowest bit that `b` can have all is zero; once every bit above it is unknown, nothing changes any more.
  const saturated = BigInt.asUintN(64, -(possible & -possible));
  let acc = TNUM_ZERO;
  for (let base = 0; base < 64; base += 32) {
    const value = Number((a.value >> BigInt(base)) & M32);
    let bits = value | Number((a.mask >> BigInt(base)) & M32);
    while (bits !== 0) {
      const at = 31 - Math.clz32(bits & -bits);
      bits &= bits - 1;
      const sum = tnumAdd(acc, tnumLshift(b, base + at));
      acc = (value >>> at) & 1 ? sum : tnumUnion(acc, sum);
      if (acc.mask === saturated) return acc;
    }
  }
  return acc;
}

/** Whether some number is in both: the bits known in both agree. */
export function tnumOverlap(a: Tnum, b: Tnum): boolean {
  const known = ~(a.mask | b.mask);
  return ((a.value ^ b.value) & known) === 0n;
}

/** What both say. Where they contradict each other a bit reads as a known one (callers exclude that). */
export function tnumIntersect(a: Tnum, b: Tnum): Tnum {
  if (b.mask === M64) return a;
  const mask = a.mask & b.mask;
  return { value: (a.value | b.value) & ~mask, mask };
}

/** The least tnum that holds the numbers of both. */
export function tnumUnion(a: Tnum, b: Tnum): Tnum {
  const mask = (a.value ^ b.value) | a.mask | b.mask;
  return { value: a.value & b.value & ~mask, mask };
}

/** Truncates to the low `size` bytes (1..8). */
export function tnumCast(a: Tnum, size: number): Tnum {
  if (size >= 8) return a;
  const bits = size * 8;
  return { value: BigInt.asUintN(bits, a.value), mask: BigInt.asUintN(bits, a.mask) };
}

/**
 * The least number of `a` above `z` (u64); the greatest of `a` where there is none. With the unknown bits read as a
 * counter, the known bits only have to be stepped over.
 */
export function tnumStep(a: Tnum, z: bigint): bigint {
  const top = a.value | a.mask;
  if (z >= top) return top;
  if (z < a.value) return a.value;
  const candidate = a.value | (z & a.mask);
  if (candidate > z) {
    // A known one above where z has a zero: below the highest such bit everything unknown can be zero.
    const low = (1n << BigInt(bitLength(~z & a.value & M64))) - 1n;
    return (z & ~low) | (a.value & low);
  }
  // z is in `a`, or a known zero where z has a one: count up above the highest such bit.
  const low = (1n << BigInt(bitLength(z & ~(a.value | a.mask) & M64))) - 1n;
  const above = M64 & ~low;
  const carried = (above & a.mask & z) | (above & ~a.mask);
  return (BigInt.asUintN(64, carried + low + 1n) & a.mask) | a.value;
}

/** Whether every number of `a` is a multiple of `size`, a power of two (0 reads as 1). */
export function tnumIsAligned(a: Tnum, size: bigint): boolean {
  return size === 0n || ((a.value | a.mask) & (size - 1n)) === 0n;
}

/** Whether `a` holds every number of `b`. */
export function tnumIn(a: Tnum, b: Tnum): boolean {
  if ((b.mask & ~a.mask) !== 0n) return false;
  return a.value === (b.value & ~a.mask);
}

/** Whether `a` holds the number `n` (unsigned 64-bit). */
export function tnumContains(a: Tnum, n: bigint): boolean {
  return (n & ~a.mask) === a.value;
}

export function tnumIsConst(a: Tnum): boolean {
  return a.mask === 0n;
}

export function tnumIsUnknown(a: Tnum): boolean {
  return a.mask === M64;
}

export function tnumEquals(a: Tnum, b: Tnum): boolean {
  return a === b || (a.value === b.value && a.mask === b.mask);
}

/** The low half, the upper half zero. */
export function tnumSubreg(a: Tnum): Tnum {
  return tnumCast(a, 4);
}

/** The upper half, the low half zero. */
export function tnumClearSubreg(a: Tnum): Tnum {
  return { value: a.value & ~M32, mask: a.mask & ~M32 };
}

/** The upper half of `a` with the low half of `subreg`. */
export function tnumWithSubreg(a: Tnum, subreg: Tnum): Tnum {
  return { value: (a.value & ~M32) | (subreg.value & M32), mask: (a.mask & ~M32) | (subreg.mask & M32) };
}

/** The upper half of `a` with a constant low half (taken modulo 2^32). */
export function tnumConstSubreg(a: Tnum, value: bigint): Tnum {
  return { value: (a.value & ~M32) | BigInt.asUintN(32, value), mask: a.mask & ~M32 };
}

export function tnumSubregIsConst(a: Tnum): boolean {
  return (a.mask & M32) === 0n;
}

/** Reverses the low `size` bytes (2, 4 or 8) of a 64-bit number; the rest becomes zero. */
export function byteSwap(n: bigint, size: number): bigint {
  let result = 0n;
  for (let i = 0; i < size; i++) result = (result << 8n) | ((n >> BigInt(8 * i)) & 0xffn);
  return result;
}

export function tnumByteSwap(a: Tnum, size: number): Tnum {
  return { value: byteSwap(a.value, size), mask: byteSwap(a.mask, size) };
}

/** As the log prints it: `(0x0; 0xff)`. Zero prints as `0x0`, unlike C's `%#x`. */
export function formatTnum(a: Tnum): string {
  return `(0x${a.value.toString(16)}; 0x${a.mask.toString(16)})`;
}
