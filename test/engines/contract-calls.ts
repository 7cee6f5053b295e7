/** Subprograms, functions of the kernel, callbacks, tail calls, probe loads, runs inside of runs. */
import { expect, it } from 'vitest';
import * as asm from '../../src/asm/index.ts';
import type { CallableFunction, CallTarget } from '../../src/contracts/engine.ts';
import type { Insn } from '../../src/contracts/insn.ts';
import { KERNEL_HI, kernelAddress, RUN_STATE, userAddress } from '../../src/memory/index.ts';
import { type Bench, callable, programArray, setEntry, U64_EDGES } from './support.ts';

const { R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 } = asm;

const call = (callee: CallableFunction): CallTarget => ({ kind: 'function', callee });
const calls = (...entries: [number, CallTarget][]): ReadonlyMap<number, CallTarget> => new Map(entries);
/** One kernel function, called at every helper call with imm 1. */
function withFunction(insns: readonly Insn[], callee: CallableFunction): Map<number, CallTarget> {
  const targets = new Map<number, CallTarget>();
  insns.forEach((insn, i) => {
    if (insn.code === 0x85 && insn.src === 0) targets.set(i, call(callee));
  });
  return targets;
}

export function callsContract(bench: () => Bench): void {
  it('gives the low half of R0 and leaves all of it in the run state', () => {
    const b = bench();
    const p = b.prepare([...asm.ldImm64(R0, 0x8877_6655_f433_2211n), asm.exit()]);
    expect(p.run(b.ctx)).toBe(0xf433_2211);
    expect(b.r0()).toBe(0x8877_6655_f433_2211n);
  });

  it('R1 is the kernel address of the context, and NULL for none', () => {
    const b = bench();
    const p = b.prepare([asm.mov64Reg(R0, R1), asm.exit()]);
    p.run(b.ctx);
    expect(b.r0()).toBe(kernelAddress(b.ctx));
    p.run(0);
    expect(b.r0()).toBe(0n);
  });

  it('runRepeated runs as often as asked, over the same context', () => {
    const b = bench();
    b.clear();
    const p = b.prepare([
      asm.mov64Imm(R2, 1),
      asm.atomic('fetch_add', 'dw', R1, R2),
      asm.mov64Reg(R0, R2),
      asm.exit(),
    ]);
    expect(p.runRepeated(b.ctx, 1000)).toBe(999);
    expect(b.word(0)).toBe(1000n);
    expect(p.runRepeated(b.ctx, 1)).toBe(1000);
  });

  it('subprograms get R1..R5, give R0, and keep R6..R9 and the stack of the caller', () => {
    const b = bench();
    const main = [
      asm.mov64Imm(R6, 6),
      asm.mov64Imm(R7, 7),
      asm.mov64Imm(R8, 8),
      asm.mov64Imm(R9, 9),
      asm.st('dw', R10, -8, 11),
      asm.mov64Imm(R1, 1),
      asm.mov64Imm(R2, 2),
      asm.mov64Imm(R3, 3),
      asm.mov64Imm(R4, 4),
      asm.mov64Imm(R5, 5),
      asm.callLocal(10),
      asm.alu64Imm('mul', R0, 100),
      asm.alu64Reg('add', R0, R6),
      asm.alu64Reg('add', R0, R7),
      asm.alu64Reg('add', R0, R8),
      asm.alu64Reg('add', R0, R9),
      asm.ldx('dw', R1, R10, -8),
      asm.alu64Imm('mul', R0, 100),
      asm.alu64Reg('add', R0, R1),
      asm.ja(0),
      asm.exit(),
    ];
    const sub = [
      asm.mov64Imm(R6, -1),
      asm.mov64Imm(R7, -1),
      asm.mov64Imm(R8, -1),
      asm.mov64Imm(R9, -1),
      asm.st('dw', R10, -8, -1),
      asm.mov64Imm(R0, 0),
      ...[R1, R2, R3, R4, R5].flatMap((r) => [asm.alu64Imm('mul', R0, 10), asm.alu64Reg('add', R0, r)]),
      asm.exit(),
    ];
    expect(b.run([...main, ...sub])).toBe((12345n * 100n + 30n) * 100n + 11n);
  });

  it('a subprogram writes through a pointer into the frame of its caller', () => {
    const b = bench();
    const insns = [
      asm.st('dw', R10, -16, 1),
      asm.mov64Reg(R1, R10),
      asm.alu64Imm('add', R1, -16),
      asm.callLocal(2),
      asm.ldx('dw', R0, R10, -16),
      asm.exit(),
      asm.stx('dw', R10, R1, -8),
      asm.ldx('dw', R2, R10, -8),
      asm.st('dw', R2, 0, 77),
      asm.mov64Imm(R0, 0),
      asm.exit(),
    ];
    expect(b.run(insns)).toBe(77n);
  });

  it('eight frames deep', () => {
    const b = bench();
    const insns: Insn[] = [];
    for (let i = 0; i < 8; i++) {
      const last = i === 7;
      insns.push(asm.st('dw', R10, -512, i + 1));
      insns.push(last ? asm.mov64Imm(R0, 0) : asm.callLocal(3));
      insns.push(asm.ldx('dw', R1, R10, -512), asm.alu64Reg('add', R0, R1), asm.exit());
    }
    expect(b.run(insns)).toBe(36n);
  });

  it('words and results of functions', () => {
    const b = bench();
    const seen: number[][] = [];
    const insns = [
      ...asm.ldImm64(R1, 0x1111_2222_f333_4444n),
      ...asm.ldImm64(R2, 0xaaaa_bbbb_0ccc_ddddn),
      asm.mov64Imm(R3, -1),
      asm.mov64Imm(R4, 4),
      ...asm.ldImm64(R5, 0x8000_0000_0000_0005n),
      asm.callHelper(1),
      asm.exit(),
    ];
    const f = (params: CallableFunction['params'], result: CallableFunction['result'], value: number) =>
      callable('f', params, result, (...words: number[]) => {
        seen.push(words.map((w) => w | 0));
        if (result === 'u64') b.memory.writeHalves(RUN_STATE.helperResult, 0x89ab_cdef, 0x0123_4567);
        return value;
      });
    const run = (callee: CallableFunction): bigint => b.run(insns, { calls: withFunction(insns, callee) });
    expect(run(f([], 's32', -2))).toBe(0xffff_ffff_ffff_fffen);
    expect(run(f(['u32'], 's32', 7))).toBe(7n);
    expect(run(f(['u64', 'u32'], 'void', 0))).toBe(0n);
    expect(run(f(['u32', 'u64', 'u32', 'u32', 'u64'], 'u64', 0))).toBe(0x0123_4567_89ab_cdefn);
    expect(run(f(['u64', 'u64', 'u64', 'u64', 'u64'], 'ptr', b.ctx))).toBe(kernelAddress(b.ctx));
    expect(run(f(['u32', 'u32', 'u32'], 'ptr', 0))).toBe(0n);
    expect(seen).toEqual([
      [],
      [0xf333_4444 | 0],
      [0xf333_4444 | 0, 0x1111_2222, 0x0ccc_dddd],
      [0xf333_4444 | 0, 0x0ccc_dddd, 0xaaaa_bbbb | 0, -1, 4, 5, 0x8000_0000 | 0],
      [0xf333_4444 | 0, 0x1111_2222, 0x0ccc_dddd, 0xaaaa_bbbb | 0, -1, -1, 4, 0, 5, 0x8000_0000 | 0],
      [0xf333_4444 | 0, 0x0ccc_dddd, -1],
    ]);
  });

  it('R6..R9 and the stack survive a function, also one that grows the memory', () => {
    const b = bench();
    const grow = callable('grow', [], 's32', () => {
      b.memory.wasm.grow(1);
      return 1;
    });
    const insns = [
      ...asm.ldImm64(R6, 0x1234_5678_9abc_def0n),
      asm.stx('dw', R10, R6, -8),
      asm.callHelper(1),
      asm.ldx('dw', R7, R10, -8),
      asm.alu64Reg('sub', R7, R6),
      asm.alu64Reg('add', R0, R7),
      asm.exit(),
    ];
    expect(b.run(insns, { calls: withFunction(insns, grow) })).toBe(1n);
  });

  it('a function reads and writes the stack through a pointer', () => {
    const b = bench();
    const swap = callable('swap', ['u32', 'u32'], 's32', (at: number, size: number) => {
      b.memory.u8.subarray(at, at + size).reverse();
      return 0;
    });
    const insns = [
      ...asm.ldImm64(R6, 0x0102_0304_0506_0708n),
      asm.stx('dw', R10, R6, -8),
      asm.mov64Reg(R1, R10),
      asm.alu64Imm('add', R1, -8),
      asm.mov64Imm(R2, 8),
      asm.callHelper(1),
      asm.ldx('dw', R0, R10, -8),
      asm.exit(),
    ];
    expect(b.run(insns, { calls: withFunction(insns, swap) })).toBe(0x0807_0605_0403_0201n);
  });

  it('callbacks run on a frame of their own and reach the frame of their caller', () => {
    const b = bench();
    const loop = callable('loop', ['u32', 'u32', 'u32'], 's32', (n: number, token: number, ctx: number) => {
      let i = 0;
      while (i < n) if (b.env.callbacks.invoke(token, [i++, ctx]) !== 0) break;
      return i;
    });
    const insns = [
      asm.st('dw', R10, -8, 0),
      asm.mov64Imm(R6, 1000),
      asm.mov64Imm(R1, 50),
      ...asm.ldFunc(R2, 0), // 3
      asm.mov64Reg(R3, R10), // 5
      asm.alu64Imm('add', R3, -8),
      asm.callHelper(1), // 7
      asm.ldx('dw', R1, R10, -8),
      asm.alu64Reg('mul', R0, R6),
      asm.alu64Reg('mul', R0, R6),
      asm.alu64Reg('add', R0, R1),
      asm.exit(), // 12
      // 13: adds the index to *ctx, stops at 10
      asm.mov64Imm(R6, -1),
      asm.st('dw', R10, -8, -1),
      asm.ldx('dw', R3, R2, 0),
      asm.alu64Reg('add', R3, R1),
      asm.stx('dw', R2, R3, 0),
      asm.mov64Imm(R0, 0),
      asm.jumpImm(64, 'jlt', R1, 10, 1),
      asm.mov64Imm(R0, 1),
      asm.exit(),
    ];
    const options = {
      calls: calls([3, { kind: 'callback', index: 1, params: ['u32', 'ptr'] }], [7, call(loop)]),
      subprogStarts: [13],
    };
    expect(b.run(insns, options)).toBe(11_000_000n + 55n);
  });

  it('callbacks nest, and their pointers are kernel addresses', () => {
    const b = bench();
    const once = callable('once', ['u32', 'u32'], 's32', (token: number, ctx: number) =>
      b.env.callbacks.invoke(token, [ctx, 0]),
    );
    const callback: CallTarget = { kind: 'callback', index: 1, params: ['ptr', 'ptr'] };
    const inner: CallTarget = { kind: 'callback', index: 2, params: ['ptr', 'ptr'] };
    const insns = [
      asm.mov64Reg(R6, R1),
      ...asm.ldFunc(R1, 0), // 1
      asm.mov64Reg(R2, R6), // 3
      asm.callHelper(1), // 4
      asm.exit(), // 5
      asm.mov64Reg(R6, R1), // 6: first callback
      ...asm.ldFunc(R1, 0), // 7
      asm.mov64Reg(R2, R6), // 9
      asm.callHelper(1), // 10
      asm.alu64Imm('add', R0, 1), // 11
      asm.exit(), // 12
      asm.stx('dw', R1, R1, 0), // 13: second
      asm.stx('dw', R1, R2, 8),
      asm.mov64Imm(R0, 41),
      asm.exit(),
    ];
    b.clear();
    b.setWord(1, 5n);
    const options = {
      calls: calls([1, callback], [7, inner], [4, call(once)], [10, call(once)]),
      subprogStarts: [6, 13],
    };
    expect(b.run(insns, options)).toBe(42n);
    expect(b.word(0)).toBe(kernelAddress(b.ctx));
    expect(b.word(1)).toBe(0n);
  });

  it('tail calls replace the program, and fall through where there is none', () => {
    const b = bench();
    const array = programArray(b.memory, [0, 0, 0]);
    const jump = (index: number | bigint): Insn[] => [
      asm.mov64Imm(R0, 7),
      ...asm.ldImm64(R2, kernelAddress(array.layout.address)),
      ...asm.ldImm64(R3, BigInt(index)),
      asm.callHelper(12), // 5
      asm.mov64Imm(R0, 8),
      asm.exit(),
    ];
    const options = { calls: calls([5, { kind: 'tail_call', map: array }]) };
    const target = b.prepare([
      asm.ldx('dw', R0, R1, 0),
      asm.stx('dw', R10, R0, -512),
      asm.alu64Imm('add', R0, 1),
      asm.exit(),
    ]);
    setEntry(b.memory, array, 1, target.entry);
    b.clear();
    b.setWord(0, 99n);
    expect(b.run(jump(1), options)).toBe(100n);
    expect(b.run(jump(0), options)).toBe(8n);
    expect(b.run(jump(3), options)).toBe(8n);
    expect(b.run(jump(0xffff_ffff), options)).toBe(8n);
    // Only the low half of the index counts.
    expect(b.run(jump(0x5_0000_0001n), options)).toBe(100n);
    expect(target.run(b.ctx)).toBe(100);
  });

  it('a tail call through an array that differs by path reads the header that R2 points to', () => {
    const b = bench();
    const target = b.prepare([asm.mov64Imm(R0, 64), asm.exit()]);
    const array = programArray(b.memory, [0, 0, target.entry]);
    const at = (index: number): Insn[] => [
      ...asm.ldImm64(R2, kernelAddress(array.layout.address)),
      asm.mov64Imm(R3, index),
      asm.callHelper(12),
      asm.mov64Imm(R0, 8),
      asm.exit(),
    ];
    const options = { calls: calls([3, { kind: 'tail_call' }]) };
    expect(b.run(at(2), options)).toBe(64n);
    expect(b.run(at(1), options)).toBe(8n);
    expect(b.run(at(3), options)).toBe(8n);
  });

  it('33 tail calls in a row, and not one more', () => {
    const b = bench();
    const array = programArray(b.memory, [0]);
    const insns = [
      asm.ldx('dw', R0, R1, 0),
      asm.alu64Imm('add', R0, 1),
      asm.stx('dw', R1, R0, 0),
      ...asm.ldImm64(R2, kernelAddress(array.layout.address)),
      asm.mov64Imm(R3, 0),
      asm.callHelper(12), // 6
      asm.ldx('dw', R0, R1, 0),
      asm.exit(),
    ];
    // The context is in R1 again after the fall-through, as in Linux only where the program kept it.
    insns.splice(0, 0, asm.mov64Reg(R6, R1));
    insns[8] = asm.ldx('dw', R0, R6, 0);
    const p = b.prepare(insns, { calls: calls([7, { kind: 'tail_call', map: array }]) });
    setEntry(b.memory, array, 0, p.entry);
    b.clear();
    expect(p.run(b.ctx)).toBe(34);
    expect(p.run(b.ctx)).toBe(68);
    expect(p.runRepeated(b.ctx, 2)).toBe(136);
  });

  it('a tail call in a subprogram replaces the frame of that subprogram only', () => {
    const b = bench();
    const array = programArray(b.memory, [0]);
    const target = b.prepare([
      asm.mov64Imm(R6, -1),
      asm.st('dw', R10, -8, -1),
      asm.mov64Imm(R0, 5),
      asm.exit(),
    ]);
    setEntry(b.memory, array, 0, target.entry);
    const insns = [
      asm.mov64Imm(R6, 10),
      asm.st('dw', R10, -8, 100),
      asm.callLocal(4),
      asm.ldx('dw', R1, R10, -8),
      asm.alu64Reg('add', R0, R1),
      asm.alu64Reg('add', R0, R6),
      asm.exit(),
      ...asm.ldImm64(R2, kernelAddress(array.layout.address)),
      asm.mov64Imm(R3, 0),
      asm.callHelper(12), // 10
      asm.mov64Imm(R0, 9),
      asm.exit(),
    ];
    expect(b.run(insns, { calls: calls([10, { kind: 'tail_call', map: array }]) })).toBe(115n);
  });

  it('probe loads read 0 where there is nothing to read', () => {
    const b = bench();
    b.clear();
    b.setWord(0, 0x8182_8384_8586_8788n);
    const limit = b.memory.size;
    const addresses: [bigint, bigint | null][] = [
      [kernelAddress(b.ctx), null],
      [0n, 0n],
      [8n, 0n],
      [userAddress(b.ctx), 0n],
      [(BigInt(KERNEL_HI) << 32n) | 0x100n, 0n],
      [(BigInt(KERNEL_HI) << 32n) | 0xffff_fff0n, 0n],
      [kernelAddress(limit - 8), 0n],
      [kernelAddress(limit), 0n],
      [0xffff_ffff_ffff_fff0n, 0n],
      ...U64_EDGES.map((v): [bigint, bigint] => [v, 0n]),
    ];
    for (const [address, want] of addresses) {
      for (const [size, bits] of [
        ['b', 8],
        ['h', 16],
        ['w', 32],
        ['dw', 64],
      ] as const) {
        const insns = [...asm.ldImm64(R1, address), asm.mov64Imm(R0, -1), asm.ldx(size, R0, R1), asm.exit()];
        const value = want ?? BigInt.asUintN(bits, 0x8182_8384_8586_8788n);
        expect(b.run(insns, { probeLoads: [3] }), `${size} at 0x${address.toString(16)}`).toBe(value);
      }
    }
  });

  it('runs nest: a function runs another program on the next level', () => {
    const b = bench();
    const inner = b.prepare([
      asm.st('dw', R10, -8, -1),
      asm.mov64Imm(R6, -1),
      asm.mov64Imm(R0, 20),
      asm.exit(),
    ]);
    const nest = callable('nest', [], 's32', () => inner.run(b.ctx, 1));
    const insns = [
      asm.st('dw', R10, -8, 300),
      asm.mov64Imm(R6, 1000),
      asm.callHelper(1),
      asm.ldx('dw', R1, R10, -8),
      asm.alu64Reg('add', R0, R1),
      asm.alu64Reg('add', R0, R6),
      asm.exit(),
    ];
    const p = b.prepare(insns, { calls: withFunction(insns, nest) });
    expect(p.run(b.ctx)).toBe(1320);
    expect(b.r0()).toBe(1320n);
  });

  it('an error in a function ends the run, and the next run is sound', () => {
    const b = bench();
    let fails = true;
    const sometimes = callable('sometimes', [], 's32', () => {
      if (fails) throw new RangeError('broken');
      return 3;
    });
    const insns = [asm.callHelper(1), asm.exit()];
    const p = b.prepare(insns, { calls: withFunction(insns, sometimes) });
    expect(() => p.run(b.ctx)).toThrow(/broken/);
    fails = false;
    expect(p.run(b.ctx)).toBe(3);
  });
}
