/** PERCPU_ARRAY: an array a CPU; programs see the running CPU's, user space all of them side by side. */
import type { MapCreateParams } from '../contracts/maps.ts';
import { RUN_STATE } from '../memory/index.ts';
import { alignUp, ERRNO } from '../util/index.ts';
import { IndexedMap } from './array.ts';
import type { ElementVisitor, MapBlocks, MapContext, MapTypeImpl } from './base.ts';
import { readPerCpu } from './percpu.ts';

class PercpuArrayMap extends IndexedMap {
  constructor(params: MapCreateParams, ctx: MapContext, blocks: MapBlocks) {
    super(params, ctx, blocks, alignUp(params.valueSize, 8), ctx.possibleCpus);
    this.setLayout({ perCpu: { values: this.values, stride: this.stride, cpuStride: this.cpuStride } });
  }

  protected override findForUser(key: number): number {
    return this.ctx.module.wasm.percpu_array_lookup_cpu(this.address, key, 0);
  }
  protected override readValue(at: number): Uint8Array {
    return readPerCpu(this.ctx, at, this.stride, this.cpuStride, this.info);
  }
  protected override updateFromUser(key: number, values: number, flags: number): number {
    return this.ctx.module.wasm.percpu_array_update_all(this.address, key, values, flags, 0);
  }
  protected override deleteAt(): number {
    return -ERRNO.EINVAL;
  }

  override walk(visit: ElementVisitor, key: number): number {
    const { maxEntries } = this.info;
    for (let i = 0; i < maxEntries; i++) {
      const { u32 } = this.ctx.memory;
      u32[key >>> 2] = i;
      const own = u32[(RUN_STATE.cpu + this.ctx.memory.cpuDelta) >>> 2] * this.cpuStride;
      if (visit(key, this.values + own + i * this.stride)) return i + 1;
    }
    return maxEntries;
  }
}

export const PERCPU_ARRAY: MapTypeImpl = {
  create: (params, ctx, blocks) => new PercpuArrayMap(params, ctx, blocks),
  ops: (wasm) => ({
    lookup: wasm.percpu_array_lookup,
    update: wasm.percpu_array_update,
    delete: wasm.array_delete,
    lookupPercpu: wasm.percpu_array_lookup_cpu,
  }),
};
