/**
 * npm run fuzz -- --count 20000 --seed 1: random programs through verifier, interpreter and JIT.
 *
 * Each program is loaded into two embedded kernels, one that interprets and one that compiles; results, packets and maps
 * must be equal, no accepted program may fault. A run that is too long for the interpreter is not compared with it, and counted.
 * With --linux the same programs also go to the kernel of this machine (root), whose verdict and results are compared; --shrink
 * makes what disagrees small, --keep makes a regression test of it. --jobs takes so many processes, each with seeds of its own.
 * Ends with status 1 where anything disagrees, or a process did not come to its end.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { build } from 'esbuild';
import { disassemble } from '../src/asm/index.ts';
import type { Kernel } from '../src/contracts/kernel.ts';
import { compare, KINDS, type Report } from '../test/generator/compare.ts';
import { type GeneratedProgram, generateProgram } from '../test/generator/generate.ts';
import { openOracle } from '../test/generator/linux-oracle.ts';
import { writeRegression } from '../test/generator/regressions.ts';
import { describeOutcome, runProgram } from '../test/generator/run.ts';
import { shrink } from '../test/generator/shrink.ts';
import type { JobMessage, JobOptions, MemorySample } from './fuzz-job.ts';
import { closePair, openPair, outcomesOf } from './fuzz-kernels.ts';

interface Options {
  readonly count: number;
  readonly seconds?: number;
  readonly seed: number;
  readonly jobs: number;
  readonly damage: number;
  readonly size: number;
  readonly linux?: boolean;
  readonly budget?: number;
  readonly shrink?: boolean;
  readonly keep?: boolean;
  readonly show?: boolean;
  readonly json?: boolean;
  readonly limit: number;
}

/** Milliseconds for making one program small: verifying one that is too large takes seconds each time. */
const SHRINK_TIME = 60_000;

/** The program with that report made small, as far as time allows; undefined where it does not show it alone, in fresh kernels. */
function minimise(
  program: GeneratedProgram,
  { cause }: Report,
  linux: Kernel | undefined,
  budget: number | undefined,
): { readonly program: GeneratedProgram; readonly outcomes: ReturnType<typeof outcomesOf> } | undefined {
  const pair = openPair(linux, budget);
  const shows = (candidate: GeneratedProgram): boolean =>
    compare(candidate, outcomesOf(pair, linux, candidate)).some((report) => report.cause === cause);
  try {
    if (!shows(program)) return undefined;
    const end = performance.now() + SHRINK_TIME;
    const small = shrink(program, (candidate) => performance.now() < end && shows(candidate));
    return { program: small, outcomes: outcomesOf(pair, linux, small) };
  } finally {
    closePair(pair);
  }
}

function show(p: GeneratedProgram, budget: number | undefined): void {
  console.log(`# seed ${p.seed}: ${p.progKind}${p.damaged ? ', damaged' : ''}`);
  for (const [i, m] of p.maps.entries())
    console.log(`# map ${i}: ${m.kind}, key ${m.keySize}, value ${m.valueSize}, ${m.maxEntries} entries`);
  console.log(disassemble(p.insns, { index: true, opcode: true }));
  const pair = openPair(undefined, budget);
  for (const [name, kernel] of [
    ['interpreter', pair.interpreter],
    ['JIT', pair.jit],
  ] as const) {
    const outcome = runProgram(kernel, p, (log) => {
      if (kernel === pair.interpreter) console.log(log);
    });
    console.log(`${name}: ${describeOutcome(outcome)}`);
    console.log(outcome);
  }
}

/** Reports by cause: how many, and the first. */
class Causes {
  readonly #found = new Map<string, { count: number; readonly first: Report }>();

  /** True for the first of its cause. */
  add(report: Report): boolean {
    const before = this.#found.get(report.cause);
    if (before !== undefined) before.count++;
    else this.#found.set(report.cause, { count: 1, first: report });
    return before === undefined;
  }

  print(): void {
    const rows = [...this.#found.entries()].sort((a, b) => b[1].count - a[1].count);
    if (rows.length > 0) console.log('\ncauses:');
    for (const [cause, { count, first }] of rows)
      console.log(`${String(count).padStart(6)}  ${cause} (seed ${first.seed})`);
  }
}

/** Whether the memory of one process grows. */
class MemoryLog {
  readonly #samples: MemorySample[] = [];

  add(sample: MemorySample): void {
    this.#samples.push(sample);
  }

  get programs(): number {
    return this.#samples.at(-1)?.programs ?? 0;
  }

