/**
 * Lists and trees that own objects: the root lies in a map value or in an object, the lock beside it must be held, nodes lie in
 * objects of the type that the root names. Kernel 6.18: __process_kf_arg_ptr_to_graph_root, …_node.
 */
import { InternalError } from '../../util/errors.ts';
import type { Env } from '../env.ts';
import { fieldStruct, structIs } from '../kernel-types.ts';
import { findLock, releaseReference } from '../references.ts';
import {
  fieldsBehind,
  MEM_ALLOC,
  NON_OWN_REF,
  PTR_TO_BTF_ID,
  PTR_TO_MAP_VALUE,
  type Reg,
} from '../registers.ts';
import { nonOwningFlags } from '../transfer/callback.ts';
import { failArg } from './refuse.ts';
import { inTreeCallback } from './resolve.ts';
import type { KfuncMeta } from './types.ts';

type Root = 'list_head' | 'rb_root';

const NAMES = {
  list_head: { root: 'bpf_list_head', node: 'bpf_list_node', nodeKind: 'list_node' },
  rb_root: { root: 'bpf_rb_root', node: 'bpf_rb_node', nodeKind: 'rb_node' },
} as const;

const OBJECT = PTR_TO_BTF_ID | MEM_ALLOC;

function checkOwned(env: Env, meta: KfuncMeta, index: number, reg: Reg): void {
  if (reg.refObjId === 0) {
    failArg(env, meta.kfunc, index, 'allocated object must be referenced', 'argument_reference');
  }
}

function constantOffset(env: Env, meta: KfuncMeta, index: number, name: string): number {
  const reg = env.reg(index + 1);
  if (reg.v.tnum.mask !== 0n) {
    failArg(
      env,
      meta.kfunc,
      index,
      `R${index + 1} doesn't have constant offset. ${name} has to be at the constant offset`,
      'argument_offset',
    );
  }
  return reg.off + Number(BigInt.asIntN(64, reg.v.tnum.value));
}

function isLocked(env: Env, reg: Reg): boolean {
  const { cur } = env;
  if (cur.activeLocks === 0) return false;
  const object = reg.type === PTR_TO_MAP_VALUE ? reg.map : (reg.struct?.btf ?? null);
  if (findLock(cur, ['lock', 'res_lock', 'res_lock_irq'], reg.id, object) !== undefined) return true;
  env.verbose('held lock and object are not in the same allocation\n');
  return false;
}

/** The root of a list or tree. */
export function checkRootArg(env: Env, meta: KfuncMeta, index: number, kind: Root): void {
  const { kfunc } = meta;
  const reg = env.reg(index + 1);
  if (reg.type !== PTR_TO_MAP_VALUE && reg.type !== OBJECT) {
    failArg(env, kfunc, index, `arg#${index} expected pointer to map value or allocated object`);
  }
  if (reg.type === OBJECT) checkOwned(env, meta, index, reg);
  const name = NAMES[kind].root;
  const at = constantOffset(env, meta, index, name);
  const fields = fieldsBehind(reg);
  const field = fields.find((f) => f.kind === kind && f.offset === at);
  if (field === undefined) {
    failArg(env, kfunc, index, `${name} not found at offset=${at >>> 0}`, 'argument_field');
  }
  if (!isLocked(env, reg)) {
    const lock = fields.find((f) => f.kind === 'spin_lock')?.offset ?? -22;
    failArg(env, kfunc, index, `bpf_spin_lock at off=${lock} must be held for ${name}`, 'lock_needed');
  }
  if (meta.root !== null) throw new InternalError(`repeating ${name} arg`);
  meta.root = field;
}

function checkNodeOwner(env: Env, meta: KfuncMeta, index: number, root: Root): void {
  const { kfunc, row } = meta;
  const reg = env.reg(index + 1);
  if (root === 'list_head' || row.inserts) {
    if (reg.type !== OBJECT) failArg(env, kfunc, index, `arg#${index} expected pointer to allocated object`);
    checkOwned(env, meta, index, reg);
    return;
  }
  if ((reg.type & NON_OWN_REF) === 0 && reg.refObjId === 0) {
    failArg(
      env,
      kfunc,
      index,
      `${kfunc.name} can only take non-owning or refcounted bpf_rb_node pointer`,
      'argument_reference',
    );
  }
  if (inTreeCallback(env)) {
    failArg(env, kfunc, index, `${kfunc.name} not allowed in rbtree cb`, 'callback');
  }
}

/** The node of an object that is, or will be, in the list or tree. */
export function checkNodeArg(env: Env, meta: KfuncMeta, index: number, kind: Root): void {
  const { kfunc } = meta;
  checkNodeOwner(env, meta, index, kind);
  const reg = env.reg(index + 1);
  const names = NAMES[kind];
  const at = constantOffset(env, meta, index, names.node);
  if (!fieldsBehind(reg).some((f) => f.kind === names.nodeKind && f.offset === at)) {
    failArg(env, kfunc, index, `${names.node} not found at offset=${at >>> 0}`, 'argument_field');
  }
  const root = meta.root;
  if (root === null) throw new InternalError('node before its root');
  const wanted = fieldStruct(env, root);
  const offset = root.nodeOffset ?? 0;
  if (!structIs(reg.struct!, 0, wanted, true)) {
    failArg(
      env,
      kfunc,
      index,
      `operation on ${names.root} expects arg#1 ${names.node} at offset=${offset} in struct ${wanted.name}, ` +
        `but arg is at offset=${at} in struct ${reg.struct!.name}`,
    );
  }
  meta.struct = reg.struct;
  if (at !== offset) {
    failArg(
      env,
      kfunc,
      index,
      `arg#1 offset=${at}, but expected ${names.node} at offset=${offset} in struct ${wanted.name}`,
      'argument_offset',
    );
  }
}

/** The object belongs to the list or tree from now on: what pointed to it points to it without owning it. */
export function insertNode(env: Env): void {
  const id = env.reg(2).refObjId;
  env.cur.mapRegs((reg) =>
    reg.refObjId === id && id !== 0
      ? reg.with({ type: reg.type | nonOwningFlags(reg.struct), refObjId: 0 })
      : reg,
  );
  releaseReference(env, id);
}
