/**
 * Reads the binary form of BTF (Documentation/bpf/btf.rst section 2 and 3): header, type section, string section.
 *
 * One pass checks the shape of every type (known kind, items inside the section, names inside the strings, type ids that exist) and
 * notes where it starts; types are decoded when asked for. So a vmlinux BTF of 5 MB opens in some ten milliseconds
 * and no later access can leave the bytes. Errors are BpfError EINVAL with the type id.
 */
import { BpfError, fromUtf8 } from '../util/index.ts';
import {
  BTF_KIND,
  BTF_KIND_EXTRA,
  BTF_KIND_NAMES,
  BTF_LINKAGE_NAMES,
  type BtfKind,
  type BtfLinkage,
  type BtfType,
} from './types.ts';

export const BTF_MAGIC = 0xeb9f;
const HEADER_SIZE = 24;
/** Highest type id that Linux accepts (BTF_MAX_TYPE). */
export const BTF_MAX_TYPE = 0xfffff;
/** Highest string offset that Linux accepts (BTF_MAX_NAME_OFFSET). */
export const BTF_MAX_NAME_OFFSET = 0xffffff;

/** Longest string that is read: names are far shorter, source lines in line info may be long. */
const MAX_STRING = 65_535;

function bad(what: string): BpfError {
  return new BpfError('EINVAL', `malformed BTF: ${what}`);
}

/** The strings of one BTF blob, by offset. */
export class BtfStrings {
  readonly bytes: Uint8Array;
  /** The whole section as one string where it is pure ASCII: substrings then cost no decoding. */
  readonly ascii: string | undefined;
  private readonly cache = new Map<number, string>();
  private decoded = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    const text = fromUtf8(bytes);
    // Every byte outside ASCII is part of a sequence that decodes to fewer characters, or to U+FFFD.
    this.ascii = text.length === bytes.length && !text.includes('\ufffd') ? text : undefined;
  }

  get(offset: number): string {
    if (this.bytes[offset] === 0) return '';
    const known = this.cache.get(offset);
    if (known !== undefined) return known;
    const end = this.bytes.indexOf(0, offset);
    // Strings may share their ends, so their sum is not bounded by the section: a hostile one would cost its square.
    this.decoded += end - offset;
    if (end - offset > MAX_STRING || (this.ascii === undefined && this.decoded > 16 * this.bytes.length)) {
      throw new BpfError('E2BIG', `BTF string at offset ${offset} has ${end - offset} bytes`);
    }
    const text = this.ascii?.slice(offset, end) ?? fromUtf8(this.bytes.subarray(offset, end));
    this.cache.set(offset, text);
    return text;
  }
}

/** The checked sections of a BTF blob: where each type starts, and its strings. */
export interface BtfSections {
  readonly littleEndian: boolean;
  readonly view: DataView;
  /** Byte offset of each own type in `view`; entry 0 is the first own type. */
  readonly offsets: Uint32Array;
  readonly strings: BtfStrings;
}

export interface BtfBaseInfo {
  readonly typeCount: number;
  readonly stringSize: number;
}

