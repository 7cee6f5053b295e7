/**
 * Conditional jumps over two scalars: whether one is decided, and what each way teaches. Equal to Linux 6.18, with what
 * is left out since 6.8 by `older`; jump.ts chooses between these and older rules
 * (is_scalar_branch_taken, regs_refine_cond_op, reg_set_min_max). `op` is `code & 0xf0` of a BPF_JMP or BPF_JMP32
 * instruction; `is32` compares the low halves only. A constant operand is `constant(imm)`, sign-extended.
 */
import { older } from './deductions.ts';
import { Bounds, isConstWidth, type Scalar } from './scalar.ts';
import { meetS32, meetS64, meetU64, syncBounds } from './sync.ts';
import { Tnum, tnumAnd, tnumIntersect, tnumOr, tnumOverlap, tnumSubreg, tnumWithSubreg } from './tnum.ts';
import { slt, ult } from './wide.ts';

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
export function newestBranchTaken(left: Scalar, right: Scalar, op: number, is32: boolean): 1 | 0 | -1 {
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
      return greater(left, right, is32);
    case JLT:
      return greater(right, left, is32);
    case JGE:
      return atLeast(left, right, is32);
    case JLE:
      return atLeast(right, left, is32);
    case JSGT:
      return signedGreater(left, right, is32);
    case JSLT:
      return signedGreater(right, left, is32);
    case JSGE:
      return signedAtLeast(left, right, is32);
    case JSLE:
      return signedAtLeast(right, left, is32);
    default:
      return -1;
  }
}

function greater(a: Scalar, b: Scalar, is32: boolean): 1 | 0 | -1 {
  if (is32) {
    if (a.w32min >>> 0 > b.w32max >>> 0) return 1;
    return a.w32max >>> 0 <= b.w32min >>> 0 ? 0 : -1;
  }
  if (ult(b.umaxHi, b.umaxLo, a.uminHi, a.uminLo)) return 1;
  return ult(b.uminHi, b.uminLo, a.umaxHi, a.umaxLo) ? -1 : 0;
}

function signedGreater(a: Scalar, b: Scalar, is32: boolean): 1 | 0 | -1 {
  if (is32) {
    if (a.s32min > b.s32max) return 1;
    return a.s32max <= b.s32min ? 0 : -1;
  }
  if (slt(b.smaxHi, b.smaxLo, a.sminHi, a.sminLo)) return 1;
  return slt(b.sminHi, b.sminLo, a.smaxHi, a.smaxLo) ? -1 : 0;
}

function atLeast(a: Scalar, b: Scalar, is32: boolean): 1 | 0 | -1 {
  if (is32) {
    if (a.w32min >>> 0 >= b.w32max >>> 0) return 1;
    return a.w32max >>> 0 < b.w32min >>> 0 ? 0 : -1;
  }
  if (!ult(a.uminHi, a.uminLo, b.umaxHi, b.umaxLo)) return 1;
  return ult(a.umaxHi, a.umaxLo, b.uminHi, b.uminLo) ? 0 : -1;
}

function signedAtLeast(a: Scalar, b: Scalar, is32: boolean): 1 | 0 | -1 {
  if (is32) {
    if (a.s32min >= b.s32max) return 1;
    return a.s32max < b.s32min ? 0 : -1;
  }
  if (!slt(a.sminHi, a.sminLo, b.smaxHi, b.smaxLo)) return 1;
  return slt(a.smaxHi, a.smaxLo, b.sminHi, b.sminLo) ? 0 : -1;
}

function disjoint32(a: Scalar, b: Scalar): boolean {
  return (
    a.w32min >>> 0 > b.w32max >>> 0 ||
    a.w32max >>> 0 < b.w32min >>> 0 ||
    a.s32min > b.s32max ||
    a.s32max < b.s32min
  );
}

function disjoint64(a: Scalar, b: Scalar): boolean {
  return (
    ult(b.umaxHi, b.umaxLo, a.uminHi, a.uminLo) ||
    ult(a.umaxHi, a.umaxLo, b.uminHi, b.uminLo) ||
    slt(b.smaxHi, b.smaxLo, a.sminHi, a.sminLo) ||
    slt(a.smaxHi, a.smaxLo, b.sminHi, b.sminLo)
  );
}

/** Before 6.18 two numbers that differ in a known bit may be equal. */
function bitsDecide(): boolean {
  return older === null || older.bits_decide;
}

