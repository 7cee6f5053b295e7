/** What the steps of a load share. */
import type { Fd, Kernel } from '../../contracts/kernel.ts';
import type { ObjectSpec } from '../../object/index.ts';
import { BpfError } from '../../util/errors.ts';
import type { KernelTypes } from './kernel-types.ts';
import type { LoadOptions } from './options.ts';

export interface LoadContext {
  readonly kernel: Kernel;
  readonly spec: ObjectSpec;
  readonly options: LoadOptions;
  readonly types: KernelTypes;
  /** The object's types in the kernel; undefined where it took none. */
  readonly btfFd: Fd | undefined;
  /** A descriptor that is closed with the object. */
  own(fd: Fd): Fd;
  /** A pin that is taken back where the load fails. */
  pinned(pathname: string): void;
}

/** Object names have 15 characters of letters, digits, '_' and '.'. */
export function objectName(name: string): string {
  return name.replace(/[^A-Za-z0-9_.]/g, '_').slice(0, 15);
}

/** The error with what it is about before its message. */
export function named(error: unknown, what: string): unknown {
  if (!(error instanceof BpfError)) return error;
  const hint = error.hint === undefined ? {} : { hint: error.hint };
  return new BpfError(error.code as never, `${what}: ${error.message}`, { cause: error, ...hint });
}
