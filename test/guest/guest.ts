/** One run of the suite in the guest, from packages to results. */
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { appendFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { baseImage, suiteImage } from './image.ts';
import { preparePackages } from './packages.ts';
import type { GuestMessage } from './protocol.ts';
import { boot, type Outcome } from './qemu.ts';

export interface GuestOptions {
  /** Regular expression: cases whose full name does not match are left out. */
  readonly only?: string;
  /** Asks the mirror for newer packages. */
  readonly refresh?: boolean;
  /** Another kernel than the one of this machine's own Debian: a release of OTHER_KERNELS. */
  readonly kernel?: string;
  readonly log?: (line: string) => void;
  readonly onMessage?: (message: GuestMessage) => void;
}

export interface GuestRun extends Outcome {
  /** The directory where the console's log was left, after a failure. */
  readonly kept: string | null;
  /** Why programs in C are missing, null where they are not. */
  readonly withoutPrograms: string | null;
}

/** Boots the guest and runs the suite. Throws NoGuest with the reason where there can be none. */
export async function runGuest(options: GuestOptions = {}): Promise<GuestRun> {
  const log = options.log ?? (() => {});
  const packages = preparePackages(log, {
    refresh: options.refresh ?? false,
    ...(options.kernel === undefined ? {} : { kernel: options.kernel }),
  });
  const base = await baseImage(packages, log);
  const work = mkdtempSync(join(tmpdir(), 'tsbpf-guest-'));
  let keep = false;
  const remove = (): void => rmSync(work, { recursive: true, force: true });
  // An interrupted run ends the process.
  process.once('exit', remove);
  try {
    const suite = await suiteImage(work);
    const initrd = join(work, 'initrd.cpio');
    copyFileSync(base, initrd);
    await appendFile(initrd, readFileSync(suite.path));
    log(`booting Linux ${packages.release} under qemu ${packages.qemu.version}`);
    const attempt = () =>
      boot({
        packages,
        initrd,
        work,
        // Probes and tracepoints patch code; emulated, that now and then never ends where another processor runs it.
        cpus: 1,
        // Newer kernels allocate with cmpxchg16b, whose flags qemu 7.2 gets wrong.
        ...(options.kernel === undefined ? {} : { cpu: 'max,-cx16' }),
        ...(options.only === undefined ? {} : { only: options.only }),
        ...(options.onMessage === undefined ? {} : { onMessage: options.onMessage }),
      });
    let outcome = await attempt();
    // Emulated newer kernels sometimes do not survive their own start.
    for (let again = 0; again < 2 && outcome.hello === null && options.kernel !== undefined; again++)
      outcome = await attempt();
    keep = outcome.failure !== null || outcome.results.some((result) => result.state === 'fail');
    if (keep) {
      writeFileSync(join(work, 'results.json'), JSON.stringify(outcome.results, null, 2));
      rmSync(initrd, { force: true });
      rmSync(suite.path, { force: true });
    }
    return { ...outcome, kept: keep ? work : null, withoutPrograms: suite.programs.missing };
  } finally {
    process.off('exit', remove);
    if (!keep) remove();
  }
}
