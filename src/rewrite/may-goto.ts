/**
 * may_goto (BPF_JCOND): jumps once the loop budget of its frame is used up. The budget lies on the stack below what the
 * program itself uses; the slot below that one keeps R0 while the budget is counted down, as there is no register to
 * spare.
 */
import * as c from '../asm/construct.ts';
import type { Emitter } from './emitter.ts';

/** Iterations that one frame may make (linux/bpf_verifier.h: BPF_MAX_LOOPS). */
export const MAY_GOTO_BUDGET = 8 * 1024 * 1024;
/** Bytes of stack that a frame with may_goto needs besides its own. */
export const MAY_GOTO_STACK = 16;

/** Sets the budget; stands at the entry of a subprogram whose own stack is `depth` bytes deep. */
export function emitBudget(out: Emitter, origin: number, depth: number): void {
  out.emit(origin, c.st('dw', c.R10, -(depth + 8), MAY_GOTO_BUDGET));
}

/** Emits one may_goto to the original instruction `target`. */
export function emitMayGoto(out: Emitter, origin: number, depth: number, target: number): void {
  const budget = -(depth + 8);
  const saved = -(depth + 16);
  out.emit(origin, c.stx('dw', c.R10, c.R0, saved));
  out.emit(origin, c.ldx('dw', c.R0, c.R10, budget));
  out.emit(origin, c.jumpImm(64, 'jeq', c.R0, 0, 4));
  out.emit(origin, c.alu64Imm('sub', c.R0, 1));
  out.emit(origin, c.stx('dw', c.R10, c.R0, budget));
  out.emit(origin, c.ldx('dw', c.R0, c.R10, saved));
  out.emit(origin, c.ja(2));
  out.emit(origin, c.ldx('dw', c.R0, c.R10, saved));
  out.jump(origin, c.ja(0), target);
}
