/**
 * Memory in pages that lie anywhere (BPF_MAP_TYPE_ARENA): programs name bytes by the low half of their address in user space. Reads of
 * pages that are not there give 0, writes to them go nowhere, as in Linux, where they fault behind the program's back.
 *
 * The page table lies in the linear memory, one u32 a page: offset of its 4096 bytes, or 0.
 */
import type { GuestMemory } from './guest-memory.ts';

export const ARENA_PAGE = 4096;

export interface ArenaPages {
  /** Offset of the page table. */
  readonly table: number;
  /** Number of pages, and of the first one: low half of the arena's address divided by the size of a page. */
  readonly pages: number;
  readonly first: number;
  /** Upper half of every address of the arena in user space, signed. */
  readonly userHigh: number;
}

/** Offset of the byte at address `at` (low half plus an offset, so maybe out of range), or 0. */
export function arenaByte(memory: GuestMemory, arena: ArenaPages, at: number): number {
  const index = Math.floor(at / ARENA_PAGE) - arena.first;
  if (index < 0 || index >= arena.pages) return 0;
  const page = memory.u32[(arena.table >>> 2) + index]!;
  return page === 0 ? 0 : page + (at % ARENA_PAGE);
}

/** Offset of the `size` bytes at address `at` where they lie in one page that is there, or 0. */
export function arenaPlace(memory: GuestMemory, arena: ArenaPages, at: number, size: number): number {
  return at % ARENA_PAGE > ARENA_PAGE - size ? 0 : arenaByte(memory, arena, at);
}

/** The two pages that an access touches, byte by byte; null where one of them is not there. */
function scattered(memory: GuestMemory, arena: ArenaPages, at: number, size: number): number[] | null {
  const places = Array.from({ length: size }, (_, i) => arenaByte(memory, arena, at + i));
  return places.includes(0) ? null : places;
}

/** Puts `size` bytes at address `at` to `to`, zeros where they cannot be read. */
export function arenaRead(
  memory: GuestMemory,
  arena: ArenaPages,
  at: number,
  size: number,
  to: number,
): void {
  const { u8 } = memory;
  const places = scattered(memory, arena, at, size);
  for (let i = 0; i < size; i++) u8[to + i] = places === null ? 0 : u8[places[i]!]!;
}

/** Writes the `size` bytes at `from` to address `at`, all or none. */
export function arenaWrite(
  memory: GuestMemory,
  arena: ArenaPages,
  at: number,
  size: number,
  from: number,
): void {
  const { u8 } = memory;
  scattered(memory, arena, at, size)?.forEach((place, i) => {
    u8[place] = u8[from + i]!;
  });
}
