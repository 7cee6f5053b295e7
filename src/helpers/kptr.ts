/** Pointers to objects in map values, and per-CPU objects. */
import { KERNEL_HI } from '../memory/index.ts';
import { hold, letGo } from './kfuncs/held.ts';
import { perCpuCopy } from './kfuncs/object-memory.ts';
import type { HelperFamily } from './types.ts';

export const KPTR_HELPERS: HelperFamily = {
  // Gives what the field held; ownership changes hands both ways.
  bpf_kptr_xchg: (ctx) => (field, pointer) => {
    const { memory } = ctx;
    if (!ctx.valid(field, 8)) return 0;
    const old = memory.view.getUint32(field, true);
    memory.writeHalves(field, pointer, pointer === 0 ? 0 : KERNEL_HI);
    letGo(ctx, pointer);
    return hold(ctx, old);
  },
  bpf_per_cpu_ptr: (ctx) => (pointer, cpu) =>
    cpu >>> 0 < ctx.env.possibleCpus ? perCpuCopy(ctx, pointer, cpu) : 0,
  bpf_this_cpu_ptr: (ctx) => (pointer) => perCpuCopy(ctx, pointer, ctx.env.cpu()),
};
