/**
 * Executables and shared libraries of the machine, as far as probes need them: functions by name with their offset in the file,
 * names by offset, notes. ELF of 32 and 64 bits and either byte order (System V gABI; symbol versions: LSB core, chapter 10).
 *
 * Invariant: every offset, size and index is checked against the file before it is used: a malformed file gives a BpfError
 * (ENOEXEC where it is no ELF file, EINVAL otherwise) or fewer symbols, never a read outside of the bytes or a long walk.
 */
import { fromUtf8, readCString } from '../../util/bytes.ts';
import { BpfError } from '../../util/errors.ts';
import { globMatch } from '../glob.ts';

const ET_DYN = 3;
const PT_LOAD = 1;
const PF_X = 1;
const SHT_SYMTAB = 2;
const SHT_DYNSYM = 11;
const SHT_NOTE = 7;
const SHT_NOBITS = 8;
const SHT_GNU_VERDEF = 0x6fff_fffd;
const SHT_GNU_VERSYM = 0x6fff_ffff;
const STT_FUNC = 2;
const STB_WEAK = 2;
/** A version that is not the default one: `name@VERSION` instead of `name@@VERSION`. */
const VERSYM_HIDDEN = 0x8000;
const MAX_NAME = 4096;

interface Segment {
  readonly address: number;
  readonly offset: number;
  readonly fileSize: number;
  readonly memorySize: number;
  readonly executable: boolean;
}

interface Section {
  readonly name: string;
  readonly type: number;
  readonly address: number;
  readonly offset: number;
  readonly size: number;
  readonly link: number;
  readonly info: number;
  readonly entrySize: number;
  readonly bytes: Uint8Array;
}

export interface FunctionSymbol {
  /** Without a version. */
  readonly name: string;
  /** `GLIBC_2.2.5`, undefined where there is none. */
  readonly version: string | undefined;
  /** Of several versions the one that programs are linked with now: `name@@VERSION`. */
  readonly isDefault: boolean;
  /** Virtual address as the file has it. */
  readonly address: number;
  readonly size: number;
  /** Where its code is in the file: what a uprobe takes. */
  readonly offset: number;
  readonly weak: boolean;
}

export interface ElfNote {
  readonly name: string;
  readonly type: number;
  readonly data: Uint8Array;
}

/** `e_machine` */
export const MACHINES = { x86_64: 62, aarch64: 183, i386: 3 } as const;

function bad(path: string, what: string): BpfError {
  return new BpfError('EINVAL', `${path}: malformed ELF file: ${what}`);
}

/** Position of a field in 32-bit and 64-bit files, and whether it is as wide as an address. */
type At = readonly [narrow: number, wide: number];

export class Executable {
  readonly path: string;
  readonly machine: number;
  readonly wide: boolean;
  readonly littleEndian: boolean;
  /** Loaded anywhere (shared library, PIE) rather than where the file says. */
  readonly relocatable: boolean;
  readonly segments: readonly Segment[];
  readonly #sections: readonly Section[];
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  #functions: FunctionSymbol[] | undefined;

  constructor(path: string, bytes: Uint8Array) {
    this.path = path;
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const isElf = bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46;
    if (!isElf || bytes.length < 52)
      throw new BpfError('ENOEXEC', `${path} is no ELF file`, {
        hint: 'probes want a program or a shared library, not a script',
      });
    this.wide = bytes[4] === 2;
    this.littleEndian = bytes[5] !== 2;
    if (this.wide && bytes.length < 64) throw bad(path, 'its header is cut off');
    this.relocatable = this.#u16(16) === ET_DYN;
    this.machine = this.#u16(18);
    this.segments = this.#readSegments();
    this.#sections = this.#readSections();
  }

  /** Functions of the dynamic and of the full symbol table, in that order; each once. */
  functions(): readonly FunctionSymbol[] {
    this.#functions ??= this.#readFunctions();
    return this.#functions;
  }

