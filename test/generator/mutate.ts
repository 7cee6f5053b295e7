/** Damage: one to three instructions of a good program changed, so that what a verifier must refuse comes up too. */
import { INSN_ROWS } from '../../src/asm/index.ts';
import type { Insn } from '../../src/contracts.ts';
import type { Random } from './random.ts';

const ROWS = INSN_ROWS.filter((r) => r.slots === 1 && r.internal !== true);

const DAMAGES: readonly ((insn: Insn, random: Random) => Insn)[] = [
  (insn, random) => ({ ...insn, dst: random.below(11) }),
  (insn, random) => ({ ...insn, src: random.below(11) }),
  (insn, random) => ({ ...insn, off: random.between(-8, 8) * random.pick([1, 4, 8]) }),
  (insn, random) => ({ ...insn, imm: random.s32() }),
  (insn, random) => ({ ...insn, imm: (insn.imm + random.between(-2, 2)) | 0 }),
  (insn, random) => {
    const row = random.pick(
      ROWS.filter((r) => r.code === insn.code || r.group === 'alu64' || r.group === 'load'),
    );
    return { ...insn, code: row.code, off: row.fixed.off ?? insn.off, imm: row.fixed.imm ?? insn.imm };
  },
  (_, random) => {
    const row = random.pick(ROWS);
    return {
      code: row.code,
      dst: random.below(11),
      src: row.fixed.src ?? random.below(11),
      off: row.fixed.off ?? random.between(-16, 16),
      imm: row.fixed.imm ?? random.s32(),
    };
  },
  // Nothing in its place.
  () => ({ code: 0x05, dst: 0, src: 0, off: 0, imm: 0 }),
];

/** A changed copy, of the same length. The slots of 64-bit loads stay. */
export function mutate(insns: readonly Insn[], random: Random): Insn[] {
  const out = insns.map((insn) => ({ ...insn }));
  for (let n = random.between(1, 3); n > 0; n--) {
    const at = random.below(out.length);
    if (out[at]!.code === 0x18 || out[at]!.code === 0) continue;
    out[at] = random.pick(DAMAGES)(out[at]!, random);
  }
  return out;
}
