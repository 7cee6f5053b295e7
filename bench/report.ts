/** What bench:kernel has measured: tables for a terminal, a page with the machine that it was measured on. */
import { readdirSync, readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import CliTable from 'cli-table3';

export interface Row {
  readonly name: string;
  /** Nanoseconds by side. */
  readonly values: Readonly<Record<string, number>>;
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
  interpreter: 'interpreter',
};

function cells({ unit, sides, rows }: Table): { readonly head: string[]; readonly body: string[][] } {
  const [first, ...others] = sides as [string, ...string[]];
  const title = (side: string) => (unit === 'ns' || side === first ? (TITLES[side] ?? side) : 'embedded');
  const shown = (value: number) => {
    if (unit !== 'ns') return Math.round(1e9 / value).toLocaleString('en');
    return value < 100 ? value.toFixed(1) : value.toFixed(0);
  };
  return {
    head: ['', ...sides.map(title), ...others.map((side) => `${title(side)} / Linux`)],
    body: rows.map(({ name, values }) => [
      name,
      ...sides.map((side) => shown(values[side]!)),
      ...others.map((side) => {
        const ratio = values[side]! / values[first]!;
        return `${(unit === 'ns' ? ratio : 1 / ratio).toFixed(2)}x`;
      }),
    ]),
  };
}

/** Geometric means of the ratios. */
function means({ title, unit, sides, rows }: Table): string[] {
  const [first, ...others] = sides as [string, ...string[]];
  if (unit !== 'ns') return [];
  return others.map((side) => {
    const logs = rows.map(({ values }) => Math.log(values[side]! / values[first]!));
    const mean = Math.exp(logs.reduce((sum, one) => sum + one, 0) / logs.length);
    return `${title.split(',')[0]}: the time of Linux times ${mean.toFixed(2)} on the ${TITLES[side]} (geometric mean)`;
  });
}

export function printTables(tables: readonly Table[]): void {
  for (const table of tables) {
    const { head, body } = cells(table);
    const shown = new CliTable({
      head,
      colAligns: ['left', ...new Array<'right'>(head.length - 1).fill('right')],
      style: { head: [], border: [] },
    });
    shown.push(...body);
    console.log(`\n${table.title}\n${shown.toString()}`);
    for (const line of means(table)) console.log(line);
  }
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

export function markdown(tables: readonly Table[]): string {
  const row = (columns: readonly string[]) => `| ${columns.join(' | ')} |`;
  const parts = tables.flatMap((table) => {
    const { head, body } = cells(table);
    const rule = row(['---', ...head.slice(1).map(() => '---:')]);
    return [
      `## ${table.title}`,
      '',
      row(head),
      rule,
      ...body.map(row),
      '',
      ...means(table).map((m) => `- ${m}`),
      '',
    ];
  });
  const processors = cpus();
  return [
    '# Performance beside Linux',
    '',
    '`npm run bench:kernel -- --write docs/performance.md` has made this page. The same objects ran on both kernels in turns; each value is the',
    'median of the samples. Programs: PROG_TEST_RUN with many repetitions on one 64-byte packet. User space: Node, one thread.',
    '',
    `- Machine: ${processors.length} × ${processors[0]?.model ?? 'unknown'}, ${Math.round(totalmem() / 2 ** 30)} GiB`,
    `- Linux ${release()}, Node ${process.version} (V8 ${process.versions.v8})`,
    '- Mitigations of the processor:',
    ...mitigations().map((line) => `  - ${line}`),
    '',
    ...parts,
  ]
    .join('\n')
    .trimEnd()
    .concat('\n');
}
