/**
 * Exceptions (bpf_throw): the code that was thrown is kept while frames are left. What leaves them are checks behind calls that
 * rewrite puts there; these functions are theirs alone.
 */
import type { HelperContext } from '../types.ts';
import { type KfuncFamily, kfn } from './types.ts';

interface Thrown {
  pending: boolean;
  low: number;
  high: number;
}

const byContext = new WeakMap<HelperContext, Thrown>();

function thrownOf(ctx: HelperContext): Thrown {
  let thrown = byContext.get(ctx);
  if (thrown === undefined) {
    thrown = { pending: false, low: 0, high: 0 };
    byContext.set(ctx, thrown);
  }
  return thrown;
}

export const EXCEPTION_KFUNCS: KfuncFamily = {
  bpf_throw: kfn('q', 'void', (ctx) => {
    const thrown = thrownOf(ctx);
    return (low, high) => {
      thrown.pending = true;
      thrown.low = low;
      thrown.high = high;
    };
  }),
  /** Whether a called function has thrown. */
  exception_pending: kfn('', 's32', (ctx) => {
    const thrown = thrownOf(ctx);
    return () => (thrown.pending ? 1 : 0);
  }),
  /** The code, which nobody else gets. */
  exception_take: kfn('', 'u64', (ctx) => {
    const thrown = thrownOf(ctx);
    return () => {
      thrown.pending = false;
      ctx.returnHalves(thrown.low, thrown.high);
    };
  }),
};
