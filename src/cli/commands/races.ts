/**
 * `tsbpf races`: programs on several CPUs of one embedded kernel, in as many interleavings as asked for, each drawn from a seed: data
 * races, deadlocks, and the different states that the maps end in, with a seed and a schedule that show each of them again.
 */
import type { Command } from 'commander';
import type {
  DataRace,
  Deadlock,
  InterleavedPlace,
  InterleavedRun,
  InterleavedTurn,
  InterleaveResult,
} from '../../contracts/interleave.ts';
import { progTypeById } from '../../spec/index.ts';
import { BpfError } from '../../util/errors.ts';
import {
  type Action,
  addTargetOptions,
  type CommandRow,
  cflagsOption,
  collect,
  parseData,
  parseInteger,
  positive,
  programTypeOption,
  type Runner,
  readTarget,
  type TargetOptions,
  withExamples,
} from '../command.ts';
import { openSourceOrObject } from '../compiler/source-or-object.ts';
import { EXIT, UsageError } from '../errors.ts';
import { toJson } from '../json.ts';
import { type LoadedObject, loadInto, openKernel } from '../load.ts';
import { readEntries } from '../map-contents.ts';
import { grouped, type Output, plural } from '../output.ts';
import { assign, parseAssignment } from '../values.ts';

interface RacesOptions extends TargetOptions {
  readonly cflags?: string;
  readonly progType?: string;
  readonly cpus: number;
  readonly repeat: number;
  readonly seeds: number;
  readonly seed?: number;
  readonly schedule?: string;
  readonly slice?: number;
  readonly set?: readonly string[];
  readonly data?: string;
  readonly json?: boolean;
}

/** What a state of the end looks like, and how to see it again. */
interface End {
  /** `counts[0]` → value, and what the runs returned. */
  readonly state: ReadonlyMap<string, string>;
  /** Absent: the schedule was given. */
  readonly seed?: number;
  readonly schedule: string;
  /** Of a single interleaving. */
  readonly turns: readonly InterleavedTurn[];
  times: number;
}

interface Found {
  readonly programs: readonly string[];
  readonly interleavings: number;
  readonly ends: readonly End[];
  readonly races: readonly DataRace[];
  readonly deadlocks: readonly (Deadlock & { readonly seed?: number })[];
}

const DEFAULT_SEEDS = 200;
const DEFAULT_DATA = new Uint8Array(64);
/** A time that is the same each time: programs that look at the clock repeat, too. */
const START = 1_000_000_000n;
const EPOCH = 1_700_000_000_000_000_000n;
const anySeed = (text: string): number => parseInteger(text, 0, 0x7fff_ffff);
/** States that are shown of one set of programs. */
const SHOWN_ENDS = 8;
/** Turns that are shown of one interleaving. */
const SHOWN_TURNS = 40;
/** CPUs in turns are cheap, but each has a stack. */
const MOST_CPUS = 256;

const action: Action<[string, string[], RacesOptions]> = async ({ env, out }, file, programs, options) => {
  if (options.seed !== undefined && options.schedule !== undefined)
    throw new UsageError('--seed and --schedule exclude each other');
  const { kernel, chosen } = await openKernel(env, {
    engine: 'interp',
    cpus: options.cpus,
    onOops: (message) => out.errorLine(message),
  });
  kernel.simulator?.setTime(START, EPOCH);
  const object = await openSourceOrObject(file, out, options.cflags);
  const loaded = loadInto(kernel, chosen, object, {
    ...readTarget(options),
    strict: true,
    ...(options.progType === undefined ? {} : { type: options.progType }),
  });
  try {
    for (const text of options.set ?? []) assign(loaded.object, parseAssignment(text));
    const groups =
      programs.length > 0 ? [programs] : loaded.object.programs.filter((p) => p.loaded).map((p) => [p.name]);
    const found = groups.map((group) => explore(loaded, group, options));
    if (options.json) out.line(toJson({ object: file, cpus: options.cpus, programs: found.map(asJson) }, 2));
    else for (const one of found) print(out, one, options, file);
    const bad = found.some(({ races, deadlocks }) => races.length > 0 || deadlocks.length > 0);
    return bad ? EXIT.failed : EXIT.ok;
  } finally {
    loaded.close();
  }
};

