/** The contract suite of the `Kernel` interface against Linux itself: what the suite demands is what Linux does. */
import { afterAll, describe, it } from 'vitest';
import { kernelContract } from '../kernel/contract.ts';
import type { Subject } from '../kernel/subject.ts';
import { LinuxKernel } from './linux-kernel.ts';
import { whyNoProbe } from './probe.ts';

const PAUSE = new Int32Array(new SharedArrayBuffer(4));

function open(): LinuxKernel | string {
  const why = whyNoProbe();
  if (why !== null) return why;
  try {
    return new LinuxKernel();
  } catch (error) {
    return (error as Error).message;
  }
}

const linux = open();
if (typeof linux === 'string') {
  console.log(`skipped: the contract suite on Linux: ${linux}`);
  describe.skip('Linux', () => it('cannot be asked here', () => {}));
} else {
  afterAll(() => linux.shutdown());
  let count = 0;
  describe('Linux', () =>
    kernelContract((): Subject => {
      const bpffs = `${linux.bpffs}/${count++}`;
      linux.mkdir(bpffs);
      return {
        name: 'linux',
        kernel: linux as never,
        bpffs,
        ifindex: linux.ifindex,
        knowsTracepoints: true,
        link: (existing, pathname) => linux.link(existing, pathname),
        symlink: (target, pathname) => linux.symlink(target, pathname),
        eventually: (check) => {
          for (let tries = 0; ; tries++) {
            try {
              check();
              return;
            } catch (error) {
              if (tries === 100) throw error;
              Atomics.wait(PAUSE, 0, 0, 20);
            }
          }
        },
        done: () => {},
      };
    }));
}
