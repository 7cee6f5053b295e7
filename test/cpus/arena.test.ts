/** Arenas that programs on several CPUs share: pages are given and taken by the kernel's thread, accesses are everybody's. */
import { afterEach, describe, expect, it } from 'vitest';
import * as asm from '../../src/asm/index.ts';
import { parseBtf } from '../../src/btf/index.ts';
import type { Insn } from '../../src/contracts/insn.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { mapTypeByName, progTypeByName } from '../../src/spec/index.ts';
import { cpuThreads } from './threads.ts';

const { R0, R1, R2, R3, R4, R5, R6 } = asm;
const PAGE = 4096;
const BASE = 0x1234_5000_0000n;
const F_MMAPABLE = 1 << 10;
const F_SLEEPABLE = 1 << 4;
const PAGES = 8;
const open: EmbeddedKernel[] = [];

afterEach(() => {
  for (const kernel of open.splice(0)) kernel.shutdown();
});

function setUp(jit: 0 | 1) {
  const kernel = new EmbeddedKernel({ cpus: { count: 3, start: cpuThreads() } });
  open.push(kernel);
  kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
  const mapFd = kernel.mapCreate({
    mapType: mapTypeByName('arena')!.id,
    keySize: 0,
    valueSize: 0,
    maxEntries: PAGES,
    mapFlags: F_MMAPABLE,
    mapExtra: BASE,
  });
  const types = parseBtf(kernel.kernelBtf()!);
  const kfunc = (name: string): Insn => ({
    code: 0x85,
    dst: 0,
    src: 2,
    off: 0,
    imm: types.find(name, 'func')!,
  });
  const theMap = asm.ldImm64(R1, 0n).map((insn, i) => (i === 0 ? { ...insn, src: 1, imm: mapFd } : insn));
  const allocate = [
    ...theMap,
    asm.mov64Imm(R2, 0),
    asm.mov64Imm(R3, 1),
    asm.mov64Imm(R4, -1),
    asm.mov64Imm(R5, 0),
    kfunc('bpf_arena_alloc_pages'),
  ];
  const free = [...theMap, asm.mov64Reg(R2, R6), asm.mov64Imm(R3, 1), kfunc('bpf_arena_free_pages')];
  const load = (insns: readonly Insn[]) =>
    kernel.progLoad({
      progType: progTypeByName('syscall')!.id,
      insns: asm.encodeProgram(insns),
      license: 'GPL',
      progFlags: F_SLEEPABLE,
    });
  const run = async (progFd: ReturnType<typeof load>, cpu: number, repeat = 1) => {
    let retval = 0;
    for (let i = 0; i < repeat; i++) ({ retval } = await kernel.cpus!.testRun(cpu, { progFd }));
    return retval;
  };
  return { kernel, mapFd, theMap, allocate, free, load, run };
}

const castIn = (dst: asm.Reg, src: asm.Reg): Insn => ({ code: 0xbf, dst, src, off: 1, imm: 1 });

describe.each([0, 1] as const)('arenas on several CPUs, bpf_jit_enable = %d', (jit) => {
  it('what one CPU allocates and writes, all read', async () => {
    const { kernel, mapFd, theMap, allocate, load, run } = setUp(jit);
    const writer = load([
      ...allocate,
      castIn(R6, R0),
      asm.mov64Imm(R1, 77),
      asm.stx('w', R6, R1, 8),
      asm.mov64Reg(R0, R6),
      asm.exit(),
    ]);
    const first = await run(writer, 1);
    const second = await run(writer, 2);
    expect(new Set([first >>> 0, second >>> 0])).toEqual(new Set([0x5000_0000, 0x5000_1000]));
    const memory = kernel.mapMemory(mapFd);
    for (const page of [0, 1]) expect(memory.read(page * PAGE + 8, 1)[0]).toBe(77);
    memory.write(3 * PAGE + 8, Uint8Array.of(5));
    const reader = load([
      ...theMap,
      ...asm.ldImm64(R1, BASE + BigInt(3 * PAGE)),
      castIn(R1, R1),
      asm.ldx('w', R0, R1, 8),
      asm.exit(),
    ]);
    expect([await run(reader, 0), await run(reader, 1), await run(reader, 2)]).toEqual([5, 5, 5]);
  });

  it('pages that are freed and taken again are zero, and counts are exact', async () => {
    const { allocate, free, load, run } = setUp(jit);
    // A page that is not zero makes the result 1; there is always one for each CPU.
    const churn = load([
      ...allocate,
      asm.mov64Reg(R6, R0),
      castIn(R1, R0),
      asm.ldx('dw', R0, R1, 16),
      asm.mov64Imm(R2, -1),
      asm.stx('dw', R1, R2, 16),
      asm.stx('dw', asm.R10, R0, -8),
      ...free,
      asm.ldx('dw', R0, asm.R10, -8),
      asm.exit(),
    ]);
    const results = await Promise.all([0, 1, 2].map((cpu) => run(churn, cpu, 100)));
    expect(results).toEqual([0, 0, 0]);
    // All pages can be had again.
    const all = load([...allocate, asm.exit()]);
    const pages = new Set<number>();
    for (let n = 0; n < PAGES; n++) pages.add((await run(all, n % 3)) >>> 0);
    expect(pages.size).toBe(PAGES);
    expect(pages.has(0)).toBe(false);
    expect(await run(all, 1)).toBe(0);
  });
});
