/**
 * Helpers on maps. Where the map is known at load, the function is the Wasm export of its type; otherwise the map's header
 * leads to it on every call.
 */
import type { BpfMap } from '../contracts/maps.ts';
import type { EmbeddedMap, ProgramOps } from '../maps/index.ts';
import { ERRNO } from '../util/index.ts';
import { deleteOwning, ownsObjects, updateOwning } from './owned.ts';
import type { HelperContext, HelperFamily, HelperFn, MapSpecificHelper } from './types.ts';

/** A helper that is one operation of the map; `missing`: its result on a map without the operation. */
function operation(name: keyof ProgramOps, missing: number): MapSpecificHelper {
  return {
    make: (ctx) => {
      // The arity tells the engine nothing (the row does), but a fixed one keeps the call fast.
      return (map, a, b, c, d) => ctx.ops(map)?.[name]?.(map, a, b, c, d) ?? missing;
    },
    forMap: (ctx, map) => ctx.opsOf(map)?.[name],
  };
}

const UNSUPPORTED = -ERRNO.ENOTSUPP;

/** As `operation`, but what values own goes with them. */
function owning(
  name: 'update' | 'delete',
  release: (ctx: HelperContext, map: BpfMap) => HelperFn,
): MapSpecificHelper {
  return {
    make: (ctx) => (address, a, b, c, d) => {
      const map = ctx.env.mapByAddress(address);
      if (map === undefined) return UNSUPPORTED;
      if (ownsObjects(map)) return release(ctx, map)(address, a!, b!, c!, d!);
      return ctx.opsOf(map)?.[name]?.(address, a, b, c, d) ?? UNSUPPORTED;
    },
    forMap: (ctx, map) => (ownsObjects(map) ? release(ctx, map) : ctx.opsOf(map)?.[name]),
  };
}

/** Offsets of u32 that hold the keys of array walks, one a nesting level: a callback may walk another map. */
const WALK_DEPTH = 8;

export const MAP_HELPERS: HelperFamily = {
  bpf_map_lookup_elem: operation('lookup', 0),
  bpf_map_update_elem: owning('update', updateOwning),
  bpf_map_delete_elem: owning('delete', deleteOwning),
  bpf_map_push_elem: operation('push', UNSUPPORTED),
  bpf_map_pop_elem: operation('pop', UNSUPPORTED),
  bpf_map_peek_elem: operation('peek', UNSUPPORTED),
  bpf_map_lookup_percpu_elem: operation('lookupPercpu', 0),

  bpf_for_each_map_elem: ({ env, memory }) => {
    let keys = 0;
    let depth = 0;
    return (address, callback, callbackCtx, flags, high) => {
      if ((flags | high) !== 0) return -ERRNO.EINVAL;
      const map = env.mapByAddress(address) as (BpfMap & Partial<EmbeddedMap>) | undefined;
      if (map?.walk === undefined || !map.info.type.forEach || depth >= WALK_DEPTH) return -ERRNO.EINVAL;
      if (keys === 0) keys = memory.allocate(8 * WALK_DEPTH, 'keys of bpf_for_each_map_elem');
      const key = keys + 8 * depth++;
      const words = [address, 0, 0, callbackCtx];
      try {
        return map.walk((keyAt, valueAt) => {
          words[1] = keyAt;
          words[2] = valueAt;
          return env.callbacks.invoke(callback, words) !== 0;
        }, key);
      } finally {
        depth--;
      }
    };
  },

  bpf_spin_lock: ({ module }) => module.wasm.spin_lock,
  bpf_spin_unlock: ({ module }) => module.wasm.spin_unlock,
};
