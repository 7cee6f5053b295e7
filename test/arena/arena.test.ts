/** Arenas on the embedded kernel: pages by program and by user space, accesses that find none, what is refused. */
import { describe, expect, it } from 'vitest';
import * as asm from '../../src/asm/index.ts';
import { parseBtf } from '../../src/btf/index.ts';
import type { Insn } from '../../src/contracts/insn.ts';
import type { Fd } from '../../src/contracts/kernel.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { mapTypeByName, progTypeByName } from '../../src/spec/index.ts';
import { runArena } from './programs.ts';

const { R0, R1, R2, R3, R4, R5, R6 } = asm;
const PAGE = 4096;
const MMAPABLE = 1 << 10;
const SEGV_ON_FAULT = 1 << 17;
const BASE = 0x1234_5000_0000n;
const BPF_F_SLEEPABLE = 1 << 4;

function setUp(jit: 0 | 1, flags = MMAPABLE, mapExtra = BASE, maxEntries = 4) {
  const kernel = new EmbeddedKernel({ onOops: () => undefined });
  kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
  const mapFd = kernel.mapCreate({
    mapType: mapTypeByName('arena')!.id,
    keySize: 0,
    valueSize: 0,
    maxEntries,
    mapFlags: flags,
    mapExtra,
    mapName: 'pages',
  });
  const types = parseBtf(kernel.kernelBtf()!);
  const kfunc = (name: string): Insn => ({
    code: 0x85,
    dst: 0,
    src: 2,
    off: 0,
    imm: types.find(name, 'func')!,
  });
  const run = (insns: readonly Insn[]): number => {
    const progFd = kernel.progLoad({
      progType: progTypeByName('syscall')!.id,
      insns: asm.encodeProgram(insns),
      license: 'GPL',
      progFlags: BPF_F_SLEEPABLE,
    });
    return kernel.progTestRun({ progFd }).retval;
  };
  return { kernel, mapFd, run, kfunc };
}

/** From an address of user space, as functions and globals give them. */
const castIn = (dst: asm.Reg, src: asm.Reg): Insn => ({ code: 0xbf, dst, src, off: 1, imm: 1 });
const theMap = (map: Fd, r: asm.Reg): Insn[] =>
  asm.ldImm64(r, 0n).map((insn, i) => (i === 0 ? { ...insn, src: 1, imm: map } : insn));

describe.each([0, 1] as const)('arenas, bpf_jit_enable = %d', (jit) => {
  it('give pages to programs, at addresses that user space knows, and take them back', () => {
    const { kernel, mapFd, run, kfunc } = setUp(jit);
    const allocate = (count: number): Insn[] => [
      ...theMap(mapFd, R1),
      asm.mov64Imm(R2, 0),
      asm.mov64Imm(R3, count),
      asm.mov64Imm(R4, -1),
      asm.mov64Imm(R5, 0),
      kfunc('bpf_arena_alloc_pages'),
    ];
    // A page that cannot be had is NULL.
    expect(run([...allocate(5), asm.mov64Reg(R6, R0), asm.mov64Imm(R0, 0), asm.exit()])).toBe(0);
    const store = [
      ...allocate(2),
      castIn(R6, R0),
      asm.mov64Imm(R1, 77),
      asm.stx('w', R6, R1, PAGE - 2),
      asm.ldx('w', R0, R6, PAGE - 2),
      asm.exit(),
    ];
    expect(run(store)).toBe(77);
    const memory = kernel.mapMemory(mapFd);
    expect(memory.address).toBe(BASE);
    expect([...memory.read(PAGE - 2, 4)]).toEqual([77, 0, 0, 0]);
    const free = [
      ...theMap(mapFd, R1),
      ...asm.ldImm64(R2, BASE),
      asm.mov64Imm(R3, 2),
      kfunc('bpf_arena_free_pages'),
      asm.mov64Imm(R0, 0),
      asm.exit(),
    ];
    run(free);
    // New pages are zero, and all four can be had again.
    expect([...memory.read(PAGE - 2, 4)]).toEqual([0, 0, 0, 0]);
    run(free);
    expect(run([...allocate(4), castIn(R6, R0), asm.ldx('w', R0, R6, 3 * PAGE), asm.exit()])).toBe(0);
  });

  it('read 0 where there is no page, and lose what is stored there', () => {
    const { kernel, mapFd, run } = setUp(jit);
    const touch = [
      ...theMap(mapFd, R1).map((insn, i) => (i === 0 ? { ...insn, src: 2 } : insn)),
      castIn(R1, R1),
      asm.mov64Imm(R2, 5),
      asm.stx('dw', R1, R2, 2 * PAGE),
      asm.ldx('dw', R0, R1, 2 * PAGE),
      asm.exit(),
    ];
    expect(run(touch)).toBe(0);
    kernel.mapMemory(mapFd).write(2 * PAGE, new Uint8Array(1));
    expect(run(touch)).toBe(5);
  });

  it('need an address before programs are loaded: mapping them gives one', () => {
    const { kernel, mapFd, run } = setUp(jit, MMAPABLE, 0n);
    const nothing = [...theMap(mapFd, R1), asm.mov64Imm(R0, 3), asm.exit()];
    expect(() => run(nothing)).toThrow(/user address must be set/);
    const { address, size } = kernel.mapMemory(mapFd);
    expect(address & 0xfffn).toBe(0n);
    expect(address).not.toBe(0n);
    expect(size).toBe(4 * PAGE);
    expect(run(nothing)).toBe(3);
  });

  it('random programs agree', () => {
    const kernels = [0, 1].map((other) => {
      const kernel = new EmbeddedKernel();
      kernel.simulator.setSysctl('net.core.bpf_jit_enable', other);
      return kernel;
    }) as [EmbeddedKernel, EmbeddedKernel];
    for (let seed = 1000 * jit; seed < 1000 * jit + 60; seed++)
      expect(runArena(kernels[0], seed), `seed ${seed}`).toEqual(runArena(kernels[1], seed));
  });
});

