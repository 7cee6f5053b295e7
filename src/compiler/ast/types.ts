/**
 * C types as the compiler sees them. Owns the shapes only: rules (conversion, compatibility, layout) are in `sema`.
 *
 * A type is a chain of sugar (`typedef`, `qualified`, `tagged`) that ends in a core type. Sugar is kept because BTF
 * shows it; whoever asks what a type *is* goes through `core()`. Records and enums are mutable objects with identity:
 * two declarations of one tag share one object, which is completed in place.
 *
 * Sizes and alignments are bytes, field offsets are bits. The data model is LP64, little-endian.
 */
import type { Location } from '../source/index.ts';

export interface VoidType {
  readonly kind: 'void';
}

/** `_Bool`, the character types and all integers. `rank` orders them (C11 6.3.1.1): `_Bool` 0, char 1, … __int128 6. */
export interface IntegerType {
  readonly kind: 'integer';
  /** As C spells it: `unsigned long`. */
  readonly name: string;
  readonly size: number;
  readonly align: number;
  readonly signed: boolean;
  readonly rank: number;
  readonly bool: boolean;
  /** `char`, `signed char`, `unsigned char`. */
  readonly char: boolean;
}

/** Parsed and carried in declarations; code that computes with it is an error on BPF. */
export interface FloatType {
  readonly kind: 'float';
  readonly name: string;
  readonly size: number;
  readonly align: number;
  readonly rank: number;
}

/** `va_list`: can be named (vmlinux.h does), never used. */
export interface VaListType {
  readonly kind: 'va_list';
  readonly name: string;
  readonly size: number;
  readonly align: number;
}

export interface PointerType {
  readonly kind: 'pointer';
  readonly pointee: CType;
  /** How many derived types are inside each other, where a declaration made it: `sema` limits it. */
  readonly depth?: number;
}

export interface ArrayType {
  readonly kind: 'array';
  readonly element: CType;
  /** Number of elements; null where incomplete (`int a[]`, a flexible member) or variable. */
  readonly length: number | null;
  /** `int a[n]` with an n that is not constant: only pointers to it and `sizeof` are refused; see `sema`. */
  readonly variable: boolean;
  readonly depth?: number;
}

export interface ParameterType {
  readonly name: string | null;
  /** After adjustment: never an array or function. */
  readonly type: CType;
  readonly declTags: readonly string[];
}

export interface FunctionType {
  readonly kind: 'function';
  readonly result: CType;
  readonly parameters: readonly ParameterType[];
  readonly variadic: boolean;
  /** False for `int f()`. */
  readonly prototyped: boolean;
  readonly depth?: number;
}

/** One member of a struct or union, in declaration order; unnamed bit-fields are not fields (they only take room). */
export interface Field {
  /** Null for anonymous struct and union members. */
  readonly name: string | null;
  readonly type: CType;
  /** Offset in bits from the start of the record. Set when the record is complete. */
  offset: number;
  /** Width of a bit-field, else null. */
  readonly bitWidth: number | null;
  /** Position among the record's fields: the index BTF and CO-RE access strings use. */
  readonly index: number;
  readonly record: RecordType;
  readonly packed: boolean;
  /** From `aligned`, else 0. */
  readonly alignAttribute: number;
  readonly declTags: readonly string[];
  readonly location: Location;
}

export interface RecordAttributes {
  packed?: true;
  /** From `aligned`, in bytes. */
  aligned?: number;
  preserveAccessIndex?: true;
  preserveStaticOffset?: true;
  transparentUnion?: true;
  /** BCC dialect (`deprecated("packet")`): pointers to it are offsets in a packet. */
  packet?: true;
  declTags?: string[];
}

/** A struct or union. Incomplete until `complete`; then `fields`, `size`, `align` and the fields' offsets are final. */
export interface RecordType {
  readonly kind: 'record';
  readonly union: boolean;
  /** Null for anonymous ones. */
  readonly tag: string | null;
  /** Unique within one compilation, in order of first mention. */
  readonly id: number;
  complete: boolean;
  /** While its body is being read. */
  defining: boolean;
  fields: Field[];
  size: number;
  align: number;
  /** Of the last member: `int a[]`. */
  flexible: boolean;
  readonly attributes: RecordAttributes;
  /** Of an anonymous record: the first typedef that names it, for messages. */
  typedefName: string | null;
  location: Location;
  /** Fields by name, those of anonymous members included, with the path of fields that leads there. Made on demand. */
  lookup: Map<string, readonly Field[]> | null;
}

