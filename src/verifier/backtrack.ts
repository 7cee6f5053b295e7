/**
 * Precision: when a check relies on the exact bounds of a scalar, the instructions that computed it are walked backwards,
 * through the history of this path and its parent states, and every register and slot it came from is marked in those
 * states; comparison (prune.ts) then must not ignore their bounds. Kernel 6.18: mark_chain_precision, backtrack_insn.
 *
 * When the walk meets something it cannot follow, every scalar of all parent states is marked: always safe.
 */
import {
  ALU_OP,
  ATOMIC,
  CLASS,
  insnClass,
  insnMode,
  insnOp,
  JMP_OP,
  LD_IMM64,
  MODE,
  SOURCE,
} from '../asm/opcodes.ts';
import type { Insn } from '../contracts/insn.ts';
import { InternalError } from '../util/errors.ts';
import { isHelperCall, isKfuncCall, isPseudoCall } from './check-structure.ts';
import { CALLS_CALLBACK, type Env } from './env.ts';
import { helperPrototype } from './helper-table.ts';
import { kfuncOf } from './kfunc/resolve.ts';
import { formatRegMask, formatSlotMask } from './log.ts';
import { SCALAR } from './registers.ts';
import {
  HIST_DST_STACK,
  HIST_SRC_STACK,
  HIST_STACK_ACCESS,
  type HistoryEntry,
  isSpilled,
  isSpilledScalar,
  MAIN_CALLSITE,
  MAX_FRAMES,
  type VState,
} from './state.ts';

const ARGS = 0x3e;

/** Registers and slots whose origin is looked for, per frame. */
export class Wanted {
  frame = 0;
  /** Innermost frame since the last reset: those behind it are empty. */
  private innermost = 0;
  readonly regs = new Int32Array(MAX_FRAMES);
  readonly slots = new Int32Array(MAX_FRAMES * 2);

  reset(frame: number): void {
    for (let i = 0; i <= this.innermost; i++) {
      this.regs[i] = 0;
      this.slots[2 * i] = 0;
      this.slots[2 * i + 1] = 0;
    }
    this.frame = frame;
    this.innermost = frame;
  }

  enter(): void {
    this.frame++;
    if (this.frame > this.innermost) this.innermost = this.frame;
  }

  get empty(): boolean {
    let all = 0;
    for (let i = 0; i <= this.frame; i++) {
      all |= this.regs[i]! | this.slots[2 * i]! | this.slots[2 * i + 1]!;
    }
    return all === 0;
  }

  hasReg(reg: number, frame = this.frame): boolean {
    return (this.regs[frame]! & (1 << reg)) !== 0;
  }

  setReg(reg: number, frame = this.frame): void {
    this.regs[frame]! |= 1 << reg;
  }

  clearReg(reg: number, frame = this.frame): void {
    this.regs[frame]! &= ~(1 << reg);
  }

  hasSlot(frame: number, spi: number): boolean {
    return ((this.slots[2 * frame + (spi >> 5)]! >>> (spi & 31)) & 1) !== 0;
  }

  setSlot(frame: number, spi: number): void {
    this.slots[2 * frame + (spi >> 5)]! |= 1 << (spi & 31);
  }

  clearSlot(frame: number, spi: number): void {
    this.slots[2 * frame + (spi >> 5)]! &= ~(1 << (spi & 31));
  }

  get anySlot(): boolean {
    return (this.slots[2 * this.frame]! | this.slots[2 * this.frame + 1]!) !== 0;
  }
}

const wanted = new Wanted();

function bug(what: string): never {
  throw new InternalError(`verifier backtracking: ${what}`);
}

/** Registers refined together are wanted together. */
function syncLinked(entry: HistoryEntry | null): void {
  const linked = entry?.linked;
  if (linked === null || linked === undefined) return;
  const some = linked.some((e) =>
    e.isReg ? wanted.hasReg(e.index, e.frameno) : wanted.hasSlot(e.frameno, e.index),
  );
  if (!some) return;
  for (const e of linked) {
    if (e.isReg) wanted.setReg(e.index, e.frameno);
    else wanted.setSlot(e.frameno, e.index);
  }
}

