/** Programs whose control flow is a random graph, and a reference that walks the graph itself. */
import { ALU_OP, CLASS, JMP_OP, SOURCE } from '../../src/asm/opcodes.ts';
import type { Insn } from '../../src/contracts/insn.ts';

export function random(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

export interface GraphNode {
  /** Successors: one, or two of which the bit of the walk's state chooses. */
  readonly succs: readonly number[];
  readonly bit: number;
}

/** `locality`: how far successors lie from a node at most; 0 leaves them anywhere. */
export function randomGraph(seed: number, size: number, locality = 0): GraphNode[] {
  const next = random(seed);
  const target = (from: number): number => {
    if (locality === 0) return next() % size;
    return Math.min(size - 1, Math.max(0, from - (locality >> 1) + (next() % locality)));
  };
  return Array.from({ length: size }, (_, i) => {
    const bit = next() % 16;
    const kind = next() % 4;
    if (kind === 0) return { succs: [target(i)], bit };
    return { succs: [target(i), kind === 1 ? target(i) : (i + 1) % size], bit };
  });
}

const insn = (code: number, dst: number, src: number, off: number, imm: number): Insn => ({
  code,
  dst,
  src,
  off,
  imm,
});
const ALU = (op: number, dst: number, imm: number): Insn => insn(CLASS.ALU | op, dst, 0, 0, imm);

/**
 * R0 becomes a hash of the nodes passed; R6 counts down the nodes still allowed; R7 is the state whose bits choose.
 * Gotos are `gotol`, so that graphs of any size can be written.
 */
export function graphProgram(graph: readonly GraphNode[], fuel: number, state: number): Insn[] {
  const SIZE = 9;
  const HEAD = 3;
  const place = (node: number): number => HEAD + node * SIZE;
  const program = [ALU(ALU_OP.MOV, 0, 0), ALU(ALU_OP.MOV, 6, fuel), ALU(ALU_OP.MOV, 7, state)];
  graph.forEach((node, i) => {
    const at = place(i);
    const goto = (slot: number, to: number) =>
      insn(CLASS.JMP32 | JMP_OP.JA, 0, 0, 0, place(to) - (at + slot) - 1);
    const [first, second] = node.succs as [number, number?];
    program.push(
      ALU(ALU_OP.MUL, 0, 31),
      ALU(ALU_OP.ADD, 0, i + 1),
      ALU(ALU_OP.SUB, 6, 1),
      insn(CLASS.JMP32 | JMP_OP.JNE | SOURCE.K, 6, 0, 1, 0),
      insn(CLASS.JMP | JMP_OP.EXIT, 0, 0, 0, 0),
      ALU(ALU_OP.MUL, 7, 1103515245),
      second === undefined
        ? ALU(ALU_OP.ADD, 7, 12345)
        : insn(CLASS.JMP32 | JMP_OP.JSET | SOURCE.K, 7, 0, 1, 1 << (node.bit + 8)),
      goto(7, first),
      goto(8, second ?? first),
    );
  });
  return program;
}

export function walk(graph: readonly GraphNode[], fuel: number, start: number): number {
  let hash = 0;
  let state = start | 0;
  let node = 0;
  for (let left = fuel; ; ) {
    hash = (Math.imul(hash, 31) + node + 1) | 0;
    if (--left === 0) return hash >>> 0;
    state = Math.imul(state, 1103515245);
    const { succs, bit } = graph[node]!;
    if (succs.length === 1) {
      state = (state + 12345) | 0;
      node = succs[0]!;
    } else node = (state & (1 << (bit + 8))) !== 0 ? succs[1]! : succs[0]!;
  }
}
