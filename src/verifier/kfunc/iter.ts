/**
 * Open-coded iterators: `bpf_iter_X_new` makes one in stack slots, `_next` gives elements until NULL, `_destroy` ends it. The
 * loop around `_next` is explored until a round adds nothing. Kernel 6.18: process_iter_arg, process_iter_next_call.
 */
import { InternalError } from '../../util/errors.ts';
import type { Env } from '../env.ts';
import type { Explored } from '../explored.ts';
import { kernelStructById } from '../kernel-types.ts';
import { widenImprecise } from '../prune.ts';
import { acquireReference, releaseReference } from '../references.ts';
import { MEM_RCU, PTR_TO_STACK, PTR_UNTRUSTED, type Reg, type StructRef, ZERO_REG } from '../registers.ts';
import { ITER_ACTIVE, ITER_DRAINED, iterDepth, iterReg, iterState } from '../slot-objects.ts';
import { allBytes, Slot, STACK_ITER, slotType, type VState } from '../state.ts';
import { inRcuSection } from '../transfer/map-value.ts';
import { accessMemory } from '../transfer/memory.ts';
import { notNull } from '../transfer/not-null.ts';
import { failArg } from './refuse.ts';
import { objectSlot, setSlots } from './slots.ts';
import type { KfuncMeta } from './types.ts';

const ALL_ITER = allBytes(STACK_ITER);

/** The iterator struct that a parameter points to; null where it is none (btf_check_iter_arg). */
function iterStruct(env: Env, meta: KfuncMeta, index: number): StructRef | null {
  const { btf, proto } = meta.kfunc;
  const type = btf.resolved(proto.params[index]!.type);
  if (type.kind !== 'ptr' || type.type === 0) return null;
  const id = btf.resolve(type.type);
  const struct = btf.type(id);
  if (struct.kind !== 'struct' || !struct.name.startsWith('bpf_iter_')) return null;
  if (struct.size === 0 || struct.size % 8 !== 0) return null;
  return kernelStructById(env, btf, id);
}

function isUnused(env: Env, reg: Reg, count: number): boolean {
  const spi = objectSlot(env, reg, 'iter', count);
  if (spi === 'range') return true;
  if (spi === 'invalid') return false;
  const { stack } = env.frameOf(reg);
  for (let i = 0; i < count; i++) {
    for (let byte = 0; byte < 8; byte++) {
      if (slotType(stack[spi - i]!.types, byte) === STACK_ITER) return false;
    }
  }
  return true;
}

type Condition = 'valid' | 'invalid' | 'outside-rcu';

function conditionOf(env: Env, reg: Reg, struct: StructRef, count: number): Condition {
  const spi = objectSlot(env, reg, 'iter', count);
  if (typeof spi === 'string') return 'invalid';
  const { stack } = env.frameOf(reg);
  for (let i = 0; i < count; i++) {
    const slot = stack[spi - i]!;
    if ((slot.reg.type & PTR_UNTRUSTED) !== 0) return 'outside-rcu';
    if ((i === 0) !== (slot.reg.refObjId !== 0)) return 'invalid';
    if (slot.reg.struct?.btf !== struct.btf || slot.reg.struct?.id !== struct.id) return 'invalid';
    if (slot.types !== ALL_ITER) return 'invalid';
  }
  return 'valid';
}

function make(env: Env, meta: KfuncMeta, index: number, struct: StructRef, count: number): void {
  const n = index + 1;
  const name = struct.name.replace(/^bpf_iter_/, '');
  if (!isUnused(env, env.reg(n), count)) {
    failArg(env, meta.kfunc, index, `expected uninitialized iter_${name} as arg #${index}`, 'argument_state');
  }
  for (let i = 0; i < count; i++) {
    accessMemory(env, { ptr: n, off: i * 8, size: 8, write: true, value: -1 });
  }
  const reg = env.reg(n);
  const spi = objectSlot(env, reg, 'iter', count);
  if (typeof spi === 'string') env.refuse('EINVAL', { kind: 'argument_offset', register: n });
  const id = acquireReference(env, env.insn);
  const flags = !meta.row.flags.has('rcu_protected') ? 0 : inRcuSection(env) ? MEM_RCU : PTR_UNTRUSTED;
  setSlots(env, reg.frameno, spi, count, (i) => ({
    types: ALL_ITER,
    reg: iterReg(struct, flags, i === 0 ? id : 0, ITER_ACTIVE, 0),
  }));
}

/** An iterator as argument: made, or there already. */
export function checkIterArg(env: Env, meta: KfuncMeta, index: number): void {
  const { kfunc, row } = meta;
  const reg = env.reg(index + 1);
  if (reg.type !== PTR_TO_STACK) {
    failArg(env, kfunc, index, `arg#${index} expected pointer to an iterator on stack`);
  }
  const struct = iterStruct(env, meta, index);
  if (struct === null) failArg(env, kfunc, index, `expected valid iter pointer as arg #${index}`);
  const count = struct.btf!.sizeOf(struct.id) / 8;
  if (row.flags.has('iter_new')) {
    make(env, meta, index, struct, count);
    return;
  }
  const condition = conditionOf(env, reg, struct, count);
  if (condition === 'invalid') {
    const name = struct.name.replace(/^bpf_iter_/, '');
    failArg(env, kfunc, index, `expected an initialized iter_${name} as arg #${index}`, 'argument_state');
  }
  if (condition === 'outside-rcu') {
    failArg(env, kfunc, index, `expected an RCU CS when using ${kfunc.name}`, 'section_needed', 'EPROTO');
  }
  const spi = objectSlot(env, reg, 'iter', count) as number;
  for (let i = 0; i < count; i++) {
    env.liveStack.markRead(reg.frameno, spi - i);
    env.scratched.markSlot(spi - i);
  }
  meta.iter = { frameno: reg.frameno, spi };
  meta.refObjId = env.frameOf(reg).stack[spi]!.reg.refObjId;
  if (!row.flags.has('iter_destroy')) return;
  releaseReference(env, meta.refObjId);
  setSlots(env, reg.frameno, spi, count);
}

/** What is known of the iterator that the call is about. */
export function iterOf(state: VState, meta: KfuncMeta): Reg {
  const { frameno, spi } = meta.iter!;
  return state.frames[frameno]!.stack[spi]!.reg;
}

function setIter(state: VState, meta: KfuncMeta, next: number, deeper: number): void {
  const { frameno, spi } = meta.iter!;
  const slot = state.frames[frameno]!.stack[spi]!;
  const reg = slot.reg.with({ mapUid: next, raw: iterDepth(slot.reg) + deeper });
  state.setSlot(frameno, spi, new Slot(slot.types, reg));
}

/** Behind `_next`: there is no further element; another path goes on with one. R0 is set for that path already. */
export function advanceIter(env: Env, explored: Explored, meta: KfuncMeta): void {
  const { cur } = env;
  if (iterState(iterOf(cur, meta)) === ITER_ACTIVE) {
    if (cur.parent === null || cur.parent.insn !== env.insn)
      throw new InternalError('bad parent state for iter next call');
    const previous = explored.previousEntry(cur.parent, env.insn);
    const queued = env.pushPath(env.insn + 1, env.insn, false, 'ENOMEM');
    setIter(queued, meta, ITER_ACTIVE, 1);
    if (previous !== null) widenImprecise(env, previous, queued);
    queued.setReg(0, notNull(queued.frame.regs[0]!));
  }
  setIter(cur, meta, ITER_DRAINED, 0);
  env.setReg(0, ZERO_REG);
}
