/** Loops in vectors: whatever is made of a loop, it leaves the memory and registers that the interpreter leaves. */
import { describe, expect, it } from 'vitest';
import * as asm from '../../src/asm/construct.ts';
import type { Insn } from '../../src/contracts/insn.ts';
import { createInterpreter } from '../../src/interpreter/index.ts';
import { createJit } from '../../src/jit/index.ts';
import { createTestEnvironment } from '../engines/environment.ts';
import { randomSource } from '../engines/random-programs.ts';
import { Bench } from '../engines/support.ts';

const { R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 } = asm;

const engines = [createJit(), createInterpreter()].map(
  (engine) => new Bench(engine, createTestEnvironment()),
);
const WORDS = 256;

/** Runs on both over the same memory; everything must agree. Gives the code. */
function both(insns: readonly Insn[], what = ''): string {
  const [jit, reference] = engines.map((bench) => {
    bench.clear();
    for (let i = 0; i < WORDS; i++) bench.setWord(i, BigInt(i * 0x9e37_79b9 + 1) * 0x1_0003_0007n);
    const program = bench.prepare(insns, { stackDepth: 64 });
    program.run(bench.ctx);
    const dump = program.dump();
    const state = [bench.r0(), ...Array.from({ length: WORDS }, (_, i) => bench.word(i))].map((word) =>
      // Addresses differ from one memory to the other.
      String(word),
    );
    bench.release();
    return { dump, state };
  });
  expect(jit!.state, what).toEqual(reference!.state);
  return jit!.dump;
}

/** r4 counts bytes from 0; `body` is done once a round. */
const loop = (body: readonly Insn[], bytes: number): Insn[] => [
  asm.mov64Imm(R4, 0),
  ...body,
  asm.alu64Imm('add', R4, 4),
  asm.jumpImm(64, 'jne', R4, bytes, -body.length - 2),
];
/** `register` = R1 + r4. */
const at = (register: asm.Reg): Insn[] => [asm.mov64Reg(register, R1), asm.alu64Reg('add', register, R4)];
const end = [asm.mov64Imm(R0, 0), asm.exit()];
const inVectors = (text: string) => /v128|i32x4/.test(text);

