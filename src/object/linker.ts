/**
 * Static linking: several objects become one, as `bpftool gen object` makes it (libbpf: linker.c). Sections of one name are joined,
 * global names get one meaning, relocations follow, types are merged. The result is an object file again: it may be linked
 * further, loaded, or written to disk.
 */
import { CLASS, JMP_OP } from '../asm/index.ts';
import { type ElfRelocation, ElfWriter, R_BPF, relocationName, SHT, STB, STT } from '../elf/index.ts';
import type { BpfError } from '../util/index.ts';
import { objectError } from './context.ts';
import { isGlobal, type LinkInput, readInput } from './linker/input.ts';
import type { OutputSection } from './linker/output-section.ts';
import { placeSections } from './linker/sections.ts';
import { type GlobalSymbol, resolveSymbols } from './linker/symbols.ts';
import { type LinkedTypes, linkTypes } from './linker/types.ts';

/** Section numbers above stand for something else; the tables of the file itself take some. */
const MAX_SECTIONS = 20_000;
const CALL_CODE = CLASS.JMP | JMP_OP.CALL;

/**
 * The bytes of one object with everything in `objects`. Errors: EEXIST for a name with two strong definitions, EINVAL for names whose
 * types or map definitions differ, sections that do not fit together, different licenses; ENOEXEC for what is no BPF object.
 */
export function linkObjects(
  objects: readonly Uint8Array[],
  options: {
    /** What messages call the objects: their files. Default: `object 1`. */
    readonly names?: readonly string[];
  } = {},
): Uint8Array {
  if (objects.length === 0) throw objectError('EINVAL', 'there is nothing to link');
  const inputs = objects.map((bytes, i) => readInput(bytes, options.names?.[i] ?? `object ${i + 1}`));
  const littleEndian = inputs[0]!.elf.littleEndian;
  const other = inputs.find((input) => input.elf.littleEndian !== littleEndian);
  if (other !== undefined)
    throw objectError('EINVAL', `${other.name} has another byte order than those before it`);
  const sections = placeSections(inputs);
  if (sections.length > MAX_SECTIONS)
    throw objectError('E2BIG', `${sections.length} sections do not fit in one object`);
  const symbols = resolveSymbols(inputs);
  const types = linkTypes(inputs, symbols, sections);
  return new Output(littleEndian, sections, symbols).write(inputs, types);
}

/** Ranges of bytes, which may overlap. */
class Ranges {
  #ranges: { readonly start: number; end: number }[] = [];
  #sorted = true;

  add(start: number, end: number): this {
    this.#ranges.push({ start, end });
    this.#sorted = false;
    return this;
  }

  has(offset: number): boolean {
    if (!this.#sorted) this.#sort();
    let low = 0;
    let high = this.#ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#ranges[middle]!.start <= offset) low = middle + 1;
      else high = middle;
    }
    return low > 0 && offset < this.#ranges[low - 1]!.end;
  }

  #sort(): void {
    const joined: { readonly start: number; end: number }[] = [];
    for (const range of this.#ranges.sort((a, b) => a.start - b.start)) {
      const last = joined.at(-1);
      if (last !== undefined && range.start <= last.end) last.end = Math.max(last.end, range.end);
      else joined.push(range);
    }
    this.#ranges = joined;
    this.#sorted = true;
  }
}

class Output {
  readonly #writer: ElfWriter;
  readonly #littleEndian: boolean;
  readonly #sections = new Map<OutputSection, { readonly id: number; readonly bytes: Uint8Array }>();
  readonly #sectionSymbols = new Map<OutputSection, number>();
  readonly #globals = new Map<string, number>();
  readonly #symbols: ReadonlyMap<string, GlobalSymbol>;

  constructor(
    littleEndian: boolean,
    sections: readonly OutputSection[],
    symbols: ReadonlyMap<string, GlobalSymbol>,
  ) {
    this.#littleEndian = littleEndian;
    this.#symbols = symbols;
    this.#writer = new ElfWriter({ littleEndian });
    for (const section of sections) {
      const bytes = section.bytes();
      const { name, type, flags, align, entrySize, size } = section;
      const id = this.#writer.addSection({ name, type, flags, align, entrySize, data: bytes, size });
      this.#sections.set(section, { id, bytes });
    }
  }