export interface Enumerator {
  readonly name: string;
  readonly value: bigint;
  readonly location: Location;
}

export interface EnumType {
  readonly kind: 'enum';
  readonly tag: string | null;
  readonly id: number;
  complete: boolean;
  enumerators: Enumerator[];
  /** The integer that holds it: `unsigned int` unless a value is negative or needs 64 bits. */
  underlying: IntegerType;
  packed: boolean;
  declTags: string[];
  typedefName: string | null;
  location: Location;
}

export interface TypedefType {
  readonly kind: 'typedef';
  readonly name: string;
  readonly underlying: CType;
  /** From `__attribute__((aligned(n)))` on the typedef, else 0: it replaces the alignment of the underlying type. */
  readonly align: number;
  readonly declTags: readonly string[];
  readonly location: Location;
}

/** Bits of `QualifiedType.quals`. */
export const QUAL_CONST = 1;
export const QUAL_VOLATILE = 2;
export const QUAL_RESTRICT = 4;
export const QUAL_ATOMIC = 8;

/** Qualifiers on any type. On a chain that ends in an array they belong to the elements: see `elementOf()`. */
export interface QualifiedType {
  readonly kind: 'qualified';
  readonly base: CType;
  readonly quals: number;
  /** `__attribute__((address_space(n)))`; 0 for none. A property of the pointed-to thing, as in clang. */
  readonly addressSpace: number;
}

/** `__attribute__((btf_type_tag("tag")))` on `base` (the pointed-to type of `base __tag *`). */
export interface TaggedType {
  readonly kind: 'tagged';
  readonly base: CType;
  readonly tag: string;
}

export type CoreType =
  | VoidType
  | IntegerType
  | FloatType
  | VaListType
  | PointerType
  | ArrayType
  | FunctionType
  | RecordType
  | EnumType;

export type SugarType = TypedefType | QualifiedType | TaggedType;

export type CType = CoreType | SugarType;

/** What the type is without typedefs, qualifiers and tags. */
export function core(type: CType): CoreType {
  let at = type;
  for (;;) {
    switch (at.kind) {
      case 'typedef':
        at = at.underlying;
        break;
      case 'qualified':
      case 'tagged':
        at = at.base;
        break;
      default:
        return at;
    }
  }
}

/** All qualifier bits of the chain, through typedefs. */
export function qualifiers(type: CType): number {
  let quals = 0;
  let at = type;
  for (;;) {
    switch (at.kind) {
      case 'typedef':
        at = at.underlying;
        break;
      case 'qualified':
        quals |= at.quals;
        at = at.base;
        break;
      case 'tagged':
        at = at.base;
        break;
      case 'array':
        at = at.element;
        break;
      default:
        return quals;
    }
  }
}

/** The address space of a thing of this type (0: the normal one). */
export function addressSpace(type: CType): number {
  let at = type;
  for (;;) {
    switch (at.kind) {
      case 'typedef':
        at = at.underlying;
        break;
      case 'qualified':
        if (at.addressSpace !== 0) return at.addressSpace;
        at = at.base;
        break;
      case 'tagged':
        at = at.base;
        break;
      case 'array':
        at = at.element;
        break;
      default:
        return 0;
    }
  }
}

/** `type` with more qualifiers. */
export function qualify(type: CType, quals: number, space = 0): CType {
  if (quals === 0 && space === 0) return type;
  if (type.kind === 'qualified') {
    const merged = type.quals | quals;
    if (merged === type.quals && (space === 0 || space === type.addressSpace)) return type;
    return { kind: 'qualified', base: type.base, quals: merged, addressSpace: space || type.addressSpace };
  }
  return { kind: 'qualified', base: type, quals, addressSpace: space };
}

/** The element type of an array, with the qualifiers that stand outside of the array (`const arr_t`). */
export function elementOf(type: CType): CType {
  let quals = 0;
  let space = 0;
  let at = type;
  for (;;) {
    switch (at.kind) {
      case 'typedef':
        at = at.underlying;
        break;
      case 'qualified':
        quals |= at.quals;
        space ||= at.addressSpace;
        at = at.base;
        break;
      case 'tagged':
        at = at.base;
        break;
      case 'array':
        return qualify(at.element, quals, space);
      default:
        return at;
    }
  }
}
