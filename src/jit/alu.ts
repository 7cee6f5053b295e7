/** Arithmetic (RFC 9669 section 4.1 and 4.2): 32- and 64-bit operations, sign-extending moves, byte swaps. */
import { ALU_OP, CLASS, insnClass, insnOp, insnSource, SOURCE } from '../asm/opcodes.ts';
import type { Insn } from '../contracts/insn.ts';
import { BpfError } from '../util/errors.ts';
import type { FunctionContext } from './context.ts';
import { KNOWN } from './known.ts';
import { OP, TYPE } from './wasm/index.ts';

/** Operations that are one Wasm instruction: BPF operation → [64-bit, 32-bit]. */
const PLAIN: Readonly<Record<number, readonly [number, number]>> = {
  [ALU_OP.ADD]: [OP.i64Add, OP.i32Add],
  [ALU_OP.SUB]: [OP.i64Sub, OP.i32Sub],
  [ALU_OP.MUL]: [OP.i64Mul, OP.i32Mul],
  [ALU_OP.OR]: [OP.i64Or, OP.i32Or],
  [ALU_OP.AND]: [OP.i64And, OP.i32And],
  [ALU_OP.LSH]: [OP.i64Shl, OP.i32Shl],
  [ALU_OP.RSH]: [OP.i64ShrU, OP.i32ShrU],
  [ALU_OP.XOR]: [OP.i64Xor, OP.i32Xor],
  [ALU_OP.ARSH]: [OP.i64ShrS, OP.i32ShrS],
};

/** The instructions of one width, so that division is written once. */
interface Width {
  readonly type: typeof TYPE.i32 | typeof TYPE.i64;
  readonly add: number;
  readonly sub: number;
  readonly and: number;
  readonly shrU: number;
  readonly ltU: number;
  readonly eqz: number;
  readonly divU: number;
  readonly divS: number;
  readonly remU: number;
  readonly remS: number;
}

const W64: Width = {
  type: TYPE.i64,
  add: OP.i64Add,
  sub: OP.i64Sub,
  and: OP.i64And,
  shrU: OP.i64ShrU,
  ltU: OP.i64LtU,
  eqz: OP.i64Eqz,
  divU: OP.i64DivU,
  divS: OP.i64DivS,
  remU: OP.i64RemU,
  remS: OP.i64RemS,
};
const W32: Width = {
  type: TYPE.i32,
  add: OP.i32Add,
  sub: OP.i32Sub,
  and: OP.i32And,
  shrU: OP.i32ShrU,
  ltU: OP.i32LtU,
  eqz: OP.i32Eqz,
  divU: OP.i32DivU,
  divS: OP.i32DivS,
  remU: OP.i32RemU,
  remS: OP.i32RemS,
};

/** Emits one arithmetic instruction. `following` is the next one of the same block; gives how many were consumed. */
export function emitAlu(f: FunctionContext, insn: Insn, following: Insn | undefined, at: number): number {
  const wide = insnClass(insn.code) === CLASS.ALU64;
  const op = insnOp(insn.code);
  if (op === ALU_OP.MOV) emitMove(f, insn, wide, at);
  else if (op === ALU_OP.END) emitSwap(f, insn, wide);
  else if (wide && isZeroExtension(insn, following)) {
    // r <<= 32; r >>= 32: how code for CPUs without 32-bit arithmetic drops or extends the upper half.
    f.getLow(insn.dst);
    f.at++;
    if (insnOp(following!.code) === ALU_OP.RSH) finishLow(f, insn.dst);
    else {
      f.w.op(OP.i64ExtendI32S);
      finish(f, insn.dst);
    }
    return 2;
  } else if (op === ALU_OP.NEG) emitNegate(f, insn.dst, wide);
  else if (op === ALU_OP.DIV || op === ALU_OP.MOD) emitDivision(f, insn, wide);
  else emitPlain(f, insn, wide, at);
  return 1;
}

function finish(f: FunctionContext, dst: number): void {
  f.set(dst);
  f.known.forget(dst);
}

/** As `finish`, for the low half of a result whose upper half is zero, or nobody's concern. */
function finishLow(f: FunctionContext, dst: number): void {
  f.setLow(dst);
  f.known.forget(dst);
}

function isZeroExtension(insn: Insn, next: Insn | undefined): boolean {
  return (
    insn.code === (CLASS.ALU64 | ALU_OP.LSH) &&
    insn.imm === 32 &&
    next !== undefined &&
    next.dst === insn.dst &&
    next.imm === 32 &&
    (next.code === (CLASS.ALU64 | ALU_OP.RSH) || next.code === (CLASS.ALU64 | ALU_OP.ARSH))
  );
}

/** Pushes the second operand: a register, or the sign-extended immediate. */
function operand(f: FunctionContext, insn: Insn, wide: boolean): void {
  if (insnSource(insn.code) === SOURCE.X) {
    if (wide) f.get(insn.src);
    else f.getLow(insn.src);
  } else if (wide) f.w.i64(insn.imm);
  else f.w.i32(insn.imm);
}

