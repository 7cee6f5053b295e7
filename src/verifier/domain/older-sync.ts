/**
 * What the parts of a scalar let each other deduce in older releases. Up to 6.7 signed and unsigned bounds of one width
 * inform each other once, and only where they do not cross the sign; before 5.7 there are no 32-bit bounds at all.
 * From 6.8 on the steps are those of sync.ts, which are fewer rounds and lack the rules for single values.
 */
import type { Deductions } from './deductions.ts';
import { type Bounds, S32_MAX, S32_MIN } from './scalar.ts';
import { Tnum, tnumIntersect, tnumOfRange } from './tnum.ts';
import { slt, ult } from './wide.ts';

export function olderUpdate32(b: Bounds): void {
  const value = b.tnum.valueLo;
  const mask = b.tnum.maskLo;
  b.s32min = Math.max(b.s32min, value | (mask & S32_MIN));
  b.s32max = Math.min(b.s32max, value | (mask & S32_MAX));
  if (value >>> 0 > b.w32min >>> 0) b.w32min = value;
  if ((value | mask) >>> 0 < b.w32max >>> 0) b.w32max = value | mask;
}

export function olderUpdate64(b: Bounds): void {
  const { valueHi, valueLo, maskHi, maskLo } = b.tnum;
  const topLo = valueLo | maskLo;
  const minHi = valueHi | (maskHi & S32_MIN);
  const maxHi = valueHi | (maskHi & S32_MAX);
  if (slt(b.sminHi, b.sminLo, minHi, valueLo)) b.setSmin(minHi, valueLo);
  if (slt(maxHi, topLo, b.smaxHi, b.smaxLo)) b.setSmax(maxHi, topLo);
  if (ult(b.uminHi, b.uminLo, valueHi, valueLo)) b.setUmin(valueHi, valueLo);
  if (ult(valueHi | maskHi, topLo, b.umaxHi, b.umaxLo)) b.setUmax(valueHi | maskHi, topLo);
}

function deduce32(b: Bounds): void {
  if (b.s32min >= 0 || b.s32max < 0) {
    const min = b.s32min >>> 0 > b.w32min >>> 0 ? b.s32min : b.w32min;
    const max = b.s32max >>> 0 < b.w32max >>> 0 ? b.s32max : b.w32max;
    b.s32min = b.w32min = min;
    b.s32max = b.w32max = max;
  } else if (b.w32max >= 0) {
    b.s32min = b.w32min;
    if (b.s32max < b.w32max) b.w32max = b.s32max;
    else b.s32max = b.w32max;
  } else if (b.w32min < 0) {
    if (b.s32min >>> 0 > b.w32min >>> 0) b.w32min = b.s32min;
    else b.s32min = b.w32min;
    b.s32max = b.w32max;
  }
}

/** The greater of the minima as u64 for both, and the less of the maxima. */
function joinMin(b: Bounds): void {
  if (ult(b.uminHi, b.uminLo, b.sminHi, b.sminLo)) b.setUmin(b.sminHi, b.sminLo);
  else b.setSmin(b.uminHi, b.uminLo);
}

function joinMax(b: Bounds): void {
  if (ult(b.smaxHi, b.smaxLo, b.umaxHi, b.umaxLo)) b.setUmax(b.smaxHi, b.smaxLo);
  else b.setSmax(b.umaxHi, b.umaxLo);
}

function deduce64(b: Bounds): void {
  if (b.sminHi >= 0 || b.smaxHi < 0) {
    joinMin(b);
    joinMax(b);
  } else if (b.umaxHi >= 0) {
    b.setSmin(b.uminHi, b.uminLo);
    joinMax(b);
  } else if (b.uminHi < 0) {
    joinMin(b);
    b.setSmax(b.umaxHi, b.umaxLo);
  }
}

function boundTnum(b: Bounds, d: Deductions): void {
  const { tnum } = b;
  const whole = tnumIntersect(tnum, tnumOfRange(b.uminHi, b.uminLo, b.umaxHi, b.umaxLo));
  if (!d.bounds_of_halves) {
    b.tnum = whole;
    return;
  }
  let { valueLo, maskLo } = d.bits_of_both_ranges ? whole : tnum;
  const differing = b.w32min ^ b.w32max;
  if (differing >= 0) {
    const ones = differing === 0 ? 0 : -1 >>> Math.clz32(differing);
    maskLo &= ones;
    valueLo = (valueLo | (b.w32min & ~ones)) & ~maskLo;
  }
  b.tnum = new Tnum(whole.valueHi, valueLo, whole.maskHi, maskLo);
}

/** Before 5.7 a known number still has 32-bit bounds here, so that states compare alike. */
function settleHalves(b: Bounds): void {
  const { tnum } = b;
  if ((tnum.maskLo | tnum.maskHi) === 0) b.setConstant32(tnum.valueLo);
  else b.unbound32();
}

/** Linux up to 6.7: reg_bounds_sync, in place. */
export function olderSync(b: Bounds, d: Deductions): void {
  if (d.bounds_of_halves) {
    olderUpdate32(b);
    olderUpdate64(b);
    deduce32(b);
    deduce64(b);
    boundTnum(b, d);
    olderUpdate32(b);
    olderUpdate64(b);
    return;
  }
  olderUpdate64(b);
  deduce64(b);
  boundTnum(b, d);
  settleHalves(b);
}

/** After a jump before 5.7: bounds, then bits, then bounds again. */
export function syncAfterJump(b: Bounds, d: Deductions): void {
  deduce64(b);
  boundTnum(b, d);
  olderUpdate64(b);
  settleHalves(b);
}
