/** Programs that no verifier has seen: the interpreter contains each of them. */
import { expect, it } from 'vitest';
import { INSN_ROWS } from '../../src/asm/index.ts';
import type { Insn } from '../../src/contracts/insn.ts';
import { createInterpreter } from '../../src/interpreter/index.ts';
import { kernelAddress } from '../../src/memory/index.ts';
import { executable } from '../../src/rewrite/index.ts';
import { BpfError, ProgramFault } from '../../src/util/index.ts';
import { createTestEnvironment } from '../engines/environment.ts';
import { randomSource } from '../engines/random-programs.ts';

const ROWS = INSN_ROWS.filter((row) => !row.internal && row.op !== 'call' && row.group !== 'packet');

function randomInsns(seed: number, wild: boolean, addresses: readonly bigint[]): Insn[] {
  const next = randomSource(seed);
  const insns: Insn[] = [];
  const length = 5 + (next() % 40);
  while (insns.length < length) {
    if (wild && next() % 30 === 0) {
      insns.push({
        code: next() & 255,
        dst: next() & 15,
        src: next() & 15,
        off: (next() << 16) >> 16,
        imm: next() | 0,
      });
      continue;
    }
    const row = ROWS[next() % ROWS.length]!;
    const jump = row.group === 'jmp' || row.group === 'jmp32';
    const insn: Insn = {
      code: row.code,
      dst: next() % 11,
      src: row.fixed.src ?? (row.fields.includes('src') ? next() % 11 : 0),
      off: row.fixed.off ?? (jump ? (next() % 9) - 4 : row.fields.includes('off') ? (next() % 600) - 300 : 0),
      imm: row.fixed.imm ?? (row.fields.includes('imm') ? next() | 0 : 0),
    };
    // Most accesses go to the stack, so that some programs live long.
    if (next() % 8 !== 0) {
      if (row.group === 'load') insn.src = 10;
      else if (row.group === 'store' || row.group === 'atomic') insn.dst = 10;
      if (row.group === 'load' || row.group === 'store' || row.group === 'atomic')
        insn.off = -8 - (next() % 500);
    }
    insns.push(insn);
    if (row.slots === 2) {
      const address = addresses[next() % addresses.length]!;
      insn.imm = Number(BigInt.asIntN(32, address));
      insns.push({ code: 0, dst: 0, src: 0, off: 0, imm: Number(BigInt.asIntN(32, address >> 32n)) });
    }
  }
  insns.push({ code: 0x95, dst: 0, src: 0, off: 0, imm: 0 });
  return insns;
}

it.each([
  ['of valid instructions', false],
  ['of any bytes', true],
] as const)(
  'random programs %s end in a result or a fault, and touch nothing but their regions',
  (_, wild) => {
    const env = createTestEnvironment();
    const { memory } = env;
    const engine = createInterpreter({ instructionLimit: 20_000 });
    const guards = [memory.allocate(256, 'guard')];
    const ctx = memory.allocate(128, 'context');
    guards.push(memory.allocate(256, 'guard'));
    const open = memory.allocate(64, 'value');
    guards.push(memory.allocate(256, 'guard'));
    for (const guard of guards) memory.u8.fill(0xa5, guard, guard + 256);
    const addresses = [
      0n,
      1n,
      kernelAddress(ctx),
      kernelAddress(open),
      kernelAddress(open + 60),
      0xffff_8881_0000_0000n,
      1n << 40n,
    ];
    const ends = { result: 0, fault: 0, refused: 0 };
    for (let seed = 1; seed <= 4000; seed++) {
      const insns = randomInsns(seed, wild, addresses);
      try {
        const program = engine.prepare(executable(insns), env);
        try {
          program.run(ctx);
          ends.result++;
        } finally {
          program.release();
        }
      } catch (error) {
        if (error instanceof ProgramFault) ends.fault++;
        else if (error instanceof BpfError) ends.refused++;
        else throw new Error(`seed ${seed}`, { cause: error });
      }
      for (const guard of guards) {
        const intact = memory.u8.subarray(guard, guard + 256).every((byte) => byte === 0xa5);
        expect(intact, `seed ${seed}`).toBe(true);
      }
    }
    expect(ends.fault).toBeGreaterThan(100);
    if (wild) expect(ends.refused).toBeGreaterThan(100);
    else expect(ends.result).toBeGreaterThan(100);
  },
);
