/**
 * `npm run compile:corpus -- DIR|LIST… [flags] [-- compiler flags]`: C sources through our compiler and clang-19, with equal flags.
 * A DIR is searched for C files with sections for BPF; a LIST has a line a source: its path, then flags of its own. Counts what compiles,
 * instructions, and with `--load` what the Linux of this machine takes of each object (root; nothing is attached), and compares
 * test runs on zeros of the programs that allow them. Ends with 1 where clang's object is better off.
 *
 * --json, --load, --limit N, --filter TEXT, --cpu N, --cache DIR (what came of clang is kept there and asked again by later runs)
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { compileSource } from '../src/cli/compiler/compile.ts';
import { parseFlags } from '../src/cli/compiler/flags.ts';
import type { Kernel } from '../src/contracts/kernel.ts';
import { BpfObject } from '../src/libbpf/index.ts';
import { openKernel } from '../src/open-kernel.ts';
import { type Job, jobsOf } from './compile-jobs.ts';

/** What one object is good for: instructions, the error of loading, and the result of a test run of each program. */
interface Verdicts {
  readonly insns: ReadonlyMap<string, number>;
  readonly refused: ReadonlyMap<string, string>;
  readonly results: ReadonlyMap<string, number>;
}

const separator = process.argv.indexOf('--', 2);
const end = separator < 0 ? process.argv.length : separator;
const common = process.argv.slice(end + 1);
const { values, positionals } = parseArgs({
  args: process.argv.slice(2, end),
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    load: { type: 'boolean', default: false },
    limit: { type: 'string', default: '1000000' },
    filter: { type: 'string', default: '' },
    cpu: { type: 'string', default: '3' },
    cache: { type: 'string' },
  },
});

const totals = {
  sources: 0,
  clangCompiles: 0,
  bothCompile: 0,
  clangLoads: 0,
  bothLoad: 0,
  testRuns: 0,
  equalResults: 0,
  /** Results that our object itself does not give twice: random numbers, addresses, memory that nothing was written to. */
  changingResults: 0,
  instructionRatio: 1,
  /** That our compiler took. */
  seconds: 0,
};
let ourTime = 0;
const failures: { path: string; stage: 'compile' | 'load' | 'result'; what: string }[] = [];
let logRatio = 0;
let compared = 0;

const host: Kernel | undefined = values.load ? (await openKernel({ kernel: 'host' })).kernel : undefined;
const directory = mkdtempSync(join(tmpdir(), 'tsbpf-corpus-'));
try {
  const jobs = positionals.flatMap(jobsOf).filter(({ path }) => path.includes(values.filter));
  for (const job of jobs.slice(0, Number(values.limit))) {
    compareOne(job);
    if (process.stderr.isTTY)
      process.stderr.write(`\r${totals.sources} of ${jobs.length}, ${failures.length} failures `);
  }
} finally {
  rmSync(directory, { recursive: true, force: true });
  host?.shutdown();
}
totals.instructionRatio = Math.exp(logRatio / Math.max(1, compared));
totals.seconds = Math.round(ourTime) / 1000;
if (values.json) console.log(JSON.stringify({ ...totals, failures }));
else {
  for (const { path, stage, what } of failures) console.log(`${path}: ${stage}: ${what}`);
  console.log(totals);
}
process.exitCode = failures.length === 0 ? 0 : 1;

function compareOne({ path, flags }: Job): void {
  totals.sources++;
  const all = ['-O2', '-g', '-w', `-mcpu=v${values.cpu}`, '-I', dirname(path), ...flags, ...common];
  const theirs = fromClang(path, all);
  if (theirs === undefined) return;
  totals.clangCompiles++;
  const start = performance.now();
  const { result, text } = compileSource(path, parseFlags([...all, '-c', path]), false);
  const took = performance.now() - start;
  ourTime += took;
  if (result.object === null) {
    fail({ path, stage: 'compile', what: firstError(text) });
    return;
  }
  totals.bothCompile++;
  const { object } = result;
  compareVerdicts(path, theirs, look(object), () => look(object));
}