/** CPU n runs program n modulo their number. */
function explore({ kernel, object }: LoadedObject, names: readonly string[], options: RacesOptions): Found {
  const { simulator } = kernel;
  if (simulator === null) throw new BpfError('EOPNOTSUPP', 'the host kernel cannot be interleaved');
  const input = options.data === undefined ? DEFAULT_DATA : parseData(options.data);
  const cpus = Array.from({ length: options.cpus }, (_, cpu): InterleavedRun[] => {
    const program = object.findProgram(names[cpu % names.length]!);
    const hasPacket = progTypeById(program.info().type)?.packet !== undefined;
    const run = { progFd: program.fd, repeat: options.repeat };
    return [
      hasPacket ? { ...run, dataIn: input } : options.data === undefined ? run : { ...run, ctxIn: input },
    ];
  });
  const single = options.seed !== undefined || options.schedule !== undefined;
  const first = options.seed ?? 0;
  const ends = new Map<string, End>();
  const races = new Map<string, DataRace>();
  const deadlocks: (Deadlock & { readonly seed?: number })[] = [];
  const count = single ? 1 : options.seeds;
  for (let seed = first; seed < first + count; seed++) {
    let maps: ReadonlyMap<string, string> = new Map();
    const drawn = options.schedule === undefined ? { seed } : {};
    const result = simulator.interleave({
      cpus,
      races: true,
      ...(single ? { turns: SHOWN_TURNS } : {}),
      ...drawn,
      ...(options.schedule === undefined ? {} : { schedule: options.schedule }),
      ...(options.slice === undefined ? {} : { slice: options.slice }),
      rewindAfter: () => {
        maps = contents(object);
      },
    });
    const state = new Map([...maps, ['returned', returned(result)]]);
    const key = JSON.stringify([...state]);
    const end = ends.get(key);
    if (end === undefined)
      ends.set(key, { state, ...drawn, schedule: result.schedule, turns: result.turns, times: 1 });
    else end.times++;
    for (const race of result.races) {
      const ends = [race.first, race.second].map((p) => `${p.program} ${p.insn} ${p.access}`).sort();
      races.set(ends.join(), races.get(ends.join()) ?? race);
    }
    if (result.deadlocks.length > 0 && deadlocks.length === 0)
      deadlocks.push(...result.deadlocks.map((one) => ({ ...one, ...drawn })));
  }
  return {
    programs: names,
    interleavings: count,
    ends: [...ends.values()].sort((a, b) => b.times - a.times),
    races: [...races.values()],
    deadlocks,
  };
}

function returned({ results }: InterleaveResult): string {
  return results.map((runs) => runs.map((value) => value ?? 'stopped').join(' ')).join(', ');
}

/** What user space sees in the maps, entry by entry. */
function contents(object: LoadedObject['object']): Map<string, string> {
  const state = new Map<string, string>();
  for (const map of object.maps) {
    if (map.type.holds !== undefined || map.definition.keySize === 0) continue;
    for (const { key, value } of readEntries(map) ?? [])
      state.set(`${map.name}[${toJson(key)}]`, toJson(value));
  }
  return state;
}

function asJson(found: Found): Record<string, unknown> {
  return { ...found, ends: found.ends.map((end) => ({ ...end, state: Object.fromEntries(end.state) })) };
}

function at(place: InterleavedPlace): string {
  const { source } = place;
  if (source === undefined) return `${place.program}, instruction ${place.insn}`;
  return `${source.file}:${source.line}: ${source.text.trim()}`;
}

const ACCESS = { read: 'reads', write: 'writes', atomic: 'changes (atomically)' } as const;

