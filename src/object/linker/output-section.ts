/** A section of the linked object: contents that follow one another, each at its own alignment. */
import { type ElfSection, SHF, SHT } from '../../elf/index.ts';
import { alignUp } from '../../util/index.ts';
import { objectError } from '../context.ts';

const MAX_SIZE = 0x7fff_ffff;

export class OutputSection {
  readonly name: string;
  readonly type: number;
  readonly flags: number;
  readonly entrySize: number;
  align = 1;
  size = 0;
  readonly #parts: { readonly at: number; readonly data: Uint8Array }[] = [];

  constructor(section: ElfSection) {
    this.name = section.name;
    this.type = section.type;
    this.flags = section.flags;
    this.entrySize = section.entrySize;
  }

  get isCode(): boolean {
    return (this.flags & SHF.EXECINSTR) !== 0;
  }

  /** Where the section's contents are. */
  append(section: ElfSection, from: string): number {
    if (section.type !== this.type || (section.flags & SHF.EXECINSTR) !== (this.flags & SHF.EXECINSTR))
      throw objectError('EINVAL', `section '${this.name}' of ${from} is of another type than before it`);
    if (this.isCode && section.size % 8 !== 0)
      throw objectError('EINVAL', `section '${this.name}' of ${from}: no whole number of instructions`);
    const align = Math.max(1, section.align);
    if ((align & (align - 1)) !== 0 || align > 65_536)
      throw objectError(
        'EINVAL',
        `section '${this.name}' of ${from}: an alignment of ${section.align} bytes`,
      );
    const at = alignUp(this.size, align);
    if (at + section.size > MAX_SIZE)
      throw objectError('E2BIG', `section '${this.name}' is larger than 2 GiB`);
    this.align = Math.max(this.align, align);
    this.size = at + section.size;
    if (this.type !== SHT.NOBITS) this.#parts.push({ at, data: section.data });
    return at;
  }

  bytes(): Uint8Array {
    const bytes = new Uint8Array(this.type === SHT.NOBITS ? 0 : this.size);
    for (const { at, data } of this.#parts) bytes.set(data, at);
    return bytes;
  }
}
