/** Helpers about the machine and the process that runs: time, random numbers, processors, ids. */
import { kernelAddress } from '../memory/index.ts';
import { ERRNO, utf8 } from '../util/index.ts';
import type { HelperFamily, HelperMaker } from './types.ts';

/** Inode number of a cgroup hierarchy's root. */
const ROOT_CGROUP = 1;

/** Programs take the time often, and a bigint costs more than the clock. */
const monotonic: HelperMaker = ({ env, returnU64, returnHalves }) => {
  const { clock } = env;
  return () => {
    const now = clock.monotonicNumber();
    if (Number.isNaN(now)) returnU64(clock.monotonic());
    else returnHalves(now, now / 2 ** 32);
  };
};

export const MACHINE_HELPERS: HelperFamily = {
  bpf_ktime_get_ns: monotonic,
  bpf_ktime_get_boot_ns:
    ({ env, returnU64 }) =>
    () =>
      returnU64(env.clock.boottime()),
  bpf_ktime_get_coarse_ns: monotonic,
  bpf_ktime_get_tai_ns:
    ({ env, returnU64 }) =>
    () =>
      returnU64(env.clock.tai()),
  bpf_jiffies64:
    ({ env, returnU64 }) =>
    () =>
      returnU64(env.clock.jiffies()),
  bpf_get_prandom_u32:
    ({ env, returnHalves }) =>
    () =>
      returnHalves(env.random(), 0),
  bpf_get_smp_processor_id: ({ module }) => module.wasm.get_smp_processor_id,
  // One memory node.
  bpf_get_numa_node_id: () => () => 0,
  // Every process is in the root cgroup.
  bpf_get_current_cgroup_id:
    ({ returnHalves }) =>
    () =>
      returnHalves(ROOT_CGROUP, 0),
  bpf_get_current_ancestor_cgroup_id:
    ({ returnHalves }) =>
    (level) =>
      returnHalves(level === 0 ? ROOT_CGROUP : 0, 0),

  bpf_get_current_pid_tgid:
    ({ env, returnHalves }) =>
    () => {
      const task = env.current();
      returnHalves(task.pid, task.tgid);
    },
  bpf_get_current_uid_gid:
    ({ env, returnHalves }) =>
    () => {
      const task = env.current();
      returnHalves(task.uid, task.gid);
    },
  // strscpy_pad: always terminated, the rest zeroed.
  bpf_get_current_comm:
    ({ env, memory, valid }) =>
    (buffer, size) => {
      if (!valid(buffer, size)) return -ERRNO.EFAULT;
      if (size === 0) return -ERRNO.EINVAL;
      const { u8 } = memory;
      u8.fill(0, buffer, buffer + size);
      u8.set(utf8(env.current().comm).subarray(0, Math.min(15, size - 1)), buffer);
      return 0;
    },
  bpf_get_current_task:
    ({ env, returnU64 }) =>
    () =>
      returnU64(kernelAddress(env.current().taskStruct)),
  bpf_get_current_task_btf:
    ({ env, returnU64 }) =>
    () =>
      returnU64(kernelAddress(env.current().taskStruct)),
};
