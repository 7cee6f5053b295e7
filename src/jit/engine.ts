/**
 * The compiling engine: one ExecutableProgram to one instance of a Wasm module on the kernel's memory.
 *
 * What it cannot compile (an instruction it has no translation for, a function beyond an engine's limits) is refused
 * with a BpfError, as the kernel does before it falls back to its interpreter.
 */
import type {
  CompileElsewhere,
  Engine,
  EngineEnv,
  EntryTable,
  ExecutableProgram,
  FrameRun,
  JitedFunction,
  PreparedProgram,
  PrepareOptions,
} from '../contracts/engine.ts';
import { BUDGET_SPENT, MAX_NESTED_RUNS, RUN_STATE, STACK_BYTES, STACKS } from '../memory/layout.ts';
import { BpfError, InternalError } from '../util/errors.ts';
import { arenaFunctions } from './arena-imports.ts';
import { type CachedCode, type CodeCache, codeKey, sharedCodeCache } from './cache.ts';
import { type CompileResult, codeFrom, compileCode, compileJob, type Stages } from './elsewhere.ts';
import { type FaultSource, type FaultSources, faultOf, isTrap } from './faults.ts';
import { callbacksOf, IDLE_FRAME, type ModuleOptions } from './module.ts';
import { createFrameLoop, type FrameLoop } from './packet-loop.ts';
import { dumpModule, listModule } from './text.ts';

interface Exports {
  readonly entry: () => void;
  readonly run: (ctx: number, level: number) => number;
  readonly repeat: (ctx: number, level: number, times: number) => number;
  readonly frame?: WebAssembly.Global;
  readonly [callback: `cb${number}`]: (...words: number[]) => number;
}

/** One a kernel. */
const frameLoops = new WeakMap<EntryTable, FrameLoop>();

/** A module with nothing but a function that makes a tail call: valid where tail calls are known. */
const TAIL_CALL_PROBE = [
  0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x04, 0x01, 0x60, 0x00, 0x00, 0x03, 0x02, 0x01, 0x00,
  0x0a, 0x06, 0x01, 0x04, 0x00, 0x12, 0x00, 0x0b,
];

export interface JitOptions {
  /** Use `return_call_indirect`; default: where the host knows it. */
  readonly tailCalls?: boolean;
  /** Deepest nesting of Wasm blocks (default 20 000; V8 compiles 30 000); wider programs jump through tables. */
  readonly maxNesting?: number;
  /** Default: that of the process. */
  readonly cache?: CodeCache;
  /**
   * Compiles in place of `new WebAssembly.Module`, where the host knows how to choose between its compilers. `insns`: how many
   * instructions the program has.
   */
  readonly compile?: CompileCode;
}

export type CompileCode = (bytes: Uint8Array<ArrayBuffer>, insns: number) => WebAssembly.Module;

const compileAsUsual: CompileCode = (bytes) => new WebAssembly.Module(bytes);

export function createJit(options: JitOptions = {}): Engine {
  const tailCalls = options.tailCalls ?? WebAssembly.validate(Uint8Array.from(TAIL_CALL_PROBE));
  const maxNesting = options.maxNesting ?? 20_000;
  const cache = options.cache ?? sharedCodeCache();
  const compile = options.compile ?? compileAsUsual;
  const sourcesOf = new WeakMap<EntryTable, FaultSources>();
  const underWay = new Map<string, Promise<CompileResult | undefined>>();
  const settingFor = (env: EngineEnv, { blinding }: PrepareOptions): Setting => {
    let sources = sourcesOf.get(env.entries);
    if (sources === undefined) {
      sources = new Map();
      sourcesOf.set(env.entries, sources);
    }
    return { tailCalls, maxNesting, sources, cache, compile, blinding };
  };
  return {
    name: 'jit',
    cacheStats: () => cache.stats(),
    prepare(program, env, options = {}) {
      const setting = settingFor(env, options);
      return new JitProgram(program, env, setting);
    },
    async prepareLater(program, env, elsewhere, options = {}) {
      const setting = settingFor(env, options);
      const code = await codeLater(program, env, setting, { elsewhere, underWay });
      return new JitProgram(program, env, setting, code);
    },
  };
}

interface Setting {
  readonly tailCalls: boolean;
  readonly maxNesting: number;
  readonly sources: FaultSources;
  readonly cache: CodeCache;
  readonly compile: CompileCode;
  readonly blinding: PrepareOptions['blinding'];
}

class JitProgram implements PreparedProgram {
  readonly engine = 'jit';
  readonly entry: number;
  readonly codeSize: number;
  readonly cached: boolean;
  readonly stages: Stages;
  readonly #tag: string;
  readonly #env: EngineEnv;
  readonly #setting: Setting;
  readonly #source: FaultSource;
  readonly #exports: Exports;
  // Kept apart from the exports, whose properties are slow to look up.
  readonly #run: Exports['run'];
  readonly #repeat: Exports['repeat'];
  readonly #tokens: readonly number[];
  #released = false;

