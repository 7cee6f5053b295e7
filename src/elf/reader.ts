/**
 * Reads ELF-64 files of either byte order: sections, symbols, relocations.
 *
 * Invariant: every offset, size, index and string is checked against the file before it is used, so a malformed file
 * gives a BpfError (ENOEXEC where it is no ELF file at all, EINVAL otherwise) that names the section or file offset,
 * and never reads outside the bytes given. Contents are views of the input, not copies.
 */
import { BpfError, fromUtf8 } from '../util/index.ts';
import { SHN, SHT } from './constants.ts';

export interface ElfSection {
  /** Index in the section header table; 0 is the null section. */
  readonly index: number;
  readonly name: string;
  /** `SHT.*` */
  readonly type: number;
  /** `SHF.*`, lower 32 bits. */
  readonly flags: number;
  readonly offset: number;
  /** Size in bytes; for NOBITS sections the file holds none of them. */
  readonly size: number;
  readonly link: number;
  readonly info: number;
  readonly align: number;
  readonly entrySize: number;
  /** The contents; empty for NOBITS. */
  readonly data: Uint8Array;
}

export interface ElfSymbol {
  readonly index: number;
  readonly name: string;
  /** Offset in its section. */
  readonly value: number;
  readonly size: number;
  /** `STB.*` */
  readonly bind: number;
  /** `STT.*` */
  readonly type: number;
  /** `STV.*` */
  readonly visibility: number;
  /** Section index, or one of `SHN.*`. */
  readonly section: number;
}

export interface ElfRelocation {
  /** Byte offset in the target section. */
  readonly offset: number;
  /** `R_BPF.*` */
  readonly type: number;
  readonly symbol: ElfSymbol;
  /** Explicit addend of RELA sections; undefined for REL, where the addend is in the relocated field. */
  readonly addend: number | undefined;
}

export interface ElfFile {
  readonly bytes: Uint8Array;
  readonly littleEndian: boolean;
  /** `ET.*` */
  readonly type: number;
  readonly machine: number;
  readonly flags: number;
  readonly sections: readonly ElfSection[];
  readonly symbols: readonly ElfSymbol[];
  /** The first section of that name. */
  section(name: string): ElfSection | undefined;
  /** All relocations that apply to a section, in the order of their offsets in the file. */
  relocations(sectionIndex: number): readonly ElfRelocation[];
}

const EHDR_SIZE = 64;
const SHDR_SIZE = 64;
const SYM_SIZE = 24;
/** Longest name that is read: many names may share the tail of one string, so their sum is not bounded by the file. */
const MAX_NAME = 4096;

function bad(what: string): BpfError {
  return new BpfError('EINVAL', `malformed ELF file: ${what}`);
}

class View {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly little: boolean;

  constructor(bytes: Uint8Array, little: boolean) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.little = little;
  }

  u8(at: number): number {
    return this.view.getUint8(at);
  }

  u16(at: number): number {
    return this.view.getUint16(at, this.little);
  }

  u32(at: number): number {
    return this.view.getUint32(at, this.little);
  }

  /** A 64-bit word as a number; values above 2^53 become inexact but stay too large for any check to pass. */
  u64(at: number): number {
    const a = this.view.getUint32(at, this.little);
    const b = this.view.getUint32(at + 4, this.little);
    return this.little ? b * 0x1_0000_0000 + a : a * 0x1_0000_0000 + b;
  }

  s64(at: number): number {
    return Number(this.view.getBigInt64(at, this.little));
  }
}

/** True where the bytes begin with the ELF magic. */
export function isElf(bytes: Uint8Array): boolean {
  return bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46;
}

function stringAt(table: ElfSection, offset: number, what: string): string {
  if (offset >= table.data.length) {
    if (offset === 0) return '';
    throw bad(
      `${what}: name at offset ${offset} is outside string table '${table.name}' (${table.data.length} bytes)`,
    );
  }
  const end = table.data.indexOf(0, offset);
  if (end - offset > MAX_NAME)
    throw bad(`${what}: name of ${end - offset} bytes, at most ${MAX_NAME} are read`);
  if (end < 0) throw bad(`${what}: name in string table '${table.name}' is not terminated`);
  return fromUtf8(table.data.subarray(offset, end));
}

