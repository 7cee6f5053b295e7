/**
 * Tristate numbers: what is known of each of 64 bits. A bit of `mask` that is set is unknown, and then the same bit of
 * `value` is clear; the other bits of `value` are known. Invariant of every tnum made here: `value & mask == 0`. The
 * results are those of Linux 6.18 kernel/bpf/tnum.c, bit for bit, so that logs and verdicts agree.
 */
import { borrow, carry, highHalf, lowHalf, ult, unsignedBig } from './wide.ts';

export class Tnum {
  readonly valueHi: number;
  readonly valueLo: number;
  readonly maskHi: number;
  readonly maskLo: number;

  /** Halves as in wide.ts; they must already satisfy the invariant. */
  constructor(valueHi: number, valueLo: number, maskHi: number, maskLo: number) {
    this.valueHi = valueHi;
    this.valueLo = valueLo;
    this.maskHi = maskHi;
    this.maskLo = maskLo;
  }

  /** The known bits, unsigned 64-bit. For borders and text: makes a bigint each time. */
  get value(): bigint {
    return unsignedBig(this.valueHi, this.valueLo);
  }

  /** The unknown bits, unsigned 64-bit. For borders and text. */
  get mask(): bigint {
    return unsignedBig(this.maskHi, this.maskLo);
  }
}

export const TNUM_ZERO = new Tnum(0, 0, 0, 0);
export const TNUM_UNKNOWN = new Tnum(0, 0, -1, -1);

/** From raw numbers, which must already satisfy the invariant. */
export function tnum(value: bigint, mask: bigint): Tnum {
  return new Tnum(highHalf(value), lowHalf(value), highHalf(mask), lowHalf(mask));
}

/** A constant; `value` is taken modulo 2^64. */
export function tnumConst(value: bigint): Tnum {
  return new Tnum(highHalf(value), lowHalf(value), 0, 0);
}

/** The ones from bit 0 up to the highest one of `hi:lo`: left in `onesHi`, `onesLo`. */
let onesHi = 0;
let onesLo = 0;
function onesUpTo(hi: number, lo: number): void {
  if (hi !== 0) {
    onesHi = (-1 >>> Math.clz32(hi)) | 0;
    onesLo = -1;
  } else {
    onesHi = 0;
    onesLo = lo === 0 ? 0 : (-1 >>> Math.clz32(lo)) | 0;
  }
}

/** The least tnum that holds every number of min..max (unsigned 64-bit): the common leading bits are known. */
export function tnumRange(min: bigint, max: bigint): Tnum {
  return tnumOfRange(highHalf(min), lowHalf(min), highHalf(max), lowHalf(max));
}

/** `tnumRange` of halves. */
export function tnumOfRange(minHi: number, minLo: number, maxHi: number, maxLo: number): Tnum {
  const differingHi = minHi ^ maxHi;
  if (differingHi < 0) return TNUM_UNKNOWN;
  onesUpTo(differingHi, minLo ^ maxLo);
  return new Tnum(minHi & ~onesHi, minLo & ~onesLo, onesHi, onesLo);
}

export function tnumLshift(a: Tnum, shift: number): Tnum {
  if (shift === 0) return a;
  if (shift >= 32) return new Tnum(a.valueLo << (shift - 32), 0, a.maskLo << (shift - 32), 0);
  const back = 32 - shift;
  return new Tnum(
    (a.valueHi << shift) | (a.valueLo >>> back),
    a.valueLo << shift,
    (a.maskHi << shift) | (a.maskLo >>> back),
    a.maskLo << shift,
  );
}

export function tnumRshift(a: Tnum, shift: number): Tnum {
  if (shift === 0) return a;
  if (shift >= 32) {
    return new Tnum(0, (a.valueHi >>> (shift - 32)) | 0, 0, (a.maskHi >>> (shift - 32)) | 0);
  }
  const back = 32 - shift;
  return new Tnum(
    (a.valueHi >>> shift) | 0,
    (a.valueLo >>> shift) | (a.valueHi << back),
    (a.maskHi >>> shift) | 0,
    (a.maskLo >>> shift) | (a.maskHi << back),
  );
}

