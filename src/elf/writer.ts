/**
 * Writes relocatable ELF-64 files (gABI chapter 4): sections, symbols, REL relocations, as clang's BPF target lays
 * them out. Local symbols come first in the table, as the format demands; handles given out stay valid.
 */
import { alignUp, InternalError, utf8 } from '../util/index.ts';
import { EM_BPF, ET, SHF, SHN, SHT, STB, STT } from './constants.ts';

/** Handle of a section inside one writer: its index in the file. */
export type ElfSectionId = number;
/** Handle of a symbol inside one writer. */
export type ElfSymbolId = number;

export interface ElfSectionInput {
  readonly name: string;
  /** `SHT.*`, default PROGBITS. */
  readonly type?: number;
  /** `SHF.*`, default 0. */
  readonly flags?: number;
  /** A power of two, default 1. */
  readonly align?: number;
  readonly entrySize?: number;
  /** Contents; NOBITS sections give `size` instead. */
  readonly data?: Uint8Array;
  readonly size?: number;
}

export interface ElfSymbolInput {
  readonly name: string;
  /** Where it is; absent: undefined (extern). `'abs'` for absolute symbols such as file names. */
  readonly section?: ElfSectionId | 'abs';
  readonly value?: number;
  readonly size?: number;
  readonly bind?: number;
  readonly type?: number;
  readonly visibility?: number;
}

interface PendingSection {
  input: ElfSectionInput;
  data: Uint8Array;
  relocations: { offset: number; type: number; symbol: ElfSymbolId }[];
}

class StringTable {
  private readonly offsets = new Map<string, number>([['', 0]]);
  private readonly parts: Uint8Array[] = [new Uint8Array(1)];
  private size = 1;

  add(text: string): number {
    const known = this.offsets.get(text);
    if (known !== undefined) return known;
    const offset = this.size;
    const bytes = utf8(text);
    const terminated = new Uint8Array(bytes.length + 1);
    terminated.set(bytes);
    this.parts.push(terminated);
    this.size += terminated.length;
    this.offsets.set(text, offset);
    return offset;
  }

  bytes(): Uint8Array {
    const whole = new Uint8Array(this.size);
    let at = 0;
    for (const part of this.parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }
}

/** Collects sections, symbols and relocations; `bytes()` lays them out. */
export class ElfWriter {
  readonly littleEndian: boolean;
  private readonly machine: number;
  private readonly sections: PendingSection[] = [];
  private readonly symbols: ElfSymbolInput[] = [];

  constructor(options: { littleEndian?: boolean; machine?: number } = {}) {
    this.littleEndian = options.littleEndian ?? true;
    this.machine = options.machine ?? EM_BPF;
  }

  addSection(input: ElfSectionInput): ElfSectionId {
    this.sections.push({ input, data: input.data ?? new Uint8Array(0), relocations: [] });
    return this.sections.length;
  }

  /** Replaces the contents of a section, for data that is known only after its symbols. */
  setData(section: ElfSectionId, data: Uint8Array): void {
    this.pending(section).data = data;
  }

  addSymbol(input: ElfSymbolInput): ElfSymbolId {
    this.symbols.push(input);
    return this.symbols.length - 1;
  }

  /** Adds a REL entry: the field at `offset` of `section` refers to `symbol`. */
  addRelocation(section: ElfSectionId, offset: number, type: number, symbol: ElfSymbolId): void {
    if (this.symbols[symbol] === undefined)
      throw new InternalError(`relocation against symbol handle ${symbol}`);
    this.pending(section).relocations.push({ offset, type, symbol });
  }

  private pending(section: ElfSectionId): PendingSection {
    const pending = this.sections[section - 1];
    if (pending === undefined) throw new InternalError(`section handle ${section} was not given out`);
    return pending;
  }

