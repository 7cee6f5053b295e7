/** Loads through pointers that lead nowhere: Linux reads 0, and the tests of the embedded kernel ask for no less. */
import { afterAll, describe, expect, it } from 'vitest';
import { parseBtf } from '../../src/btf/index.ts';
import { expectedOf, runProbes } from '../engines/probe-programs.ts';
import { openHost, skipReason } from './host-support.ts';

const linux = await openHost();
const bytes = typeof linux === 'string' ? null : linux.kernelBtf();
const types = bytes === null ? null : parseBtf(bytes);
const why =
  typeof linux === 'string'
    ? linux
    : types?.find('bpf_rdonly_cast', 'func') === undefined
      ? 'the kernel has no bpf_rdonly_cast'
      : null;

if (typeof linux === 'string' || types === null || why !== null) {
  skipReason('probe loads on Linux', why ?? 'the kernel has no BTF');
  describe.skip('probe loads on Linux', () => it('cannot be asked here', () => {}));
} else {
  afterAll(() => linux.shutdown());
  it('addresses that lead nowhere read 0', () => {
    for (let seed = 1; seed <= 100; seed++)
      expect(runProbes(linux, seed, types), `seed ${seed}`).toBe(expectedOf(seed));
  });
}
