/**
 * What is read off the verification at the moment of the refusal, before its state is gone: the registers that matter, the path
 * that led there, the line of source. Everything else is worked out from these afterwards, when somebody asks.
 */
import { CLASS, insnClass, SOURCE } from '../../asm/opcodes.ts';
import type { RefusalReason } from '../../contracts/refusal.ts';
import type { LineInfo, RegisterNote, VerifyRequest } from '../../contracts/verify.ts';
import type { Env } from '../env.ts';
import { formatReg, lineOf } from '../log.ts';
import { isPacketPointer, NOT_INIT, PTR_TO_ARENA, type Reg, typeName } from '../registers.ts';

const MAX_PATH = 4096;

const CALL_OP = 0x80;
const EXIT_OP = 0x90;

/** Registers that the reason names, and those the instruction uses. */
export function registersThatMatter(env: Env, insn: number, reason: RefusalReason): RegisterNote[] {
  const frame = env.cur.frames.length === 0 ? undefined : env.cur.frame;
  const at = env.insns[insn];
  if (at === undefined || frame === undefined) return [];
  const numbers = new Set<number>();
  if (reason.register !== undefined) numbers.add(reason.register);
  const { code, dst, src } = at;
  const cls = insnClass(code);
  const jump = cls === CLASS.JMP || cls === CLASS.JMP32;
  const op = code & 0xf0;
  if (!jump) {
    if (cls !== CLASS.LDX) numbers.add(dst);
    if (cls === CLASS.LDX || cls === CLASS.STX || (code & SOURCE.X) !== 0) numbers.add(src);
  } else if (op !== CALL_OP && op !== EXIT_OP) {
    numbers.add(dst);
    if ((code & SOURCE.X) !== 0) numbers.add(src);
  } else if (op === CALL_OP && reason.argument !== undefined && reason.argument < 5) {
    // A size stands behind its memory, a key or value behind its map.
    numbers.add(reason.argument + 1);
  }
  const notes: RegisterNote[] = [];
  for (const n of [...numbers].sort((a, b) => a - b)) {
    const reg = frame.regs[n];
    if (reg !== undefined) notes.push(noteOf(n, reg, frame.frameno));
  }
  return notes;
}

function noteOf(n: number, reg: Reg, frameno: number): RegisterNote {
  const register = `R${n}`;
  if (reg.type === NOT_INIT) return { register, state: 'never written', type: 'unwritten' };
  const { v, map } = reg;
  const bounds =
    reg.type === PTR_TO_ARENA
      ? {}
      : { smin: v.smin, smax: v.smax, umin: v.umin, umax: v.umax, offset: reg.off };
  return {
    register,
    state: formatReg(reg, frameno, false),
    type: typeName(reg.type) + (reg.struct?.name ?? ''),
    ...(reg.maybeNull ? { mayBeNull: true } : {}),
    ...(map === null || map.name === '' ? {} : { map: map.name }),
    ...(isPacketPointer(reg.type) ? { range: Math.max(0, reg.raw) } : {}),
    ...bounds,
  };
}

/** The path that ends at instruction `at`. */
export function failingPath(env: Env, at: number): number[] {
  const path = env.lastSteps(MAX_PATH);
  if (path[path.length - 1] !== at && at >= 0) path.push(at);
  return path;
}

export function sourceOf(request: VerifyRequest, insn: number): LineInfo | undefined {
  return insn < 0 ? undefined : lineOf(request.lineInfo, insn);
}
