/**
 * Bodies in place of calls: what must be inlined (`always_inline`, more than five arguments), what is called once, and what is
 * small. Callees come before their callers, so that a body is simplified before it is copied.
 */
import {
  Block,
  computePreds,
  detach,
  type Func,
  Inst,
  isConst,
  type Module,
  replaceUses,
  type Value,
} from '../ir/index.ts';
import { cloneBlocks } from './clone.ts';
import type { Complain } from './expand.ts';

/** Instructions up to which a body is worth its calls. */
const SMALL = 45;
const SMALL_HINTED = 65;
/** Beyond this a caller does not grow by bodies that need not be inlined. */
const LARGE_CALLER = 20_000;
/** Beyond this it does not grow at all. */
const HUGE_CALLER = 400_000;

const countOf = (func: Func): number => func.blocks.reduce((sum, block) => sum + block.insts.length, 0);

/** Functions that are defined, each behind those it calls where there is no recursion. */
export function bottomUp(module: Module): Func[] {
  const order: Func[] = [];
  const state = new Map<Func, 'open' | 'done'>();
  for (const root of module.funcs) {
    if (root.isDeclaration || state.has(root)) continue;
    const stack: { func: Func; callees: Func[] }[] = [{ func: root, callees: calleesOf(root) }];
    state.set(root, 'open');
    while (stack.length > 0) {
      const top = stack[stack.length - 1]!;
      const next = top.callees.pop();
      if (next === undefined) {
        state.set(top.func, 'done');
        order.push(top.func);
        stack.pop();
      } else if (!state.has(next) && !next.isDeclaration) {
        state.set(next, 'open');
        stack.push({ func: next, callees: calleesOf(next) });
      }
    }
  }
  return order;
}

function calleesOf(func: Func): Func[] {
  const callees: Func[] = [];
  for (const block of func.blocks)
    for (const inst of block.insts) if (inst.callee?.kind === 'function') callees.push(inst.callee.func);
  return callees.reverse();
}

/** Calls of each function in the module, and whether its address is used otherwise. */
export class Uses {
  readonly calls = new Map<Func, number>();
  readonly addressTaken = new Set<Func>();

  constructor(module: Module) {
    for (const global of module.globals)
      for (const { target } of global.relocs) if (target.kind === 'function') this.addressTaken.add(target);
    for (const func of module.funcs)
      for (const block of func.blocks)
        for (const inst of block.insts) {
          for (const arg of inst.args) if (arg.kind === 'function') this.addressTaken.add(arg);
          if (inst.callee?.kind === 'function')
            this.calls.set(inst.callee.func, (this.calls.get(inst.callee.func) ?? 0) + 1);
        }
  }
}

/**
 * Instructions that a copy of a body would have: what is there for arguments that are constants alone (`__builtin_constant_p`: swaps of
 * bytes have it, one by one) is gone from the copy.
 */
function costOf(func: Func): number {
  let cost = countOf(func);
  for (const block of func.blocks) {
    const branch = block.terminator;
    const test = branch?.op === 'condbr' ? branch.args[0] : undefined;
    if (test?.kind !== 'inst' || test.op !== 'icmp' || test.args[0]!.kind !== 'inst') continue;
    if (test.args[0].op !== 'constant_p' || !isConst(test.args[1]!)) continue;
    const arm = branch!.targets[(test.pred === 'ne') === (test.args[1].value === 0n) ? 0 : 1]!;
    if (arm.preds.length === 1) cost -= arm.insts.length + 3;
  }
  return cost;
}

function isRecursive(func: Func): boolean {
  for (const block of func.blocks)
    for (const inst of block.insts)
      if (inst.callee?.kind === 'function' && inst.callee.func === func) return true;
  return false;
}

function wants(caller: Func, callee: Func, call: Inst, uses: Uses, size: number): boolean {
  if (callee.isDeclaration || callee === caller || callee.naked) return false;
  if (callee.linkage === 'weak') return false;
  if (call.args.length !== callee.params.length) return false;
  if (callee.params.some((param, i) => param.type !== call.args[i]!.type)) return false;
  if (isRecursive(callee)) return false;
  if (size > HUGE_CALLER) return false;
  if (callee.alwaysInline || call.args.length > 5) return true;
  if (callee.noInline || size > LARGE_CALLER) return false;
  const count = costOf(callee);
  if (count <= (callee.inlineHint ? SMALL_HINTED : SMALL)) return true;
  return (
    callee.linkage === 'static' &&
    !callee.used &&
    uses.calls.get(callee) === 1 &&
    !uses.addressTaken.has(callee)
  );
}

