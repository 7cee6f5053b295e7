/**
 * BTF-defined maps: variables of section `.maps`, whose struct type says everything (libbpf: parse_btf_map_def). A number is
 * an array length behind a pointer (`__uint`), a type is a pointer's target (`__type`), `values` is an array of pointers
 * (`__array`).
 */
import type { Btf, BtfComposite, BtfMember } from '../btf/index.ts';
import type { ElfSection } from '../elf/index.ts';
import { BPF_MAP_TYPE } from '../uapi/index.ts';
import { type ObjectContext, objectError } from './context.ts';
import type { MapSpec } from './types.ts';

/** A map being built: the later steps fill in its slots. */
export type MutableMap = { -readonly [K in keyof MapSpec]: MapSpec[K] } & {
  values: MapSpec['values'][number][];
  /** Where the map's variable lies, to find it from a relocation. */
  sectionIndex: number;
  sectionOffset: number;
  sectionEnd: number;
  /** Byte offset of `values` in the variable. */
  valuesOffset: number | undefined;
};

export const EMPTY_MAP = {
  keySize: 0,
  valueSize: 0,
  maxEntries: 0,
  flags: 0,
  mapExtra: 0n,
  numaNode: 0,
  pinning: 'none',
  btfKeyTypeId: 0,
  btfValueTypeId: 0,
  inner: undefined,
  initial: undefined,
  structOps: undefined,
  valuesOffset: undefined,
} as const;

const MAP_IN_MAP: ReadonlySet<number> = new Set([
  BPF_MAP_TYPE.BPF_MAP_TYPE_ARRAY_OF_MAPS,
  BPF_MAP_TYPE.BPF_MAP_TYPE_HASH_OF_MAPS,
]);

type Field = (reader: DefinitionReader, member: BtfMember) => void;

/** Reads one definition struct into a map. */
class DefinitionReader {
  readonly btf: Btf;
  readonly map: MutableMap;
  readonly depth: number;
  seenType = false;

  constructor(btf: Btf, map: MutableMap, depth: number) {
    this.btf = btf;
    this.map = map;
    this.depth = depth;
  }

  fail(member: BtfMember | undefined, what: string, hint?: string): never {
    const field = member === undefined ? '' : `, field '${member.name}'`;
    throw objectError('EINVAL', `map '${this.map.name}'${field}: ${what}`, hint);
  }

  /** `__uint(name, n)`: pointer to an array of n elements. `__ulong(name, n)`: an enum with one value. */
  number(member: BtfMember): bigint {
    const type = this.btf.resolved(member.type);
    if (type.kind === 'ptr') {
      const array = this.btf.resolved(type.type);
      if (array.kind === 'array') return BigInt(array.count);
    }
    if (type.kind === 'enum' || type.kind === 'enum64') {
      const value = type.values[0];
      if (value !== undefined) return BigInt.asUintN(64, value.value);
    }
    return this.fail(member, `is a ${type.kind}, not a number`, 'write it as __uint(name, number)');
  }

  uint(member: BtfMember): number {
    return Number(BigInt.asUintN(32, this.number(member)));
  }

  /** `__type(name, T)`: pointer to T. Gives the id of T and its size. */
  target(member: BtfMember): { id: number; size: number } {
    const type = this.btf.resolved(member.type);
    if (type.kind !== 'ptr') {
      return this.fail(member, `is a ${type.kind}, not a type`, 'write it as __type(name, type)');
    }
    return { id: type.type, size: this.btf.sizeOf(type.type) };
  }

  size(member: BtfMember, known: number, size: number): number {
    if (known !== 0 && known !== size) this.fail(member, `conflicting sizes ${known} and ${size} bytes`);
    return size;
  }

  read(definition: BtfComposite): void {
    for (const member of definition.members) {
      const field = FIELDS.get(member.name);
      if (field === undefined) {
        throw objectError('EOPNOTSUPP', `map '${this.map.name}': unknown field '${member.name}'`);
      }
      field(this, member);
    }
    if (!this.seenType) this.fail(undefined, 'no map type', 'add __uint(type, BPF_MAP_TYPE_…)');
  }
}

const FIELDS: ReadonlyMap<string, Field> = new Map<string, Field>([
  [
    'type',
    (reader, member) => {
      reader.map.type = reader.uint(member);
      reader.seenType = true;
    },
  ],
  ['max_entries', (reader, member) => set(reader, 'maxEntries', member)],
  ['map_flags', (reader, member) => set(reader, 'flags', member)],
  ['numa_node', (reader, member) => set(reader, 'numaNode', member)],
  [
    'key_size',
    (reader, member) => {
      reader.map.keySize = reader.size(member, reader.map.keySize, reader.uint(member));
    },
  ],
  [
    'value_size',
    (reader, member) => {
      reader.map.valueSize = reader.size(member, reader.map.valueSize, reader.uint(member));
    },
  ],
  [
    'key',
    (reader, member) => {
      const { id, size } = reader.target(member);
      reader.map.keySize = reader.size(member, reader.map.keySize, size);
      reader.map.btfKeyTypeId = id;
    },
  ],
  [
    'value',
    (reader, member) => {
      const { id, size } = reader.target(member);
      reader.map.valueSize = reader.size(member, reader.map.valueSize, size);
      reader.map.btfValueTypeId = id;
    },
  ],
  [
    'map_extra',
    (reader, member) => {
      reader.map.mapExtra = reader.number(member);
    },
  ],
  [
    'pinning',
    (reader, member) => {
      const value = reader.uint(member);
      if (reader.depth > 0) reader.fail(member, 'an inner map cannot be pinned');
      if (value > 1)
        reader.fail(member, `unknown value ${value}`, 'LIBBPF_PIN_NONE is 0, LIBBPF_PIN_BY_NAME 1');
      reader.map.pinning = value === 1 ? 'by_name' : 'none';
    },
  ],
  ['values', readValues],
]);

