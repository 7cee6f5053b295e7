/** What the interpreter catches, and how it says so. */
import { describe, expect, it } from 'vitest';
import * as asm from '../../src/asm/index.ts';
import type { CallTarget } from '../../src/contracts/engine.ts';
import type { Insn } from '../../src/contracts/insn.ts';
import { createInterpreter, type InterpreterOptions } from '../../src/interpreter/index.ts';
import { kernelAddress, MAP_HEADER, RUN_STATE, userAddress } from '../../src/memory/index.ts';
import { type ExecutableOptions, executable } from '../../src/rewrite/index.ts';
import { helperByName } from '../../src/spec/index.ts';
import { ProgramFault } from '../../src/util/index.ts';
import { createTestEnvironment } from '../engines/environment.ts';
import { callable } from '../engines/support.ts';

const { R0, R1, R2, R3, R6, R10 } = asm;

function setup(options: InterpreterOptions = {}) {
  const env = createTestEnvironment();
  const engine = createInterpreter(options);
  const ctx = env.memory.allocate(64, 'context');
  const block = env.memory.allocate(32, "value of map 'counts'");
  const run = (insns: readonly Insn[], more: ExecutableOptions = {}): number =>
    engine.prepare(executable(insns, { name: 'prog', ...more }), env).run(ctx);
  const faultOf = (insns: readonly Insn[], more: ExecutableOptions = {}): ProgramFault => {
    try {
      run(insns, more);
    } catch (error) {
      if (error instanceof ProgramFault) return error;
      throw error;
    }
    throw new Error('no fault');
  };
  return { env, engine, ctx, block, run, faultOf };
}

