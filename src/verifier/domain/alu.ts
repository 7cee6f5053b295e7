/**
 * Transfer of ALU instructions over scalars, equal to Linux 6.18 (adjust_scalar_min_max_vals and the scalar_min_max_*
 * rules it calls). Each op computes the tnum, the 64-bit and the 32-bit bounds separately; the sync that follows lets
 * them inform each other. `op` is `code & 0xf0` of a BPF_ALU or BPF_ALU64 instruction.
 */

import { coerceSubregToSizeSx, coerceToSize, coerceToSizeSx } from './narrow.ts';
import {
  Bounds,
  bigMax,
  bigMin,
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
const LOW = 0xffff_ffffn;

/**
 * The result of `dst op= src`, synchronised. With `is64` false this is the 32-bit operation and the result is
 * zero-extended, save where the op is not tracked (division, modulo, shift by an unknown or too great
 * amount): those are unknown in all 64 bits. `src` is not read for BPF_NEG; an immediate is `constant(imm)`,
 * sign-extended. `&=` and `|=` ask `forkScalar` first. Pass the result through `checkInvariants(…, 'alu')`.
 */
export function scalarAlu(op: number, dst: Scalar, src: Scalar, is64: boolean): Scalar {
  // First: after an invariant violation a known tnum can stand beside open bounds, and such an amount does not shift.
  if (!isTracked(op, src, is64)) return unknown();
  if (dst.tnum.mask === 0n && (src.tnum.mask === 0n || op === NEG)) {
    return constant(fold(op, dst.tnum.value, src.tnum.value, is64));
  }
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
      b.tnum = tnumMul(dst.tnum, src.tnum);
      mul32(b, src);
      mul64(b, src);
      break;
    case AND:
    case OR:
    case XOR:
      bitwise(op, b, dst, src);
      break;
    case LSH:
      if (is64) lsh64(b, Number(src.umin));
      else lsh32(b, src.u32min);
      break;
    case RSH:
      if (is64) rsh64(b, Number(src.umin));
      else rsh32(b, src.u32min);
      break;
    case ARSH:
      if (is64) arsh64(b, Number(src.umin));
      else arsh32(b, src.u32min);
      break;
  }
  if (!is64) zextInPlace(b);
  syncBounds(b);
  return b;
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
      return is64
        ? src.tnum.mask === 0n && src.smin === src.smax && src.umin === src.umax && src.umax < 64n
        : tnumSubregIsConst(src.tnum) &&
            src.s32min === src.s32max &&
            src.u32min === src.u32max &&
            src.umax < 32n;
    default:
      return false;
  }
}

/** A tracked op on two known operands: the number itself. Shift amounts are below the width. */
function fold(op: number, a: bigint, b: bigint, is64: boolean): bigint {
  const bits = is64 ? 64 : 32;
  switch (op) {
    case ADD:
      return BigInt.asUintN(bits, a + b);
    case SUB:
      return BigInt.asUintN(bits, a - b);
    case NEG:
      return BigInt.asUintN(bits, -a);
    case MUL:
      return BigInt.asUintN(bits, a * b);
    case AND:
      return BigInt.asUintN(bits, a & b);
    case OR:
      return BigInt.asUintN(bits, a | b);
    case XOR:
      return BigInt.asUintN(bits, a ^ b);
    case LSH:
      return BigInt.asUintN(bits, a << b);
    case RSH:
      return BigInt.asUintN(bits, a) >> b;
    default:
      return BigInt.asUintN(bits, BigInt.asIntN(bits, a) >> b);
  }
}

/** The 32-bit bounds after `+`. Unsigned bounds survive where both ends wrap or neither does. */
function add32(b: Bounds, src: Scalar): void {
  const smin = b.s32min + src.s32min;
  const smax = b.s32max + src.s32max;
  setS32(b, smin, smax);
  const umin = b.u32min + src.u32min;
  const umax = b.u32max + src.u32max;
  if (umin <= U32_MAX && umax > U32_MAX) {
    b.u32min = 0;
    b.u32max = U32_MAX;
  } else {
    b.u32min = umin >>> 0;
    b.u32max = umax >>> 0;
  }
}

function add64(b: Bounds, src: Scalar): void {
  setS64(b, b.smin + src.smin, b.smax + src.smax);
  const umin = b.umin + src.umin;
  const umax = b.umax + src.umax;
  if (umin <= U64_MAX && umax > U64_MAX) {
    b.umin = 0n;
    b.umax = U64_MAX;
  } else {
    b.umin = BigInt.asUintN(64, umin);
    b.umax = BigInt.asUintN(64, umax);
  }
}

