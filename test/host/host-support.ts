/**
 * What tests of the host kernel share: why they cannot run here, a network namespace and a bpffs of the test's own, and what
 * bpftool shows before and after.
 */
import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { createHostKernel, type HostKernel, whyNoHostKernel } from '../../src/host/index.ts';
import { loadNative, type Native } from '../../src/host/native.ts';
import { mountDetached } from '../../src/host/tracefs.ts';

const CLONE_NEWNET = 0x4000_0000;

/** The kernel of the machine, or why there is none. */
export async function openHost(): Promise<HostKernel | string> {
  return (await whyNoHostKernel()) ?? createHostKernel();
}

/** Prints the reason once, for the log of the run. */
export function skipReason(suite: string, why: string): string {
  console.log(`skipped: ${suite}: ${why}`);
  return why;
}

/** Moves this thread, and the processes it starts from now on, to an empty network namespace. */
export function ownNetwork(): void {
  const koffi = createRequire(import.meta.url)('koffi');
  if (koffi.load(null).func('int unshare(int flags)')(CLONE_NEWNET) !== 0)
    throw new Error('no network namespace of our own');
}

/** A veth pair in the namespace of this thread; both ends up. */
export function vethPair(name: string, peer: string): void {
  ip('link', 'add', name, 'type', 'veth', 'peer', 'name', peer);
  for (const end of [name, peer]) ip('link', 'set', end, 'up');
}

export function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: 'pipe' });
}

/** A bpffs that no directory shows; it goes with the process. Its path, and how many pins are left is nobody's business. */
export async function ownBpffs(): Promise<string> {
  const native: Native = await loadNative();
  const fd = mountDetached(native, 'bpf');
  if (fd < 0) throw new Error(`no bpffs of our own: errno ${-fd}`);
  return `/proc/self/fd/${fd}`;
}

/** Ids of all programs, maps and links of the machine. */
export function loadedIds(): Record<'prog' | 'map' | 'link', number[]> {
  const ids = (kind: string): number[] => {
    const text = execFileSync('bpftool', [kind, 'show', '-j'], { encoding: 'utf8' });
    return (JSON.parse(text || '[]') as { id: number }[]).map((one) => one.id).sort((a, b) => a - b);
  };
  return { prog: ids('prog'), map: ids('map'), link: ids('link') };
}

const PAUSE = new Int32Array(new SharedArrayBuffer(4));

/** Until `check` no longer throws; Linux frees some things a moment after their last user. */
export function eventually(check: () => void): void {
  for (let tries = 0; ; tries++) {
    try {
      check();
      return;
    } catch (error) {
      if (tries === 100) throw error;
      Atomics.wait(PAUSE, 0, 0, 20);
    }
  }
}
