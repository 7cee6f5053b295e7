/**
 * Translation in another thread: what the translator reads of a program as data that can be posted, and what comes back.
 *
 * Invariant: a job holds what the code depends on and nothing else, as the cache's key does (`cache.ts`): of a map its `layout` and the
 * plain fields of its `info`, of a callee its plain fields; callees, maps and rows that are one object stay one. Jobs and results are
 * of one version of this package; they are made and read here only.
 */
import type { CallableFunction, CallTarget, ExecutableProgram } from '../contracts/engine.ts';
import type { Insn } from '../contracts/insn.ts';
import type { BpfMap, MapInfo, MapLayout } from '../contracts/maps.ts';
import { mapTypeByName } from '../spec/index.ts';
import type { HelperRow } from '../spec/types.ts';
import { BpfError, InternalError } from '../util/errors.ts';
import { type CachedCode, instructionWords } from './cache.ts';
import { type CompiledSubprog, compileModule, type ModuleOptions, type TranslatedModule } from './module.ts';

/** Milliseconds. */
export interface Stages {
  readonly translate: number;
  readonly compile: number;
}

type MapShape = Pick<MapInfo, 'name' | 'keySize' | 'valueSize' | 'maxEntries' | 'flags' | 'mapExtra'> & {
  readonly type: string;
  readonly inner?: MapShape;
};

interface MapImage {
  readonly layout: MapLayout;
  readonly info: MapShape;
}

type FunctionTarget = Extract<CallTarget, { kind: 'function' }>;

type CallImage =
  | (Pick<FunctionTarget, 'kind' | 'lock'> & {
      /** Indexes in the lists of the job. */
      readonly callee: number;
      readonly row?: number;
      readonly map?: number;
    })
  | { readonly kind: 'tail_call'; readonly map?: number }
  | Extract<CallTarget, { kind: 'subprog' | 'callback' }>;

export interface CompileJob {
  readonly program: Omit<ExecutableProgram, 'insns' | 'calls'>;
  /** As `instructionWords` makes them. */
  readonly words: Int32Array;
  readonly calls: readonly (readonly [number, CallImage])[];
  readonly callees: readonly Omit<CallableFunction, 'fn'>[];
  readonly rows: readonly HelperRow[];
  readonly maps: readonly MapImage[];
  readonly options: ModuleOptions;
}

/** The code of a function stands in the module's bytes. */
type FunctionImage = Omit<CompiledSubprog, 'code'> & { readonly codeBytes: number };

export interface CompileResult {
  readonly module: WebAssembly.Module;
  readonly compiled: Omit<TranslatedModule, 'functions'>;
  readonly functions: readonly FunctionImage[];
  readonly importCalls: readonly number[];
  readonly stages: Stages;
}

function unpackInsns(words: Int32Array): Insn[] {
  const insns = new Array<Insn>(words.length / 2);
  for (let i = 0; i < insns.length; i++) {
    const word = words[2 * i]!;
    insns[i] = {
      code: word & 0xff,
      dst: (word >> 8) & 15,
      src: (word >> 12) & 15,
      off: word >> 16,
      imm: words[2 * i + 1]!,
    };
  }
  return insns;
}

/** Gives each object that it sees a number. */
class Numbers<T extends object, Image> {
  readonly images: Image[] = [];
  readonly #known = new Map<T, number>();
  readonly #imageOf: (object: T) => Image;

  constructor(imageOf: (object: T) => Image) {
    this.#imageOf = imageOf;
  }

