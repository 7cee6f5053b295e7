/** A few hundred random programs through verifier, interpreter and JIT; `npm run fuzz` does it by the ten thousand. */
import { describe, expect, it } from 'vitest';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { generateProgram } from './generate.ts';
import { difference, type Outcome, runProgram } from './run.ts';

function kernel(jit: 0 | 1): EmbeddedKernel {
  const made = new EmbeddedKernel({ randomSeed: 1, onOops: () => undefined });
  made.simulator.setSysctl('net.core.bpf_jit_enable', jit);
  return made;
}

describe('random programs', () => {
  it('that are accepted run without a fault, and alike on both engines', () => {
    const interpreter = kernel(0);
    const jit = kernel(1);
    let accepted = 0;
    for (let seed = 1; seed <= 300; seed++) {
      const program = generateProgram(seed);
      const outcomes: Outcome[] = [runProgram(interpreter, program), runProgram(jit, program)];
      for (const o of outcomes)
        expect(['accept', 'reject'], `seed ${seed}: ${JSON.stringify(o)}`).toContain(o.verdict);
      expect(difference(outcomes[0]!, outcomes[1]!), `seed ${seed}`).toBe('');
      if (outcomes[0]!.verdict === 'accept') accepted++;
    }
    expect(accepted).toBeGreaterThan(150);
    interpreter.shutdown();
    jit.shutdown();
  });
});
