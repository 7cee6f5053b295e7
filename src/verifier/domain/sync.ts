/**
 * What the parts of a scalar let each other deduce. The steps and their order are those of Linux 6.18 (reg_bounds_sync
 * and its kin): no step is skipped for being weak or added for being possible, since a sharper result would also change
 * logs, pruning and verdicts.
 */
import { type Deductions, older } from './deductions.ts';
import { olderSync } from './older-sync.ts';
import { type Bounds, boundsHold, S32_MAX, S32_MIN } from './scalar.ts';
import { syncSmall } from './small.ts';
import {
  stepHi,
  stepLo,
  stepTnum,
  Tnum,
  tnumEquals,
  tnumHolds,
  tnumIntersect,
  tnumOfRange,
  tnumSubreg,
} from './tnum.ts';
import { slt, ult } from './wide.ts';

/** Linux: __update_reg32_bounds. The tnum tightens the 32-bit bounds. */
export function updateBounds32(b: Bounds): void {
  const value = b.tnum.valueLo;
  const mask = b.tnum.maskLo;
  // The least signed number has every unknown sign bit set and every other unknown bit clear; the greatest the reverse.
  meetS32(b, value | (mask & S32_MIN), value | (mask & S32_MAX));
  meetU32(b, value, value | mask);
}

/**
 * Linux: __update_reg64_bounds. The tnum tightens the 64-bit bounds; and where tnum and u64 range have just one number
 * in common, that is the value.
 */
export function updateBounds64(b: Bounds): void {
  const { valueHi, valueLo, maskHi, maskLo } = b.tnum;
  const topLo = valueLo | maskLo;
  meetS64(b, valueHi | (maskHi & S32_MIN), valueLo, valueHi | (maskHi & S32_MAX), topLo);
  meetU64(b, valueHi, valueLo, valueHi | maskHi, topLo);
  if ((older === null || older.single_values) && hasOnlyValue(b)) b.setConstant(onlyHi, onlyLo);
}

let onlyHi = 0;
let onlyLo = 0;

function only(hi: number, lo: number): true {
  onlyHi = hi;
  onlyLo = lo;
  return true;
}

