/**
 * Exceptions (bpf_throw) as plain instructions. In the main function a throw is its end, through the function that handles
 * exceptions where there is one. In a called function it is a return with the code put aside; behind every call of a function that
 * may throw, its caller looks whether one was, and returns in turn. R0 is kept on the stack meanwhile.
 */
import * as c from '../asm/construct.ts';
import { CALL } from '../asm/opcodes.ts';
import type { CallableFunction } from '../contracts/engine.ts';
import type { Insn } from '../contracts/insn.ts';
import type { Emitter } from './emitter.ts';

/** Bytes of stack that a function needs which calls one that may throw. */
export const EXCEPTION_STACK = 8;

const CALL_FUNCTION: Insn = { code: 0x85, dst: 0, src: CALL.HELPER, off: 0, imm: 0 };
const CALL_LOCAL: Insn = { code: 0x85, dst: 0, src: CALL.LOCAL, off: 0, imm: 0 };

export interface ExceptionCode {
  readonly out: Emitter;
  /** Number of the function that handles exceptions after rewriting; -1 for none. */
  readonly handler: number;
  /** Keep the code, look for one, take it. */
  readonly raise: CallableFunction;
  readonly pending: CallableFunction;
  readonly take: CallableFunction;
}

/** The end of the main function with the code in R1. */
function emitEnd({ out, handler }: ExceptionCode, origin: number): void {
  if (handler < 0) out.emit(origin, c.mov64Reg(c.R0, c.R1));
  else out.callSubprog(origin, CALL_LOCAL, handler);
  out.emit(origin, c.exit());
}

/** The throw itself: R1 is the code. */
export function emitThrow(code: ExceptionCode, origin: number, main: boolean): void {
  if (main) {
    emitEnd(code, origin);
    return;
  }
  code.out.emit(origin, CALL_FUNCTION, { kind: 'function', callee: code.raise });
  code.out.emit(origin, c.exit());
}

/** Stands behind a call of a function that may throw; R0 is saved at `depth` + 8 bytes below the frame pointer. */
export function emitLanding(code: ExceptionCode, origin: number, main: boolean, depth: number): void {
  const { out, handler, pending, take } = code;
  const saved = -(depth + EXCEPTION_STACK);
  out.emit(origin, c.stx('dw', c.R10, c.R0, saved));
  out.emit(origin, CALL_FUNCTION, { kind: 'function', callee: pending });
  const leaving = !main ? 2 : handler < 0 ? 2 : 4;
  out.emit(origin, c.jumpImm(64, 'jeq', c.R0, 0, leaving));
  if (main) {
    out.emit(origin, CALL_FUNCTION, { kind: 'function', callee: take });
    if (handler >= 0) {
      out.emit(origin, c.mov64Reg(c.R1, c.R0));
      out.callSubprog(origin, CALL_LOCAL, handler);
    }
  } else {
    out.emit(origin, c.mov64Imm(c.R0, 0));
  }
  out.emit(origin, c.exit());
  out.emit(origin, c.ldx('dw', c.R0, c.R10, saved));
}
