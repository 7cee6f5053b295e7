/**
 * Calls: helpers and kfuncs (imported as they are), subprograms, tail calls, and what is inlined instead of called.
 * What may be inlined is told by fields of the helper's and the map's row, never by a name.
 */
import type { CallTarget } from '../contracts/engine.ts';
import type { BpfMap } from '../contracts/maps.ts';
import { MAP_HEADER, RUN_STATE } from '../memory/layout.ts';
import type { HelperRow } from '../spec/types.ts';
import { ERRNO } from '../util/errno.ts';
import { BpfError, InternalError } from '../util/errors.ts';
import type { FunctionContext } from './context.ts';
import { emitHashLookup, hashShape } from './hash-lookup.ts';
import { KNOWN } from './known.ts';
import { givesCpu, mayCallBack } from './usage.ts';
import { OP, TYPE } from './wasm/index.ts';

/** Most tail calls of one run (linux/bpf.h: MAX_TAIL_CALL_CNT). */
export const MAX_TAIL_CALLS = 33;
/** Most rounds of bpf_loop (linux/bpf_verifier.h: BPF_MAX_LOOPS). */
const MAX_LOOPS = 8 * 1024 * 1024;

type FunctionTarget = Extract<CallTarget, { kind: 'function' }>;

export function emitCall(f: FunctionContext, target: CallTarget | undefined, at: number): void {
  switch (target?.kind) {
    case 'function':
      emitFunction(f, target);
      break;
    case 'subprog':
      emitSubprog(f, target.index);
      f.set(0);
      break;
    case 'tail_call':
      emitTailCall(f, target.map);
      return;
    default:
      throw new BpfError('EINVAL', `jit: nothing is known of the call at ${at}`);
  }
  f.known.forget(0);
}

/** Calls subprogram `index` with R1..R5; leaves its R0 on the stack. */
function emitSubprog(f: FunctionContext, index: number): void {
  const parameters = f.module.parametersOf[index];
  if (parameters === undefined) throw new InternalError(`jit: no subprogram ${index}`);
  for (let r = 1; r <= 5; r++) if ((parameters >> r) & 1) f.get(r);
  callSubprog(f, index);
}

function callSubprog(f: FunctionContext, index: number): void {
  const keeps = f.module.keepsBudget[index]!;
  if (keeps) f.storeBudget();
  else f.spendBudget();
  f.w.get(f.frameLocal);
  f.w.index(OP.call, f.module.functionOf[index]!);
  if (keeps) f.loadBudget();
}

function emitFunction(f: FunctionContext, target: FunctionTarget): void {
  const { callee, row, map } = target;
  if (map !== undefined && row !== undefined && looksUp(row)) {
    const array = arrayShape(map);
    if (array !== undefined) {
      emitArrayLookup(f, array, map.info.maxEntries);
      return;
    }
    const hash = f.module.shared ? undefined : hashShape(map);
    if (hash !== undefined) {
      setAddress(f, emitHashLookup(f, hash));
      return;
    }
  }
  if (row?.callbackShape === 'loop' && f.known.kind[2] === KNOWN.callback) {
    emitLoop(f, f.known.low[2]!);
    return;
  }
  if (callee.random) {
    emitRandom(f);
    return;
  }
  if (givesCpu(row)) {
    f.runState(RUN_STATE.cpu);
    f.w.memory(OP.i32Load, 0);
    f.setLow(0);
    return;
  }
  const { w } = f;
  const index = f.module.imported.get(callee);
  if (index === undefined) throw new InternalError(`jit: ${callee.name} was not imported`);
  const hasCallbacks = f.module.callbackFrame >= 0;
  const callsBack = hasCallbacks && mayCallBack(target);
  if (callsBack) f.storeBudget();
  if (hasCallbacks) {
    w.get(f.frameLocal);
    w.index(OP.globalSet, f.module.callbackFrame);
  }
  callee.params.forEach((kind, i) => {
    f.getLow(i + 1);
    if (kind === 'u64') f.getHigh(i + 1);
  });
  w.index(OP.call, index);
  if (callsBack) f.loadBudget();
  switch (callee.result) {
    case 's32':
      w.op(OP.i64ExtendI32S);
      f.set(0);
      break;
    case 'u64':
      f.runState(RUN_STATE.helperResult);
      w.memory(OP.i64Load, 0);
      f.set(0);
      break;
    case 'ptr': {
      const test = f.scratch('null', TYPE.i32);
      w.set(test);
      setAddress(f, test);
      break;
    }
    case 'void':
      w.i64(0);
      f.set(0);
      break;
  }
}

