/**
 * Conditional jumps before 6.8: one operand has to be known. A comparison of 64 bits forgets the 32-bit bounds and takes
 * those that the 64-bit ones imply; one of 32 bits forgets the 64-bit bounds unless the upper half is zero. Before
 * 5.7 there are no 32-bit bounds, and comparisons of 32 bits look at the low half of the 64-bit ones.
 */
import { flipJump, newestBranchTaken, type Refined } from './branch.ts';
import type { Deductions } from './deductions.ts';
import { coerceToSize } from './narrow.ts';
import { syncAfterJump } from './older-sync.ts';
import { Bounds, constantOf, isConst, isConstWidth, S32_MAX, S32_MIN, type Scalar } from './scalar.ts';
import { meetS32, meetS64, meetU64, syncBounds, zextInPlace } from './sync.ts';
import {
  Tnum,
  tnumAnd,
  tnumConstSubreg,
  tnumIntersect,
  tnumOfRange,
  tnumOr,
  tnumSubreg,
  tnumWithSubreg,
} from './tnum.ts';
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

/** The known number of a comparison of that width. */
function known(s: Scalar, is32: boolean): Scalar {
  return is32 ? constantOf(0, s.tnum.valueLo) : constantOf(s.tnum.valueHi, s.tnum.valueLo);
}

/** Whether a jump is decided, as `isBranchTaken`. */
export function olderBranchTaken(
  left: Scalar,
  right: Scalar,
  op: number,
  is32: boolean,
  d: Deductions,
): 1 | 0 | -1 {
  // Before 5.7 a register with a known low half, but not upper half, decides nothing.
  if (isConstWidth(right, is32 && d.bounds_of_halves)) return decide(left, known(right, is32), op, is32, d);
  if (d.equality_by_range && isConstWidth(left, is32)) {
    return decide(right, known(left, is32), flipJump(op), is32, d);
  }
  return -1;
}

function decide(reg: Scalar, value: Scalar, op: number, is32: boolean, d: Deductions): 1 | 0 | -1 {
  if (!d.bounds_of_halves) return decideWithoutHalves(reg, value, op, is32);
  if (op !== JEQ && op !== JNE) return newestBranchTaken(reg, value, op, is32);
  const equal = isEqual(reg, value, is32, d);
  if (equal < 0 || op === JEQ) return equal;
  return equal === 0 ? 1 : 0;
}

function isEqual(reg: Scalar, value: Scalar, is32: boolean, d: Deductions): 1 | 0 | -1 {
  const { valueHi, valueLo } = value.tnum;
  if (isConstWidth(reg, is32)) {
    return reg.tnum.valueLo === valueLo && (is32 || reg.tnum.valueHi === valueHi) ? 1 : 0;
  }
  if (!d.equality_by_range) return -1;
  const outside = is32
    ? valueLo >>> 0 < reg.w32min >>> 0 || valueLo >>> 0 > reg.w32max >>> 0
    : ult(valueHi, valueLo, reg.uminHi, reg.uminLo) || ult(reg.umaxHi, reg.umaxLo, valueHi, valueLo);
  return outside ? 0 : -1;
}

function decideWithoutHalves(reg: Scalar, value: Scalar, op: number, is32: boolean): 1 | 0 | -1 {
  const low = is32 ? lowHalfOf(reg) : reg;
  if (op === JEQ || op === JNE) {
    if (!isConstWidth(low, is32)) return -1;
    const { tnum } = value;
    const equal = low.tnum.valueLo === tnum.valueLo && (is32 || low.tnum.valueHi === tnum.valueHi);
    return equal === (op === JEQ) ? 1 : 0;
  }
  const taken = newestBranchTaken(low, value, op, is32);
  // A maximum that equals the number decided nothing yet.
  if (op === JSGT && taken === 0) return newestBranchTaken(low, value, JSLT, is32) === 1 ? 0 : -1;
  return taken;
}

/** The low half with 32-bit bounds that its unsigned range gives. */
function lowHalfOf(s: Scalar): Scalar {
  const low = new Bounds(coerceToSize(s, 4));
  low.w32min = low.uminLo;
  low.w32max = low.umaxLo;
  low.unboundSigned32();
  if ((low.uminLo ^ low.umaxLo) >= 0) {
    low.s32min = low.uminLo;
    low.s32max = low.umaxLo;
  }
  return low;
}

/** What both ways teach, as `refineBranch`. */
export function olderRefine(left: Scalar, right: Scalar, op: number, is32: boolean, d: Deductions): Refined {
  const unchanged = { trueLeft: left, trueRight: right, falseLeft: left, falseRight: right };
  if (isConst(right) || isConstWidth(right, is32)) {
    const [whenTrue, whenFalse] = compared(left, known(right, is32), op, is32, d);
    return { ...unchanged, trueLeft: whenTrue, falseLeft: whenFalse };
  }
  if (isConst(left) || isConstWidth(left, is32)) {
    const [whenTrue, whenFalse] = compared(right, known(left, is32), flipJump(op), is32, d);
    return { ...unchanged, trueRight: whenTrue, falseRight: whenFalse };
  }
  if (is32 || (op !== JEQ && op !== JNE)) return unchanged;
  const [a, b] = equalNumbers(left, right);
  return op === JEQ
    ? { ...unchanged, trueLeft: a, trueRight: b }
    : { ...unchanged, falseLeft: a, falseRight: b };
}

