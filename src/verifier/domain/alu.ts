/**
 * Transfer of ALU instructions over scalars, equal to Linux 6.18 (adjust_scalar_min_max_vals and the scalar_min_max_*
 * rules it calls). Each op computes the tnum, the 64-bit and the 32-bit bounds separately; the sync that follows lets
 * them inform each other. `op` is `code & 0xf0` of a BPF_ALU or BPF_ALU64 instruction.
 */

import { older } from './deductions.ts';
import { coerceSubregToSizeSx, coerceToSize, coerceToSizeSx } from './narrow.ts';
import { aluWithoutHalves, olderProduct, olderProductRanges, untrackedBefore610 } from './older-alu.ts';
import {
  Bounds,
  constant,
  constantOf,
  isConst,
  S32_MAX,
  S32_MIN,
  S64_MAX,
  S64_MIN,
  type Scalar,
  U32_MAX,
  U64_MAX,
  unknown,
} from './scalar.ts';
import { syncBounds, updateBounds, updateBounds32, zextInPlace } from './sync.ts';
import {
  byteSwap,
  tnumAdd,
  tnumAnd,
  tnumArshift,
  tnumByteSwap,
  tnumConstSubreg,
  tnumLshift,
  tnumMul,
  tnumNeg,
  tnumOr,
  tnumRshift,
  tnumSub,
  tnumSubreg,
  tnumSubregIsConst,
  tnumXor,
} from './tnum.ts';
import { borrow, carry, highOfNumber, slt, ult } from './wide.ts';

const ADD = 0x00;
const SUB = 0x10;
const MUL = 0x20;
const OR = 0x40;
const AND = 0x50;
const LSH = 0x60;
const RSH = 0x70;
const NEG = 0x80;
const XOR = 0xa0;
const ARSH = 0xc0;

const ZERO = constant(0n);
const MINUS_ONE = constant(-1n);

/**
 * The result of `dst op= src`, synchronised. With `is64` false this is the 32-bit operation and the result is
 * zero-extended, save where the op is not tracked (division, modulo, shift by an unknown or too great
 * amount): those are unknown in all 64 bits. `src` is not read for BPF_NEG; an immediate is `constant(imm)`,
 * sign-extended. `&=` and `|=` ask `forkScalar` first. Pass the result through `checkInvariants(…, 'alu')`.
 */
export function scalarAlu(op: number, dst: Scalar, src: Scalar, is64: boolean): Scalar {
  if (older !== null && !older.bitwise_ranges && op !== NEG) {
    if (!older.bounds_of_halves) return aluWithoutHalves(op, dst, src, is64, older);
    const result = untrackedBefore610(op, src, is64);
    if (result !== null) return result;
  } else if (!isTracked(op, src, is64)) {
    // First: after an invariant violation a known tnum can stand beside open bounds, and such an amount does not shift.
    return unknown();
  }
  if (isConst(dst) && (op === NEG || isConst(src))) return fold(op, dst, src, is64);
  const b = op === NEG ? new Bounds(ZERO) : new Bounds(dst);
  switch (op) {
    case ADD:
      add32(b, src);
      add64(b, src);
      b.tnum = tnumAdd(dst.tnum, src.tnum);
      break;
    case SUB:
      sub32(b, src);
      sub64(b, src);
      b.tnum = tnumSub(dst.tnum, src.tnum);
      break;
    case NEG:
      sub32(b, dst);
      sub64(b, dst);
      b.tnum = tnumNeg(dst.tnum);
      break;
    case MUL:
      multiply(b, dst, src);
      break;
    case AND:
    case OR:
    case XOR:
      bitwise(op, b, dst, src);
      break;
    case LSH:
      if (is64) lsh64(b, src.uminLo);
      else lsh32(b, src.w32min);
      break;
    case RSH:
      if (is64) rsh64(b, src.uminLo);
      else rsh32(b, src.w32min);
      break;
    case ARSH:
      if (is64) arsh64(b, src.uminLo);
      else arsh32(b, src.w32min);
      break;
  }
  if (!is64) zextInPlace(b);
  syncBounds(b);
  return b;
}

function multiply(b: Bounds, dst: Scalar, src: Scalar): void {
  b.tnum =
    older === null || older.product_unions
      ? tnumMul(dst.tnum, src.tnum)
      : olderProduct(dst.tnum, src.tnum, older);
  if (older !== null && !older.negative_products) {
    olderProductRanges(b, src);
  } else {
    mul32(b, src);
    mul64(b, src);
  }
}

