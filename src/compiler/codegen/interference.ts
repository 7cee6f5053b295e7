/** Registers that are alive together, as a graph: a bit for each pair, and lists of neighbours of the virtual ones. */
import { FRAME_POINTER } from './mir.ts';

/** Registers that can be given: r0 to r9. */
export const COLOURS = 10;

export class Graph {
  readonly n: number;
  private readonly bits: Uint32Array | undefined;
  private readonly pairs: Set<number> | undefined;
  readonly adjacent: number[][];
  readonly degree: Int32Array;

  constructor(n: number) {
    this.n = n;
    if (n <= 24_000) this.bits = new Uint32Array(((n * (n + 1)) / 2 + 31) >>> 5);
    else this.pairs = new Set();
    this.adjacent = Array.from({ length: n }, () => []);
    this.degree = new Int32Array(n);
    for (let i = 0; i < COLOURS; i++) this.degree[i] = 1 << 28;
  }

  has(a: number, b: number): boolean {
    const high = a > b ? a : b;
    const low = a > b ? b : a;
    const key = (high * (high + 1)) / 2 + low;
    if (this.bits === undefined) return this.pairs!.has(key);
    return (this.bits[Math.floor(key / 32)]! & (1 << (key & 31))) !== 0;
  }

  add(a: number, b: number): void {
    if (a === b || a === FRAME_POINTER || b === FRAME_POINTER || this.has(a, b)) return;
    const high = a > b ? a : b;
    const low = a > b ? b : a;
    const key = (high * (high + 1)) / 2 + low;
    if (this.bits === undefined) this.pairs!.add(key);
    else this.bits[Math.floor(key / 32)]! |= 1 << (key & 31);
    if (a >= COLOURS) {
      this.adjacent[a]!.push(b);
      this.degree[a]!++;
    }
    if (b >= COLOURS) {
      this.adjacent[b]!.push(a);
      this.degree[b]!++;
    }
  }
}
