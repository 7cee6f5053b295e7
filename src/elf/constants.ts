/**
 * Constants of the ELF-64 format that BPF objects use (System V ABI, gABI chapter 4; linux/elf.h) and the relocation
 * types of the BPF target (kernel: Documentation/bpf/llvm_reloc.rst). Data only.
 */

export const ET = { REL: 1, EXEC: 2, DYN: 3 } as const;

/** Machine number of BPF. Objects of old clang versions carry 0. */
export const EM_BPF = 247;

export const SHT = {
  NULL: 0,
  PROGBITS: 1,
  SYMTAB: 2,
  STRTAB: 3,
  RELA: 4,
  NOBITS: 8,
  REL: 9,
} as const;

export const SHF = {
  WRITE: 1,
  ALLOC: 2,
  EXECINSTR: 4,
  MERGE: 0x10,
  STRINGS: 0x20,
  INFO_LINK: 0x40,
} as const;

export const SHN = { UNDEF: 0, LORESERVE: 0xff00, ABS: 0xfff1, COMMON: 0xfff2, XINDEX: 0xffff } as const;

export const STB = { LOCAL: 0, GLOBAL: 1, WEAK: 2 } as const;
export const STT = { NOTYPE: 0, OBJECT: 1, FUNC: 2, SECTION: 3, FILE: 4, COMMON: 5, TLS: 6 } as const;
export const STV = { DEFAULT: 0, INTERNAL: 1, HIDDEN: 2, PROTECTED: 3 } as const;

/** Relocation types of the BPF target. */
export const R_BPF = {
  NONE: 0,
  /** The 64-bit immediate of an `ld_imm64`. */
  '64_64': 1,
  /** A 64-bit word in a data section. */
  '64_ABS64': 2,
  /** A 32-bit word in a data section. */
  '64_ABS32': 3,
  /** A 32-bit word in .BTF or .BTF.ext that run-time linkers must leave alone. */
  '64_NODYLD32': 4,
  /** The 32-bit immediate of a call. */
  '64_32': 10,
} as const;

const R_BPF_NAMES = new Map<number, string>(
  Object.entries(R_BPF).map(([name, type]) => [type, `R_BPF_${name}`]),
);

/** `R_BPF_64_64`, or `R_BPF_<number>` for a type that does not exist. */
export function relocationName(type: number): string {
  return R_BPF_NAMES.get(type) ?? `R_BPF_${type}`;
}
