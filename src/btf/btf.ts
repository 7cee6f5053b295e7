/**
 * `Btf`: a set of types with lookups by id and by name, sizes, alignment and member paths.
 *
 * Ids are those of the kernel: 0 is void, a split BTF continues after its base. Chains and nesting are bounded
 * (32 links, as MAX_RESOLVE_DEPTH), so circular types end in BpfError EINVAL naming the type id.
 */
import { BpfError } from '../util/index.ts';
import { BtfNames } from './names.ts';
import { type BtfSections, decodeType, kindAt, scanBtf } from './parse.ts';
import {
  type BtfComposite,
  type BtfKind,
  type BtfMember,
  type BtfType,
  type BtfTypeOf,
  btfName,
} from './types.ts';

/** Longest chain of typedefs and modifiers, and deepest nesting of arrays and structs, that is followed. */
export const BTF_MAX_DEPTH = 32;

/** Bytes of a pointer in BPF and in every 64-bit kernel. */
export const BTF_POINTER_SIZE = 8;

/** What a member path leads to. */
export interface BtfFieldPath {
  /** Offset of the field from the start of the outermost type, in bits. */
  readonly bitOffset: number;
  /** Width of a bit-field; 0 for a plain field. */
  readonly bitSize: number;
  /** Type of the field. */
  readonly type: number;
}

function bad(id: number, what: string): BpfError {
  return new BpfError('EINVAL', `BTF type id ${id}: ${what}`);
}

const VOID: BtfType = { kind: 'void' };

const NONE: readonly number[] = [];
/** With fewer types an index is made at once; with more only after so many searches (a search takes up to 1/100 of it). */
const INDEX_AT_ONCE = 4096;
const MAX_SEARCHES = 64;

export class Btf {
  /** The blob it was parsed from. */
  readonly bytes: Uint8Array;
  readonly base: Btf | undefined;
  readonly littleEndian: boolean;
  /** Number of types with void and those of the base: ids are below it. */
  readonly typeCount: number;
  /** First id of this BTF's own types: 1, or the base's `typeCount`. */
  readonly firstId: number;
  /** Bytes of string section, the base's included. */
  readonly stringSize: number;
  private readonly sections: BtfSections;
  private readonly cache: (BtfType | undefined)[] = [];
  private nameIndex: Map<string, number[]> | undefined;
  /** Before there is an index: names that were looked up, and what finds others. */
  private readonly found = new Map<string, readonly number[]>();
  private searched: BtfNames | undefined;
  private readonly alignments = new Map<number, number>();

  constructor(bytes: Uint8Array, base?: Btf) {
    this.bytes = bytes;
    this.base = base;
    this.sections = scanBtf(bytes, base);
    this.littleEndian = this.sections.littleEndian;
    this.firstId = base?.typeCount ?? 1;
    this.typeCount = this.firstId + this.sections.offsets.length;
    this.stringSize = (base?.stringSize ?? 0) + this.sections.strings.bytes.length;
  }

  /** The type with that id. Errors: EINVAL where no such id exists or the type is malformed. */
  type(id: number): BtfType {
    if (id < this.firstId) return id === 0 ? VOID : this.baseType(id);
    const index = id - this.firstId;
    const known = this.cache[index];
    if (known !== undefined) return known;
    const at = this.sections.offsets[index];
    if (at === undefined) throw bad(id, `no such type, there are ${this.typeCount}`);
    const type = decodeType(this.sections, at, id, (offset) => this.string(offset));
    this.cache[index] = type;
    return type;
  }

  private baseType(id: number): BtfType {
    if (this.base === undefined) throw bad(id, 'not a type id');
    return this.base.type(id);
  }

  /** The kind of a type without decoding it. */
  kind(id: number): BtfKind {
    if (id < this.firstId)
      return id === 0 ? 'void' : this.base === undefined ? this.type(id).kind : this.base.kind(id);
    const at = this.sections.offsets[id - this.firstId];
    if (at === undefined) throw bad(id, `no such type, there are ${this.typeCount}`);
    return kindAt(this.sections, at);
  }

