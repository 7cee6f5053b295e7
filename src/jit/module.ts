/**
 * One program to one Wasm module. Exports: `entry` (ctx: i64, fp: i32) → i64, the main subprogram, for the entry table;
 * `run` (ctx, level) → i32 and `repeat` (ctx, level, times) → i32, which set up the frame and leave R0 at RUN_STATE.r0;
 * `cbN` for each callback subprogram N, which take 32-bit words; `frame`, on which callbacks build (see below).
 *
 * A callback called by a helper runs on the frame below the caller's. The caller leaves that place in a global before it
 * calls a helper; the trampoline puts the global back, as the callback itself may have moved it. Outside of a run, where
 * timers call, the global names the last of the nested stacks.
 */
import type { CallableFunction, CallTarget, ExecutableProgram } from '../contracts/engine.ts';
import { KERNEL_HI_SIGNED } from '../memory/address.ts';
import { BUDGET_SPENT, MAX_NESTED_RUNS, RUN_STATE, STACK_BYTES, STACKS } from '../memory/layout.ts';
import { BpfError } from '../util/errors.ts';
import { importArena } from './arena-imports.ts';
import { type Block, buildBlocks, nextInsn } from './cfg.ts';
import { type CompiledFunction, compileFunction } from './function.ts';
import { inlineSmall } from './inline.ts';
import { type ModuleContext, pushRunState } from './module-context.ts';
import { isBudgetCheck } from './paid-loops.ts';
import { mayCallBack, parameterMasks } from './usage.ts';
import { CodeWriter, type FuncType, ModuleBuilder, OP, TYPE, type ValueType } from './wasm/index.ts';

/** Value of the `frame` global outside of a run. */
export const IDLE_FRAME = STACKS + MAX_NESTED_RUNS * STACK_BYTES;

const ENTRY_TYPE: FuncType = { params: [TYPE.i64, TYPE.i32], results: [TYPE.i64] };

export interface ModuleOptions {
  /** Name of the module in stack traces; must be unique among living modules. */
  readonly tag: string;
  readonly tailCalls: boolean;
  readonly maxNesting: number;
  readonly memory: { readonly minimum: number; readonly maximum?: number; readonly shared: boolean };
  /** Halves of a random number, to be imported as global `b.key`: constants are blinded with it. */
  readonly blinding?: { readonly low: number; readonly high: number } | undefined;
}

/** The code, without anything of the kernel that it was made for. */
export interface TranslatedModule {
  readonly bytes: Uint8Array;
  /** Callback subprograms, whose tokens are to be imported as globals `t.N`. */
  readonly callbacks: readonly number[];
  readonly needsTable: boolean;
  readonly functions: readonly CompiledSubprog[];
  /** By Wasm function index. */
  readonly functionNames: readonly string[];
}

export interface CompiledModule extends TranslatedModule {
  /** Functions to import as `h.0`, `h.1`, … */
  readonly imports: readonly CallableFunction[];
}

export interface CompiledSubprog extends CompiledFunction {
  readonly name: string;
  /** Wasm function index, and the offset of its first instruction in the module. */
  readonly index: number;
  readonly offset: number;
  readonly type: FuncType;
}

/** Callback subprograms of a program with the shapes of their parameters. */
export function callbacksOf(program: ExecutableProgram): Map<number, readonly ('u32' | 'ptr')[]> {
  const found = new Map<number, readonly ('u32' | 'ptr')[]>();
  for (const target of program.calls) {
    if (target?.kind === 'callback') found.set(target.index, target.params);
  }
  return found;
}

