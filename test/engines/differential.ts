/** Random programs on an engine against the bigint reference: R0 and memory must be equal. */
import { expect } from 'vitest';
import { disassemble } from '../../src/asm/index.ts';
import type { Engine } from '../../src/contracts/engine.ts';
import { createTestEnvironment, type TestEnvironment } from './environment.ts';
import { randomProgram, runReference } from './random-programs.ts';
import { Bench } from './support.ts';

export function compareWithReference(
  engine: Engine,
  firstSeed: number,
  count: number,
  env: TestEnvironment = createTestEnvironment(),
): void {
  const bench = new Bench(engine, env);
  for (let seed = firstSeed; seed < firstSeed + count; seed++) {
    const insns = randomProgram(seed);
    const want = runReference(insns);
    bench.clear();
    const r0 = bench.run(insns);
    const memory = bench.memory.read(bench.ctx, 256);
    const same = r0 === want.r0 && memory.every((byte, i) => byte === want.memory[i]);
    if (!same) {
      const text = `seed ${seed}\n${disassemble(insns)}`;
      expect({ r0, memory: [...memory] }, text).toEqual({ r0: want.r0, memory: [...want.memory] });
    }
    bench.release();
  }
}
