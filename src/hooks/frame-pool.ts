/**
 * Copies of frames that leave the linear memory. Middle-sized ones are cut from chunks, since an ArrayBuffer of its own costs
 * five times as much as the copy; a chunk lives as long as one of its frames.
 */
import type { GuestMemory } from '../memory/index.ts';

const CHUNK = 1 << 16;
/** Engines keep typed arrays of up to this size without a buffer of their own. */
const SMALL = 64;
const LARGE = CHUNK >> 2;

export class FramePool {
  #chunk = new Uint8Array(0);
  #used = 0;

  copy(memory: GuestMemory, start: number, length: number): Uint8Array {
    if (length <= SMALL || length > LARGE) return memory.read(start, length);
    if (this.#used + length > this.#chunk.length) {
      this.#chunk = new Uint8Array(CHUNK);
      this.#used = 0;
    }
    const bytes = this.#chunk.subarray(this.#used, this.#used + length);
    this.#used += length;
    bytes.set(memory.u8.subarray(start, start + length));
    return bytes;
  }
}
