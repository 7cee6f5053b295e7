/**
 * Arithmetic as older releases knew it, where a rule of alu.ts cannot simply be left out: which operations are tracked at
 * all before 6.10, products before 6.14 and 6.18, and everything before 5.7, when there were no 32-bit bounds and a 32-bit
 * operation was one of 64 bits on truncated operands.
 */
import type { Deductions } from './deductions.ts';
import { coerceToSize, zext32 } from './narrow.ts';
import {
  Bounds,
  isConst,
  isCrossed,
  isPinned,
  S64_MAX,
  S64_MIN,
  type Scalar,
  U64_MAX,
  unknown,
} from './scalar.ts';
import { syncBounds } from './sync.ts';
import {
  type Tnum,
  tnumAdd,
  tnumAnd,
  tnumArshift,
  tnumConst,
  tnumIsConst,
  tnumLshift,
  tnumMul,
  tnumOr,
  tnumRshift,
  tnumSub,
  tnumSubregIsConst,
  tnum as tnumWith,
} from './tnum.ts';

const ADD = 0x00;
const SUB = 0x10;
const MUL = 0x20;
const OR = 0x40;
const AND = 0x50;
const LSH = 0x60;
const RSH = 0x70;
const XOR = 0xa0;
const ARSH = 0xc0;

const U16_MAX = 0xffff;

function contradicts(src: Scalar, is64: boolean): boolean {
  if (is64) return (isConst(src) && !isPinned(src)) || isCrossed(src);
  const crossed = src.s32min > src.s32max || src.w32min >>> 0 > src.w32max >>> 0;
  const pinned = src.s32min === src.s32max && src.w32min === src.w32max;
  return crossed || (tnumSubregIsConst(src.tnum) && !pinned);
}

/**
 * What comes of an operation that releases before 6.10 do not track, null for one that they do: with a second operand that
 * is not known only sums, differences and `&` are. Of a 32-bit operation that is not tracked for another reason, they
 * know that its result has 32 bits.
 */
export function untrackedBefore610(op: number, src: Scalar, is64: boolean): Scalar | null {
  if (contradicts(src, is64)) return unknown();
  const known = is64 ? isConst(src) : tnumSubregIsConst(src.tnum);
  if (!known && op !== ADD && op !== SUB && op !== AND) return unknown();
  switch (op) {
    case LSH:
    case RSH:
    case ARSH:
      return src.umaxHi === 0 && src.umaxLo >>> 0 < (is64 ? 64 : 32) ? null : untracked(is64);
    case ADD:
    case SUB:
    case MUL:
    case AND:
    case OR:
    case XOR:
      return null;
    default:
      return untracked(is64);
  }
}

const untracked = (is64: boolean): Scalar => (is64 ? unknown() : zext32(unknown()));

/** The bits of a product, as they were computed before 6.18: one sum of what is known, one of what is not. */
export function olderProduct(a: Tnum, b: Tnum, d: Deductions): Tnum {
  if (tnumIsConst(a) && tnumIsConst(b)) return tnumMul(a, b);
  const known = tnumConst(a.value * b.value);
  if (!d.products_by_parts) {
    return unknownParts(unknownParts(known, b.mask | b.value, a.mask), a.value, b.mask);
  }
  let sum = tnumConst(0n);
  const everything = b.mask | b.value;
  for (let i = 0n; i < 64n; i++) {
    const bit = 1n << i;
    const part = (a.value & bit) !== 0n ? b.mask : (a.mask & bit) !== 0n ? everything : 0n;
    if (part !== 0n) sum = tnumAdd(sum, tnumWith(0n, BigInt.asUintN(64, part << i)));
  }
  return tnumAdd(known, sum);
}

/** Adds the unknown number `value << i` for every bit `i` of `mask`. */
function unknownParts(acc: Tnum, value: bigint, mask: bigint): Tnum {
  let sum = acc;
  for (let i = 0n; i < 64n; i++) {
    if ((mask & (1n << i)) !== 0n) sum = tnumAdd(sum, tnumWith(0n, BigInt.asUintN(64, value << i)));
  }
  return sum;
}

/** Ranges of a product before 6.14: of numbers that are not negative and whose product cannot overflow. */
export function olderProductRanges(b: Bounds, src: Scalar): void {
  if (src.s32min < 0 || b.s32min < 0 || src.u32max > U16_MAX || b.u32max > U16_MAX) {
    b.unbound32();
  } else {
    b.u32min *= src.u32min;
    b.u32max *= src.u32max;
    if (b.w32max < 0) {
      b.unboundSigned32();
    } else {
      b.s32min = b.w32min;
      b.s32max = b.w32max;
    }
  }
  olderProductRange64(b, src);
}

