/** The seam between rewrite and the engines: what runs, and how a run is asked for. */
import type { ArenaPages } from '../memory/arena-pages.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { HelperRow } from '../spec/types.ts';
import type { Insn } from './insn.ts';
import type { BpfMap } from './maps.ts';

/**
 * A function that a program calls, lowered to 32-bit words so that no bigint crosses the border to Wasm:
 * every `u32` parameter of `params` is one i32 (pointers: the offset), every `u64` two (low half, high half).
 * `result`: `s32` sign-extended into R0; `ptr` an offset, the engine adds the upper half, 0 stays NULL; `u64` stands at
 * RUN_STATE.helperResult; `void` leaves R0 = 0. `fn` may be an export of a Wasm module: a JIT imports it as it is.
 */
export interface CallableFunction {
  readonly name: string;
  readonly params: readonly ('u32' | 'u64')[];
  readonly result: 's32' | 'u64' | 'ptr' | 'void';
  /** The result is the next number of splitmix32 with its state at RUN_STATE.random: `fn` need not be called. */
  readonly random?: true;
  // biome-ignore lint/suspicious/noExplicitAny: the arity is data (`params`); both engines derive the call from it.
  readonly fn: (...words: any[]) => any;
}

/** What stands behind a call instruction (or a function-pointer load) after rewrite. */
export type CallTarget =
  | {
      readonly kind: 'function';
      readonly callee: CallableFunction;
      readonly row?: HelperRow;
      /** The one map that the verifier has proven for this call: engines may inline its fast path. */
      readonly map?: BpfMap;
      /** The callee takes the lock that its first argument points to, which may make it wait for another CPU, or gives it back. */
      readonly lock?: 'acquire' | 'release';
    }
  | { readonly kind: 'subprog'; readonly index: number }
  /** ld_imm64 of a callback: R = token that the helper hands to `EngineEnv.callbacks`. */
  | { readonly kind: 'callback'; readonly index: number; readonly params: readonly ('u32' | 'ptr')[] }
  /**
   * R1 ctx, R2 program array, R3 index. Missing entry or more than 33 in a row: falls through with R0 = -ENOENT-like
   * garbage (the verifier treats R0 as clobbered). In a subprogram it replaces that subprogram's frame only.
   */
  | { readonly kind: 'tail_call'; readonly map?: BpfMap };

/** A verified program after rewrite: plain eBPF, every address and offset final. */
export interface ExecutableProgram {
  readonly name: string;
  /**
   * ld_imm64 has src 0 and its final 64-bit value, unless `calls` has an entry for it (callback). Context accesses go to the
   * modelled context. Legacy packet loads, may_goto and dead code are gone. Calls are described by `calls`.
   */
  readonly insns: readonly Insn[];
  /** Index in `insns` → what is called; undefined for all other instructions. */
  readonly calls: readonly (CallTarget | undefined)[];
  /** Index in `insns` → index in the program as loaded (line info, coverage, fault reports). */
  readonly origin: Int32Array;
  /**
   * BUDGET_CHECK instructions stand where a loop begins and where a subprogram begins: each takes 1 off RUN_STATE.budget, which
   * starts every run as RUN_STATE.budgetLimit, and ends the run with a ProgramFault where nothing is left.
   */
  readonly budgeted?: true;
  /** Loads that may fault and then read 0. */
  readonly probeLoads: ReadonlySet<number>;
  /** ld_imm64 of addresses in values of maps: where the value lies, as offsets of its first byte and of that behind its last one. */
  readonly values?: ReadonlyMap<number, ValueRegion>;
  /**
   * Loads, stores and atomic operations whose base register holds an address in the program's arena, of which the low half counts.
   * addr_space_cast has in `imm` the upper half that it gives to a low half that is not 0.
   */
  readonly arena?: { readonly pages: ArenaPages; readonly accesses: ReadonlySet<number> };
  /** Subprogram 0 is the main one. A subprogram's code is contiguous and control does not leave it but by call and exit. */
  readonly subprogs: readonly ExecutableSubprog[];
}

export interface ValueRegion {
  readonly from: number;
  readonly upto: number;
}

export interface ExecutableSubprog {
  readonly start: number;
  readonly end: number;
  /** Bytes of stack below its R10 that it may touch (multiple of 8, at most 512 plus what rewrite added). */
  readonly stackDepth: number;
  readonly name: string;
}

/** Entries of all loaded programs, by number; slot 0 is never used, so that 0 means "empty" in a program array. */
export interface EntryTable {
  /** Shared by all compiled programs of one kernel: entry function (ctx: i64, fp: i32) -> i64. */
  readonly wasm: WebAssembly.Table;
  reserve(program: PreparedProgram): number;
  release(entry: number): void;
  program(entry: number): PreparedProgram | undefined;
  /** Makes what stands behind a number here, where another thread has loaded it; false: there is nothing to make. */
  bind?(entry: number): boolean;
}

