/**
 * npm run bench:load: how long programs of 100 to 100 000 instructions take to load, run first, and run once the host has optimised
 * them, by step; beside this machine's Linux through bpf(2) where that is allowed. Every round loads another program, in turns.
 */
import { writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import process from 'node:process';
import CliTable from 'cli-table3';
import { Command } from 'commander';
import type { Fd, Kernel, LoadStages } from '../src/contracts/kernel.ts';
import { createHostKernel, whyNoHostKernel } from '../src/host/index.ts';
import { EmbeddedKernel } from '../src/kernel/index.ts';
import { median } from './harness.ts';
import { type Blocking, measureBlocking } from './load-blocking.ts';
import { createLoadMaps, type LoadMaps, loadProgram } from './load-programs.ts';
import { measureShapes, SHAPE_SIZES, type ShapeTime } from './load-shapes.ts';
import { benchPacket } from './packet.ts';
import { measureOverhead, type Overhead } from './run-overhead.ts';
import { measureTiers, TIER_RUNS, type Tiers } from './tiers.ts';

const XDP = 6;
const SIZES = [100, 1_000, 10_000, 100_000];
const SHAPES = [
  { name: 'one function', options: {} },
  { name: 'functions of 400', options: { functionSize: 400 } },
] as const;
/** Runs are watched for this long; programs that are compiled within moments for a shorter time. */
const settleMs = (size: number): number => (size > 20_000 ? 3_000 : 400);

/**
 * Time on processors, of this process with its system calls and V8's threads, in place of the clock on the wall: what others do on the machine
 * does not count. Everything that is timed here, also inside of the kernel, asks `performance`.
 */
function countProcessorTime(): void {
  const now = (): number => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  };
  Object.defineProperty(performance, 'now', { value: now, configurable: true });
}

type Samples = Record<string, number[]>;

interface Side {
  readonly kernel: Kernel;
  readonly maps: LoadMaps;
}

const add = (samples: Samples, name: string, value: number): void => {
  samples[name] ??= [];
  samples[name].push(value);
};

const run = (kernel: Kernel, progFd: Fd, repeat: number) =>
  kernel.progTestRun({ progFd, dataIn: benchPacket(), repeat });

/** Milliseconds. */
function loadEmbedded({ kernel, maps }: Side, samples: Samples, size: number, options: object): number {
  const insns = loadProgram(size, maps, options);
  let stages: LoadStages | undefined;
  const load = (): { fd: Fd; ms: number } => {
    const started = performance.now();
    const onStages = (taken: LoadStages) => {
      stages = taken;
    };
    const fd = kernel.progLoad({ progType: XDP, insns, license: 'GPL', onStages });
    return { fd, ms: performance.now() - started };
  };
  const first = load();
  add(samples, 'load', first.ms);
  for (const [name, value] of Object.entries(stages ?? {}))
    if (typeof value === 'number') add(samples, name, value / 1000);
  const started = performance.now();
  const { retval } = run(kernel, first.fd, 1);
  add(samples, 'first', performance.now() - started);
  const again = load();
  if (stages?.cached !== true) throw new Error('the code of the second load was not that of the first');
  add(samples, 'again', again.ms);
  kernel.close(again.fd);
  kernel.close(first.fd);
  return retval;
}

function loadHost({ kernel, maps }: Side, samples: Samples, size: number, options: object): number {
  const insns = loadProgram(size, maps, options);
  const started = performance.now();
  const fd = kernel.progLoad({ progType: XDP, insns, license: 'GPL' });
  add(samples, 'host', performance.now() - started);
  const { retval } = run(kernel, fd, 1);
  kernel.close(fd);
  return retval;
}

/** Nanoseconds a run once it no longer gets faster, and the milliseconds until then. */
function settle(kernel: Kernel, fd: Fd, size: number): { steady: number; after: number } {
  const started = performance.now();
  const repeat = Math.max(20, Math.round(1e6 / size));
  const slices: { at: number; ns: number }[] = [];
  do slices.push({ at: performance.now() - started, ns: run(kernel, fd, repeat).duration });
  while (performance.now() - started < settleMs(size));
  const steady = Math.min(...slices.slice(-Math.ceil(slices.length / 3)).map(({ ns }) => ns));
  return { steady, after: slices.find(({ ns }) => ns <= steady * 1.2)?.at ?? 0 };
}

/** V8 compiles our own code meanwhile; its threads count as well. */
function warmUp(embedded: Side, most: number): void {
  for (const [size, times] of [
    [1_000, 40],
    [10_000, 8],
    [100_000, 1],
  ] as const) {
    if (size > most) return;
    for (let seed = 100; seed < 100 + times; seed++)
      for (const { options } of SHAPES) loadEmbedded(embedded, {}, size, { ...options, seed });
  }
}

