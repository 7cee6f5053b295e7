/**
 * `tsbpf map`: bpftool's map commands, on an object loaded for the call or on the maps that the host kernel holds. A dump shows what
 * the maps hold now, for an object: after load, or after a run on packets or events.
 */
import type { Command } from 'commander';
import type { Kernel } from '../../contracts/kernel.ts';
import type { BpfMap, BtfValue } from '../../libbpf/index.ts';
import { alignUp } from '../../util/bytes.ts';
import { BpfError } from '../../util/errors.ts';
import {
  type Action,
  type CommandContext,
  type CommandRow,
  choiceOf,
  collect,
  engineOption,
  kernelOption,
  programTypeOption,
  type Runner,
  withExamples,
} from '../command.ts';
import { EXIT, UsageError } from '../errors.ts';
import { hexBytes, hexList } from '../hexdump.ts';
import { toJson } from '../json.ts';
import type { LoadedObject } from '../load.ts';
import { type MapEntry, readEntries } from '../map-contents.ts';
import type { Output } from '../output.ts';
import { runSession } from '../session/session.ts';
import { heldMaps, openTargetKernel, parseTarget, type Target, withObject } from '../targets.ts';
import { assign, parseAssignment } from '../values.ts';
import { jsonOptions, printJson, type ToolOptions } from './prog.ts';

interface MapOptions extends ToolOptions {
  readonly map?: readonly string[];
}

interface DumpOptions extends MapOptions {
  readonly pcap?: string;
  readonly replay?: string;
  readonly set?: readonly string[];
}

function info(kernel: Kernel, map: BpfMap) {
  const found = kernel.objGetInfoByFd({ bpfFd: map.fd });
  if (found.kind !== 'map') throw new BpfError('EINVAL', `'${map.name}' is no map`);
  return found;
}

function chosen({ object }: LoadedObject, names: readonly string[] | undefined): readonly BpfMap[] {
  return names === undefined ? object.maps : names.map((name) => object.findMap(name));
}

/** The maps that the words mean, each open for as long as it is looked at. */
async function withMaps(
  { env, out }: CommandContext,
  target: Target,
  options: MapOptions,
  use: (kernel: Kernel, maps: Iterable<BpfMap>) => number,
): Promise<number> {
  if (target.file !== undefined)
    return withObject(env, out, target.file, options, (loaded) =>
      use(loaded.kernel, chosen(loaded, options.map)),
    );
  const kernel = await openTargetKernel(env, out, 'map', options);
  try {
    return use(kernel, heldMaps(kernel, target));
  } finally {
    kernel.shutdown();
  }
}

const list: Action<[string[], MapOptions]> = (context, words, options) =>
  withMaps(context, parseTarget('map', words), options, (kernel, maps) => {
    const { out } = context;
    if (options.json || options.pretty) {
      const rows = Array.from(maps, (map) => {
        const { id, mapFlags, keySize, valueSize, maxEntries, memlock, frozen, btfId } = info(kernel, map);
        return {
          id,
          type: map.type.name,
          name: map.name,
          flags: mapFlags,
          bytes_key: keySize,
          bytes_value: valueSize,
          max_entries: maxEntries,
          bytes_memlock: memlock,
          frozen: frozen ? 1 : 0,
          ...(btfId > 0 ? { btf_id: btfId } : {}),
        };
      });
      printJson(out, rows, options);
      return EXIT.ok;
    }
    for (const map of maps) {
      const { id, mapFlags, keySize, valueSize, maxEntries, memlock, frozen, btfId } = info(kernel, map);
      out.line(`${id}: ${map.type.name}  name ${map.name}  flags 0x${mapFlags.toString(16)}`);
      out.line(
        `\tkey ${keySize}B  value ${valueSize}B  max_entries ${maxEntries}  memlock ${memlock}B${frozen ? '  frozen' : ''}`,
      );
      if (btfId > 0) out.line(`\tbtf_id ${btfId}`);
    }
    return EXIT.ok;
  });

const dump: Action<[string[], DumpOptions]> = async (context, words, options) => {
  const { out } = context;
  const target = parseTarget('map', words);
  const { file } = target;
  if (file === undefined) {
    const given = RUN_OPTIONS.find((name) => options[name] !== undefined);
    if (given !== undefined) throw new UsageError(`--${given} is for the maps of an object file`);
    return withMaps(context, target, options, (_kernel, maps) => {
      for (const map of maps) print(out, map, options);
      return EXIT.ok;
    });
  }
  if (options.pcap === undefined && options.replay === undefined) {
    return withObject(context.env, out, file, options, (loaded) => {
      for (const text of options.set ?? []) assign(loaded.object, parseAssignment(text));
      return print(out, only(loaded, options), options);
    });
  }
  const loaded = await ran(context, file, options);
  try {
    return print(out, only(loaded, options), options);
  } finally {
    loaded.close();
  }
};

const RUN_OPTIONS = ['pcap', 'replay', 'set', 'program'] as const;

