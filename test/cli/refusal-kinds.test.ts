/** What the last line of a Linux's log is taken for, beside the reason that our verifier has for the same line. */
import { describe, expect, it } from 'vitest';
import { fixFor } from '../../src/cli/explain/fixes.ts';
import { refusalKind } from '../../src/host/refusal-kinds.ts';
import { verifierError } from '../../src/host/verifier-log.ts';
import { verify } from '../../src/verifier/index.ts';
import { MISTAKES } from '../explain/mistakes.ts';
import { request } from '../explain/support.ts';

describe('the kind of a refusal, from the log of a kernel', () => {
  const read = MISTAKES.map((mistake) => {
    const result = verify(request(mistake));
    if (result.verdict !== 'reject') throw new Error(`${mistake.name} is not refused`);
    return { name: mistake.name, message: result.message, kind: result.reason.kind as string };
  });

  it.each(read)('$name: $message', ({ message, kind }) => {
    const found = refusalKind(message);
    if (found !== undefined) expect(found).toBe(kind);
  });

  it('is known for most', () => {
    const known = read.filter(({ message }) => refusalKind(message) !== undefined);
    expect(known.length).toBeGreaterThan(read.length / 2);
  });

  it('is in the error, and says what to do', () => {
    const log = '0: (79) r2 = *(u64 *)(r1 +0)\nR2 !read_ok\nprocessed 1 insns (limit 1000000)\n';
    const error = verifierError('EACCES', log);
    expect(error).toMatchObject({ message: 'R2 !read_ok', kind: 'register_unwritten' });
    expect(fixFor(error?.kind)).toMatch(/no value on this path/);
    expect(verifierError('EINVAL', 'a line that nobody knows\n')?.kind).toBeUndefined();
    expect(fixFor(undefined)).toBe('');
    expect(fixFor('constructor')).toBe('');
  });
});
