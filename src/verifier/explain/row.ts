/** What a row of the table of reasons is: sentences made from the operands of a refusal. */
import type { RefusalReason } from '../../contracts/refusal.ts';
import type { RegisterNote, VerifyRequest } from '../../contracts/verify.ts';
import type { ExplainedFix } from '../../util/explanation.ts';

/** What the sentences are made of. */
export interface Case {
  readonly reason: RefusalReason;
  readonly request: VerifyRequest;
  /** The register that the reason names; `R1`, and what is known of it. */
  readonly name: string;
  readonly register: RegisterNote | undefined;
  /** Its type in words: `a pointer to a map value, or NULL`. */
  readonly type: string;
  /** Where its value was made: `the result of bpf_map_lookup_elem (line 12)`; undefined where that is not known. */
  readonly origin: string | undefined;
  /** What the instruction does. */
  readonly deed: string;
  /** The function that is called. */
  readonly called: string;
}

export interface Row {
  /** A few words, the same for all refusals of the kind. */
  readonly title: string;
  /** What is known, and why it is not enough. */
  why(c: Case): string;
  /** What has to be known for the verifier to accept. */
  needed(c: Case): string;
  fix(c: Case): ExplainedFix;
  /** What the program wants to do, where the instruction does not say it. */
  asked?(c: Case): string;
}

export function fix(text: string, code?: string): ExplainedFix {
  return code === undefined ? { text } : { text, code };
}

const MIN = -0x8000_0000_0000_0000n;
const MAX = 0x7fff_ffff_ffff_ffffn;
const UMAX = 0xffff_ffff_ffff_ffffn;

/** `can be anything`, `is 0 to 255`, `is at least -4`. */
export function boundsWords(note: RegisterNote | undefined): string {
  if (note?.smin === undefined || note.smax === undefined) return 'is not known';
  const { smin, smax, umin = 0n, umax = UMAX } = note;
  if (smin === smax) return `is ${smin}`;
  if (smin >= 0n || umax <= MAX)
    return umax >= MAX && umin === 0n ? 'is not negative and has no upper bound' : `is ${umin} to ${umax}`;
  if (smin === MIN && smax === MAX)
    return umax === UMAX && umin === 0n ? 'can be anything' : `is ${umin} to ${umax} (unsigned)`;
  if (smin === MIN) return `is at most ${smax} and may be negative`;
  if (smax === MAX) return `is at least ${smin}`;
  return `is ${smin} to ${smax}`;
}

/** `Why: R1 is …` with where it comes from. */
export function known(c: Case): string {
  const from = c.origin === undefined ? '' : ` (${c.origin})`;
  return `${c.name} is ${c.type}${from}`;
}
