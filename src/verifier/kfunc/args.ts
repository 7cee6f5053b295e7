/** Arguments of kernel functions against their types in BTF. Kernel 6.18: check_kfunc_args. */
import type { BtfType } from '../../btf/index.ts';
import { markPrecise } from '../backtrack.ts';
import { isProjection } from '../context-types.ts';
import { checkDynptrArg, dynptrOf } from '../dynptr.ts';
import type { Env } from '../env.ts';
import { checkArgOffset } from '../helper-args.ts';
import { checkConstString, checkFieldPointer, checkSpinLock } from '../helper-fields.ts';
import { checkHelperMemory, checkSizeArg } from '../helper-memory.ts';
import { attachTypeName } from '../helper-table.ts';
import { kernelStruct, kernelStructById, structIs } from '../kernel-types.ts';
import { Refusal } from '../refusal.ts';
import {
  BASE_MASK,
  CONST_PTR_TO_DYNPTR,
  fieldsBehind,
  hasSpecialField,
  isAllocated,
  isNull,
  isTrusted,
  MEM_ALLOC,
  MEM_PERCPU,
  MEM_RCU,
  NON_OWN_REF,
  PTR_TO_BTF_ID,
  PTR_TO_CTX,
  PTR_TO_FUNC,
  PTR_TO_MAP_VALUE,
  PTR_TRUSTED,
  type Reg,
  SCALAR,
  type StructRef,
  typeName,
} from '../registers.ts';
import { accessMemory } from '../transfer/memory.ts';
import { notNull } from '../transfer/not-null.ts';
import {
  argKind,
  hasSuffix,
  isScalarType,
  isSize,
  kindText,
  nameText,
  STRUCT_OF,
  typeBehind,
} from './arg-kind.ts';
import { checkNodeArg, checkRootArg } from './graph.ts';
import { checkIrqArg } from './irq.ts';
import { checkIterArg } from './iter.ts';
import { failArg } from './refuse.ts';
import type { KfuncMeta } from './types.ts';

const OBJECT = PTR_TO_BTF_ID | MEM_ALLOC;
/** Modifiers that do not take trust away. */
const TRUSTED = PTR_TRUSTED | MEM_ALLOC | NON_OWN_REF;

function knownConstant(env: Env, meta: KfuncMeta, index: number, text: string): bigint {
  const { v } = env.reg(index + 1);
  if (v.tnum.mask !== 0n) failArg(env, meta.kfunc, index, text, 'argument_constant');
  return v.tnum.value;
}

function checkScalar(env: Env, meta: KfuncMeta, index: number): void {
  const { kfunc } = meta;
  const param = kfunc.proto.params[index]!;
  const n = index + 1;
  if (env.reg(n).type !== SCALAR) failArg(env, kfunc, index, `R${n} is not a scalar`);
  if (hasSuffix(param, '__k')) {
    meta.constant = knownConstant(env, meta, index, `R${n} must be a known constant`);
    markPrecise(env, n);
    return;
  }
  const readOnly = param.name === 'rdonly_buf_size';
  if (!readOnly && param.name !== 'rdwr_buf_size') return;
  if (meta.returnSize > 0) {
    failArg(env, kfunc, index, '2 or more rdonly/rdwr_buf_size parameters for kfunc', 'argument_constant');
  }
  meta.returnReadOnly = readOnly;
  meta.returnSize = Number(knownConstant(env, meta, index, `R${n} is not a const`));
  markPrecise(env, n);
}

/** With the pointer known not to be NULL. */
function assumingValid(env: Env, n: number, check: () => void): void {
  const reg = env.reg(n);
  if (reg.maybeNull) env.setReg(n, notNull(reg));
  check();
  if (reg.maybeNull) env.setReg(n, reg);
}

function checkMemory(env: Env, meta: KfuncMeta, index: number, target: BtfType | null): void {
  const { kfunc } = meta;
  const n = index + 1;
  let size: number;
  try {
    const pointer = typeBehind(kfunc.btf, kfunc.proto.params[index]!.type);
    size = kfunc.btf.sizeOf(pointer?.kind === 'ptr' ? pointer.type : 0);
  } catch {
    failArg(
      env,
      kfunc,
      index,
      `arg#${index} reference type('${kindText(target)} ${nameText(target)}') size cannot be determined: -22`,
    );
  }
  if (isNull(env.reg(n))) return;
  assumingValid(env, n, () => {
    checkHelperMemory(env, n, size, { write: false, zeroSize: true });
    checkHelperMemory(env, n, size, { write: true, zeroSize: true });
  });
}

