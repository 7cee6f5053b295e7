/** Instructions and memory as reports of interleavings name them. */
import type { InterleavedPlace } from '../../contracts/interleave.ts';
import type { Place } from '../../interpreter/index.ts';
import type { Machine } from '../machine.ts';
import { sourceOf } from '../run.ts';

/** With the line of C source where the program came with line info. */
export function placeOf(machine: Machine, cpu: number, { executable, insn }: Place): InterleavedPlace {
  const place = { cpu, program: executable.name, insn };
  for (const program of machine.programs.values()) {
    if (program.parts.program !== executable) continue;
    const source = sourceOf(program, insn);
    if (source !== undefined) return { ...place, source };
  }
  return place;
}

/** `value of map 'counts', bytes 8 to 15`: what lies at an offset of the memory. */
export function describe(machine: Machine, offset: number, size: number): string {
  const block = machine.memory.blockAt(offset);
  if (block === undefined) return `0x${offset.toString(16)}`;
  const from = offset - block.start;
  return `${block.label}, ${size === 1 ? `byte ${from}` : `bytes ${from} to ${from + size - 1}`}`;
}
