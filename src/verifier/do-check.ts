/**
 * Explores every path of one function from its entry: check the instruction, go on, take the next path when one ends.
 * Kernel 6.18: do_check, do_check_insn.
 */
import { CALL, CLASS, insnClass, insnMode, insnOp, JMP_OP, MODE, SOURCE } from '../asm/opcodes.ts';
import type { Insn } from '../contracts/insn.ts';
import { type Env, JUMP_POINT, NOSPEC, NOSPEC_RESULT, PRUNE_POINT } from './env.ts';
import type { Explored } from './explored.ts';
import { helperPrototype } from './helper-table.ts';
import { checkKfuncCall } from './kfunc/call.ts';
import { kfuncOf } from './kfunc/resolve.ts';
import { COMPLEXITY_LIMIT_INSNS } from './limits.ts';
import { isStateVisited } from './prune.ts';
import { Refusal } from './refusal.ts';
import { checkInsnRelease } from './release.ts';
import { checkAlu } from './transfer/alu.ts';
import { checkCondJump } from './transfer/branch.ts';
import { checkExit, checkSubprogCall } from './transfer/call.ts';
import { checkHelperCall } from './transfer/call-helper.ts';
import { checkLdAbs, checkLdImm } from './transfer/ld.ts';
import { checkAtomic, checkLoad, checkStoreImm, checkStoreReg } from './transfer/load-store.ts';

/** What becomes of the path after an instruction. */
type Outcome = 'next' | 'returned' | 'end';

/** What may be called while a lock is held: its release, and functions that work on what it guards. */
function isLockSafe(env: Env, insn: Insn): boolean {
  if (insn.src === CALL.LOCAL) return true;
  if (insn.src === CALL.HELPER) return helperPrototype(env, insn.imm)?.lock === 'release';
  return insn.off === 0 && kfuncOf(env, insn)?.row?.lockSafe === true;
}

function checkCall(env: Env, explored: Explored, insn: Insn): Outcome {
  if (
    (insn.code & SOURCE.X) !== 0 ||
    (insn.src !== CALL.KFUNC && insn.off !== 0) ||
    (insn.src !== CALL.HELPER && insn.src !== CALL.LOCAL && insn.src !== CALL.KFUNC) ||
    insn.dst !== 0 ||
    insnClass(insn.code) === CLASS.JMP32
  ) {
    env.fail('EINVAL', 'BPF_CALL uses reserved fields', { kind: 'encoding' });
  }
  const calls = insn.src === CALL.HELPER || env.release.has('calls_under_lock');
  if (env.cur.activeLocks > 0 && !(calls && isLockSafe(env, insn))) {
    env.fail('EINVAL', 'function calls are not allowed while holding a lock', {
      kind: 'lock_held',
      detail: 'call',
    });
  }
  if (insn.src === CALL.LOCAL) {
    checkSubprogCall(env, insn);
  } else if (insn.src === CALL.KFUNC) {
    if (checkKfuncCall(env, explored, insn)) return 'end';
  } else {
    checkHelperCall(env, explored, insn);
  }
  env.scratched.regs |= 1;
  return 'next';
}

function checkJump(env: Env, explored: Explored, insn: Insn): Outcome {
  const cls = insnClass(insn.code);
  const op = insnOp(insn.code);
  env.jumpsProcessed++;
  if (op === JMP_OP.CALL) {
    if (checkCall(env, explored, insn) === 'end') return 'end';
  } else if (op === JMP_OP.JA) {
    if (
      (insn.code & SOURCE.X) !== 0 ||
      insn.src !== 0 ||
      insn.dst !== 0 ||
      (cls === CLASS.JMP ? insn.imm : insn.off) !== 0
    ) {
      env.fail('EINVAL', 'BPF_JA uses reserved fields', { kind: 'encoding' });
    }
    env.insn += cls === CLASS.JMP ? insn.off : insn.imm;
  } else if (op === JMP_OP.EXIT) {
    if (
      (insn.code & SOURCE.X) !== 0 ||
      insn.imm !== 0 ||
      insn.src !== 0 ||
      insn.dst !== 0 ||
      cls === CLASS.JMP32
    ) {
      env.fail('EINVAL', 'BPF_EXIT uses reserved fields', { kind: 'encoding' });
    }
    return checkExit(env, explored) ? 'end' : 'returned';
  } else {
    checkCondJump(env, explored, insn);
  }
  env.insn++;
  return 'next';
}

