/**
 * Loads, stores and helper accesses on the stack: 512 bytes a frame, known byte by byte; eight-byte stores spill registers
 * with all that is known of them, loads fill them again. Kernel 6.18: check_stack_read, check_stack_write,
 * check_stack_range_initialized.
 */
import { CLASS, insnClass, insnMode, MODE } from '../../asm/opcodes.ts';
import { markPrecise } from '../backtrack.ts';
import {
  constantFromNumber,
  constNumber,
  formatVarOff,
  isConst,
  isUnknown,
  smaxNumber,
  sminNumber,
  umaxNumber,
} from '../domain/index.ts';
import { destroyDynptrAt } from '../dynptr.ts';
import { type Env, NOSPEC_RESULT } from '../env.ts';
import { MAX_VAR_OFF } from '../limits.ts';
import {
  ADD_CONST,
  isNull,
  isSpillable,
  NOT_INIT_REG,
  PTR_TO_STACK,
  type Reg,
  SCALAR,
  scalarReg,
  UNKNOWN_REG,
  ZERO_REG,
} from '../registers.ts';
import {
  isSpilled,
  isSpilledScalar,
  Slot,
  STACK_DYNPTR,
  STACK_INVALID,
  STACK_LIMIT,
  STACK_MISC,
  STACK_SPILL,
  STACK_ZERO,
  slotIndex,
  slotType,
  stackAccessFlags,
  withSlotType,
} from '../state.ts';

/** Gives a scalar that is about to be copied an id, so that both copies are refined together. */
export function linkBeforeCopy(env: Env, n: number): Reg {
  let reg = env.reg(n);
  if (reg.type !== SCALAR || !env.linksCopies) return reg;
  let { id, off } = reg;
  if (id >= ADD_CONST) {
    id = 0;
    off = 0;
  }
  if (id === 0 && !isConst(reg.v)) id = env.nextId();
  if (id !== reg.id || off !== reg.off) {
    reg = scalarReg(reg.v, id, off);
    env.setReg(n, reg);
  }
  return reg;
}

/** Whether every value of the scalar fits in `size` bytes. */
export function fitsBytes(reg: Reg, size: number): boolean {
  return size >= 8 || umaxNumber(reg.v) < 2 ** (8 * size);
}

/** Refuses accesses outside of the frame, and allocates the stack that one inside needs. */
export function checkStackBounds(env: Env, n: number, off: number, size: number, write: boolean): void {
  const reg = env.reg(n);
  const known = isConst(reg.v);
  const extra = write ? ' write to' : ' read from';
  let min: number;
  let max: number;
  if (known) {
    min = constNumber(reg.v) + off;
    max = min + size;
  } else {
    if (smaxNumber(reg.v) >= MAX_VAR_OFF || sminNumber(reg.v) <= -MAX_VAR_OFF) {
      env.fail('EACCES', `invalid unbounded variable-offset${extra} stack R${n}`, {
        kind: 'stack_unbounded',
        register: n,
        region: 'stack',
        offset: off,
        size,
      });
    }
    min = sminNumber(reg.v) + off;
    max = smaxNumber(reg.v) + off + size;
  }
  const allocated = env.frameOf(reg).stack.length * 8;
  const grows = write || (env.allowUninitStack && env.release.has('untouched_stack_reads'));
  const lowest = grows ? -STACK_LIMIT : -allocated;
  const bad = min < lowest || min > -1 ? 'EACCES' : max > 0 ? 'EINVAL' : size < 0 ? 'EFAULT' : null;
  if (bad !== null) {
    // Below what was ever written, but inside of the frame.
    const kind = !write && min >= -STACK_LIMIT && max <= 0 ? 'stack_uninitialised' : 'stack_bounds';
    if (known)
      env.fail(bad, `invalid${extra} stack R${n} off=${off} size=${size}`, {
        kind,
        register: n,
        region: 'stack',
        offset: min,
        size,
        limit: 512,
      });
    env.fail(
      bad,
      `invalid variable-offset${extra} stack R${n} var_off=${formatVarOff(reg.v.tnum)} off=${off} size=${size}`,
      { kind, register: n, region: 'stack', offset: off, size, min, max, limit: 512 },
    );
  }
  env.growStack(reg.frameno, -min);
}