describe('accesses outside of a region', () => {
  it('names instruction, register, address and place', () => {
    const { block, faultOf } = setup();
    const fault = faultOf([
      ...asm.ldImm64(R3, kernelAddress(block)),
      asm.alu64Imm('add', R3, 16),
      asm.stx('dw', R3, R10, 12),
      asm.exit(),
    ]);
    expect(fault.insn).toBe(3);
    expect(fault.program).toBe('prog');
    expect(fault.registers?.[3]).toBe(kernelAddress(block + 16));
    expect(fault.message).toMatch(
      /program prog: instruction 3: write of 8 bytes at R3\+12 = 0x[0-9a-f]+: outside of value of map 'counts' \(32 bytes\): 4 bytes beyond its end/,
    );
  });

  const cases: [string, (block: number) => Insn[], RegExp][] = [
    ['NULL', () => [asm.mov64Imm(R2, 0), asm.ldx('w', R0, R2, 8)], /the NULL page/],
    ['a small number', () => [asm.mov64Imm(R2, 4096), asm.ldx('b', R0, R2)], /the NULL page/],
    ['below the stack', () => [asm.st('dw', R10, -520, 1)], /8 bytes before its start/],
    ['above the stack', () => [asm.st('b', R10, 0, 1)], /1 byte beyond its end/],
    [
      'before a block',
      (b) => [...asm.ldImm64(R1, kernelAddress(b)), asm.ldx('h', R0, R1, -2)],
      /2 bytes before its start/,
    ],
    ['user memory', (b) => [...asm.ldImm64(R1, userAddress(b)), asm.ldx('w', R0, R1)], /probe-read helpers/],
    [
      'the engine',
      () => [...asm.ldImm64(R1, kernelAddress(RUN_STATE.r0)), asm.stx('w', R1, R1)],
      /memory of the engine/,
    ],
    [
      'free memory',
      () => [...asm.ldImm64(R1, kernelAddress(0x20_0000)), asm.ldx('w', R0, R1)],
      /free memory/,
    ],
    [
      'no memory',
      () => [...asm.ldImm64(R1, kernelAddress(0x7000_0000)), asm.ldx('w', R0, R1)],
      /no memory at all/,
    ],
    ['no address', () => [asm.mov64Imm(R1, -8), asm.ldx('w', R0, R1)], /not an address/],
    [
      'a pointer made by arithmetic',
      (b) => [...asm.ldImm64(R1, kernelAddress(b)), asm.alu64Imm('or', R1, 1), asm.ldx('b', R0, R1)],
      /a number that was not made from a pointer; there lies value of map 'counts' \(byte 1 of 32\)/,
    ],
    [
      'a pointer that wandered into the neighbour',
      (b) => [...asm.ldImm64(R1, kernelAddress(b)), asm.alu64Imm('sub', R1, 64), asm.ldx('b', R0, R1)],
      /outside of value of map 'counts' \(32 bytes\): 64 bytes before its start; there lies context/,
    ],
    [
      'an atomic',
      (b) => [...asm.ldImm64(R1, kernelAddress(b)), asm.mov64Imm(R2, 1), asm.atomic('add', 'dw', R1, R2, 32)],
      /atomic access of 8 bytes/,
    ],
  ];
  it.each(cases)('%s', (_, insns, message) => {
    const { block, faultOf } = setup();
    expect(faultOf([...insns(block), asm.mov64Imm(R0, 0), asm.exit()]).message).toMatch(message);
  });

  it('a spilled pointer keeps its region', () => {
    const { block, faultOf } = setup();
    const fault = faultOf([
      ...asm.ldImm64(R1, kernelAddress(block)),
      asm.alu64Imm('sub', R1, 64),
      asm.stx('dw', R10, R1, -8),
      asm.ldx('dw', R2, R10, -8),
      asm.ldx('b', R0, R2, 0),
      asm.exit(),
    ]);
    expect(fault.insn).toBe(5);
    expect(fault.message).toMatch(/outside of value of map 'counts'/);
  });

  it('memory that a helper has freed', () => {
    const { env, block, faultOf } = setup();
    const free = callable('free', [], 's32', () => {
      env.memory.free(block);
      return 0;
    });
    const insns = [
      ...asm.ldImm64(R6, kernelAddress(block)),
      asm.ldx('b', R0, R6),
      asm.callHelper(1),
      asm.ldx('b', R0, R6),
      asm.exit(),
    ];
    const fault = faultOf(insns, { calls: new Map([[3, { kind: 'function', callee: free }]]) });
    expect(fault.insn).toBe(4);
    expect(fault.message).toMatch(/free memory/);
  });

  describe('memory that was given back and is still there', () => {
    const [reserve, submit] = [helperByName('bpf_ringbuf_reserve')!, helperByName('bpf_ringbuf_submit')!];
    /** R6 is a record of 8 bytes that has been submitted; `after` uses it. */
    const submitted = (block: number, before: readonly Insn[], after: readonly Insn[]) => {
      const reserved = callable('reserve', ['u32', 'u32'], 'ptr', () => block + 8);
      const insns = [
        asm.mov64Imm(R2, 8),
        asm.callHelper(131),
        asm.mov64Reg(R6, R0),
        ...before,
        asm.mov64Reg(R1, R6),
        asm.callHelper(132),
        ...after,
        asm.mov64Imm(R0, 0),
        asm.exit(),
      ];
      const [first, second] = insns.flatMap(({ code }, i) => (code === 0x85 ? [i] : []));
      const calls = new Map<number, CallTarget>([
        [first!, { kind: 'function', callee: reserved, row: reserve }],
        [second!, { kind: 'function', callee: callable('submit', ['u32'], 'void', () => 0), row: submit }],
      ]);
      return [insns, { calls }] as const;
    };

    it('through a register', () => {
      const { block, faultOf, run } = setup();
      expect(run(...submitted(block, [asm.st('dw', R6, 0, 1)], []))).toBe(0);
      expect(faultOf(...submitted(block, [asm.st('b', R6, 8, 1)], [])).message).toMatch(
        /1 byte beyond its end/,
      );
      const fault = faultOf(...submitted(block, [], [asm.st('w', R6, 4, 1)]));
      expect(fault.insn).toBe(5);
      expect(fault.message).toMatch(
        /write of 4 bytes at R6\+4 = .*: byte 4 of 8 bytes that bpf_ringbuf_submit#132 has taken back/,
      );
    });

    it('through the stack', () => {
      const { block, faultOf } = setup();
      const spill = [asm.stx('dw', R10, R6, -8)];
      const use = [asm.ldx('dw', R3, R10, -8), asm.alu64Imm('add', R3, 1), asm.ldx('b', R0, R3)];
      expect(faultOf(...submitted(block, spill, use)).message).toMatch(/byte 1 of 8 bytes that bpf_ringbuf_/);
    });
  });

  it('values, where one of several maps was looked at, and globals', () => {
    const { env, run, faultOf } = setup();
    const header = env.memory.allocate(64, 'header of a map');
    const values = env.memory.allocate(64, 'values of a map');
    env.memory.view.setUint32(header + MAP_HEADER.valueSize, 12, true);
    const row = helperByName('bpf_map_lookup_elem')!;
    const lookup = callable('lookup', ['u32', 'u32'], 'ptr', () => values + 16);
    const looked = (off: number) => [
      ...asm.ldImm64(R1, kernelAddress(header)),
      asm.callHelper(1),
      asm.st('b', R0, off, 1),
      asm.mov64Imm(R0, 0),
      asm.exit(),
    ];
    const calls = new Map<number, CallTarget>([[2, { kind: 'function', callee: lookup, row }]]);
    expect(run(looked(11), { calls })).toBe(0);
    expect(faultOf(looked(12), { calls }).message).toMatch(
      /12 bytes at byte 16 of values of a map: 1 byte beyond/,
    );
    expect(faultOf(looked(-1), { calls }).message).toMatch(/1 byte before its start/);
    const global = (off: number) => [
      ...asm.ldImm64(R1, kernelAddress(values + 4)),
      asm.ldx('b', R0, R1, off),
      asm.exit(),
    ];
    const region = new Map([[0, { from: values, upto: values + 13 }]]);
    expect(run(global(8), { values: region })).toBe(0);
    expect(faultOf(global(9), { values: region }).message).toMatch(
      /outside of 13 bytes at byte 0 of values of a map/,
    );
  });

  it('memory that a helper is asked to touch', () => {
    const { faultOf, run } = setup();
    const row = helperByName('bpf_get_current_comm')!;
    const target: CallTarget = {
      kind: 'function',
      callee: callable('comm', ['u32', 'u32'], 's32', () => 0),
      row,
    };
    const insns = (size: number): Insn[] => [
      asm.mov64Reg(R1, R10),
      asm.alu64Imm('add', R1, -8),
      asm.mov64Imm(R2, size),
      asm.callHelper(16),
      asm.exit(),
    ];
    const calls = new Map([[3, target]]);
    expect(run(insns(8), { calls })).toBe(0);
    expect(faultOf(insns(16), { calls }).message).toMatch(
      /bpf_get_current_comm#16: write of 16 bytes at R1\+0 = .*outside of its stack frame of 512 bytes: 8 bytes beyond its end/,
    );
  });

  it('a stack that overflows', () => {
    const { faultOf } = setup();
    const fault = faultOf([asm.callLocal(1), asm.exit(), asm.callLocal(-1), asm.exit()]);
    expect(fault.message).toMatch(/stack overflow/);
    expect(fault.insn).toBe(2);
  });
});

