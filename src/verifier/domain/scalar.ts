/**
 * What the verifier knows of a number: the tnum of its bits and its bounds as s64, u64, s32 and u32 (the 32-bit ones
 * speak of the low half). Invariant: each part alone holds every possible value; a `Scalar` is never changed once it has
 * left this folder, so states share it by reference. What one part lets the others deduce is in sync.ts.
 *
 * Bounds are kept as 32-bit halves (wide.ts), the u32 ones as signed words of the same bits. The properties that are
 * bigints or unsigned numbers are for borders, text and rare rules: each makes a new object.
 */
import { TNUM_UNKNOWN, TNUM_ZERO, Tnum, tnumEquals, tnumHolds, tnumIn } from './tnum.ts';
import { highHalf, lowHalf, signedBig, signedNumber, slt, ult, unsignedBig, unsignedNumber } from './wide.ts';

export const S32_MIN = -0x8000_0000;
export const S32_MAX = 0x7fff_ffff;
export const U32_MAX = 0xffff_ffff;
export const S64_MIN = -0x8000_0000_0000_0000n;
export const S64_MAX = 0x7fff_ffff_ffff_ffffn;
export const U64_MAX = 0xffff_ffff_ffff_ffffn;

export interface Scalar {
  readonly tnum: Tnum;
  readonly sminHi: number;
  readonly sminLo: number;
  readonly smaxHi: number;
  readonly smaxLo: number;
  readonly uminHi: number;
  readonly uminLo: number;
  readonly umaxHi: number;
  readonly umaxLo: number;
  readonly s32min: number;
  readonly s32max: number;
  /** The bits of u32min and u32max as signed words. */
  readonly w32min: number;
  readonly w32max: number;
  readonly smin: bigint;
  readonly smax: bigint;
  readonly umin: bigint;
  readonly umax: bigint;
  readonly u32min: number;
  readonly u32max: number;
}

/**
 * The workshop form of a scalar: the rooms of this folder fill one in and hand it out as a `Scalar`. Nobody may write to
 * it after that; one class for all keeps the property accesses of the hot paths monomorphic.
 */
export class Bounds implements Scalar {
  tnum: Tnum;
  sminHi: number;
  sminLo: number;
  smaxHi: number;
  smaxLo: number;
  uminHi: number;
  uminLo: number;
  umaxHi: number;
  umaxLo: number;
  s32min: number;
  s32max: number;
  w32min: number;
  w32max: number;

  constructor(from: Scalar | null) {
    if (from === null) {
      this.tnum = TNUM_UNKNOWN;
      this.sminHi = S32_MIN;
      this.sminLo = 0;
      this.smaxHi = S32_MAX;
      this.smaxLo = -1;
      this.uminHi = 0;
      this.uminLo = 0;
      this.umaxHi = -1;
      this.umaxLo = -1;
      this.s32min = S32_MIN;
      this.s32max = S32_MAX;
      this.w32min = 0;
      this.w32max = -1;
    } else {
      this.tnum = from.tnum;
      this.sminHi = from.sminHi;
      this.sminLo = from.sminLo;
      this.smaxHi = from.smaxHi;
      this.smaxLo = from.smaxLo;
      this.uminHi = from.uminHi;
      this.uminLo = from.uminLo;
      this.umaxHi = from.umaxHi;
      this.umaxLo = from.umaxLo;
      this.s32min = from.s32min;
      this.s32max = from.s32max;
      this.w32min = from.w32min;
      this.w32max = from.w32max;
    }
  }

  get smin(): bigint {
    return signedBig(this.sminHi, this.sminLo);
  }

  set smin(n: bigint) {
    this.sminHi = highHalf(n);
    this.sminLo = lowHalf(n);
  }

  get smax(): bigint {
    return signedBig(this.smaxHi, this.smaxLo);
  }

  set smax(n: bigint) {
    this.smaxHi = highHalf(n);
    this.smaxLo = lowHalf(n);
  }

  get umin(): bigint {
    return unsignedBig(this.uminHi, this.uminLo);
  }

  set umin(n: bigint) {
    this.uminHi = highHalf(n);
    this.uminLo = lowHalf(n);
  }

  get umax(): bigint {
    return unsignedBig(this.umaxHi, this.umaxLo);
  }

  set umax(n: bigint) {
    this.umaxHi = highHalf(n);
    this.umaxLo = lowHalf(n);
  }

  get u32min(): number {
    return this.w32min >>> 0;
  }

  set u32min(n: number) {
    this.w32min = n | 0;
  }

