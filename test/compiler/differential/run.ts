/** Compiles one program with clang and with our compiler and runs both on equal packets in the embedded kernel. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compile } from '../../../src/compiler/compile.ts';
import type { Kernel } from '../../../src/contracts/kernel.ts';
import { EmbeddedKernel } from '../../../src/kernel/index.ts';
import { BpfObject } from '../../../src/libbpf/index.ts';
import { toHex } from '../../../src/util/index.ts';
import { Random } from './generate.ts';

export type Cpu = 1 | 2 | 3 | 4;

export function compileWithClang(text: string, cpu: Cpu, level = 2): Uint8Array {
  const directory = mkdtempSync(join(tmpdir(), 'tsbpf-differential-'));
  try {
    const source = join(directory, 'program.c');
    writeFileSync(source, text);
    const object = join(directory, 'program.o');
    execFileSync(
      'clang-19',
      [`-O${level}`, '-g', '-w', '-target', 'bpf', `-mcpu=v${cpu}`, '-c', source, '-o', object],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    return readFileSync(object);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

export function compileWithOurs(text: string, cpu: Cpu, check = true): Uint8Array {
  const result = compile({
    files: { read: () => undefined },
    main: 'program.c',
    text,
    options: { cpu, noWarnings: true, checkIr: check },
  });
  if (result.object !== null) return result.object;
  const lines = result.diagnostics.map(
    (one) => `${result.sources.position(one.location)?.line ?? 0}: ${one.severity}: ${one.message}`,
  );
  throw new Error(`does not compile:\n${lines.join('\n')}`);
}

export type Observation =
  | { readonly runs: readonly string[]; readonly insns: number }
  | { readonly refused: string };

/**
 * Loads an object and runs its program on packets made from the seed: return values and `out` after each run. In a new embedded
 * kernel, or in the one given, which stays open.
 */
export function observe(object: Uint8Array, seed: number, runs = 4, given?: Kernel): Observation {
  const kernel = given ?? new EmbeddedKernel();
  let opened: BpfObject | undefined;
  try {
    opened = BpfObject.open(object, { name: 'program' });
    try {
      opened.load(kernel);
    } catch (error) {
      const { log, message } = error as { log?: string; message: string };
      return { refused: log ?? message };
    }
    const [program] = opened.programs;
    const bss = opened.maps.find((map) => map.name.endsWith('.bss'))!;
    const results: string[] = [];
    const random = new Random(seed ^ 0x5eed);
    for (let i = 0; i < runs; i++) {
      const packet = Uint8Array.from({ length: 64 }, () =>
        i === 0 ? 0 : random.chance(30) ? random.pick([0, 1, 0x7f, 0x80, 0xff]) : random.below(256),
      );
      const { retval } = program!.testRun({ dataIn: packet });
      const out = bss.getBytes(new Uint8Array(4))!;
      results.push(`${retval} ${toHex(out)}`);
    }
    return { runs: results, insns: opened.spec.programs.reduce((sum, one) => sum + one.insns.length, 0) };
  } finally {
    opened?.close();
    if (given === undefined) kernel.shutdown();
  }
}
