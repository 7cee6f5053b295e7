/**
 * Call stacks (kernel/bpf/stackmap.c). The machine knows one only where the event that runs the program brings it; without, the
 * helpers fail as on Linux for a stack that cannot be walked.
 */
import { type EmbeddedMap, StackTraceMap } from '../maps/index.ts';
import { ERRNO } from '../util/index.ts';
import type { HelperFamily } from './types.ts';

const SKIP = 0xff;
const USER_STACK = 1 << 8;
const FAST_STACK_CMP = 1 << 9;
const REUSE_STACKID = 1 << 10;
const USER_BUILD_ID = 1 << 11;

const ADDRESS_SIZE = 8;
const BUILD_ID_SIZE = 32;
const BUILD_ID_ADDRESS = 24;
const BPF_STACK_BUILD_ID_IP = 2;

export const STACK_HELPERS: HelperFamily = {
  bpf_get_stackid: ({ env }) => {
    return (_ctx, address, flags, high) => {
      if (high !== 0 || (flags & ~(SKIP | USER_STACK | FAST_STACK_CMP | REUSE_STACKID)) !== 0)
        return -ERRNO.EINVAL;
      const map = env.mapByAddress(address) as EmbeddedMap | undefined;
      if (map === undefined || map.info.type.name !== 'stack_trace') return -ERRNO.EINVAL;
      const stack = env.stack?.((flags & USER_STACK) !== 0);
      const skip = flags & SKIP;
      if (stack === undefined || stack.length <= skip) return -ERRNO.EFAULT;
      if (env.stackId !== undefined) return env.stackId(map, stack.slice(skip), flags);
      return map instanceof StackTraceMap ? map.record(stack.slice(skip), flags) : -ERRNO.EINVAL;
    };
  },

  bpf_get_stack: ({ env, memory, valid }) => {
    const read = (buf: number, size: number, flags: number, high: number): number => {
      const user = (flags & USER_STACK) !== 0;
      const byBuildId = (flags & USER_BUILD_ID) !== 0;
      if (high !== 0 || (flags & ~(SKIP | USER_STACK | USER_BUILD_ID)) !== 0) return -ERRNO.EINVAL;
      if (byBuildId && !user) return -ERRNO.EINVAL;
      const element = byBuildId ? BUILD_ID_SIZE : ADDRESS_SIZE;
      if (size % element !== 0) return -ERRNO.EINVAL;
      const stack = env.stack?.(user);
      const skip = flags & SKIP;
      if (stack === undefined || stack.length < skip) return -ERRNO.EFAULT;
      const kept = stack.slice(skip, skip + size / element);
      kept.forEach((address, i) => {
        const at = buf + i * element;
        if (byBuildId) memory.writeU64(at, BigInt(BPF_STACK_BUILD_ID_IP));
        memory.writeU64(byBuildId ? at + BUILD_ID_ADDRESS : at, address);
      });
      return kept.length * element;
    };
    return (_ctx, buf, size, flags, high) => {
      if (!valid(buf, size)) return -ERRNO.EFAULT;
      memory.u8.fill(0, buf, buf + size);
      return read(buf, size, flags, high);
    };
  },
};
