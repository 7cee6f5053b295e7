/**
 * Values by what they compute: an operation and the numbers of two operands. What was put last is found first, and goes first: a walk
 * down the dominator tree puts, and lets go on the way back. Chains in flat arrays, since a table is made for each run of a pass.
 */
import type { Value } from '../ir/index.ts';

export class ScopedTable {
  private readonly heads: Int32Array;
  private readonly codes: number[] = [];
  private readonly lefts: number[] = [];
  private readonly rights: number[] = [];
  private readonly nexts: number[] = [];
  private readonly values: Value[] = [];

  /** `expected`: how many entries there will be, about. */
  constructor(expected: number) {
    let size = 64;
    while (size < expected && size < 1 << 20) size *= 2;
    this.heads = new Int32Array(size).fill(-1);
  }

  private slot(code: number, left: number, right: number): number {
    let hash = Math.imul(code, 0x9e37_79b1) ^ Math.imul(left, 0x85eb_ca6b) ^ Math.imul(right, 0xc2b2_ae35);
    hash ^= hash >>> 15;
    return hash & (this.heads.length - 1);
  }

  find(code: number, left: number, right: number): Value | undefined {
    let at = this.heads[this.slot(code, left, right)]!;
    for (; at >= 0; at = this.nexts[at]!)
      if (this.lefts[at] === left && this.rights[at] === right && this.codes[at] === code)
        return this.values[at];
    return undefined;
  }

  put(code: number, left: number, right: number, value: Value): void {
    const slot = this.slot(code, left, right);
    this.nexts.push(this.heads[slot]!);
    this.heads[slot] = this.values.length;
    this.codes.push(code);
    this.lefts.push(left);
    this.rights.push(right);
    this.values.push(value);
  }

  /** What `release` goes back to. */
  mark(): number {
    return this.values.length;
  }

  /** Lets go of all that was put since. */
  release(mark: number): void {
    while (this.values.length > mark) {
      const code = this.codes.pop()!;
      const left = this.lefts.pop()!;
      const right = this.rights.pop()!;
      this.heads[this.slot(code, left, right)] = this.nexts.pop()!;
      this.values.pop();
    }
  }
}
