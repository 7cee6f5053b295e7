/**
 * Calls of kernel functions: may the program call it here, are the arguments right, what sections, references and callbacks come
 * of it. Kernel 6.18: check_kfunc_call.
 */

import type { Insn } from '../../contracts/insn.ts';
import type { RefusalKind } from '../../contracts/refusal.ts';
import { kfuncSince } from '../../spec/index.ts';
import { unknown, withS32Range } from '../domain/index.ts';
import type { Env } from '../env.ts';
import type { Explored } from '../explored.ts';
import { MAX_ERRNO } from '../limits.ts';
import { checkResourceLeak, releaseReference } from '../references.ts';
import { Refusal } from '../refusal.ts';
import { MAYBE_NULL, MEM_RCU, NOT_INIT_REG, PTR_UNTRUSTED, type Reg, scalarReg } from '../registers.ts';
import { Slot, STACK_ITER, slotType } from '../state.ts';
import { checkThrownCode } from '../transfer/call.ts';
import { enterCallback, pushCallback } from '../transfer/callback.ts';
import { inRcuSection } from '../transfer/map-value.ts';
import { clearPacketPointers } from '../transfer/packet.ts';
import { checkKfuncArgs } from './args.ts';
import { insertNode } from './graph.ts';
import { advanceIter } from './iter.ts';
import { inTreeCallback, kfuncOf } from './resolve.ts';
import { setKfuncResult } from './result.ts';
import { type KfuncMeta, newKfuncMeta } from './types.ts';

function failCall(
  env: Env,
  meta: KfuncMeta,
  text: string,
  errno: 'EINVAL' | 'EACCES' = 'EINVAL',
  kind: RefusalKind = 'section_mismatch',
): never {
  return env.fail(errno, text, { kind, function: meta.kfunc.name });
}

/** The lock may not be had: another path goes on with an error. */
function forkFailedLock(env: Env): void {
  const failed = env.pushPath(env.insn + 1, env.insn, false, 'ENOMEM');
  const { regs } = failed.ownCurrent();
  for (let n = 0; n <= 5; n++) regs[n] = NOT_INIT_REG;
  regs[0] = scalarReg(withS32Range(unknown(), -MAX_ERRNO, -1));
}

/** What was protected by the section is not any longer. */
function endRcuSection(env: Env): void {
  const change = (reg: Reg): Reg =>
    (reg.type & MEM_RCU) === 0
      ? reg
      : reg.with({ type: (reg.type & ~(MEM_RCU | MAYBE_NULL)) | PTR_UNTRUSTED });
  const { cur } = env;
  cur.mapRegs(change);
  for (let i = 0; i < cur.frames.length; i++) {
    cur.frames[i]!.stack.forEach((slot, spi) => {
      if (slotType(slot.types, 7) !== STACK_ITER) return;
      const changed = change(slot.reg);
      if (changed !== slot.reg) cur.setSlot(i, spi, new Slot(slot.types, changed));
    });
  }
  cur.activeRcuLock = false;
}

function rcuSection(env: Env, meta: KfuncMeta): void {
  const { kfunc, row } = meta;
  const { cur } = env;
  const locks = row.section === 'rcu_lock';
  const unlocks = row.section === 'rcu_unlock';
  if (!cur.activeRcuLock) {
    if (locks) cur.activeRcuLock = true;
    if (unlocks) failCall(env, meta, `unmatched rcu read unlock (kernel function ${kfunc.name})`);
    return;
  }
  if ((locks || unlocks) && inTreeCallback(env)) {
    failCall(env, meta, 'Calling bpf_rcu_read_{lock,unlock} in unnecessary rbtree callback', 'EACCES');
  }
  if (locks) failCall(env, meta, `nested rcu read lock (kernel function ${kfunc.name})`);
  if (unlocks) endRcuSection(env);
  else if (row.flags.has('sleepable')) {
    failCall(
      env,
      meta,
      `kernel func ${kfunc.name} is sleepable within rcu_read_lock region`,
      'EACCES',
      'function_sleeps',
    );
  }
}

function preemptSection(env: Env, meta: KfuncMeta): void {
  const { kfunc, row } = meta;
  const { cur } = env;
  if (row.section === 'preempt_disable') {
    cur.activePreemptLocks++;
  } else if (row.section === 'preempt_enable') {
    if (cur.activePreemptLocks === 0) {
      failCall(env, meta, `unmatched attempt to enable preemption (kernel function ${kfunc.name})`);
    }
    cur.activePreemptLocks--;
  } else if (cur.activePreemptLocks > 0 && row.flags.has('sleepable')) {
    failCall(
      env,
      meta,
      `kernel func ${kfunc.name} is sleepable within non-preemptible region`,
      'EACCES',
      'function_sleeps',
    );
  }
}

