/** How a check ends the verification: the reason is in the log already, this carries the error number. */
import type { ErrnoName } from '../util/errno.ts';

/** Thrown by checks and caught in verify.ts only (and by do-check.ts on speculative paths); never leaves the verifier. */
export class Refusal {
  readonly errno: ErrnoName;

  constructor(errno: ErrnoName) {
    this.errno = errno;
  }
}
