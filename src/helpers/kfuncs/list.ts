/** Lists that own objects. */
import { ERRNO } from '../../util/errno.ts';
import { hold, letGo } from './held.ts';
import { listPeek, listPop, listPush } from './list-nodes.ts';
import { dropObject } from './object-memory.ts';
import { type KfuncFamily, type KfuncImplementation, kfn } from './types.ts';

function pushing(first: boolean): KfuncImplementation {
  return kfn('pp', 's32', (ctx, { object }) => (head, node) => {
    letGo(ctx, node);
    if (listPush(ctx, head, node, first)) return 0;
    // In a list already: the reference that was handed over is given back.
    dropObject(ctx, node - (object?.nodeOffset ?? 0), object?.fields ?? []);
    return -ERRNO.EINVAL;
  });
}

export const LIST_KFUNCS: KfuncFamily = {
  bpf_list_push_front_impl: pushing(true),
  bpf_list_push_back_impl: pushing(false),
  bpf_list_pop_front: kfn('p', 'ptr', (ctx) => (head) => hold(ctx, listPop(ctx, head, true))),
  bpf_list_pop_back: kfn('p', 'ptr', (ctx) => (head) => hold(ctx, listPop(ctx, head, false))),
  bpf_list_front: kfn('p', 'ptr', (ctx) => (head) => listPeek(ctx, head, true)),
  bpf_list_back: kfn('p', 'ptr', (ctx) => (head) => listPeek(ctx, head, false)),
};
