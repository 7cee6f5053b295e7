/**
 * What functions tell each other: arguments and results that are the same everywhere or have bounds, parameters and results that
 * nobody reads, functions without effect.
 *
 * Only functions all of whose calls are known take part: static ones whose address goes nowhere. The kernel's verifier checks each call
 * of such a function with what it is handed.
 */
import {
  constant,
  FLAG,
  type Func,
  type Inst,
  isConst,
  type Module,
  type Param,
  replaceUses,
  sameValue,
  setArg,
  type Value,
} from '../ir/index.ts';
import { type Facts, isKnown, union } from './facts.ts';

/** Facts that cross calls. Those of a call are written down when its function is propagated. */
export class Whole {
  readonly params = new Map<Param, Facts>();
  readonly results = new Map<Func, Facts>();
  /** By call: facts of its arguments. */
  readonly arguments = new Map<Inst, readonly Facts[]>();
}

interface Closed {
  readonly func: Func;
  readonly calls: Inst[];
}

/** Static functions with all their calls. */
function closedFunctions(module: Module, functions: readonly Func[]): Closed[] {
  const calls = new Map<Func, Inst[]>();
  const open = new Set<Value>();
  for (const global of module.globals) for (const { target } of global.relocs) open.add(target);
  for (const func of functions)
    for (const block of func.blocks)
      for (const inst of block.insts) {
        for (const arg of inst.args) if (arg.kind === 'function') open.add(arg);
        for (const called of inst.asm?.calls.values() ?? []) open.add(called);
        if (inst.callee?.kind !== 'function') continue;
        const { func: callee } = inst.callee;
        const list = calls.get(callee);
        if (list === undefined) calls.set(callee, [inst]);
        else list.push(inst);
        if (inst.args.length !== callee.params.length) open.add(callee);
      }
  return functions
    .filter((func) => func.linkage === 'static' && !func.used && !func.naked && !open.has(func))
    .map((func) => ({ func, calls: calls.get(func) ?? [] }));
}

function resultsOf(func: Func): Inst[] {
  return func.blocks
    .map((block) => block.terminator!)
    .filter((last) => last.op === 'ret' && last.args.length === 1);
}

/** Carries constants and facts over calls. Gives the functions that changed: they and their callers are to be cleaned again. */
export function lookAround(module: Module, functions: readonly Func[], whole: Whole): Set<Func> {
  const changed = new Set<Func>();
  for (const { func, calls } of closedFunctions(module, functions)) {
    if (calls.length === 0) continue;
    func.params.forEach((param, i) => {
      const [first] = calls;
      const value = first!.args[i]!;
      if (param.users.size === 0) {
        for (const call of calls) {
          if (call.args[i]!.kind === 'undef') continue;
          setArg(call, i, { kind: 'undef', type: call.args[i]!.type });
          if (call.block !== undefined) changed.add(call.block.func);
        }
        return;
      }
      if (
        isConst(value) &&
        value.type === param.type &&
        calls.every((call) => sameValue(call.args[i]!, value))
      ) {
        replaceUses(param, value);
        changed.add(func);
        return;
      }
      if (param.type === 'ptr') return;
      let facts: Facts | undefined;
      for (const call of calls) {
        const one = whole.arguments.get(call)?.[i];
        if (one === undefined || call.args[i]!.type !== param.type) return;
        facts = facts === undefined ? one : union(facts, one);
      }
      if (!whole.params.has(param)) changed.add(func);
      whole.params.set(param, { ...facts!, soft: true });
    });
    const ends = resultsOf(func);
    if (func.returnType === 'void' || ends.length === 0) continue;
    if (calls.every((call) => call.users.size === 0)) {
      for (const end of ends) {
        if (end.args[0]!.kind === 'undef') continue;
        setArg(end, 0, { kind: 'undef', type: end.args[0]!.type });
        changed.add(func);
      }
      continue;
    }
    const facts = whole.results.get(func);
    const [value] = ends[0]!.args;
    let known: Value | undefined;
    if (isConst(value) && ends.every((end) => sameValue(end.args[0]!, value))) known = value;
    else if (facts !== undefined && isKnown(facts)) known = constant(ends[0]!.args[0]!.type, facts.umin);
    if (known === undefined) continue;
    for (const call of calls) {
      if (call.users.size === 0 || call.type !== known.type) continue;
      replaceUses(call, known);
      if (call.block !== undefined) changed.add(call.block.func);
    }
  }
  return changed;
}

/** Whether a function gives a result and does nothing else; `reads`: it depends on memory. */
export function findEffects(func: Func): void {
  func.effects = 'any';
  if (func.linkage !== 'static' || func.naked) return;
  let reads = false;
  const isOwn = (pointer: Value): boolean => {
    let at = pointer;
    while (at.kind === 'inst' && at.op === 'ptradd') at = at.args[0]!;
    return at.kind === 'inst' && at.op === 'alloca';
  };
  for (const block of func.blocks)
    for (const inst of block.insts) {
      switch (inst.op) {
        case 'load':
          if (inst.has(FLAG.VOLATILE)) return;
          if (!isOwn(inst.args[0]!)) reads = true;
          break;
        case 'store':
        case 'memset':
          if (inst.has(FLAG.VOLATILE) || !isOwn(inst.args[0]!)) return;
          break;
        case 'memcpy':
        case 'memmove':
          if (inst.has(FLAG.VOLATILE) || !isOwn(inst.args[0]!)) return;
          if (!isOwn(inst.args[1]!)) reads = true;
          break;
        case 'memcmp':
          reads = true;
          break;
        case 'call':
          if (inst.callee?.kind !== 'function' || inst.callee.func.effects === 'any') return;
          // What it is handed may be a variable of ours.
          reads ||= inst.callee.func.effects === 'reads';
          break;
        case 'atomic':
        case 'asm':
        case 'asmgoto':
        case 'opaque':
        case 'libcall':
          return;
        default:
      }
    }
  func.effects = reads ? 'reads' : 'none';
}