function unknownInsn(insn: Insn, at: number): BpfError {
  return new BpfError(
    'EOPNOTSUPP',
    `jit: no translation of instruction ${at}: code 0x${insn.code.toString(16)}, off ${insn.off}, imm ${insn.imm}`,
  );
}

function emitMove(f: FunctionContext, insn: Insn, wide: boolean, at: number): void {
  const { w, known } = f;
  const { dst, src, off, imm } = insn;
  if (insnSource(insn.code) === SOURCE.K) {
    if (!wide || f.definesNarrow()) {
      w.i32(imm);
      f.setLow(dst);
    } else {
      w.i64(imm);
      f.set(dst);
    }
    known.set(dst, KNOWN.constant, imm, wide ? imm >> 31 : 0);
    return;
  }
  if (off === 0 && wide) {
    if (f.definesNarrow()) {
      f.getLow(src);
      f.setLow(dst);
    } else {
      f.get(src);
      f.set(dst);
    }
    known.copy(dst, src);
    return;
  }
  if (off === 0) {
    f.getLow(src);
    const constant = src !== 10 && known.kind[src] === KNOWN.constant;
    f.setLow(dst);
    if (constant) known.set(dst, KNOWN.constant, known.low[src]!, 0);
    else known.forget(dst);
    return;
  }
  if (off !== 8 && off !== 16 && !(off === 32 && wide)) throw unknownInsn(insn, at);
  if (wide) {
    f.getLow(src);
    if (off !== 32) w.op(off === 8 ? OP.i32Extend8S : OP.i32Extend16S);
    w.op(OP.i64ExtendI32S);
    finish(f, dst);
    return;
  }
  f.getLow(src);
  w.op(off === 8 ? OP.i32Extend8S : OP.i32Extend16S);
  finishLow(f, dst);
}

function emitPlain(f: FunctionContext, insn: Insn, wide: boolean, at: number): void {
  const { w, known } = f;
  const { dst, imm } = insn;
  const op = insnOp(insn.code);
  const plain = PLAIN[op];
  if (plain === undefined) throw unknownInsn(insn, at);
  const immediate = insnSource(insn.code) === SOURCE.K;
  if (wide && immediate && known.kind[dst] === KNOWN.frame && (op === ALU_OP.ADD || op === ALU_OP.SUB)) {
    const offset = known.low[dst]! + (op === ALU_OP.ADD ? imm : -imm);
    // Places far from the frame are nobody's, and must not wrap into a sound-looking offset.
    if (Math.abs(offset) < 0x1_0000) {
      if (f.definesNarrow()) {
        f.frameOffset(offset);
        f.setLow(dst);
      } else {
        f.frameAddress(offset);
        f.set(dst);
      }
      known.set(dst, KNOWN.frame, offset);
      return;
    }
  }
  const low = !wide || (f.definesNarrow() && dependsOnLow(f, insn));
  if (low) {
    f.getLow(dst);
    operand(f, insn, false);
    w.op(plain[1]);
  } else {
    f.get(dst);
    operand(f, insn, true);
    w.op(plain[0]);
  }
  if (immediate && known.kind[dst] === KNOWN.constant && op === ALU_OP.ADD) {
    const sum = (known.low[dst]! + imm) | 0;
    const carry = known.low[dst]! >>> 0 > 0xffff_ffff - (imm >>> 0) ? 1 : 0;
    const high = wide ? (known.high[dst]! + (imm >> 31) + carry) | 0 : 0;
    if (low) f.setLow(dst);
    else f.set(dst);
    known.set(dst, KNOWN.constant, sum, high);
    return;
  }
  if (low) finishLow(f, dst);
  else finish(f, dst);
}

/** Whether the low half of a 64-bit result is what the 32-bit operation makes of the low halves. */
function dependsOnLow(f: FunctionContext, insn: Insn): boolean {
  const immediate = insnSource(insn.code) === SOURCE.K;
  switch (insnOp(insn.code)) {
    case ALU_OP.LSH:
      return immediate && (insn.imm & 63) < 32;
    case ALU_OP.RSH:
    case ALU_OP.ARSH:
      // Of a number below 2^32 no sign comes down; a 32-bit ARSH would see one.
      return (
        immediate && (insn.imm & 63) < 32 && insnOp(insn.code) === ALU_OP.RSH && f.isZeroExtended(insn.dst)
      );
    default:
      return true;
  }
}

function emitNegate(f: FunctionContext, dst: number, wide: boolean): void {
  const { w } = f;
  if (wide && !f.definesNarrow()) {
    w.i64(0);
    f.get(dst);
    w.op(OP.i64Sub);
    finish(f, dst);
  } else {
    w.i32(0);
    f.getLow(dst);
    w.op(OP.i32Sub);
    finishLow(f, dst);
  }
}

