/**
 * What the parts of a scalar let each other deduce. The steps and their order are those of Linux 6.18 (reg_bounds_sync
 * and its kin): no step is skipped for being weak or added for being possible, since a sharper result would also change
 * logs, pruning and verdicts.
 */
import { type Bounds, low32, S32_MAX, S32_MIN, S64_MAX, S64_MIN, U32_MAX, U64_MAX } from './scalar.ts';
import { settlesAsConstant, syncSmall } from './small.ts';
import { tnumContains, tnumIntersect, tnumRange, tnumStep, tnumSubreg } from './tnum.ts';

const LOW = 0xffff_ffffn;
const S32_MIN_BIG = BigInt(S32_MIN);
const S32_MAX_BIG = BigInt(S32_MAX);

/** Linux: __update_reg32_bounds. The tnum tightens the 32-bit bounds. */
export function updateBounds32(b: Bounds): void {
  const value = Number(b.tnum.value & LOW);
  const mask = Number(b.tnum.mask & LOW);
  const top = (value | mask) >>> 0;
  // The least signed number has every unknown sign bit set and every other unknown bit clear; the greatest the reverse.
  const smin = value | (mask & S32_MIN);
  const smax = value | (mask & S32_MAX);
  if (smin > b.s32min) b.s32min = smin;
  if (smax < b.s32max) b.s32max = smax;
  if (value > b.u32min) b.u32min = value;
  if (top < b.u32max) b.u32max = top;
}

/**
 * Linux: __update_reg64_bounds. The tnum tightens the 64-bit bounds; and where tnum and u64 range have just one number
 * in common, that is the value.
 */
export function updateBounds64(b: Bounds): void {
  const { value, mask } = b.tnum;
  const top = value | mask;
  let smin = value;
  let smax = top;
  if (top > S64_MAX) {
    // The sign bit is set or unknown.
    if (value > S64_MAX) {
      smin = BigInt.asIntN(64, value);
      smax = BigInt.asIntN(64, top);
    } else {
      smin = BigInt.asIntN(64, value | 0x8000_0000_0000_0000n);
      smax = top & S64_MAX;
    }
  }
  if (smin > b.smin) b.smin = smin;
  if (smax < b.smax) b.smax = smax;
  if (value > b.umin) b.umin = value;
  if (top < b.umax) b.umax = top;
  const only = onlyValue(b);
  if (only !== null) b.setConstant(only);
}

/** The one number that both the tnum and umin..umax hold, where there is just one; null otherwise. */
function onlyValue(b: Bounds): bigint | null {
  const { tnum, umin, umax } = b;
  if (tnum.mask === U64_MAX) return umin === umax && umin !== U64_MAX ? umin : null;
  if (umin === tnum.value && umax === (tnum.value | tnum.mask)) return null;
  const next = tnumStep(tnum, umin);
  if (tnumContains(tnum, umin)) return next > umax ? umin : null;
  if (next === (tnum.value | tnum.mask)) return next;
  return next <= umax && tnumStep(tnum, next) > umax ? next : null;
}

/** Linux: __update_reg_bounds. */
export function updateBounds(b: Bounds): void {
  updateBounds32(b);
  updateBounds64(b);
}

/** Intersects the s32 bounds with min..max. */
export function meetS32(b: Bounds, min: number, max: number): void {
  if (min > b.s32min) b.s32min = min;
  if (max < b.s32max) b.s32max = max;
}

function meetU32(b: Bounds, min: number, max: number): void {
  if (min > b.u32min) b.u32min = min;
  if (max < b.u32max) b.u32max = max;
}

/** Linux: __reg32_deduce_bounds. 64-bit ranges inform 32-bit ones, then signed and unsigned inform each other. */
function deduce32(b: Bounds): void {
  let neighbours = false;
  let uminLow = 0;
  let umaxLow = 0;
  if (b.umin !== 0n || b.umax !== U64_MAX) {
    const uminHigh = Number(b.umin >> 32n);
    const umaxHigh = Number(b.umax >> 32n);
    uminLow = low32(b.umin);
    umaxLow = low32(b.umax);
    if (uminHigh === umaxHigh) {
      // One upper half for all values: the low halves are a range themselves.
      meetU32(b, uminLow >>> 0, umaxLow >>> 0);
      if (uminLow <= umaxLow) meetS32(b, uminLow, umaxLow);
    }
    neighbours = (uminHigh + 1) >>> 0 === umaxHigh && uminLow < 0 && umaxLow >= 0;
  }
  if (b.smin !== S64_MIN || b.smax !== S64_MAX) {
    const sminHigh = Number(b.smin >> 32n);
    const smaxHigh = Number(b.smax >> 32n);
    const sminLow = low32(b.smin);
    const smaxLow = low32(b.smax);
    if (sminHigh === smaxHigh) {
      if (sminLow >>> 0 <= smaxLow >>> 0) meetU32(b, sminLow >>> 0, smaxLow >>> 0);
      if (sminLow <= smaxLow) meetS32(b, sminLow, smaxLow);
    }
    // Two neighbouring upper halves with low halves that go from negative through zero: a signed range of low halves.
    if (neighbours) meetS32(b, uminLow, umaxLow);
    if ((sminHigh + 1) >>> 0 === smaxHigh >>> 0 && sminLow < 0 && smaxLow >= 0) meetS32(b, sminLow, smaxLow);
  } else if (neighbours) {
    meetS32(b, uminLow, umaxLow);
  }
  if ((b.u32min | 0) <= (b.u32max | 0)) meetS32(b, b.u32min | 0, b.u32max | 0);
  const lo = b.s32min >>> 0;
  const hi = b.s32max >>> 0;
  if (lo <= hi) {
    meetU32(b, lo, hi);
  } else if (b.u32max < lo) {
    // As u32 the signed range is two pieces, at either end; the unsigned range meets only the low one.
    b.s32min = b.u32min | 0;
    if (hi < b.u32max) b.u32max = hi;
  } else if (hi < b.u32min) {
    b.s32max = b.u32max | 0;
    if (lo > b.u32min) b.u32min = lo;
  }
}

