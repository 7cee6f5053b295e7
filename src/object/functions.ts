/**
 * The functions of an object: symbols of type FUNC in sections that hold instructions, their instructions, and for each
 * relocated instruction what its symbol stands for. Nothing is joined yet (see link.ts).
 */
import { CALL, CLASS, decodeProgram, JMP_OP, LD_IMM64, PSEUDO } from '../asm/index.ts';
import type { Insn } from '../contracts.ts';
import {
  type ElfRelocation,
  type ElfSection,
  type ElfSymbol,
  R_BPF,
  relocationName,
  STB,
  STT,
  STV,
} from '../elf/index.ts';
import { BPF_MAP_TYPE } from '../uapi/index.ts';
import { isCode, isExtern, type ObjectContext, objectError, symbolName } from './context.ts';
import type { MutableMap } from './map-defs.ts';
import type { KconfigSpec } from './types.ts';

/** A function as the file has it. */
export interface ObjectFunction {
  readonly name: string;
  readonly section: ElfSection;
  /** Instruction index of its start in the section. */
  readonly start: number;
  /** Number of instruction slots. */
  readonly size: number;
  /** Local, or hidden from other objects: verified with its callers' arguments. */
  readonly isStatic: boolean;
  /** Hidden visibility on a global symbol: its BTF says global and has to be corrected. */
  readonly hidden: boolean;
}

/** What a relocated instruction refers to. Instruction indexes are relative to the function. */
export type ObjectReference =
  | { readonly kind: 'map'; readonly map: number; readonly symbol: string }
  | { readonly kind: 'map_value'; readonly map: number; readonly symbol: string; readonly offset: number }
  | {
      readonly kind: 'call' | 'func';
      readonly section: number;
      readonly target: number;
      readonly symbol: string;
    }
  | {
      readonly kind: 'ksym' | 'kfunc' | 'kfunc_address';
      readonly symbol: string;
      readonly weak: boolean;
      readonly typed: boolean;
      readonly typeId: number;
    };

/** The instructions of one section with what its relocations say, by instruction index in the section. */
export interface CodeSection {
  readonly section: ElfSection;
  readonly insns: readonly Insn[];
  readonly references: ReadonlyMap<number, ObjectReference>;
  /** By start, not overlapping. */
  readonly functions: readonly ObjectFunction[];
}

export function isLoadImm64(insn: Insn): boolean {
  return insn.code === LD_IMM64;
}

/** `call` of any kind. */
export function isCall(insn: Insn): boolean {
  return insn.code === (CLASS.JMP | JMP_OP.CALL);
}

/** A call of another function of the program. */
export function isLocalCall(insn: Insn): boolean {
  return isCall(insn) && insn.src === CALL.LOCAL;
}

/** A load of another function's address. */
export function isFunctionAddress(insn: Insn): boolean {
  return isLoadImm64(insn) && insn.src === PSEUDO.FUNC;
}

function readFunctions(context: ObjectContext, section: ElfSection): ObjectFunction[] {
  const functions: ObjectFunction[] = [];
  let end = 0;
  for (const symbol of context.symbolsOf(section.index)) {
    if (symbol.type !== STT.FUNC) continue;
    const what = `function '${symbol.name}' in section '${section.name}'`;
    if (symbol.value % 8 !== 0 || symbol.size % 8 !== 0 || symbol.size === 0) {
      throw objectError(
        'EINVAL',
        `${what}: offset ${symbol.value}, ${symbol.size} bytes are not whole instructions`,
      );
    }
    if (symbol.value + symbol.size > section.size) {
      throw objectError('EINVAL', `${what} reaches beyond the section (${section.size} bytes)`);
    }
    const last = functions.at(-1);
    if (last !== undefined && symbol.value === last.start * 8 && symbol.size === last.size * 8) continue; // alias
    if (symbol.value < end) throw objectError('EINVAL', `${what} overlaps the function before it`);
    end = symbol.value + symbol.size;
    const hidden =
      symbol.bind !== STB.LOCAL && (symbol.visibility === STV.HIDDEN || symbol.visibility === STV.INTERNAL);
    functions.push({
      name: symbol.name,
      section,
      start: symbol.value / 8,
      size: symbol.size / 8,
      isStatic: symbol.bind === STB.LOCAL || hidden,
      hidden,
    });
  }
  return functions;
}

/** Globals in the address space of the object's one arena. */
export const ARENA_SECTION = '.addr_space.1';

