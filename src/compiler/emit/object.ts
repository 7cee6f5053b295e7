/** A module and its compiled functions as a relocatable ELF object with `.BTF` and `.BTF.ext`, laid out as clang does. */
import { encodeProgram } from '../../asm/index.ts';
import {
  type BtfCoreRelocation,
  type BtfFuncInfo,
  type BtfLineInfo,
  type BtfSecVar,
  CORE_RELO_KINDS,
  writeBtfExt,
} from '../../btf/index.ts';
import type { Insn } from '../../contracts/insn.ts';
import {
  type ElfSectionId,
  type ElfSymbolId,
  ElfWriter,
  R_BPF,
  SHF,
  SHT,
  STB,
  STT,
  STV,
} from '../../elf/index.ts';
import { alignUp } from '../../util/index.ts';
import { type CType, core, type FunctionDecl, type VarDecl } from '../ast/index.ts';
import type { CompiledFunction } from '../codegen/index.ts';
import type { Func, Global, Linkage } from '../ir/index.ts';
import type { SourceManager } from '../source/index.ts';
import { TypeWriter } from './btf-types.ts';

export interface EmitInput {
  readonly sources: SourceManager;
  /** Of the main file, for the FILE symbol. */
  readonly fileName: string;
  readonly functions: readonly { readonly func: Func; readonly code: CompiledFunction }[];
  /** Variables that are defined here and kept. */
  readonly globals: readonly Global[];
  /** Variables and functions that others define. */
  readonly externs: readonly (Global | Func)[];
  /** `-g`: without it there is no BTF, and maps cannot be loaded. */
  readonly debug: boolean;
  /** Types that nothing in the object has, for its readers. */
  readonly kept?: readonly CType[];
}

interface CodeSection {
  readonly name: string;
  readonly insns: Insn[];
  readonly parts: { readonly func: Func; readonly code: CompiledFunction; readonly start: number }[];
}

interface DataSection {
  readonly name: string;
  readonly globals: { readonly global: Global; readonly offset: number }[];
  size: number;
  align: number;
  writable: boolean;
  zero: boolean;
  strings: boolean;
}

/** Where a variable goes whose source does not say it. */
export function sectionOf(global: Global): string {
  if (global.section !== undefined) return global.section;
  if (global.literal && global.align === 1) return '.rodata.str1.1';
  if (global.constant) return global.relocs.length > 0 ? '.data.rel.ro' : '.rodata';
  return global.init === undefined ? '.bss' : '.data';
}

const bindOf = (linkage: Linkage): number =>
  linkage === 'static' ? STB.LOCAL : linkage === 'weak' || linkage === 'extern-weak' ? STB.WEAK : STB.GLOBAL;

class Emitter {
  private readonly input: EmitInput;
  private readonly elf = new ElfWriter();
  private readonly code = new Map<string, CodeSection>();
  private readonly data = new Map<string, DataSection>();
  private readonly sectionIds = new Map<string, ElfSectionId>();
  private readonly sectionSymbols = new Map<string, ElfSymbolId>();
  private readonly symbols = new Map<Global | Func, ElfSymbolId>();
  /** Section and offset of what is static: it is referred to by its section. */
  private readonly places = new Map<Global | Func, { readonly section: string; readonly offset: number }>();

  constructor(input: EmitInput) {
    this.input = input;
  }

  run(): Uint8Array {
    this.layOutCode();
    this.layOutData();
    this.addSymbols();
    this.relocateCode();
    this.relocateData();
    if (this.input.debug) this.addBtf();
    return this.elf.bytes();
  }

  private layOutCode(): void {
    this.code.set('.text', { name: '.text', insns: [], parts: [] });
    for (const { func, code } of this.input.functions) {
      const name = func.section ?? '.text';
      let section = this.code.get(name);
      if (section === undefined) {
        section = { name, insns: [], parts: [] };
        this.code.set(name, section);
      }
      const start = section.insns.length;
      section.parts.push({ func, code, start });
      for (const insn of code.insns) section.insns.push({ ...insn });
      this.places.set(func, { section: name, offset: start * 8 });
    }
  }