/** Whether sums lose their range as soon as one end wraps. */
function wrappingIsUnknown(): boolean {
  return older !== null && !older.wrapped_sums;
}

/** Linux: is_safe_to_compute_dst_reg_range. */
function isTracked(op: number, src: Scalar, is64: boolean): boolean {
  switch (op) {
    case ADD:
    case SUB:
    case NEG:
    case AND:
    case XOR:
    case OR:
    case MUL:
      return true;
    case LSH:
    case RSH:
    case ARSH:
      return is64 ? isAmount64(src) : isAmount32(src);
    default:
      return false;
  }
}

function isAmount64(s: Scalar): boolean {
  return (
    isConst(s) &&
    s.sminHi === s.smaxHi &&
    s.sminLo === s.smaxLo &&
    (s.uminHi | s.umaxHi) === 0 &&
    s.uminLo === s.umaxLo &&
    s.umaxLo >>> 0 < 64
  );
}

function isAmount32(s: Scalar): boolean {
  return (
    tnumSubregIsConst(s.tnum) &&
    s.s32min === s.s32max &&
    s.w32min === s.w32max &&
    s.umaxHi === 0 &&
    s.umaxLo >>> 0 < 32
  );
}

/** A tracked op on two known operands: the number itself. Shift amounts are below the width. */
function fold(op: number, dst: Scalar, src: Scalar, is64: boolean): Scalar {
  const { valueHi: aHi, valueLo: aLo } = dst.tnum;
  const { valueHi: bHi, valueLo: bLo } = src.tnum;
  switch (op) {
    case ADD: {
      const lo = (aLo + bLo) | 0;
      return constantOf(is64 ? (aHi + bHi + carry(lo, aLo)) | 0 : 0, lo);
    }
    case SUB:
      return constantOf(is64 ? (aHi - bHi - borrow(aLo, bLo)) | 0 : 0, (aLo - bLo) | 0);
    case NEG:
      return constantOf(is64 ? (-aHi - borrow(0, aLo)) | 0 : 0, -aLo | 0);
    case MUL:
      if (!is64) return constantOf(0, Math.imul(aLo, bLo));
      return constant(dst.tnum.value * src.tnum.value);
    case AND:
      return constantOf(is64 ? aHi & bHi : 0, aLo & bLo);
    case OR:
      return constantOf(is64 ? aHi | bHi : 0, aLo | bLo);
    case XOR:
      return constantOf(is64 ? aHi ^ bHi : 0, aLo ^ bLo);
    default: {
      const low = is64 ? dst.tnum : tnumSubreg(dst.tnum);
      const shifted =
        op === LSH
          ? tnumLshift(low, bLo)
          : op === RSH
            ? tnumRshift(low, bLo)
            : tnumArshift(low, bLo, is64 ? 64 : 32);
      return constantOf(is64 ? shifted.valueHi : 0, shifted.valueLo);
    }
  }
}

/** The 32-bit bounds after `+`. Unsigned bounds survive where both ends wrap or neither does. */
function add32(b: Bounds, src: Scalar): void {
  setS32(b, b.s32min + src.s32min, b.s32max + src.s32max);
  const min = (b.w32min + src.w32min) | 0;
  const max = (b.w32max + src.w32max) | 0;
  if (carry(max, b.w32max) === 1 && (carry(min, b.w32min) === 0 || wrappingIsUnknown())) {
    b.unboundUnsigned32();
  } else {
    b.w32min = min;
    b.w32max = max;
  }
}

function add64(b: Bounds, src: Scalar): void {
  const sminLo = (b.sminLo + src.sminLo) | 0;
  const sminHi = (b.sminHi + src.sminHi + carry(sminLo, b.sminLo)) | 0;
  const smaxLo = (b.smaxLo + src.smaxLo) | 0;
  const smaxHi = (b.smaxHi + src.smaxHi + carry(smaxLo, b.smaxLo)) | 0;
  // A sum overflows where its sign is neither operand's.
  const minOverflows = (b.sminHi ^ sminHi) & (src.sminHi ^ sminHi);
  const maxOverflows = (b.smaxHi ^ smaxHi) & (src.smaxHi ^ smaxHi);
  if ((minOverflows | maxOverflows) < 0) {
    b.unboundSigned();
  } else {
    b.setSmin(sminHi, sminLo);
    b.setSmax(smaxHi, smaxLo);
  }
  const uminLo = (b.uminLo + src.uminLo) | 0;
  const uminHi = (b.uminHi + src.uminHi + carry(uminLo, b.uminLo)) | 0;
  const umaxLo = (b.umaxLo + src.umaxLo) | 0;
  const umaxHi = (b.umaxHi + src.umaxHi + carry(umaxLo, b.umaxLo)) | 0;
  if (
    ult(umaxHi, umaxLo, b.umaxHi, b.umaxLo) &&
    (!ult(uminHi, uminLo, b.uminHi, b.uminLo) || wrappingIsUnknown())
  ) {
    b.unboundUnsigned();
  } else {
    b.setUmin(uminHi, uminLo);
    b.setUmax(umaxHi, umaxLo);
  }
}

