/**
 * Objects that live in stack slots besides dynptrs: open-coded iterators and saved interrupt flags. What is known of one
 * stands in the register of its slots; this file says in which fields.
 */

import { PTR_TO_STACK, pointerReg, type Reg, type StructRef } from './registers.ts';
import { type Frame, STACK_ITER, slotType, type VState } from './state.ts';

export const ITER_ACTIVE = 1;
export const ITER_DRAINED = 2;
export type IterState = typeof ITER_ACTIVE | typeof ITER_DRAINED;

/** Who saved the interrupt flag: bpf_local_irq_save, or a lock. */
export const IRQ_NATIVE = 0;
export const IRQ_LOCK = 1;

/** One slot of an iterator; only the first one holds the reference. `flags`: MEM_RCU or PTR_UNTRUSTED. */
export function iterReg(
  struct: StructRef,
  flags: number,
  refObjId: number,
  state: IterState,
  depth: number,
): Reg {
  return pointerReg(PTR_TO_STACK | flags, { struct, refObjId, mapUid: state, raw: depth });
}

/** `active`, `drained`: as the log has it. */
export function iterStateName(reg: Reg): string {
  return reg.mapUid === ITER_ACTIVE ? 'active' : 'drained';
}

export function iterState(reg: Reg): number {
  return reg.mapUid;
}

/** Rounds of the loop so far. */
export function iterDepth(reg: Reg): number {
  return reg.raw;
}

/** `num` of `struct bpf_iter_num`. */
export function iterName(reg: Reg): string {
  return (reg.struct?.name ?? '').replace(/^bpf_iter_/, '');
}

export function irqReg(refObjId: number, kind: number): Reg {
  return pointerReg(PTR_TO_STACK, { refObjId, mapUid: kind });
}

export function irqKind(reg: Reg): number {
  return reg.mapUid;
}

/** The same type of object in the same condition; ids and depths are not looked at. */
export function sameSlotObject(a: Reg, b: Reg): boolean {
  return a.mapUid === b.mapUid && a.struct?.btf === b.struct?.btf && a.struct?.id === b.struct?.id;
}

function frameDepthsDiffer(old: Frame, cur: Frame): boolean {
  return old.stack.some(
    ({ types, reg }, spi) =>
      slotType(types, 0) === STACK_ITER &&
      iterState(reg) === ITER_ACTIVE &&
      iterDepth(cur.stack[spi]!.reg) !== iterDepth(reg),
  );
}

/** Whether some iterator has advanced from one state to the other: then equal states are no endless loop. */
export function iterDepthsDiffer(old: VState, cur: VState): boolean {
  return old.frames.some((frame, i) => frameDepthsDiffer(frame, cur.frames[i]!));
}
