/**
 * Whether a state adds nothing to an explored one: if everything behind the old state is safe, so is everything behind
 * the current one (kernel 6.18: states_equal, regsafe, stacksafe, refsafe).
 *
 * Ids are names, not numbers: two states match when there is a one-to-one renaming between them (IdMap).
 */
import { rangeWithin, scalarEquals, tnumIn } from './domain/index.ts';
import type { Env } from './env.ts';
import {
  ADD_CONST,
  BASE_MASK,
  baseId,
  linkMark,
  NOT_INIT,
  PTR_TO_ARENA,
  PTR_TO_BUF,
  PTR_TO_MAP_KEY,
  PTR_TO_MAP_VALUE,
  PTR_TO_MEM,
  PTR_TO_PACKET,
  PTR_TO_PACKET_META,
  PTR_TO_STACK,
  PTR_TO_TP_BUFFER,
  type Reg,
  SCALAR,
  type StructRef,
  UNKNOWN_REG,
} from './registers.ts';
import { sameSlotObject } from './slot-objects.ts';
import {
  ALL_MISC,
  type Frame,
  isSpilledScalar64,
  Slot,
  STACK_DYNPTR,
  STACK_INVALID,
  STACK_IRQ_FLAG,
  STACK_ITER,
  STACK_MISC,
  STACK_SPILL,
  STACK_ZERO,
  slotType,
  type VState,
} from './state.ts';

/** How much the current state may differ from the old one. */
export const NOT_EXACT = 0;
export const EXACT = 1;
export const RANGE_WITHIN = 2;
export type Exactness = typeof NOT_EXACT | typeof EXACT | typeof RANGE_WITHIN;

/** The renaming of ids found so far. */
export class IdMap {
  private readonly old: number[] = [];
  private readonly cur: number[] = [];
  private count = 0;
  private fresh = 0;

  reset(idGen: number): void {
    this.count = 0;
    this.fresh = idGen;
  }

  check(old: number, cur: number): boolean {
    if (old === 0 || cur === 0) return old === cur;
    for (let i = 0; i < this.count; i++) {
      if (this.old[i] === old) return this.cur[i] === cur;
      if (this.cur[i] === cur) return false;
    }
    this.old[this.count] = old;
    this.cur[this.count] = cur;
    this.count++;
    return true;
  }

  /** For scalars an id may be absent on one side: it then counts as one of its own. */
  checkScalar(old: number, cur: number): boolean {
    return this.check(old === 0 ? ++this.fresh : old, cur === 0 ? ++this.fresh : cur);
  }
}

const ids = new IdMap();

function sameStruct(a: StructRef | null, b: StructRef | null): boolean {
  return a === b || (a !== null && b !== null && a.btf === b.btf && a.id === b.id && a.name === b.name);
}

/** What stands before the variable part: kind, fixed offset, map, size, struct. */
function sameObject(a: Reg, b: Reg): boolean {
  return (
    a.type === b.type &&
    a.off === b.off &&
    a.raw === b.raw &&
    a.map === b.map &&
    a.mapUid === b.mapUid &&
    a.dynptrId === b.dynptrId &&
    sameStruct(a.struct, b.struct) &&
    (a.dynptr === b.dynptr ||
      (a.dynptr !== null &&
        b.dynptr !== null &&
        a.dynptr.type === b.dynptr.type &&
        a.dynptr.firstSlot === b.dynptr.firstSlot))
  );
}

/** Everything but ids. */
function sameValue(a: Reg, b: Reg): boolean {
  return a === b || (sameObject(a, b) && scalarEquals(a.v, b.v));
}

function regsExact(old: Reg, cur: Reg): boolean {
  return sameValue(old, cur) && ids.check(old.id, cur.id) && ids.check(old.refObjId, cur.refObjId);
}

/** Kernel: regs_exact with an id map of its own, for widening. */
export function resetIds(env: Env): void {
  ids.reset(env.idGen);
}

export function regsExactShared(old: Reg, cur: Reg): boolean {
  return regsExact(old, cur);
}

