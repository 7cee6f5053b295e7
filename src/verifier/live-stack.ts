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
import { LIVE, READ, StackInstance, WORDS, WRITE, WRITE_ALL } from './live-instance.ts';
import { formatSlotMask } from './log.ts';
import type { VState } from './state.ts';

export class LiveStack implements StackLiveness {
  private readonly env: Env;
  private readonly instances = new Map<string, StackInstance>();
  private current: StackInstance | null = null;
  /** What the current instruction writes, per frame two words; `wrote` where it is not empty. */
  private readonly writes = new Int32Array(16);
  private wrote = false;
  private writeInsn = 0;
  private readonly query: StackInstance[] = [];
  private queryInsn = 0;
  /** Two successors of each instruction, -1 for none, and 1 where it may return: see `mayReturn`. */
  private readonly next: Int32Array;
  private readonly returns: Uint8Array;

  constructor(env: Env) {
    this.env = env;
    this.next = new Int32Array(env.count * 2).fill(-1);
    this.returns = new Uint8Array(env.count);
    const found: number[] = [0, 0];
    for (const insn of env.postorder) {
      const n = successors(env.insns, insn, found);
      for (let s = 0; s < n; s++) this.next[2 * insn + s] = found[s]!;
      if (this.mayReturn(insn)) this.returns[insn] = 1;
    }
  }

  private lookup(callsites: readonly number[], starts: readonly number[]): StackInstance {
    const key = callsites.join(',');
    let instance = this.instances.get(key);
    if (instance === undefined) {
      const start = starts[starts.length - 1]!;
      const subprog = this.env.subprogs[this.env.subprogAt(start)]!;
      instance = new StackInstance(callsites, starts, subprog.end - subprog.start);
      this.instances.set(key, instance);
    }
    return instance;
  }

  private instanceOf(state: VState, frameno: number): StackInstance {
    const frame = state.frames[frameno]!;
    frame.accesses ??= this.findInstance(state, frameno);
    return frame.accesses;
  }

  private findInstance(state: VState, frameno: number): StackInstance {
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

  private ensureCurrent(): StackInstance {
    this.current ??= this.instanceOf(this.env.cur, this.env.cur.curframe);
    return this.current;
  }

  private addReads(instance: StackInstance, frame: number, insn: number, low: number, high: number): void {
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
    this.wrote = true;
  }

  startInsn(insn: number): void {
    this.ensureCurrent();
    this.startWrites(insn);
  }

  private startWrites(insn: number): void {
    this.writeInsn = insn;
    if (!this.wrote) return;
    this.writes.fill(0);
    this.wrote = false;
  }

  commitInsn(): void {
    if (this.current !== null) this.commit(this.current);
  }

  private commit(instance: StackInstance): void {
    const index = this.writeInsn - instance.start;
    const seen = instance.writeSeen[index] !== 0;
    instance.writeSeen[index] = 1;
    if (!this.wrote && instance.writes[index] === 0) return;
    let any = 0;
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
      any |= low | high;
      if (oldLow !== low || oldHigh !== high) {
        masks[at] = low;
        masks[at + 1] = high;
        instance.updated = true;
      }
      if ((oldLow & ~low) !== 0 || (oldHigh & ~high) !== 0) instance.writeDropped = true;
    }
    instance.writes[index] = any === 0 ? 0 : 1;
  }

  private outerOf(instance: StackInstance): StackInstance {
    if (instance.outer === null) {
      const starts = instance.starts.slice(0, -1);
      const callsites = instance.callsites.slice(0, -1);
      callsites[callsites.length - 1] = starts[starts.length - 1]!;
      instance.outer = this.lookup(callsites, starts);
    }
    return instance.outer;
  }

  /** Hands what the function does to its callers' stacks to the call instruction. */
  private propagateOut(instance: StackInstance): void {
    const outer = this.outerOf(instance);
    const callsite = instance.callsites[instance.curframe - 1]!;
    this.startWrites(callsite);
    for (let frame = 0; frame < instance.curframe; frame++) {
      const masks = instance.frames[frame];
      if (masks === undefined) continue;
      this.wrote = true;
      this.writes[frame * 2]! |= masks[WRITE_ALL]!;
      this.writes[frame * 2 + 1]! |= masks[WRITE_ALL + 1]!;
      this.addReads(outer, frame, callsite, masks[LIVE]!, masks[LIVE + 1]!);
    }
    this.commit(outer);
  }

  private updateInsn(instance: StackInstance, masks: Int32Array, frame: number, insn: number): boolean {
    const { env } = this;
    const first = this.next[2 * insn]!;
    if (first < 0) return false;
    const to = (first - instance.start) * WORDS;
    let afterLow = masks[to + LIVE]!;
    let afterHigh = masks[to + LIVE + 1]!;
    let writeLow = masks[to + WRITE_ALL]!;
    let writeHigh = masks[to + WRITE_ALL + 1]!;
    const second = this.next[2 * insn + 1]!;
    if (second >= 0) {
      const other = (second - instance.start) * WORDS;
      afterLow |= masks[other + LIVE]!;
      afterHigh |= masks[other + LIVE + 1]!;
      writeLow &= masks[other + WRITE_ALL]!;
      writeHigh &= masks[other + WRITE_ALL + 1]!;
    }
    if (this.returns[insn] !== 0) {
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

  /** Tail calls and legacy packet loads may leave the function: what stands behind them is not written for certain. */
  private mayReturn(index: number): boolean {
    const insn = this.env.insns[index]!;
    const mode = insnMode(insn.code);
    if (insnClass(insn.code) === CLASS.LD) return mode === MODE.ABS || mode === MODE.IND;
    return isHelperCall(insn) && helperPrototype(this.env, insn.imm)?.tailCall === true;
  }

  private logChange(
    instance: StackInstance,
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

  private updateInstance(instance: StackInstance): void {
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
    this.query.length = 0;
    for (let frame = 0; frame <= state.curframe; frame++) this.query.push(this.instanceOf(state, frame));
    this.queryInsn = state.insn;
  }

  /** Whether the slot may be read at or after the state given to `startQuery`. */
  isAlive(frameno: number, spi: number): boolean {
    const { query } = this;
    const last = query.length - 1;
    const current = query[last]!;
    if (current.isLive(this.queryInsn, frameno, spi)) return true;
    for (let i = frameno; i < last; i++) {
      const callsite = current.callsites[i]!;
      const at = (this.env.marks[callsite]! & CALLS_CALLBACK) !== 0 ? callsite : callsite + 1;
      if (query[i]!.isLive(at, frameno, spi)) return true;
    }
    return false;
  }
}
