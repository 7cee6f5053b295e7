/**
 * What elements of maps own (timers, workqueues, kptrs, lists, trees) goes when they are overwritten or deleted (kernel:
 * bpf_obj_free_fields). Programs' updates and deletions of such maps pass through here; those of user space ask for the values.
 */
import type { BpfMap } from '../contracts/maps.ts';
import type { HelperContext, HelperFn } from './types.ts';

const OWNING: ReadonlySet<string> = new Set([
  'timer',
  'workqueue',
  'task_work',
  'list_head',
  'rb_root',
  'kptr_ref',
  'kptr_percpu',
]);

/** Whether values of the map may own something. */
export function ownsObjects({ info }: BpfMap): boolean {
  return info.specialFields?.some(({ kind }) => OWNING.has(kind)) === true;
}

/** Offsets of the values of a key that lies at `key`: one, or one for each CPU. */
export function valuesOf(ctx: HelperContext, map: BpfMap, key: number): number[] {
  const ops = ctx.opsOf(map);
  const { address } = map.layout;
  if (!map.info.type.perCpu) return [ops?.lookup?.(address, key) ?? 0].filter(Boolean);
  const values: number[] = [];
  for (let cpu = 0; cpu < ctx.env.possibleCpus; cpu++) {
    const at = ops?.lookupPercpu?.(address, key, cpu, 0) ?? 0;
    if (at !== 0) values.push(at);
  }
  return values;
}

const release = (ctx: HelperContext, map: BpfMap, values: readonly number[]): void => {
  for (const value of values) ctx.env.valueGoes?.(map, value);
};

/** The value stays where it is, but for what it owns. */
export function updateOwning(ctx: HelperContext, map: BpfMap): HelperFn {
  const { changeOwning } = ctx.env;
  if (changeOwning !== undefined) return (_map, ...words) => changeOwning('update', map, words);
  return (address, key, value, flags, high) => {
    const before = valuesOf(ctx, map, key);
    const result = ctx.opsOf(map)?.update?.(address, key, value, flags, high) ?? -1;
    if (result === 0) release(ctx, map, before);
    return result;
  };
}

export function deleteOwning(ctx: HelperContext, map: BpfMap): HelperFn {
  const { changeOwning } = ctx.env;
  if (changeOwning !== undefined) return (_map, ...words) => changeOwning('delete', map, words);
  return (address, key) => {
    release(ctx, map, valuesOf(ctx, map, key));
    return ctx.opsOf(map)?.delete?.(address, key, 0, 0, 0) ?? -1;
  };
}
