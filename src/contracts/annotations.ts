/** What was known and spent while a program was verified, by instruction: the source of annotated listings. */

/** What is known of a register before an instruction, over all paths that got there. Decimal numbers as text. */
export interface AnnotatedRegister {
  /** `R1`, or a stack slot: `fp-8`. */
  readonly register: string;
  /** Kinds of values as the log names them: `map_value`, `scalar`, …; several where paths differ. */
  readonly types: readonly string[];
  readonly map?: string;
  /** Of a scalar, or of the whole offset of a pointer. Absent: not known. */
  readonly min?: string;
  readonly max?: string;
  /** Bytes of the packet that are proven on every path. */
  readonly range?: number;
}

export interface InsnAnnotation {
  readonly insn: number;
  /** How often the instruction was checked. */
  readonly processed: number;
  /** States that were kept there for comparison. */
  readonly states: number;
  /** Paths that ended there, because what was known had been explored before. */
  readonly pruned: number;
  readonly registers: readonly AnnotatedRegister[];
}

export interface Annotations {
  /** In order; instructions that no path gets to are left out. */
  readonly insns: readonly InsnAnnotation[];
  readonly functions: readonly { readonly name: string; readonly start: number; readonly end: number }[];
  /** Instructions that the registers were not joined for any longer: they were checked too often. */
  readonly capped: boolean;
}