function readHeader(bytes: Uint8Array): {
  view: DataView;
  little: boolean;
  types: [number, number];
  strings: [number, number];
} {
  if (bytes.length < HEADER_SIZE) throw bad(`${bytes.length} bytes, shorter than the header`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const little = view.getUint16(0, true) === BTF_MAGIC;
  if (!little && view.getUint16(0, false) !== BTF_MAGIC) {
    throw bad(`magic 0x${view.getUint16(0, true).toString(16)}, expected 0xeb9f`);
  }
  const version = view.getUint8(2);
  if (version !== 1) throw new BpfError('ENOTSUPP', `BTF of version ${version}: only version 1 exists`);
  const headerSize = view.getUint32(4, little);
  if (headerSize < HEADER_SIZE || headerSize > bytes.length) throw bad(`header of ${headerSize} bytes`);
  const section = (at: number, what: string): [number, number] => {
    const start = headerSize + view.getUint32(at, little);
    const size = view.getUint32(at + 4, little);
    if (start + size > bytes.length) {
      throw bad(`${what} section (offset ${start}, ${size} bytes) reaches beyond the ${bytes.length} bytes`);
    }
    return [start, start + size];
  };
  const types = section(8, 'type');
  if (types[0] % 4 !== 0) throw bad(`type section at offset ${types[0]}, not a multiple of 4`);
  return { view, little, types, strings: section(16, 'string') };
}

/** Checks the shape of every type and notes where each starts. */
export function scanBtf(bytes: Uint8Array, base: BtfBaseInfo | undefined): BtfSections {
  const { view, little, types, strings } = readHeader(bytes);
  const stringBytes = bytes.subarray(strings[0], strings[1]);
  const firstString = base?.stringSize ?? 0;
  // A split BTF may have no strings of its own; a base BTF has at least the empty one.
  if (base === undefined && (stringBytes.length === 0 || stringBytes[0] !== 0)) {
    throw bad('string section does not begin with the empty string');
  }
  if (stringBytes.length > 0 && stringBytes[stringBytes.length - 1] !== 0) {
    throw bad('string section does not end with a zero byte');
  }
  const stringEnd = firstString + stringBytes.length;
  const firstId = base?.typeCount ?? 1;
  const offsets: number[] = [];
  // Largest type reference seen, checked once the number of types is known.
  let at = types[0];
  while (at < types[1]) {
    const id = firstId + offsets.length;
    if (at + 12 > types[1]) throw bad(`type id ${id}: header reaches beyond the type section`);
    const info = view.getUint32(at + 4, little);
    const kind = (info >>> 24) & 31;
    const extra = BTF_KIND_EXTRA[kind];
    if (extra === undefined || kind === BTF_KIND.void) throw bad(`type id ${id}: unknown kind ${kind}`);
    const size = 12 + extra.fixed + extra.perItem * (info & 0xffff);
    if (at + size > types[1]) {
      throw bad(
        `type id ${id}: ${BTF_KIND_NAMES[kind]} with ${info & 0xffff} items reaches beyond the type section`,
      );
    }
    offsets.push(at);
    at += size;
  }
  const typeCount = firstId + offsets.length;
  for (let i = 0; i < offsets.length; i++) {
    checkReferences(view, little, offsets[i]!, firstId + i, typeCount, stringEnd);
  }
  return {
    littleEndian: little,
    view,
    offsets: Uint32Array.from(offsets),
    strings: new BtfStrings(stringBytes),
  };
}

function checkName(offset: number, id: number, stringEnd: number): void {
  if (offset >= stringEnd) throw bad(`type id ${id}: name at offset ${offset} of ${stringEnd} string bytes`);
}

function checkTarget(target: number, id: number, typeCount: number): void {
  if (target >= typeCount) throw bad(`type id ${id}: refers to type id ${target} of ${typeCount}`);
}

/** Checks the names and type ids that one type refers to. Hot on vmlinux BTF: plain integer reads only. */
function checkReferences(
  view: DataView,
  little: boolean,
  at: number,
  id: number,
  typeCount: number,
  stringEnd: number,
): void {
  const info = view.getUint32(at + 4, little);
  const kind = (info >>> 24) & 31;
  const vlen = info & 0xffff;
  checkName(view.getUint32(at, little), id, stringEnd);
  switch (kind) {
    case BTF_KIND.ptr:
    case BTF_KIND.typedef:
    case BTF_KIND.volatile:
    case BTF_KIND.const:
    case BTF_KIND.restrict:
    case BTF_KIND.func:
    case BTF_KIND.func_proto:
    case BTF_KIND.var:
    case BTF_KIND.decl_tag:
    case BTF_KIND.type_tag:
      checkTarget(view.getUint32(at + 8, little), id, typeCount);
      break;
    case BTF_KIND.array:
      checkTarget(view.getUint32(at + 12, little), id, typeCount);
      checkTarget(view.getUint32(at + 16, little), id, typeCount);
      break;
    default:
      break;
  }
  const items = at + 12;
  switch (kind) {
    case BTF_KIND.struct:
    case BTF_KIND.union:
      for (let i = 0; i < vlen; i++) {
        checkName(view.getUint32(items + 12 * i, little), id, stringEnd);
        checkTarget(view.getUint32(items + 12 * i + 4, little), id, typeCount);
      }
      break;
    case BTF_KIND.func_proto:
      for (let i = 0; i < vlen; i++) {
        checkName(view.getUint32(items + 8 * i, little), id, stringEnd);
        checkTarget(view.getUint32(items + 8 * i + 4, little), id, typeCount);
      }
      break;
    case BTF_KIND.enum:
      for (let i = 0; i < vlen; i++) checkName(view.getUint32(items + 8 * i, little), id, stringEnd);
      break;
    case BTF_KIND.enum64:
      for (let i = 0; i < vlen; i++) checkName(view.getUint32(items + 12 * i, little), id, stringEnd);
      break;
    case BTF_KIND.datasec:
      for (let i = 0; i < vlen; i++) checkTarget(view.getUint32(items + 12 * i, little), id, typeCount);
      break;
    default:
      break;
  }
}

/** Kind of the type at a byte offset of a scanned blob. */
export function kindAt(sections: BtfSections, at: number): BtfKind {
  return BTF_KIND_NAMES[(sections.view.getUint32(at + 4, sections.littleEndian) >>> 24) & 31]!;
}

function linkage(value: number, id: number): BtfLinkage {
  const name = BTF_LINKAGE_NAMES[value];
  if (name === undefined) throw bad(`type id ${id}: linkage ${value}`);
  return name;
}

/** Decodes the type at byte offset `at`, as checked by `scanBtf`. `text` resolves string offsets. */
export function decodeType(
  sections: BtfSections,
  at: number,
  id: number,
  text: (offset: number) => string,
): BtfType {
  const { view, littleEndian: little } = sections;
  const u32 = (offset: number): number => view.getUint32(offset, little);
  const info = u32(at + 4);
  const kind = BTF_KIND_NAMES[(info >>> 24) & 31]!;
  const vlen = info & 0xffff;
  const kflag = info >>> 31 === 1;
  const name = text(u32(at));
  const sizeOrType = u32(at + 8);
  const items = at + 12;
  switch (kind) {
    case 'void':
      return { kind };
    case 'int': {
      const data = u32(items);
      const encoding = (data >>> 24) & 15;
      const bits = data & 0xff;
      const bitOffset = (data >>> 16) & 0xff;
      if (bits > 128 || bitOffset + bits > sizeOrType * 8 || sizeOrType > 16) {
        throw bad(`type id ${id}: int '${name}' of ${bits} bits at bit ${bitOffset} in ${sizeOrType} bytes`);
      }
      return {
        kind,
        name,
        size: sizeOrType,
        signed: (encoding & 1) !== 0,
        char: (encoding & 2) !== 0,
        bool: (encoding & 4) !== 0,
        bitOffset,
        bits,
      };
    }
    case 'ptr':
      return { kind, type: sizeOrType };
    case 'array':
      return { kind, type: u32(items), indexType: u32(items + 4), count: u32(items + 8) };
    case 'struct':
    case 'union': {
      const members = Array.from({ length: vlen }, (_, i) => {
        const offset = u32(items + 12 * i + 8);
        return {
          name: text(u32(items + 12 * i)),
          type: u32(items + 12 * i + 4),
          bitOffset: kflag ? offset & 0xffffff : offset,
          bitSize: kflag ? offset >>> 24 : 0,
        };
      });
      return { kind, name, size: sizeOrType, members };
    }
    case 'enum': {
      const values = Array.from({ length: vlen }, (_, i) => {
        const value = u32(items + 8 * i + 4);
        return { name: text(u32(items + 8 * i)), value: BigInt(kflag ? value | 0 : value) };
      });
      // Enums of compilers before the kflag carry no sign: a value that reads negative says it.
      return { kind, name, size: sizeOrType, signed: kflag, values };
    }
    case 'enum64': {
      const values = Array.from({ length: vlen }, (_, i) => {
        const value = (BigInt(u32(items + 12 * i + 8)) << 32n) | BigInt(u32(items + 12 * i + 4));
        return { name: text(u32(items + 12 * i)), value: kflag ? BigInt.asIntN(64, value) : value };
      });
      return { kind, name, size: sizeOrType, signed: kflag, values };
    }
    case 'fwd':
      return { kind, name, of: kflag ? 'union' : 'struct' };
    case 'typedef':
      return { kind, name, type: sizeOrType };
    case 'volatile':
    case 'const':
    case 'restrict':
      return { kind, type: sizeOrType };
    case 'type_tag':
      return { kind, name, type: sizeOrType, attribute: kflag };
    case 'func':
      return { kind, name, type: sizeOrType, linkage: linkage(vlen, id) };
    case 'func_proto': {
      const params = Array.from({ length: vlen }, (_, i) => ({
        name: text(u32(items + 8 * i)),
        type: u32(items + 8 * i + 4),
      }));
      return { kind, returnType: sizeOrType, params };
    }
    case 'var':
      return { kind, name, type: sizeOrType, linkage: linkage(u32(items), id) };
    case 'datasec': {
      const vars = Array.from({ length: vlen }, (_, i) => ({
        type: u32(items + 12 * i),
        offset: u32(items + 12 * i + 4),
        size: u32(items + 12 * i + 8),
      }));
      return { kind, name, size: sizeOrType, vars };
    }
    case 'float':
      return { kind, name, size: sizeOrType };
    case 'decl_tag':
      return { kind, name, type: sizeOrType, componentIndex: view.getInt32(items, little), attribute: kflag };
    default: {
      const never: never = kind;
      throw bad(`type id ${id}: kind ${String(never)}`);
    }
  }
}
