/**
 * The state of one run: registers as 32-bit halves, the region that each register may touch, frames, and the regions of
 * pointers that were spilled to the stack.
 *
 * Invariant: `upto[r]` is 0, or [from[r], upto[r]) is the live object that the pointer in register r was made from.
 * A pointer keeps its region through moves, additions and spills; one that is loaded from memory or returned by a
 * helper gets the block around its address. Whoever checks an access compares with these two numbers only.
 */

import type { InsnEvent } from '../contracts/observe.ts';
import { KERNEL_HI_SIGNED } from '../memory/address.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { HEAP_START, MAX_NESTED_RUNS, STACK_BYTES, STACKS } from '../memory/layout.ts';
import { joinHalves } from '../util/u64.ts';
import type { Decoded, LoopState } from './program.ts';
import type { StackBytes } from './stack-bytes.ts';

export const REGISTERS = 11;
/** Frames of 8 per program, and a program may be tail-called 33 times. */
export const MAX_FRAMES = 8 * 34;
/** Words that a frame saves: R6 to R9, each with two halves and two bounds. */
const SAVED = 16;

/** Bytes of the stacks of one CPU. */
const STACKS_BYTES = MAX_NESTED_RUNS * STACK_BYTES;

export type Observer = (event: InsnEvent, program: Decoded) => void;

/** How a stay in the loop ended. */
export const OUTCOME = { done: 0, paused: 1, blocked: 2 } as const;
export type Outcome = (typeof OUTCOME)[keyof typeof OUTCOME];

/** Sets of registers, one bit each, that something was written to. */
export const WRITTEN = {
  /** R1..R5, which a call leaves undefined. */
  callerSaved: 0b11_1110,
  /** R10: what a function finds besides its arguments. */
  frame: 1 << 10,
  /** R1 and R10: what a program finds. */
  main: (1 << 10) | 0b10,
} as const;

/** What a run that can be left keeps besides: a CPU of an interleaving. */
export interface LaneState {
  /** Instructions that callbacks of helpers have run when the slice was over. */
  overtime: number;
  readonly limit: number;
  /** The run is about to take a lock: whether it has to wait for it. `held`: it is taken. */
  waits(lock: number, held: boolean, program: Decoded, pc: number): boolean;
}

/** Memory that a program has given back. */
export interface Given {
  readonly from: number;
  readonly upto: number;
  readonly by: string;
}

/** End of the region in a slot whose pointer is none any longer. */
const GIVEN_BACK = -1;
/** Pieces of such memory that are remembered. */
const GIVEN = 16;

export class Machine {
  readonly memory: GuestMemory;
  readonly level: number;
  readonly lo = new Int32Array(REGISTERS);
  readonly hi = new Int32Array(REGISTERS);
  readonly from = new Int32Array(REGISTERS);
  readonly upto = new Int32Array(REGISTERS);
  /** Instructions that may still run. */
  fuel = 0;
  observer: Observer | null = null;
  /** Kept where programs are strict about the stack. */
  stackBytes: StackBytes | null = null;
  /** Set in runs that can be left. */
  lane: LaneState | null = null;
  /** Registers that something was written to; only looked at in strict programs. Kept up to date as `pc` is. */
  written = 0;
  /** Where it is: kept up to date at calls and faults only. */
  pc = 0;
  program: Decoded | null = null;
  busy = false;

  depth = 0;
  readonly framePrograms: (Decoded | null)[] = new Array(MAX_FRAMES).fill(null);
  readonly framePcs = new Int32Array(MAX_FRAMES);
  /** Stack pointer of the caller, and lower bound of its frame. */
  readonly frameTops = new Int32Array(MAX_FRAMES);
  readonly frameBottoms = new Int32Array(MAX_FRAMES);
  readonly #frameWritten = new Int32Array(MAX_FRAMES);
  /** Frames that called bpf_loop. */
  readonly frameLoops: (LoopState | null)[] = new Array(MAX_FRAMES).fill(null);
  readonly #saved = new Int32Array(MAX_FRAMES * SAVED);