function sub32(b: Bounds, src: Scalar): void {
  const smin = b.s32min - src.s32max;
  const smax = b.s32max - src.s32min;
  setS32(b, smin, smax);
  const umin = b.u32min - src.u32max;
  const umax = b.u32max - src.u32min;
  if (umin < 0 && umax >= 0) {
    b.u32min = 0;
    b.u32max = U32_MAX;
  } else {
    b.u32min = umin >>> 0;
    b.u32max = umax >>> 0;
  }
}

function sub64(b: Bounds, src: Scalar): void {
  setS64(b, b.smin - src.smax, b.smax - src.smin);
  const umin = b.umin - src.umax;
  const umax = b.umax - src.umin;
  if (umin < 0n && umax >= 0n) {
    b.umin = 0n;
    b.umax = U64_MAX;
  } else {
    b.umin = BigInt.asUintN(64, umin);
    b.umax = BigInt.asUintN(64, umax);
  }
}

/** Signed bounds as computed without wrapping; unknown where either does not fit. */
function setS32(b: Bounds, min: number, max: number): void {
  if (min < S32_MIN || min > S32_MAX || max < S32_MIN || max > S32_MAX) {
    b.s32min = S32_MIN;
    b.s32max = S32_MAX;
  } else {
    b.s32min = min;
    b.s32max = max;
  }
}

function setS64(b: Bounds, min: bigint, max: bigint): void {
  if (min < S64_MIN || min > S64_MAX || max < S64_MIN || max > S64_MAX) {
    b.smin = S64_MIN;
    b.smax = S64_MAX;
  } else {
    b.smin = min;
    b.smax = max;
  }
}

