/** The verifier's word on programs that once fooled Linux's. */
import { describe, expect, it } from 'vitest';
import { progTypeByName } from '../../../src/spec/index.ts';
import { ERRNO } from '../../../src/util/index.ts';
import { verify } from '../../../src/verifier/index.ts';
import { map, NOBODY, ROOT } from '../support.ts';
import { EXPLOITS } from './index.ts';
import { type Exploit, exploitInsns } from './support.ts';

function verdict(exploit: Exploit, credentials: typeof ROOT): string {
  const maps = (exploit.maps ?? []).map(({ type, keySize, valueSize, maxEntries, flags = 0, frozen }) =>
    map(type, keySize, valueSize, { maxEntries, flags, ...(frozen ? { frozen } : {}) }),
  );
  const result = verify({
    progType: progTypeByName(exploit.type ?? 'socket_filter')!,
    expectedAttachType: 0,
    insns: exploitInsns(
      exploit,
      maps.map((_, i) => (i + 1) as never),
    ),
    gplCompatible: true,
    mapByFd: (fd) => maps[fd - 1] ?? -ERRNO.EBADF,
    credentials,
    flags: 0,
    logLevel: 1,
  });
  return result.verdict === 'accept' ? 'accept' : result.message;
}

describe.each(EXPLOITS)('$cve', (exploit) => {
  it('as root', () => {
    expect(verdict(exploit, ROOT)).toMatch(exploit.privileged === 'accept' ? /^accept$/ : exploit.privileged);
  });

  it.runIf(progTypeByName(exploit.type ?? 'socket_filter')!.unprivileged)('without any capability', () => {
    const expected = exploit.unprivileged ?? exploit.privileged;
    expect(verdict(exploit, NOBODY)).toMatch(expected === 'accept' ? /^accept$/ : expected);
  });
});