/** Unsigned division by zero gives 0, remainder by zero the dividend; MIN / -1 is MIN, MIN % -1 is 0 (section 4.1). */
function emitDivision(f: FunctionContext, insn: Insn, asked: boolean): void {
  const { w } = f;
  const wide = asked && !dividesLow(f, insn);
  const width = wide ? W64 : W32;
  const signed = insn.off === 1;
  const isDiv = insnOp(insn.code) === ALU_OP.DIV;
  const dividend = () => (wide ? f.get(insn.dst) : f.getLow(insn.dst));
  const number = (value: number) => (wide ? w.i64(value) : w.i32(value));
  if (insnSource(insn.code) === SOURCE.K)
    divideByConstant(f, insn.imm, width, signed, isDiv, dividend, number);
  else {
    const divisor = () => operand(f, insn, wide);
    divisor();
    if (isDiv && signed) {
      // -1 and 0 are those whose successor is 1 or 0: their quotients -dividend and 0 are -(dividend & divisor).
      number(1);
      w.op(width.add);
      number(2);
      w.op(width.ltU);
      w.block(OP.if, width.type);
      number(0);
      dividend();
      divisor();
      w.op(width.and);
      w.op(width.sub);
    } else {
      w.op(width.eqz);
      w.block(OP.if, width.type);
      if (isDiv) number(0);
      else dividend();
    }
    w.op(OP.else);
    dividend();
    divisor();
    w.op(isDiv ? (signed ? width.divS : width.divU) : signed ? width.remS : width.remU);
    w.op(OP.end);
  }
  if (wide) finish(f, insn.dst);
  else finishLow(f, insn.dst);
}

/** Whether a 64-bit division is one of numbers below 2^32. */
function dividesLow(f: FunctionContext, insn: Insn): boolean {
  if (insn.off !== 0 || !f.isZeroExtended(insn.dst)) return false;
  return insnSource(insn.code) === SOURCE.K ? insn.imm >= 0 : f.isZeroExtended(insn.src);
}

function divideByConstant(
  f: FunctionContext,
  imm: number,
  width: Width,
  signed: boolean,
  isDiv: boolean,
  dividend: () => void,
  number: (value: number) => void,
): void {
  const { w } = f;
  if (imm === 0) {
    if (isDiv) number(0);
    else dividend();
  } else if (imm === -1 && signed) {
    number(0);
    if (!isDiv) return;
    dividend();
    w.op(width.sub);
  } else if (!signed && imm > 0 && (imm & (imm - 1)) === 0) {
    dividend();
    number(isDiv ? 31 - Math.clz32(imm) : imm - 1);
    w.op(isDiv ? width.shrU : width.and);
  } else {
    dividend();
    number(imm);
    w.op(isDiv ? (signed ? width.divS : width.divU) : signed ? width.remS : width.remU);
  }
}

/** le, be (32-bit class) and bswap (64-bit class) of 16, 32 or 64 bits; the result is zero-extended. */
function emitSwap(f: FunctionContext, insn: Insn, wide: boolean): void {
  const { w } = f;
  const { dst, imm } = insn;
  const swaps = wide || insnSource(insn.code) === SOURCE.X;
  if (imm === 64) {
    if (swaps) swap64(f, dst);
    else f.get(dst);
    finish(f, dst);
    return;
  }
  f.getLow(dst);
  if (!swaps) {
    if (imm === 16) {
      w.i32(0xffff);
      w.op(OP.i32And);
    }
  } else if (imm === 16) {
    w.i32(8);
    w.op(OP.i32Shl);
    w.i32(0xff00);
    w.op(OP.i32And);
    f.getLow(dst);
    w.i32(8);
    w.op(OP.i32ShrU);
    w.i32(0xff);
    w.op(OP.i32And);
    w.op(OP.i32Or);
  } else {
    w.i32(8);
    w.op(OP.i32Rotl);
    w.i32(0x00ff_00ff);
    w.op(OP.i32And);
    f.getLow(dst);
    w.i32(8);
    w.op(OP.i32Rotr);
    w.i32(0xff00_ff00 | 0);
    w.op(OP.i32And);
    w.op(OP.i32Or);
  }
  finishLow(f, dst);
}

/** Bytes in pairs, pairs in words, then both words. */
function swap64(f: FunctionContext, dst: number): void {
  const { w } = f;
  const t = f.scratch('swap', TYPE.i64);
  f.get(dst);
  w.set(t);
  for (const [shift, mask] of [
    [8, 0x00ff_00ff],
    [16, 0x0000_ffff],
  ] as const) {
    w.get(t);
    w.i64(shift);
    w.op(OP.i64ShrU);
    w.i64Halves(mask, mask);
    w.op(OP.i64And);
    w.get(t);
    w.i64Halves(mask, mask);
    w.op(OP.i64And);
    w.i64(shift);
    w.op(OP.i64Shl);
    w.op(OP.i64Or);
    if (shift === 8) w.set(t);
  }
  w.i64(32);
  w.op(OP.i64Rotl);
}
