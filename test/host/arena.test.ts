/** Random programs in arenas: both engines of the embedded kernel do what Linux does. */
import { afterAll, describe, expect, it } from 'vitest';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { runArena } from '../arena/programs.ts';
import { openHost, skipReason } from './host-support.ts';

const linux = await openHost();
const why = typeof linux === 'string' ? linux : lacksArenas();

function lacksArenas(): string | null {
  if (typeof linux === 'string') return linux;
  const [major, minor] = linux.features().release.split('.').map(Number) as [number, number];
  return major > 6 || (major === 6 && minor >= 9) ? null : 'arenas came with Linux 6.9';
}

if (typeof linux === 'string' || why !== null) {
  skipReason('arenas on Linux', why ?? '');
  describe.skip('arenas on Linux', () => it('cannot be asked here', () => {}));
} else {
  afterAll(() => linux.shutdown());
  describe.each([0, 1] as const)('arenas, bpf_jit_enable = %d', (jit) => {
    it('are what they are on Linux', () => {
      const kernel = new EmbeddedKernel();
      kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
      for (let seed = 0; seed < 300; seed++)
        expect(runArena(kernel, seed), `seed ${seed}`).toEqual(runArena(linux, seed));
      kernel.shutdown();
    });
  });
}