/** False where the instruction cannot be followed. */
function stepAlu(env: Env, index: number): void {
  const insn = env.insns[index]!;
  if (!wanted.hasReg(insn.dst)) return;
  const op = insnOp(insn.code);
  if (op === ALU_OP.END || op === ALU_OP.NEG) return;
  const register = (insn.code & SOURCE.X) !== 0;
  if (op === ALU_OP.MOV) wanted.clearReg(insn.dst);
  if (register && insn.src !== 10) wanted.setReg(insn.src);
}

/** The register an instruction of class STX loads into; -1: it only stores. */
function atomicallyLoaded(insn: Insn): number {
  if (insnClass(insn.code) !== CLASS.STX || insnMode(insn.code) !== MODE.ATOMIC) return -1;
  if (insn.imm === ATOMIC.LOAD_ACQ) return insn.dst;
  if (insn.imm === ATOMIC.CMPXCHG) return 0;
  return (insn.imm & ATOMIC.FETCH) !== 0 && insn.imm !== ATOMIC.STORE_REL ? insn.src : -1;
}

function stepLoad(register: number, entry: HistoryEntry | null): void {
  if (!wanted.hasReg(register)) return;
  wanted.clearReg(register);
  if (entry === null || (entry.flags & HIST_STACK_ACCESS) === 0) return;
  wanted.setSlot(entry.flags & 7, (entry.flags >> 3) & 63);
}

function stepStore(env: Env, index: number, entry: HistoryEntry | null): boolean {
  const insn = env.insns[index]!;
  if (wanted.hasReg(insn.dst)) return false;
  if (entry === null || (entry.flags & HIST_STACK_ACCESS) === 0) return true;
  const frame = entry.flags & 7;
  const spi = (entry.flags >> 3) & 63;
  if (!wanted.hasSlot(frame, spi)) return true;
  wanted.clearSlot(frame, spi);
  if (insnClass(insn.code) === CLASS.STX) wanted.setReg(insn.src);
  return true;
}

function leaveSubprog(): void {
  if (wanted.frame === 0) bug('leaving frame 0');
  wanted.frame--;
}

function enterSubprog(): void {
  if (wanted.frame === MAX_FRAMES - 1) bug('too many frames');
  wanted.enter();
}

function stepPseudoCall(env: Env, index: number): void {
  const insn = env.insns[index]!;
  const subprog = env.subprogs[env.subprogStartingAt(index + insn.imm + 1)];
  if (subprog?.linkage === 'global') {
    if ((wanted.regs[wanted.frame]! & ARGS) !== 0) bug('arguments wanted behind a global call');
    wanted.clearReg(0);
    return;
  }
  if ((wanted.regs[wanted.frame]! & ~ARGS) !== 0) bug('registers other than arguments at function entry');
  if (wanted.anySlot) bug('stack slots wanted at function entry');
  const args = wanted.regs[wanted.frame]! & ARGS;
  wanted.regs[wanted.frame] = 0;
  leaveSubprog();
  wanted.regs[wanted.frame]! |= args;
}

function stepExit(env: Env, subseq: number): void {
  if (subseq >= 0 && (env.marks[subseq]! & CALLS_CALLBACK) !== 0) wanted.regs[wanted.frame]! &= ~ARGS;
  if ((wanted.regs[wanted.frame]! & ARGS) !== 0) bug('arguments wanted behind a function exit');
  const r0 = subseq - 1 >= 0 && isPseudoCall(env.insns[subseq - 1]!) && wanted.hasReg(0);
  wanted.clearReg(0);
  enterSubprog();
  if (r0) wanted.setReg(0);
}

function stepHelperCall(env: Env, index: number, subseq: number): void {
  const insn = env.insns[index]!;
  wanted.clearReg(0);
  if ((wanted.regs[wanted.frame]! & ARGS) !== 0) bug('arguments wanted behind a call');
  if (isHelperCall(insn) && subseq - index !== 1 && helperPrototype(env, insn.imm)?.tailCall) enterSubprog();
}

