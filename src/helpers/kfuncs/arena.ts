/** Pages of arenas (kernel/bpf/arena.c). Addresses go in and out as those of user space, of which the low half counts. */
import { ERRNO } from '../../util/errno.ts';
import type { HelperContext } from '../types.ts';
import { type KfuncFamily, kfn } from './types.ts';

/** NUMA nodes that there are: 0, or any. */
const isNode = (node: number): boolean => node === 0 || node === -1;

const arenaOf = ({ env }: HelperContext, map: number) => env.mapByAddress(map)?.arena;

export const ARENA_KFUNCS: KfuncFamily = {
  bpf_arena_alloc_pages: kfn('pqppq', 'u64', (ctx) => (map, low, high, count, node, flags, flagsHigh) => {
    const arena = arenaOf(ctx, map);
    const wrong = arena === undefined || (flags | flagsHigh) !== 0 || !isNode(node);
    const at = wrong ? -1 : allocate(arena, low, high, count);
    ctx.returnHalves(at < 0 ? 0 : at, at < 0 ? 0 : arena!.userHigh);
  }),
  bpf_arena_free_pages: kfn('pqp', 'void', (ctx) => (map, low, _high, count) => {
    // Of an address inside of a page the page counts.
    arenaOf(ctx, map)?.freePages((low & ~0xfff) >>> 0, count >>> 0);
  }),
  bpf_arena_reserve_pages: kfn('pqp', 's32', (ctx) => (map, low, _high, count) => {
    return arenaOf(ctx, map)?.reservePages(low >>> 0, count >>> 0) ?? -ERRNO.EINVAL;
  }),
};

function allocate(arena: NonNullable<ReturnType<typeof arenaOf>>, low: number, high: number, count: number) {
  return arena.allocatePages((low | high) === 0 ? null : low >>> 0, count >>> 0);
}
