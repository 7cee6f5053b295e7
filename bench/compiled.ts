/**
 * `npm run bench:compiled -- [DIR|LIST|FILE.c…] [--cpu N] [--rounds N] [--json] [-- compiler flags]`: run time of what our compiler makes
 * beside what clang-19 -O2 makes of the same sources, in the Linux of this machine (PROG_TEST_RUN; root) and on the embedded kernel's
 * JIT. Without sources: bench/programs and examples. Every program that takes a packet gets a TCP packet of 64 bytes; those that
 * give different results are named and left out. Both objects run in turns; what counts is the shortest of the rounds.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { compileSource } from '../src/cli/compiler/compile.ts';
import { parseFlags } from '../src/cli/compiler/flags.ts';
import type { Kernel } from '../src/contracts/kernel.ts';
import { createHostKernel, whyNoHostKernel } from '../src/host/index.ts';
import { EmbeddedKernel } from '../src/kernel/index.ts';
import { BpfObject } from '../src/libbpf/index.ts';
import { type Job, jobsOf } from '../tools/compile-jobs.ts';
import { benchPacket } from './packet.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const separator = process.argv.indexOf('--', 2);
const last = separator < 0 ? process.argv.length : separator;
const { values, positionals } = parseArgs({
  args: process.argv.slice(2, last),
  allowPositionals: true,
  options: {
    cpu: { type: 'string', default: '3' },
    rounds: { type: 'string', default: '9' },
    json: { type: 'boolean', default: false },
  },
});
const common = process.argv.slice(last + 1);
const SAMPLE_NS = 3_000_000;
const MAX_REPEAT = 1 << 20;

interface Row {
  readonly program: string;
  readonly instructions: readonly [number, number];
  /** Nanoseconds a run, by kernel: clang's and ours. */
  readonly times: Record<string, readonly [number, number]>;
}

const kernels = new Map<string, Kernel>();
const why = await whyNoHostKernel();
if (why === null) kernels.set('host', await createHostKernel());
else console.log(`Linux is left out: ${why}`);
kernels.set('embedded', new EmbeddedKernel());
const directory = mkdtempSync(join(tmpdir(), 'tsbpf-compiled-'));
const rows: Row[] = [];
const different: string[] = [];
try {
  const sources =
    positionals.length > 0 ? positionals : [join(root, 'bench/programs'), join(root, 'examples/src')];
  for (const job of sources.flatMap(jobsOf)) compareSource(job);
} finally {
  rmSync(directory, { recursive: true, force: true });
  for (const kernel of kernels.values()) kernel.shutdown();
}
report();

function compareSource({ path, flags }: Job): void {
  const all = ['-O2', '-g', '-w', `-mcpu=v${values.cpu}`, '-I', dirname(path), ...flags, ...common];
  const output = join(directory, 'clang.o');
  const clang = spawnSync('clang-19', [...all, '-target', 'bpf', '-c', path, '-o', output], {
    stdio: 'ignore',
  });
  if (clang.status !== 0) return;
  const { result } = compileSource(path, parseFlags([...all, '-c', path]), false);
  if (result.object === null) return;
  compareObjects(path, readFileSync(output), result.object);
}

function compareObjects(path: string, theirs: Uint8Array, ours: Uint8Array): void {
  const found = new Map<string, Row>();
  for (const [name, kernel] of kernels) {
    let left: BpfObject | undefined;
    let right: BpfObject | undefined;
    try {
      left = BpfObject.open(theirs, { name: 'compiled' }).load(kernel, { strict: false });
      right = BpfObject.open(ours, { name: 'compiled' }).load(kernel, { strict: false });
      for (const { name: program, insns } of left.spec.programs) {
        const times = comparePrograms(kernel, name, `${path}: ${program}`, left, right, program);
        if (times === undefined) continue;
        let row = found.get(program);
        if (row === undefined) {
          const count = right.spec.programs.find((one) => one.name === program)!.insns.length;
          row = { program: `${path}: ${program}`, instructions: [insns.length, count], times: {} };
          found.set(program, row);
        }
        row.times[name] = times;
      }
    } catch {
      // Maps or types that this kernel does not have.
    } finally {
      left?.close();
      right?.close();
    }
  }
  rows.push(...found.values());
}

/** Nanoseconds a run of clang's and of our program; undefined where it takes no packet, or does not load. */
function comparePrograms(
  kernel: Kernel,
  kernelName: string,
  title: string,
  left: BpfObject,
  right: BpfObject,
  program: string,
): readonly [number, number] | undefined {
  const dataIn = benchPacket();
  const run = (object: BpfObject, repeat: number): { ns: number; retval: number } => {
    const start = performance.now();
    const { duration, retval } = kernel.progTestRun({
      progFd: object.findProgram(program).fd,
      dataIn,
      repeat,
    });
    // Linux tells nanoseconds a run, rounded down; the clock outside counts its set-up too.
    const ns =
      kernelName === 'host' && duration * repeat > 0
        ? duration
        : ((performance.now() - start) * 1e6) / repeat;
    return { ns, retval };
  };
  try {
    const expected = run(left, 1).retval;
    if (run(right, 1).retval !== expected) {
      different.push(`${title} (${kernelName})`);
      return undefined;
    }
    let repeat = 1;
    while (repeat < MAX_REPEAT && run(left, repeat).ns * repeat < SAMPLE_NS) repeat *= 4;
    run(right, repeat);
    const best: [number, number] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
    for (let round = 0; round < Number(values.rounds); round++) {
      best[0] = Math.min(best[0], run(left, repeat).ns);
      best[1] = Math.min(best[1], run(right, repeat).ns);
    }
    return best;
  } catch {
    return undefined;
  }
}

function mean(ratios: readonly number[]): number {
  return Math.exp(ratios.reduce((sum, ratio) => sum + Math.log(ratio), 0) / Math.max(1, ratios.length));
}

function report(): void {
  const summary: Record<string, number> = { programs: rows.length };
  summary.instructions = mean(rows.map(({ instructions: [theirs, ours] }) => ours / theirs));
  for (const name of kernels.keys()) {
    const times = rows.flatMap((row) => (row.times[name] === undefined ? [] : [row.times[name]]));
    summary[`${name}Programs`] = times.length;
    summary[name] = mean(times.map(([theirs, ours]) => ours / theirs));
  }
  if (values.json) {
    console.log(JSON.stringify({ summary, rows, different }));
    return;
  }
  for (const { program, instructions, times } of rows) {
    const parts = Object.entries(times).map(
      ([name, [theirs, ours]]) => `${name} ${theirs.toFixed(1)} → ${ours.toFixed(1)} ns`,
    );
    console.log(`${program}: ${instructions.join(' → ')} instructions, ${parts.join(', ')}`);
  }
  for (const title of different) console.log(`different results: ${title}`);
  console.log(summary);
}
