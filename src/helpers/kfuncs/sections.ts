/**
 * Sections and locks: one thing runs at a time, so RCU, preemption, interrupts and locks have nothing to do but keep what
 * programs see as Linux does. Casts give their argument back.
 */
import { type KfuncFamily, kfn } from './types.ts';

const NOTHING = kfn('', 'void', () => () => undefined);
/** The interrupt flag of x86 in the saved flags. */
const IRQ_ENABLED = 0x200;

export const SECTION_KFUNCS: KfuncFamily = {
  bpf_rcu_read_lock: NOTHING,
  bpf_rcu_read_unlock: NOTHING,
  bpf_preempt_disable: NOTHING,
  bpf_preempt_enable: NOTHING,
  bpf_local_irq_save: kfn('p', 'void', ({ memory, valid }) => (flags) => {
    if (valid(flags, 8)) memory.writeHalves(flags, IRQ_ENABLED, 0);
  }),
  bpf_local_irq_restore: NOTHING,
  bpf_res_spin_lock: kfn('', 's32', () => () => 0),
  bpf_res_spin_unlock: NOTHING,
  bpf_res_spin_lock_irqsave: kfn('pp', 's32', ({ memory, valid }) => (_lock, flags) => {
    if (valid(flags, 8)) memory.writeHalves(flags, IRQ_ENABLED, 0);
    return 0;
  }),
  bpf_res_spin_unlock_irqrestore: NOTHING,
  bpf_cast_to_kern_ctx: kfn('p', 'ptr', () => (ctx) => ctx),
  bpf_rdonly_cast: kfn(
    'q',
    'u64',
    ({ returnHalves }) =>
      (low, high) =>
        returnHalves(low, high),
  ),
  bpf_map_sum_elem_count: kfn('p', 'u64', ({ env, returnU64 }) => (header) => {
    returnU64(BigInt(env.mapByAddress(header)?.count() ?? 0));
  }),
};