/** The slot with the low `size` bytes spilled from `reg`. */
function spillInto(env: Env, slot: Slot, reg: Reg, size: number): Slot {
  let { types } = slot;
  const keepsZero = size < 8 && env.release.has('zeroes_beside_spills');
  for (let i = 7; i > 7 - size; i--) types = withSlotType(types, i, STACK_SPILL);
  for (let i = 7 - size; i >= 0; i--) {
    const type = slotType(types, i);
    if ((type !== STACK_ZERO || !keepsZero) && type !== STACK_INVALID)
      types = withSlotType(types, i, STACK_MISC);
  }
  return new Slot(types, reg);
}

/** Bytes of a spilled register or dynptr become plain data. */
function scrub(types: number): number {
  let scrubbed = types;
  for (let i = 0; i < 8; i++) {
    if (slotType(types, i) !== STACK_INVALID) scrubbed = withSlotType(scrubbed, i, STACK_MISC);
  }
  return scrubbed;
}

function isSpecial(slot: Slot): boolean {
  const type = slotType(slot.types, 7);
  return type === STACK_SPILL || type >= STACK_DYNPTR;
}

function isStoreImm(env: Env): boolean {
  const { code } = env.insns[env.insn]!;
  return insnClass(code) === CLASS.ST && insnMode(code) === MODE.MEM;
}

/** Whether a narrower store into the slot counts as an attack on what was spilled there. */
function corruptsSpill(env: Env, slot: Slot): boolean {
  if (!isSpilledScalar(slot)) return true;
  return !env.release.has('narrow_store_over_scalar') && slotType(slot.types, 0) === STACK_SPILL;
}

/** Whether the release keeps what is known of a scalar that is spilled. */
function keepsScalar(env: Env, reg: Reg, size: number): boolean {
  const { release } = env;
  if (release.has('spills_of_any_scalar')) return true;
  if (size !== 8 && !release.has('spills_of_part')) return false;
  if (isNull(reg) && !release.has('spills_of_zero')) return false;
  if (isConst(reg.v)) return true;
  return release.has('spills_of_bounded_scalars') && !isUnknown(reg.v);
}

function keepsImmediate(env: Env): boolean {
  if (!env.release.has('spills_of_immediates')) return false;
  return env.insns[env.insn]!.imm !== 0 || env.release.has('spills_of_zero');
}

