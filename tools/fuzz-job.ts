/**
 * One of the processes of `npm run fuzz`: takes every n-th seed, runs the programs on all kernels, and tells its parent what disagrees.
 * Started by tools/fuzz.ts, with a `JobOptions` as JSON in its first argument.
 */
import process from 'node:process';
import { Worker } from 'node:worker_threads';
import { compare, type Report } from '../test/generator/compare.ts';
import { generateProgram } from '../test/generator/generate.ts';
import { openOracle } from '../test/generator/linux-oracle.ts';
import { closePair, openPair, outcomesOf } from './fuzz-kernels.ts';

/** Programs between two pairs of fresh kernels: memory of a run stays bounded. */
const KERNEL_LIFE = 1000;
/** A program of this many milliseconds hangs: the verifier bounds what a run may do. */
const HANG = 60_000;

export interface JobOptions {
  readonly firstSeed: number;
  /** From one seed to the next. */
  readonly stride: number;
  /** Absent: until `seconds` are over. */
  readonly count?: number;
  readonly seconds?: number;
  readonly damage: number;
  readonly size: number;
  readonly linux: boolean;
  /** Of each run; absent: none. */
  readonly budget?: number;
}

export interface MemorySample {
  readonly programs: number;
  /** Megabytes: of the process, and what is alive on JavaScript's heap and beside it. */
  readonly rss: number;
  readonly alive: number;
}

export type JobMessage =
  | { readonly what: 'report'; readonly report: Report }
  | { readonly what: 'sample'; readonly sample: MemorySample }
  | {
      readonly what: 'end';
      readonly programs: number;
      readonly accepted: number;
      /** Of the processor: its own threads' and the compiler's. */
      readonly cpuSeconds: number;
    };

const tell = (message: JobMessage): void => void process.send!(message);

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

/** After every `KERNEL_LIFE` programs, when the kernels are new, what a full collection leaves. */
function sampleMemory(programs: number): void {
  globalThis.gc?.();
  const { rss, heapUsed, external } = process.memoryUsage();
  tell({ what: 'sample', sample: { programs, rss: rss / 2 ** 20, alive: (heapUsed + external) / 2 ** 20 } });
}

async function run(options: JobOptions): Promise<void> {
  const oracle = options.linux ? await openOracle() : undefined;
  if (oracle !== undefined && 'reason' in oracle) throw new Error(oracle.reason);
  const linux = oracle?.kernel;
  const { count = Number.POSITIVE_INFINITY, seconds = Number.POSITIVE_INFINITY } = options;
  const end = performance.now() + seconds * 1000;
  const watch = watchdog();
  let pair = openPair(linux, options.budget);
  let programs = 0;
  let accepted = 0;
  for (; programs < count && performance.now() < end; programs++) {
    if (programs > 0 && programs % KERNEL_LIFE === 0) {
      closePair(pair);
      pair = openPair(linux, options.budget);
      sampleMemory(programs);
      // What has been told is sent between two turns of the event loop.
      await new Promise((resolve) => setImmediate(resolve));
    }
    const seed = options.firstSeed + programs * options.stride;
    watch.at(seed);
    const program = generateProgram(seed, { damage: options.damage, size: options.size });
    const outcomes = outcomesOf(pair, linux, program);
    if (outcomes.interpreter.verdict !== 'reject') accepted++;
    for (const report of compare(program, outcomes)) tell({ what: 'report', report });
  }
  watch.stop();
  linux?.shutdown();
  const { user, system } = process.cpuUsage();
  tell({ what: 'end', programs, accepted, cpuSeconds: (user + system) / 1e6 });
  process.disconnect();
}

await run(JSON.parse(process.argv[2]!) as JobOptions);
