/**
 * A state of the exploration: call frames with registers and stack, references held, and its place in the tree of
 * explored states.
 *
 * Copying is cheap: frames are shared until one side writes (`own`), registers and slots are immutable values. Which
 * scalars must match precisely is learnt after a state was stored, so those marks live in the state, not in the frames.
 */
import type { StackInstance } from './live-instance.ts';
import { framePointer, NOT_INIT_REG, type Reg, SCALAR } from './registers.ts';

export const MAX_FRAMES = 8;
export const STACK_LIMIT = 512;
export const MAIN_CALLSITE = -1;

/** What each byte of a stack slot holds. */
export const STACK_INVALID = 0;
export const STACK_SPILL = 1;
export const STACK_MISC = 2;
export const STACK_ZERO = 3;
export const STACK_DYNPTR = 4;
export const STACK_ITER = 5;
export const STACK_IRQ_FLAG = 6;

export const SLOT_CHARS = ['?', 'r', 'm', '0', 'd', 'i', 'f'] as const;

/**
 * Eight bytes of stack. `types` packs three bits a byte, byte 0 of the kernel's slot_type (the highest address) lowest:
 * entry `i` describes the byte at `-(spi * 8 + i + 1)`.
 */
export class Slot {
  readonly types: number;
  /** The spilled register, a dynptr's part; NOT_INIT_REG where there is none. */
  readonly reg: Reg;

  constructor(types: number, reg: Reg) {
    this.types = types;
    this.reg = reg;
  }
}

export function slotType(types: number, byte: number): number {
  return (types >> (3 * byte)) & 7;
}

export function withSlotType(types: number, byte: number, type: number): number {
  return (types & ~(7 << (3 * byte))) | (type << (3 * byte));
}

export function allBytes(type: number): number {
  let types = 0;
  for (let i = 0; i < 8; i++) types = withSlotType(types, i, type);
  return types;
}

export const ALL_MISC = allBytes(STACK_MISC);
export const ALL_SPILL = allBytes(STACK_SPILL);
export const EMPTY_SLOT = new Slot(0, NOT_INIT_REG);

/** A register is spilled here, at least its low bytes. */
export function isSpilled(slot: Slot): boolean {
  return slotType(slot.types, 7) === STACK_SPILL;
}

export function isSpilledScalar(slot: Slot): boolean {
  return slotType(slot.types, 7) === STACK_SPILL && slot.reg.type === SCALAR;
}

export function isSpilledScalar64(slot: Slot): boolean {
  return slotType(slot.types, 0) === STACK_SPILL && slot.reg.type === SCALAR;
}

export interface RetvalRange {
  readonly min: number;
  readonly max: number;
  /** Only the low 32 bits count, as signed (return_32bit): `return -EPERM` of an int function leaves the upper half zero. */
  readonly narrow?: true;
}

export class Frame {
  regs: Reg[];
  /** Slot `i` is the bytes `fp-8(i+1) .. fp-8i-1`; its length is the stack allocated so far. Written by `VState.setSlot`. */
  stack: readonly Slot[];
  /** The call instruction, MAIN_CALLSITE for an entry function. */
  readonly callsite: number;
  readonly frameno: number;
  readonly subprog: number;
  asyncEntryCount = 0;
  callbackRange: RetvalRange = { min: 0, max: 0 };
  inCallback = false;
  inAsyncCallback = false;
  /** How many times the callback of the call in this frame has been simulated. */
  callbackDepth = 0;
  owner: number;
  /** Copies of a frame share its stack until one of them writes to it. */
  stackOwner: number;
  /** Stack accesses of its function called in this way: live-stack.ts looks it up once. */
  accesses: StackInstance | null = null;

  constructor(owner: number, callsite: number, frameno: number, subprog: number) {
    this.owner = owner;
    this.stackOwner = owner;
    this.callsite = callsite;
    this.frameno = frameno;
    this.subprog = subprog;
    this.regs = new Array(11).fill(NOT_INIT_REG);
    this.regs[10] = framePointer(frameno);
    this.stack = [];
  }

  clone(owner: number): Frame {
    const copy = new Frame(owner, this.callsite, this.frameno, this.subprog);
    copy.regs = this.regs.slice();
    copy.stack = this.stack;
    copy.stackOwner = this.stackOwner;
    copy.asyncEntryCount = this.asyncEntryCount;
    copy.callbackRange = this.callbackRange;
    copy.inCallback = this.inCallback;
    copy.inAsyncCallback = this.inAsyncCallback;
    copy.callbackDepth = this.callbackDepth;
    copy.accesses = this.accesses;
    return copy;
  }
}

