/** Control flow of a program as a graph for Graphviz (`prog dump xlated PROG visual`): a cluster a function, a record a block. */
import { CALL, CLASS, insnClass, insnOp, JMP_OP } from '../asm/opcodes.ts';
import type { Insn } from '../contracts/insn.ts';
import { withDistance, type XlatedInsn } from './xlated.ts';

interface Flow {
  /** Index of where a jump goes. */
  readonly target?: number;
  readonly falls: boolean;
  readonly calls?: number;
  readonly ends: boolean;
}

function flowOf(insn: Insn, index: number, slots: number): Flow {
  const cls = insnClass(insn.code);
  const op = insnOp(insn.code);
  const next = index + slots;
  if (cls !== CLASS.JMP && cls !== CLASS.JMP32) return { falls: true, ends: false };
  if (op === JMP_OP.CALL) {
    const calls = insn.src === CALL.LOCAL ? { calls: next + insn.imm } : {};
    return { falls: true, ends: false, ...calls };
  }
  if (op === JMP_OP.EXIT && cls === CLASS.JMP) return { falls: false, ends: true };
  const distance = cls === CLASS.JMP32 && op === JMP_OP.JA ? insn.imm : insn.off;
  return { target: next + distance, falls: op !== JMP_OP.JA, ends: true };
}

/** Text of a label of shape `record`. */
const escaped = (text: string): string =>
  text.replaceAll(/[\\{}|<>" ]/g, (char) => (char === ' ' ? '\\ ' : `\\${char}`));

export function* xlatedGraph(insns: readonly XlatedInsn[], raw: readonly Insn[]): Generator<string> {
  const flows = new Map<number, Flow>();
  const functions = new Set<number>([0]);
  const leaders = new Set<number>();
  for (const { index, bytes } of insns) {
    const flow = flowOf(withDistance(raw[index]!), index, bytes.length / 8);
    flows.set(index, flow);
    if (flow.calls !== undefined) functions.add(flow.calls);
    if (flow.target !== undefined) leaders.add(flow.target);
    if (flow.ends) leaders.add(index + bytes.length / 8);
  }
  for (const { index, proto } of insns) if (proto !== undefined) functions.add(index);
  const starts = [...functions].sort((a, b) => a - b);
  yield 'digraph "DOT graph for eBPF program" {';
  for (const [f, start] of starts.entries()) {
    const end = starts[f + 1] ?? Number.POSITIVE_INFINITY;
    yield* functionGraph(
      f,
      insns.filter(({ index }) => index >= start && index < end),
      leaders,
      flows,
    );
  }
  yield '}';
}

function* functionGraph(
  f: number,
  insns: readonly XlatedInsn[],
  leaders: ReadonlySet<number>,
  flows: ReadonlyMap<number, Flow>,
): Generator<string> {
  const blocks: XlatedInsn[][] = [];
  for (const insn of insns) {
    if (blocks.length === 0 || leaders.has(insn.index)) blocks.push([]);
    blocks.at(-1)!.push(insn);
  }
  const name = (index: number | 'entry' | 'exit') => `fn_${f}_bb_${index}`;
  const proto = insns[0]?.proto;
  yield `\tsubgraph "cluster_${f}" {`;
  yield '\t\tstyle="dashed";';
  yield '\t\tcolor="black";';
  yield `\t\tlabel="${proto ?? `func_${f} ()`}";`;
  yield `\t\t${name('entry')} [shape=Mdiamond,style=filled,label="ENTRY"];`;
  for (const block of blocks) {
    const lines = block.map(({ index, text }) => `${escaped(`${index}: ${text}`)}\\l\\`);
    yield `\t\t${name(block[0]!.index)} [shape=record,style=filled,label="{ ${lines.join('\n| ')}`;
    yield '}"];';
  }
  yield `\t\t${name('exit')} [shape=Mdiamond,style=filled,label="EXIT"];`;
  const first = blocks[0]?.[0]?.index;
  if (first !== undefined) yield edge(name('entry'), name(first), true);
  for (const [i, block] of blocks.entries()) {
    const last = block.at(-1)!;
    const from = name(block[0]!.index);
    const { target, falls } = flows.get(last.index)!;
    const next = blocks[i + 1]?.[0]?.index;
    if (falls && next !== undefined) yield edge(from, name(next), true);
    if (target !== undefined) yield edge(from, name(target), target > last.index);
    if (!falls && target === undefined) yield edge(from, name('exit'), true);
  }
  yield '\t}';
}

/** Edges back do not pull their blocks into order. */
function edge(from: string, to: string, forward: boolean): string {
  const style = forward
    ? 'style="solid,bold", color=black, weight=10, constraint=true'
    : 'style="solid,bold", color=red, weight=10, constraint=false';
  return `\t\t"${from}":s -> "${to}":n [${style}];`;
}
