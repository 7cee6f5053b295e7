/**
 * npm run fuzz -- --count 20000 --seed 1: random programs through verifier, interpreter and JIT.
 *
 * Each program is loaded into two embedded kernels, one that interprets and one that compiles; results, packets and maps
 * must be equal, no accepted program may fault. With --linux the same programs also go to the kernel of this machine
 * (root), whose verdict and results are compared; --shrink makes what disagrees small, --keep makes a regression test of it.
 * Ends with status 1 where anything disagrees.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import { Command } from 'commander';
import { disassemble } from '../src/asm/index.ts';
import { sharedBtf } from '../src/btf/index.ts';
import type { Kernel } from '../src/contracts/kernel.ts';
import { EmbeddedKernel } from '../src/kernel/index.ts';
import { compare, KINDS, type Outcomes, type Report } from '../test/generator/compare.ts';
import { type GeneratedProgram, generateProgram } from '../test/generator/generate.ts';
import { openOracle } from '../test/generator/linux-oracle.ts';
import { writeRegression } from '../test/generator/regressions.ts';
import { describeOutcome, runProgram } from '../test/generator/run.ts';
import { shrink } from '../test/generator/shrink.ts';

const JIT_SYSCTL = 'net.core.bpf_jit_enable';
/** Programs between two pairs of fresh kernels: memory of a run stays bounded. */
const KERNEL_LIFE = 1000;

/** A program of this many milliseconds hangs: the verifier bounds what a run may do. */
const HANG = 60_000;

/** Ends the process with the seed's name where one program takes too long: a loop cannot be interrupted from inside. */
function watchdog(): { at(seed: number): void; stop(): void } {
  const shared = new Int32Array(new SharedArrayBuffer(8));
  const worker = new Worker(
    `const { workerData: { shared, HANG } } = require('node:worker_threads');
     let last = -1, since = Date.now();
     setInterval(() => {
       const now = Atomics.load(shared, 0);
       if (now !== last) { last = now; since = Date.now(); return; }
       if (Date.now() - since < HANG) return;
       require('node:fs').writeSync(2, 'seed ' + Atomics.load(shared, 1) + ': hangs\\n');
       process.kill(process.pid, 'SIGKILL');
     }, 1000);`,
    { eval: true, workerData: { shared, HANG } },
  );
  worker.unref();
  return {
    at: (seed) => {
      Atomics.store(shared, 1, seed);
      Atomics.add(shared, 0, 1);
    },
    stop: () => void worker.terminate(),
  };
}

interface MemorySample {
  readonly programs: number;
  /** Megabytes: of the process, and what is alive on JavaScript's heap and beside it. */
  readonly rss: number;
  readonly alive: number;
}

/** Whether memory grows: looks after every `KERNEL_LIFE` programs, when the kernels are new, at what a full collection leaves. */
class MemoryLog {
  readonly #samples: MemorySample[] = [];
  readonly #collect: () => void;

  constructor() {
    setFlagsFromString('--expose-gc');
    this.#collect = runInNewContext('gc') as () => void;
  }

  add(programs: number): void {
    this.#collect();
    const { rss, heapUsed, external } = process.memoryUsage();
    this.#samples.push({ programs, rss: rss / 2 ** 20, alive: (heapUsed + external) / 2 ** 20 });
  }

