/** The contract suite of the `Kernel` interface on the host kernel of `src/host`. */
import { linkSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { afterAll, describe, it } from 'vitest';
import { fsError } from '../../src/host/tracefs.ts';
import { kernelContract } from '../kernel/contract.ts';
import type { Subject } from '../kernel/subject.ts';
import { eventually, openHost, ownBpffs, ownNetwork, skipReason, vethPair } from './host-support.ts';

/** link(2) and symlink(2) are no part of the contract; the suite wants their errors as those of a kernel. */
function named(action: () => void): void {
  try {
    action();
  } catch (error) {
    throw fsError(error, 'link');
  }
}

const host = await openHost();
if (typeof host === 'string') {
  describe.skip(`host kernel: ${skipReason('the contract suite on the host kernel', host)}`, () =>
    it('cannot be reached here', () => {}));
} else {
  ownNetwork();
  vethPair('t0', 't1');
  const root = await ownBpffs();
  afterAll(() => host.shutdown());
  let count = 0;
  describe('host kernel', () =>
    kernelContract((): Subject => {
      const bpffs = `${root}/case${count++}`;
      mkdirSync(bpffs);
      return {
        name: 'host',
        kernel: host,
        bpffs,
        ifindex: host.ifNameToIndex('t0')!,
        link: (existing, pathname) => named(() => linkSync(existing, pathname)),
        symlink: (target, pathname) => named(() => symlinkSync(target, pathname)),
        knowsTracepoints: true,
        eventually,
        done: () => {
          rmSync(bpffs, { recursive: true });
          host.shutdown();
        },
      };
    }));
}
