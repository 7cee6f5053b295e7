/**
 * Whether two objects mean the same by one name: functions with the same parameters, variables of the same type, maps with the same
 * definition. Structs compare by name and, where both are complete, by size; so chains of pointers end.
 */
import { BTF_MAX_DEPTH, type Btf, btfName, essentialName } from '../../btf/index.ts';
import { mapDefinition } from '../map-defs.ts';
import type { MapSpec } from '../types.ts';

export function sameType(a: Btf, aId: number, b: Btf, bId: number, depth = 0): boolean {
  if (depth > BTF_MAX_DEPTH) return false;
  const one = a.resolved(aId);
  const other = b.resolved(bId);
  const deeper = (x: number, y: number): boolean => sameType(a, x, b, y, depth + 1);
  const sameName = essentialName(btfName(one)) === essentialName(btfName(other));
  switch (one.kind) {
    case 'void':
      return other.kind === 'void';
    case 'int':
      return (
        other.kind === 'int' &&
        one.size === other.size &&
        one.signed === other.signed &&
        one.bits === other.bits
      );
    case 'float':
      return other.kind === 'float' && one.size === other.size;
    case 'ptr':
      return other.kind === 'ptr' && deeper(one.type, other.type);
    case 'array':
      return (
        other.kind === 'array' &&
        (one.count === other.count || one.count === 0 || other.count === 0) &&
        deeper(one.type, other.type)
      );
    case 'enum':
    case 'enum64':
      return (other.kind === 'enum' || other.kind === 'enum64') && sameName && one.size === other.size;
    case 'fwd':
      return (other.kind === 'fwd' || other.kind === one.of) && sameName;
    case 'struct':
    case 'union':
      if (other.kind === 'fwd') return other.of === one.kind && sameName;
      return (
        other.kind === one.kind &&
        sameName &&
        one.size === other.size &&
        one.members.length === other.members.length &&
        one.members.every((member, i) => member.name === other.members[i]!.name)
      );
    case 'func_proto':
      return (
        other.kind === 'func_proto' &&
        one.params.length === other.params.length &&
        one.params.every((param, i) => deeper(param.type, other.params[i]!.type)) &&
        deeper(one.returnType, other.returnType)
      );
    case 'func':
      return other.kind === 'func' && deeper(one.type, other.type);
    case 'var':
      return other.kind === 'var' && deeper(one.type, other.type);
    default:
      return false;
  }
}

/** The first field in which two definitions of a map differ, or undefined. */
export function differentMap(name: string, a: [Btf, number], b: [Btf, number]): string | undefined {
  const one = mapDefinition(a[0], name, a[1]);
  const other = mapDefinition(b[0], name, b[1]);
  const numbers = [
    'type',
    'keySize',
    'valueSize',
    'maxEntries',
    'flags',
    'mapExtra',
    'numaNode',
    'pinning',
  ] as const;
  const compare = (x: MapSpec, y: MapSpec): string | undefined => {
    for (const field of numbers) if (x[field] !== y[field]) return `${field} ${x[field]} and ${y[field]}`;
    for (const field of ['btfKeyTypeId', 'btfValueTypeId'] as const) {
      const [first, second] = [x[field], y[field]];
      if ((first === 0) !== (second === 0)) return field === 'btfKeyTypeId' ? 'type of key' : 'type of value';
      if (first !== 0 && !sameType(a[0], first, b[0], second))
        return field === 'btfKeyTypeId' ? 'type of key' : 'type of value';
    }
    if (x.inner === undefined || y.inner === undefined) return x.inner === y.inner ? undefined : 'inner map';
    const inner = compare(x.inner, y.inner);
    return inner === undefined ? undefined : `inner map: ${inner}`;
  };
  return compare(one, other);
}
