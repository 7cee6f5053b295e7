/** Arguments and result of the function that a program traces: its context is an array of them (kernel: get_func_arg and the like). */
import { ERRNO } from '../util/index.ts';
import type { HelperContext, HelperFamily } from './types.ts';

/** Copies word `n` of the context to `value`: 0. */
function word({ memory, valid }: HelperContext, ctx: number, n: number, value: number): number {
  if (!valid(ctx + 8 * n, 8) || !valid(value, 8)) return -ERRNO.EFAULT;
  memory.view.setBigUint64(value, memory.view.getBigUint64(ctx + 8 * n, true), true);
  return 0;
}

export const TRACED_HELPERS: HelperFamily = {
  bpf_get_func_arg: (context) => {
    const { env } = context;
    if (env.tracedFunction === undefined) return undefined;
    return (ctx, n, value) =>
      n >>> 0 < env.tracedFunction!().args ? word(context, ctx, n, value) : -ERRNO.EINVAL;
  },
  bpf_get_func_ret: (context) => {
    const { env } = context;
    if (env.tracedFunction === undefined) return undefined;
    return (ctx, value) => {
      const { args, returned } = env.tracedFunction!();
      return returned ? word(context, ctx, args, value) : -ERRNO.EOPNOTSUPP;
    };
  },
  bpf_get_func_arg_cnt: ({ env }) => env.tracedFunction && (() => env.tracedFunction!().args),
};
