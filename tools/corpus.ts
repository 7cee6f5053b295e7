/**
 * npm run corpus -- DIRECTORY: every program of every object in a directory goes to the embedded kernel and, with --linux, to the
 * kernel of this machine (root), and the verdicts are compared. Objects that need types of a kernel (CO-RE) get those of
 * --btf. With --run, programs that load are run on the same packets by interpreter, JIT and Linux. Ends with `agree N of M`.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, statSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, relative } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { Command } from 'commander';
import { parseBtf } from '../src/btf/index.ts';
import type { Kernel } from '../src/contracts/kernel.ts';
import { createHostKernel } from '../src/host/index.ts';
import { EmbeddedKernel } from '../src/kernel/index.ts';
import type { BpfError } from '../src/util/index.ts';
import { compareRuns, type LinuxMachine } from './corpus/runs.ts';
import { loadVerdicts, type ObjectVerdicts, type Verdict } from './corpus/verdicts.ts';

interface Options {
  readonly linux?: boolean;
  readonly run?: boolean;
  readonly json?: boolean;
  readonly only?: string;
  readonly btf: string;
  readonly kconfig: string;
  readonly shard?: string;
  readonly log?: boolean;
}

interface ProgramRecord {
  readonly object: string;
  readonly program: string;
  readonly section: string;
  readonly type: string;
  readonly ours: Omit<Verdict, 'log'>;
  readonly linux?: Omit<Verdict, 'log'>;
  readonly agree: boolean;
}

function* objectFiles(directory: string): Generator<string> {
  for (const name of readdirSync(directory).sort()) {
    const path = join(directory, name);
    if (statSync(path).isDirectory()) yield* objectFiles(path);
    else if (name.endsWith('.o') || name.endsWith('.elf')) yield path;
  }
}

function withoutLog({ log: _, ...verdict }: Verdict): Omit<Verdict, 'log'> {
  return verdict;
}

/** A program that the loader did not bring to PROG_LOAD is no question to the verifier. */
const verified = (v: Verdict): boolean => v.verdict === 'accept' || v.verdict === 'reject';

/** A machine may forbid even root what the kernel would allow: that is no verdict on the program. */
const comparable = (linux: Pick<Verdict, 'verdict' | 'errno'>): boolean =>
  linux.verdict !== 'refused' || linux.errno !== 'EPERM';

class Tally {
  objects = 0;
  programs = 0;
  compared = 0;
  agree = 0;
  readonly differing = { errno: 0, message: 0, insns: 0 };
  readonly byType = new Map<string, { agree: number; of: number }>();
  readonly blocked = new Map<string, number>();
  readonly loader = new Map<string, number>();
  readonly objectErrors = new Map<string, number>();
  readonly notAsked = new Map<string, number>();
  readonly slow: { name: string; milliseconds: number; insns: number; linux: number }[] = [];
  runs = 0;
  runsEqual = 0;

  count(table: Map<string, number>, key: string): void {
    table.set(key, (table.get(key) ?? 0) + 1);
  }

