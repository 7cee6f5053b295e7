/** What every engine must do; called once for each of them. */
import { afterEach, describe } from 'vitest';
import type { Engine } from '../../src/contracts/engine.ts';
import { arithmeticContract } from './contract-arithmetic.ts';
import { callsContract } from './contract-calls.ts';
import { flowContract } from './contract-flow.ts';
import { createTestEnvironment } from './environment.ts';
import { Bench } from './support.ts';

export function engineContract(name: string, createEngine: () => Engine): void {
  let bench: Bench | undefined;
  const get = (): Bench => {
    bench ??= new Bench(createEngine(), createTestEnvironment());
    return bench;
  };
  afterEach(() => {
    bench?.release();
  });
  describe(`${name}: instructions`, () => arithmeticContract(get));
  describe(`${name}: control flow`, () => flowContract(get));
  describe(`${name}: calls and runs`, () => callsContract(get));
}