  of(object: T): number {
    let number = this.#known.get(object);
    if (number === undefined) {
      number = this.images.push(this.#imageOf(object)) - 1;
      this.#known.set(object, number);
    }
    return number;
  }
}

function shapeOf({ type, name, keySize, valueSize, maxEntries, flags, mapExtra, inner }: MapInfo): MapShape {
  return {
    type: type.name,
    name,
    keySize,
    valueSize,
    maxEntries,
    flags,
    ...(mapExtra === undefined ? {} : { mapExtra }),
    ...(inner === undefined ? {} : { inner: shapeOf(inner) }),
  };
}

export function compileJob(
  { insns, calls, ...program }: ExecutableProgram,
  options: ModuleOptions,
): CompileJob {
  const callees = new Numbers(({ fn: _, ...plain }: CallableFunction) => plain);
  const rows = new Numbers((row: HelperRow) => row);
  const maps = new Numbers(({ layout, info }: BpfMap): MapImage => ({ layout, info: shapeOf(info) }));
  const map = (known: BpfMap | undefined) => (known === undefined ? {} : { map: maps.of(known) });
  const listed: (readonly [number, CallImage])[] = [];
  calls.forEach((target, at) => {
    if (target === undefined) return;
    if (target.kind === 'function') {
      const row = target.row === undefined ? {} : { row: rows.of(target.row) };
      const lock = target.lock === undefined ? {} : { lock: target.lock };
      const callee = callees.of(target.callee);
      listed.push([at, { kind: 'function', callee, ...row, ...map(target.map), ...lock }]);
    } else if (target.kind === 'tail_call') listed.push([at, { kind: 'tail_call', ...map(target.map) }]);
    else listed.push([at, target]);
  });
  return {
    program,
    words: instructionWords(insns),
    calls: listed,
    callees: callees.images,
    rows: rows.images,
    maps: maps.images,
    options,
  };
}

/** As much of it as the translator reads. */
function programOf({ program, words, calls, callees, rows, maps }: CompileJob): ExecutableProgram {
  const insns = unpackInsns(words);
  const functions = callees.map((plain): CallableFunction => ({ ...plain, fn: calledElsewhere }));
  const shapes = maps.map(({ layout, info }) => ({ layout, info: infoOf(info) }) as BpfMap);
  const targets = new Array<CallTarget | undefined>(insns.length).fill(undefined);
  for (const [at, call] of calls) {
    if (call.kind === 'function') {
      const { callee, row, map, ...rest } = call;
      targets[at] = {
        ...rest,
        callee: functions[callee]!,
        ...(row === undefined ? {} : { row: rows[row]! }),
        ...(map === undefined ? {} : { map: shapes[map]! }),
      };
    } else if (call.kind === 'tail_call') {
      targets[at] = { kind: 'tail_call', ...(call.map === undefined ? {} : { map: shapes[call.map]! }) };
    } else targets[at] = call;
  }
  return { ...program, insns, calls: targets };
}

function infoOf({ type, inner, ...plain }: MapShape): MapInfo {
  return {
    ...plain,
    id: 0,
    type: mapTypeByName(type)!,
    ...(inner === undefined ? {} : { inner: infoOf(inner) }),
  };
}

function calledElsewhere(): never {
  throw new InternalError('jit: a program was run where it was only compiled');
}

/** What the other thread does. Throws as `compileCode`. */
export function runCompileJob(job: CompileJob): CompileResult {
  const program = programOf(job);
  const { code, stages } = compileCode(program, job.options, (bytes) => new WebAssembly.Module(bytes));
  const { functions, bytes, ...compiled } = code.compiled;
  return {
    module: code.module,
    // Of a larger buffer, which would be posted whole.
    compiled: { ...compiled, bytes: bytes.slice() },
    functions: functions.map(({ code: body, ...rest }) => ({ ...rest, codeBytes: body.length })),
    importCalls: code.importCalls,
    stages,
  };
}

export function codeFrom({ module, compiled, functions, importCalls }: CompileResult): CachedCode {
  return {
    module,
    importCalls,
    compiled: {
      ...compiled,
      functions: functions.map(({ codeBytes, ...rest }) => ({
        ...rest,
        code: compiled.bytes.subarray(rest.offset, rest.offset + codeBytes),
      })),
    },
  };
}

/** Translates and has the host compile. Throws BpfError: what cannot be translated; E2BIG where the host refuses. */
export function compileCode(
  program: ExecutableProgram,
  options: ModuleOptions,
  compile: (bytes: Uint8Array<ArrayBuffer>, insns: number) => WebAssembly.Module,
): { code: CachedCode; stages: Stages } {
  const started = performance.now();
  const { imports, ...compiled } = compileModule(program, options);
  const translated = performance.now();
  const { bytes } = compiled;
  let module: WebAssembly.Module;
  try {
    module = compile(bytes as Uint8Array<ArrayBuffer>, program.insns.length);
  } catch (cause) {
    const size = `${program.insns.length} instructions, ${bytes.length} bytes of code`;
    throw new BpfError('E2BIG', `jit: the host refused the code of ${program.name} (${size})`, { cause });
  }
  const stages = { translate: translated - started, compile: performance.now() - translated };
  return { code: { module, compiled, importCalls: callsOf(program, imports) }, stages };
}

/** A call of each function. */
function callsOf(program: ExecutableProgram, callees: readonly CallableFunction[]): number[] {
  const calls = new Map<CallableFunction, number>();
  program.calls.forEach((target, at) => {
    if (target?.kind === 'function' && !calls.has(target.callee)) calls.set(target.callee, at);
  });
  return callees.map((callee) => calls.get(callee) ?? -1);
}
