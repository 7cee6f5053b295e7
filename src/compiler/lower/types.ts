/** C types as the IR has them: scalars by size, everything else in memory. */
import { type CType, core, type FunctionType, QUAL_VOLATILE, qualifiers } from '../ast/index.ts';
import { type IrType, intType } from '../ir/index.ts';

export const isRecord = (type: CType): boolean => core(type).kind === 'record';
export const isAggregate = (type: CType): boolean => {
  const { kind } = core(type);
  return kind === 'record' || kind === 'array' || kind === 'va_list';
};
export const pointsToRecord = (type: CType): boolean => {
  const is = core(type);
  return is.kind === 'pointer' && isRecord(is.pointee);
};
export const isVoid = (type: CType): boolean => core(type).kind === 'void';
export const isVolatile = (type: CType): boolean => (qualifiers(type) & QUAL_VOLATILE) !== 0;

/** Of a scalar value: `_Bool` has 8 bits, 0 or 1. Undefined for what registers do not hold. */
export function scalarType(type: CType): IrType | undefined {
  const is = core(type);
  switch (is.kind) {
    case 'void':
      return 'void';
    case 'integer':
      return is.size <= 8 ? intType(is.size * 8) : undefined;
    case 'enum':
      return intType(is.underlying.size * 8);
    case 'pointer':
    case 'function':
    case 'array':
      return 'ptr';
    default:
      return undefined;
  }
}

export function isSigned(type: CType): boolean {
  const is = core(type);
  if (is.kind === 'integer') return is.signed;
  return is.kind === 'enum' && is.underlying.signed;
}

export const isBool = (type: CType): boolean => {
  const is = core(type);
  return is.kind === 'integer' && is.bool;
};

export function sizeOf(type: CType): number {
  const is = core(type);
  switch (is.kind) {
    case 'integer':
    case 'float':
    case 'va_list':
    case 'record':
      return is.size;
    case 'enum':
      return is.underlying.size;
    case 'pointer':
      return 8;
    case 'array':
      return (is.length ?? 0) * sizeOf(is.element);
    default:
      return 1;
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
      case 'integer':
      case 'float':
      case 'va_list':
      case 'record':
        return Math.max(1, at.align);
      case 'enum':
        return at.underlying.align;
      case 'pointer':
        return 8;
      default:
        return 1;
    }
  }
}

/** As a parameter or result: small integers travel as 32 bits, extended by the caller and by the callee's `return`. */
export function passedType(type: CType): IrType {
  if (isAggregate(type)) return 'ptr';
  const is = scalarType(type) ?? 'i64';
  return is === 'i8' || is === 'i16' ? 'i32' : is;
}

export function functionType(type: CType): FunctionType | undefined {
  const is = core(type);
  if (is.kind === 'function') return is;
  if (is.kind === 'pointer') return functionType(is.pointee);
  return undefined;
}
