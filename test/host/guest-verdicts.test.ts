/**
 * What the verifier says for a release, beside what the kernel of that release says in a guest: random programs and old exploits, with
 * privileges and, where no test machine lets anybody try, without. TSBPF_GUEST=0 leaves it out.
 */
import { describe, expect, it } from 'vitest';
import { NoGuest } from '../guest/packages.ts';
import { type Compared, compareVerdicts } from '../guest/verdicts/compare.ts';
import { guestVerdicts } from '../guest/verdicts/guest.ts';
import { exploits, fuzz, type Table } from '../guest/verdicts/tables.ts';

/** Ours is stricter: 6.1 knew the range of a 32-bit division's result, newer kernels and we do not. */
const STRICTER = /^CVE-2021-3444 /;

/** A kernel that is in no package list of this machine's own is left to the command in CONTRIBUTING.md. */
const KERNEL = '6.1';

async function compared({ cases, kinds }: Table): Promise<Compared[] | string> {
  if (process.env.TSBPF_GUEST === '0') return 'TSBPF_GUEST=0';
  try {
    const { verdicts } = await guestVerdicts({
      kernel: KERNEL,
      cases: cases.map((test) => JSON.stringify(test)).join('\n'),
      kinds: JSON.stringify(kinds),
      who: ['root', 'nobody'],
      log: () => {},
    });
    return compareVerdicts(KERNEL, cases, kinds, verdicts);
  } catch (error) {
    if (error instanceof NoGuest) return error.message;
    throw error;
  }
}

function differing(rows: readonly Compared[]): string[] {
  return rows
    .filter(({ ours, theirs }) => ours.accepted !== (theirs.errno === 0))
    .map(({ test, ours, theirs }) => `${test.name} as ${theirs.who}: ${ours.message} / ${theirs.message}`);
}

describe(`verdicts of Linux ${KERNEL} in a guest`, () => {
  it('random programs: the same', async (context) => {
    const rows = await compared(fuzz(400, Number(process.env.FUZZ_SEED ?? 1)));
    if (typeof rows === 'string') return context.skip(rows);
    expect(rows.length).toBeGreaterThan(600);
    expect(differing(rows)).toEqual([]);
  });

  it('exploits of old bugs: the same', async (context) => {
    const rows = await compared(exploits());
    if (typeof rows === 'string') return context.skip(rows);
    expect(rows.length).toBeGreaterThan(20);
    expect(differing(rows).filter((line) => !STRICTER.test(line))).toEqual([]);
    expect(rows.filter(({ ours, theirs }) => ours.accepted && theirs.errno !== 0)).toEqual([]);
  });
});
