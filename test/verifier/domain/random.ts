/** Seeded random numbers for the tests of this folder: mulberry32, and values near the edges of 8 to 64 bits. */
export interface Random {
  /** 0..n-1. */
  below(n: number): number;
  /** A u64, often near a power of two or an edge of a signed type. */
  value(): bigint;
  /** A signed 32-bit immediate of the same kind. */
  imm(): number;
  pick<T>(items: readonly T[]): T;
}

export function makeRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
  const below = (n: number): number => Math.floor((next() / 2 ** 32) * n);
  const raw64 = (): bigint => (BigInt(next()) << 32n) | BigInt(next());
  const value = (): bigint => {
    switch (below(6)) {
      case 0:
        return BigInt(below(16));
      case 1:
        return BigInt.asUintN(64, -BigInt(below(16)));
      case 2:
        return BigInt.asUintN(64, (1n << BigInt(below(64))) + BigInt(below(5) - 2));
      case 3:
        return BigInt.asUintN(64, -(1n << BigInt(below(64))) + BigInt(below(5) - 2));
      case 4:
        return raw64() >> BigInt(below(64));
      default:
        return BigInt.asUintN(64, BigInt.asIntN(64, raw64()) >> BigInt(below(64)));
    }
  };
  const imm = (): number => {
    switch (below(7)) {
      case 0:
        return below(16);
      case 1:
        return -below(300);
      case 2:
        return (((1 << below(32)) | 0) + below(5) - 2) | 0;
      case 3:
        return (-(1 << below(32)) + below(5) - 2) | 0;
      case 4:
        return next() | 0;
      case 5:
        return below(70000);
      default:
        return (next() | 0) >> below(32);
    }
  };
  return { below, value, imm, pick: (items) => items[below(items.length)]! };
}