/** What clang's object is good for; undefined where clang does not compile the source. */
function fromClang(path: string, flags: readonly string[]): Verdicts | undefined {
  const text = JSON.stringify([path, statSync(path).mtimeMs, flags, values.load]);
  const name = createHash('sha256').update(text).digest('hex').slice(0, 32);
  const kept = values.cache === undefined ? undefined : join(values.cache, `${name}.json`);
  if (kept !== undefined && existsSync(kept)) {
    const known = JSON.parse(readFileSync(kept, 'utf8')) as Record<keyof Verdicts, [string, never][]> | null;
    if (known === null) return undefined;
    return { insns: new Map(known.insns), refused: new Map(known.refused), results: new Map(known.results) };
  }
  const output = join(directory, 'clang.o');
  const clang = spawnSync('clang-19', [...flags, '-target', 'bpf', '-c', path, '-o', output], {
    stdio: 'ignore',
  });
  const found = clang.status === 0 ? look(readFileSync(output)) : undefined;
  if (kept !== undefined) {
    mkdirSync(values.cache!, { recursive: true });
    const plain = found && {
      insns: [...found.insns],
      refused: [...found.refused],
      results: [...found.results],
    };
    writeFileSync(kept, JSON.stringify(plain ?? null));
  }
  return found;
}

/** Told at once, as a long run may be ended before its sums. */
function fail(failure: (typeof failures)[number]): void {
  failures.push(failure);
  if (values.json) console.error(`${failure.path}: ${failure.stage}: ${failure.what}`);
}

function firstError(text: string): string {
  return text.split('\n').find((line) => / error: /.test(line)) ?? text.slice(0, 200);
}

function compareVerdicts(path: string, theirs: Verdicts, ours: Verdicts, again: () => Verdicts): void {
  let left = 0;
  let right = 0;
  for (const [name, count] of theirs.insns) {
    left += count;
    right += ours.insns.get(name) ?? 0;
    if (host === undefined || theirs.refused.has(name)) continue;
    totals.clangLoads++;
    const refused = ours.insns.has(name) ? ours.refused.get(name) : 'there is no such program';
    if (refused !== undefined) {
      fail({ path, stage: 'load', what: `${name}: ${refused}` });
      continue;
    }
    totals.bothLoad++;
    const expected = theirs.results.get(name);
    if (expected === undefined) continue;
    totals.testRuns++;
    const got = ours.results.get(name);
    if (got === expected) totals.equalResults++;
    else if (isChanging(() => again().results.get(name), got)) totals.changingResults++;
    else fail({ path, stage: 'result', what: `${name}: ${got}; with clang ${expected}` });
  }
  if (left > 0 && right > 0) {
    logRatio += Math.log(right / left);
    compared++;
  }
}

function isChanging(result: () => number | undefined, first: number | undefined): boolean {
  for (let i = 0; i < 8; i++) if (result() !== first) return true;
  return false;
}

/** Opens an object, and with a kernel loads what loads of it and runs it on a packet of zeros. */
function look(bytes: Uint8Array): Verdicts {
  const insns = new Map<string, number>();
  const refused = new Map<string, string>();
  const results = new Map<string, number>();
  let object: BpfObject;
  try {
    object = BpfObject.open(bytes, { name: 'corpus' });
  } catch {
    // Clang's may be one that needs linking; then nothing is compared.
    return { insns, refused, results };
  }
  for (const { name, insns: list } of object.spec.programs) insns.set(name, list.length);
  if (host === undefined) return { insns, refused, results };
  try {
    object.load(host, { strict: false });
    for (const { program, error } of object.failures) refused.set(program.name, lastLine(error));
    for (const program of object.programs) {
      if (refused.has(program.name)) continue;
      try {
        results.set(program.name, program.testRun({ dataIn: new Uint8Array(64) }).retval);
      } catch {
        // Most program types have no test run.
      }
    }
  } catch (error) {
    for (const name of insns.keys()) refused.set(name, lastLine(error));
  } finally {
    object.close();
  }
  return { insns, refused, results };
}

function lastLine(error: unknown): string {
  const { log, message } = error as { log?: string; message: string };
  const lines = (log ?? '').trim().split('\n');
  return lines.filter((line) => line !== '' && !line.startsWith('processed')).pop() ?? message;
}