function olderProductRange64(b: Bounds, src: Scalar): void {
  if (src.sminHi < 0 || b.sminHi < 0 || src.umaxHi !== 0 || b.umaxHi !== 0) {
    b.unbound64();
    return;
  }
  b.umin = b.umin * src.umin;
  b.umax = b.umax * src.umax;
  if (b.umaxHi < 0) {
    b.unboundSigned();
  } else {
    b.smin = b.umin;
    b.smax = b.umax;
  }
}

/** Before 5.7: `dst op= src` with 64-bit bounds only. */
export function aluWithoutHalves(
  op: number,
  first: Scalar,
  second: Scalar,
  is64: boolean,
  d: Deductions,
): Scalar {
  const dst = is64 ? first : coerceToSize(first, 4);
  const src = is64 ? second : coerceToSize(second, 4);
  if (contradicts(src, true)) return unknown();
  if (!isConst(src) && op !== ADD && op !== SUB && op !== AND) return unknown();
  const b = new Bounds(dst);
  b.unbound32();
  if (!rangeOf(op, b, dst, src, is64, d)) return untracked(is64);
  if (is64) {
    syncBounds(b);
    return b;
  }
  const low = new Bounds(coerceToSize(b, 4));
  syncBounds(low);
  return low;
}

function setSigned(b: Bounds, min: bigint, max: bigint): void {
  if (min < S64_MIN || max < S64_MIN || min > S64_MAX || max > S64_MAX) {
    b.unboundSigned();
  } else {
    b.smin = min;
    b.smax = max;
  }
}

function setUnsigned(b: Bounds, min: bigint, max: bigint): void {
  if (min < 0n || max > U64_MAX) {
    b.unboundUnsigned();
  } else {
    b.umin = min;
    b.umax = max;
  }
}

/** Signed bounds follow the unsigned ones where neither operand may be negative. */
function signFollows(b: Bounds, dst: Scalar, src: Scalar): void {
  if (dst.sminHi < 0 || src.sminHi < 0) b.unboundSigned();
  else setSigned(b, b.umin, b.umax);
}

/** False where nothing is known of the result. */
function rangeOf(op: number, b: Bounds, dst: Scalar, src: Scalar, is64: boolean, d: Deductions): boolean {
  const amount = src.umax;
  const by = Number(BigInt.asUintN(6, amount));
  const shiftable = amount < (is64 ? 64n : 32n);
  switch (op) {
    case ADD:
      setSigned(b, dst.smin + src.smin, dst.smax + src.smax);
      setUnsigned(b, dst.umin + src.umin, dst.umax + src.umax);
      b.tnum = tnumAdd(dst.tnum, src.tnum);
      return true;
    case SUB:
      setSigned(b, dst.smin - src.smax, dst.smax - src.smin);
      setUnsigned(b, dst.umin - src.umax, dst.umax - src.umin);
      b.tnum = tnumSub(dst.tnum, src.tnum);
      return true;
    case MUL:
      b.tnum = olderProduct(dst.tnum, src.tnum, d);
      olderProductRange64(b, src);
      return true;
    case AND:
      b.tnum = tnumAnd(dst.tnum, src.tnum);
      b.umin = b.tnum.value;
      b.umax = dst.umax < src.umax ? dst.umax : src.umax;
      signFollows(b, dst, src);
      return true;
    case OR:
      b.tnum = tnumOr(dst.tnum, src.tnum);
      b.umin = dst.umin > src.umin ? dst.umin : src.umin;
      b.umax = b.tnum.value | b.tnum.mask;
      signFollows(b, dst, src);
      return true;
    case LSH:
      if (!shiftable) return false;
      b.unboundSigned();
      if (dst.umax > 1n << (63n - amount)) b.unboundUnsigned();
      else setUnsigned(b, dst.umin << amount, dst.umax << amount);
      b.tnum = tnumLshift(dst.tnum, by);
      return true;
    case RSH:
      if (!shiftable) return false;
      b.unboundSigned();
      b.tnum = tnumRshift(dst.tnum, by);
      setUnsigned(b, dst.umin >> amount, dst.umax >> amount);
      return true;
    case ARSH: {
      if (!shiftable) return false;
      const shifted = (n: bigint): bigint =>
        is64 ? n >> amount : BigInt.asUintN(32, BigInt.asIntN(32, n) >> amount);
      b.smin = shifted(dst.smin);
      b.smax = shifted(dst.smax);
      b.tnum = tnumArshift(dst.tnum, by, is64 ? 64 : 32);
      b.unboundUnsigned();
      return true;
    }
    default:
      return false;
  }
}
