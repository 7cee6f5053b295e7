/**
 * npm run bench: nanoseconds a run of every program on JIT and interpreter, and microseconds of the steps of its load.
 * Ends with status 1 where a program returns the wrong value, or where the JIT is not ten times as fast as the
 * interpreter on computation (with --check).
 */
import Table from 'cli-table3';
import { Command } from 'commander';
import type { LoadStages } from '../src/contracts/kernel.ts';
import { type HarnessOptions, measure, median, type Subject } from './harness.ts';
import { type EngineName, loadObject } from './load.ts';
import { benchPacket } from './packet.ts';
import { BENCH_PROGRAMS, type BenchProgram } from './programs.ts';

const ENGINES: readonly EngineName[] = ['jit', 'interpreter'];
/** How many times the interpreter's speed the JIT must reach on computation. */
const REQUIRED_RATIO = 10;

type StageName = 'verify' | 'rewrite' | 'prepare';

interface Result {
  readonly name: string;
  readonly compute: boolean;
  /** Nanoseconds a run. */
  readonly jit: number;
  readonly interpreter: number;
  readonly ratio: number;
  /** Microseconds, medians over the loads. */
  readonly verify: number;
  readonly rewrite: number;
  readonly compile: number;
  readonly decode: number;
  readonly insns: number;
  readonly codeSize: number;
}

interface Loads {
  readonly jit: ReadonlyMap<string, LoadStages>[];
  readonly interpreter: ReadonlyMap<string, LoadStages>[];
}

function checked(program: BenchProgram, engine: string, retval: number): void {
  if (retval === program.returns >>> 0) return;
  process.stderr.write(
    `bench: ${program.name} returned ${retval} on the ${engine}, not ${program.returns}\n`,
  );
  process.exitCode = 1;
}

function run(programs: readonly BenchProgram[], options: HarnessOptions & { loads: number }): Result[] {
  const objects = [...new Set(programs.map((p) => p.object))];
  const loads = new Map<string, Loads>(objects.map((o) => [o, { jit: [], interpreter: [] }]));
  const subjects: Subject[] = [];
  const sizes = new Map<string, { insns: number; codeSize: number }>();
  const dataIn = benchPacket();
  for (const engine of ENGINES) {
    for (const name of objects) {
      for (let i = 1; i < options.loads; i++) {
        const again = loadObject(name, engine);
        loads.get(name)![engine].push(again.stages);
        again.kernel.shutdown();
      }
      const loaded = loadObject(name, engine);
      loads.get(name)![engine].push(loaded.stages);
      for (const program of programs.filter((p) => p.object === name)) {
        const handle = loaded.program(program.name);
        checked(program, engine, handle.testRun({ dataIn, repeat: 3 }).retval);
        const info = handle.info();
        if (engine === 'jit')
          sizes.set(program.name, { insns: info.xlatedInsns.length / 8, codeSize: info.jitedProgLen });
        subjects.push({
          name: `${program.name} ${engine}`,
          run: (repeat) => handle.testRun({ dataIn, repeat }),
        });
      }
    }
  }
  const times = measure(subjects, options);
  return programs.map((program) => {
    const { jit: jitLoads, interpreter: interpreterLoads } = loads.get(program.object)!;
    const stage = (from: readonly ReadonlyMap<string, LoadStages>[], key: StageName): number =>
      median(from.map((stages) => stages.get(program.name.slice(0, 15))?.[key] ?? Number.NaN));
    const jit = times.get(`${program.name} jit`)!;
    const interpreter = times.get(`${program.name} interpreter`)!;
    return {
      name: program.name,
      compute: program.group === 'compute',
      jit,
      interpreter,
      ratio: interpreter / jit,
      verify: stage([...jitLoads, ...interpreterLoads], 'verify'),
      rewrite: stage([...jitLoads, ...interpreterLoads], 'rewrite'),
      compile: stage(jitLoads, 'prepare'),
      decode: stage(interpreterLoads, 'prepare'),
      ...sizes.get(program.name)!,
    };
  });
}

function print(results: readonly Result[]): void {
  const table = new Table({
    head: [
      'program',
      'insns',
      'JIT ns',
      'interp ns',
      'ratio',
      'verify µs',
      'rewrite µs',
      'compile µs',
      'decode µs',
      'wasm bytes',
    ],
    colAligns: ['left', ...new Array<'right'>(9).fill('right')],
    style: { head: [], border: [] },
  });
  const number = (n: number): string => (n < 100 ? n.toFixed(1) : n.toFixed(0));
  for (const r of results) {
    table.push([
      r.name,
      r.insns,
      number(r.jit),
      number(r.interpreter),
      `${r.ratio.toFixed(1)}x`,
      number(r.verify),
      number(r.rewrite),
      number(r.compile),
      number(r.decode),
      r.codeSize,
    ]);
  }
  console.log(table.toString());
  const compute = results.filter((r) => r.compute);
  if (compute.length > 0) {
    const mean = Math.exp(compute.reduce((sum, r) => sum + Math.log(r.ratio), 0) / compute.length);
    console.log(`JIT against interpreter on computation: ${mean.toFixed(1)}x (geometric mean)`);
  }
}

const command = new Command('bench')
  .description('times of runs and loads on JIT and interpreter')
  .option('--only <text>', 'programs whose name contains the text')
  .option('--rounds <n>', 'samples of each program', '7')
  .option('--sample <ms>', 'length of a sample in milliseconds', '20')
  .option('--loads <n>', 'loads of each object', '5')
  .option('--check', 'fail where the JIT is not ten times as fast on computation')
  .option('--json', 'one record a program')
  .parse();
const options = command.opts<{
  only?: string;
  rounds: string;
  sample: string;
  loads: string;
  check?: boolean;
  json?: boolean;
}>();

function positive(text: string, option: string): number {
  const value = Number(text);
  if (value > 0 && Number.isFinite(value)) return value;
  return command.error(`error: ${option} ${text}: give a positive number`, { exitCode: 2 });
}

const results = run(
  BENCH_PROGRAMS.filter((p) => options.only === undefined || p.name.includes(options.only)),
  {
    rounds: Math.round(positive(options.rounds, '--rounds')),
    sampleMs: positive(options.sample, '--sample'),
    loads: Math.round(positive(options.loads, '--loads')),
  },
);
if (options.json) for (const result of results) console.log(JSON.stringify(result));
else print(results);
for (const { name, ratio } of results.filter((r) => options.check && r.compute && r.ratio < REQUIRED_RATIO)) {
  process.stderr.write(
    `bench: ${name}: the JIT is only ${ratio.toFixed(1)} times as fast as the interpreter\n`,
  );
  process.exitCode = 1;
}
