/** What a run came to: programs with the work of verifier and engine, verdicts, maps, losses. For people and as JSON. */
import type { Kernel } from '../../contracts/kernel.ts';
import type { BpfMap, BpfObject } from '../../libbpf/index.ts';
import { type MapEntry, namerFor, printEntries, readEntries } from '../map-contents.ts';
import { duration, grouped, type Output, plural } from '../output.ts';
import type { ProgramSummary, SessionSummary } from './session.ts';

/** Rows of one map that are shown unasked. */
const MAX_ROWS = 40;

export interface ShownMap {
  readonly map: BpfMap;
  /** Undefined: maps of this type cannot be walked. */
  readonly entries: readonly MapEntry[] | undefined;
}

export interface ProgramFacts {
  readonly name: string;
  readonly section: string;
  readonly type: string | undefined;
  readonly attached: string;
  readonly verifier: {
    readonly insnsProcessed: number;
    readonly totalStates: number;
    readonly peakStates: number;
    readonly microseconds: number;
    readonly stackDepth: string;
  };
  readonly engine: {
    readonly name: 'jit' | 'interpreter';
    readonly insns: number;
    readonly bytes: number;
    readonly microseconds: number;
  };
  readonly runs: number;
  readonly runTimeNs: number;
  readonly results: Readonly<Record<string, number>>;
}

export function programFacts({ report, placement, results }: ProgramSummary): ProgramFacts {
  const { program, stats, compileTime } = report;
  const info = program.info();
  return {
    name: program.name,
    section: program.spec.section,
    type: program.spec.progType,
    attached: placement.place === 'none' ? `not attached: ${placement.what}` : placement.what,
    verifier: stats ?? {
      insnsProcessed: info.verifiedInsns,
      totalStates: 0,
      peakStates: 0,
      microseconds: 0,
      stackDepth: '',
    },
    engine: {
      name: info.jited ? 'jit' : 'interpreter',
      insns: program.spec.insns.length,
      bytes: info.jitedProgLen,
      microseconds: Math.round(compileTime * 1000),
    },
    runs: Number(info.runCnt),
    runTimeNs: Number(info.runTimeNs),
    results: Object.fromEntries(results),
  };
}

/**
 * The maps that say something: those that were asked for, otherwise those with entries that are not all zero. Constants and the
 * slots of program arrays are what the object says, not what the run made.
 */
export function mapsToShow(kernel: Kernel, object: BpfObject, names: readonly string[]): ShownMap[] {
  const chosen = names.length > 0 ? names.map((name) => object.findMap(name)) : object.maps;
  return chosen.flatMap((map) => {
    const origin = object.spec.maps.find(({ name }) => name === map.name)?.origin;
    if (names.length === 0 && (origin === 'rodata' || origin === 'kconfig' || map.type.holds !== undefined))
      return [];
    const entries = readEntries(map, namerFor(kernel, object, map))?.filter(({ zero }) => !zero);
    if (names.length === 0 && (entries === undefined || entries.length === 0)) return [];
    return [{ map, entries }];
  });
}

export function printSummary(out: Output, summary: SessionSummary, mapNames: readonly string[]): void {
  const { dim, bold, red, yellow } = out.color;
  const { packets, events, loaded } = summary;
  const { kernel, object, chosen } = loaded;
  for (const { map, entries } of mapsToShow(kernel, object, mapNames)) {
    const count = entries === undefined ? 'cannot be walked' : plural(entries.length, 'entry', 'entries');
    out.heading(`${map.name}  ${dim(`${map.type.name}, ${count}`)}`);
    if (entries !== undefined && entries.length > 0)
      printEntries(out, entries, mapNames.length > 0 ? Number.POSITIVE_INFINITY : MAX_ROWS);
  }
  for (const program of summary.programs) printProgram(out, programFacts(program), chosen);
  out.line();
  const fed = [];
  if (packets.packets > 0) fed.push(plural(packets.packets, 'packet'));
  if (packets.written > 0) fed.push(`${grouped(packets.written)} written`);
  if (events.events > 0)
    fed.push(`${plural(events.events, 'event')}, which ran programs ${plural(events.runs, 'time')}`);
  for (const { map, delivered } of summary.records)
    if (delivered > 0) fed.push(`${plural(delivered, 'record')} from ${map}`);
  out.line(
    `${bold(fed.join(', ') || (chosen === 'host' ? 'ended' : 'no packets or events'))} ${dim(`${chosen === 'host' ? 'after' : 'in'} ${duration(summary.elapsed * 1e6)}`)}`,
  );
  for (const { map, lost } of summary.records)
    if (lost > 0n) out.line(yellow(`${map}: ${lost} records lost`));
  for (const message of summary.oopses) out.line(red(`oops: ${message}`));
}

function printProgram(out: Output, facts: ProgramFacts, kernel: 'embedded' | 'host'): void {
  const { dim } = out.color;
  const { verifier, engine } = facts;
  out.heading(`${facts.name}  ${dim(facts.attached)}`);
  out.line(
    `  ${dim('verifier')}  ${plural(verifier.insnsProcessed, 'instruction')} processed in ${plural(verifier.totalStates, 'state')}, ${duration(verifier.microseconds * 1000)}`,
  );
  const code =
    engine.name === 'jit'
      ? `JIT: ${plural(engine.insns, 'instruction')} to ${grouped(engine.bytes)} bytes of ${kernel === 'host' ? 'machine code' : 'WebAssembly'}`
      : `interpreter: ${plural(engine.insns, 'instruction')} prepared`;
  out.line(`  ${dim('engine')}    ${code}, ${duration(engine.microseconds * 1000)}`);
  // Runs on other CPUs are counted, not timed.
  const each = facts.runTimeNs > 0 ? `, ${duration(facts.runTimeNs / facts.runs)} each` : '';
  if (facts.runs > 0) out.line(`  ${dim('runs')}      ${grouped(facts.runs)}${each}`);
  const results = Object.entries(facts.results);
  if (results.length > 0)
    out.line(
      `  ${dim('results')}   ${results.map(([label, count]) => `${label} × ${grouped(count)}`).join(', ')}`,
    );
}

/** The members of `run --json` behind `output`. */
export function summaryJson(summary: SessionSummary, mapNames: readonly string[]): Record<string, unknown> {
  const { kernel, object } = summary.loaded;
  return {
    packets: { ...summary.packets, failure: summary.packets.failure?.message },
    events: summary.events,
    programs: summary.programs.map(programFacts),
    maps: mapsToShow(kernel, object, mapNames).map(({ map, entries }) => ({
      name: map.name,
      type: map.type.name,
      entries: entries?.map(({ key, value }) => ({ key, value })) ?? null,
    })),
    records: summary.records,
    oopses: summary.oopses,
    elapsedMs: Math.round(summary.elapsed * 1000) / 1000,
  };
}
