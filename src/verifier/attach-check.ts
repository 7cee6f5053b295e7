/**
 * Whether a program may be loaded for what it is to attach to: the kind of thing, the function's prototype, lists of functions
 * that may not be traced or changed, and whether one may sleep there. Kernel 6.18: check_attach_btf_id, bpf_check_attach_target.
 */
import type { Btf, BtfType } from '../btf/index.ts';
import type { TargetProgram } from '../contracts/verify.ts';
import { mayBeMadeToFail, onAttachList, structOpsRow } from '../spec/index.ts';
import type { ErrnoName } from '../util/errno.ts';
import { refcountedArguments } from './attach-target.ts';
import type { Env } from './env.ts';
import { attachTypeName } from './helper-table.ts';
import { F_SLEEPABLE } from './limits.ts';
import { type AttachingProgram, findTarget, traces } from './program-target.ts';
import { ITER_ARGS } from './transfer/ctx-args.ts';

/** MAX_BPF_FUNC_ARGS, and the bytes of an argument that is handed over in registers. */
const MAX_ARGS = 12;
const MAX_ARG_SIZE = 16;

/** Whether the program may sleep is for its type and attach type to say. */
function checkSleepable(env: Env): void {
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
      !env.release.has('sleepable_by_attach_type') ||
      (attachType !== undefined && sleepableAttachTypes.includes(attachType)));
  if (asked && !may) env.fail('EINVAL', sleepableWords(env), { kind: 'program_sleeps' });
}

/** Which programs may sleep, in the words of the release. */
function sleepableWords(env: Env): string {
  const { release } = env;
  if (release.isSince('6.1'))
    return 'Only fentry/fexit/fmod_ret, lsm, iter, uprobe, and struct_ops programs can be sleepable';
  return release.isSince('5.18')
    ? 'Only fentry/fexit/fmod_ret, lsm, and kprobe/uprobe programs can be sleepable'
    : 'Only fentry/fexit/fmod_ret and lsm programs can be sleepable';
}

/** Bytes of a type that may be an argument or a result; -1 where it may not be. */
function sizeOfValue(btf: Btf, id: number): { size: number; type: BtfType | null } {
  if (id === 0) return { size: 0, type: null };
  const type = btf.resolved(id);
  if (type.kind === 'ptr') return { size: 8, type };
  const sized = ['int', 'enum', 'enum64', 'struct', 'union'].includes(type.kind) && 'size' in type;
  return { size: sized ? type.size : -1, type };
}

const kindName = (type: BtfType | null): string => (type?.kind ?? 'unknown').toUpperCase();

/** The trampoline has to know how arguments and result are handed over (kernel: btf_distill_func_proto). */
function checkPrototype(env: Env, btf: Btf, proto: BtfType, name: string): void {
  const refuse = (text: string): never =>
    env.fail('EINVAL', `The function ${name} ${text}`, {
      kind: 'attach_target',
      detail: 'prototype',
      function: name,
    });
  if (proto.kind !== 'func_proto') return;
  const { params } = proto;
  if (params.length > MAX_ARGS) refuse(`has ${params.length} arguments. Too many.`);
  const result = sizeOfValue(btf, proto.returnType);
  if (result.size < 0 || result.type?.kind === 'struct')
    refuse(`return type ${kindName(result.type)} is unsupported.`);
  params.forEach((param, i) => {
    if (param.type === 0 && i === params.length - 1) refuse('with variable args is unsupported.');
    const { size, type } = sizeOfValue(btf, param.type);
    const composed = type?.kind === 'struct' || type?.kind === 'union';
    const tooNew = composed && !env.release.has('struct_arguments');
    if (size < 0 || size > MAX_ARG_SIZE || tooNew) refuse(`arg${i} type ${kindName(type)} is unsupported.`);
    if (size === 0) refuse('has malformed void argument.');
  });
}

