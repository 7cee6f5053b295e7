/** Control flow: nested loops, loops with several entries and exits, many-armed branches, code behind an exit. */
import { expect, it } from 'vitest';
import * as asm from '../../src/asm/index.ts';
import { ProgramBuilder } from '../../src/asm/index.ts';
import type { Bench } from './support.ts';

const { R0, R1, R2, R3 } = asm;

export function flowContract(bench: () => Bench): void {
  it('nested loops', () => {
    const p = new ProgramBuilder();
    p.mov64(R0, 0).mov64(R1, 10).label('outer').mov64(R2, 7).label('inner');
    p.alu64('add', R0, 1)
      .alu64('sub', R2, 1)
      .add(asm.jumpImm(64, 'jne', R2, 0, -3));
    p.alu64('sub', R1, 1)
      .add(asm.jumpImm(64, 'jne', R1, 0, -6))
      .add(asm.exit());
    expect(bench().run(p.build())).toBe(70n);
  });

  it('a loop with two entries', () => {
    // Irreducible: 'a' and 'b' jump to one another, and both are reached from outside.
    const insns = [
      asm.mov64Imm(R0, 0),
      asm.mov64Imm(R3, 20),
      asm.ldx('dw', R2, R1, 0),
      asm.jumpImm(64, 'jne', R2, 0, 3), // -> 7
      // 4: a
      asm.alu64Imm('add', R0, 1),
      asm.alu64Imm('sub', R3, 1),
      asm.jumpImm(64, 'jeq', R3, 0, 3), // -> 10
      // 7: b
      asm.alu64Imm('add', R0, 100),
      asm.alu64Imm('sub', R3, 1),
      asm.jumpImm(64, 'jne', R3, 0, -6), // -> 4
      asm.exit(),
    ];
    const b = bench();
    b.clear();
    expect(b.run(insns)).toBe(1010n);
    b.setWord(0, 1n);
    expect(b.run(insns)).toBe(1010n);
  });

  it('a ladder of branches to shared ends', () => {
    const p = new ProgramBuilder();
    const b = bench();
    p.ldx('dw', R2, R1, 0).mov64(R0, 0);
    const insns = [...p.build()];
    const arms = 40;
    // for each i: if r2 == i goto end_i, where the ends stand in reverse order
    for (let i = 0; i < arms; i++) {
      const here = 2 + i;
      const end = 2 + arms + 2 * (arms - 1 - i);
      insns.push(asm.jumpImm(64, 'jeq', R2, i, end - here - 1));
    }
    for (let i = arms - 1; i >= 0; i--)
      insns.push(asm.mov64Imm(R0, 1000 + i), i === 0 ? asm.ja(0) : asm.exit());
    insns.push(asm.exit());
    const program = b.prepare(insns);
    for (let i = 0; i < arms; i++) {
      b.setWord(0, BigInt(i));
      expect(program.run(b.ctx)).toBe(1000 + i);
    }
    // None fits: falls into the first end.
    b.setWord(0, 999n);
    expect(program.run(b.ctx)).toBe(1000 + arms - 1);
  });

  it('loops that continue and break from the middle', () => {
    // sum of odd numbers below 100, left at 50
    const insns = [
      asm.mov64Imm(R0, 0),
      asm.mov64Imm(R1, -1),
      asm.alu64Imm('add', R1, 1), // 2
      asm.jumpImm(64, 'jge', R1, 100, 6), // -> 10
      asm.mov64Reg(R2, R1),
      asm.alu64Imm('and', R2, 1),
      asm.jumpImm(64, 'jeq', R2, 0, -5), // continue -> 2
      asm.jumpImm(64, 'jgt', R1, 50, 2), // break -> 10
      asm.alu64Reg('add', R0, R1),
      asm.ja(-8), // -> 2
      asm.exit(), // 10
    ];
    expect(bench().run(insns)).toBe(625n);
  });

  it('loops to its first instruction', () => {
    const b = bench();
    b.clear();
    b.setWord(0, 5n);
    const insns = [
      asm.ldx('dw', R2, R1, 0), // 0
      asm.jumpImm(64, 'jeq', R2, 0, 3),
      asm.alu64Imm('sub', R2, 1),
      asm.stx('dw', R1, R2, 0),
      asm.ja(-5),
      asm.mov64Imm(R0, 1),
      asm.exit(),
    ];
    expect(b.run(insns)).toBe(1n);
    expect(b.word(0)).toBe(0n);
  });

  it('a long straight program', () => {
    const insns = [asm.mov64Imm(R0, 0)];
    for (let i = 0; i < 20_000; i++) insns.push(asm.alu64Imm('add', R0, 3));
    insns.push(asm.exit());
    expect(bench().run(insns)).toBe(60_000n);
  });
}
