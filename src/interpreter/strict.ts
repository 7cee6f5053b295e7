/**
 * Strict programs: which registers each instruction reads and writes. A read of one that nothing was written to since the frame
 * began, or since a call that leaves it undefined, is a fault (`uninitialised`).
 */
import { ALU_OP, ATOMIC, CLASS, insnClass, insnMode, insnOp, JMP_OP, MODE, SOURCE } from '../asm/opcodes.ts';
import type { ExecutableProgram } from '../contracts/engine.ts';
import type { Insn } from '../contracts/insn.ts';

/** Registers that an instruction reads and writes, as bit sets; what calls do to them the loop knows. */
export function usage(insn: Insn): { reads: number; writes: number } {
  const { code } = insn;
  const dst = 1 << insn.dst;
  const src = 1 << insn.src;
  const register = (code & SOURCE.X) !== 0;
  switch (insnClass(code)) {
    case CLASS.ALU:
    case CLASS.ALU64: {
      const op = insnOp(code);
      const second = register && op !== ALU_OP.END ? src : 0;
      return { reads: op === ALU_OP.MOV ? second : second | dst, writes: dst };
    }
    case CLASS.JMP:
    case CLASS.JMP32: {
      const op = insnOp(code);
      if (op === JMP_OP.EXIT) return { reads: 1, writes: 0 };
      if (op === JMP_OP.JA || op === JMP_OP.CALL) return { reads: 0, writes: 0 };
      return { reads: register ? dst | src : dst, writes: 0 };
    }
    case CLASS.LDX:
      return { reads: src, writes: dst };
    case CLASS.ST:
      return { reads: insnMode(code) === MODE.NOSPEC ? 0 : dst, writes: 0 };
    case CLASS.STX:
      if (insnMode(code) !== MODE.ATOMIC || insn.imm === ATOMIC.STORE_REL)
        return { reads: dst | src, writes: 0 };
      if (insn.imm === ATOMIC.LOAD_ACQ) return { reads: src, writes: dst };
      if (insn.imm === ATOMIC.CMPXCHG) return { reads: dst | src | 1, writes: 1 };
      return { reads: dst | src, writes: (insn.imm & ATOMIC.FETCH) !== 0 ? src : 0 };
    default:
      return { reads: 0, writes: dst };
  }
}

/**
 * Whether the instruction is one of several that stand for one of the program: what one was rewritten to (the budget of may_goto)
 * may save a register that holds nothing.
 */
export function expanded({ origin }: ExecutableProgram, pc: number): boolean {
  return origin[pc] === origin[pc + 1] || (pc > 0 && origin[pc] === origin[pc - 1]);
}
