/** CPUMAP: processors that bpf_redirect_map hands frames to; a value is {u32 length of the queue, u32 program}. */
import { ERRNO } from '../util/index.ts';
import type { MapTypeImpl } from './base.ts';
import { RedirectSlots } from './redirect-slots.ts';

const MAX_QUEUE = 16_384;

class CpuMap extends RedirectSlots {
  protected override checkEntry(index: number, queue: number, program: boolean): number {
    if (queue > MAX_QUEUE) return -ERRNO.EOVERFLOW;
    if (index >= this.ctx.possibleCpus) return -ERRNO.ENODEV;
    // An emptied slot's program is not looked at.
    return super.checkEntry(index, queue, queue !== 0 && program);
  }
  protected override check(): number {
    return 0;
  }
}

export const CPUMAP: MapTypeImpl = {
  create: (params, ctx, blocks) => new CpuMap(params, ctx, blocks),
  ops: (wasm) => ({ redirect: wasm.slot_lookup }),
};