function scalarSafe(env: Env, old: Reg, precise: boolean, cur: Reg, exact: Exactness): boolean {
  if (env.exploreAluLimits) {
    return sameValue(old, cur) && ids.checkScalar(old.id, cur.id);
  }
  if (!precise && exact === NOT_EXACT) return true;
  // A register without links says nothing about others; links of the current one only add constraints.
  if (old.id !== 0) {
    if (linkMark(old.id) !== linkMark(cur.id)) return false;
    if (old.id >= ADD_CONST && old.off !== cur.off) return false;
    if (!ids.checkScalar(old.id, cur.id)) return false;
    // The registers they are a distance from must correspond too.
    if (old.id >= ADD_CONST && !ids.checkScalar(baseId(old.id), baseId(cur.id))) return false;
  }
  return rangeWithin(old.v, cur.v) && tnumIn(old.v.tnum, cur.v.tnum);
}

function regSafe(env: Env, old: Reg, precise: boolean, cur: Reg, exact: Exactness): boolean {
  // The same object without ids: nothing to compare, and nothing to rename.
  if (old === cur && (old.id | old.refObjId) === 0) return true;
  if (exact === EXACT) return regsExact(old, cur);
  if (old.type === NOT_INIT) {
    // What was not there was not used.
    if (exact === NOT_EXACT || cur.type === NOT_INIT) return true;
  }
  if (old.type !== cur.type) return false;
  switch (old.type & BASE_MASK) {
    case SCALAR:
      return scalarSafe(env, old, precise, cur, exact);
    case PTR_TO_MAP_KEY:
    case PTR_TO_MAP_VALUE:
    case PTR_TO_MEM:
    case PTR_TO_BUF:
    case PTR_TO_TP_BUFFER:
      return (
        sameObject(old, cur) &&
        rangeWithin(old.v, cur.v) &&
        tnumIn(old.v.tnum, cur.v.tnum) &&
        ids.check(old.id, cur.id) &&
        ids.check(old.refObjId, cur.refObjId)
      );
    case PTR_TO_PACKET_META:
    case PTR_TO_PACKET:
      // At least the old range, the same alignment, the same relations.
      return (
        old.raw <= cur.raw &&
        old.off === cur.off &&
        ids.check(old.id, cur.id) &&
        rangeWithin(old.v, cur.v) &&
        tnumIn(old.v.tnum, cur.v.tnum)
      );
    case PTR_TO_STACK:
      return regsExact(old, cur) && old.frameno === cur.frameno;
    case PTR_TO_ARENA:
      return true;
    default:
      return regsExact(old, cur);
  }
}

function allMisc(env: Env, slot: Slot): boolean {
  if (slot.types === ALL_MISC) return true;
  if (!env.allowUninitStack) return false;
  for (let i = 0; i < 8; i++) {
    const type = slotType(slot.types, i);
    if (type !== STACK_MISC && type !== STACK_INVALID) return false;
  }
  return true;
}

/** The register that a load of the whole slot gives, where it is a scalar. */
function scalarOf(env: Env, slot: Slot): Reg | null {
  if (isSpilledScalar64(slot)) return slot.reg;
  return allMisc(env, slot) ? UNKNOWN_REG : null;
}

function slotSafe(env: Env, old: Slot, precise: boolean, cur: Slot | undefined, exact: Exactness): boolean {
  if (old === cur && (old.reg.id | old.reg.refObjId) === 0) return true;
  for (let i = 0; i < 8; i++) {
    const type = slotType(old.types, i);
    if (exact !== NOT_EXACT && (cur === undefined || type !== slotType(cur.types, i))) return false;
    if (type === STACK_INVALID) continue;
    if (env.allowUninitStack && type === STACK_MISC) continue;
    if (cur === undefined) return false;
    const oldScalar = scalarOf(env, old);
    const curScalar = oldScalar === null ? null : scalarOf(env, cur);
    if (oldScalar !== null && curScalar !== null) {
      return regSafe(env, oldScalar, oldScalar !== UNKNOWN_REG && precise, curScalar, exact);
    }
    const curType = slotType(cur.types, i);
    if (type === STACK_MISC && curType === STACK_ZERO) continue;
    if (type !== curType) return false;
    if (i !== 7) continue;
    if (type === STACK_SPILL) return regSafe(env, old.reg, precise, cur.reg, exact);
    if (type === STACK_DYNPTR) {
      return (
        old.reg.dynptr?.type === cur.reg.dynptr?.type &&
        old.reg.dynptr?.firstSlot === cur.reg.dynptr?.firstSlot &&
        ids.check(old.reg.refObjId, cur.reg.refObjId)
      );
    }
    // How often an iterator has advanced does not matter: loops would never converge.
    if (type === STACK_ITER || type === STACK_IRQ_FLAG) {
      return sameSlotObject(old.reg, cur.reg) && ids.check(old.reg.refObjId, cur.reg.refObjId);
    }
  }
  return true;
}

