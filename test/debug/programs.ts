/** Programs under observation, for the tests of this directory. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { ProgramObserver } from '../../src/contracts/observe.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { BpfObject } from '../../src/libbpf/index.ts';

export const STEPS = fileURLToPath(new URL('objects/steps.bpf.o', import.meta.url));

export function observed(
  path: string,
  observer: ProgramObserver | null,
): { kernel: EmbeddedKernel; object: BpfObject } {
  const kernel = new EmbeddedKernel({ randomSeed: 1, onOops: () => {} });
  if (observer !== null) kernel.observe(observer);
  const object = BpfObject.open(new Uint8Array(readFileSync(path)), { name: 'steps.bpf.o' });
  object.load(kernel);
  return { kernel, object };
}

/** Lengths of the packets that `steps` is run on: a hit of 50 < n <= 100, another one, n > 100, n <= 50. */
export const LENGTHS = [60, 60, 120, 20];
