/** Constant blinding: the same results, no constant left, sizes as Linux has them. */
import { describe, expect, it } from 'vitest';
import * as asm from '../../src/asm/construct.ts';
import { disassemble, encodeProgram } from '../../src/asm/index.ts';
import type { Engine } from '../../src/contracts/engine.ts';
import type { Insn } from '../../src/contracts/insn.ts';
import { createJit } from '../../src/jit/index.ts';
import { blind, executable } from '../../src/rewrite/index.ts';
import { compareWithReference } from '../engines/differential.ts';
import { createTestEnvironment } from '../engines/environment.ts';
import { randomProgram, randomSource, runReference } from '../engines/random-programs.ts';
import { Bench } from '../engines/support.ts';

const { R0, R1, R2, R10 } = asm;
const blinded = (insns: readonly Insn[], seed = 1) => blind(executable(insns), randomSource(seed));

describe('constant blinding of instructions', () => {
  it('2000 random programs give the same results', () => {
    for (let seed = 1; seed <= 2000; seed++) {
      const insns = randomProgram(seed);
      const result = blinded(insns, seed);
      expect(runReference(result.insns), `seed ${seed}`).toEqual(runReference(insns));
    }
  });

  it('adds as many instructions as Linux does', () => {
    const sizes: [string, Insn[], number][] = [
      ['mov 0', [asm.mov64Imm(R0, 0)], 1],
      ['w mov 0', [asm.mov32Imm(R0, 0)], 1],
      ['mov', [asm.mov64Imm(R0, 5)], 3],
      ['add 0', [asm.alu64Imm('add', R0, 0)], 3],
      ['sdiv', [asm.alu64Imm('sdiv', R0, 3)], 3],
      ['shift', [asm.alu64Imm('lsh', R0, 3)], 1],
      ['register', [asm.alu64Reg('add', R0, R1)], 1],
      ['wide', asm.ldImm64(R0, 0x1122_3344_5566_7788n), 7],
      ['jump', [asm.jumpImm(32, 'jeq', R0, 7, 0)], 3],
      ['store', [asm.st('dw', R10, -8, 7)], 3],
      ['load', [asm.ldx('dw', R0, R10, -8)], 1],
    ];
    for (const [name, insns, size] of sizes)
      expect(blinded([...insns, asm.exit()]).insns.length - 1, name).toBe(size);
  });

  it('leaves no constant, and another program each time', () => {
    const secret = 0x1337_c0de;
    const insns = [
      asm.mov64Imm(R0, secret),
      asm.alu32Imm('xor', R0, secret),
      ...asm.ldImm64(R1, BigInt(secret)),
      asm.st('w', R10, -8, secret),
      asm.jumpImm(64, 'jeq', R0, secret, 0),
      asm.exit(),
    ];
    const texts = [1, 2].map((seed) => disassemble([...blinded(insns, seed).insns]));
    expect(texts[0]).not.toBe(texts[1]);
    for (const seed of [1, 2]) {
      expect(blinded(insns, seed).insns.some(({ imm }) => imm === secret)).toBe(false);
    }
  });

  it('keeps jumps forward and back, calls and addresses of functions', () => {
    const insns = [
      asm.mov64Imm(R0, 3), // 0
      asm.alu64Imm('sub', R0, 1), // 1
      asm.jumpImm(64, 'jne', R0, 0, -2), // 2
      asm.ja(1), // 3
      asm.mov64Imm(R0, 9), // 4
      asm.callLocal(1), // 5
      asm.exit(), // 6
      asm.mov64Imm(R0, 4), // 7
      asm.exit(),
    ];
    const { insns: out, places, origin } = blinded(insns);
    const target = (i: number, distance: number) => i + 1 + distance;
    const last = (i: number) => places[i + 1]! - 1;
    expect(target(last(2), out[last(2)]!.off)).toBe(places[1]);
    expect(target(last(3), out[last(3)]!.off)).toBe(places[5]);
    expect(target(last(5), out[last(5)]!.imm)).toBe(places[7]);
    expect(Array.from(places.subarray(0, -1), (at) => origin[at])).toEqual(insns.map((_, i) => i));
    expect(encodeProgram(out)).toHaveLength(out.length * 8);
  });

  it('refuses jumps that grow too long', () => {
    const filler = Array.from({ length: 20_000 }, () => asm.alu64Imm('add', R2, 77));
    const insns = [asm.mov64Imm(R2, 0), asm.jumpReg(64, 'jeq', R1, R2, 20_000), ...filler, asm.exit()];
    expect(() => blinded(insns)).toThrowError(/span 60000/);
  });
});

describe('constant blinding of compiled code', () => {
  const random = randomSource(7);
  const jit = createJit();
  const blinding: Engine = {
    name: 'jit',
    prepare: (program, env) =>
      jit.prepare(program, env, { blinding: { low: random() | 0, high: random() | 0 } }),
  };

  it('300 random programs compute what the reference computes', () => {
    compareWithReference(blinding, 9000, 300);
  });

  it('leaves no constant, and is never taken from the cache', () => {
    const insns = [...asm.ldImm64(R0, 0x1337_c0de_1bad_b002n), asm.exit()];
    const bench = new Bench(blinding, createTestEnvironment());
    const dumps = [0, 1].map(() => {
      const program = bench.prepare(insns);
      program.run(bench.ctx);
      expect(bench.r0()).toBe(0x1337_c0de_1bad_b002n);
      expect(program.cached).toBe(false);
      return program.dump().replaceAll(/;;.*/g, '');
    });
    expect(dumps[0]).toContain('i64.xor');
    expect(dumps[0]).not.toContain('1337c0de');
    expect(dumps[0]).not.toBe(dumps[1]);
  });
});