  constructor(program: ExecutableProgram, env: EngineEnv, setting: Setting, ready?: Code) {
    this.#env = env;
    this.#setting = setting;
    const tokenOf = new Map<number, number>();
    try {
      for (const index of callbacksOf(program).keys()) {
        tokenOf.set(index, env.callbacks.register(this.#callback(`cb${index}`)));
      }
      const { tag, code, cached, stages } = ready ?? codeOf(program, env, setting);
      this.#tag = tag;
      this.cached = cached;
      this.stages = stages;
      this.#source = { program, compiled: code.compiled };
      this.codeSize = code.compiled.bytes.length;
      this.#exports = instantiate(program, code, env, { tokenOf, blinding: setting.blinding });
      this.#run = this.#exports.run;
      this.#repeat = this.#exports.repeat;
    } catch (error) {
      for (const token of tokenOf.values()) env.callbacks.release(token);
      throw error;
    }
    this.#tokens = [...tokenOf.values()];
    const same = setting.sources.get(this.#tag);
    if (same === undefined) setting.sources.set(this.#tag, [this.#source]);
    else same.push(this.#source);
    this.entry = env.entries.reserve(this);
    const table = env.entries.wasm;
    if (table.length <= this.entry) table.grow(this.entry + 1 - table.length);
    table.set(this.entry, this.#exports.entry);
  }

  run(ctx: number, level = 0): number {
    if (level >>> 0 >= MAX_NESTED_RUNS) throw tooDeep(this.#source.program, level);
    try {
      return this.#run(ctx, level) >>> 0;
    } catch (error) {
      throw this.#fault(error);
    }
  }

  runRepeated(ctx: number, times: number, level = 0): number {
    if (level >>> 0 >= MAX_NESTED_RUNS) throw tooDeep(this.#source.program, level);
    try {
      return this.#repeat(ctx, level, times) >>> 0;
    } catch (error) {
      throw this.#fault(error);
    }
  }

  runFrames(run: FrameRun, level = 0): number {
    if (level >>> 0 >= MAX_NESTED_RUNS) throw tooDeep(this.#source.program, level);
    let loop = frameLoops.get(this.#env.entries);
    if (loop === undefined) {
      loop = createFrameLoop(this.#env, run.edges, memoryType(this.#env.memory.wasm));
      frameLoops.set(this.#env.entries, loop);
    }
    const stack = this.#env.memory.cpuDelta + STACKS + (level + 1) * STACK_BYTES;
    try {
      return loop(run.at, run.end, this.entry, run.ctx, stack, run.counts, run.longest) >>> 0;
    } catch (error) {
      throw this.#fault(error);
    }
  }

  listing(): JitedFunction[] {
    return listModule(this.#source.program, this.#source.compiled);
  }

  code(): Uint8Array {
    return this.#source.compiled.bytes;
  }

  dump(): string {
    return dumpModule(this.#source.program, this.#source.compiled);
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#env.entries.wasm.set(this.entry, null);
    this.#env.entries.release(this.entry);
    for (const token of this.#tokens) this.#env.callbacks.release(token);
    const { sources } = this.#setting;
    const others = sources.get(this.#tag)?.filter((source) => source !== this.#source) ?? [];
    if (others.length === 0) sources.delete(this.#tag);
    else sources.set(this.#tag, others);
  }

  /** Five words at most; a Wasm function ignores those that it does not take. */
  #callback(name: `cb${number}`): (...words: number[]) => number {
    return (a, b, c, d, e) => {
      try {
        return this.#exports[name]!(a!, b!, c!, d!, e!);
      } catch (error) {
        throw this.#fault(error);
      }
    };
  }

  /** The error to throw for `error`; puts back what the abandoned run has left changed. */
  #fault(error: unknown): unknown {
    if (this.#exports.frame !== undefined) this.#exports.frame.value = IDLE_FRAME;
    if (!isTrap(error)) return error;
    const { i32, cpuDelta } = this.#env.memory;
    const budget = (RUN_STATE.budget + cpuDelta) >>> 2;
    const isSpent = this.#source.program.budgeted === true && i32[budget] === BUDGET_SPENT;
    if (isSpent) i32[budget] = 0;
    return faultOf(error as Error, this.#source, this.#setting.sources, isSpent);
  }
}

function tooDeep(program: ExecutableProgram, level: number): BpfError {
  return new BpfError(
    'EBUSY',
    `${program.name}: runs nest at most ${MAX_NESTED_RUNS} deep, this is level ${level}`,
  );
}

function memoryType(memory: WebAssembly.Memory): { minimum: number; maximum?: number; shared: boolean } {
  const shared = typeof SharedArrayBuffer !== 'undefined' && memory.buffer instanceof SharedArrayBuffer;
  // A shared memory's maximum is part of its type; it is that of GuestMemory.
  return shared ? { minimum: 1, maximum: 32768, shared } : { minimum: 1, shared };
}

interface Code {
  readonly tag: string;
  readonly code: CachedCode;
  readonly cached: boolean;
  readonly stages: Stages;
}

interface Wanted {
  readonly key: string;
  readonly tag: string;
  readonly options: ModuleOptions;
}

function wantedOf(program: ExecutableProgram, env: EngineEnv, setting: Setting): Wanted {
  const { tailCalls, maxNesting, blinding } = setting;
  const options = { tailCalls, maxNesting, memory: memoryType(env.memory.wasm), blinding };
  const key = codeKey(program, options);
  const tag = `bpf_${key.slice(0, 16)}`;
  return { key, tag, options: { tag, ...options } };
}

/** From the cache, or made now. */
function codeOf(program: ExecutableProgram, env: EngineEnv, setting: Setting): Code {
  const started = performance.now();
  const { key, tag, options } = wantedOf(program, env, setting);
  const found = setting.cache.get(key);
  if (found !== undefined)
    return { tag, code: found, cached: true, stages: { translate: performance.now() - started, compile: 0 } };
  const { code, stages } = compileCode(program, options, setting.compile);
  keep(setting, key, code);
  return { tag, code, cached: false, stages };
}

/** Code with blinded constants has a key that no other load has. */
function keep({ cache, blinding }: Setting, key: string, code: CachedCode): void {
  if (blinding === undefined) cache.set(key, code);
}

/** As `codeOf`, made elsewhere; loads of one program at the same time wait for the same code. */
async function codeLater(
  program: ExecutableProgram,
  env: EngineEnv,
  setting: Setting,
  {
    elsewhere,
    underWay,
  }: {
    readonly elsewhere: CompileElsewhere;
    readonly underWay: Map<string, Promise<CompileResult | undefined>>;
  },
): Promise<Code> {
  const started = performance.now();
  const { key, tag, options } = wantedOf(program, env, setting);
  const found = setting.cache.get(key);
  if (found !== undefined)
    return { tag, code: found, cached: true, stages: { translate: performance.now() - started, compile: 0 } };
  const others = underWay.get(key);
  const asked = others ?? (elsewhere(compileJob(program, options)) as Promise<CompileResult | undefined>);
  underWay.set(key, asked);
  let result: CompileResult | undefined;
  try {
    result = await asked;
  } finally {
    underWay.delete(key);
  }
  if (result === undefined) return codeOf(program, env, setting);
  // Whoever waited as well may have put it there.
  const code = (others === undefined ? undefined : setting.cache.get(key)) ?? codeFrom(result);
  keep(setting, key, code);
  return { tag, code, cached: others !== undefined, stages: result.stages };
}

function blindingKey({ low, high }: NonNullable<PrepareOptions['blinding']>): WebAssembly.Global {
  return new WebAssembly.Global({ value: 'i64' }, (BigInt(high | 0) << 32n) | BigInt(low >>> 0));
}

function instantiate(
  program: ExecutableProgram,
  { module, compiled, importCalls }: CachedCode,
  env: EngineEnv,
  {
    tokenOf,
    blinding,
  }: { readonly tokenOf: ReadonlyMap<number, number>; readonly blinding: PrepareOptions['blinding'] },
): Exports {
  const callees = importCalls.map((at) => {
    const target = program.calls[at];
    if (target?.kind !== 'function')
      throw new InternalError(`jit: ${program.name} calls no function at ${at}`);
    return target.callee;
  });
  const imports: Record<string, Record<string, WebAssembly.ImportValue>> = {
    env: {
      memory: env.memory.wasm,
      ...(compiled.needsTable ? { table: env.entries.wasm } : {}),
      ...(memoryType(env.memory.wasm).shared ? { cpu_delta: env.memory.cpuDelta } : {}),
    },
    h: Object.fromEntries(callees.map((callee, i) => [`${i}`, callee.fn])),
    t: Object.fromEntries(compiled.callbacks.map((index) => [`${index}`, tokenOf.get(index) ?? 0])),
    a: arenaFunctions(program, env.memory),
    ...(blinding === undefined ? {} : { b: { key: blindingKey(blinding) } }),
  };
  try {
    return new WebAssembly.Instance(module, imports).exports as unknown as Exports;
  } catch (cause) {
    if (cause instanceof WebAssembly.LinkError) {
      const names = callees.map((callee) => callee.name).join(', ');
      throw new InternalError(`jit: ${program.name} cannot be linked (imports ${names}): ${cause.message}`, {
        cause,
      });
    }
    const size = `${program.insns.length} instructions, ${compiled.bytes.length} bytes of code`;
    throw new BpfError('E2BIG', `jit: the host has no room for ${program.name} (${size})`, { cause });
  }
}
