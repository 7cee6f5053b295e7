/**
 * What a parameter of a kernel function takes: said by its BTF type, by the suffix of its name, and, for memory, by what is
 * passed. Kernel 6.18: get_kfunc_ptr_arg_type.
 */
import type { Btf, BtfParam, BtfType } from '../../btf/index.ts';
import { isContextType } from '../context-types.ts';
import type { Env } from '../env.ts';
import {
  CONST_PTR_TO_MAP,
  isNull,
  PTR_TO_BTF_ID,
  PTR_TO_SOCK_COMMON,
  PTR_TO_SOCKET,
  PTR_TO_TCP_SOCK,
  type Reg,
  SCALAR,
} from '../registers.ts';
import { failArg } from './refuse.ts';
import type { KfuncMeta } from './types.ts';

export type KfuncArgKind =
  | 'ctx'
  | 'alloc_object'
  | 'refcounted'
  | 'dynptr'
  | 'iter'
  | 'list_head'
  | 'list_node'
  | 'rb_root'
  | 'rb_node'
  | 'btf_id'
  | 'mem'
  | 'mem_size'
  | 'callback'
  | 'null'
  | 'const_str'
  | 'map'
  | 'workqueue'
  | 'task_work'
  | 'irq_flag'
  | 'res_spin_lock';

export function hasSuffix(param: BtfParam, suffix: string): boolean {
  return param.name.length > suffix.length && param.name.endsWith(suffix);
}

/** Structs that say by themselves what the parameter is. */
const BY_STRUCT: Readonly<Record<string, KfuncArgKind>> = {
  bpf_dynptr: 'dynptr',
  bpf_list_head: 'list_head',
  bpf_list_node: 'list_node',
  bpf_rb_root: 'rb_root',
  bpf_rb_node: 'rb_node',
  bpf_wq: 'workqueue',
  bpf_task_work: 'task_work',
  bpf_res_spin_lock: 'res_spin_lock',
};

/** Name of the kernel's struct behind a socket or map pointer. */
export const STRUCT_OF: Readonly<Record<number, string>> = {
  [PTR_TO_SOCKET]: 'sock',
  [PTR_TO_SOCK_COMMON]: 'sock_common',
  [PTR_TO_TCP_SOCK]: 'tcp_sock',
  [CONST_PTR_TO_MAP]: 'bpf_map',
};

export function kindText(type: BtfType | null): string {
  return type === null ? 'UNKNOWN' : type.kind.toUpperCase();
}

export function nameText(type: BtfType | null): string {
  return type !== null && 'name' in type ? type.name : '';
}

export function isScalarType(type: BtfType | null): boolean {
  return type?.kind === 'int' || type?.kind === 'enum' || type?.kind === 'enum64';
}

/** The type behind id 0 is void. */
export function typeBehind(btf: Btf, id: number): BtfType | null {
  if (id === 0) return null;
  const resolved = btf.resolve(id);
  return resolved === 0 ? null : btf.type(resolved);
}

/** Structs nested deeper than this are not looked into. */
const MAX_NESTING = 4;

/** A struct of scalars, also nested to four levels. */
export function isScalarStruct(env: Env, btf: Btf, type: BtfType | null): boolean {
  // A type that occurs often is looked into once for each level.
  const known = Array.from({ length: MAX_NESTING }, () => new Map<BtfType, boolean>());
  const isScalar = (inner: BtfType | null, level: number): boolean => {
    if (inner?.kind !== 'struct' && inner?.kind !== 'union') return false;
    let answer = known[level]!.get(inner);
    if (answer === undefined) {
      answer = inner.members.every(({ type: id }) => isScalarMember(id, level));
      known[level]!.set(inner, answer);
    }
    return answer;
  };
  const isScalarMember = (id: number, level: number): boolean => {
    const member = typeBehind(btf, id);
    if (member?.kind === 'struct' || member?.kind === 'union') {
      if (level + 1 < MAX_NESTING) return isScalar(member, level + 1);
      env.verbose('max struct nesting depth exceeded\n');
      return false;
    }
    if (member?.kind === 'array') return member.count > 0 && isScalarType(typeBehind(btf, member.type));
    return isScalarType(member);
  };
  return isScalar(type, 0);
}

/** The parameter is the size of the memory before it. */
export function isSize(btf: Btf, param: BtfParam | undefined, reg: Reg, suffix: '__sz' | '__szk'): boolean {
  if (param === undefined || reg.type !== SCALAR) return false;
  return isScalarType(typeBehind(btf, param.type)) && hasSuffix(param, suffix);
}

function bySuffix(param: BtfParam, reg: Reg): KfuncArgKind | null {
  if (hasSuffix(param, '__nullable') && isNull(reg)) return 'null';
  if (hasSuffix(param, '__alloc')) return 'alloc_object';
  if (hasSuffix(param, '__refcounted_kptr')) return 'refcounted';
  return null;
}

/** What pointer parameter `index` takes; refuses types that no program can pass. */
export function argKind(env: Env, meta: KfuncMeta, index: number): KfuncArgKind {
  const { kfunc, row } = meta;
  const { btf, proto } = kfunc;
  const param = proto.params[index]!;
  const reg = env.reg(index + 1);
  if (row.returns === 'kernel_ctx') return 'ctx';
  const pointer = typeBehind(btf, param.type);
  const pointee = pointer?.kind === 'ptr' ? pointer.type : 0;
  if (isContextType(btf, pointee, env.request.progType)) return 'ctx';
  const suffixed = bySuffix(param, reg);
  if (suffixed !== null) return suffixed;
  const target = typeBehind(btf, pointee);
  const known = target?.kind === 'struct' ? BY_STRUCT[target.name] : undefined;
  if (known === 'dynptr') return known;
  const iterates = row.flags.has('iter_new') || row.flags.has('iter_next') || row.flags.has('iter_destroy');
  if (iterates ? index === 0 : hasSuffix(param, '__iter')) return 'iter';
  if (known !== undefined && known !== 'workqueue' && known !== 'task_work' && known !== 'res_spin_lock')
    return known;
  if (hasSuffix(param, '__str')) return 'const_str';
  if (hasSuffix(param, '__map')) return 'map';
  if (known === 'workqueue' || known === 'task_work') return known;
  if (hasSuffix(param, '__irq_flag')) return 'irq_flag';
  if (known === 'res_spin_lock') return known;
  if (reg.base === PTR_TO_BTF_ID || STRUCT_OF[reg.base] !== undefined) {
    if (target?.kind === 'struct' || target?.kind === 'union') return 'btf_id';
    failArg(
      env,
      kfunc,
      index,
      `kernel function ${kfunc.name} args#${index} pointer type ${kindText(target)} ${nameText(target)} is not supported`,
    );
  }
  if (target?.kind === 'func_proto') return 'callback';
  const next = proto.params[index + 1];
  const sized =
    next !== undefined &&
    (isSize(btf, next, env.reg(index + 2), '__sz') || isSize(btf, next, env.reg(index + 2), '__szk'));
  if (!isScalarType(target) && !isScalarStruct(env, btf, target) && !(sized && target === null)) {
    failArg(
      env,
      kfunc,
      index,
      `arg#${index} pointer type ${kindText(target)} ${nameText(target)} must point to ` +
        `${sized ? 'void, ' : ''}scalar, or struct with scalar`,
    );
  }
  return sized ? 'mem_size' : 'mem';
}
