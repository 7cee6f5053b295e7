/** How a check ends the verification: the text is in the log already, this carries the error number and the reason as data. */
import type { RefusalReason } from '../contracts/refusal.ts';
import type { ErrnoName } from '../util/errno.ts';

/** Thrown by checks and caught in verify.ts only (and by do-check.ts on speculative paths); never leaves the verifier. */
export class Refusal {
  readonly errno: ErrnoName;
  readonly reason: RefusalReason;

  constructor(errno: ErrnoName, reason: RefusalReason) {
    this.errno = errno;
    this.reason = reason;
  }
}
