/**
 * The arithmetic types of the BPF target (LP64, little-endian, char signed) and the questions asked of all types:
 * size, alignment, compatibility, promotion.
 */
import {
  addressSpace,
  type CompareOp,
  type CoreType,
  type CType,
  core,
  elementOf,
  type FloatType,
  type FunctionType,
  type IntegerType,
  type PointerType,
  QUAL_ATOMIC,
  QUAL_CONST,
  QUAL_VOLATILE,
  qualifiers,
  type VaListType,
  type VoidType,
} from '../ast/index.ts';

function integer(name: string, size: number, signed: boolean, rank: number): IntegerType {
  return {
    kind: 'integer',
    name,
    size,
    align: size,
    signed,
    rank,
    bool: name === '_Bool',
    char: name.endsWith('char'),
  };
}

function float(name: string, size: number, rank: number): FloatType {
  return { kind: 'float', name, size, align: size, rank };
}

export const VOID: VoidType = { kind: 'void' };
export const BOOL: IntegerType = integer('_Bool', 1, false, 0);
export const CHAR: IntegerType = integer('char', 1, true, 1);
export const SCHAR: IntegerType = integer('signed char', 1, true, 1);
export const UCHAR: IntegerType = integer('unsigned char', 1, false, 1);
export const SHORT: IntegerType = integer('short', 2, true, 2);
export const USHORT: IntegerType = integer('unsigned short', 2, false, 2);
export const INT: IntegerType = integer('int', 4, true, 3);
export const UINT: IntegerType = integer('unsigned int', 4, false, 3);
export const LONG: IntegerType = integer('long', 8, true, 4);
export const ULONG: IntegerType = integer('unsigned long', 8, false, 4);
export const LLONG: IntegerType = integer('long long', 8, true, 5);
export const ULLONG: IntegerType = integer('unsigned long long', 8, false, 5);
export const INT128: IntegerType = integer('__int128', 16, true, 6);
export const UINT128: IntegerType = integer('unsigned __int128', 16, false, 6);
export const DOUBLE: FloatType = float('double', 8, 2);
const VA_LIST: VaListType = { kind: 'va_list', name: '__builtin_va_list', size: 8, align: 8 };
export const VOID_POINTER: PointerType = { kind: 'pointer', pointee: VOID };

/** What the parser's canonical specifier names mean. */
export const BUILTIN_TYPES: ReadonlyMap<string, CoreType> = new Map<string, CoreType>(
  [
    BOOL,
    CHAR,
    SCHAR,
    UCHAR,
    SHORT,
    USHORT,
    INT,
    UINT,
    LONG,
    ULONG,
    LLONG,
    ULLONG,
    INT128,
    UINT128,
    float('float', 4, 1),
    DOUBLE,
    float('long double', 8, 3),
    float('_Float16', 2, 0),
    float('__bf16', 2, 0),
    float('__float128', 16, 4),
  ].map((type): [string, CoreType] => [type.name, type]),
)
  .set('void', VOID)
  .set('__builtin_va_list', VA_LIST) as ReadonlyMap<string, CoreType>;

/** Of an integer of `size` bytes, as `mode` attributes and builtins ask for it. */
export function integerOfSize(size: number, signed: boolean): IntegerType {
  switch (size) {
    case 1:
      return signed ? SCHAR : UCHAR;
    case 2:
      return signed ? SHORT : USHORT;
    case 4:
      return signed ? INT : UINT;
    case 8:
      return signed ? LONG : ULONG;
    default:
      return signed ? INT128 : UINT128;
  }
}

export function pointerTo(pointee: CType): PointerType {
  return { kind: 'pointer', pointee };
}

/** Bytes; 1 for void and functions as GNU has it; 0 for what is incomplete. */
export function sizeOf(type: CType): number {
  const at = core(type);
  switch (at.kind) {
    case 'void':
    case 'function':
      return 1;
    case 'integer':
    case 'float':
    case 'va_list':
      return at.size;
    case 'pointer':
      return 8;
    case 'array':
      return at.length === null ? 0 : at.length * sizeOf(at.element);
    case 'record':
      return at.size;
    case 'enum':
      return at.underlying.size;
  }
}

export function alignOf(type: CType): number {
  let at = type;
  for (;;) {
    switch (at.kind) {
      case 'typedef':
        if (at.align > 0) return at.align;
        at = at.underlying;
        break;
      case 'qualified':
      case 'tagged':
        at = at.base;
        break;
      case 'array':
        at = at.element;
        break;
      case 'void':
        return 1;
      case 'function':
        return 4;
      case 'pointer':
        return 8;
      case 'enum':
        return at.underlying.align;
      default:
        return at.align;
    }
  }
}

export function isComplete(type: CType): boolean {
  const at = core(type);
  switch (at.kind) {
    case 'void':
    case 'function':
      return false;
    case 'array':
      return at.length !== null && isComplete(at.element);
    case 'record':
    case 'enum':
      return at.complete;
    default:
      return true;
  }
}

export function isInteger(type: CType): boolean {
  const { kind } = core(type);
  return kind === 'integer' || kind === 'enum';
}

