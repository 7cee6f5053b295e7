/**
 * Instructions that cannot work on this kernel are replaced by calls of helpers that do not exist; where the verifier reaches one, its
 * log is explained as libbpf explains it (fixup_verifier_log): what was missing, instead of an unknown number.
 */
import { CALL, CLASS, JMP_OP } from '../../asm/index.ts';
import type { Insn } from '../../contracts/insn.ts';
import { type ErrnoName, errnoName } from '../../util/errno.ts';
import { VerifierError } from '../../util/errors.ts';

/** Helper numbers as libbpf writes them: plus the index of the map, or of the extern. */
export const POISON_MAP = 2_001_000_000;
export const POISON_KFUNC = 2_002_000_000;

export interface PoisonNote {
  /** `<invalid CO-RE relocation>` */
  readonly title: string;
  /** `failed to resolve CO-RE relocation <byte_off> …` */
  readonly reason: string;
  readonly hint: string;
}

/** What stands behind the poisoned instructions of one program, by instruction. */
export type PoisonNotes = ReadonlyMap<number, PoisonNote>;

export function poisonCall(helper: number): Insn {
  return { code: CLASS.JMP | JMP_OP.CALL, dst: 0, src: CALL.HELPER, off: 0, imm: helper };
}

const UNKNOWN = /^(\d+): \([0-9a-f]{2}\) call unknown#(-?\d+).*\ninvalid func unknown#\2$/m;

/** The error as the caller shall see it: explained where it was a poisoned instruction that was refused. */
export function explainPoison(error: unknown, notes: PoisonNotes): unknown {
  if (!(error instanceof VerifierError) || notes.size === 0) return error;
  const match = UNKNOWN.exec(error.log);
  const insn = match === null ? error.insn : Number(match[1]);
  const note = /^invalid func unknown#/.test(error.message) || match !== null ? notes.get(insn) : undefined;
  if (note === undefined) return error;
  const log =
    match === null ? error.log : error.log.replace(match[0], `${insn}: ${note.title}\n${note.reason}`);
  const { source, registers, path, insnsProcessed } = error;
  return new VerifierError(errnoName(error.errno) as ErrnoName, `${note.title} ${note.reason}`, {
    log,
    insn,
    source,
    registers,
    path,
    insnsProcessed,
    hint: note.hint,
  });
}
