/** Types as messages show them, in clang's spelling: `struct foo *`, `const char[4]`, `int (*)(void)`. */
import {
  type CType,
  core,
  type EnumType,
  QUAL_ATOMIC,
  QUAL_CONST,
  QUAL_RESTRICT,
  QUAL_VOLATILE,
  type RecordType,
} from '../ast/index.ts';

/** Places for `(unnamed struct at …)`. */
export type DescribePlace = (record: RecordType | EnumType) => string;

function qualifierWords(quals: number, space: number): string {
  let text = '';
  if (space !== 0) text += `__attribute__((address_space(${space}))) `;
  if (quals & QUAL_CONST) text += 'const ';
  if (quals & QUAL_VOLATILE) text += 'volatile ';
  if (quals & QUAL_RESTRICT) text += 'restrict ';
  return text;
}

const MAX_DEPTH = 64;

/** `inner` is the declarator around which the type is written. `sugar`: keep typedef names. */
function print(type: CType, inner: string, sugar: boolean, place: DescribePlace, depth: number): string {
  if (depth > MAX_DEPTH) return `…${inner}`;
  const next = (of: CType, around: string) => print(of, around, sugar, place, depth + 1);
  switch (type.kind) {
    case 'qualified': {
      const words = qualifierWords(type.quals, type.addressSpace);
      if (type.quals & QUAL_ATOMIC) return `_Atomic(${next(type.base, '')})${spaced(inner)}`;
      const base = sugar ? type.base : desugar(type.base);
      if (base.kind === 'pointer') return next(base, words.trimEnd() + spaced(inner));
      if (base.kind === 'array' || base.kind === 'function') return next(base, inner);
      return words + next(base, inner);
    }
    case 'tagged':
      return sugar
        ? `${next(type.base, '')} __attribute__((btf_type_tag("${type.tag}")))${spaced(inner)}`
        : next(type.base, inner);
    case 'typedef':
      return sugar ? type.name + spaced(inner) : next(type.underlying, inner);
    case 'pointer': {
      const to = sugar ? type.pointee : desugarSugar(type.pointee);
      const plain = stripQualified(to);
      const grouped = plain.kind === 'array' || plain.kind === 'function';
      const star = inner !== '' && !/^[*([]/.test(inner) ? `*${inner}` : `*${inner}`;
      return next(to, grouped ? `(${star})` : star);
    }
    case 'array':
      return next(type.element, `${inner}[${type.length ?? (type.variable ? '*' : '')}]`);
    case 'function': {
      const list = type.parameters.map((parameter) => next(parameter.type, ''));
      if (type.variadic) list.push('...');
      const text = list.length > 0 ? list.join(', ') : type.prototyped ? 'void' : '';
      return next(type.result, `${inner === '' ? ' ' : inner}(${text})`.replace(/^ /, ' '));
    }
    case 'record': {
      const word = type.union ? 'union' : 'struct';
      if (type.tag !== null) return `${word} ${type.tag}${spaced(inner)}`;
      if (type.typedefName !== null) return type.typedefName + spaced(inner);
      return `${word} (unnamed ${word}${place(type)})${spaced(inner)}`;
    }
    case 'enum':
      if (type.tag !== null) return `enum ${type.tag}${spaced(inner)}`;
      if (type.typedefName !== null) return type.typedefName + spaced(inner);
      return `enum (unnamed enum${place(type)})${spaced(inner)}`;
    case 'void':
      return `void${spaced(inner)}`;
    default:
      return type.name + spaced(inner);
  }
}

function spaced(inner: string): string {
  return inner === '' || inner.startsWith('[') || inner.startsWith(' ') ? inner : ` ${inner}`;
}

function stripQualified(type: CType): CType {
  let at = type;
  while (at.kind === 'qualified' || at.kind === 'tagged') at = at.base;
  return at;
}

/** One level: a typedef is replaced by what it names. */
function desugar(type: CType): CType {
  let at = type;
  while (at.kind === 'typedef' || at.kind === 'tagged') at = at.kind === 'typedef' ? at.underlying : at.base;
  return at;
}

function desugarSugar(type: CType): CType {
  if (type.kind === 'qualified') {
    const base = desugar(type.base);
    return base === type.base ? type : { ...type, base };
  }
  return desugar(type);
}

export function typeName(type: CType, place: DescribePlace = () => ''): string {
  return print(type, '', true, place, 0);
}

/** `'u32' (aka 'unsigned int')`, as clang quotes types. */
export function quoteType(type: CType, place: DescribePlace = () => ''): string {
  const sugared = print(type, '', true, place, 0);
  const plain = print(type, '', false, place, 0);
  if (sugared === plain) return `'${sugared}'`;
  const at = core(type);
  if ((at.kind === 'record' || at.kind === 'enum') && at.tag === null && at.typedefName === sugared)
    return `'${sugared}'`;
  return `'${sugared}' (aka '${plain}')`;
}
