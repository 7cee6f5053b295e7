/** Code of loops that are paid for at once (`paid-loops.ts`): whether there is room for all rounds, and what was spent where one is left. */
import type { FunctionContext } from './context.ts';
import type { PaidLoop } from './paid-loops.ts';
import { OP, TYPE } from './wasm/index.ts';

/** Numbers and distances that are looked at when the loop is entered are smaller than this, so that nothing wraps. */
const LIMIT = 1 << 30;

/** Pushes whether the budget has room for the whole loop; stands in front of it. */
export function emitHasRoom(f: FunctionContext, loop: PaidLoop): void {
  const { w } = f;
  const { rounds, cost, lastCost, variable } = loop;
  if (loop.from === undefined) {
    f.getLow(variable);
    w.set(startLocal(f, loop));
  }
  if (rounds !== undefined) {
    f.hasBudget(rounds * cost + lastCost);
    return;
  }
  const from = f.scratch('paid.from', TYPE.i64);
  const bound = f.scratch('paid.bound', TYPE.i64);
  const distance = f.scratch('paid.distance', TYPE.i64);
  const size = Math.abs(loop.step);
  const push = (register: number) => {
    if (loop.wide) f.get(register);
    else {
      f.getLow(register);
      w.op(OP.i64ExtendI32U);
    }
  };
  push(variable);
  w.set(from);
  if ('imm' in loop.bound) w.i64(loop.bound.imm);
  else push(loop.bound.register);
  w.set(bound);
  // How far it is from the first number that is compared to the one that ends the loop.
  w.get(loop.step > 0 ? bound : from);
  w.get(loop.step > 0 ? from : bound);
  w.op(OP.i64Sub);
  const more = (loop.test === 'le' || loop.test === 'ge' ? 1 : 0) - (loop.stepped ? size : 0);
  if (more !== 0) {
    w.i64(more);
    w.op(OP.i64Add);
  }
  w.set(distance);
  w.get(distance);
  w.i64(LIMIT);
  w.op(OP.i64LtU);
  if (!loop.meets) {
    w.get(from);
    w.get(bound);
    w.op(OP.i64Or);
    w.i64(LIMIT);
    w.op(OP.i64LtU);
    w.op(OP.i32And);
  }
  if (loop.test === 'ne' && size > 1) {
    w.get(distance);
    w.i64(size);
    w.op(OP.i64RemU);
    w.op(OP.i64Eqz);
    w.op(OP.i32And);
  }
  w.get(distance);
  if (size > 1) {
    w.i64(size - 1);
    w.op(OP.i64Add);
    w.i64(size);
    w.op(OP.i64DivU);
  }
  w.i64(cost);
  w.op(OP.i64Mul);
  w.i64(lastCost);
  w.op(OP.i64Add);
  f.pushBudget();
  w.op(OP.i64ExtendI32S);
  w.op(OP.i64LeS);
  w.op(OP.i32And);
}

/** Takes off what the loop has spent where it is left at the end of the node. */
export function emitSettle(f: FunctionContext, loop: PaidLoop, node: number): void {
  const { w } = f;
  const { rounds, cost, step, variable } = loop;
  if (rounds !== undefined && node === loop.exit) {
    f.payBudget(rounds * cost + loop.lastCost);
    return;
  }
  const left = loop.leaves.get(node)!;
  const start = () => {
    if (loop.from === undefined) w.get(startLocal(f, loop));
    else w.i32(loop.from);
  };
  if (step > 0) f.getLow(variable);
  else start();
  if (step > 0) start();
  else f.getLow(variable);
  w.op(OP.i32Sub);
  const size = Math.abs(step);
  if (size > 1) {
    w.i32(size);
    w.op(OP.i32DivU);
  }
  // In the round that it is left in the variable may have been stepped already.
  if (cost !== 1) {
    w.i32(cost);
    w.op(OP.i32Mul);
  }
  const rest = left.cost - (left.stepped ? cost : 0);
  if (rest !== 0) {
    w.i32(rest);
    w.op(OP.i32Add);
  }
  f.payPushed();
}

/** Local with what the variable held when the loop was entered. */
function startLocal(f: FunctionContext, { variable }: PaidLoop): number {
  return f.scratch(`paid.start.${variable}`, TYPE.i32);
}
