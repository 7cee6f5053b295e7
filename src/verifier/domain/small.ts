/** A shortcut of syncBounds for numbers below 2^31. It gives the result of the full steps or declines. */
import { type Bounds, S32_MAX, S32_MIN } from './scalar.ts';
import { Tnum } from './tnum.ts';

/**
 * The same where all 64-bit bounds are below 2^31: there the rounds amount to one intersection of all bounds. False, with
 * nothing written, where parts contradict each other or the tnum is of an unusual kind: then the order of the steps
 * matters.
 */
export function syncSmall(b: Bounds): boolean {
  const { tnum } = b;
  const anyBits = (tnum.maskHi & tnum.maskLo) === -1;
  if (!anyBits && (tnum.maskHi | tnum.valueHi) !== 0) return false;
  let value = anyBits ? 0 : tnum.valueLo;
  let mask = anyBits ? -1 : tnum.maskLo;
  // As the bounds are below 2^31, a known sign bit contradicts them.
  if (value < 0) return false;
  const top = (value | mask) >>> 0;
  const umin = Math.max(b.uminLo >>> 0, value);
  const umax = Math.min(b.umaxLo, top);
  const smin = Math.max(b.sminLo >>> 0, value);
  const smax = Math.min(b.smaxLo, top);
  const s32min = Math.max(b.s32min, value | (mask & S32_MIN));
  const s32max = Math.min(b.s32max, value | (mask & S32_MAX));
  const u32min = Math.max(b.w32min >>> 0, value);
  const u32max = Math.min(b.w32max >>> 0, top);
  if (umin > umax || smin > smax || s32min > s32max || u32min > u32max) return false;
  const first = onlySmallValue(value, mask, umin, umax);
  if (first >= 0) {
    b.setConstant(0, first | 0);
    return true;
  }
  let min = Math.max(umin, smin, s32min, u32min);
  let max = Math.min(umax, smax, s32max, u32max);
  if (min > max) return false;
  const delta = min === max ? 0 : -1 >>> Math.clz32(min ^ max);
  mask &= delta;
  value = (value | (min & ~delta)) & ~mask;
  min = Math.max(min, value);
  max = Math.min(max, value | mask);
  if (min > max) return false;
  const only = onlySmallValue(value, mask, min, max);
  if (only >= 0) {
    b.setConstant(0, only | 0);
    return true;
  }
  const low = min | 0;
  const high = max | 0;
  b.setUmin(0, low);
  b.setUmax(0, high);
  b.setSmin(0, low);
  b.setSmax(0, high);
  b.w32min = low;
  b.w32max = high;
  b.s32min = low;
  b.s32max = high;
  if (anyBits || tnum.maskLo !== mask || tnum.valueLo !== value) b.tnum = new Tnum(0, value, 0, mask);
  return true;
}

/** The one number that a tnum and a range below 2^31 have in common; -1 where there are several. */
function onlySmallValue(value: number, mask: number, min: number, max: number): number {
  const next = stepSmall(value, mask, min);
  if ((min & ~mask) >>> 0 === value) return next > max ? min : -1;
  if (next === (value | mask) >>> 0) return next;
  return next <= max && stepSmall(value, mask, next) > max ? next : -1;
}

/** `stepTnum` for numbers below 2^32. */
function stepSmall(value: number, mask: number, z: number): number {
  const top = (value | mask) >>> 0;
  if (z >= top) return top;
  if (z < value) return value;
  const candidate = (value | (z & mask)) >>> 0;
  if (candidate > z) {
    const low = lowOnes(32 - Math.clz32(~z & value));
    return ((z & ~low) | (value & low)) >>> 0;
  }
  const low = lowOnes(32 - Math.clz32(z & ~(value | mask)));
  const carried = (~low & mask & z) | (~low & ~mask);
  return (((carried + low + 1) & mask) | value) >>> 0;
}

function lowOnes(bits: number): number {
  return bits === 0 ? 0 : -1 >>> (32 - bits);
}
