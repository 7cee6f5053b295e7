import { describe, expect, it } from 'vitest';
import type { Insn } from '../../src/contracts/insn.ts';
import { check, map } from './support.ts';

/** xorshift32: the same programs on every run. */
function random(seed: number): () => number {
  let x = seed;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x >>> 0;
  };
}

const CODES = [
  0x07, 0x0f, 0x15, 0x1d, 0x61, 0x62, 0x63, 0x79, 0x7a, 0x7b, 0x85, 0x95, 0xb7, 0xbf, 0xdb, 0x18, 0x05, 0x57,
  0xe5,
];

describe('hostile programs', () => {
  it('get a verdict, never an exception', () => {
    const maps = [map('hash', 8, 8), map('array', 4, 16), map('ringbuf', 0, 0, { maxEntries: 4096 })];
    for (let seed = 1; seed <= 3000; seed++) {
      const next = random(seed * 2654435761);
      const insns: Insn[] = [];
      const length = 2 + (next() % 20);
      for (let i = 0; i < length; i++) {
        insns.push({
          code: next() % 8 === 0 ? next() % 256 : CODES[next() % CODES.length]!,
          dst: next() % 12,
          src: next() % 12,
          off: next() % 4 === 0 ? (next() << 16) >> 16 : (next() % 16) - 8,
          imm: next() % 4 === 0 ? next() | 0 : (next() % 16) - 4,
        });
      }
      insns.push({ code: 0x95, dst: 0, src: 0, off: 0, imm: 0 });
      const result = check('exit', { insns, maps, logLevel: next() % 5 });
      expect(['accept', 'reject']).toContain(result.verdict);
      if (result.verdict === 'reject') expect(result.message).not.toContain('verifier bug');
    }
  });

  it('of one instruction, or none, are refused', () => {
    expect(check('exit', { insns: [] })).toMatchObject({ verdict: 'reject', errno: 'E2BIG' });
    expect(check('exit').verdict).toBe('reject');
  });
});
