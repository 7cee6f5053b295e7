/**
 * The suite of test/guest, run in a virtual machine with a kernel that has what the kernel of a container or a test machine often
 * lacks: kprobes, fentry, LSM. One test here for each case there. TSBPF_GUEST=0 leaves it out.
 */
import { describe, expect, it } from 'vitest';
import { type GuestRun, runGuest } from '../guest/guest.ts';
import { NoGuest } from '../guest/packages.ts';

async function attempt(): Promise<GuestRun | string> {
  if (process.env.TSBPF_GUEST === '0') return 'TSBPF_GUEST=0';
  try {
    return await runGuest();
  } catch (error) {
    if (error instanceof NoGuest) return error.message;
    throw error;
  }
}

// The cases are known when the guest has run: the run is part of the collection, which has no time limit; it has its own.
const run = await attempt();

if (typeof run === 'string') {
  console.log(`skipped: the suite in a guest: ${run}`);
  describe.skip('guest', () => it('cannot be started here', () => {}));
} else {
  const where = run.kept === null ? '' : `\nthe console's log is kept in ${run.kept}`;
  if (run.withoutPrograms !== null) console.log(`skipped in the guest: ${run.withoutPrograms}`);
  describe(`Linux ${run.hello?.release ?? '(did not come up)'} in a guest`, () => {
    it('runs its suite to the end, its kernel unharmed', () => {
      expect(run.failure === null ? null : run.failure + where).toBeNull();
    });
    for (const { name, state, message } of run.results) {
      if (state === 'skip') {
        console.log(`skipped in the guest: ${name}${message ? `: ${message}` : ''}`);
        it.skip(name, () => {});
      } else {
        it(name, () => {
          if (state === 'fail') throw new Error(`in the guest: ${message}${where}`);
        });
      }
    }
  });
}