function sub32(b: Bounds, src: Scalar): void {
  setS32(b, b.s32min - src.s32max, b.s32max - src.s32min);
  if (borrow(b.w32min, src.w32max) === 1 && (borrow(b.w32max, src.w32min) === 0 || wrappingIsUnknown())) {
    b.unboundUnsigned32();
  } else {
    b.w32min = (b.w32min - src.w32max) | 0;
    b.w32max = (b.w32max - src.w32min) | 0;
  }
}

/** The signed bounds of `b - src`. */
function subSigned64(b: Bounds, src: Scalar): void {
  const minLo = (b.sminLo - src.smaxLo) | 0;
  const minHi = (b.sminHi - src.smaxHi - borrow(b.sminLo, src.smaxLo)) | 0;
  const maxLo = (b.smaxLo - src.sminLo) | 0;
  const maxHi = (b.smaxHi - src.sminHi - borrow(b.smaxLo, src.sminLo)) | 0;
  // A difference overflows where the operands' signs differ and its sign is not the first one's.
  const minOverflows = (b.sminHi ^ src.smaxHi) & (b.sminHi ^ minHi);
  const maxOverflows = (b.smaxHi ^ src.sminHi) & (b.smaxHi ^ maxHi);
  if ((minOverflows | maxOverflows) < 0) {
    b.unboundSigned();
  } else {
    b.setSmin(minHi, minLo);
    b.setSmax(maxHi, maxLo);
  }
}

/** Sets the unsigned bounds to those of `b - src`, wrapped. */
function wrapUnsigned64(b: Bounds, src: Scalar): void {
  const minHi = (b.uminHi - src.umaxHi - borrow(b.uminLo, src.umaxLo)) | 0;
  const minLo = (b.uminLo - src.umaxLo) | 0;
  b.setUmax((b.umaxHi - src.uminHi - borrow(b.umaxLo, src.uminLo)) | 0, (b.umaxLo - src.uminLo) | 0);
  b.setUmin(minHi, minLo);
}

function sub64(b: Bounds, src: Scalar): void {
  subSigned64(b, src);
  const minBorrows = ult(b.uminHi, b.uminLo, src.umaxHi, src.umaxLo);
  const maxBorrows = ult(b.umaxHi, b.umaxLo, src.uminHi, src.uminLo);
  if (minBorrows && (!maxBorrows || wrappingIsUnknown())) b.unboundUnsigned();
  else wrapUnsigned64(b, src);
}

/** Signed bounds as computed without wrapping; unknown where either does not fit. */
function setS32(b: Bounds, min: number, max: number): void {
  if (min < S32_MIN || min > S32_MAX || max < S32_MIN || max > S32_MAX) {
    b.unboundSigned32();
  } else {
    b.s32min = min;
    b.s32max = max;
  }
}

/** Whether the 64-bit bounds are 0..2^31-1 at most: then so are the signed ones. */
function isSmall(s: Scalar): boolean {
  return (
    (s.uminHi | s.umaxHi | s.sminHi | s.smaxHi) === 0 && (s.uminLo | s.umaxLo | s.sminLo | s.smaxLo) >= 0
  );
}

