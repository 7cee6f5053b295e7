/**
 * npm run bench:kernel: the same programs, map operations and ring buffers on this machine's Linux (its JIT, PROG_TEST_RUN; root) and
 * on the embedded kernel (its JIT, its interpreter), in turns in one run: medians and ratios. --write FILE makes a page of it.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { Command } from 'commander';
import type { Fd, Kernel } from '../src/contracts/kernel.ts';
import { createHostKernel, whyNoHostKernel } from '../src/host/index.ts';
import { EmbeddedKernel } from '../src/kernel/index.ts';
import { BpfObject } from '../src/libbpf/index.ts';
import { type HarnessOptions, measure, type Subject } from './harness.ts';
import { mapSubjects } from './map-operations.ts';
import { benchPacket } from './packet.ts';
import { BENCH_PROGRAMS } from './programs.ts';
import { markdown, printTables, type Row, type Table } from './report.ts';
import { ringSubjects } from './ring-buffer.ts';

/** Columns of every table; the first one is what the others are compared with. */
const SIDES = ['kernel', 'jit', 'interpreter'] as const;
type SideName = (typeof SIDES)[number];
/** User space sees no engine: maps and rings are measured once an embedded kernel. */
const KERNELS = ['kernel', 'jit'] as const;

interface Measured {
  readonly name: string;
  /** File below bench/objects or examples/objects. */
  readonly path: string;
  readonly returns?: number;
  readonly perCpu?: true;
}

const PROGRAMS: readonly Measured[] = [
  ...BENCH_PROGRAMS.map(({ object, ...program }) => ({
    ...program,
    path: `../bench/objects/${object}.bpf.o`,
  })),
  { name: 'xdp_filter', path: '../examples/objects/xdp_filter.bpf.o' },
  { name: 'first_bytes', path: '../examples/objects/socket_sizes.bpf.o' },
];

function embedded(jit: 0 | 1): EmbeddedKernel {
  const kernel = new EmbeddedKernel();
  kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
  return kernel;
}

/** What is measured must be the same on all sides. */
function checkedRun(
  kernel: Kernel,
  progFd: Fd,
  program: Measured,
  side: SideName,
  seen: Map<string, number>,
): void {
  const { retval } = kernel.progTestRun({ progFd, dataIn: benchPacket(), repeat: 3 });
  const expected = program.returns === undefined ? seen.get(program.name) : program.returns >>> 0;
  seen.set(program.name, retval);
  if (program.perCpu || expected === undefined || expected === retval) return;
  process.stderr.write(`bench: ${program.name} returned ${retval} on ${side}, not ${expected}\n`);
  process.exitCode = 1;
}

function programSubjects(
  kernels: Readonly<Record<SideName, Kernel>>,
  programs: readonly Measured[],
): Subject[] {
  const subjects: Subject[] = [];
  const seen = new Map<string, number>();
  const dataIn = benchPacket();
  for (const side of SIDES) {
    const kernel = kernels[side];
    const objects = new Map<string, BpfObject>();
    for (const program of programs) {
      let object = objects.get(program.path);
      if (object === undefined) {
        object = BpfObject.open(readFileSync(new URL(program.path, import.meta.url))).load(kernel);
        objects.set(program.path, object);
      }
      const { fd } = object.findProgram(program.name);
      checkedRun(kernel, fd, program, side, seen);
      subjects.push({
        name: `${program.name} ${side}`,
        run: (repeat) => {
          const { duration } = kernel.progTestRun({ progFd: fd, dataIn, repeat });
          return side === 'kernel' ? (duration * repeat) / 1e6 : undefined;
        },
      });
    }
  }
  return subjects;
}

function tableOf(
  title: string,
  unit: Table['unit'],
  sides: readonly SideName[],
  names: readonly string[],
  times: ReadonlyMap<string, number>,
): Table {
  const rows = names.map((name): Row => {
    const values = Object.fromEntries(sides.map((side) => [side, times.get(`${name} ${side}`)!]));
    return { name, values };
  });
  return { title, unit, sides, rows };
}

function run(options: HarnessOptions & { readonly only?: string }, host: Kernel): Table[] {
  const kernels = { kernel: host, jit: embedded(1), interpreter: embedded(0) };
  const wanted = (name: string) => options.only === undefined || name.includes(options.only);
  const programs = PROGRAMS.filter(({ name }) => wanted(name));
  const user = KERNELS.flatMap((side) => [
    ...mapSubjects(kernels[side], side),
    ...ringSubjects(kernels[side], side),
  ]).filter(({ name }) => wanted(name));
  const times = measure([...programSubjects(kernels, programs), ...user], options);
  const userNames = [...new Set(user.map(({ name }) => name.slice(0, name.lastIndexOf(' '))))];
  const isRing = (name: string) => name.startsWith('ring');
  const tables = [
    tableOf(
      'Programs, nanoseconds a run',
      'ns',
      SIDES,
      programs.map(({ name }) => name),
      times,
    ),
    tableOf(
      'Map operations from user space, nanoseconds each',
      'ns',
      KERNELS,
      userNames.filter((n) => !isRing(n)),
      times,
    ),
    tableOf('Ring buffer, events a second', 'events/s', KERNELS, userNames.filter(isRing), times),
  ];
  kernels.jit.shutdown();
  kernels.interpreter.shutdown();
  return tables.filter(({ rows }) => rows.length > 0);
}

const command = new Command('bench:kernel')
  .description("the embedded kernel beside this machine's Linux (root)")
  .option('--only <text>', 'what has the text in its name')
  .option('--rounds <n>', 'samples of each', '7')
  .option('--sample <ms>', 'length of a sample in milliseconds', '20')
  .option('--json', 'one record a row')
  .option('--write <file>', 'a page with the tables, the machine and its kernel')
  .parse();
const options = command.opts<{
  only?: string;
  rounds: string;
  sample: string;
  json?: boolean;
  write?: string;
}>();

function positive(text: string, option: string): number {
  const value = Number(text);
  if (value > 0 && Number.isFinite(value)) return value;
  return command.error(`error: ${option} ${text}: give a positive number`, { exitCode: 2 });
}

const why = await whyNoHostKernel();
if (why !== null) {
  process.stderr.write(`bench:kernel is not possible here: ${why}\n`);
  process.exitCode = 2;
} else {
  const host = await createHostKernel();
  const { only } = options;
  const tables = run(
    {
      rounds: Math.round(positive(options.rounds, '--rounds')),
      sampleMs: positive(options.sample, '--sample'),
      ...(only === undefined ? {} : { only }),
    },
    host,
  );
  host.shutdown();
  if (options.json) {
    for (const { title, unit, rows } of tables)
      for (const { name, values } of rows)
        console.log(JSON.stringify({ table: title, name, unit, ...values }));
  } else printTables(tables);
  if (options.write !== undefined) writeFileSync(options.write, markdown(tables));
}