/** Programs that sleep, and those that change a result, are for few functions. */
function checkPlace(env: Env, btf: Btf, name: string, attachType: string | undefined): void {
  const release = env.release.name;
  // Kernels without error injection have not the function that asks for it.
  const canFail =
    btf.find('within_error_injection_list', 'func') !== undefined && mayBeMadeToFail(name, release);
  if ((env.request.flags & F_SLEEPABLE) !== 0) {
    const may =
      env.progTypeName === 'lsm'
        ? onAttachList('lsmSleepable', name, release)
        : (canFail && !onAttachList('failingAwake', name, release)) ||
          onAttachList('modifiableAsleep', name, release);
    if (!may)
      env.fail('EINVAL', `${name} is not sleepable`, {
        kind: 'attach_target',
        detail: 'awake',
        function: name,
      });
    return;
  }
  if (attachType !== 'MODIFY_RETURN') return;
  if (canFail || name.startsWith('security_') || onAttachList('modifiable', name, release)) return;
  env.fail('EINVAL', `${name}() is not modifiable`, {
    kind: 'attach_target',
    detail: 'result',
    function: name,
  });
}

function checkLsmHook(env: Env, id: number, name: string): void {
  if (!env.request.gplCompatible)
    env.fail('EINVAL', 'LSM programs must have a GPL compatible license', { kind: 'licence' });
  if (onAttachList('lsmDisabled', name, env.release.name))
    env.fail('EINVAL', `attach_btf_id ${id} points to disabled hook ${name}`, {
      kind: 'attach_target',
      detail: 'disabled',
      function: name,
    });
  if (!name.startsWith('bpf_lsm_') || onAttachList('lsmInternal', name, env.release.name))
    env.fail('EINVAL', `attach_btf_id ${id} points to wrong type name ${name}`, {
      kind: 'attach_target',
      detail: 'kind',
      function: name,
    });
}

/** Functions that the trampoline itself calls, and those that never return. */
function checkDenied(env: Env, name: string, attachType: string | undefined): void {
  const release = env.release.name;
  if (env.progTypeName === 'tracing' && onAttachList('tracingDenied', name, release)) {
    const reason = { kind: 'attach_target', detail: 'denied', function: name } as const;
    if (!env.release.has('words_for_denied_functions')) env.refuse('EINVAL', reason);
    env.fail('EINVAL', `Attaching tracing programs to function '${name}' is rejected.`, reason);
  }
  const afterwards = attachType === 'TRACE_FEXIT' || attachType === 'MODIFY_RETURN';
  if (afterwards && onAttachList('noReturn', name, release))
    env.fail(
      'EINVAL',
      `Attaching fexit/fmod_ret to __noreturn ${
        env.release.has('words_for_denied_functions') ? `function '${name}'` : 'functions'
      } is rejected.`,
      {
        kind: 'attach_target',
        detail: 'no_return',
        function: name,
      },
    );
}

function wrongKind(env: Env, id: number, name: string, text: string): never {
  env.fail('EINVAL', `attach_btf_id ${id} ${text}`, {
    kind: 'attach_target',
    detail: 'kind',
    function: name,
  });
}

/** What the program is, to whatever it attaches to. */
function attaching(env: Env): AttachingProgram {
  const { progType, flags, btf, jitRequested = true } = env.request;
  const main = env.subprogs[0]!;
  return {
    replaces: env.replaces,
    tracing: traces(progType),
    attachType: attachTypeName(env),
    sleepable: (flags & F_SLEEPABLE) !== 0,
    jitRequested,
    ...(btf === undefined ? {} : { btf }),
    typeId: main.typeId,
    changesPacket: main.changesPacket,
    mightSleep: main.mightSleep,
    nests: env.release.has('nested_tracing'),
  };
}

function checkProgramTarget(env: Env, target: TargetProgram): void {
  const found = findTarget(attaching(env), target, env.request.attachBtfId ?? 0);
  if ('detail' in found) {
    const reason = { kind: 'attach_target', detail: found.detail, function: found.function } as const;
    if (found.text === undefined) env.refuse('EINVAL', reason);
    env.fail('EINVAL', found.text, reason);
  }
  if (found.proto !== null) checkPrototype(env, target.btf!, found.proto, found.name);
  if (env.replaces) env.replace(target);
}

