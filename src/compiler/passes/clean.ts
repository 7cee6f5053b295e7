/**
 * The passes that clean up after others, in turns until nothing changes. A pass that saw a function as it is now is not run on it
 * again: most calls of `clean` find nothing to do.
 */
import type { Func } from '../ir/index.ts';
import { simplifyCfg } from './cfg.ts';
import { eliminateDeadCode } from './dce.ts';
import { dropUnwanted } from './demanded.ts';
import { fold } from './fold.ts';
import { numberValues } from './gvn.ts';
import type { Whole } from './interprocedural.ts';
import { propagate } from './propagate.ts';

interface Step {
  readonly run: (func: Func) => boolean;
  /** It finds nothing more right after itself. */
  readonly settles: boolean;
}

const STEPS: readonly Step[] = [
  { run: simplifyCfg, settles: true },
  { run: fold, settles: true },
  { run: dropUnwanted, settles: false },
  { run: numberValues, settles: false },
  { run: eliminateDeadCode, settles: true },
];
const MAX_ROUNDS = 4;

interface State {
  /** Changes so far. */
  version: number;
  /** The version that each step last saw; -1: it is to run. */
  readonly seen: number[];
  propagated: number;
}

export class Cleaner {
  private readonly whole: Whole;
  private readonly states = new Map<Func, State>();

  constructor(whole: Whole) {
    this.whole = whole;
  }

  private stateOf(func: Func): State {
    let state = this.states.get(func);
    if (state === undefined) {
      state = { version: 0, seen: STEPS.map(() => -1), propagated: -1 };
      this.states.set(func, state);
    }
    return state;
  }

  /** Something changed that no step here did. */
  touch(func: Func): void {
    this.stateOf(func).version++;
  }

  clean(func: Func): void {
    const state = this.stateOf(func);
    for (let round = 0; round < MAX_ROUNDS; round++) {
      let changed = false;
      STEPS.forEach(({ run, settles }, i) => {
        if (state.seen[i] === state.version) return;
        const did = run(func);
        if (did) {
          state.version++;
          changed = true;
        }
        state.seen[i] = did && !settles ? -1 : state.version;
      });
      if (!changed) return;
    }
  }

  /** The same with facts of the whole function. */
  cleanWhole(func: Func): void {
    const state = this.stateOf(func);
    this.clean(func);
    for (let round = 0; round < 3 && state.propagated !== state.version; round++) {
      const changed = propagate(func, this.whole);
      if (changed) state.version++;
      state.propagated = state.version;
      if (!changed) return;
      this.clean(func);
    }
  }
}
