/**
 * Which stack slots may still be read, by call chain and instruction (kernel 6.18: liveness.c). While paths are explored,
 * reads and whole-slot writes of each instruction are collected; between paths a backward flow over the function computes
 * the live slots, and what a function does to its callers' stacks is handed to the call.
 *
 * Sets of slots are two words of 32. Invariant: for a state without unexplored branches, all reads and writes behind it
 * have been collected and propagated, so `isAlive` may be asked.
 */
import { CLASS, insnClass, insnMode, MODE } from '../asm/opcodes.ts';
import { successors } from './cfg.ts';
import { isHelperCall } from './check-structure.ts';
import { CALLS_CALLBACK, type Env, PRUNE_POINT, type StackLiveness } from './env.ts';
import { helperPrototype } from './helper-table.ts';
import { formatSlotMask } from './log.ts';
import type { VState } from './state.ts';

/** Words per instruction: may_read, must_write, must_write of everything behind, live before; each low and high. */
const WORDS = 8;
const READ = 0;
const WRITE = 2;
const WRITE_ALL = 4;
const LIVE = 6;

class Instance {
  /** Call instructions of the outer frames, then the start of this function. */
  readonly callsites: readonly number[];
  /** Starts of the functions of all frames. */
  readonly starts: readonly number[];
  readonly count: number;
  readonly frames: (Int32Array | undefined)[] = [];
  readonly writeSeen: Uint8Array;
  updated = false;
  writeDropped = false;

  constructor(callsites: readonly number[], starts: readonly number[], count: number) {
    this.callsites = callsites;
    this.starts = starts;
    this.count = count;
    this.writeSeen = new Uint8Array(count);
  }

  get curframe(): number {
    return this.starts.length - 1;
  }

  get start(): number {
    return this.starts[this.starts.length - 1]!;
  }

  masks(frame: number): Int32Array {
    let masks = this.frames[frame];
    if (masks === undefined) {
      masks = new Int32Array(this.count * WORDS);
      this.frames[frame] = masks;
    }
    return masks;
  }

  isLive(insn: number, frame: number, spi: number): boolean {
    const masks = this.frames[frame];
    if (masks === undefined) return false;
    const at = (insn - this.start) * WORDS + LIVE + (spi >> 5);
    return ((masks[at]! >>> (spi & 31)) & 1) !== 0;
  }
}

export class LiveStack implements StackLiveness {
  private readonly env: Env;
  private readonly instances = new Map<string, Instance>();
  private current: Instance | null = null;
  private readonly writes = new Int32Array(16);
  private writeInsn = 0;
  private query: { readonly instances: Instance[]; readonly insn: number } | null = null;

  constructor(env: Env) {
    this.env = env;
  }

  private lookup(callsites: readonly number[], starts: readonly number[]): Instance {
    const key = callsites.join(',');
    let instance = this.instances.get(key);
    if (instance === undefined) {
      const start = starts[starts.length - 1]!;
      const subprog = this.env.subprogs[this.env.subprogAt(start)]!;
      instance = new Instance(callsites, starts, subprog.end - subprog.start);
      this.instances.set(key, instance);
    }
    return instance;
  }

  private instanceOf(state: VState, frameno: number): Instance {
    const callsites: number[] = [];
    const starts: number[] = [];
    for (let i = 0; i <= frameno; i++) {
      const start = this.env.subprogs[state.frames[i]!.subprog]!.start;
      starts.push(start);
      callsites.push(i === frameno ? start : state.frames[i + 1]!.callsite);
    }
    return this.lookup(callsites, starts);
  }

  /** The current function has changed: a call. */
  resetCurrent(): void {
    this.current = null;
  }

  private ensureCurrent(): Instance {
    this.current ??= this.instanceOf(this.env.cur, this.env.cur.curframe);
    return this.current;
  }

  private addReads(instance: Instance, frame: number, insn: number, low: number, high: number): void {
    const masks = instance.masks(frame);
    const at = (insn - instance.start) * WORDS;
    const newLow = masks[at + READ]! | low;
    const newHigh = masks[at + READ + 1]! | high;
    if (newLow !== masks[at + READ] || newHigh !== masks[at + READ + 1]) {
      if ((newLow & ~masks[at + LIVE]!) !== 0 || (newHigh & ~masks[at + LIVE + 1]!) !== 0) {
        instance.updated = true;
      }
      masks[at + READ] = newLow;
      masks[at + READ + 1] = newHigh;
    }
  }

