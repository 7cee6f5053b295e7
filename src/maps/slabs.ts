/**
 * Slabs of elements where threads share the memory: whoever finds the map's free list empty makes one, and the books are in the
 * map's header, under its allocation lock. The thread that frees the map gives them back.
 */
import type { GuestMemory } from '../memory/index.ts';
import {
  HDR_BUMP,
  HDR_BUMP_END,
  HDR_ELEM_SIZE,
  HDR_LIMIT,
  HDR_MADE,
  HDR_SLABS,
  SLAB_BYTES,
  SLAB_HEADER,
  SLAB_NEXT,
} from './layout.ts';

const FIRST_SLAB = 16 << 10;
const LARGEST_SLAB = 8 << 20;

/** A slab as large as all before it together, within bounds; false where the map has all that it may have, or memory is exhausted. */
export function refillShared(memory: GuestMemory, map: number): boolean {
  const { u32 } = memory;
  const size = u32[(map + HDR_ELEM_SIZE) >>> 2]!;
  const made = u32[(map + HDR_MADE) >>> 2]!;
  const left = u32[(map + HDR_LIMIT) >>> 2]! - made;
  const bytes = Math.min(LARGEST_SLAB, Math.max(FIRST_SLAB, made * size));
  const wanted = Math.min(left, Math.max(4, Math.floor(bytes / size)));
  for (let n = wanted; n >= 1; n = Math.floor(n / 8)) {
    const whole = SLAB_HEADER + n * size;
    const slab = memory.takeFresh(whole);
    if (slab === 0) continue;
    u32[(slab + SLAB_NEXT) >>> 2] = u32[(map + HDR_SLABS) >>> 2]!;
    u32[(slab + SLAB_BYTES) >>> 2] = whole;
    u32[(map + HDR_SLABS) >>> 2] = slab;
    u32[(map + HDR_MADE) >>> 2] = made + n;
    u32[(map + HDR_BUMP) >>> 2] = slab + SLAB_HEADER;
    u32[(map + HDR_BUMP_END) >>> 2] = slab + whole;
    return true;
  }
  return false;
}

export interface Slab {
  readonly start: number;
  readonly bytes: number;
}

/** The slabs of a map. */
export function slabsOf(memory: GuestMemory, map: number): Slab[] {
  const { u32 } = memory;
  const slabs: Slab[] = [];
  for (let at = u32[(map + HDR_SLABS) >>> 2]!; at !== 0; at = u32[(at + SLAB_NEXT) >>> 2]!)
    slabs.push({ start: at, bytes: u32[(at + SLAB_BYTES) >>> 2]! });
  return slabs;
}

/** Gives a map's slabs back, for slabs of other maps. Nobody uses the map any more. */
export function freeSlabs(memory: GuestMemory, map: number): void {
  for (const { start, bytes } of slabsOf(memory, map)) memory.giveBack(start, bytes);
  memory.u32[(map + HDR_SLABS) >>> 2] = 0;
}
