/** Saved interrupt flags in stack slots, given back in the reverse order. Kernel 6.18: process_irq_flag. */
import type { Env } from '../env.ts';
import { acquireIrq, releaseIrq } from '../references.ts';
import { PTR_TO_STACK } from '../registers.ts';
import { IRQ_LOCK, IRQ_NATIVE, irqKind, irqReg } from '../slot-objects.ts';
import { allBytes, Slot, STACK_IRQ_FLAG, slotType } from '../state.ts';
import { accessMemory } from '../transfer/memory.ts';
import { failArg } from './refuse.ts';
import { objectSlot, setSlots } from './slots.ts';
import type { KfuncMeta } from './types.ts';

const ALL_IRQ = allBytes(STACK_IRQ_FLAG);
const KINDS = ['native', 'lock'] as const;

function save(env: Env, meta: KfuncMeta, index: number, kind: number): void {
  const n = index + 1;
  const spi = objectSlot(env, env.reg(n), 'irq_flag', 1);
  const used =
    typeof spi === 'number' &&
    [0, 1, 2, 3, 4, 5, 6, 7].some(
      (byte) => slotType(env.frameOf(env.reg(n)).stack[spi]!.types, byte) === STACK_IRQ_FLAG,
    );
  if (spi === 'invalid' || used) {
    failArg(env, meta.kfunc, index, `expected uninitialized irq flag as arg#${index}`, 'argument_state');
  }
  accessMemory(env, { ptr: n, off: 0, size: 8, write: true, value: -1 });
  const reg = env.reg(n);
  const at = objectSlot(env, reg, 'irq_flag', 1);
  if (typeof at === 'string') env.refuse('EINVAL', { kind: 'argument_offset', register: n });
  const id = acquireIrq(env);
  setSlots(env, reg.frameno, at, 1, () => new Slot(ALL_IRQ, irqReg(id, kind)));
}

function restore(env: Env, meta: KfuncMeta, index: number, kind: number): void {
  const reg = env.reg(index + 1);
  const spi = objectSlot(env, reg, 'irq_flag', 1);
  const slot = typeof spi === 'number' ? env.frameOf(reg).stack[spi]! : null;
  if (typeof spi === 'string' || slot === null || slot.types !== ALL_IRQ || slot.reg.refObjId === 0) {
    failArg(env, meta.kfunc, index, `expected an initialized irq flag as arg#${index}`, 'argument_state');
  }
  env.liveStack.markRead(reg.frameno, spi);
  env.scratched.markSlot(spi);
  const saved = irqKind(slot.reg);
  if (saved !== kind) {
    failArg(
      env,
      meta.kfunc,
      index,
      `irq flag acquired by ${KINDS[saved]} kfuncs cannot be restored with ${KINDS[kind]} kfuncs`,
      'lock_mismatch',
    );
  }
  const { cur } = env;
  if (!releaseIrq(cur, slot.reg.refObjId)) {
    const at = cur.refs.find((ref) => ref.id === cur.activeIrqId)?.insn ?? 0;
    failArg(
      env,
      meta.kfunc,
      index,
      `cannot restore irq state out of order, expected id=${cur.activeIrqId} acquired at insn_idx=${at}`,
      'lock_mismatch',
      'EACCES',
    );
  }
  setSlots(env, reg.frameno, spi, 1);
}

export function checkIrqArg(env: Env, meta: KfuncMeta, index: number): void {
  if (env.reg(index + 1).type !== PTR_TO_STACK) {
    failArg(env, meta.kfunc, index, `arg#${index} doesn't point to an irq flag on stack`);
  }
  const kind = meta.row.lock === undefined ? IRQ_NATIVE : IRQ_LOCK;
  if (meta.row.irq === 'save') save(env, meta, index, kind);
  else restore(env, meta, index, kind);
}
