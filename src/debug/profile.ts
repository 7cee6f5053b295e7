/** Where instructions are spent: by function, by C line, by call stack. From the same counts as coverage. */
import type { ExecutionCounter, StackNode } from './coverage/counter.ts';
import { fullCounts } from './coverage/report.ts';

export interface ProfiledFunction {
  readonly program: string;
  readonly name: string;
  readonly calls: number;
  /** Instructions of the function itself. */
  readonly instructions: number;
  /** Of all instructions, 0 to 1. */
  readonly share: number;
}

export interface ProfiledLine {
  readonly file: string;
  readonly line: number;
  readonly text: string;
  readonly instructions: number;
  readonly share: number;
}

export interface Profile {
  /** Instructions of the programs as loaded that ran. */
  readonly instructions: number;
  /** Most instructions first, as all lists here. */
  readonly functions: readonly ProfiledFunction[];
  readonly lines: readonly ProfiledLine[];
  /** Functions from the outside in, with the instructions of the innermost one. */
  readonly stacks: readonly { readonly frames: readonly string[]; readonly instructions: number }[];
}

export function profile(counter: ExecutionCounter): Profile {
  const functions: Omit<ProfiledFunction, 'share'>[] = [];
  const lines = new Map<string, { file: string; line: number; text: string; instructions: number }>();
  let total = 0;
  for (const counts of counter.programs) {
    const { source } = counts;
    const own = new Float64Array(source.functions.length);
    fullCounts(counts).insns.forEach((count, insn) => {
      if (count === 0) return;
      total += count;
      const index = source.functionIndex(insn);
      if (index >= 0) own[index]! += count;
      const at = source.lineAt(insn);
      const placed = count - counts.unplaced[insn]!;
      if (at === undefined || placed === 0) return;
      const key = `${at.line}:${at.file}`;
      const known = lines.get(key);
      if (known !== undefined) known.instructions += placed;
      else lines.set(key, { file: at.file, line: at.line, text: at.text.trim(), instructions: placed });
    });
    source.functions.forEach(({ name }, i) => {
      if (own[i]! > 0)
        functions.push({
          program: source.program.name,
          name,
          calls: counts.calls[i]!,
          instructions: own[i]!,
        });
    });
  }
  const shared = <T extends { instructions: number }>(rows: Iterable<T>) =>
    [...rows]
      .map((row) => ({ ...row, share: row.instructions / total }))
      .sort((a, b) => b.instructions - a.instructions);
  const stacks: { frames: string[]; instructions: number }[] = [];
  collect(counter.stacks, [], stacks);
  return {
    instructions: total,
    functions: shared(functions),
    lines: shared(lines.values()),
    stacks: stacks.sort((a, b) => b.instructions - a.instructions),
  };
}

function collect(
  node: StackNode,
  frames: string[],
  stacks: { frames: string[]; instructions: number }[],
): void {
  if (node.count > 0) stacks.push({ frames, instructions: node.count });
  for (const child of node.children.values()) collect(child, [...frames, child.name], stacks);
}

/** One line a stack, `outer;inner count`, as flamegraph.pl, speedscope and others read it. */
export function foldedStacks({ stacks }: Profile): string {
  return stacks
    .map(
      ({ frames, instructions }) =>
        `${frames.map((name) => name.replace(/[;\s]/g, '_')).join(';')} ${instructions}\n`,
    )
    .join('');
}