function mul64(b: Bounds, src: Scalar): void {
  if (isSmall(b) && isSmall(src)) {
    // All products are below 2^62 and their ends known; above 2^53 a double would round.
    const max =
      Math.max(b.smaxLo, b.umaxLo, b.sminLo, b.uminLo) *
      Math.max(src.smaxLo, src.umaxLo, src.sminLo, src.uminLo);
    if (max <= Number.MAX_SAFE_INTEGER) {
      const smin = Math.min(b.sminLo, b.smaxLo) * Math.min(src.sminLo, src.smaxLo);
      const smax = Math.max(b.sminLo, b.smaxLo) * Math.max(src.sminLo, src.smaxLo);
      const umin = b.uminLo * src.uminLo;
      const umax = b.umaxLo * src.umaxLo;
      b.setSmin(highOfNumber(smin), smin | 0);
      b.setSmax(highOfNumber(smax), smax | 0);
      b.setUmin(highOfNumber(umin), umin | 0);
      b.setUmax(highOfNumber(umax), umax | 0);
      return;
    }
  }
  mulBig64(b, src);
}

function mulBig64(b: Bounds, src: Scalar): void {
  const umax = b.umax * src.umax;
  const umin = b.umin * src.umin;
  if (umax > U64_MAX || umin > U64_MAX) {
    b.unboundUnsigned();
  } else {
    b.umin = umin;
    b.umax = umax;
  }
  const products = [b.smin * src.smin, b.smin * src.smax, b.smax * src.smin, b.smax * src.smax];
  let min = products[0]!;
  let max = products[0]!;
  for (const p of products) {
    if (p < min) min = p;
    if (p > max) max = p;
  }
  if (min < S64_MIN || max > S64_MAX) {
    b.unboundSigned();
  } else {
    b.smin = min;
    b.smax = max;
  }
}

function mul32(b: Bounds, src: Scalar): void {
  // Products of 32-bit numbers exceed 2^53; the comparison with 2^32 still holds, and small ones are exact.
  const umax = b.u32max * src.u32max;
  const umin = b.u32min * src.u32min;
  if (umax > U32_MAX || umin > U32_MAX) {
    b.unboundUnsigned32();
  } else {
    b.w32min = umin | 0;
    b.w32max = umax | 0;
  }
  const p1 = b.s32min * src.s32min;
  const p2 = b.s32min * src.s32max;
  const p3 = b.s32max * src.s32min;
  const p4 = b.s32max * src.s32max;
  // `+ 0` turns the -0 that a product of zero and a negative number is into 0.
  setS32(b, Math.min(p1, p2, p3, p4) + 0, Math.max(p1, p2, p3, p4) + 0);
}

/** Sets s32 from u32 where that range does not cross the sign boundary; unknown otherwise. */
function signedFromUnsigned32(b: Bounds): void {
  if (b.w32min <= b.w32max) {
    b.s32min = b.w32min;
    b.s32max = b.w32max;
  } else {
    b.unboundSigned32();
  }
}

function signedFromUnsigned64(b: Bounds): void {
  if (slt(b.umaxHi, b.umaxLo, b.uminHi, b.uminLo)) {
    b.unboundSigned();
  } else {
    b.setSmin(b.uminHi, b.uminLo);
    b.setSmax(b.umaxHi, b.umaxLo);
  }
}

/** and, or, xor: the minimum or maximum that the bits cannot tell comes from the operands' bounds. */
function bitwise(op: number, b: Bounds, dst: Scalar, src: Scalar): void {
  const combined =
    op === AND
      ? tnumAnd(dst.tnum, src.tnum)
      : op === OR
        ? tnumOr(dst.tnum, src.tnum)
        : tnumXor(dst.tnum, src.tnum);
  const { valueHi, valueLo, maskHi, maskLo } = combined;
  b.tnum = combined;
  if (src.tnum.maskLo === 0 && maskLo === 0) {
    b.setConstant32(valueLo);
  } else {
    const top = valueLo | maskLo;
    if (op !== OR) b.w32min = valueLo;
    else if (src.w32min >>> 0 > b.w32min >>> 0) b.w32min = src.w32min;
    if (op !== AND) b.w32max = top;
    else if (src.w32max >>> 0 < b.w32max >>> 0) b.w32max = src.w32max;
    if (signsAreLost(b.s32min, src.s32min)) b.unboundSigned32();
    else signedFromUnsigned32(b);
  }
  if (isConst(src) && (maskHi | maskLo) === 0) {
    b.setConstant(valueHi, valueLo);
    return;
  }
  if (op !== OR) b.setUmin(valueHi, valueLo);
  else if (ult(b.uminHi, b.uminLo, src.uminHi, src.uminLo)) b.setUmin(src.uminHi, src.uminLo);
  if (op !== AND) b.setUmax(valueHi | maskHi, valueLo | maskLo);
  else if (ult(src.umaxHi, src.umaxLo, b.umaxHi, b.umaxLo)) b.setUmax(src.umaxHi, src.umaxLo);
  if (signsAreLost(b.sminHi, src.sminHi)) b.unboundSigned();
  else signedFromUnsigned64(b);
  updateBounds(b);
}

