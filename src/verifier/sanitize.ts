/**
 * Rules of unprivileged programs against speculation (Spectre v1): pointer arithmetic gets a mask that keeps it in bounds
 * even when a branch was mispredicted, both ways of a decided branch are simulated, and a speculative path that would be
 * unsafe ends in a barrier. Kernel 6.18: sanitize_ptr_alu, sanitize_speculative_path.
 *
 * The embedded engines do not speculate; the rules decide only whether a program is accepted.
 */
import { ALU_OP, insnOp, JMP_OP, SOURCE } from '../asm/opcodes.ts';
import type { Insn } from '../contracts/insn.ts';
import { type Env, NOSPEC } from './env.ts';
import { PTR_TO_MAP_VALUE, PTR_TO_STACK, type Reg, UNKNOWN_REG } from './registers.ts';
import { STACK_LIMIT } from './state.ts';

const NEG_VALUE = 1 << 2;
const IMMEDIATE = 1 << 4;
const SANITIZE_SRC = 1 << 0;
const SANITIZE_DST = 1 << 1;
const NON_POINTER = 1 << 3;

export interface AluWindow {
  state: number;
  limit: number;
  maskToLeft: boolean;
}

type Reason = 'bounds' | 'type' | 'paths' | 'limit';

function canSkip(env: Env, insn: Insn): boolean {
  return env.bypassSpecV1 || (insn.code & SOURCE.X) === 0 || (env.marks[env.insn]! & NOSPEC) !== 0;
}

function refuse(env: Env, insn: Insn, reason: Reason, offIsDst: boolean): never {
  const suffix = 'pointer arithmetic with it prohibited for !root';
  const op = insnOp(insn.code) === ALU_OP.ADD ? 'add' : 'sub';
  const { dst, src } = insn;
  switch (reason) {
    case 'bounds':
      return env.fail(
        'EACCES',
        `R${offIsDst ? dst : src} has unknown scalar with mixed signed bounds, ${suffix}`,
        { kind: 'speculation', register: offIsDst ? dst : src, detail: 'bounds' },
      );
    case 'type':
      return env.fail(
        'EACCES',
        `R${offIsDst ? src : dst} has pointer with unsupported alu operation, ${suffix}`,
        { kind: 'speculation', register: offIsDst ? src : dst, detail: 'type' },
      );
    case 'paths':
      return env.fail('EACCES', `R${dst} tried to ${op} from different maps, paths or scalars, ${suffix}`, {
        kind: 'speculation',
        register: dst,
        detail: 'paths',
      });
    case 'limit':
      return env.fail('EACCES', `R${dst} tried to ${op} beyond pointer bounds, ${suffix}`, {
        kind: 'speculation',
        register: dst,
        detail: 'limit',
      });
  }
}

function pointerLimit(ptr: Reg, maskToLeft: boolean): number | Reason {
  let max: number;
  let limit: number;
  if (ptr.type === PTR_TO_STACK) {
    max = STACK_LIMIT + (maskToLeft ? 1 : 0);
    limit = -(Number(BigInt.asIntN(64, ptr.v.tnum.value)) + ptr.off);
  } else if (ptr.type === PTR_TO_MAP_VALUE) {
    max = ptr.map!.valueSize;
    limit = Number(maskToLeft ? ptr.v.smin : ptr.v.umax) + ptr.off;
  } else {
    return 'type';
  }
  return limit < 0 || limit >= max ? 'limit' : limit;
}

function record(env: Env, state: number, limit: number): boolean {
  const at = env.insn;
  if (env.aluState[at] !== 0 && (env.aluState[at] !== state || env.aluLimit[at] !== limit)) return false;
  env.aluState[at] = state;
  env.aluLimit[at] = limit;
  return true;
}

/** Arithmetic of two scalars: the instruction must not be pointer arithmetic on another path. */
export function sanitizeScalarAlu(env: Env, insn: Insn): void {
  if (canSkip(env, insn)) return;
  if (!record(env, NON_POINTER, 0)) refuse(env, insn, 'paths', false);
}

/** Before the operation: the window in which the pointer may move, and the path with a masked offset. */
export function openAluWindow(env: Env, insn: Insn, ptr: Reg, off: Reg, offIsDst: boolean): AluWindow | null {
  if (canSkip(env, insn)) return null;
  const known = off.v.tnum.mask === 0n;
  const window: AluWindow = { state: 0, limit: 0, maskToLeft: false };
  if (!env.cur.speculative) {
    if (!known && off.v.smin < 0n !== off.v.smax < 0n) refuse(env, insn, 'bounds', offIsDst);
    const negative = off.v.smin < 0n;
    const op = insnOp(insn.code);
    window.maskToLeft = (op === ALU_OP.ADD && negative) || (op === ALU_OP.SUB && !negative);
    const limit = pointerLimit(ptr, window.maskToLeft);
    if (typeof limit !== 'number') refuse(env, insn, limit, offIsDst);
    window.limit = limit;
    window.state =
      (negative ? NEG_VALUE : 0) | (known ? IMMEDIATE : 0) | (offIsDst ? SANITIZE_DST : SANITIZE_SRC);
    if (!known) env.exploreAluLimits = true;
  }
  if (!known) {
    // The mask may turn the offset into 0: the pointer does not move.
    const path = env.pushPath(env.insn + 1, env.insn, true);
    if (offIsDst) path.setReg(insn.dst, ptr);
  }
  return window;
}

/** After the operation: how far the pointer moved is what the mask allows. */
export function closeAluWindow(
  env: Env,
  insn: Insn,
  window: AluWindow | null,
  result: Reg,
  offIsDst: boolean,
): void {
  if (window === null || env.cur.speculative) return;
  const limit = pointerLimit(result, window.maskToLeft);
  if (typeof limit !== 'number') refuse(env, insn, limit, offIsDst);
  if (!record(env, window.state, Math.abs(window.limit - limit))) refuse(env, insn, 'paths', offIsDst);
}

/** The way that a decided branch does not take, followed as the processor might by mistake. */
export function pushSpeculativeBranch(env: Env, insn: Insn, target: number): void {
  if (env.bypassSpecV1) return;
  const path = env.pushPath(target, env.insn, true);
  if (insnOp(insn.code) === JMP_OP.JA) return;
  path.setReg(insn.dst, UNKNOWN_REG);
  if ((insn.code & SOURCE.X) !== 0) path.setReg(insn.src, UNKNOWN_REG);
}
