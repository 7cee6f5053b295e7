/**
 * What a refusal tells a person or a tool: plain data, the same from every verifier. Carried by VerifierError; the JSON of
 * `tsbpf verify --format json` has these very fields, which are only ever added to.
 */

/** A line of C, as `.BTF.ext` has it. `line` and `column` count from 1; column 0: not known. */
export interface ExplainedSource {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly text: string;
}

export interface ExplainedPlace {
  /** Index in 8-byte slots. */
  readonly insn: number;
  /** The instruction in the kernel's syntax. */
  readonly text: string;
  /** The function that it is in, where that is known. */
  readonly function?: string;
  readonly source?: ExplainedSource;
}

/** What the verifier knows of a register (decimal numbers as text: 64 bits do not fit a JSON number). */
export interface ExplainedRegister {
  readonly register: string;
  /** As the log shows it: `scalar(umax=255)`. */
  readonly state: string;
  /** `scalar`, `map_value`, `map_value_or_null`, `pkt`, `ctx`, `fp`, … ; `unwritten`. */
  readonly type: string;
  readonly mayBeNull?: boolean;
  readonly map?: string;
  /** Of a pointer: its constant offset; of a packet pointer: bytes that are proven to be there behind its variable part. */
  readonly offset?: number;
  readonly range?: number;
  /** Bounds of a scalar, or of the variable part of a pointer's offset. */
  readonly smin?: string;
  readonly smax?: string;
  readonly umin?: string;
  readonly umax?: string;
  /** Where its value was made: the result of a call, a load, … */
  readonly origin?: ExplainedPlace & { readonly what: string };
}

/** One step of the way to the refusal. */
export interface ExplainedStep extends ExplainedPlace {
  readonly kind: 'entry' | 'branch' | 'call' | 'return' | 'helper' | 'loop' | 'refused';
  /** For people: `r0 != 0x0 is false`, `calls parse()`. */
  readonly what: string;
  /** Of a branch: whether it jumps. */
  readonly taken?: boolean;
  /** Of a loop: rounds that are left out here. */
  readonly rounds?: number;
}

export interface ExplainedFix {
  readonly text: string;
  /** C that does it, with the program's own names only where they are known. */
  readonly code?: string;
}

export interface Explanation {
  readonly version: 1;
  /**
   * `verifier`: by the verifier that refused; `replay`: another kernel refused, and this package's verifier was asked for its
   * reasons; `log`: from the text of a log alone.
   */
  readonly origin: 'verifier' | 'replay' | 'log';
  /** What is wrong, from a closed list: `null_pointer`, `packet_bounds`, `reference_leak`, … */
  readonly kind: string;
  readonly title: string;
  readonly errno: string;
  /** The last line of the kernel's log. */
  readonly message: string;
  /** What the program does there, as the rest of a sentence that starts with "the program". */
  readonly asked: string;
  /** Why that is not proven to be safe: what is known. */
  readonly why: string;
  /** What would have to be known. */
  readonly needed: string;
  readonly fix: ExplainedFix;
  readonly place?: ExplainedPlace;
  readonly registers: readonly ExplainedRegister[];
  /** The operands of the reason: register, offset, size, limit, map, … */
  readonly reason: Readonly<Record<string, unknown>>;
  readonly path: readonly ExplainedStep[];
  /** Another instruction that matters: where the reference was taken, where the jump goes. */
  readonly related?: readonly (ExplainedPlace & { readonly what: string })[];
}

/** An input with which the program goes wrong, found by running it unverified in the checking interpreter. */
export interface Counterexample {
  /** What goes wrong, in one sentence. */
  readonly what: string;
  readonly insn: number;
  readonly source?: ExplainedSource;
  /** Bytes of the packet, in hex; for program types that have one. */
  readonly packet?: string;
  /** Bytes of the context as user space would give it, in hex. */
  readonly context?: string;
  readonly maps: readonly { readonly map: string; readonly key: string; readonly value: string }[];
  /** What helpers returned where that mattered, in order of the calls. */
  readonly helpers: readonly { readonly insn: number; readonly helper: string; readonly returned: string }[];
  /** The instructions that ran, at most the last 64. */
  readonly trace: readonly number[];
}

export interface SearchResult {
  readonly found?: Counterexample;
  /** Inputs that were tried. */
  readonly tries: number;
  readonly milliseconds: number;
  /** Why there was no search, or why it ended early. */
  readonly note?: string;
}

export interface SearchOptions {
  /** Time that the search may take; default 500 ms. */
  readonly milliseconds?: number;
  /** Inputs to be tried at most; default 2000. */
  readonly tries?: number;
  /** The same seed tries the same inputs. */
  readonly seed?: number;
}
