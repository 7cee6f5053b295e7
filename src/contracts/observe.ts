/**
 * The seam between the checking interpreter and those who watch programs run (coverage, profiles, the debugger): what a kernel tells
 * of loads, runs and instructions. Nothing of it changes what programs do.
 */
import type { Btf } from '../btf/index.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { ProgTypeRow } from '../spec/types.ts';
import type { ExecutableProgram } from './engine.ts';
import type { Insn } from './insn.ts';
import type { BpfMap } from './maps.ts';
import type { FuncInfo, LineInfo } from './verify.ts';

/** Before an instruction runs. `low` and `high` are the live halves of R0..R10: not to be changed, nor kept. */
export interface InsnEvent {
  /** Index in the program as loaded; -1 where it stands for none. */
  readonly insn: number;
  /** Index in the rewritten program. */
  readonly pc: number;
  readonly program: string;
  /** The program that the indexes are of. */
  readonly executable: ExecutableProgram;
  /** Number of the frame within the run, 0 = the main program. */
  readonly depth: number;
  /** Runs that this one interrupted. */
  readonly level: number;
  readonly low: Int32Array;
  readonly high: Int32Array;
}

export interface ObservedRun {
  readonly executable: ExecutableProgram;
  readonly level: number;
  /** Offset of the context in the kernel's memory, 0: none. */
  readonly ctx: number;
}

export interface ObservedMap {
  readonly map: BpfMap;
  /** Types of keys and values, where the map came with them. */
  readonly btf?: { readonly btf: Btf; readonly keyTypeId: number; readonly valueTypeId: number };
}

/** A program at its load, with its debug information. Indexes of `funcs` and `lines` are those of `insns`. */
export interface ObservedProgram {
  readonly name: string;
  readonly type: ProgTypeRow;
  /** As loaded. */
  readonly insns: readonly Insn[];
  readonly executable: ExecutableProgram;
  readonly btf: Btf | undefined;
  readonly funcs: readonly FuncInfo[];
  readonly lines: readonly LineInfo[];
  readonly maps: readonly ObservedMap[];
}

/** What the listener throws in `onInsn` ends the run. */
export interface ProgramObserver {
  /** The memory that programs run in; called once, before anything else. */
  onMachine?(memory: GuestMemory): void;
  onLoad?(program: ObservedProgram): void;
  onRunBegin?(run: ObservedRun): void;
  onInsn(event: InsnEvent): void;
  /** `error`: what ended the run, where it did not end by itself. */
  onRunEnd?(run: ObservedRun, error?: unknown): void;
}
