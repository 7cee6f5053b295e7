/**
 * Sets of processors that programs own: `struct bpf_cpumask` is the bits, then a count of references. All calls take kernel
 * addresses of sets.
 */
import type { HelperContext } from '../types.ts';
import { hold, letGo } from './held.ts';
import { allocateObject, CPUMASK, CPUMASK_COUNT, dropCpumask } from './object-memory.ts';
import { type KfuncFamily, type KfuncImplementation, kfn } from './types.ts';

/** Bytes of a set in the kernel's types (CONFIG_NR_CPUS = 8192). */
const BITS_BYTES = CPUMASK_COUNT;
const BYTES = BITS_BYTES + 8;

function bit({ memory }: HelperContext, set: number, cpu: number): boolean {
  return (memory.u8[set + (cpu >> 3)]! & (1 << (cpu & 7))) !== 0;
}

function change({ memory }: HelperContext, set: number, cpu: number, on: boolean): void {
  const at = set + (cpu >> 3);
  memory.u8[at] = on ? memory.u8[at]! | (1 << (cpu & 7)) : memory.u8[at]! & ~(1 << (cpu & 7));
}

/** The first processor for which it holds; their number where there is none. */
function first(ctx: HelperContext, holds: (cpu: number) => boolean): number {
  const { possibleCpus } = ctx.env;
  for (let cpu = 0; cpu < possibleCpus; cpu++) if (holds(cpu)) return cpu;
  return possibleCpus;
}

function every(ctx: HelperContext, holds: (cpu: number) => boolean): number {
  return first(ctx, (cpu) => !holds(cpu)) === ctx.env.possibleCpus ? 1 : 0;
}

/** A function of one processor and a set; processors that are none are left alone. */
function onCpu(
  result: 's32' | 'void',
  fn: (ctx: HelperContext, cpu: number, set: number) => number | undefined,
): KfuncImplementation {
  return kfn('pp', result, (ctx) => (cpu, set) => {
    const known = cpu >>> 0 < ctx.env.possibleCpus && ctx.valid(set, BITS_BYTES);
    return known ? fn(ctx, cpu, set) : 0;
  });
}

/** dst = a op b; gives whether anything is in it. */
function combine(op: (a: boolean, b: boolean) => boolean): KfuncImplementation {
  return kfn('ppp', 's32', (ctx) => (dst, a, b) => {
    let any = 0;
    for (let cpu = 0; cpu < ctx.env.possibleCpus; cpu++) {
      const on = op(bit(ctx, a, cpu), bit(ctx, b, cpu));
      change(ctx, dst, cpu, on);
      if (on) any = 1;
    }
    return any;
  });
}

function fill(on: boolean): KfuncImplementation {
  return kfn('p', 'void', (ctx) => (set) => {
    for (let cpu = 0; cpu < ctx.env.possibleCpus; cpu++) change(ctx, set, cpu, on);
  });
}

const firstOf = (holds: (a: boolean) => boolean): KfuncImplementation =>
  kfn('p', 's32', (ctx) => (set) => first(ctx, (cpu) => holds(bit(ctx, set, cpu))));

const firstOfBoth = kfn(
  'pp',
  's32',
  (ctx) => (a, b) => first(ctx, (cpu) => bit(ctx, a, cpu) && bit(ctx, b, cpu)),
);

export const CPUMASK_KFUNCS: KfuncFamily = {
  bpf_cpumask_create: kfn('', 'ptr', (ctx) => () => {
    const set = allocateObject(ctx, BYTES, CPUMASK);
    if (set !== 0) ctx.memory.view.setUint32(set + CPUMASK_COUNT, 1, true);
    return hold(ctx, set);
  }),
  bpf_cpumask_acquire: kfn('p', 'ptr', (ctx) => (set) => {
    const { view } = ctx.memory;
    view.setUint32(set + CPUMASK_COUNT, view.getUint32(set + CPUMASK_COUNT, true) + 1, true);
    return hold(ctx, set);
  }),
  bpf_cpumask_release: kfn('p', 'void', (ctx) => (set) => {
    letGo(ctx, set);
    dropCpumask(ctx, set);
  }),
  bpf_cpumask_first: firstOf((on) => on),
  bpf_cpumask_first_zero: firstOf((on) => !on),
  bpf_cpumask_first_and: firstOfBoth,
  bpf_cpumask_any_distribute: firstOf((on) => on),
  bpf_cpumask_any_and_distribute: firstOfBoth,
  bpf_cpumask_set_cpu: onCpu('void', (ctx, cpu, set) => void change(ctx, set, cpu, true)),
  bpf_cpumask_clear_cpu: onCpu('void', (ctx, cpu, set) => void change(ctx, set, cpu, false)),
  bpf_cpumask_test_cpu: onCpu('s32', (ctx, cpu, set) => (bit(ctx, set, cpu) ? 1 : 0)),
  bpf_cpumask_test_and_set_cpu: onCpu('s32', (ctx, cpu, set) => {
    const was = bit(ctx, set, cpu);
    change(ctx, set, cpu, true);
    return was ? 1 : 0;
  }),
  bpf_cpumask_test_and_clear_cpu: onCpu('s32', (ctx, cpu, set) => {
    const was = bit(ctx, set, cpu);
    change(ctx, set, cpu, false);
    return was ? 1 : 0;
  }),
  bpf_cpumask_setall: fill(true),
  bpf_cpumask_clear: fill(false),
  bpf_cpumask_and: combine((a, b) => a && b),
  bpf_cpumask_or: combine((a, b) => a || b),
  bpf_cpumask_xor: combine((a, b) => a !== b),
  bpf_cpumask_equal: kfn(
    'pp',
    's32',
    (ctx) => (a, b) => every(ctx, (cpu) => bit(ctx, a, cpu) === bit(ctx, b, cpu)),
  ),
  bpf_cpumask_intersects: kfn(
    'pp',
    's32',
    (ctx) => (a, b) => (every(ctx, (cpu) => !(bit(ctx, a, cpu) && bit(ctx, b, cpu))) === 1 ? 0 : 1),
  ),
  bpf_cpumask_subset: kfn(
    'pp',
    's32',
    (ctx) => (a, b) => every(ctx, (cpu) => !bit(ctx, a, cpu) || bit(ctx, b, cpu)),
  ),
  bpf_cpumask_empty: kfn('p', 's32', (ctx) => (set) => every(ctx, (cpu) => !bit(ctx, set, cpu))),
  bpf_cpumask_full: kfn('p', 's32', (ctx) => (set) => every(ctx, (cpu) => bit(ctx, set, cpu))),
  bpf_cpumask_copy: kfn('pp', 'void', (ctx) => (to, from) => {
    for (let cpu = 0; cpu < ctx.env.possibleCpus; cpu++) change(ctx, to, cpu, bit(ctx, from, cpu));
  }),
  bpf_cpumask_weight: kfn('p', 's32', (ctx) => (set) => {
    let count = 0;
    for (let cpu = 0; cpu < ctx.env.possibleCpus; cpu++) if (bit(ctx, set, cpu)) count++;
    return count;
  }),
};
