/**
 * Maps that are not BTF-defined: data sections as arrays of one value, the `.kconfig` map, struct_ops variables, and the
 * legacy `maps` section (struct bpf_map_def). Names, flags and order are libbpf's.
 */
import { BTF_POINTER_SIZE, type Btf } from '../btf/index.ts';
import { type ElfSection, SHF, SHT, STT } from '../elf/index.ts';
import { BPF_MAP_FLAGS, BPF_MAP_TYPE } from '../uapi/index.ts';
import { alignUp } from '../util/index.ts';
import { isExtern, type ObjectContext, objectError } from './context.ts';
import { EMPTY_MAP, type MutableMap, newMap } from './map-defs.ts';
import type { KconfigSpec, MapOrigin } from './types.ts';

/** BPF_OBJ_NAME_LEN without its NUL. */
const MAX_NAME = 15;

/** Largest data section: the kernel's array maps end there too (u32 sizes, KMALLOC limits are lower). */
const MAX_DATA = 0x7fff_ffff;

/**
 * The kernel name of a data section's map: as much of the object's name as leaves room for the section's (at least 7
 * bytes are kept for it); sections with a second dot go without prefix.
 */
export function dataMapName(objectName: string, section: string): string {
  const suffixLength = Math.min(MAX_NAME, Math.max(7, section.length));
  const prefixLength =
    section.indexOf('.', 1) >= 0 ? 0 : Math.min(MAX_NAME - suffixLength, objectName.length);
  const name = objectName.slice(0, prefixLength) + section.slice(0, suffixLength);
  return name.slice(0, MAX_NAME).replace(/[^A-Za-z0-9_.]/g, '_');
}

/** Which data map a section becomes, if any. */
function dataOrigin(section: ElfSection): MapOrigin | undefined {
  const named = (name: string): boolean => section.name === name || section.name.startsWith(`${name}.`);
  if (section.size === 0) return undefined;
  if (section.type === SHT.NOBITS) return named('.bss') ? 'bss' : undefined;
  if (section.type !== SHT.PROGBITS || (section.flags & SHF.EXECINSTR) !== 0) return undefined;
  if (named('.data')) return 'data';
  if (named('.rodata')) return 'rodata';
  return undefined;
}

/** Whether user space may map it: the data section in BTF holds a variable that is not static. */
function isMmapable(btf: Btf, datasecId: number): boolean {
  const datasec = btf.type(datasecId);
  if (datasec.kind !== 'datasec') return false;
  return datasec.vars.some((item) => {
    const variable = btf.type(item.type);
    return variable.kind === 'var' && variable.linkage !== 'static';
  });
}

function dataMap(
  context: ObjectContext,
  name: string,
  origin: MapOrigin,
  index: number,
  size: number,
  initial: Uint8Array | undefined,
): MutableMap {
  const { btf } = context;
  const datasecId = btf?.find(name, 'datasec') ?? 0;
  const readOnly = origin === 'rodata' || origin === 'kconfig';
  const mmapable = btf !== undefined && datasecId !== 0 && isMmapable(btf, datasecId);
  return {
    ...newMap(dataMapName(context.name, name), name, index, 0, size),
    origin,
    type: BPF_MAP_TYPE.BPF_MAP_TYPE_ARRAY,
    keySize: 4,
    valueSize: size,
    maxEntries: 1,
    flags: (readOnly ? BPF_MAP_FLAGS.BPF_F_RDONLY_PROG : 0) | (mmapable ? BPF_MAP_FLAGS.BPF_F_MMAPABLE : 0),
    btfValueTypeId: datasecId,
    initial,
  };
}

