/**
 * A recording of runs: registers and memory before every instruction, kept as what changed from one to the next. `seek` goes to any
 * of them, both ways; nothing runs again.
 *
 * Step 0 is the first instruction of the first run. A run ends with a step of its own: `end`, or `fault` at the instruction that
 * could not be done. Invariant: the state at a step is the same whichever way it was come to.
 */
import { accessBytes, CLASS, insnClass } from '../../asm/opcodes.ts';
import type { CallTarget } from '../../contracts/engine.ts';
import type { BpfMap } from '../../contracts/maps.ts';
import type { ObservedMap, ObservedProgram } from '../../contracts/observe.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import { RUN_STATE, STACKS } from '../../memory/layout.ts';
import { BpfError } from '../../util/errors.ts';
import { joinHalves } from '../../util/u64.ts';
import { ProgramSource } from '../source.ts';
import { NumberLog } from './log.ts';

export const REGISTERS = 11;
/** Memory below is the engine's own, no state of programs. */
export const FIRST_BYTE = STACKS;

export const STEP_KINDS = ['insn', 'end', 'fault'] as const;
export type StepKind = (typeof STEP_KINDS)[number];

const bytes = (length: number) => new Uint8Array(length);
const words = (length: number) => new Int32Array(length);

/** Written by the recorder; an entry a step where nothing else is said. */
export class Journal {
  readonly kind = new NumberLog(bytes);
  /** Number of the program. */
  readonly program = new NumberLog((length) => new Uint16Array(length));
  readonly pc = new NumberLog(words);
  /** Frames below, those of interrupted runs included. */
  readonly height = new NumberLog((length) => new Uint16Array(length));
  /** Step at which the function was entered. */
  readonly entry = new NumberLog(words);
  /** Ends of what changed on the way into the step, in `register*` and `change*`. */
  readonly registersUpto = new NumberLog((length) => new Uint32Array(length));
  readonly changesUpto = new NumberLog((length) => new Uint32Array(length));
  /** One entry a register that changed. */
  readonly register = new NumberLog(bytes);
  readonly registerOld = new NumberLog(words);
  readonly registerNew = new NumberLog(words);
  /** One entry a piece of memory that changed; its bytes stand in `old` and `new` from `changeData` on. */
  readonly changeAddress = new NumberLog(words);
  readonly changeData = new NumberLog((length) => new Uint32Array(length));
  readonly old = new NumberLog(bytes);
  readonly new = new NumberLog(bytes);
  /** Entry step of a function → step of the call; absent for the outermost. */
  readonly callers = new Map<number, number>();
  readonly faults = new Map<number, Error>();

  get length(): number {
    return this.kind.length;
  }

  /** Bytes that it takes, about. */
  get size(): number {
    return this.length * 22 + this.register.length * 17 + this.changeAddress.length * 8 + this.old.length * 2;
  }
}

export interface RecordingParts {
  readonly journal: Journal;
  readonly programs: readonly ObservedProgram[];
  readonly memory: GuestMemory;
  /** State at the last step. Taken over. */
  readonly shadow: Uint8Array;
  readonly low: Int32Array;
  readonly high: Int32Array;
  /** Why it ends before the runs did. */
  readonly truncated: string | undefined;
}

export interface MemoryChange {
  readonly address: number;
  readonly before: Uint8Array;
  readonly after: Uint8Array;
}

export class Recording {
  readonly journal: Journal;
  readonly sources: readonly ProgramSource[];
  readonly truncated: string | undefined;
  readonly #memory: GuestMemory;
  readonly #shadow: Uint8Array;
  readonly #low: Int32Array;
  readonly #high: Int32Array;
  #position: number;
  #walks = 0;
  /** What the kernel's memory held, while the state of a step stands in it. */
  #kept: Uint8Array | undefined;

  constructor(parts: RecordingParts) {
    this.journal = parts.journal;
    this.sources = parts.programs.map((program) => new ProgramSource(program));
    this.truncated = parts.truncated;
    this.#memory = parts.memory;
    this.#shadow = parts.shadow;
    this.#low = parts.low;
    this.#high = parts.high;
    this.#position = this.journal.length - 1;
  }

  /** Number of steps. */
  get length(): number {
    return this.journal.length;
  }

  get position(): number {
    return this.#position;
  }

  /** Goes to a step. Throws EINVAL where there is none of that number. */
  seek(step: number): void {
    if (!Number.isInteger(step) || step < 0 || step >= this.length)
      throw new BpfError('EINVAL', `there is no step ${step}: there are ${this.length}`);
    while (this.#position < step) this.#forward(++this.#position);
    while (this.#position > step) this.#back(this.#position--);
  }

  #forward(into: number): void {
    const { journal } = this;
    for (let i = journal.registersUpto.at(into - 1); i < journal.registersUpto.at(into); i++)
      this.#setRegister(journal.register.at(i), journal.registerNew, i);
    for (let i = journal.changesUpto.at(into - 1); i < journal.changesUpto.at(into); i++)
      this.#write(this.#piece(journal.new, i), journal.changeAddress.at(i));
  }

  #back(from: number): void {
    const { journal } = this;
    for (let i = journal.registersUpto.at(from) - 1; i >= journal.registersUpto.at(from - 1); i--)
      this.#setRegister(journal.register.at(i), journal.registerOld, i);
    for (let i = journal.changesUpto.at(from) - 1; i >= journal.changesUpto.at(from - 1); i--)
      this.#write(this.#piece(journal.old, i), journal.changeAddress.at(i));
  }

