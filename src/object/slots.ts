/**
 * What the slots of a map-in-map or program array hold from the start: the initialiser `.values = { [2] = &inner }` is one
 * relocation a slot inside section `.maps`.
 */
import { type ElfRelocation, type ElfSection, STT } from '../elf/index.ts';
import { type ObjectContext, objectError } from './context.ts';
import type { ObjectFunction, Targets } from './functions.ts';
import type { MutableMap } from './map-defs.ts';
import type { MapSlot } from './types.ts';

/** Offset in the target's section: for a static variable the symbol is the section, the rest stands in the slot. */
function targetOffset(context: ObjectContext, section: ElfSection, relocation: ElfRelocation): number {
  const { symbol, addend, offset } = relocation;
  if (addend !== undefined) return symbol.value + addend;
  if (symbol.type !== STT.SECTION || offset + 8 > section.data.length) return symbol.value;
  const view = new DataView(section.data.buffer, section.data.byteOffset, section.data.byteLength);
  return symbol.value + Number(view.getBigUint64(offset, context.elf.littleEndian));
}

/** Fills `values` of the maps in `targets`. */
export function readSlots(
  context: ObjectContext,
  targets: Targets,
  functions: readonly ObjectFunction[],
): void {
  const section = context.elf.section('.maps');
  if (section === undefined) return;
  const names = new Set(functions.map((item) => item.name));
  const maps = targets.maps
    .filter((map) => map.sectionIndex === section.index)
    .sort((a, b) => a.sectionOffset - b.sectionOffset);
  const fill = (map: MutableMap, index: number, relocation: ElfRelocation): MapSlot => {
    const { symbol } = relocation;
    const where = `map '${map.name}', slot ${index}`;
    if (map.inner === undefined) {
      if (names.has(symbol.name)) return { index, kind: 'program', program: symbol.name };
      throw objectError('EINVAL', `${where}: '${symbol.name}' is not a program`);
    }
    const target = targets.mapAt(symbol.section, targetOffset(context, section, relocation));
    if (target === undefined) throw objectError('EINVAL', `${where}: '${symbol.name}' is not a map`);
    return { index, kind: 'map', map: target, symbol: targets.maps[target]!.name };
  };
  let next = 0;
  for (const relocation of context.elf.relocations(section.index)) {
    const { offset } = relocation;
    // Relocations come by rising offset.
    while (next < maps.length && maps[next]!.sectionEnd <= offset) next++;
    const map = maps[next];
    const where = `section '.maps' at offset ${offset}`;
    if (map === undefined || offset < map.sectionOffset) {
      throw objectError('EINVAL', `${where}: the relocation belongs to no map`);
    }
    const first = map.sectionOffset + (map.valuesOffset ?? 0);
    if (map.valuesOffset === undefined || offset < first || (offset - first) % 8 !== 0) {
      throw objectError('EINVAL', `${where}: map '${map.name}' has no slot there`);
    }
    map.values.push(fill(map, (offset - first) / 8, relocation));
  }
}