  private layOutData(): void {
    for (const global of this.input.globals) {
      const name = sectionOf(global);
      let section = this.data.get(name);
      if (section === undefined) {
        section = { name, globals: [], size: 0, align: 1, writable: false, zero: true, strings: false };
        this.data.set(name, section);
      }
      const offset = alignUp(section.size, global.align);
      section.globals.push({ global, offset });
      section.size = offset + global.size;
      section.align = Math.max(section.align, global.align);
      if (!global.constant) section.writable = true;
      if (global.init !== undefined) section.zero = false;
      if (global.literal && global.section === undefined) section.strings = name === '.rodata.str1.1';
      this.places.set(global, { section: name, offset });
    }
  }

  private addSymbols(): void {
    const { elf, input } = this;
    elf.addSymbol({ name: input.fileName, section: 'abs', type: STT.FILE });
    for (const section of this.code.values()) {
      const id = elf.addSection({
        name: section.name,
        flags: SHF.ALLOC | SHF.EXECINSTR,
        align: 8,
      });
      this.sectionIds.set(section.name, id);
    }
    for (const section of this.data.values()) {
      const nobits = section.zero && /^\.bss(\.|$)/.test(section.name);
      const flags =
        SHF.ALLOC | (section.writable ? SHF.WRITE : 0) | (section.strings ? SHF.MERGE | SHF.STRINGS : 0);
      const bytes = new Uint8Array(section.size);
      for (const { global, offset } of section.globals)
        if (global.init !== undefined) bytes.set(global.init, offset);
      this.bytes.set(section.name, bytes);
      const id = elf.addSection({
        name: section.name,
        type: nobits ? SHT.NOBITS : SHT.PROGBITS,
        flags,
        align: section.align,
        ...(section.strings ? { entrySize: 1 } : {}),
        ...(nobits ? { size: section.size } : { data: bytes }),
      });
      this.sectionIds.set(section.name, id);
    }
    for (const [name, section] of this.sectionIds)
      this.sectionSymbols.set(name, elf.addSymbol({ name, section, type: STT.SECTION }));
    for (const section of this.code.values())
      for (const { func, code, start } of section.parts)
        this.symbols.set(
          func,
          elf.addSymbol({
            name: func.name,
            section: this.sectionIds.get(section.name)!,
            value: start * 8,
            size: code.insns.length * 8,
            bind: bindOf(func.linkage),
            type: STT.FUNC,
            visibility: func.hidden ? STV.HIDDEN : STV.DEFAULT,
          }),
        );
    for (const section of this.data.values())
      for (const { global, offset } of section.globals) {
        if (global.literal) continue;
        this.symbols.set(
          global,
          elf.addSymbol({
            name: global.name,
            section: this.sectionIds.get(section.name)!,
            value: offset,
            size: global.size,
            bind: bindOf(global.linkage),
            type: STT.OBJECT,
            visibility: global.hidden ? STV.HIDDEN : STV.DEFAULT,
          }),
        );
      }
    for (const one of input.externs)
      this.symbols.set(
        one,
        elf.addSymbol({
          name: one.name,
          bind: one.linkage === 'extern-weak' ? STB.WEAK : STB.GLOBAL,
          visibility: one.hidden ? STV.HIDDEN : STV.DEFAULT,
        }),
      );
  }

  private readonly bytes = new Map<string, Uint8Array>();

  /** Symbol of a reference and what is added to it: what is static goes by its section. */
  private reference(target: Global | Func): { symbol: ElfSymbolId; addend: number } | undefined {
    const place = this.places.get(target);
    if (place !== undefined && target.linkage === 'static')
      return { symbol: this.sectionSymbols.get(place.section)!, addend: place.offset };
    const symbol = this.symbols.get(target);
    return symbol === undefined ? undefined : { symbol, addend: 0 };
  }

  private relocateCode(): void {
    for (const section of this.code.values()) {
      const id = this.sectionIds.get(section.name)!;
      for (const { func, code, start } of section.parts) {
        for (const { insn, symbol, call } of code.relocations) {
          const at = start + insn;
          const reference = this.reference(symbol.target);
          if (reference === undefined) continue;
          const place = this.places.get(symbol.target);
          if (
            call &&
            place?.section === section.name &&
            (symbol.target.linkage === 'static' || symbol.target === func)
          ) {
            // In the same section the distance is known.
            section.insns[at]!.imm = place.offset / 8 - at - 1;
            continue;
          }
          if (call) section.insns[at]!.imm = reference.addend / 8 - 1;
          else section.insns[at]!.imm = reference.addend + symbol.addend;
          this.elf.addRelocation(id, at * 8, call ? R_BPF['64_32'] : R_BPF['64_64'], reference.symbol);
        }
      }
      this.patchTypeIds(section);
      this.elf.setData(id, encodeProgram(section.insns));
    }
  }

