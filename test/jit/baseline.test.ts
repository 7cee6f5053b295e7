/**
 * Code as V8's baseline compiler leaves it: every run starts there, and most runs of a short life stay. It compiles an instruction at a time, so what
 * it gets wrong it gets wrong at the first try (V8 11.3: `memory.atomic.wait32` spoils a neighbouring value).
 */
import { setFlagsFromString } from 'node:v8';
import { expect, it } from 'vitest';
import { createJit } from '../../src/jit/index.ts';
import { GuestMemory } from '../../src/memory/index.ts';
import { compareWithReference } from '../engines/differential.ts';
import { createTestEnvironment } from '../engines/environment.ts';

setFlagsFromString('--liftoff-only');

it('random programs', () => {
  compareWithReference(createJit(), 50_000, 400);
});

it('random programs on a shared memory', () => {
  const memory = new GuestMemory({ shared: true });
  expect(memory.shared).toBe(true);
  compareWithReference(createJit(), 60_000, 400, createTestEnvironment({ memory }));
});
