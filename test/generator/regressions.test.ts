import { describe, expect, it } from 'vitest';
import { encodeProgram, ProgramBuilder, R0, R2 } from '../../src/asm/index.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { comparableRun } from './compare.ts';
import { generateProgram } from './generate.ts';
import { readRegressions } from './regressions.ts';
import { type Outcome, runProgram } from './run.ts';
import { shrink } from './shrink.ts';

function outcomeOf(jit: 0 | 1, program: Parameters<typeof runProgram>[1]): Outcome {
  const kernel = new EmbeddedKernel({ randomSeed: 1, onOops: () => undefined });
  kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
  try {
    return comparableRun(program, runProgram(kernel, program));
  } finally {
    kernel.shutdown();
  }
}

/** What Linux said, as far as programs that may show addresses can be compared. */
function comparable(outcome: Outcome, damaged: boolean): unknown {
  if (outcome.verdict === 'accept') return damaged ? { verdict: outcome.verdict } : outcome;
  if (outcome.verdict !== 'reject') return outcome;
  return { ...outcome, message: outcome.message.split('\n').at(-1) };
}

describe('programs on which the kernels once disagreed', () => {
  it('are kept as files', () => {
    expect(readRegressions().length).toBeGreaterThan(0);
  });

  for (const { name, program, expected } of readRegressions()) {
    it.each([
      ['interpreter', 0],
      ['JIT', 1],
    ] as const)(`${name}: as Linux, %s`, (_engine, jit) => {
      expect(comparable(outcomeOf(jit, program), program.damaged)).toEqual(
        comparable(expected, program.damaged),
      );
    });
  }
});

describe('packets one after the other', () => {
  it('show nothing of the one before in a head that grows', () => {
    const kernel = new EmbeddedKernel({ randomSeed: 1, onOops: () => undefined });
    const code = new ProgramBuilder().mov64(R2, -8).callHelper('bpf_xdp_adjust_head').mov64(R0, 2).exit();
    const progFd = kernel.progLoad({ progType: 6, insns: encodeProgram(code.build()), license: 'GPL' });
    kernel.progTestRun({ progFd, dataIn: new Uint8Array(64).fill(0xaa) });
    const { dataOut } = kernel.progTestRun({ progFd, dataIn: new Uint8Array(64).fill(0xbb) });
    expect([...dataOut.subarray(0, 9)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0xbb]);
    kernel.shutdown();
  });
});

describe('shrinking', () => {
  it('leaves what is needed, with its jumps', () => {
    const program = generateProgram(3, { damage: 0 });
    const calls = (p: typeof program) => p.insns.filter(({ code }) => code === 0x85).length;
    const accepted = (p: typeof program) => outcomeOf(0, p).verdict === 'accept';
    expect(accepted(program)).toBe(true);
    const small = shrink(program, accepted);
    // `r0 = 0; exit`
    expect(small.insns.length).toBe(2);
    expect(calls(small)).toBe(0);
    expect(
      shrink(program, (p) => p.insns.some(({ code }) => code === 0x18)).insns.map(({ code }) => code),
    ).toEqual(
      program.insns.some(({ code }) => code === 0x18) ? [0x18, 0] : program.insns.map(({ code }) => code),
    );
  });
});
