/** What counts as a disagreement when a program is laid side by side: a run that the interpreter gives up is none, and is not hidden. */
import { describe, expect, it } from 'vitest';
import * as asm from '../../src/asm/construct.ts';
import { createInterpreter } from '../../src/interpreter/index.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { compare, KINDS } from './compare.ts';
import { type GeneratedProgram, generateProgram } from './generate.ts';
import { type Outcome, runProgram } from './run.ts';

/** Counts to 1000 and returns that. */
const long: GeneratedProgram = {
  ...generateProgram(1),
  progKind: 'xdp',
  progType: 6,
  insns: [asm.mov64Imm(0, 0), asm.alu64Imm('add', 0, 1), asm.jumpImm(64, 'jlt', 0, 1000, -2), asm.exit()],
  maps: [],
  fixes: [],
  input: new Uint8Array(64),
  damaged: false,
};

function outcomeOn(jit: 0 | 1): Outcome {
  const interpreter = createInterpreter({ instructionLimit: 500 });
  const kernel = new EmbeddedKernel({ engines: { interpreter }, onOops: () => undefined });
  kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
  try {
    return runProgram(kernel, long);
  } finally {
    kernel.shutdown();
  }
}

describe('a run that is too long for the interpreter', () => {
  const interpreter = outcomeOn(0);
  const jit = outcomeOn(1);
  const kinds = (outcomes: Parameters<typeof compare>[1]) => compare(long, outcomes).map(({ kind }) => kind);

  it('is told apart from a fault', () => {
    expect(interpreter.verdict).toBe('too long');
    expect(jit).toMatchObject({ verdict: 'accept', retval: 1000 });
  });

  it('is counted as not compared, which is no disagreement', () => {
    expect(kinds({ interpreter, jit })).toEqual(['not compared']);
    expect(KINDS['not compared'].bad).toBe(false);
  });

  it('still has its compiled result compared with that of Linux', () => {
    expect(kinds({ interpreter, jit, linux: jit })).toEqual(['not compared']);
    expect(kinds({ interpreter, jit, linux: { ...jit, retval: 7 } as Outcome })).toEqual([
      'not compared',
      'linux differs',
    ]);
  });

  it('excuses no fault of compiled code', () => {
    const fault: Outcome = { verdict: 'fault', code: 'EFAULT', message: 'a trap' };
    expect(kinds({ interpreter, jit: fault })).toEqual(['fault', 'engines differ']);
  });
});

it('a program that the JIT gave to the interpreter is a disagreement', () => {
  const ran: Outcome = { verdict: 'accept', retval: 1, data: '', elements: [], jited: false };
  const kinds = compare(long, { interpreter: ran, jit: ran }).map(({ kind }) => kind);
  expect(kinds).toEqual(['not compiled']);
  expect(KINDS['not compiled'].bad).toBe(true);
  expect(compare(long, { interpreter: ran, jit: { ...ran, jited: true } })).toEqual([]);
});