/** R0 = the next number of splitmix32, whose state is in the run state. */
function emitRandom(f: FunctionContext): void {
  const { w } = f;
  const z = f.scratch('random', TYPE.i32);
  const mix = (shift: number, times: number) => {
    w.get(z);
    w.get(z);
    w.i32(shift);
    w.op(OP.i32ShrU);
    w.op(OP.i32Xor);
    if (times === 0) return;
    w.i32(times);
    w.op(OP.i32Mul);
    w.set(z);
  };
  f.runState(RUN_STATE.random);
  f.runState(RUN_STATE.random);
  w.memory(OP.i32Load, 0);
  w.i32(0x9e37_79b9 | 0);
  w.op(OP.i32Add);
  w.tee(z);
  w.memory(OP.i32Store, 0);
  mix(16, 0x21f0_aaad);
  mix(15, 0x735a_2d97);
  mix(15, 0);
  f.setLow(0);
}

/** R0 = the address with the offset in the i32 local, or NULL where that is 0. */
function setAddress(f: FunctionContext, offset: number): void {
  const { w } = f;
  w.get(offset);
  if (f.definesNarrow()) {
    f.setLow(0);
    return;
  }
  w.op(OP.i64ExtendI32U);
  f.kernelHalf();
  pointerOrNull(f, offset);
}

/** R0 = the address on the stack, or NULL where the i32 local `test` is 0. */
function pointerOrNull(f: FunctionContext, test: number): void {
  const { w } = f;
  w.i64(0);
  w.get(test);
  w.op(OP.select);
  f.set(0);
  f.nullTest = test;
}

/** How the values of an array-like map are found: where value 0 stands, and the distances to the others. */
interface ArrayShape {
  readonly values: number;
  readonly stride: number;
  /** Bytes from one CPU's values to the next one's; 0: the map is not per CPU. */
  readonly cpuStride: number;
  /** The value is the offset of a map's header, 0 where there is none: the result is the map. */
  readonly holdsMap: boolean;
}

/** Whether the helper is a lookup of a key in a map. */
function looksUp({ args, ret }: HelperRow): boolean {
  return (
    args.length === 2 &&
    args[0]!.kind === 'const_map_ptr' &&
    args[1]!.kind === 'map_key' &&
    ret.kind === 'map_value'
  );
}

/** The shape of an array-like map; undefined: the map is none. */
function arrayShape(map: BpfMap): ArrayShape | undefined {
  if (map.info.keySize !== 4) return undefined;
  const { layout } = map;
  const { holds, perCpu } = map.info.type;
  if (layout.perCpu !== undefined) return { ...layout.perCpu, holdsMap: false };
  if (layout.values === 0 || layout.stride === 0 || perCpu !== undefined) return undefined;
  if (holds !== undefined && holds !== 'map') return undefined;
  return { values: layout.values, stride: layout.stride, cpuStride: 0, holdsMap: holds === 'map' };
}

/** R0 = key < max_entries ? value's address : NULL. */
function emitArrayLookup(f: FunctionContext, shape: ArrayShape, maxEntries: number): void {
  const { w } = f;
  const { values, stride, cpuStride } = shape;
  const narrow = f.definesNarrow();
  const test = f.scratch('null', TYPE.i32);
  const key = f.scratch('key', TYPE.i32);
  w.memory(OP.i32Load, f.address(2, 0));
  w.tee(key);
  w.i32(maxEntries | 0);
  w.op(OP.i32LtU);
  if (shape.holdsMap) {
    // An empty slot is NULL as well, so the value decides.
    w.block(OP.if, TYPE.i32);
    w.get(key);
    w.i32(stride);
    w.op(OP.i32Mul);
    w.memory(OP.i32Load, values);
    w.op(OP.else);
    w.i32(0);
    w.op(OP.end);
    if (narrow) {
      f.setLow(0);
      return;
    }
    w.tee(test);
    w.op(OP.i64ExtendI32U);
  } else if (narrow) {
    w.set(test);
    w.get(key);
    w.i32(stride);
    w.op(OP.i32Mul);
    if (cpuStride !== 0) {
      f.runState(RUN_STATE.cpu);
      w.memory(OP.i32Load, 0);
      w.i32(cpuStride);
      w.op(OP.i32Mul);
      w.op(OP.i32Add);
    }
    w.i32(values);
    w.op(OP.i32Add);
    w.i32(0);
    w.get(test);
    w.op(OP.select);
    f.setLow(0);
    return;
  } else {
    w.set(test);
    w.get(key);
    w.op(OP.i64ExtendI32U);
    w.i64Halves(stride, 0);
    w.op(OP.i64Mul);
    if (cpuStride !== 0) {
      f.runState(RUN_STATE.cpu);
      w.memory(OP.i64Load32U, 0);
      w.i64Halves(cpuStride, 0);
      w.op(OP.i64Mul);
      w.op(OP.i64Add);
    }
    w.i64Halves(values, 0);
    w.op(OP.i64Add);
  }
  f.kernelHalf();
  pointerOrNull(f, test);
}

