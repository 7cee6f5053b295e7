/**
 * What the steps of reading an object share: the ELF file, its BTF, and small checked look-ups. Steps add to it in a fixed
 * order (see parse.ts).
 */
import { type Btf, type BtfExt, parseBtf, parseBtfExt } from '../btf/index.ts';
import { type ElfFile, type ElfSection, type ElfSymbol, SHF, SHN, SHT, STB, STT } from '../elf/index.ts';
import { BpfError, type ErrnoName } from '../util/index.ts';

export interface ObjectContext {
  readonly elf: ElfFile;
  readonly name: string;
  readonly btf: Btf | undefined;
  readonly ext: BtfExt | undefined;
  readonly warnings: string[];
  /** Symbols by the section they are in, in order of their offsets. */
  readonly symbolsOf: (section: number) => readonly ElfSymbol[];
}

export function objectError(code: ErrnoName, message: string, hint?: string): BpfError {
  return new BpfError(code, message, hint === undefined ? {} : { hint });
}

function readBtf(elf: ElfFile, warnings: string[]): { btf: Btf | undefined; ext: BtfExt | undefined } {
  const section = elf.section('.BTF');
  if (section === undefined) return { btf: undefined, ext: undefined };
  if (section.type === SHT.NOBITS) throw objectError('EINVAL', "section '.BTF' has no contents");
  const btf = parseBtf(section.data);
  const extSection = elf.section('.BTF.ext');
  if (extSection === undefined) {
    warnings.push("section '.BTF.ext' is missing: programs have no source lines");
    return { btf, ext: undefined };
  }
  return { btf, ext: parseBtfExt(extSection.data, btf) };
}

export function createContext(elf: ElfFile, name: string): ObjectContext {
  const warnings: string[] = [];
  const bySection = new Map<number, ElfSymbol[]>();
  for (const symbol of elf.symbols) {
    if (symbol.section === SHN.UNDEF || symbol.section >= SHN.LORESERVE) continue;
    const list = bySection.get(symbol.section);
    if (list === undefined) bySection.set(symbol.section, [symbol]);
    else list.push(symbol);
  }
  for (const list of bySection.values()) list.sort((a, b) => a.value - b.value || a.index - b.index);
  return {
    elf,
    name,
    ...readBtf(elf, warnings),
    warnings,
    symbolsOf: (section) => bySection.get(section) ?? [],
  };
}

/** A section that holds instructions. */
export function isCode(section: ElfSection): boolean {
  return section.type === SHT.PROGBITS && (section.flags & SHF.EXECINSTR) !== 0 && section.size > 0;
}

/** An undefined symbol that another object or the kernel has to provide. */
export function isExtern(symbol: ElfSymbol): boolean {
  return symbol.section === SHN.UNDEF && symbol.bind !== STB.LOCAL && symbol.name !== '';
}

/** The symbol's name, or its section's for section symbols. */
export function symbolName(context: ObjectContext, symbol: ElfSymbol): string {
  if (symbol.type === STT.SECTION || symbol.name === '') {
    return context.elf.sections[symbol.section]?.name ?? `symbol ${symbol.index}`;
  }
  return symbol.name;
}

/** A NUL-terminated text that fills a section. */
export function sectionText(section: ElfSection): string {
  const end = section.data.indexOf(0);
  return new TextDecoder().decode(section.data.subarray(0, end < 0 ? section.data.length : end));
}