describe('limits and observation', () => {
  it('a run that does not end is stopped', () => {
    const { faultOf } = setup({ instructionLimit: 10_000 });
    const fault = faultOf([asm.ja(-1)]);
    expect(fault.message).toMatch(/limit of instructions/);
    expect(fault.reason).toBe('limit');
  });

  it('the limit holds across callbacks and with an observer', () => {
    let count = 0;
    const { env, faultOf } = setup({ instructionLimit: 1000, onInsn: () => count++ });
    const loop = callable('loop', ['u32'], 's32', (token: number) => {
      for (;;) env.callbacks.invoke(token, []);
    });
    const insns = [...asm.ldFunc(R1, 0), asm.callHelper(1), asm.exit(), asm.mov64Imm(R0, 0), asm.exit()];
    const calls = new Map<number, CallTarget>([
      [0, { kind: 'callback', index: 1, params: [] }],
      [2, { kind: 'function', callee: loop }],
    ]);
    expect(faultOf(insns, { calls, subprogStarts: [4] }).message).toMatch(/limit of instructions/);
    expect(count).toBe(1000);
  });

  it('an observer sees every instruction with its registers', () => {
    const seen: string[] = [];
    const { run } = setup({ onInsn: (e) => seen.push(`${e.depth}:${e.insn} r0=${e.low[0]}`) });
    run([asm.mov64Imm(R0, 4), asm.callLocal(1), asm.exit(), asm.alu64Imm('add', R0, 1), asm.exit()]);
    expect(seen).toEqual(['0:0 r0=0', '0:1 r0=4', '1:3 r0=4', '1:4 r0=5', '0:2 r0=5']);
  });

  it('what is not decodable is refused before it runs', () => {
    const { run } = setup();
    const bad =
      (code: number, imm = 0, off = 0): (() => number) =>
      () =>
        run([{ code, dst: 0, src: 0, off, imm }, asm.exit()]);
    for (const code of [0xf7, 0xe5, 0xe7, 0x8d, 0x85, 0x20, 0x40, 0x86, 0x96, 0x99, 0xc2])
      expect(bad(code), `0x${code.toString(16)}`).toThrow(/EINVAL|instruction 0/);
    expect(bad(0xdc, 8)).toThrow(/byte swap of 8 bits/);
    expect(bad(0xdb, 0x33)).toThrow(/atomic/);
    expect(bad(0x05, 0, 100)).toThrow(/jump to 101/);
    expect(() => run([{ code: 0xb7, dst: 11, src: 0, off: 0, imm: 0 }])).toThrow(/R0 to R10/);
  });
});