export function compileModule(given: ExecutableProgram, options: ModuleOptions): CompiledModule {
  const { program, source } = inlineSmall(given);
  const builder = new ModuleBuilder();
  builder.name(options.tag);
  builder.importMemory({
    module: 'env',
    name: 'memory',
    minimum: options.memory.minimum,
    ...(options.memory.shared ? { shared: true, maximum: options.memory.maximum ?? 65536 } : {}),
  });
  const has = (kind: CallTarget['kind']) => program.calls.some((target) => target?.kind === kind);
  const needsTable = has('tail_call');
  if (needsTable) builder.importTable('env', 'table');
  const imported = importFunctions(builder, program);
  const arena = importArena(builder, program);
  const cpuDelta = options.memory.shared ? builder.importGlobal('env', 'cpu_delta', TYPE.i32) : -1;
  const callbacks = callbacksOf(program);
  // Tokens differ from load to load: as imports they leave the code the same.
  const tokenGlobal = new Map<number, number>();
  for (const index of callbacks.keys())
    tokenGlobal.set(index, builder.importGlobal('t', `${index}`, TYPE.i32));
  const blinding =
    options.blinding === undefined
      ? undefined
      : { global: builder.importGlobal('b', 'key', TYPE.i64), ...options.blinding };
  const callbackFrame = callbacks.size > 0 ? builder.addGlobal(TYPE.i32, IDLE_FRAME) : -1;
  if (callbackFrame >= 0) builder.exportGlobal('frame', callbackFrame);

  const blocksOf: Block[][] = program.subprogs.map((subprog) => buildBlocks(program.insns, subprog));
  const parametersOf = parameterMasks(program, blocksOf);
  // The main function has the type of entries, whatever it reads.
  parametersOf[0] = 0b10;
  const types = parametersOf.map((mask): FuncType => {
    const params: ValueType[] = [];
    for (let r = 1; r <= 5; r++) if ((mask >> r) & 1) params.push(TYPE.i64);
    return { params: [...params, TYPE.i32], results: [TYPE.i64] };
  });
  const names = subprogNames(program);
  const functionOf = types.map((type, i) => builder.addFunction(type, names[i]!));
  const keepsBudget = budgetKeepers(program, blocksOf);
  const context: ModuleContext = {
    program,
    keepsBudget,
    source,
    functionOf,
    parametersOf,
    imported,
    tokenGlobal,
    arena,
    blinding,
    callbackFrame,
    entryType: builder.type(ENTRY_TYPE),
    tailCalls: options.tailCalls,
    maxNesting: options.maxNesting,
    shared: options.memory.shared,
    cpuDelta,
  };
  const compiled = program.subprogs.map((subprog, i) => {
    const body = compileFunction(context, subprog, i, blocksOf[i]!);
    builder.defineFunction(functionOf[i]!, body.locals, body.code);
    return body;
  });
  builder.exportFunction('entry', functionOf[0]!);
  addDriver(builder, context, needsTable, false);
  addDriver(builder, context, needsTable, true);
  for (const [index, params] of callbacks) addTrampoline(builder, context, index, params);

  const { bytes, codeOffsets } = builder.encode();
  return {
    bytes,
    imports: [...imported.keys()],
    callbacks: [...callbacks.keys()],
    needsTable,
    functions: compiled.map((body, i) => ({
      ...body,
      name: names[i]!,
      index: functionOf[i]!,
      offset: codeOffsets.get(functionOf[i]!)!,
      type: types[i]!,
    })),
    functionNames: builder.functionLabels(),
  };
}

/**
 * Which subprograms work on the budget in memory: all but those that have no check other than the one of their entry, and call nothing
 * that may spend.
 */
function budgetKeepers(program: ExecutableProgram, blocksOf: readonly (readonly Block[])[]): boolean[] {
  if (!program.budgeted) return blocksOf.map(() => true);
  return blocksOf.map((blocks, index) => {
    const first = blocks[0]!;
    if (index === 0 || first.start === first.end || !isBudgetCheck(program.insns[first.start]!)) return true;
    for (const block of blocks) {
      for (let i = block.start; i < block.end; i = nextInsn(program.insns, i)) {
        if (i !== first.start && isBudgetCheck(program.insns[i]!)) return true;
        const target = program.calls[i];
        if (target?.kind === 'function' ? mayCallBack(target) : target !== undefined) return true;
      }
    }
    return false;
  });
}

function subprogNames(program: ExecutableProgram): string[] {
  return program.subprogs.map((subprog, i) => subprog.name || (i === 0 ? program.name : `subprog_${i}`));
}

function importFunctions(builder: ModuleBuilder, program: ExecutableProgram): Map<CallableFunction, number> {
  const imported = new Map<CallableFunction, number>();
  for (const target of program.calls) {
    if (target?.kind !== 'function' || imported.has(target.callee)) continue;
    const { callee } = target;
    if (callee.params.length > 5) {
      throw new BpfError(
        'EINVAL',
        `jit: ${callee.name} has ${callee.params.length} parameters, R1..R5 hold 5`,
      );
    }
    const params = callee.params.flatMap((kind) => (kind === 'u64' ? [TYPE.i32, TYPE.i32] : [TYPE.i32]));
    const results = callee.result === 's32' || callee.result === 'ptr' ? [TYPE.i32] : [];
    imported.set(callee, builder.importFunction('h', `${imported.size}`, { params, results }, callee.name));
  }
  return imported;
}

/** Pushes the kernel address of the offset in a local, NULL for 0. */
function pushAddress(w: CodeWriter, local: number): void {
  w.get(local);
  w.op(OP.i64ExtendI32U);
  w.i64Halves(0, KERNEL_HI_SIGNED);
  w.op(OP.i64Or);
  w.i64(0);
  w.get(local);
  w.op(OP.select);
}

/** Pushes the end of the stack of the level in a local: R10 of the main program. */
function pushFrame(w: CodeWriter, context: ModuleContext, level: number): void {
  w.get(level);
  w.i32(STACK_BYTES);
  w.op(OP.i32Mul);
  pushRunState(w, context, STACKS + STACK_BYTES);
  w.op(OP.i32Add);
}

/**
 * run(ctx, level) and repeat(ctx, level, times): one run, or `times`, each from a fresh count of tail calls; R0 of the
 * last to RUN_STATE.r0, its low half as result. What nested runs share is saved before and put back after: the count of
 * tail calls, where the program makes any, and the frame for callbacks, where it has any.
 */
