/** Releases of Linux as text (`6.1`, `5.10.223-1-cloud`): parsing and order. */
import { BpfError } from '../../util/errors.ts';

/** One number that orders releases by their first two parts: 5.10 is newer than 5.4. Error: EINVAL for what is none. */
export function releaseOrder(release: string): number {
  const match = /^(\d{1,3})\.(\d{1,4})(?:[.\-+~ ].*)?$/.exec(release);
  if (match === null) throw new BpfError('EINVAL', `'${release}' is no release of Linux: write 6.1`);
  return Number(match[1]) * 10_000 + Number(match[2]);
}

/** Whether something that came with `since` is in `release`. */
export function isSince(release: string, since: string): boolean {
  return releaseOrder(release) >= releaseOrder(since);
}
