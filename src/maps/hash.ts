/**
 * HASH, and what all hash maps share (kernel/bpf/hashtab.c): a table of chains in linear memory, elements from slabs. Slabs
 * are made as they are needed, preallocated or not, so that a large max_entries costs nothing until it is used; what a
 * program can see of BPF_F_NO_PREALLOC is the same either way.
 */
import type { MapCreateParams } from '../contracts/maps.ts';
import { BPF_MAP_FLAGS } from '../uapi/index.ts';
import { alignUp, ERRNO } from '../util/index.ts';
import { type ElementVisitor, MapBase, type MapBlocks, type MapContext, type MapTypeImpl } from './base.ts';
import { chainAt } from './chains.ts';
import {
  BUCKET_BYTES,
  ELEM_HASH,
  ELEM_KEY,
  ELEM_NEXT,
  ELEM_STATE,
  HDR_BUCKETS,
  HDR_BUMP,
  HDR_BUMP_END,
  HDR_CPU_STRIDE,
  HDR_DROPPED,
  HDR_ELEM_SIZE,
  HDR_LIMIT,
  HDR_MASK,
  HDR_SEED,
  HDR_STRIDE,
  HDR_VALUE_OFF,
  SHARED_BUCKET_BYTES,
} from './layout.ts';
import { orNoMemory } from './module.ts';

/** Above this many buckets chains get longer instead: a table of 8 MiB. */
const MAX_BUCKETS = 1 << 21;
const CACHE_LINE = 64;
const SMALL = 1 << 16;
const FIRST_SLAB = 64 << 10;
const LARGEST_SLAB = 8 << 20;

export interface HashShape {
  /** Bytes of one value in an element, and how many stand side by side. */
  readonly stride: number;
  readonly copies: number;
  /** Offset of the word of an element whose bit 0 says that a program has looked it up. */
  readonly used?: number;
}

/** A source of elements for `refill`: slabs that double, up to `limit` elements in all. */
export function slabSource(
  elemSize: number,
  limit: number,
  allocate: (bytes: number) => number,
  adopt: (start: number, end: number) => void,
): () => boolean {
  let made = 0;
  let next = Math.max(4, Math.floor(FIRST_SLAB / elemSize));
  return () => {
    const n = Math.min(next, limit - made);
    if (n <= 0) return false;
    // A smaller slab may still fit where a large one does not.
    for (let tried = n; tried >= 1; tried = Math.floor(tried / 8)) {
      const done = orNoMemory(() => {
        const start = allocate(tried * elemSize);
        adopt(start, start + tried * elemSize);
      });
      if (!done) continue;
      made += tried;
      next = Math.min(next * 2, Math.max(4, Math.floor(LARGEST_SLAB / elemSize)));
      return true;
    }
    return false;
  };
}

export class HashMapBase extends MapBase {
  protected readonly valueOff: number;
  /** Per-CPU maps: bytes from one CPU's value to the next one's. */
  protected readonly cpuStride: number;
  readonly #mask: number;
  readonly #bucketBytes: number;
  /** Of all CPUs together. */
  readonly #valueBytes: number;