/** What references can lead to, by what relocations tell: a hostile object may have many of both. */
export class Targets {
  readonly maps: readonly MutableMap[];
  /** Index of the `.kconfig` map in `maps`. */
  readonly kconfigMap: number;
  readonly kconfig: ReadonlyMap<string, KconfigSpec>;
  /** Kernel symbols: type ids of their variables and functions in the object's BTF. */
  readonly ksyms: ReadonlyMap<string, number>;
  private readonly variables = new Map<string, number>();
  private readonly sections = new Map<number, { readonly map: number; readonly size: number }>();

  constructor(context: ObjectContext, maps: readonly MutableMap[], kconfig: readonly KconfigSpec[]) {
    this.maps = maps;
    this.kconfigMap = maps.findIndex((map) => map.origin === 'kconfig');
    this.kconfig = new Map(kconfig.map((variable) => [variable.name, variable]));
    maps.forEach((map, index) => {
      if (map.origin === 'btf' || map.origin === 'legacy') {
        this.variables.set(`${map.sectionIndex}:${map.sectionOffset}`, index);
      } else if (map.origin !== 'struct_ops' && !this.sections.has(map.sectionIndex)) {
        this.sections.set(map.sectionIndex, { map: index, size: map.valueSize });
      }
    });
    const globals = context.elf.section(ARENA_SECTION);
    const arena = maps.findIndex((map) => map.type === BPF_MAP_TYPE.BPF_MAP_TYPE_ARENA);
    if (globals !== undefined && arena >= 0)
      this.sections.set(globals.index, { map: arena, size: globals.size });
    const { btf } = context;
    const datasecId = btf?.find('.ksyms', 'datasec');
    const datasec = datasecId === undefined ? undefined : btf?.type(datasecId);
    this.ksyms = new Map(
      datasec?.kind === 'datasec' ? datasec.vars.map((item) => [btf!.name(item.type), item.type]) : [],
    );
  }

  /** The map whose variable begins at an offset of a section. */
  mapAt(section: number, offset: number): number | undefined {
    return this.variables.get(`${section}:${offset}`);
  }

  /** The map that holds a data section. */
  dataSection(section: number): { readonly map: number; readonly size: number } | undefined {
    return this.sections.get(section);
  }
}

interface Site {
  readonly section: ElfSection;
  readonly index: number;
  readonly insn: Insn;
  readonly relocation: ElfRelocation;
  readonly name: string;
}

function fail(site: Site, what: string, hint?: string): never {
  throw objectError(
    'EINVAL',
    `section '${site.section.name}', instruction ${site.index}: relocation against '${site.name}' ${what}`,
    hint,
  );
}

function externReference(context: ObjectContext, targets: Targets, site: Site): ObjectReference {
  const { btf } = context;
  const { symbol } = site.relocation;
  const weak = symbol.bind === STB.WEAK;
  const call = isCall(site.insn);
  const option = targets.kconfig.get(symbol.name);
  if (option !== undefined && !call) {
    return { kind: 'map_value', map: targets.kconfigMap, symbol: symbol.name, offset: option.offset };
  }
  const id = targets.ksyms.get(symbol.name);
  const type = id === undefined ? undefined : btf?.type(id);
  if (type?.kind === 'func') {
    const kind = call ? 'kfunc' : 'kfunc_address';
    return { kind, symbol: symbol.name, weak, typed: true, typeId: type.type };
  }
  if (btf !== undefined && type?.kind === 'var' && !call) {
    const typed = btf.resolved(type.type).kind !== 'void';
    return { kind: 'ksym', symbol: symbol.name, weak, typed, typeId: type.type };
  }
  throw objectError(
    'ENOENT',
    `section '${site.section.name}', instruction ${site.index}: '${symbol.name}' is not defined`,
    call
      ? 'define the function, mark a kernel function extern with __ksym, or keep the compiler from calling its C library'
      : 'mark it extern with __ksym or __kconfig',
  );
}

function dataReference(context: ObjectContext, targets: Targets, site: Site): ObjectReference {
  const { symbol } = site.relocation;
  // An address of a local symbol is written as its section plus the offset in the instruction.
  const offset = symbol.value + (site.relocation.addend ?? 0) + site.insn.imm;
  const variable = targets.mapAt(symbol.section, offset);
  if (variable !== undefined) return { kind: 'map', map: variable, symbol: targets.maps[variable]!.name };
  const data = targets.dataSection(symbol.section);
  if (data !== undefined) {
    const { map, size } = data;
    // One past the end is a valid C address.
    if (offset < 0 || offset > size) {
      fail(site, `leads to offset ${offset} of '${targets.maps[map]!.name}' (${size} bytes)`);
    }
    return {
      kind: 'map_value',
      map,
      symbol: variableAt(context, symbol.section, offset) ?? site.name,
      offset,
    };
  }
  const where = context.elf.sections[symbol.section]?.name ?? `section ${symbol.section}`;
  return fail(
    site,
    `leads to '${where}', which is neither a map nor data`,
    'keep globals in .data, .rodata or .bss',
  );
}