/** Arithmetic shift of a 32- or 64-bit number. The 32-bit form sees only the low half and its result has no upper half. */
export function tnumArshift(a: Tnum, shift: number, width: 32 | 64): Tnum {
  if (width === 32) return new Tnum(0, a.valueLo >> shift, 0, a.maskLo >> shift);
  if (shift === 0) return a;
  if (shift >= 32) {
    return new Tnum(a.valueHi >> 31, a.valueHi >> (shift - 32), a.maskHi >> 31, a.maskHi >> (shift - 32));
  }
  const back = 32 - shift;
  return new Tnum(
    a.valueHi >> shift,
    (a.valueLo >>> shift) | (a.valueHi << back),
    a.maskHi >> shift,
    (a.maskLo >>> shift) | (a.maskHi << back),
  );
}

export function tnumAdd(a: Tnum, b: Tnum): Tnum {
  const sumLo = (a.valueLo + b.valueLo) | 0;
  const sumHi = (a.valueHi + b.valueHi + carry(sumLo, a.valueLo)) | 0;
  if ((a.maskLo | a.maskHi | b.maskLo | b.maskHi) === 0) return new Tnum(sumHi, sumLo, 0, 0);
  const masksLo = (a.maskLo + b.maskLo) | 0;
  const masksHi = (a.maskHi + b.maskHi + carry(masksLo, a.maskLo)) | 0;
  const sigmaLo = (masksLo + sumLo) | 0;
  const sigmaHi = (masksHi + sumHi + carry(sigmaLo, masksLo)) | 0;
  const unknownLo = (sigmaLo ^ sumLo) | a.maskLo | b.maskLo;
  const unknownHi = (sigmaHi ^ sumHi) | a.maskHi | b.maskHi;
  return new Tnum(sumHi & ~unknownHi, sumLo & ~unknownLo, unknownHi, unknownLo);
}

export function tnumSub(a: Tnum, b: Tnum): Tnum {
  const lo = (a.valueLo - b.valueLo) | 0;
  const hi = (a.valueHi - b.valueHi - borrow(a.valueLo, b.valueLo)) | 0;
  if ((a.maskLo | a.maskHi | b.maskLo | b.maskHi) === 0) return new Tnum(hi, lo, 0, 0);
  const alphaLo = (lo + a.maskLo) | 0;
  const alphaHi = (hi + a.maskHi + carry(alphaLo, lo)) | 0;
  const betaLo = (lo - b.maskLo) | 0;
  const betaHi = (hi - b.maskHi - borrow(lo, b.maskLo)) | 0;
  const unknownLo = (alphaLo ^ betaLo) | a.maskLo | b.maskLo;
  const unknownHi = (alphaHi ^ betaHi) | a.maskHi | b.maskHi;
  return new Tnum(hi & ~unknownHi, lo & ~unknownLo, unknownHi, unknownLo);
}

export function tnumNeg(a: Tnum): Tnum {
  return tnumSub(TNUM_ZERO, a);
}

export function tnumAnd(a: Tnum, b: Tnum): Tnum {
  const hi = a.valueHi & b.valueHi;
  const lo = a.valueLo & b.valueLo;
  return new Tnum(
    hi,
    lo,
    (a.valueHi | a.maskHi) & (b.valueHi | b.maskHi) & ~hi,
    (a.valueLo | a.maskLo) & (b.valueLo | b.maskLo) & ~lo,
  );
}

export function tnumOr(a: Tnum, b: Tnum): Tnum {
  const hi = a.valueHi | b.valueHi;
  const lo = a.valueLo | b.valueLo;
  return new Tnum(hi, lo, (a.maskHi | b.maskHi) & ~hi, (a.maskLo | b.maskLo) & ~lo);
}

export function tnumXor(a: Tnum, b: Tnum): Tnum {
  const hi = a.maskHi | b.maskHi;
  const lo = a.maskLo | b.maskLo;
  return new Tnum((a.valueHi ^ b.valueHi) & ~hi, (a.valueLo ^ b.valueLo) & ~lo, hi, lo);
}

/**
 * Product by long multiplication over the bits of `a`: a known one adds `b`, an unknown one joins "added" and "not
 * added" (tnumUnion), as 6.18 does since it replaced the former value/mask split.
 */
