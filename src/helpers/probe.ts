/** Reads of memory that may not be there (kernel/trace/bpf_trace.c): a fault is -EFAULT and a zeroed destination. */
import { ERRNO } from '../util/index.ts';
import { createAccess, type GuestAccess, readString } from './guest-access.ts';
import type { HelperFamily, HelperMaker } from './types.ts';

const FAULT = -ERRNO.EFAULT;

function read(from: keyof GuestAccess): HelperMaker {
  return (ctx) => {
    const locate = createAccess(ctx)[from];
    return (to, size, low, high) => {
      if (!ctx.valid(to, size)) return FAULT;
      if (size === 0) return 0;
      const at = locate(low, high, size);
      const { u8 } = ctx.memory;
      if (at < 0) {
        u8.fill(0, to, to + size);
        return FAULT;
      }
      u8.copyWithin(to, at, at + size);
      return 0;
    };
  };
}

/** Gives the length with the NUL. */
function readStringTo(from: keyof GuestAccess): HelperMaker {
  return (ctx) => {
    const locate = createAccess(ctx)[from];
    return (to, size, low, high) => {
      if (!ctx.valid(to, size)) return FAULT;
      if (size === 0) return 0;
      const text = readString(ctx.memory, locate, low, high, size);
      const { u8 } = ctx.memory;
      if (text === null) {
        u8.fill(0, to, to + size);
        return FAULT;
      }
      u8.set(text, to);
      u8[to + text.length] = 0;
      return text.length + 1;
    };
  };
}

export const PROBE_HELPERS: HelperFamily = {
  bpf_probe_read: read('any'),
  bpf_probe_read_kernel: ({ module }) => module.wasm.probe_read_kernel,
  bpf_probe_read_user: read('user'),
  bpf_copy_from_user: read('user'),
  bpf_probe_read_str: readStringTo('any'),
  bpf_probe_read_kernel_str: ({ module }) => module.wasm.probe_read_kernel_str,
  bpf_probe_read_user_str: readStringTo('user'),
  bpf_probe_write_user: (ctx) => {
    const { user } = createAccess(ctx);
    return (low, high, from, size) => {
      const to = user(low, high, size);
      if (to < 0) return -ERRNO.EPERM;
      if (!ctx.valid(from, size)) return FAULT;
      ctx.memory.u8.copyWithin(to, from, from + size);
      return 0;
    };
  },
};
