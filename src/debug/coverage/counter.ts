/**
 * Counts what runs, as the interpreter tells it: instructions, jumps made and not made, lines, functions, call stacks. Nothing is put
 * into the programs.
 *
 * All counts are of the program as loaded. Invariant: an instruction counts once each time that control comes to it, however many
 * instructions it was rewritten to; what the rewriting left out (a jump that is never made, a store to nowhere) counts with the flow
 * that passes over it (`report.ts`).
 */
import { CLASS, JMP_OP, LD_IMM64 } from '../../asm/opcodes.ts';
import type { ExecutableProgram } from '../../contracts/engine.ts';
import type { InsnEvent, ObservedProgram, ObservedRun, ProgramObserver } from '../../contracts/observe.ts';
import { isJump, ProgramSource } from '../source.ts';

const EXIT = CLASS.JMP | JMP_OP.EXIT;

/** A place in the tree of calls: a function as called from where it was called. */
export interface StackNode {
  readonly name: string;
  readonly parent: StackNode | undefined;
  readonly children: Map<string, StackNode>;
  /** Instructions that ran in this function itself, called this way. */
  count: number;
}

/** The counts of one program. Indexes: `pc` of the rewritten program, `insn` of the program as loaded. */
export class ProgramCounts {
  readonly source: ProgramSource;
  readonly insns: Float64Array;
  /** Of those, how often the compiler had no line for the instruction: its record is another path's. */
  readonly unplaced: Float64Array;
  /** By pc: how often control went on to the next instruction, and elsewhere in the same frame. */
  readonly fell: Float64Array;
  readonly taken: Float64Array;
  /** By record of `source.lines`: how often control came to it. */
  readonly lines: Float64Array;
  /** By function of `source`. */
  readonly calls: Float64Array;
  /** First instruction of each function that is entered, with how often. */
  readonly entries = new Map<number, number>();
  /** By record: the last straight run of instructions that it was counted in. */
  readonly lastRun: Float64Array;
  /** By pc: 1 an exit, 2 a tail call, 4 a jump. */
  readonly kinds: Uint8Array;
  /** The first record of each line, by record: one line has several records. */
  readonly sameLine: Int32Array;

  constructor(program: ObservedProgram) {
    this.source = new ProgramSource(program);
    const { insns, calls } = program.executable;
    this.insns = new Float64Array(program.insns.length);
    this.unplaced = new Float64Array(program.insns.length);
    this.fell = new Float64Array(insns.length);
    this.taken = new Float64Array(insns.length);
    this.lines = new Float64Array(this.source.lines.length);
    this.calls = new Float64Array(this.source.functions.length);
    this.lastRun = new Float64Array(this.source.lines.length);
    this.kinds = Uint8Array.from(insns, (insn, pc) => {
      if (insn.code === EXIT) return 1;
      if (calls[pc]?.kind === 'tail_call') return 2;
      return isJump(insn) ? 4 : 0;
    });
    const first = new Map<string, number>();
    this.sameLine = Int32Array.from(this.source.lines, ({ file, line }, i) => {
      const key = `${line}:${file}`;
      const known = first.get(key);
      if (known === undefined) first.set(key, i);
      return known ?? i;
    });
  }
}

interface Frame {
  counts: ProgramCounts;
  pc: number;
  insn: number;
  /** Record of the line that it is in (the first one of that line), -1. */
  line: number;
  /** Record into whose middle control has jumped, -1. */
  passed: number;
  /** Number of the straight run of instructions. */
  run: number;
  node: StackNode;
}

function node(name: string, parent: StackNode | undefined): StackNode {
  const known = parent?.children.get(name);
  if (known !== undefined) return known;
  const made: StackNode = { name, parent, children: new Map(), count: 0 };
  parent?.children.set(name, made);
  return made;
}

/** Give it to `Kernel.observe` before programs are loaded; counts of all programs and runs come together. */
export class ExecutionCounter implements ProgramObserver {
  readonly programs: ProgramCounts[] = [];
  /** The outermost functions are its children. */
  readonly stacks: StackNode = node('', undefined);
  readonly #counts = new Map<ExecutableProgram, ProgramCounts>();
  /** By level, then by depth. */
  readonly #frames: Frame[][] = [];
  /** Depth of the last instruction of each level; -1: the run begins. */
  readonly #depths: number[] = [];
  #runs = 0;

