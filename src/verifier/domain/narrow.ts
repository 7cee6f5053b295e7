/**
 * Scalars cut to a size and scalars made from ranges: loads, 32-bit writes, sign extensions, return values. Equal to
 * Linux 6.18 (coerce_reg_to_size, coerce_reg_to_size_sx, coerce_subreg_to_size_sx, zext_32_to_64).
 */
import { type Deductions, older } from './deductions.ts';
import { Bounds, constant, constantOf, isConst, type Scalar, unknown } from './scalar.ts';
import { meetS32, syncBounds, zextInPlace } from './sync.ts';
import { Tnum, tnumCast, tnumIsConst, tnumOfRange } from './tnum.ts';

/** The low half, zero-extended: what any 32-bit write leaves (`w1 = w2`, a 32-bit zero-extended result). */
export function zext32(s: Scalar): Scalar {
  if (isConst(s)) return constantOf(0, s.tnum.valueLo);
  const b = new Bounds(s);
  zextInPlace(b);
  syncBounds(b);
  return b;
}

/**
 * The low `size` bytes (1, 2, 4, 8), zero-extended: what a load of that size leaves (Linux: coerce_reg_to_size).
 * Size 8 changes nothing.
 */
export function coerceToSize(s: Scalar, size: number): Scalar {
  if (size >= 8) return s;
  if (isConst(s)) return constantOf(0, s.tnum.valueLo & lowBytes(size));
  if (s === unknown() && older === null) return UNKNOWN_OF_SIZE[size] ?? coerce(s, size);
  return coerce(s, size);
}

/** Ones in the low `size` bytes, 1, 2 or 4. */
function lowBytes(size: number): number {
  return size === 4 ? -1 : (1 << (8 * size)) - 1;
}

function coerce(s: Scalar, size: number): Scalar {
  const mask = lowBytes(size);
  const b = new Bounds(s);
  b.tnum = tnumCast(s.tnum, size);
  if (b.uminHi === b.umaxHi && (b.uminLo & ~mask) === (b.umaxLo & ~mask)) {
    b.setUmin(0, b.uminLo & mask);
    b.setUmax(0, b.umaxLo & mask);
  } else {
    b.setUmin(0, 0);
    b.setUmax(0, mask);
  }
  b.setSmin(0, b.uminLo);
  b.setSmax(0, b.umaxLo);
  if (older !== null && !older.ranges_of_both_operands) {
    coerceHalves(b, size, older);
    return b;
  }
  if (size < 4) b.unbound32();
  syncBounds(b);
  return b;
}

/** Before 6.8 the 32-bit bounds of fewer bytes follow the 64-bit ones, and those of four stay what they were. */
function coerceHalves(b: Bounds, size: number, d: Deductions): void {
  if (!d.bounds_of_halves) {
    if (isConst(b)) b.setConstant32(b.tnum.valueLo);
    else b.unbound32();
  } else if (size < 4) {
    b.s32min = b.w32min = b.uminLo;
    b.s32max = b.w32max = b.umaxLo;
    syncBounds(b);
  }
}

const UNKNOWN_OF_SIZE: Readonly<Record<number, Scalar>> = {
  1: coerce(unknown(), 1),
  2: coerce(unknown(), 2),
  4: coerce(unknown(), 4),
};

/** Sign-extends the low `size` bytes (1, 2, 4) to 64 bits (Linux: coerce_reg_to_size_sx; no sync follows). */
export function coerceToSizeSx(s: Scalar, size: number): Scalar {
  const bits = size * 8;
  if (isConst(s)) return constant(BigInt.asIntN(bits, s.tnum.value));
  const b = new Bounds(null);
  const shift = 32 - bits;
  if (s.smaxHi === s.sminHi && (shift === 0 || s.smaxLo >> bits === s.sminLo >> bits)) {
    const atMax = (s.smaxLo << shift) >> shift;
    const atMin = (s.sminLo << shift) >> shift;
    if (atMax >= 0 === atMin >= 0) {
      const min = Math.min(atMax, atMin);
      const max = Math.max(atMax, atMin);
      const sign = min >> 31;
      b.setSmin(sign, min);
      b.setSmax(sign, max);
      b.setUmin(sign, min);
      b.setUmax(sign, max);
      b.s32min = min;
      b.s32max = max;
      b.w32min = min;
      b.w32max = max;
      b.tnum = tnumOfRange(sign, min, sign, max);
      return b;
    }
  }
  const min = -1 << (bits - 1);
  b.setSmin(-1, min);
  b.setSmax(0, ~min);
  b.s32min = min;
  b.s32max = ~min;
  return b;
}

/**
 * Sign-extends the low `size` bytes (1, 2) to 32 bits; the result is zero-extended and synchronised (Linux:
 * coerce_subreg_to_size_sx, zext_32_to_64, reg_bounds_sync: what `w1 = (s8)w2` does).
 */
export function coerceSubregToSizeSx(s: Scalar, size: number): Scalar {
  const bits = size * 8;
  const shift = 32 - bits;
  if (isConst(s)) return constantOf(0, (s.tnum.valueLo << shift) >> shift);
  const b = new Bounds(s);
  b.unboundUnsigned32();
  const limit = 2 ** (bits - 1);
  let known = false;
  if (s.s32max >> bits === s.s32min >> bits) {
    const atMax = (s.s32max << shift) >> shift;
    const atMin = (s.s32min << shift) >> shift;
    if (atMax >= 0 === atMin >= 0) {
      b.s32min = Math.min(atMax, atMin);
      b.s32max = Math.max(atMax, atMin);
      b.w32min = b.s32min;
      b.w32max = b.s32max;
      b.tnum = tnumOfRange(0, b.w32min, 0, b.w32max);
      known = true;
    }
  }
  if (!known) {
    b.s32min = -limit;
    b.s32max = limit - 1;
    b.tnum = new Tnum(0, 0, 0, -1);
  }
  zextInPlace(b);
  syncBounds(b);
  return b;
}

/** All numbers that `t` allows, with the bounds that follow from it. */
export function fromTnum(t: Tnum): Scalar {
  if (tnumIsConst(t)) return constantOf(t.valueHi, t.valueLo);
  const b = new Bounds(null);
  b.tnum = t;
  syncBounds(b);
  return b;
}

/** Narrows to min..max as s64 and as s32, and synchronises: how a helper's or kfunc's return range is applied. */
export function withS32Range(s: Scalar, min: number, max: number): Scalar {
  const b = new Bounds(s);
  meetS32(b, min, max);
  if (BigInt(min) > b.smin) b.smin = BigInt(min);
  if (BigInt(max) < b.smax) b.smax = BigInt(max);
  syncBounds(b);
  return b;
}

/** Replaces the named bounds (not an intersection) and synchronises where `sync` is not false. */
export function withBounds(
  s: Scalar,
  bounds: Partial<
    Pick<Scalar, 'smin' | 'smax' | 'umin' | 'umax' | 's32min' | 's32max' | 'u32min' | 'u32max'>
  >,
  sync = true,
): Scalar {
  const b = new Bounds(s);
  Object.assign(b, bounds);
  if (sync) syncBounds(b);
  return b;
}
