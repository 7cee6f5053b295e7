/** What the JIT does itself instead of calling a helper: the results must be those of the call. */
import { describe, expect, it } from 'vitest';
import * as asm from '../../src/asm/construct.ts';
import { encodeProgram } from '../../src/asm/index.ts';
import type { CallTarget } from '../../src/contracts/engine.ts';
import type { Insn } from '../../src/contracts/insn.ts';
import { createJit } from '../../src/jit/index.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import * as layout from '../../src/maps/layout.ts';
import { kernelAddress, MAP_HEADER } from '../../src/memory/index.ts';
import { helperByName } from '../../src/spec/index.ts';
import { createTestEnvironment } from '../engines/environment.ts';
import { Bench, callable } from '../engines/support.ts';
import { TestKernel } from '../maps/env.ts';

const { R0, R1, R2, R3, R4, R6, R10 } = asm;
const LOOKUP = helperByName('bpf_map_lookup_elem')!;
const LOOP = helperByName('bpf_loop')!;

/** Calls a helper that must not be reached. */
const never = (name: string, params: number) =>
  callable(name, new Array(params).fill('u32'), 'ptr', () => {
    throw new Error(`${name} was called`);
  });

function kernelBench(): { kernel: TestKernel; bench: Bench } {
  const kernel = new TestKernel();
  return { kernel, bench: new Bench(createJit(), createTestEnvironment({ memory: kernel.memory })) };
}

function lookupProgram(map: number, key: Insn[]): { insns: Insn[]; call: number } {
  const insns = [
    ...key,
    asm.mov64Reg(R2, R10),
    asm.alu64Imm('add', R2, -4),
    ...asm.ldImm64(R1, kernelAddress(map)),
    asm.callHelper(1),
  ];
  return { insns: [...insns, asm.exit()], call: insns.length - 1 };
}

describe('lookup in a map', () => {
  const { kernel, bench } = kernelBench();
  const map = kernel.create('array', { valueSize: 12, maxEntries: 5 });
  const calls = (at: number): ReadonlyMap<number, CallTarget> =>
    new Map([[at, { kind: 'function', callee: never('lookup', 2), row: LOOKUP, map }]]);

  it('gives the address of the value, and NULL past the end', () => {
    for (const [key, index] of [
      [0, 0],
      [4, 4],
      [5, -1],
      [-1, -1],
      [0x7fff_ffff, -1],
    ] as const) {
      const { insns, call } = lookupProgram(map.layout.address, [asm.st('w', R10, -4, key)]);
      const want = index < 0 ? 0n : kernelAddress(map.layout.values + index * 16);
      expect(bench.run(insns, { calls: calls(call) }), `constant ${key}`).toBe(want);
      const variable = [asm.ldx('w', R6, R1, 0), asm.stx('w', R10, R6, -4)];
      bench.setWord(0, BigInt.asUintN(32, BigInt(key)));
      const second = lookupProgram(map.layout.address, variable);
      expect(bench.run(second.insns, { calls: calls(second.call) }), `variable ${key}`).toBe(want);
    }
  });

  it('and the test for NULL behind it', () => {
    for (const [key, want] of [
      [2, 7n],
      [9, 3n],
    ] as const) {
      const { insns, call } = lookupProgram(map.layout.address, [asm.st('w', R10, -4, key)]);
      const program = [
        ...insns.slice(0, -1),
        asm.jumpImm(64, 'jeq', R0, 0, 2),
        asm.mov64Imm(R0, 7),
        asm.exit(),
        asm.alu64Imm('add', R0, 3),
        asm.exit(),
      ];
      expect(bench.run(program, { calls: calls(call) })).toBe(want);
    }
  });

  it('of a per-CPU array, on the CPU that runs', () => {
    const percpu = kernel.create('percpu_array', { valueSize: 12, maxEntries: 5 });
    const { values, stride, cpuStride } = percpu.layout.perCpu!;
    for (const cpu of [0, 1]) {
      kernel.cpu = cpu;
      for (const key of [0, 4, 5]) {
        const { insns, call } = lookupProgram(percpu.layout.address, [asm.st('w', R10, -4, key)]);
        const target = { kind: 'function', callee: never('lookup', 2), row: LOOKUP, map: percpu } as const;
        const want = key < 5 ? kernelAddress(values + cpu * cpuStride + key * stride) : 0n;
        expect(bench.run(insns, { calls: new Map([[call, target]]) })).toBe(want);
      }
    }
    kernel.cpu = 0;
  });

  it('of an array of maps gives the inner map', () => {
    const outer = kernel.create('array_of_maps', { valueSize: 4, maxEntries: 3, inner: map });
    kernel.memory.u32[(outer.layout.values + outer.layout.stride) >>> 2] = map.layout.address;
    for (const [key, want] of [
      [0, 0n],
      [1, kernelAddress(map.layout.address)],
      [3, 0n],
    ] as const) {
      const { insns, call } = lookupProgram(outer.layout.address, [asm.st('w', R10, -4, key)]);
      const target = { kind: 'function', callee: never('lookup', 2), row: LOOKUP, map: outer } as const;
      expect(bench.run(insns, { calls: new Map([[call, target]]) })).toBe(want);
    }
  });

  it('of a hash of maps gives the inner map', () => {
    const outer = kernel.create('hash_of_maps', { keySize: 4, valueSize: 4, maxEntries: 3, inner: map });
    const { buckets, mask, key, value } = outer.layout.hash!;
    const element = kernel.memory.allocate(64, 'element');
    kernel.memory.u32[(element + key) >>> 2] = 7;
    kernel.memory.u32[(element + value) >>> 2] = map.layout.address;
    kernel.memory.u32.fill(element, buckets >>> 2, (buckets >>> 2) + mask + 1);
    for (const [wanted, result] of [
      [7, kernelAddress(map.layout.address)],
      [8, 0n],
    ] as const) {
      const { insns, call } = lookupProgram(outer.layout.address, [asm.st('w', R10, -4, wanted)]);
      const target = { kind: 'function', callee: never('lookup', 2), row: LOOKUP, map: outer } as const;
      expect(bench.run(insns, { calls: new Map([[call, target]]) })).toBe(result);
    }
  });

  it('is not taken for maps of other types', () => {
    const trie = kernel.create('lpm_trie', { keySize: 8, maxEntries: 5, flags: 1 });
    const { insns, call } = lookupProgram(trie.layout.address, [asm.st('w', R10, -4, 1)]);
    const target = { kind: 'function', callee: never('lookup', 2), row: LOOKUP, map: trie } as const;
    expect(() => bench.run(insns, { calls: new Map([[call, target]]) })).toThrow('lookup was called');
  });
});