function checkSizedMemory(env: Env, meta: KfuncMeta, index: number): void {
  const { kfunc } = meta;
  const { btf, proto } = kfunc;
  const n = index + 1;
  if (!isNull(env.reg(n)) || !hasSuffix(proto.params[index]!, '__opt')) {
    try {
      assumingValid(env, n, () => {
        const max = { maxSize: 0 };
        checkSizeArg(env, n + 1, { write: false, zeroSize: true }, max);
        checkSizeArg(env, n + 1, { write: true, zeroSize: true }, max);
      });
    } catch (refusal) {
      if (!(refusal instanceof Refusal)) throw refusal;
      env.verbose(`arg#${index} arg#${index + 1} memory, len pair leads to invalid memory access\n`);
      throw refusal;
    }
  }
  if (isSize(btf, proto.params[index + 1], env.reg(n + 1), '__szk')) {
    meta.constant = knownConstant(env, meta, index + 1, `R${n + 1} must be a known constant`);
  }
}

function checkMap(env: Env, meta: KfuncMeta, index: number): void {
  const reg = env.reg(index + 1);
  const { map } = reg;
  // A map that an iterator gives is known by its type only.
  if (map === null && reg.base === PTR_TO_BTF_ID) return;
  if (map === null)
    failArg(env, meta.kfunc, index, `pointer in R${index + 1} isn't map pointer`, 'argument_map');
  const bound = hasSpecialField(map, 'workqueue', 'task_work');
  if (meta.map !== null && bound && (meta.map !== map || meta.mapUid !== reg.mapUid)) {
    const [what, at] = hasSpecialField(map, 'task_work') ? ['bpf_task_work', 2] : ['workqueue', 1];
    failArg(
      env,
      meta.kfunc,
      index,
      `${what} pointer in R${at} map_uid=${meta.mapUid} doesn't match map pointer in R${Number(at) + 1} map_uid=${reg.mapUid}`,
      'argument_map',
    );
  }
  meta.map = map;
  meta.mapUid = reg.mapUid;
}

/** The function takes only pointers to what is alive; what gives references back always does. */
function isCareful({ row }: KfuncMeta): boolean {
  return row.flags.has('trusted_args') || row.flags.has('release') || row.flags.has('rcu');
}

function checkTrust(env: Env, meta: KfuncMeta, index: number): void {
  const { flags } = meta.row;
  if (!isCareful(meta)) return;
  const reg = env.reg(index + 1);
  if (isTrusted(reg)) return;
  if (!flags.has('rcu')) {
    failArg(env, meta.kfunc, index, `R${index + 1} must be referenced or trusted`, 'argument_reference');
  }
  if ((reg.type & MEM_RCU) === 0) {
    failArg(env, meta.kfunc, index, `R${index + 1} must be a rcu pointer`, 'argument_reference');
  }
}

/** `X` and `X___init`: not the same although bitwise equal, before and after an initialisation. */
function isNoCastAlias(a: string, b: string): boolean {
  if (a.length === b.length) return false;
  return a === `${b}___init` || b === `${a}___init`;
}

function structOfReg(env: Env, reg: Reg): StructRef {
  return reg.base === PTR_TO_BTF_ID ? reg.struct! : kernelStruct(env, STRUCT_OF[reg.base]!);
}

function checkStruct(env: Env, meta: KfuncMeta, index: number, wanted: StructRef, kind: string): void {
  const { kfunc, row } = meta;
  const n = index + 1;
  const reg = env.reg(n);
  const unsafe = (reg.type & ~BASE_MASK & ~TRUSTED) !== 0;
  const typed = reg.base === PTR_TO_BTF_ID && (!unsafe || (reg.type & MEM_RCU) !== 0);
  if (!typed && STRUCT_OF[reg.base] === undefined) {
    failArg(
      env,
      kfunc,
      index,
      `arg#${index} is ${typeName(reg.type)} expected ${typeName(reg.base | (reg.type & TRUSTED))} or socket`,
    );
  }
  const given = structOfReg(env, reg);
  const strict = (row.flags.has('release') && reg.refObjId !== 0) || isNoCastAlias(given.name, wanted.name);
  if (structIs(given, reg.off, wanted, strict) || isProjection(wanted.name, given.name)) return;
  const givenKind = given.btf?.kind(given.btf.resolve(given.id)).toUpperCase() ?? 'STRUCT';
  failArg(
    env,
    kfunc,
    index,
    `kernel function ${kfunc.name} args#${index} expected pointer to ${kind} ${wanted.name} ` +
      `but R${n} has a pointer to ${givenKind} ${given.name}`,
  );
}

