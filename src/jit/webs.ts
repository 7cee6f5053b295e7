/**
 * Webs: definitions of a variable that reach a use in common are one web, which has one representation. Variables are R0..R9 and
 * the promoted slots of the stack (`slots.ts`), numbered from FIRST_SLOT on; R10 is none.
 *
 * A node stands for a definition (the instruction's place in the subprogram) or for a variable where a block begins in which it is
 * live. Invariant: whoever walks a block sees for each variable the node that defines it there; all is flat and iterative, and linear
 * in the program but for the fixpoint of liveness.
 */
import { accessBytes, CLASS, insnClass, insnMode, MODE } from '../asm/opcodes.ts';
import type { ExecutableProgram, ExecutableSubprog } from '../contracts/engine.ts';
import type { Insn } from '../contracts/insn.ts';
import { type Block, nextInsn } from './cfg.ts';
import { readMask, spreadLive, writeMask } from './usage.ts';

export const FIRST_SLOT = 11;
export const VARIABLES = 31;
const REGISTERS = 0x3ff;

/** Promoted slots: `at[-offset]` is the variable of the slot that begins at R10 + offset, 0 where there is none. */
export interface SlotMap {
  readonly at: Uint8Array;
  readonly count: number;
}

export const NO_SLOTS: SlotMap = { at: new Uint8Array(0), count: 0 };

/** Variable of the promoted slot that a load reads or a store writes; -1: the access is one of memory. */
export function slotOf(slots: SlotMap, insn: Insn): number {
  if (slots.count === 0) return -1;
  const cls = insnClass(insn.code);
  const mode = insnMode(insn.code);
  if (cls === CLASS.LDX ? insn.src !== 10 : insn.dst !== 10) return -1;
  if (mode !== MODE.MEM && !(cls === CLASS.LDX && mode === MODE.MEMSX)) return -1;
  return (slots.at[-insn.off] ?? 0) || -1;
}

const isAccess = (insn: Insn): boolean => {
  const cls = insnClass(insn.code);
  return cls === CLASS.LDX || cls === CLASS.ST || cls === CLASS.STX;
};

/** Whether the instruction reads or writes R10's frame at a constant place, plainly. */
export function isFrameAccess(insn: Insn): boolean {
  const cls = insnClass(insn.code);
  if (cls === CLASS.LDX) return insn.src === 10 && insnMode(insn.code) !== MODE.ATOMIC;
  return (cls === CLASS.ST || cls === CLASS.STX) && insn.dst === 10 && insnMode(insn.code) === MODE.MEM;
}

export { accessBytes };

