/**
 * A loaded program as text in the shared memory, from which the thread of another CPU makes its own: the rewritten instructions, what
 * calls lead to by name, maps by the place of their headers. Code is compiled again there (the engine's cache and the host's make that
 * cheap), since functions cannot be handed from thread to thread.
 */
import type { CallTarget, ExecutableProgram } from '../../contracts/engine.ts';
import type { BpfMap, MapLayout, SpecialField } from '../../contracts/maps.ts';
import type { LineInfo } from '../../contracts/verify.ts';
import { attachMap } from '../../maps/index.ts';
import { helperById, helperFor, progTypeById } from '../../spec/index.ts';
import { BpfError } from '../../util/errors.ts';
import type { Machine } from '../machine.ts';
import type { ProgObject, ProgramParts } from '../objects.ts';

interface MapImage {
  readonly name: string;
  readonly layout: MapLayout;
  /** What threads need to know of special fields. */
  readonly fields: readonly Pick<SpecialField, 'kind' | 'offset' | 'size'>[];
}

type CallImage =
  | {
      readonly kind: 'helper';
      readonly id: number;
      readonly map?: MapImage;
      readonly lock?: 'acquire' | 'release';
    }
  | { readonly kind: 'other'; readonly name: string; readonly lock?: 'acquire' | 'release' }
  | { readonly kind: 'tail_call'; readonly map?: MapImage }
  | Extract<CallTarget, { kind: 'subprog' | 'callback' }>;

export interface ProgramImage {
  readonly id: number;
  readonly entry: number;
  readonly engine: 'interpreter' | 'jit';
  readonly typeId: number;
  readonly expectedAttachType: number;
  readonly maxCtxOffset: number;
  readonly movesPacket: boolean;
  readonly lines: readonly LineInfo[];
  readonly traced: ProgramParts['traced'];
  readonly executable: Omit<ExecutableProgram, 'calls'>;
  readonly calls: readonly (readonly [number, CallImage])[];
  /** Why no other CPU can run it. */
  readonly refusal?: string;
}

/** Special fields that any thread may work on, or ask the kernel's to; objects are on the heap of one thread. */
const FIELDS_OF_ALL: ReadonlySet<string> = new Set([
  'spin_lock',
  'res_spin_lock',
  'kptr_untrusted',
  'timer',
  'workqueue',
  'task_work',
]);

/** What is told of a program that only CPU 0 runs. */
const NO_PROGRAM: ExecutableProgram = {
  name: '',
  insns: [],
  calls: [],
  origin: new Int32Array(),
  probeLoads: new Set(),
  subprogs: [],
};

export function imageOf(program: ProgObject): ProgramImage {
  const { parts } = program;
  const refusal = refusalOf(program);
  const { calls, ...executable } =
    refusal === undefined ? parts.program : { ...NO_PROGRAM, name: parts.program.name };
  const listed: (readonly [number, CallImage])[] = [];
  calls.forEach((call, at) => {
    if (call !== undefined) listed.push([at, callImage(call)]);
  });
  return {
    id: program.id,
    entry: parts.executable.entry,
    engine: parts.executable.engine,
    typeId: program.runsAs.id,
    expectedAttachType: parts.expectedAttachType,
    maxCtxOffset: parts.maxCtxOffset,
    movesPacket: parts.movesPacket,
    lines: parts.lines,
    traced: parts.traced,
    executable,
    calls: listed,
    ...(refusal === undefined ? {} : { refusal }),
  };
}

function refusalOf({ parts, maps, hooks }: ProgObject): string | undefined {
  if (hooks.size > 0) return 'other programs are attached to its functions';
  if (parts.entryArguments >= 0) return `${parts.type.name} programs run where their target runs`;
  for (const { map } of maps) {
    const field = map.info.specialFields?.find(({ kind }) => !FIELDS_OF_ALL.has(kind));
    if (field !== undefined) return `values of its map '${map.info.name}' hold a ${field.kind}`;
    if (map.info.type.holds === 'cgroup' || map.info.type.holds === 'socket')
      return `its map '${map.info.name}'`;
  }
  return undefined;
}