  /** The current instruction may read the slot. */
  markRead(frame: number, spi: number): void {
    const low = spi < 32 ? 1 << spi : 0;
    const high = spi < 32 ? 0 : 1 << (spi - 32);
    this.addReads(this.ensureCurrent(), frame, this.env.insn, low, high);
  }

  /** The current instruction writes the whole slot. */
  markWrite(frame: number, spi: number): void {
    this.writes[frame * 2 + (spi >> 5)]! |= 1 << (spi & 31);
  }

  startInsn(insn: number): void {
    this.ensureCurrent();
    this.writeInsn = insn;
    this.writes.fill(0);
  }

  commitInsn(): void {
    if (this.current !== null) this.commit(this.current);
  }

  private commit(instance: Instance): void {
    const index = this.writeInsn - instance.start;
    const seen = instance.writeSeen[index] !== 0;
    for (let frame = 0; frame <= instance.curframe; frame++) {
      let low = this.writes[frame * 2]!;
      let high = this.writes[frame * 2 + 1]!;
      if ((low | high) === 0 && !seen) continue;
      const masks = instance.masks(frame);
      const at = index * WORDS + WRITE;
      const oldLow = masks[at]!;
      const oldHigh = masks[at + 1]!;
      if (seen) {
        low &= oldLow;
        high &= oldHigh;
      }
      if (oldLow !== low || oldHigh !== high) {
        masks[at] = low;
        masks[at + 1] = high;
        instance.updated = true;
      }
      if ((oldLow & ~low) !== 0 || (oldHigh & ~high) !== 0) instance.writeDropped = true;
    }
    instance.writeSeen[index] = 1;
  }

  private outerOf(instance: Instance): Instance {
    const starts = instance.starts.slice(0, -1);
    const callsites = instance.callsites.slice(0, -1);
    callsites[callsites.length - 1] = starts[starts.length - 1]!;
    return this.lookup(callsites, starts);
  }

  /** Hands what the function does to its callers' stacks to the call instruction. */
  private propagateOut(instance: Instance): void {
    const outer = this.outerOf(instance);
    const callsite = instance.callsites[instance.curframe - 1]!;
    this.writeInsn = callsite;
    this.writes.fill(0);
    for (let frame = 0; frame < instance.curframe; frame++) {
      const masks = instance.frames[frame];
      if (masks === undefined) continue;
      this.writes[frame * 2]! |= masks[WRITE_ALL]!;
      this.writes[frame * 2 + 1]! |= masks[WRITE_ALL + 1]!;
      this.addReads(outer, frame, callsite, masks[LIVE]!, masks[LIVE + 1]!);
    }
    this.commit(outer);
  }

  private updateInsn(instance: Instance, masks: Int32Array, frame: number, insn: number): boolean {
    const { env } = this;
    const n = successors(env.insns, insn, this.nextInsns);
    if (n === 0) return false;
    let afterLow = 0;
    let afterHigh = 0;
    let writeLow = -1;
    let writeHigh = -1;
    for (let s = 0; s < n; s++) {
      const to = (this.nextInsns[s]! - instance.start) * WORDS;
      afterLow |= masks[to + LIVE]!;
      afterHigh |= masks[to + LIVE + 1]!;
      writeLow &= masks[to + WRITE_ALL]!;
      writeHigh &= masks[to + WRITE_ALL + 1]!;
    }
    if (this.mayReturn(insn)) {
      writeLow = 0;
      writeHigh = 0;
    }
    const at = (insn - instance.start) * WORDS;
    writeLow |= masks[at + WRITE]!;
    writeHigh |= masks[at + WRITE + 1]!;
    const liveLow = (afterLow & ~masks[at + WRITE]!) | masks[at + READ]!;
    const liveHigh = (afterHigh & ~masks[at + WRITE + 1]!) | masks[at + READ + 1]!;
    const changed =
      liveLow !== masks[at + LIVE] ||
      liveHigh !== masks[at + LIVE + 1] ||
      writeLow !== masks[at + WRITE_ALL] ||
      writeHigh !== masks[at + WRITE_ALL + 1];
    if (!changed) return false;
    if (
      env.logsAll &&
      ((masks[at]! | masks[at + 1]! | masks[at + 2]! | masks[at + 3]!) !== 0 ||
        insn === instance.start ||
        (env.marks[insn]! & PRUNE_POINT) !== 0)
    ) {
      this.logChange(
        instance,
        'live',
        frame,
        insn,
        masks[at + LIVE]!,
        masks[at + LIVE + 1]!,
        liveLow,
        liveHigh,
      );
      this.logChange(
        instance,
        'written',
        frame,
        insn,
        masks[at + WRITE_ALL]!,
        masks[at + WRITE_ALL + 1]!,
        writeLow,
        writeHigh,
      );
    }
    masks[at + LIVE] = liveLow;
    masks[at + LIVE + 1] = liveHigh;
    masks[at + WRITE_ALL] = writeLow;
    masks[at + WRITE_ALL + 1] = writeHigh;
    return true;
  }