  bytes(): Uint8Array {
    const little = this.littleEndian;
    const strings = new StringTable();
    // The format wants local symbols before all others.
    const order = this.symbols.map((_, handle) => handle);
    const isLocal = (handle: number): boolean => (this.symbols[handle]!.bind ?? STB.LOCAL) === STB.LOCAL;
    order.sort((a, b) => Number(isLocal(b)) - Number(isLocal(a)) || a - b);
    const symbolIndex = new Map(order.map((handle, position) => [handle, position + 1]));
    const locals = order.filter(isLocal).length;

    const symtab = new Uint8Array(24 * (order.length + 1));
    const symView = new DataView(symtab.buffer);
    order.forEach((handle, position) => {
      const symbol = this.symbols[handle]!;
      const at = 24 * (position + 1);
      symView.setUint32(at, strings.add(symbol.name), little);
      symView.setUint8(at + 4, ((symbol.bind ?? STB.LOCAL) << 4) | (symbol.type ?? STT.NOTYPE));
      symView.setUint8(at + 5, symbol.visibility ?? 0);
      const section = symbol.section === 'abs' ? SHN.ABS : (symbol.section ?? SHN.UNDEF);
      symView.setUint16(at + 6, section, little);
      symView.setBigUint64(at + 8, BigInt(symbol.value ?? 0), little);
      symView.setBigUint64(at + 16, BigInt(symbol.size ?? 0), little);
    });

    interface Placed {
      input: ElfSectionInput;
      data: Uint8Array;
      link: number;
      info: number;
    }
    const placed: Placed[] = this.sections.map(({ input, data }) => ({ input, data, link: 0, info: 0 }));
    const relocated = this.sections.filter((section) => section.relocations.length > 0);
    const symtabIndex = this.sections.length + relocated.length + 1;
    for (const section of relocated) {
      const data = new Uint8Array(16 * section.relocations.length);
      const view = new DataView(data.buffer);
      section.relocations.forEach((relocation, i) => {
        view.setBigUint64(16 * i, BigInt(relocation.offset), little);
        const info = (BigInt(symbolIndex.get(relocation.symbol)!) << 32n) | BigInt(relocation.type);
        view.setBigUint64(16 * i + 8, info, little);
      });
      placed.push({
        input: {
          name: `.rel${section.input.name}`,
          type: SHT.REL,
          flags: SHF.INFO_LINK,
          align: 8,
          entrySize: 16,
        },
        data,
        link: symtabIndex,
        info: this.sections.indexOf(section) + 1,
      });
    }
    const symtabInput = { name: '.symtab', type: SHT.SYMTAB, align: 8, entrySize: 24 };
    placed.push({ input: symtabInput, data: symtab, link: symtabIndex + 1, info: locals + 1 });
    const strtab: Placed = {
      input: { name: '.strtab', type: SHT.STRTAB },
      data: new Uint8Array(0),
      link: 0,
      info: 0,
    };
    placed.push(strtab);
    const nameOffsets = placed.map((section) => strings.add(section.input.name));
    strtab.data = strings.bytes();

    let at = 64;
    const offsets = placed.map((section) => {
      at = alignUp(at, section.input.align ?? 1);
      const offset = at;
      if (section.input.type !== SHT.NOBITS) at += section.data.length;
      return offset;
    });
    const headers = alignUp(at, 8);
    const file = new Uint8Array(headers + 64 * (placed.length + 1));
    const view = new DataView(file.buffer);
    file.set([0x7f, 0x45, 0x4c, 0x46, 2, little ? 1 : 2, 1]);
    view.setUint16(16, ET.REL, little);
    view.setUint16(18, this.machine, little);
    view.setUint32(20, 1, little);
    view.setBigUint64(40, BigInt(headers), little);
    view.setUint16(52, 64, little);
    view.setUint16(58, 64, little);
    view.setUint16(60, placed.length + 1, little);
    view.setUint16(62, placed.length, little);
    placed.forEach((section, i) => {
      const { input, data } = section;
      const type = input.type ?? SHT.PROGBITS;
      if (type !== SHT.NOBITS) file.set(data, offsets[i]!);
      const header = headers + 64 * (i + 1);
      view.setUint32(header, nameOffsets[i]!, little);
      view.setUint32(header + 4, type, little);
      view.setBigUint64(header + 8, BigInt(input.flags ?? 0), little);
      view.setBigUint64(header + 24, BigInt(offsets[i]!), little);
      view.setBigUint64(header + 32, BigInt(type === SHT.NOBITS ? (input.size ?? 0) : data.length), little);
      view.setUint32(header + 40, section.link, little);
      view.setUint32(header + 44, section.info, little);
      view.setBigUint64(header + 48, BigInt(input.align ?? 1), little);
      view.setBigUint64(header + 56, BigInt(input.entrySize ?? 0), little);
    });
    return file;
  }
}