  /** The name of a type without decoding it; '' where it has none. */
  name(id: number): string {
    if (id < this.firstId) return this.base === undefined ? '' : this.base.name(id);
    const at = this.sections.offsets[id - this.firstId];
    return at === undefined ? '' : this.string(this.sections.view.getUint32(at, this.littleEndian));
  }

  /** The own string section. */
  get stringBytes(): Uint8Array {
    return this.sections.strings.bytes;
  }

  /** The string at an offset of the (base and own) string sections. */
  string(offset: number): string {
    const own = offset - (this.base?.stringSize ?? 0);
    if (own < 0) return this.base!.string(offset);
    if (own >= this.sections.strings.bytes.length) {
      throw new BpfError('EINVAL', `BTF string offset ${offset} of ${this.stringSize} bytes`);
    }
    return this.sections.strings.get(own);
  }

  private index(): Map<string, number[]> {
    if (this.nameIndex !== undefined) return this.nameIndex;
    const index = new Map<string, number[]>();
    const { view, offsets } = this.sections;
    // Names are shared through their offset, so most lists are found without hashing text.
    const byOffset = new Map<number, number[]>();
    for (let i = 0; i < offsets.length; i++) {
      const nameOffset = view.getUint32(offsets[i]!, this.littleEndian);
      if (nameOffset === 0) continue;
      let list = byOffset.get(nameOffset);
      if (list === undefined) {
        const name = this.string(nameOffset);
        if (name === '') continue;
        list = index.get(name);
        if (list === undefined) {
          list = [];
          index.set(name, list);
        }
        byOffset.set(nameOffset, list);
      }
      list.push(this.firstId + i);
    }
    this.nameIndex = index;
    return index;
  }

  /** What searches names; undefined where an index has to. */
  private search(): BtfNames | undefined {
    const text = this.sections.strings.ascii;
    if (this.base !== undefined || text === undefined || this.sections.offsets.length < INDEX_AT_ONCE)
      return undefined;
    this.searched ??= new BtfNames(this.sections, text);
    return this.searched;
  }

  /** Own types of that name. */
  private own(name: string): readonly number[] {
    const known = this.nameIndex ?? this.found;
    const ids = known.get(name);
    if (ids !== undefined || this.nameIndex !== undefined) return ids ?? NONE;
    const names =
      this.found.size < MAX_SEARCHES && name !== '' && !name.includes('\0') ? this.search() : undefined;
    if (names === undefined) return this.index().get(name) ?? NONE;
    const searched = names.find(name)?.map((i) => this.firstId + i);
    if (searched === undefined) return this.index().get(name) ?? NONE;
    this.found.set(name, searched);
    return searched;
  }

  /** Ids of all types of that name, in order, optionally of one kind only. */
  findAll(name: string, kind?: BtfKind): number[] {
    const inherited = this.base?.findAll(name, kind) ?? [];
    const own = this.own(name);
    return [...inherited, ...(kind === undefined ? own : own.filter((id) => this.kind(id) === kind))];
  }

  /** Names in which the text stands with the ids of their types, the base's first. */
  *namesWith(part: string): IterableIterator<[string, readonly number[]]> {
    if (this.base !== undefined) yield* this.base.namesWith(part);
    const searched = this.nameIndex === undefined ? this.search()?.containing(part) : undefined;
    if (searched !== undefined) {
      for (const [name, ids] of searched) yield [name, ids.map((i) => this.firstId + i)];
      return;
    }
    for (const entry of this.index()) if (entry[0].includes(part)) yield entry;
  }

  /** All names with the ids of their types, the base's first. */
  *names(): IterableIterator<[string, readonly number[]]> {
    if (this.base !== undefined) yield* this.base.names();
    yield* this.index();
  }

