/**
 * The program's own BTF: function and line records must fit the instructions, and the prototypes of global functions say
 * what their arguments are. Kernel 6.18: check_btf_func, check_btf_line, btf_prepare_func_args.
 */
import type { Btf, BtfType } from '../btf/index.ts';
import { RULES } from '../spec/index.ts';
import type { Env, SubprogArg } from './env.ts';
import { kernelStruct } from './kernel-types.ts';
import { Refusal } from './refusal.ts';

function typeOrNull(btf: Btf, id: number): BtfType | null {
  try {
    return btf.type(id);
  } catch {
    return null;
  }
}

/** Records in order, each with the BTF of a function. Runs before subprograms are known. */
/** A prototype that says nothing about the arguments. */
const UNFIT = { kind: 'global_function' } as const;

export function checkFuncInfoEarly(env: Env): void {
  const { btf, funcInfo } = env.request;
  if (btf === undefined || funcInfo === undefined) return;
  let previous = 0;
  funcInfo.forEach((record, i) => {
    if (i === 0) {
      if (record.insn !== 0)
        env.fail('EINVAL', `nonzero insn_off ${record.insn} for the first func info record`, {
          kind: 'debug_info',
        });
    } else if (record.insn <= previous) {
      env.fail(
        'EINVAL',
        `same or smaller insn offset (${record.insn}) than previous func info record (${previous})`,
        { kind: 'debug_info' },
      );
    }
    const type = typeOrNull(btf, record.typeId);
    if (type?.kind !== 'func')
      env.fail('EINVAL', `invalid type id ${record.typeId} in func info`, { kind: 'debug_info' });
    previous = record.insn;
  });
}

function checkWithoutBtf(env: Env): void {
  for (const subprog of env.subprogs.slice(1)) {
    if (subprog.hasLdAbs)
      env.fail('EINVAL', 'LD_ABS is not allowed in subprogs without BTF', {
        kind: 'debug_info',
        detail: 'functions',
      });
    if (subprog.hasTailCall)
      env.fail('EINVAL', 'tail_call is not allowed in subprogs without BTF', {
        kind: 'debug_info',
        detail: 'functions',
      });
  }
}

function returnsScalar(btf: Btf, protoId: number): boolean {
  const proto = btf.type(protoId);
  if (proto.kind !== 'func_proto' || proto.returnType === 0) return false;
  const type = btf.resolved(proto.returnType);
  return (type.kind === 'int' && type.size <= 8) || type.kind === 'enum' || type.kind === 'enum64';
}

/** Functions and their records are the same ones. */
export function checkFuncInfo(env: Env): void {
  const { btf, funcInfo } = env.request;
  if (btf === undefined || funcInfo === undefined || funcInfo.length === 0) {
    checkWithoutBtf(env);
    return;
  }
  if (funcInfo.length !== env.subprogs.length) {
    env.fail('EINVAL', "number of funcs in func_info doesn't match number of subprogs", {
      kind: 'debug_info',
    });
  }
  funcInfo.forEach((record, i) => {
    const subprog = env.subprogs[i]!;
    if (record.insn !== subprog.start) {
      env.fail('EINVAL', "func_info BTF section doesn't match subprog layout in BPF program", {
        kind: 'debug_info',
      });
    }
    const type = btf.type(record.typeId);
    if (type.kind !== 'func') return;
    subprog.typeId = record.typeId;
    subprog.name = type.name;
    const alone = type.linkage === 'global' && env.release.has('global_functions');
    subprog.linkage = alone ? 'global' : 'static';
    if (i === 0 || returnsScalar(btf, type.type)) return;
    if (subprog.hasLdAbs)
      env.fail('EINVAL', "LD_ABS is only allowed in functions that return 'int'.", {
        kind: 'debug_info',
        detail: 'functions',
      });
    if (subprog.hasTailCall)
      env.fail('EINVAL', "tail_call is only allowed in functions that return 'int'.", {
        kind: 'debug_info',
        detail: 'functions',
      });
  });
}

