/** Kernel functions (kfuncs) that this kernel has, by name, and the table that rewrite resolves calls with. */
import type { CallableFunction } from '../../contracts/engine.ts';
import type { KfuncSite, KfuncTable } from '../../contracts/kfuncs.ts';
import { kfuncsByName } from '../../spec/index.ts';
import { ownsObjects, valuesOf } from '../owned.ts';
import type { HelperContext, HelperFn } from '../types.ts';
import { ARENA_KFUNCS } from './arena.ts';
import { ASYNC_KFUNCS } from './async.ts';
import { CPUMASK_KFUNCS } from './cpumask.ts';
import { DYNPTR_KFUNCS } from './dynptr.ts';
import { dropThrown, EXCEPTION_KFUNCS } from './exceptions.ts';
import { dropHeld } from './held.ts';
import { ITER_KFUNCS } from './iter.ts';
import { LIST_KFUNCS } from './list.ts';
import { dropAnything, freeFields } from './object-memory.ts';
import { OBJECT_KFUNCS } from './objects.ts';
import { RBTREE_KFUNCS } from './rbtree.ts';
import { dropLocks, SECTION_KFUNCS } from './sections.ts';
import { STRING_KFUNCS } from './strings.ts';
import type { KfuncFamily } from './types.ts';

export const KFUNC_IMPLEMENTATIONS: KfuncFamily = {
  ...ITER_KFUNCS,
  ...SECTION_KFUNCS,
  ...OBJECT_KFUNCS,
  ...LIST_KFUNCS,
  ...RBTREE_KFUNCS,
  ...DYNPTR_KFUNCS,
  ...STRING_KFUNCS,
  ...CPUMASK_KFUNCS,
  ...EXCEPTION_KFUNCS,
  ...ARENA_KFUNCS,
  ...ASYNC_KFUNCS,
};

/** They neither make nor give back anything but within one run. */
const OWN_NOTHING: KfuncFamily = {
  ...ITER_KFUNCS,
  ...CPUMASK_KFUNCS,
  ...SECTION_KFUNCS,
  ...DYNPTR_KFUNCS,
  ...STRING_KFUNCS,
  ...EXCEPTION_KFUNCS,
  // These ask the kernel around.
  ...ARENA_KFUNCS,
  ...ASYNC_KFUNCS,
};

/** Names of those that programs may call. */
export const IMPLEMENTED_KFUNCS: readonly string[] = Object.keys(KFUNC_IMPLEMENTATIONS).filter(
  (name) => kfuncsByName(name).length > 0,
);

/** Functions that depend on what is proven about the call are made for each call; the others once. */
export function createKfuncs(ctx: HelperContext): KfuncTable {
  const shared = new Map<string, HelperFn>();
  return {
    resolve(name: string, site: KfuncSite): CallableFunction | undefined {
      if (!Object.hasOwn(KFUNC_IMPLEMENTATIONS, name)) return undefined;
      const { params, result, make } = KFUNC_IMPLEMENTATIONS[name]!;
      const key = `${name}:${site.writesPacket}`;
      let fn = site.object === undefined ? shared.get(key) : undefined;
      if (fn === undefined) {
        fn = make(ctx, site);
        if (site.object === undefined) shared.set(key, fn);
      }
      return { name, params, result, fn };
    },
    ownsNothing: (name) => Object.hasOwn(OWN_NOTHING, name),
    freeOwned: (at, fields) => freeFields(ctx, at, fields),
    owningValues: (map, key) => {
      if (!ownsObjects(map)) return [];
      const at = ctx.module.scratch(key.length + 8);
      ctx.memory.write(at, key);
      return valuesOf(ctx, map, at);
    },
    ownsObjects,
    dropLocks: () => dropLocks(ctx),
    dropObjects: () => {
      dropThrown(ctx);
      dropHeld(ctx, (at) => dropAnything(ctx, at));
    },
  };
}
