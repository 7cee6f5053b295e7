/**
 * The suite of test/guest, run in a virtual machine with a kernel that has what the kernel of a container or a test machine often
 * lacks: kprobes, fentry, LSM. One test here for each case there. TSBPF_GUEST=0 leaves it out.
 */
import { describe, expect, it } from 'vitest';
import { type GuestOptions, type GuestRun, runGuest } from '../guest/guest.ts';
import { NoGuest } from '../guest/packages.ts';

/** Beside the kernel of this machine's own Debian, and of its cases, a newer one for what that one is not built with. */
const RUNS: readonly Pick<GuestOptions, 'kernel' | 'only'>[] = [
  {},
  { kernel: '6.12', only: 'multi-|by section > several|netkit|tcx' },
];

async function attempt(options: GuestOptions): Promise<GuestRun | string> {
  if (process.env.TSBPF_GUEST === '0') return 'TSBPF_GUEST=0';
  try {
    return await runGuest(options);
  } catch (error) {
    if (error instanceof NoGuest) return error.message;
    throw error;
  }
}

// The cases are known when the guest has run: the run is part of the collection, which has no time limit; it has its own.
for (const options of RUNS) report(options, await attempt(options));

function report({ kernel }: GuestOptions, run: GuestRun | string): void {
  if (typeof run === 'string') {
    const which = kernel === undefined ? 'a guest' : `a guest with Linux ${kernel}`;
    console.log(`skipped: the suite in ${which}: ${run}`);
    describe.skip(which, () => it('cannot be started here', () => {}));
    return;
  }
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
