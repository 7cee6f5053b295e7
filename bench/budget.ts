/**
 * npm run bench:budget: what a run's budget costs compiled programs. Every program with and without the checks, in turns in one
 * process: nanoseconds a run and the ratio.
 */
import Table from 'cli-table3';
import { Command } from 'commander';
import { measure, processorTime, type Subject } from './harness.ts';
import { loadObject } from './load.ts';
import { benchPacket } from './packet.ts';
import { BENCH_PROGRAMS } from './programs.ts';

/** Never reached. */
const BUDGET = 2 ** 30;

const command = new Command('bench:budget')
  .description("what a run's budget costs compiled programs")
  .option('--rounds <n>', 'samples of each', '15')
  .option('--sample <ms>', 'length of a sample in milliseconds', '20')
  .option('--json', 'one record a program')
  .parse();
const options = command.opts<{ rounds: string; sample: string; json?: true }>();

const dataIn = benchPacket();
const sides = [
  ['without', undefined],
  ['with', BUDGET],
] as const;
const objects = new Map<string, ReturnType<typeof loadObject>>();
for (const object of new Set(BENCH_PROGRAMS.map((program) => program.object)))
  for (const [side, budget] of sides) objects.set(`${object} ${side}`, loadObject(object, 'jit', budget));
// A program's two sides follow one another, so that a busy moment of the machine hits both.
const subjects: Subject[] = [];
for (const program of BENCH_PROGRAMS) {
  for (const [side] of sides) {
    const handle = objects.get(`${program.object} ${side}`)!.program(program.name);
    const { retval } = handle.testRun({ dataIn, repeat: 3 });
    if (retval !== program.returns >>> 0)
      throw new Error(`${program.name} returned ${retval}, not ${program.returns}`);
    subjects.push({ name: `${program.name} ${side}`, run: (repeat) => handle.testRun({ dataIn, repeat }) });
  }
}
const times = measure(subjects, {
  rounds: Number(options.rounds),
  sampleMs: Number(options.sample),
  clock: processorTime,
});
const table = new Table({
  head: ['program', 'without, ns', 'with, ns', 'ratio'],
  style: { head: [], border: [] },
});
let logs = 0;
for (const { name } of BENCH_PROGRAMS) {
  const without = times.get(`${name} without`)!;
  const budgeted = times.get(`${name} with`)!;
  logs += Math.log(budgeted / without);
  if (options.json) console.log(JSON.stringify({ name, without, with: budgeted, ratio: budgeted / without }));
  table.push([name, without.toFixed(1), budgeted.toFixed(1), `${(budgeted / without).toFixed(3)}x`]);
}
if (!options.json) {
  console.log(table.toString());
  console.log(`geometric mean: ${Math.exp(logs / BENCH_PROGRAMS.length).toFixed(3)}x`);
}