/** Store of register `value` (-1: an immediate, or unknown data) at `off` of frame `frameno`; inside the stack. */
function writeFixed(env: Env, frameno: number, off: number, size: number, value: number): void {
  const byte = -off - 1;
  const spi = byte >> 3;
  let slot = env.cur.frames[frameno]!.stack[spi]!;
  if (!env.allowPtrLeaks && isSpilled(slot) && size !== 8 && corruptsSpill(env, slot)) {
    env.fail('EACCES', 'attempt to corrupt spilled pointer on stack', {
      kind: 'stack_spill',
      detail: 'partly overwritten',
    });
  }
  let reg = value >= 0 ? env.reg(value) : null;
  if (!env.bypassSpecV4) {
    let barrier = reg !== null && isSpillable(reg.type);
    for (let i = 0; i < size && !barrier; i++) {
      const type = slotType(slot.types, i);
      barrier = type !== STACK_MISC && type !== STACK_ZERO;
    }
    if (barrier) env.marks[env.insn]! |= NOSPEC_RESULT;
  }
  destroyDynptrAt(env, frameno, spi);
  slot = env.cur.frames[frameno]!.stack[spi]!;
  const aligned = (off & 7) === 0;
  if (aligned && size === 8) env.liveStack.markWrite(frameno, spi);
  env.scratched.markSlot(spi);

  const constant = reg === null && isStoreImm(env);
  if (reg !== null && aligned && reg.type === SCALAR && env.bpfCapable && keepsScalar(env, reg, size)) {
    const fits = fitsBytes(reg, size);
    if (fits && env.linksSpills) reg = linkBeforeCopy(env, value);
    // A narrowing spill is not the same number any longer.
    const spilled = fits ? reg : scalarReg(reg.v, 0, reg.off);
    env.cur.setSlot(frameno, spi, spillInto(env, slot, spilled, size));
  } else if (constant && aligned && env.bpfCapable && keepsImmediate(env)) {
    const spilled = scalarReg(constantFromNumber(env.insns[env.insn]!.imm));
    env.cur.setSlot(frameno, spi, spillInto(env, slot, spilled, size));
  } else if (reg !== null && isSpillable(reg.type)) {
    if (size !== 8) {
      env.verboseLine(env.insn, '; ');
      env.fail('EACCES', 'invalid size of register spill', {
        kind: 'stack_spill',
        register: value,
        detail: 'part of a pointer',
      });
    }
    if (frameno !== env.cur.curframe && reg.type === PTR_TO_STACK) {
      env.fail('EINVAL', 'cannot spill pointers to stack into stack frame of the caller', {
        kind: 'stack_spill',
        register: value,
        detail: 'into the caller',
      });
    }
    env.cur.setSlot(frameno, spi, spillInto(env, slot, reg, size));
  } else {
    let types = isSpecial(slot) ? scrub(slot.types) : slot.types;
    let type = STACK_MISC;
    if (
      (reg !== null && isNull(reg)) ||
      (reg === null && isStoreImm(env) && env.insns[env.insn]!.imm === 0)
    ) {
      if (value >= 0) markPrecise(env, value);
      type = STACK_ZERO;
    }
    for (let i = 0; i < size; i++) types = withSlotType(types, (byte - i) & 7, type);
    if (types !== slot.types || slot.reg !== NOT_INIT_REG)
      env.cur.setSlot(frameno, spi, new Slot(types, NOT_INIT_REG));
    return;
  }
  env.pushHistory(stackAccessFlags(frameno, spi));
}

/** Store somewhere in a range of the stack: whatever lies there may or may not be overwritten. */
function writeVariable(env: Env, ptr: Reg, off: number, size: number, value: number): void {
  const min = sminNumber(ptr.v) + off;
  const max = smaxNumber(ptr.v) + off + size;
  const { frameno } = ptr;
  const reg = value >= 0 ? env.reg(value) : null;
  const zero =
    (reg !== null && isNull(reg)) || (reg === null && isStoreImm(env) && env.insns[env.insn]!.imm === 0);
  for (let i = min; i < max; i++) destroyDynptrAt(env, frameno, slotIndex(i));
  let zeroUsed = false;
  const frame = env.cur.own(frameno);
  for (let i = min; i < max; i++) {
    const byte = -i - 1;
    const spi = byte >> 3;
    const slot = frame.stack[spi]!;
    const type = slotType(slot.types, byte & 7);
    env.scratched.markSlot(spi);
    if (!env.allowPtrLeaks && type !== STACK_MISC && type !== STACK_ZERO) {
      env.fail('EINVAL', `spilled ptr in range of var-offset stack write; insn ${env.insn}, ptr off: ${i}`, {
        kind: 'stack_spill',
        detail: 'variable offset',
      });
    }
    if (zero && type === STACK_SPILL && isSpilledScalar(slot) && isNull(slot.reg)) {
      zeroUsed = true;
      continue;
    }
    let changed = STACK_MISC;
    if (zero && type === STACK_ZERO) {
      changed = STACK_ZERO;
      zeroUsed = true;
    }
    if (type === STACK_INVALID && !env.allowUninitStack) {
      env.fail(
        'EINVAL',
        `uninit stack in range of var-offset write prohibited for !root; insn ${env.insn}, off: ${i}`,
        { kind: 'stack_uninitialised', offset: i, detail: 'variable write' },
      );
    }
    const types = isSpecial(slot) ? scrub(slot.types) : slot.types;
    env.cur.setSlot(frameno, spi, new Slot(withSlotType(types, byte & 7, changed), NOT_INIT_REG));
  }
  if (zeroUsed && value >= 0) markPrecise(env, value);
}

