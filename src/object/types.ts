/**
 * `ObjectSpec`: what an object file says, with relocations resolved symbolically. It knows no kernel: the same bytes give the
 * same spec everywhere. A loader turns it into maps and programs.
 *
 * Instruction indexes count 8-byte slots; sizes are bytes.
 */
import type { Btf, BtfCoreRelocation } from '../btf/index.ts';
import type { Insn, LineInfo } from '../contracts.ts';
import type { SectionRow } from '../spec/types.ts';

export interface ObjectSpec {
  /** Prefix of the data maps' names: the file's name up to its first dot. */
  readonly name: string;
  /** From section `license`; '' where there is none. */
  readonly license: string;
  /** From section `version` (KERNEL_VERSION); 0 where there is none. */
  readonly version: number;
  readonly littleEndian: boolean;
  /** Entry programs in order of section and offset. */
  readonly programs: readonly ProgramSpec[];
  /** Maps in libbpf's order: legacy, BTF-defined, data sections, kconfig, struct_ops. */
  readonly maps: readonly MapSpec[];
  /** `extern … __kconfig` variables, laid out in the `.kconfig` map; the loader writes their values. */
  readonly kconfig: readonly KconfigSpec[];
  /** The object's BTF with data sections laid out. */
  readonly btf: Btf | undefined;
  /**
   * The BTF to hand to BTF_LOAD: `btf` with `.ksyms` made of plain ints, hidden functions static. Same type ids.
   */
  readonly loadBtf: Uint8Array | undefined;
  /** What was ignored, one sentence each. */
  readonly warnings: readonly string[];
}

/** A program with all subprograms that it calls appended; calls between them are resolved. */
export interface ProgramSpec {
  /** The function's name. */
  readonly name: string;
  /** ELF section without a leading `?`. */
  readonly section: string;
  /** The row of the section table; undefined where the section name says nothing. */
  readonly sectionRow: SectionRow | undefined;
  /** Program type name (row's `progType`). */
  readonly progType: string | undefined;
  /** UAPI attach type name without BPF_. */
  readonly attachType: string | undefined;
  readonly sleepable: boolean;
  /** False for `SEC("?…")`. */
  readonly autoload: boolean;
  /** What follows the first `/` of the section: function, tracepoint or path to attach to. */
  readonly attachTo: string | undefined;
  readonly insns: readonly Insn[];
  /** What the loader has to fill in, by rising `insn`. */
  readonly relocations: readonly ProgramRelocation[];
  /** CO-RE relocations; `insn` is an index of `insns`. They have to be applied before loading. */
  readonly coreRelocations: readonly BtfCoreRelocation[];
  /** The functions in `insns`, the program itself first. */
  readonly functions: readonly FunctionSpan[];
  /** Decoded line info for diagnostics. */
  readonly lineInfo: readonly LineInfo[];
  /** `struct bpf_func_info` records (8 bytes) for PROG_LOAD; empty where the object has them not for all functions. */
  readonly funcInfoRecords: Uint8Array;
  /** `struct bpf_line_info` records (16 bytes) for PROG_LOAD. */
  readonly lineInfoRecords: Uint8Array;
}

export interface FunctionSpan {
  readonly name: string;
  readonly start: number;
  /** Number of instruction slots. */
  readonly size: number;
  readonly section: string;
  /** BTF id of its `func`, 0 where unknown. */
  readonly typeId: number;
}

export type ProgramRelocation =
  /** `ld_imm64` of a map (source register BPF_PSEUDO_MAP_FD): `imm` becomes the map's fd. */
  | { readonly kind: 'map'; readonly insn: number; readonly map: number; readonly symbol: string }
  /** `ld_imm64` of an address in a map's value (BPF_PSEUDO_MAP_VALUE): fd in `imm`; the offset is in place. */
  | {
      readonly kind: 'map_value';
      readonly insn: number;
      readonly map: number;
      readonly symbol: string;
      readonly offset: number;
    }
  /**
   * `ld_imm64` of a kernel variable. `typed`: by BTF id (BPF_PSEUDO_BTF_ID), otherwise by its address in
   * kallsyms. A weak one that the kernel lacks becomes the constant 0.
   */
  | {
      readonly kind: 'ksym';
      readonly insn: number;
      readonly symbol: string;
      readonly weak: boolean;
      readonly typed: boolean;
      /** Type of the variable in the object's BTF. */
      readonly typeId: number;
    }
  /** Call of a kernel function (source register BPF_PSEUDO_KFUNC_CALL): `imm` becomes its BTF id. */
  | {
      readonly kind: 'kfunc';
      readonly insn: number;
      readonly symbol: string;
      readonly weak: boolean;
      /** `func_proto` in the object's BTF. */
      readonly typeId: number;
    }
  /** `ld_imm64` of a kernel function's address (BPF_PSEUDO_BTF_ID), to test whether a weak one exists. */
  | {
      readonly kind: 'kfunc_address';
      readonly insn: number;
      readonly symbol: string;
      readonly weak: boolean;
      readonly typeId: number;
    };

/** Where a map comes from. */
export type MapOrigin = 'btf' | 'legacy' | 'data' | 'rodata' | 'bss' | 'kconfig' | 'struct_ops';

export interface MapSpec {
  /** Name as libbpf gives it: the variable's, or for data sections `<prefix>.rodata` in at most 15 bytes. */
  readonly name: string;
  /** The ELF section's name: `.maps`, `.rodata`, `.data.custom`. */
  readonly section: string;
  readonly origin: MapOrigin;
  /** UAPI number of the map type. */
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  readonly mapExtra: bigint;
  readonly numaNode: number;
  readonly pinning: 'none' | 'by_name';
  /** Ids in the object's BTF; 0 where unknown. */
  readonly btfKeyTypeId: number;
  readonly btfValueTypeId: number;
  /** The map that slots of a map-in-map hold. */
  readonly inner: MapSpec | undefined;
  /** Initial contents of value 0 for data sections, of its globals for an arena; undefined: all zero. */
  readonly initial: Uint8Array | undefined;
  /** What the slots of a map-in-map or program array hold from the start. */
  readonly values: readonly MapSlot[];
  readonly structOps: StructOpsSpec | undefined;
}

export type MapSlot =
  /** `map`: index in `ObjectSpec.maps`. */
  | { readonly index: number; readonly kind: 'map'; readonly map: number; readonly symbol: string }
  /** `program`: name of an entry program. */
  | { readonly index: number; readonly kind: 'program'; readonly program: string };

export interface StructOpsSpec {
  /** The kernel's struct. */
  readonly typeName: string;
  /** The struct in the object's BTF. */
  readonly typeId: number;
  readonly data: Uint8Array;
  /** From `.struct_ops.link`: attached by a link. */
  readonly link: boolean;
  readonly autocreate: boolean;
  /** Which program implements the pointer at an offset. */
  readonly functions: readonly { readonly offset: number; readonly program: string }[];
}

export interface KconfigSpec {
  readonly name: string;
  /** Position in the `.kconfig` map's value. */
  readonly offset: number;
  readonly size: number;
  readonly kind: 'bool' | 'char' | 'tristate' | 'int' | 'char_array';
  readonly signed: boolean;
  readonly weak: boolean;
  readonly typeId: number;
}
