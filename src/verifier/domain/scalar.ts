/**
 * What the verifier knows of a number: the tnum of its bits and its bounds as s64, u64, s32 and u32 (the 32-bit ones
 * speak of the low half). Invariant: each part alone holds every possible value; a `Scalar` is never changed once it has
 * left this folder, so states share it by reference. What one part lets the others deduce is in sync.ts.
 */
import { TNUM_UNKNOWN, TNUM_ZERO, type Tnum, tnumEquals, tnumIn } from './tnum.ts';

export const S32_MIN = -0x8000_0000;
export const S32_MAX = 0x7fff_ffff;
export const U32_MAX = 0xffff_ffff;
export const S64_MIN = -0x8000_0000_0000_0000n;
export const S64_MAX = 0x7fff_ffff_ffff_ffffn;
export const U64_MAX = 0xffff_ffff_ffff_ffffn;

/** The low half of any bigint, as a signed number. */
export function low32(n: bigint): number {
  return Number(BigInt.asIntN(32, n));
}

export function bigMin(a: bigint, b: bigint): bigint {
  if (a < b) return a;
  return b;
}

export function bigMax(a: bigint, b: bigint): bigint {
  if (a > b) return a;
  return b;
}

export interface Scalar {
  readonly tnum: Tnum;
  readonly smin: bigint;
  readonly smax: bigint;
  readonly umin: bigint;
  readonly umax: bigint;
  readonly s32min: number;
  readonly s32max: number;
  readonly u32min: number;
  readonly u32max: number;
}

/**
 * The workshop form of a scalar: the rooms of this folder fill one in and hand it out as a `Scalar`. Nobody may write to
 * it after that; one class for all keeps the property accesses of the hot paths monomorphic.
 */
export class Bounds implements Scalar {
  tnum: Tnum;
  smin: bigint;
  smax: bigint;
  umin: bigint;
  umax: bigint;
  s32min: number;
  s32max: number;
  u32min: number;
  u32max: number;

  constructor(from: Scalar | null) {
    if (from === null) {
      this.tnum = TNUM_UNKNOWN;
      this.smin = S64_MIN;
      this.smax = S64_MAX;
      this.umin = 0n;
      this.umax = U64_MAX;
      this.s32min = S32_MIN;
      this.s32max = S32_MAX;
      this.u32min = 0;
      this.u32max = U32_MAX;
    } else {
      this.tnum = from.tnum;
      this.smin = from.smin;
      this.smax = from.smax;
      this.umin = from.umin;
      this.umax = from.umax;
      this.s32min = from.s32min;
      this.s32max = from.s32max;
      this.u32min = from.u32min;
      this.u32max = from.u32max;
    }
  }

  unbound64(): void {
    this.smin = S64_MIN;
    this.smax = S64_MAX;
    this.umin = 0n;
    this.umax = U64_MAX;
  }

  unbound32(): void {
    this.s32min = S32_MIN;
    this.s32max = S32_MAX;
    this.u32min = 0;
    this.u32max = U32_MAX;
  }

  /** Sets every part to the constant `value` (u64). */
  setConstant(value: bigint): void {
    const signed = BigInt.asIntN(64, value);
    const low = Number(BigInt.asUintN(32, value));
    this.tnum = value === 0n ? TNUM_ZERO : { value, mask: 0n };
    this.smin = signed;
    this.smax = signed;
    this.umin = value;
    this.umax = value;
    this.s32min = low | 0;
    this.s32max = low | 0;
    this.u32min = low;
    this.u32max = low;
  }
}

const UNKNOWN: Scalar = new Bounds(null);

function makeConstant(value: bigint): Scalar {
  const made = new Bounds(null);
  made.setConstant(value);
  return made;
}

const SMALL_MIN = -256;
const SMALL_MAX = 4096;
const small: (Scalar | undefined)[] = new Array(SMALL_MAX - SMALL_MIN + 1);