/** Linux: __reg64_deduce_bounds, with the same rule for s64 ranges that cross the sign boundary. */
function deduce64(b: Bounds): void {
  if (b.umin === 0n && b.umax === U64_MAX && b.smin === S64_MIN && b.smax === S64_MAX) return;
  const lo = BigInt.asIntN(64, b.umin);
  const hi = BigInt.asIntN(64, b.umax);
  if (lo <= hi) {
    if (lo > b.smin) b.smin = lo;
    if (hi < b.smax) b.smax = hi;
  }
  const ulo = BigInt.asUintN(64, b.smin);
  const uhi = BigInt.asUintN(64, b.smax);
  if (ulo <= uhi) {
    if (ulo > b.umin) b.umin = ulo;
    if (uhi < b.umax) b.umax = uhi;
  } else if (b.umax < ulo) {
    b.smin = BigInt.asIntN(64, b.umin);
    if (uhi < b.umax) b.umax = uhi;
  } else if (uhi < b.umin) {
    b.smax = BigInt.asIntN(64, b.umax);
    if (ulo > b.umin) b.umin = ulo;
  }
}

/** Linux: __reg_deduce_mixed_bounds. 32-bit ranges inform 64-bit ones. */
function deduceMixed(b: Bounds): void {
  // A 64-bit bound whose low half lies outside the u32 range can be moved to the range's edge.
  if (b.u32min !== 0) {
    const low = BigInt(b.u32min);
    const umin = (b.umin & ~LOW) | low;
    const smin = (b.smin & ~LOW) | low;
    if (umin > b.umin) b.umin = umin;
    if (smin > b.smin) b.smin = smin;
  }
  if (b.u32max !== U32_MAX) {
    const low = BigInt(b.u32max);
    const umax = (b.umax & ~LOW) | low;
    const smax = (b.smax & ~LOW) | low;
    if (umax < b.umax) b.umax = umax;
    if (smax < b.smax) b.smax = smax;
  }
  // After a sign-extending load: with a low half that is not negative, an upper half of ones is out of the range.
  if (b.s32min >= 0 && b.smin >= S32_MIN_BIG && b.smax <= S32_MAX_BIG) {
    const min = BigInt(b.s32min);
    const max = BigInt(b.s32max);
    b.smin = min;
    b.smax = max;
    b.umin = min;
    b.umax = max;
    b.tnum = tnumIntersect(b.tnum, tnumRange(min, max));
  }
}

/** One round of Linux's __reg_deduce_bounds; false where it changed nothing, so that no later round would either. */
function deduce(b: Bounds): boolean {
  const { tnum, smin, smax, umin, umax, s32min, s32max, u32min, u32max } = b;
  deduce32(b);
  deduce64(b);
  deduceMixed(b);
  return (
    b.u32min !== u32min ||
    b.u32max !== u32max ||
    b.s32min !== s32min ||
    b.s32max !== s32max ||
    b.umin !== umin ||
    b.umax !== umax ||
    b.smin !== smin ||
    b.smax !== smax ||
    b.tnum !== tnum
  );
}

/** Linux: __reg_bound_offset. The unsigned bounds tighten the tnum, then the 32-bit ones its low half. */
function boundTnum(b: Bounds): void {
  let { value, mask } = b.tnum;
  if ((b.umin ^ b.umax) <= S64_MAX) {
    const range = tnumRange(b.umin, b.umax);
    mask &= range.mask;
    value = (value | range.value) & ~mask;
  }
  const differing = b.u32min ^ b.u32max;
  if (differing >= 0) {
    const delta = differing === 0 ? 0 : -1 >>> Math.clz32(differing);
    const lowMask = Number(mask & LOW);
    const lowValue = Number(value & LOW);
    const nextMask = lowMask & delta;
    const nextValue = ((lowValue | (b.u32min & ~delta)) & ~nextMask) >>> 0;
    if (nextMask !== lowMask) mask = (mask & ~LOW) | BigInt(nextMask);
    if (nextValue !== lowValue) value = (value & ~LOW) | BigInt(nextValue);
  }
  if (value !== b.tnum.value || mask !== b.tnum.mask) b.tnum = { value, mask };
}

/** Linux: reg_bounds_sync, in place. */
export function syncBounds(b: Bounds): void {
  if (b.tnum.mask === 0n && settlesAsConstant(b)) return;
  if (b.umax <= S32_MAX_BIG && b.smin >= 0n && b.smax <= S32_MAX_BIG && syncSmall(b)) return;
  updateBounds(b);
  const changed = deduce(b);
  if (changed && deduce(b)) deduce(b);
  const { tnum } = b;
  boundTnum(b);
  if (changed || b.tnum !== tnum) updateBounds(b);
}

/** Linux: zext_32_to_64, in place and without sync: the low half becomes the whole. */
export function zextInPlace(b: Bounds): void {
  b.tnum = tnumSubreg(b.tnum);
  b.umin = BigInt(b.u32min);
  b.umax = BigInt(b.u32max);
  if (b.s32min >= 0 && b.s32max >= 0) {
    b.smin = BigInt(b.s32min);
    b.smax = BigInt(b.s32max);
  } else {
    b.smin = 0n;
    b.smax = LOW;
  }
}
