/**
 * npm run bench:kernel: the same programs, map operations and ring buffers on this machine's Linux (its JIT, PROG_TEST_RUN; root) and
 * on the embedded kernel (its JIT, its interpreter), and the programs as native code of clang -O2 and on uBPF's JIT (--ubpf PATH), in
 * turns in one run: medians and ratios. --write FILE makes a page of it.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { Command } from 'commander';
import type { Kernel } from '../src/contracts/kernel.ts';
import { createHostKernel, whyNoHostKernel } from '../src/host/index.ts';
import { EmbeddedKernel } from '../src/kernel/index.ts';
import { BpfObject } from '../src/libbpf/index.ts';
import { type HarnessOptions, measure, processorTime, type Subject } from './harness.ts';
import { mapSubjects } from './map-operations.ts';
import { type NativeSides, openNativeSides } from './native.ts';
import { benchPacket } from './packet.ts';
import { BENCH_PROGRAMS, type BenchProgram } from './programs.ts';
import { markdown, printTables, type Row, type Table } from './report.ts';
import { ringSubjects } from './ring-buffer.ts';

/** Columns of every table; the first one is what the others are compared with. */
const SIDES = ['kernel', 'jit', 'native', 'ubpf', 'interpreter'] as const;
type SideName = (typeof SIDES)[number];
const ENGINES = ['kernel', 'jit', 'interpreter'] as const;
type EngineName = (typeof ENGINES)[number];
/** User space sees no engine: maps and rings are measured once an embedded kernel. */
const KERNELS = ['kernel', 'jit'] as const;

/** Without `object`: a program of examples/objects, whose results the engines are compared by. */
interface Measured extends Pick<BenchProgram, 'name' | 'group' | 'perCpu' | 'native'> {
  readonly path: string;
  readonly object?: string;
  readonly returns?: number;
}

const PROGRAMS: readonly Measured[] = [
  ...BENCH_PROGRAMS.map((program) => ({ ...program, path: `../bench/objects/${program.object}.bpf.o` })),
  { name: 'xdp_filter', group: 'real programs', path: '../examples/objects/xdp_filter.bpf.o' },
  { name: 'first_bytes', group: 'real programs', path: '../examples/objects/socket_sizes.bpf.o' },
];

function embedded(jit: 0 | 1): EmbeddedKernel {
  const kernel = new EmbeddedKernel();
  kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
  return kernel;
}

/** What is measured must be the same on all sides. */
function check(program: Measured, side: SideName, retval: number, seen: Map<string, number>): void {
  const expected = program.returns === undefined ? seen.get(program.name) : program.returns >>> 0;
  seen.set(program.name, retval);
  if (program.perCpu || expected === undefined || expected === retval) return;
  process.stderr.write(`bench: ${program.name} returned ${retval} on ${side}, not ${expected}\n`);
  process.exitCode = 1;
}

function programSubjects(
  kernels: Readonly<Record<EngineName, Kernel>>,
  native: NativeSides,
  programs: readonly Measured[],
): Subject[] {
  const subjects: Subject[] = [];
  const seen = new Map<string, number>();
  const dataIn = benchPacket();
  for (const side of ENGINES) {
    const kernel = kernels[side];
    const objects = new Map<string, BpfObject>();
    for (const program of programs) {
      let object = objects.get(program.path);
      if (object === undefined) {
        object = BpfObject.open(readFileSync(new URL(program.path, import.meta.url))).load(kernel);
        objects.set(program.path, object);
      }
      const { fd } = object.findProgram(program.name);
      check(program, side, kernel.progTestRun({ progFd: fd, dataIn, repeat: 3 }).retval, seen);
      subjects.push({
        name: `${program.name} ${side}`,
        run: (repeat) => {
          const { duration } = kernel.progTestRun({ progFd: fd, dataIn, repeat });
          return side === 'kernel' ? (duration * repeat) / 1e6 : undefined;
        },
      });
    }
  }
  for (const program of programs) {
    const { object, name } = program;
    if (object === undefined) continue;
    const runs = {
      native: program.native ? native.compiled(object, name) : undefined,
      ubpf: native.ubpf(object, name),
    };
    for (const side of ['native', 'ubpf'] as const) {
      const run = runs[side];
      if (run === undefined) continue;
      check(program, side, run(3), seen);
      subjects.push({ name: `${name} ${side}`, run: (times) => void run(times) });
    }
  }
  // All sides of one program in a row: what disturbs the machine for a moment disturbs them alike.
  const place = new Map(programs.map(({ name }, at) => [name, at]));
  const placeOf = ({ name }: Subject) => place.get(name.slice(0, name.lastIndexOf(' ')))!;
  return subjects.sort((a, b) => placeOf(a) - placeOf(b));
}