function stepJump(env: Env, index: number, subseq: number, entry: HistoryEntry | null): void {
  const insn = env.insns[index]!;
  const op = insnOp(insn.code);
  if (isPseudoCall(insn)) {
    stepPseudoCall(env, index);
  } else if (
    index !== subseq - 1 &&
    (isHelperCall(insn) ? helperPrototype(env, insn.imm) : kfuncOf(env, insn)?.row)?.callback === 'sync'
  ) {
    // From the callback back to the helper that called it: its R1–R5 were made there.
    if ((wanted.regs[wanted.frame]! & ~ARGS) !== 0) bug('registers other than arguments at callback entry');
    if (wanted.anySlot) bug('stack slots wanted at callback entry');
    wanted.regs[wanted.frame] = 0;
    leaveSubprog();
  } else if (op === JMP_OP.CALL) {
    stepHelperCall(env, index, subseq);
  } else if (op === JMP_OP.EXIT) {
    stepExit(env, subseq);
  } else if ((insn.code & SOURCE.X) !== 0) {
    if (!wanted.hasReg(insn.dst) && !wanted.hasReg(insn.src)) return;
    const flags = entry?.flags ?? 0;
    if ((flags & HIST_SRC_STACK) === 0) wanted.setReg(insn.src);
    if ((flags & HIST_DST_STACK) === 0) wanted.setReg(insn.dst);
  }
}

/** Moves the wish list before instruction `index`; false where that cannot be done. */
function step(env: Env, index: number, subseq: number, entry: HistoryEntry | null): boolean {
  const insn = env.insns[index]!;
  if (insn.code === 0) return true;
  if (env.logsAll) {
    const f = wanted.frame;
    env.verbose(
      `mark_precise: frame${f}: regs=${formatRegMask(wanted.regs[f]!)} ` +
        `stack=${formatSlotMask(wanted.slots[2 * f]!, wanted.slots[2 * f + 1]!)} before ${index}: ${env.insnText(index)}\n`,
    );
  }
  syncLinked(entry);
  const cls = insnClass(insn.code);
  switch (cls) {
    case CLASS.ALU:
    case CLASS.ALU64:
      if (!wanted.hasReg(insn.dst)) return true;
      if (insnOp(insn.code) === ALU_OP.END || insnOp(insn.code) === ALU_OP.NEG) return true;
      stepAlu(env, index);
      break;
    case CLASS.LDX:
      stepLoad(insn.dst, entry);
      break;
    case CLASS.STX:
    case CLASS.ST: {
      // What an atomic operation leaves in memory is never a known number: only the register counts. (Linux 6.18 keeps
      // looking for the register before the operation, and so prunes paths that it should follow.)
      const loaded = atomicallyLoaded(insn);
      if (loaded >= 0) stepLoad(loaded, entry);
      else if (!stepStore(env, index, entry)) return false;
      break;
    }
    case CLASS.JMP:
    case CLASS.JMP32:
      // Without a function there is nothing to know; the program is refused in the end.
      if (isKfuncCall(insn) && insn.imm === 0) return false;
      stepJump(env, index, subseq, entry);
      break;
    default: {
      const mode = insnMode(insn.code);
      if ((mode === MODE.IND || mode === MODE.ABS) && subseq - index !== 1) {
        // The load was outside of the packet and returned 0 to the caller.
        wanted.clearReg(0);
        enterSubprog();
        return true;
      }
      if (!wanted.hasReg(insn.dst)) return true;
      wanted.clearReg(insn.dst);
      if (mode === MODE.IND || mode === MODE.ABS) return false;
    }
  }
  syncLinked(entry);
  return true;
}

/** In a mask of what an instruction is about: it has to be looked at in any case, or is a plain store. */
const SPECIAL = 1 << 30;
const STORE = 1 << 29;

/** Registers that an instruction is about: where none of them is wanted, nothing changes before it. */
function trackMask(insn: Insn): number {
  const dst = 1 << insn.dst;
  const cls = insnClass(insn.code);
  switch (cls) {
    case CLASS.ALU:
    case CLASS.ALU64:
    case CLASS.LDX:
      return dst;
    case CLASS.STX:
      return insnMode(insn.code) === MODE.ATOMIC ? SPECIAL : STORE | dst;
    case CLASS.ST:
      return STORE | dst;
    case CLASS.JMP:
    case CLASS.JMP32: {
      const op = insnOp(insn.code);
      if (op === JMP_OP.CALL || op === JMP_OP.EXIT) return SPECIAL;
      return (insn.code & SOURCE.X) === 0 ? 0 : dst | (1 << insn.src);
    }
    default:
      return insn.code === 0 ? 0 : insn.code === LD_IMM64 ? dst : SPECIAL;
  }
}

