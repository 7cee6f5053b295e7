/** Trees that own objects, in the order of the program's comparison. */
import { ERRNO } from '../../util/errno.ts';
import { hold, letGo } from './held.ts';
import { dropObject } from './object-memory.ts';
import { Tree, treeFirst, treeRemove } from './tree-nodes.ts';
import { type KfuncFamily, type KfuncImplementation, kfn } from './types.ts';

function child(side: 'left' | 'right'): KfuncImplementation {
  return kfn('pp', 'ptr', (ctx) => (root, node) => {
    const tree = new Tree(ctx, root);
    return tree.owner(node) === root ? tree[side](node) : 0;
  });
}

export const RBTREE_KFUNCS: KfuncFamily = {
  bpf_rbtree_add_impl: kfn('ppp', 's32', (ctx, { object }) => (root, node, less) => {
    const tree = new Tree(ctx, root);
    if (tree.owner(node) !== 0) {
      letGo(ctx, node);
      dropObject(ctx, node - (object?.nodeOffset ?? 0), object?.fields ?? []);
      return -ERRNO.EINVAL;
    }
    let parent = 0;
    let asLeft = false;
    let leftmost = true;
    for (let at = tree.top; at !== 0; at = asLeft ? tree.left(at) : tree.right(at)) {
      parent = at;
      asLeft = (ctx.env.callbacks.invoke(less, [node, at]) & 0xff) !== 0;
      if (!asLeft) leftmost = false;
    }
    tree.insert(node, parent, asLeft);
    if (leftmost) tree.leftmost = node;
    // Not before: a callback that is stopped leaves it with the run.
    letGo(ctx, node);
    return 0;
  }),
  bpf_rbtree_remove: kfn(
    'pp',
    'ptr',
    (ctx) => (root, node) => hold(ctx, treeRemove(ctx, root, node) ? node : 0),
  ),
  bpf_rbtree_first: kfn('p', 'ptr', (ctx) => (root) => treeFirst(ctx, root)),
  bpf_rbtree_root: kfn('p', 'ptr', (ctx) => (root) => new Tree(ctx, root).top),
  bpf_rbtree_left: child('left'),
  bpf_rbtree_right: child('right'),
};
