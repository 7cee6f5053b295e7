/**
 * The model of BTF types (Documentation/bpf/btf.rst; linux/btf.h): one discriminated union over `kind`.
 * Data only. Type id 0 is `void`.
 */

/** Kind numbers of the wire format. */
export const BTF_KIND = {
  void: 0,
  int: 1,
  ptr: 2,
  array: 3,
  struct: 4,
  union: 5,
  enum: 6,
  fwd: 7,
  typedef: 8,
  volatile: 9,
  const: 10,
  restrict: 11,
  func: 12,
  func_proto: 13,
  var: 14,
  datasec: 15,
  float: 16,
  decl_tag: 17,
  type_tag: 18,
  enum64: 19,
} as const;

export type BtfKind = keyof typeof BTF_KIND;

/** Kind names by number. */
export const BTF_KIND_NAMES = Object.keys(BTF_KIND) as readonly BtfKind[];

/** Bytes per item that follow the 12-byte type header, for kinds with `vlen` items, and fixed bytes for the others. */
export const BTF_KIND_EXTRA: readonly { readonly fixed: number; readonly perItem: number }[] = [
  { fixed: 0, perItem: 0 },
  { fixed: 4, perItem: 0 },
  { fixed: 0, perItem: 0 },
  { fixed: 12, perItem: 0 },
  { fixed: 0, perItem: 12 },
  { fixed: 0, perItem: 12 },
  { fixed: 0, perItem: 8 },
  { fixed: 0, perItem: 0 },
  { fixed: 0, perItem: 0 },
  { fixed: 0, perItem: 0 },
  { fixed: 0, perItem: 0 },
  { fixed: 0, perItem: 0 },
  { fixed: 0, perItem: 0 },
  { fixed: 0, perItem: 8 },
  { fixed: 4, perItem: 0 },
  { fixed: 0, perItem: 12 },
  { fixed: 0, perItem: 0 },
  { fixed: 4, perItem: 0 },
  { fixed: 0, perItem: 0 },
  { fixed: 0, perItem: 12 },
];

/** Linkage of functions and variables. */
export const BTF_LINKAGE = { static: 0, global: 1, extern: 2 } as const;
export type BtfLinkage = keyof typeof BTF_LINKAGE;
export const BTF_LINKAGE_NAMES: readonly BtfLinkage[] = ['static', 'global', 'extern'];

export interface BtfVoid {
  readonly kind: 'void';
}

export interface BtfInt {
  readonly kind: 'int';
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  readonly signed: boolean;
  readonly char: boolean;
  readonly bool: boolean;
  /** Position of the value inside `size` bytes, in bits; 0 but for bit-fields of old compilers. */
  readonly bitOffset: number;
  /** Width of the value, in bits. */
  readonly bits: number;
}

/** An integer of whole bytes, as compilers describe C's. */
export function btfInt(
  name: string,
  size: number,
  { signed = false, bool = false }: { readonly signed?: boolean; readonly bool?: boolean } = {},
): BtfInt {
  return { kind: 'int', name, size, signed, char: false, bool, bitOffset: 0, bits: size * 8 };
}

export interface BtfPtr {
  readonly kind: 'ptr';
  readonly type: number;
}

export interface BtfArray {
  readonly kind: 'array';
  readonly type: number;
  readonly indexType: number;
  readonly count: number;
}

export interface BtfMember {
  /** Empty for anonymous structs and unions. */
  readonly name: string;
  readonly type: number;
  /** Offset in the struct, in bits. */
  readonly bitOffset: number;
  /** Width of a bit-field; 0 for a plain member. */
  readonly bitSize: number;
}

export interface BtfComposite {
  readonly kind: 'struct' | 'union';
  /** Empty where anonymous. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  readonly members: readonly BtfMember[];
}

export interface BtfEnumValue {
  readonly name: string;
  readonly value: bigint;
}

export interface BtfEnum {
  readonly kind: 'enum' | 'enum64';
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  readonly signed: boolean;
  readonly values: readonly BtfEnumValue[];
}

export interface BtfFwd {
  readonly kind: 'fwd';
  readonly name: string;
  readonly of: 'struct' | 'union';
}

export interface BtfTypedef {
  readonly kind: 'typedef';
  readonly name: string;
  readonly type: number;
}

export interface BtfModifier {
  readonly kind: 'volatile' | 'const' | 'restrict';
  readonly type: number;
}

export interface BtfTypeTag {
  readonly kind: 'type_tag';
  readonly name: string;
  readonly type: number;
  /** The name is a whole `__attribute__((name))` instead of a `btf_type_tag` (kflag). */
  readonly attribute: boolean;
}

export interface BtfFunc {
  readonly kind: 'func';
  readonly name: string;
  /** Id of the `func_proto`. */
  readonly type: number;
  readonly linkage: BtfLinkage;
}

export interface BtfParam {
  readonly name: string;
  readonly type: number;
}

export interface BtfFuncProto {
  readonly kind: 'func_proto';
  readonly returnType: number;
  /** A last parameter of name '' and type 0 stands for `...`. */
  readonly params: readonly BtfParam[];
}

export interface BtfVar {
  readonly kind: 'var';
  readonly name: string;
  readonly type: number;
  readonly linkage: BtfLinkage;
}

export interface BtfSecVar {
  /** Id of a `var` (or, in `.ksyms`, a `func`). */
  readonly type: number;
  readonly offset: number;
  readonly size: number;
}

export interface BtfDatasec {
  readonly kind: 'datasec';
  readonly name: string;
  readonly size: number;
  readonly vars: readonly BtfSecVar[];
}

export interface BtfFloat {
  readonly kind: 'float';
  readonly name: string;
  readonly size: number;
}

export interface BtfDeclTag {
  readonly kind: 'decl_tag';
  readonly name: string;
  readonly type: number;
  /** Index of the member or parameter it tags, -1 for the type itself. */
  readonly componentIndex: number;
  readonly attribute: boolean;
}

export type BtfType =
  | BtfVoid
  | BtfInt
  | BtfPtr
  | BtfArray
  | BtfComposite
  | BtfEnum
  | BtfFwd
  | BtfTypedef
  | BtfModifier
  | BtfTypeTag
  | BtfFunc
  | BtfFuncProto
  | BtfVar
  | BtfDatasec
  | BtfFloat
  | BtfDeclTag;

/** The member of the union with that kind. */
export type BtfTypeOf<K extends BtfKind> = Extract<BtfType, { kind: K }>;

/** The name of a type, '' for kinds without one. */
export function btfName(type: BtfType): string {
  return 'name' in type ? type.name : '';
}