/** Callbacks that helpers call back into the running program. */
export interface CallbackTable {
  /** `words`: one i32 a parameter as `params` of the call target says. Gives the low half of the callback's R0. */
  invoke(token: number, words: readonly number[]): number;
}

export interface EngineEnv {
  readonly memory: GuestMemory;
  readonly entries: EntryTable;
  /** Where an engine leaves the table through which `CallbackTable.invoke` finds the code of a token. */
  readonly callbacks: CallbackRegistry;
}

export interface CallbackRegistry extends CallbackTable {
  /** Makes a token (> 0) for a callback; `run` takes one word a parameter and gives the low half of R0. */
  register(run: (...words: number[]) => number): number;
  release(token: number): void;
}

/** How much of the stacks is in use: runs nest when a helper fires another program. */
export interface RunOptions {
  /** Nesting level, 0..MAX_NESTED_RUNS-1; the stack is STACKS + level * STACK_BYTES, growing down from its end. */
  readonly level?: number;
}

/** A piece of a capture in the linear memory for `runFrames`, which gives the offset of the first record that it did not take. */
export interface FrameRun {
  /** Records of a little-endian pcap file lie from `at` to `end`. */
  readonly at: number;
  readonly end: number;
  /** Longest frame. */
  readonly longest: number;
  /** The context, in which the edges of each frame are put at these offsets. */
  readonly ctx: number;
  readonly edges: { readonly starts: readonly number[]; readonly ends: readonly number[] };
  /** u32s: how often the program returned 0, 1, 2, 3, 4; then another result, with which the piece ended, or 0. */
  readonly counts: number;
}

/** Compiled code of one function. */
export interface JitedFunction {
  readonly name: string;
  /** Number of the function in its module. */
  readonly index: number;
  /** Bytes of its body before the first instruction. */
  readonly head: number;
  /** Types of parameters and results, and of locals: `(param i64 i32) (result i64)`. */
  readonly signature: string;
  readonly locals: string;
  readonly insns: readonly JitedInsn[];
}

export interface JitedInsn {
  /** Offset in the function's body. */
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly depth: number;
  readonly operation: string;
  readonly operands: readonly string[];
  /** Instructions whose code starts here: indexes in the program as loaded, and text after rewriting. */
  readonly stands?: readonly { readonly index: number; readonly text: string }[];
  /** The C line that begins here. */
  readonly source?: SourceLine;
}

export interface SourceLine {
  readonly text: string;
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

export interface PreparedProgram {
  readonly engine: 'interpreter' | 'jit';
  /** Index in the entry table, for tail calls. */
  readonly entry: number;
  /**
   * Runs once with R1 = kernel address of `ctx` (0: NULL). Gives the low 32 bits of R0, unsigned; the whole R0 stands at
   * RUN_STATE.r0. Throws ProgramFault where an access is not allowed (interpreter) or traps (JIT: a verifier bug).
   */
  run(ctx: number, level?: number): number;
  /** As `run`, `times` times over the same context; the loop is inside the engine. */
  runRepeated(ctx: number, times: number, level?: number): number;
  /** Runs over all complete frames of a piece of a capture; absent: the engine has no such loop. */
  runFrames?(run: FrameRun, level?: number): number;
  /** What the engine made of it, for `prog dump jited`: WAT-like text; empty for the interpreter. */
  dump(): string;
  /** The same by function and instruction, and as bytes (a WebAssembly module); absent: the engine makes no code. */
  listing?(): JitedFunction[];
  code?(): Uint8Array;
  /** Size of the compiled code in bytes; 0 for the interpreter. */
  readonly codeSize: number;
  /** Its code was there already: the same program was compiled before. */
  readonly cached?: boolean;
  /** Milliseconds that translating and the host's compiling took. */
  readonly stages?: { readonly translate: number; readonly compile: number };
  release(): void;
}

export interface PrepareOptions {
  /** Halves of a random number with which constants are hidden in compiled code (net.core.bpf_jit_harden). */
  readonly blinding?: { readonly low: number; readonly high: number };
}

/** What an engine keeps of programs that were compiled before. */
export interface CodeCacheStats {
  readonly hits: number;
  readonly misses: number;
  readonly programs: number;
  /** Bytes of their code. */
  readonly bytes: number;
}

/**
 * Has a thread do an engine's job. Job and result are the engine's own, plain data but for WebAssembly modules. Resolves with undefined where
 * there is no thread; rejects with what the job threw.
 */
export type CompileElsewhere = (job: unknown) => Promise<unknown>;

export interface Engine {
  readonly name: 'interpreter' | 'jit';
  /** Absent: it keeps nothing. */
  cacheStats?(): CodeCacheStats;
  prepare(program: ExecutableProgram, env: EngineEnv, options?: PrepareOptions): PreparedProgram;
  /** As `prepare`, with most of the work done elsewhere; absent: there is nothing in it that takes long. */
  prepareLater?(
    program: ExecutableProgram,
    env: EngineEnv,
    elsewhere: CompileElsewhere,
    options?: PrepareOptions,
  ): Promise<PreparedProgram>;
}
