/** Errors for people: what, where, what to do. The exit code follows from the kind of error. */
import { BpfError, InternalError } from '../util/errors.ts';
import type { Output } from './output.ts';

export const EXIT = { ok: 0, failed: 1, usage: 2 } as const;

/** A C program that does not compile: the diagnostics as they are to be shown. */
export class CompileFailure extends Error {
  readonly diagnostics: string;

  constructor(path: string, diagnostics: string) {
    super(`${path} does not compile`);
    this.name = 'CompileFailure';
    this.diagnostics = diagnostics;
  }
}

/** Options that do not fit together, or a value that no option takes. */
export class UsageError extends Error {
  readonly hint: string | undefined;

  constructor(message: string, hint?: string) {
    super(message);
    this.name = 'UsageError';
    this.hint = hint;
  }
}

export interface ErrorReport {
  readonly code: string | undefined;
  readonly message: string;
  readonly hint: string | undefined;
  readonly exit: number;
}

export function describeError(error: unknown): ErrorReport {
  if (error instanceof UsageError)
    return { code: undefined, message: error.message, hint: error.hint, exit: EXIT.usage };
  if (error instanceof BpfError)
    return { code: error.code, message: error.message, hint: error.hint, exit: EXIT.failed };
  const message = error instanceof Error ? error.message : String(error);
  return {
    code: undefined,
    message: error instanceof InternalError ? message : `tsbpf bug: ${message}`,
    hint: 'please report it with the command line and, if you may, the file; --debug shows where it happened',
    exit: EXIT.failed,
  };
}

export function reportError(error: unknown, out: Output, options: { debug: boolean }): number {
  // A compiler's errors have their own form, with places and lines.
  if (error instanceof CompileFailure) {
    out.errorWrite(error.diagnostics);
    return EXIT.failed;
  }
  const { code, message, hint, exit } = describeError(error);
  const { red, dim } = out.errorColor;
  out.errorLine(`${red('error:')} ${message}${code === undefined ? '' : dim(` [${code}]`)}`);
  if (hint !== undefined) out.errorLine(`${dim('hint:')} ${hint}`);
  if (options.debug && error instanceof Error) {
    for (let cause: unknown = error; cause instanceof Error; cause = cause.cause)
      out.errorLine(dim(cause.stack ?? cause.message));
  }
  return exit;
}
