/**
 * The local side of CO-RE: what an access string such as `0:2:1` of a relocation record means in the program's own BTF
 * (Documentation/bpf/llvm_reloc.rst, section CO-RE; libbpf's relo_core.c gives the meaning).
 */
import { BpfError } from '../util/index.ts';
import type { Btf } from './btf.ts';
import type { BtfCoreRelocation, CoreReloKind } from './ext.ts';
import { btfName } from './types.ts';

/** Longest access string, in steps (libbpf: BPF_CORE_SPEC_MAX_LEN). */
const MAX_STEPS = 64;

/** One step: a named member of a struct, or an array element. */
export interface CoreAccessor {
  /** The struct, union, array or enum it steps into. */
  readonly type: number;
  readonly index: number;
  /** Member or enumerator; undefined for array elements. */
  readonly name: string | undefined;
}

/** A resolved access in one BTF. */
export interface CoreSpec {
  readonly btf: Btf;
  readonly root: number;
  readonly accessors: readonly CoreAccessor[];
  readonly bitOffset: number;
}

const TYPE_KINDS: ReadonlySet<CoreReloKind> = new Set([
  'local_type_id',
  'target_type_id',
  'type_exists',
  'type_size',
  'type_matches',
]);

const ENUM_KINDS: ReadonlySet<CoreReloKind> = new Set(['enumval_exists', 'enumval_value']);

export function coreSubject(kind: CoreReloKind): 'type' | 'enum' | 'field' {
  return TYPE_KINDS.has(kind) ? 'type' : ENUM_KINDS.has(kind) ? 'enum' : 'field';
}

/** The name without a flavour suffix: `task_struct___old` is `task_struct`. */
export function essentialName(name: string): string {
  for (let at = name.length - 5; at >= 0; at--) {
    if (name.startsWith('___', at + 1) && name[at] !== '_' && name[at + 4] !== '_')
      return name.slice(0, at + 1);
  }
  return name;
}

/** An array without bound at the end of a struct, which may be indexed at will. */
export function isFlexibleArray(btf: Btf, parent: CoreAccessor | undefined, count: number): boolean {
  if (count > 0 || parent?.name === undefined) return false;
  const type = btf.resolved(parent.type);
  return (type.kind === 'struct' || type.kind === 'union') && parent.index === type.members.length - 1;
}

function bad(relocation: BtfCoreRelocation, what: string): BpfError {
  return new BpfError(
    'EINVAL',
    `CO-RE relocation ${relocation.kind} of type id ${relocation.type}, access '${relocation.access}': ${what}`,
  );
}

/** Parses the access string of a relocation. Errors: EINVAL where it does not fit the type. */
export function parseCoreSpec(btf: Btf, relocation: BtfCoreRelocation): CoreSpec {
  if (!/^\d{1,9}(:\d{1,9})*$/.test(relocation.access)) throw bad(relocation, 'is not numbers with colons');
  const steps = relocation.access.split(':').map(Number);
  if (steps.length > MAX_STEPS) throw bad(relocation, `more than ${MAX_STEPS} steps`);
  const first = steps[0]!;
  const subject = coreSubject(relocation.kind);
  if (subject === 'type') {
    if (steps.length !== 1 || first !== 0) throw bad(relocation, 'a type has no steps');
    return { btf, root: relocation.type, accessors: [], bitOffset: 0 };
  }
  const root = btf.resolve(relocation.type);
  if (subject === 'enum') {
    const type = btf.type(root);
    if (steps.length !== 1 || (type.kind !== 'enum' && type.kind !== 'enum64'))
      throw bad(relocation, 'is no enumerator');
    const value = type.values[first];
    if (value === undefined) throw bad(relocation, `enum '${type.name}' has ${type.values.length} values`);
    return {
      btf,
      root: relocation.type,
      accessors: [{ type: root, index: first, name: value.name }],
      bitOffset: 0,
    };
  }
  const accessors: CoreAccessor[] = [{ type: root, index: first, name: undefined }];
  let bitOffset = steps.length === 1 && first === 0 ? 0 : first * 8 * (first === 0 ? 0 : btf.sizeOf(root));
  let at = root;
  for (const step of steps.slice(1)) {
    at = btf.resolve(at);
    const type = btf.type(at);
    if (type.kind === 'struct' || type.kind === 'union') {
      const member = type.members[step];
      if (member === undefined)
        throw bad(relocation, `${type.kind} '${type.name}' has ${type.members.length} members`);
      bitOffset += member.bitOffset;
      if (member.name !== '') accessors.push({ type: at, index: step, name: member.name });
      at = member.type;
    } else if (type.kind === 'array') {
      if (step >= type.count && !isFlexibleArray(btf, accessors.at(-1), type.count)) {
        throw bad(relocation, `an array has ${type.count} elements`);
      }
      accessors.push({ type: btf.resolve(type.type), index: step, name: undefined });
      bitOffset += step * 8 * btf.sizeOf(type.type);
      at = type.type;
    } else {
      throw bad(relocation, `steps into ${type.kind} '${btfName(type)}'`);
    }
  }
  return { btf, root: relocation.type, accessors, bitOffset };
}

/** `<byte_off> [5] struct task_struct.pid (0:1 @ offset 4)`, as libbpf describes a relocation in its logs. */
export function describeCore(btf: Btf, relocation: BtfCoreRelocation): string {
  const kind = `<${relocation.kind}>`;
  const type = btf.type(relocation.type);
  const head = `${kind} [${relocation.type}] ${type.kind} ${btfName(type) || '<anon>'}`;
  let spec: CoreSpec;
  try {
    spec = parseCoreSpec(btf, relocation);
  } catch {
    return `${head} (${relocation.access})`;
  }
  if (coreSubject(relocation.kind) === 'type') return head;
  if (coreSubject(relocation.kind) === 'enum') return `${head}::${spec.accessors[0]!.name}`;
  let path = spec.accessors[0]!.index === 0 ? '' : `[${spec.accessors[0]!.index}]`;
  for (const accessor of spec.accessors.slice(1)) {
    path += accessor.name === undefined ? `[${accessor.index}]` : `.${accessor.name}`;
  }
  const bits = spec.bitOffset % 8 === 0 ? '' : `.${spec.bitOffset % 8}`;
  return `${head}${path} (${relocation.access} @ offset ${Math.floor(spec.bitOffset / 8)}${bits})`;
}
