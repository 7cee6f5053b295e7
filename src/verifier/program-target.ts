/**
 * Programs that attach to functions of other programs (attach_prog_fd): those that replace one, and those that look at its entry and exit.
 * Kernel 6.18: bpf_check_attach_target with a target program, btf_check_type_match. Used at load, and again at LINK_CREATE
 * where another target is named.
 */
import type { Btf, BtfComposite, BtfFuncProto, BtfType } from '../btf/index.ts';
import type { TargetFunction, TargetProgram } from '../contracts/verify.ts';
import { attachTypeById } from '../spec/index.ts';
import type { ProgTypeRow } from '../spec/types.ts';

/** What is asked of the program that attaches. */
export interface AttachingProgram {
  /** It replaces the function. */
  readonly replaces: boolean;
  /** It is of the type that traces. */
  readonly tracing: boolean;
  readonly attachType: string | undefined;
  readonly sleepable: boolean;
  readonly jitRequested: boolean;
  readonly btf?: Btf;
  /** BTF id of its own main function, 0 where it has none. */
  readonly typeId: number;
  readonly changesPacket: boolean;
  readonly mightSleep: boolean;
  /** It may trace a program that traces (since 6.9). */
  readonly nests: boolean;
}

/** Why it may not; without a text where the kernel's log says nothing. */
export interface TargetRefusal {
  readonly text?: string;
  readonly detail: string;
  readonly function: string;
}

export interface FoundTarget {
  readonly name: string;
  readonly function: TargetFunction;
  /** Index of the function in its program. */
  readonly index: number;
  /** Null where the function may be called with anything. */
  readonly proto: BtfFuncProto | null;
}

const MAY_ATTACH = new Set(['TRACE_FENTRY', 'TRACE_FEXIT', 'MODIFY_RETURN', 'LSM_MAC', 'LSM_CGROUP']);
const AROUND = new Set(['TRACE_FENTRY', 'TRACE_FEXIT']);

/** Whether programs of the type look at functions. */
export const traces = (type: ProgTypeRow): boolean => type.attachTypes?.includes('TRACE_FENTRY') === true;

export const btfKindName = (type: BtfType): string =>
  type.kind === 'void' ? 'UNKNOWN' : type.kind.toUpperCase();

/** The function that a BTF id names, or why the program may not attach to it. */
export function findTarget(
  program: AttachingProgram,
  target: TargetProgram,
  id: number,
): FoundTarget | TargetRefusal {
  const refuse = (text: string, detail: string, name = 'the target'): TargetRefusal => ({
    text,
    detail,
    function: name,
  });
  if (id === 0) return refuse('Tracing programs must provide btf_id', 'none');
  const { btf } = target;
  if (btf === undefined) {
    return refuse(
      'FENTRY/FEXIT program can only be attached to another program annotated with BTF',
      'untyped',
    );
  }
  if (id < 0 || id >= btf.typeCount) return refuse(`attach_btf_id ${id >>> 0} is invalid`, 'unknown');
  const type = btf.type(id);
  const name = 'name' in type ? type.name : '';
  if (name === '') return refuse(`attach_btf_id ${id} doesn't have a name`, 'unknown');
  const index = target.functions.findIndex(({ typeId }) => typeId === id);
  const found = target.functions[index];
  if (found === undefined) return refuse(`Subprog ${name} doesn't exist`, 'unknown', name);
  if (found.exceptionCallback && target.functions.length > 1) {
    const kind = program.replaces ? 'Extension' : 'FENTRY/FEXIT';
    return refuse(`${kind} programs cannot attach to exception callback`, 'kind', name);
  }
  const text = program.replaces ? cannotReplace(program, found) : null;
  if (text !== null) return refuse(text, 'kind', name);
  const nested = cannotNest(program, target);
  if (nested !== null) return refuse(nested, 'kind', name);
  return checkFunction(program, target, { name, function: found, index, type, id });
}

function cannotReplace(program: AttachingProgram, found: TargetFunction): string | null {
  if (found.unreliable) return 'Cannot replace static functions';
  if (!program.jitRequested) return 'Extension programs should be JITed';
  if (program.changesPacket && !found.changesPacket)
    return 'Extension program changes packet data, while original does not';
  if (program.mightSleep && !found.mightSleep) return 'Extension program may sleep, while original does not';
  return null;
}

/** Chains of programs that replace or trace one another stay short. */
function cannotNest(program: AttachingProgram, target: TargetProgram): string | null {
  if (!target.jited) return 'Can attach to only JITed progs';
  const targetReplaces = target.progType.replacesFunctions === true;
  if (program.tracing && !program.nests) {
    if (traces(target.progType)) return 'Cannot recursively attach';
  } else if (program.tracing) {
    if (target.tracesTracing) return 'Cannot nest tracing program attach more than once';
  } else if (program.replaces === targetReplaces) return 'Cannot recursively attach';
  // Whoever measures is not to be replaced.
  const around = traces(target.progType) && AROUND.has(attachTypeById(target.expectedAttachType)?.name ?? '');
  return program.replaces && around ? 'Cannot extend fentry/fexit' : null;
}

