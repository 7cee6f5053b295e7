/**
 * What the JIT does to values: halves of registers, slots of the stack as locals, rotations, stores put together. The programs are
 * made so that each of these happens, and run on both engines, which must leave the same registers and memory.
 */
import { describe, expect, it } from 'vitest';
import * as asm from '../../src/asm/construct.ts';
import type { CallTarget } from '../../src/contracts/engine.ts';
import type { Insn } from '../../src/contracts/insn.ts';
import { createInterpreter } from '../../src/interpreter/index.ts';
import { createJit } from '../../src/jit/index.ts';
import { createTestEnvironment } from '../engines/environment.ts';
import { randomSource } from '../engines/random-programs.ts';
import { Bench, callable } from '../engines/support.ts';

const { R0, R1, R2, R3, R4, R6, R7, R10 } = asm;

const engines = [createJit(), createInterpreter()].map(
  (engine) => new Bench(engine, createTestEnvironment()),
);

/** R0 and the first words of the context after a run, which must be the same on both engines. */
function both(insns: readonly Insn[], options: Parameters<Bench['run']>[1] = {}, words = 8): bigint[] {
  const [jit, reference] = engines.map((bench) => {
    bench.clear();
    bench.setWord(0, 0x8123_4567_89ab_cdefn);
    bench.setWord(1, 0x0000_0001_ffff_fff0n);
    const r0 = bench.run(insns, { stackDepth: 64, ...options });
    bench.release();
    return [r0, ...Array.from({ length: words }, (_, i) => bench.word(i))];
  });
  expect(jit).toEqual(reference);
  return jit!;
}

const dumpOf = (insns: readonly Insn[], options: Parameters<Bench['run']>[1] = {}): string => {
  const text = engines[0]!.prepare(insns, { stackDepth: 64, ...options }).dump();
  engines[0]!.release();
  return text;
};

describe('rotations', () => {
  const rotate = (bits: 32 | 64, by: number, combine: 'or' | 'xor' | 'add', leftFirst: boolean): Insn[] => {
    const alu = bits === 64 ? asm.alu64Imm : asm.alu32Imm;
    const reg = bits === 64 ? asm.alu64Reg : asm.alu32Reg;
    const shifts = [alu('lsh', R2, by), alu('rsh', R3, bits - by)];
    return [
      asm.ldx('dw', R2, R1, 0),
      asm.mov64Reg(R3, R2),
      ...(leftFirst ? shifts : shifts.reverse()),
      reg(combine, R2, R3),
      asm.mov64Reg(R0, R2),
      asm.exit(),
    ];
  };

  it('are found, whatever comes first and puts them together', () => {
    for (const bits of [32, 64] as const)
      for (const by of [1, 13, 31])
        for (const combine of ['or', 'xor', 'add'] as const)
          for (const leftFirst of [true, false]) {
            const insns = rotate(bits, by, combine, leftFirst);
            both(insns);
            expect(dumpOf(insns)).toContain(`i${bits}.rotl`);
          }
  });

  it('are not seen where amounts or values differ', () => {
    const value = asm.ldx('dw', R2, R1, 0);
    const end = [asm.alu64Reg('or', R2, R3), asm.mov64Reg(R0, R2), asm.exit()];
    const shift = (left: number, right: number) => [
      asm.alu64Imm('lsh', R2, left),
      asm.alu64Imm('rsh', R3, right),
    ];
    const others = [
      [value, asm.mov64Reg(R3, R2), ...shift(13, 50), ...end],
      [value, asm.ldx('dw', R3, R1, 0), ...shift(13, 51), ...end],
      [value, asm.mov64Reg(R3, R2), asm.alu64Imm('add', R3, 1), ...shift(13, 51), ...end],
      [value, asm.mov32Reg(R3, R2), ...shift(13, 51), ...end],
    ];
    for (const insns of others) {
      both(insns);
      expect(dumpOf(insns)).not.toContain('rotl');
    }
  });
});

