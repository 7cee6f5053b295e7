/** What the kernel and the threads that verify and compile for it tell one another. Everything can be posted. */
import type { VerifyJob } from './verify-job.ts';

/** The first message to a thread. */
export interface Types {
  readonly kind: 'types';
  /** BTF of the kernel; absent: the kernel's own. */
  readonly btf: Uint8Array | undefined;
}

export type Work =
  | { readonly kind: 'verify'; readonly job: VerifyJob }
  /** The engine's own. */
  | { readonly kind: 'compile'; readonly job: unknown };

export type ToThread = Types | (Work & { readonly id: number });

export interface Failure {
  /** Undefined: no BpfError. */
  readonly code: string | undefined;
  readonly message: string;
  readonly hint: string | undefined;
}

export type FromThread =
  /** `result` undefined: the kernel is to do it itself. */
  | { readonly id: number; readonly result: unknown; readonly failure?: undefined }
  | { readonly id: number; readonly failure: Failure };
