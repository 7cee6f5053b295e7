/** STACK: as QUEUE, but the newest element comes out first. BPF_EXIST on a full stack drops the oldest one. */
import type { MapTypeImpl } from './base.ts';
import type { MapsWasm } from './module.ts';
import { KeylessMap } from './queue.ts';

const ops = (wasm: MapsWasm) => ({ push: wasm.queue_push, pop: wasm.stack_pop, peek: wasm.stack_peek });

export const STACK: MapTypeImpl = {
  create: (params, ctx, blocks) => new KeylessMap(params, ctx, blocks, ops(ctx.module.wasm)),
  ops,
};
