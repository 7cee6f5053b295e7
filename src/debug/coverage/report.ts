/**
 * What the counts come to, by source file: functions, lines, branches; by program: instructions. Programs of one object share
 * functions and lines, so their counts are added.
 *
 * A line's count is how often control came to it: from another line of its function, or by a jump back within it; instructions of
 * several lines that the compiler has interleaved without a jump between them count each line once.
 */
import { insnOp, JMP_OP, LD_IMM64 } from '../../asm/opcodes.ts';
import { isConditional } from '../source.ts';
import type { ExecutionCounter, ProgramCounts } from './counter.ts';

export interface CoveredFunction {
  readonly name: string;
  /** Of its first instruction. */
  readonly line: number;
  readonly count: number;
}

export interface CoveredLine {
  readonly line: number;
  readonly count: number;
  /** As the compiler has kept it. */
  readonly text: string;
  /** Times that instructions of the line ran, all together. */
  readonly instructions: number;
}

/** A conditional jump. */
export interface CoveredBranch {
  readonly line: number;
  readonly function: string;
  /** Instructions from the start of the function. */
  readonly insn: number;
  /** Whether it was come to at all. */
  readonly reached: boolean;
  /** Times that the jump was made, and not made. */
  readonly taken: number;
  readonly notTaken: number;
}

export interface CoveredFile {
  /** As the compiler was given it. */
  readonly file: string;
  readonly functions: readonly CoveredFunction[];
  readonly lines: readonly CoveredLine[];
  readonly branches: readonly CoveredBranch[];
}

export interface CoveredProgram {
  readonly name: string;
  /** By index in the program as loaded: how often it ran; null for the upper half of a 64-bit load. */
  readonly insns: readonly (number | null)[];
  readonly instructions: Share;
  /** Without records of lines, its files say nothing. */
  readonly hasLines: boolean;
}

export interface Share {
  readonly found: number;
  readonly hit: number;
}

