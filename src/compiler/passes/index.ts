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
import { eliminateDeadCode } from './dce.ts';
import { dropUnwanted } from './demanded.ts';
import { type Complain, expandMemory, lowerSwitches } from './expand.ts';
import { fold } from './fold.ts';
import { numberValues } from './gvn.ts';
import { bottomUp, inlineInto, Uses } from './inline.ts';
import { findEffects, lookAround, Whole } from './interprocedural.ts';
import { legalize } from './legalize.ts';
import { hoistInvariants, rotateLoops, unrollOne } from './loops.ts';
import { insertProbeReads } from './probe-reads.ts';
import { promote } from './promote.ts';
import { propagate } from './propagate.ts';
import { type Kept, reachable } from './reach.ts';
import { eliminateDeadStores } from './stores.ts';
import { threadBranches } from './thread.ts';

export interface PassOptions {
  /** 0 to 3; 0 is treated as 1: programs that keep everything in the frame do not pass the kernel's verifier. */
  readonly level: number;
  readonly cpu: number;
  /** Pointers of the kernel are read by bpf_probe_read (BCC dialect). */
  readonly probeReads?: boolean;
  /** Check the IR after each pass: for tests. */
  readonly check?: boolean;
}

function clean(func: Func): void {
  for (let round = 0; round < 4; round++) {
    let changed = simplifyCfg(func);
    changed = fold(func) || changed;
    changed = dropUnwanted(func) || changed;
    changed = numberValues(func) || changed;
    changed = eliminateDeadCode(func) || changed;
    if (!changed) return;
  }
}

/** The same with facts of the whole function. */
function cleanWhole(func: Func, whole: Whole): void {
  clean(func);
  for (let round = 0; round < 3 && propagate(func, whole); round++) clean(func);
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
  const uses = new Uses(module);
  const order = bottomUp(module);
  for (const func of order) {
    removeUnreachable(func);
    check(func, 'lower');
    simplifyCfg(func);
    check(func, 'cfg');
    promote(func);
    check(func, 'promote');
    clean(func);
    check(func, 'clean');
    // Inlined code may hold calls that are to be inlined: of functions behind a recursion.
    for (let round = 0; round < 4 && inlineInto(func, uses, complain); round++) {
      check(func, 'inline');
      simplifyCfg(func);
      check(func, 'cfg');
      promote(func);
      check(func, 'promote');
      clean(func);
      check(func, 'clean');
    }
    findEffects(func);
  }
  const kept = reachable(module);
  const whole = new Whole();
  if (options.probeReads === true)
    for (const func of kept.functions)
      if (insertProbeReads(func)) {
        check(func, 'probe reads');
        clean(func);
      }
  for (const func of kept.functions) cleanWhole(func, whole);
  for (let round = 0; round < 3; round++) {
    const changed = lookAround(module, kept.functions, whole);
    if (changed.size === 0) break;
    for (const func of kept.functions) {
      if (!changed.has(func) && !callsOneOf(func, changed)) continue;
      cleanWhole(func, whole);
      findEffects(func);
    }
  }
  for (const func of kept.functions) {
    for (let round = 0; round < 4 && threadBranches(func); round++) {
      check(func, 'thread');
      clean(func);
      check(func, 'clean');
    }
    for (let round = 0; round < 64 && unrollOne(func); round++) {
      check(func, 'unroll');
      simplifyCfg(func);
      promote(func);
      check(func, 'promote');
      clean(func);
      check(func, 'clean');
    }
    cleanWhole(func, whole);
    check(func, 'propagate');
    if (hoistInvariants(func)) check(func, 'hoist');
    if (rotateLoops(func)) {
      check(func, 'rotate');
      clean(func);
    }
  }
  for (const func of kept.functions) {
    settleConstantP(func);
    cleanWhole(func, whole);
    expandMemory(func, complain);
    check(func, 'expand');
    promote(func);
    check(func, 'promote');
    clean(func);
    if (eliminateDeadStores(func, reversePostorder(func))) clean(func);
    check(func, 'dead stores');
    lowerSwitches(func);
    check(func, 'switch');
    simplifyCfg(func);
    fold(func);
    check(func, 'fold');
    legalize(func, options.cpu);
    check(func, 'legalize');
    for (let round = 0; round < 3; round++) {
      const changed = fold(func);
      if (!dropUnwanted(func) && !changed) break;
    }
    check(func, 'unwanted');
    numberValues(func);
    simplifyCfg(func);
    eliminateDeadCode(func);
    check(func, 'late fold');
    legalize(func, options.cpu);
    check(func, 'late');
  }
  return reachable(module);
}

export type { Complain } from './expand.ts';
export type { Kept } from './reach.ts';
