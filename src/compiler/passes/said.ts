/**
 * What branches say of one value: facts that hold in a block and in all that it dominates. Blocks that dominate a block are a chain, so
 * each entry knows the nearest one that dominates its own; what is asked costs the length of that chain, whose end is cut off: a function
 * of thousands of loops over one value would take the square of their number.
 */
import type { Block, Dominators } from '../ir/index.ts';
import { type Facts, intersect } from './facts.ts';

/** The nearest entries have most to say: what is refined at a branch was known there of those before. */
const MOST = 32;

interface Entry {
  readonly block: Block;
  facts: Facts;
  outer: Entry | undefined;
}

export class Said {
  private readonly dom: Dominators;
  private readonly byBlock = new Map<Block, Entry>();
  /** In the order of the dominator tree: a block before those that it dominates. */
  private readonly entries: Entry[] = [];

  constructor(dom: Dominators) {
    this.dom = dom;
  }

  get(block: Block): Facts | undefined {
    return this.byBlock.get(block)?.facts;
  }

  set(block: Block, facts: Facts): void {
    const known = this.byBlock.get(block);
    if (known !== undefined) {
      known.facts = facts;
      return;
    }
    const at = this.after(block);
    const entry: Entry = { block, facts, outer: this.nearest(block, at) };
    for (let i = at; i < this.entries.length; i++) {
      const one = this.entries[i]!;
      if (!this.dom.dominates(block, one.block)) break;
      if (one.outer === entry.outer) one.outer = entry;
    }
    this.entries.splice(at, 0, entry);
    this.byBlock.set(block, entry);
  }

  /** The facts, and what is said of them where the block is. */
  refine(facts: Facts, block: Block): Facts {
    let refined = facts;
    let entry = this.nearest(block, this.after(block));
    for (let i = 0; i < MOST && entry !== undefined; i++) {
      refined = intersect(refined, entry.facts);
      entry = entry.outer;
    }
    return refined;
  }

  /** How many entries stand before the block's subtree, its own among them. */
  private after(block: Block): number {
    const place = this.dom.enterOf(block);
    let low = 0;
    let high = this.entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.dom.enterOf(this.entries[middle]!.block) <= place) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  private nearest(block: Block, at: number): Entry | undefined {
    let entry: Entry | undefined = this.entries[at - 1];
    while (entry !== undefined && !this.dom.dominates(entry.block, block)) entry = entry.outer;
    return entry;
  }
}
