/** A small seeded generator of random numbers (splitmix32): the same seed gives the same numbers on every machine. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
    this.u32();
  }

  /** 0 to 2^32-1. */
  u32(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    let z = this.#state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  }

  /** 0 to n-1. */
  below(n: number): number {
    return Math.floor((this.u32() / 0x1_0000_0000) * n);
  }

  /** min to max, both included. */
  between(min: number, max: number): number {
    return min + this.below(max - min + 1);
  }

  /** True with probability p. */
  chance(p: number): boolean {
    return this.u32() < p * 0x1_0000_0000;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  /** A signed 32-bit number; small ones, powers of two and the extremes are as likely as all others together. */
  s32(): number {
    switch (this.below(6)) {
      case 0:
        return this.between(-16, 64);
      case 1:
        return ((1 << this.below(32)) + this.between(-1, 1)) | 0;
      case 2:
        return this.pick([0, 1, -1, 0x7fff_ffff, -0x8000_0000, 0xff, 0xffff, 0x7fff, -0x8000]);
      default:
        return this.u32() | 0;
    }
  }

  bytes(n: number): Uint8Array {
    return Uint8Array.from({ length: n }, () => this.u32() & 0xff);
  }
}