  /** Regions of pointers spilled to 8-byte slots of this level's stack; valid while the slot's low half is `#slotLow`. */
  readonly #slotFrom = new Int32Array(STACK_BYTES / 8);
  readonly #slotUpto = new Int32Array(STACK_BYTES / 8);
  readonly #slotLow = new Int32Array(STACK_BYTES / 8);
  readonly stackBottom: number;
  readonly stackTop: number;

  /** Lowest byte of this CPU's stacks. */
  readonly #stacks: number;
  /** What was given back last, for reports. */
  readonly given: Given[] = [];
  #lastFrom = 0;
  #lastUpto = 0;
  #frees = 0;

  /** `stackBottom`: where its stack of STACK_BYTES lies, if not at the place of its level. */
  constructor(
    memory: GuestMemory,
    level: number,
    stackBottom = memory.cpuDelta + STACKS + level * STACK_BYTES,
  ) {
    this.memory = memory;
    this.#stacks = memory.cpuDelta + STACKS;
    this.level = level;
    this.stackBottom = stackBottom;
    this.stackTop = this.stackBottom + STACK_BYTES;
  }

  /** A new run: nothing but R1, which points to the context (0: NULL). */
  start(ctx: number): void {
    this.depth = 0;
    this.upto.fill(0);
    this.setPointer(1, ctx);
    this.written = WRITTEN.main;
  }

  /** Sets a register to a kernel address (0: NULL) with the region of the block around it. */
  setPointer(r: number, offset: number): void {
    this.lo[r] = offset;
    if (offset === 0) {
      this.hi[r] = 0;
      this.upto[r] = 0;
    } else {
      this.hi[r] = KERNEL_HI_SIGNED;
      this.adopt(r, offset);
    }
  }