  write(inputs: readonly LinkInput[], types: LinkedTypes | undefined): Uint8Array {
    const writer = this.#writer;
    if (types !== undefined) writer.addSection({ name: '.BTF', align: 4, data: types.btf });
    if (types?.ext !== undefined) writer.addSection({ name: '.BTF.ext', align: 4, data: types.ext });
    for (const symbol of this.#symbols.values()) {
      const { name, definition, visibility } = symbol;
      const { size, type } = symbol.symbol;
      const bind = symbol.weak ? STB.WEAK : STB.GLOBAL;
      const where =
        definition === undefined
          ? {}
          : { section: this.#sections.get(definition.section)!.id, value: definition.value, size };
      this.#globals.set(name, writer.addSymbol({ name, bind, type, visibility, ...where }));
    }
    for (const input of inputs) this.#writeInput(input);
    return writer.bytes();
  }

  #writeInput(input: LinkInput): void {
    const locals = new Map<number, number>();
    for (const symbol of input.elf.symbols) {
      const placed = input.placed.get(symbol.section);
      if (isGlobal(symbol) || placed === undefined || symbol.type === STT.SECTION || symbol.name === '')
        continue;
      const { name, type, size, visibility } = symbol;
      const section = this.#sections.get(placed.section)!.id;
      const value = placed.offset + symbol.value;
      locals.set(
        symbol.index,
        this.#writer.addSymbol({ name, type, size, visibility, section, value, bind: STB.LOCAL }),
      );
    }
    const lost = this.#lostDefinitions(input);
    for (const [index, { section, offset }] of input.placed) {
      for (const relocation of input.elf.relocations(index)) {
        if (relocation.type === R_BPF.NONE) continue;
        const isLost = lost.get(index)?.has(relocation.offset) === true;
        if (!isLost) this.#relocate(input, relocation, { section, offset }, locals);
      }
    }
  }

  /** Weak definitions that another object's stands for, by section: nothing refers to them any more. */
  #lostDefinitions(input: LinkInput): ReadonlyMap<number, Ranges> {
    const found = new Map<number, Ranges>();
    for (const symbol of input.elf.symbols) {
      if (!isGlobal(symbol) || !input.placed.has(symbol.section)) continue;
      if (this.#symbols.get(symbol.name)?.symbol === symbol) continue;
      const ranges = found.get(symbol.section) ?? new Ranges();
      found.set(symbol.section, ranges.add(symbol.value, symbol.value + symbol.size));
    }
    return found;
  }

  #relocate(
    input: LinkInput,
    relocation: ElfRelocation,
    at: { readonly section: OutputSection; readonly offset: number },
    locals: ReadonlyMap<number, number>,
  ): void {
    const { symbol } = relocation;
    const refusal = (why: string): BpfError => {
      const where = `section '${at.section.name}' of ${input.name}, byte ${relocation.offset}`;
      return objectError('EINVAL', `${where}: relocation against '${symbol.name}' ${why}`);
    };
    const position = at.offset + relocation.offset;
    if (relocation.addend !== undefined && relocation.addend !== 0) throw refusal('has an explicit addend');
    let handle = isGlobal(symbol) ? this.#globals.get(symbol.name) : locals.get(symbol.index);
    if (symbol.type === STT.SECTION) {
      const target = input.placed.get(symbol.section);
      if (target === undefined) throw refusal('leads to a section that is not linked');
      handle = this.#sectionSymbol(target.section);
      if (!this.#addOffset(at.section, position, relocation.type, target.offset))
        throw refusal(`(${relocationName(relocation.type)}) cannot be moved`);
    }
    if (handle === undefined) throw refusal('leads to a symbol that is not linked');
    this.#writer.addRelocation(this.#sections.get(at.section)!.id, position, relocation.type, handle);
  }

  #sectionSymbol(section: OutputSection): number {
    let handle = this.#sectionSymbols.get(section);
    if (handle === undefined) {
      const { id } = this.#sections.get(section)!;
      handle = this.#writer.addSymbol({ name: '', section: id, type: STT.SECTION, bind: STB.LOCAL });
      this.#sectionSymbols.set(section, handle);
    }
    return handle;
  }

  /** What refers to a section says where in it beside the relocation: in the instruction, or in the word. */
  #addOffset(section: OutputSection, position: number, type: number, offset: number): boolean {
    const { bytes } = this.#sections.get(section)!;
    const little = this.#littleEndian;
    const view = new DataView(bytes.buffer);
    if (section.type === SHT.NOBITS || position + 8 > bytes.length) return false;
    if (section.isCode) {
      const isCall = bytes[position] === CALL_CODE;
      if (type !== (isCall ? R_BPF['64_32'] : R_BPF['64_64'])) return false;
      // Calls count instructions, addresses bytes.
      const by = isCall ? offset / 8 : offset;
      view.setInt32(position + 4, view.getInt32(position + 4, little) + by, little);
      return true;
    }
    if (type !== R_BPF['64_ABS64']) return false;
    view.setBigUint64(position, view.getBigUint64(position, little) + BigInt(offset), little);
    return true;
  }
}