describe('stores of constants', () => {
  it('in a row leave what they would one by one', () => {
    const next = randomSource(7);
    const sizes = ['b', 'h', 'w', 'dw'] as const;
    for (let round = 0; round < 200; round++) {
      const insns: Insn[] = [asm.mov64Imm(R2, (next() % 3) - 1), ...asm.ldImm64(R3, 0x0102_0304_0506_0708n)];
      for (let n = 2 + (next() % 20); n > 0; n--) {
        const size = sizes[next() % 4]!;
        const off = 8 + (next() % 48);
        const kind = next() % 3;
        if (kind === 0) insns.push(asm.st(size, R1, off, next() | 0));
        else insns.push(asm.stx(size, R1, kind === 1 ? R2 : R3, off));
      }
      both([...insns, asm.mov64Imm(R0, 0), asm.exit()]);
    }
  });

  it('become vectors where they are many', () => {
    const insns = [asm.mov64Imm(R2, 0)];
    for (let at = 0; at < 64; at++) insns.push(asm.stx('b', R1, R2, 63 - at));
    insns.push(asm.mov64Imm(R0, 0), asm.exit());
    both(insns);
    const text = dumpOf(insns);
    expect(text.match(/v128\.store/g)).toHaveLength(4);
    expect(text).not.toContain('store8');
  });
});

describe('slots of the stack', () => {
  it('are locals where only R10 leads to them', () => {
    const insns = [
      asm.ldx('dw', R2, R1, 0),
      asm.stx('dw', R10, R2, -8),
      asm.stx('w', R10, R2, -16),
      asm.stx('b', R10, R2, -17),
      asm.stx('h', R10, R2, -20),
      asm.ldx('dw', R0, R10, -8),
      asm.ldx('w', R2, R10, -16),
      asm.ldx('b', R3, R10, -17),
      asm.ldx('h', R4, R10, -20),
      asm.stx('dw', R1, R2, 8),
      asm.stx('dw', R1, R3, 16),
      asm.stx('dw', R1, R4, 24),
      asm.ldxs('w', R2, R10, -16),
      asm.ldxs('b', R3, R10, -17),
      asm.ldxs('h', R4, R10, -20),
      asm.stx('dw', R1, R2, 32),
      asm.stx('dw', R1, R3, 40),
      asm.stx('dw', R1, R4, 48),
      asm.exit(),
    ];
    expect(both(insns)[0]).toBe(0x8123_4567_89ab_cdefn);
    expect(dumpOf(insns)).not.toMatch(/local\.get 1\n\s+i(32|64)\.load/);
  });

  it('stay in memory where a pointer, another size or a function may touch them', () => {
    const read: CallTarget = {
      kind: 'function',
      callee: callable('touch', ['u32'], 's32', () => 0),
    };
    const cases: { insns: Insn[]; calls?: ReadonlyMap<number, CallTarget> }[] = [
      // Through a pointer.
      {
        insns: [
          asm.st('dw', R10, -8, 5),
          asm.mov64Reg(R2, R10),
          asm.alu64Imm('add', R2, -16),
          asm.st('dw', R2, 8, 7),
          asm.ldx('dw', R0, R10, -8),
          asm.exit(),
        ],
      },
      // In two halves.
      {
        insns: [asm.st('dw', R10, -8, -5), asm.st('w', R10, -4, 7), asm.ldx('dw', R0, R10, -8), asm.exit()],
      },
      // Through one that was moved by a variable.
      {
        insns: [
          asm.st('dw', R10, -8, 5),
          asm.st('dw', R10, -16, 6),
          asm.mov64Reg(R2, R10),
          asm.mov64Imm(R3, -16),
          asm.ldx('dw', R4, R1, 40),
          asm.alu64Reg('add', R3, R4),
          asm.alu64Reg('add', R2, R3),
          asm.st('dw', R2, 8, 9),
          asm.ldx('dw', R0, R10, -8),
          asm.exit(),
        ],
      },
      // By an atomic instruction.
      {
        insns: [
          asm.st('dw', R10, -8, 5),
          asm.mov64Imm(R2, 3),
          { code: 0xdb, dst: 10, src: 2, off: -8, imm: 0 },
          asm.ldx('dw', R0, R10, -8),
          asm.exit(),
        ],
      },
      {
        insns: [
          asm.st('dw', R10, -8, 5),
          asm.mov64Reg(R1, R10),
          asm.alu64Imm('add', R1, -8),
          asm.callHelper(1),
          asm.ldx('dw', R0, R10, -8),
          asm.exit(),
        ],
        calls: new Map([[3, read]]),
      },
      // Through one that lives on behind a branch, and is another one on the other way.
      {
        insns: [
          asm.st('dw', R10, -8, 5),
          asm.st('dw', R10, -16, 6),
          asm.mov64Reg(R6, R10),
          asm.alu64Imm('add', R6, -8),
          asm.ldx('dw', R2, R1, 0),
          asm.jumpImm(64, 'jeq', R2, 0, 2),
          asm.alu64Imm('add', R6, -8),
          asm.mov64Imm(R2, 1),
          asm.st('dw', R6, 0, 9),
          asm.ldx('dw', R0, R10, -8),
          asm.ldx('dw', R3, R10, -16),
          asm.alu64Reg('add', R0, R3),
          asm.exit(),
        ],
      },
      // Around a loop.
      {
        insns: [
          asm.st('dw', R10, -8, 5),
          asm.st('dw', R10, -16, 6),
          asm.mov64Reg(R6, R10),
          asm.alu64Imm('add', R6, -8),
          asm.st('dw', R6, 0, 9),
          asm.alu64Imm('add', R6, -8),
          asm.alu64Imm('add', R7, 1),
          asm.jumpImm(64, 'jlt', R7, 2, -4),
          asm.ldx('dw', R0, R10, -16),
          asm.exit(),
        ].toSpliced(0, 0, asm.mov64Imm(R7, 0)),
      },
    ];
    for (const { insns, calls } of cases) {
      both(insns, calls === undefined ? {} : { calls });
      expect(dumpOf(insns, calls === undefined ? {} : { calls })).toMatch(/i64\.load/);
    }
  });

  it('are locals beside a key that a map is asked for', () => {
    const map = {
      layout: { address: 0x20_0000, values: 0, stride: 0 },
      info: { type: { name: 'array' }, keySize: 4, valueSize: 8 },
    };
    const row = { args: [{ kind: 'const_map_ptr' }, { kind: 'map_key' }], ret: { kind: 'integer' } };
    const asks = (known: boolean) => {
      const fn = callable('ask', ['u32', 'u32'], 's32', () => 3);
      const target = {
        kind: 'function',
        callee: fn,
        ...(known ? { row, map } : {}),
      } as unknown as CallTarget;
      const insns = [
        asm.ldx('dw', R6, R1, 0),
        asm.stx('dw', R10, R6, -8),
        asm.st('w', R10, -12, 4),
        ...asm.ldImm64(R1, 0n),
        asm.mov64Reg(R2, R10),
        asm.alu64Imm('add', R2, -12),
        asm.callHelper(1),
        asm.ldx('dw', R0, R10, -8),
        asm.exit(),
      ];
      const options = { calls: new Map([[7, target]]) };
      expect(both(insns, options)[0]).toBe(0x8123_4567_89ab_cdefn);
      return dumpOf(insns, options);
    };
    const stores = (text: string) => text.match(/i64\.store/g)?.length ?? 0;
    expect(stores(asks(false)) - stores(asks(true))).toBe(1);
  });

  it('that were never written hold what memory holds', () => {
    const insns = [
      asm.ldx('dw', R2, R1, 64),
      asm.jumpImm(64, 'jne', R2, 0, 1),
      asm.st('dw', R10, -8, 5),
      asm.ldx('dw', R0, R10, -8),
      asm.exit(),
    ];
    both(insns);
    expect(dumpOf(insns)).toMatch(/i64\.load/);
  });

  it('in loops and over branches', () => {
    const insns = [
      asm.mov64Reg(R6, R1),
      asm.st('dw', R10, -8, 10),
      asm.st('dw', R10, -16, 0),
      asm.st('w', R10, -24, 1),
      asm.ldx('dw', R2, R10, -16),
      asm.ldx('w', R3, R10, -24),
      asm.alu64Reg('add', R2, R3),
      asm.stx('dw', R10, R2, -16),
      asm.alu32Imm('mul', R3, -3),
      asm.stx('w', R10, R3, -24),
      asm.ldx('dw', R7, R10, -8),
      asm.alu64Imm('add', R7, -1),
      asm.stx('dw', R10, R7, -8),
      asm.jumpImm(64, 'jne', R7, 0, -10),
      asm.ldx('dw', R0, R10, -16),
      asm.exit(),
    ];
    both(insns);
  });
});

