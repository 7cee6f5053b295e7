/**
 * Writes BTF: collects types in the model of `types.ts`, shares their strings, lays out the blob
 * (Documentation/bpf/btf.rst section 2). Ids are given in order of `add`; references are not checked here, `parseBtf` does.
 */
import { BpfError, concatBytes, fromUtf8, InternalError, utf8 } from '../util/index.ts';
import { type Btf, parseBtf } from './btf.ts';
import { BTF_MAGIC, BTF_MAX_NAME_OFFSET } from './parse.ts';
import { BTF_KIND, BTF_LINKAGE, type BtfMember, type BtfType, btfName } from './types.ts';

/** Strings by first use, each stored once. */
export class BtfStringTable {
  private readonly offsets = new Map<string, number>([['', 0]]);
  private readonly texts: string[] = [''];
  private size = 1;

  /**
   * Starts with an existing string section, byte for byte: `.BTF.ext` and line info records point into it by offset.
   * `bytes` is the section, NUL at its start and end.
   */
  static from(bytes: Uint8Array): BtfStringTable {
    const table = new BtfStringTable();
    for (let at = 1; at < bytes.length; ) {
      const end = bytes.indexOf(0, at);
      const stop = end < 0 ? bytes.length : end;
      const text = fromUtf8(bytes.subarray(at, stop));
      if (!table.offsets.has(text)) table.offsets.set(text, at);
      at = stop + 1;
    }
    table.prefix = bytes;
    table.size = bytes.length;
    table.texts.length = 0;
    return table;
  }

  private prefix: Uint8Array = new Uint8Array();

  /** Offset of `text`, added where it is new. Errors: E2BIG beyond what an offset can tell. */
  add(text: string): number {
    const known = this.offsets.get(text);
    if (known !== undefined) return known;
    const offset = this.size;
    if (offset > BTF_MAX_NAME_OFFSET) throw new BpfError('E2BIG', 'BTF strings take more than 16 MiB');
    this.offsets.set(text, offset);
    this.texts.push(text);
    this.size += utf8(text).length + 1;
    return offset;
  }

  bytes(): Uint8Array {
    return concatBytes([this.prefix, utf8(this.texts.map((text) => `${text}\0`).join(''))]);
  }
}

function usesKflag(members: readonly BtfMember[]): boolean {
  return members.some((member) => member.bitSize !== 0);
}

/** Collects types; `bytes()` is the blob, `build()` the parsed result. */
export class BtfBuilder {
  readonly strings: BtfStringTable;
  private readonly types: BtfType[] = [];

  constructor(strings = new BtfStringTable()) {
    this.strings = strings;
  }

  /** A builder that holds the own types of `btf` under their ids, and its strings at their offsets. Split BTF is not supported. */
  static from(btf: Btf): BtfBuilder {
    const builder = new BtfBuilder(BtfStringTable.from(btf.stringBytes));
    for (let id = 1; id < btf.typeCount; id++) builder.types.push(btf.type(id));
    return builder;
  }

  /** Adds a type and gives its id. */
  add(type: BtfType): number {
    this.types.push(type);
    return this.types.length;
  }

  /** Replaces the type with that id, e.g. to close a cycle. */
  set(id: number, type: BtfType): void {
    this.types[id - 1] = type;
  }

  get(id: number): BtfType | undefined {
    return id === 0 ? { kind: 'void' } : this.types[id - 1];
  }

  get typeCount(): number {
    return this.types.length + 1;
  }

  build(): Btf {
    return parseBtf(this.bytes());
  }

  bytes(options: { littleEndian?: boolean } = {}): Uint8Array {
    const little = options.littleEndian ?? true;
    const words: number[] = [];
    for (const type of this.types) this.encode(type, words);
    const strings = this.strings.bytes();
    const bytes = new Uint8Array(24 + 4 * words.length + strings.length);
    const view = new DataView(bytes.buffer);
    view.setUint16(0, BTF_MAGIC, little);
    view.setUint8(2, 1);
    view.setUint32(4, 24, little);
    view.setUint32(12, 4 * words.length, little);
    view.setUint32(16, 4 * words.length, little);
    view.setUint32(20, strings.length, little);
    words.forEach((word, i) => {
      view.setUint32(24 + 4 * i, word >>> 0, little);
    });
    bytes.set(strings, 24 + 4 * words.length);
    return bytes;
  }

  private encode(type: BtfType, out: number[]): void {
    const header = (vlen: number, sizeOrType: number, kflag = false): void => {
      const info = (kflag ? 0x8000_0000 : 0) + (BTF_KIND[type.kind] << 24) + vlen;
      out.push(this.strings.add(btfName(type)), info, sizeOrType);
    };
    switch (type.kind) {
      case 'void':
        return;
      case 'int': {
        const encoding = Number(type.signed) | (Number(type.char) << 1) | (Number(type.bool) << 2);
        header(0, type.size);
        out.push((encoding << 24) | (type.bitOffset << 16) | type.bits);
        return;
      }
      case 'ptr':
      case 'volatile':
      case 'const':
      case 'restrict':
      case 'typedef':
        header(0, type.type);
        return;
      case 'type_tag':
        header(0, type.type, type.attribute);
        return;
      case 'array':
        header(0, 0);
        out.push(type.type, type.indexType, type.count);
        return;
      case 'struct':
      case 'union': {
        const kflag = usesKflag(type.members);
        header(type.members.length, type.size, kflag);
        for (const member of type.members) {
          const offset = kflag ? (member.bitSize << 24) | member.bitOffset : member.bitOffset;
          out.push(this.strings.add(member.name), member.type, offset);
        }
        return;
      }
      case 'enum':
        header(type.values.length, type.size, type.signed);
        for (const { name, value } of type.values)
          out.push(this.strings.add(name), Number(BigInt.asIntN(32, value)));
        return;
      case 'enum64':
        header(type.values.length, type.size, type.signed);
        for (const { name, value } of type.values) {
          const bits = BigInt.asUintN(64, value);
          out.push(this.strings.add(name), Number(bits & 0xffff_ffffn), Number(bits >> 32n));
        }
        return;
      case 'fwd':
        header(0, 0, type.of === 'union');
        return;
      case 'func':
        header(BTF_LINKAGE[type.linkage], type.type);
        return;
      case 'func_proto':
        header(type.params.length, type.returnType);
        for (const param of type.params) out.push(this.strings.add(param.name), param.type);
        return;
      case 'var':
        header(0, type.type);
        out.push(BTF_LINKAGE[type.linkage]);
        return;
      case 'datasec':
        header(type.vars.length, type.size);
        for (const variable of type.vars) out.push(variable.type, variable.offset, variable.size);
        return;
      case 'float':
        header(0, type.size);
        return;
      case 'decl_tag':
        header(0, type.type, type.attribute);
        out.push(type.componentIndex);
        return;
      default: {
        const never: never = type;
        throw new InternalError(`BTF kind ${String(never)}`);
      }
    }
  }
}
