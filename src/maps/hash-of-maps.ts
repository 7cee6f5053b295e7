/** HASH_OF_MAPS: an element's value is the offset of an inner map's header. Only user space writes it, by fd. */
import type { MapCreateParams } from '../contracts/maps.ts';
import { ERRNO } from '../util/index.ts';
import type { MapBlocks, MapContext, MapTypeImpl } from './base.ts';
import type { HeldObject } from './fd-array.ts';
import { HashMapBase } from './hash.ts';
import { resolveInner } from './inner-map.ts';

class HashOfMaps extends HashMapBase {
  /** By the word in the value: how often it is held, since one map may stand under several keys. */
  readonly #held = new Map<number, { object: HeldObject; times: number }>();

  constructor(params: MapCreateParams, ctx: MapContext, blocks: MapBlocks) {
    super(params, ctx, blocks, { stride: 8, copies: 1 });
  }

  #wordAt(value: number): number {
    return this.ctx.memory.u32[value >>> 2];
  }

  #release(word: number): void {
    const held = this.#held.get(word);
    if (held === undefined) return;
    if (--held.times === 0) this.#held.delete(word);
    held.object.put();
  }

  protected override readValue(at: number): Uint8Array {
    const value = new Uint8Array(4);
    new DataView(value.buffer).setUint32(0, this.#held.get(this.#wordAt(at))?.object.id ?? 0, true);
    return value;
  }

  protected override updateFromUser(key: number, value: number, flags: number): number {
    const { memory, module } = this.ctx;
    const object = resolveInner(this.ctx, this.info.inner, memory.i32[value >>> 2]);
    if (typeof object === 'number') return object;
    const before = this.findForUser(key);
    const oldWord = before === 0 ? 0 : this.#wordAt(before);
    memory.u32[value >>> 2] = object.word;
    const result = module.wasm.hash_update(this.address, key, value, flags, 0);
    if (result < 0) {
      object.put();
      return result;
    }
    const held = this.#held.get(object.word);
    if (held === undefined) this.#held.set(object.word, { object, times: 1 });
    else held.times++;
    this.#release(oldWord);
    return result;
  }

  protected override deleteAt(key: number): number {
    const at = this.findForUser(key);
    const word = at === 0 ? 0 : this.#wordAt(at);
    const result = super.deleteAt(key);
    if (result === 0) this.#release(word);
    return result;
  }

  override lookupAndDelete(): Uint8Array | number {
    return -ERRNO.ENOTSUPP;
  }

  override releaseObjects(): void {
    for (const [word, { times }] of [...this.#held]) for (let i = 0; i < times; i++) this.#release(word);
  }
}

export const HASH_OF_MAPS: MapTypeImpl = {
  create: (params, ctx, blocks) => new HashOfMaps(params, ctx, blocks),
  ops: (wasm) => ({ lookup: wasm.hash_of_maps_lookup }),
};