  #setRegister(register: number, values: NumberLog<Int32Array>, i: number): void {
    this.#low[register] = values.at(2 * i);
    this.#high[register] = values.at(2 * i + 1);
  }

  #piece(data: NumberLog<Uint8Array>, i: number): Uint8Array {
    const { journal } = this;
    const upto = i + 1 < journal.changeData.length ? journal.changeData.at(i + 1) : data.length;
    return data.slice(journal.changeData.at(i), upto);
  }

  /** What changed in memory between the step before and this one. */
  *changes(step: number): Generator<MemoryChange> {
    const { journal } = this;
    for (let i = step === 0 ? 0 : journal.changesUpto.at(step - 1); i < journal.changesUpto.at(step); i++)
      yield {
        address: journal.changeAddress.at(i),
        before: this.#piece(journal.old, i),
        after: this.#piece(journal.new, i),
      };
  }

  /** R0..R10 at the present step, unsigned. */
  registers(): bigint[] {
    return Array.from({ length: REGISTERS }, (_, r) => this.register(r));
  }

  register(r: number): bigint {
    return joinHalves(this.#low[r] ?? 0, this.#high[r] ?? 0);
  }

  /** A copy of memory at the present step. Throws EFAULT outside of what programs may have. */
  read(address: number, size: number): Uint8Array {
    if (address < FIRST_BYTE || size < 0 || address + size > this.#shadow.length)
      throw new BpfError('EFAULT', `no memory of programs at offset 0x${address.toString(16)}`);
    return this.#shadow.slice(address, address + size);
  }

  /** What the block around an address is called, where it is still there. */
  blockAt(
    address: number,
  ): { readonly start: number; readonly size: number; readonly label: string } | undefined {
    return this.#memory.blockAt(address);
  }

  kind(step: number): StepKind {
    return STEP_KINDS[this.journal.kind.at(step)] ?? 'insn';
  }

  source(step: number): ProgramSource {
    return this.sources[this.journal.program.at(step)]!;
  }

  /** Index in the program as loaded. */
  insn(step: number): number {
    return this.source(step).program.executable.origin[this.journal.pc.at(step)] ?? -1;
  }

  /** What the instruction of a step calls. */
  callAt(step: number): CallTarget | undefined {
    return this.source(step).program.executable.calls[this.journal.pc.at(step)];
  }

  /** Where the instruction of a step loads from or stores to: a register, bytes from it, and how many. */
  accessAt(
    step: number,
  ): { readonly register: number; readonly offset: number; readonly size: number } | undefined {
    const insn = this.source(step).program.executable.insns[this.journal.pc.at(step)];
    const cls = insn === undefined ? -1 : insnClass(insn.code);
    if (insn === undefined || (cls !== CLASS.LDX && cls !== CLASS.ST && cls !== CLASS.STX)) return undefined;
    const register = cls === CLASS.LDX ? insn.src : insn.dst;
    return { register, offset: insn.off, size: accessBytes(insn.code) };
  }

  /** Steps at which a run of a program begins: those that nothing called. */
  *runs(): Generator<{ readonly from: number; readonly end: number | undefined }> {
    const { journal } = this;
    let from = -1;
    for (let step = 0; step < this.length; step++) {
      if (from < 0) from = step;
      if (journal.kind.at(step) === 0) continue;
      yield { from, end: step };
      from = -1;
    }
    if (from >= 0) yield { from, end: undefined };
  }

  /** Maps of all programs, each once. */
  maps(): ObservedMap[] {
    const found = new Map<BpfMap, ObservedMap>();
    for (const { program } of this.sources) for (const map of program.maps) found.set(map.map, map);
    return [...found.values()];
  }

  /**
   * Runs `look` while the kernel's memory holds the state at the present step: what maps say then is what they held. Inside of `walk`
   * the state stays there and follows the steps.
   */
  withState<T>(look: () => T): T {
    return this.walk(() => {
      this.#lend();
      const result = this.#memory.readU64(RUN_STATE.helperResult);
      try {
        return look();
      } finally {
        this.#memory.writeU64(RUN_STATE.helperResult, result);
      }
    });
  }

  /** Many looks and seeks at one go: the kernel's memory is exchanged once, and put back at the end. */
  walk<T>(go: () => T): T {
    this.#walks++;
    try {
      return go();
    } finally {
      this.#walks--;
      if (this.#walks === 0 && this.#kept !== undefined) {
        this.#memory.u8.set(this.#kept, FIRST_BYTE);
        this.#kept = undefined;
      }
    }
  }

  #lend(): void {
    if (this.#kept !== undefined) return;
    const live = this.#memory.u8;
    this.#kept = live.slice(FIRST_BYTE, this.#shadow.length);
    live.set(this.#shadow.subarray(FIRST_BYTE), FIRST_BYTE);
  }

  #write(bytes: Uint8Array, address: number): void {
    this.#shadow.set(bytes, address);
    if (this.#kept !== undefined) this.#memory.u8.set(bytes, address);
  }
}