/**
 * bpf_loop(nr, callback, ctx, flags) with a callback that is known: calls it for 0, 1, … until it gives something other
 * than 0. R0 = rounds made, or -EINVAL, -E2BIG.
 */
function emitLoop(f: FunctionContext, callback: number): void {
  const { w } = f;
  const parameters = f.module.parametersOf[callback];
  if (parameters === undefined) throw new InternalError(`jit: no callback ${callback}`);
  const count = f.scratch('count', TYPE.i32);
  const round = f.scratch('round', TYPE.i32);
  f.get(4);
  w.op(OP.i64Eqz);
  w.block(OP.if, TYPE.i64);
  f.getLow(1);
  w.tee(count);
  w.i32(MAX_LOOPS);
  w.op(OP.i32LeU);
  w.block(OP.if, TYPE.i64);
  w.i32(0);
  w.set(round);
  const loop = () => {
    w.block(OP.block, TYPE.empty);
    w.block(OP.loop, TYPE.empty);
    w.get(round);
    w.get(count);
    w.op(OP.i32GeU);
    w.index(OP.brIf, 1);
    for (let r = 1; r <= 5; r++) {
      if (((parameters >> r) & 1) === 0) continue;
      if (r === 1) {
        w.get(round);
        w.op(OP.i64ExtendI32U);
      } else if (r === 2) f.get(3);
      else w.i64(0);
    }
    callSubprog(f, callback);
    w.get(round);
    w.i32(1);
    w.op(OP.i32Add);
    w.set(round);
    w.op(OP.i64Eqz);
    w.index(OP.brIf, 0);
    w.op(OP.end);
    w.op(OP.end);
  };
  if (f.module.keepsBudget[callback]! || !f.budgeted) loop();
  else {
    // With room for all rounds they are paid for behind the loop: as many as were made.
    f.pushBudget();
    w.get(count);
    w.op(OP.i32GeS);
    w.block(OP.if, TYPE.empty);
    f.isPaid = true;
    loop();
    f.isPaid = false;
    w.get(round);
    f.payPushed();
    w.op(OP.else);
    loop();
    w.op(OP.end);
  }
  w.get(round);
  w.op(OP.i64ExtendI32U);
  w.op(OP.else);
  w.i64(-ERRNO.E2BIG);
  w.op(OP.end);
  w.op(OP.else);
  w.i64(-ERRNO.EINVAL);
  w.op(OP.end);
  f.set(0);
}

/**
 * Jumps to the program at index R3 of the program array R2, which then runs with this R1 and this frame's R10 (Linux:
 * bounds, then the count of the run, then the entry; the count grows only where there is one). Else falls through.
 */
function emitTailCall(f: FunctionContext, map: BpfMap | undefined): void {
  const { w } = f;
  const index = f.scratch('index', TYPE.i32);
  const entry = f.scratch('entry', TYPE.i32);
  const header = f.scratch('header', TYPE.i32);
  w.block(OP.block, TYPE.empty);
  f.getLow(3);
  w.tee(index);
  if (map !== undefined) w.i32(map.info.maxEntries | 0);
  else {
    f.getLow(2);
    w.tee(header);
    w.memory(OP.i32Load, MAP_HEADER.maxEntries);
  }
  w.op(OP.i32GeU);
  w.index(OP.brIf, 0);
  f.runState(RUN_STATE.tailCallCount);
  w.memory(OP.i32Load, 0);
  w.i32(MAX_TAIL_CALLS);
  w.op(OP.i32GeU);
  w.index(OP.brIf, 0);
  w.get(index);
  if (map !== undefined) {
    w.i32(map.layout.stride);
    w.op(OP.i32Mul);
    w.memory(OP.i32Load, map.layout.values);
  } else {
    w.get(header);
    w.memory(OP.i32Load, MAP_HEADER.stride);
    w.op(OP.i32Mul);
    w.get(header);
    w.memory(OP.i32Load, MAP_HEADER.values);
    w.op(OP.i32Add);
    w.memory(OP.i32Load, 0);
  }
  w.tee(entry);
  w.op(OP.i32Eqz);
  w.index(OP.brIf, 0);
  f.runState(RUN_STATE.tailCallCount);
  f.runState(RUN_STATE.tailCallCount);
  w.memory(OP.i32Load, 0);
  w.i32(1);
  w.op(OP.i32Add);
  w.memory(OP.i32Store, 0);
  f.storeBudget();
  f.get(1);
  f.frameOffset(0);
  w.get(entry);
  if (f.module.tailCalls) w.indirect(OP.returnCallIndirect, f.module.entryType, 0);
  else {
    w.indirect(OP.callIndirect, f.module.entryType, 0);
    w.op(OP.return);
  }
  w.op(OP.end);
}