describe('loops over elements', () => {
  it('copy, fill, and work on them', () => {
    const copy = [...at(R2), asm.ldx('w', R3, R2, 0), asm.stx('w', R2, R3, 512)];
    const fill = [...at(R2), asm.st('w', R2, 512, 77)];
    const numbers = [...at(R2), asm.mov32Reg(R3, R4), asm.alu32Imm('mul', R3, 7), asm.stx('w', R2, R3, 512)];
    const work = [
      ...at(R2),
      asm.ldx('w', R3, R2, 0),
      asm.ldx('w', R5, R2, 128),
      asm.alu32Reg('mul', R3, R5),
      asm.alu32Imm('xor', R3, 0x55),
      asm.alu32Imm('rsh', R3, 3),
      asm.alu32Imm('arsh', R5, 2),
      asm.alu32Imm('lsh', R5, 1),
      asm.alu32Reg('sub', R3, R5),
      asm.stx('w', R2, R3, 512),
    ];
    for (const body of [copy, fill, numbers, work])
      for (const count of [8, 9, 10, 11, 12, 32, 33])
        expect(inVectors(both([...loop(body, 4 * count), ...end], `${count}`))).toBe(true);
  });

  it('collect', () => {
    for (const op of ['add', 'or', 'and', 'xor'] as const) {
      for (const count of [8, 15, 16]) {
        const body = [...at(R2), asm.ldx('w', R3, R2, 0), asm.alu32Reg(op, R0, R3)];
        const insns = [asm.mov32Imm(R0, op === 'and' ? -1 : 3), ...loop(body, 4 * count), asm.exit()];
        expect(inVectors(both(insns, `${op} ${count}`))).toBe(true);
        // By way of another register, which is wanted behind the loop, and of two values at once.
        const copied = [
          ...at(R2),
          asm.ldx('w', R3, R2, 0),
          asm.ldx('w', R5, R2, 64),
          asm.alu32Reg(op, R3, R7),
          asm.alu32Reg(op, R3, R5),
          asm.mov32Reg(R7, R3),
        ];
        const both2 = [
          asm.mov32Imm(R7, 9),
          ...loop(copied, 4 * count),
          asm.mov64Reg(R0, R3),
          asm.alu64Reg('add', R0, R7),
        ];
        expect(inVectors(both([...both2, asm.exit()], `copied ${op} ${count}`))).toBe(true);
      }
    }
  });

  it('with counters of other kinds', () => {
    const start = [asm.mov64Imm(R4, -64), asm.mov64Reg(R2, R1), asm.alu64Imm('add', R2, 64)];
    const down = [
      ...start,
      asm.mov64Reg(R3, R2),
      asm.alu64Reg('add', R3, R4),
      asm.st('w', R3, 0, 5),
      asm.alu64Imm('add', R4, 4),
      asm.jumpImm(64, 'jne', R4, 0, -5),
      ...end,
    ];
    expect(inVectors(both(down))).toBe(true);
    const scaled = [
      asm.mov32Imm(R4, 0),
      asm.mov64Reg(R2, R4),
      asm.alu64Imm('lsh', R2, 2),
      asm.alu64Reg('add', R2, R1),
      asm.stx('w', R2, R4, 0),
      asm.alu32Imm('add', R4, 1),
      asm.jumpImm(32, 'jlt', R4, 21, -6),
      asm.mov64Reg(R0, R4),
      asm.exit(),
    ];
    expect(inVectors(both(scaled))).toBe(true);
    const pointers = [
      asm.mov64Reg(R2, R1),
      asm.mov64Imm(R4, 0),
      asm.ldx('w', R3, R2, 256),
      asm.stx('w', R2, R3, 0),
      asm.alu64Imm('add', R2, 4),
      asm.alu64Imm('add', R4, 1),
      asm.jumpImm(64, 'jsge', R4, 19, 1),
      asm.ja(-6),
      asm.alu64Reg('sub', R2, R1),
      asm.mov64Reg(R0, R2),
      asm.exit(),
    ];
    both(pointers);
  });

  it('with counters whose four steps are more than 32 bits', () => {
    for (const step of [-693_160_037, 0x7fff_ffff, -0x8000_0000, 0x2000_0000]) {
      for (const add of [asm.alu64Imm, asm.alu32Imm]) {
        const body = [add('add', R7, step), asm.alu32Reg('or', R0, R3)];
        const insns = [asm.mov64Imm(R0, 0), asm.mov64Imm(R3, 6), asm.mov64Imm(R7, 1), ...loop(body, 40)];
        const upper = [asm.mov64Reg(R5, R7), asm.alu64Imm('rsh', R5, 32), asm.alu64Reg('xor', R0, R5)];
        const code = both([...insns, ...upper, asm.alu64Reg('add', R0, R7), asm.exit()], `step ${step}`);
        expect(inVectors(code)).toBe(true);
      }
    }
  });

  it('with stores near what is loaded, at any distance', () => {
    for (let distance = -40; distance <= 40; distance += 4) {
      const body = [
        ...at(R2),
        asm.ldx('w', R3, R2, 256),
        asm.alu32Imm('add', R3, 1),
        asm.stx('w', R2, R3, 256 + distance),
      ];
      both([...loop(body, 64), ...end], `${distance}`);
      // A second store, and a load behind a store.
      const two = [
        ...at(R2),
        asm.ldx('w', R3, R2, 256),
        asm.stx('w', R2, R4, 256 + distance),
        asm.ldx('w', R5, R2, 256),
        asm.alu32Reg('add', R3, R5),
        asm.stx('w', R2, R3, 512),
      ];
      both([...loop(two, 64), ...end], `two ${distance}`);
    }
  });

  it('with places that only registers tell', () => {
    for (let distance = -300; distance <= 300; distance += 4) {
      const insns = [
        asm.mov64Reg(R6, R1),
        asm.alu64Imm('add', R6, 512),
        asm.ldx('b', R7, R1, 1),
        asm.alu64Imm('and', R7, 0),
        asm.alu64Imm('add', R7, distance),
        asm.mov64Reg(R8, R6),
        asm.alu64Reg('add', R8, R7),
        ...loop(
          [
            asm.mov64Reg(R2, R6),
            asm.alu64Reg('add', R2, R4),
            asm.ldx('w', R3, R2, 0),
            asm.ldx('w', R9, R2, 64),
            asm.alu32Reg('add', R3, R9),
            asm.mov64Reg(R5, R8),
            asm.alu64Reg('add', R5, R4),
            asm.stx('w', R5, R3, 0),
          ],
          64,
        ),
        ...end,
      ];
      expect(inVectors(both(insns, `${distance}`))).toBe(true);
    }
  });

  it('that are none of these stay as they are', () => {
    const chain = [
      ...at(R2),
      asm.ldx('w', R3, R2, 0),
      asm.alu32Reg('add', R0, R3),
      asm.stx('w', R2, R0, 512),
    ];
    const half = [...at(R2), asm.ldx('h', R3, R2, 0), asm.stx('w', R2, R3, 512)];
    const wide = [...at(R2), asm.ldx('w', R3, R2, 0), asm.alu64Reg('add', R0, R3)];
    const divided = [
      ...at(R2),
      asm.ldx('w', R3, R2, 0),
      asm.alu32Imm('div', R3, 3),
      asm.stx('w', R2, R3, 512),
    ];
    for (const body of [chain, half, wide, divided])
      expect(inVectors(both([asm.mov64Imm(R0, 0), ...loop(body, 64), asm.exit()]))).toBe(false);
    // What a round leaves in a register is wanted.
    const kept = [...at(R2), asm.ldx('w', R0, R2, 0), asm.stx('w', R2, R0, 512)];
    expect(inVectors(both([...loop(kept, 64), asm.exit()]))).toBe(false);
    // Too few rounds, and a count that nobody knows.
    const fill = [...at(R2), asm.st('w', R2, 512, 1)];
    expect(inVectors(both([...loop(fill, 28), ...end]))).toBe(false);
  });
});