/** Whether just one number is both in the tnum and in umin..umax: it is left in `onlyHi` and `onlyLo`. */
function hasOnlyValue(b: Bounds): boolean {
  const { tnum, uminHi, uminLo, umaxHi, umaxLo } = b;
  if ((tnum.maskHi & tnum.maskLo) === -1) {
    return uminLo === umaxLo && uminHi === umaxHi && (uminHi & uminLo) !== -1 && only(uminHi, uminLo);
  }
  const topHi = tnum.valueHi | tnum.maskHi;
  const topLo = tnum.valueLo | tnum.maskLo;
  if (uminLo === tnum.valueLo && uminHi === tnum.valueHi && umaxLo === topLo && umaxHi === topHi)
    return false;
  stepTnum(tnum, uminHi, uminLo);
  const nextHi = stepHi;
  const nextLo = stepLo;
  if (tnumHolds(tnum, uminHi, uminLo)) {
    return ult(umaxHi, umaxLo, nextHi, nextLo) && only(uminHi, uminLo);
  }
  if (nextHi === topHi && nextLo === topLo) return only(nextHi, nextLo);
  if (ult(umaxHi, umaxLo, nextHi, nextLo)) return false;
  stepTnum(tnum, nextHi, nextLo);
  return ult(umaxHi, umaxLo, stepHi, stepLo) && only(nextHi, nextLo);
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

/** Intersects the u32 bounds with min..max, given as words. */
function meetU32(b: Bounds, min: number, max: number): void {
  if (min >>> 0 > b.w32min >>> 0) b.w32min = min;
  if (max >>> 0 < b.w32max >>> 0) b.w32max = max;
}

export function meetS64(b: Bounds, minHi: number, minLo: number, maxHi: number, maxLo: number): void {
  if (slt(b.sminHi, b.sminLo, minHi, minLo)) b.setSmin(minHi, minLo);
  if (slt(maxHi, maxLo, b.smaxHi, b.smaxLo)) b.setSmax(maxHi, maxLo);
}

export function meetU64(b: Bounds, minHi: number, minLo: number, maxHi: number, maxLo: number): void {
  if (ult(b.uminHi, b.uminLo, minHi, minLo)) b.setUmin(minHi, minLo);
  if (ult(maxHi, maxLo, b.umaxHi, b.umaxLo)) b.setUmax(maxHi, maxLo);
}

/** Linux: __reg32_deduce_bounds. 64-bit ranges inform 32-bit ones, then signed and unsigned inform each other. */
function deduce32(b: Bounds): void {
  const { uminHi, uminLo, umaxHi, umaxLo, sminHi, sminLo, smaxHi, smaxLo } = b;
  if (uminHi === umaxHi) {
    // One upper half for all values: the low halves are a range themselves.
    meetU32(b, uminLo, umaxLo);
    if (uminLo <= umaxLo) meetS32(b, uminLo, umaxLo);
  }
  if (sminHi === smaxHi) {
    if (sminLo >>> 0 <= smaxLo >>> 0) meetU32(b, sminLo, smaxLo);
    if (sminLo <= smaxLo) meetS32(b, sminLo, smaxLo);
  }
  // Two neighbouring upper halves with low halves that go from negative through zero: a signed range of low halves.
  if (((uminHi + 1) | 0) === umaxHi && uminLo < 0 && umaxLo >= 0) meetS32(b, uminLo, umaxLo);
  if (((sminHi + 1) | 0) === smaxHi && sminLo < 0 && smaxLo >= 0) meetS32(b, sminLo, smaxLo);
  if (b.w32min <= b.w32max) meetS32(b, b.w32min, b.w32max);
  const lo = b.s32min >>> 0;
  const hi = b.s32max >>> 0;
  if (lo <= hi) {
    meetU32(b, b.s32min, b.s32max);
  } else if (older !== null && !older.signs_of_halves) {
    // No rule for ranges that cross the sign.
  } else if (b.w32max >>> 0 < lo) {
    // As u32 the signed range is two pieces, at either end; the unsigned range meets only the low one.
    b.s32min = b.w32min;
    if (hi < b.w32max >>> 0) b.w32max = hi | 0;
  } else if (hi < b.w32min >>> 0) {
    b.s32max = b.w32max;
    if (lo > b.w32min >>> 0) b.w32min = lo | 0;
  }
}

/** Linux: __reg64_deduce_bounds, with the same rule for s64 ranges that cross the sign boundary. */
function deduce64(b: Bounds): void {
  if (!slt(b.umaxHi, b.umaxLo, b.uminHi, b.uminLo)) meetS64(b, b.uminHi, b.uminLo, b.umaxHi, b.umaxLo);
  const { sminHi, sminLo, smaxHi, smaxLo } = b;
  if (!ult(smaxHi, smaxLo, sminHi, sminLo)) {
    meetU64(b, sminHi, sminLo, smaxHi, smaxLo);
  } else if (older !== null && !older.wrapped_sums) {
    // Likewise.
  } else if (ult(b.umaxHi, b.umaxLo, sminHi, sminLo)) {
    b.setSmin(b.uminHi, b.uminLo);
    if (ult(smaxHi, smaxLo, b.umaxHi, b.umaxLo)) b.setUmax(smaxHi, smaxLo);
  } else if (ult(smaxHi, smaxLo, b.uminHi, b.uminLo)) {
    b.setSmax(b.umaxHi, b.umaxLo);
    if (ult(b.uminHi, b.uminLo, sminHi, sminLo)) b.setUmin(sminHi, sminLo);
  }
}

/** Linux: __reg_deduce_mixed_bounds. 32-bit ranges inform 64-bit ones. */
function deduceMixed(b: Bounds): void {
  // A 64-bit bound whose low half lies outside the u32 range can be moved to the range's edge.
  const min = b.w32min >>> 0;
  const max = b.w32max >>> 0;
  if (min > b.uminLo >>> 0) b.uminLo = b.w32min;
  if (min > b.sminLo >>> 0) b.sminLo = b.w32min;
  if (max < b.umaxLo >>> 0) b.umaxLo = b.w32max;
  if (max < b.smaxLo >>> 0) b.smaxLo = b.w32max;
  // After a sign-extending load: with a low half that is not negative, an upper half of ones is out of the range.
  if (
    b.s32min >= 0 &&
    (b.sminHi >= 0 || (b.sminHi === -1 && b.sminLo < 0)) &&
    (b.smaxHi < 0 || (b.smaxHi === 0 && b.smaxLo >= 0))
  ) {
    const high = b.s32max >> 31;
    b.setSmin(0, b.s32min);
    b.setSmax(high, b.s32max);
    b.setUmin(0, b.s32min);
    b.setUmax(high, b.s32max);
    b.tnum = tnumIntersect(b.tnum, tnumOfRange(0, b.s32min, high, b.s32max));
  }
}

/** One round of Linux's __reg_deduce_bounds; false where it changed nothing, so that no later round would either. */
function deduce(b: Bounds): boolean {
  const { tnum, s32min, s32max, w32min, w32max } = b;
  const { sminHi, sminLo, smaxHi, smaxLo, uminHi, uminLo, umaxHi, umaxLo } = b;
  deduce32(b);
  deduce64(b);
  deduceMixed(b);
  return (
    b.w32min !== w32min ||
    b.w32max !== w32max ||
    b.s32min !== s32min ||
    b.s32max !== s32max ||
    b.uminLo !== uminLo ||
    b.uminHi !== uminHi ||
    b.umaxLo !== umaxLo ||
    b.umaxHi !== umaxHi ||
    b.sminLo !== sminLo ||
    b.sminHi !== sminHi ||
    b.smaxLo !== smaxLo ||
    b.smaxHi !== smaxHi ||
    !tnumEquals(b.tnum, tnum)
  );
}

/** Linux: __reg_bound_offset. The unsigned bounds tighten the tnum, then the 32-bit ones its low half. */
function boundTnum(b: Bounds): void {
  const { tnum } = b;
  let { valueHi, valueLo, maskHi, maskLo } = tnum;
  const differingHi = b.uminHi ^ b.umaxHi;
  if (differingHi >= 0) {
    // The tnum of the range: what min and max have in common above their highest different bit.
    const differingLo = b.uminLo ^ b.umaxLo;
    const onesHi = differingHi === 0 ? 0 : -1 >>> Math.clz32(differingHi);
    const onesLo = differingHi !== 0 ? -1 : differingLo === 0 ? 0 : -1 >>> Math.clz32(differingLo);
    maskHi &= onesHi;
    maskLo &= onesLo;
    valueHi = (valueHi | (b.uminHi & ~onesHi)) & ~maskHi;
    valueLo = (valueLo | (b.uminLo & ~onesLo)) & ~maskLo;
  }
  const differing = b.w32min ^ b.w32max;
  if (differing >= 0) {
    const ones = differing === 0 ? 0 : -1 >>> Math.clz32(differing);
    maskLo &= ones;
    valueLo = (valueLo | (b.w32min & ~ones)) & ~maskLo;
  }
  if (
    valueLo !== tnum.valueLo ||
    maskLo !== tnum.maskLo ||
    valueHi !== tnum.valueHi ||
    maskHi !== tnum.maskHi
  ) {
    b.tnum = new Tnum(valueHi, valueLo, maskHi, maskLo);
  }
}

/** Of the releases before: those since 6.8 go the same steps, with fewer rules in them and a round less before 6.17. */
function syncOlder(b: Bounds, d: Deductions): void {
  if (!d.ranges_of_both_operands) {
    olderSync(b, d);
    return;
  }
  updateBounds(b);
  deduce(b);
  deduce(b);
  if (d.wrapped_sums) deduce(b);
  boundTnum(b);
  updateBounds(b);
}

/** Linux: reg_bounds_sync, in place. */
export function syncBounds(b: Bounds): void {
  const { tnum } = b;
  if ((tnum.maskLo | tnum.maskHi) === 0 && boundsHold(b, tnum.valueHi, tnum.valueLo)) {
    // A known tnum within all bounds makes every step collapse to the constant.
    b.pinBounds(tnum.valueHi, tnum.valueLo);
    return;
  }
  if (older !== null) {
    syncOlder(b, older);
    return;
  }
  if ((b.uminHi | b.umaxHi | b.sminHi | b.smaxHi) === 0 && b.umaxLo >= 0 && b.smaxLo >= 0 && syncSmall(b))
    return;
  updateBounds(b);
  const changed = deduce(b);
  if (changed && deduce(b)) deduce(b);
  const before = b.tnum;
  boundTnum(b);
  if (changed || b.tnum !== before) updateBounds(b);
}

/** Linux: zext_32_to_64, in place and without sync: the low half becomes the whole. */
export function zextInPlace(b: Bounds): void {
  b.tnum = tnumSubreg(b.tnum);
  b.setUmin(0, b.w32min);
  b.setUmax(0, b.w32max);
  if ((b.s32min | b.s32max) >= 0) {
    b.setSmin(0, b.s32min);
    b.setSmax(0, b.s32max);
  } else {
    b.setSmin(0, 0);
    b.setSmax(0, -1);
  }
}