/** bpf_spin_lock, bpf_res_spin_lock, bpf_res_spin_lock_irqsave. */
export type LockKind = 'lock' | 'res_lock' | 'res_lock_irq';

/** A reference that must be given back, a lock that is held, or interrupts that must be restored. */
export interface Reference {
  readonly kind: 'ptr' | 'irq' | LockKind;
  readonly id: number;
  /** Where it was acquired. */
  readonly insn: number;
  /** Locks: the map (or type) the lock lies in. */
  readonly object: object | null;
}

/**
 * One step of the path that is not `the instruction before`, or one that touched the stack or linked registers. Steps are
 * a list from the newest to the oldest, so that states share what they have in common.
 */
export class HistoryEntry {
  readonly insn: number;
  readonly prev: number;
  readonly flags: number;
  /** Registers and slots that were refined together: see linked.ts; null for none. */
  readonly linked: readonly LinkedReg[] | null;
  readonly older: HistoryEntry | null;
  /** Length of the list from here. */
  readonly length: number;

  constructor(
    insn: number,
    prev: number,
    flags: number,
    linked: readonly LinkedReg[] | null,
    older: HistoryEntry | null,
  ) {
    this.insn = insn;
    this.prev = prev;
    this.flags = flags;
    this.linked = linked;
    this.older = older;
    this.length = older === null ? 1 : older.length + 1;
  }
}

export interface LinkedReg {
  readonly frameno: number;
  readonly isReg: boolean;
  /** Register number or slot index. */
  readonly index: number;
}

/** Flags of a history entry: a stack slot was accessed (frame in bits 0–2, slot in 3–8), operands are stack pointers. */
export const HIST_STACK_ACCESS = 1 << 9;
export const HIST_DST_STACK = 1 << 10;
export const HIST_SRC_STACK = 1 << 11;

export function stackAccessFlags(frameno: number, spi: number): number {
  return HIST_STACK_ACCESS | (spi << 3) | frameno;
}

/** The visit of a loop on the way that is being explored: see explored.ts. */
export interface LoopVisit {
  entry: VState | null;
  backEdges: VState[];
}

/** States own the frames that carry their token. */
let lastToken = 0;

export class VState {
  // First what is looked at of each explored state of an instruction: few lines of cache, as there may be many states.
  next: VState | null = null;
  insn = 0;
  /** Paths from here not yet explored to their end. */
  branches = 1;
  cleaned = false;
  /** The loop it stands in; null outside of loops. */
  visit: LoopVisit | null = null;
  missCount = 0;
  hitCount = 0;
  /** What told this state and one that was compared with it apart last: see states-equal.ts. */
  differentFrame = -1;
  differentPlace = 0;
  different: Reg | Slot = NOT_INIT_REG;
  differentPrecise = false;
  frames: Frame[];
  refs: readonly Reference[] = [];
  activeLocks = 0;
  activeLockId = 0;
  activeLockObject: object | null = null;
  /** Sections that the program is in: bpf_rcu_read_lock, bpf_preempt_disable (nested), bpf_local_irq_save (innermost). */
  activeRcuLock = false;
  activePreemptLocks = 0;
  activeIrqId = 0;
  speculative = false;
  sleepable = false;
  parent: VState | null = null;
  firstInsn = 0;
  lastInsn = -1;
  dfsDepth = 0;
  callbackUnrollDepth = 0;
  mayGotoDepth = 0;
  /** Newest step since the last stored state. */
  history: HistoryEntry | null = null;
  /** Of a stored back edge: the state it is equal to. */
  equalState: VState | null = null;
  inFreeList = false;

  /** Per frame three words: registers, slots 0–31, slots 32–63 that must match precisely. */
  private precise: number[] | null = null;
  private token: number;

  constructor() {
    this.token = ++lastToken;
    this.frames = [];
  }

  get curframe(): number {
    return this.frames.length - 1;
  }

  get frame(): Frame {
    return this.frames[this.frames.length - 1]!;
  }

  /** The token of frames that only this state uses. */
  get owner(): number {
    return this.token;
  }

  /** Frame `i`, to be written to. */
  own(i: number): Frame {
    let frame = this.frames[i]!;
    if (frame.owner !== this.token) {
      frame = frame.clone(this.token);
      this.frames[i] = frame;
    }
    return frame;
  }

