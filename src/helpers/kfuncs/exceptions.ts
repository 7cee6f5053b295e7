/**
 * Exceptions (bpf_throw): the code that was thrown is kept while frames are left. What leaves them are checks behind calls that
 * rewrite puts there; these functions are theirs alone. Runs nest, and CPUs may take turns: each has what it has thrown.
 */
import type { HelperContext } from '../types.ts';
import { currentRun } from './held.ts';
import { type KfuncFamily, kfn } from './types.ts';

interface Thrown {
  readonly low: number;
  readonly high: number;
}

/** What runs have thrown and not caught yet, by run. */
const byContext = new WeakMap<HelperContext, Map<number, Thrown>>();

function thrownOf(ctx: HelperContext): Map<number, Thrown> {
  let thrown = byContext.get(ctx);
  if (thrown === undefined) {
    thrown = new Map();
    byContext.set(ctx, thrown);
  }
  return thrown;
}

/** Of the run that asks, which was stopped. */
export function dropThrown(ctx: HelperContext): void {
  byContext.get(ctx)?.delete(currentRun(ctx));
}

export const EXCEPTION_KFUNCS: KfuncFamily = {
  bpf_throw: kfn('q', 'void', (ctx) => {
    const thrown = thrownOf(ctx);
    return (low, high) => void thrown.set(currentRun(ctx), { low, high });
  }),
  /** Whether a called function has thrown. */
  exception_pending: kfn('', 's32', (ctx) => {
    const thrown = thrownOf(ctx);
    return () => (thrown.size > 0 && thrown.has(currentRun(ctx)) ? 1 : 0);
  }),
  /** The code, which nobody else gets. */
  exception_take: kfn('', 'u64', (ctx) => {
    const thrown = thrownOf(ctx);
    return () => {
      const run = currentRun(ctx);
      const code = thrown.get(run);
      thrown.delete(run);
      ctx.returnHalves(code?.low ?? 0, code?.high ?? 0);
    };
  }),
};