function trackMasks(env: Env): Int32Array {
  env.trackMasks ??= Int32Array.from(env.insns, trackMask);
  return env.trackMasks;
}

/** Whether the step before an instruction with that mask changes nothing. */
function isQuiet(mask: number, entry: HistoryEntry | null): boolean {
  if ((mask & (wanted.regs[wanted.frame]! | SPECIAL)) !== 0) return false;
  if (entry === null) return true;
  return entry.linked === null && ((mask & STORE) === 0 || (entry.flags & HIST_STACK_ACCESS) === 0);
}

/** Marks every scalar of all parent states. */
export function markAllPrecise(env: Env, from: VState): void {
  if (env.logsAll) {
    env.verbose(`mark_precise: frame${from.curframe}: falling back to forcing all scalars precise\n`);
  }
  for (let st = from.parent; st !== null; st = st.parent) {
    for (let i = 0; i < st.frames.length; i++) {
      const frame = st.frames[i]!;
      for (let n = 0; n < 10; n++) {
        if (frame.regs[n]!.type !== SCALAR || st.isRegPrecise(i, n)) continue;
        st.markReg(i, n);
        if (env.logsAll) env.verbose(`force_precise: frame${i}: forcing r${n} to be precise\n`);
      }
      for (let spi = 0; spi < frame.stack.length; spi++) {
        const slot = frame.stack[spi]!;
        if (!isSpilled(slot) || slot.reg.type !== SCALAR || st.isSlotPrecise(i, spi)) continue;
        st.markSlot(i, spi);
        if (env.logsAll) env.verbose(`force_precise: frame${i}: forcing fp${-(spi + 1) * 8} to be precise\n`);
      }
    }
  }
}

/** Marks what is wanted in a parent state; what is marked already, or is no scalar, is not looked for any longer. */
function markInState(env: Env, st: VState): boolean {
  let changed = false;
  for (let fr = wanted.frame; fr >= 0; fr--) {
    const frame = st.frames[fr]!;
    let mask = wanted.regs[fr]!;
    for (let n = 0; mask !== 0; n++, mask >>>= 1) {
      if ((mask & 1) === 0) continue;
      if (frame.regs[n]!.type !== SCALAR || st.isRegPrecise(fr, n)) {
        wanted.clearReg(n, fr);
      } else {
        st.markReg(fr, n);
        changed = true;
      }
    }
    for (let half = 0; half < 2; half++) {
      let slots = wanted.slots[2 * fr + half]!;
      for (let bit = 0; slots !== 0; bit++, slots >>>= 1) {
        if ((slots & 1) === 0) continue;
        const spi = half * 32 + bit;
        const slot = frame.stack[spi];
        if (slot === undefined) bug(`slot ${spi} of ${frame.stack.length}`);
        if (!isSpilledScalar(slot) || st.isSlotPrecise(fr, spi)) {
          wanted.clearSlot(fr, spi);
        } else {
          st.markSlot(fr, spi);
          changed = true;
        }
      }
    }
    if (env.logsAll) {
      env.verbose(
        `mark_precise: frame${fr}: parent state regs=${formatRegMask(wanted.regs[fr]!)} ` +
          `stack=${formatSlotMask(wanted.slots[2 * fr]!, wanted.slots[2 * fr + 1]!)}: `,
      );
      env.printState(st, fr, true);
    }
  }
  return changed;
}

