import { it } from 'vitest';
import { createInterpreter } from '../../src/interpreter/index.ts';
import { engineContract } from './contract.ts';
import { compareWithReference } from './differential.ts';

engineContract('interpreter', () => createInterpreter());

it('2000 random programs compute what the reference computes', () => {
  compareWithReference(createInterpreter(), 1, 2000);
});