/** Before 6.10 bitwise operations of numbers that may be negative have no signed range. */
function signsAreLost(a: number, b: number): boolean {
  return (a | b) < 0 && older !== null && !older.bitwise_ranges;
}

function shiftLeft32(b: Bounds, by: number): void {
  b.unboundSigned32();
  if (by > 31 || b.w32max >>> 0 > 2 ** (31 - by)) {
    b.unboundUnsigned32();
  } else {
    b.w32min <<= by;
    b.w32max <<= by;
  }
}

function lsh32(b: Bounds, by: number): void {
  const low = tnumSubreg(b.tnum);
  shiftLeft32(b, by);
  b.tnum = tnumSubreg(tnumLshift(low, by));
  b.unbound64();
  updateBounds32(b);
}

function shiftedHi(hi: number, lo: number, by: number): number {
  if (by >= 32) return lo << (by - 32);
  return by === 0 ? hi : (hi << by) | (lo >>> (32 - by));
}

function lsh64(b: Bounds, by: number): void {
  // `<< 32` is the first half of a compiler's sign extension: the signed bounds of the low half carry over.
  if (by === 32) {
    b.setSmax(b.s32max, 0);
    b.setSmin(b.s32min, 0);
  } else {
    b.unboundSigned();
  }
  // Whether the maximum is above 2^(63 - by).
  const limitHi = by <= 31 ? (1 << (31 - by)) | 0 : 0;
  const limitLo = by <= 31 ? 0 : (1 << (63 - by)) | 0;
  if (ult(limitHi, limitLo, b.umaxHi, b.umaxLo)) {
    b.unboundUnsigned();
  } else {
    b.setUmin(shiftedHi(b.uminHi, b.uminLo, by), by >= 32 ? 0 : b.uminLo << by);
    b.setUmax(shiftedHi(b.umaxHi, b.umaxLo, by), by >= 32 ? 0 : b.umaxLo << by);
  }
  shiftLeft32(b, by);
  b.tnum = tnumLshift(b.tnum, by);
  updateBounds(b);
}

function rsh32(b: Bounds, by: number): void {
  b.unboundSigned32();
  b.tnum = tnumRshift(tnumSubreg(b.tnum), by);
  b.w32min = (b.w32min >>> by) | 0;
  b.w32max = (b.w32max >>> by) | 0;
  b.unbound64();
  updateBounds32(b);
}

function shiftedLo(hi: number, lo: number, by: number, sign: number): number {
  if (by >= 32) return sign === 0 ? (hi >>> (by - 32)) | 0 : hi >> (by - 32);
  return by === 0 ? lo : (lo >>> by) | (hi << (32 - by));
}

function rsh64(b: Bounds, by: number): void {
  b.unboundSigned();
  b.tnum = tnumRshift(b.tnum, by);
  b.setUmin(by >= 32 ? 0 : (b.uminHi >>> by) | 0, shiftedLo(b.uminHi, b.uminLo, by, 0));
  b.setUmax(by >= 32 ? 0 : (b.umaxHi >>> by) | 0, shiftedLo(b.umaxHi, b.umaxLo, by, 0));
  b.unbound32();
  updateBounds(b);
}

function arsh32(b: Bounds, by: number): void {
  b.s32min >>= by;
  b.s32max >>= by;
  b.tnum = tnumArshift(tnumSubreg(b.tnum), by, 32);
  b.unboundUnsigned32();
  b.unbound64();
  updateBounds32(b);
}

function arsh64(b: Bounds, by: number): void {
  const high = by >= 32 ? 31 : by;
  b.setSmin(b.sminHi >> high, shiftedLo(b.sminHi, b.sminLo, by, 1));
  b.setSmax(b.smaxHi >> high, shiftedLo(b.smaxHi, b.smaxLo, by, 1));
  b.tnum = tnumArshift(b.tnum, by, 64);
  b.unboundUnsigned();
  b.unbound32();
  updateBounds(b);
}

/** The two values that a scalar of -1..0 is split into before `&=` or `|=` with a constant. */
export interface ScalarFork {
  /** `dst` of the path that goes on now. */
  readonly now: Scalar;
  /** `dst` of the path to be pushed; it starts again at the same instruction. */
  readonly pushed: Scalar;
}

