/**
 * ARENA (kernel/bpf/arena.c): pages that programs and user space share, at addresses of user space. Pages come when a program allocates
 * them or user space touches them, and go when a program frees them.
 */
import type { Arena, MapCreateParams } from '../contracts/maps.ts';
import { ARENA_PAGE } from '../memory/arena-pages.ts';
import { BPF_MAP_FLAGS } from '../uapi/index.ts';
import { BpfError, ERRNO } from '../util/index.ts';
import { MapBase, type MapBlocks, type MapContext, type MapTypeImpl } from './base.ts';

/** Pages that are asked of the memory at once. */
const CHUNK = 16;
const TWO32 = 0x1_0000_0000;
/** Addresses of arenas that nobody has given one: of 4 GiB each, so that the low half is the place in the arena. */
let nextHigh = 0x7e00;

/** Free pages as ranges [start, end) in ascending order, never adjacent. */
class FreeRanges {
  #ranges: { start: number; end: number }[];

  constructor(pages: number) {
    this.#ranges = [{ start: 0, end: pages }];
  }

  /** Start of the smallest range with that many pages, -1: none. */
  find(count: number): number {
    let best: { start: number; end: number } | undefined;
    for (const range of this.#ranges) {
      const size = range.end - range.start;
      if (size >= count && (best === undefined || size < best.end - best.start)) best = range;
    }
    return best?.start ?? -1;
  }

  isFree(start: number, count: number): boolean {
    return this.#ranges.some((range) => range.start <= start && start + count <= range.end);
  }

  take(start: number, count: number): void {
    this.#ranges = this.#ranges.flatMap((range) => {
      if (range.end <= start || range.start >= start + count) return [range];
      return [
        { start: range.start, end: Math.max(range.start, start) },
        { start: Math.min(range.end, start + count), end: range.end },
      ].filter((rest) => rest.start < rest.end);
    });
  }

  give(start: number, count: number): void {
    this.take(start, count);
    this.#ranges.push({ start, end: start + count });
    this.#ranges.sort((a, b) => a.start - b.start);
    this.#ranges = this.#ranges.reduce<{ start: number; end: number }[]>((joined, range) => {
      const last = joined.at(-1);
      if (last !== undefined && last.end === range.start) last.end = range.end;
      else joined.push({ ...range });
      return joined;
    }, []);
  }
}

class ArenaMap extends MapBase implements Arena {
  readonly table: number;
  readonly pages: number;
  first = 0;
  userHigh = 0;
  readonly #free: FreeRanges;
  /** Pages of the memory that are the map's and hold nothing. */
  readonly #spare: number[] = [];
  /** Pages that programs on other CPUs may be writing to, though they have been freed; the oldest first. */
  readonly #held = new Set<number>();
  #gone = false;
  #present = 0;

  constructor(params: MapCreateParams, ctx: MapContext, blocks: MapBlocks) {
    super(params, ctx, blocks);
    this.pages = params.maxEntries;
    const start = params.mapExtra;
    if (Math.floor(Number(start & 0xffff_ffffn) / ARENA_PAGE) + this.pages > TWO32 / ARENA_PAGE)
      throw new BpfError(
        'ERANGE',
        `an arena of ${this.pages} pages at 0x${start.toString(16)} crosses a boundary of 4 GiB`,
      );
    if (start !== 0n) this.#place(start);
    this.table = this.allocate(this.pages * 4, 'page table');
    this.#free = new FreeRanges(this.pages);
  }

  get keepsAddresses(): boolean {
    return (this.info.flags & BPF_MAP_FLAGS.BPF_F_NO_USER_CONV) !== 0;
  }

  get arena(): Arena {
    return this;
  }

