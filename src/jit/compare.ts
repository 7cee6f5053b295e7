/** Conditions of jumps (RFC 9669 section 4.3): pushes an i32 that is not 0 where the jump is taken, or is not, if inverted. */
import { CLASS, insnClass, insnOp, insnSource, JMP_OP, SOURCE } from '../asm/opcodes.ts';
import type { Insn } from '../contracts/insn.ts';
import { BpfError } from '../util/errors.ts';
import type { FunctionContext } from './context.ts';
import { OP } from './wasm/index.ts';

interface Comparison {
  readonly wide: number;
  readonly narrow: number;
  /** `narrow` for numbers that are not negative as 64-bit ones. */
  readonly unsigned: number;
  readonly inverse: number;
}

const COMPARISONS: Readonly<Record<number, Comparison>> = {
  [JMP_OP.JEQ]: { wide: OP.i64Eq, narrow: OP.i32Eq, unsigned: OP.i32Eq, inverse: JMP_OP.JNE },
  [JMP_OP.JNE]: { wide: OP.i64Ne, narrow: OP.i32Ne, unsigned: OP.i32Ne, inverse: JMP_OP.JEQ },
  [JMP_OP.JGT]: { wide: OP.i64GtU, narrow: OP.i32GtU, unsigned: OP.i32GtU, inverse: JMP_OP.JLE },
  [JMP_OP.JGE]: { wide: OP.i64GeU, narrow: OP.i32GeU, unsigned: OP.i32GeU, inverse: JMP_OP.JLT },
  [JMP_OP.JLT]: { wide: OP.i64LtU, narrow: OP.i32LtU, unsigned: OP.i32LtU, inverse: JMP_OP.JGE },
  [JMP_OP.JLE]: { wide: OP.i64LeU, narrow: OP.i32LeU, unsigned: OP.i32LeU, inverse: JMP_OP.JGT },
  [JMP_OP.JSGT]: { wide: OP.i64GtS, narrow: OP.i32GtS, unsigned: OP.i32GtU, inverse: JMP_OP.JSLE },
  [JMP_OP.JSGE]: { wide: OP.i64GeS, narrow: OP.i32GeS, unsigned: OP.i32GeU, inverse: JMP_OP.JSLT },
  [JMP_OP.JSLT]: { wide: OP.i64LtS, narrow: OP.i32LtS, unsigned: OP.i32LtU, inverse: JMP_OP.JSGE },
  [JMP_OP.JSLE]: { wide: OP.i64LeS, narrow: OP.i32LeS, unsigned: OP.i32LeU, inverse: JMP_OP.JSGT },
};

export function emitCondition(f: FunctionContext, insn: Insn, inverted: boolean, at: number): void {
  const { w } = f;
  const asked = insnClass(insn.code) === CLASS.JMP;
  // Of numbers below 2^32, and of pointers with NULL, the low halves tell: as unsigned numbers, since none is negative in 64 bits.
  const low = asked && f.forms.comparesLow(at);
  const wide = asked && !low;
  const op = insnOp(insn.code);
  const immediate = insnSource(insn.code) === SOURCE.K;
  if (op === JMP_OP.JSET) {
    pushBoth(f, insn, wide);
    w.op(wide ? OP.i64And : OP.i32And);
    truth(f, wide, !inverted);
    return;
  }
  const comparison = COMPARISONS[op];
  if (comparison === undefined) {
    throw new BpfError('EOPNOTSUPP', `jit: no translation of jump 0x${insn.code.toString(16)} at ${at}`);
  }
  const effective = inverted ? comparison.inverse : op;
  if (immediate && insn.imm === 0 && (effective === JMP_OP.JEQ || effective === JMP_OP.JNE)) {
    if (wide && insn.dst === 0 && f.nullTest >= 0) {
      w.get(f.nullTest);
      if (effective === JMP_OP.JEQ) w.op(OP.i32Eqz);
      return;
    }
    push(f, insn.dst, wide);
    truth(f, wide, effective === JMP_OP.JNE);
    return;
  }
  pushBoth(f, insn, wide);
  const chosen = COMPARISONS[effective]!;
  w.op(wide ? chosen.wide : low ? chosen.unsigned : chosen.narrow);
}

function push(f: FunctionContext, register: number, wide: boolean): void {
  if (wide) f.get(register);
  else f.getLow(register);
}

function pushBoth(f: FunctionContext, insn: Insn, wide: boolean): void {
  push(f, insn.dst, wide);
  if (insnSource(insn.code) === SOURCE.X) push(f, insn.src, wide);
  else if (wide) f.w.i64(insn.imm);
  else f.w.i32(insn.imm);
}

/** Turns the number on the stack into the condition "is not 0", or "is 0". */
function truth(f: FunctionContext, wide: boolean, notZero: boolean): void {
  if (!notZero) f.w.op(wide ? OP.i64Eqz : OP.i32Eqz);
  else if (wide) {
    f.w.i64(0);
    f.w.op(OP.i64Ne);
  }
}
