/**
 * What the parts of a scalar let each other deduce, and the narrowing of scalars to a size. The steps and their order
 * are those of Linux 6.18 (reg_bounds_sync and its kin): no step is skipped for being weak or added for being possible,
 * since a sharper result would also change logs, pruning and verdicts.
 */
import {
  Bounds,
  constant,
  S32_MAX,
  S32_MIN,
  S64_MAX,
  S64_MIN,
  type Scalar,
  U32_MAX,
  U64_MAX,
  unknown,
} from './scalar.ts';
import {
  type Tnum,
  tnumCast,
  tnumContains,
  tnumIntersect,
  tnumRange,
  tnumStep,
  tnumSubreg,
  tnumSubregIsConst,
} from './tnum.ts';

const LOW = 0xffff_ffffn;
const S32_MIN_BIG = BigInt(S32_MIN);
const S32_MAX_BIG = BigInt(S32_MAX);

/** The low half of any bigint, signed. */
function low32(n: bigint): number {
  return Number(BigInt.asIntN(32, n));
}

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

function meetS32(b: Bounds, min: number, max: number): void {
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

/**
 * The same where all numbers are below 2^31: there the rounds amount to one intersection of all bounds, and plain
 * numbers do. False, with nothing written, where parts contradict each other or the tnum is of an unusual kind: then the
 * order of the steps matters.
 */
function syncSmall(b: Bounds): boolean {
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
function settlesAsConstant(b: Bounds): boolean {
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

/**
 * Forgets all eight bounds and keeps the tnum (Linux: __mark_reg_unbounded; what follows an invariant violation).
 */
export function unbounded(s: Scalar): Scalar {
  const b = new Bounds(null);
  b.tnum = s.tnum;
  return b;
}

/** Why the parts contradict each other, in the words of the log, or null where they do not. */
export function boundsViolation(s: Scalar): string | null {
  if (s.umin > s.umax || s.smin > s.smax || s.u32min > s.u32max || s.s32min > s.s32max) {
    return 'range bounds violation';
  }
  const { value, mask } = s.tnum;
  if (mask === 0n) {
    const signed = BigInt.asIntN(64, value);
    if (s.umin !== value || s.umax !== value || s.smin !== signed || s.smax !== signed) {
      return 'const tnum out of sync with range bounds';
    }
  }
  if (tnumSubregIsConst(s.tnum)) {
    const low = Number(value & LOW);
    if (s.u32min !== low || s.u32max !== low || s.s32min !== (low | 0) || s.s32max !== (low | 0)) {
      return 'const subreg tnum out of sync with range bounds';
    }
  }
  return null;
}

/**
 * Linux: reg_bounds_sanity_check without BPF_F_TEST_REG_INVARIANTS. Returns `s` where it is consistent; otherwise hands
 * the log line to `report` (`context` is Linux's: alu, true_reg1, true_reg2, false_reg1, false_reg2, s32_range) and
 * returns `s` with its bounds forgotten. With that flag the caller refuses the program with EFAULT instead.
 */
export function checkInvariants(s: Scalar, context: string, report?: (line: string) => void): Scalar {
  const why = boundsViolation(s);
  if (why === null) return s;
  report?.(formatViolation(s, context, why));
  return unbounded(s);
}

function hex(n: bigint | number): string {
  const width = typeof n === 'bigint' ? BigInt.asUintN(64, n) : BigInt(n >>> 0);
  return `0x${width.toString(16)}`;
}

/** The log line of an invariant violation, without its newline. */
export function formatViolation(s: Scalar, context: string, why: string): string {
  return (
    `verifier bug: REG INVARIANTS VIOLATION (${context}): ${why} u64=[${hex(s.umin)}, ${hex(s.umax)}] ` +
    `s64=[${hex(s.smin)}, ${hex(s.smax)}] u32=[${hex(s.u32min)}, ${hex(s.u32max)}] ` +
    `s32=[${hex(s.s32min)}, ${hex(s.s32max)}] var_off=(${hex(s.tnum.value)}, ${hex(s.tnum.mask)})`
  );
}