interface Row {
  readonly size: number;
  readonly shape: string;
  readonly samples: Samples;
  steady: number;
  after: number;
  hostSteady: number;
}

function measureLoads(
  embedded: Side,
  host: Side | undefined,
  rounds: number,
  sizes: readonly number[],
): Row[] {
  const rows = SHAPES.flatMap(({ name, options }) =>
    sizes.map((size) => ({
      size,
      shape: name,
      options,
      samples: {} as Samples,
      steady: 0,
      after: 0,
      hostSteady: 0,
    })),
  );
  warmUp(embedded, Math.max(...sizes));
  for (let round = 0; round < rounds; round++) {
    for (const row of rows) {
      // What takes little time is measured more often.
      const times = row.size <= 1_000 ? 10 : row.size <= 10_000 ? 3 : 1;
      for (let i = 0; i < times; i++) {
        const options = { ...row.options, seed: 3 + round * times + i };
        const retval = loadEmbedded(embedded, row.samples, row.size, options);
        const expected = host === undefined ? retval : loadHost(host, row.samples, row.size, options);
        if (retval !== expected) throw new Error(`${row.size} instructions: ${retval}, on Linux ${expected}`);
      }
    }
  }
  for (const row of rows) {
    const attr = (side: Side) => ({
      progType: XDP,
      insns: loadProgram(row.size, side.maps, { ...row.options, seed: 77 }),
      license: 'GPL',
    });
    const fd = embedded.kernel.progLoad(attr(embedded));
    Object.assign(row, settle(embedded.kernel, fd, row.size));
    embedded.kernel.close(fd);
    if (host === undefined) continue;
    const hostFd = host.kernel.progLoad(attr(host));
    const runs = Math.max(20, Math.round(2e6 / row.size));
    row.hostSteady = Math.min(...[1, 2, 3, 4, 5].map(() => run(host.kernel, hostFd, runs).duration));
    host.kernel.close(hostFd);
  }
  return rows;
}

interface Column<R = Row> {
  readonly title: string;
  value(row: R): string;
}

const short = (value: number): string =>
  Number.isNaN(value)
    ? ''
    : value < 10
      ? value.toFixed(2)
      : value < 100
        ? value.toFixed(1)
        : value.toFixed(0);
/** The fastest round: what a busy machine adds is nobody's. */
const of = (row: Row, name: string): number =>
  row.samples[name] === undefined ? Number.NaN : Math.min(...row.samples[name]);
const ratio = (value: number): string => (Number.isFinite(value) && value > 0 ? `${value.toFixed(2)}x` : '');
const named = (row: Row): string => `${row.size.toLocaleString('en')}, ${row.shape}`;

const LOADS: readonly Column[] = [
  { title: 'instructions', value: named },
  { title: 'verify', value: (row) => short(of(row, 'verify')) },
  { title: 'rewrite', value: (row) => short(of(row, 'rewrite')) },
  { title: 'translate', value: (row) => short(of(row, 'translate')) },
  { title: 'V8', value: (row) => short(of(row, 'compile')) },
  { title: 'load', value: (row) => short(of(row, 'load')) },
  { title: 'µs an instruction', value: (row) => short((of(row, 'load') * 1000) / row.size) },
  { title: 'load again', value: (row) => short(of(row, 'again')) },
  { title: 'first run', value: (row) => short(of(row, 'first')) },
  { title: 'Linux: load', value: (row) => short(of(row, 'host')) },
  { title: 'load / Linux', value: (row) => ratio(of(row, 'load') / of(row, 'host')) },
];

const RUNS: readonly Column[] = [
  { title: 'instructions', value: named },
  { title: 'ns a run', value: (row) => short(row.steady) },
  { title: 'optimised after ms', value: (row) => short(row.after) },
  { title: 'Linux: ns a run', value: (row) => (row.hostSteady > 0 ? short(row.hostSteady) : '') },
  { title: 'run / Linux', value: (row) => ratio(row.steady / row.hostSteady) },
];

const OVERHEAD: readonly Column<Overhead>[] = [
  { title: 'program', value: ({ name }) => name },
  { title: 'in the loop', value: ({ body }) => short(body) },
  { title: 'prepared run', value: ({ prepared }) => short(prepared) },
  { title: 'overhead', value: ({ prepared, body }) => short(prepared - body) },
  { title: 'PROG_TEST_RUN each', value: ({ command }) => short(command) },
];

const TIERS: readonly Column<Tiers>[] = [
  { title: 'instructions', value: ({ size }) => `${size}` },
  { title: 'to the first run', value: ({ usual }) => short(usual.first) },
  { title: 'optimised at once', value: ({ atOnce }) => short(atOnce.first) },
  { title: `to run ${TIER_RUNS.toLocaleString('en')}`, value: ({ usual }) => short(usual.last) },
  { title: 'at once', value: ({ atOnce }) => short(atOnce.last) },
];

