/** One object, two kernels: every answer that every-map.bpf.c writes down is the same on Linux and on both engines. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Kernel } from '../../src/contracts/kernel.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { BpfObject } from '../../src/libbpf/index.ts';
import { toHex } from '../../src/util/index.ts';
import { LinuxKernel } from './linux-kernel.ts';
import { whyNoProbe } from './probe.ts';

const SOURCE = fileURLToPath(new URL('./every-map.bpf.c', import.meta.url));
const CLANGS = ['clang-19', 'clang'];

function compile(): Uint8Array | string {
  const dir = mkdtempSync(join(tmpdir(), 'tsbpf-clang-'));
  const out = join(dir, 'out.o');
  try {
    for (const clang of CLANGS) {
      const args = [
        '-O2',
        '-g',
        '-target',
        'bpf',
        '-I/usr/include/x86_64-linux-gnu',
        '-c',
        SOURCE,
        '-o',
        out,
      ];
      try {
        execFileSync(clang, args, { stdio: 'pipe' });
        return readFileSync(out);
      } catch (error) {
        if ((error as { code?: string }).code !== 'ENOENT')
          return `clang fails: ${String(error).slice(0, 300)}`;
      }
    }
    return 'clang is missing';
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const object = compile();
const why = typeof object === 'string' ? object : whyNoProbe();
if (why !== null) console.log(`skipped: one object on two kernels: ${why}`);

type Answers = Record<string, string>;

/** Runs all programs in the order of the source; every slot of `out`, and what each program returned. */
function answers(kernel: Kernel): Answers {
  const loaded = BpfObject.open(object as Uint8Array, { name: 'every_map' }).load(kernel, { logLevel: 4 });
  const all: Answers = {};
  for (const program of loaded.programs)
    all[program.name] = String(program.testRun({ dataIn: new Uint8Array(64) }).retval);
  const out = loaded.findMap('out');
  for (let slot = 0; slot < 80; slot++)
    all[`out[${slot}]`] = toHex(out.getBytes(new Uint8Array(Uint32Array.of(slot).buffer))!);
  loaded.close();
  return all;
}

describe.skipIf(why !== null)('every map, on two kernels', () => {
  let linux: LinuxKernel;
  let expected: Answers;
  beforeAll(() => {
    linux = new LinuxKernel();
    // Linux takes no BTF for some map types; libbpf tries again without, and so does this.
    const create = linux.mapCreate.bind(linux);
    linux.mapCreate = (attr) => {
      try {
        return create(attr);
      } catch (error) {
        const { btfFd, btfKeyTypeId: _key, btfValueTypeId: _value, ...plain } = attr;
        if (btfFd === undefined) throw error;
        return create(plain);
      }
    };
    expected = answers(linux as unknown as Kernel);
  });
  afterAll(() => linux?.shutdown());

  for (const [engine, jit] of [
    ['interpreter', 0],
    ['jit', 1],
  ] as const) {
    it(`${engine}: the same answers`, () => {
      const kernel = new EmbeddedKernel({ possibleCpus: 2 });
      kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
      expect(answers(kernel)).toEqual(expected);
      kernel.shutdown();
    });
  }
});
