/**
 * Scalars cut to a size and scalars made from ranges: loads, 32-bit writes, sign extensions, return values. Equal to
 * Linux 6.18 (coerce_reg_to_size, coerce_reg_to_size_sx, coerce_subreg_to_size_sx, zext_32_to_64).
 */
import { Bounds, constant, low32, type Scalar, U32_MAX, unknown } from './scalar.ts';
import { meetS32, syncBounds, zextInPlace } from './sync.ts';
import { type Tnum, tnumCast, tnumRange } from './tnum.ts';

const LOW = 0xffff_ffffn;

/** The low half, zero-extended: what any 32-bit write leaves (`w1 = w2`, a 32-bit zero-extended result). */
export function zext32(s: Scalar): Scalar {
  if (s.tnum.mask === 0n) return constant(s.tnum.value & LOW);
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
  const bits = size * 8;
  if (s.tnum.mask === 0n) return constant(BigInt.asUintN(bits, s.tnum.value));
  if (s === unknown()) return UNKNOWN_OF_SIZE[size] ?? coerce(s, size);
  return coerce(s, size);
}

function coerce(s: Scalar, size: number): Scalar {
  const width = BigInt(size * 8);
  const mask = (1n << width) - 1n;
  const b = new Bounds(s);
  b.tnum = tnumCast(s.tnum, size);
  if (b.umin >> width === b.umax >> width) {
    b.umin &= mask;
    b.umax &= mask;
  } else {
    b.umin = 0n;
    b.umax = mask;
  }
  b.smin = b.umin;
  b.smax = b.umax;
  if (size < 4) b.unbound32();
  syncBounds(b);
  return b;
}

const UNKNOWN_OF_SIZE: Readonly<Record<number, Scalar>> = {
  1: coerce(unknown(), 1),
  2: coerce(unknown(), 2),
  4: coerce(unknown(), 4),
};

/** Sign-extends the low `size` bytes (1, 2, 4) to 64 bits (Linux: coerce_reg_to_size_sx; no sync follows). */
export function coerceToSizeSx(s: Scalar, size: number): Scalar {
  const bits = size * 8;
  if (s.tnum.mask === 0n) return constant(BigInt.asIntN(bits, s.tnum.value));
  const b = new Bounds(null);
  const width = BigInt(bits);
  if (s.smax >> width === s.smin >> width) {
    const atMax = BigInt.asIntN(bits, s.smax);
    const atMin = BigInt.asIntN(bits, s.smin);
    const max = atMax > atMin ? atMax : atMin;
    const min = atMax > atMin ? atMin : atMax;
    if (max >= 0n === min >= 0n) {
      b.smin = min;
      b.smax = max;
      b.umin = BigInt.asUintN(64, min);
      b.umax = BigInt.asUintN(64, max);
      b.s32min = low32(min);
      b.s32max = low32(max);
      b.u32min = low32(min) >>> 0;
      b.u32max = low32(max) >>> 0;
      b.tnum = tnumRange(b.umin, b.umax);
      return b;
    }
  }
  const limit = 1n << (width - 1n);
  b.smin = -limit;
  b.smax = limit - 1n;
  b.s32min = Number(-limit);
  b.s32max = Number(limit - 1n);
  return b;
}

/**
 * Sign-extends the low `size` bytes (1, 2) to 32 bits; the result is zero-extended and synchronised (Linux:
 * coerce_subreg_to_size_sx, zext_32_to_64, reg_bounds_sync: what `w1 = (s8)w2` does).
 */
export function coerceSubregToSizeSx(s: Scalar, size: number): Scalar {
  const bits = size * 8;
  if (s.tnum.mask === 0n) return constant(BigInt.asUintN(32, BigInt.asIntN(bits, s.tnum.value)));
  const b = new Bounds(s);
  const shift = 32 - bits;
  b.u32min = 0;
  b.u32max = U32_MAX;
  const limit = 2 ** (bits - 1);
  let known = false;
  if (s.s32max >> bits === s.s32min >> bits) {
    const atMax = (s.s32max << shift) >> shift;
    const atMin = (s.s32min << shift) >> shift;
    if (atMax >= 0 === atMin >= 0) {
      b.s32min = Math.min(atMax, atMin);
      b.s32max = Math.max(atMax, atMin);
      b.u32min = b.s32min >>> 0;
      b.u32max = b.s32max >>> 0;
      b.tnum = tnumRange(BigInt(b.u32min), BigInt(b.u32max));
      known = true;
    }
  }
  if (!known) {
    b.s32min = -limit;
    b.s32max = limit - 1;
    b.tnum = { value: 0n, mask: LOW };
  }
  zextInPlace(b);
  syncBounds(b);
  return b;
}

/** All numbers that `t` allows, with the bounds that follow from it. */
export function fromTnum(t: Tnum): Scalar {
  if (t.mask === 0n) return constant(t.value);
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