/** `if rX == rX`: of another comparison nothing is learnt. */
export function olderRefineSame(
  reg: Scalar,
  op: number,
  is32: boolean,
): { readonly whenTrue: Scalar; readonly whenFalse: Scalar } {
  if (is32 || (op !== JEQ && op !== JNE)) return { whenTrue: reg, whenFalse: reg };
  const equal = new Bounds(reg);
  syncBounds(equal);
  return op === JEQ ? { whenTrue: equal, whenFalse: reg } : { whenTrue: reg, whenFalse: equal };
}

function equalNumbers(left: Scalar, right: Scalar): readonly [Scalar, Scalar] {
  const a = new Bounds(left);
  const b = new Bounds(right);
  meetU64(a, b.uminHi, b.uminLo, b.umaxHi, b.umaxLo);
  meetS64(a, b.sminHi, b.sminLo, b.smaxHi, b.smaxLo);
  b.setUmin(a.uminHi, a.uminLo);
  b.setUmax(a.umaxHi, a.umaxLo);
  b.setSmin(a.sminHi, a.sminLo);
  b.setSmax(a.smaxHi, a.smaxLo);
  a.tnum = b.tnum = tnumIntersect(a.tnum, b.tnum);
  syncBounds(a);
  syncBounds(b);
  return [a, b];
}

/** A register after a comparison with a known number: where it holds and where it does not. */
function compared(
  reg: Scalar,
  value: Scalar,
  op: number,
  is32: boolean,
  d: Deductions,
): readonly [Scalar, Scalar] {
  const whenTrue = new Bounds(reg);
  const whenFalse = new Bounds(reg);
  const { valueHi: hi, valueLo: lo } = value.tnum;
  const narrow = d.bounds_of_halves ? (is32 ? narrow32 : narrow64) : is32 ? narrowLow : narrow64;
  narrow(op, whenTrue, hi, lo);
  narrow(NEGATED[op] ?? 0, whenFalse, hi, lo);
  for (const b of [whenTrue, whenFalse]) {
    if (!d.bounds_of_halves) syncAfterJump(b, d);
    else if (is32) widen(b);
    else lower(b);
  }
  return [whenTrue, whenFalse];
}

const NOT_SET = JSET | 0x08;

const NEGATED: Readonly<Record<number, number>> = {
  [JEQ]: JNE,
  [JNE]: JEQ,
  [JSET]: NOT_SET,
  [JGT]: JLE,
  [JGE]: JLT,
  [JLT]: JGE,
  [JLE]: JGT,
  [JSGT]: JSLE,
  [JSGE]: JSLT,
  [JSLT]: JSGE,
  [JSLE]: JSGT,
};

/** 32-bit bounds that 64-bit ones give (Linux: __reg_combine_64_into_32). */
function lower(b: Bounds): void {
  b.unbound32();
  if (b.sminHi === b.sminLo >> 31 && b.smaxHi === b.smaxLo >> 31) {
    b.s32min = b.sminLo;
    b.s32max = b.smaxLo;
  }
  if ((b.uminHi | b.umaxHi) === 0) {
    b.w32min = b.uminLo;
    b.w32max = b.umaxLo;
  }
  syncBounds(b);
}

/** 64-bit bounds that 32-bit ones give (Linux: __reg_combine_32_into_64). */
function widen(b: Bounds): void {
  if ((b.tnum.valueHi | b.tnum.maskHi) === 0) zextInPlace(b);
  else b.unbound64();
  syncBounds(b);
}

function isPowerOfTwo(hi: number, lo: number): boolean {
  if (hi === 0) return lo !== 0 && (lo & (lo - 1)) === 0;
  return lo === 0 && (hi & (hi - 1)) === 0;
}

/** The bound that a comparison with `hi:lo` sets: that number or the next one. */
let nearHi = 0;
let nearLo = 0;

function boundOf(op: number, hi: number, lo: number): void {
  nearHi = hi;
  nearLo = lo;
  if (op === JGT || op === JSGT) {
    nearLo = (lo + 1) | 0;
    nearHi = (hi + (nearLo === 0 ? 1 : 0)) | 0;
  } else if (op === JLT || op === JSLT) {
    nearLo = (lo - 1) | 0;
    nearHi = (hi - (lo === 0 ? 1 : 0)) | 0;
  }
}

