/** Probes of the kernel's functions on the kernel of this machine; what it is not built for is skipped. */
import { afterAll, describe, it } from 'vitest';
import { kernelProbes } from './attach-kernel-probes.ts';
import { openHost, skipReason } from './host-support.ts';

const host = process.arch === 'x64' ? await openHost() : 'the programs read registers of x86-64';
if (typeof host === 'string') {
  describe.skip(`host kernel: ${skipReason("probes of the kernel's functions", host)}`, () =>
    it('cannot be reached here', () => {}));
} else {
  afterAll(() => host.shutdown());
  kernelProbes(host);
}
