/**
 * CPUs whose WebAssembly stays as V8's baseline compiler leaves it: every run starts there. That compiler spoils a neighbouring value where
 * it compiles `memory.atomic.wait32` (V8 11.3, Node 20), which the maps must do without.
 */
import { setFlagsFromString } from 'node:v8';
import { expect, it } from 'vitest';
import { Stress } from './stress.ts';

setFlagsFromString('--liftoff-only');

it('CPUs that wait for one another go on where they were', async () => {
  const stress = new Stress(5);
  try {
    await stress.cpus.ready();
    for (let round = 0; round < 3; round++) {
      await stress.round(20_000);
      expect(stress.problems).toEqual([]);
    }
  } finally {
    stress.close();
  }
});