  /** `1000: 52.1 alive, 180 RSS; …`: ten samples at most, in equal steps. */
  get text(): string {
    const step = Math.max(1, Math.ceil(this.#samples.length / 10));
    const last = this.#samples.length - 1;
    return this.#samples
      .filter((_, i) => (last - i) % step === 0)
      .map(({ programs, rss, alive }) => `${programs}: ${alive.toFixed(1)} alive, ${rss.toFixed(0)} RSS`)
      .join('; ');
  }

  /** Megabytes alive more at the end than after a tenth of the way, when all code is loaded. */
  get growth(): number {
    const first = this.#samples[Math.ceil(this.#samples.length / 10)] ?? this.#samples[0];
    const last = this.#samples.at(-1);
    return first === undefined || last === undefined ? 0 : Math.round((last.alive - first.alive) * 10) / 10;
  }
}

type JobEnd = Extract<JobMessage, { what: 'end' }>;

interface Job {
  readonly memory: MemoryLog;
  readonly process: ChildProcess;
  /** What it said last, or how it died. */
  readonly end: Promise<JobEnd | string>;
}

function startJob(file: string, options: JobOptions, onReport: (report: Report) => void): Job {
  const child = fork(file, [JSON.stringify(options)], {
    // Most of what a program leaves is garbage at once: fewer, cheaper collections.
    execArgv: ['--expose-gc', '--max-semi-space-size=64'],
  });
  const memory = new MemoryLog();
  const end = new Promise<JobEnd | string>((resolve) => {
    child.on('message', (message: JobMessage) => {
      if (message.what === 'report') onReport(message.report);
      else if (message.what === 'sample') memory.add(message.sample);
      else resolve(message);
    });
    child.on('exit', (code, signal) => resolve(`a process ended by ${signal ?? `status ${code}`}`));
  });
  return { memory, process: child, end };
}

/** The jobs' program as one file: tsx would give every function a name at run time, which takes a tenth of the time. */
async function bundleJob(directory: string): Promise<string> {
  const outfile = join(directory, 'fuzz-job.mjs');
  await build({
    entryPoints: [fileURLToPath(new URL('fuzz-job.ts', import.meta.url))],
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    packages: 'external',
    logLevel: 'warning',
  });
  return outfile;
}

function jobOptions(options: Options, index: number): JobOptions {
  const { jobs, seed, count, seconds, damage, size, linux = false, budget } = options;
  return {
    firstSeed: seed + index,
    stride: jobs,
    damage,
    size,
    linux,
    ...(budget === undefined ? {} : { budget }),
    ...(seconds === undefined ? { count: Math.ceil((count - index) / jobs) } : { seconds }),
  };
}

async function run(options: Options): Promise<void> {
  const generate = (seed: number) => generateProgram(seed, { damage: options.damage, size: options.size });
  if (options.show === true) {
    show(generate(options.seed), options.budget);
    return;
  }
  const asked = options.linux === true ? await openOracle() : undefined;
  if (asked !== undefined && 'reason' in asked) {
    console.error(`--linux is not possible: ${asked.reason}`);
    process.exitCode = 2;
    return;
  }
  const linux = asked?.kernel;
  const counts = new Map<string, number>();
  const causes = new Causes();
  const start = performance.now();
  let printed = 0;
  const note = (report: Report) => {
    counts.set(report.kind, (counts.get(report.kind) ?? 0) + 1);
    const first = causes.add(report);
    if (printed++ < options.limit) {
      if (options.json === true) console.log(JSON.stringify(report));
      else console.log(`seed ${report.seed}: ${report.kind}: ${report.text}`);
    }
    if (!first || !(options.shrink || options.keep) || report.kind === 'not compared') return;
    const small = minimise(generate(report.seed), report, linux, options.budget);
    if (small === undefined) {
      console.log(`seed ${report.seed}: it does not show alone`);
      return;
    }
    console.log(disassemble(small.program.insns, { index: true, opcode: true }));
    for (const [who, outcome] of Object.entries(small.outcomes))
      console.log(`${who}: ${describeOutcome(outcome)}`);
    if (!options.keep || small.outcomes.linux === undefined) return;
    const path = writeRegression({
      name: `${report.kind.replaceAll(' ', '-')}-${report.seed}`,
      found: report.cause,
      kernel: linux!.features().release,
      program: small.program,
      expected: small.outcomes.linux,
    });
    console.log(`kept as ${path}`);
  };
  // Beside the packages that it imports.
  const directory = mkdtempSync(fileURLToPath(new URL('../node_modules/.fuzz-', import.meta.url)));
  const jobs: Job[] = [];
  const clean = () => rmSync(directory, { recursive: true, force: true });
  const stop = () => {
    for (const job of jobs) job.process.kill();
    clean();
    process.exit(130);
  };
  process.once('SIGINT', stop).once('SIGTERM', stop);
  const progress = setInterval(() => {
    if (process.stderr.isTTY)
      process.stderr.write(`\r${jobs.reduce((sum, { memory }) => sum + memory.programs, 0)} programs `);
  }, 1000);
  let ends: (JobEnd | string)[];
  try {
    const file = await bundleJob(directory);
    const running = options.seconds === undefined ? Math.min(options.jobs, options.count) : options.jobs;
    for (let i = 0; i < running; i++) jobs.push(startJob(file, jobOptions(options, i), note));
    ends = await Promise.all(jobs.map(({ end }) => end));
  } finally {
    clearInterval(progress);
    clean();
    linux?.shutdown();
  }
  summarise(options, { counts, causes, jobs, ends, seconds: (performance.now() - start) / 1000 });
}

interface Results {
  readonly counts: ReadonlyMap<string, number>;
  readonly causes: Causes;
  readonly jobs: readonly Job[];
  readonly ends: readonly (JobEnd | string)[];
  readonly seconds: number;
}

function summarise(options: Options, { counts, causes, jobs, ends, seconds }: Results): void {
  const died = ends.filter((end) => typeof end === 'string');
  const ended = ends.filter((end) => typeof end !== 'string');
  const total = (of: (end: JobEnd) => number) => ended.reduce((sum, end) => sum + of(end), 0);
  const of = (what: string) => counts.get(what) ?? 0;
  const kinds = Object.entries(KINDS);
  const sum = (wanted: (kind: (typeof kinds)[number][1]) => boolean) =>
    kinds.reduce((all, [name, kind]) => all + (wanted(kind) ? of(name) : 0), 0);
  const bad = sum((kind) => kind.bad);
  const verdicts = sum((kind) => kind.verdict);
  const programs = total((end) => end.programs);
  const accepted = total((end) => end.accepted);
  const tenths = (value: number) => Math.round(value * 10) / 10;
  const summary = {
    programs,
    firstSeed: options.seed,
    accepted,
    rejected: programs - accepted,
    faults: of('fault'),
    crashes: of('crash'),
    enginesDiffer: of('engines differ'),
    notCompiled: of('not compiled'),
    notCompared: of('not compared'),
    ...(options.linux !== true
      ? {}
      : {
          tooLax: of('too lax'),
          tooStrict: of('too strict'),
          otherMessage: of('other message'),
          linuxDiffers: of('linux differs'),
          verdictDifferencesPercent: Math.round((verdicts / Math.max(1, programs)) * 1e5) / 1e3,
        }),
    seconds: tenths(seconds),
    cpuMsPerProgram: Math.round((total((end) => end.cpuSeconds) / Math.max(1, programs)) * 1e5) / 100,
    memoryGrowthMB: jobs.map(({ memory }) => memory.growth),
  };
  if (options.json === true) console.log(JSON.stringify(summary));
  else {
    causes.print();
    console.log(
      Object.entries(summary)
        .map(([name, value]) => `${name} ${Array.isArray(value) ? value.join('/') : value}`)
        .join(', '),
    );
    jobs.forEach(({ memory }, i) => {
      if (memory.text !== '') console.log(`memory of process ${i}, MB after programs: ${memory.text}`);
    });
    if (options.linux === true)
      console.log(
        `verdicts differ on ${verdicts} of ${programs} programs (${((100 * verdicts) / Math.max(1, programs)).toFixed(3)} %)`,
      );
    for (const text of died) console.log(text);
    console.log(
      bad > 0
        ? `${bad} disagreements; look at one with --show --seed SEED`
        : died.length > 0
          ? 'not finished'
          : 'agree',
    );
  }
  if (bad > 0 || died.length > 0) process.exitCode = 1;
}

const number = (text: string): number => {
  const value = Number(text);
  if (!Number.isFinite(value)) throw new Error(`${text} is not a number`);
  return value;
};

/** `--jobs 0`: one for each processor. */
const processes = (text: string): number => {
  const value = number(text);
  if (!Number.isInteger(value) || value < 0 || value > 1024)
    throw new Error(`${text} is no number of processes`);
  return value === 0 ? availableParallelism() : value;
};

const command = new Command('fuzz')
  .description('random programs through verifier, interpreter and JIT')
  .option('--count <n>', 'how many programs', number, 1000)
  .option('--seed <n>', 'seed of the first one', number, 1)
  .option('--jobs <n>', 'processes; 0: one for each processor', processes, 1)
  .option('--damage <share>', 'share of programs that are damaged on purpose', number, 0.25)
  .option('--size <n>', 'most pieces of a program', number, 40)
  .option('--limit <n>', 'reports to print', number, 50)
  .option('--seconds <n>', 'as many as this time allows, instead of --count', number)
  .option('--budget <n>', 'loop rounds and calls that a run may make', number)
  .option('--linux', "compare with this machine's kernel too (root)")
  .option('--shrink', 'print the smallest program of each kind of disagreement')
  .option('--keep', 'also keep it as a test, with what Linux says (test/generator/regressions)')
  .option('--show', 'print the program of --seed with its log and results')
  .option('--json', 'one record a report, and a last one with the counts')
  .action((options: Options) => run(options));
await command.parseAsync();
