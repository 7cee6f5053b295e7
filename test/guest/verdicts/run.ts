/**
 * `tsx test/guest/verdicts/run.ts TABLE [--kernel 5.10,6.1,6.12] [--who root,nobody] [--out DIR]`: loads the programs of a table (rows as
 * those of `npm run conformance -- verifier`, map-kinds.json beside it) in guests with other kernels, each under several
 * sets of capabilities, and compares the answers with our verifier's for that release and those capabilities. With --recorded
 * the answers that an earlier run left in --out are used, without a guest. Ends with status 1 where a program is accepted
 * that the kernel refuses.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { Command } from 'commander';
import { type Btf, parseBtf } from '../../../src/btf/index.ts';
import { NoGuest } from '../packages.ts';
import { compareVerdicts, printComparison } from './compare.ts';
import { guestVerdicts, type VerdictRun } from './guest.ts';
import { type VerdictCase, WHO, type Who } from './protocol.ts';

function typesOf({ types }: VerdictRun): Btf | undefined {
  return types === undefined ? undefined : parseBtf(gunzipSync(Buffer.from(types, 'base64')));
}

const command = new Command('verdicts')
  .argument('<table>', 'JSON lines of programs; map-kinds.json lies beside')
  .option('--kernel <releases>', 'kernels to boot, separated by commas', '6.1')
  .option(
    '--who <names>',
    `separated by "/", of: ${Object.keys(WHO).join(' / ')}`,
    Object.keys(WHO).join('/'),
  )
  .option('--out <dir>', 'keep the answers here')
  .option('--recorded', 'use the answers in --out instead of a guest', false)
  .option('--differences', 'print every program on which the verdicts differ', false)
  .option('--only <id>', 'this program alone')
  .parse();
const options = command.opts<{
  kernel: string;
  who: string;
  out?: string;
  recorded: boolean;
  differences: boolean;
  only?: string;
}>();
const table = command.args[0]!;
const text = readFileSync(table, 'utf8');
const kinds = readFileSync(join(dirname(table), 'map-kinds.json'), 'utf8');
const cases = text
  .split('\n')
  .filter((line) => line !== '')
  .map((line) => JSON.parse(line) as VerdictCase);
const who = options.who.split('/') as Who[];

for (const kernel of options.kernel.split(',')) {
  const kept = options.out === undefined ? undefined : join(options.out, `verdicts-${kernel}.json`);
  let run: VerdictRun;
  try {
    if (options.recorded && kept !== undefined && existsSync(kept)) {
      run = JSON.parse(readFileSync(kept, 'utf8')) as VerdictRun;
    } else {
      // What another kernel said of them stays here.
      const lines = cases.map((test) => JSON.stringify({ ...test, kernel: undefined }));
      run = await guestVerdicts({ kernel, cases: lines.join('\n'), kinds, who, log: console.log });
      if (kept !== undefined) {
        mkdirSync(options.out!, { recursive: true });
        writeFileSync(kept, JSON.stringify(run));
      }
    }
  } catch (error) {
    if (!(error instanceof NoGuest)) throw error;
    console.log(`skipped: ${error.message}`);
    continue;
  }
  const verdicts = run.verdicts.filter((one) => who.includes(one.who));
  const comparison = compareVerdicts(kernel, cases, JSON.parse(kinds), verdicts, options.only, typesOf(run));
  printComparison(run.release, comparison, options.differences);
  if (comparison.some((row) => row.ours.accepted && row.theirs.errno !== 0)) process.exitCode = 1;
}