  /**
   * Offset in the file of `name`, `name@VERSION` or `name@@VERSION`: the default version goes before older ones, a definition before
   * weak ones. Throws ENOENT, or ENOTUNIQ where several different functions have the name.
   */
  functionOffset(name: string): number {
    const [plain, version, defaultOnly] = splitVersion(name);
    let found: FunctionSymbol | undefined;
    for (const symbol of this.functions()) {
      if (symbol.name !== plain) continue;
      if (version !== undefined && symbol.version !== version) continue;
      if (defaultOnly && !symbol.isDefault) continue;
      const better = found === undefined ? 1 : rank(symbol) - rank(found);
      if (better > 0) found = symbol;
      else if (better === 0 && found !== undefined && found.offset !== symbol.offset)
        throw new BpfError('ENOTUNIQ', `${this.path} has several functions '${name}'`, {
          hint: `take one by its offset in the file: 0x${found.offset.toString(16)}, 0x${symbol.offset.toString(16)}`,
        });
    }
    if (found !== undefined) return found.offset;
    const similar = this.#similar(plain);
    throw new BpfError('ENOENT', `${this.path} has no function '${name}'`, {
      hint:
        this.functions().length === 0
          ? 'it has no symbol table: take an offset, or a binary that is not stripped'
          : similar.length > 0
            ? `there are ${similar.join(', ')}`
            : 'symbols that are not exported are missing in stripped binaries',
    });
  }

  /** Functions whose names match a pattern, each offset once, in the order of the file's tables. */
  matching(pattern: string): readonly FunctionSymbol[] {
    const offsets = new Set<number>();
    return this.functions().filter(({ name, offset }) => {
      if (offsets.has(offset) || !globMatch(name, pattern)) return false;
      offsets.add(offset);
      return true;
    });
  }

  /** Offset in the file of a virtual address, undefined where the file has nothing for it. */
  offsetOf(address: number, options: { executable?: boolean } = {}): number | undefined {
    for (const segment of this.segments) {
      if (options.executable !== undefined && segment.executable !== options.executable) continue;
      const within = address - segment.address;
      if (within >= 0 && within < segment.memorySize) return segment.offset + within;
    }
    return undefined;
  }

