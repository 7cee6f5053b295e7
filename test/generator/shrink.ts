/**
 * Delta debugging of programs: as few instructions, maps and bytes of input as still show the same (Zeller, Hildebrandt: ddmin).
 * Instructions are taken out with their jumps bent to what follows; the second slot of a 64-bit load goes with the first.
 */
import type { Insn } from '../../src/contracts.ts';
import type { GeneratedProgram } from './generate.ts';

const LD_IMM64 = 0x18;
const CALL = 0x85;
const EXIT = 0x95;
const GOTOL = 0x06;
const PSEUDO_CALL = 1;
const PSEUDO_FUNC = 4;

/** `shows` runs a candidate; `limit`: how often it may. */
export function shrink(
  program: GeneratedProgram,
  shows: (candidate: GeneratedProgram) => boolean,
  limit = 3000,
): GeneratedProgram {
  let best = program;
  let left = limit;
  const holds = (candidate: GeneratedProgram): boolean => {
    if (left-- <= 0 || !shows(candidate)) return false;
    best = candidate;
    return true;
  };
  for (let size = -1; size !== best.insns.length; ) {
    size = best.insns.length;
    shrinkInsns(() => best, holds);
  }
  simplifyInsns(() => best, holds);
  dropMaps(() => best, holds);
  holds({ ...best, input: new Uint8Array(best.input.length) });
  return best;
}

type Current = () => GeneratedProgram;
type Holds = (candidate: GeneratedProgram) => boolean;

/** Pieces of half the program, of a quarter, … of one instruction are left out, where that still shows it. */
function shrinkInsns(current: Current, holds: Holds): void {
  for (let piece = Math.ceil(current().insns.length / 2); piece >= 1; piece = Math.floor(piece / 2)) {
    for (let at = 0; at < current().insns.length; ) {
      if (!holds(without(current(), at, at + piece))) at += piece;
    }
  }
}

/** `dst = 0` in place of what computes or loads something. */
function simplifyInsns(current: Current, holds: Holds): void {
  for (let at = 0; at < current().insns.length; at++) {
    const program = current();
    const insn = program.insns[at]!;
    const group = insn.code & 7;
    if (![1, 4, 7].includes(group) || (insn.code === 0xb7 && insn.imm === 0)) continue;
    const insns = program.insns.slice();
    insns[at] = { code: 0xb7, dst: insn.dst, src: 0, off: 0, imm: 0 };
    holds({ ...program, insns });
  }
}

/** Maps that no instruction refers to, then elements of the others. */
function dropMaps(current: Current, holds: Holds): void {
  for (let index = current().maps.length - 1; index >= 0; index--) {
    const program = current();
    const maps = program.maps.slice();
    if (!program.fixes.some((fix) => fix.map === index)) {
      maps.splice(index, 1);
      const fixes = program.fixes.map(({ slot, map }) => ({ slot, map: map > index ? map - 1 : map }));
      holds({ ...program, maps, fixes });
    } else {
      maps[index] = { ...maps[index]!, elements: [] };
      holds({ ...program, maps });
    }
  }
}

/** The program without the slots from `from` up to `to`. */
export function without(program: GeneratedProgram, from: number, to: number): GeneratedProgram {
  const { insns } = program;
  const kept = insns.map((_insn, slot) => slot < from || slot >= to);
  insns.forEach((insn, slot) => {
    // Both slots of a load, or none.
    if (insn.code === LD_IMM64 && slot + 1 < insns.length && kept[slot] !== kept[slot + 1])
      kept[slot] = kept[slot + 1] = false;
  });
  const place: number[] = [];
  let count = 0;
  for (const stays of kept) {
    place.push(count);
    if (stays) count++;
  }
  place.push(count);
  const moved = insns.flatMap((insn, slot): Insn[] => {
    if (!kept[slot]) return [];
    const field = distanceField(insn);
    const target = field === undefined ? -1 : slot + 1 + insn[field];
    if (field === undefined || target < 0 || target > insns.length) return [insn];
    return [{ ...insn, [field]: place[target]! - place[slot]! - 1 }];
  });
  const fixes = program.fixes.flatMap(({ slot, map }) => (kept[slot] ? [{ slot: place[slot]!, map }] : []));
  return { ...program, insns: moved, fixes };
}

/** The field that holds the distance to another instruction. */
function distanceField({ code, src }: Insn): 'off' | 'imm' | undefined {
  if (code === CALL) return src === PSEUDO_CALL ? 'imm' : undefined;
  if (code === LD_IMM64) return src === PSEUDO_FUNC ? 'imm' : undefined;
  if (code === GOTOL) return 'imm';
  const group = code & 7;
  return (group === 5 || group === 6) && code !== EXIT ? 'off' : undefined;
}