/** Line records ascend, point to instructions, and every function starts with one. */
export function checkLineInfo(env: Env): void {
  const { lineInfo } = env.request;
  if (lineInfo === undefined || lineInfo.length === 0) return;
  let previous = 0;
  let next = 0;
  lineInfo.forEach((line, i) => {
    if ((i > 0 && line.insn <= previous) || line.insn >= env.count) {
      env.fail(
        'EINVAL',
        `Invalid line_info[${i}].insn_off:${line.insn} (prev_offset:${previous} prog->len:${env.count})`,
        { kind: 'debug_info' },
      );
    }
    if (env.insns[line.insn]!.code === 0)
      env.fail('EINVAL', `Invalid insn code at line_info[${i}].insn_off`, { kind: 'debug_info' });
    const subprog = env.subprogs[next];
    if (subprog !== undefined) {
      if (line.insn === subprog.start) next++;
      else if (subprog.start < line.insn)
        env.fail('EINVAL', `missing bpf_line_info for func#${next}`, { kind: 'debug_info' });
    }
    previous = line.insn;
  });
  if (next !== env.subprogs.length) {
    env.fail(
      'EINVAL',
      `missing bpf_line_info for ${env.subprogs.length - next} funcs starting from func#${next}`,
      { kind: 'debug_info' },
    );
  }
}

/** Tags of a parameter: `__arg_ctx` & co. of libbpf, as `arg:ctx` decl tags. */
function argTags(btf: Btf, funcId: number, index: number): ReadonlySet<string> {
  const tags = new Set<string>();
  for (let id = 1; id < btf.typeCount; id++) {
    if (btf.kind(id) !== 'decl_tag') continue;
    const tag = btf.type(id);
    if (
      tag.kind === 'decl_tag' &&
      tag.type === funcId &&
      tag.componentIndex === index &&
      tag.name.startsWith('arg:')
    ) {
      tags.add(tag.name.slice(4));
    }
  }
  return tags;
}

/** Contexts that a program type also knows by another name. */
const CTX_ALIASES: Readonly<Record<string, readonly string[]>> = {
  pt_regs: ['user_pt_regs', 'bpf_user_pt_regs_t'],
  bpf_perf_event_data: ['pt_regs', 'bpf_user_pt_regs_t'],
  bpf_raw_tracepoint_args: ['bpf_raw_tracepoint_args'],
};

/** Whether a pointer to the named type is one to the program's context. */
function isCtxName(env: Env, name: string): boolean {
  const wanted = env.request.progType.ctx.struct;
  return name === wanted || CTX_ALIASES[wanted]?.includes(name) === true;
}

/** Name of the type behind a pointer: the first name on the way through typedefs, else the struct's. */
function pointeeNames(btf: Btf, id: number): string[] {
  const names: string[] = [];
  for (let at = id, depth = 0; depth < 32 && at !== 0; depth++) {
    const type = btf.type(at);
    if (type.kind === 'typedef') names.push(type.name);
    else if (type.kind === 'struct' || type.kind === 'union' || type.kind === 'fwd') names.push(type.name);
    if (
      type.kind !== 'typedef' &&
      type.kind !== 'const' &&
      type.kind !== 'volatile' &&
      type.kind !== 'restrict' &&
      type.kind !== 'type_tag'
    ) {
      break;
    }
    at = type.type;
  }
  return names;
}

/** `task_struct` for `task_struct___mine`: CO-RE flavours stand for the kernel's struct. */
function flavorless(names: readonly string[]): string {
  return (names[names.length - 1] ?? '').replace(/___.*$/, '');
}

interface ArgContext {
  readonly env: Env;
  readonly btf: Btf;
  readonly isGlobal: boolean;
  readonly function: string;
}

/** The kernel has exactly one type of that name. */
function checkKernelName({ env, btf }: ArgContext, pointee: number, index: number, name: string): void {
  const { kernelBtf } = env.request;
  if (kernelBtf === undefined) return;
  const id = btf.resolve(pointee);
  const kind = btf.kind(id);
  const count = kernelBtf.findAll(name, kind).length;
  if (count === 1) return;
  env.verbose(
    `arg#${index} reference type('${typeText(btf, id)}') ${count === 0 ? 'has no matches' : 'is ambiguous'}\n`,
  );
  throw new Refusal(count === 0 ? 'ENOENT' : 'ESRCH', UNFIT);
}