describe('halves of registers', () => {
  /** Moves, sums and loads of all widths between a few registers, then everything is stored whole, or as a low half. */
  function program(seed: number): Insn[] {
    const next = randomSource(seed);
    const pick = <T>(of: readonly T[]): T => of[next() % of.length]!;
    const regs = [R0, R2, R3, R4, R7] as const;
    const insns: Insn[] = [asm.mov64Reg(R6, R1)];
    for (const r of regs) insns.push(asm.ldx(pick(['b', 'w', 'dw', 'dw']), r, R1, 8 * (next() % 2)));
    const ops = ['add', 'sub', 'mul', 'or', 'and', 'xor', 'lsh', 'rsh', 'arsh', 'div', 'mod'] as const;
    const straight = (): Insn => {
      const [dst, src, imm] = [pick(regs), pick(regs), pick([0, 1, 3, 31, 32, 33, -1, 0x7fff_ffff])];
      switch (next() % 8) {
        case 0:
          return asm.mov64Reg(dst, src);
        case 1:
          return asm.mov32Reg(dst, src);
        case 2:
          return asm.alu64Imm(pick(ops), dst, imm);
        case 3:
          return asm.alu32Imm(pick(ops), dst, imm);
        case 4:
          return asm.alu64Reg(pick(ops), dst, src);
        case 5:
          return asm.alu32Reg(pick(ops), dst, src);
        case 6:
          return asm.mov64Imm(dst, imm);
        default:
          return asm.ldx(pick(['b', 'h', 'w', 'dw']), dst, R6, 0);
      }
    };
    for (let n = 30; n > 0; n--) {
      if (next() % 4 !== 0) insns.push(straight());
      else {
        const width = pick([32, 64] as const);
        const test = pick([
          'jeq',
          'jne',
          'jgt',
          'jge',
          'jlt',
          'jle',
          'jsgt',
          'jslt',
          'jsle',
          'jset',
        ] as const);
        insns.push(
          next() % 2 === 0
            ? asm.jumpImm(width, test, pick(regs), pick([0, 1, -1, 0x7fff_ffff, -0x8000_0000]), 2)
            : asm.jumpReg(width, test, pick(regs), pick(regs), 2),
          straight(),
          straight(),
        );
      }
    }
    regs.forEach((r, i) => {
      insns.push(asm.stx(pick(['w', 'dw']), R6, r, 16 + 8 * i));
    });
    return [...insns, ...(next() % 2 === 0 ? [asm.mov64Imm(R0, 0)] : []), asm.exit()];
  }

  it('are what they should be in 1000 random programs', () => {
    for (let seed = 1; seed <= 1000; seed++) both(program(seed));
  });

  it('of pointers tell NULL', () => {
    for (const result of [0, 0x2_0000]) {
      const find: CallTarget = { kind: 'function', callee: callable('find', [], 'ptr', () => result) };
      const insns = [
        asm.mov64Reg(R6, R1),
        asm.callHelper(1),
        asm.mov64Reg(R7, R0),
        asm.jumpImm(64, 'jeq', R7, 0, 3),
        asm.stx('dw', R6, R7, 16),
        asm.mov64Imm(R0, 1),
        asm.exit(),
        asm.stx('dw', R6, R7, 24),
        asm.mov64Imm(R0, 2),
        asm.exit(),
      ];
      expect(both(insns, { calls: new Map([[1, find]]) })[0]).toBe(result === 0 ? 2n : 1n);
    }
  });
});

