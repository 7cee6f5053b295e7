/**
 * Contexts of programs that attach to a BTF-typed function: the words are its arguments, and the kernel's BTF says what each
 * of them is. Kernel 6.18: btf_ctx_access.
 */
import type { Btf, BtfFuncProto } from '../../btf/index.ts';
import type { Env } from '../env.ts';
import { attachTypeName } from '../helper-table.ts';
import { kernelStructById } from '../kernel-types.ts';
import { PTR_TO_BTF_ID, PTR_TRUSTED, pointerReg, UNKNOWN_REG } from '../registers.ts';

interface Target {
  readonly btf: Btf;
  readonly proto: BtfFuncProto;
  readonly name: string;
  /** Arguments that the context does not show (the tracepoint's own data). */
  readonly skip: number;
}

function targetOf(env: Env): Target | null {
  const { kernelBtf, attachBtfId } = env.request;
  if (kernelBtf === undefined || attachBtfId === undefined || attachBtfId === 0) return null;
  let type = kernelBtf.type(attachBtfId);
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

/** Loads argument `off / 8` into register `value`. */
export function accessBtfArgument(env: Env, off: number, size: number, value: number): void {
  const target = targetOf(env);
  if (target === null) env.fail('EACCES', `invalid bpf_context access off=${off} size=${size}`);
  const { btf, proto, name, skip } = target;
  const arg = off >> 3;
  const params = proto.params.slice(skip);
  const isReturn = arg === params.length && attachTypeName(env) === 'TRACE_FEXIT';
  const param = isReturn ? { type: proto.returnType } : params[arg];
  if (param === undefined) {
    env.verbose(`func '${name}' doesn't have ${arg + 1}-th argument\n`);
    env.fail('EACCES', `invalid bpf_context access off=${off} size=${size}`);
  }
  const id = btf.resolve(param.type);
  const type = id === 0 ? null : btf.type(id);
  if (type === null || type.kind === 'int' || type.kind === 'enum' || type.kind === 'enum64') {
    env.setReg(value, UNKNOWN_REG);
    return;
  }
  if (type.kind !== 'ptr') {
    env.verbose(`func '${name}' arg${arg} type ${type.kind.toUpperCase()} is not a struct\n`);
    env.fail('EACCES', `invalid bpf_context access off=${off} size=${size}`);
  }
  if (size !== 8) env.fail('EACCES', `invalid bpf_context access off=${off} size=${size}`);
  const pointee = btf.resolve(type.type);
  const kind = pointee === 0 ? 'void' : btf.kind(pointee);
  if (kind !== 'struct' && kind !== 'union') {
    env.setReg(value, UNKNOWN_REG);
    return;
  }
  if (env.log.level !== 0) {
    env.verbose(
      `func '${name}' arg${arg} has btf_id ${pointee} type ${kind.toUpperCase()} '${btf.name(pointee)}'\n`,
    );
  }
  env.setReg(value, pointerReg(PTR_TO_BTF_ID | PTR_TRUSTED, { struct: kernelStructById(env, btf, pointee) }));
}