export function tnumMul(a: Tnum, b: Tnum): Tnum {
  if (tnumIsConst(a) && tnumIsConst(b)) return tnumConst(a.value * b.value);
  const possibleLo = b.valueLo | b.maskLo;
  const possibleHi = b.valueHi | b.maskHi;
  if ((possibleLo | possibleHi) === 0) return TNUM_ZERO;
  // Below the lowest bit that `b` can have all is zero; once every bit above it is unknown, nothing changes any more.
  const saturatedLo = possibleLo === 0 ? 0 : -(possibleLo & -possibleLo) | 0;
  const saturatedHi = possibleLo === 0 ? -(possibleHi & -possibleHi) | 0 : -1;
  let acc = TNUM_ZERO;
  for (let base = 0; base < 64; base += 32) {
    const value = base === 0 ? a.valueLo : a.valueHi;
    let bits = value | (base === 0 ? a.maskLo : a.maskHi);
    while (bits !== 0) {
      const at = 31 - Math.clz32(bits & -bits);
      bits &= bits - 1;
      const sum = tnumAdd(acc, tnumLshift(b, base + at));
      acc = (value >>> at) & 1 ? sum : tnumUnion(acc, sum);
      if (acc.maskLo === saturatedLo && acc.maskHi === saturatedHi) return acc;
    }
  }
  return acc;
}

/** Whether some number is in both: the bits known in both agree. */
export function tnumOverlap(a: Tnum, b: Tnum): boolean {
  return (
    ((a.valueLo ^ b.valueLo) & ~(a.maskLo | b.maskLo)) === 0 &&
    ((a.valueHi ^ b.valueHi) & ~(a.maskHi | b.maskHi)) === 0
  );
}

/** What both say. Where they contradict each other a bit reads as a known one (callers exclude that). */
export function tnumIntersect(a: Tnum, b: Tnum): Tnum {
  if (b.maskLo === -1 && b.maskHi === -1) return a;
  const hi = a.maskHi & b.maskHi;
  const lo = a.maskLo & b.maskLo;
  return new Tnum((a.valueHi | b.valueHi) & ~hi, (a.valueLo | b.valueLo) & ~lo, hi, lo);
}

/** The least tnum that holds the numbers of both. */
export function tnumUnion(a: Tnum, b: Tnum): Tnum {
  const hi = (a.valueHi ^ b.valueHi) | a.maskHi | b.maskHi;
  const lo = (a.valueLo ^ b.valueLo) | a.maskLo | b.maskLo;
  return new Tnum(a.valueHi & b.valueHi & ~hi, a.valueLo & b.valueLo & ~lo, hi, lo);
}

/** Truncates to the low `size` bytes (1..8). */
export function tnumCast(a: Tnum, size: number): Tnum {
  if (size >= 8) return a;
  if (size > 4) {
    const keep = (1 << (8 * (size - 4))) - 1;
    return new Tnum(a.valueHi & keep, a.valueLo, a.maskHi & keep, a.maskLo);
  }
  const keep = size === 4 ? -1 : (1 << (8 * size)) - 1;
  return new Tnum(0, a.valueLo & keep, 0, a.maskLo & keep);
}

/** What tnumStep found: see there. */
export let stepHi = 0;
export let stepLo = 0;

/**
 * The least number of `a` above `z` (u64); the greatest of `a` where there is none. With the unknown bits read as a
 * counter, the known bits only have to be stepped over. Leaves the number in `stepHi` and `stepLo`.
 */
export function stepTnum(a: Tnum, zHi: number, zLo: number): void {
  const { valueHi, valueLo, maskHi, maskLo } = a;
  const topHi = valueHi | maskHi;
  const topLo = valueLo | maskLo;
  if (!ult(zHi, zLo, topHi, topLo)) {
    stepHi = topHi;
    stepLo = topLo;
    return;
  }
  if (ult(zHi, zLo, valueHi, valueLo)) {
    stepHi = valueHi;
    stepLo = valueLo;
    return;
  }
  if (ult(zHi, zLo, valueHi | (zHi & maskHi), valueLo | (zLo & maskLo))) {
    // A known one above where z has a zero: below the highest such bit everything unknown can be zero.
    onesUpTo(~zHi & valueHi, ~zLo & valueLo);
    stepHi = (zHi & ~onesHi) | (valueHi & onesHi);
    stepLo = (zLo & ~onesLo) | (valueLo & onesLo);
    return;
  }
  // z is in `a`, or a known zero where z has a one: count up above the highest such bit.
  onesUpTo(zHi & ~topHi, zLo & ~topLo);
  const carriedHi = (~onesHi & maskHi & zHi) | (~onesHi & ~maskHi);
  const carriedLo = (~onesLo & maskLo & zLo) | (~onesLo & ~maskLo);
  // carried + ones + 1; the two have no bit in common.
  const sumLo = ((carriedLo | onesLo) + 1) | 0;
  const sumHi = ((carriedHi | onesHi) + (sumLo === 0 ? 1 : 0)) | 0;
  stepHi = (sumHi & maskHi) | valueHi;
  stepLo = (sumLo & maskLo) | valueLo;
}