function narrow64(op: number, b: Bounds, hi: number, lo: number): void {
  boundOf(op, hi, lo);
  switch (op) {
    case JEQ:
      b.setConstant(hi, lo);
      break;
    case JSET:
      if (isPowerOfTwo(hi, lo)) b.tnum = tnumOr(b.tnum, new Tnum(hi, lo, 0, 0));
      break;
    case NOT_SET:
      b.unbound64();
      b.unbound32();
      b.tnum = tnumAnd(b.tnum, new Tnum(~hi, ~lo, 0, 0));
      break;
    case JGT:
    case JGE:
      if (ult(b.uminHi, b.uminLo, nearHi, nearLo)) b.setUmin(nearHi, nearLo);
      break;
    case JLT:
    case JLE:
      if (ult(nearHi, nearLo, b.umaxHi, b.umaxLo)) b.setUmax(nearHi, nearLo);
      break;
    case JSGT:
    case JSGE:
      if (slt(b.sminHi, b.sminLo, nearHi, nearLo)) b.setSmin(nearHi, nearLo);
      break;
    case JSLT:
    case JSLE:
      if (slt(nearHi, nearLo, b.smaxHi, b.smaxLo)) b.setSmax(nearHi, nearLo);
      break;
  }
}

function narrow32(op: number, b: Bounds, _hi: number, lo: number): void {
  switch (op) {
    case JEQ:
      b.setConstant32(lo);
      b.tnum = tnumConstSubreg(b.tnum, lo);
      break;
    case JSET:
      if (isPowerOfTwo(0, lo)) {
        b.tnum = tnumWithSubreg(b.tnum, tnumOr(tnumSubreg(b.tnum), new Tnum(0, lo, 0, 0)));
      }
      break;
    case NOT_SET:
      b.unbound64();
      b.unbound32();
      b.tnum = tnumWithSubreg(b.tnum, tnumAnd(tnumSubreg(b.tnum), new Tnum(0, ~lo, 0, 0)));
      break;
    case JGT:
    case JGE: {
      const min = op === JGT ? (lo + 1) | 0 : lo;
      if (min >>> 0 > b.w32min >>> 0) b.w32min = min;
      break;
    }
    case JLT:
    case JLE: {
      const max = op === JLT ? (lo - 1) | 0 : lo;
      if (max >>> 0 < b.w32max >>> 0) b.w32max = max;
      break;
    }
    case JSGT:
    case JSGE:
      meetS32(b, op === JSGT ? (lo + 1) | 0 : lo, S32_MAX);
      break;
    case JSLT:
    case JSLE:
      meetS32(b, S32_MIN, op === JSLT ? (lo - 1) | 0 : lo);
      break;
  }
}

/** Whether a 32-bit comparison with `lo` says the same of the signed 64-bit bounds. */
function signsAgree(b: Bounds, lo: number): boolean {
  if (lo >= 0) return b.sminHi >= 0 && b.smaxHi === 0 && b.smaxLo >= 0;
  return (b.smaxHi < 0 || (b.smaxHi | b.smaxLo) === 0) && b.sminHi === -1 && b.sminLo < 0;
}

/** A comparison of 32 bits before 5.7. */
function narrowLow(op: number, b: Bounds, _hi: number, lo: number): void {
  switch (op) {
    case JEQ:
      b.tnum = tnumConstSubreg(b.tnum, lo);
      break;
    case JSET:
      if (isPowerOfTwo(0, lo)) b.tnum = tnumOr(b.tnum, new Tnum(0, lo, 0, 0));
      break;
    case NOT_SET:
      b.tnum = tnumAnd(b.tnum, new Tnum(-1, ~lo, 0, 0));
      break;
    case JGT:
    case JGE:
      if (op === JGE || lo !== -1) atLeastLow(b, op === JGT ? (lo + 1) | 0 : lo);
      break;
    case JLT:
    case JLE:
      if (op === JLE || lo !== 0) atMostLow(b, op === JLT ? (lo - 1) | 0 : lo);
      break;
    case JSGT:
    case JSGE:
    case JSLT:
    case JSLE:
      if (signsAgree(b, lo)) narrow64(op, b, lo >> 31, lo);
      break;
  }
}

function withLowRange(b: Bounds, min: number, max: number): void {
  const low = tnumOfRange(0, min, 0, max);
  b.tnum = tnumIntersect(b.tnum, new Tnum(0, low.valueLo, -1, low.maskLo));
}

function atLeastLow(b: Bounds, min: number): void {
  withLowRange(b, min, -1);
  const hi = b.tnum.valueHi;
  if (ult(b.uminHi, b.uminLo, hi, min)) b.setUmin(hi, min);
}

function atMostLow(b: Bounds, max: number): void {
  withLowRange(b, 0, max);
  const hi = b.tnum.valueHi | b.tnum.maskHi;
  if (ult(hi, max, b.umaxHi, b.umaxLo)) b.setUmax(hi, max);
}
