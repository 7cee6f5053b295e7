/** Every arithmetic, jump, memory and atomic instruction of the table, on edge values, against the bigint reference. */
import { expect, it } from 'vitest';
import * as asm from '../../src/asm/index.ts';
import { INSN_ROWS, type InsnRow } from '../../src/asm/index.ts';
import type { Insn } from '../../src/contracts/insn.ts';
import { aluResult, atomicResult, jumpTaken } from './reference.ts';
import { type Bench, IMM_EDGES, U64_EDGES } from './support.ts';

const { R0, R1, R2, R6, R7 } = asm;

const hex = (v: bigint): string => `0x${v.toString(16)}`;

/** Operand pairs: all edges with all, cut to what fits one buffer. */
function pairs(row: InsnRow): { a: bigint; b: bigint; imm: number }[] {
  if (row.source === 'imm')
    return U64_EDGES.flatMap((a) => IMM_EDGES.map((imm) => ({ a, b: BigInt.asUintN(64, BigInt(imm)), imm })));
  return U64_EDGES.flatMap((a) => U64_EDGES.map((b) => ({ a, b, imm: row.fixed.imm ?? 0 })));
}

function chunks<T>(all: readonly T[], size: number): T[][] {
  const out: T[][] = [];
  for (let i = 0; i < all.length; i += size) out.push(all.slice(i, i + size));
  return out;
}

/** Per pair: two words of input at 16k, one word of output at 2048 + 8k. 120 pairs a program. */
const PER_PROGRAM = 120;
const OUT = 2048;

function operation(row: InsnRow, imm: number): Insn {
  return asm.insn(row.name, {
    dst: 1,
    ...(row.fields.includes('src') ? { src: 2 } : {}),
    ...(row.fields.includes('imm') ? { imm } : {}),
  });
}

