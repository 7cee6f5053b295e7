/** References that must be given back, locks that must be released, and the rule that none is left behind. */
import type { Env } from './env.ts';
import { NOT_INIT_REG, type Reg, UNKNOWN_REG } from './registers.ts';
import type { Reference, VState } from './state.ts';

/** A new reference, acquired by the current instruction; returns its id. */
export function acquireReference(env: Env, insn: number): number {
  const id = env.nextId();
  env.cur.refs = [...env.cur.refs, { kind: 'ptr', id, insn, object: null }];
  return id;
}

/** Forgets the reference; false where there is none of that id. */
export function dropReference(state: VState, id: number): boolean {
  const index = state.refs.findIndex((ref) => ref.kind === 'ptr' && ref.id === id);
  if (index < 0) return false;
  state.refs = state.refs.filter((_, i) => i !== index);
  return true;
}

/** What a pointer becomes when the thing it points to is gone. */
export function invalidated(env: Env): Reg {
  return env.allowPtrLeaks ? UNKNOWN_REG : NOT_INIT_REG;
}

/** Gives the reference back: no copy of the pointer may be used any longer. */
export function releaseReference(env: Env, id: number): boolean {
  if (!dropReference(env.cur, id)) return false;
  const gone = invalidated(env);
  env.cur.mapRegs((reg) => (reg.refObjId === id ? gone : reg));
  return true;
}

export function acquireLock(env: Env, id: number, object: object): void {
  const { cur } = env;
  cur.refs = [...cur.refs, { kind: 'lock', id, insn: env.insn, object }];
  cur.activeLocks++;
  cur.activeLockId = id;
  cur.activeLockObject = object;
}

export function findLock(state: VState, id: number, object: object | null): Reference | undefined {
  return state.refs.find((ref) => ref.kind === 'lock' && ref.id === id && ref.object === object);
}

export function releaseLock(state: VState, id: number, object: object): boolean {
  let previous: Reference | null = null;
  for (const ref of state.refs) {
    if (ref.kind !== 'lock') continue;
    if (ref.id === id && ref.object === object) {
      state.refs = state.refs.filter((other) => other !== ref);
      state.activeLocks--;
      state.activeLockId = previous?.id ?? 0;
      state.activeLockObject = previous?.object ?? null;
      return true;
    }
    previous = ref;
  }
  return false;
}

/** Refuses to leave the program (`what` says how) while something is held. */
export function checkResourceLeak(env: Env, checkLock: boolean, what: string): void {
  const { cur } = env;
  if (checkLock && cur.activeLocks > 0) {
    env.fail('EINVAL', `${what} cannot be used inside bpf_spin_lock-ed region`);
  }
  if (cur.frame.frameno !== 0) return;
  let lingering = false;
  for (const ref of cur.refs) {
    if (ref.kind !== 'ptr') continue;
    env.verbose(`Unreleased reference id=${ref.id} alloc_insn=${ref.insn}\n`);
    lingering = true;
  }
  if (lingering) env.fail('EINVAL', `${what} would lead to reference leak`);
}
