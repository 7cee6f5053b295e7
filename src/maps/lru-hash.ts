/**
 * LRU_HASH: a hash map that makes room by itself. When it is full, an insert evicts the oldest element that no program has
 * looked up since it was last considered (second chance). Never evicts while there is room. BPF_F_NO_COMMON_LRU is accepted
 * and changes nothing: there is one list.
 */
import type { MapCreateParams } from '../contracts/maps.ts';
import { alignUp } from '../util/index.ts';
import type { MapBlocks, MapContext, MapTypeImpl } from './base.ts';
import { HashMapBase } from './hash.ts';
import { ELEM_PREV } from './layout.ts';

class LruHashMap extends HashMapBase {
  constructor(params: MapCreateParams, ctx: MapContext, blocks: MapBlocks) {
    super(params, ctx, blocks, { stride: alignUp(params.valueSize, 8), copies: 1, used: ELEM_PREV });
  }
  protected override updateFromUser(key: number, value: number, flags: number): number {
    return this.ctx.module.wasm.lru_hash_update(this.address, key, value, flags, 0);
  }
  protected override deleteAt(key: number): number {
    return this.ctx.module.wasm.lru_hash_delete(this.address, key);
  }
  protected override takeAt(key: number, to: number, bytes: number): number {
    return this.ctx.module.wasm.lru_hash_take(this.address, key, to, bytes);
  }
}

export const LRU_HASH: MapTypeImpl = {
  create: (params, ctx, blocks) => new LruHashMap(params, ctx, blocks),
  ops: (wasm, keySize) => ({
    lookup:
      keySize === 4
        ? wasm.lru_hash_lookup_4
        : keySize === 8
          ? wasm.lru_hash_lookup_8
          : wasm.lru_hash_lookup_n,
    update: wasm.lru_hash_update,
    delete: wasm.lru_hash_delete,
  }),
};
