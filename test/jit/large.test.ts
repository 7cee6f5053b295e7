/** Large programs: translated without recursion, in time that grows with their size, within what engines compile. */
import { describe, expect, it } from 'vitest';
import * as asm from '../../src/asm/construct.ts';
import type { Insn } from '../../src/contracts/insn.ts';
import { createJit } from '../../src/jit/index.ts';
import { createTestEnvironment } from '../engines/environment.ts';
import { Bench } from '../engines/support.ts';
import { type GraphNode, graphProgram, random, walk } from './random-graphs.ts';

const { R0, R1 } = asm;
const bench = new Bench(createJit(), createTestEnvironment());

/** Branches that lead forward by any distance: the widest fan-ins. */
function forwardGraph(size: number): GraphNode[] {
  const next = random(size);
  return Array.from({ length: size }, (_, i) => ({
    succs: [Math.min(size - 1, i + 1 + (next() % (size - i))), Math.min(size - 1, i + 1)],
    bit: next() % 16,
  }));
}

describe('large programs', () => {
  for (const size of [10_000, 30_000, 100_000]) {
    it(`${size} instructions in a row`, () => {
      const body = Array.from({ length: size - 2 }, () => asm.alu64Imm('add', R0, 1));
      bench.prepare([asm.mov64Imm(R0, 0), ...body, asm.exit()]).run(bench.ctx);
      expect(bench.r0()).toBe(BigInt(size - 2));
    });

    it(`${size} instructions full of branches`, () => {
      const graph = forwardGraph(Math.floor(size / 9));
      const program = bench.prepare(graphProgram(graph, 300, 12345));
      expect(program.run(bench.ctx)).toBe(walk(graph, 300, 12345));
    });
  }

  it('a switch of 15 000 cases that fall through', () => {
    const cases = 15_000;
    const insns = [asm.ldx('dw', R1, R1, 0), asm.mov64Imm(R0, 0)];
    for (let i = 0; i < cases; i++) insns.push(asm.jumpImm(64, 'jeq', R1, i, cases - i + i));
    insns.push(asm.exit());
    for (let i = 0; i < cases; i++) insns.push(asm.alu64Imm('add', R0, 1));
    insns.push(asm.exit());
    const program = bench.prepare(insns);
    for (const choice of [0, 1, 7000, cases - 1, cases]) {
      bench.setWord(0, BigInt(choice));
      expect(program.run(bench.ctx), `case ${choice}`).toBe(cases - choice);
    }
  });

  it('loops nested 300 deep', () => {
    const depth = 300;
    const insns: Insn[] = [asm.mov64Imm(R0, 0)];
    for (let i = 0; i < depth; i++) insns.push(asm.alu64Imm('add', R0, 1));
    // Each goes back to its own header once, when R0 has an odd multiple of its place as value.
    for (let i = depth - 1; i >= 0; i--) {
      const at = insns.length;
      insns.push(asm.jumpImm(64, 'jeq', R0, depth + i, 1 + i - at - 1));
    }
    insns.push(asm.exit());
    let r0 = 0;
    for (let i = 0; i < depth; i++) r0++;
    for (let i = depth - 1; i >= 0; i--) {
      if (r0 !== depth + i) continue;
      r0 += depth - i;
      i = depth;
    }
    expect(bench.prepare(insns).run(bench.ctx)).toBe(r0);
  });

  it('loops nested 10 000 deep', () => {
    const depth = 10_000;
    const insns: Insn[] = [asm.mov64Imm(R0, 0)];
    for (let i = 0; i < depth; i++) insns.push(asm.alu64Imm('add', R0, 1));
    // Some go back to their own header once, which adds what lies behind it once more.
    for (let i = depth - 1; i >= 0; i--) {
      insns.push(asm.jumpImm(64, 'jne', R0, depth + i, 1));
      insns.push(asm.gotol(1 + i - insns.length - 1));
    }
    insns.push(asm.exit());
    let r0 = depth;
    for (let i = depth - 1; i >= 0; i--) {
      if (r0 !== depth + i) continue;
      r0 += depth - i;
      i = depth;
    }
    expect(bench.prepare(insns).run(bench.ctx)).toBe(r0);
  });

  it('branches back to anywhere before, 6000 of them', () => {
    const size = 6000;
    const next = random(5);
    const graph = Array.from({ length: size }, (_, i) => ({
      succs: [next() % (i + 1), Math.min(size - 1, i + 1)],
      bit: next() % 16,
    }));
    const program = bench.prepare(graphProgram(graph, 20_000, 99));
    expect(program.run(bench.ctx)).toBe(walk(graph, 20_000, 99));
  });

  it('1500 functions that hand what they were given to the next', () => {
    const count = 1500;
    const callers = count - 1;
    const insns: Insn[] = [asm.mov64Imm(R1, 5), asm.callLocal(1), asm.exit()];
    for (let i = 0; i < count; i++) {
      const body = [];
      for (let k = 0; k < 8; k++) body.push(asm.alu64Imm('add', R0, 1));
      if (i < callers) insns.push(asm.callLocal(body.length + 1), ...body, asm.exit());
      else insns.push(asm.mov64Reg(R0, R1), ...body, asm.exit());
    }
    const listing = bench.prepare(insns).listing?.() ?? [];
    // All take R1 and their frame.
    expect(listing.map(({ signature }) => signature)).toEqual(
      new Array(count + 1).fill('(param i64 i32) (result i64)'),
    );
  });
});
