/** LPM_TRIE: longest prefix match on keys {u32 prefixlen, u8 data[]} (kernel/bpf/lpm_trie.c). */
import type { MapCreateParams } from '../contracts/maps.ts';
import { alignUp, ERRNO } from '../util/index.ts';
import { MapBase, type MapBlocks, type MapContext, type MapTypeImpl } from './base.ts';
import { slabSource } from './hash.ts';
import {
  HDR_BUMP,
  HDR_BUMP_END,
  HDR_DATA_SIZE,
  HDR_ELEM_SIZE,
  HDR_LIMIT,
  HDR_VALUE_OFF,
  NODE_DATA,
} from './layout.ts';

class LpmTrieMap extends MapBase {
  constructor(params: MapCreateParams, ctx: MapContext, blocks: MapBlocks) {
    super(params, ctx, blocks);
    const dataSize = params.keySize - 4;
    const valueOff = NODE_DATA + alignUp(dataSize, 8);
    const nodeSize = valueOff + alignUp(params.valueSize, 8);
    this.set(HDR_DATA_SIZE, dataSize);
    this.set(HDR_VALUE_OFF, valueOff);
    this.set(HDR_ELEM_SIZE, nodeSize);
    // Entries, the forks between them, and the node and fork of an update under way.
    const limit = 2 * params.maxEntries + 2;
    if (ctx.memory.shared) {
      this.set(HDR_LIMIT, limit);
      return;
    }
    ctx.module.refills.set(
      this.address,
      slabSource(
        nodeSize,
        limit,
        (bytes) => this.allocate(bytes, 'nodes'),
        (start, end) => {
          this.set(HDR_BUMP, start);
          this.set(HDR_BUMP_END, end);
        },
      ),
    );
  }

  protected override get slabbed(): boolean {
    return this.ctx.memory.shared;
  }

  override free(): void {
    this.ctx.module.refills.delete(this.address);
    super.free();
  }

  /** A copy that no other CPU can have written to half-way. */
  override lookup(key: Uint8Array, flags = 0): Uint8Array | number {
    if (!this.ctx.memory.shared || flags !== 0) return super.lookup(key, flags);
    const { valueSize } = this.info;
    const at = this.putKey(key, valueSize);
    const to = at + alignUp(key.length, 8);
    const there = this.ctx.module.wasm.lpm_read(this.address, at, to, valueSize);
    return there === 0 ? -ERRNO.ENOENT : this.readValue(to);
  }

  protected override findForUser(key: number): number {
    const { lpm_lookup, lpm_lookup_4 } = this.ctx.module.wasm;
    return (this.info.keySize === 8 ? lpm_lookup_4 : lpm_lookup)(this.address, key);
  }
  protected override updateFromUser(key: number, value: number, flags: number): number {
    return this.ctx.module.wasm.lpm_update(this.address, key, value, flags, 0);
  }
  protected override deleteAt(key: number): number {
    return this.ctx.module.wasm.lpm_delete(this.address, key);
  }
  protected override nextKeyAt(key: number, to: number): number {
    return this.ctx.module.wasm.lpm_next_key(this.address, key, to) === 0 ? 0 : to;
  }
}

export const LPM_TRIE: MapTypeImpl = {
  create: (params, ctx, blocks) => new LpmTrieMap(params, ctx, blocks),
  ops: (wasm, keySize) => ({
    lookup: keySize === 8 ? wasm.lpm_lookup_4 : wasm.lpm_lookup,
    update: wasm.lpm_update,
    delete: wasm.lpm_delete,
  }),
};