function refsSafe(old: VState, cur: VState): boolean {
  if (old.refs.length !== cur.refs.length || old.activeLocks !== cur.activeLocks) return false;
  if (old.activePreemptLocks !== cur.activePreemptLocks || old.activeRcuLock !== cur.activeRcuLock)
    return false;
  if (!ids.check(old.activeIrqId, cur.activeIrqId)) return false;
  if (!ids.check(old.activeLockId, cur.activeLockId) || old.activeLockObject !== cur.activeLockObject)
    return false;
  for (let i = 0; i < old.refs.length; i++) {
    const a = old.refs[i]!;
    const b = cur.refs[i]!;
    if (!ids.check(a.id, b.id) || a.kind !== b.kind || a.object !== b.object) return false;
  }
  return true;
}

const ALL_REGS = 0x7ff;
/** Places in a frame: registers 0–10, then slots. */
const FIRST_SLOT = 16;

function noteDifference(
  old: VState,
  frame: number,
  place: number,
  what: Reg | Slot,
  precise: boolean,
): false {
  old.differentFrame = frame;
  old.differentPlace = place;
  old.different = what;
  old.differentPrecise = precise;
  return false;
}

function frameSafe(env: Env, old: VState, i: number, cur: Frame, exact: Exactness): boolean {
  const a = old.frames[i]!;
  const allPrecise = !env.bpfCapable;
  for (let live = env.liveRegs[old.insnOfFrame(i)]! & ALL_REGS; live !== 0; live &= live - 1) {
    const n = 31 - Math.clz32(live & -live);
    const reg = a.regs[n]!;
    const precise = allPrecise || old.isRegPrecise(i, n);
    if (!regSafe(env, reg, precise, cur.regs[n]!, exact)) return noteDifference(old, i, n, reg, precise);
  }
  const { stack } = a;
  for (let spi = 0; spi < stack.length; spi++) {
    const slot = stack[spi]!;
    if (slot.types === 0 && exact === NOT_EXACT) continue;
    const precise = allPrecise || old.isSlotPrecise(i, spi);
    if (!slotSafe(env, slot, precise, cur.stack[spi], exact)) {
      return noteDifference(old, i, FIRST_SLOT + spi, slot, precise);
    }
  }
  return true;
}

/**
 * What told a state and another one apart tells it and the next one apart most of the time. Whether that register or slot
 * alone, with no other ids to agree with, is different already. (A mark of precision that came later would only make it
 * more different.)
 */
function differsAgain(env: Env, old: VState, cur: VState, exact: Exactness): boolean {
  const frame = cur.frames[old.differentFrame];
  if (frame === undefined) return false;
  const what = old.different;
  const place = old.differentPlace;
  ids.reset(env.idGen);
  if (what instanceof Slot) {
    return !slotSafe(env, what, old.differentPrecise, frame.stack[place - FIRST_SLOT], exact);
  }
  return !regSafe(env, what, old.differentPrecise, frame.regs[place]!, exact);
}

export function statesEqual(env: Env, old: VState, cur: VState, exact: Exactness): boolean {
  if (old.differentFrame >= 0 && differsAgain(env, old, cur, exact)) return false;
  if (old.frames.length !== cur.frames.length) return false;
  if (old.speculative && !cur.speculative) return false;
  if (old.sleepable !== cur.sleepable) return false;
  for (let i = 0; i < old.frames.length; i++) {
    const a = old.frames[i]!;
    const b = cur.frames[i]!;
    if (a.callsite !== b.callsite || a.callbackDepth > b.callbackDepth) return false;
  }
  ids.reset(env.idGen);
  if (!refsSafe(old, cur)) return false;
  for (let i = 0; i < old.frames.length; i++) {
    if (!frameSafe(env, old, i, cur.frames[i]!, exact)) return false;
  }
  return true;
}

/** A quick test before the exact comparison: the registers of the innermost frames are the same. */
export function maybeLooping(old: VState, cur: VState): boolean {
  if (old.frames.length !== cur.frames.length) return false;
  const a = old.frame.regs;
  const b = cur.frame.regs;
  for (let n = 0; n < 11; n++) {
    const x = a[n]!;
    const y = b[n]!;
    if (x !== y && !(sameValue(x, y) && x.id === y.id && x.refObjId === y.refObjId)) return false;
  }
  return true;
}