const BLOCKING: readonly Column<Blocking>[] = [
  { title: 'instructions', value: ({ size }) => size.toLocaleString('en') },
  { title: 'progLoad', value: ({ plain }) => short(plain) },
  { title: 'progLoadAsync: until loaded', value: ({ later }) => short(later) },
  { title: 'longest without a turn', value: ({ blocked }) => short(blocked) },
  { title: 'of progLoad', value: ({ plain, blocked }) => `${((100 * blocked) / plain).toFixed(0)} %` },
];

const FLOWS: readonly Column<ShapeTime>[] = [
  { title: 'control flow', value: ({ shape }) => shape },
  { title: `of ${SHAPE_SIZES.small.toLocaleString('en')}`, value: ({ small }) => short(small) },
  { title: `of ${SHAPE_SIZES.large.toLocaleString('en')}`, value: ({ large }) => short(large) },
  { title: 'growth', value: ({ small, large }) => (large / small).toFixed(2) },
  { title: 'bytes of code', value: ({ bytes }) => bytes.toFixed(1) },
];

function printed<R>(columns: readonly Column<R>[], rows: readonly R[]): string {
  const table = new CliTable({
    head: columns.map(({ title }) => title),
    colAligns: columns.map((_, i) => (i === 0 ? 'left' : 'right')),
    style: { head: [], border: [] },
  });
  table.push(...rows.map((row) => columns.map((column) => column.value(row))));
  return table.toString();
}

