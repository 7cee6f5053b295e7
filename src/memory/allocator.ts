/**
 * The heap of the linear memory: first fit over a list of free blocks, neighbours joined on free. Its books are kept
 * outside the linear memory, so that nothing a guest writes can damage them. Blocks are few (a map is one or a handful),
 * so the sorted arrays stay short.
 */
import { alignUp } from '../util/bytes.ts';
import { InternalError } from '../util/errors.ts';

/** Every block starts on a multiple of this, which is what 8-byte atomics and cmpxchg16-free layouts need. */
export const BLOCK_ALIGN = 16;

export interface Block {
  readonly start: number;
  readonly size: number;
  /** What lies there, for reports: `map counts`, `packet`, `user memory of 4711`. */
  readonly label: string;
}

export class Allocator {
  #free: { start: number; size: number }[];
  readonly #used = new Map<number, Block>();
  /** Starts of used blocks in ascending order, for `blockAt`. */
  #starts: number[] = [];
  #end: number;
  #bytesUsed = 0;
  /** What it has taken over besides. */
  readonly #added: { start: number; end: number }[] = [];

  constructor(start: number, end: number) {
    this.#free = end > start ? [{ start, size: end - start }] : [];
    this.#end = end;
  }

  get bytesUsed(): number {
    return this.#bytesUsed;
  }

  /** Offset of a new block, or 0 where no free block is large enough; `size` 0 counts as 1. `align`: a power of two. */
  allocate(size: number, label: string, align = BLOCK_ALIGN): number {
    const need = alignUp(Math.max(size, 1), BLOCK_ALIGN);
    const step = Math.max(align, BLOCK_ALIGN);
    for (let i = 0; i < this.#free.length; i++) {
      const hole = this.#free[i];
      const start = alignUp(hole.start, step);
      const lead = start - hole.start;
      if (hole.size < lead + need) continue;
      const rest = { start: start + need, size: hole.size - lead - need };
      const parts = [];
      if (lead > 0) parts.push({ start: hole.start, size: lead });
      if (rest.size > 0) parts.push(rest);
      this.#free.splice(i, 1, ...parts);
      this.#used.set(start, { start, size: need, label });
      this.#starts.splice(this.#lowerBound(start), 0, start);
      this.#bytesUsed += need;
      return start;
    }
    return 0;
  }

  /** Bytes that must be added at the end so that `allocate(size)` succeeds. */
  shortfall(size: number, align = BLOCK_ALIGN): number {
    const last = this.#free.at(-1);
    const tail = last !== undefined && last.start + last.size === this.#end ? last.size : 0;
    return alignUp(Math.max(size, 1), BLOCK_ALIGN) + Math.max(align, BLOCK_ALIGN) - tail;
  }

  /** The memory has grown to `end`. */
  extend(end: number): void {
    if (end <= this.#end) return;
    this.#insertFree(this.#end, end - this.#end);
    this.#end = end;
  }

  /** Takes over free memory that lies apart from what it has. */
  add(start: number, size: number): void {
    const last = this.#added.at(-1);
    if (last !== undefined && last.end === start) last.end = start + size;
    else this.#added.push({ start, end: start + size });
    this.#insertFree(start, size);
  }

  free(start: number): Block {
    const block = this.#used.get(start);
    if (block === undefined) throw new InternalError(`free of ${start}, which is not allocated`);
    this.#used.delete(start);
    this.#starts.splice(this.#lowerBound(start), 1);
    this.#bytesUsed -= block.size;
    this.#insertFree(block.start, block.size);
    return block;
  }

  /** The used block that holds the byte at `offset`. */
  blockAt(offset: number): Block | undefined {
    const at = this.#lowerBound(offset + 1) - 1;
    if (at < 0) return undefined;
    const block = this.#used.get(this.#starts[at])!;
    return offset < block.start + block.size ? block : undefined;
  }

  /** Whether the byte at `offset` was ever given to it with `add`. */
  hasAdded(offset: number): boolean {
    return this.#added.some(({ start, end }) => offset >= start && offset < end);
  }

  /** All used blocks, in ascending order. */
  *blocks(): Generator<Block> {
    for (const start of this.#starts) yield this.#used.get(start)!;
  }

  /** Index of the first used start that is >= offset. */
  #lowerBound(offset: number): number {
    let low = 0;
    let high = this.#starts.length;
    while (low < high) {
      const mid = (low + high) >>> 1;
      if (this.#starts[mid] < offset) low = mid + 1;
      else high = mid;
    }
    return low;
  }

  #insertFree(start: number, size: number): void {
    let i = this.#free.findIndex((hole) => hole.start > start);
    if (i < 0) i = this.#free.length;
    this.#free.splice(i, 0, { start, size });
    const next = this.#free[i + 1];
    if (next !== undefined && start + size === next.start) {
      this.#free[i].size += next.size;
      this.#free.splice(i + 1, 1);
    }
    const before = this.#free[i - 1];
    if (before !== undefined && before.start + before.size === start) {
      before.size += this.#free[i].size;
      this.#free.splice(i, 1);
    }
  }
}