  /** `12 MB alive after 1000 programs, …`: ten samples at most, in equal steps. */
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

interface Options {
  readonly count: number;
  readonly seconds?: number;
  readonly seed: number;
  readonly damage: number;
  readonly size: number;
  readonly linux?: boolean;
  readonly shrink?: boolean;
  readonly keep?: boolean;
  readonly show?: boolean;
  readonly json?: boolean;
  readonly limit: number;
}

interface Pair {
  readonly interpreter: EmbeddedKernel;
  readonly jit: EmbeddedKernel;
}

/** With as many CPUs as Linux has, whose numbers' range the verifier knows, and with Linux's types: programs call functions by id. */
function kernels(linux?: Kernel): Pair {
  const possibleCpus = linux?.features().possibleCpus ?? 1;
  const types = linux?.kernelBtf() ?? null;
  const make = (jit: 0 | 1): EmbeddedKernel => {
    const kernel = new EmbeddedKernel({
      randomSeed: 1,
      possibleCpus,
      onOops: () => undefined,
      ...(types === null ? {} : { kernelBtf: sharedBtf(types) }),
    });
    kernel.simulator.setSysctl(JIT_SYSCTL, jit);
    kernel.simulator.setTime(1_000_000_000n, 1_700_000_000_000_000_000n);
    return kernel;
  };
  return { interpreter: make(0), jit: make(1) };
}

function outcomesOf(pair: Pair, linux: Kernel | undefined, program: GeneratedProgram): Outcomes {
  return {
    interpreter: runProgram(pair.interpreter, program),
    jit: runProgram(pair.jit, program),
    ...(linux === undefined ? {} : { linux: runProgram(linux, program) }),
  };
}

/** The program with that report made small; undefined where it does not show it alone, in fresh kernels. */
function minimise(
  program: GeneratedProgram,
  { cause }: Report,
  linux: Kernel | undefined,
): { readonly program: GeneratedProgram; readonly outcomes: Outcomes } | undefined {
  const pair = kernels(linux);
  const shows = (candidate: GeneratedProgram): boolean =>
    compare(candidate, outcomesOf(pair, linux, candidate)).some((report) => report.cause === cause);
  try {
    if (!shows(program)) return undefined;
    const small = shrink(program, shows);
    return { program: small, outcomes: outcomesOf(pair, linux, small) };
  } finally {
    pair.interpreter.shutdown();
    pair.jit.shutdown();
  }
}

function show(p: GeneratedProgram): void {
  console.log(`# seed ${p.seed}: ${p.progKind}${p.damaged ? ', damaged' : ''}`);
  for (const [i, m] of p.maps.entries())
    console.log(`# map ${i}: ${m.kind}, key ${m.keySize}, value ${m.valueSize}, ${m.maxEntries} entries`);
  console.log(disassemble(p.insns, { index: true, opcode: true }));
  for (const jit of [false, true]) {
    const pair = kernels();
    const outcome = runProgram(jit ? pair.jit : pair.interpreter, p, (log) => {
      if (!jit) console.log(log);
    });
    console.log(`${jit ? 'JIT' : 'interpreter'}: ${describeOutcome(outcome)}`);
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

async function run(options: Options): Promise<void> {
  const asked = options.linux === true ? await openOracle() : undefined;
  if (asked !== undefined && 'reason' in asked) {
    console.error(`--linux is not possible: ${asked.reason}`);
    process.exitCode = 2;
    return;
  }
  const linux = asked?.kernel;
  const generate = (seed: number) => generateProgram(seed, { damage: options.damage, size: options.size });
  if (options.show === true) {
    show(generate(options.seed));
    linux?.shutdown();
    return;
  }
  const counts = new Map<string, number>();
  const count = (what: string, n = 1) => counts.set(what, (counts.get(what) ?? 0) + n);
  const causes = new Causes();
  const start = performance.now();
  const seconds = () => (performance.now() - start) / 1000;
  const memory = new MemoryLog();
  let pair = kernels(linux);
  let printed = 0;
  const watch = watchdog();
  const note = (program: GeneratedProgram, report: Report) => {
    count(report.kind);
    const first = causes.add(report);
    if (printed++ < options.limit) {
      if (options.json === true) console.log(JSON.stringify(report));
      else console.log(`seed ${report.seed}: ${report.kind}: ${report.text}`);
    }
    if (!first || !(options.shrink || options.keep)) return;
    const small = minimise(program, report, linux);
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
  let done = 0;
  const limit = options.seconds === undefined ? options.count : Number.POSITIVE_INFINITY;
  for (; done < limit && (options.seconds === undefined || seconds() < options.seconds); done++) {
    if (done > 0 && done % KERNEL_LIFE === 0) {
      pair.interpreter.shutdown();
      pair.jit.shutdown();
      pair = kernels(linux);
      memory.add(done);
      if (process.stderr.isTTY) process.stderr.write(`\r${done} programs `);
    }
    watch.at(options.seed + done);
    const program = generate(options.seed + done);
    const outcomes = outcomesOf(pair, linux, program);
    count(outcomes.interpreter.verdict === 'reject' ? 'rejected' : 'accepted');
    for (const report of compare(program, outcomes)) note(program, report);
  }
  watch.stop();
  linux?.shutdown();
  const of = (what: string) => counts.get(what) ?? 0;
  const kinds = Object.entries(KINDS);
  const sum = (wanted: (kind: (typeof kinds)[number][1]) => boolean) =>
    kinds.reduce((total, [name, kind]) => total + (wanted(kind) ? of(name) : 0), 0);
  const bad = sum((kind) => kind.bad);
  const verdicts = sum((kind) => kind.verdict);
  const summary = {
    programs: done,
    firstSeed: options.seed,
    accepted: of('accepted'),
    rejected: of('rejected'),
    faults: of('fault'),
    crashes: of('crash'),
    enginesDiffer: of('engines differ'),
    notCompared: of('not compared'),
    ...(linux === undefined
      ? {}
      : {
          tooLax: of('too lax'),
          tooStrict: of('too strict'),
          otherMessage: of('other message'),
          linuxDiffers: of('linux differs'),
          verdictDifferencesPercent: Math.round((verdicts / Math.max(1, done)) * 1e5) / 1e3,
        }),
    seconds: Math.round(seconds() * 10) / 10,
    memoryGrowthMB: memory.growth,
  };
  if (options.json === true) console.log(JSON.stringify(summary));
  else {
    causes.print();
    console.log(
      Object.entries(summary)
        .map(([name, value]) => `${name} ${value}`)
        .join(', '),
    );
    if (memory.text !== '') console.log(`memory, MB after programs: ${memory.text}`);
    if (linux !== undefined)
      console.log(
        `verdicts differ on ${verdicts} of ${done} programs (${((100 * verdicts) / Math.max(1, done)).toFixed(3)} %)`,
      );
    console.log(bad === 0 ? 'agree' : `${bad} disagreements; look at one with --show --seed SEED`);
  }
  if (bad > 0) process.exitCode = 1;
}

const number = (text: string): number => {
  const value = Number(text);
  if (!Number.isFinite(value)) throw new Error(`${text} is not a number`);
  return value;
};

const command = new Command('fuzz')
  .description('random programs through verifier, interpreter and JIT')
  .option('--count <n>', 'how many programs', number, 1000)
  .option('--seed <n>', 'seed of the first one', number, 1)
  .option('--damage <share>', 'share of programs that are damaged on purpose', number, 0.25)
  .option('--size <n>', 'most pieces of a program', number, 40)
  .option('--limit <n>', 'reports to print', number, 50)
  .option('--seconds <n>', 'as many as this time allows, instead of --count', number)
  .option('--linux', "compare with this machine's kernel too (root)")
  .option('--shrink', 'print the smallest program of each kind of disagreement')
  .option('--keep', 'also keep it as a test, with what Linux says (test/generator/regressions)')
  .option('--show', 'print the program of --seed with its log and results')
  .option('--json', 'one record a report, and a last one with the counts')
  .action((options: Options) => run(options));
await command.parseAsync();
