/**
 * The target side of CO-RE: which types of the kernel's BTF a local type may stand for, and where the same access leads
 * there. The rules of compatibility are libbpf's: names count for structs, unions and enums, sizes never do.
 */
import { BTF_MAX_DEPTH, type Btf } from './btf.ts';
import {
  type CoreAccessor,
  type CoreSpec,
  coreSubject,
  essentialName,
  isFlexibleArray,
} from './core-spec.ts';
import type { CoreReloKind } from './ext.ts';
import { type BtfType, btfName } from './types.ts';

const FLAVOURS = new WeakMap<Btf, ReadonlyMap<string, readonly number[]>>();

/** Types whose name has a flavour suffix, by essential name. */
function flavours(btf: Btf): ReadonlyMap<string, readonly number[]> {
  const known = FLAVOURS.get(btf);
  if (known !== undefined) return known;
  const result = new Map<string, number[]>();
  for (const [name, ids] of btf.namesWith('___')) {
    const essential = essentialName(name);
    if (essential !== name) result.set(essential, [...(result.get(essential) ?? []), ...ids]);
  }
  FLAVOURS.set(btf, result);
  return result;
}

function isEnum(type: BtfType): boolean {
  return type.kind === 'enum' || type.kind === 'enum64';
}

function isComposite(type: BtfType): boolean {
  return type.kind === 'struct' || type.kind === 'union';
}

function sameKind(a: BtfType, b: BtfType): boolean {
  return a.kind === b.kind || (isEnum(a) && isEnum(b));
}

/** Types of the target that have the local type's kind and name. */
export function coreCandidates(local: Btf, id: number, target: Btf): number[] {
  const type = local.type(id);
  const name = essentialName(btfName(type));
  if (name === '') return [];
  const ids = [...target.findAll(name), ...(flavours(target).get(name) ?? [])];
  return ids.filter((candidate) => sameKind(type, target.type(candidate)));
}

/** Whether a field of one type can be read as the other. */
function fieldsCompatible(local: Btf, localId: number, target: Btf, targetId: number, depth = 0): boolean {
  if (depth > BTF_MAX_DEPTH) return false;
  const a = local.resolved(localId);
  const b = target.resolved(targetId);
  if (isComposite(a) && isComposite(b)) return true;
  if (!sameKind(a, b)) return false;
  switch (a.kind) {
    case 'ptr':
    case 'float':
      return true;
    case 'fwd':
    case 'enum':
    case 'enum64': {
      const names = [essentialName(btfName(a)), essentialName(btfName(b))];
      return names[0] === '' || names[1] === '' || names[0] === names[1];
    }
    case 'int':
      return a.bitOffset === 0 && b.kind === 'int' && b.bitOffset === 0;
    case 'array':
      return b.kind === 'array' && fieldsCompatible(local, a.type, target, b.type, depth + 1);
    default:
      return false;
  }
}

/** Whether two types are alike for type_exists, type_size and target_type_id. */
export function typesCompatible(
  local: Btf,
  localId: number,
  target: Btf,
  targetId: number,
  depth = 0,
): boolean {
  if (depth > BTF_MAX_DEPTH) return false;
  const a = local.resolved(localId);
  const b = target.resolved(targetId);
  if (!sameKind(a, b)) return false;
  switch (a.kind) {
    case 'void':
    case 'struct':
    case 'union':
    case 'enum':
    case 'enum64':
    case 'fwd':
    case 'float':
      return true;
    case 'int':
      return a.bitOffset === 0 && b.kind === 'int' && b.bitOffset === 0;
    case 'ptr':
    case 'array':
      return 'type' in b && typesCompatible(local, a.type, target, b.type, depth + 1);
    case 'func_proto':
      return (
        b.kind === 'func_proto' &&
        a.params.length === b.params.length &&
        a.params.every((param, i) =>
          typesCompatible(local, param.type, target, b.params[i]!.type, depth + 1),
        ) &&
        typesCompatible(local, a.returnType, target, b.returnType, depth + 1)
      );
    default:
      return false;
  }
}

