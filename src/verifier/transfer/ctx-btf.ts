/**
 * Contexts of programs that attach to a BTF-typed function: the words are its arguments, and the kernel's BTF says what each
 * of them is. Kernel 6.18: btf_ctx_access.
 */
import type { Btf, BtfType } from '../../btf/index.ts';
import { type AttachTarget, argumentsTrusted, attachTarget, lsmReturnRange } from '../attach-target.ts';
import { isContextType, kernelContextId } from '../context-types.ts';
import { unknown, withBounds } from '../domain/index.ts';
import type { Env } from '../env.ts';
import { attachTypeName } from '../helper-table.ts';
import { kernelStructById } from '../kernel-types.ts';
import { btfKindName } from '../program-target.ts';
import {
  MAYBE_NULL,
  MEM_PERCPU,
  MEM_RDONLY,
  MEM_USER,
  PTR_TO_BTF_ID,
  PTR_TO_BUF,
  PTR_TRUSTED,
  pointerReg,
  scalarReg,
  UNKNOWN_REG,
} from '../registers.ts';
import { structOpsMember } from '../struct-ops.ts';
import { ERROR_TRACEPOINT_ARGS, ITER_ARGS, NULLABLE_TRACEPOINT_ARGS } from './ctx-args.ts';

/** Attach types whose return value is behind the last argument. */
/** MAX_BPF_FUNC_REG_ARGS */
const MAX_REGISTER_ARGS = 5;
const SHOWS_RETURN = new Set(['TRACE_FEXIT', 'LSM_MAC', 'LSM_CGROUP', 'MODIFY_RETURN']);

interface Argument {
  readonly target: AttachTarget;
  readonly index: number;
  readonly name: string;
  /** Type id of what the argument points to. */
  readonly pointee: number;
}

/** MEM_USER and MEM_PERCPU from the tag of the pointee. */
function tagFlags(btf: Btf, pointee: number): number {
  if (pointee === 0) return 0;
  const type = btf.type(pointee);
  if (type.kind !== 'type_tag') return 0;
  if (type.name === 'user') return MEM_USER;
  return type.name === 'percpu' ? MEM_PERCPU : 0;
}

function pointerFlags(env: Env, arg: Argument): number {
  const attachType = attachTypeName(env);
  const { name } = arg.target;
  if (attachType === 'TRACE_ITER') {
    const kind = ITER_ARGS[name.replace(/^bpf_iter_/, '')]?.[arg.name];
    if (kind !== undefined) return MAYBE_NULL | (kind === 'trusted' ? PTR_TRUSTED : 0);
  }
  let flags = argumentsTrusted(env) ? PTR_TRUSTED : 0;
  const stubName = arg.target.stub?.params[arg.index]?.name ?? '';
  if (arg.name.endsWith('__nullable') || stubName.endsWith('__nullable')) flags |= MAYBE_NULL;
  if (attachType === 'TRACE_RAW_TP' && NULLABLE_TRACEPOINT_ARGS[name]?.includes(arg.index))
    flags |= MAYBE_NULL;
  return flags | tagFlags(arg.target.btf, arg.pointee);
}

function loadPointer(env: Env, arg: Argument, value: number, off: number): void {
  const { btf, name } = arg.target;
  const attachType = attachTypeName(env);
  if (attachType === 'TRACE_ITER') {
    const kind = ITER_ARGS[name.replace(/^bpf_iter_/, '')]?.[arg.name];
    if (kind === 'rdonly_buf' || kind === 'rdwr_buf') {
      const type = PTR_TO_BUF | MAYBE_NULL | (kind === 'rdonly_buf' ? MEM_RDONLY : 0);
      env.setReg(value, pointerReg(type, { id: env.nextId() }));
      return;
    }
  }
  const resolved = arg.pointee === 0 ? 0 : btf.resolve(arg.pointee);
  const kind = resolved === 0 ? 'void' : btf.kind(resolved);
  if (kind === 'void' || kind === 'int') {
    env.setReg(value, UNKNOWN_REG);
    return;
  }
  if (arg.target.program !== undefined) {
    loadContext(env, arg, value, off);
    return;
  }
  if (kind !== 'struct' && kind !== 'union') {
    env.verbose(`func '${name}' arg${arg.index} type ${kind.toUpperCase()} is not a struct\n`);
    env.fail('EACCES', `invalid bpf_context access off=${off} size=8`, {
      kind: 'context_access',
      register: 1,
      region: 'context',
      offset: off,
      size: 8,
      detail: 'pointer of unknown type',
    });
  }
  const listed =
    attachType === 'TRACE_ITER' && ITER_ARGS[name.replace(/^bpf_iter_/, '')]?.[arg.name] !== undefined;
  if (env.log.level !== 0 && !listed) {
    env.verbose(
      `func '${name}' arg${arg.index} has btf_id ${resolved} type ${kind.toUpperCase()} '${btf.name(resolved)}'\n`,
    );
  }
  if (attachType === 'TRACE_RAW_TP' && ERROR_TRACEPOINT_ARGS[name]?.includes(arg.index)) {
    env.setReg(value, UNKNOWN_REG);
    return;
  }
  const flags = pointerFlags(env, arg);
  const id = (flags & MAYBE_NULL) !== 0 ? env.nextId() : 0;
  const refObjId = env.argumentRefs.get(arg.index) ?? 0;
  if (refObjId !== 0 && !env.cur.refs.some((ref) => ref.kind === 'ptr' && ref.id === refObjId)) {
    env.fail('EACCES', `invalid bpf_context access off=${off}. Reference may already be released`, {
      kind: 'release_unowned',
      register: 1,
      offset: off,
    });
  }
  const struct = kernelStructById(env, btf, promoted(env, btf, resolved));
  env.setReg(value, pointerReg(PTR_TO_BTF_ID | flags, { struct, id, refObjId }));
}