describe('what user space may not do', () => {
  it('is refused with a reason', () => {
    expect(() => setUp(0, MMAPABLE, 0x1234_ffff_f000n)).toThrow(/crosses a boundary of 4 GiB/);
    const { kernel, mapFd } = setUp(0, MMAPABLE | SEGV_ON_FAULT);
    const memory = kernel.mapMemory(mapFd);
    expect(() => memory.read(0, 1)).toThrow(/page 0 of arena 'pages' is not there/);
    expect(() => memory.read(4 * PAGE, 1)).toThrow(/which has 16384/);
    expect(() => memory.write(-1, new Uint8Array(1))).toThrow(/EFAULT|which has 16384/);
    expect(() => kernel.mapLookupElem({ mapFd, key: new Uint8Array(0) })).toThrow();
    memory.unmap();
    expect(() => memory.read(0, 1)).toThrow(/no longer mapped/);
    const array = kernel.mapCreate({ mapType: 2, keySize: 4, valueSize: 8, maxEntries: 2 });
    expect(() => kernel.mapMemory(array)).toThrow(/not made to be mapped/);
  });

  it('arrays that are made for it are mapped', () => {
    const { kernel } = setUp(0);
    const mapFd = kernel.mapCreate({
      mapType: 2,
      keySize: 4,
      valueSize: 8,
      maxEntries: 2,
      mapFlags: MMAPABLE,
    });
    kernel.mapMemory(mapFd).write(8, Uint8Array.of(1, 2));
    const value = kernel.mapLookupElem({ mapFd, key: Uint8Array.of(1, 0, 0, 0) })!;
    expect([...value.slice(0, 3)]).toEqual([1, 2, 0]);
  });
});

describe('CPUs in turns', () => {
  it('race in arenas as in other maps', () => {
    const kernel = new EmbeddedKernel({ possibleCpus: 2 });
    kernel.simulator.setSysctl('net.core.bpf_jit_enable', 0);
    const mapFd = kernel.mapCreate({
      mapType: mapTypeByName('arena')!.id,
      keySize: 0,
      valueSize: 0,
      maxEntries: 1,
      mapFlags: MMAPABLE,
      mapExtra: BASE,
      mapName: 'pages',
    });
    const memory = kernel.mapMemory(mapFd);
    memory.write(0, new Uint8Array(8));
    const load = (change: readonly Insn[]) =>
      kernel.progLoad({
        progType: progTypeByName('xdp')!.id,
        insns: asm.encodeProgram([
          ...theMap(mapFd, R1).map((insn, i) => (i === 0 ? { ...insn, src: 2 } : insn)),
          castIn(R1, R1),
          ...change,
          asm.mov64Imm(R0, 0),
          asm.exit(),
        ]),
        license: 'GPL',
      });
    const plain = load([asm.ldx('dw', R2, R1, 0), asm.alu64Imm('add', R2, 1), asm.stx('dw', R1, R2, 0)]);
    const atomic = load([asm.mov64Imm(R2, 1), asm.atomic('add', 'dw', R1, R2, 0)]);
    const ends = new Set<number>();
    for (let seed = 0; seed < 40; seed++) {
      const run = (progFd: Fd) => [{ progFd, dataIn: new Uint8Array(64) }];
      const options = { seed, races: true, rewindAfter: () => ends.add(memory.read(0, 1)[0]!) };
      const { races } = kernel.simulator.interleave({ cpus: [run(plain), run(plain)], ...options });
      expect(races[0]?.memory).toMatch(/^memory of map 'pages', bytes/);
      const ordered = kernel.simulator.interleave({
        cpus: [run(atomic), run(atomic)],
        seed,
        races: true,
        rewindAfter: () => {},
      });
      expect(ordered.races).toEqual([]);
    }
    expect([...ends].sort()).toEqual([1, 2]);
  });
});
