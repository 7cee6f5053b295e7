/** Strict runs: a read of a register that nothing was written to since the frame began (or since a call) is a fault. */
import { ALU_OP, ATOMIC, CLASS, insnClass, insnMode, insnOp, JMP_OP, MODE, SOURCE } from '../asm/opcodes.ts';
import type { Insn } from '../contracts/insn.ts';
import type { InsnEvent } from '../contracts/observe.ts';
import { ProgramFault } from '../util/errors.ts';
import { joinHalves } from '../util/u64.ts';
import type { Observer } from './machine.ts';
import type { Decoded } from './program.ts';

/** R1..R5, which a call leaves undefined. */
const CALLER_SAVED = 0b11_1110;
const CALLEE_SAVED = 0b11_1100_0000;
const R10 = 1 << 10;

/** Registers that an instruction reads and writes, as bit sets; calls are treated apart. */
function usage(insn: Insn): { reads: number; writes: number } {
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

/** Whether the instruction is one of several that stand for one of the program. */
function expanded(program: Decoded, pc: number): boolean {
  const { origin } = program.program;
  return origin[pc] === origin[pc + 1] || (pc > 0 && origin[pc] === origin[pc - 1]);
}

/** An observer that keeps the set of written registers of each frame, and then asks `next`. */
export function strictObserver(next: ((event: InsnEvent) => void) | null): Observer {
  const written: number[] = [];
  /** Frame of the last instruction, and the call that it was, if any. */
  let depth = 0;
  let call: 'function' | 'subprog' | 'tail_call' | null = null;
  let last: Decoded | null = null;
  return (event, program) => {
    const insn = program.program.insns[event.pc]!;
    if (event.depth > depth || last === null || (call === 'tail_call' && program !== last)) {
      // A callback gets all of R1..R5; how many are meant is the verifier's business.
      const arguments_ =
        call === 'subprog' || call === 'tail_call' ? (written[depth] ?? 0) & CALLER_SAVED : CALLER_SAVED;
      written[event.depth] = event.depth === 0 && last === null ? R10 | 0b10 : R10 | arguments_;
    } else if (event.depth < depth) {
      written[event.depth] = ((written[event.depth] ?? 0) & (CALLEE_SAVED | R10)) | 1;
    } else if (
      event.depth === 0 &&
      event.pc === program.subprogs[0]?.start &&
      call === null &&
      last !== program
    ) {
      written[0] = R10 | 0b10;
    }
    depth = event.depth;
    last = program;

    const set = written[depth] ?? 0;
    const { reads, writes } = usage(insn);
    // What one instruction was rewritten to (the budget of may_goto) may save a register that holds nothing.
    const missing = expanded(program, event.pc) ? 0 : reads & ~set;
    if (missing !== 0) {
      const r = 31 - Math.clz32(missing);
      last = null;
      throw new ProgramFault(
        `program ${event.program}: instruction ${event.insn}: R${r} is read, but nothing was written to it`,
        {
          program: event.program,
          insn: event.insn,
          registers: Array.from(event.low, (low, i) => joinHalves(low, event.high[i]!)),
        },
      );
    }
    written[depth] = set | writes;
    const plan = program.calls[event.pc];
    call = plan === undefined || plan.kind === 'callback' ? null : plan.kind;
    if (call === 'function') written[depth] = (set & ~CALLER_SAVED) | 1;
    if (insnClass(insn.code) === CLASS.JMP && insnOp(insn.code) === JMP_OP.EXIT && depth === 0) last = null;
    next?.(event);
  };
}