  private relocateData(): void {
    for (const section of this.data.values()) {
      const bytes = this.bytes.get(section.name)!;
      const view = new DataView(bytes.buffer);
      for (const { global, offset } of section.globals) {
        for (const reloc of global.relocs) {
          const reference = this.reference(reloc.target);
          if (reference === undefined) continue;
          view.setBigUint64(
            offset + reloc.offset,
            BigInt.asUintN(64, BigInt(reference.addend + reloc.addend)),
            true,
          );
          this.elf.addRelocation(
            this.sectionIds.get(section.name)!,
            offset + reloc.offset,
            R_BPF['64_ABS64'],
            reference.symbol,
          );
        }
      }
    }
  }

  // ---------------------------------------------------------------------------------------------------------------
  // BTF

  private types: TypeWriter | undefined;

  private typeWriter(): TypeWriter {
    if (this.types !== undefined) return this.types;
    const types = new TypeWriter();
    this.types = types;
    const { input } = this;
    for (const { func, code } of input.functions) {
      const decl = func.decl as FunctionDecl | undefined;
      if (decl !== undefined) types.need(decl.type);
      for (const { info } of code.core) types.need(info.root as CType);
    }
    for (const type of input.kept ?? []) types.need(type);
    for (const global of input.globals) {
      const decl = global.decl as VarDecl | undefined;
      if (decl === undefined || global.literal) continue;
      if (/^\.maps/.test(global.section ?? '')) types.needMap(decl.type);
      else types.need(decl.type);
    }
    for (const one of input.externs) {
      const decl = one.decl as VarDecl | FunctionDecl | undefined;
      if (decl !== undefined) types.need(decl.type);
    }
    return types;
  }

  /** Type ids of the object itself are known to the compiler. */
  private patchTypeIds(section: CodeSection): void {
    if (!this.input.debug) return;
    for (const { code, start } of section.parts) {
      for (const { insn, info } of code.core) {
        const kind = CORE_RELO_KINDS[info.relo];
        if (kind === 'local_type_id' || kind === 'target_type_id')
          section.insns[start + insn]!.imm = this.typeWriter().id(info.root as CType);
      }
    }
  }

  private addBtf(): void {
    const { input } = this;
    const types = this.typeWriter();
    const { builder } = types;
    const funcInfo = new Map<string, BtfFuncInfo[]>();
    const lineInfo = new Map<string, BtfLineInfo[]>();
    const coreRelocations = new Map<string, Omit<BtfCoreRelocation, 'access'>[]>();
    for (const section of this.code.values()) {
      const funcs: BtfFuncInfo[] = [];
      const lines: BtfLineInfo[] = [];
      const relocations: Omit<BtfCoreRelocation, 'access'>[] = [];
      for (const { func, code, start } of section.parts) {
        const id = this.funcType(func);
        if (id !== 0) funcs.push({ insn: start, type: id });
        for (const line of this.lines(func, code, start)) lines.push(line);
        for (const { insn, info } of [...code.core].sort((a, b) => a.insn - b.insn))
          relocations.push({
            insn: start + insn,
            type: types.id(bareRoot(info.root as CType)),
            accessOffset: builder.strings.add(info.access),
            kind: CORE_RELO_KINDS[info.relo]!,
          });
      }
      funcInfo.set(section.name, funcs);
      lineInfo.set(section.name, lines);
      coreRelocations.set(section.name, relocations);
    }
    this.dataSections();
    const ext = writeBtfExt({ funcInfo, lineInfo, coreRelocations }, (text) => builder.strings.add(text));
    this.elf.addSection({ name: '.BTF', data: builder.bytes(), align: 4 });
    if (input.functions.length > 0) this.elf.addSection({ name: '.BTF.ext', data: ext, align: 4 });
  }