function markdownTable<R>(columns: readonly Column<R>[], rows: readonly R[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [
    line(columns.map(({ title }) => title)),
    line(columns.map((_, i) => (i === 0 ? '---' : '---:'))),
    ...rows.map((row) => line(columns.map((column) => column.value(row)))),
  ].join('\n');
}

/** How much dearer an instruction of the largest program is than one of the program of 1000: what 1 would be linear. */
function growth(rows: readonly Row[]): string[] {
  return SHAPES.flatMap(({ name }) => {
    const own = rows.filter((row) => row.shape === name);
    const base = own.find((row) => row.size === 1000);
    const last = own.at(-1);
    if (base === undefined || last === undefined || last === base) return [];
    const parts = ['verify', 'rewrite', 'translate', 'load'].map((stage) => {
      const each = (row: Row) => of(row, stage) / row.size;
      return `${stage} ${(each(last) / each(base)).toFixed(2)}`;
    });
    return [
      `${name}, an instruction of ${last.size.toLocaleString('en')} beside one of 1,000: ${parts.join(', ')}`,
    ];
  });
}

interface Beside {
  readonly overhead: readonly Overhead[];
  readonly tiers: readonly Tiers[];
  readonly blocking: readonly Blocking[];
  readonly flows: readonly ShapeTime[];
  /** Milliseconds of the first load of the process. */
  readonly cold: number;
}

function page(rows: readonly Row[], { overhead, tiers, blocking, flows, cold }: Beside): string {
  const [processor] = cpus();
  return [
    '# Load time',
    '',
    '`npm run bench:load -- --write docs/load-time.md` has made this page: XDP programs with branches, packet reads, spills, map look-ups and',
    "short loops, generated anew for each round, loaded in turns into both kernels. Milliseconds of processor time (user and system, V8's threads included), the best round of each.",
    '',
    `- Machine: ${cpus().length} × ${processor?.model ?? 'unknown'}, Linux ${release()}, Node ${process.version} (V8 ${process.versions.v8})`,
    `- The first program of a process takes ${short(cold)} ms (100 instructions): V8 has not compiled our verifier yet. All others are measured warm.`,
    '- Linux is measured through bpf(2) from this process, with its system call; its JIT is the rest behind verification.',
    '- `load again`: the same program once more. Its code comes from the cache, so that it is verified, rewritten and linked only.',
    '',
    markdownTable(LOADS, rows),
    '',
    ...growth(rows).map((text) => `- ${text}`),
    '',
    '## Control flow of any shape',
    '',
    'Translation alone, microseconds an instruction of programs of two sizes, most of which no compiler would make. Loops that lie hundreds deep',
    'in one another, and jumps into loops from everywhere, are emitted through tables instead of scopes: more code, in the same time.',
    '',
    markdownTable(FLOWS, flows),
    '',
    '## Speed after the load',
    '',
    markdownTable(RUNS, rows),
    '',
    '## A run from JavaScript',
    '',
    '`kernel.prepareRun` makes a run ready once; then each is one call into Wasm. Nanoseconds on a packet of 64 bytes: in the loop of',
    'PROG_TEST_RUN, started one by one, and as a PROG_TEST_RUN each with its context and output.',
    '',
    markdownTable(OVERHEAD, overhead),
    '',
    '## Who compiles when',
    '',
    'V8 checks a module when it is made and compiles a function when it is first called, with its baseline compiler (0.1 to 0.2 µs an',
    'instruction: `first run`). A function that has run through 1.8 MB of its code is given to the optimising compiler, in a thread of V8, and',
    'replaced when that is done: `optimised after`, most of which is the time until a function has run often enough. So a load waits for no',
    'optimisation, whatever its size: of a load of 100 000 instructions, V8 has the few milliseconds of its column.',
    '',
    'What takes long is our own, verifying and translating. `kernel.progLoadAsync` and `BpfObject.loadAsync` have a thread do both for programs',
    'of 1 000 instructions and more; rewriting and linking stay with the caller, as they work on the kernel. Milliseconds by the clock (one',
    'function; the thread is running and warm), and the longest time that nothing else had a turn on the calling thread:',
    '',
    markdownTable(BLOCKING, blocking),
    '',
    'A small program takes about as long, by the clock, whether V8 compiles it twice or optimises it at once (with several threads, so that',
    'processor time grows), and is then as fast as it gets from its first run. So `openKernel` has programs of up to 100 instructions optimised',
    'when they are loaded, by flags of V8 for the time of one compilation (Node only). Milliseconds from the start of a load:',
    '',
    markdownTable(TIERS, tiers),
    '',
  ].join('\n');
}

const command = new Command('bench:load')
  .description('load time by size and step')
  .option('--rounds <n>', 'programs of each size', '5')
  .option('--sizes <list>', 'numbers of instructions', SIZES.join(','))
  .option('--wall', 'time by the clock on the wall, for a machine that does nothing else')
  .option('--json', 'one record a row')
  .option('--write <file>', 'a page with the tables')
  .parse();
const options = command.opts<{
  rounds: string;
  sizes: string;
  wall?: boolean;
  json?: boolean;
  write?: string;
}>();
if (!options.wall) countProcessorTime();

function embeddedSide(): Side {
  const kernel = new EmbeddedKernel();
  return { kernel, maps: createLoadMaps(kernel) };
}

const sizes = options.sizes.split(',').map(Number);
if (!sizes.every((size) => Number.isInteger(size) && size >= 20 && size <= 500_000))
  command.error(`error: --sizes ${options.sizes}: numbers from 20 to 500000`, { exitCode: 2 });
const rounds = Number(options.rounds);
if (!Number.isInteger(rounds) || rounds < 1)
  command.error(`error: --rounds ${options.rounds}: give a positive number`, { exitCode: 2 });

const embedded = embeddedSide();
const coldStart = performance.now();
embedded.kernel.close(
  embedded.kernel.progLoad({ progType: XDP, insns: loadProgram(100, embedded.maps), license: 'GPL' }),
);
const cold = performance.now() - coldStart;
const why = await whyNoHostKernel();
if (why !== null) process.stderr.write(`bench:load: without Linux beside it: ${why}\n`);
const hostKernel = why === null ? await createHostKernel() : undefined;
const host = hostKernel === undefined ? undefined : { kernel: hostKernel, maps: createLoadMaps(hostKernel) };
const rows = measureLoads(embedded, host, rounds, sizes);
const overhead = measureOverhead({ rounds: 9, sampleMs: 10 });
const tiers = measureTiers(25) ?? [];
const blocking = await measureBlocking(sizes, rounds);
const flows = measureShapes(3);
if (options.json) {
  for (const { samples, ...row } of rows) {
    const medians = Object.fromEntries(
      Object.entries(samples).map(([name, values]) => [name, median(values)]),
    );
    console.log(JSON.stringify({ ...row, options: undefined, ...medians }));
  }
  for (const row of [...overhead, ...tiers, ...blocking, ...flows]) console.log(JSON.stringify(row));
} else {
  console.log(`Loads, milliseconds\n${printed(LOADS, rows)}\n\nRuns\n${printed(RUNS, rows)}`);
  for (const text of growth(rows)) console.log(text);
  console.log(`\nTranslation by control flow, microseconds an instruction\n${printed(FLOWS, flows)}`);
  console.log(`\nA run from JavaScript, nanoseconds\n${printed(OVERHEAD, overhead)}`);
  console.log(`\nWhat the calling thread waits, milliseconds\n${printed(BLOCKING, blocking)}`);
  console.log(`\nOptimised at once, milliseconds from the start of a load\n${printed(TIERS, tiers)}`);
}
if (options.write !== undefined)
  writeFileSync(options.write, page(rows, { overhead, tiers, blocking, flows, cold }));
hostKernel?.shutdown();
embedded.kernel.shutdown();
