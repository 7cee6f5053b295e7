/**
 * 64-bit numbers as two halves that are signed 32-bit integers, whatever the number's own sign: V8 keeps such halves in
 * machine words, where a bigint is an object on the heap for each intermediate result.
 */

/** Whether the u64 `a` is below `b`. */
export function ult(aHi: number, aLo: number, bHi: number, bLo: number): boolean {
  return aHi === bHi ? aLo >>> 0 < bLo >>> 0 : aHi >>> 0 < bHi >>> 0;
}

/** Whether the s64 `a` is below `b`. */
export function slt(aHi: number, aLo: number, bHi: number, bLo: number): boolean {
  return aHi === bHi ? aLo >>> 0 < bLo >>> 0 : aHi < bHi;
}

/** 1 where the low halves `a` and `b`, whose sum modulo 2^32 is `sum`, carry over. */
export function carry(sum: number, a: number): number {
  return sum >>> 0 < a >>> 0 ? 1 : 0;
}

/** 1 where `a - b` of the low halves borrows. */
export function borrow(a: number, b: number): number {
  return a >>> 0 < b >>> 0 ? 1 : 0;
}

export function unsignedBig(hi: number, lo: number): bigint {
  return hi === 0 ? BigInt(lo >>> 0) : (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0);
}

export function signedBig(hi: number, lo: number): bigint {
  return hi === lo >> 31 ? BigInt(lo) : (BigInt(hi) << 32n) | BigInt(lo >>> 0);
}

/** The halves of any bigint, taken modulo 2^64. */
export function lowHalf(n: bigint): number {
  return Number(BigInt.asIntN(32, n));
}

export function highHalf(n: bigint): number {
  return Number(BigInt.asIntN(32, n >> 32n));
}

/** The upper half of a safe integer, as a two's complement; its low half is `n | 0`. */
export function highOfNumber(n: number): number {
  return Math.floor(n / 0x1_0000_0000) | 0;
}

/** Exact below 2^53, else rounded. */
export function signedNumber(hi: number, lo: number): number {
  return hi * 0x1_0000_0000 + (lo >>> 0);
}

export function unsignedNumber(hi: number, lo: number): number {
  return (hi >>> 0) * 0x1_0000_0000 + (lo >>> 0);
}
