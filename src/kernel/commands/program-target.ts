/** What PROG_LOAD and LINK_CREATE know of a program whose functions others replace or trace. */
import type { Btf } from '../../btf/index.ts';
import type { ExecutableProgram } from '../../contracts/engine.ts';
import type { SubprogInfo, TargetProgram, VerifiedProgram, VerifyRequest } from '../../contracts/verify.ts';
import { attachTypeByName } from '../../spec/index.ts';
import type { ProgTypeRow } from '../../spec/types.ts';
import { isContextType } from '../../verifier/index.ts';
import type { ProgObject, ProgramFunction, ProgramTarget } from '../objects.ts';

/** MAX_BPF_FUNC_REG_ARGS */
const MAX_ARGS = 5;

/** attach_prog_fd and attach_btf_id. */
export interface LoadTarget {
  readonly program: ProgObject;
  readonly btfId: number;
}

/** The program as the verifier sees it. */
export function describeTarget({ parts }: ProgObject): TargetProgram {
  return {
    progType: parts.type,
    expectedAttachType: parts.expectedAttachType,
    ...(parts.replaces === undefined ? {} : { replaces: parts.replaces.type }),
    ...(parts.btf === undefined ? {} : { btf: parts.btf.btf }),
    functions: parts.functions,
    jited: parts.jited,
    tracesTracing: parts.tracesTracing,
  };
}

/** A reference to what was found at load. */
export function taken(target: LoadTarget | undefined): ProgramTarget | undefined {
  if (target === undefined) return undefined;
  const { program, btfId } = target;
  program.get();
  return { program, btfId, index: program.parts.functions.findIndex(({ typeId }) => typeId === btfId) };
}

/** How many arguments a function is called with: what its types say, if they can be trusted. */
export function argumentsOf(btf: Btf | undefined, { typeId = 0, unreliable }: SubprogInfo): number {
  const func = btf === undefined || typeId === 0 || unreliable ? null : btf.type(typeId);
  const proto = func?.kind === 'func' ? btf!.type(func.type) : null;
  return proto?.kind === 'func_proto' ? Math.min(proto.params.length, MAX_ARGS) : MAX_ARGS;
}

/** Indexes of the arguments that point to the context of a type of program. */
function contextsOf(
  btf: Btf | undefined,
  { typeId = 0, unreliable }: SubprogInfo,
  type: ProgTypeRow,
): number[] {
  const func = btf === undefined || typeId === 0 || unreliable ? null : btf.type(typeId);
  const proto = func?.kind === 'func' ? btf!.type(func.type) : null;
  if (btf === undefined || proto?.kind !== 'func_proto') return [];
  return proto.params.slice(0, MAX_ARGS).flatMap((param, i) => {
    const pointer = param.type === 0 ? null : btf.resolved(param.type);
    return pointer?.kind === 'ptr' && isContextType(btf, pointer.type, type) ? [i] : [];
  });
}

/** The functions that are left after rewriting. */
export function functionsOf(
  { subprogs, request }: VerifiedProgram,
  program: ExecutableProgram,
  btf: Btf | undefined,
): ProgramFunction[] {
  return program.subprogs.map(({ start }): ProgramFunction => {
    const origin = program.origin[start] ?? 0;
    const info = subprogs.find((subprog) => subprog.start <= origin && origin < subprog.end)!;
    return {
      typeId: info.typeId ?? 0,
      args: argumentsOf(btf, info),
      contexts: contextsOf(btf, info, request.progType),
      ...(info.unreliable ? { unreliable: true } : {}),
      ...(info.changesPacket ? { changesPacket: true } : {}),
      ...(info.mightSleep ? { mightSleep: true } : {}),
      ...(info.exceptionCallback ? { exceptionCallback: true } : {}),
    };
  });
}

/**
 * Names the prototype of the function that a program attaches to; empty where it attaches to none, or to one that is called with anything.
 * The kernel compares addresses: the same id of the same types.
 */
export function attachProto(
  request: VerifyRequest,
  progType: ProgTypeRow,
  target: LoadTarget | undefined,
): string {
  const { attachBtfId = 0, expectedAttachType } = request;
  if (attachBtfId <= 0) return '';
  const types = target === undefined ? request.kernelBtf : target.program.parts.btf?.btf;
  if (types === undefined || attachBtfId >= types.typeCount) return '';
  if (target?.program.parts.functions.find(({ typeId }) => typeId === attachBtfId)?.unreliable) return '';
  const type = types.type(attachBtfId);
  const where = target === undefined ? 'kernel' : `program ${target.program.id}`;
  if (type.kind === 'struct')
    return `${where} ${type.members[expectedAttachType]?.type ?? 0} ${progType.name}`;
  if (type.kind === 'typedef') return `${where} ${types.resolve(type.type)}`;
  return type.kind === 'func' ? `${where} ${type.type}` : '';
}

const BEHIND = new Set(
  (['TRACE_FEXIT', 'MODIFY_RETURN', 'LSM_MAC'] as const).map((name) => attachTypeByName(name)!.id),
);

/** Words of the function that a program traces. */
export function tracedFunction(
  request: VerifyRequest,
  target: LoadTarget | undefined,
): { args: number; returned: boolean } {
  const { attachBtfId = 0, expectedAttachType } = request;
  const returned = BEHIND.has(expectedAttachType);
  const own = target?.program.parts.functions.find(({ typeId }) => typeId === attachBtfId);
  if (own !== undefined) return { args: own.args, returned };
  const btf = attachBtfId > 0 ? request.kernelBtf : undefined;
  const func =
    btf !== undefined && attachBtfId > 0 && attachBtfId < btf.typeCount ? btf.type(attachBtfId) : null;
  const proto = func?.kind === 'func' ? btf!.type(func.type) : null;
  if (proto?.kind !== 'func_proto') return { args: 0, returned: false };
  // A struct that is handed over in two registers counts as two.
  const args = proto.params.reduce((sum, { type }) => sum + Math.max(1, Math.ceil(btf!.sizeOf(type) / 8)), 0);
  return { args, returned };
}
