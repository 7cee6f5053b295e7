/**
 * Conditional jumps over two scalars: whether one is decided, and what each way teaches. Equal to Linux 6.18
 * (is_scalar_branch_taken, regs_refine_cond_op, reg_set_min_max). `op` is `code & 0xf0` of a BPF_JMP or BPF_JMP32
 * instruction; `is32` compares the low halves only. A constant operand is `constant(imm)`, sign-extended.
 */
import { Bounds, bigMax, bigMin, isConstWidth, type Scalar } from './scalar.ts';
import { syncBounds } from './sync.ts';
import {
  type Tnum,
  tnumAnd,
  tnumConst,
  tnumIntersect,
  tnumOr,
  tnumOverlap,
  tnumSubreg,
  tnumWithSubreg,
} from './tnum.ts';

const JEQ = 0x10;
const JGT = 0x20;
const JGE = 0x30;
const JSET = 0x40;
const JNE = 0x50;
const JSGT = 0x60;
const JSGE = 0x70;
const JLT = 0xa0;
const JLE = 0xb0;
const JSLT = 0xc0;
const JSLE = 0xd0;
/** Not an opcode of BPF: the false branch of JSET. */
const NOT_JSET = JSET | 0x08;

/** The op that holds of (right, left) where the key holds of (left, right). */
const FLIP: Readonly<Record<number, number>> = {
  [JEQ]: JEQ,
  [JNE]: JNE,
  [JSET]: JSET,
  [JGE]: JLE,
  [JGT]: JLT,
  [JLE]: JGE,
  [JLT]: JGT,
  [JSGE]: JSLE,
  [JSGT]: JSLT,
  [JSLE]: JSGE,
  [JSLT]: JSGT,
};

/** The op that holds where the key does not. */
const REVERSE: Readonly<Record<number, number>> = {
  [JEQ]: JNE,
  [JNE]: JEQ,
  [JSET]: NOT_JSET,
  [NOT_JSET]: JSET,
  [JGE]: JLT,
  [JGT]: JLE,
  [JLE]: JGT,
  [JLT]: JGE,
  [JSGE]: JSLT,
  [JSGT]: JSLE,
  [JSLE]: JSGT,
  [JSLT]: JSGE,
};

/** The op that holds of (right, left) when `op` holds of (left, right); 0 for what is no conditional jump. */
export function flipJump(op: number): number {
  return FLIP[op] ?? 0;
}

/** 1 where the jump is always taken, 0 where it never is, -1 where it depends on the values. */
export function isBranchTaken(left: Scalar, right: Scalar, op: number, is32: boolean): 1 | 0 | -1 {
  switch (op) {
    case JEQ:
      return equality(left, right, is32);
    case JNE: {
      const equal = equality(left, right, is32);
      return equal < 0 ? -1 : equal === 0 ? 1 : 0;
    }
    case JSET:
      return bitTest(left, right, is32);
    case JGT:
      return is32
        ? greater(left.u32min, left.u32max, right.u32min, right.u32max)
        : greater(left.umin, left.umax, right.umin, right.umax);
    case JLT:
      return is32
        ? greater(right.u32min, right.u32max, left.u32min, left.u32max)
        : greater(right.umin, right.umax, left.umin, left.umax);
    case JGE:
      return is32
        ? atLeast(left.u32min, left.u32max, right.u32min, right.u32max)
        : atLeast(left.umin, left.umax, right.umin, right.umax);
    case JLE:
      return is32
        ? atLeast(right.u32min, right.u32max, left.u32min, left.u32max)
        : atLeast(right.umin, right.umax, left.umin, left.umax);
    case JSGT:
      return is32
        ? greater(left.s32min, left.s32max, right.s32min, right.s32max)
        : greater(left.smin, left.smax, right.smin, right.smax);
    case JSLT:
      return is32
        ? greater(right.s32min, right.s32max, left.s32min, left.s32max)
        : greater(right.smin, right.smax, left.smin, left.smax);
    case JSGE:
      return is32
        ? atLeast(left.s32min, left.s32max, right.s32min, right.s32max)
        : atLeast(left.smin, left.smax, right.smin, right.smax);
    case JSLE:
      return is32
        ? atLeast(right.s32min, right.s32max, left.s32min, left.s32max)
        : atLeast(right.smin, right.smax, left.smin, left.smax);
    default:
      return -1;
  }
}

type Num = bigint | number;

function greater(min1: Num, max1: Num, min2: Num, max2: Num): 1 | 0 | -1 {
  if (min1 > max2) return 1;
  return max1 <= min2 ? 0 : -1;
}

function atLeast(min1: Num, max1: Num, min2: Num, max2: Num): 1 | 0 | -1 {
  if (min1 >= max2) return 1;
  return max1 < min2 ? 0 : -1;
}

