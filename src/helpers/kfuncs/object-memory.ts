/**
 * Memory of objects that programs allocate. What an object owns goes with it: lists, trees, and objects that its kptrs point to.
 */
import type { SpecialField } from '../../contracts/maps.ts';
import { BpfError } from '../../util/errors.ts';
import { objectFields } from '../../verifier/index.ts';
import type { HelperContext } from '../types.ts';
import { forgetFields, knownFields } from './held.ts';
import { listPop } from './list-nodes.ts';
import { treeFirst, treeRemove } from './tree-nodes.ts';

/** What the allocator calls them: objects, those with a copy for each processor, sets of processors. */
export const OBJECT = 'bpf_obj_new';
export const PER_CPU = 'bpf_percpu_obj_new';
export const CPUMASK = 'bpf_cpumask';
/** Where a set of processors has its count of references. */
export const CPUMASK_COUNT = 1024;

/** 0 where there is no room. */
export function allocateObject({ memory }: HelperContext, size: number, label: string): number {
  try {
    return memory.allocate(size, label, 8);
  } catch (error) {
    if (error instanceof BpfError && error.code === 'ENOMEM') return 0;
    throw error;
  }
}

/** Fields of the elements of a list or tree, or of what a kptr points to. */
function fieldsOf(field: SpecialField): readonly SpecialField[] {
  const { struct } = field;
  return struct === undefined || struct.kernel ? [] : objectFields(struct.btf, struct.id);
}

function freeField(ctx: HelperContext, field: SpecialField, at: number): void {
  const offset = field.nodeOffset ?? 0;
  switch (field.kind) {
    case 'list_head':
      for (let node = listPop(ctx, at, true); node !== 0; node = listPop(ctx, at, true)) {
        dropObject(ctx, node - offset, fieldsOf(field));
      }
      break;
    case 'rb_root':
      for (let node = treeFirst(ctx, at); node !== 0; node = treeFirst(ctx, at)) {
        treeRemove(ctx, at, node);
        dropObject(ctx, node - offset, fieldsOf(field));
      }
      break;
    case 'kptr_ref':
    case 'kptr_percpu': {
      const held = ctx.memory.view.getUint32(at, true);
      ctx.memory.writeHalves(at, 0, 0);
      if (held !== 0 && field.struct?.kernel === false) dropObject(ctx, held, fieldsOf(field));
      break;
    }
    default:
      break;
  }
}

/** Frees what the special fields at `at` (an object, or a map's value) own. */
export function freeFields(ctx: HelperContext, at: number, fields: readonly SpecialField[]): void {
  for (const field of fields) freeField(ctx, field, at + field.offset);
}

/** Gives one reference back; the last one frees the object. */
export function dropObject(ctx: HelperContext, at: number, fields: readonly SpecialField[]): void {
  const { memory } = ctx;
  if (memory.blockAt(at)?.start !== at) return;
  const refcount = fields.find(({ kind }) => kind === 'refcount');
  if (refcount !== undefined) {
    const left = memory.view.getUint32(at + refcount.offset, true) - 1;
    memory.view.setUint32(at + refcount.offset, left, true);
    if (left > 0) return;
  }
  freeFields(ctx, at, fields);
  forgetFields(ctx, at);
  memory.free(at);
}

/** A copy for each processor, each at a multiple of the size. */
export function allocatePerCpu(ctx: HelperContext, size: number): number {
  const stride = Math.max(8, (size + 7) & ~7);
  return allocateObject(ctx, stride * ctx.env.possibleCpus, PER_CPU);
}

/** The copy of a processor; the pointer itself where it points to no such object. */
export function perCpuCopy({ memory, env }: HelperContext, pointer: number, cpu: number): number {
  const block = memory.blockAt(pointer);
  if (block === undefined || block.start !== pointer || block.label !== PER_CPU) return pointer;
  return pointer + cpu * (Math.floor(block.size / env.possibleCpus / 8) * 8);
}

/** Gives back one reference to a set of processors. */
export function dropCpumask({ memory }: HelperContext, set: number): void {
  const left = memory.view.getUint32(set + CPUMASK_COUNT, true) - 1;
  if (left > 0) memory.view.setUint32(set + CPUMASK_COUNT, left, true);
  else memory.free(set);
}

/** Gives back one reference to what lies there, whatever it is. */
export function dropAnything(ctx: HelperContext, at: number): void {
  const block = ctx.memory.blockAt(at);
  if (block?.start !== at) return;
  if (block.label === OBJECT) dropObject(ctx, at, knownFields(ctx, at));
  else if (block.label === CPUMASK) dropCpumask(ctx, at);
  else ctx.memory.free(at);
}