function addDriver(
  builder: ModuleBuilder,
  context: ModuleContext,
  countsTails: boolean,
  repeats: boolean,
): void {
  const name = repeats ? 'repeat' : 'run';
  const params: ValueType[] = repeats ? [TYPE.i32, TYPE.i32, TYPE.i32] : [TYPE.i32, TYPE.i32];
  const index = builder.addFunction({ params, results: [TYPE.i32] }, name);
  const w = new CodeWriter();
  const ctx = 0;
  const level = 1;
  const times = 2;
  const result = params.length;
  const savedCount = result + 1;
  const savedFrame = result + 2;
  const hasCallbacks = context.callbackFrame >= 0;

  if (countsTails) {
    pushRunState(w, context, RUN_STATE.tailCallCount);
    w.memory(OP.i32Load, 0);
    w.set(savedCount);
  }
  if (hasCallbacks) {
    w.index(OP.globalGet, context.callbackFrame);
    w.set(savedFrame);
  }
  if (repeats) {
    w.block(OP.block, TYPE.empty);
    w.block(OP.loop, TYPE.empty);
    w.get(times);
    w.op(OP.i32Eqz);
    w.index(OP.brIf, 1);
  }
  if (countsTails) {
    pushRunState(w, context, RUN_STATE.tailCallCount);
    w.i32(0);
    w.memory(OP.i32Store, 0);
  }
  if (context.program.budgeted) {
    pushRunState(w, context, RUN_STATE.budget);
    pushRunState(w, context, RUN_STATE.budgetLimit);
    w.memory(OP.i32Load, 0);
    w.memory(OP.i32Store, 0);
  }
  pushAddress(w, ctx);
  pushFrame(w, context, level);
  w.index(OP.call, context.functionOf[0]!);
  w.set(result);
  if (repeats) {
    w.get(times);
    w.i32(1);
    w.op(OP.i32Sub);
    w.set(times);
    w.index(OP.br, 0);
    w.op(OP.end);
    w.op(OP.end);
  }
  if (countsTails) {
    pushRunState(w, context, RUN_STATE.tailCallCount);
    w.get(savedCount);
    w.memory(OP.i32Store, 0);
  }
  if (hasCallbacks) {
    w.get(savedFrame);
    w.index(OP.globalSet, context.callbackFrame);
  }
  pushRunState(w, context, RUN_STATE.r0);
  w.get(result);
  w.memory(OP.i64Store, 0);
  w.get(result);
  w.op(OP.i32WrapI64);
  const locals = [
    { count: 1, type: TYPE.i64 },
    { count: 2, type: TYPE.i32 },
  ];
  builder.defineFunction(index, locals, w.finish());
  builder.exportFunction(name, index);
}

/** Takes 1 off the budget; traps where nothing is left. */
function spendInMemory(w: CodeWriter, context: ModuleContext): void {
  pushRunState(w, context, RUN_STATE.budget);
  pushRunState(w, context, RUN_STATE.budget);
  w.memory(OP.i32Load, 0);
  w.i32(1);
  w.op(OP.i32Sub);
  w.memory(OP.i32Store, 0);
  pushRunState(w, context, RUN_STATE.budget);
  w.memory(OP.i32Load, 0);
  w.i32(0);
  w.op(OP.i32LtS);
  w.block(OP.if, TYPE.empty);
  pushRunState(w, context, RUN_STATE.budget);
  w.i32(BUDGET_SPENT);
  w.memory(OP.i32Store, 0);
  w.op(OP.unreachable);
  w.op(OP.end);
}

/** cbN(words…): a callback as a helper calls it. */
function addTrampoline(
  builder: ModuleBuilder,
  context: ModuleContext,
  subprog: number,
  params: readonly ('u32' | 'ptr')[],
): void {
  const mask = context.parametersOf[subprog];
  if (mask === undefined) throw new BpfError('EINVAL', `jit: there is no callback ${subprog}`);
  const type: FuncType = { params: params.map(() => TYPE.i32), results: [TYPE.i32] };
  const index = builder.addFunction(type, `callback_${subprog}`);
  const w = new CodeWriter();
  const frame = params.length;
  if (!context.keepsBudget[subprog]) spendInMemory(w, context);
  w.index(OP.globalGet, context.callbackFrame);
  w.set(frame);
  for (let r = 1; r <= 5; r++) {
    if (((mask >> r) & 1) === 0) continue;
    const kind = params[r - 1];
    if (kind === undefined) w.i64(0);
    else if (kind === 'ptr') pushAddress(w, r - 1);
    else {
      w.get(r - 1);
      w.op(OP.i64ExtendI32U);
    }
  }
  w.get(frame);
  w.index(OP.call, context.functionOf[subprog]!);
  w.op(OP.i32WrapI64);
  w.get(frame);
  w.index(OP.globalSet, context.callbackFrame);
  builder.defineFunction(index, [{ count: 1, type: TYPE.i32 }], w.finish());
  builder.exportFunction(`cb${subprog}`, index);
}
