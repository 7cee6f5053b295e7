/**
 * The function of the kernel that a program attaches to, from its BTF: a function, a tracepoint, or a member of a struct of
 * functions (struct_ops), whose index is the expected attach type.
 */
import type { Btf, BtfFuncProto } from '../btf/index.ts';
import type { Env } from './env.ts';
import { attachTypeName } from './helper-table.ts';
import { F_SLEEPABLE } from './limits.ts';

export interface AttachTarget {
  readonly btf: Btf;
  readonly proto: BtfFuncProto;
  readonly name: string;
  /** Arguments that the context does not show (the tracepoint's own data). */
  readonly skip: number;
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

/** Null where the program attaches to no such thing, or nothing is known of it. */
export function attachTarget(env: Env): AttachTarget | null {
  const { kernelBtf, attachBtfId, expectedAttachType, progType } = env.request;
  if (kernelBtf === undefined || attachBtfId === undefined) return null;
  if (attachBtfId <= 0 || attachBtfId >= kernelBtf.typeCount) return null;
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

/** Programs behind functions without a result need not have one. */
export function returnsVoid(env: Env): boolean {
  const { name } = env.request.progType;
  if (name !== 'lsm' && name !== 'struct_ops') return false;
  return attachTarget(env)?.proto.returnType === 0;
}

/** Name of the struct_ops that the program is a member of. */
export function structOpsName(env: Env): string | undefined {
  const { kernelBtf, attachBtfId, progType } = env.request;
  if (progType.name !== 'struct_ops' || kernelBtf === undefined || attachBtfId === undefined)
    return undefined;
  return attachBtfId > 0 && attachBtfId < kernelBtf.typeCount ? kernelBtf.name(attachBtfId) : undefined;
}

/** Whether the program may sleep is for its type and attach type to say. */
export function checkSleepable(env: Env): void {
  const { progType, flags } = env.request;
  const asked = (flags & F_SLEEPABLE) !== 0;
  if (progType.mustSleep) {
    if (!asked)
      env.fail('EINVAL', 'Syscall programs can only be sleepable', {
        kind: 'program_sleeps',
        detail: 'required',
      });
    return;
  }
  const { sleepable, sleepableAttachTypes } = progType;
  const attachType = attachTypeName(env);
  const may =
    sleepable &&
    (sleepableAttachTypes === undefined ||
      (attachType !== undefined && sleepableAttachTypes.includes(attachType)));
  if (asked && !may)
    env.fail(
      'EINVAL',
      'Only fentry/fexit/fmod_ret, lsm, iter, uprobe, and struct_ops programs can be sleepable',
      { kind: 'program_sleeps' },
    );
}
