/**
 * The stack accesses of one function as it is called along one chain of calls: for each frame that it can reach and each
 * instruction four sets of slots, two words each. live-stack.ts fills them in.
 */

/** Words per instruction: may_read, must_write, must_write of everything behind, live before; each low and high. */
export const WORDS = 8;
export const READ = 0;
export const WRITE = 2;
export const WRITE_ALL = 4;
export const LIVE = 6;

export class StackInstance {
  /** Call instructions of the outer frames, then the start of this function. */
  readonly callsites: readonly number[];
  /** Starts of the functions of all frames. */
  readonly starts: readonly number[];
  readonly start: number;
  readonly curframe: number;
  readonly count: number;
  readonly frames: (Int32Array | undefined)[] = [];
  readonly writeSeen: Uint8Array;
  /** 1 where some frame's set of written slots is not empty. */
  readonly writes: Uint8Array;
  /** The instance of the calling function; null until it is asked for. */
  outer: StackInstance | null = null;
  updated = false;
  writeDropped = false;

  constructor(callsites: readonly number[], starts: readonly number[], count: number) {
    this.callsites = callsites;
    this.starts = starts;
    this.curframe = starts.length - 1;
    this.start = starts[this.curframe]!;
    this.count = count;
    this.writeSeen = new Uint8Array(count);
    this.writes = new Uint8Array(count);
  }

  masks(frame: number): Int32Array {
    let masks = this.frames[frame];
    if (masks === undefined) {
      while (this.frames.length < frame) this.frames.push(undefined);
      masks = new Int32Array(this.count * WORDS);
      this.frames[frame] = masks;
    }
    return masks;
  }

  isLive(insn: number, frame: number, spi: number): boolean {
    const masks = this.frames[frame];
    if (masks === undefined) return false;
    const at = (insn - this.start) * WORDS + LIVE + (spi >> 5);
    return ((masks[at]! >>> (spi & 31)) & 1) !== 0;
  }
}