  /** Gives register r, which holds a kernel address, the region of the live block at `offset`, or none. */
  adopt(r: number, offset: number): void {
    if (this.#frees !== this.memory.frees) this.forgetFreed();
    if (offset < this.#lastFrom || offset >= this.#lastUpto) {
      const stack = offset - this.#stacks;
      if (stack >= 0 && stack < STACKS_BYTES) {
        // Of this run, or of one further out that this one was called from.
        const bottom = this.#stacks + Math.floor(stack / STACK_BYTES) * STACK_BYTES;
        this.from[r] = bottom;
        this.upto[r] = offset < this.stackTop ? bottom + STACK_BYTES : 0;
        return;
      }
      if (offset >= HEAP_START) {
        const block = this.memory.blockAt(offset);
        if (block === undefined) {
          this.upto[r] = 0;
          return;
        }
        this.#lastFrom = block.start;
        this.#lastUpto = block.start + block.size;
      } else {
        this.upto[r] = 0;
        return;
      }
    }
    this.from[r] = this.#lastFrom;
    this.upto[r] = this.#lastUpto;
  }

  /** A pointer (8 bytes, aligned or not) goes to the stack at `address`. */
  spill(r: number, address: number): void {
    const slot = (address - this.stackBottom) >> 3;
    if ((address & 7) !== 0 || slot < 0 || slot >= this.#slotLow.length) return;
    this.#slotFrom[slot] = this.from[r]!;
    this.#slotUpto[slot] = this.upto[r]!;
    this.#slotLow[slot] = this.lo[r]!;
  }

  /** What looks like a kernel address was loaded from `address` into r: finds its region. */
  fill(r: number, address: number): void {
    const low = this.lo[r]!;
    if ((address & 7) === 0) {
      const slot = (address - this.stackBottom) >> 3;
      if (
        slot >= 0 &&
        slot < this.#slotLow.length &&
        this.#slotLow[slot] === low &&
        this.#slotUpto[slot] !== 0
      ) {
        this.from[r] = this.#slotFrom[slot]!;
        this.upto[r] = Math.max(this.#slotUpto[slot]!, 0);
        return;
      }
    }
    this.adopt(r, low);
  }

  /** Blocks were freed: pointers into them lose their region, also those in frames and on the stack. */
  forgetFreed(): void {
    this.#frees = this.memory.frees;
    this.#lastFrom = 0;
    this.#lastUpto = 0;
    this.#slotUpto.fill(0);
    for (let r = 0; r < REGISTERS; r++) {
      if (this.upto[r] !== 0 && !this.#lives(this.from[r]!, this.upto[r]!)) this.upto[r] = 0;
    }
    for (let f = 0; f < this.depth; f++) {
      for (let i = f * SAVED; i < (f + 1) * SAVED; i += 4) {
        const upto = this.#saved[i + 3]!;
        if (upto !== 0 && !this.#lives(this.#saved[i + 2]!, upto)) this.#saved[i + 3] = 0;
      }
    }
  }

  /** Memory that is the program's no longer, though nobody has freed it: who has a pointer to it has none. `by`: what took it. */
  giveBack(from: number, upto: number, by: string): void {
    const gone = (a: number, b: number): boolean => b !== 0 && a >= from && b <= upto;
    for (let r = 0; r < REGISTERS; r++) if (gone(this.from[r]!, this.upto[r]!)) this.upto[r] = 0;
    for (let i = 0; i < this.depth * SAVED; i += 4)
      if (gone(this.#saved[i + 2]!, this.#saved[i + 3]!)) this.#saved[i + 3] = 0;
    for (let slot = (this.from[10]! - this.stackBottom) >> 3; slot < this.#slotUpto.length; slot++)
      if (gone(this.#slotFrom[slot]!, this.#slotUpto[slot]!)) this.#slotUpto[slot] = GIVEN_BACK;
    this.given.push({ from, upto, by });
    if (this.given.length > GIVEN) this.given.shift();
  }

  get freedSince(): boolean {
    return this.#frees !== this.memory.frees;
  }

  #lives(from: number, upto: number): boolean {
    if (from < HEAP_START || (from >= this.#stacks && from < this.#stacks + STACKS_BYTES)) return true;
    const block = this.memory.blockAt(from);
    return block !== undefined && upto <= block.start + block.size;
  }

  /** Saves R6..R9 and R10 of the caller in frame `depth`, which then counts. */
  pushFrame(program: Decoded, returnPc: number): void {
    const { lo, hi, from, upto } = this;
    const saved = this.#saved;
    let at = this.depth * SAVED;
    for (let r = 6; r < 10; r++) {
      saved[at++] = lo[r]!;
      saved[at++] = hi[r]!;
      saved[at++] = from[r]!;
      saved[at++] = upto[r]!;
    }
    this.framePrograms[this.depth] = program;
    this.framePcs[this.depth] = returnPc;
    this.frameTops[this.depth] = lo[10]!;
    this.frameBottoms[this.depth] = from[10]!;
    this.#frameWritten[this.depth] = this.written;
    this.frameLoops[this.depth] = null;
    this.depth++;
  }

  /** Restores what `pushFrame` saved; the caller reads `framePrograms` and `framePcs` at the new depth. */
  popFrame(): void {
    const { lo, hi, from, upto } = this;
    const saved = this.#saved;
    this.depth--;
    let at = this.depth * SAVED;
    for (let r = 6; r < 10; r++) {
      lo[r] = saved[at++]!;
      hi[r] = saved[at++]!;
      from[r] = saved[at++]!;
      upto[r] = saved[at++]!;
    }
    this.written = this.#frameWritten[this.depth]!;
    this.setStack(this.frameTops[this.depth]!, this.frameBottoms[this.depth]!);
  }

  /** R10 of a frame that reaches from `bottom` to `top`. */
  setStack(top: number, bottom: number): void {
    this.lo[10] = top;
    this.hi[10] = KERNEL_HI_SIGNED;
    this.from[10] = bottom;
    this.upto[10] = top;
  }

  registers(): bigint[] {
    return Array.from({ length: REGISTERS }, (_, r) => joinHalves(this.lo[r]!, this.hi[r]!));
  }
}
