/**
 * Dynptrs: two stack slots that only helpers may write. A program that overwrites one loses it and every slice of it; one
 * that holds a reference must be released first. Kernel 6.18: mark_stack_slots_dynptr, destroy_if_dynptr_stack_slot.
 */
import type { HelperArg } from '../spec/types.ts';
import type { Env } from './env.ts';
import { acquireReference, invalidated, releaseReference } from './references.ts';
import {
  CONST_PTR_TO_DYNPTR,
  type DynptrType,
  MAYBE_NULL,
  PTR_TO_MEM,
  PTR_TO_STACK,
  pointerReg,
  type Reg,
} from './registers.ts';
import { allBytes, EMPTY_SLOT, Slot, STACK_DYNPTR, slotIndex, slotType } from './state.ts';

const DYNPTR_SLOTS = 2;
export const DYNPTR_SIZE = 16;
const ALL_DYNPTR = allBytes(STACK_DYNPTR);

export function dynptrReg(type: DynptrType, firstSlot: boolean, id: number, refObjId = 0): Reg {
  return pointerReg(CONST_PTR_TO_DYNPTR, { id, refObjId, dynptr: { type, firstSlot } });
}

/** Slot of the first half of the dynptr that `reg` points to; 'range' where it lies outside of the allocated stack. */
function dynptrSlot(env: Env, reg: Reg): number | 'invalid' | 'range' {
  if (reg.v.tnum.mask !== 0n) {
    env.verbose('dynptr has to be at a constant offset\n');
    return 'invalid';
  }
  const off = reg.off + Number(reg.v.tnum.value);
  if (off % 8 !== 0) {
    env.verbose(`cannot pass in dynptr at an offset=${off}\n`);
    return 'invalid';
  }
  const spi = slotIndex(off);
  if (spi + 1 < DYNPTR_SLOTS) {
    env.verbose(`cannot pass in dynptr at an offset=${off}\n`);
    return 'invalid';
  }
  const { stack } = env.frameOf(reg);
  return spi - DYNPTR_SLOTS + 1 >= 0 && spi < stack.length ? spi : 'range';
}

function setSlots(env: Env, frameno: number, spi: number, first: Slot, second: Slot): void {
  env.cur.setSlot(frameno, spi, first);
  env.cur.setSlot(frameno, spi - 1, second);
  env.liveStack.markWrite(frameno, spi);
  env.liveStack.markWrite(frameno, spi - 1);
}

function clearSlots(env: Env, frameno: number, spi: number): void {
  setSlots(env, frameno, spi, EMPTY_SLOT, EMPTY_SLOT);
}

/** A write to slot `spi` destroys the dynptr there, if any. */
export function destroyDynptrAt(env: Env, frameno: number, spi: number): void {
  let slot = env.cur.frames[frameno]!.stack[spi];
  if (slot === undefined || slotType(slot.types, 0) !== STACK_DYNPTR) return;
  let first = spi;
  if (!slot.reg.dynptr?.firstSlot) {
    first = spi + 1;
    slot = env.cur.frames[frameno]!.stack[first]!;
  }
  if (slot.reg.dynptr?.type === 'ringbuf')
    env.fail('EINVAL', 'cannot overwrite referenced dynptr', { kind: 'dynptr_overwritten' });
  env.scratched.markSlot(first);
  env.scratched.markSlot(first - 1);
  const { id } = slot.reg;
  clearSlots(env, frameno, first);
  const gone = invalidated(env);
  env.cur.mapRegs((reg) =>
    (reg.type === PTR_TO_MEM || reg.type === (PTR_TO_MEM | MAYBE_NULL)) && reg.dynptrId === id ? gone : reg,
  );
}

function makeDynptr(env: Env, reg: Reg, type: DynptrType, cloneRef: number): void {
  const spi = dynptrSlot(env, reg);
  if (typeof spi === 'string') env.refuse('EINVAL', { kind: 'dynptr_place' });
  destroyDynptrAt(env, reg.frameno, spi);
  destroyDynptrAt(env, reg.frameno, spi - 1);
  const id = env.nextId();
  const ref = type !== 'ringbuf' ? 0 : cloneRef !== 0 ? cloneRef : acquireReference(env, env.insn);
  const first = new Slot(ALL_DYNPTR, dynptrReg(type, true, id, ref));
  setSlots(env, reg.frameno, spi, first, new Slot(ALL_DYNPTR, dynptrReg(type, false, id, ref)));
}