/** The object after a run, what it prints unheard. */
async function ran({ env, out }: CommandContext, file: string, options: DumpOptions): Promise<LoadedObject> {
  const { pcap, replay, engine, progType } = options;
  let refusal: unknown;
  const summary = await runSession(
    env,
    out,
    {
      file,
      log: 0,
      program: options.program ?? [],
      maps: options.map ?? [],
      set: (options.set ?? []).map(parseAssignment),
      repeat: 1,
      cpus: 1,
      ...choiceOf(options, out),
      ...(pcap === undefined ? {} : { pcap }),
      ...(replay === undefined ? {} : { replay }),
      ...(engine === undefined ? {} : { engine }),
      ...(progType === undefined ? {} : { progType }),
    },
    {
      rejected: ({ reports }) => {
        refusal = reports.find(({ error }) => error !== undefined)?.error;
      },
      log: () => {},
      output: () => {},
      note: (text) => out.note(text),
    },
  );
  if (summary === undefined) throw refusal;
  return summary.loaded;
}

function only(loaded: LoadedObject, options: DumpOptions): BpfMap {
  const maps = chosen(loaded, options.map);
  const [map] = maps;
  if (maps.length !== 1 || map === undefined) {
    const names = maps.map(({ name }) => name).join(', ');
    if (maps.length === 0) throw new UsageError('the object has no maps');
    throw new UsageError(`the object has ${maps.length} maps`, `choose one with --map: ${names}`);
  }
  return map;
}

function print(out: Output, map: BpfMap, options: DumpOptions): number {
  const entries = readEntries(map);
  if (entries === undefined)
    throw new BpfError('EOPNOTSUPP', `a map of type ${map.type.name} cannot be walked`);
  const typed = map.definition.btf !== undefined && map.definition.btfValueTypeId !== 0;
  if (options.json || options.pretty)
    printJson(
      out,
      entries.map((entry) => entryJson(map, entry, typed)),
      options,
    );
  else if (typed)
    out.line(
      toJson(
        entries.map((entry) => formatted(map, entry)),
        4,
      ),
    );
  else {
    for (const { keyBytes, valueBytes } of entries)
      out.line(`key: ${hexBytes(keyBytes)}  value: ${hexBytes(valueBytes)}`);
    out.line(`Found ${entries.length} element${entries.length === 1 ? '' : 's'}`);
  }
  return EXIT.ok;
}

function entryJson(map: BpfMap, entry: MapEntry, typed: boolean): Record<string, unknown> {
  const raw = map.type.perCpu
    ? { values: perCpuBytes(map, entry.valueBytes).map((value, cpu) => ({ cpu, value: hexList(value) })) }
    : { value: hexList(entry.valueBytes) };
  return { key: hexList(entry.keyBytes), ...raw, ...(typed ? { formatted: formatted(map, entry) } : {}) };
}

function formatted(map: BpfMap, { keyBytes, value }: MapEntry): Record<string, unknown> {
  const key: BtfValue = map.decodeKey(keyBytes);
  if (!map.type.perCpu) return { key, value };
  return { key, values: (value as readonly BtfValue[]).map((one, cpu) => ({ cpu, value: one })) };
}

function perCpuBytes(map: BpfMap, bytes: Uint8Array): Uint8Array[] {
  const { valueSize } = map.definition;
  const step = alignUp(valueSize, 8);
  const values: Uint8Array[] = [];
  for (let at = 0; at + valueSize <= bytes.length; at += step)
    values.push(bytes.subarray(at, at + valueSize));
  return values;
}

const TARGET = 'object file; with --kernel host also: id N, pinned PATH, name NAME';

export const MAP: CommandRow = {
  name: 'map',
  declare(parent: Command, run: Runner): void {
    const map = parent
      .command('map')
      .summary("bpftool's map commands, on an object or on the host kernel")
      .description(
        'Shows and dumps the maps of an object, in the shape of bpftool map. With --kernel host and id N, pinned PATH or name NAME: maps that the kernel of this machine holds; show with nothing: all of them.',
      );
    const common = (command: Command) =>
      jsonOptions(command.option('--map <name>', 'this map', collect))
        .addOption(programTypeOption())
        .addOption(kernelOption())
        .addOption(engineOption());
    common(
      map
        .command('list')
        .alias('show')
        .description('id, type, name, flags and sizes')
        .argument('[map...]', TARGET),
    ).action(run(list));
    common(
      map
        .command('dump')
        .description('all entries, after load or after a run')
        .argument('<map...>', TARGET)
        .option('--pcap <file>', 'runs the programs on these packets before')
        .option('--replay <file>', 'runs the programs on this recording of strace -f -ttt or perf before')
        .option('--program <name>', 'runs only this program; may be repeated', collect)
        .option('--set <map:key=value>', 'sets a map entry before; may be repeated', collect),
    ).action(run(dump));
    withExamples(map, [
      ['tsbpf map show prog.bpf.o', 'the maps of an object'],
      ['tsbpf map dump id 7 -p --kernel host', 'what a map of this machine holds'],
      ['tsbpf map dump xdp_filter.bpf.o --map protocols --pcap in.pcap -j', 'what a run has counted'],
    ]);
  },
};
