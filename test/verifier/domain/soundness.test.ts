/**
 * Soundness by sampling: random scalars are built together with concrete numbers that they hold; after every operation
 * and on every feasible way of a branch the concrete result must still be held.
 */
import { describe, expect, it } from 'vitest';
import {
  boundsViolation,
  coerceToSize,
  coerceToSizeSx,
  constant,
  forkScalar,
  formatScalar,
  fromTnum,
  isBranchTaken,
  movSignExtend,
  rangeWithin,
  refineBranch,
  type Scalar,
  scalarAlu,
  scalarContains,
  scalarEndian,
  tnumRange,
  unknown,
  withS32Range,
  zext32,
} from '../../../src/verifier/domain/index.ts';
import { makeRandom, type Random } from './random.ts';

const OPS = [0x00, 0x10, 0x20, 0x40, 0x50, 0x60, 0x70, 0x80, 0xa0, 0xc0];
const JUMPS = [0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xa0, 0xb0, 0xc0, 0xd0];

/** A scalar with one number it holds. */
interface Held {
  s: Scalar;
  n: bigint;
}

function runOp(op: number, a: bigint, b: bigint, is64: boolean): bigint {
  const bits = is64 ? 64 : 32;
  const x = BigInt.asUintN(bits, a);
  const y = BigInt.asUintN(bits, b);
  const amount = y & BigInt(bits - 1);
  const table: Record<number, () => bigint> = {
    0: () => x + y,
    16: () => x - y,
    32: () => x * y,
    64: () => x | y,
    80: () => x & y,
    96: () => x << amount,
    112: () => x >> amount,
    128: () => -x,
    160: () => x ^ y,
    192: () => BigInt.asIntN(bits, x) >> amount,
  };
  return BigInt.asUintN(bits, table[op]!());
}

function runJump(op: number, a: bigint, b: bigint, is32: boolean): boolean {
  const bits = is32 ? 32 : 64;
  const x = BigInt.asUintN(bits, a);
  const y = BigInt.asUintN(bits, b);
  const sx = BigInt.asIntN(bits, a);
  const sy = BigInt.asIntN(bits, b);
  const table: Record<number, () => boolean> = {
    16: () => x === y,
    32: () => x > y,
    48: () => x >= y,
    64: () => (x & y) !== 0n,
    80: () => x !== y,
    96: () => sx > sy,
    112: () => sx >= sy,
    160: () => x < y,
    176: () => x <= y,
    192: () => sx < sy,
    208: () => sx <= sy,
  };
  return table[op]!();
}

function start(r: Random): Held {
  const n = r.value();
  switch (r.below(5)) {
    case 0:
      return { s: constant(n), n };
    case 1: {
      const m = r.value();
      const [lo, hi] = n < m ? [n, m] : [m, n];
      return { s: fromTnum(tnumRange(lo, hi)), n };
    }
    case 2: {
      const lo = r.imm();
      const hi = r.imm();
      const inside = BigInt(Math.min(lo, hi) + r.below(Math.abs(hi - lo) + 1));
      return {
        s: withS32Range(unknown(), Math.min(lo, hi), Math.max(lo, hi)),
        n: BigInt.asUintN(64, inside),
      };
    }
    case 3: {
      const size = r.pick([1, 2, 4]);
      return { s: coerceToSize(unknown(), size), n: BigInt.asUintN(size * 8, n) };
    }
    default:
      return { s: unknown(), n };
  }
}

function step(r: Random, a: Held, b: Held): Held {
  const is64 = r.below(2) === 0;
  switch (r.below(8)) {
    case 0:
      return { s: zext32(a.s), n: BigInt.asUintN(32, a.n) };
    case 1: {
      const size = r.pick([1, 2, 4, 8]);
      return { s: coerceToSize(a.s, size), n: BigInt.asUintN(size * 8, a.n) };
    }
    case 2: {
      const size = r.pick([1, 2, 4]);
      return { s: coerceToSizeSx(a.s, size), n: BigInt.asUintN(64, BigInt.asIntN(size * 8, a.n)) };
    }
    case 3: {
      const bits = r.pick([8, 16]);
      return { s: movSignExtend(a.s, bits, false), n: BigInt.asUintN(32, BigInt.asIntN(bits, a.n)) };
    }
    case 4: {
      const bits = r.pick([16, 32, 64]);
      const bytes = BigInt.asUintN(bits, a.n)
        .toString(16)
        .padStart(bits / 4, '0')
        .match(/../g)!;
      return { s: scalarEndian(a.s, bits, true), n: BigInt(`0x${bytes.reverse().join('')}`) };
    }
    default: {
      const op = r.pick(OPS);
      const shift = op === 0x60 || op === 0x70 || op === 0xc0;
      const amount = BigInt(r.below(is64 ? 64 : 32));
      const src = shift && r.below(4) !== 0 ? { s: constant(amount), n: amount } : b;
      const fork = forkScalar(op, a.s, src.s);
      let from = a.s;
      if (fork) from = scalarContains(fork.now, a.n) ? fork.now : fork.pushed;
      return { s: scalarAlu(op, from, src.s, is64), n: runOp(op, a.n, src.n, is64) };
    }
  }
}

describe('scalars hold every concrete result', () => {
  it('through random operations and branches', () => {
    const r = makeRandom(20240607);
    let branches = 0;
    for (let round = 0; round < 20_000; round++) {
      let a = start(r);
      let b = start(r);
      for (let i = 0; i < 5; i++) {
        const before = a;
        if (r.below(3) === 0) {
          const op = r.pick(JUMPS);
          const is32 = r.below(2) === 0;
          const goes = runJump(op, a.n, b.n, is32);
          const taken = isBranchTaken(a.s, b.s, op, is32);
          if (taken >= 0) {
            expect(taken === 1, `op ${op} ${formatScalar(a.s)} ${formatScalar(b.s)} ${a.n} ${b.n}`).toBe(
              goes,
            );
          } else {
            const way = refineBranch(a.s, b.s, op, is32);
            a = { s: goes ? way.trueLeft : way.falseLeft, n: a.n };
            b = { s: goes ? way.trueRight : way.falseRight, n: b.n };
            branches++;
          }
        } else {
          a = step(r, a, b);
        }
        if (!scalarContains(a.s, a.n) || boundsViolation(a.s) !== null) {
          expect.fail(`${formatScalar(before.s)} ${before.n} became ${formatScalar(a.s)} without ${a.n}`);
        }
        if (!scalarContains(b.s, b.n)) expect.fail(`right operand ${formatScalar(b.s)} lost ${b.n}`);
        expect(rangeWithin(unknown(), a.s)).toBe(true);
      }
    }
    expect(branches).toBeGreaterThan(10_000);
  });
});
