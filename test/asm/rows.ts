/** Instructions of every row with random operands, for the tests of this room. */
import type { InsnRow } from '../../src/asm/index.ts';
import type { Insn } from '../../src/contracts.ts';
import type { Random } from '../generator/random.ts';

/** One instruction of the row, all operands random within what its text can say. One or two slots. */
export function randomInsn(row: InsnRow, random: Random): Insn[] {
  const has = (field: InsnRow['fields'][number]) => row.fields.includes(field) && !row.hidden.includes(field);
  const imm = has('imm') ? random.s32() : (row.fixed.imm ?? 0);
  const first: Insn = {
    code: row.code,
    dst: has('dst') ? random.below(11) : (row.fixed.dst ?? 0),
    src: has('src') ? random.below(11) : (row.fixed.src ?? 0),
    off: has('off') ? (random.s32() << 16) >> 16 : (row.fixed.off ?? 0),
    imm,
  };
  if (row.slots === 1) return [first];
  return [first, { code: 0, dst: 0, src: 0, off: 0, imm: has('imm2') ? random.s32() : 0 }];
}