function readSections(view: View): ElfSection[] {
  const fileSize = view.bytes.length;
  const tableOffset = view.u64(40);
  const entrySize = view.u16(58);
  let count = view.u16(60);
  let namesIndex: number = view.u16(62);
  if (tableOffset === 0) return [];
  if (entrySize !== SHDR_SIZE) throw bad(`section headers of ${entrySize} bytes, expected ${SHDR_SIZE}`);
  if (tableOffset + SHDR_SIZE > fileSize) {
    throw bad(`section header table at offset ${tableOffset} is outside the file (${fileSize} bytes)`);
  }
  // Extended numbering (gABI): with too many sections for 16 bits the null section holds count and name index.
  if (count === 0) count = view.u64(tableOffset + 32);
  if (namesIndex === SHN.XINDEX) namesIndex = view.u32(tableOffset + 40);
  if (tableOffset + count * SHDR_SIZE > fileSize) {
    throw bad(`${count} section headers at offset ${tableOffset} do not fit in the file (${fileSize} bytes)`);
  }
  const nameOffsets: number[] = [];
  const headers: ElfSection[] = [];
  for (let index = 0; index < count; index++) {
    const at = tableOffset + index * SHDR_SIZE;
    const type = view.u32(at + 4);
    const offset = view.u64(at + 24);
    const size = view.u64(at + 32);
    const inFile = type !== SHT.NULL && type !== SHT.NOBITS;
    if (inFile && offset + size > fileSize) {
      throw bad(
        `section ${index} (offset ${offset}, ${size} bytes) reaches beyond the file (${fileSize} bytes)`,
      );
    }
    nameOffsets.push(view.u32(at));
    headers.push({
      index,
      name: '',
      type,
      flags: view.little ? view.u32(at + 8) : view.u32(at + 12),
      offset,
      size: type === SHT.NULL ? 0 : size,
      link: view.u32(at + 40),
      info: view.u32(at + 44),
      align: view.u64(at + 48),
      entrySize: view.u64(at + 56),
      data: inFile ? view.bytes.subarray(offset, offset + size) : new Uint8Array(0),
    });
  }
  if (count === 0) return [];
  const names = headers[namesIndex];
  if (names === undefined) throw bad(`section name table index ${namesIndex} of ${count} sections`);
  return headers.map((header, index) => ({
    ...header,
    name: index === 0 ? '' : stringAt(names, nameOffsets[index]!, `section ${index}`),
  }));
}

function readSymbols(view: View, sections: readonly ElfSection[]): ElfSymbol[] {
  const table = sections.find((section) => section.type === SHT.SYMTAB);
  if (table === undefined) return [];
  if (table.entrySize !== SYM_SIZE || table.size % SYM_SIZE !== 0) {
    throw bad(`symbol table '${table.name}' of ${table.size} bytes with entries of ${table.entrySize} bytes`);
  }
  const strings = sections[table.link];
  if (strings === undefined) throw bad(`symbol table '${table.name}' links to section ${table.link}`);
  const symbols: ElfSymbol[] = [];
  for (let index = 0; index * SYM_SIZE < table.size; index++) {
    const at = table.offset + index * SYM_SIZE;
    const info = view.u8(at + 4);
    const section = view.u16(at + 6);
    if (section < SHN.LORESERVE && section >= Math.max(sections.length, 1)) {
      throw bad(`symbol ${index} is in section ${section} of ${sections.length}`);
    }
    const type = info & 15;
    const name = stringAt(strings, view.u32(at), `symbol ${index}`);
    symbols.push({
      index,
      name,
      value: view.u64(at + 8),
      size: view.u64(at + 16),
      bind: info >> 4,
      type,
      visibility: view.u8(at + 5) & 3,
      section,
    });
  }
  return symbols;
}

