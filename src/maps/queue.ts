/** QUEUE, and what STACK shares with it (kernel/bpf/queue_stack_maps.c): no keys, push, pop and peek. */
import type { MapCreateParams } from '../contracts/maps.ts';
import { alignUp, ERRNO } from '../util/index.ts';
import { MapBase, type MapBlocks, type MapContext, type MapTypeImpl, type ProgramOps } from './base.ts';
import { HDR_DROPPED, HDR_STRIDE, HDR_VALUES } from './layout.ts';
import type { MapsWasm } from './module.ts';

type KeylessOps = Required<Pick<ProgramOps, 'push' | 'pop' | 'peek'>>;

export class KeylessMap extends MapBase {
  readonly #ops: KeylessOps;

  constructor(params: MapCreateParams, ctx: MapContext, blocks: MapBlocks, ops: KeylessOps) {
    super(params, ctx, blocks);
    this.#ops = ops;
    const stride = alignUp(params.valueSize, 8);
    this.set(HDR_VALUES, this.allocate(stride * (params.maxEntries + 1), 'values'));
    this.set(HDR_STRIDE, stride);
  }

  override get dropped(): number {
    return this.get(HDR_DROPPED);
  }

  #take(op: (...words: number[]) => number): Uint8Array | number {
    const { memory, module } = this.ctx;
    const at = module.scratch(this.info.valueSize);
    const result = op(this.address, at);
    return result < 0 ? result : memory.read(at, this.info.valueSize);
  }

  override lookup(): Uint8Array | number {
    return this.#take(this.#ops.peek);
  }
  override lookupAndDelete(_key: Uint8Array, flags = 0): Uint8Array | number {
    if (flags !== 0) return -ERRNO.EINVAL;
    return this.frozen ? -ERRNO.EPERM : this.#take(this.#ops.pop);
  }
  protected override updateFromUser(_key: number, value: number, flags: number): number {
    return this.#ops.push(this.address, value, flags, 0);
  }
  protected override deleteAt(): number {
    return -ERRNO.EINVAL;
  }
  protected override nextKeyAt(): number {
    return -ERRNO.EINVAL;
  }
}

const ops = (wasm: MapsWasm): KeylessOps => ({
  push: wasm.queue_push,
  pop: wasm.queue_pop,
  peek: wasm.queue_peek,
});

export const QUEUE: MapTypeImpl = {
  create: (params, ctx, blocks) => new KeylessMap(params, ctx, blocks, ops(ctx.module.wasm)),
  ops,
};
