/**
 * Table of programs with the verdict of a real kernel: each is verified with maps of the kinds it asks for (map-kinds.json
 * beside the table). A case agrees where the verdict does; errno, message and instruction counts are compared and told.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Command } from 'commander';
import { ERRNO } from '../../src/util/index.ts';
import { conclude, readTable, type TableOptions } from './table.ts';
import { kernelBtf, type MapKind, runCase, type VerifierCase } from './verifier-case.ts';

interface Options extends TableOptions {
  readonly only?: string;
  readonly log?: string;
  readonly btf?: string;
  readonly strict?: boolean;
}

function runTable(file: string, options: Options): void {
  const cases = readTable<VerifierCase>(file);
  const kindsFile = join(dirname(file), 'map-kinds.json');
  const kinds = existsSync(kindsFile)
    ? (JSON.parse(readFileSync(kindsFile, 'utf8')) as Record<string, MapKind>)
    : {};
  const btf = kernelBtf(options.btf);
  const logLevel = Number(options.log ?? 0);
  let total = 0;
  let agreeing = 0;
  /** Refusals for memory safety that were not followed: never tolerated. */
  const unsafe: number[] = [];
  const differing = { errno: 0, message: 0, insns: 0 };
  for (const test of cases) {
    if (options.only !== undefined && String(test.id) !== options.only && test.name !== options.only)
      continue;
    total++;
    const result = runCase(test, kinds, logLevel, btf);
    const errno = result.verdict === 'accept' ? 0 : ERRNO[result.errno];
    const message = result.verdict === 'accept' ? '' : result.message;
    const insns = result.stats.insnsProcessed;
    const { kernel } = test;
    const agree = result.verdict === kernel.verdict;
    if (agree) agreeing++;
    else if (result.verdict === 'accept' && kernel.errno === ERRNO.EACCES) unsafe.push(test.id);
    const same = {
      errno: errno === kernel.errno,
      message: message === kernel.message.trim(),
      insns: insns === kernel.insnsProcessed,
    };
    if (agree) for (const key of ['errno', 'message', 'insns'] as const) if (!same[key]) differing[key]++;
    if (options.json) {
      const record = {
        id: test.id,
        name: test.name,
        verdict: result.verdict,
        errno,
        message,
        insnsProcessed: insns,
      };
      console.log(JSON.stringify({ ...record, kernel, agree, same }));
    } else if (!agree || (options.strict && !(same.errno && same.message && same.insns))) {
      console.log(`${test.id} ${test.name} [${test.progType}]`);
      console.log(`  ours:   ${result.verdict} ${errno} after ${insns} insns: ${message}`);
      console.log(
        `  kernel: ${kernel.verdict} ${kernel.errno} after ${kernel.insnsProcessed} insns: ${kernel.message}`,
      );
    }
    if (logLevel !== 0) console.log(result.log);
  }
  if (!options.json) {
    console.log(
      `of the agreeing ones differ: errno ${differing.errno}, message ${differing.message}, insns processed ${differing.insns}`,
    );
  }
  conclude(agreeing, total, options);
  if (unsafe.length > 0) {
    process.stderr.write(`accepted, but refused by the kernel with EACCES: ${unsafe.join(', ')}\n`);
    process.exitCode = 1;
  }
}

export function addVerifierCommand(program: Command): void {
  program
    .command('verifier')
    .description('verdicts of the verifier against those of a real kernel')
    .argument('<file>', 'table, one JSON record a line; map-kinds.json is read beside it')
    .option('--json', 'one record a case; the summary goes to standard error')
    .option('--require <percent>', 'cases that must agree', '100')
    .option('--strict', 'also print cases where errno, message or instruction count differ')
    .option('--only <case>', 'one case by id or name')
    .option('--log <level>', 'print the log of level 1, 2 or 4')
    .option('--btf <file>', "the kernel's BTF (default: that of this machine, if there is one)")
    .action((file: string, options: Options) => runTable(file, options));
}
