/** What bench:kernel has measured: tables for a terminal, a page with the machine that it was measured on. */
import { readdirSync, readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import CliTable from 'cli-table3';

export interface Row {
  readonly name: string;
  /** Nanoseconds by side; absent where the side does not run it. */
  readonly values: Readonly<Record<string, number>>;
  /** Rows of a group have a mean of their own. */
  readonly group?: string;
}

export interface Table {
  readonly title: string;
  /** `events/s`: values are shown as their inverse. */
  readonly unit: 'ns' | 'events/s';
  /** The first one is what the others are compared with. */
  readonly sides: readonly string[];
  readonly rows: readonly Row[];
}

const TITLES: Readonly<Record<string, string>> = {
  kernel: 'Linux',
  jit: 'embedded JIT',
  native: 'clang -O2',
  ubpf: 'uBPF',
  interpreter: 'interpreter',
};
/** The row whose program does nothing: what it costs is the price of a run. */
const EMPTY = 'empty';
const OURS = 'jit';

interface Column {
  readonly title: string;
  value(row: Row): string;
}

const times = (ratio: number): string => (Number.isNaN(ratio) ? '' : `${ratio.toFixed(2)}x`);
/** Time of `side` over that of `other`; NaN where one of them does not run it. */
const ratioOf = ({ values }: Row, side: string, other: string): number =>
  (values[side] ?? Number.NaN) / (values[other] ?? Number.NaN);

function columns({ unit, sides }: Table): Column[] {
  const [first, ...others] = sides as [string, ...string[]];
  const title = (side: string) => (unit === 'ns' || side === first ? (TITLES[side] ?? side) : 'embedded');
  const shown = (value: number | undefined) => {
    if (value === undefined) return '';
    if (unit !== 'ns') return Math.round(1e9 / value).toLocaleString('en');
    return value < 100 ? value.toFixed(1) : value.toFixed(0);
  };
  const machines: readonly string[] = others.filter((side) => side === 'native' || side === 'ubpf');
  return [
    ...sides.map((side) => ({ title: title(side), value: (row: Row) => shown(row.values[side]) })),
    ...others
      .filter((side) => !machines.includes(side))
      .map((side) => ({
        title: `${title(side)} / ${title(first)}`,
        value: (row: Row) => times(unit === 'ns' ? ratioOf(row, side, first) : ratioOf(row, first, side)),
      })),
    ...machines.map((side) => ({
      title: `${title(OURS)} / ${title(side)}`,
      value: (row: Row) => times(ratioOf(row, OURS, side)),
    })),
  ];
}

function cells(table: Table): { readonly head: string[]; readonly body: string[][] } {
  const shown = columns(table);
  return {
    head: ['', ...shown.map(({ title }) => title)],
    body: table.rows.map((row) => [row.name, ...shown.map(({ value }) => value(row))]),
  };
}

/** Geometric mean; NaNs do not count. */
function mean(values: readonly number[]): number {
  const known = values.filter((value) => value > 0);
  return Math.exp(known.reduce((sum, one) => sum + Math.log(one), 0) / known.length);
}

/** Of programs: our speed beside that of the others, group by group (geometric means; more than 1 is faster). */
function summary({ sides, rows }: Table): { head: string[]; body: string[][] } {
  const others = sides.filter((side) => side !== OURS);
  const empty = rows.find(({ name }) => name === EMPTY)?.values;
  const line = (name: string, chosen: readonly Row[]) => [
    name,
    `${chosen.length}`,
    ...others.map((side) => times(mean(chosen.map((row) => ratioOf(row, side, OURS))))),
    ...(empty === undefined ? [] : [times(mean(chosen.map((row) => netRatio(row, empty))))]),
    times(Math.min(...chosen.map((row) => ratioOf(row, sides[0]!, OURS)))),
  ];
  const groups = [...new Set(rows.map(({ group }) => group))];
  return {
    head: [
      'speed of the embedded JIT',
      'programs',
      ...others.map((side) => `beside ${TITLES[side] ?? side}`),
      ...(empty === undefined ? [] : ['beside Linux, an empty run taken off both']),
      'worst beside Linux',
    ],
    body: [
      ...groups.map((group) =>
        line(
          group ?? '',
          rows.filter((row) => row.group === group),
        ),
      ),
      line('all', rows),
    ],
  };
}

/** Linux's time over ours, each less its empty run; NaN where little is left to compare. */
function netRatio({ values }: Row, empty: Readonly<Record<string, number>>): number {
  const linux = values.kernel! - empty.kernel!;
  const ours = values.jit! - empty.jit!;
  return linux < 2 || ours < 0.5 ? Number.NaN : linux / ours;
}

/** Geometric means of the ratios of what has no groups. */
function means({ title, unit, sides, rows }: Table): string[] {
  const [first, ...others] = sides as [string, ...string[]];
  if (unit !== 'ns') return [];
  return others.map((side) => {
    const value = mean(rows.map((row) => ratioOf(row, side, first))).toFixed(2);
    return `${title.split(',')[0]}: the time of Linux times ${value} on the ${TITLES[side]} (geometric mean)`;
  });
}

const isGrouped = (table: Table): boolean => table.rows.some(({ group }) => group !== undefined);

function terminalTable(head: readonly string[], body: readonly string[][]): string {
  const shown = new CliTable({
    head: [...head],
    colAligns: ['left', ...new Array<'right'>(head.length - 1).fill('right')],
    style: { head: [], border: [], compact: true },
  });
  shown.push(...body);
  return shown.toString();
}

export function printTables(tables: readonly Table[], notes: readonly string[]): void {
  for (const table of tables) {
    const { head, body } = cells(table);
    console.log(`\n${table.title}\n${terminalTable(head, body)}`);
    if (isGrouped(table)) {
      const { head, body } = summary(table);
      console.log(`\nGeometric means of speed\n${terminalTable(head, body)}`);
    } else for (const line of means(table)) console.log(line);
  }
  for (const note of notes) console.log(note);
}

/** `spectre_v2: Mitigation: …`, where the machine is not affected left out. */
function mitigations(): string[] {
  const directory = '/sys/devices/system/cpu/vulnerabilities';
  try {
    return readdirSync(directory)
      .map((name) => `${name}: ${readFileSync(`${directory}/${name}`, 'utf8').trim()}`)
      .filter((line) => !line.endsWith('Not affected'));
  } catch {
    return ['unknown'];
  }
}

export function markdown(tables: readonly Table[], notes: readonly string[]): string {
  const row = (columns: readonly string[]) => `| ${columns.join(' | ')} |`;
  const grid = ({ head, body }: { head: readonly string[]; body: readonly string[][] }) => [
    row(head),
    row(['---', ...head.slice(1).map(() => '---:')]),
    ...body.map(row),
    '',
  ];
  const parts = tables.flatMap((table) => [
    `## ${table.title}`,
    '',
    ...grid(cells(table)),
    ...(isGrouped(table)
      ? [
          'Speed by group, geometric means; more than 1 is faster than the other:',
          '',
          ...grid(summary(table)),
        ]
      : [...means(table).map((m) => `- ${m}`), '']),
  ]);
  const processors = cpus();
  return [
    '# Performance beside Linux',
    '',
    '`npm run bench:kernel -- --ubpf LIBRARY --write docs/performance.md` has made this page. The same objects ran on all engines in turns; each value',
    'is the median of the samples, in processor time, as Linux counts it. Programs: PROG_TEST_RUN, repeated, on one 64-byte packet. User space: Node.',
    '',
    `- Machine: ${processors.length} × ${processors[0]?.model ?? 'unknown'}, ${Math.round(totalmem() / 2 ** 30)} GiB`,
    `- Linux ${release()}, Node ${process.version} (V8 ${process.versions.v8})`,
    `- Load average at the end, of others for the most part: ${loadavg()[1]!.toFixed(1)}`,
    '- Mitigations of the processor:',
    ...mitigations().map((line) => `  - ${line}`),
    ...notes.map((note) => `- ${note}`),
    '',
    '## What favours us',
    '',
    ...FAVOURS,
    '',
    '## What is made in place, and what is not',
    '',
    ...IN_PLACE,
    '',
    ...parts,
  ]
    .join('\n')
    .trimEnd()
    .concat('\n');
}

const IN_PLACE = [
  "- Lookups in arrays and, with keys of up to 64 bytes, in hash maps of all kinds: the hash is unrolled for the key's size, and the first element",
  '  of the chain is compared in front of the loop over the others. With CPUs that run at the same time hash lookups stay calls: a chain',
  '  may change while it is walked.',
  "- Records of a ring are reserved and submitted by two calls from Wasm to Wasm: 11 to 15 ns together on a machine where Linux's take 63. Map updates,",
  '  string functions and reads of kernel memory are such calls too. A call costs 2 to 3 ns more than code in place.',
  '- Bulk instructions are not used for what programs write: `memory.fill` takes 4.3 ns for 64 bytes and 3.8 for 512, stores of 16 bytes 1.0 and',
  '  4.2, and a frame has 512 bytes. `memory.copy` would win from 256 bytes on (3.8 against 5.4 ns, 512 bytes 4.2 against 8.6), but a run of loads and',
  "  stores is only the same where both places are known not to overlap; in the maps' module it copies values above 192 bytes and records of rings.",
];

/** Where the comparison is not between equals: in our favour first. */
const FAVOURS = [
  '- **Mitigations.** Those of the list above cost Linux where its code returns, calls and enters; other machines have more of them. Compiled code',
  '  of ours runs as the process does, and programs are kept apart by the sandbox, not by barriers.',
  '- **No RCU, no locks, no preemption.** A run here takes no RCU read lock, disables no migration, and maps take no bucket locks: one thread',
  '  owns the memory. Atomic instructions are plain ones then; with memory that several threads share they are real.',
  '- **The loop of PROG_TEST_RUN.** Linux looks after every run whether it must yield, and counts time; ours is a loop in WebAssembly. The row',
  '  `empty` is what that costs each; one column of the second table takes it off both sides.',
  '- **Warm caches, one program.** As in every loop of this kind; it favours all engines alike.',
  '- Against us: clang made the objects for the 11 registers of BPF; rotations, vectors and wide stores have to be found again in them. Bounds of',
  '  the sandbox, stack checks in loops and 32-bit addresses remain in our code; a clock is read through JavaScript.',
];