/** What a load of plain bytes gives: 0 where all are known to be, else anything. */
function readBytes(env: Env, frameno: number, min: number, max: number): Reg {
  const { stack } = env.cur.frames[frameno]!;
  for (let i = min; i < max; i++) {
    const byte = -i - 1;
    const spi = byte >> 3;
    env.scratched.markSlot(spi);
    if (slotType(stack[spi]!.types, byte & 7) !== STACK_ZERO) return UNKNOWN_REG;
  }
  return ZERO_REG;
}

function checkReadable(env: Env, type: number, off: number, at: number, size: number): void {
  if (type === STACK_MISC || type === STACK_ZERO || (type === STACK_INVALID && env.allowUninitStack)) return;
  env.fail('EACCES', `invalid read from stack off ${off}+${at} size ${size}`, {
    kind: 'stack_uninitialised',
    region: 'stack',
    offset: off,
    size,
    actual: at,
  });
}

/** Load of `size` bytes at `off` into register `dst` (-1: into none). */
function readFixed(env: Env, frameno: number, off: number, size: number, dst: number): void {
  const byte = -off - 1;
  const spi = byte >> 3;
  const slot = env.cur.frames[frameno]!.stack[spi]!;
  env.scratched.markSlot(spi);
  env.liveStack.markRead(frameno, spi);
  if (!isSpilled(slot)) {
    for (let i = 0; i < size; i++) checkReadable(env, slotType(slot.types, (byte - i) & 7), off, i, size);
    if (dst >= 0) env.setReg(dst, readBytes(env, frameno, off, off + size));
    return;
  }
  const { reg } = slot;
  let spilled = 1;
  for (let i = 6; i >= 0 && slotType(slot.types, i) === STACK_SPILL; i--) spilled++;
  if (size === 8 && spilled === 8) {
    if (dst >= 0) {
      env.setReg(dst, reg);
    } else if (env.isLeak(reg)) {
      env.fail('EACCES', `leaking pointer from stack off ${off}`, {
        kind: 'pointer_leak',
        detail: 'part of it',
      });
    }
    env.pushHistory(stackAccessFlags(frameno, spi));
    return;
  }
  if (reg.type !== SCALAR) {
    env.verboseLine(env.insn, '; ');
    env.fail('EACCES', 'invalid size of register fill', { kind: 'stack_spill', detail: 'part of it read' });
  }
  if (dst < 0) return;
  if ((size === spilled || (size < spilled && env.release.has('narrowing_fills'))) && (off & 7) === 0) {
    // A narrowing fill is not the same number any longer.
    env.setReg(dst, fitsBytes(reg, size) ? reg : scalarReg(reg.v, 0, reg.off));
    env.pushHistory(stackAccessFlags(frameno, spi));
    return;
  }
  let spills = 0;
  let zeros = 0;
  for (let i = 0; i < size; i++) {
    const type = slotType(slot.types, (byte - i) & 7);
    if (type === STACK_SPILL) {
      spills++;
      continue;
    }
    if (type === STACK_ZERO) zeros++;
    checkReadable(env, type, off, i, size);
  }
  if (spills === size && isNull(reg)) {
    env.setReg(dst, ZERO_REG);
    env.pushHistory(stackAccessFlags(frameno, spi));
    return;
  }
  env.setReg(dst, zeros === size ? ZERO_REG : UNKNOWN_REG);
}

/** Load through register `n`; `off` includes its fixed offset, bounds are checked. */
export function readStack(env: Env, n: number, off: number, size: number, dst: number): void {
  const reg = env.reg(n);
  if (isConst(reg.v)) {
    readFixed(env, reg.frameno, off + constNumber(reg.v), size, dst);
    return;
  }
  if (dst < 0) {
    env.fail(
      'EACCES',
      `variable offset stack pointer cannot be passed into helper function; var_off=${formatVarOff(reg.v.tnum)} off=${off} size=${size}`,
      { kind: 'stack_variable', register: n, detail: 'helper' },
    );
  }
  checkStackRange(env, n, off, size, { zeroSize: false, write: false });
  const min = sminNumber(reg.v) + off;
  const max = smaxNumber(reg.v) + off + size;
  env.setReg(dst, readBytes(env, reg.frameno, min, max));
}

