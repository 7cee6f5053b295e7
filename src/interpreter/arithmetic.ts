/**
 * 64-bit multiplication, division, remainder and byte swaps on pairs of signed 32-bit halves (RFC 9669 section 4.1).
 *
 * Results are written to index `d` of the two halves' arrays. Division by zero gives 0, remainder by zero leaves the
 * dividend, and the smallest number divided by -1 is itself. Numbers below 2^53 take a path without bigint.
 */
import { joinHalves } from '../util/u64.ts';

const TWO32 = 0x1_0000_0000;
const SAFE_HIGH = 0x20_0000;

export function mul64(
  lo: Int32Array,
  hi: Int32Array,
  d: number,
  al: number,
  ah: number,
  bl: number,
  bh: number,
): void {
  const a0 = al & 0xffff;
  const a1 = al >>> 16;
  const b0 = bl & 0xffff;
  const b1 = bl >>> 16;
  // Each product is below 2^32 and their sum below 2^34: exact in a double.
  const middle = a0 * b1 + a1 * b0 + ((a0 * b0) >>> 16);
  lo[d] = Math.imul(al, bl);
  hi[d] = (a1 * b1 + Math.floor(middle / 0x1_0000) + Math.imul(al, bh) + Math.imul(ah, bl)) | 0;
}

/** Unsigned division or remainder of a 64-bit number. */
export function divide64(
  lo: Int32Array,
  hi: Int32Array,
  d: number,
  al: number,
  ah: number,
  bl: number,
  bh: number,
  remainder: boolean,
): void {
  if ((bl | bh) === 0) {
    lo[d] = remainder ? al : 0;
    hi[d] = remainder ? ah : 0;
    return;
  }
  const ahu = ah >>> 0;
  const bhu = bh >>> 0;
  if (ahu < SAFE_HIGH && bhu < SAFE_HIGH) {
    const a = ahu * TWO32 + (al >>> 0);
    const b = bhu * TWO32 + (bl >>> 0);
    const rest = a % b;
    // The dividend less its remainder divides exactly, so no rounding can creep in.
    const result = remainder ? rest : (a - rest) / b;
    lo[d] = result | 0;
    hi[d] = (result / TWO32) | 0;
    return;
  }
  const a = joinHalves(al, ah);
  const b = joinHalves(bl, bh);
  const result = remainder ? a % b : a / b;
  lo[d] = Number(BigInt.asIntN(32, result));
  hi[d] = Number(BigInt.asIntN(32, result >> 32n));
}

function negate(lo: Int32Array, hi: Int32Array, d: number): void {
  const low = -lo[d]! | 0;
  hi[d] = (~hi[d]! + (low === 0 ? 1 : 0)) | 0;
  lo[d] = low;
}

/** Signed division (truncating) or remainder (sign of the dividend). */
export function divideSigned64(
  lo: Int32Array,
  hi: Int32Array,
  d: number,
  al: number,
  ah: number,
  bl: number,
  bh: number,
  remainder: boolean,
): void {
  const negativeA = ah < 0;
  const negativeB = bh < 0;
  if (negativeA) {
    const low = -al | 0;
    ah = (~ah + (low === 0 ? 1 : 0)) | 0;
    al = low;
  }
  if (negativeB) {
    const low = -bl | 0;
    bh = (~bh + (low === 0 ? 1 : 0)) | 0;
    bl = low;
  }
  divide64(lo, hi, d, al, ah, bl, bh, remainder);
  if (remainder ? negativeA : negativeA !== negativeB) negate(lo, hi, d);
}

/** Unsigned 32-bit division or remainder. */
export function divide32(a: number, b: number, remainder: boolean): number {
  if (b === 0) return remainder ? a : 0;
  return remainder ? ((a >>> 0) % (b >>> 0)) | 0 : ((a >>> 0) / (b >>> 0)) | 0;
}

/** Signed 32-bit division or remainder. */
export function divideSigned32(a: number, b: number, remainder: boolean): number {
  if (b === 0) return remainder ? a : 0;
  return remainder ? (a % b) | 0 : (a / b) | 0;
}

export function swap16(v: number): number {
  return ((v & 0xff) << 8) | ((v >>> 8) & 0xff);
}

export function swap32(v: number): number {
  return (v << 24) | ((v & 0xff00) << 8) | ((v >>> 8) & 0xff00) | (v >>> 24);
}

/** Byte swap of the low 16, 32 or 64 bits; higher bits become zero (RFC 9669 section 4.2). */
export function byteSwap(lo: Int32Array, hi: Int32Array, d: number, width: number): void {
  const al = lo[d]!;
  if (width === 16) {
    lo[d] = swap16(al);
    hi[d] = 0;
  } else if (width === 32) {
    lo[d] = swap32(al);
    hi[d] = 0;
  } else {
    lo[d] = swap32(hi[d]!);
    hi[d] = swap32(al);
  }
}

/** Truncation to the low 16, 32 or 64 bits: what a conversion to little-endian is here. */
export function truncate(lo: Int32Array, hi: Int32Array, d: number, width: number): void {
  if (width === 16) lo[d] = lo[d]! & 0xffff;
  if (width !== 64) hi[d] = 0;
}
