/**
 * Doubly linked lists of objects: a head {next, prev} that zeros make an empty list, nodes {next, prev, owner}. An object is in one
 * list at most by each node.
 */
import { KERNEL_HI } from '../../memory/index.ts';
import type { HelperContext } from '../types.ts';

const NEXT = 0;
const PREV = 8;
const OWNER = 16;

function load({ memory }: HelperContext, at: number): number {
  return memory.view.getUint32(at, true);
}

function store({ memory }: HelperContext, at: number, offset: number): void {
  memory.writeHalves(at, offset, offset === 0 ? 0 : KERNEL_HI);
}

function prepare(ctx: HelperContext, head: number): void {
  if (load(ctx, head + NEXT) !== 0) return;
  store(ctx, head + NEXT, head);
  store(ctx, head + PREV, head);
}

/** Takes the first or last node out; 0 where the list is empty. */
export function listPop(ctx: HelperContext, head: number, first: boolean): number {
  prepare(ctx, head);
  const node = load(ctx, head + (first ? NEXT : PREV));
  if (node === head) return 0;
  const next = load(ctx, node + NEXT);
  const prev = load(ctx, node + PREV);
  store(ctx, prev + NEXT, next);
  store(ctx, next + PREV, prev);
  store(ctx, node + NEXT, node);
  store(ctx, node + PREV, node);
  store(ctx, node + OWNER, 0);
  return node;
}

/** False where the node is in a list already. */
export function listPush(ctx: HelperContext, head: number, node: number, first: boolean): boolean {
  if (load(ctx, node + OWNER) !== 0) return false;
  prepare(ctx, head);
  const before = first ? head : load(ctx, head + PREV);
  const after = load(ctx, before + NEXT);
  store(ctx, node + NEXT, after);
  store(ctx, node + PREV, before);
  store(ctx, node + OWNER, head);
  store(ctx, before + NEXT, node);
  store(ctx, after + PREV, node);
  return true;
}

/** The first or last node; 0 where the list is empty. */
export function listPeek(ctx: HelperContext, head: number, first: boolean): number {
  prepare(ctx, head);
  const node = load(ctx, head + (first ? NEXT : PREV));
  return node === head ? 0 : node;
}