function readRelocations(
  view: View,
  section: ElfSection,
  target: ElfSection,
  symbols: readonly ElfSymbol[],
): ElfRelocation[] {
  const withAddend = section.type === SHT.RELA;
  const entrySize = withAddend ? 24 : 16;
  if (section.size % entrySize !== 0 || (section.entrySize !== entrySize && section.entrySize !== 0)) {
    throw bad(
      `relocation section '${section.name}' of ${section.size} bytes with entries of ${section.entrySize} bytes`,
    );
  }
  const relocations: ElfRelocation[] = [];
  for (let at = section.offset; at < section.offset + section.size; at += entrySize) {
    const offset = view.u64(at);
    // r_info is (symbol << 32) | type, one 64-bit word of the file's byte order.
    const type = view.u32(at + (view.little ? 8 : 12));
    const symbolIndex = view.u32(at + (view.little ? 12 : 8));
    const symbol = symbols[symbolIndex];
    if (symbol === undefined) {
      throw bad(
        `relocation '${section.name}' at offset ${offset} names symbol ${symbolIndex} of ${symbols.length}`,
      );
    }
    if (offset >= target.size) {
      throw bad(
        `relocation '${section.name}' at offset ${offset} is outside '${target.name}' (${target.size} bytes)`,
      );
    }
    relocations.push({ offset, type, symbol, addend: withAddend ? view.s64(at + 16) : undefined });
  }
  return relocations;
}

/**
 * Parses an ELF-64 file of either byte order. The result keeps views of `bytes`.
 *
 * Errors: ENOEXEC where the bytes are not an ELF-64 file; EINVAL with section or offset where it is malformed.
 */
export function parseElf(input: Uint8Array): ElfFile {
  // A plain view: Buffer is a Uint8Array whose slice() does not copy.
  const bytes = new Uint8Array(input.buffer, input.byteOffset, input.byteLength);
  if (!isElf(bytes)) {
    throw new BpfError('ENOEXEC', 'not an ELF file: the first four bytes are not 7f 45 4c 46', {
      hint: 'give an object file as clang -target bpf -c writes it',
    });
  }
  if (bytes.length < EHDR_SIZE) throw bad(`${bytes.length} bytes, shorter than the ELF header`);
  const dataEncoding = bytes[5];
  if (bytes[4] !== 2) {
    throw new BpfError('ENOEXEC', `ELF class ${bytes[4]}: only 64-bit ELF files hold BPF programs`);
  }
  if (dataEncoding !== 1 && dataEncoding !== 2) {
    throw new BpfError('ENOEXEC', `ELF data encoding ${dataEncoding}: neither little nor big endian`);
  }
  const view = new View(bytes, dataEncoding === 1);
  const sections = readSections(view);
  const symbols = readSymbols(view, sections);
  const byName = new Map<string, ElfSection>();
  for (const section of sections) if (!byName.has(section.name)) byName.set(section.name, section);
  const relocated = new Map<number, ElfSection[]>();
  let relocationBytes = 0;
  for (const section of sections) {
    if (section.type !== SHT.REL && section.type !== SHT.RELA) continue;
    relocationBytes += section.size;
    // Overlapping sections would make the work grow with the square of the file.
    if (relocationBytes > bytes.length) throw bad(`relocation sections overlap at '${section.name}'`);
    if (section.info === 0 || section.info >= sections.length) {
      throw bad(
        `relocation section '${section.name}' applies to section ${section.info} of ${sections.length}`,
      );
    }
    const list = relocated.get(section.info);
    if (list === undefined) relocated.set(section.info, [section]);
    else list.push(section);
  }
  return {
    bytes,
    littleEndian: view.little,
    type: view.u16(16),
    machine: view.u16(18),
    flags: view.u32(48),
    sections,
    symbols,
    section: (name) => byName.get(name),
    relocations(sectionIndex) {
      const target = sections[sectionIndex];
      if (target === undefined) return [];
      return (relocated.get(sectionIndex) ?? [])
        .flatMap((section) => readRelocations(view, section, target, symbols))
        .sort((a, b) => a.offset - b.offset);
    },
  };
}
