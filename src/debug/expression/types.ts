/** Types of expressions: one of BTF, with pointers on top. */
import { type Btf, btfName } from '../../btf/index.ts';
import { BpfError } from '../../util/errors.ts';
import type { TypeName } from './parse.ts';

export interface CType {
  readonly btf: Btf | undefined;
  readonly id: number;
  /** Levels of pointers on top of it. */
  readonly pointers: number;
  /** Where there is no BTF type: an integer of so many bytes. */
  readonly integer?: { readonly size: number; readonly signed: boolean };
}

export const U64: CType = { btf: undefined, id: 0, pointers: 0, integer: { size: 8, signed: false } };
export const S64: CType = { btf: undefined, id: 0, pointers: 0, integer: { size: 8, signed: true } };

/** C's own integers, and the names that the kernel has for them. */
const INTEGERS: Readonly<Record<string, { size: number; signed: boolean }>> = {
  char: { size: 1, signed: true },
  short: { size: 2, signed: true },
  int: { size: 4, signed: true },
  long: { size: 8, signed: true },
  'long long': { size: 8, signed: true },
  bool: { size: 1, signed: false },
  _Bool: { size: 1, signed: false },
};

export function namedType({ tag, name, pointers }: TypeName, btf: Btf | undefined): CType {
  if (tag === undefined) {
    if (name === 'void') return { btf, id: 0, pointers };
    const integer = integerType(name);
    if (integer !== undefined) return { btf: undefined, id: 0, pointers, integer };
  }
  const id = tag === undefined ? btf?.find(name, 'typedef') : btf?.find(name, tag);
  if (id === undefined) throw new BpfError('ENOENT', `there is no type '${tag ? `${tag} ` : ''}${name}'`);
  return { btf, id, pointers };
}

function integerType(name: string): { size: number; signed: boolean } | undefined {
  const short = /^(?:__)?([us])(8|16|32|64)$/.exec(name);
  if (short !== null) return { size: Number(short[2]) / 8, signed: short[1] === 's' };
  const words = name.split(' ');
  const unsigned = words.includes('unsigned');
  const rest = words.filter((word) => word !== 'unsigned' && word !== 'signed').join(' ');
  const known =
    rest === '' || rest === 'short int'
      ? INTEGERS[rest === '' ? 'int' : 'short']
      : INTEGERS[rest.replace(/ int$/, '')];
  return known === undefined ? undefined : { size: known.size, signed: known.signed && !unsigned };
}

/** Without typedefs and qualifiers; pointers of BTF come on top. */
export function plain(type: CType): CType {
  if (type.pointers > 0 || type.btf === undefined) return type;
  const id = type.btf.resolve(type.id);
  const kind = type.btf.type(id);
  if (kind.kind === 'ptr') return { btf: type.btf, id: kind.type, pointers: 1 };
  if (kind.kind === 'var') return plain({ ...type, id: kind.type });
  return { ...type, id };
}

export function sizeOf(type: CType): number {
  if (type.pointers > 0) return 8;
  if (type.integer !== undefined) return type.integer.size;
  if (type.btf === undefined || type.id === 0) throw new BpfError('EINVAL', 'void has no size');
  return type.btf.sizeOf(type.id);
}

export function typeText(type: CType): string {
  const stars = type.pointers > 0 ? ` ${'*'.repeat(type.pointers)}` : '';
  return `${baseText(type)}${stars}`;
}

function baseText({ btf, id, integer }: CType): string {
  if (integer !== undefined) return `${integer.signed ? 's' : 'u'}${integer.size * 8}`;
  if (btf === undefined || id === 0) return 'void';
  const type = btf.type(id);
  switch (type.kind) {
    case 'struct':
    case 'union':
      return `${type.kind} ${type.name || '{…}'}`;
    case 'enum':
    case 'enum64':
      return `enum ${type.name || '{…}'}`;
    case 'array':
      return `${baseText({ btf, id: type.type, pointers: 0 })}[${type.count}]`;
    case 'ptr':
      return `${baseText({ btf, id: type.type, pointers: 0 })} *`;
    case 'const':
    case 'volatile':
    case 'restrict':
    case 'type_tag':
    case 'var':
      return baseText({ btf, id: type.type, pointers: 0 });
    case 'fwd':
      return `${type.of} ${type.name}`;
    case 'func_proto':
      return 'function';
    default:
      return btfName(type) || type.kind;
  }
}