/** Inlines into one function. True where something was. */
export function inlineInto(caller: Func, uses: Uses, complain: Complain): boolean {
  let changed = false;
  let size = countOf(caller);
  for (let b = 0; b < caller.blocks.length; b++) {
    const block = caller.blocks[b]!;
    const index = block.insts.findIndex(
      (inst) => inst.callee?.kind === 'function' && wants(caller, inst.callee.func, inst, uses, size),
    );
    if (index < 0) continue;
    const call = block.insts[index]!;
    const callee = (call.callee as { func: Func }).func;
    size += countOf(callee);
    if (size > HUGE_CALLER)
      complain('function-too-large', `'${caller.name}' is too large after inlining`, caller.loc);
    uses.calls.set(callee, (uses.calls.get(callee) ?? 1) - 1);
    const added = inlineCall(caller, block, index, callee, uses);
    caller.blocks.splice(b + 1, 0, ...added);
    changed = true;
  }
  if (changed) computePreds(caller);
  return changed;
}

function inlineCall(caller: Func, block: Block, index: number, callee: Func, uses: Uses): Block[] {
  const call = block.insts[index]!;
  const after = new Block(caller, `${callee.name}.end`);
  after.insts = block.insts.splice(index + 1);
  for (const inst of after.insts) inst.block = after;
  block.insts.pop();
  for (const succ of after.succs)
    for (const phi of succ.insts) {
      if (phi.op !== 'phi') break;
      phi.targets = phi.targets.map((from) => (from === block ? after : from));
    }
  const values = new Map<Value, Value>();
  callee.params.forEach((param, i) => {
    values.set(param, call.args[i]!);
  });
  const copies = cloneBlocks(
    callee.blocks,
    (one) => new Block(caller, one.name),
    values,
    new Map<Block, Block>(),
  );
  const entry = copies[0]!;
  // Variables move to the caller's entry; they live from here on.
  const variables = entry.insts.filter((inst) => inst.op === 'alloca');
  if (variables.length > 0) {
    entry.insts = entry.insts.filter((inst) => inst.op !== 'alloca');
    const marked = new Set<Value>();
    for (const inst of copies.flatMap((one) => one.insts))
      if (inst.op === 'lifetime') marked.add(inst.args[0]!);
    for (const variable of variables) variable.block = caller.entry;
    caller.entry.insts = [...variables, ...caller.entry.insts];
    const marks = variables
      .filter((variable) => !marked.has(variable))
      .map((variable) => {
        const mark = new Inst('lifetime', 'void', [variable]);
        mark.block = entry;
        return mark;
      });
    entry.insts = [...marks, ...entry.insts];
  }
  const go = new Inst('br', 'void', []);
  go.targets = [entry];
  go.loc = call.loc;
  go.block = block;
  block.insts.push(go);
  const results: [Value, Block][] = [];
  for (const copy of copies) {
    for (const inst of copy.insts)
      if (inst.callee?.kind === 'function')
        uses.calls.set(inst.callee.func, (uses.calls.get(inst.callee.func) ?? 0) + 1);
    const last = copy.terminator!;
    if (last.op !== 'ret') continue;
    const value = last.args[0];
    if (value !== undefined) results.push([value, copy]);
    const leave = new Inst('br', 'void', []);
    leave.targets = [after];
    leave.loc = last.loc;
    leave.block = copy;
    copy.insts[copy.insts.length - 1] = leave;
    detach(last);
  }
  if (call.users.size > 0) {
    let result: Value = { kind: 'undef', type: call.type };
    if (results.length === 1) result = results[0]![0];
    else if (results.length > 1) {
      const phi = new Inst(
        'phi',
        call.type,
        results.map(([value]) => value),
      );
      phi.targets = results.map(([, from]) => from);
      phi.block = after;
      phi.loc = call.loc;
      after.insts.unshift(phi);
      result = phi;
    }
    replaceUses(call, result);
  }
  detach(call);
  return [...copies, after];
}
