/**
 * The function of the kernel that a program attaches to, from its BTF: a function, a tracepoint, or a member of a struct of
 * functions (struct_ops), whose index is the expected attach type. Whether it may attach is for `attach-check.ts` to say.
 */
import type { Btf, BtfFuncProto } from '../btf/index.ts';
import type { TargetProgram } from '../contracts/verify.ts';
import { onAttachList } from '../spec/index.ts';
import type { ProgTypeRow } from '../spec/types.ts';
import type { Env } from './env.ts';
import { attachTypeName } from './helper-table.ts';
import type { RetvalRange } from './state.ts';

export interface AttachTarget {
  readonly btf: Btf;
  readonly proto: BtfFuncProto;
  readonly name: string;
  /** Arguments that the context does not show (the tracepoint's own data). */
  readonly skip: number;
  /** It is a function of a program, of this type: what it takes as its context is the kernel's own there. */
  readonly program?: ProgTypeRow;
  /** struct_ops: the stub whose parameter names say more of the arguments. */
  readonly stub?: BtfFuncProto;
}

function memberTarget(btf: Btf, structId: number, index: number): AttachTarget | null {
  const struct = btf.type(structId);
  const member = struct.kind === 'struct' ? struct.members[index] : undefined;
  if (struct.kind !== 'struct' || member === undefined) return null;
  const pointer = btf.resolved(member.type);
  const proto = pointer.kind === 'ptr' && pointer.type !== 0 ? btf.resolved(pointer.type) : null;
  if (proto?.kind !== 'func_proto') return null;
  const stubId = btf.find(`${struct.name}__${member.name}`, 'func');
  const func = stubId === undefined ? null : btf.type(stubId);
  const stub = func?.kind === 'func' ? btf.type(func.type) : null;
  const named = stub?.kind === 'func_proto' ? { stub } : {};
  return { btf, proto, name: member.name, skip: 0, ...named };
}

function programTarget(target: TargetProgram, id: number): AttachTarget | null {
  const { btf, progType, replaces } = target;
  const func = btf !== undefined && id > 0 && id < btf.typeCount ? btf.type(id) : null;
  const unreliable = target.functions.find(({ typeId }) => typeId === id)?.unreliable;
  if (btf === undefined || func?.kind !== 'func' || unreliable) return null;
  const proto = btf.type(func.type);
  if (proto.kind !== 'func_proto') return null;
  return { btf, proto, name: func.name, skip: 0, program: replaces ?? progType };
}

/** Null where the program attaches to no such thing, or nothing is known of it. */
export function attachTarget(env: Env): AttachTarget | null {
  const { attachBtfId, expectedAttachType, progType, target } = env.request;
  if (target !== undefined) return programTarget(target, attachBtfId ?? 0);
  if (attachBtfId === undefined || attachBtfId <= 0) return null;
  const { kernelBtf } = env.request;
  if (kernelBtf === undefined || attachBtfId >= kernelBtf.typeCount) return null;
  let type = kernelBtf.type(attachBtfId);
  if (progType.name === 'struct_ops') return memberTarget(kernelBtf, attachBtfId, expectedAttachType);
  const name = ('name' in type ? type.name : '').replace(/^btf_trace_/, '');
  let skip = 0;
  if (type.kind === 'typedef') {
    // btf_trace_NAME: a pointer to the tracepoint's callback, whose first argument is its private data.
    type = kernelBtf.resolved(type.type);
    if (type.kind === 'ptr') type = kernelBtf.resolved(type.type);
    skip = 1;
  } else if (type.kind === 'func') {
    type = kernelBtf.type(type.type);
  }
  return type.kind === 'func_proto' ? { btf: kernelBtf, proto: type, name, skip } : null;
}

const REFCOUNTED = '__ref';

/** Indexes of the arguments that come with a reference: their stub says so in their names. */
export function refcountedArguments(env: Env): number[] {
  const params = attachTarget(env)?.stub?.params ?? [];
  return params.flatMap(({ name }, i) => (name.endsWith(REFCOUNTED) && name !== REFCOUNTED ? [i] : []));
}

/** Programs behind functions without a result need not have one. Those for control groups have one, which says nothing. */
export function returnsVoid(env: Env): boolean {
  const { name } = env.request.progType;
  if (name !== 'struct_ops' && (name !== 'lsm' || attachTypeName(env) === 'LSM_CGROUP')) return false;
  return attachTarget(env)?.proto.returnType === 0;
}

/** Whether the program is on an LSM hook without a result, for a control group. */
export function isVoidCgroupHook(env: Env): boolean {
  return (
    env.progTypeName === 'lsm' &&
    attachTypeName(env) === 'LSM_CGROUP' &&
    attachTarget(env)?.proto.returnType === 0
  );
}

const BOOL: RetvalRange = { min: 0, max: 1, narrow: true };
const ERROR: RetvalRange = { min: -4095, max: 0, narrow: true };

/** What a hook of the LSM returns; null: nothing, or anything. */
export function lsmReturnRange(env: Env): RetvalRange | null {
  if (env.replaces || !env.release.has('lsm_return_values')) return null;
  const target = attachTarget(env);
  if (target?.proto.returnType === 0) return null;
  return target !== null && onAttachList('lsmBool', target.name, env.release.name) ? BOOL : ERROR;
}

/** Whether arguments that are pointers are alive while the program runs (kernel: prog_args_trusted). */
export function argumentsTrusted(env: Env): boolean {
  const attachType = attachTypeName(env);
  const { name } = env.request.progType;
  if (name === 'struct_ops') return true;
  if (name === 'tracing') return attachType === 'TRACE_RAW_TP' || attachType === 'TRACE_ITER';
  if (name !== 'lsm') return false;
  if (attachType === 'LSM_CGROUP' && !env.release.has('trusted_arguments_of_cgroups')) return false;
  const target = attachTarget(env);
  return target !== null && !onAttachList('lsmUntrusted', target.name, env.release.name);
}