function disjoint32(a: Scalar, b: Scalar): boolean {
  return a.u32min > b.u32max || a.u32max < b.u32min || a.s32min > b.s32max || a.s32max < b.s32min;
}

function equality(a: Scalar, b: Scalar, is32: boolean): 1 | 0 | -1 {
  const t1 = is32 ? tnumSubreg(a.tnum) : a.tnum;
  const t2 = is32 ? tnumSubreg(b.tnum) : b.tnum;
  if (t1.mask === 0n && t2.mask === 0n) return t1.value === t2.value ? 1 : 0;
  if (!tnumOverlap(t1, t2)) return 0;
  if (!is32 && (a.umin > b.umax || a.umax < b.umin || a.smin > b.smax || a.smax < b.smin)) return 0;
  return disjoint32(a, b) ? 0 : -1;
}

function bitTest(a: Scalar, b: Scalar, is32: boolean): 1 | 0 | -1 {
  let tested = a;
  let bits = b;
  if (!isConstWidth(bits, is32)) {
    tested = b;
    bits = a;
    if (!isConstWidth(bits, is32)) return -1;
  }
  const t = is32 ? tnumSubreg(tested.tnum) : tested.tnum;
  const value = lowOr(bits.tnum.value, is32);
  if ((t.value & value) !== 0n) return 1;
  return ((t.mask | t.value) & value) === 0n ? 0 : -1;
}

function lowOr(value: bigint, is32: boolean): bigint {
  return is32 ? value & 0xffff_ffffn : value;
}

/** What is known of both operands after the jump (true) and after falling through (false). */
export interface Refined {
  readonly trueLeft: Scalar;
  readonly trueRight: Scalar;
  readonly falseLeft: Scalar;
  readonly falseRight: Scalar;
}

/**
 * Both ways of an undecided jump, synchronised. The results may contradict themselves on a way that cannot be taken:
 * pass each through `checkInvariants`, in the order true left, true right, false left, false right. Where `left` and
 * `right` are one register use `refineBranchSame`.
 */
export function refineBranch(left: Scalar, right: Scalar, op: number, is32: boolean): Refined {
  const falseLeft = new Bounds(left);
  const falseRight = new Bounds(right);
  refine(falseLeft, falseRight, REVERSE[op] ?? 0, is32);
  syncBounds(falseLeft);
  syncBounds(falseRight);
  const trueLeft = new Bounds(left);
  const trueRight = new Bounds(right);
  refine(trueLeft, trueRight, op, is32);
  syncBounds(trueLeft);
  syncBounds(trueRight);
  return { trueLeft, trueRight, falseLeft, falseRight };
}

/**
 * Both ways of `if rX op rX`. Linux refines the one register as left and as right operand in turn, which is sound only
 * because such a jump cannot go both ways; it is followed here so that states are the same.
 */
export function refineBranchSame(
  reg: Scalar,
  op: number,
  is32: boolean,
): { readonly whenTrue: Scalar; readonly whenFalse: Scalar } {
  const whenFalse = new Bounds(reg);
  refine(whenFalse, whenFalse, REVERSE[op] ?? 0, is32);
  syncBounds(whenFalse);
  syncBounds(whenFalse);
  const whenTrue = new Bounds(reg);
  refine(whenTrue, whenTrue, op, is32);
  syncBounds(whenTrue);
  syncBounds(whenTrue);
  return { whenTrue, whenFalse };
}

/** Linux: regs_refine_cond_op, in place, without sync. */
function refine(left: Bounds, right: Bounds, op: number, is32: boolean): void {
  switch (op) {
    case JEQ:
      meet(left, right, is32);
      break;
    case JNE:
      dropEdge(left, right, is32);
      break;
    case JSET:
      setBit(left, right, is32);
      break;
    case NOT_JSET:
      clearBits(left, right, is32);
      break;
    case JLE:
      lessOrEqual(left, right, is32);
      break;
    case JGE:
      lessOrEqual(right, left, is32);
      break;
    case JLT:
      less(left, right, is32);
      break;
    case JGT:
      less(right, left, is32);
      break;
    case JSLE:
      signedLessOrEqual(left, right, is32);
      break;
    case JSGE:
      signedLessOrEqual(right, left, is32);
      break;
    case JSLT:
      signedLess(left, right, is32);
      break;
    case JSGT:
      signedLess(right, left, is32);
      break;
  }
}

function meet(a: Bounds, b: Bounds, is32: boolean): void {
  if (is32) {
    a.u32min = b.u32min = Math.max(a.u32min, b.u32min);
    a.u32max = b.u32max = Math.min(a.u32max, b.u32max);
    a.s32min = b.s32min = Math.max(a.s32min, b.s32min);
    a.s32max = b.s32max = Math.min(a.s32max, b.s32max);
    const low = tnumIntersect(tnumSubreg(a.tnum), tnumSubreg(b.tnum));
    a.tnum = tnumWithSubreg(a.tnum, low);
    b.tnum = tnumWithSubreg(b.tnum, low);
    return;
  }
  a.umin = b.umin = bigMax(a.umin, b.umin);
  a.umax = b.umax = bigMin(a.umax, b.umax);
  a.smin = b.smin = bigMax(a.smin, b.smin);
  a.smax = b.smax = bigMin(a.smax, b.smax);
  a.tnum = b.tnum = tnumIntersect(a.tnum, b.tnum);
}

