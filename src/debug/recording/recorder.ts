/**
 * Watches runs and writes them down. Stores are known exactly; of a helper, of another run in between and of the kernel between two
 * runs it is only known that they may have changed anything, so that all memory is compared.
 *
 * Bounded: beyond `maxSteps` or `maxBytes` the runs go on and nothing more is written down; the recording says so.
 */
import { accessBytes, CLASS, insnClass, insnMode, JMP_OP, MODE } from '../../asm/opcodes.ts';
import type { ExecutableProgram } from '../../contracts/engine.ts';
import type { InsnEvent, ObservedProgram, ObservedRun, ProgramObserver } from '../../contracts/observe.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import { MAX_NESTED_RUNS, STACK_BYTES, STACKS } from '../../memory/layout.ts';
import { BpfError } from '../../util/errors.ts';
import { FIRST_BYTE, Journal, REGISTERS, Recording, STEP_KINDS } from './recording.ts';

export interface RecordOptions {
  /** Default 1 000 000. */
  readonly maxSteps?: number;
  /** Of the recording, beside a copy of the kernel's memory. Default 256 MiB. */
  readonly maxBytes?: number;
  /** Bytes that are compared around calls of helpers: what bounds the time where maps are large. Default 64 GiB, some 20 s of it. */
  readonly maxCompared?: number;
  /** At a limit the run ends too, and `RecordingFull` comes out of what started it. Default: runs go on unseen. */
  readonly stopRuns?: boolean;
}

/** Thrown through a run that nobody would see the rest of. */
export class RecordingFull extends Error {
  override readonly name = 'RecordingFull';
}

const DEFAULT_STEPS = 1_000_000;
const DEFAULT_BYTES = 256 << 20;
const DEFAULT_COMPARED = 2 ** 36;
const FRAME_BYTES = 512;
const EXIT = CLASS.JMP | JMP_OP.EXIT;
/** Equal words between two changes that are kept as one. */
const GAP = 4;

interface Frame {
  entry: number;
  height: number;
  /** The function was called by a helper. */
  byHelper: boolean;
  /** Its last instruction was an exit. */
  left: boolean;
  executable: ExecutableProgram;
}