/** Any number at all. Always the same object. */
export function unknown(): Scalar {
  return UNKNOWN;
}

/** A known number, taken modulo 2^64. Small ones (-256..4096) are shared objects. */
export function constant(value: bigint): Scalar {
  const signed = BigInt.asIntN(64, value);
  if (signed >= -256n && signed <= 4096n) {
    const slot = Number(signed) - SMALL_MIN;
    let found = small[slot];
    if (found === undefined) {
      found = makeConstant(BigInt.asUintN(64, value));
      small[slot] = found;
    }
    return found;
  }
  return makeConstant(BigInt.asUintN(64, value));
}

/** The sign-extended 32-bit immediate of an instruction, or any safe integer. */
export function constantFromNumber(value: number): Scalar {
  if (value >= SMALL_MIN && value <= SMALL_MAX) {
    const found = small[value - SMALL_MIN];
    if (found !== undefined) return found;
  }
  return constant(BigInt(value));
}

export function isConst(s: Scalar): boolean {
  return s.tnum.mask === 0n;
}

/** Whether the low half (`is32`) or the whole is known. */
export function isConstWidth(s: Scalar, is32: boolean): boolean {
  return is32 ? (s.tnum.mask & 0xffff_ffffn) === 0n : s.tnum.mask === 0n;
}

/** The known number as u64; only meaningful where `isConst`. */
export function constValue(s: Scalar): bigint {
  return s.tnum.value;
}

/** The known number as s64; only meaningful where `isConst`. */
export function constSigned(s: Scalar): bigint {
  return BigInt.asIntN(64, s.tnum.value);
}

/** Whether the scalar is known to be the number `n` (u64). */
export function isConstEqual(s: Scalar, n: bigint): boolean {
  return s.tnum.mask === 0n && s.tnum.value === n;
}

/** Whether nothing is known: all bits and all bounds open. */
export function isUnknown(s: Scalar): boolean {
  return s === UNKNOWN || scalarEquals(s, UNKNOWN);
}

export function scalarEquals(a: Scalar, b: Scalar): boolean {
  return (
    a === b ||
    (tnumEquals(a.tnum, b.tnum) &&
      a.umin === b.umin &&
      a.umax === b.umax &&
      a.smin === b.smin &&
      a.smax === b.smax &&
      a.u32min === b.u32min &&
      a.u32max === b.u32max &&
      a.s32min === b.s32min &&
      a.s32max === b.s32max)
  );
}

/** Whether all eight bounds of `cur` lie within those of `old` (Linux: range_within). The tnum is not compared. */
export function rangeWithin(old: Scalar, cur: Scalar): boolean {
  return (
    old === cur ||
    (old.umin <= cur.umin &&
      old.umax >= cur.umax &&
      old.smin <= cur.smin &&
      old.smax >= cur.smax &&
      old.u32min <= cur.u32min &&
      old.u32max >= cur.u32max &&
      old.s32min <= cur.s32min &&
      old.s32max >= cur.s32max)
  );
}

/** Whether `old` admits every value of `cur` as far as pruning is concerned: rangeWithin and tnumIn. */
export function scalarIncludes(old: Scalar, cur: Scalar): boolean {
  return old === cur || (rangeWithin(old, cur) && tnumIn(old.tnum, cur.tnum));
}

/** Whether the concrete number `n` (u64) is allowed by every part. */
export function scalarContains(s: Scalar, n: bigint): boolean {
  const signed = BigInt.asIntN(64, n);
  const low = Number(BigInt.asUintN(32, n));
  return (
    (n & ~s.tnum.mask) === s.tnum.value &&
    n >= s.umin &&
    n <= s.umax &&
    signed >= s.smin &&
    signed <= s.smax &&
    low >= s.u32min &&
    low <= s.u32max &&
    (low | 0) >= s.s32min &&
    (low | 0) <= s.s32max
  );
}