  private funcType(func: Func): number {
    const types = this.types!;
    const decl = func.decl as FunctionDecl | undefined;
    const type = decl === undefined ? undefined : core(decl.type);
    if (decl === undefined || type?.kind !== 'function') return 0;
    const names = func.isDeclaration ? undefined : decl.parameters.map((parameter) => parameter.name);
    const proto = types.proto(type, names);
    const id = types.builder.add({
      kind: 'func',
      name: func.name,
      type: proto,
      linkage: func.isDeclaration ? 'extern' : func.linkage === 'static' ? 'static' : 'global',
    });
    for (const tag of decl.attributes.declTags ?? []) types.tag(tag, id, -1);
    decl.parameters.forEach((parameter, i) => {
      for (const tag of parameter.attributes.declTags ?? []) types.tag(tag, id, i);
    });
    return id;
  }

  private lines(func: Func, code: CompiledFunction, start: number): BtfLineInfo[] {
    const { sources } = this.input;
    const { strings } = this.types!.builder;
    const result: BtfLineInfo[] = [];
    let last: { line: number; file: string; column: number } | undefined;
    const add = (insn: number, loc: number): void => {
      const position = sources.position(loc);
      if (position === null) return;
      if (
        last !== undefined &&
        last.line === position.line &&
        last.file === position.path &&
        last.column === position.column
      )
        return;
      last = { line: position.line, file: position.path, column: position.column };
      const record = {
        insn: start + insn,
        fileOffset: strings.add(position.path),
        lineOffset: strings.add(position.text),
        lineColumn: ((position.line << 10) | Math.min(position.column, 1023)) >>> 0,
      };
      if (result[result.length - 1]?.insn === record.insn) result[result.length - 1] = record;
      else result.push(record);
    };
    // The kernel wants a line for the first instruction of each function.
    if (code.lines[0]?.insn !== 0 && func.loc !== undefined) add(0, func.loc);
    for (const { insn, loc } of code.lines) add(insn, loc);
    return result;
  }

  private dataSections(): void {
    const types = this.types!;
    const { builder } = types;
    const sections = new Map<string, BtfSecVar[]>();
    const put = (name: string, item: BtfSecVar): void => {
      const list = sections.get(name);
      if (list === undefined) sections.set(name, [item]);
      else list.push(item);
    };
    for (const type of this.input.kept ?? []) types.id(type);
    for (const section of this.data.values()) {
      for (const { global, offset } of section.globals) {
        const decl = global.decl as VarDecl | undefined;
        if (decl === undefined || global.literal) continue;
        const type = builder.add({
          kind: 'var',
          name: global.name,
          type: types.id(decl.type),
          linkage: global.linkage === 'static' ? 'static' : 'global',
        });
        for (const tag of decl.attributes.declTags ?? []) types.tag(tag, type, -1);
        // Offsets of global variables are those of their symbols: the loader fills them in.
        put(section.name, { type, offset: global.linkage === 'static' ? offset : 0, size: global.size });
      }
    }
    for (const one of this.input.externs) {
      if (one.kind === 'function') {
        const type = this.funcType(one);
        if (type !== 0 && one.section !== undefined) put(one.section, { type, offset: 0, size: 0 });
        continue;
      }
      const decl = one.decl as VarDecl | undefined;
      if (decl === undefined) continue;
      const type = builder.add({ kind: 'var', name: one.name, type: types.id(decl.type), linkage: 'extern' });
      for (const tag of decl.attributes.declTags ?? []) types.tag(tag, type, -1);
      if (one.section !== undefined) put(one.section, { type, offset: 0, size: one.size });
    }
    for (const name of [...sections.keys()].sort())
      builder.add({ kind: 'datasec', name, size: 0, vars: sections.get(name)! });
  }
}

/** The record itself, without qualifiers and typedefs where the relocation is for a field; typedefs stay for type relocations. */
function bareRoot(type: CType): CType {
  let at = type;
  while (at.kind === 'qualified' || at.kind === 'tagged') at = at.base;
  const is = core(at);
  return is.kind === 'record' && is.tag !== null && at.kind !== 'typedef' ? is : at;
}

/** Writes the object. */
export function emitObject(input: EmitInput): Uint8Array {
  return new Emitter(input).run();
}