/** `.data*`, `.rodata*`, `.bss*`, in order of the file. */
export function readDataMaps(context: ObjectContext): MutableMap[] {
  const maps: MutableMap[] = [];
  for (const section of context.elf.sections) {
    const origin = dataOrigin(section);
    if (origin === undefined) continue;
    if (section.size > MAX_DATA) {
      throw objectError('E2BIG', `section '${section.name}' of ${section.size} bytes is too large for a map`);
    }
    const initial = origin === 'bss' ? undefined : section.data.slice();
    maps.push(dataMap(context, section.name, origin, section.index, section.size, initial));
    if (context.elf.relocations(section.index).length > 0) {
      context.warnings.push(
        `section '${section.name}' holds addresses, which stay 0: programs cannot read pointers from data sections`,
      );
    }
  }
  return maps;
}

function kconfigKind(btf: Btf, typeId: number): { kind: KconfigSpec['kind']; signed: boolean } | undefined {
  const type = btf.resolved(typeId);
  switch (type.kind) {
    case 'int':
      if (type.bool) return type.size === 1 ? { kind: 'bool', signed: false } : undefined;
      if (type.size === 1) return { kind: 'char', signed: type.signed };
      return type.size <= 8 && (type.size & (type.size - 1)) === 0
        ? { kind: 'int', signed: type.signed }
        : undefined;
    case 'enum':
      return type.size === 4 && type.name === 'libbpf_tristate'
        ? { kind: 'tristate', signed: false }
        : undefined;
    case 'array': {
      const element = btf.resolved(type.type);
      if (type.count === 0 || element.kind !== 'int' || element.size !== 1) return undefined;
      return { kind: 'char_array', signed: false };
    }
    default:
      return undefined;
  }
}

/** The variables of `.kconfig`, laid out as libbpf does: falling alignment, rising size, name. */
export function readKconfig(
  context: ObjectContext,
): { map: MutableMap; variables: KconfigSpec[] } | undefined {
  const { btf, elf } = context;
  const datasecId = btf?.find('.kconfig', 'datasec');
  if (btf === undefined || datasecId === undefined) return undefined;
  const weak = new Map(elf.symbols.filter(isExtern).map((symbol) => [symbol.name, symbol.bind === 2]));
  const found: (Omit<KconfigSpec, 'offset'> & { align: number })[] = [];
  for (const item of btf.get('.kconfig', 'datasec').vars) {
    const variable = btf.type(item.type);
    if (variable.kind !== 'var' || !weak.has(variable.name)) continue;
    const kind = kconfigKind(btf, variable.type);
    if (kind === undefined) {
      throw objectError(
        'EOPNOTSUPP',
        `kconfig variable '${variable.name}': its type is none of bool, char, tristate, integer, char array`,
      );
    }
    found.push({
      name: variable.name,
      size: btf.sizeOf(variable.type),
      align: btf.alignOf(variable.type),
      ...kind,
      weak: weak.get(variable.name) === true,
      typeId: variable.type,
    });
  }
  if (found.length === 0) return undefined;
  found.sort((a, b) => b.align - a.align || a.size - b.size || (a.name < b.name ? -1 : 1));
  let end = 0;
  const variables = found.map(({ align, ...variable }) => {
    const offset = alignUp(end, align);
    end = offset + variable.size;
    return { ...variable, offset };
  });
  if (end > MAX_DATA) throw objectError('E2BIG', `kconfig variables of ${end} bytes`);
  return { map: dataMap(context, '.kconfig', 'kconfig', -1, end, undefined), variables };
}

const STRUCT_OPS = /^\??\.struct_ops(\.link)?$/;