/** `stepTnum` of a bigint. */
export function tnumStep(a: Tnum, z: bigint): bigint {
  stepTnum(a, highHalf(z), lowHalf(z));
  return unsignedBig(stepHi, stepLo);
}

/** Whether every number of `a` is a multiple of `size`, a power of two (0 reads as 1). */
export function tnumIsAligned(a: Tnum, size: bigint): boolean {
  return size === 0n || ((a.valueLo | a.maskLo) & (Number(size) - 1)) === 0;
}

/** Whether `a` holds every number of `b`. */
export function tnumIn(a: Tnum, b: Tnum): boolean {
  return (
    a === b ||
    ((b.maskLo & ~a.maskLo) === 0 &&
      (b.maskHi & ~a.maskHi) === 0 &&
      a.valueLo === (b.valueLo & ~a.maskLo) &&
      a.valueHi === (b.valueHi & ~a.maskHi))
  );
}

/** Whether `a` holds the number (unsigned 64-bit). */
export function tnumHolds(a: Tnum, hi: number, lo: number): boolean {
  return (lo & ~a.maskLo) === a.valueLo && (hi & ~a.maskHi) === a.valueHi;
}

export function tnumContains(a: Tnum, n: bigint): boolean {
  return tnumHolds(a, highHalf(n), lowHalf(n));
}

export function tnumIsConst(a: Tnum): boolean {
  return (a.maskLo | a.maskHi) === 0;
}

export function tnumIsUnknown(a: Tnum): boolean {
  return a.maskLo === -1 && a.maskHi === -1;
}

export function tnumEquals(a: Tnum, b: Tnum): boolean {
  return (
    a === b ||
    (a.valueLo === b.valueLo && a.maskLo === b.maskLo && a.valueHi === b.valueHi && a.maskHi === b.maskHi)
  );
}

/** The low half, the upper half zero. */
export function tnumSubreg(a: Tnum): Tnum {
  return (a.valueHi | a.maskHi) === 0 ? a : new Tnum(0, a.valueLo, 0, a.maskLo);
}

/** The upper half, the low half zero. */
export function tnumClearSubreg(a: Tnum): Tnum {
  return new Tnum(a.valueHi, 0, a.maskHi, 0);
}

/** The upper half of `a` with the low half of `subreg`. */
export function tnumWithSubreg(a: Tnum, subreg: Tnum): Tnum {
  return new Tnum(a.valueHi, subreg.valueLo, a.maskHi, subreg.maskLo);
}

/** The upper half of `a` with a constant low half. */
export function tnumConstSubreg(a: Tnum, low: number): Tnum {
  return new Tnum(a.valueHi, low | 0, a.maskHi, 0);
}

export function tnumSubregIsConst(a: Tnum): boolean {
  return a.maskLo === 0;
}

/** Reverses the low `size` bytes (2, 4 or 8) of a 64-bit number; the rest becomes zero. */
export function byteSwap(n: bigint, size: number): bigint {
  let result = 0n;
  for (let i = 0; i < size; i++) result = (result << 8n) | ((n >> BigInt(8 * i)) & 0xffn);
  return result;
}

export function tnumByteSwap(a: Tnum, size: number): Tnum {
  return tnum(byteSwap(a.value, size), byteSwap(a.mask, size));
}

/** As the log prints it: `(0x0; 0xff)`. Zero prints as `0x0`, unlike C's `%#x`. */
export function formatTnum(a: Tnum): string {
  return `(0x${a.value.toString(16)}; 0x${a.mask.toString(16)})`;
}