/** Entry of a function that is verified on its own: its arguments are the end of the walk. */
function markAtEntry(st: VState): boolean {
  const frame = st.frames[0]!;
  let mask = wanted.regs[wanted.frame]!;
  if (
    st.curframe !== 0 ||
    frame.subprog === 0 ||
    frame.callsite !== MAIN_CALLSITE ||
    wanted.anySlot ||
    (mask & ~ARGS) !== 0
  ) {
    bug(`function entry with registers ${mask.toString(16)} wanted`);
  }
  let changed = false;
  for (let n = 0; mask !== 0; n++, mask >>>= 1) {
    if ((mask & 1) === 0) continue;
    wanted.clearReg(n);
    if (frame.regs[n]!.type === SCALAR) {
      st.markReg(0, n);
      changed = true;
    }
  }
  return changed;
}

/** Walks back from `from` for everything in the wish list. True where a state got a new mark. */
function walk(env: Env, from: VState): boolean {
  let changed = false;
  if (wanted.empty) return false;
  let st = from;
  let first = st.firstInsn;
  let last = from.insn;
  let subseq = -1;
  let skip = true;
  const masks = trackMasks(env);
  const { logsAll } = env;
  for (;;) {
    if (env.logsAll) {
      env.verbose(
        `mark_precise: frame${wanted.frame}: last_idx ${last} first_idx ${first} subseq_idx ${subseq} \n`,
      );
    }
    if (last < 0) return markAtEntry(st) || changed;
    let top = st.history;
    for (let i = last; ; ) {
      const entry = top !== null && top.insn === i ? top : null;
      if (skip || logsAll || !isQuiet(masks[i]!, entry)) {
        if (!skip && !step(env, i, subseq, entry)) {
          markAllPrecise(env, from);
          return true;
        }
        skip = false;
        if (wanted.empty) return changed;
      }
      subseq = i;
      if (i === st.firstInsn && (top === null || (top.older === null && top.insn === i))) break;
      if (top !== null && top.insn === i) {
        i = top.prev;
        top = top.older;
      } else {
        i--;
      }
      if (i < 0 || i >= env.count) bug(`instruction ${i}`);
    }
    if (st.parent === null) break;
    st = st.parent;
    if (markInState(env, st)) changed = true;
    if (wanted.empty) return changed;
    subseq = first;
    last = st.lastInsn;
    first = st.firstInsn;
  }
  if (!wanted.empty) {
    markAllPrecise(env, from);
    return true;
  }
  return changed;
}

/** The exact value of register `reg` of the current frame matters. */
export function markPrecise(env: Env, reg: number): void {
  if (!env.bpfCapable) return;
  wanted.reset(env.cur.curframe);
  if (env.reg(reg).type !== SCALAR) bug(`register ${reg} is no scalar`);
  wanted.setReg(reg);
  walk(env, env.cur);
}

/** The exact value of a spilled scalar matters. */
export function markSlotPrecise(env: Env, frameno: number, spi: number): void {
  if (!env.bpfCapable) return;
  wanted.reset(env.cur.curframe);
  wanted.setSlot(frameno, spi);
  walk(env, env.cur);
}

/**
 * `cur` was found equal to `old`: what `old` needs precisely, the parents of `cur` need too. True where a state got a new
 * mark.
 */
export function propagatePrecision(env: Env, old: VState, cur: VState): boolean {
  wanted.reset(cur.curframe);
  for (let fr = old.curframe; fr >= 0; fr--) {
    if (!old.hasPrecise(fr) && env.bpfCapable) continue;
    const frame = old.frames[fr]!;
    const names: string[] = [];
    for (let n = 0; n < 10; n++) {
      if (frame.regs[n]!.type !== SCALAR || !(old.isRegPrecise(fr, n) || !env.bpfCapable)) continue;
      if (env.logsAll) names.push(`r${n}`);
      wanted.setReg(n, fr);
    }
    for (let spi = 0; spi < frame.stack.length; spi++) {
      const slot = frame.stack[spi]!;
      if (!isSpilled(slot) || slot.reg.type !== SCALAR || !(old.isSlotPrecise(fr, spi) || !env.bpfCapable))
        continue;
      if (env.logsAll) names.push(`fp${-(spi + 1) * 8}`);
      wanted.setSlot(fr, spi);
    }
    if (names.length > 0) env.verbose(`frame ${fr}: propagating ${names.join(',')}\n`);
  }
  if (!env.bpfCapable) return false;
  return walk(env, cur);
}