const popcount = (mask: number): number => {
  let x = mask - ((mask >>> 1) & 0x5555_5555);
  x = (x & 0x3333_3333) + ((x >>> 2) & 0x3333_3333);
  return Math.imul((x + (x >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
};

export class Webs {
  slots: SlotMap;
  /** First instruction of the subprogram, and how many it has: nodes below `size` are definitions. */
  readonly start: number;
  readonly size: number;
  /** Mask of variables live where each block begins. */
  readonly liveIn: Int32Array;
  readonly nodes: number;
  readonly #program: ExecutableProgram;
  readonly #blocks: readonly Block[];
  readonly #parameters: readonly number[];
  readonly #inBase: Int32Array;
  readonly #parent: Int32Array;
  /** By place in the subprogram: mask of variables read, variable written (-1: none). */
  readonly #reads: Int32Array;
  readonly #writes: Int8Array;

  constructor(
    program: ExecutableProgram,
    subprog: ExecutableSubprog,
    blocks: readonly Block[],
    parameters: readonly number[],
    slots: SlotMap,
  ) {
    this.#program = program;
    this.#blocks = blocks;
    this.#parameters = parameters;
    this.slots = slots;
    this.#reads = new Int32Array(subprog.end - subprog.start);
    this.#writes = new Int8Array(subprog.end - subprog.start).fill(-1);
    this.start = subprog.start;
    this.size = subprog.end - subprog.start;
    const defs = new Int32Array(blocks.length);
    this.#look();
    this.liveIn = this.#liveness(defs);
    this.slots = this.#withoutUnwritten(defs);
    this.#inBase = new Int32Array(blocks.length);
    let nodes = this.size;
    for (let b = 0; b < blocks.length; b++) {
      this.#inBase[b] = nodes;
      nodes += popcount(this.liveIn[b]!);
    }
    this.nodes = nodes;
    this.#parent = new Int32Array(nodes);
    for (let node = 0; node < nodes; node++) this.#parent[node] = node;
    this.#unite(defs);
  }

  /** Mask of variables that the instruction reads. */
  reads(i: number): number {
    return this.#reads[i - this.start]!;
  }

  /** Variable that the instruction writes, -1 for none. */
  writes(i: number): number {
    return this.#writes[i - this.start]!;
  }

  #look(): void {
    const { insns } = this.#program;
    for (const block of this.#blocks) {
      for (let i = block.start; i < block.end; i = nextInsn(insns, i)) {
        this.#reads[i - this.start] = this.#readsOf(i);
        this.#writes[i - this.start] = this.#writesOf(i);
      }
    }
  }

  /**
   * A slot that may be read before it was written is none: it stays in memory, where such a read finds what was there. What other
   * variables are live does not change by that.
   */
  #withoutUnwritten(defs: Int32Array): SlotMap {
    const unwritten = this.liveIn[0]! & ~((1 << FIRST_SLOT) - 1);
    if (unwritten === 0) return this.slots;
    for (let b = 0; b < defs.length; b++) {
      this.liveIn[b]! &= ~unwritten;
      defs[b]! &= ~unwritten;
    }
    for (let at = 0; at < this.size; at++) {
      this.#reads[at]! &= ~unwritten;
      const written = this.#writes[at]!;
      if (written >= 0 && (unwritten >>> written) & 1) this.#writes[at] = -1;
    }
    let { count } = this.slots;
    const at = this.slots.at.map((variable) => {
      if (variable === 0 || ((unwritten >>> variable) & 1) === 0) return variable;
      count--;
      return 0;
    });
    return { at, count };
  }

  #readsOf(i: number): number {
    const insn = this.#program.insns[i]!;
    if (isAccess(insn)) {
      const slot = slotOf(this.slots, insn);
      if (slot >= 0) {
        if (insnClass(insn.code) === CLASS.LDX) return 1 << slot;
        return insnClass(insn.code) === CLASS.STX ? (1 << insn.src) & REGISTERS : 0;
      }
    }
    return readMask(insn, this.#program.calls[i], this.#parameters) & REGISTERS;
  }

  #writesOf(i: number): number {
    const insn = this.#program.insns[i]!;
    if (isAccess(insn) && insnClass(insn.code) !== CLASS.LDX) {
      const slot = slotOf(this.slots, insn);
      if (slot >= 0) return slot;
    }
    const mask = writeMask(insn) & REGISTERS;
    return mask === 0 ? -1 : 31 - Math.clz32(mask);
  }

  /** The web of a node, as the node that stands for it. */
  find(node: number): number {
    const parent = this.#parent;
    let root = node;
    while (parent[root] !== root) root = parent[root]!;
    for (let at = node; at !== root; ) {
      const next = parent[at]!;
      parent[at] = root;
      at = next;
    }
    return root;
  }

  /** Node of a variable where a block begins; -1 where it is dead. */
  inNode(block: number, variable: number): number {
    const live = this.liveIn[block]!;
    if (((live >>> variable) & 1) === 0) return -1;
    return this.#inBase[block]! + popcount(live & ((1 << variable) - 1));
  }

  /** Puts the nodes of all variables where a block begins into `current`. */
  enter(block: number, current: Int32Array): void {
    current.fill(-1);
    let node = this.#inBase[block]!;
    for (let live = this.liveIn[block]!; live !== 0; live &= live - 1) {
      current[31 - Math.clz32(live & -live)] = node++;
    }
  }

  /** All instructions, block by block: `current` holds the node of each variable in front of the instruction. */
  walk(visit: (i: number, current: Int32Array) => void): void {
    const current = new Int32Array(VARIABLES);
    const { insns } = this.#program;
    for (let b = 0; b < this.#blocks.length; b++) {
      const block = this.#blocks[b]!;
      this.enter(b, current);
      for (let i = block.start; i < block.end; i = nextInsn(insns, i)) {
        visit(i, current);
        const written = this.writes(i);
        if (written >= 0) current[written] = i - this.start;
      }
    }
  }

  #liveness(defs: Int32Array): Int32Array {
    const { insns } = this.#program;
    const blocks = this.#blocks;
    const live = new Int32Array(blocks.length);
    blocks.forEach((block, n) => {
      let used = 0;
      let defined = 0;
      for (let i = block.start; i < block.end; i = nextInsn(insns, i)) {
        used |= this.reads(i) & ~defined;
        const written = this.writes(i);
        if (written >= 0) defined |= 1 << written;
      }
      live[n] = used;
      defs[n] = defined;
    });
    spreadLive(live, defs, blocks);
    return live;
  }

  /** Makes one web of what a block ends with and what its successors begin with. */
  #unite(defs: Int32Array): void {
    const blocks = this.#blocks;
    const last = new Int32Array(VARIABLES);
    const { insns } = this.#program;
    for (let b = 0; b < blocks.length; b++) {
      const block = blocks[b]!;
      if (block.succs.length === 0) continue;
      this.enter(b, last);
      if (defs[b] !== 0) {
        for (let i = block.start; i < block.end; i = nextInsn(insns, i)) {
          const written = this.writes(i);
          if (written >= 0) last[written] = i - this.start;
        }
      }
      for (const next of block.succs) {
        let node = this.#inBase[next]!;
        for (let live = this.liveIn[next]!; live !== 0; live &= live - 1) {
          const variable = 31 - Math.clz32(live & -live);
          const a = this.find(last[variable]!);
          const c = this.find(node++);
          if (a !== c) this.#parent[a] = c;
        }
      }
    }
  }
}