  private readonly nextInsns: number[] = [0, 0];

  /** Tail calls and legacy packet loads may leave the function: what stands behind them is not written for certain. */
  private mayReturn(index: number): boolean {
    const insn = this.env.insns[index]!;
    const mode = insnMode(insn.code);
    if (insnClass(insn.code) === CLASS.LD) return mode === MODE.ABS || mode === MODE.IND;
    return isHelperCall(insn) && helperPrototype(this.env, insn.imm)?.tailCall === true;
  }

  private logChange(
    instance: Instance,
    what: string,
    frame: number,
    insn: number,
    oldLow: number,
    oldHigh: number,
    low: number,
    high: number,
  ): void {
    if (oldLow === low && oldHigh === high) return;
    let text = `(${instance.callsites.join(',')}) frame ${frame} insn ${insn} `;
    if ((low & ~oldLow) !== 0 || (high & ~oldHigh) !== 0) {
      text += `+${what} ${formatSlotMask(low & ~oldLow, high & ~oldHigh)} `;
    }
    if ((oldLow & ~low) !== 0 || (oldHigh & ~high) !== 0) {
      text += `-${what} ${formatSlotMask(oldLow & ~low, oldHigh & ~high)}`;
    }
    this.env.verbose(`${text}\n`);
  }

  private updateInstance(instance: Instance): void {
    const { env } = this;
    if (instance.writeDropped) {
      for (const masks of instance.frames) {
        if (masks === undefined) continue;
        for (let i = 0; i < instance.count; i++) {
          masks[i * WORDS + WRITE_ALL] = 0;
          masks[i * WORDS + WRITE_ALL + 1] = 0;
        }
      }
    }
    const subprog = env.subprogs[env.subprogAt(instance.start)]!;
    let rounds = 0;
    for (let changed = true; changed; ) {
      changed = false;
      rounds++;
      for (let frame = 0; frame <= instance.curframe; frame++) {
        const masks = instance.frames[frame];
        if (masks === undefined) continue;
        for (let i = subprog.postorderStart; i < subprog.postorderEnd; i++) {
          if (this.updateInsn(instance, masks, frame, env.postorder[i]!)) changed = true;
        }
      }
    }
    if (env.logsAll) {
      env.verbose(`(${instance.callsites.join(',')}) live stack update done in ${rounds} iterations\n`);
    }
    if (instance.curframe > 0) this.propagateOut(instance);
  }

  /** Propagates what was collected along the call chain of the current state. */
  update(): void {
    this.current = null;
    const state = this.env.cur;
    for (let frame = state.curframe; frame >= 0; frame--) {
      const instance = this.instanceOf(state, frame);
      if (!instance.updated) continue;
      this.updateInstance(instance);
      instance.updated = false;
      instance.writeDropped = false;
    }
  }

  startQuery(state: VState): void {
    const instances: Instance[] = [];
    for (let frame = 0; frame <= state.curframe; frame++) instances.push(this.instanceOf(state, frame));
    this.query = { instances, insn: state.insn };
  }

  /** Whether the slot may be read at or after the state given to `startQuery`. */
  isAlive(frameno: number, spi: number): boolean {
    const { instances, insn } = this.query!;
    const last = instances.length - 1;
    const current = instances[last]!;
    if (current.isLive(insn, frameno, spi)) return true;
    for (let i = frameno; i < last; i++) {
      const callsite = current.callsites[i]!;
      const at = (this.env.marks[callsite]! & CALLS_CALLBACK) !== 0 ? callsite : callsite + 1;
      if (instances[i]!.isLive(at, frameno, spi)) return true;
    }
    return false;
  }
}