export interface CoverageReport {
  readonly files: readonly CoveredFile[];
  readonly programs: readonly CoveredProgram[];
  readonly totals: {
    readonly lines: Share;
    readonly functions: Share;
    readonly branches: Share;
    readonly instructions: Share;
  };
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

interface FileCounts {
  readonly functions: Map<string, Mutable<CoveredFunction>>;
  readonly lines: Map<number, Mutable<CoveredLine>>;
  readonly branches: Map<string, Mutable<CoveredBranch>>;
}

export interface FullCounts {
  /** By instruction as loaded, with those that were left out by the rewriting. */
  readonly insns: Float64Array;
  /** For conditional jumps. */
  readonly branches: ReadonlyMap<number, { readonly taken: number; readonly notTaken: number }>;
}

/** Counts by instruction as loaded. */
export function fullCounts(counts: ProgramCounts): FullCounts {
  const { program } = counts.source;
  const { executable } = program;
  const { origin } = executable;
  const insns = Float64Array.from(counts.insns);
  const present = new Uint8Array(program.insns.length);
  for (const at of origin) if (at >= 0) present[at] = 1;
  const left = new Float64Array(program.insns.length);
  /** Control that goes on to instruction `from`, and is seen next at pc `to`. */
  const flow = (from: number, to: number, count: number): void => {
    const until = origin[to] ?? from;
    for (let i = from; count > 0 && i < until; i++) {
      if (present[i] === 0) left[i]! += count;
      if (program.insns[i]!.code === LD_IMM64) i++;
    }
  };
  executable.insns.forEach((insn, pc) => {
    const at = origin[pc]!;
    if (at < 0 || (pc > 0 && insn.code === 0 && executable.insns[pc - 1]!.code === LD_IMM64)) return;
    const next = pc + (insn.code === LD_IMM64 ? 2 : 1);
    const on = at + (program.insns[at]!.code === LD_IMM64 ? 2 : 1);
    // A jump that is always made, over nothing that is left.
    const always = (counts.kinds[pc]! & 4) !== 0 && insnOp(insn.code) === JMP_OP.JA;
    if (origin[next] !== at) flow(always ? jumpTarget(counts, at) : on, next, counts.fell[pc]!);
    if (counts.taken[pc]! > 0 && isConditionalOrJump(counts, at))
      flow(jumpTarget(counts, at), pc + 1 + distance(counts, pc), counts.taken[pc]!);
  });
  for (const [pc, count] of counts.entries) flow(startOf(counts, origin[pc] ?? 0), pc, count);
  left.forEach((count, i) => {
    insns[i]! += count;
  });
  return { insns, branches: branchCounts(counts, insns, present) };
}

const isConditionalOrJump = (counts: ProgramCounts, at: number): boolean => {
  const insn = counts.source.program.insns[at]!;
  return isConditional(insn) || insnOp(insn.code) === JMP_OP.JA;
};

function jumpTarget(counts: ProgramCounts, at: number): number {
  const insn = counts.source.program.insns[at]!;
  return at + 1 + (insn.code === GOTOL ? insn.imm : insn.off);
}

/** JMP32 | JA: its distance is the immediate. */
const GOTOL = 0x06;

function distance(counts: ProgramCounts, pc: number): number {
  const insn = counts.source.program.executable.insns[pc]!;
  return insn.code === GOTOL ? insn.imm : insn.off;
}

function startOf(counts: ProgramCounts, insn: number): number {
  return counts.source.functionAt(insn)?.start ?? insn;
}

function branchCounts(
  counts: ProgramCounts,
  insns: Float64Array,
  present: Uint8Array,
): Map<number, { taken: number; notTaken: number }> {
  const { program } = counts.source;
  const { executable } = program;
  const branches = new Map<number, { taken: number; notTaken: number }>();
  program.insns.forEach((insn, at) => {
    if (!isConditional(insn) || !counts.source.isInsn(at)) return;
    // Left out: it is never made.
    branches.set(at, { taken: 0, notTaken: present[at] === 1 ? 0 : insns[at]! });
  });
  executable.insns.forEach((_, pc) => {
    const at = executable.origin[pc]!;
    const branch = branches.get(at);
    if (branch === undefined) return;
    const leaves = executable.origin[pc + 1 + distance(counts, pc)] !== at;
    if ((counts.kinds[pc]! & 4) !== 0 && leaves) branch.taken += counts.taken[pc]!;
    // The only way left is to make it: a jump of distance 0.
    if (insnOp(executable.insns[pc]!.code) === JMP_OP.JA && (counts.kinds[pc]! & 4) !== 0)
      branch.taken += counts.fell[pc]!;
    else if (executable.origin[pc + 1] !== at) branch.notTaken += counts.fell[pc]!;
  });
  return branches;
}

export function coverageReport(counter: ExecutionCounter): CoverageReport {
  const files = new Map<string, FileCounts>();
  const fileOf = (name: string): FileCounts => {
    let file = files.get(name);
    if (file === undefined) {
      file = { functions: new Map(), lines: new Map(), branches: new Map() };
      files.set(name, file);
    }
    return file;
  };
  const programs = counter.programs.map((counts) => {
    const full = fullCounts(counts);
    addFunctions(counts, fileOf);
    addLines(counts, full, fileOf);
    addBranches(counts, full, fileOf);
    return programOf(counts, full);
  });
  const covered = [...files]
    .map(([file, { functions, lines, branches }]) => ({
      file,
      functions: [...functions.values()].sort((a, b) => a.line - b.line || compare(a.name, b.name)),
      lines: [...lines.values()].sort((a, b) => a.line - b.line),
      branches: [...branches.values()].sort(
        (a, b) => a.line - b.line || compare(a.function, b.function) || a.insn - b.insn,
      ),
    }))
    .sort((a, b) => compare(a.file, b.file));
  return {
    files: covered,
    programs,
    totals: {
      lines: add(covered.map(({ lines }) => share(lines.map(({ count }) => count)))),
      functions: add(covered.map(({ functions }) => share(functions.map(({ count }) => count)))),
      branches: add(covered.map(({ branches }) => branchShare(branches))),
      instructions: add(programs.map(({ instructions }) => instructions)),
    },
  };
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

export function share(counts: readonly number[]): Share {
  return { found: counts.length, hit: counts.filter((count) => count > 0).length };
}

/** Both ways of each jump. */
export function branchShare(branches: readonly CoveredBranch[]): Share {
  return share(branches.flatMap(({ taken, notTaken }) => [taken, notTaken]));
}

function add(shares: readonly Share[]): Share {
  return shares.reduce((sum, { found, hit }) => ({ found: sum.found + found, hit: sum.hit + hit }), {
    found: 0,
    hit: 0,
  });
}

function programOf(counts: ProgramCounts, full: FullCounts): CoveredProgram {
  const { source } = counts;
  const insns = Array.from(full.insns, (count, i) => (source.isInsn(i) ? count : null));
  return {
    name: source.program.name,
    insns,
    instructions: share(insns.filter((count) => count !== null)),
    hasLines: source.lines.length > 0,
  };
}

type FileOf = (name: string) => FileCounts;

function addFunctions(counts: ProgramCounts, fileOf: FileOf): void {
  const { source } = counts;
  source.functions.forEach(({ name, start }, i) => {
    const first = source.lineAt(start);
    if (first === undefined) return;
    const { functions } = fileOf(first.file);
    const known = functions.get(name);
    if (known !== undefined) known.count += counts.calls[i]!;
    else functions.set(name, { name, line: first.line, count: counts.calls[i]! });
  });
}

function addLines(counts: ProgramCounts, full: FullCounts, fileOf: FileOf): void {
  const { source } = counts;
  const instructions = new Float64Array(source.lines.length);
  const most = new Float64Array(source.lines.length);
  const used = new Uint8Array(source.lines.length);
  full.insns.forEach((count, i) => {
    const record = source.lineOf[i]!;
    if (record < 0 || !source.isInsn(i)) return;
    const line = counts.sameLine[record]!;
    used[line] = 1;
    instructions[line]! += count - counts.unplaced[i]!;
    if (source.lineStarts[i] === 1) most[line] = Math.max(most[line]!, count);
  });
  source.lines.forEach(({ file, line, text }, record) => {
    if (used[record] === 0) return;
    const { lines } = fileOf(file);
    // Nothing is left of it by the rewriting, and yet control has passed.
    const count = counts.lines[record]! || most[record]!;
    const known = lines.get(line);
    if (known === undefined)
      lines.set(line, { line, count, text: text.trim(), instructions: instructions[record]! });
    else {
      known.count += count;
      known.instructions += instructions[record]!;
    }
  });
}

function addBranches(counts: ProgramCounts, full: FullCounts, fileOf: FileOf): void {
  const { source } = counts;
  for (const [at, { taken, notTaken }] of full.branches) {
    const place = source.lineAt(at);
    const function_ = source.functionAt(at);
    if (place === undefined || function_ === undefined) continue;
    const { branches } = fileOf(place.file);
    const insn = at - function_.start;
    const key = `${place.line}:${function_.name}:${insn}`;
    const known = branches.get(key);
    if (known === undefined) {
      const reached = full.insns[at]! > 0;
      branches.set(key, { line: place.line, function: function_.name, insn, reached, taken, notTaken });
    } else {
      known.reached ||= full.insns[at]! > 0;
      known.taken += taken;
      known.notTaken += notTaken;
    }
  }
}
