/**
 * The three errors of the public API. Inside, helpers and commands return `-errno`; at the border one of
 * these is thrown. Nobody matches on message text: `errno`, `code` and the fields below are the interface.
 */
import { ERRNO, type ErrnoName, errnoName } from './errno.ts';
import type { Explanation, SearchOptions, SearchResult } from './explanation.ts';

/** A refused command or a malformed input. `errno` is what bpf(2) would have set; `hint` says what to do. */
export class BpfError extends Error {
  readonly errno: number;
  readonly code: string;
  readonly hint: string | undefined;

  constructor(code: ErrnoName, message: string, options: { cause?: unknown; hint?: string } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'BpfError';
    this.errno = ERRNO[code];
    this.code = code;
    this.hint = options.hint;
  }

  /** From a negative return value, as helpers and map operations give it. */
  static fromReturn(negativeErrno: number, message: string): BpfError {
    return new BpfError(errnoName(-negativeErrno), message);
  }
}

/** Something that the running kernel is too old for. `errno` is what the kernel said. */
export class UnsupportedFeatureError extends BpfError {
  /** `BPF_LINK_CREATE`, `map type ringbuf` */
  readonly feature: string;
  /** First Linux release that has it: `5.7`. */
  readonly since: string;
  /** Release of the running kernel. */
  readonly release: string;

  constructor(
    code: ErrnoName,
    lacking: { readonly what: string; readonly since: string },
    release: string,
    options: { cause?: unknown } = {},
  ) {
    super(code, `${lacking.what} needs Linux ${lacking.since}; this is ${release}`, options);
    this.name = 'UnsupportedFeatureError';
    this.feature = lacking.what;
    this.since = lacking.since;
    this.release = release;
  }
}

/** Where in the C source an instruction comes from (`.BTF.ext` line info). */
export interface SourceLocation {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** The text of the line as the compiler stored it. */
  readonly text: string;
}

/** What is known of a refusal besides its message. */
export interface VerifierErrorDetails {
  /** The kernel-format log. */
  readonly log: string;
  /** Index of the offending instruction (in 8-byte slots), -1 where the refusal concerns the whole program. */
  readonly insn: number;
  readonly source?: SourceLocation | undefined;
  /** The registers that matter, as the log shows their states. */
  readonly registers?: readonly { readonly register: string; readonly state: string }[];
  /** Instructions of the failing path, oldest first. */
  readonly path?: readonly number[];
  /** Instructions processed until the refusal. */
  readonly insnsProcessed?: number;
  /** What is wrong, from a closed list (`RefusalKind`): `null_pointer`, `packet_bounds`, …; absent where nobody knows. */
  readonly kind?: string | undefined;
  /** What the kernel is too old for, and the first release that has it. */
  readonly needs?: { readonly what: string; readonly since: string } | undefined;
  /** What to do, where that is known. */
  readonly hint?: string;
  /** The reason, the place, the path and a fix, as data; absent where a kernel only has its log. */
  readonly explain?: (() => Explanation) | undefined;
  /** Looks for an input with which the program really goes wrong; runs it in a kernel that is made for that and thrown away. */
  readonly findInput?: ((options?: SearchOptions) => SearchResult) | undefined;
}

/** A program that the verifier refused. The message is the reason: the last line of the log. */
export class VerifierError extends BpfError implements VerifierErrorDetails {
  readonly log: string;
  readonly insn: number;
  readonly source: SourceLocation | undefined;
  readonly registers: readonly { readonly register: string; readonly state: string }[];
  readonly path: readonly number[];
  readonly insnsProcessed: number;
  readonly kind: string | undefined;
  readonly needs: { readonly what: string; readonly since: string } | undefined;
  readonly explain: (() => Explanation) | undefined;
  readonly findInput: ((options?: SearchOptions) => SearchResult) | undefined;

  constructor(code: ErrnoName, message: string, details: VerifierErrorDetails) {
    super(code, message, details.hint === undefined ? {} : { hint: details.hint });
    this.name = 'VerifierError';
    this.log = details.log;
    this.insn = details.insn;
    this.source = details.source;
    this.registers = details.registers ?? [];
    this.path = details.path ?? [];
    this.insnsProcessed = details.insnsProcessed ?? 0;
    this.kind = details.kind;
    this.needs = details.needs;
    this.explain = details.explain;
    this.findInput = details.findInput;
  }
}

/** A bug of ours: never the fault of the input. */
export class InternalError extends Error {
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(`tsbpf bug: ${message}`, options);
    this.name = 'InternalError';
  }
}

/** For the `default` of an exhaustive switch: a missing case is a compile error, a bad value a clear bug. */
export function unreachable(value: never, what: string): never {
  throw new InternalError(`${what}: unexpected ${String(value)}`);
}

/** A run that was stopped: an access outside of every live region, a trap, or an exhausted limit. */
export class ProgramFault extends Error {
  /** Index in the program as loaded, -1 where the engine cannot tell. */
  readonly insn: number;
  readonly program: string;
  /** R0..R10 at the fault, where the engine knows them. */
  readonly registers: readonly bigint[] | undefined;

  /**
   * `access`: a bug of ours, as a verified program faults nowhere; `budget`: the program has run for as long as it may; `limit`: for
   * longer than the engine follows any program.
   */
  readonly reason: 'access' | 'budget' | 'limit';

  /** The code that `insn` is of, where the engine knows: the run may have gone on in another program than the one it began with. */
  readonly code: object | undefined;

  constructor(
    message: string,
    details: {
      program: string;
      insn: number;
      registers?: readonly bigint[];
      cause?: unknown;
      reason?: ProgramFault['reason'];
      code?: object;
    },
  ) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'ProgramFault';
    this.insn = details.insn;
    this.program = details.program;
    this.registers = details.registers;
    this.reason = details.reason ?? 'access';
    this.code = details.code;
  }
}