export class Recorder implements ProgramObserver {
  readonly #journal = new Journal();
  readonly #programs: ObservedProgram[] = [];
  readonly #numbers = new Map<ExecutableProgram, number>();
  readonly #maxSteps: number;
  readonly #maxBytes: number;
  readonly #maxCompared: number;
  readonly #stopRuns: boolean;
  /** Lowest byte of each level's stack that a program has had: below it there is nothing to compare. */
  readonly #stackFrom = Array.from(
    { length: MAX_NESTED_RUNS },
    (_, level) => STACKS + (level + 1) * STACK_BYTES,
  );
  readonly #low = new Int32Array(REGISTERS);
  readonly #high = new Int32Array(REGISTERS);
  #memory: GuestMemory | undefined;
  #shadow = new Uint8Array();
  #shadowWords = new Int32Array();
  /** Bytes that were compared so far. */
  #compared = 0;
  #truncated: string | undefined;
  /** What the last instruction may have written: bytes at an address, or (`size` -1) anything. */
  #written = { address: 0, size: 0 };
  /** Frames by level, then by depth. */
  readonly #frames: Frame[][] = [];
  readonly #depths: number[] = [];

  constructor(options: RecordOptions = {}) {
    this.#maxSteps = options.maxSteps ?? DEFAULT_STEPS;
    this.#maxBytes = options.maxBytes ?? DEFAULT_BYTES;
    this.#maxCompared = options.maxCompared ?? DEFAULT_COMPARED;
    this.#stopRuns = options.stopRuns === true;
  }

  onMachine(memory: GuestMemory): void {
    this.#memory = memory;
  }

  onLoad(program: ObservedProgram): void {
    this.#numbers.set(program.executable, this.#programs.length);
    this.#programs.push(program);
  }

  onRunBegin({ level }: ObservedRun): void {
    this.#depths[level] = -1;
    this.#frames[level] ??= [];
    this.#written = { address: 0, size: -1 };
    if (this.#journal.length > 0 || this.#memory === undefined) return;
    // The state before the first step needs no changes.
    this.#shadow = this.#memory.u8.slice();
    this.#shadowWords = new Int32Array(this.#shadow.buffer);
    this.#written = { address: 0, size: 0 };
  }

  onInsn(event: InsnEvent): void {
    if (this.#truncated !== undefined) {
      if (this.#stopRuns) throw new RecordingFull(this.#truncated);
      return;
    }
    const number = this.#numbers.get(event.executable);
    const memory = this.#memory;
    if (number === undefined || memory === undefined) return;
    const frame = this.#frameOf(event);
    this.#note(event.low, event.high);
    this.#step(0, number, event.pc, frame);
    this.#next(event, frame);
  }

  onRunEnd({ level }: ObservedRun, error?: unknown): void {
    const depth = this.#depths[level] ?? -1;
    const frame = this.#frames[level]?.[Math.max(depth, 0)];
    const last = this.#journal.length - 1;
    if (this.#truncated === undefined && depth >= 0 && frame !== undefined && (level === 0 || error)) {
      this.#written = { address: 0, size: -1 };
      this.#note(this.#low, this.#high);
      const { program, pc } = this.#journal;
      const kind = STEP_KINDS.indexOf(error === undefined ? 'end' : 'fault');
      if (error instanceof Error) this.#journal.faults.set(last + 1, error);
      this.#step(kind, program.at(last), pc.at(last), frame);
    }
    this.#depths[level] = -1;
    this.#written = { address: 0, size: -1 };
  }

  /** Ends the recording. Throws ENODATA where nothing was recorded. */
  finish(): Recording {
    if (this.#memory === undefined || this.#journal.length === 0)
      throw new BpfError('ENODATA', 'no program has run: there is nothing to step through');
    return new Recording({
      journal: this.#journal,
      programs: this.#programs,
      memory: this.#memory,
      shadow: this.#shadow,
      low: this.#low.slice(),
      high: this.#high.slice(),
      truncated: this.#truncated,
    });
  }

  #frameOf({ level, depth, executable, low }: InsnEvent): Frame {
    this.#frames[level] ??= [];
    const frames = this.#frames[level];
    const before = this.#depths[level] ?? -1;
    this.#depths[level] = depth;
    const known = frames[depth];
    const replaced = known !== undefined && known.executable !== executable;
    if (before >= depth && known !== undefined && !known.left && !replaced) return known;
    const step = this.#journal.length;
    // A helper calls its callback again and again: the caller is the one of the call before. A tail call takes the caller over.
    const again = before >= depth && known !== undefined;
    const caller = again ? this.#journal.callers.get(known.entry) : this.#callerOf(level, depth, before);
    const byHelper = caller !== undefined && depth > 0 && this.#callsHelper(caller);
    const frame = {
      entry: step,
      height: caller === undefined ? 0 : this.#journal.height.at(caller) + 1,
      byHelper,
      left: false,
      executable,
    };
    if (caller !== undefined) this.#journal.callers.set(step, caller);
    frames[depth] = frame;
    const bottom = low[10]! - FRAME_BYTES;
    if (bottom >= STACKS && bottom < (this.#stackFrom[level] ?? 0)) this.#stackFrom[level] = bottom;
    return frame;
  }

  #callerOf(level: number, depth: number, before: number): number | undefined {
    // A timer's callback: no program runs that could have called it.
    if (level === 0 && before < 0) return undefined;
    const last = this.#journal.length - 1;
    return last >= 0 && (depth > 0 || level > 0) ? last : undefined;
  }

  #callsHelper(step: number): boolean {
    const program = this.#programs[this.#journal.program.at(step)]!;
    return program.executable.calls[this.#journal.pc.at(step)]?.kind === 'function';
  }

  #next({ executable, pc, low }: InsnEvent, frame: Frame): void {
    const insn = executable.insns[pc]!;
    const cls = insnClass(insn.code);
    frame.left = false;
    this.#written = NOTHING;
    if (cls === CLASS.ST || cls === CLASS.STX) {
      if (insnMode(insn.code) === MODE.NOSPEC) return;
      this.#written = { address: (low[insn.dst]! + insn.off) | 0, size: accessBytes(insn.code) };
    } else if (executable.calls[pc]?.kind === 'function') {
      this.#written = ANYTHING;
    } else if (insn.code === EXIT) {
      frame.left = true;
      if (frame.byHelper) this.#written = ANYTHING;
    }
  }

  /** Writes down what has changed since the last step. */
  #note(low: Int32Array, high: Int32Array): void {
    const journal = this.#journal;
    for (let r = 0; r < REGISTERS; r++) {
      if (low[r] === this.#low[r] && high[r] === this.#high[r]) continue;
      if (journal.length > 0) {
        journal.register.push(r);
        journal.registerOld.push(this.#low[r]!);
        journal.registerOld.push(this.#high[r]!);
        journal.registerNew.push(low[r]!);
        journal.registerNew.push(high[r]!);
      }
      this.#low[r] = low[r]!;
      this.#high[r] = high[r]!;
    }
    const { address, size } = this.#written;
    if (size < 0) this.#compareAll();
    else if (size > 0) this.#change(address, address + size);
    this.#written = NOTHING;
  }

  #step(kind: number, program: number, pc: number, frame: Frame): void {
    const journal = this.#journal;
    journal.kind.push(kind);
    journal.program.push(program);
    journal.pc.push(pc);
    journal.height.push(frame.height);
    journal.entry.push(frame.entry);
    journal.registersUpto.push(journal.register.length);
    journal.changesUpto.push(journal.changeAddress.length);
    if (journal.length >= this.#maxSteps) this.#truncated = `the limit of ${this.#maxSteps} steps`;
    else if (this.#compared > this.#maxCompared)
      this.#truncated = `the limit of ${this.#maxCompared} bytes compared around calls of helpers`;
    else if (journal.size > this.#maxBytes) this.#truncated = `the limit of ${this.#maxBytes} bytes`;
  }

  #change(from: number, upto: number): void {
    const live = this.#memory!.u8;
    if (from < FIRST_BYTE || upto > live.length) return;
    this.#room(upto);
    const journal = this.#journal;
    journal.changeAddress.push(from);
    journal.changeData.push(journal.old.length);
    journal.old.pushBytes(this.#shadow.subarray(from, upto));
    const now = live.subarray(from, upto);
    journal.new.pushBytes(now);
    this.#shadow.set(now, from);
  }

  /** The kernel's memory may have grown; what is new was zero. */
  #room(upto: number): void {
    if (upto <= this.#shadow.length) return;
    const larger = new Uint8Array(this.#memory!.size);
    larger.set(this.#shadow);
    this.#shadow = larger;
    this.#shadowWords = new Int32Array(larger.buffer);
  }

  #compareAll(): void {
    const memory = this.#memory!;
    this.#room(memory.size);
    this.#stackFrom.forEach((from, level) => {
      this.#compare(from, STACKS + (level + 1) * STACK_BYTES);
    });
    // What was freed is nobody's; where it is given out again, it differs from the shadow and is seen.
    for (const { start, size } of memory.blocks()) this.#compare(start, start + size);
  }

  /** Word by word: blocks begin and end at multiples of 16. */
  #compare(from: number, upto: number): void {
    const live = this.#memory!.i32;
    const before = this.#shadowWords;
    const end = upto >>> 2;
    this.#compared += upto - from;
    let start = -1;
    let last = -1;
    for (let i = from >>> 2; i < end; i++) {
      if (live[i] === before[i]) continue;
      if (start >= 0 && i - last > GAP) {
        this.#change(start << 2, (last + 1) << 2);
        start = -1;
      }
      if (start < 0) start = i;
      last = i;
    }
    if (start >= 0) this.#change(start << 2, (last + 1) << 2);
  }
}

const NOTHING = { address: 0, size: 0 };
const ANYTHING = { address: 0, size: -1 };