function print(out: Output, found: Found, options: RacesOptions, file: string): void {
  out.heading(
    `${found.programs.join(', ')} on ${plural(options.cpus, 'CPU')}, ${plural(found.interleavings, 'interleaving')}`,
  );
  for (const { memory, first, second } of found.races) {
    out.line(`  race      ${memory}`);
    for (const end of [first, second])
      out.line(`              CPU ${end.cpu} ${ACCESS[end.access]} it at ${at(end)}`);
  }
  for (const { waits, recovered, seed } of found.deadlocks) {
    out.line(`  deadlock  ${recovered ? 'a lock gives up' : 'the runs are ended'}${bySeed(seed)}`);
    for (const { at: place, lock, takenAt } of waits) {
      out.line(`              CPU ${place.cpu} waits at ${at(place)}`);
      const taken = takenAt === undefined ? '' : `, taken by CPU ${takenAt.cpu} at ${at(takenAt)}`;
      out.line(`                for ${lock}${taken}`);
    }
  }
  if (found.races.length + found.deadlocks.length === 0) out.line('  no race, no deadlock');
  printEnds(out, found);
  const [rarest] = found.ends.slice(-1);
  if (found.ends.length > 1 && rarest?.seed !== undefined)
    out.note(
      `again: tsbpf races ${file} ${found.programs.join(' ')} --cpus ${options.cpus} --seed ${rarest.seed}`,
    );
  if (found.interleavings === 1 && rarest !== undefined) {
    for (const { cpu, instructions, next } of rarest.turns) {
      const until = next === undefined ? 'to the end of the run' : `then ${at(next)}`;
      out.line(`  CPU ${cpu}     ${plural(instructions, 'instruction').padEnd(16)}${until}`);
    }
    if (rarest.turns.length === SHOWN_TURNS) out.line('            …');
    out.line(`  schedule  ${rarest.schedule}`);
  }
  out.line();
}

/** How to see it again; nothing where a schedule was given. */
function bySeed(seed: number | undefined): string {
  return seed === undefined ? '' : `  (--seed ${seed})`;
}

/** Only what differs between the ends says something; of a single one all. */
function printEnds(out: Output, { ends }: Found): void {
  const keys = [...new Set(ends.flatMap(({ state }) => [...state.keys()]))];
  const shown =
    ends.length === 1 ? keys : keys.filter((key) => new Set(ends.map((e) => e.state.get(key))).size > 1);
  for (const { state, times, seed } of ends.slice(0, SHOWN_ENDS)) {
    const facts = shown
      .filter((key) => state.has(key))
      .map((key) => (key === 'returned' ? `returned ${state.get(key)}` : `${key} = ${state.get(key)}`));
    out.line(`  ${grouped(times).padStart(7)}×  ${facts.join(', ')}${bySeed(seed)}`);
  }
  if (ends.length > SHOWN_ENDS) out.line(`           and ${ends.length - SHOWN_ENDS} other ends`);
}

export const RACES: CommandRow = {
  name: 'races',
  declare(parent: Command, run: Runner): void {
    const command = parent
      .command('races')
      .summary('run programs on several CPUs in many interleavings: races, deadlocks, lost updates')
      .description(
        'Runs programs on CPUs of one embedded kernel that take turns instruction by instruction, in an order drawn from a seed. Reports accesses that no lock or atomic operation orders, deadlocks, and the different states that the maps end in. Without programs: each one of the object against itself. Status 1 where there is a race or a deadlock.',
      )
      .argument('<file>', 'an object, or a C file')
      .argument('[program...]', 'CPU n runs program n, from the first one again where there are fewer')
      .option('--cpus <n>', 'CPUs', (text) => parseInteger(text, 1, MOST_CPUS), 2)
      .option('--repeat <n>', 'runs of each CPU', positive, 1)
      .option('--seeds <n>', 'interleavings', positive, DEFAULT_SEEDS)
      .option('--seed <n>', 'only the interleaving of this seed', anySeed)
      .option('--schedule <slices>', 'only this one: CPU:INSTRUCTIONS, separated by spaces')
      .option(
        '--slice <n>',
        'instructions between two changes of the CPU on average (default: drawn)',
        positive,
      )
      .option('--data <bytes>', 'packet, or context of programs without packets; default: 64 zeros')
      .option('--set <map[key]=value>', 'what a map holds at the start; may be repeated', collect)
      .addOption(programTypeOption())
      .addOption(cflagsOption())
      .option('--json', 'one document')
      .action(run(action));
    addTargetOptions(command);
    withExamples(command, [
      ['tsbpf races prog.bpf.o', 'each program against itself on two CPUs'],
      ['tsbpf races prog.bpf.c writer reader --cpus 4', 'two writers, two readers'],
      ['tsbpf races prog.bpf.o count --seed 17', 'one interleaving again, with its schedule'],
    ]);
  },
};
