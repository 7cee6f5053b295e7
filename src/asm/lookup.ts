/** Which row of the table an instruction or a name belongs to. */
import { INSN_ROWS, type InsnField, type InsnRow } from './table.ts';

const BY_NAME: ReadonlyMap<string, InsnRow> = new Map(INSN_ROWS.map((r) => [r.name, r]));

/** Rows by opcode byte, those with fixed fields first: a row without them is what remains. */
const BY_CODE: readonly (readonly InsnRow[])[] = byCode();

function byCode(): InsnRow[][] {
  const rows = Array.from({ length: 256 }, (): InsnRow[] => []);
  for (const row of INSN_ROWS) rows[row.code]!.push(row);
  for (const group of rows)
    if (group.length > 1) group.sort((a, b) => Object.keys(b.fixed).length - Object.keys(a.fixed).length);
  return rows;
}

/** The row of that name (see `InsnRow.name`), or undefined. */
export function rowByName(name: string): InsnRow | undefined {
  return BY_NAME.get(name);
}

/** All rows that share an opcode byte; empty for an opcode that does not exist. */
export function rowsByCode(code: number): readonly InsnRow[] {
  return BY_CODE[code & 0xff]!;
}

type Fields = Readonly<Record<'dst' | 'src' | 'off' | 'imm', number>>;

/** The row that an instruction belongs to, or undefined. Reserved fields are not looked at: see `isCanonical`. */
export function rowOf(insn: Fields & { readonly code: number }): InsnRow | undefined {
  for (const r of rowsByCode(insn.code)) {
    const { fixed } = r;
    if (
      (fixed.src === undefined || fixed.src === insn.src) &&
      (fixed.off === undefined || fixed.off === insn.off) &&
      (fixed.imm === undefined || fixed.imm === insn.imm)
    )
      return r;
  }
  return undefined;
}

const FIELDS = ['dst', 'src', 'off', 'imm'] as const;

/** The first field that is neither an operand of the row nor zero (a reserved field in use), or undefined. */
export function reservedFieldInUse(r: InsnRow, insn: Fields): InsnField | undefined {
  return FIELDS.find((f) => !r.fields.includes(f) && insn[f] !== (r.fixed[f] ?? 0));
}
