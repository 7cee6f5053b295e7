/**
 * A run's budget: where it is checked. Every cycle of a program goes through the target of a jump backwards, or through the
 * start of a subprogram, so a check at each of them bounds every run. The main program is entered once, or by tail calls, which are
 * counted anyway: a program without loops and functions has no checks and costs nothing.
 */
import { BUDGET_CHECK_IMM, CLASS, insnClass, insnOp, JMP_OP, MODE } from '../asm/opcodes.ts';
import type { Insn } from '../contracts/insn.ts';
import type { SubprogInfo } from '../contracts/verify.ts';

/** A speculation barrier, which loaded programs cannot have, with a number that tells it from the kernel's own. */
export const BUDGET_CHECK: Insn = {
  code: CLASS.ST | MODE.NOSPEC,
  dst: 0,
  src: 0,
  off: 0,
  imm: BUDGET_CHECK_IMM,
};

/** All targets of jumps backwards in a subprogram, and its start unless it is the main program. */
export function loopStarts(insns: readonly Insn[], { start, end }: SubprogInfo): Set<number> {
  const found = new Set(start === 0 ? [] : [start]);
  for (let i = start; i < end; i++) {
    const insn = insns[i]!;
    const jumpClass = insnClass(insn.code);
    if (jumpClass !== CLASS.JMP && jumpClass !== CLASS.JMP32) continue;
    const op = insnOp(insn.code);
    if (op === JMP_OP.CALL || op === JMP_OP.EXIT) continue;
    const isLong = jumpClass === CLASS.JMP32 && op === JMP_OP.JA;
    const target = i + 1 + (isLong ? insn.imm : insn.off);
    if (target <= i) found.add(target);
  }
  return found;
}
