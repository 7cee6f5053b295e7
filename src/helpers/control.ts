/** Loops, samples and what a program may ask of its attachment. Tail calls are the engines' business. */
import { ERRNO } from '../util/index.ts';
import type { HelperFamily } from './types.ts';

/** BPF_MAX_LOOPS. */
const MAX_LOOPS = 8 * 1024 * 1024;

export const CONTROL_HELPERS: HelperFamily = {
  // Gives the number of iterations done; the callback stops it with 1.
  bpf_loop: ({ env }) => {
    return (count, callback, callbackCtx, flags, high) => {
      if ((flags | high) !== 0) return -ERRNO.EINVAL;
      const loops = count >>> 0;
      if (loops > MAX_LOOPS) return -ERRNO.E2BIG;
      const words = [0, callbackCtx];
      for (let i = 0; i < loops; i++) {
        words[0] = i;
        if (env.callbacks.invoke(callback, words) !== 0) return i + 1;
      }
      return loops;
    };
  },
  bpf_perf_event_output: ({ env, valid }) => {
    return (ctx, address, flags, high, data, size) => {
      const map = env.mapByAddress(address);
      if (map === undefined) return -ERRNO.EINVAL;
      if (!valid(data, size)) return -ERRNO.EFAULT;
      return env.perfOutput(map, ctx, flags >>> 0, high >>> 0, data, size >>> 0);
    };
  },
  bpf_get_attach_cookie: ({ env, returnU64 }) => {
    const { attachCookie } = env;
    return attachCookie && ((ctx) => returnU64(attachCookie.call(env, ctx)));
  },
  bpf_get_func_ip: ({ env, returnU64 }) => {
    const { functionIp } = env;
    return functionIp && ((ctx) => returnU64(functionIp.call(env, ctx)));
  },
};