  /** The function at an offset in the file, and how far into it; for stacks. */
  functionAt(offset: number): { readonly symbol: FunctionSymbol; readonly within: number } | undefined {
    this.#byOffset ??= [...this.functions()].sort((a, b) => a.offset - b.offset || a.size - b.size);
    const list = this.#byOffset;
    let low = 0;
    let high = list.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (list[middle].offset <= offset) low = middle + 1;
      else high = middle;
    }
    const symbol = list[low - 1];
    if (symbol === undefined) return undefined;
    const within = offset - symbol.offset;
    return within < Math.max(symbol.size, 1) || symbol.size === 0 ? { symbol, within } : undefined;
  }
  #byOffset: FunctionSymbol[] | undefined;

  section(name: string): Section | undefined {
    return this.#sections.find((section) => section.name === name);
  }

  /** Notes of a section (`.note.stapsdt`), in its order. */
  notes(section: string): ElfNote[] {
    const notes: ElfNote[] = [];
    for (const { name, type, bytes } of this.#sections) {
      if (name !== section || type !== SHT_NOTE) continue;
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      for (let at = 0; at + 12 <= bytes.length; ) {
        const nameSize = view.getUint32(at, this.littleEndian);
        const dataSize = view.getUint32(at + 4, this.littleEndian);
        const data = at + 12 + padded(nameSize);
        if (data + dataSize > bytes.length) throw bad(this.path, `note at ${at} of ${section} is cut off`);
        notes.push({
          name: readCString(bytes.subarray(at + 12, at + 12 + nameSize)),
          type: view.getUint32(at + 8, this.littleEndian),
          data: bytes.subarray(data, data + dataSize),
        });
        at = data + padded(dataSize);
      }
    }
    return notes;
  }

  /** A word of the file's address size out of `bytes`. */
  address(bytes: Uint8Array, at: number): number {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    return this.wide
      ? Number(view.getBigUint64(at, this.littleEndian))
      : view.getUint32(at, this.littleEndian);
  }

  #u16(at: number): number {
    return this.#view.getUint16(at, this.littleEndian);
  }

  #u32(at: number): number {
    return this.#view.getUint32(at, this.littleEndian);
  }

  #half(base: number, [narrow, wide]: At): number {
    return this.#u16(base + (this.wide ? wide : narrow));
  }

  #word(base: number, [narrow, wide]: At): number {
    return this.#u32(base + (this.wide ? wide : narrow));
  }

  #long(base: number, [narrow, wide]: At): number {
    return this.wide
      ? Number(this.#view.getBigUint64(base + wide, this.littleEndian))
      : this.#u32(base + narrow);
  }

  /** Starts of the entries of a header table that is wholly in the file. */
  #table(start: number, count: number, size: number, least: number, what: string): number[] {
    if (count === 0 || start === 0) return [];
    if (size < least || start + count * size > this.#bytes.length)
      throw bad(this.path, `its ${what} are outside of the file`);
    return Array.from({ length: count }, (_, index) => start + index * size);
  }

  #readSegments(): Segment[] {
    const starts = this.#table(
      this.#long(0, [28, 32]),
      this.#half(0, [44, 56]),
      this.#half(0, [42, 54]),
      this.wide ? 56 : 32,
      'program headers',
    );
    return starts
      .filter((at) => this.#u32(at) === PT_LOAD)
      .map((at) => ({
        executable: (this.#word(at, [24, 4]) & PF_X) !== 0,
        offset: this.#long(at, [4, 8]),
        address: this.#long(at, [8, 16]),
        fileSize: this.#long(at, [16, 32]),
        memorySize: this.#long(at, [20, 40]),
      }));
  }

  #readSections(): Section[] {
    const starts = this.#table(
      this.#long(0, [32, 40]),
      this.#half(0, [48, 60]),
      this.#half(0, [46, 58]),
      this.wide ? 64 : 40,
      'section headers',
    );
    const raw = starts.map((at) => {
      const type = this.#u32(at + 4);
      const offset = this.#long(at, [16, 24]);
      const size = this.#long(at, [20, 32]);
      const there = type !== SHT_NOBITS && offset + size <= this.#bytes.length;
      return {
        nameAt: this.#u32(at),
        type,
        address: this.#long(at, [12, 16]),
        offset,
        size,
        link: this.#word(at, [24, 40]),
        info: this.#word(at, [28, 44]),
        entrySize: this.#long(at, [36, 56]),
        bytes: there ? this.#bytes.subarray(offset, offset + size) : new Uint8Array(),
      };
    });
    const names = raw[this.#half(0, [50, 62])]?.bytes ?? new Uint8Array();
    return raw.map(({ nameAt, ...section }) => ({ name: text(names, nameAt), ...section }));
  }

  #readFunctions(): FunctionSymbol[] {
    const functions: FunctionSymbol[] = [];
    // The full table says what the dynamic one says once more, without versions.
    const dynamic = new Set<string>();
    for (const type of [SHT_DYNSYM, SHT_SYMTAB]) {
      this.#sections.forEach((section, index) => {
        if (section.type !== type) return;
        for (const symbol of this.#symbolsOf(section, index)) {
          const key = `${symbol.name} ${symbol.address}`;
          if (type === SHT_DYNSYM) dynamic.add(key);
          else if (dynamic.has(key)) continue;
          functions.push(symbol);
        }
      });
    }
    return functions;
  }

  *#symbolsOf(table: Section, index: number): Generator<FunctionSymbol> {
    const strings = this.#sections[table.link]?.bytes ?? new Uint8Array();
    const size = this.wide ? 24 : 16;
    const view = new DataView(table.bytes.buffer, table.bytes.byteOffset, table.bytes.length);
    const versions = this.#versionsOf(index);
    for (let at = 0, number = 0; at + size <= table.bytes.length; at += size, number++) {
      const info = view.getUint8(at + (this.wide ? 4 : 12));
      if ((info & 15) !== STT_FUNC) continue;
      if (view.getUint16(at + (this.wide ? 6 : 14), this.littleEndian) === 0) continue;
      const address = this.address(table.bytes, at + (this.wide ? 8 : 4));
      const offset = this.offsetOf(address, { executable: true });
      if (offset === undefined) continue;
      const full = text(strings, view.getUint32(at, this.littleEndian));
      const [name, version, isDefault] = splitVersion(full);
      if (name === '') continue;
      const listed = version === undefined ? versions?.(number) : undefined;
      yield {
        name,
        version: version ?? listed?.name,
        isDefault: version === undefined ? listed === undefined || !listed.hidden : isDefault,
        address,
        size: this.wide ? this.address(table.bytes, at + 16) : view.getUint32(at + 8, this.littleEndian),
        offset,
        weak: info >> 4 === STB_WEAK,
      };
    }
  }

  /** Versions of the symbols of one table by number. */
  #versionsOf(
    table: number,
  ): ((symbol: number) => { readonly name: string; readonly hidden: boolean } | undefined) | undefined {
    const index = this.#sections.find(({ type, link }) => type === SHT_GNU_VERSYM && link === table);
    const names = this.#versionNames();
    if (index === undefined || names.size === 0) return undefined;
    const view = new DataView(index.bytes.buffer, index.bytes.byteOffset, index.bytes.length);
    return (symbol) => {
      if (2 * symbol + 2 > index.bytes.length) return undefined;
      const word = view.getUint16(2 * symbol, this.littleEndian);
      const name = names.get(word & ~VERSYM_HIDDEN);
      return name === undefined ? undefined : { name, hidden: (word & VERSYM_HIDDEN) !== 0 };
    };
  }

  /** Versions that the file defines (Elf64_Verdef, the same for 32 bits) by index; the first is the file's own name. */
  #versionNames(): Map<number, string> {
    const names = new Map<number, string>();
    const section = this.#sections.find(({ type }) => type === SHT_GNU_VERDEF);
    if (section === undefined) return names;
    const strings = this.#sections[section.link]?.bytes ?? new Uint8Array();
    const { bytes } = section;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    let at = 0;
    for (let count = 0; count < 65_536 && at + 20 <= bytes.length; count++) {
      const index = view.getUint16(at + 4, this.littleEndian);
      const aux = at + view.getUint32(at + 12, this.littleEndian);
      const isBase = (view.getUint16(at + 2, this.littleEndian) & 1) !== 0;
      if (!isBase && aux + 8 <= bytes.length)
        names.set(index, text(strings, view.getUint32(aux, this.littleEndian)));
      const next = view.getUint32(at + 16, this.littleEndian);
      if (next === 0) break;
      at += next;
    }
    return names;
  }

  #similar(name: string): string[] {
    if (name.length < 3) return [];
    const found = new Set<string>();
    for (const symbol of this.functions()) {
      if (symbol.name.includes(name)) found.add(symbol.name);
      if (found.size === 5) break;
    }
    return [...found];
  }
}

/** Which of several definitions is meant by the name alone. */
const rank = (symbol: FunctionSymbol): number => (symbol.isDefault ? 2 : 0) + (symbol.weak ? 0 : 1);

/** `name@V` → name, V; `name@@V` → name, V, true. */
function splitVersion(name: string): [string, string | undefined, boolean] {
  const at = name.indexOf('@');
  if (at <= 0) return [name, undefined, false];
  const isDefault = name[at + 1] === '@';
  return [name.slice(0, at), name.slice(at + (isDefault ? 2 : 1)), isDefault];
}

function text(strings: Uint8Array, at: number): string {
  if (at >= strings.length) return '';
  const end = strings.subarray(at, at + MAX_NAME).indexOf(0);
  return end < 0 ? '' : fromUtf8(strings.subarray(at, at + end));
}

const padded = (size: number): number => Math.ceil(size / 4) * 4;
