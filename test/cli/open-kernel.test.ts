/** Which kernel is taken, and what is said where the host's cannot be: another system, no koffi. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { openKernel } from '../../src/open-kernel.ts';

vi.mock('koffi', () => {
  throw new Error('Cannot find package koffi');
});

const platform = Object.getOwnPropertyDescriptor(process, 'platform')!;
afterEach(() => void Object.defineProperty(process, 'platform', platform));
const pretend = (value: string) => Object.defineProperty(process, 'platform', { ...platform, value });

describe('openKernel', () => {
  it('takes the embedded kernel unless told otherwise', async () => {
    const { kernel, chosen, why } = await openKernel({ possibleCpus: 3 });
    expect([chosen, why, kernel.features().possibleCpus]).toEqual(['embedded', 'it is the default', 3]);
    kernel.shutdown();
  });

  it.each([
    ['darwin', 'ENOSYS', /needs Linux/],
    ['linux', 'ENOENT', /npm package koffi, which is missing/],
  ])('says what is missing on %s', async (system, code, reason) => {
    pretend(system);
    await expect(openKernel({ kernel: 'host' })).rejects.toMatchObject({
      code,
      message: expect.stringMatching(reason),
    });
    const { kernel, chosen, why } = await openKernel({ kernel: 'auto' });
    expect(chosen).toBe('embedded');
    expect(why).toMatch(reason);
    expect(kernel.simulator).not.toBe(null);
    kernel.shutdown();
  });
});