function checkContext(env: Env, meta: KfuncMeta, index: number): void {
  const reg = env.reg(index + 1);
  if (reg.type !== PTR_TO_CTX) {
    failArg(env, meta.kfunc, index, `arg#${index} expected pointer to ctx, but got ${typeName(reg.type)}`);
  }
}

/** An object of bpf_obj_new that is given back. */
function checkAllocated(env: Env, meta: KfuncMeta, index: number): void {
  const { kfunc, row } = meta;
  const reg = env.reg(index + 1);
  if (reg.type === OBJECT) {
    if (row.drops !== 'object') failArg(env, kfunc, index, `arg#${index} expected for bpf_obj_drop_impl()`);
  } else if (reg.type === (OBJECT | MEM_PERCPU)) {
    if (row.drops !== 'percpu_object') {
      failArg(env, kfunc, index, `arg#${index} expected for bpf_percpu_obj_drop_impl()`);
    }
  } else {
    failArg(env, kfunc, index, `arg#${index} expected pointer to allocated object`);
  }
  if (reg.refObjId === 0) {
    failArg(env, kfunc, index, 'allocated object must be referenced', 'argument_reference');
  }
  meta.struct = reg.struct;
}

function checkRefcounted(env: Env, meta: KfuncMeta, index: number): void {
  const { kfunc } = meta;
  const reg = env.reg(index + 1);
  if (!isAllocated(reg.type)) {
    failArg(env, kfunc, index, `arg#${index} is neither owning or non-owning ref`, 'argument_reference');
  }
  if ((reg.type & NON_OWN_REF) === 0) meta.owning = true;
  if (fieldsBehind(reg).length === 0) {
    failArg(env, kfunc, index, "verifier bug: Couldn't find btf_record", 'argument_field', 'EFAULT');
  }
  if (!fieldsBehind(reg).some(({ kind }) => kind === 'refcount')) {
    failArg(
      env,
      kfunc,
      index,
      `arg#${index} doesn't point to a type with bpf_refcount field`,
      'argument_field',
    );
  }
  meta.struct = reg.struct;
}

function checkDynptr(env: Env, meta: KfuncMeta, index: number): void {
  const { row, kfunc } = meta;
  const n = index + 1;
  const uninit = hasSuffix(kfunc.proto.params[index]!, '__uninit');
  const parent = meta.dynptr;
  const type = row.dynptr ?? (row.clones && uninit ? parent?.dynptr?.type : undefined);
  checkDynptrArg(
    env,
    n,
    {
      ...(uninit ? { uninit: true } : {}),
      ...(env.reg(n).type === CONST_PTR_TO_DYNPTR ? { rdonly: true } : {}),
      ...(type === undefined ? {} : { dynptr: type }),
      ...(row.clones && uninit && parent !== null ? { cloneRef: parent.refObjId } : {}),
    },
    (off) => accessMemory(env, { ptr: n, off, size: 8, write: true, value: -1 }),
  );
  if (!uninit) meta.dynptr = dynptrOf(env, env.reg(n));
}

/** Where tasks of a cgroup may be walked without a deadlock. */
function mayWalkTasks(env: Env): boolean {
  if (env.progTypeName === 'lsm') return true;
  if (env.progTypeName === 'tracing' && attachTypeName(env) === 'TRACE_ITER') return true;
  return env.cur.sleepable;
}

function checkMapField(env: Env, meta: KfuncMeta, index: number, kind: 'workqueue' | 'task_work'): void {
  const reg = env.reg(index + 1);
  if (reg.type !== PTR_TO_MAP_VALUE) {
    failArg(env, meta.kfunc, index, `arg#${index} doesn't point to a map value`);
  }
  checkFieldPointer(env, index + 1, kind);
  meta.map = reg.map;
  meta.mapUid = reg.mapUid;
}

function checkResLock(env: Env, meta: KfuncMeta, index: number): void {
  const reg = env.reg(index + 1);
  if (reg.type !== PTR_TO_MAP_VALUE && reg.type !== OBJECT) {
    failArg(env, meta.kfunc, index, `arg#${index} doesn't point to map value or allocated object`);
  }
  const { lock, irq } = meta.row;
  checkSpinLock(env, index + 1, { acquire: lock === 'acquire', res: true, irq: irq !== undefined });
}