/** One map for each variable of the struct_ops sections; its value layout is the kernel's, so sizes stay 0. */
export function readStructOps(context: ObjectContext): MutableMap[] {
  const { btf, elf } = context;
  return elf.sections.flatMap((section) => {
    if (!STRUCT_OPS.test(section.name) || section.size === 0) return [];
    const datasecId = btf?.find(section.name, 'datasec');
    if (btf === undefined || datasecId === undefined) {
      throw objectError('EINVAL', `section '${section.name}' is not in BTF`, 'compile with -g');
    }
    const datasec = btf.type(datasecId);
    if (datasec.kind !== 'datasec') return [];
    return datasec.vars.map((item) => {
      const variable = btf.type(item.type);
      const typeId = variable.kind === 'var' ? btf.resolve(variable.type) : 0;
      const type = btf.type(typeId);
      if (variable.kind !== 'var' || type.kind !== 'struct') {
        throw objectError(
          'EINVAL',
          `section '${section.name}': type id ${item.type} is not a struct variable`,
        );
      }
      const symbol = context.symbolsOf(section.index).find((candidate) => candidate.name === variable.name);
      const offset = symbol?.value ?? item.offset;
      if (offset + type.size > section.data.length) {
        throw objectError('EINVAL', `struct_ops '${variable.name}' reaches beyond section '${section.name}'`);
      }
      return {
        ...newMap(variable.name, section.name, section.index, offset, offset + type.size),
        origin: 'struct_ops' as const,
        type: BPF_MAP_TYPE.BPF_MAP_TYPE_STRUCT_OPS,
        keySize: 4,
        maxEntries: 1,
        flags: section.name.endsWith('.link') ? BPF_MAP_FLAGS.BPF_F_LINK : 0,
        structOps: {
          typeName: type.name,
          typeId,
          data: section.data.slice(offset, offset + type.size),
          link: section.name.endsWith('.link'),
          autocreate: !section.name.startsWith('?'),
          functions: structOpsFunctions(context, section, offset, type.size),
        },
      };
    });
  });
}

function structOpsFunctions(
  context: ObjectContext,
  section: ElfSection,
  start: number,
  size: number,
): { offset: number; program: string }[] {
  return context.elf
    .relocations(section.index)
    .filter((relocation) => relocation.offset >= start && relocation.offset < start + size)
    .map((relocation) => {
      if (relocation.symbol.type !== STT.FUNC || relocation.offset % BTF_POINTER_SIZE !== 0) {
        throw objectError(
          'EINVAL',
          `section '${section.name}' at offset ${relocation.offset}: '${relocation.symbol.name}' is not a function`,
        );
      }
      return { offset: relocation.offset - start, program: relocation.symbol.name };
    });
}

/** Bytes of the legacy definition: type, key_size, value_size, max_entries, map_flags. */
const LEGACY_SIZE = 20;

/** Section `maps` of objects from before BTF-defined maps. All definitions have the same size. */
export function readLegacyMaps(context: ObjectContext, section: ElfSection): MutableMap[] {
  const symbols = context
    .symbolsOf(section.index)
    .filter((symbol) => symbol.type !== STT.SECTION && symbol.name !== '');
  if (symbols.length === 0) return [];
  const size = Math.floor(section.data.length / symbols.length);
  if (size < LEGACY_SIZE || size * symbols.length !== section.data.length) {
    throw objectError(
      'EINVAL',
      `section 'maps': ${symbols.length} maps in ${section.data.length} bytes; each takes at least ${LEGACY_SIZE}`,
    );
  }
  const { data } = section;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  return symbols.map((symbol) => {
    if (symbol.value + size > data.length) {
      throw objectError(
        'EINVAL',
        `map '${symbol.name}' at offset ${symbol.value} reaches beyond section 'maps'`,
      );
    }
    const word = (i: number): number => view.getUint32(symbol.value + 4 * i, context.elf.littleEndian);
    if (data.subarray(symbol.value + LEGACY_SIZE, symbol.value + size).some((byte) => byte !== 0)) {
      throw objectError(
        'EOPNOTSUPP',
        `map '${symbol.name}': its definition has fields beyond map_flags`,
        'write it as a BTF-defined map, SEC(".maps")',
      );
    }
    return {
      ...EMPTY_MAP,
      ...newMap(symbol.name, section.name, section.index, symbol.value, symbol.value + size),
      origin: 'legacy' as const,
      type: word(0),
      keySize: word(1),
      valueSize: word(2),
      maxEntries: word(3),
      flags: word(4),
    };
  });
}