function callImage(call: CallTarget): CallImage {
  switch (call.kind) {
    case 'function': {
      const lock = call.lock === undefined ? {} : { lock: call.lock };
      if (call.row === undefined) return { kind: 'other', name: call.callee.name, ...lock };
      return { kind: 'helper', id: call.row.id, ...mapImage(call.map), ...lock };
    }
    case 'tail_call':
      return { kind: 'tail_call', ...mapImage(call.map) };
    default:
      return call;
  }
}

function mapImage(map: BpfMap | undefined): { map?: MapImage } {
  if (map === undefined) return {};
  const fields = (map.info.specialFields ?? []).map(({ kind, offset, size }) => ({ kind, offset, size }));
  return { map: { name: map.info.name, layout: map.layout, fields } };
}

// Sets, maps and typed arrays as text.

export function encodeImage(image: ProgramImage): string {
  return JSON.stringify(image, (_, value: unknown) => {
    if (value instanceof Set) return { $set: [...value] };
    if (value instanceof Map) return { $map: [...value] };
    if (value instanceof Int32Array) return { $i32: Array.from(value) };
    if (typeof value === 'bigint') return { $big: String(value) };
    return value;
  });
}

export function decodeImage(text: string): ProgramImage {
  return JSON.parse(text, (_, value: unknown) => {
    if (typeof value !== 'object' || value === null) return value;
    if ('$set' in value) return new Set(value.$set as unknown[]);
    if ('$map' in value) return new Map(value.$map as [unknown, unknown][]);
    if ('$i32' in value) return Int32Array.from(value.$i32 as number[]);
    if ('$big' in value) return BigInt(value.$big as string);
    return value;
  }) as ProgramImage;
}

/** The program with functions and maps of this thread. Throws BpfError ENOTSUPP where it needs what only CPU 0 has. */
export function executableOf(image: ProgramImage, machine: Machine): ExecutableProgram {
  const type = progTypeById(image.typeId)!;
  const refuse = (what: string): never => {
    throw new BpfError(
      'ENOTSUPP',
      `program ${image.executable.name} cannot run on CPU ${machine.cpu}: ${what}`,
      {
        hint: 'run it on CPU 0',
      },
    );
  };
  if (image.refusal !== undefined) refuse(image.refusal);
  const calls: (CallTarget | undefined)[] = new Array(image.executable.insns.length).fill(undefined);
  const mapAt = (map: MapImage | undefined): { map?: BpfMap } => {
    if (map === undefined) return {};
    const attached = attachMap(machine.memory, map.layout.address, {
      info: { name: map.name, ...(map.fields.length > 0 ? { specialFields: map.fields } : {}) },
      layout: map.layout,
    });
    return attached === undefined ? {} : { map: attached };
  };
  for (const [at, call] of image.calls) {
    if (call.kind === 'helper') {
      const row = helperFor(helperById(call.id)!, type.name);
      const known = mapAt(call.map);
      const callee = machine.helpers.resolve(row, known.map) ?? refuse(`helper ${row.name}`);
      const lock = call.lock === undefined ? {} : { lock: call.lock };
      calls[at] = { kind: 'function', callee, row, ...known, ...lock };
    } else if (call.kind === 'other') {
      const loads = Object.values(machine.packetLoads).find(({ name }) => name === call.name);
      const site = { writesPacket: type.packet?.write === true };
      const callee =
        loads ??
        (machine.kfuncs.ownsNothing(call.name) ? machine.kfuncs.resolve(call.name, site) : undefined) ??
        refuse(`kernel function ${call.name}`);
      calls[at] = { kind: 'function', callee, ...(call.lock === undefined ? {} : { lock: call.lock }) };
    } else calls[at] = call.kind === 'tail_call' ? { kind: 'tail_call', ...mapAt(call.map) } : call;
  }
  return { ...image.executable, calls };
}