describe('bpf_loop', () => {
  const { bench } = kernelBench();
  const callee = never('loop', 4);

  /** Sums the indexes at *ctx; the callback stops at `stop`. */
  const run = (rounds: number, stop: number, flags = 0): bigint => {
    bench.clear();
    const insns = [
      asm.mov64Reg(R3, R1),
      asm.mov64Imm(R1, rounds),
      ...asm.ldImm64(R2, 0n),
      asm.mov64Imm(R4, flags),
      asm.callHelper(181),
      asm.exit(),
      // callback(index, ctx)
      asm.ldx('dw', R3, R2, 0),
      asm.alu64Reg('add', R3, R1),
      asm.stx('dw', R2, R3, 0),
      asm.mov64Imm(R0, 0),
      asm.jumpImm(64, 'jne', R1, stop, 1),
      asm.mov64Imm(R0, 1),
      asm.exit(),
    ];
    const calls = new Map<number, CallTarget>([
      [2, { kind: 'callback', index: 1, params: ['u32', 'ptr'] }],
      [5, { kind: 'function', callee, row: LOOP }],
    ]);
    return bench.run(insns, { calls, subprogStarts: [7] });
  };

  it('counts its rounds, stops when told, and refuses flags and too many rounds', () => {
    expect(run(10, -1)).toBe(10n);
    expect(bench.word(0)).toBe(45n);
    expect(run(10, 3)).toBe(4n);
    expect(bench.word(0)).toBe(6n);
    expect(run(0, 3)).toBe(0n);
    expect(run(10, -1, 1)).toBe(BigInt.asUintN(64, -22n));
    expect(run((1 << 23) + 1, -1)).toBe(BigInt.asUintN(64, -7n));
    expect(run(1 << 23, 5)).toBe(6n);
  });
});

it('reads the header of a map where the maps have their fields', () => {
  expect(MAP_HEADER.maxEntries).toBe(layout.HDR_MAX_ENTRIES);
  expect(MAP_HEADER.values).toBe(layout.HDR_VALUES);
  expect(MAP_HEADER.stride).toBe(layout.HDR_STRIDE);
});

it('finds a program array by its header where the call does not know it', () => {
  const { kernel, bench } = kernelBench();
  const map = kernel.create('prog_array', { valueSize: 4, maxEntries: 3 });
  const callee = bench.prepare([asm.mov64Imm(R0, 77), asm.exit()]);
  kernel.memory.u32[(map.layout.values + map.layout.stride) >>> 2] = callee.entry;
  const run = (index: number): bigint => {
    const insns = [
      ...asm.ldImm64(R2, kernelAddress(map.layout.address)),
      asm.mov64Imm(R3, index),
      asm.callHelper(12),
      asm.mov64Imm(R0, 1),
      asm.exit(),
    ];
    return bench.run(insns, { calls: new Map([[3, { kind: 'tail_call' }]]) });
  };
  expect([run(1), run(0), run(3), run(-1)]).toEqual([77n, 1n, 1n, 1n]);
});

it('random numbers are those that the kernel would give', () => {
  const runs = ([1, 0] as const).map((jit) => {
    const kernel = new EmbeddedKernel({ randomSeed: 42 });
    kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
    const insns = [asm.callHelper(7), asm.mov64Reg(R6, R0), asm.callHelper(7), asm.alu64Imm('lsh', R0, 32)];
    const code = [...insns, asm.alu64Reg('or', R0, R6), asm.alu64Imm('rsh', R0, 16), asm.exit()];
    const progFd = kernel.progLoad({ progType: 1, insns: encodeProgram(code), license: 'GPL' });
    const values = [1, 2, 3].map(
      (repeat) => kernel.progTestRun({ progFd, dataIn: new Uint8Array(64), repeat }).retval,
    );
    kernel.shutdown();
    return values;
  });
  expect(runs[0]).toEqual(runs[1]);
  expect(new Set(runs[0]).size).toBe(3);
});