/** What the struct's operations know of a pointer beyond its type. */
function promoted(env: Env, btf: Btf, id: number): number {
  const name = structOpsMember(env)?.row?.promoted?.[btf.name(id)];
  return (name === undefined ? undefined : btf.find(name, 'struct')) ?? id;
}

const isSmallInt = (type: BtfType | null): boolean => type?.kind === 'int' && type.size <= 8;

/** Of a function of a program that may be called with anything: five numbers, and its result. */
function accessUntypedArgument(env: Env, off: number, size: number, value: number): void {
  const { target, attachBtfId = 0 } = env.request;
  const index = off >> 3;
  const attachType = attachTypeName(env) ?? '';
  const returned = index === MAX_REGISTER_ARGS && SHOWS_RETURN.has(attachType);
  if (index >= MAX_REGISTER_ARGS && !returned) {
    const name = target?.btf?.name(attachBtfId) ?? '';
    env.verbose(`func '${name}' doesn't have ${index + 1}-th argument\n`);
    noSuchArgument(env, off, size);
  }
  env.setReg(value, UNKNOWN_REG);
}

function noSuchArgument(env: Env, off: number, size: number): never {
  env.fail('EACCES', `invalid bpf_context access off=${off} size=${size}`, {
    kind: 'context_access',
    register: 1,
    region: 'context',
    offset: off,
    size,
    detail: 'argument',
  });
}

/** What the kernel has where a program of the type has its context. */
function loadContext(env: Env, arg: Argument, value: number, off: number): void {
  const { btf, program } = arg.target;
  const { kernelBtf } = env.request;
  const isContext = program !== undefined && isContextType(btf, arg.pointee, program);
  const id = isContext ? kernelContextId(env, program) : 0;
  if (kernelBtf === undefined || id === 0) noSuchArgument(env, off, 8);
  env.setReg(value, pointerReg(PTR_TO_BTF_ID, { struct: kernelStructById(env, kernelBtf, id) }));
}

/** Loads argument `off / 8` into register `value`. */
export function accessBtfArgument(env: Env, off: number, size: number, value: number): void {
  const target = attachTarget(env);
  if (target === null && env.request.target !== undefined) {
    accessUntypedArgument(env, off, size, value);
    return;
  }
  if (target === null)
    env.fail('EACCES', `invalid bpf_context access off=${off} size=${size}`, {
      kind: 'context_access',
      region: 'context',
      offset: off,
      size,
      detail: 'argument',
    });
  const { btf, proto, name, skip } = target;
  const index = off >> 3;
  const params = proto.params.slice(skip);
  const attachType = attachTypeName(env) ?? '';
  const returned = index === params.length && SHOWS_RETURN.has(attachType);
  const param = returned ? { name: '', type: proto.returnType } : params[index];
  if (param === undefined) {
    env.verbose(`func '${name}' doesn't have ${index + 1}-th argument\n`);
    env.fail('EACCES', `invalid bpf_context access off=${off} size=${size}`, {
      kind: 'context_access',
      region: 'context',
      offset: off,
      size,
      detail: 'argument',
    });
  }
  const ops = structOpsMember(env);
  const other = ops?.row?.argumentTypes?.[ops.member.name]?.[index];
  const otherId = other === undefined ? undefined : btf.find(other, 'struct');
  if (otherId !== undefined) {
    const struct = kernelStructById(env, btf, otherId);
    env.setReg(value, pointerReg(PTR_TO_BTF_ID | PTR_TRUSTED, { struct }));
    return;
  }
  const id = param.type === 0 ? 0 : btf.resolve(param.type);
  const type = id === 0 ? null : btf.type(id);
  if (returned && attachType === 'MODIFY_RETURN' && !isSmallInt(type)) {
    env.verbose(`ret type ${type === null ? 'UNKNOWN' : btfKindName(type)} not allowed for fmod_ret\n`);
    noSuchArgument(env, off, size);
  }
  if (type?.kind === 'ptr') {
    if (size !== 8) {
      env.verbose(`func '${name}' size ${size} must be 8\n`);
      env.fail('EACCES', `invalid bpf_context access off=${off} size=${size}`, {
        kind: 'context_access',
        region: 'context',
        offset: off,
        size,
        detail: 'argument',
      });
    }
    loadPointer(env, { target, index, name: param.name, pointee: type.type }, value, off);
    return;
  }
  if (type !== null && !['int', 'enum', 'enum64', 'struct', 'union'].includes(type.kind)) {
    env.verbose(
      `func '${name}' arg${index} '' has type ${type.kind.toUpperCase()}. Only pointer access is allowed\n`,
    );
    env.fail('EACCES', `invalid bpf_context access off=${off} size=${size}`, {
      kind: 'context_access',
      region: 'context',
      offset: off,
      size,
      detail: 'argument',
    });
  }
  const range = returned && attachType === 'LSM_MAC' ? lsmReturnRange(env) : null;
  if (range === null) {
    env.setReg(value, UNKNOWN_REG);
    return;
  }
  const v = withBounds(unknown(), {
    smin: BigInt(range.min),
    smax: BigInt(range.max),
    s32min: range.min,
    s32max: range.max,
  });
  env.setReg(value, scalarReg(v));
}