function equality(a: Scalar, b: Scalar, is32: boolean): 1 | 0 | -1 {
  const x = a.tnum;
  const y = b.tnum;
  if (is32) {
    if ((x.maskLo | y.maskLo) === 0) return x.valueLo === y.valueLo ? 1 : 0;
    if (((x.valueLo ^ y.valueLo) & ~(x.maskLo | y.maskLo)) !== 0 && bitsDecide()) return 0;
  } else {
    if ((x.maskLo | x.maskHi | y.maskLo | y.maskHi) === 0) {
      return x.valueLo === y.valueLo && x.valueHi === y.valueHi ? 1 : 0;
    }
    if ((!tnumOverlap(x, y) && bitsDecide()) || disjoint64(a, b)) return 0;
  }
  return disjoint32(a, b) ? 0 : -1;
}

function bitTest(a: Scalar, b: Scalar, is32: boolean): 1 | 0 | -1 {
  let { tnum: tested } = a;
  let { tnum: bits } = b;
  if (!isConstWidth(b, is32)) {
    tested = b.tnum;
    bits = a.tnum;
    if (!isConstWidth(a, is32)) return -1;
  }
  const hi = is32 ? 0 : bits.valueHi;
  const lo = bits.valueLo;
  if (((tested.valueHi & hi) | (tested.valueLo & lo)) !== 0) return 1;
  return ((tested.maskHi & hi) | (tested.maskLo & lo)) === 0 ? 0 : -1;
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
 * `right` are one register use `newestRefineSame`.
 */
export function newestRefine(left: Scalar, right: Scalar, op: number, is32: boolean): Refined {
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
export function newestRefineSame(
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
    a.w32min = b.w32min = a.w32min >>> 0 > b.w32min >>> 0 ? a.w32min : b.w32min;
    a.w32max = b.w32max = a.w32max >>> 0 < b.w32max >>> 0 ? a.w32max : b.w32max;
    meetS32(a, b.s32min, b.s32max);
    b.s32min = a.s32min;
    b.s32max = a.s32max;
    const low = tnumIntersect(tnumSubreg(a.tnum), tnumSubreg(b.tnum));
    a.tnum = tnumWithSubreg(a.tnum, low);
    b.tnum = tnumWithSubreg(b.tnum, low);
    return;
  }
  meetU64(a, b.uminHi, b.uminLo, b.umaxHi, b.umaxLo);
  b.setUmin(a.uminHi, a.uminLo);
  b.setUmax(a.umaxHi, a.umaxLo);
  meetS64(a, b.sminHi, b.sminLo, b.smaxHi, b.smaxLo);
  b.setSmin(a.sminHi, a.sminLo);
  b.setSmax(a.smaxHi, a.smaxLo);
  a.tnum = b.tnum = tnumIntersect(a.tnum, b.tnum);
}

/** Of two operands of which one is constant: the other one, and the constant's bits. Null where neither is constant. */
function refinable(a: Bounds, b: Bounds, is32: boolean): Bounds | null {
  if (isConstWidth(b, is32)) return a;
  return isConstWidth(a, is32) ? b : null;
}

/** Not equal to a constant: shrinks the bounds that are exactly that constant. */
function dropEdge(a: Bounds, b: Bounds, is32: boolean): void {
  const reg = refinable(a, b, is32);
  if (reg === null) return;
  const { valueHi: hi, valueLo: lo } = (reg === a ? b : a).tnum;
  if (is32) {
    if (reg.w32min === lo) reg.w32min = (lo + 1) | 0;
    if (reg.w32max === lo) reg.w32max = (lo - 1) | 0;
    if (reg.s32min === lo) reg.s32min = (lo + 1) | 0;
    if (reg.s32max === lo) reg.s32max = (lo - 1) | 0;
    return;
  }
  const aboveLo = (lo + 1) | 0;
  const aboveHi = (hi + (aboveLo === 0 ? 1 : 0)) | 0;
  const belowLo = (lo - 1) | 0;
  const belowHi = (hi - (lo === 0 ? 1 : 0)) | 0;
  if (reg.uminLo === lo && reg.uminHi === hi) reg.setUmin(aboveHi, aboveLo);
  if (reg.umaxLo === lo && reg.umaxHi === hi) reg.setUmax(belowHi, belowLo);
  if (reg.sminLo === lo && reg.sminHi === hi) reg.setSmin(aboveHi, aboveLo);
  if (reg.smaxLo === lo && reg.smaxHi === hi) reg.setSmax(belowHi, belowLo);
}

function isPowerOfTwo(hi: number, lo: number): boolean {
  if (hi === 0) return lo !== 0 && (lo & (lo - 1)) === 0;
  return lo === 0 && (hi & (hi - 1)) === 0;
}

/** Some bit of a constant is set: only a single bit tells which. */
function setBit(a: Bounds, b: Bounds, is32: boolean): void {
  const reg = refinable(a, b, is32);
  if (reg === null) return;
  const { valueHi, valueLo } = (reg === a ? b : a).tnum;
  const hi = is32 ? 0 : valueHi;
  if (!isPowerOfTwo(hi, valueLo)) return;
  const bit = new Tnum(hi, valueLo, 0, 0);
  reg.tnum = is32 ? tnumWithSubreg(reg.tnum, tnumOr(tnumSubreg(reg.tnum), bit)) : tnumOr(reg.tnum, bit);
}

/** No bit of a constant is set. The bounds are forgotten: on a dead way they could contradict the tnum. */
function clearBits(a: Bounds, b: Bounds, is32: boolean): void {
  const reg = refinable(a, b, is32);
  if (reg === null) return;
  const { valueHi, valueLo } = (reg === a ? b : a).tnum;
  reg.unbound64();
  reg.unbound32();
  const keep = new Tnum(is32 ? -1 : ~valueHi, ~valueLo, 0, 0);
  reg.tnum = is32 ? tnumWithSubreg(reg.tnum, tnumAnd(tnumSubreg(reg.tnum), keep)) : tnumAnd(reg.tnum, keep);
}

function lessOrEqual(a: Bounds, b: Bounds, is32: boolean): void {
  if (is32) {
    if (b.w32max >>> 0 < a.w32max >>> 0) a.w32max = b.w32max;
    if (a.w32min >>> 0 > b.w32min >>> 0) b.w32min = a.w32min;
  } else {
    if (ult(b.umaxHi, b.umaxLo, a.umaxHi, a.umaxLo)) a.setUmax(b.umaxHi, b.umaxLo);
    if (ult(b.uminHi, b.uminLo, a.uminHi, a.uminLo)) b.setUmin(a.uminHi, a.uminLo);
  }
}

function less(a: Bounds, b: Bounds, is32: boolean): void {
  if (is32) {
    const max = (b.w32max - 1) | 0;
    if (max >>> 0 < a.w32max >>> 0) a.w32max = max;
    const min = (a.w32min + 1) | 0;
    if (min >>> 0 > b.w32min >>> 0) b.w32min = min;
    return;
  }
  const maxLo = (b.umaxLo - 1) | 0;
  const maxHi = (b.umaxHi - (b.umaxLo === 0 ? 1 : 0)) | 0;
  const minLo = (a.uminLo + 1) | 0;
  const minHi = (a.uminHi + (minLo === 0 ? 1 : 0)) | 0;
  if (ult(maxHi, maxLo, a.umaxHi, a.umaxLo)) a.setUmax(maxHi, maxLo);
  if (ult(b.uminHi, b.uminLo, minHi, minLo)) b.setUmin(minHi, minLo);
}

function signedLessOrEqual(a: Bounds, b: Bounds, is32: boolean): void {
  if (is32) {
    if (b.s32max < a.s32max) a.s32max = b.s32max;
    if (a.s32min > b.s32min) b.s32min = a.s32min;
  } else {
    if (slt(b.smaxHi, b.smaxLo, a.smaxHi, a.smaxLo)) a.setSmax(b.smaxHi, b.smaxLo);
    if (slt(b.sminHi, b.sminLo, a.sminHi, a.sminLo)) b.setSmin(a.sminHi, a.sminLo);
  }
}

function signedLess(a: Bounds, b: Bounds, is32: boolean): void {
  if (is32) {
    const max = (b.s32max - 1) | 0;
    if (max < a.s32max) a.s32max = max;
    const min = (a.s32min + 1) | 0;
    if (min > b.s32min) b.s32min = min;
    return;
  }
  const maxLo = (b.smaxLo - 1) | 0;
  const maxHi = (b.smaxHi - (b.smaxLo === 0 ? 1 : 0)) | 0;
  const minLo = (a.sminLo + 1) | 0;
  const minHi = (a.sminHi + (minLo === 0 ? 1 : 0)) | 0;
  if (slt(maxHi, maxLo, a.smaxHi, a.smaxLo)) a.setSmax(maxHi, maxLo);
  if (slt(b.sminHi, b.sminLo, minHi, minLo)) b.setSmin(minHi, minLo);
}
