/**
 * Shortcuts of syncBounds: constants, and numbers below 2^31 in plain numbers instead of big integers. Each gives the
 * result of the full steps or declines.
 */
import { type Bounds, S32_MAX, S32_MIN, U32_MAX, U64_MAX } from './scalar.ts';

const LOW = 0xffff_ffffn;

/**
 * The same where all numbers are below 2^31: there the rounds amount to one intersection of all bounds, and plain
 * numbers do. False, with nothing written, where parts contradict each other or the tnum is of an unusual kind: then the
 * order of the steps matters.
 */
export function syncSmall(b: Bounds): boolean {
  const anyBits = b.tnum.mask === U64_MAX;
  if (!anyBits && (b.tnum.mask > LOW || b.tnum.value > LOW)) return false;
  let value = anyBits ? 0 : Number(b.tnum.value);
  let mask = anyBits ? U32_MAX : Number(b.tnum.mask);
  const top = (value | mask) >>> 0;
  const umin = Math.max(Number(b.umin), value);
  const umax = Math.min(Number(b.umax), top);
  const smin = Math.max(Number(b.smin), value);
  const smax = Math.min(Number(b.smax), top);
  const s32min = Math.max(b.s32min, value | (mask & S32_MIN));
  const s32max = Math.min(b.s32max, value | (mask & S32_MAX));
  const u32min = Math.max(b.u32min, value);
  const u32max = Math.min(b.u32max, top);
  if (umin > umax || smin > smax || s32min > s32max || u32min > u32max) return false;
  const first = onlySmallValue(value, mask, umin, umax);
  if (first >= 0) {
    b.setConstant(BigInt(first));
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
    b.setConstant(BigInt(only));
    return true;
  }
  b.umin = BigInt(min);
  b.umax = BigInt(max);
  b.smin = b.umin;
  b.smax = b.umax;
  b.u32min = min;
  b.u32max = max;
  b.s32min = min;
  b.s32max = max;
  if (anyBits || Number(b.tnum.mask) !== mask || Number(b.tnum.value) !== value) {
    b.tnum = { value: BigInt(value), mask: BigInt(mask) };
  }
  return true;
}

/** `onlyValue` for a tnum and a range below 2^32; -1 where there are several. */
function onlySmallValue(value: number, mask: number, min: number, max: number): number {
  const next = stepSmall(value, mask, min);
  if ((min & ~mask) >>> 0 === value) return next > max ? min : -1;
  if (next === (value | mask) >>> 0) return next;
  return next <= max && stepSmall(value, mask, next) > max ? next : -1;
}

/** `tnumStep` for numbers below 2^32. */
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

/** A known tnum within all bounds makes every step collapse to the constant; skip them. */
export function settlesAsConstant(b: Bounds): boolean {
  const value = b.tnum.value;
  const signed = BigInt.asIntN(64, value);
  const low = Number(value & LOW);
  if (
    value < b.umin ||
    value > b.umax ||
    signed < b.smin ||
    signed > b.smax ||
    low < b.u32min ||
    low > b.u32max ||
    (low | 0) < b.s32min ||
    (low | 0) > b.s32max
  ) {
    return false;
  }
  b.umin = value;
  b.umax = value;
  b.smin = signed;
  b.smax = signed;
  b.u32min = low;
  b.u32max = low;
  b.s32min = low | 0;
  b.s32max = low | 0;
  return true;
}