/** Checks a pointer argument; returns how many parameters it stands for. */
function checkPointer(env: Env, meta: KfuncMeta, index: number): number {
  const { kfunc, row } = meta;
  const { btf, proto } = kfunc;
  const param = proto.params[index]!;
  const n = index + 1;
  const reg = env.reg(n);
  if (isCareful(meta) && (isNull(reg) || reg.maybeNull) && !hasSuffix(param, '__nullable')) {
    failArg(
      env,
      kfunc,
      index,
      `Possibly NULL pointer passed to trusted arg${index}`,
      'argument_null',
      'EACCES',
    );
  }
  const release = row.flags.has('release') && reg.refObjId !== 0;
  if (reg.refObjId !== 0) meta.refObjId = reg.refObjId;
  if (release) meta.releaseReg = n;
  const pointer = typeBehind(btf, param.type);
  const pointee = pointer?.kind === 'ptr' && pointer.type !== 0 ? btf.resolve(pointer.type) : 0;
  const target = pointee === 0 ? null : btf.type(pointee);
  const kind = argKind(env, meta, index);
  if (kind === 'null') return 1;
  if (kind === 'map') checkMap(env, meta, index);
  if (kind === 'map' || kind === 'alloc_object' || kind === 'btf_id') checkTrust(env, meta, index);
  checkArgOffset(env, n, release, false);
  switch (kind) {
    case 'ctx':
      checkContext(env, meta, index);
      break;
    case 'alloc_object':
      checkAllocated(env, meta, index);
      break;
    case 'dynptr':
      checkDynptr(env, meta, index);
      break;
    case 'iter':
      if (row.cssTask && !mayWalkTasks(env)) {
        failArg(
          env,
          kfunc,
          index,
          'css_task_iter is only allowed in bpf_lsm, bpf_iter and sleepable progs',
          'function_not_allowed',
        );
      }
      checkIterArg(env, meta, index);
      break;
    case 'list_head':
    case 'rb_root':
      checkRootArg(env, meta, index, kind);
      break;
    case 'list_node':
      checkNodeArg(env, meta, index, 'list_head');
      break;
    case 'rb_node':
      checkNodeArg(env, meta, index, 'rb_root');
      break;
    case 'map':
      checkStruct(env, meta, index, kernelStruct(env, 'bpf_map'), 'STRUCT');
      break;
    case 'btf_id':
      checkStruct(env, meta, index, kernelStructById(env, btf, pointee), kindText(target));
      break;
    case 'mem':
      checkMemory(env, meta, index, target);
      break;
    case 'mem_size':
      checkSizedMemory(env, meta, index);
      return 2;
    case 'callback':
      if (reg.type !== PTR_TO_FUNC) failArg(env, kfunc, index, `arg${index} expected pointer to func`);
      meta.subprog = reg.raw;
      break;
    case 'refcounted':
      checkRefcounted(env, meta, index);
      break;
    case 'const_str':
      if (reg.type !== PTR_TO_MAP_VALUE) {
        failArg(env, kfunc, index, `arg#${index} doesn't point to a const string`, 'argument_string');
      }
      checkConstString(env, n);
      break;
    case 'workqueue':
    case 'task_work':
      checkMapField(env, meta, index, kind);
      break;
    case 'irq_flag':
      checkIrqArg(env, meta, index);
      break;
    case 'res_spin_lock':
      checkResLock(env, meta, index);
      break;
  }
  return 1;
}

/** Checks R1–R5 against the function's prototype, and notes in `meta` what they say. */
export function checkKfuncArgs(env: Env, meta: KfuncMeta): void {
  const { kfunc, row } = meta;
  const { params } = kfunc.proto;
  if (params.length > 5) {
    env.fail('EINVAL', `Function ${kfunc.name} has ${params.length} > 5 args`, {
      kind: 'function_not_allowed',
      function: kfunc.name,
      detail: 'more than 5 arguments',
    });
  }
  for (let i = 0; i < params.length; ) {
    const param = params[i]!;
    if (hasSuffix(param, '__ign') || hasSuffix(param, '__prog')) {
      i++;
      continue;
    }
    const type = typeBehind(kfunc.btf, param.type);
    if (isScalarType(type)) {
      checkScalar(env, meta, i);
      i++;
    } else if (type?.kind === 'ptr') {
      i += checkPointer(env, meta, i);
    } else {
      failArg(env, kfunc, i, `Unrecognized arg#${i} type ${kindText(type)}`);
    }
  }
  if (row.flags.has('release') && meta.releaseReg === 0) {
    env.fail('EINVAL', `release kernel function ${kfunc.name} expects refcounted PTR_TO_BTF_ID`, {
      kind: 'release_unowned',
      function: kfunc.name,
    });
  }
}
