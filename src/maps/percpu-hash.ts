/** PERCPU_HASH: a hash map whose elements hold a value a CPU. Updates are made in place. */
import type { MapCreateParams } from '../contracts/maps.ts';
import { RUN_STATE } from '../memory/index.ts';
import { alignUp } from '../util/index.ts';
import type { MapBlocks, MapContext, MapTypeImpl } from './base.ts';
import { HashMapBase } from './hash.ts';
import { readPerCpu } from './percpu.ts';

export class PercpuHashMap extends HashMapBase {
  readonly #stride: number;

  constructor(params: MapCreateParams, ctx: MapContext, blocks: MapBlocks, used = 0) {
    const stride = alignUp(params.valueSize, 8);
    super(params, ctx, blocks, { stride, copies: ctx.possibleCpus, used });
    this.#stride = stride;
  }

  protected override readValue(at: number): Uint8Array {
    return readPerCpu(this.ctx, at, this.#stride, this.cpuStride, this.info);
  }
  protected override updateFromUser(key: number, values: number, flags: number): number {
    return this.ctx.module.wasm.percpu_hash_update_all(this.address, key, values, flags, 0);
  }
  protected override valueOfElement(elem: number): number {
    return (
      elem +
      this.valueOff +
      this.ctx.memory.u32[(RUN_STATE.cpu + this.ctx.memory.cpuDelta) >>> 2] * this.cpuStride
    );
  }
}

export const PERCPU_HASH: MapTypeImpl = {
  create: (params, ctx, blocks) => new PercpuHashMap(params, ctx, blocks),
  ops: (wasm, keySize) => ({
    lookup:
      keySize === 4
        ? wasm.percpu_hash_lookup_4
        : keySize === 8
          ? wasm.percpu_hash_lookup_8
          : wasm.percpu_hash_lookup_n,
    update: wasm.percpu_hash_update,
    delete: wasm.hash_delete,
    lookupPercpu: wasm.percpu_hash_lookup_cpu,
  }),
};
