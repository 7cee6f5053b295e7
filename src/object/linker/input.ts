/** One object that is linked with others, and where its sections, symbols and types go. */
import { type Btf, type BtfExt, parseBtf, parseBtfExt } from '../../btf/index.ts';
import { type ElfFile, type ElfSymbol, EM_BPF, parseElf, SHT, STB } from '../../elf/index.ts';
import { objectError } from '../context.ts';
import type { OutputSection } from './output-section.ts';

export interface LinkInput {
  /** For messages. */
  readonly name: string;
  readonly elf: ElfFile;
  readonly btf: Btf | undefined;
  readonly ext: BtfExt | undefined;
  /** Where each section went, by its index: the output section and its offset there. */
  readonly placed: Map<number, { readonly section: OutputSection; readonly offset: number }>;
  /** New ids of its types. */
  readonly types: number[];
}

export function readInput(bytes: Uint8Array, name: string): LinkInput {
  const elf = parseElf(bytes);
  if ((elf.machine !== EM_BPF && elf.machine !== 0) || elf.type !== 1)
    throw objectError('ENOEXEC', `${name} is no relocatable BPF object`);
  const section = elf.section('.BTF');
  const btf = section === undefined || section.type === SHT.NOBITS ? undefined : parseBtf(section.data);
  const ext = elf.section('.BTF.ext');
  return {
    name,
    elf,
    btf,
    ext: btf === undefined || ext === undefined ? undefined : parseBtfExt(ext.data, btf),
    placed: new Map(),
    types: [],
  };
}

export const isGlobal = (symbol: ElfSymbol): boolean => symbol.bind !== STB.LOCAL && symbol.name !== '';
