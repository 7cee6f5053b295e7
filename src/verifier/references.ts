/** References that must be given back, locks that must be released, and the rule that none is left behind. */
import type { Env } from './env.ts';
import { NON_OWN_REF, NOT_INIT_REG, type Reg, UNKNOWN_REG } from './registers.ts';
import type { LockKind, Reference, VState } from './state.ts';

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

/** Interrupts are off until the id is given back, in the reverse order of saving. */
export function acquireIrq(env: Env): number {
  const { cur } = env;
  const id = env.nextId();
  cur.refs = [...cur.refs, { kind: 'irq', id, insn: env.insn, object: null }];
  cur.activeIrqId = id;
  return id;
}

/** False where another one was saved later. */
export function releaseIrq(state: VState, id: number): boolean {
  if (id !== state.activeIrqId) return false;
  state.refs = state.refs.filter((ref) => ref.kind !== 'irq' || ref.id !== id);
  state.activeIrqId = state.refs.findLast((ref) => ref.kind === 'irq')?.id ?? 0;
  return true;
}

/** Pointers into lists and trees are good only while the lock that guards them is held. */
export function dropNonOwning(env: Env): void {
  const gone = invalidated(env);
  env.cur.mapRegs((reg) => ((reg.type & NON_OWN_REF) !== 0 ? gone : reg));
}

export function acquireLock(env: Env, kind: LockKind, id: number, object: object): void {
  const { cur } = env;
  cur.refs = [...cur.refs, { kind, id, insn: env.insn, object }];
  cur.activeLocks++;
  cur.activeLockId = id;
  cur.activeLockObject = object;
}

/** The lock of one of these kinds in that object. */
export function findLock(
  state: VState,
  kinds: readonly LockKind[],
  id: number,
  object: object | null,
): Reference | undefined {
  return state.refs.find(
    (ref) => (kinds as readonly string[]).includes(ref.kind) && ref.id === id && ref.object === object,
  );
}

export function releaseLock(state: VState, kind: LockKind, id: number, object: object): boolean {
  let previous: Reference | null = null;
  for (const ref of state.refs) {
    if (ref.kind === 'ptr' || ref.kind === 'irq') continue;
    if (ref.kind === kind && ref.id === id && ref.object === object) {
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

/** `id` may be returned to the kernel. */
function mayReturn(env: Env, id: number): boolean {
  return env.progTypeName === 'struct_ops' && env.reg(0).refObjId === id;
}

/**
 * Refuses to leave the program (`what` says how) while something is held. `sections`: locks and sections count too;
 * `exception`: the program ends here, however deep in calls.
 */
export function checkResourceLeak(env: Env, sections: boolean, what: string, exception = false): void {
  const { cur } = env;
  const inside = (section: string): never =>
    env.fail('EINVAL', `${what} cannot be used inside ${section}-ed region`, {
      kind: 'lock_held',
      detail: what,
    });
  if (sections && cur.activeLocks > 0) inside('bpf_spin_lock');
  if (exception || cur.frame.frameno === 0) {
    let lingering = -1;
    for (const ref of cur.refs) {
      if (ref.kind !== 'ptr' || (!exception && mayReturn(env, ref.id))) continue;
      env.verbose(`Unreleased reference id=${ref.id} alloc_insn=${ref.insn}\n`);
      lingering = ref.insn;
    }
    if (lingering >= 0)
      env.fail('EINVAL', `${what} would lead to reference leak`, {
        kind: 'reference_leak',
        insn: lingering,
        detail: what,
      });
  }
  if (!sections) return;
  if (cur.activeIrqId !== 0) inside('bpf_local_irq_save');
  if (cur.activeRcuLock) inside('bpf_rcu_read_lock');
  if (cur.activePreemptLocks > 0) inside('bpf_preempt_disable');
}
