/** Replaced and traced functions of programs, on both engines. */
import { describe } from 'vitest';
import { createInterpreter } from '../../src/interpreter/index.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { functionContract } from './function-contract.ts';

describe('compiled', () => {
  functionContract(() => ({ kernel: new EmbeddedKernel(), release: [6, 18] }));
});

describe('interpreted', () => {
  const engines = { jit: createInterpreter({ strict: true }) };
  functionContract(() => ({ kernel: new EmbeddedKernel({ engines }), release: [6, 18] }));
});