function sections(env: Env, meta: KfuncMeta): void {
  const { kfunc, row } = meta;
  rcuSection(env, meta);
  preemptSection(env, meta);
  if (env.cur.activeIrqId !== 0 && row.flags.has('sleepable')) {
    failCall(
      env,
      meta,
      `kernel func ${kfunc.name} is sleepable within IRQ-disabled region`,
      'EACCES',
      'function_sleeps',
    );
  }
  if (row.flags.has('rcu_protected') && !inRcuSection(env)) {
    failCall(
      env,
      meta,
      `kernel func ${kfunc.name} requires RCU critical section protection`,
      'EACCES',
      'section_needed',
    );
  }
}

function callback(env: Env, meta: KfuncMeta): void {
  const { kfunc, row, subprog, map, root } = meta;
  try {
    pushCallback(env, {
      subprog,
      shape: row.callbackShape!,
      async: row.callback === 'async',
      sleeps: row.callbackSleeps === true,
      map,
      root,
    });
  } catch (refusal) {
    if (refusal instanceof Refusal)
      env.verbose(`kfunc ${kfunc.name}#${kfunc.id} failed callback verification\n`);
    throw refusal;
  }
}

function releaseArgs(env: Env, meta: KfuncMeta): void {
  const { kfunc, row, releaseReg } = meta;
  if (releaseReg !== 0 && !releaseReference(env, env.reg(releaseReg).refObjId)) {
    env.fail('EINVAL', `kfunc ${kfunc.name}#${kfunc.id} reference has not been acquired before`, {
      kind: 'release_unowned',
      function: kfunc.name,
      register: releaseReg,
    });
  }
  if (row.inserts) insertNode(env);
}

function mayCall(env: Env, meta: KfuncMeta): void {
  const { kfunc, row } = meta;
  if (row.trap) {
    env.fail('EFAULT', 'unexpected __bpf_trap() due to uninitialized variable?', {
      kind: 'function_not_allowed',
      function: kfunc.name,
      detail: 'undefined behaviour',
    });
  }
  if (row.flags.has('destructive') && !env.request.credentials.capSysAdmin) {
    env.fail('EACCES', 'destructive kfunc calls require CAP_SYS_BOOT capability', {
      kind: 'capability',
      expected: 'CAP_SYS_BOOT',
      function: kfunc.name,
    });
  }
  if (row.flags.has('sleepable') && !env.cur.sleepable) {
    env.fail('EACCES', `program must be sleepable to call sleepable kfunc ${kfunc.name}`, {
      kind: 'function_sleeps',
      function: kfunc.name,
    });
  }
}

/** True where the call ends the program (bpf_throw). */
export function checkKfuncCall(env: Env, explored: Explored, insn: Insn): boolean {
  // 0 stands for a function that does not exist: such calls must be dead code, see verify.ts.
  if (insn.imm === 0) return false;
  const kfunc = kfuncOf(env, insn)!;
  const { row } = kfunc;
  if (row === null) {
    const since = kfuncSince(kfunc.name);
    const lacking = since !== undefined && !env.release.isSince(since);
    env.fail('EACCES', `calling kernel function ${kfunc.name} is not allowed`, {
      kind: 'function_not_allowed',
      function: kfunc.name,
      ...(lacking ? { needs: { what: `kernel function ${kfunc.name}`, since } } : {}),
    });
  }
  const meta = newKfuncMeta(kfunc, row);
  env.factsOf(env.insn).kfunc = kfunc.name;
  if (kfunc.builtIn && row.lock === 'acquire') forkFailedLock(env);
  mayCall(env, meta);
  checkKfuncArgs(env, meta);
  if (row.callback !== undefined) callback(env, meta);
  sections(env, meta);
  releaseArgs(env, meta);
  if (row.throws) {
    env.seenException = true;
    if (env.exceptionCallback === 0) checkThrownCode(env);
  }
  if (row.drops !== undefined || row.inserts) {
    const nodeOffset = meta.root?.nodeOffset;
    env.factsOf(env.insn).object = {
      size: 0,
      fields: meta.struct?.fields ?? [],
      ...(nodeOffset === undefined ? {} : { nodeOffset }),
    };
  }
  env.clobberCallerSaved();
  setKfuncResult(env, meta);
  if (row.changesPacket) clearPacketPointers(env);
  if (row.flags.has('iter_next')) advanceIter(env, explored, meta);
  enterCallback(env);
  if (!row.throws) return false;
  checkResourceLeak(env, true, 'bpf_throw', true);
  return true;
}
