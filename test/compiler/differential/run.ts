/** Compiles one program with clang and with our compiler and runs both on equal packets in the embedded kernel. */
import { execFile, execFileSync } from 'node:child_process';
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

/** A clang that works beside us: the object of a source, or the reason why there is none. */
export function startClang(text: string, cpu: Cpu): Promise<Uint8Array> {
  const directory = mkdtempSync(join(tmpdir(), 'tsbpf-differential-'));
  const source = join(directory, 'program.c');
  const object = join(directory, 'program.o');
  writeFileSync(source, text);
  return new Promise((resolve, reject) => {
    const flags = ['-O2', '-g', '-w', '-target', 'bpf', `-mcpu=v${cpu}`, '-c', source, '-o', object];
    execFile('clang-19', flags, (error) => {
      if (error === null) resolve(readFileSync(object));
      else reject(error);
      rmSync(directory, { recursive: true, force: true });
    });
  });
}

export type Observation =
  | {
      readonly runs: readonly string[];
      readonly insns: number;
    }
  | { readonly refused: string };

/**
 * Loads an object and runs its program on packets made from the seed: return values and `out` after each run. In a new embedded
 * kernel, or in the one given, which stays open.
 */
export function observe(object: Uint8Array, seed: number, runs = 4, given?: Kernel): Observation {
  return observeAll(object, new Map([['prog', seed]]), runs, given).get('prog')!;
}

/** The same of the programs of a unit, by their names; each starts with `out` empty. */
export function observeAll(
  object: Uint8Array,
  seeds: ReadonlyMap<string, number>,
  runs = 4,
  given?: Kernel,
): Map<string, Observation> {
  const kernel = given ?? new EmbeddedKernel();
  let opened: BpfObject | undefined;
  const result = new Map<string, Observation>();
  try {
    opened = BpfObject.open(object, { name: 'program' });
    opened.load(kernel, { strict: false });
    for (const { program, error } of opened.failures) {
      const { log, message } = error as { log?: string; message: string };
      result.set(program.name, { refused: log ?? message });
    }
    const bss = opened.maps.find((map) => map.name.endsWith('.bss'))!;
    const key = new Uint8Array(4);
    const empty = new Uint8Array(bss.definition.valueSize);
    for (const program of opened.programs) {
      if (result.has(program.name)) continue;
      const seed = seeds.get(program.name)!;
      bss.set(key, empty);
      const results: string[] = [];
      const random = new Random(seed ^ 0x5eed);
      for (let i = 0; i < runs; i++) {
        const packet = Uint8Array.from({ length: 64 }, () =>
          i === 0 ? 0 : random.chance(30) ? random.pick([0, 1, 0x7f, 0x80, 0xff]) : random.below(256),
        );
        const { retval } = program.testRun({ dataIn: packet });
        // `out` stands first; what follows are tables of zeros.
        results.push(`${retval} ${toHex(bss.getBytes(key)!.subarray(0, OUT_BYTES))}`);
      }
      const { insns } = opened.spec.programs.find((one) => one.name === program.name)!;
      result.set(program.name, { runs: results, insns: insns.length });
    }
    return result;
  } finally {
    opened?.close();
    if (given === undefined) kernel.shutdown();
  }
}

const OUT_BYTES = 128;
