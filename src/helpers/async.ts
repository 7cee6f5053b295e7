/** bpf_timer: callbacks that run later. When, and what they hold, is for the kernel around to know (`AsyncCalls`). */
import { ERRNO } from '../util/index.ts';
import type { HelperFamily } from './types.ts';

const CLOCK_MONOTONIC = 1;
/** CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME */
const CLOCKS = new Set([0, CLOCK_MONOTONIC, 7]);
/** BPF_F_TIMER_ABS, BPF_F_TIMER_CPU_PIN */
const START_FLAGS = 3;
const ABSOLUTE = 1;

export const ASYNC_HELPERS: HelperFamily = {
  bpf_timer_init: ({ env }) => {
    const { async } = env;
    return (
      async &&
      ((timer, map, flags, high) =>
        high !== 0 || !CLOCKS.has(flags) ? -ERRNO.EINVAL : async.init('timer', timer, map, flags === 0))
    );
  },
  bpf_timer_set_callback: ({ env }) => {
    const { async } = env;
    return async && ((timer, callback) => async.setCallback(timer, callback));
  },
  bpf_timer_start: ({ env }) => {
    const { async } = env;
    return (
      async &&
      ((timer, low, high, flags, flagsHigh) => {
        if (flagsHigh !== 0 || (flags & ~START_FLAGS) !== 0) return -ERRNO.EINVAL;
        const time = (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
        return async.start(timer, time, (flags & ABSOLUTE) !== 0);
      })
    );
  },
  bpf_timer_cancel: ({ env }) => {
    const { async } = env;
    return async && ((timer) => async.cancel(timer));
  },
};
