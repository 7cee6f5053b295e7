/** The order of the passes. */
import {
  constant,
  type Func,
  type Module,
  replaceUses,
  reversePostorder,
  sweep,
  verifyFunc,
} from '../ir/index.ts';
import { removeUnreachable, simplifyCfg } from './cfg.ts';
import { Cleaner } from './clean.ts';
import { findConstants } from './constants.ts';
import { eliminateDeadCode } from './dce.ts';
import { dropUnwanted } from './demanded.ts';
import { type Complain, expandMemory, lowerSwitches } from './expand.ts';
import { fold } from './fold.ts';
import { numberValues } from './gvn.ts';
import { bottomUp, inlineInto, Uses } from './inline.ts';
import { findEffects, lookAround, Whole } from './interprocedural.ts';
import { legalize } from './legalize.ts';
import { hoistInvariants, rotateLoops, unrollLoops } from './loops.ts';
import { insertProbeReads } from './probe-reads.ts';
import { promote } from './promote.ts';
import { propagate } from './propagate.ts';
import { type Kept, reachable } from './reach.ts';
import { eliminateDeadStores } from './stores.ts';
import { tailRecursion } from './tail-recursion.ts';
import { threadBranches } from './thread.ts';
import { computeTruth } from './truth.ts';

export interface PassOptions {
  /** 0 to 3; 0 is treated as 1: programs that keep everything in the frame do not pass the kernel's verifier. */
  readonly level: number;
  readonly cpu: number;
  /** Pointers of the kernel are read by bpf_probe_read (BCC dialect). */
  readonly probeReads?: boolean;
  /** Check the IR after each pass: for tests. */
  readonly check?: boolean;
}

/** What is not known to be constant by now is none. */
function settleConstantP(func: Func): boolean {
  let changed = false;
  for (const block of func.blocks)
    for (const inst of block.insts) {
      if (inst.op !== 'constant_p') continue;
      const [value] = inst.args;
      replaceUses(inst, constant('i32', value?.kind === 'const' ? 1n : 0n));
      changed = true;
    }
  if (changed) sweep(func);
  return changed;
}

const callsOneOf = (func: Func, callees: ReadonlySet<Func>): boolean =>
  func.blocks.some((block) =>
    block.insts.some((inst) => inst.callee?.kind === 'function' && callees.has(inst.callee.func)),
  );

/** Optimises a module in place and leaves it in a form that `codegen` takes. */
export function optimize(module: Module, options: PassOptions, complain: Complain): Kept {
  const check = (func: Func, after: string): void => {
    if (options.check === true) verifyFunc(func, after);
  };
  const whole = new Whole();
  const cleaner = new Cleaner(whole);
  const clean = (func: Func): void => cleaner.clean(func);
  /** Behind a pass that changed a function. */
  const cleanAfter = (func: Func, pass: string): void => {
    check(func, pass);
    cleaner.touch(func);
    simplifyCfg(func);
    promote(func);
    check(func, 'promote');
    clean(func);
    check(func, 'clean');
  };
  const uses = new Uses(module);
  const needed = new Set(reachable(module).functions);
  for (const func of bottomUp(module)) {
    if (!needed.has(func)) continue;
    removeUnreachable(func);
    cleanAfter(func, 'lower');
    if (tailRecursion(func)) cleanAfter(func, 'tail recursion');
    // Inlined code may hold calls that are to be inlined: of functions behind a recursion.
    for (let round = 0; round < 4 && inlineInto(func, uses, complain); round++) cleanAfter(func, 'inline');
    findEffects(func);
  }
  const kept = reachable(module);
  if (findConstants(module, kept.functions)) for (const func of kept.functions) cleaner.touch(func);
  if (options.probeReads === true)
    for (const func of kept.functions) if (insertProbeReads(func)) cleanAfter(func, 'probe reads');
  for (const func of kept.functions) cleaner.cleanWhole(func);
  for (let round = 0; round < 3; round++) {
    const changed = lookAround(module, kept.functions, whole);
    if (changed.size === 0) break;
    for (const func of kept.functions) {
      if (!changed.has(func) && !callsOneOf(func, changed)) continue;
      cleaner.touch(func);
      cleaner.cleanWhole(func);
      findEffects(func);
    }
  }
  for (const func of kept.functions) {
    for (let round = 0; round < 4 && threadBranches(func); round++) cleanAfter(func, 'thread');
    for (let round = 0; round < 64 && unrollLoops(func); round++) cleanAfter(func, 'unroll');
    cleaner.cleanWhole(func);
    check(func, 'propagate');
    if (hoistInvariants(func)) {
      check(func, 'hoist');
      cleaner.touch(func);
    }
    if (rotateLoops(func)) {
      check(func, 'rotate');
      cleaner.touch(func);
      clean(func);
    }
  }
  for (const func of kept.functions) {
    if (settleConstantP(func)) cleaner.touch(func);
    cleaner.cleanWhole(func);
    if (expandMemory(func, complain)) {
      check(func, 'expand');
      cleaner.touch(func);
    }
    if (promote(func)) cleaner.touch(func);
    check(func, 'promote');
    clean(func);
    if (eliminateDeadStores(func, reversePostorder(func))) {
      cleaner.touch(func);
      clean(func);
    }
    check(func, 'dead stores');
    lowerSwitches(func);
    check(func, 'switch');
    makeLegal(func, options.cpu, whole, check);
  }
  return reachable(module);
}

/** Into the machine's types, and what folds only then. */
function makeLegal(func: Func, cpu: number, whole: Whole, check: (func: Func, after: string) => void): void {
  simplifyCfg(func);
  fold(func);
  check(func, 'fold');
  legalize(func, cpu);
  check(func, 'legalize');
  for (let round = 0; round < 3; round++) {
    const changed = fold(func);
    if (!dropUnwanted(func) && !changed) break;
  }
  check(func, 'unwanted');
  numberValues(func);
  if (propagate(func, whole)) {
    fold(func);
    dropUnwanted(func);
    numberValues(func);
  }
  simplifyCfg(func);
  eliminateDeadCode(func);
  check(func, 'late fold');
  if (computeTruth(func, whole)) {
    simplifyCfg(func);
    fold(func);
    eliminateDeadCode(func);
  }
  check(func, 'truth');
  legalize(func, cpu);
  check(func, 'late');
}

export type { Complain } from './expand.ts';
export type { Kept } from './reach.ts';
