/** Sections of one name from all objects become one: their contents follow one another, each at its own alignment. */
import { type ElfSection, SHT } from '../../elf/index.ts';
import { objectError } from '../context.ts';
import type { LinkInput } from './input.ts';
import { OutputSection } from './output-section.ts';

/** These say something about the whole object: they have to be the same in all of them. */
const ONCE: ReadonlySet<string> = new Set(['license', 'version']);

/** Sections that are no part of the program: symbol tables, debug information, notes of the compiler. */
function isLinked(section: ElfSection): boolean {
  if (section.type !== SHT.PROGBITS && section.type !== SHT.NOBITS) return false;
  if (section.name === '.BTF' || section.name === '.BTF.ext' || section.name === '') return false;
  if (section.name === '.llvm_addrsig' || section.name === '.eh_frame') return false;
  // Empty .text sections come with every object.
  if (section.size === 0) return false;
  return !section.name.startsWith('.debug_') && !section.name.startsWith('.comment');
}

/** Places the sections of all objects; the order is that in which names first come. */
export function placeSections(inputs: readonly LinkInput[]): OutputSection[] {
  const byName = new Map<string, OutputSection>();
  for (const input of inputs) {
    for (const section of input.elf.sections) {
      if (!isLinked(section)) continue;
      const known = byName.get(section.name);
      if (known !== undefined && ONCE.has(section.name)) {
        if (!sameBytes(known.bytes(), section.data))
          throw objectError(
            'EINVAL',
            `section '${section.name}' of ${input.name} differs from those before it`,
          );
        input.placed.set(section.index, { section: known, offset: 0 });
        continue;
      }
      const output = known ?? new OutputSection(section);
      byName.set(section.name, output);
      input.placed.set(section.index, { section: output, offset: output.append(section, input.name) });
    }
  }
  return [...byName.values()];
}

const sameBytes = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, i) => byte === b[i]);