  constructor(params: MapCreateParams, ctx: MapContext, blocks: MapBlocks, shape: HashShape) {
    super(params, ctx, blocks);
    const { keySize, maxEntries, flags } = params;
    // Small tables have two buckets an element: short chains are predictable ones.
    const spread = maxEntries <= SMALL ? 2 : 1;
    const buckets = Math.min(MAX_BUCKETS, spread * 2 ** Math.ceil(Math.log2(maxEntries)));
    this.#mask = buckets - 1;
    this.valueOff = ELEM_KEY + alignUp(keySize, 8);
    // As in arrays: each CPU has its own cache lines.
    this.cpuStride = ctx.memory.shared && shape.copies > 1 ? alignUp(shape.stride, CACHE_LINE) : shape.stride;
    this.#valueBytes = this.cpuStride * shape.copies;
    const elemSize = this.valueOff + this.#valueBytes;
    const { shared } = ctx.memory;
    this.#bucketBytes = shared ? SHARED_BUCKET_BYTES : BUCKET_BYTES;
    const table = this.allocate(buckets * this.#bucketBytes, 'buckets');
    const seed = (flags & BPF_MAP_FLAGS.BPF_F_ZERO_SEED) !== 0 ? 0 : (ctx.seed?.() ?? 0);
    this.set(HDR_BUCKETS, table);
    this.set(HDR_MASK, this.#mask);
    this.set(HDR_SEED, seed);
    this.set(HDR_ELEM_SIZE, elemSize);
    this.set(HDR_VALUE_OFF, this.valueOff);
    this.set(HDR_STRIDE, shape.stride);
    this.set(HDR_CPU_STRIDE, params.type.perCpu ? this.cpuStride : 0);
    this.setLayout({
      hash: {
        buckets: table,
        mask: this.#mask,
        seed: seed | 0,
        next: ELEM_NEXT,
        hashed: ELEM_HASH,
        key: ELEM_KEY,
        value: this.valueOff,
        cpuStride: params.type.perCpu ? this.cpuStride : 0,
        used: shape.used ?? 0,
      },
    });
    if (shared) {
      // One more a CPU, as below.
      this.set(HDR_LIMIT, maxEntries + ctx.possibleCpus);
      return;
    }
    ctx.module.refills.set(
      this.address,
      // One more than the map holds: the new element of an update while the old one is still linked.
      slabSource(
        elemSize,
        maxEntries + 1,
        (bytes) => this.allocate(bytes, 'elements'),
        (start, end) => {
          this.set(HDR_BUMP, start);
          this.set(HDR_BUMP_END, end);
        },
      ),
    );
  }

  override get dropped(): number {
    return this.get(HDR_DROPPED);
  }

  override free(): void {
    this.ctx.module.refills.delete(this.address);
    super.free();
  }

  protected override get slabbed(): boolean {
    return this.ctx.memory.shared;
  }

  override lookup(key: Uint8Array, flags = 0): Uint8Array | number {
    // With the lock the value is read where it lies.
    return this.ctx.memory.shared && flags === 0 ? this.#copy(key, false) : super.lookup(key, flags);
  }

  /** A copy that no other CPU can have written to half-way. */
  #copy(key: Uint8Array, remove: boolean): Uint8Array | number {
    const at = this.putKey(key, this.#valueBytes);
    const to = at + alignUp(key.length, 8);
    const { wasm } = this.ctx.module;
    const result = remove
      ? this.takeAt(at, to, this.#valueBytes)
      : wasm.hash_read(this.address, at, to, this.#valueBytes) - 1;
    return result < 0 ? -ERRNO.ENOENT : this.readValue(to);
  }

  /** Removes the element and leaves its value at `to`: 0 or -ENOENT. */
  protected takeAt(key: number, to: number, bytes: number): number {
    return this.ctx.module.wasm.hash_take(this.address, key, to, bytes);
  }

  protected override findForUser(key: number): number {
    const elem = this.ctx.module.wasm.hash_find(this.address, key);
    return elem === 0 ? 0 : elem + this.valueOff;
  }
  protected override updateFromUser(key: number, value: number, flags: number): number {
    return this.ctx.module.wasm.hash_update(this.address, key, value, flags, 0);
  }
  protected override deleteAt(key: number): number {
    return this.ctx.module.wasm.hash_delete(this.address, key);
  }
  protected override nextKeyAt(key: number, to: number, onward: boolean): number {
    return this.ctx.module.wasm.hash_next_key(this.address, key, to, onward ? 1 : 0) === 0 ? 0 : to;
  }

  override lookupAndDelete(key: Uint8Array, flags = 0): Uint8Array | number {
    if (this.frozen) return -ERRNO.EPERM;
    if (this.ctx.memory.shared && flags === 0) return this.#copy(key, true);
    const value = this.lookup(key, flags);
    if (typeof value === 'number') return value;
    const refused = this.delete(key);
    return refused < 0 ? refused : value;
  }

  /** The value of an element as a program of the running CPU sees it. */
  protected valueOfElement(elem: number): number {
    return elem + this.valueOff;
  }

  override walk(visit: ElementVisitor): number {
    let visited = 0;
    for (let at = 0; at <= this.#mask; at++) {
      // The visitor may delete and insert: the chain is read at once, and what has gone meanwhile is passed over.
      for (const elem of chainAt(this.ctx.memory, this.get(HDR_BUCKETS) + at * this.#bucketBytes)) {
        if ((this.ctx.memory.u32[(elem + ELEM_STATE) >>> 2] & 1) !== 0) continue;
        visited++;
        if (visit(elem + ELEM_KEY, this.valueOfElement(elem))) return visited;
      }
    }
    return visited;
  }
}

class HashMap extends HashMapBase {
  constructor(params: MapCreateParams, ctx: MapContext, blocks: MapBlocks) {
    super(params, ctx, blocks, { stride: alignUp(params.valueSize, 8), copies: 1 });
  }
}

export const HASH: MapTypeImpl = {
  create: (params, ctx, blocks) => new HashMap(params, ctx, blocks),
  ops: (wasm, keySize) => ({
    lookup: keySize === 4 ? wasm.hash_lookup_4 : keySize === 8 ? wasm.hash_lookup_8 : wasm.hash_lookup_n,
    update: wasm.hash_update,
    delete: wasm.hash_delete,
  }),
};