  get u32max(): number {
    return this.w32max >>> 0;
  }

  set u32max(n: number) {
    this.w32max = n | 0;
  }

  unboundSigned(): void {
    this.sminHi = S32_MIN;
    this.sminLo = 0;
    this.smaxHi = S32_MAX;
    this.smaxLo = -1;
  }

  unboundUnsigned(): void {
    this.uminHi = 0;
    this.uminLo = 0;
    this.umaxHi = -1;
    this.umaxLo = -1;
  }

  unbound64(): void {
    this.unboundSigned();
    this.unboundUnsigned();
  }

  unboundSigned32(): void {
    this.s32min = S32_MIN;
    this.s32max = S32_MAX;
  }

  unboundUnsigned32(): void {
    this.w32min = 0;
    this.w32max = -1;
  }

  unbound32(): void {
    this.unboundSigned32();
    this.unboundUnsigned32();
  }

  setSmin(hi: number, lo: number): void {
    this.sminHi = hi;
    this.sminLo = lo;
  }

  setSmax(hi: number, lo: number): void {
    this.smaxHi = hi;
    this.smaxLo = lo;
  }

  setUmin(hi: number, lo: number): void {
    this.uminHi = hi;
    this.uminLo = lo;
  }

  setUmax(hi: number, lo: number): void {
    this.umaxHi = hi;
    this.umaxLo = lo;
  }

  /** Sets the 32-bit bounds to the known low half. */
  setConstant32(low: number): void {
    this.s32min = low;
    this.s32max = low;
    this.w32min = low;
    this.w32max = low;
  }

  /** Sets every bound, not the tnum, to the constant `hi:lo`. */
  pinBounds(hi: number, lo: number): void {
    this.sminHi = hi;
    this.sminLo = lo;
    this.smaxHi = hi;
    this.smaxLo = lo;
    this.uminHi = hi;
    this.uminLo = lo;
    this.umaxHi = hi;
    this.umaxLo = lo;
    this.setConstant32(lo);
  }

  /** Sets every part to the constant `hi:lo`. */
  setConstant(hi: number, lo: number): void {
    this.tnum = (hi | lo) === 0 ? TNUM_ZERO : new Tnum(hi, lo, 0, 0);
    this.pinBounds(hi, lo);
  }
}

const UNKNOWN: Scalar = new Bounds(null);

const SMALL_MIN = -256;
const SMALL_MAX = 4096;
const small: (Scalar | undefined)[] = new Array(SMALL_MAX - SMALL_MIN + 1).fill(undefined);

/** Any number at all. Always the same object. */
export function unknown(): Scalar {
  return UNKNOWN;
}

/** The known number with these halves. Small ones (-256..4096) are shared objects. */
export function constantOf(hi: number, lo: number): Scalar {
  const isSmall = lo >= SMALL_MIN && lo <= SMALL_MAX && hi === lo >> 31;
  if (isSmall) {
    const found = small[lo - SMALL_MIN];
    if (found !== undefined) return found;
  }
  const made = new Bounds(UNKNOWN);
  made.setConstant(hi, lo);
  if (isSmall) small[lo - SMALL_MIN] = made;
  return made;
}

/** A known number, taken modulo 2^64. */
export function constant(value: bigint): Scalar {
  return constantOf(highHalf(value), lowHalf(value));
}

/** The sign-extended 32-bit immediate of an instruction, or any safe integer. */
export function constantFromNumber(value: number): Scalar {
  const lo = value | 0;
  return lo === value ? constantOf(lo >> 31, lo) : constant(BigInt(value));
}

/** The 32-bit immediate of an instruction as an unsigned number. */
export function constantUnsigned32(imm: number): Scalar {
  return constantOf(0, imm | 0);
}

export function isConst(s: Scalar): boolean {
  return (s.tnum.maskLo | s.tnum.maskHi) === 0;
}

/** Whether the low half (`is32`) or the whole is known. */
export function isConstWidth(s: Scalar, is32: boolean): boolean {
  return s.tnum.maskLo === 0 && (is32 || s.tnum.maskHi === 0);
}

/** Whether the scalar is known to be 0. */
export function isZero(s: Scalar): boolean {
  const { tnum } = s;
  return (tnum.maskLo | tnum.maskHi | tnum.valueLo | tnum.valueHi) === 0;
}

/** The known number as u64; only meaningful where `isConst`. */
export function constValue(s: Scalar): bigint {
  return s.tnum.value;
}

