import { it } from 'vitest';
import { createInterpreter } from '../../src/interpreter/index.ts';
import { createJit } from '../../src/jit/index.ts';
import { compareWithReference } from './differential.ts';

it('interpreter: 2000 random programs compute what the reference computes', () => {
  compareWithReference(createInterpreter(), 1, 2000);
});

it('JIT: 500 random programs compute what the reference computes', () => {
  compareWithReference(createJit(), 5000, 500);
});
