/** ELF executables of a few hundred bytes for tests: one segment of code, one of data, symbols, USDT notes. */
import { concatBytes, utf8 } from '../../src/util/bytes.ts';

export interface TinySymbol {
  readonly name: string;
  readonly address: number;
  readonly size?: number;
  readonly weak?: boolean;
  /** STT_FUNC unless said otherwise. */
  readonly type?: number;
}

export interface TinyNote {
  readonly provider: string;
  readonly name: string;
  readonly arguments: string;
  readonly address: number;
  readonly semaphore?: number;
  /** Address of `.stapsdt.base` when the note was made. */
  readonly base?: number;
}

export interface TinyElf {
  readonly wide?: boolean;
  readonly littleEndian?: boolean;
  readonly machine?: number;
  readonly type?: number;
  readonly symbols?: readonly TinySymbol[];
  readonly dynamic?: readonly TinySymbol[];
  readonly notes?: readonly TinyNote[];
}

/** Where the segments are: code in the file at 0x100, in memory at CODE; data at 0x180 and DATA. */
export const CODE = 0x401000;
export const CODE_OFFSET = 0x100;
export const DATA = 0x403000;
export const DATA_OFFSET = 0x180;
export const BASE = 0x402000;
const SEGMENT = 0x80;

class Writer {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly little: boolean;
  readonly wide: boolean;

  constructor(size: number, wide: boolean, little: boolean) {
    this.bytes = new Uint8Array(size);
    this.view = new DataView(this.bytes.buffer);
    this.wide = wide;
    this.little = little;
  }
  u8(at: number, value: number): void {
    this.view.setUint8(at, value);
  }
  u16(at: number, value: number): void {
    this.view.setUint16(at, value, this.little);
  }
  u32(at: number, value: number): void {
    this.view.setUint32(at, value, this.little);
  }
  long(at: number, value: number): void {
    if (this.wide) this.view.setBigUint64(at, BigInt(value), this.little);
    else this.u32(at, value);
  }
}

interface Section {
  readonly name: string;
  readonly type: number;
  readonly data: Uint8Array;
  readonly address?: number;
  readonly link?: number;
  readonly entrySize?: number;
}

export function tinyElf(options: TinyElf = {}): Uint8Array {
  const { wide = true, littleEndian = true, machine = 62, type = 3 } = options;
  const word = wide ? 8 : 4;
  const writer = (size: number) => new Writer(size, wide, littleEndian);

  const table = (list: readonly TinySymbol[]): [Uint8Array, Uint8Array] => {
    const entry = wide ? 24 : 16;
    const out = writer(entry * (list.length + 1));
    let names = '\0';
    list.forEach(({ name, address, size = 16, weak, type: kind = 2 }, index) => {
      const at = entry * (index + 1);
      out.u32(at, names.length);
      names += `${name}\0`;
      out.u8(at + (wide ? 4 : 12), ((weak ? 2 : 1) << 4) | kind);
      out.u16(at + (wide ? 6 : 14), 1);
      out.long(at + (wide ? 8 : 4), address);
      out.long(at + (wide ? 16 : 8), size);
    });
    return [out.bytes, utf8(names)];
  };

  const notes = (options.notes ?? []).map((note) => {
    const strings = utf8(`${note.provider}\0${note.name}\0${note.arguments}\0`);
    const dataSize = 3 * word + strings.length;
    const out = writer(12 + 8 + Math.ceil(dataSize / 4) * 4);
    out.u32(0, 8);
    out.u32(4, dataSize);
    out.u32(8, 3);
    out.bytes.set(utf8('stapsdt\0'), 12);
    out.long(20, note.address);
    out.long(20 + word, note.base ?? BASE);
    out.long(20 + 2 * word, note.semaphore ?? 0);
    out.bytes.set(strings, 20 + 3 * word);
    return out.bytes;
  });

  const [symbols, symbolNames] = table(options.symbols ?? []);
  const [dynamic, dynamicNames] = table(options.dynamic ?? []);
  const entrySize = wide ? 24 : 16;
  const sections: Section[] = [
    { name: '', type: 0, data: new Uint8Array() },
    { name: '.symtab', type: 2, data: symbols, link: 2, entrySize },
    { name: '.strtab', type: 3, data: symbolNames },
    { name: '.dynsym', type: 11, data: dynamic, link: 4, entrySize },
    { name: '.dynstr', type: 3, data: dynamicNames },
    { name: '.note.stapsdt', type: 7, data: concatBytes(notes) },
    { name: '.stapsdt.base', type: 1, data: new Uint8Array(1), address: BASE },
  ];
  const names = `${sections.map(({ name }) => name).join('\0')}\0.shstrtab\0`;
  sections.push({ name: '.shstrtab', type: 3, data: utf8(names) });

  const head = writer(0x200);
  head.bytes.set([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, littleEndian ? 1 : 2, 1]);
  head.u16(16, type);
  head.u16(18, machine);
  const programHeaders = wide ? 64 : 52;
  const programSize = wide ? 56 : 32;
  head.long(wide ? 32 : 28, programHeaders);
  head.u16(wide ? 54 : 42, programSize);
  head.u16(wide ? 56 : 44, 2);
  const segments = [
    { flags: 5, offset: CODE_OFFSET, address: CODE },
    { flags: 6, offset: DATA_OFFSET, address: DATA },
  ];
  segments.forEach(({ flags, offset, address }, index) => {
    const at = programHeaders + index * programSize;
    head.u32(at, 1);
    head.u32(at + (wide ? 4 : 24), flags);
    head.long(at + (wide ? 8 : 4), offset);
    head.long(at + (wide ? 16 : 8), address);
    head.long(at + (wide ? 32 : 16), SEGMENT);
    head.long(at + (wide ? 40 : 20), SEGMENT);
  });

  const headerSize = wide ? 64 : 40;
  const headers = writer(headerSize * sections.length);
  let offset = head.bytes.length;
  sections.forEach((section, index) => {
    const at = index * headerSize;
    const before = sections.slice(0, index).reduce((sum, { name }) => sum + name.length + 1, 0);
    headers.u32(at, before);
    headers.u32(at + 4, section.type);
    headers.long(at + (wide ? 16 : 12), section.address ?? 0);
    headers.long(at + (wide ? 24 : 16), offset);
    headers.long(at + (wide ? 32 : 20), section.data.length);
    headers.u32(at + (wide ? 40 : 24), section.link ?? 0);
    headers.long(at + (wide ? 56 : 36), section.entrySize ?? 0);
    offset += section.data.length;
  });
  head.long(wide ? 40 : 32, offset);
  head.u16(wide ? 58 : 46, headerSize);
  head.u16(wide ? 60 : 48, sections.length);
  head.u16(wide ? 62 : 50, sections.length - 1);
  return concatBytes([head.bytes, ...sections.map(({ data }) => data), headers.bytes]);
}