  #place(start: bigint): void {
    this.first = Number((start & 0xffff_ffffn) >> 12n);
    this.userHigh = Number(BigInt.asIntN(32, start >> 32n));
  }

  // For user space.

  map(): bigint {
    if (this.info.mapExtra === undefined) {
      const start = BigInt(nextHigh++) << 32n;
      this.#place(start);
      this.setUserAddress(start);
    }
    return this.info.mapExtra!;
  }

  touch(offset: number): number {
    const page = Math.floor(offset / ARENA_PAGE);
    if (page < 0 || page >= this.pages) return 0;
    let at = this.#pageAt(page);
    if (at === 0) {
      if ((this.info.flags & BPF_MAP_FLAGS.BPF_F_SEGV_ON_FAULT) !== 0) return 0;
      this.#free.take(page, 1);
      if (!this.#fill(page)) return 0;
      at = this.#pageAt(page);
    }
    return at + (offset % ARENA_PAGE);
  }

  // For programs. Addresses are the low halves.

  allocatePages(address: number | null, count: number): number {
    if (count < 1 || count > this.pages) return -1;
    let page: number;
    if (address !== null) {
      if (address % ARENA_PAGE !== 0) return -1;
      page = this.#pageOf(address);
      if (page > this.pages - count || !this.#free.isFree(page, count)) return -1;
    } else {
      page = this.#free.find(count);
      if (page < 0) return -1;
    }
    this.#free.take(page, count);
    for (let i = 0; i < count; i++) {
      if (this.#fill(page + i)) continue;
      this.freePages((this.first + page) * ARENA_PAGE, count);
      return -1;
    }
    return ((this.first + page) * ARENA_PAGE) % TWO32;
  }

  freePages(address: number, count: number): void {
    const page = this.#pageOf(address);
    const end = Math.min(page + count, this.pages);
    if (count < 1 || page >= end) return;
    const { u32 } = this.ctx.memory;
    const freed: number[] = [];
    for (let i = page; i < end; i++) {
      const at = this.#pageAt(i);
      if (at === 0) continue;
      Atomics.store(u32, (this.table >>> 2) + i, 0);
      this.#held.add(at);
      freed.push(at);
      this.#present--;
    }
    this.#free.give(page, end - page);
    const empty = (): void => {
      if (!this.#gone) for (const at of freed) this.#empty(at);
    };
    if (this.ctx.afterGrace === undefined) empty();
    else this.ctx.afterGrace(empty);
  }

  /** The page may be used again. */
  #empty(at: number): void {
    if (!this.#held.delete(at)) return;
    this.ctx.memory.u8.fill(0, at, at + ARENA_PAGE);
    this.#spare.push(at);
  }

  override free(): void {
    this.#gone = true;
    super.free();
  }

  reservePages(address: number, count: number): number {
    if (count === 0) return 0;
    const page = this.#pageOf(address);
    if (address % ARENA_PAGE !== 0 || page > this.pages - count) return -ERRNO.EINVAL;
    if (!this.#free.isFree(page, count)) return -ERRNO.EBUSY;
    this.#free.take(page, count);
    return 0;
  }

  /** Page number of an address; beyond the last one for addresses below the arena. */
  #pageOf(address: number): number {
    return ((address - this.first * ARENA_PAGE) >>> 0) >>> 12;
  }

  #pageAt(page: number): number {
    return this.ctx.memory.u32[(this.table >>> 2) + page]!;
  }

  /** Puts a page of zeros at a place; false where there is no memory. */
  #fill(page: number): boolean {
    // Who frees and takes without end gets back what was freed first.
    if (this.#spare.length === 0 && this.#held.size >= this.pages)
      this.#empty(this.#held.values().next().value!);
    if (this.#spare.length === 0) {
      const count = Math.min(CHUNK, this.pages - this.#present);
      let start: number;
      try {
        start = this.allocate(count * ARENA_PAGE, 'pages', ARENA_PAGE);
      } catch (error) {
        if (error instanceof BpfError) return false;
        throw error;
      }
      for (let i = count - 1; i >= 0; i--) this.#spare.push(start + i * ARENA_PAGE);
    }
    Atomics.store(this.ctx.memory.u32, (this.table >>> 2) + page, this.#spare.pop()!);
    this.#present++;
    return true;
  }

  // bpf(2): there are no elements.

  override lookup(): number {
    return -ERRNO.EINVAL;
  }
  override update(): number {
    return -ERRNO.EOPNOTSUPP;
  }
  override delete(): number {
    return -ERRNO.EOPNOTSUPP;
  }
  override nextKey(): number {
    return -ERRNO.EOPNOTSUPP;
  }
}

export const ARENA: MapTypeImpl = {
  create: (params, ctx, blocks) => new ArenaMap(params, ctx, blocks),
  ops: () => ({}),
};
