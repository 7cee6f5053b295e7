/** ARRAY: all elements exist from the start, zeroed; nothing is ever deleted (kernel/bpf/arraymap.c). */
import type { MapCreateParams } from '../contracts/maps.ts';
import { alignUp, ERRNO } from '../util/index.ts';
import { type ElementVisitor, MapBase, type MapBlocks, type MapContext, type MapTypeImpl } from './base.ts';
import { HDR_CPU_STRIDE, HDR_STRIDE, HDR_VALUES } from './layout.ts';

/** Two, as processors fetch them in pairs. */
const CACHE_LINES = 128;

/** Index-keyed maps: ascending keys, one slot of `stride` bytes an element. */
export abstract class IndexedMap extends MapBase {
  protected readonly values: number;
  protected readonly stride: number;
  /** Bytes from one CPU's values to the next one's. */
  protected readonly cpuStride: number;

  constructor(params: MapCreateParams, ctx: MapContext, blocks: MapBlocks, stride: number, copies = 1) {
    super(params, ctx, blocks);
    const { maxEntries } = params;
    this.stride = stride;
    // Processors must not fight over a cache line in which each has its own values.
    const apart = ctx.memory.shared && copies > 1 ? CACHE_LINES : 1;
    this.cpuStride = alignUp(stride * maxEntries, apart);
    this.values = this.allocate(this.cpuStride * copies, 'values', Math.max(16, apart));
    this.set(HDR_VALUES, this.values);
    this.set(HDR_STRIDE, stride);
    this.set(HDR_CPU_STRIDE, copies === 1 ? 0 : this.cpuStride);
  }

  protected indexAt(key: number): number {
    return this.ctx.memory.u32[key >>> 2];
  }

  override count(): number {
    return this.info.maxEntries;
  }

  override nextKey(key: Uint8Array | null): Uint8Array | number {
    const { maxEntries } = this.info;
    let next = 0;
    if (key !== null) {
      const index = (key[0] | (key[1] << 8) | (key[2] << 16) | (key[3] << 24)) >>> 0;
      if (index === maxEntries - 1) return -ERRNO.ENOENT;
      next = index >= maxEntries ? 0 : index + 1;
    }
    // By byte: asking a small array for its buffer costs far more than the walk.
    const bytes = new Uint8Array(4);
    for (let i = 0; i < 4; i++) bytes[i] = next >>> (8 * i);
    return bytes;
  }

  override keyAfter(key: Uint8Array): Uint8Array | number {
    return this.nextKey(key);
  }
}

class ArrayMap extends IndexedMap {
  constructor(params: MapCreateParams, ctx: MapContext, blocks: MapBlocks) {
    super(params, ctx, blocks, alignUp(params.valueSize, 8));
    this.setLayout({ values: this.values, stride: this.stride });
  }

  protected override findForUser(key: number): number {
    return this.ctx.module.wasm.array_lookup(this.address, key);
  }
  protected override updateFromUser(key: number, value: number, flags: number): number {
    return this.ctx.module.wasm.array_update(this.address, key, value, flags, 0);
  }
  protected override deleteAt(): number {
    return -ERRNO.EINVAL;
  }

  override valueAddress(offset: number): number {
    if (this.info.maxEntries !== 1) return -ERRNO.ENOTSUPP;
    return offset >= 0 && offset < this.info.valueSize ? this.values + offset : -ERRNO.EINVAL;
  }

  protected override constantAt(offset: number, size: number): bigint | undefined {
    if (offset < 0 || offset + size > this.info.valueSize) return undefined;
    let value = 0n;
    for (let i = size - 1; i >= 0; i--) {
      value = (value << 8n) | BigInt(this.ctx.memory.u8[this.values + offset + i]);
    }
    return value;
  }

  override walk(visit: ElementVisitor, key: number): number {
    const { maxEntries } = this.info;
    for (let i = 0; i < maxEntries; i++) {
      this.ctx.memory.u32[key >>> 2] = i;
      if (visit(key, this.values + i * this.stride)) return i + 1;
    }
    return maxEntries;
  }
}

export const ARRAY: MapTypeImpl = {
  create: (params, ctx, blocks) => new ArrayMap(params, ctx, blocks),
  ops: (wasm) => ({ lookup: wasm.array_lookup, update: wasm.array_update, delete: wasm.array_delete }),
};