/** The dynptr (its slot's register, or the callback's argument) behind a checked argument. */
export function dynptrOf(env: Env, reg: Reg): Reg {
  if (reg.type === CONST_PTR_TO_DYNPTR) return reg;
  return env.frameOf(reg).stack[slotIndex(reg.off + Number(reg.v.tnum.value))]!.reg;
}

function isInitialised(env: Env, reg: Reg): boolean {
  if (reg.type === CONST_PTR_TO_DYNPTR) return true;
  const spi = dynptrSlot(env, reg);
  if (typeof spi === 'string') return false;
  const { stack } = env.frameOf(reg);
  return (
    stack[spi]!.types === ALL_DYNPTR &&
    stack[spi - 1]!.types === ALL_DYNPTR &&
    stack[spi]!.reg.dynptr?.firstSlot === true
  );
}

/** Whether a release of the dynptr behind `reg` gives a reference back. */
export function dynptrHoldsReference(env: Env, reg: Reg): boolean {
  if (reg.type !== PTR_TO_STACK) return false;
  const spi = dynptrSlot(env, reg);
  return typeof spi === 'number' && env.frameOf(reg).stack[spi]!.reg.refObjId !== 0;
}

/** Releases the dynptr, its clones and slices. */
export function releaseDynptr(env: Env, reg: Reg): boolean {
  const spi = dynptrSlot(env, reg);
  if (typeof spi === 'string') return false;
  const main = env.frameOf(reg).stack[spi]!.reg;
  if (main.dynptr?.type !== 'ringbuf') {
    clearSlots(env, reg.frameno, spi);
    return true;
  }
  releaseReference(env, main.refObjId);
  const frame = env.cur.own(reg.frameno);
  for (let i = 1; i < frame.stack.length; i++) {
    const slot = frame.stack[i]!;
    if (slot.reg.refObjId !== main.refObjId || slotType(slot.types, 0) !== STACK_DYNPTR) continue;
    if (slot.reg.dynptr?.firstSlot) clearSlots(env, reg.frameno, i);
  }
  return true;
}

/** `cloneRef`: the reference of the dynptr that the new one is a copy of. */
export interface DynptrArg extends Pick<HelperArg, 'uninit' | 'rdonly'> {
  readonly dynptr?: DynptrType;
  readonly cloneRef?: number;
}

/**
 * Checks an argument that is a dynptr. `write` is called for the 16 bytes of one that is made, before it exists, so that
 * the stack access itself is checked.
 */
export function checkDynptrArg(
  env: Env,
  regno: number,
  arg: DynptrArg,
  write: (offset: number) => void,
): void {
  const reg = env.reg(regno);
  if (reg.type !== PTR_TO_STACK && reg.type !== CONST_PTR_TO_DYNPTR) {
    env.fail('EINVAL', `arg#${regno - 1} expected pointer to stack or const struct bpf_dynptr`, {
      kind: 'dynptr_place',
      register: regno,
      argument: regno,
    });
  }
  if (arg.uninit) {
    if (reg.type === CONST_PTR_TO_DYNPTR || dynptrSlot(env, reg) === 'invalid') {
      env.fail('EINVAL', 'Dynptr has to be an uninitialized dynptr', {
        kind: 'dynptr_initialised',
        register: regno,
        argument: regno,
      });
    }
    for (let i = 0; i < DYNPTR_SIZE; i += 8) write(i);
    makeDynptr(env, env.reg(regno), arg.dynptr ?? 'local', arg.cloneRef ?? 0);
    return;
  }
  if (reg.type === CONST_PTR_TO_DYNPTR && !arg.rdonly) {
    env.fail('EINVAL', 'cannot pass pointer to const bpf_dynptr, the helper mutates it', {
      kind: 'read_only',
      register: regno,
      argument: regno,
      detail: 'dynptr',
    });
  }
  if (!isInitialised(env, reg)) {
    env.fail('EINVAL', `Expected an initialized dynptr as arg #${regno - 1}`, {
      kind: 'dynptr_uninitialised',
      register: regno,
      argument: regno,
    });
  }
  if (arg.dynptr !== undefined && dynptrOf(env, reg).dynptr?.type !== arg.dynptr) {
    env.fail('EINVAL', `Expected a dynptr of type ${arg.dynptr} as arg #${regno - 1}`, {
      kind: 'dynptr_type',
      register: regno,
      argument: regno,
      expected: arg.dynptr,
    });
  }
  if (reg.type === PTR_TO_STACK) {
    const spi = slotIndex(reg.off + Number(reg.v.tnum.value));
    for (const slot of [spi, spi - 1]) {
      env.liveStack.markRead(reg.frameno, slot);
      env.scratched.markSlot(slot);
    }
  }
}
