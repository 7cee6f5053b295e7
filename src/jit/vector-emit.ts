/**
 * Code of what `vector-loop.ts` has planned: tests of places, the loop in vectors, and what was collected put together. Operations come in
 * the order of the plan, their results in locals; where the vectors do not do all rounds, the loop as it was goes on from there.
 */
import type { FunctionContext } from './context.ts';
import { type Check, COLLECTS, LANES, type Linear, type VectorLoop } from './vector-loop.ts';
import { OP, TYPE } from './wasm/index.ts';

/** Emits the loop in vectors. Where it is `whole` it ends with a branch out of the block that the caller has opened around both. */
export function emitVectorLoop(f: FunctionContext, loop: VectorLoop): void {
  const { w } = f;
  const paid = loop.rounds * LANES;
  const conditions = loop.checks.length + (f.budgeted ? 1 : 0);
  // Too little is left for all rounds: the loop as it was stops where it runs out.
  if (f.budgeted) f.hasBudget(paid);
  for (const [n, check] of loop.checks.entries()) {
    emitCheck(f, check, loop.span);
    if (n > 0 || f.budgeted) w.op(OP.i32And);
  }
  if (conditions > 0) w.block(OP.if, TYPE.empty);
  if (f.budgeted) f.payBudget(paid);
  const counter = f.scratch('vector.count', TYPE.i32);
  const result = (at: number) => f.scratch(`vector.${at}`, TYPE.v128);
  const collected = (variable: number) => f.scratch(`vector.sum.${variable}`, TYPE.v128);
  for (const [variable, { op }] of loop.collectors) {
    w.i32(COLLECTS[op]!.from);
    w.op(OP.i32x4Splat);
    w.set(collected(variable));
  }
  w.i32(loop.rounds);
  w.set(counter);
  w.block(OP.loop, TYPE.empty);
  loop.operations.forEach((operation, at) => {
    switch (operation.kind) {
      case 'load':
      case 'load_one':
        pushLinear(f, operation.place);
        if (operation.kind === 'load') w.memory(OP.v128Load, 0);
        else {
          w.memory(OP.i32Load, 0);
          w.op(OP.i32x4Splat);
        }
        w.set(result(at));
        break;
      case 'number':
        pushNumber(f, operation.value);
        w.set(result(at));
        break;
      case 'binary':
        w.get(result(operation.a));
        w.get(result(operation.b));
        w.op(operation.op);
        w.set(result(at));
        break;
      case 'shift':
        w.get(result(operation.a));
        w.i32(operation.by);
        w.op(operation.op);
        w.set(result(at));
        break;
      case 'store':
        pushLinear(f, operation.place);
        w.get(result(operation.value));
        w.memory(OP.v128Store, 0);
        break;
      case 'collect':
        w.get(collected(operation.variable));
        w.get(result(operation.value));
        w.op(COLLECTS[operation.op]!.lanes);
        w.set(collected(operation.variable));
        break;
    }
  });
  for (const [variable, { step, def, wide }] of loop.inductions) {
    f.at = def;
    if (wide && !f.definesNarrow()) {
      f.get(variable);
      w.i64(step * LANES);
      w.op(OP.i64Add);
      f.set(variable);
    } else {
      f.getLow(variable);
      w.i32(step * LANES);
      w.op(OP.i32Add);
      f.setLow(variable);
    }
  }
  w.get(counter);
  w.i32(1);
  w.op(OP.i32Sub);
  w.tee(counter);
  w.index(OP.brIf, 0);
  w.op(OP.end);
  for (const [variable, { op, to }] of loop.collectors) {
    f.getLow(variable);
    for (let lane = 0; lane < LANES; lane++) {
      w.get(collected(variable));
      w.lane(OP.i32x4ExtractLane, lane);
      w.op(COLLECTS[op]!.one);
    }
    const sum = f.scratch('vector.sum', TYPE.i32);
    w.set(sum);
    for (const [register, def] of to) {
      f.at = def;
      w.get(sum);
      f.setLow(register);
    }
  }
  if (loop.whole) w.index(OP.br, conditions > 0 ? 1 : 0);
  if (conditions > 0) w.op(OP.end);
}

/** Pushes whether the bytes of the check are all outside of those of the store. */
function emitCheck(f: FunctionContext, { store, to, low, high }: Check, span: number): void {
  const { w } = f;
  // Distance x of the two bases: low + x >= span, or high + x <= 0.
  pushLinear(f, { ...to, constant: 0 });
  pushLinear(f, { ...store, constant: 0 });
  w.op(OP.i32Sub);
  w.i32((high - 1) | 0);
  w.op(OP.i32Add);
  w.i32((span + high - low - 1) | 0);
  w.op(OP.i32GeU);
}

/** Pushes the low half of the expression. */
function pushLinear(f: FunctionContext, { factors, constant }: Linear): void {
  const { w } = f;
  let isFirst = true;
  for (const [variable, factor] of factors) {
    f.getLow(variable);
    if (factor !== 1) {
      w.i32(factor);
      w.op(OP.i32Mul);
    }
    if (!isFirst) w.op(OP.i32Add);
    isFirst = false;
  }
  if (isFirst) w.i32(constant);
  else if (constant !== 0) {
    w.i32(constant);
    w.op(OP.i32Add);
  }
}

/** Pushes the numbers of four rounds. */
function pushNumber(f: FunctionContext, value: Linear): void {
  const { w } = f;
  pushLinear(f, value);
  w.op(OP.i32x4Splat);
  if (value.step === 0) return;
  w.i32(0);
  w.op(OP.i32x4Splat);
  for (let lane = 1; lane < LANES; lane++) {
    w.i32(Math.imul(value.step, lane));
    w.lane(OP.i32x4ReplaceLane, lane);
  }
  w.op(OP.i32x4Add);
}