  ownCurrent(): Frame {
    return this.own(this.frames.length - 1);
  }

  setReg(n: number, reg: Reg): void {
    this.own(this.frames.length - 1).regs[n] = reg;
  }

  setSlot(i: number, spi: number, slot: Slot): void {
    this.ownStack(i)[spi] = slot;
  }

  private ownStack(i: number): Slot[] {
    const frame = this.own(i);
    if (frame.stackOwner !== this.token) {
      frame.stack = frame.stack.slice();
      frame.stackOwner = this.token;
    }
    return frame.stack as Slot[];
  }

  /** A copy that shares all frames; afterwards both sides copy a frame before they write to it. */
  copy(): VState {
    const copy = new VState();
    copy.assign(this);
    return copy;
  }

  /** Becomes a copy of `from` (the list fields stay). */
  assign(from: VState): void {
    from.token = ++lastToken;
    this.token = ++lastToken;
    this.frames = from.frames.slice();
    this.refs = from.refs;
    this.activeLocks = from.activeLocks;
    this.activeLockId = from.activeLockId;
    this.activeLockObject = from.activeLockObject;
    this.activeRcuLock = from.activeRcuLock;
    this.activePreemptLocks = from.activePreemptLocks;
    this.activeIrqId = from.activeIrqId;
    this.speculative = from.speculative;
    this.sleepable = from.sleepable;
    this.branches = from.branches;
    this.parent = from.parent;
    this.insn = from.insn;
    this.firstInsn = from.firstInsn;
    this.lastInsn = from.lastInsn;
    this.dfsDepth = from.dfsDepth;
    this.callbackUnrollDepth = from.callbackUnrollDepth;
    this.mayGotoDepth = from.mayGotoDepth;
    this.history = from.history;
    this.equalState = from.equalState;
    this.cleaned = from.cleaned;
  }

  isRegPrecise(frameno: number, reg: number): boolean {
    return this.precise !== null && (this.precise[frameno * 3]! & (1 << reg)) !== 0;
  }

  isSlotPrecise(frameno: number, spi: number): boolean {
    return this.precise !== null && (this.precise[frameno * 3 + 1 + (spi >> 5)]! & (1 << (spi & 31))) !== 0;
  }

  private marks(): number[] {
    this.precise ??= new Array(this.frames.length * 3).fill(0);
    return this.precise;
  }

  markReg(frameno: number, reg: number): void {
    this.marks()[frameno * 3]! |= 1 << reg;
  }

  markSlot(frameno: number, spi: number): void {
    this.marks()[frameno * 3 + 1 + (spi >> 5)]! |= 1 << (spi & 31);
  }

  /** Whether anything in the frame is marked. */
  hasPrecise(frameno: number): boolean {
    const p = this.precise;
    return p !== null && (p[frameno * 3]! | p[frameno * 3 + 1]! | p[frameno * 3 + 2]!) !== 0;
  }

  /** Adds stack to frame `i` so that `bytes` below its frame pointer exist. */
  growStack(i: number, bytes: number): void {
    const slots = (bytes + 7) >> 3;
    if (this.frames[i]!.stack.length >= slots) return;
    const stack = this.ownStack(i);
    while (stack.length < slots) stack.push(EMPTY_SLOT);
  }

  /** Replaces every register and spilled register for which `change` gives another one. */
  mapRegs(change: (reg: Reg) => Reg): void {
    for (let i = 0; i < this.frames.length; i++) {
      const frame = this.frames[i]!;
      for (let n = 0; n < 10; n++) {
        const reg = frame.regs[n]!;
        const changed = change(reg);
        if (changed !== reg) this.own(i).regs[n] = changed;
      }
      for (let spi = 0; spi < frame.stack.length; spi++) {
        const slot = frame.stack[spi]!;
        if (!isSpilled(slot)) continue;
        const changed = change(slot.reg);
        if (changed !== slot.reg) this.setSlot(i, spi, new Slot(slot.types, changed));
      }
    }
  }

  /** The instruction at which frame `i` stands: where it is, or the call it made. */
  insnOfFrame(i: number): number {
    return i === this.frames.length - 1 ? this.insn : this.frames[i + 1]!.callsite;
  }
}

/** Bytes of stack access: index of the slot that holds the byte at `off` (< 0). */
export function slotIndex(off: number): number {
  return Math.trunc((-off - 1) / 8);
}