function tableOf(
  title: string,
  unit: Table['unit'],
  sides: readonly SideName[],
  names: readonly { readonly name: string; readonly group?: string }[],
  times: ReadonlyMap<string, number>,
): Table {
  const rows = names.map(({ name, group }): Row => {
    const values = Object.fromEntries(
      sides.flatMap((side) => {
        const value = times.get(`${name} ${side}`);
        return value === undefined ? [] : [[side, value]];
      }),
    );
    return { name, values, ...(group === undefined ? {} : { group }) };
  });
  return { title, unit, sides: sides.filter((side) => rows.some(({ values }) => side in values)), rows };
}

function run(
  options: HarnessOptions & { readonly only?: string },
  host: Kernel,
  native: NativeSides,
): Table[] {
  const kernels = { kernel: host, jit: embedded(1), interpreter: embedded(0) };
  const wanted = (name: string) => options.only === undefined || name.includes(options.only);
  const programs = PROGRAMS.filter(({ name, group }) => wanted(name) || options.only === group);
  const user = KERNELS.flatMap((side) => [
    ...mapSubjects(kernels[side], side),
    ...ringSubjects(kernels[side], side),
  ]).filter(({ name }) => wanted(name));
  const times = measure([...programSubjects(kernels, native, programs), ...user], {
    ...options,
    clock: processorTime,
  });
  const userNames = [...new Set(user.map(({ name }) => name.slice(0, name.lastIndexOf(' '))))].map(
    (name) => ({ name }),
  );
  const isRing = ({ name }: { name: string }) => name.startsWith('ring');
  const tables = [
    tableOf('Programs, nanoseconds a run', 'ns', SIDES, programs, times),
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
  .option('--only <text>', 'what has the text in its name, or the group of that name')
  .option('--rounds <n>', 'samples of each', '7')
  .option('--sample <ms>', 'length of a sample in milliseconds', '20')
  .option('--json', 'one record a row')
  .option('--ubpf <library>', "libubpf.so: uBPF's JIT beside the others")
  .option('--clang <command>', 'compiler of the native code', process.env.CLANG ?? 'clang-19')
  .option('--write <file>', 'a page with the tables, the machine and its kernel')
  .parse();
const options = command.opts<{
  only?: string;
  rounds: string;
  sample: string;
  json?: boolean;
  write?: string;
  ubpf?: string;
  clang: string;
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
  const { only, ubpf, clang } = options;
  const native = await openNativeSides({ clang, ...(ubpf === undefined ? {} : { ubpf }) });
  const tables = run(
    {
      rounds: Math.round(positive(options.rounds, '--rounds')),
      sampleMs: positive(options.sample, '--sample'),
      ...(only === undefined ? {} : { only }),
    },
    host,
    native,
  );
  host.shutdown();
  native.close();
  if (options.json) {
    for (const { title, unit, rows } of tables)
      for (const { name, values } of rows)
        console.log(JSON.stringify({ table: title, name, unit, ...values }));
  } else printTables(tables, native.notes);
  if (options.write !== undefined) writeFileSync(options.write, markdown(tables, native.notes));
}
