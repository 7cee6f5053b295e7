/** Random programs on both engines: whole R0 and the bytes of the context must agree. */
import { describe, expect, it } from 'vitest';
import * as asm from '../../src/asm/construct.ts';
import { INSN_ROWS } from '../../src/asm/table.ts';
import type { Insn } from '../../src/contracts/insn.ts';
import { createInterpreter } from '../../src/interpreter/index.ts';
import { createJit } from '../../src/jit/index.ts';
import { createTestEnvironment } from '../engines/environment.ts';
import { Bench, IMM_EDGES } from '../engines/support.ts';
import { random } from './random-graphs.ts';

const ARITHMETIC = INSN_ROWS.filter(
  (row) =>
    (row.group === 'alu32' || row.group === 'alu64') && row.internal !== true && row.op !== 'addr_space_cast',
);
const JUMPS = INSN_ROWS.filter(
  (row) => (row.group === 'jmp' || row.group === 'jmp32') && row.source !== 'none',
);
const ATOMICS = INSN_ROWS.filter((row) => row.group === 'atomic' && row.fields.includes('src'));
const SIZES = ['b', 'h', 'w', 'dw'] as const;

/**
 * R9 holds the context and R8 a place in the frame that moves. Loops
 * are counted in the context, so that every program ends.
 */
function randomProgram(seed: number, size: number): Insn[] {
  const next = random(seed);
  const pick = <T>(list: readonly T[]): T => list[next() % list.length]!;
  const register = (): asm.Reg => (next() % 8) as asm.Reg;
  const imm = (): number => (next() % 2 === 0 ? pick(IMM_EDGES) : (next() | 0) >> (next() % 32));
  const base = (): { reg: asm.Reg; off: number } => {
    const kind = next() % 3;
    if (kind === 0) return { reg: 9, off: 8 * (next() % 32) };
    if (kind === 1) return { reg: 10, off: -8 - 8 * (next() % 32) };
    return { reg: 8, off: -8 - 8 * (next() % 8) };
  };
  const out: Insn[] = [asm.mov64Reg(9, 1), asm.mov64Reg(8, 10), asm.alu64Imm('add', 8, -128)];
  for (let slot = 1; slot <= 64; slot++) out.push(asm.st('dw', 10, -8 * slot, imm()));
  for (let r = 0; r < 8; r++)
    out.push(...asm.ldImm64(r as asm.Reg, (BigInt(next()) << 32n) | BigInt(next())));
  const body: Insn[] = [];
  const jumps: number[] = [];
  let steps = 0;
  while (body.length < size) {
    const kind = next() % 12;
    if (kind < 5) {
      const row = pick(ARITHMETIC);
      let value = row.fixed.imm ?? imm();
      if ((row.op === 'lsh' || row.op === 'rsh' || row.op === 'arsh') && row.source === 'imm')
        value = next() % row.width;
      if (/div|mod/.test(row.op) && value === 0) value = 7;
      const fields = {
        dst: register(),
        src: row.source === 'reg' ? (next() % 9 === 0 ? 10 : register()) : 0,
        off: row.fixed.off ?? 0,
        imm: row.source === 'reg' ? (row.fixed.imm ?? 0) : row.op === 'neg' ? 0 : value,
      };
      body.push({ code: row.code, ...fields });
    } else if (kind === 5) {
      const at = base();
      body.push(
        next() % 2 === 0
          ? asm.ldx(pick(SIZES), register(), at.reg, at.off)
          : asm.ldxs(pick(['b', 'h', 'w']), register(), at.reg, at.off),
      );
    } else if (kind === 6) {
      const at = base();
      body.push(asm.stx(pick(SIZES), at.reg, next() % 9 === 0 ? 10 : register(), at.off));
    } else if (kind === 7) {
      const at = base();
      body.push(asm.st(pick(SIZES), at.reg, at.off, imm()));
    } else if (kind === 8) {
      const at = base();
      const row = pick(ATOMICS);
      const loads = row.op === 'load_acquire';
      body.push({
        code: row.code,
        dst: loads ? register() : at.reg,
        src: loads ? at.reg : register(),
        off: at.off,
        imm: row.fixed.imm ?? 0,
      });
    } else if (kind === 9) {
      // At most 4 steps in 4 rounds, so that R8 - 64 stays in the frame.
      const step = steps < 4 && next() % 2 === 0;
      if (step) steps++;
      body.push(step ? asm.alu64Imm('add', 8, -8) : asm.mov64Reg(8, 10));
    } else {
      jumps.push(body.length);
      const row = pick(JUMPS);
      body.push({
        code: row.code,
        dst: register(),
        src: row.source === 'reg' ? register() : 0,
        off: 0,
        imm: row.source === 'imm' ? imm() : 0,
      });
    }
  }
  // A counted way back from the end to the middle, then out.
  const backTo = next() % body.length;
  for (const at of jumps) body[at] = { ...body[at]!, off: next() % (body.length - at) };
  body.push(
    asm.ldx('dw', 1, 9, 512),
    asm.alu64Imm('add', 1, 1),
    asm.stx('dw', 9, 1, 512),
    asm.jumpImm(64, 'jgt', 1, 3, 1),
    asm.ja(backTo - (body.length + 5)),
  );
  for (let r = 1; r < 8; r++) body.push(asm.alu64Imm('mul', 0, 31), asm.alu64Reg('xor', 0, r as asm.Reg));
  for (let slot = 1; slot <= 64; slot++) {
    body.push(asm.ldx('dw', 1, 10, -8 * slot), asm.alu64Imm('mul', 0, 31), asm.alu64Reg('add', 0, 1));
  }
  return [...out, ...body, asm.exit()];
}

describe('random programs', () => {
  // Pointers end up in memory, so both engines must have their context at one place.
  const jit = new Bench(createJit(), createTestEnvironment());
  const reference = new Bench(createInterpreter(), createTestEnvironment());

  it('give the same on both engines', () => {
    expect(jit.ctx).toBe(reference.ctx);
    for (let seed = 1; seed <= 400; seed++) {
      const insns = randomProgram(seed * 2654435761, 20 + (seed % 100));
      jit.clear();
      reference.clear();
      const [got, want] = [jit, reference].map((bench) => {
        const program = bench.prepare(insns);
        program.run(bench.ctx);
        program.release();
        return { r0: bench.r0(), memory: Buffer.from(bench.memory.read(bench.ctx, 1024)).toString('hex') };
      });
      expect(got, `seed ${seed}`).toEqual(want);
    }
  });
});
