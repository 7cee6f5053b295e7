/**
 * What passes ask about the shape of a function: reverse postorder, dominators (Cooper, Harvey and Kennedy), natural loops.
 * Iterative everywhere: the depth of a function is that of the input.
 */
import { type Block, computePreds, type Func } from './ir.ts';

/** Reachable blocks, each before its successors but for back edges. Also fills in `preds` and ids of all blocks. */
export function reversePostorder(func: Func): Block[] {
  computePreds(func);
  const seen = new Uint8Array(func.blocks.length);
  const order: Block[] = [];
  const stack: { block: Block; next: number }[] = [{ block: func.entry, next: 0 }];
  seen[func.entry.id] = 1;
  while (stack.length > 0) {
    const top = stack[stack.length - 1]!;
    const { succs } = top.block;
    if (top.next < succs.length) {
      // Last successor first, so that the first one follows its block in the result.
      const succ = succs[succs.length - 1 - top.next++]!;
      if (seen[succ.id] === 0) {
        seen[succ.id] = 1;
        stack.push({ block: succ, next: 0 });
      }
    } else {
      order.push(top.block);
      stack.pop();
    }
  }
  return order.reverse();
}

export class Dominators {
  readonly order: readonly Block[];
  private readonly idom: Int32Array;
  private readonly position: Int32Array;
  private readonly enter: Int32Array;
  private readonly leave: Int32Array;
  readonly children: readonly (readonly Block[])[];

  constructor(func: Func) {
    const order = reversePostorder(func);
    this.order = order;
    const position = new Int32Array(func.blocks.length).fill(-1);
    order.forEach((block, i) => {
      position[block.id] = i;
    });
    const idom = new Int32Array(order.length).fill(-1);
    idom[0] = 0;
    for (let changed = true; changed; ) {
      changed = false;
      for (let i = 1; i < order.length; i++) {
        let best = -1;
        for (const pred of order[i]!.preds) {
          let p = position[pred.id]!;
          if (p < 0 || idom[p] === -1) continue;
          if (best === -1) best = p;
          else {
            let q = best;
            while (p !== q) {
              while (p > q) p = idom[p]!;
              while (q > p) q = idom[q]!;
            }
            best = p;
          }
        }
        if (idom[i] !== best) {
          idom[i] = best;
          changed = true;
        }
      }
    }
    const children: Block[][] = order.map(() => []);
    for (let i = 1; i < order.length; i++) children[idom[i]!]!.push(order[i]!);
    this.children = children;
    this.idom = idom;
    this.position = position;
    this.enter = new Int32Array(order.length);
    this.leave = new Int32Array(order.length);
    let time = 0;
    const stack: { at: number; next: number }[] = [{ at: 0, next: 0 }];
    this.enter[0] = time++;
    while (stack.length > 0) {
      const top = stack[stack.length - 1]!;
      const list = children[top.at]!;
      if (top.next < list.length) {
        const at = position[list[top.next++]!.id]!;
        this.enter[at] = time++;
        stack.push({ at, next: 0 });
      } else {
        this.leave[top.at] = time++;
        stack.pop();
      }
    }
  }

  reachable(block: Block): boolean {
    return (this.position[block.id] ?? -1) >= 0;
  }

  /** Whether every path to `b` goes through `a`. Both reachable. */
  dominates(a: Block, b: Block): boolean {
    const x = this.position[a.id]!;
    const y = this.position[b.id]!;
    return this.enter[x]! <= this.enter[y]! && this.leave[y]! <= this.leave[x]!;
  }

  /** Place in a walk of the dominator tree: smaller than those of all blocks that it dominates. Reachable. */
  enterOf(block: Block): number {
    return this.enter[this.position[block.id]!]!;
  }

  idomOf(block: Block): Block | undefined {
    const at = this.position[block.id]!;
    return at <= 0 ? undefined : this.order[this.idom[at]!];
  }

  childrenOf(block: Block): readonly Block[] {
    return this.children[this.position[block.id]!] ?? [];
  }

  indexOf(block: Block): number {
    return this.position[block.id]!;
  }

  /** Blocks where definitions of each block meet others. By position in `order`. */
  frontiers(): Block[][] {
    const result: Set<Block>[] = this.order.map(() => new Set());
    this.order.forEach((block, i) => {
      if (block.preds.length < 2) return;
      for (const pred of block.preds) {
        let at = this.position[pred.id]!;
        if (at < 0) continue;
        while (at !== this.idom[i]) {
          result[at]!.add(block);
          at = this.idom[at]!;
        }
      }
    });
    return result.map((set) => [...set]);
  }
}

export interface Loop {
  readonly header: Block;
  readonly blocks: Set<Block>;
  /** Blocks that jump back to the header. */
  readonly latches: Block[];
  parent: Loop | undefined;
  depth: number;
}

/** Natural loops, outer ones before inner ones. */
export function findLoops(dom: Dominators): Loop[] {
  const byHeader = new Map<Block, Loop>();
  for (const block of dom.order) {
    for (const succ of block.succs) {
      if (!dom.dominates(succ, block)) continue;
      let loop = byHeader.get(succ);
      if (loop === undefined) {
        loop = { header: succ, blocks: new Set([succ]), latches: [], parent: undefined, depth: 1 };
        byHeader.set(succ, loop);
      }
      if (!loop.latches.includes(block)) loop.latches.push(block);
    }
  }
  for (const loop of byHeader.values()) {
    const work = [...loop.latches];
    while (work.length > 0) {
      const block = work.pop()!;
      if (loop.blocks.has(block)) continue;
      loop.blocks.add(block);
      for (const pred of block.preds) if (dom.reachable(pred)) work.push(pred);
    }
  }
  const loops = [...byHeader.values()].sort((a, b) => b.blocks.size - a.blocks.size);
  const innermost = new Map<Block, Loop>();
  for (const loop of loops) {
    const parent = innermost.get(loop.header);
    if (parent !== undefined) {
      loop.parent = parent;
      loop.depth = parent.depth + 1;
    }
    for (const block of loop.blocks) innermost.set(block, loop);
  }
  return loops;
}

/** Depth of loops around each block, by block. */
export function loopDepths(loops: readonly Loop[]): Map<Block, number> {
  const depths = new Map<Block, number>();
  for (const loop of loops) for (const block of loop.blocks) depths.set(block, loop.depth);
  return depths;
}
