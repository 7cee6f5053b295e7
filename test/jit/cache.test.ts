/** The cache of compiled code: what counts as the same program, what is bounded, and that sharing code shares nothing else. */
import { describe, expect, it } from 'vitest';
import * as asm from '../../src/asm/construct.ts';
import { encodeProgram, ProgramBuilder, reg } from '../../src/asm/index.ts';
import type { CallTarget } from '../../src/contracts/engine.ts';
import { CodeCache, createJit } from '../../src/jit/index.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { mapTypeByName, progTypeByName } from '../../src/spec/index.ts';
import { ProgramFault } from '../../src/util/index.ts';
import { createTestEnvironment } from '../engines/environment.ts';
import { Bench, callable, programArray } from '../engines/support.ts';

const { R0, R1, R2, R3, R10 } = asm;
const PACKET = new Uint8Array(64).map((_, i) => i);

function kernelWith(cache: CodeCache, options: ConstructorParameters<typeof EmbeddedKernel>[0] = {}) {
  return new EmbeddedKernel({ ...options, engines: { jit: createJit({ cache }) } });
}

const arrayMap = (kernel: EmbeddedKernel, maxEntries = 4) =>
  kernel.mapCreate({
    mapType: mapTypeByName('array')!.id,
    keySize: 4,
    valueSize: 8,
    maxEntries,
  });

function load(kernel: EmbeddedKernel, b: ProgramBuilder, progName = 'p') {
  const progType = progTypeByName('xdp')!.id;
  return kernel.progLoad({ progType, insns: encodeProgram(b.build()), license: 'GPL', progName });
}

const info = (kernel: EmbeddedKernel, progFd: number) => {
  const found = kernel.objGetInfoByFd({ bpfFd: progFd });
  if (found.kind !== 'prog') throw new Error('no program');
  return found;
};

/** Adds 1 to element 1 of the map; gives what it is then. */
const counter = (map: number) =>
  new ProgramBuilder()
    .st('w', R10, -4, 1)
    .mov64(R2, reg(R10))
    .alu64('add', R2, -4)
    .ldMapFd(R1, map)
    .callHelper('bpf_map_lookup_elem')
    .jmp('jeq', R0, 0, 'out')
    .ldx('dw', R1, R0, 0)
    .alu64('add', R1, 1)
    .stx('dw', R0, R1, 0)
    .mov64(R0, reg(R1))
    .label('out')
    .exit();

