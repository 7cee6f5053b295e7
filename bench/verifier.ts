/**
 * npm run bench:verifier -- [OBJECT…]: how long our verifier takes over programs, and Linux (root) over the same ones, in turns in
 * one run. Without objects: the programs of verifier-programs.ts. The time is each verifier's own ("verification time N usec");
 * programs count that both verifiers judged. `first` is the first round, in a process that has verified nothing yet.
 */
import { existsSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import CliTable from 'cli-table3';
import { Command } from 'commander';
import { type Btf, parseBtf } from '../src/btf/index.ts';
import type { Kernel } from '../src/contracts/kernel.ts';
import { createHostKernel, whyNoHostKernel } from '../src/host/index.ts';
import { EmbeddedKernel } from '../src/kernel/index.ts';
import { loadVerdicts } from '../tools/corpus/verdicts.ts';
import { median } from './harness.ts';
import { HEAVY_PROGRAMS, loadHeavy } from './verifier-programs.ts';

interface Options {
  readonly rounds: string;
  readonly top?: string;
  readonly btf: string;
  readonly linux: boolean;
  readonly json?: boolean;
}

/** What one verifier did to one program. */
interface Verification {
  readonly insns: number;
  readonly ms: number;
}

/** By name of program. */
type Verifications = Map<string, Verification>;

interface Subject {
  readonly name: string;
  verify(kernel: Kernel): Verifications;
}

interface Result {
  readonly name: string;
  readonly programs: number;
  readonly insns: number;
  /** Milliseconds of each round. */
  readonly ours: readonly number[];
  readonly linux: readonly number[];
}

function readStatistics(log: string): Verification | undefined {
  const time = /verification time (\d+) usec/.exec(log);
  const processed = /^processed (\d+) insns/m.exec(log);
  if (time === null || processed === null) return undefined;
  return { insns: Number(processed[1]), ms: Number(time[1]) / 1000 };
}

function add(to: Verifications, name: string, log: string): void {
  const found = readStatistics(log);
  if (found !== undefined) to.set(name, found);
}

function heavySubjects(): Subject[] {
  return HEAVY_PROGRAMS.map((program) => ({
    name: program.name,
    verify(kernel) {
      const found: Verifications = new Map();
      loadHeavy(program, kernel, (log) => add(found, program.name, log));
      return found;
    },
  }));
}

function objectSubjects(files: readonly string[], kernelBtf: Btf | undefined): Subject[] {
  return files.map((file) => {
    const bytes = new Uint8Array(readFileSync(file));
    const name = basename(file);
    return {
      name,
      verify(kernel) {
        const { error, programs, object } = loadVerdicts(
          bytes,
          name,
          kernel,
          kernelBtf === undefined ? {} : { kernelBtf },
        );
        object?.close();
        if (error !== undefined) throw error;
        const found: Verifications = new Map();
        for (const [program, verdict] of programs) add(found, program, verdict.log);
        return found;
      },
    };
  });
}

let peakHeap = 0;

function measure(subject: Subject, kernels: readonly Kernel[], rounds: number): Result {
  const times = kernels.map((): number[] => []);
  let programs = 0;
  let insns = 0;
  for (let round = 0; round < rounds; round++) {
    const [ours, linux] = kernels.map((kernel) => {
      const found = subject.verify(kernel);
      peakHeap = Math.max(peakHeap, process.memoryUsage().heapUsed);
      return found;
    });
    // Only what both processed in the same way: a kernel without a function that a program calls stops early.
    const both = [...ours!].filter(([name, mine]) => {
      const other = linux?.get(name);
      if (linux === undefined || other === undefined) return linux === undefined;
      if (mine.insns === other.insns) return true;
      if (round === 0)
        process.stderr.write(
          `${subject.name} ${name}: ${mine.insns} insns, Linux ${other.insns}: left out\n`,
        );
      return false;
    });
    programs = both.length;
    insns = both.reduce((sum, [, { insns: n }]) => sum + n, 0);
    times[0]!.push(both.reduce((sum, [, { ms }]) => sum + ms, 0));
    times[1]?.push(both.reduce((sum, [name]) => sum + linux!.get(name)!.ms, 0));
  }
  return { name: subject.name, programs, insns, ours: times[0]!, linux: times[1] ?? [] };
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

function print(results: readonly Result[], withLinux: boolean): void {
  const table = new CliTable({
    head: ['', 'programs', 'insns', 'first ms', 'ms', 'ns/insn', ...(withLinux ? ['Linux ms', 'ratio'] : [])],
    colAligns: ['left', ...new Array<'right'>(withLinux ? 7 : 5).fill('right')],
    style: { head: [], border: [] },
  });
  const row = (name: string, programs: number, insns: number, first: number, ms: number, linux: number) =>
    table.push([
      name,
      programs,
      insns,
      first.toFixed(1),
      ms.toFixed(1),
      ((ms * 1e6) / insns).toFixed(0),
      ...(withLinux ? [linux.toFixed(1), `${(ms / linux).toFixed(2)}x`] : []),
    ]);
  for (const r of results) {
    row(r.name, r.programs, r.insns, r.ours[0]!, median(r.ours), withLinux ? median(r.linux) : 0);
  }
  row(
    'total',
    sum(results.map((r) => r.programs)),
    sum(results.map((r) => r.insns)),
    sum(results.map((r) => r.ours[0]!)),
    sum(results.map((r) => median(r.ours))),
    withLinux ? sum(results.map((r) => median(r.linux))) : 0,
  );
  console.log(table.toString());
  const mb = (bytes: number) => `${Math.round(bytes / 2 ** 20)} MB`;
  console.log(`peak heap ${mb(peakHeap)}, peak resident ${mb(process.resourceUsage().maxRSS * 1024)}`);
}

async function main(files: readonly string[], options: Options): Promise<void> {
  const rounds = Number(options.rounds);
  const kernelBtf = existsSync(options.btf) ? parseBtf(new Uint8Array(readFileSync(options.btf))) : undefined;
  const ours = new EmbeddedKernel({
    onOops: () => undefined,
    ...(kernelBtf === undefined ? {} : { kernelBtf }),
  });
  // Programs are verified, not run.
  ours.simulator.setSysctl('net.core.bpf_jit_enable', 0);
  const why = options.linux ? await whyNoHostKernel() : 'not asked for';
  const host = why === null ? await createHostKernel() : undefined;
  if (why !== null && options.linux) process.stderr.write(`without Linux: ${why}\n`);
  const kernels = host === undefined ? [ours] : [ours, host];
  const subjects = files.length === 0 ? heavySubjects() : objectSubjects(files, kernelBtf);
  let results = subjects.map((subject) => measure(subject, kernels, rounds));
  if (options.top !== undefined)
    results = results.sort((a, b) => b.insns - a.insns).slice(0, Number(options.top));
  ours.shutdown();
  host?.shutdown();
  if (!options.json) return print(results, host !== undefined);
  for (const r of results) console.log(JSON.stringify(r));
  console.log(JSON.stringify({ peakHeap, peakResident: process.resourceUsage().maxRSS * 1024 }));
}

await new Command('bench:verifier')
  .description('time that the verifier takes, beside Linux (root)')
  .argument('[objects...]', 'objects; without any: programs made here')
  .option('--rounds <n>', 'times that each is verified; the median counts', '3')
  .option('--top <n>', 'of the objects, those with the most instructions processed')
  .option('--btf <file>', "the kernel's types, for CO-RE", '/sys/kernel/btf/vmlinux')
  .option('--no-linux', 'only ours')
  .option('--json', 'one record an object, and one with the memory')
  .action(main)
  .parseAsync();