function pointerArg(c: ArgContext, pointee: number, index: number, tags: ReadonlySet<string>): SubprogArg {
  const { env, btf, isGlobal } = c;
  const names = pointeeNames(btf, pointee);
  const nullable = tags.has('nullable');
  if (tags.has('ctx') || names.some((name) => isCtxName(env, name))) return { kind: 'ctx' };
  if (names.includes('bpf_dynptr') || names.includes('bpf_dynptr_kern')) return { kind: 'dynptr' };
  if (tags.has('untrusted')) {
    if (tags.size > 1)
      env.fail('EINVAL', `arg#${index} untrusted cannot be combined with any other tags`, {
        kind: 'global_function',
      });
    const target = pointee === 0 ? 0 : btf.resolve(pointee);
    const kind = target === 0 ? 'void' : btf.kind(target);
    if (kind === 'void' || kind === 'int' || kind === 'enum' || kind === 'enum64' || kind === 'float') {
      return { kind: 'mem', untrusted: true, rdonly: true, memSize: 0 };
    }
    checkKernelName(c, pointee, index, flavorless(names));
    return { kind: 'btf_id', untrusted: true, struct: kernelStruct(env, flavorless(names)) };
  }
  if (tags.has('trusted')) {
    checkKernelName(c, pointee, index, flavorless(names));
    return { kind: 'btf_id', nullable, trusted: true, struct: kernelStruct(env, flavorless(names)) };
  }
  if (tags.has('arena')) return { kind: 'arena' };
  if (isGlobal) {
    let size: number | null = null;
    try {
      size = pointee === 0 ? null : btf.sizeOf(pointee);
    } catch {
      size = null;
    }
    if (size === null) {
      env.verbose(
        `arg#${index} reference type('${typeText(btf, pointee)}') size cannot be determined: -22\n`,
      );
      throw new Refusal('EINVAL', UNFIT);
    }
    return { kind: 'mem', nullable: !tags.has('nonnull'), memSize: size };
  }
  // Static functions are followed with what they are given: their BTF need not say more.
  throw new Refusal('EINVAL', UNFIT);
}

function typeText(btf: Btf, id: number): string {
  const resolved = id === 0 ? 0 : btf.resolve(id);
  if (resolved === 0) return 'UNKNOWN ';
  const type = btf.type(resolved);
  const name = 'name' in type ? type.name : '';
  return `${type.kind.toUpperCase()} ${name}`;
}

/** What R1–R5 of the function are, from its prototype; computed once. */
export function prepareArgs(env: Env, index: number): readonly SubprogArg[] {
  const subprog = env.subprogs[index]!;
  if (subprog.args !== undefined) return subprog.args;
  const { btf } = env.request;
  if (btf === undefined || subprog.typeId === 0) throw new Refusal('EINVAL', UNFIT);
  const func = btf.type(subprog.typeId);
  const proto = func.kind === 'func' ? btf.type(func.type) : null;
  if (proto?.kind !== 'func_proto') throw new Refusal('EFAULT', UNFIT);
  const isGlobal = subprog.linkage === 'global';
  if (proto.params.length > 5) {
    if (!isGlobal) throw new Refusal('EINVAL', UNFIT);
    env.fail(
      'EINVAL',
      `Global function ${subprog.name}() with ${proto.params.length} > 5 args. Buggy compiler.`,
      { kind: 'global_function', function: subprog.name },
    );
  }
  const c: ArgContext = { env, btf, isGlobal, function: subprog.name };
  if (!returnsScalar(btf, func.kind === 'func' ? func.type : 0)) {
    if (!isGlobal) throw new Refusal('EINVAL', UNFIT);
    env.fail('EINVAL', `Global function ${subprog.name}() doesn't return scalar. Only those are supported.`, {
      kind: 'global_function',
      function: subprog.name,
    });
  }
  const args = proto.params.map((param, i): SubprogArg => {
    if (param.type === 0) throw new Refusal('EINVAL', UNFIT);
    const type = btf.resolved(param.type);
    if (type.kind === 'ptr') {
      const arg = pointerArg(c, type.type, i, argTags(btf, subprog.typeId, i));
      if (arg.kind === 'ctx' || !isGlobal || env.release.has('global_memory_arguments')) return arg;
      return env.fail('EINVAL', `Arg#${i} type PTR in ${subprog.name}() is not supported yet.`, {
        kind: 'global_function',
        function: subprog.name,
        needs: RULES.global_memory_arguments,
      });
    }
    if (type.kind === 'int' || type.kind === 'enum' || type.kind === 'enum64') return { kind: 'scalar' };
    if (!isGlobal) throw new Refusal('EINVAL', UNFIT);
    return env.fail(
      'EINVAL',
      `Arg#${i} type ${type.kind.toUpperCase()} in ${subprog.name}() is not supported yet.`,
      { kind: 'global_function', function: subprog.name },
    );
  });
  subprog.args = args;
  return args;
}