export function isPointer(type: CType): boolean {
  return core(type).kind === 'pointer';
}

export function isScalar(type: CType): boolean {
  const { kind } = core(type);
  return kind === 'integer' || kind === 'enum' || kind === 'pointer' || kind === 'float';
}

export function isVoid(type: CType): boolean {
  return core(type).kind === 'void';
}

/** The integer type that holds values of an integer or enum type. */
export function integerOf(type: CType): IntegerType {
  const at = core(type);
  if (at.kind === 'integer') return at;
  if (at.kind === 'enum') return at.underlying;
  return at.kind === 'pointer' ? ULONG : INT;
}

/** C11 6.3.1.1: what an operand of this integer type becomes. */
export function promote(type: CType): CType {
  const at = core(type);
  if (at.kind === 'enum') return at.underlying.size < 4 ? INT : at.underlying;
  if (at.kind !== 'integer') return type;
  return at.rank < INT.rank ? INT : type;
}

/** C11 6.3.1.8 for two promoted integers. */
export function commonInteger(left: CType, right: CType): CType {
  const a = core(left) as IntegerType;
  const b = core(right) as IntegerType;
  if (a === b) return left === right ? left : a;
  if (a.signed === b.signed) return a.rank >= b.rank ? left : right;
  const [unsignedType, unsignedCore, signedType, signedCore] = a.signed
    ? [right, b, left, a]
    : [left, a, right, b];
  if (unsignedCore.rank >= signedCore.rank) return unsignedType;
  if (signedCore.size > unsignedCore.size) return signedType;
  return signedCore.rank === LLONG.rank ? ULLONG : ULONG;
}

/** `value` brought into range of an integer type (two's complement); `_Bool` is value ≠ 0. */
export function wrap(value: bigint, type: IntegerType): bigint {
  if (type.bool) return value === 0n ? 0n : 1n;
  const bits = type.size * 8;
  return type.signed ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value);
}

export function fits(value: bigint, type: IntegerType): boolean {
  return wrap(value, type) === value;
}

const COMPARED_QUALIFIERS = QUAL_CONST | QUAL_VOLATILE | QUAL_ATOMIC;

/** C11 6.2.7. `quals`: qualifiers must be equal too (they must at every level but the outermost). */
export function compatible(left: CType, right: CType, quals = true): boolean {
  if (left === right) return true;
  if (quals) {
    if ((qualifiers(left) & COMPARED_QUALIFIERS) !== (qualifiers(right) & COMPARED_QUALIFIERS)) return false;
    if (addressSpace(left) !== addressSpace(right)) return false;
  }
  const a = core(left);
  const b = core(right);
  if (a === b) return true;
  if (a.kind === 'enum' && b.kind === 'integer') return a.complete && a.underlying === b;
  if (b.kind === 'enum' && a.kind === 'integer') return b.complete && b.underlying === a;
  if (a.kind !== b.kind) return false;
  switch (a.kind) {
    case 'pointer':
      return compatible(a.pointee, (b as PointerType).pointee);
    case 'array': {
      const other = b as typeof a;
      if (a.length !== null && other.length !== null && a.length !== other.length) return false;
      return compatible(elementOf(left), elementOf(right), quals);
    }
    case 'function':
      return compatibleFunctions(a, b as FunctionType);
    case 'float':
    case 'integer':
      return a.name === (b as IntegerType).name;
    default:
      return a.kind === 'void' || a.kind === 'va_list';
  }
}

function compatibleFunctions(a: FunctionType, b: FunctionType): boolean {
  if (!compatible(a.result, b.result, false)) return false;
  if (!a.prototyped || !b.prototyped) return true;
  if (a.variadic !== b.variadic || a.parameters.length !== b.parameters.length) return false;
  return a.parameters.every((parameter, i) => compatible(parameter.type, b.parameters[i]!.type, false));
}

/** Without the outermost qualifiers; typedefs stay where they carry none. */
export function unqualified(type: CType): CType {
  let at = type;
  for (;;) {
    if (at.kind === 'qualified') at = at.base;
    else if (at.kind === 'tagged') at = at.base;
    else if (at.kind === 'typedef' && qualifiersOutside(at) !== 0) at = at.underlying;
    else return at;
  }
}

function qualifiersOutside(type: CType): number {
  let quals = 0;
  let at = type;
  for (;;) {
    if (at.kind === 'typedef') at = at.underlying;
    else if (at.kind === 'qualified') {
      quals |= at.quals | (at.addressSpace === 0 ? 0 : 0x100);
      at = at.base;
    } else if (at.kind === 'tagged') at = at.base;
    else return quals;
  }
}

/** Of values that have been converted to the common type. */
export function compareIntegers(op: CompareOp, left: bigint, right: bigint): boolean {
  switch (op) {
    case '==':
      return left === right;
    case '!=':
      return left !== right;
    case '<':
      return left < right;
    case '>':
      return left > right;
    case '<=':
      return left <= right;
    case '>=':
      return left >= right;
  }
}
