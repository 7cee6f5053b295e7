/**
 * Pieces of a shared memory that their takers have given back, for whichever thread takes memory next: a list in that memory itself, in
 * ascending order, neighbours joined, with one lock. A piece starts with {u32 next piece, u32 bytes}; sizes are multiples of 16.
 */
import { MACHINE_STATE } from './layout.ts';

const NEXT = 0;
const BYTES = 4;
const FIRST = MACHINE_STATE.pieces;
const LOCK = MACHINE_STATE.piecesLock >>> 2;

/** Takes `bytes` out of the first piece that has as many; 0: none has. */
export function takePiece(u32: Uint32Array, bytes: number): number {
  if (Atomics.load(u32, FIRST >>> 2) === 0) return 0;
  return locked(u32, () => {
    let link = FIRST;
    for (let at = u32[link >>> 2]!; at !== 0; at = u32[link >>> 2]!) {
      const size = u32[(at + BYTES) >>> 2]!;
      if (size >= bytes) {
        // From its end, so that the list stays as it is.
        const rest = size - bytes;
        if (rest === 0) u32[link >>> 2] = u32[(at + NEXT) >>> 2]!;
        else u32[(at + BYTES) >>> 2] = rest;
        return at + rest;
      }
      link = at + NEXT;
    }
    return 0;
  });
}

export function givePiece(u32: Uint32Array, start: number, bytes: number): void {
  locked(u32, () => {
    let link = FIRST;
    let before = 0;
    let next = u32[link >>> 2]!;
    while (next !== 0 && next < start) {
      before = next;
      link = next + NEXT;
      next = u32[link >>> 2]!;
    }
    const joinsNext = next !== 0 && start + bytes === next;
    const size = joinsNext ? bytes + u32[(next + BYTES) >>> 2]! : bytes;
    const after = joinsNext ? u32[(next + NEXT) >>> 2]! : next;
    if (before !== 0 && before + u32[(before + BYTES) >>> 2]! === start) {
      u32[(before + BYTES) >>> 2] = size + u32[(before + BYTES) >>> 2]!;
      u32[(before + NEXT) >>> 2] = after;
      return 0;
    }
    u32[(start + NEXT) >>> 2] = after;
    u32[(start + BYTES) >>> 2] = size;
    u32[link >>> 2] = start;
    return 0;
  });
}

function locked(u32: Uint32Array, work: () => number): number {
  while (Atomics.compareExchange(u32, LOCK, 0, 1) !== 0);
  try {
    return work();
  } finally {
    Atomics.store(u32, LOCK, 0);
  }
}
