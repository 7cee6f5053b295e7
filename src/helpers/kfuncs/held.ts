/**
 * What runs in progress own: objects that a program has made or taken out of maps and must give back before it ends. A verified program
 * leaves nothing here; of a run that is stopped, this is what is given back in its place.
 */
import type { SpecialField } from '../../contracts/maps.ts';
import type { HelperEnv } from '../../contracts/runtime.ts';
import type { HelperContext } from '../types.ts';

interface Held {
  /** References by run and object. */
  readonly runs: Map<number, Map<number, number>>;
  /** Special fields of objects of programs, by the offset of the object. */
  readonly fields: Map<number, readonly SpecialField[]>;
}

/** Helpers and kernel functions of one kernel have contexts of their own, but one environment. */
const byKernel = new WeakMap<HelperEnv, Held>();

function heldOf({ env }: HelperContext): Held {
  let held = byKernel.get(env);
  if (held === undefined) {
    held = { runs: new Map(), fields: new Map() };
    byKernel.set(env, held);
  }
  return held;
}

/** The run that asks: runs nest, and CPUs may take turns. */
export function currentRun({ env }: HelperContext): number {
  return env.run?.() ?? 0;
}

/** Of a pointer into an object: where it starts. */
function objectAt({ memory }: HelperContext, pointer: number): number {
  return memory.blockAt(pointer)?.start ?? pointer;
}

/** The run gets a reference to the object that `pointer` points into (0: to none). */
export function hold(ctx: HelperContext, pointer: number): number {
  if (pointer === 0) return pointer;
  const { runs } = heldOf(ctx);
  const run = currentRun(ctx);
  let own = runs.get(run);
  if (own === undefined) {
    own = new Map();
    runs.set(run, own);
  }
  const at = objectAt(ctx, pointer);
  own.set(at, (own.get(at) ?? 0) + 1);
  return pointer;
}

/** The run has given a reference back, or to somebody else. Before the object is freed. */
export function letGo(ctx: HelperContext, pointer: number): void {
  if (pointer === 0) return;
  const own = heldOf(ctx).runs.get(currentRun(ctx));
  const at = objectAt(ctx, pointer);
  const count = own?.get(at);
  if (count === undefined) return;
  if (count === 1) own!.delete(at);
  else own!.set(at, count - 1);
}

/** Remembers the special fields of an object until it is freed. */
export function rememberFields(ctx: HelperContext, at: number, fields: readonly SpecialField[]): void {
  if (at !== 0 && fields.length > 0) heldOf(ctx).fields.set(at, fields);
}

export function knownFields(ctx: HelperContext, at: number): readonly SpecialField[] {
  return heldOf(ctx).fields.get(at) ?? [];
}

export function forgetFields(ctx: HelperContext, at: number): void {
  heldOf(ctx).fields.delete(at);
}

/** Gives each reference of the run that asks to `drop`. */
export function dropHeld(ctx: HelperContext, drop: (at: number) => void): void {
  const { runs } = heldOf(ctx);
  const run = currentRun(ctx);
  const own = runs.get(run);
  if (own === undefined) return;
  runs.delete(run);
  for (const [at, count] of own) for (let i = 0; i < count; i++) drop(at);
}