describe('the cache of compiled code', () => {
  it('gives the same program the same code, in one kernel and in the next', () => {
    const cache = new CodeCache();
    for (const hits of [0, 1]) {
      const kernel = kernelWith(cache);
      const map = arrayMap(kernel);
      const first = load(kernel, counter(map));
      expect(info(kernel, first).jitCached).toBe(hits > 0);
      const second = load(kernel, counter(map));
      expect(info(kernel, second).jitCached).toBe(true);
      // One map behind both.
      expect(kernel.progTestRun({ progFd: first, dataIn: PACKET }).retval).toBe(1);
      expect(kernel.progTestRun({ progFd: second, dataIn: PACKET }).retval).toBe(2);
      kernel.close(first);
      expect(kernel.progTestRun({ progFd: second, dataIn: PACKET }).retval).toBe(3);
      kernel.shutdown();
    }
    expect(cache.stats()).toMatchObject({ hits: 3, misses: 1, programs: 1 });
    expect(kernelWith(cache).simulator.codeCache()).toEqual(cache.stats());
  });

  it('tells maps of the same shape apart', () => {
    const cache = new CodeCache();
    const kernel = kernelWith(cache);
    const [one, other] = [arrayMap(kernel), arrayMap(kernel)];
    const programs = [load(kernel, counter(one)), load(kernel, counter(other))];
    expect(info(kernel, programs[1]!).tag).toBe(info(kernel, programs[0]!).tag);
    expect(info(kernel, programs[1]!).jitCached).toBe(false);
    const run = (i: number) => kernel.progTestRun({ progFd: programs[i]!, dataIn: PACKET }).retval;
    expect([run(0), run(0), run(1), run(0), run(1)]).toEqual([1, 2, 1, 3, 2]);
  });

  it('tells sizes of maps, names and whether there is a budget apart', () => {
    const cache = new CodeCache();
    const cached = (options: { maxEntries?: number; name?: string }) => {
      const kernel = kernelWith(cache);
      return info(kernel, load(kernel, counter(arrayMap(kernel, options.maxEntries)), options.name))
        .jitCached;
    };
    expect(cached({})).toBe(false);
    expect(cached({ maxEntries: 3 })).toBe(false);
    expect(cached({ name: 'other' })).toBe(false);
    const loops = (budget?: number) => {
      const kernel = kernelWith(cache, budget === undefined ? {} : { budget });
      const b = new ProgramBuilder().mov64(R0, 0).label('again').alu64('add', R0, 1);
      return info(kernel, load(kernel, b.jmp('jlt', R0, 9, 'again').exit())).jitCached;
    };
    // How large the budget is stands in memory.
    expect([loops(), loops(100), loops(200), loops()]).toEqual([false, false, true, true]);
    expect([cached({}), cached({ maxEntries: 3 }), cached({ name: 'other' })]).toEqual([true, true, true]);
  });

  it('callbacks of the same code are those of their own program', () => {
    const bench = new Bench(createJit({ cache: new CodeCache() }), createTestEnvironment());
    const seen: number[] = [];
    const once = callable('once', ['u32'], 's32', (token: number) => {
      seen.push(token);
      return bench.env.callbacks.invoke(token, [7]);
    });
    const insns = [
      ...asm.ldFunc(R1, 0),
      asm.callHelper(1),
      asm.exit(),
      asm.mov64Reg(R0, R1),
      asm.alu64Imm('add', R0, 1),
      asm.exit(),
    ];
    const prepare = () =>
      bench.prepare(insns, {
        calls: new Map<number, CallTarget>([
          [0, { kind: 'callback', index: 1, params: ['u32'] }],
          [2, { kind: 'function', callee: { ...once } }],
        ]),
        subprogStarts: [4],
      });
    const [one, other] = [prepare(), prepare()];
    expect([one.cached, other.cached]).toEqual([false, true]);
    expect([one.run(bench.ctx), other.run(bench.ctx)]).toEqual([8, 8]);
    one.release();
    expect(other.run(bench.ctx)).toBe(8);
    expect(new Set(seen).size).toBe(2);
  });

  it('keeps what was used last, within its bounds', () => {
    const cache = new CodeCache({ maxPrograms: 2 });
    const kernel = kernelWith(cache);
    const constant = (value: number) => new ProgramBuilder().mov64(R0, value).exit();
    const cached = (value: number) => info(kernel, load(kernel, constant(value))).jitCached;
    expect([1, 2, 1, 3, 1, 2].map(cached)).toEqual([false, false, true, false, true, false]);
    expect(cache.stats().programs).toBe(2);
    expect(cache.stats().bytes).toBeLessThan(2000);
    const none = new CodeCache({ maxBytes: 10 });
    const other = kernelWith(none);
    for (let i = 0; i < 2; i++) expect(info(other, load(other, constant(1))).jitCached).toBe(false);
    expect(none.stats()).toMatchObject({ programs: 0, bytes: 0 });
  });

  it('a fault is laid to the program that ran, also behind a tail call', () => {
    const bench = new Bench(createJit({ cache: new CodeCache() }), createTestEnvironment());
    const insns = [...asm.ldImm64(R2, 0xffff_8881_f000_0000n), asm.st('dw', R2, 0, 1), asm.exit()];
    const [one, other] = [bench.prepare(insns, { name: 'same' }), bench.prepare(insns, { name: 'same' })];
    expect(other.cached).toBe(true);
    one.release();
    const array = programArray(bench.memory, [other.entry]);
    const calls = new Map([[1, { kind: 'tail_call', map: array } as const]]);
    const caller = bench.prepare([asm.mov64Imm(R3, 0), asm.callHelper(12), asm.mov64Imm(R0, 0), asm.exit()], {
      name: 'caller',
      calls,
    });
    for (const program of [other, caller]) {
      let fault: unknown;
      try {
        program.run(bench.ctx);
      } catch (error) {
        fault = error;
      }
      expect(fault).toBeInstanceOf(ProgramFault);
      expect([(fault as ProgramFault).program, (fault as ProgramFault).insn]).toEqual(['same', 2]);
    }
  });
});