/** type_matches: every member and enumerator of the local type exists in the target, with a matching type. */
function typesMatch(
  local: Btf,
  localId: number,
  target: Btf,
  targetId: number,
  budget: { left: number },
  behindPointer = false,
  depth = 0,
): boolean {
  if (depth > BTF_MAX_DEPTH || --budget.left < 0) return false;
  const a = local.resolved(localId);
  const b = target.resolved(targetId);
  const names = [essentialName(btfName(a)), essentialName(btfName(b))];
  // Structs behind pointers are compared by name alone: a forward declaration will do.
  const named = (type: BtfType): boolean => isComposite(type) || type.kind === 'fwd';
  if (behindPointer && named(a) && named(b)) return names[0] === names[1];
  if (!sameKind(a, b)) return false;
  const deeper = (localType: number, targetType: number, pointer: boolean): boolean =>
    typesMatch(local, localType, target, targetType, budget, pointer, depth + 1);
  switch (a.kind) {
    case 'void':
      return true;
    case 'int':
      return b.kind === 'int' && (names[0] === names[1] || (a.size === b.size && a.signed === b.signed));
    case 'float':
      return names[0] === names[1];
    case 'enum':
    case 'enum64': {
      if (!isEnum(b) || names[0] !== names[1]) return false;
      const values = new Set((b as typeof a).values.map((value) => essentialName(value.name)));
      return a.values.every((value) => values.has(essentialName(value.name)));
    }
    case 'fwd':
      return b.kind === 'fwd' && names[0] === names[1] && a.of === b.of;
    case 'struct':
    case 'union': {
      if (!isComposite(b) || names[0] !== names[1]) return false;
      const candidates = (b as typeof a).members;
      return a.members.every((member) =>
        candidates.some(
          (candidate) =>
            essentialName(member.name) === essentialName(candidate.name) &&
            deeper(member.type, candidate.type, false),
        ),
      );
    }
    case 'ptr':
      return b.kind === 'ptr' && deeper(a.type, b.type, true);
    case 'array':
      return b.kind === 'array' && a.count === b.count && deeper(a.type, b.type, false);
    case 'func_proto':
      return (
        b.kind === 'func_proto' &&
        a.params.length === b.params.length &&
        a.params.every((param, i) => deeper(param.type, b.params[i]!.type, false)) &&
        deeper(a.returnType, b.returnType, false)
      );
    default:
      return false;
  }
}

interface Found {
  readonly accessor: CoreAccessor;
  readonly bitOffset: number;
  readonly type: number;
}

/** A member by name in the target, through anonymous structs and unions. */
function matchMember(
  target: Btf,
  targetId: number,
  name: string,
  compatible: (type: number) => boolean,
  budget: { left: number },
  depth = 0,
): Found | undefined {
  if (depth > BTF_MAX_DEPTH) return undefined;
  const at = target.resolve(targetId);
  const type = target.type(at);
  if (type.kind !== 'struct' && type.kind !== 'union') return undefined;
  for (let index = 0; index < type.members.length; index++) {
    if (--budget.left < 0) return undefined;
    const member = type.members[index]!;
    if (member.name === '') {
      const inner = matchMember(target, member.type, name, compatible, budget, depth + 1);
      if (inner !== undefined) return { ...inner, bitOffset: inner.bitOffset + member.bitOffset };
    } else if (member.name === name) {
      if (!compatible(member.type)) return undefined;
      return { accessor: { type: at, index, name }, bitOffset: member.bitOffset, type: member.type };
    }
  }
  return undefined;
}

/** The same access on a candidate of the target, or undefined where it does not exist there. */
export function matchCoreSpec(
  local: CoreSpec,
  kind: CoreReloKind,
  target: Btf,
  candidate: number,
): CoreSpec | undefined {
  const subject = coreSubject(kind);
  const budget = { left: 200_000 };
  if (subject === 'type') {
    const fits =
      kind === 'type_matches'
        ? typesMatch(local.btf, local.root, target, candidate, budget)
        : typesCompatible(local.btf, local.root, target, candidate);
    return fits ? { btf: target, root: candidate, accessors: [], bitOffset: 0 } : undefined;
  }
  if (subject === 'enum') {
    const at = target.resolve(candidate);
    const type = target.type(at);
    if (type.kind !== 'enum' && type.kind !== 'enum64') return undefined;
    const wanted = essentialName(local.accessors[0]!.name ?? '');
    const index = type.values.findIndex((value) => essentialName(value.name) === wanted);
    if (index < 0) return undefined;
    return { btf: target, root: candidate, accessors: [{ type: at, index, name: wanted }], bitOffset: 0 };
  }
  const accessors: CoreAccessor[] = [];
  let at = target.resolve(candidate);
  let bitOffset = 0;
  for (const step of local.accessors) {
    at = target.resolve(at);
    if (step.name !== undefined) {
      const member = local.btf.resolved(step.type);
      if (member.kind !== 'struct' && member.kind !== 'union') return undefined;
      const localType = member.members[step.index]!.type;
      const compatible = (type: number): boolean => fieldsCompatible(local.btf, localType, target, type);
      const found = matchMember(target, at, step.name, compatible, budget);
      if (found === undefined) return undefined;
      accessors.push(found.accessor);
      bitOffset += found.bitOffset;
      at = found.type;
      continue;
    }
    if (accessors.length > 0) {
      const array = target.type(at);
      if (array.kind !== 'array') return undefined;
      if (step.index >= array.count && !isFlexibleArray(target, accessors.at(-1), array.count))
        return undefined;
      at = target.resolve(array.type);
    }
    accessors.push({ type: at, index: step.index, name: undefined });
    if (step.index !== 0) bitOffset += step.index * 8 * target.sizeOf(at);
  }
  return { btf: target, root: candidate, accessors, bitOffset };
}