describe('small functions', () => {
  /** r0 = r1 > r2 ? r1 - r2 : r2 * 3, with exits in the middle. */
  const distance = [
    asm.mov64Reg(R0, R1),
    asm.jumpReg(64, 'jle', R1, R2, 2),
    asm.alu64Reg('sub', R0, R2),
    asm.exit(),
    asm.mov64Reg(R0, R2),
    asm.alu64Imm('mul', R0, 3),
    asm.exit(),
  ];
  const main = (calls: number): Insn[] => {
    const insns = [asm.mov64Reg(R6, R1), asm.mov64Imm(R7, 5)];
    for (let n = 0; n < calls; n++)
      insns.push(
        asm.ldx('b', R1, R6, n),
        asm.mov64Reg(R2, R7),
        asm.callLocal(0),
        asm.alu64Reg('add', R7, R0),
      );
    return [...insns, asm.jumpImm(64, 'jlt', R7, 100_000, -4 * calls - 1), asm.mov64Reg(R0, R7), asm.exit()];
  };
  /** The calls of `caller`, led to what stands behind it. */
  const linked = (caller: readonly Insn[], body: readonly Insn[]): Insn[] => [
    ...caller.map((insn, i) => (insn.code === 0x85 ? asm.callLocal(caller.length - i - 1) : insn)),
    ...body,
  ];

  it('stand in place of their calls', () => {
    const caller = main(3);
    const insns = linked(caller, distance);
    both(insns);
    expect(dumpOf(insns)).not.toMatch(/\n\s+call \$/);
  });

  it('are called where they keep registers or have a frame', () => {
    const caller = main(2);
    for (const more of [[asm.mov64Imm(R6, 1)], [asm.st('dw', R10, -8, 1), asm.ldx('dw', R0, R10, -8)]]) {
      const body = [...more, asm.mov64Reg(R0, R1), asm.exit()];
      expect(dumpOf(linked(caller, body))).toMatch(/\n\s+call \$/);
    }
  });
});