  /** Id of the first type of that name (and kind), or undefined. */
  find(name: string, kind?: BtfKind): number | undefined {
    const inherited = this.base?.find(name, kind);
    if (inherited !== undefined) return inherited;
    const own = this.own(name);
    return kind === undefined ? own[0] : own.find((id) => this.kind(id) === kind);
  }

  /** The first type of that name and kind. Errors: ENOENT. */
  get<K extends BtfKind>(name: string, kind: K): BtfTypeOf<K> & { readonly id: number } {
    const id = this.find(name, kind);
    if (id === undefined) throw new BpfError('ENOENT', `BTF has no ${kind} '${name}'`);
    return { ...(this.type(id) as BtfTypeOf<K>), id };
  }

  /** All own types with their ids, base types left out. */
  *types(): IterableIterator<[number, BtfType]> {
    for (let id = this.firstId; id < this.typeCount; id++) yield [id, this.type(id)];
  }

  /** Follows typedefs, const, volatile, restrict and type tags to the type behind them. */
  resolve(id: number): number {
    let at = id;
    for (let depth = 0; depth <= BTF_MAX_DEPTH; depth++) {
      const type = this.type(at);
      switch (type.kind) {
        case 'typedef':
        case 'volatile':
        case 'const':
        case 'restrict':
        case 'type_tag':
          at = type.type;
          break;
        default:
          return at;
      }
    }
    throw bad(id, `its chain of typedefs and modifiers is circular or longer than ${BTF_MAX_DEPTH}`);
  }

  /** `type(resolve(id))` */
  resolved(id: number): BtfType {
    return this.type(this.resolve(id));
  }

  /** Size in bytes. Errors: EINVAL for types without a size (void, functions, forward declarations). */
  sizeOf(id: number): number {
    let factor = 1;
    let at = id;
    for (let depth = 0; depth <= BTF_MAX_DEPTH; depth++) {
      at = this.resolve(at);
      const type = this.type(at);
      switch (type.kind) {
        case 'int':
        case 'struct':
        case 'union':
        case 'enum':
        case 'enum64':
        case 'float':
        case 'datasec':
          return this.checkedSize(id, factor * type.size);
        case 'ptr':
          return this.checkedSize(id, factor * BTF_POINTER_SIZE);
        case 'array':
          factor *= type.count;
          at = type.type;
          break;
        case 'var':
          at = type.type;
          break;
        default:
          throw bad(id, `${type.kind} '${btfName(type)}' has no size`);
      }
    }
    throw bad(id, `arrays are nested circularly or deeper than ${BTF_MAX_DEPTH}`);
  }

  private checkedSize(id: number, size: number): number {
    if (size > 0xffff_ffff) throw bad(id, 'an array is larger than 4 GB');
    return size;
  }

  /** Alignment in bytes that C gives the type; 1 for a struct that is packed. */
  alignOf(id: number): number {
    return this.alignAt(id, 0);
  }

  private alignAt(id: number, depth: number): number {
    if (depth > BTF_MAX_DEPTH) throw bad(id, `types are nested deeper than ${BTF_MAX_DEPTH}`);
    const at = this.resolve(id);
    const type = this.type(at);
    switch (type.kind) {
      case 'int':
      case 'enum':
      case 'enum64':
      case 'float':
        return Math.min(16, Math.max(1, type.size));
      case 'ptr':
        return BTF_POINTER_SIZE;
      case 'array':
      case 'var':
      case 'struct':
      case 'union': {
        const known = this.alignments.get(at);
        if (known === 0) throw bad(id, 'the type contains itself');
        if (known !== undefined) return known;
        this.alignments.set(at, 0);
        try {
          const alignment =
            type.kind === 'array' || type.kind === 'var'
              ? this.alignAt(type.type, depth + 1)
              : this.compositeAlign(type, depth + 1);
          this.alignments.set(at, alignment);
          return alignment;
        } finally {
          if (this.alignments.get(at) === 0) this.alignments.delete(at);
        }
      }
      default:
        return 1;
    }
  }