/** Name of the variable that covers an offset of a data section. */
function variableAt(context: ObjectContext, section: number, offset: number): string | undefined {
  const symbols = context.symbolsOf(section);
  let low = 0;
  let high = symbols.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (symbols[middle]!.value <= offset) low = middle + 1;
    else high = middle;
  }
  const symbol = symbols[low - 1];
  if (symbol?.type !== STT.OBJECT || offset >= symbol.value + symbol.size) return undefined;
  return symbol.name;
}

function codeReference(site: Site, symbol: ElfSymbol): ObjectReference {
  if (symbol.value % 8 !== 0) fail(site, `leads to offset ${symbol.value}, inside an instruction`);
  const base = symbol.value / 8;
  if (isCall(site.insn)) {
    if (site.insn.src !== CALL.LOCAL) fail(site, `is in a call with source register ${site.insn.src}`);
    // The call's immediate is relative to the next instruction; for a whole symbol it holds -1.
    return { kind: 'call', section: symbol.section, target: base + site.insn.imm + 1, symbol: site.name };
  }
  const bytes = site.insn.imm + (site.relocation.addend ?? 0);
  if (bytes % 8 !== 0) fail(site, `leads to byte ${bytes}, inside an instruction`);
  return { kind: 'func', section: symbol.section, target: base + bytes / 8, symbol: site.name };
}

function resolve(context: ObjectContext, targets: Targets, site: Site): ObjectReference {
  const { relocation, insn } = site;
  const expected = isLoadImm64(insn) ? R_BPF['64_64'] : isCall(insn) ? R_BPF['64_32'] : undefined;
  if (expected === undefined) {
    fail(
      site,
      `(${relocationName(relocation.type)}) is in instruction 0x${insn.code.toString(16)}, which takes none`,
    );
  }
  if (relocation.type !== expected) {
    fail(site, `has type ${relocationName(relocation.type)}, expected ${relocationName(expected)}`);
  }
  const { symbol } = relocation;
  if (isExtern(symbol)) return externReference(context, targets, site);
  const section = context.elf.sections[symbol.section];
  if (section === undefined || section.index === 0) fail(site, 'leads to no section');
  if (isCode(section!)) return codeReference(site, symbol);
  if (isCall(insn)) fail(site, `calls into '${section!.name}', which holds no instructions`);
  return dataReference(context, targets, site);
}

/** Reads every section of instructions. */
export function readCode(context: ObjectContext, targets: Targets): Map<number, CodeSection> {
  const result = new Map<number, CodeSection>();
  for (const section of context.elf.sections) {
    if (!isCode(section)) continue;
    if (section.size % 8 !== 0) {
      throw objectError(
        'EINVAL',
        `section '${section.name}': ${section.size} bytes are not whole instructions`,
      );
    }
    const functions = readFunctions(context, section);
    if (functions.length === 0) {
      context.warnings.push(`section '${section.name}' holds instructions, but no function`);
      continue;
    }
    const insns = decodeProgram(section.data, { bigEndian: !context.elf.littleEndian });
    const references = new Map<number, ObjectReference>();
    for (const relocation of context.elf.relocations(section.index)) {
      if (relocation.type === R_BPF.NONE) continue;
      const index = Math.floor(relocation.offset / 8);
      const insn = insns[index];
      const name = symbolName(context, relocation.symbol);
      if (insn === undefined || relocation.offset % 8 !== 0) {
        throw objectError(
          'EINVAL',
          `section '${section.name}': relocation against '${name}' at byte ${relocation.offset}, not an instruction`,
        );
      }
      if (isLoadImm64(insn) && insns[index + 1] === undefined) {
        throw objectError(
          'EINVAL',
          `section '${section.name}' ends inside the ld_imm64 at instruction ${index}`,
        );
      }
      references.set(index, resolve(context, targets, { section, index, insn, relocation, name }));
    }
    result.set(section.index, { section, insns, references, functions });
  }
  return result;
}