export function arithmeticContract(bench: () => Bench): void {
  const alu = INSN_ROWS.filter(
    (row) =>
      (row.group === 'alu32' || row.group === 'alu64') && !row.internal && row.op !== 'addr_space_cast',
  );
  it.each(alu.map((row) => [row.name, row] as const))('%s', (_, row) => {
    const b = bench();
    for (const some of chunks(pairs(row), PER_PROGRAM)) {
      b.clear();
      const insns: Insn[] = [asm.mov64Reg(R6, R1)];
      some.forEach((pair, k) => {
        b.setWord(2 * k, pair.a);
        b.setWord(2 * k + 1, pair.b);
        insns.push(
          asm.ldx('dw', R1, R6, 16 * k),
          asm.ldx('dw', R2, R6, 16 * k + 8),
          operation(row, pair.imm),
        );
        insns.push(asm.stx('dw', R6, R1, OUT + 8 * k));
      });
      insns.push(asm.mov64Imm(R0, 0), asm.exit());
      b.run(insns);
      some.forEach((pair, k) => {
        const want = aluResult(row, pair.a, pair.b);
        expect(hex(b.word(OUT / 8 + k)), `${row.name} ${hex(pair.a)}, ${hex(pair.b)}`).toBe(hex(want));
      });
    }
  });

  it('the source register may be the destination', () => {
    const b = bench();
    for (const row of alu.filter((r) => r.source === 'reg')) {
      for (const a of U64_EDGES) {
        const insns = [
          ...asm.ldImm64(R1, a),
          asm.insn(row.name, { dst: 1, src: 1 }),
          asm.mov64Reg(R0, R1),
          asm.exit(),
        ];
        expect(hex(b.run(insns)), `${row.name} of ${hex(a)} with itself`).toBe(hex(aluResult(row, a, a)));
      }
    }
  });

  const jumps = INSN_ROWS.filter(
    (row) => (row.group === 'jmp' || row.group === 'jmp32') && row.source !== 'none',
  );
  it.each(jumps.map((row) => [row.name, row] as const))('%s', (_, row) => {
    const b = bench();
    for (const some of chunks(pairs(row), PER_PROGRAM)) {
      b.clear();
      const insns: Insn[] = [asm.mov64Reg(R6, R1)];
      some.forEach((pair, k) => {
        b.setWord(2 * k, pair.a);
        b.setWord(2 * k + 1, pair.b);
        insns.push(
          asm.ldx('dw', R1, R6, 16 * k),
          asm.ldx('dw', R2, R6, 16 * k + 8),
          asm.mov64Imm(R7, 1),
          { ...operation(row, pair.imm), off: 1 },
          asm.mov64Imm(R7, 0),
          asm.stx('dw', R6, R7, OUT + 8 * k),
        );
      });
      insns.push(asm.mov64Imm(R0, 0), asm.exit());
      b.run(insns);
      some.forEach((pair, k) => {
        const want = jumpTaken(row, pair.a, pair.b) ? 1n : 0n;
        expect(b.word(OUT / 8 + k), `${row.name} ${hex(pair.a)}, ${hex(pair.b)}`).toBe(want);
      });
    }
  });

  it('ja and gotol, forwards and backwards', () => {
    const insns = [
      asm.mov64Imm(R0, 1),
      asm.ja(2),
      asm.alu64Imm('add', R0, 100),
      asm.exit(),
      asm.alu64Imm('add', R0, 10),
      asm.gotol(1),
      asm.exit(),
      asm.gotol(-6),
    ];
    expect(bench().run(insns)).toBe(111n);
  });

  it('64-bit immediates', () => {
    for (const value of U64_EDGES) expect(bench().run([...asm.ldImm64(R0, value), asm.exit()])).toBe(value);
  });

  const atomics = INSN_ROWS.filter((row) => row.group === 'atomic' && row.op.startsWith('atomic_'));
  it.each(atomics.map((row) => [row.name, row] as const))('%s', (_, row) => {
    const b = bench();
    const bits = row.width as number;
    for (const memory of U64_EDGES) {
      for (const source of U64_EDGES) {
        for (const r0 of [memory, 5n]) {
          b.setWord(0, memory);
          b.setWord(1, source);
          b.setWord(2, r0);
          const program = cached(b, row);
          program.run(b.ctx);
          const want = atomicResult(row, memory, source, r0);
          const kept = bits === 64 ? 0n : (memory >> 32n) << 32n;
          const label = `${row.name} memory ${hex(memory)}, source ${hex(source)}, r0 ${hex(r0)}`;
          expect(hex(b.word(0)), label).toBe(hex(kept | want.memory));
          expect(hex(b.word(3)), `${label}: source`).toBe(hex(want.source));
          expect(hex(b.r0()), `${label}: r0`).toBe(hex(want.r0));
        }
      }
    }
    prepared.clear();
  });
  const prepared = new Map<string, ReturnType<Bench['prepare']>>();
  function cached(b: Bench, row: InsnRow): ReturnType<Bench['prepare']> {
    let program = prepared.get(row.name);
    if (program === undefined) {
      program = b.prepare([
        asm.mov64Reg(R6, R1),
        asm.ldx('dw', R0, R6, 16),
        asm.ldx('dw', R2, R6, 8),
        asm.alu64Imm('add', R6, 64),
        asm.insn(row.name, { dst: 6, src: 2, off: -64 }),
        asm.stx('dw', R6, R2, 24 - 64),
        asm.exit(),
      ]);
      prepared.set(row.name, program);
    }
    return program;
  }

  const SIZES = [
    ['b', 1],
    ['h', 2],
    ['w', 4],
    ['dw', 8],
  ] as const;

  it.each(SIZES)('loads, stores and their relatives of size %s, at any offset', (size, bytes) => {
    const b = bench();
    const bits = 8 * bytes;
    for (const value of [0x8182_8384_8586_8788n, 0x1112_1314_1516_1718n, 0xffff_ffff_ffff_ffffn]) {
      for (const at of [0, 1, 2, 3, 4, 5, 7, 8, 64, 1000]) {
        const aligned = at % bytes === 0;
        b.clear();
        const place: Insn[] = [asm.mov64Reg(R6, R1), asm.alu64Imm('add', R6, 128), ...asm.ldImm64(R2, value)];
        const read = [asm.ldx('dw', R0, R6, at - 128), asm.exit()];
        const low = BigInt.asUintN(bits, value);
        expect(hex(b.run([...place, asm.stx(size, R6, R2, at - 128), ...read]))).toBe(hex(low));
        expect(b.memory.u8[b.ctx + at + bytes]).toBe(0);
        b.memory.writeU64(b.ctx + at, value);
        const back = (insn: Insn): bigint => b.run([...place, asm.mov64Imm(R0, 0), insn, asm.exit()]);
        expect(hex(back(asm.ldx(size, R0, R6, at - 128)))).toBe(hex(low));
        if (size !== 'dw') {
          const extended = BigInt.asUintN(64, BigInt.asIntN(bits, value));
          expect(hex(back(asm.ldxs(size, R0, R6, at - 128)))).toBe(hex(extended));
        }
        if (aligned) expect(hex(back(asm.loadAcquire(size, R0, R6, at - 128)))).toBe(hex(low));
        b.clear();
        if (aligned)
          expect(hex(b.run([...place, asm.storeRelease(size, R6, R2, at - 128), ...read]))).toBe(hex(low));
        b.clear();
        const imm = -2_023_406_815;
        const stored = BigInt.asUintN(bits, BigInt(imm));
        expect(hex(b.run([...place, asm.st(size, R6, at - 128, imm), ...read]))).toBe(hex(stored));
      }
    }
  });

  it('the base register of a load may be its destination', () => {
    const b = bench();
    b.setWord(3, 0xdead_beef_0bad_cafen);
    expect(b.run([asm.ldx('dw', R1, R1, 24), asm.mov64Reg(R0, R1), asm.exit()])).toBe(0xdead_beef_0bad_cafen);
  });
}