/** Which operand is refined and by which constant; null where neither is constant. */
function refinedBy(a: Bounds, b: Bounds, is32: boolean): [Bounds, bigint] | null {
  if (isConstWidth(b, is32)) return [a, lowOr(b.tnum.value, is32)];
  if (isConstWidth(a, is32)) return [b, lowOr(a.tnum.value, is32)];
  return null;
}

/** Not equal to a constant: shrinks the bounds that are exactly that constant. */
function dropEdge(a: Bounds, b: Bounds, is32: boolean): void {
  const by = refinedBy(a, b, is32);
  if (by === null) return;
  const [reg, value] = by;
  if (is32) {
    const u = Number(value);
    const s = u | 0;
    if (reg.u32min === u) reg.u32min = (u + 1) >>> 0;
    if (reg.u32max === u) reg.u32max = (u - 1) >>> 0;
    if (reg.s32min === s) reg.s32min = (s + 1) | 0;
    if (reg.s32max === s) reg.s32max = (s - 1) | 0;
    return;
  }
  const s = BigInt.asIntN(64, value);
  if (reg.umin === value) reg.umin = BigInt.asUintN(64, value + 1n);
  if (reg.umax === value) reg.umax = BigInt.asUintN(64, value - 1n);
  if (reg.smin === s) reg.smin = BigInt.asIntN(64, s + 1n);
  if (reg.smax === s) reg.smax = BigInt.asIntN(64, s - 1n);
}

/** Some bit of a constant is set: only a single bit tells which. */
function setBit(a: Bounds, b: Bounds, is32: boolean): void {
  const by = refinedBy(a, b, is32);
  if (by === null) return;
  const [reg, value] = by;
  if (value === 0n || (value & (value - 1n)) !== 0n) return;
  const bit = tnumConst(value);
  reg.tnum = is32 ? tnumWithSubreg(reg.tnum, tnumOr(tnumSubreg(reg.tnum), bit)) : tnumOr(reg.tnum, bit);
}

/** No bit of a constant is set. The bounds are forgotten: on a dead way they could contradict the tnum. */
function clearBits(a: Bounds, b: Bounds, is32: boolean): void {
  const by = refinedBy(a, b, is32);
  if (by === null) return;
  const [reg, value] = by;
  reg.unbound64();
  reg.unbound32();
  const keep: Tnum = { value: BigInt.asUintN(64, ~value), mask: 0n };
  reg.tnum = is32 ? tnumWithSubreg(reg.tnum, tnumAnd(tnumSubreg(reg.tnum), keep)) : tnumAnd(reg.tnum, keep);
}

function lessOrEqual(a: Bounds, b: Bounds, is32: boolean): void {
  if (is32) {
    a.u32max = Math.min(a.u32max, b.u32max);
    b.u32min = Math.max(a.u32min, b.u32min);
  } else {
    if (b.umax < a.umax) a.umax = b.umax;
    if (a.umin > b.umin) b.umin = a.umin;
  }
}

function less(a: Bounds, b: Bounds, is32: boolean): void {
  if (is32) {
    a.u32max = Math.min(a.u32max, (b.u32max - 1) >>> 0);
    b.u32min = Math.max((a.u32min + 1) >>> 0, b.u32min);
  } else {
    const max = BigInt.asUintN(64, b.umax - 1n);
    const min = BigInt.asUintN(64, a.umin + 1n);
    if (max < a.umax) a.umax = max;
    if (min > b.umin) b.umin = min;
  }
}

function signedLessOrEqual(a: Bounds, b: Bounds, is32: boolean): void {
  if (is32) {
    a.s32max = Math.min(a.s32max, b.s32max);
    b.s32min = Math.max(a.s32min, b.s32min);
  } else {
    if (b.smax < a.smax) a.smax = b.smax;
    if (a.smin > b.smin) b.smin = a.smin;
  }
}

function signedLess(a: Bounds, b: Bounds, is32: boolean): void {
  if (is32) {
    a.s32max = Math.min(a.s32max, (b.s32max - 1) | 0);
    b.s32min = Math.max((a.s32min + 1) | 0, b.s32min);
  } else {
    const max = BigInt.asIntN(64, b.smax - 1n);
    const min = BigInt.asIntN(64, a.smin + 1n);
    if (max < a.smax) a.smax = max;
    if (min > b.smin) b.smin = min;
  }
}