  onLoad(program: ObservedProgram): void {
    const counts = new ProgramCounts(program);
    this.programs.push(counts);
    this.#counts.set(program.executable, counts);
  }

  onRunBegin({ level }: ObservedRun): void {
    this.#depths[level] = -1;
    this.#frames[level] ??= [];
  }

  onRunEnd({ level }: ObservedRun): void {
    // What comes without a run of its own (a timer's callback) was called by none of these.
    this.#depths[level] = -1;
    this.#frames[level] = [];
  }

  onInsn({ executable, pc, insn, depth, level }: InsnEvent): void {
    this.#frames[level] ??= [];
    const frames = this.#frames[level];
    const before = this.#depths[level] ?? -1;
    this.#depths[level] = depth;
    const frame = frames[depth];
    if (before < depth || frame === undefined || this.#left(frame, executable, pc)) {
      this.#enter(frames, depth, level, executable, pc, insn);
      return;
    }
    const { counts } = frame;
    const last = frame.pc;
    const wide = executable.insns[last]!.code === LD_IMM64;
    const on = pc === last + (wide ? 2 : 1);
    if (on) counts.fell[last]!++;
    else counts.taken[last]!++;
    if ((counts.kinds[last]! & 4) !== 0) frame.run = ++this.#runs;
    const comes = insn !== frame.insn || pc <= last;
    frame.pc = pc;
    frame.insn = insn;
    if (comes) this.#count(frame, pc <= last, !on);
  }

  /** Whether the frame's function has ended, and another one (or the same once more) stands in its place. */
  #left(frame: Frame, executable: ExecutableProgram, pc: number): boolean {
    const kind = frame.counts.kinds[frame.pc]!;
    if (frame.counts.source.program.executable !== executable) return true;
    return (kind & 1) !== 0 || ((kind & 2) !== 0 && pc !== frame.pc + 1);
  }

  #enter(
    frames: Frame[],
    depth: number,
    level: number,
    executable: ExecutableProgram,
    pc: number,
    insn: number,
  ): void {
    const counts = this.#counts.get(executable);
    if (counts === undefined) return;
    const function_ = counts.source.functionIndex(insn);
    const caller = depth > 0 ? frames[depth - 1] : this.#interrupted(level);
    const name = counts.source.functions[function_]?.name ?? executable.name;
    const frame = {
      counts,
      pc,
      insn,
      line: -1,
      passed: -1,
      run: ++this.#runs,
      node: node(name, caller?.node ?? this.stacks),
    };
    frames[depth] = frame;
    if (function_ >= 0) counts.calls[function_]!++;
    counts.entries.set(pc, (counts.entries.get(pc) ?? 0) + 1);
    this.#count(frame, false, false);
  }

  /** The frame whose helper caused a run of another level. */
  #interrupted(level: number): Frame | undefined {
    return level === 0 ? undefined : this.#frames[level - 1]?.[this.#depths[level - 1] ?? 0];
  }

  #count(frame: Frame, back: boolean, jumped: boolean): void {
    const { counts, insn } = frame;
    if (insn < 0) return;
    counts.insns[insn]!++;
    frame.node.count++;
    const record = counts.source.lineOf[insn]!;
    if (record < 0) return;
    const line = counts.sameLine[record]!;
    if (line === frame.line && !back) return;
    // Into the middle: the compiler had no line for these instructions, and the record before them is another path's.
    const middle = counts.source.lineStarts[insn] === 0;
    if (middle && (record === frame.passed || (jumped && line !== frame.line))) {
      frame.passed = record;
      frame.line = -1;
      counts.unplaced[insn]!++;
      return;
    }
    frame.passed = -1;
    frame.line = line;
    if (counts.lastRun[line] === frame.run) return;
    counts.lastRun[line] = frame.run;
    counts.lines[line]!++;
  }
}
