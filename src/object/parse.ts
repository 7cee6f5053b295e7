/**
 * `parseObject`: the whole way from the bytes of an ELF file to an `ObjectSpec`.
 *
 * Order: maps, because instructions refer to them; functions with their references; slots of maps, because they refer to
 * programs; then each program is joined with its subprograms. Errors are BpfError: ENOEXEC for what is no BPF
 * object, EINVAL for a malformed one, ENOENT for an undefined symbol, EOPNOTSUPP for what libbpf does not take either.
 */
import { type ElfFile, EM_BPF, parseElf } from '../elf/index.ts';
import { type SectionMatch, sectionFor } from '../spec/index.ts';
import { BPF_MAP_TYPE } from '../uapi/index.ts';
import { createContext, type ObjectContext, objectError, sectionText } from './context.ts';
import { readDataMaps, readKconfig, readLegacyMaps, readStructOps } from './data-maps.ts';
import { fixupBtf, loadableBtf } from './fixup-btf.ts';
import { ARENA_SECTION, type CodeSection, readCode, Targets } from './functions.ts';
import { Linker } from './link.ts';
import { finishMap, type MutableMap, readBtfMaps } from './map-defs.ts';
import { readSlots } from './slots.ts';
import type { KconfigSpec, ObjectSpec, ProgramSpec } from './types.ts';

export interface ParseObjectOptions {
  /**
   * Name of the object, e.g. of its file: a directory and everything from the first dot are cut. It is the prefix of the data
   * maps' names. Default 'object'.
   */
  readonly name?: string;
  /** The section table; default that of `spec`. */
  readonly sectionFor?: (section: string) => SectionMatch | null;
}

/** Parses an object as clang -target bpf writes it. The bytes are not kept but by `btf`. */
export function parseObject(bytes: Uint8Array, options: ParseObjectOptions = {}): ObjectSpec {
  const elf = parseElf(bytes);
  checkMachine(elf);
  const name = objectName(options.name ?? 'object');
  const context = createContext(elf, name);
  const maps = readMaps(context);
  const kconfig = maps.kconfig;
  const targets = new Targets(context, maps.all, kconfig);
  const code = readCode(context, targets);
  const functions = [...code.values()].flatMap((section) => [...section.functions]);
  readSlots(context, targets, functions);
  const lookup = options.sectionFor ?? sectionFor;
  const programs = readPrograms(context, code, functions.length, lookup);
  const btf = fixupBtf(context, kconfig);
  return {
    name,
    license: textSection(elf, 'license'),
    version: versionSection(elf),
    littleEndian: elf.littleEndian,
    programs,
    maps: maps.all.map(finishMap),
    kconfig,
    btf,
    loadBtf: btf === undefined ? undefined : loadableBtf(btf, functions),
    warnings: context.warnings,
  };
}

function checkMachine(elf: ElfFile): void {
  // Objects of clang before 3.9 carry machine 0.
  if (elf.machine !== EM_BPF && elf.machine !== 0) {
    throw objectError(
      'ENOEXEC',
      `an ELF file for machine ${elf.machine}, not for BPF (${EM_BPF})`,
      'compile with clang -target bpf',
    );
  }
  if (elf.type !== 1) throw objectError('ENOEXEC', `ELF type ${elf.type}: a BPF object is relocatable (1)`);
}

/** Base name up to its first dot, as libbpf names objects. */
export function objectName(path: string): string {
  return path
    .slice(path.lastIndexOf('/') + 1)
    .split('.', 1)[0]!
    .slice(0, 63);
}

function textSection(elf: ElfFile, name: string): string {
  const section = elf.section(name);
  return section === undefined ? '' : sectionText(section).slice(0, 127);
}

function versionSection(elf: ElfFile): number {
  const data = elf.section('version')?.data;
  if (data === undefined) return 0;
  if (data.length !== 4)
    throw objectError('EINVAL', `section 'version' has ${data.length} bytes, expected 4`);
  return new DataView(data.buffer, data.byteOffset, 4).getUint32(0, elf.littleEndian);
}

function readMaps(context: ObjectContext): { all: MutableMap[]; kconfig: KconfigSpec[] } {
  const { elf } = context;
  const legacy = elf.section('maps');
  const btfMaps = elf.section('.maps');
  const kconfig = readKconfig(context);
  const all = [
    ...(legacy === undefined ? [] : readLegacyMaps(context, legacy)),
    ...(btfMaps === undefined ? [] : readBtfMaps(context, btfMaps)),
    ...readDataMaps(context),
    ...(kconfig === undefined ? [] : [kconfig.map]),
    ...readStructOps(context),
  ];
  // Globals of an arena are its contents from the start.
  const arena = all.find((map) => map.type === BPF_MAP_TYPE.BPF_MAP_TYPE_ARENA);
  if (arena !== undefined) arena.initial = elf.section(ARENA_SECTION)?.data.slice();
  const names = new Set<string>();
  for (const map of all) {
    if (map.origin === 'btf' && names.has(map.name))
      throw objectError('EEXIST', `map '${map.name}' is defined twice`);
    names.add(map.name);
  }
  return { all, kconfig: kconfig?.variables ?? [] };
}

function readPrograms(
  context: ObjectContext,
  code: ReadonlyMap<number, CodeSection>,
  functionCount: number,
  lookup: (section: string) => SectionMatch | null,
): ProgramSpec[] {
  const linker = new Linker(context, code);
  const programs: ProgramSpec[] = [];
  for (const [index, { section, functions }] of code) {
    const isText = section.name === '.text';
    // Functions of .text are subprograms, unless it is the only one: objects without sections.
    if (isText && functionCount > 1) continue;
    const match = lookup(section.name);
    const row = match?.row;
    for (const entry of functions) {
      if (entry.isStatic && !entry.hidden && !isText) continue;
      programs.push({
        name: entry.name,
        section: section.name.replace(/^\?/, ''),
        sectionRow: row,
        progType: row?.progType,
        attachType: row?.attachType,
        sleepable: row?.sleepable === true,
        autoload: !section.name.startsWith('?'),
        attachTo: match === null || match.extra === '' ? undefined : match.extra,
        ...linker.link(index, entry),
      });
    }
  }
  return programs;
}
