/**
 * `npm run compile:random -- COUNT [--seed N] [--seconds N] [--host] [--json]`: random C programs through clang-19 and through our compiler, run on equal
 * packets in the embedded kernel and, with `--host`, in the Linux of this machine. The four instruction sets take turns. Ends with 1
 * where a result differs; the seed then makes the program again.
 */
import process from 'node:process';
import { parseArgs } from 'node:util';
import type { Kernel } from '../src/contracts/kernel.ts';
import { openKernel } from '../src/open-kernel.ts';
import { generateProgram } from '../test/compiler/differential/generate.ts';
import { type Cpu, compileWithClang, compileWithOurs, observe } from '../test/compiler/differential/run.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: 'string', default: '1' },
    seconds: { type: 'string', default: '1000000' },
    host: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
const count = Number(positionals[0] ?? 1000);
const first = Number(values.seed);
const host: Kernel | undefined = values.host ? (await openKernel({ kernel: 'host' })).kernel : undefined;

const totals = { programs: 0, refusedFromClang: 0, runs: 0, hostRuns: 0, different: 0, instructionRatio: 1 };
const differences: { seed: number; cpu: Cpu; kernel: string; what: string }[] = [];
let logRatio = 0;

const end = Date.now() + Number(values.seconds) * 1000;
for (let at = 0; at < count && Date.now() < end; at++) {
  const seed = first + at;
  const cpu = ((seed % 4) + 1) as Cpu;
  const text = generateProgram(seed, { signedDivision: cpu >= 4 });
  try {
    const theirs = compileWithClang(text, cpu);
    const ours = compileWithOurs(text, cpu, false);
    compare(seed, cpu, theirs, ours, undefined);
    if (host !== undefined) compare(seed, cpu, theirs, ours, host);
  } catch (error) {
    report(seed, cpu, 'compiler', (error as Error).message);
  }
  totals.programs++;
  if (process.stderr.isTTY && totals.programs % 10 === 0)
    process.stderr.write(`\r${totals.programs} of ${count}, ${totals.different} differ `);
}
host?.shutdown();
totals.instructionRatio = Math.exp(logRatio / Math.max(1, totals.programs - totals.refusedFromClang));
if (values.json) console.log(JSON.stringify({ ...totals, differences }));
else console.log(totals);
process.exitCode = totals.different === 0 ? 0 : 1;

function compare(
  seed: number,
  cpu: Cpu,
  theirs: Uint8Array,
  ours: Uint8Array,
  kernel: Kernel | undefined,
): void {
  const name = kernel === undefined ? 'embedded' : 'host';
  const expected = observe(theirs, seed, 4, kernel);
  if ('refused' in expected) {
    // Clang's object is what the kernel refuses now and then: too complex.
    if (kernel === undefined) totals.refusedFromClang++;
    return;
  }
  const got = observe(ours, seed, 4, kernel);
  if ('refused' in got) {
    report(seed, cpu, name, got.refused.slice(-600));
    return;
  }
  if (got.runs.join() !== expected.runs.join())
    report(seed, cpu, name, `${got.runs.join(', ')}; with clang ${expected.runs.join(', ')}`);
  if (kernel === undefined) logRatio += Math.log(got.insns / expected.insns);
  if (kernel === undefined) totals.runs += got.runs.length;
  else totals.hostRuns += got.runs.length;
}

function report(seed: number, cpu: Cpu, kernel: string, what: string): void {
  totals.different++;
  differences.push({ seed, cpu, kernel, what });
  if (!values.json) console.log(`seed ${seed}, -mcpu=v${cpu}, ${kernel}: ${what}`);
}