/** The known number as s64; only meaningful where `isConst`. */
export function constSigned(s: Scalar): bigint {
  return signedBig(s.tnum.valueHi, s.tnum.valueLo);
}

/** The known number as s64, exact where that is a safe integer; only meaningful where `isConst`. */
export function constNumber(s: Scalar): number {
  return signedNumber(s.tnum.valueHi, s.tnum.valueLo);
}

/** Whether the scalar is known to be the number `n` (u64). */
export function isConstEqual(s: Scalar, n: bigint): boolean {
  return isConst(s) && s.tnum.value === n;
}

/** Bounds as numbers: exact where they are safe integers. */
export function sminNumber(s: Scalar): number {
  return signedNumber(s.sminHi, s.sminLo);
}

export function smaxNumber(s: Scalar): number {
  return signedNumber(s.smaxHi, s.smaxLo);
}

export function umaxNumber(s: Scalar): number {
  return unsignedNumber(s.umaxHi, s.umaxLo);
}

/** Whether the 64-bit bounds leave one number. */
export function isPinned(s: Scalar): boolean {
  return s.sminLo === s.smaxLo && s.sminHi === s.smaxHi && s.uminLo === s.umaxLo && s.uminHi === s.umaxHi;
}

/** Whether the 64-bit bounds contradict themselves. */
export function isCrossed(s: Scalar): boolean {
  return slt(s.smaxHi, s.smaxLo, s.sminHi, s.sminLo) || ult(s.umaxHi, s.umaxLo, s.uminHi, s.uminLo);
}

/** Whether nothing is known: all bits and all bounds open. */
export function isUnknown(s: Scalar): boolean {
  return s === UNKNOWN || scalarEquals(s, UNKNOWN);
}

export function scalarEquals(a: Scalar, b: Scalar): boolean {
  return (
    a === b ||
    (a.uminLo === b.uminLo &&
      a.umaxLo === b.umaxLo &&
      a.uminHi === b.uminHi &&
      a.umaxHi === b.umaxHi &&
      tnumEquals(a.tnum, b.tnum) &&
      a.sminLo === b.sminLo &&
      a.smaxLo === b.smaxLo &&
      a.sminHi === b.sminHi &&
      a.smaxHi === b.smaxHi &&
      a.w32min === b.w32min &&
      a.w32max === b.w32max &&
      a.s32min === b.s32min &&
      a.s32max === b.s32max)
  );
}

/** Whether all eight bounds of `cur` lie within those of `old` (Linux: range_within). The tnum is not compared. */
export function rangeWithin(old: Scalar, cur: Scalar): boolean {
  return (
    old === cur ||
    (!ult(cur.uminHi, cur.uminLo, old.uminHi, old.uminLo) &&
      !ult(old.umaxHi, old.umaxLo, cur.umaxHi, cur.umaxLo) &&
      !slt(cur.sminHi, cur.sminLo, old.sminHi, old.sminLo) &&
      !slt(old.smaxHi, old.smaxLo, cur.smaxHi, cur.smaxLo) &&
      old.w32min >>> 0 <= cur.w32min >>> 0 &&
      old.w32max >>> 0 >= cur.w32max >>> 0 &&
      old.s32min <= cur.s32min &&
      old.s32max >= cur.s32max)
  );
}

/** Whether `old` admits every value of `cur` as far as pruning is concerned: rangeWithin and tnumIn. */
export function scalarIncludes(old: Scalar, cur: Scalar): boolean {
  return old === cur || (rangeWithin(old, cur) && tnumIn(old.tnum, cur.tnum));
}

/** Whether the concrete number `hi:lo` is allowed by every bound. */
export function boundsHold(s: Scalar, hi: number, lo: number): boolean {
  return (
    !ult(hi, lo, s.uminHi, s.uminLo) &&
    !ult(s.umaxHi, s.umaxLo, hi, lo) &&
    !slt(hi, lo, s.sminHi, s.sminLo) &&
    !slt(s.smaxHi, s.smaxLo, hi, lo) &&
    lo >>> 0 >= s.w32min >>> 0 &&
    lo >>> 0 <= s.w32max >>> 0 &&
    lo >= s.s32min &&
    lo <= s.s32max
  );
}

/** Whether the concrete number `n` (u64) is allowed by every part. */
export function scalarContains(s: Scalar, n: bigint): boolean {
  const hi = highHalf(n);
  const lo = lowHalf(n);
  return tnumHolds(s.tnum, hi, lo) && boundsHold(s, hi, lo);
}