function checkTarget(env: Env): void {
  const { kernelBtf: btf, attachBtfId: id = 0, target } = env.request;
  if (target !== undefined) {
    checkProgramTarget(env, target);
    return;
  }
  if (id === 0)
    env.fail('EINVAL', 'Tracing programs must provide btf_id', { kind: 'attach_target', detail: 'none' });
  // Whoever has no types is told so where they are needed.
  if (btf === undefined) return;
  if (id < 0 || id >= btf.typeCount)
    env.fail('EINVAL', `attach_btf_id ${id >>> 0} is invalid`, { kind: 'attach_target', detail: 'unknown' });
  const type = btf.type(id);
  const name = 'name' in type ? type.name : '';
  if (env.replaces)
    env.fail('EINVAL', 'Cannot replace kernel functions', { kind: 'attach_target', detail: 'kernel' });
  const attachType = attachTypeName(env);
  if (attachType === 'TRACE_RAW_TP') {
    if (type.kind !== 'typedef') wrongKind(env, id, name, 'is not a typedef');
    if (!name.startsWith('btf_trace_')) wrongKind(env, id, name, `points to wrong type name ${name}`);
    return;
  }
  if (type.kind !== 'func') wrongKind(env, id, name, 'is not a function');
  checkPrototype(env, btf, btf.type(type.type), name);
  if (attachType === 'TRACE_ITER') {
    const iterator = /^bpf_iter_(.+)/.exec(name)?.[1];
    if (iterator === undefined || !Object.hasOwn(ITER_ARGS, iterator))
      env.refuse('EINVAL', { kind: 'attach_target', detail: 'kind', function: name });
    return;
  }
  checkPlace(env, btf, name, attachType);
  if (env.progTypeName === 'lsm') checkLsmHook(env, id, name);
  else checkDenied(env, name, attachType);
}

/** Member of a struct of functions: there must be one at the index, a function, that programs may stand in for. */
function checkMember(env: Env): void {
  const { kernelBtf: btf, attachBtfId: id = 0, expectedAttachType: index } = env.request;
  if (btf === undefined) return;
  const refuse = (errno: ErrnoName, text: string, name = 'the member'): never =>
    env.fail(errno, text, {
      kind: 'attach_target',
      detail: 'kind',
      function: name,
    });
  if (!env.request.gplCompatible)
    env.fail('EINVAL', 'struct ops programs must have a GPL compatible license', { kind: 'licence' });
  if (id === 0) env.refuse('ENOTSUPP', { kind: 'attach_target', detail: 'none' });
  const struct = id > 0 && id < btf.typeCount ? btf.type(id) : null;
  // Whatever may be implemented is wrapped in a struct of this name.
  if (struct?.kind !== 'struct' || btf.find(`bpf_struct_ops_${struct.name}`, 'struct') === undefined) {
    refuse('ENOTSUPP', `attach_btf_id ${id >>> 0} is not a supported struct`);
    return;
  }
  const { name } = struct;
  const member = struct.members[index];
  if (member === undefined) {
    refuse('EINVAL', `attach to invalid member idx ${index >>> 0} of struct ${name}`, name);
    return;
  }
  const pointer = btf.resolved(member.type);
  const proto = pointer.kind === 'ptr' && pointer.type !== 0 ? btf.resolved(pointer.type) : null;
  if (proto?.kind !== 'func_proto')
    refuse('EINVAL', `attach to invalid member ${member.name}(@idx ${index}) of struct ${name}`, member.name);
  const row = structOpsRow(name);
  const text = `attach to unsupported member ${member.name} of struct ${name}`;
  if (row?.unsupported?.includes(member.name)) refuse('ENOTSUPP', text, member.name);
  const asleep = (env.request.flags & F_SLEEPABLE) !== 0;
  if (asleep && row?.sleepable !== undefined && !row.sleepable.includes(member.name))
    refuse('EINVAL', text, member.name);
  if (refcountedArguments(env).length > 0 && env.subprogs.some(({ hasTailCall }) => hasTailCall)) {
    env.fail('EINVAL', 'program with __ref argument cannot tail call', {
      kind: 'function_not_allowed',
      function: 'bpf_tail_call',
    });
  }
}

/** Called once, before the program is explored. */
export function checkAttachTarget(env: Env): void {
  checkSleepable(env);
  const { name, needsAttachBtf } = env.request.progType;
  if (name === 'struct_ops') checkMember(env);
  else if (needsAttachBtf) checkTarget(env);
}