/** Store through register `n`; `off` includes its fixed offset, bounds are checked. */
export function writeStack(env: Env, n: number, off: number, size: number, value: number): void {
  const reg = env.reg(n);
  if (isConst(reg.v)) {
    writeFixed(env, reg.frameno, off + constNumber(reg.v), size, value);
  } else {
    writeVariable(env, reg, off, size, value);
  }
}

export interface StackRange {
  readonly zeroSize: boolean;
  readonly write: boolean;
  /** The helper fills the memory: told where, instead of a check that it is initialised. */
  readonly onRaw?: (size: number) => void;
}

/** A helper (or a load at a variable offset) accesses `size` bytes: they must be initialised, unless it only writes them. */
export function checkStackRange(env: Env, n: number, off: number, size: number, access: StackRange): void {
  const reg = env.reg(n);
  if (size === 0 && !access.zeroSize)
    env.fail('EACCES', 'invalid zero-sized read', { kind: 'stack_zero_size', register: n, argument: n });
  checkStackBounds(env, n, off, size, access.write);
  const { frameno } = reg;
  const known = isConst(reg.v);
  let { onRaw } = access;
  let min: number;
  let max: number;
  if (known) {
    min = constNumber(reg.v) + off;
    max = min;
  } else {
    if (!env.bypassSpecV1) {
      env.fail(
        'EACCES',
        `R${n} variable offset stack access prohibited for !root, var_off=${formatVarOff(reg.v.tnum)}`,
        { kind: 'stack_variable', register: n, detail: 'unprivileged' },
      );
    }
    onRaw = undefined;
    min = sminNumber(reg.v) + off;
    max = smaxNumber(reg.v) + off;
  }
  if (onRaw !== undefined) {
    const { stack } = env.cur.frames[frameno]!;
    for (let i = min; i < max + size; i++) {
      const byte = -i - 1;
      const slot = stack[byte >> 3];
      if (slot !== undefined && slotType(slot.types, byte & 7) === STACK_DYNPTR) {
        env.fail('EACCES', `potential write to dynptr at off=${i} disallowed`, {
          kind: 'dynptr_overwritten',
          register: n,
          argument: n,
          offset: i,
        });
      }
    }
    onRaw(size);
    return;
  }
  for (let i = min; i < max + size; i++) {
    const byte = -i - 1;
    const spi = byte >> 3;
    const slot = env.cur.frames[frameno]!.stack[spi];
    if (slot === undefined) env.fail('EFAULT', 'allocated_stack too small', { kind: 'internal' });
    const type = slotType(slot.types, byte & 7);
    if (type === STACK_MISC) {
      // Initialised.
    } else if (type === STACK_ZERO || (type === STACK_INVALID && env.allowUninitStack)) {
      if (access.write) {
        env.cur.setSlot(frameno, spi, new Slot(withSlotType(slot.types, byte & 7, STACK_MISC), slot.reg));
      }
    } else if (isSpilled(slot) && (slot.reg.type === SCALAR || env.allowPtrLeaks)) {
      if (access.write) {
        env.cur.setSlot(frameno, spi, new Slot(scrub(slot.types), UNKNOWN_REG));
      }
    } else if (known) {
      env.fail('EACCES', `invalid read from stack R${n} off ${min}+${i - min} size ${size}`, {
        kind: 'stack_uninitialised',
        register: n,
        argument: n,
        region: 'stack',
        offset: min,
        size,
        actual: i - min,
      });
    } else {
      env.fail(
        'EACCES',
        `invalid read from stack R${n} var_off ${formatVarOff(reg.v.tnum)}+${i - min} size ${size}`,
        {
          kind: 'stack_uninitialised',
          register: n,
          argument: n,
          region: 'stack',
          offset: min,
          size,
          actual: i - min,
          detail: 'variable',
        },
      );
    }
    env.liveStack.markRead(frameno, spi);
  }
}
