/** `tsbpf run`: load, attach, feed packets or events, show what comes out. */
import { basename } from 'node:path';
import type { Command } from 'commander';
import {
  type Action,
  addTargetOptions,
  type CommandRow,
  cflagsOption,
  choiceOf,
  collect,
  engineOption,
  type KernelOptions,
  kernelOption,
  logOption,
  parseData,
  parseInteger,
  positive,
  programTypeOption,
  type Runner,
  readTarget,
  sysctlOption,
  type TargetOptions,
  withExamples,
} from '../command.ts';
import { EXIT, UsageError } from '../errors.ts';
import { toJson } from '../json.ts';
import type { EngineName, LoadedObject, ProgramReport } from '../load.ts';
import type { Output } from '../output.ts';
import { printRejected, verdictRecord } from '../rejection.ts';
import type { Measurement, MeasureOptions } from '../session/measure.ts';
import { outputJson, outputLine, type ProgramOutput } from '../session/output.ts';
import type { ScopeRequest } from '../session/scope.ts';
import { runSession, type SessionListener } from '../session/session.ts';
import { printSummary, summaryJson } from '../session/summary.ts';
import { parseAssignment } from '../values.ts';
import { logAtLevel } from '../verifier-stats.ts';

interface RunOptions extends TargetOptions, KernelOptions, MeasureOptions {
  readonly cflags?: string;
  readonly dialect?: string;
  readonly pcap?: string;
  readonly write?: string;
  readonly replay?: string;
  readonly engine?: EngineName;
  readonly sysctl?: ReadonlyMap<string, number>;
  readonly log: number;
  readonly program?: readonly string[];
  readonly interface?: string;
  readonly all?: boolean;
  readonly pid?: number;
  readonly map?: readonly string[];
  readonly set?: readonly string[];
  readonly type?: string;
  readonly progType?: string;
  readonly repeat: number;
  readonly duration?: number;
  readonly cpus: number;
  readonly data?: string;
  readonly json?: boolean;
}

const action: Action<[string, string[], RunOptions]> = async ({ env, out }, file, argv, options) => {
  if (options.write !== undefined && options.pcap === undefined)
    throw new UsageError('--write needs packets', 'give them with --pcap');
  if (options.data !== undefined && (options.pcap !== undefined || options.replay !== undefined))
    throw new UsageError('--data is for runs without --pcap and --replay');
  const scope = scopeOf(argv, options);
  const measurement = await measurementFor(options);
  const view = options.json
    ? new JsonView(out, options, measurement)
    : new TextView(out, options, measurement);
  const {
    data,
    program,
    set,
    dialect,
    cflags,
    btf: _btf,
    kconfig: _kconfig,
    kernel: _kernel,
    ...rest
  } = options;
  const summary = await runSession(
    env,
    out,
    {
      ...rest,
      ...(cflags === undefined && dialect === undefined ? {} : { cflags: flagsFor(cflags, dialect) }),
      ...choiceOf(kernelFor(options), out),
      ...(scope === undefined ? {} : { scope }),
      ...(measurement === undefined ? {} : { observer: measurement.observer }),
      target: readTarget(options),
      file,
      program: program ?? [],
      maps: options.map ?? [],
      set: (set ?? []).map(parseAssignment),
      ...(data === undefined ? {} : { data: parseData(data) }),
    },
    view,
  );
  if (summary === undefined) return EXIT.failed;
  try {
    // Names of maps that do not exist are said before anything else is written about the end.
    view.finish(summary);
    measurement?.write(basename(file));
  } finally {
    summary.loaded.close();
  }
  if (summary.packets.failure !== undefined) throw summary.packets.failure;
  return summary.oopses.length > 0 ? EXIT.failed : EXIT.ok;
};

function flagsFor(cflags = '', dialect?: string): string {
  return dialect === undefined ? cflags : `${cflags} --dialect=${dialect}`;
}

/** What measures is loaded where something is to be measured. */
async function measurementFor(options: RunOptions): Promise<Measurement | undefined> {
  const { coverage, profile, folded } = options;
  if (coverage === undefined && profile === undefined && folded === undefined) return undefined;
  return (await import('../session/measure.ts')).openMeasurement(options);
}

/** Whom tracing programs on the host kernel see. */
function scopeOf(argv: readonly string[], { kernel, all, pid }: RunOptions): ScopeRequest | undefined {
  const scopes: ScopeRequest[] = [];
  if (argv.length > 0) scopes.push({ kind: 'command', argv });
  if (pid !== undefined) scopes.push({ kind: 'process', pid });
  if (all) scopes.push({ kind: 'all' });
  if (scopes.length > 1) throw new UsageError('--all, --pid and a command exclude each other');
  if (scopes.length > 0 && kernel === 'embedded')
    throw new UsageError(
      '--all, --pid and commands are for the host kernel',
      'add --kernel host; the embedded kernel gets its events with --replay',
    );
  return scopes[0];
}

/** Recordings, the packets that pass and what is counted are for the embedded kernel, which `auto` may take. */
function kernelFor({ kernel, replay, write, coverage, profile, folded }: RunOptions): KernelOptions {
  const given = [replay, write, coverage, profile, folded].some((option) => option !== undefined);
  return { kernel: kernel === 'auto' && given ? 'embedded' : kernel };
}

type Summary = NonNullable<Awaited<ReturnType<typeof runSession>>>;

class TextView implements SessionListener {
  readonly #out: Output;
  readonly #options: RunOptions;
  readonly #measurement: Measurement | undefined;

