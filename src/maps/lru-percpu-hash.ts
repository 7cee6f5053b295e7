/** LRU_PERCPU_HASH: values a CPU as in PERCPU_HASH, eviction as in LRU_HASH. */
import type { MapTypeImpl } from './base.ts';
import { ELEM_PREV } from './layout.ts';
import { PercpuHashMap } from './percpu-hash.ts';

class LruPercpuHashMap extends PercpuHashMap {
  protected override updateFromUser(key: number, values: number, flags: number): number {
    return this.ctx.module.wasm.lru_percpu_hash_update_all(this.address, key, values, flags, 0);
  }
  protected override deleteAt(key: number): number {
    return this.ctx.module.wasm.lru_hash_delete(this.address, key);
  }
  protected override takeAt(key: number, to: number, bytes: number): number {
    return this.ctx.module.wasm.lru_hash_take(this.address, key, to, bytes);
  }
}

export const LRU_PERCPU_HASH: MapTypeImpl = {
  create: (params, ctx, blocks) => new LruPercpuHashMap(params, ctx, blocks, ELEM_PREV),
  ops: (wasm) => ({
    lookup: wasm.lru_percpu_hash_lookup,
    update: wasm.lru_percpu_hash_update,
    delete: wasm.lru_hash_delete,
    lookupPercpu: wasm.lru_percpu_hash_lookup_cpu,
  }),
};