  add(record: ProgramRecord): void {
    const { ours, linux } = record;
    this.programs++;
    if (ours.blocked !== undefined)
      this.count(this.blocked, ours.blocked.replace(/^.*instruction \d+: /, ''));
    if (ours.verdict === 'loader') this.count(this.loader, ours.message.replace(/^program '[^']*' /, ''));
    this.slow.push({
      name: `${record.object} ${record.program}`,
      milliseconds: ours.milliseconds,
      insns: ours.insns ?? 0,
      linux: linux?.milliseconds ?? 0,
    });
    if (linux === undefined || ours.verdict === 'loader') return;
    if (!comparable(linux)) {
      this.count(this.notAsked, `${linux.errno} ${record.section.split('/')[0]}`);
      return;
    }
    this.compared++;
    const row = this.byType.get(record.type) ?? { agree: 0, of: 0 };
    this.byType.set(record.type, row);
    row.of++;
    if (!record.agree) return;
    row.agree++;
    this.agree++;
    if (ours.errno !== linux.errno) this.differing.errno++;
    if (ours.message !== linux.message) this.differing.message++;
    if (ours.insns !== linux.insns) this.differing.insns++;
  }

  print(): void {
    const top = (title: string, table: Map<string, number>): void => {
      if (table.size === 0) return;
      console.log(`\n${title}`);
      for (const [key, count] of [...table].sort((a, b) => b[1] - a[1]).slice(0, 40))
        console.log(`${String(count).padStart(6)}  ${key}`);
    };
    top('objects that were not loaded', this.objectErrors);
    top('programs that the loader refuses', this.loader);
    top('programs that this machine does not let anybody load', this.notAsked);
    top('programs that are verified, but cannot run here', this.blocked);
    console.log('\nslowest');
    for (const { name, milliseconds, insns, linux } of this.slow
      .sort((a, b) => b.milliseconds - a.milliseconds)
      .slice(0, 12)) {
      const rate = Math.round(insns / (milliseconds / 1000));
      console.log(
        `${milliseconds.toFixed(0).padStart(7)} ms (Linux ${linux.toFixed(0)} ms) ${insns} insns, ${rate}/s  ${name}`,
      );
    }
    console.log('\nby type');
    for (const [type, { agree, of }] of [...this.byType].sort((a, b) => b[1].of - a[1].of))
      console.log(`${String(agree).padStart(6)} of ${String(of).padEnd(6)} ${type}`);
    const { errno, message, insns } = this.differing;
    console.log(`\n${this.objects} objects, ${this.programs} programs`);
    console.log(`of the agreeing ones differ: errno ${errno}, message ${message}, insns processed ${insns}`);
    if (this.runs > 0) console.log(`runs: ${this.runsEqual} of ${this.runs} programs equal`);
  }
}

const describe = (v: Omit<Verdict, 'log'> | undefined): string =>
  v === undefined ? '' : `${v.verdict} ${v.errno} after ${v.insns ?? '?'} insns: ${v.blocked ?? v.message}`;

const describeError = (error: BpfError | undefined): string | undefined =>
  error === undefined ? undefined : `${error.code} ${error.message.split('\n')[0]}`;

function agree(ours: Verdict, linux: Verdict | undefined): boolean {
  if (linux === undefined || !comparable(linux)) return true;
  if (verified(ours) !== verified(linux)) return false;
  return ours.verdict === linux.verdict && (verified(ours) || ours.errno === linux.errno);
}

async function main(directory: string, options: Options): Promise<void> {
  if (options.linux && process.env[APART] === undefined) return runApart();
  const btfBytes = existsSync(options.btf) ? new Uint8Array(readFileSync(options.btf)) : undefined;
  const kernelBtf = btfBytes === undefined ? undefined : parseBtf(btfBytes);
  const kconfig = readConfig(options.kconfig);
  const [part, parts] = (options.shard ?? '0/1').split('/').map(Number) as [number, number];
  const linux = options.linux ? await linuxMachine() : undefined;
  const tally = new Tally();
  const embedded = (): EmbeddedKernel =>
    new EmbeddedKernel({
      randomSeed: 1,
      onOops: () => undefined,
      possibleCpus: linux?.kernel.features().possibleCpus ?? 1,
      ...(kernelBtf === undefined ? {} : { kernelBtf }),
    });
  let index = 0;
  for (const file of objectFiles(directory)) {
    const name = relative(directory, file);
    if (index++ % parts !== part) continue;
    if (options.only !== undefined && !new RegExp(options.only).test(name)) continue;
    const bytes = new Uint8Array(readFileSync(file));
    const stem = basename(file);
    const loadOptions = { ...(kernelBtf === undefined ? {} : { kernelBtf }), kconfig };
    const load = (kernel: Kernel, pinRoot?: string): ObjectVerdicts =>
      loadVerdicts(bytes, stem, kernel, { ...loadOptions, ...(pinRoot === undefined ? {} : { pinRoot }) });
    tally.objects++;
    const kernel = embedded();
    const ours = load(kernel);
    const theirs = linux === undefined ? undefined : load(linux.kernel, linux.bpffs);
    if (ours.error !== undefined || theirs?.error !== undefined) {
      const same = ours.error?.code === theirs?.error?.code;
      const reason = (describeError(ours.error) ?? `only Linux: ${describeError(theirs?.error)}`).split(
        '\n',
      )[0]!;
      tally.count(
        tally.objectErrors,
        `${reason}${same || theirs === undefined ? '' : ` (Linux: ${describeError(theirs.error) ?? 'loads it'})`}`,
      );
      if (options.json)
        console.log(
          JSON.stringify({
            object: name,
            error: ours.error?.message,
            linuxError: theirs?.error?.message,
            agree: same,
          }),
        );
      else if (!same)
        console.log(`${name}: ${reason}\n  linux: ${describeError(theirs?.error) ?? 'loads it'}`);
    }
    for (const program of ours.object?.programs ?? []) {
      const mine = ours.programs.get(program.name)!;
      const other = theirs?.programs.get(program.name);
      const record: ProgramRecord = {
        object: name,
        program: program.name,
        section: program.spec.section,
        type: program.spec.progType ?? '?',
        ours: withoutLog(mine),
        ...(other === undefined ? {} : { linux: withoutLog(other) }),
        agree: agree(mine, other),
      };
      tally.add(record);
      if (options.json) console.log(JSON.stringify(record));
      else if (!record.agree) {
        console.log(`${name} ${program.name} [${program.spec.section}]`);
        console.log(`  ours:  ${describe(record.ours)}`);
        console.log(`  linux: ${describe(record.linux)}`);
      }
      if (options.log) console.log(mine.log);
    }
    ours.object?.close();
    kernel.shutdown();
    theirs?.object?.close();
    if (linux !== undefined) clean(linux);
    if (options.run) {
      const { programs, equal, differences } = compareRuns(bytes, stem, embedded, linux, loadOptions);
      tally.runs += programs;
      tally.runsEqual += equal;
      for (const text of differences)
        console.log(options.json ? JSON.stringify({ object: name, run: text }) : `${name} ${text}`);
      if (linux !== undefined) clean(linux);
    }
  }
  linux?.kernel.shutdown();
  if (!options.json) tally.print();
  console.log(`agree ${tally.agree} of ${tally.compared}`);
  if (tally.agree !== tally.compared) process.exitCode = 1;
}

/** The kernel's configuration: option → value as written. */
function readConfig(file: string): ReadonlyMap<string, string> {
  if (!existsSync(file)) return new Map();
  const bytes = readFileSync(file);
  const text = (file.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString();
  return new Map([...text.matchAll(/^(CONFIG_\w+)=(.*)$/gm)].map(([, name, value]) => [name, value]));
}

/** Set in the process that runs in namespaces of its own. */
const APART = 'TSBPF_CORPUS_APART';

/** Once more in network and mount namespaces of our own: programs that send or pin meet nobody. */
function runApart(): void {
  const again = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const { status, error } = spawnSync('unshare', ['--net', '--mount', ...again], {
    stdio: 'inherit',
    env: { ...process.env, [APART]: '1' },
  });
  if (error !== undefined) throw error;
  process.exitCode = status ?? 1;
}

/** The kernel of this machine, with a bpffs that goes with the process. */
async function linuxMachine(): Promise<LinuxMachine> {
  const bpffs = mkdtempSync(join(tmpdir(), 'tsbpf-corpus-'));
  process.on('exit', () => spawnSync('sh', ['-c', 'umount "$0"; rmdir "$0"', bpffs]));
  execFileSync('mount', ['-t', 'bpf', 'bpf', bpffs]);
  return { kernel: await createHostKernel(), bpffs };
}

/** What objects have pinned; the rest of a bpffs is the kernel's. */
function clean({ bpffs }: LinuxMachine): void {
  for (const name of readdirSync(bpffs)) if (!name.endsWith('.debug')) unlinkSync(join(bpffs, name));
}

await new Command('corpus')
  .description('verdicts on the programs of a directory of objects, compared with Linux')
  .argument('<directory>', 'objects (*.o, *.elf), searched recursively')
  .option('--linux', 'load the programs into the kernel of this machine too (root)')
  .option('--run', 'run what loads, on the same packets')
  .option('--json', 'one record a program')
  .option('--only <regexp>', 'only files whose path matches')
  .option('--log', 'print the verifier log of each program')
  .option('--shard <i/n>', 'every n-th object, beginning with the i-th')
  .option('--btf <file>', 'BTF of the kernel', '/sys/kernel/btf/vmlinux')
  .option('--kconfig <file>', "the kernel's configuration", '/proc/config.gz')
  .action(main)
  .parseAsync();
