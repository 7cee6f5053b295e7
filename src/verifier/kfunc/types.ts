/** A kernel function that a program calls: its types from BTF, its row from the tables. */
import type { Btf, BtfFuncProto } from '../../btf/index.ts';
import type { MapInfo, SpecialField } from '../../contracts/maps.ts';
import type { KfuncRow } from '../../spec/index.ts';
import type { Reg, StructRef } from '../registers.ts';

export interface Kfunc {
  /** BTF id of the function. */
  readonly id: number;
  readonly name: string;
  readonly btf: Btf;
  /** Of vmlinux, not of a module. */
  readonly builtIn: boolean;
  readonly proto: BtfFuncProto;
  /** Null where this program may not call it. */
  readonly row: KfuncRow | null;
}

/** What the arguments checked so far say about the call. */
export interface KfuncMeta {
  readonly kfunc: Kfunc;
  readonly row: KfuncRow;
  refObjId: number;
  /** Argument register whose reference the call gives back; 0 for none. */
  releaseReg: number;
  map: MapInfo | null;
  mapUid: number;
  constant: bigint | null;
  /** Size of returned memory, where a parameter says it; -1: none does. */
  returnSize: number;
  returnReadOnly: boolean;
  subprog: number;
  /** The object that the call is about, where its type is the result's too. */
  struct: StructRef | null;
  owning: boolean;
  /** The list's or tree's root. */
  root: SpecialField | null;
  /** The dynptr of an argument. */
  dynptr: Reg | null;
  iter: { readonly frameno: number; readonly spi: number } | null;
}

export function newKfuncMeta(kfunc: Kfunc, row: KfuncRow): KfuncMeta {
  return {
    kfunc,
    row,
    refObjId: 0,
    releaseReg: 0,
    map: null,
    mapUid: 0,
    constant: null,
    returnSize: -1,
    returnReadOnly: false,
    subprog: 0,
    struct: null,
    owning: false,
    root: null,
    dynptr: null,
    iter: null,
  };
}
