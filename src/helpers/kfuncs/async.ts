/** bpf_wq and bpf_task_work: callbacks that run as soon as what runs at present has ended. */
import { ERRNO } from '../../util/index.ts';
import type { HelperContext } from '../types.ts';
import { type KfuncFamily, kfn } from './types.ts';

const NONE = -ERRNO.EOPNOTSUPP;

const schedule = ({ env }: HelperContext) => {
  const { async } = env;
  return (_task: number, work: number, map: number, callback: number) => {
    const made = async?.init('task_work', work, map, false) ?? NONE;
    // One that has run may be scheduled again, one that waits may not.
    if (made !== 0 && made !== -ERRNO.EBUSY) return made;
    if (async!.pending(work)) return -ERRNO.EBUSY;
    return async!.setCallback(work, callback) || async!.start(work, 0n, false);
  };
};

export const ASYNC_KFUNCS: KfuncFamily = {
  bpf_wq_init: kfn(
    'ppp',
    's32',
    ({ env }) =>
      (wq, map, flags) =>
        flags !== 0 ? -ERRNO.EINVAL : (env.async?.init('workqueue', wq, map, false) ?? NONE),
  ),
  bpf_wq_set_callback_impl: kfn(
    'ppp',
    's32',
    ({ env }) =>
      (wq, callback, flags) =>
        flags !== 0 ? -ERRNO.EINVAL : (env.async?.setCallback(wq, callback) ?? NONE),
  ),
  bpf_wq_start: kfn(
    'pp',
    's32',
    ({ env }) =>
      (wq, flags) =>
        flags !== 0 ? -ERRNO.EINVAL : (env.async?.start(wq, 0n, false) ?? NONE),
  ),
  bpf_task_work_schedule_signal_impl: kfn('pppp', 's32', schedule),
  bpf_task_work_schedule_resume_impl: kfn('pppp', 's32', schedule),
};
