/**
 * Red-black trees of objects: a root {node, leftmost}, nodes {parent and colour, right, left, owner}. The shape is that of
 * lib/rbtree.c, since programs can walk it.
 */
import { KERNEL_HI } from '../../memory/index.ts';
import type { HelperContext } from '../types.ts';

const PARENT = 0;
const RIGHT = 8;
const LEFT = 16;
const OWNER = 24;
const LEFTMOST = 8;
/** Lowest bit of the parent's address. */
const BLACK = 1;

/** The nodes of one tree. */
export class Tree {
  readonly #ctx: HelperContext;
  readonly #root: number;

  constructor(ctx: HelperContext, root: number) {
    this.#ctx = ctx;
    this.#root = root;
  }

  #load(at: number): number {
    return this.#ctx.memory.view.getUint32(at, true);
  }

  #store(at: number, offset: number): void {
    this.#ctx.memory.writeHalves(at, offset, offset === 0 ? 0 : KERNEL_HI);
  }

  get top(): number {
    return this.#load(this.#root);
  }

  get leftmost(): number {
    return this.#load(this.#root + LEFTMOST);
  }

  set leftmost(node: number) {
    this.#store(this.#root + LEFTMOST, node);
  }

  left(node: number): number {
    return this.#load(node + LEFT);
  }

  right(node: number): number {
    return this.#load(node + RIGHT);
  }

  owner(node: number): number {
    return this.#load(node + OWNER);
  }

  setOwner(node: number, owner: number): void {
    this.#store(node + OWNER, owner);
  }

  #parent(node: number): number {
    return this.#load(node + PARENT) & ~BLACK;
  }

  #isBlack(node: number): boolean {
    return node === 0 || (this.#load(node + PARENT) & BLACK) !== 0;
  }

  #setParent(node: number, parent: number): void {
    this.#link(node, parent, this.#isBlack(node));
  }

  #setBlack(node: number, black: boolean): void {
    this.#link(node, this.#parent(node), black);
  }

  #link(node: number, parent: number, black: boolean): void {
    const word = parent | (black ? BLACK : 0);
    this.#ctx.memory.writeHalves(node + PARENT, word, parent === 0 ? 0 : KERNEL_HI);
  }

  /** `from` gives its place below `parent` to `to`. */
  #replace(parent: number, from: number, to: number): void {
    if (parent === 0) this.#store(this.#root, to);
    else if (this.left(parent) === from) this.#store(parent + LEFT, to);
    else this.#store(parent + RIGHT, to);
  }

  #rotate(node: number, leftwards: boolean): void {
    const near = leftwards ? LEFT : RIGHT;
    const far = leftwards ? RIGHT : LEFT;
    const up = this.#load(node + far);
    const inner = this.#load(up + near);
    this.#store(node + far, inner);
    if (inner !== 0) this.#setParent(inner, node);
    const parent = this.#parent(node);
    this.#setParent(up, parent);
    this.#replace(parent, node, up);
    this.#store(up + near, node);
    this.#setParent(node, up);
  }

  /** Puts the node below `parent` and balances. */
  insert(node: number, parent: number, asLeft: boolean): void {
    this.#store(node + LEFT, 0);
    this.#store(node + RIGHT, 0);
    this.#link(node, parent, false);
    if (parent === 0) this.#store(this.#root, node);
    else this.#store(parent + (asLeft ? LEFT : RIGHT), node);
    this.setOwner(node, this.#root);
    let at = node;
    for (;;) {
      let up = this.#parent(at);
      if (up === 0) break;
      if (this.#isBlack(up)) return;
      const grand = this.#parent(up);
      const upIsLeft = this.left(grand) === up;
      const uncle = upIsLeft ? this.right(grand) : this.left(grand);
      if (!this.#isBlack(uncle)) {
        this.#setBlack(up, true);
        this.#setBlack(uncle, true);
        this.#setBlack(grand, false);
        at = grand;
        continue;
      }
      if ((upIsLeft ? this.right(up) : this.left(up)) === at) {
        this.#rotate(up, upIsLeft);
        [at, up] = [up, at];
      }
      this.#setBlack(up, true);
      this.#setBlack(grand, false);
      this.#rotate(grand, !upIsLeft);
      break;
    }
    this.#setBlack(this.top, true);
  }

  first(from: number): number {
    let at = from;
    for (let left = at === 0 ? 0 : this.left(at); left !== 0; left = this.left(at)) at = left;
    return at;
  }

  /** The node behind `node` in order. */
  #next(node: number): number {
    if (this.right(node) !== 0) return this.first(this.right(node));
    let at = node;
    let up = this.#parent(at);
    while (up !== 0 && this.right(up) === at) {
      at = up;
      up = this.#parent(at);
    }
    return up;
  }

  remove(node: number): void {
    if (this.leftmost === node) this.leftmost = this.#next(node);
    let child: number;
    let parent: number;
    let black: boolean;
    if (this.left(node) !== 0 && this.right(node) !== 0) {
      const heir = this.first(this.right(node));
      child = this.right(heir);
      parent = this.#parent(heir);
      black = this.#isBlack(heir);
      if (parent === node) {
        parent = heir;
      } else {
        this.#replace(parent, heir, child);
        if (child !== 0) this.#setParent(child, parent);
        this.#store(heir + RIGHT, this.right(node));
        this.#setParent(this.right(node), heir);
      }
      this.#replace(this.#parent(node), node, heir);
      this.#link(heir, this.#parent(node), this.#isBlack(node));
      this.#store(heir + LEFT, this.left(node));
      this.#setParent(this.left(node), heir);
    } else {
      child = this.left(node) !== 0 ? this.left(node) : this.right(node);
      parent = this.#parent(node);
      black = this.#isBlack(node);
      this.#replace(parent, node, child);
      if (child !== 0) this.#setParent(child, parent);
    }
    if (black) this.#rebalance(child, parent);
    for (const at of [PARENT, RIGHT, LEFT, OWNER]) this.#store(node + at, 0);
  }

  /** The paths through `node` (maybe none) below `parent` lack one black node. */
  #rebalance(node: number, parent: number): void {
    let at = node;
    let up = parent;
    while (at !== this.top && this.#isBlack(at)) {
      const atIsLeft = this.left(up) === at;
      const far = atIsLeft ? RIGHT : LEFT;
      const near = atIsLeft ? LEFT : RIGHT;
      let sibling = this.#load(up + far);
      if (!this.#isBlack(sibling)) {
        this.#setBlack(sibling, true);
        this.#setBlack(up, false);
        this.#rotate(up, atIsLeft);
        sibling = this.#load(up + far);
      }
      if (this.#isBlack(this.#load(sibling + near)) && this.#isBlack(this.#load(sibling + far))) {
        this.#setBlack(sibling, false);
        at = up;
        up = this.#parent(at);
        continue;
      }
      if (this.#isBlack(this.#load(sibling + far))) {
        this.#setBlack(this.#load(sibling + near), true);
        this.#setBlack(sibling, false);
        this.#rotate(sibling, !atIsLeft);
        sibling = this.#load(up + far);
      }
      this.#setBlack(sibling, this.#isBlack(up));
      this.#setBlack(up, true);
      this.#setBlack(this.#load(sibling + far), true);
      this.#rotate(up, atIsLeft);
      at = this.top;
      break;
    }
    if (at !== 0) this.#setBlack(at, true);
  }
}

export function treeFirst(ctx: HelperContext, root: number): number {
  return new Tree(ctx, root).leftmost;
}

/** Takes the node out; false where it is not in this tree. */
export function treeRemove(ctx: HelperContext, root: number, node: number): boolean {
  const tree = new Tree(ctx, root);
  if (tree.owner(node) !== root) return false;
  tree.remove(node);
  return true;
}