describe('strict runs', () => {
  const strict = () => setup({ strict: true });

  it('start afresh after a run that faulted in a function', () => {
    const s = strict();
    // The function reads through NULL; the program behind it is one that keeps to the rules.
    const faulting = [asm.mov64Imm(R1, 0), asm.callLocal(1), asm.exit(), asm.ldx('dw', R0, R1), asm.exit()];
    expect(s.faultOf(faulting).message).toMatch(/NULL/);
    expect(s.run([asm.mov64Reg(R0, R1), asm.mov64Imm(R0, 7), asm.exit()])).toBe(7);
  });
  it('a register that was never written', () => {
    const fault = strict().faultOf([asm.mov64Imm(R0, 0), asm.alu64Reg('add', R0, R6), asm.exit()]);
    expect(fault.message).toMatch(/instruction 1: R6 is read, but nothing was written to it/);
  });
  it('R1 after a call', () => {
    const insns = [asm.callHelper(1), asm.mov64Reg(R0, R1), asm.exit()];
    const calls = new Map<number, CallTarget>([
      [0, { kind: 'function', callee: callable('f', [], 's32', () => 1) }],
    ]);
    expect(strict().faultOf(insns, { calls }).message).toMatch(/instruction 1: R1/);
  });
  it('R6 in a subprogram, but arguments are there', () => {
    const s = strict();
    const call = (r: asm.Reg) => [
      asm.mov64Imm(R6, 1),
      asm.callLocal(1),
      asm.exit(),
      asm.mov64Reg(R0, r),
      asm.exit(),
    ];
    expect(s.faultOf(call(R6)).message).toMatch(/instruction 3: R6/);
    expect(() => s.run(call(R1))).not.toThrow();
    expect(s.faultOf(call(R2)).message).toMatch(/instruction 3: R2/);
  });
  it('R0 of a function that returns nothing, where somebody reads it', () => {
    const s = strict();
    const call = (after: Insn) => [asm.callLocal(2), after, asm.exit(), asm.mov64Imm(R1, 1), asm.exit()];
    expect(s.run(call(asm.mov64Imm(R0, 7)))).toBe(7);
    expect(s.faultOf(call(asm.mov64Reg(R2, R0))).message).toMatch(/instruction 1: R0/);
  });
});

describe('runs that are strict about the stack', () => {
  const strict = () => setup({ strict: 'stack' });
  const comm = (): Map<number, CallTarget> => {
    const row = helperByName('bpf_get_current_comm')!;
    return new Map([
      [3, { kind: 'function', callee: callable('comm', ['u32', 'u32'], 's32', () => 0), row }],
    ]);
  };
  const callComm = [
    asm.mov64Reg(R1, R10),
    asm.alu64Imm('add', R1, -8),
    asm.mov64Imm(R2, 8),
    asm.callHelper(16),
  ];

  it('a byte that was never written', () => {
    const fault = strict().faultOf([asm.st('w', R10, -8, 1), asm.ldx('dw', R0, R10, -8), asm.exit()]);
    expect(fault.insn).toBe(1);
    expect(fault.message).toMatch(/read of 8 bytes of the stack: nothing was written to the byte at R10-4/);
    expect(setup({ strict: true }).run([asm.ldx('w', R0, R10, -8), asm.exit()])).toBe(0);
  });
  it('what was written, by parts, by atomics and by helpers, may be read', () => {
    const s = strict();
    const parts = [
      asm.st('w', R10, -8, 0),
      asm.st('h', R10, -4, 0),
      asm.st('h', R10, -2, 0),
      asm.mov64Imm(R1, 3),
      asm.atomic('fetch_add', 'dw', R10, R1, -8),
      asm.ldx('dw', R0, R10, -8),
      asm.exit(),
    ];
    expect(s.run(parts)).toBe(3);
    expect(() =>
      s.run([...callComm, asm.ldx('dw', R0, R10, -8), asm.exit()], { calls: comm() }),
    ).not.toThrow();
    expect(s.faultOf([...callComm, asm.ldx('dw', R0, R10, -16), asm.exit()], { calls: comm() }).insn).toBe(4);
  });
  it('a frame begins with nothing, also where another one was before', () => {
    const twice = [
      asm.callLocal(2),
      asm.callLocal(4),
      asm.exit(),
      asm.st('dw', R10, -8, 1),
      asm.mov64Imm(R0, 0),
      asm.exit(),
      asm.ldx('dw', R0, R10, -8),
      asm.exit(),
    ];
    expect(strict().faultOf(twice).insn).toBe(6);
  });
  it('a pointer in a stack slot keeps its region', () => {
    const { block, run } = strict();
    const insns = [
      ...asm.ldImm64(R1, kernelAddress(block)),
      asm.stx('dw', R10, R1, -8),
      asm.ldx('dw', R2, R10, -8),
      asm.ldx('w', R0, R2, 28),
      asm.exit(),
    ];
    expect(run(insns)).toBe(0);
  });
});