  constructor(out: Output, options: RunOptions, measurement: Measurement | undefined) {
    this.#out = out;
    this.#options = options;
    this.#measurement = measurement;
  }

  rejected({ object, reports }: LoadedObject): void {
    for (const report of reports) if (report.error !== undefined) printRejected(this.#out, object, report);
  }

  log({ program }: ProgramReport): void {
    if (this.#options.log > 0) this.#out.write(logAtLevel(program.log, this.#options.log));
  }

  output = (output: ProgramOutput): void => this.#out.line(outputLine(this.#out, output));
  note = (text: string): void => this.#out.note(text);

  finish(summary: Summary): void {
    printSummary(this.#out, summary, this.#options.map ?? []);
    this.#measurement?.print(this.#out);
  }
}

/** One document, written as it grows: `output` has one line an element. */
class JsonView implements SessionListener {
  readonly #out: Output;
  readonly #options: RunOptions;
  readonly #measurement: Measurement | undefined;
  #count = 0;

  constructor(out: Output, options: RunOptions, measurement: Measurement | undefined) {
    this.#out = out;
    this.#options = options;
    this.#measurement = measurement;
  }

  rejected({ reports }: LoadedObject): void {
    const records = reports
      .filter(({ error }) => error !== undefined)
      .map((report) => verdictRecord(report, this.#options.log));
    this.#out.line(toJson({ rejected: records }));
  }

  log(): void {}

  output = (output: ProgramOutput): void => {
    this.#out.write(`${this.#count++ === 0 ? '{"output":[\n' : ',\n'}${outputJson(output)}`);
  };

  note = (text: string): void => this.#out.note(text);

  finish(summary: Summary): void {
    const rest = toJson({
      ...summaryJson(summary, this.#options.map ?? []),
      ...this.#measurement?.json(),
    });
    this.#out.line(`${this.#count === 0 ? '{"output":[' : '\n'}],\n${rest.slice(1)}`);
  }
}

function seconds(text: string): number {
  return parseInteger(text, 1, 1_000_000);
}

export const RUN: CommandRow = {
  name: 'run',
  declare(parent: Command, run: Runner): void {
    const command = parent
      .command('run')
      .summary('load an object and run its programs on packets or events, here or on the host kernel')
      .description(
        'Loads all programs of an object into a fresh kernel, attaches them as their sections say, feeds them packets or events, and shows what they print, send and count. Without input, programs that allow it are test-run on --data or zeros. With --kernel host the programs are loaded into the kernel of this machine and attached for real, until the command has ended or Ctrl-C: tracing programs to the events of a command, a process or (--all) everybody, XDP and tcx programs to --interface.',
      )
      .argument('<file>', 'object file, as clang -target bpf makes it, or a C file to compile')
      .addOption(cflagsOption())
      .option('--dialect <bcc|c>', 'what kind of C a C file is; default: as it looks')
      .argument(
        '[command...]',
        '--kernel host: behind --, a command to start and to trace, with its children',
      )
      .option('--pcap <file>', 'packets for XDP programs and socket filters: pcap or pcapng')
      .option('--write <file>', 'writes the packets that pass, as the programs left them, to a pcap file')
      .option(
        '--replay <file>',
        'events for tracing programs: what strace -f -ttt -o FILE, perf record or perf script wrote',
      )
      .option('--set <map:key=value>', 'sets a map entry before the run; may be repeated', collect)
      .option('--map <name>', 'shows this map, all of it; may be repeated', collect)
      .option('--program <name>', 'only this program; may be repeated', collect)
      .addOption(programTypeOption())
      .option('--interface <name>', 'name of the interface that receives the packets (embedded: eth0)')
      .addOption(kernelOption())
      .option('--pid <n>', '--kernel host: tracing programs see this process only', positive)
      .option('--all', '--kernel host: tracing programs see all processes of this machine')
      .option('--type <struct>', 'struct that ring and perf buffer records are')
      .option('--data <hex|@file>', 'packet or context for a run without input', undefined)
      .option('--repeat <n>', 'plays the input this many times', positive, 1)
      .option('--duration <seconds>', 'plays the input, or traces, until the time is over', seconds)
      .option(
        '--cpus <n>',
        'CPUs of the embedded kernel: each is a thread that takes its share of --pcap (up to 32), and has its values in per-CPU maps',
        (text) => parseInteger(text, 1, 256),
        1,
      )
      .option('--coverage <file>', 'counts lines, functions and branches: a table, and a trace file for lcov')
      .option('--profile', 'where instructions are spent: functions and C lines')
      .option('--folded <file>', 'writes call stacks with their instructions, for flame graphs')
      .addOption(engineOption())
      .addOption(sysctlOption())
      .addOption(logOption())
      .option('--json', 'one JSON document: output, programs, maps')
      .action(run(action));
    addTargetOptions(command);
    withExamples(command, [
      ['tsbpf run xdp_filter.bpf.o --pcap traffic.pcap --set blocked:10.66.0.0/16=1', 'filter packets'],
      ['tsbpf run exec_ringbuf.bpf.o --replay commands.strace', 'trace a recording of strace -f -ttt'],
      ['tsbpf run xdp_filter.bpf.o --pcap in.pcap --write out.pcap --json', 'for scripts'],
      ['tsbpf run prog.bpf.o --pcap in.pcap --coverage prog.info', 'then: genhtml prog.info'],
      ['tsbpf run hello.bpf.o --kernel host -- make', 'trace a command for real'],
      ['tsbpf run xdp_filter.bpf.o --kernel host --interface eth0', 'filter real packets until Ctrl-C'],
    ]);
  },
};