/**
 * Whether `dst op= src` has to be followed once for -1 and once for 0: compilers turn a select into an arithmetic right
 * shift and an `&=` or `|=` with a constant, where the range alone would lose that only two values are possible (Linux:
 * maybe_fork_scalars). Null where not; otherwise push a state with `pushed` at this instruction and go on with `now`.
 */
export function forkScalar(op: number, dst: Scalar, src: Scalar): ScalarFork | null {
  if ((op !== AND && op !== OR) || !isConst(src) || (older !== null && !older.forked_masks)) return null;
  if ((dst.sminHi & dst.sminLo) === -1 && (dst.smaxHi | dst.smaxLo) === 0)
    return { now: MINUS_ONE, pushed: ZERO };
  if (dst.s32min === -1 && dst.s32max === 0) {
    return { now: withKnownSubreg(dst, -1), pushed: withKnownSubreg(dst, 0) };
  }
  return null;
}

function withKnownSubreg(s: Scalar, low: number): Scalar {
  const b = new Bounds(s);
  b.tnum = tnumConstSubreg(s.tnum, low);
  b.setConstant32(low);
  return b;
}

/**
 * BPF_END: `bits` (16, 32, 64) is the instruction's `imm`, `swap` whether the bytes change order: `bswap` always, `be`
 * on a little-endian machine, `le` on a big-endian one. Without a swap the value is only truncated.
 */
export function scalarEndian(s: Scalar, bits: number, swap: boolean): Scalar {
  if (isConst(s)) {
    const value = BigInt.asUintN(bits, s.tnum.value);
    return constant(swap ? byteSwap(value, bits >> 3) : value);
  }
  let from = s;
  if (swap) {
    const b = new Bounds(null);
    b.tnum = tnumByteSwap(s.tnum, bits >> 3);
    from = b;
  }
  const narrowed = new Bounds(coerceToSize(from, bits >> 3));
  syncBounds(narrowed);
  return narrowed;
}

/**
 * `dst = (s8|s16|s32)src` (BPF_MOV with `off` = `bits`): to 64 bits, or to 32 zero-extended (8 and 16 only).
 */
export function movSignExtend(src: Scalar, bits: number, is64: boolean): Scalar {
  return is64 ? coerceToSizeSx(src, bits >> 3) : coerceSubregToSizeSx(src, bits >> 3);
}

/**
 * The variable offset of a pointer after adding (BPF_ADD) or subtracting (BPF_SUB) the scalar `delta`, synchronised.
 * Pointers carry no 32-bit bounds of their own: these are rebuilt from the others. A known `delta` belongs into the
 * fixed offset as long as that fits 32 bits and does not come here. The result may leave the range of sane offsets:
 * that is the caller's check.
 */
export function pointerOffsetAlu(op: number, offset: Scalar, delta: Scalar): Scalar {
  const b = new Bounds(offset);
  if (op === SUB) {
    subSigned64(b, delta);
    if (ult(b.uminHi, b.uminLo, delta.umaxHi, delta.umaxLo)) b.unboundUnsigned();
    else wrapUnsigned64(b, delta);
    b.tnum = tnumSub(offset.tnum, delta.tnum);
  } else {
    add64(b, delta);
    // Where add64 lets both ends wrap, a pointer's offset is unknown.
    if (unsignedSumOverflows(offset, delta)) b.unboundUnsigned();
    b.tnum = tnumAdd(offset.tnum, delta.tnum);
  }
  b.unbound32();
  syncBounds(b);
  return b;
}

/** Whether umin + umin or umax + umax is above 2^64 - 1. */
function unsignedSumOverflows(a: Scalar, b: Scalar): boolean {
  // a + b overflows where b is above the complement of a.
  return ult(~a.uminHi, ~a.uminLo, b.uminHi, b.uminLo) || ult(~a.umaxHi, ~a.umaxLo, b.umaxHi, b.umaxLo);
}

/** `scalar + delta` (a safe integer) without sync or zero extension: the first half of following a link (see linked.ts). */
export function addUnsynced(s: Scalar, delta: number): Bounds {
  const by = constantOf(highOfNumber(delta), delta | 0);
  const b = new Bounds(s);
  add32(b, by);
  add64(b, by);
  b.tnum = tnumAdd(s.tnum, by.tnum);
  return b;
}