  private compositeAlign(type: BtfComposite, depth: number): number {
    let largest = 1;
    for (const member of type.members) {
      const alignment = this.alignAt(member.type, depth);
      if (member.bitSize === 0 && member.bitOffset % (alignment * 8) !== 0) return 1;
      largest = Math.max(largest, alignment);
    }
    return type.size % largest === 0 ? largest : 1;
  }

  /** Width in bits of a bit-field member in either encoding, 0 for a plain member. */
  bitfieldSize(member: BtfMember): number {
    if (member.bitSize !== 0) return member.bitSize;
    const type = this.resolved(member.type);
    return type.kind === 'int' && (type.bits !== type.size * 8 || type.bitOffset !== 0) ? type.bits : 0;
  }

  /** The member of a struct or union by name, looked up through anonymous members too. */
  findMember(id: number, name: string): BtfFieldPath | undefined {
    return this.searchMember(id, name, 0, 0, { left: 100_000 });
  }

  private searchMember(
    id: number,
    name: string,
    base: number,
    depth: number,
    budget: { left: number },
  ): BtfFieldPath | undefined {
    if (depth > BTF_MAX_DEPTH) throw bad(id, `members are nested circularly or deeper than ${BTF_MAX_DEPTH}`);
    const type = this.resolved(id);
    if (type.kind !== 'struct' && type.kind !== 'union') return undefined;
    budget.left -= type.members.length + 1;
    if (budget.left < 0) throw bad(id, 'too many nested members');
    for (const member of type.members) {
      const bitOffset = base + member.bitOffset;
      if (member.name === name) return { bitOffset, bitSize: this.bitfieldSize(member), type: member.type };
      if (member.name !== '') continue;
      const inner = this.searchMember(member.type, name, bitOffset, depth + 1, budget);
      if (inner !== undefined) return inner;
    }
    return undefined;
  }

  /**
   * Follows a path such as `a.b[3].c` from a type. Undefined where a name does not exist.
   * Errors: EINVAL where the path is not one, or goes through a pointer or an index beyond a bounded array.
   */
  findPath(id: number, path: string): BtfFieldPath | undefined {
    const steps = path.match(/[^.[\]]+|\[\d+\]/g) ?? [];
    if (!/^([^.[\]]+|\[\d+\])(\.[^.[\]]+|\[\d+\])*$/.test(path)) {
      throw new BpfError('EINVAL', `'${path}' is not a member path such as a.b[3].c`);
    }
    let at: BtfFieldPath = { bitOffset: 0, bitSize: 0, type: id };
    for (const step of steps) {
      if (step.startsWith('[')) {
        const array = this.resolved(at.type);
        const index = Number(step.slice(1, -1));
        if (array.kind !== 'array') throw bad(at.type, `'${path}': ${step} on a ${array.kind}`);
        if (index >= array.count && array.count !== 0) {
          throw bad(at.type, `'${path}': ${step} of an array with ${array.count} elements`);
        }
        at = {
          bitOffset: at.bitOffset + 8 * index * this.sizeOf(array.type),
          bitSize: 0,
          type: array.type,
        };
        continue;
      }
      const member = this.findMember(at.type, step);
      if (member === undefined) return undefined;
      at = { ...member, bitOffset: at.bitOffset + member.bitOffset };
    }
    return at;
  }
}

/**
 * Parses raw BTF of either byte order. `base`: the BTF that a split BTF (a kernel module's) continues.
 * Errors: BpfError EINVAL naming the type id.
 */
export function parseBtf(bytes: Uint8Array, options: { base?: Btf } = {}): Btf {
  const btf = new Btf(bytes, options.base);
  if (options.base === undefined) PARSED.set(bytes, btf);
  return btf;
}

const PARSED = new WeakMap<Uint8Array, Btf>();

/**
 * `parseBtf` of bytes that nobody writes to, such as a kernel's own types: what was parsed from the same array before is used
 * again, with all that it knows by now.
 */
export function sharedBtf(bytes: Uint8Array): Btf {
  return PARSED.get(bytes) ?? parseBtf(bytes);
}
