/**
 * `npm run compile:random -- COUNT [--seed N] [--seconds N] [--batch N] [--host] [--json]`: random C programs through clang-19 and through our
 * compiler, run on equal packets in the embedded kernel and, with `--host`, in the Linux of this machine. Programs go through the
 * compilers in batches, one source each; the four instruction sets take turns, and one batch in eight is XDP, the others tc.
 * Ends with 1 where a result differs or Linux refuses what it takes from clang; the seed then makes the program again (`--batch 1`).
 */
import process from 'node:process';
import { parseArgs } from 'node:util';
import type { Kernel } from '../src/contracts/kernel.ts';
import { EmbeddedKernel } from '../src/kernel/index.ts';
import { openKernel } from '../src/open-kernel.ts';
import { generateUnit } from '../test/compiler/differential/generate.ts';
import { type Cpu, compileWithOurs, observeAll, startClang } from '../test/compiler/differential/run.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: 'string', default: '1' },
    seconds: { type: 'string', default: '1000000' },
    batch: { type: 'string', default: '25' },
    runs: { type: 'string', default: '4' },
    host: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
const count = Number(positionals[0] ?? 1000);
const first = Number(values.seed);
const size = Number(values.batch);
const host: Kernel | undefined = values.host ? (await openKernel({ kernel: 'host' })).kernel : undefined;

const totals = { programs: 0, refusedFromClang: 0, runs: 0, hostRuns: 0, different: 0, instructionRatio: 1 };
const differences: { seed: number; cpu: Cpu; kernel: string; what: string }[] = [];
let logRatio = 0;
let compared = 0;

interface Batch {
  readonly seeds: ReadonlyMap<string, number>;
  readonly cpu: Cpu;
  readonly text: string;
  readonly theirs: Promise<Uint8Array>;
}

/** What a seed is compiled for does not depend on where a run begins: `size` seeds in a row go together. */
function batchAt(seed: number, last: number): Batch {
  const seeds: number[] = [];
  for (let one = seed; one < last && seeds.length < size; one++) seeds.push(one);
  const group = Math.floor(seed / 25);
  const cpu = ((group % 4) + 1) as Cpu;
  const section = (group >> 2) % 8 === 0 ? 'xdp' : 'tc';
  const text = generateUnit(seeds, { signedDivision: cpu >= 4, section });
  const theirs = startClang(text, cpu);
  theirs.catch(() => undefined);
  return { seeds: new Map(seeds.map((one) => [`prog_${one}`, one])), cpu, text, theirs };
}

const end = Date.now() + Number(values.seconds) * 1000;
const last = first + count;
let next: Batch | undefined = batchAt(first, last);
for (let seed = first; next !== undefined && Date.now() < end; ) {
  const batch: Batch = next;
  seed += batch.seeds.size;
  next = seed < last ? batchAt(seed, last) : undefined;
  await compareBatch(batch);
  if (process.stderr.isTTY)
    process.stderr.write(`\r${totals.programs} of ${count}, ${totals.different} differ `);
}
host?.shutdown();
totals.instructionRatio = Math.exp(logRatio / Math.max(1, compared));
if (values.json) console.log(JSON.stringify({ ...totals, differences }));
else console.log(totals);
process.exitCode = totals.different === 0 ? 0 : 1;

async function compareBatch({ seeds, cpu, text, theirs }: Batch): Promise<void> {
  totals.programs += seeds.size;
  try {
    const ours = compileWithOurs(text, cpu, false);
    const their = await theirs;
    const kernel = new EmbeddedKernel();
    try {
      compare(seeds, cpu, their, ours, kernel, 'embedded');
    } finally {
      kernel.shutdown();
    }
    if (host !== undefined) compare(seeds, cpu, their, ours, host, 'host');
  } catch (error) {
    report([...seeds.values()][0]!, cpu, 'compiler', (error as Error).message);
  }
}

function compare(
  seeds: ReadonlyMap<string, number>,
  cpu: Cpu,
  theirs: Uint8Array,
  ours: Uint8Array,
  kernel: Kernel,
  name: 'embedded' | 'host',
): void {
  const runs = Number(values.runs);
  const allExpected = observeAll(theirs, seeds, runs, kernel);
  const allGot = observeAll(ours, seeds, runs, kernel);
  for (const [program, seed] of seeds) {
    const expected = allExpected.get(program)!;
    const got = allGot.get(program);
    if ('refused' in expected) {
      // Clang's object is what the kernel refuses now and then: too complex.
      if (name === 'embedded') totals.refusedFromClang++;
      continue;
    }
    if (got === undefined || 'refused' in got) {
      report(seed, cpu, name, got === undefined ? 'there is no such program' : got.refused.slice(-600));
      continue;
    }
    if (got.runs.join() !== expected.runs.join())
      report(seed, cpu, name, `${got.runs.join(', ')}; with clang ${expected.runs.join(', ')}`);
    if (name === 'embedded') {
      logRatio += Math.log(got.insns / expected.insns);
      compared++;
      totals.runs += got.runs.length;
    } else totals.hostRuns += got.runs.length;
  }
}

function report(seed: number, cpu: Cpu, kernel: string, what: string): void {
  totals.different++;
  differences.push({ seed, cpu, kernel, what });
  if (!values.json) console.log(`seed ${seed}, -mcpu=v${cpu}, ${kernel}: ${what}`);
}
