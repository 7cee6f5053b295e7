/** What a refusal tells besides the log: registers that matter, the path that led there, the line of source. */
import { CLASS, insnClass, SOURCE } from '../asm/opcodes.ts';
import type { LineInfo, RegisterNote, VerifyRequest } from '../contracts/verify.ts';
import type { Env } from './env.ts';
import { formatReg, lineOf } from './log.ts';
import { NOT_INIT } from './registers.ts';

const MAX_PATH = 256;

/** Registers that the message names, and those the instruction uses. */
export function registersThatMatter(env: Env, insn: number, message: string): RegisterNote[] {
  const frame = env.cur.frames.length === 0 ? undefined : env.cur.frame;
  if (insn < 0 || frame === undefined) return [];
  const numbers = new Set<number>();
  for (const [, n] of message.matchAll(/\bR(\d+)\b/g)) numbers.add(Number(n));
  const { code, dst, src } = env.insns[insn]!;
  const cls = insnClass(code);
  if (cls !== CLASS.JMP && cls !== CLASS.JMP32) {
    numbers.add(dst);
    if (cls === CLASS.LDX || cls === CLASS.STX || (code & SOURCE.X) !== 0) numbers.add(src);
  } else if ((code & 0xf0) !== 0x80 && (code & 0xf0) !== 0x90) {
    numbers.add(dst);
    if ((code & SOURCE.X) !== 0) numbers.add(src);
  }
  const notes: RegisterNote[] = [];
  for (const n of [...numbers].sort((a, b) => a - b)) {
    const reg = frame.regs[n];
    if (reg === undefined) continue;
    notes.push({
      register: `R${n}`,
      state: reg.type === NOT_INIT ? 'never written' : formatReg(reg, frame.frameno, false),
    });
  }
  return notes;
}

export function failingPath(env: Env): number[] {
  return env.path.slice(-MAX_PATH);
}

export function sourceOf(request: VerifyRequest, insn: number): LineInfo | undefined {
  return insn < 0 ? undefined : lineOf(request.lineInfo, insn);
}