it('random loops', () => {
  const next = randomSource(99);
  const pick = <T>(of: readonly T[]): T => of[next() % of.length]!;
  let vectors = 0;
  for (let round = 0; round < 600; round++) {
    const temporaries = [R3, R5] as const;
    const body: Insn[] = [...at(R2)];
    for (const r of temporaries) body.push(asm.ldx('w', r, R2, 4 * (next() % 40)));
    for (let n = next() % 6; n > 0; n--) {
      const [dst, src] = [pick(temporaries), pick([R3, R5, R7, R4])];
      const op = pick(['add', 'sub', 'mul', 'and', 'or', 'xor'] as const);
      const shift = pick(['lsh', 'rsh', 'arsh'] as const);
      const reg = next() % 3 === 0 ? asm.alu64Reg : asm.alu32Reg;
      const imm = next() % 3 === 0 ? asm.alu64Imm : asm.alu32Imm;
      body.push(
        pick([
          reg(op, dst, src),
          imm(op, dst, (next() | 0) >> (next() % 32)),
          asm.alu32Imm(shift, dst, next() % 32),
          asm.mov32Reg(dst, src),
        ]),
      );
    }
    for (let n = 1 + (next() % 2); n > 0; n--)
      body.push(asm.stx('w', R2, pick(temporaries), 4 * (next() % 60)));
    const op = pick(['add', 'xor', 'or', 'and'] as const);
    const collects = next() % 4;
    if (collects < 2) body.push(asm.alu32Reg(op, R0, R3));
    else if (collects === 2) {
      body.push(asm.mov32Reg(R8, R0), asm.alu32Reg(op, R8, R5), asm.mov64Reg(R0, R8));
      if (next() % 3 === 0) body.push(asm.alu32Reg(op, R8, R3));
    }
    if (next() % 3 === 0) body.push(asm.ldx('w', R5, R10, -8));
    if (next() % 3 === 0) body.push((next() % 2 ? asm.alu64Imm : asm.alu32Imm)('add', R9, next() | 0));
    const insns = [
      asm.mov64Imm(R0, next() | 0),
      asm.mov64Imm(R7, next() | 0),
      asm.mov64Imm(R9, next() | 0),
      asm.st('dw', R10, -8, next() | 0),
      ...loop(body, 4 * (8 + (next() % 12))),
      asm.alu64Reg('add', R0, R9),
      asm.exit(),
    ];
    if (inVectors(both(insns, `round ${round}`))) vectors++;
  }
  expect(vectors).toBeGreaterThan(100);
});
