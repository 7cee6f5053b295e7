/** Objects that programs allocate: bpf_obj_new, its drop, and shared ownership by a count. */
import { hold, letGo, rememberFields } from './held.ts';
import { allocateObject, allocatePerCpu, dropObject, OBJECT } from './object-memory.ts';
import { type KfuncFamily, kfn } from './types.ts';

export const OBJECT_KFUNCS: KfuncFamily = {
  bpf_obj_new_impl: kfn('', 'ptr', (ctx, { object }) => () => {
    const at = hold(ctx, allocateObject(ctx, object?.size ?? 0, OBJECT));
    rememberFields(ctx, at, object?.fields ?? []);
    const refcount = object?.fields.find(({ kind }) => kind === 'refcount');
    if (at !== 0 && refcount !== undefined) ctx.memory.view.setUint32(at + refcount.offset, 1, true);
    return at;
  }),
  bpf_obj_drop_impl: kfn('p', 'void', (ctx, { object }) => (at) => {
    letGo(ctx, at);
    dropObject(ctx, at, object?.fields ?? []);
  }),
  bpf_percpu_obj_new_impl: kfn(
    '',
    'ptr',
    (ctx, { object }) =>
      () =>
        hold(ctx, allocatePerCpu(ctx, object?.size ?? 0)),
  ),
  bpf_percpu_obj_drop_impl: kfn('p', 'void', (ctx) => (at) => {
    letGo(ctx, at);
    if (ctx.memory.blockAt(at)?.start === at) ctx.memory.free(at);
  }),
  bpf_refcount_acquire_impl: kfn('p', 'ptr', (ctx, { object }) => (at) => {
    const { memory, valid } = ctx;
    const refcount = object?.fields.find(({ kind }) => kind === 'refcount');
    if (refcount === undefined || !valid(at + refcount.offset, 4)) return 0;
    const count = memory.view.getUint32(at + refcount.offset, true);
    if (count === 0) return 0;
    memory.view.setUint32(at + refcount.offset, count + 1, true);
    return hold(ctx, at);
  }),
};