function mul64(b: Bounds, src: Scalar): void {
  const umax = b.umax * src.umax;
  const umin = b.umin * src.umin;
  if (umax > U64_MAX || umin > U64_MAX) {
    b.umin = 0n;
    b.umax = U64_MAX;
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
  setS64(b, min, max);
}

function mul32(b: Bounds, src: Scalar): void {
  // Products of 32-bit numbers exceed 2^53; the comparison with 2^32 still holds, and small ones are exact.
  const umax = b.u32max * src.u32max;
  const umin = b.u32min * src.u32min;
  if (umax > U32_MAX || umin > U32_MAX) {
    b.u32min = 0;
    b.u32max = U32_MAX;
  } else {
    b.u32min = umin;
    b.u32max = umax;
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
  const min = b.u32min | 0;
  const max = b.u32max | 0;
  b.s32min = min <= max ? min : S32_MIN;
  b.s32max = min <= max ? max : S32_MAX;
}

function signedFromUnsigned64(b: Bounds): void {
  const min = BigInt.asIntN(64, b.umin);
  const max = BigInt.asIntN(64, b.umax);
  b.smin = min <= max ? min : S64_MIN;
  b.smax = min <= max ? max : S64_MAX;
}

/** and, or, xor: the minimum or maximum that the bits cannot tell comes from the operands' bounds. */
function bitwise(op: number, b: Bounds, dst: Scalar, src: Scalar): void {
  const combined =
    op === AND
      ? tnumAnd(dst.tnum, src.tnum)
      : op === OR
        ? tnumOr(dst.tnum, src.tnum)
        : tnumXor(dst.tnum, src.tnum);
  b.tnum = combined;
  const low = Number(combined.value & LOW);
  if (tnumSubregIsConst(src.tnum) && tnumSubregIsConst(combined)) {
    b.tnum = tnumConstSubreg(combined, combined.value & LOW);
    b.u32min = low;
    b.u32max = low;
    b.s32min = low | 0;
    b.s32max = low | 0;
  } else {
    const top = Number((combined.value | combined.mask) & LOW);
    b.u32min = op === OR ? Math.max(b.u32min, src.u32min) : low;
    b.u32max = op === AND ? Math.min(b.u32max, src.u32max) : top;
    signedFromUnsigned32(b);
  }
  if (src.tnum.mask === 0n && combined.mask === 0n) {
    b.setConstant(combined.value);
    return;
  }
  const value = combined.value;
  const top = value | combined.mask;
  b.umin = op === OR ? bigMax(b.umin, src.umin) : value;
  b.umax = op === AND ? bigMin(b.umax, src.umax) : top;
  signedFromUnsigned64(b);
  updateBounds(b);
}

function shiftLeft32(b: Bounds, by: number): void {
  b.s32min = S32_MIN;
  b.s32max = S32_MAX;
  if (by > 31 || b.u32max > 2 ** (31 - by)) {
    b.u32min = 0;
    b.u32max = U32_MAX;
  } else {
    b.u32min = (b.u32min << by) >>> 0;
    b.u32max = (b.u32max << by) >>> 0;
  }
}

function lsh32(b: Bounds, by: number): void {
  const low = tnumSubreg(b.tnum);
  shiftLeft32(b, by);
  b.tnum = tnumSubreg(tnumLshift(low, by));
  b.unbound64();
  updateBounds32(b);
}

function lsh64(b: Bounds, by: number): void {
  // `<< 32` is the first half of a compiler's sign extension: the signed bounds of the low half carry over.
  b.smax = by === 32 ? BigInt(b.s32max) << 32n : S64_MAX;
  b.smin = by === 32 ? BigInt(b.s32min) << 32n : S64_MIN;
  const shift = BigInt(by);
  if (b.umax > 1n << (63n - shift)) {
    b.umin = 0n;
    b.umax = U64_MAX;
  } else {
    b.umin <<= shift;
    b.umax <<= shift;
  }
  shiftLeft32(b, by);
  b.tnum = tnumLshift(b.tnum, by);
  updateBounds(b);
}

function rsh32(b: Bounds, by: number): void {
  b.s32min = S32_MIN;
  b.s32max = S32_MAX;
  b.tnum = tnumRshift(tnumSubreg(b.tnum), by);
  b.u32min >>>= by;
  b.u32max >>>= by;
  b.unbound64();
  updateBounds32(b);
}

function rsh64(b: Bounds, by: number): void {
  const shift = BigInt(by);
  b.smin = S64_MIN;
  b.smax = S64_MAX;
  b.tnum = tnumRshift(b.tnum, by);
  b.umin >>= shift;
  b.umax >>= shift;
  b.unbound32();
  updateBounds(b);
}

function arsh32(b: Bounds, by: number): void {
  b.s32min >>= by;
  b.s32max >>= by;
  b.tnum = tnumArshift(tnumSubreg(b.tnum), by, 32);
  b.u32min = 0;
  b.u32max = U32_MAX;
  b.unbound64();
  updateBounds32(b);
}

function arsh64(b: Bounds, by: number): void {
  const shift = BigInt(by);
  b.smin >>= shift;
  b.smax >>= shift;
  b.tnum = tnumArshift(b.tnum, by, 64);
  b.umin = 0n;
  b.umax = U64_MAX;
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
  if ((op !== AND && op !== OR) || src.tnum.mask !== 0n) return null;
  if (dst.smin === -1n && dst.smax === 0n) return { now: MINUS_ONE, pushed: ZERO };
  if (dst.s32min === -1 && dst.s32max === 0) {
    return { now: withKnownSubreg(dst, 0xffff_ffff), pushed: withKnownSubreg(dst, 0) };
  }
  return null;
}

function withKnownSubreg(s: Scalar, low: number): Scalar {
  const b = new Bounds(s);
  b.tnum = tnumConstSubreg(s.tnum, BigInt(low));
  b.u32min = low;
  b.u32max = low;
  b.s32min = low | 0;
  b.s32max = low | 0;
  return b;
}

/**
 * BPF_END: `bits` (16, 32, 64) is the instruction's `imm`, `swap` whether the bytes change order: `bswap` always, `be`
 * on a little-endian machine, `le` on a big-endian one. Without a swap the value is only truncated.
 */
export function scalarEndian(s: Scalar, bits: number, swap: boolean): Scalar {
  if (s.tnum.mask === 0n) {
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
  b.unbound32();
  if (op === SUB) {
    setS64(b, offset.smin - delta.smax, offset.smax - delta.smin);
    if (offset.umin < delta.umax) {
      b.umin = 0n;
      b.umax = U64_MAX;
    } else {
      b.umin = offset.umin - delta.umax;
      b.umax = offset.umax - delta.umin;
    }
    b.tnum = tnumSub(offset.tnum, delta.tnum);
  } else {
    setS64(b, offset.smin + delta.smin, offset.smax + delta.smax);
    const umin = offset.umin + delta.umin;
    const umax = offset.umax + delta.umax;
    if (umin > U64_MAX || umax > U64_MAX) {
      b.umin = 0n;
      b.umax = U64_MAX;
    } else {
      b.umin = umin;
      b.umax = umax;
    }
    b.tnum = tnumAdd(offset.tnum, delta.tnum);
  }
  syncBounds(b);
  return b;
}

/** `scalar + delta` without sync or zero extension: the first half of following a link (see linked.ts). */
export function addUnsynced(s: Scalar, delta: bigint): Scalar {
  const by = constant(delta);
  const b = new Bounds(s);
  add32(b, by);
  add64(b, by);
  b.tnum = tnumAdd(s.tnum, by.tnum);
  return b;
}