function checkFunction(
  program: AttachingProgram,
  target: TargetProgram,
  found: Omit<FoundTarget, 'proto'> & { readonly type: BtfType; readonly id: number },
): FoundTarget | TargetRefusal {
  const { name, type, index } = found;
  const btf = target.btf!;
  const refuse = (text?: string): TargetRefusal => ({
    ...(text === undefined ? {} : { text }),
    detail: 'kind',
    function: name,
  });
  if (program.attachType === 'TRACE_RAW_TP')
    return refuse('Only FENTRY/FEXIT progs are attachable to another BPF prog');
  if (!program.replaces && !MAY_ATTACH.has(program.attachType ?? '')) return refuse();
  if (type.kind !== 'func') return refuse(`attach_btf_id ${found.id} is not a function`);
  if (program.replaces) {
    const mismatch = prototypesDiffer(program, btf, type);
    if (mismatch !== null) return refuse(mismatch);
  }
  const proto = btf.type(type.type);
  if (proto.kind !== 'func_proto') return refuse();
  if (program.sleepable) return refuse(`${name} is not sleepable`);
  if (program.attachType === 'MODIFY_RETURN') return refuse("can't modify return codes of BPF programs");
  return { name, function: found.function, index, proto: found.function.unreliable ? null : proto };
}

interface Side {
  readonly btf: Btf;
  readonly name: string;
  readonly proto: BtfFuncProto;
}

/** Kind, number of items and flag of a type are one word to the kernel. */
function header(type: BtfType): string {
  if (type.kind === 'struct' || type.kind === 'union') return `${type.kind} ${type.members.length}`;
  if (type.kind === 'enum' || type.kind === 'enum64')
    return `${type.kind} ${type.values.length} ${type.signed}`;
  return type.kind === 'fwd' ? `fwd ${type.of}` : type.kind;
}

const typeOf = (btf: Btf, id: number): BtfType => (id === 0 ? { kind: 'void' } : btf.resolved(id));

/** What is wrong with putting the main function of `program` in the place of a function; null: nothing. */
function prototypesDiffer(program: AttachingProgram, btf: Btf, type: BtfType): string | null {
  const own = program.btf?.type(program.typeId);
  if (program.btf === undefined || own?.kind !== 'func' || type.kind !== 'func') return null;
  for (const func of [own, type]) {
    if (func.linkage !== 'global') return `${func.name}() is not a global function`;
  }
  const [ownProto, proto] = [program.btf.type(own.type), btf.type(type.type)];
  if (ownProto.kind !== 'func_proto' || proto.kind !== 'func_proto') return null;
  const a: Side = { btf: program.btf, name: own.name, proto: ownProto };
  const b: Side = { btf, name: type.name, proto };
  if (ownProto.params.length !== proto.params.length)
    return `${a.name}() has ${ownProto.params.length} args while ${b.name}() has ${proto.params.length} args`;
  const [returned, expected] = [typeOf(a.btf, ownProto.returnType), typeOf(btf, proto.returnType)];
  if (header(returned) !== header(expected)) {
    return `Return type ${btfKindName(returned)} of ${a.name}() doesn't match type ${btfKindName(expected)} of ${b.name}()`;
  }
  for (let i = 0; i < proto.params.length; i++) {
    const mismatch = argumentsDiffer(a, b, i);
    if (mismatch !== null) return mismatch;
  }
  return null;
}

const isComposite = (type: BtfType): type is BtfComposite => type.kind === 'struct' || type.kind === 'union';

function argumentsDiffer(a: Side, b: Side, i: number): string | null {
  const given = typeOf(a.btf, a.proto.params[i]!.type);
  const wanted = typeOf(b.btf, b.proto.params[i]!.type);
  if (header(given) !== header(wanted))
    return `arg${i} in ${a.name}() is ${btfKindName(given)} while ${b.name}() has ${btfKindName(wanted)}`;
  if ('size' in given && 'size' in wanted && given.size !== wanted.size)
    return `arg${i} in ${a.name}() has size ${given.size} while ${b.name}() has ${wanted.size}`;
  if (given.kind === 'int' || given.kind === 'enum' || given.kind === 'enum64') return null;
  if (given.kind !== 'ptr' || wanted.kind !== 'ptr') return `arg${i} in ${a.name}() has unrecognized type`;
  const [from, to] = [typeOf(a.btf, given.type), typeOf(b.btf, wanted.type)];
  if (!isComposite(from)) return `arg${i} in ${a.name}() is not a pointer to context`;
  if (!isComposite(to)) return `arg${i} in ${b.name}() is not a pointer to context`;
  if (from.name === to.name) return null;
  return `arg${i} ${a.name}(struct ${from.name} *) doesn't match ${b.name}(struct ${to.name} *)`;
}