function checkInsn(env: Env, explored: Explored, insn: Insn): Outcome {
  checkInsnRelease(env, insn, env.insn, false);
  const cls = insnClass(insn.code);
  switch (cls) {
    case CLASS.ALU:
    case CLASS.ALU64:
      checkAlu(env, insn);
      break;
    case CLASS.LDX:
      checkLoad(env, insn);
      break;
    case CLASS.STX:
      if (insnMode(insn.code) === MODE.ATOMIC) checkAtomic(env, insn);
      else checkStoreReg(env, insn);
      break;
    case CLASS.ST:
      checkStoreImm(env, insn);
      break;
    case CLASS.JMP:
    case CLASS.JMP32:
      return checkJump(env, explored, insn);
    default: {
      const mode = insnMode(insn.code);
      if (mode === MODE.ABS || mode === MODE.IND) {
        checkLdAbs(env, explored, insn);
      } else if (mode === MODE.IMM) {
        checkLdImm(env, insn);
        env.insn++;
        if (!env.cur.speculative) env.seen[env.insn] = 1;
      } else {
        env.fail('EINVAL', 'invalid BPF_LD mode', { kind: 'encoding' });
      }
    }
  }
  env.insn++;
  return 'next';
}

const RECOVERABLE = new Set(['EPERM', 'EACCES', 'EINVAL']);

/** Checks one instruction; an error on a speculative path ends only that path, behind a barrier. */
function step(env: Env, explored: Explored, at: number): Outcome {
  const insn = env.insns[at]!;
  const { cur } = env;
  if (cur.speculative && (env.marks[at]! & NOSPEC) !== 0) return 'end';
  env.liveStack.startInsn(at);
  let outcome: Outcome;
  try {
    outcome = checkInsn(env, explored, insn);
  } catch (refusal) {
    if (!(refusal instanceof Refusal)) throw refusal;
    if (RECOVERABLE.has(refusal.errno)) env.liveStack.commitInsn();
    const recovers = cur.speculative && env.release.has('speculation_barriers');
    if (!recovers || !RECOVERABLE.has(refusal.errno)) {
      if (env.watcher?.refused?.(refusal, at) !== true) throw refusal;
      return 'end';
    }
    env.marks[at]! |= NOSPEC;
    env.aluState[at] = 0;
    return 'end';
  }
  env.liveStack.commitInsn();
  if (outcome !== 'end' && cur.speculative && (env.marks[at]! & NOSPEC_RESULT) !== 0) {
    if (env.release.has('speculation_barriers')) return 'end';
  }
  return outcome;
}

function announcePath(env: Env): string {
  return `\nfrom ${env.prevInsn} to ${env.insn}${env.cur.speculative ? ' (speculative execution)' : ''}:`;
}

/** Explores from `env.cur` and `env.insn` until no path is left. */
export function exploreAll(env: Env, explored: Explored): void {
  const cutLog = !env.logsAll;
  let printState = false;
  let prev = -1;
  for (;;) {
    env.startInsn();
    env.prevInsn = prev;
    if (env.insn >= env.count)
      env.fail('EFAULT', `invalid insn idx ${env.insn} insn_cnt ${env.count}`, { kind: 'falls_off_end' });
    if (++env.insnsProcessed > COMPLEXITY_LIMIT_INSNS) {
      env.fail('E2BIG', `BPF program is too large. Processed ${env.insnsProcessed} insn`, {
        kind: 'too_complex',
        limit: COMPLEXITY_LIMIT_INSNS,
      });
    }
    const { cur } = env;
    cur.lastInsn = prev;
    cur.insn = env.insn;
    const at = env.insn;
    const marks = env.marks[at]!;
    let ended = false;

    if ((marks & PRUNE_POINT) !== 0 && isStateVisited(env, explored)) {
      if (env.logsInsns) env.verbose(printState ? `${announcePath(env)} safe\n` : `${at}: safe\n`);
      env.watcher?.pruned?.(at);
      ended = true;
    } else {
      env.watcher?.insn?.(at, cur, env.totalStates);
      if ((marks & JUMP_POINT) !== 0) env.pushHistory(0);
      if (env.logsAll && printState) {
        env.verbose(announcePath(env));
        env.printState(cur, cur.curframe, true);
        printState = false;
      }
      if (env.logsInsns) env.printInsn();
      env.trace(at);
      if (!cur.speculative) env.seen[at] = 1;
      prev = at;
      const outcome = step(env, explored, at);
      if (outcome === 'returned') printState = true;
      ended = outcome === 'end';
    }
    if (!ended) continue;

    env.scratched.markAll();
    explored.finishPath(cur);
    env.liveStack.update();
    if (!env.popPath(cutLog)) return;
    prev = env.prevInsn;
    printState = true;
  }
}