function set(reader: DefinitionReader, key: 'maxEntries' | 'flags' | 'numaNode', member: BtfMember): void {
  reader.map[key] = reader.uint(member);
}

/** `__array(values, T)`: an array of pointers to an inner map's definition, or to functions. */
function readValues(reader: DefinitionReader, member: BtfMember): undefined {
  const { btf, map } = reader;
  if (reader.depth > 0) reader.fail(member, 'maps are nested deeper than two levels');
  if (member.bitOffset % 64 !== 0) reader.fail(member, 'is not aligned');
  const array = btf.resolved(member.type);
  if (array.kind !== 'array') return reader.fail(member, `is a ${array.kind}, not an array`);
  const pointer = btf.resolved(array.type);
  if (pointer.kind !== 'ptr') return reader.fail(member, `is an array of ${pointer.kind}, not of pointers`);
  map.valuesOffset = member.bitOffset / 8;
  map.valueSize = reader.size(member, map.valueSize, 4);
  const element = btf.resolved(pointer.type);
  if (element.kind === 'func_proto') {
    if (map.type !== BPF_MAP_TYPE.BPF_MAP_TYPE_PROG_ARRAY)
      reader.fail(member, 'only a program array can hold functions');
    return;
  }
  if (element.kind !== 'struct')
    return reader.fail(member, `points to a ${element.kind}, not to a map definition`);
  if (!MAP_IN_MAP.has(map.type)) reader.fail(member, 'only a map of maps can hold maps');
  const inner = newMap(`${map.name}.inner`, map.section, -1, 0, 0);
  new DefinitionReader(btf, inner, reader.depth + 1).read(element);
  map.inner = finishMap(inner);
}

export function newMap(
  name: string,
  section: string,
  sectionIndex: number,
  sectionOffset: number,
  sectionEnd: number,
): MutableMap {
  const base = { ...EMPTY_MAP, name, section, origin: 'btf' as const, type: 0, values: [] };
  return { ...base, sectionIndex, sectionOffset, sectionEnd };
}

/** The public fields of a map. */
export function finishMap(map: MutableMap): MapSpec {
  const { sectionIndex: _i, sectionOffset: _o, sectionEnd: _e, valuesOffset: _v, ...spec } = map;
  return spec;
}

/** What a BTF type says as the definition of a map. */
export function mapDefinition(btf: Btf, name: string, typeId: number): MapSpec {
  const type = btf.resolved(typeId);
  if (type.kind !== 'struct')
    throw objectError('EINVAL', `map '${name}': its type is a ${type.kind}, not a struct`);
  const map = newMap(name, '.maps', -1, 0, 0);
  new DefinitionReader(btf, map, 0).read(type);
  return finishMap(map);
}

/** All maps of section `.maps`, in the order of the BTF's data section. */
export function readBtfMaps(context: ObjectContext, section: ElfSection): MutableMap[] {
  const { btf } = context;
  if (btf === undefined) {
    throw objectError('ENOENT', "section '.maps' needs BTF, and the object has none", 'compile with -g');
  }
  const datasecId = btf.find('.maps', 'datasec');
  if (datasecId === undefined) {
    throw objectError('ENOENT', "BTF has no data section '.maps'", 'compile with -g');
  }
  const datasec = btf.get('.maps', 'datasec');
  const symbols = new Map(context.symbolsOf(section.index).map((symbol) => [symbol.name, symbol]));
  return datasec.vars.map((item, position) => {
    const variable = btf.type(item.type);
    if (variable.kind !== 'var' || variable.name === '') {
      throw objectError('EINVAL', `section '.maps': entry ${position} is a ${variable.kind}, not a variable`);
    }
    const type = btf.resolved(variable.type);
    if (type.kind !== 'struct') {
      throw objectError('EINVAL', `map '${variable.name}': its type is a ${type.kind}, not a struct`);
    }
    if (variable.linkage === 'extern') {
      throw objectError(
        'EOPNOTSUPP',
        `map '${variable.name}': extern maps need linking of several objects first`,
      );
    }
    const offset = symbols.get(variable.name)?.value ?? item.offset;
    const end = offset + Math.max(item.size, type.size);
    if (end > section.size) {
      throw objectError(
        'EINVAL',
        `map '${variable.name}': bytes ${offset} to ${end} of a section of ${section.size} bytes`,
      );
    }
    const map = newMap(variable.name, section.name, section.index, offset, end);
    new DefinitionReader(btf, map, 0).read(type);
    return map;
  });
}
