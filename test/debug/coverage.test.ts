import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { assemble, encodeProgram } from '../../src/asm/index.ts';
import { coverageReport, ExecutionCounter, foldedStacks, lcovText, profile } from '../../src/debug/index.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { progTypeByName } from '../../src/spec/index.ts';
import { LENGTHS, observed, STEPS } from './programs.ts';

function counted(lengths = LENGTHS): ExecutionCounter {
  const counter = new ExecutionCounter();
  const { kernel, object } = observed(STEPS, counter);
  for (const length of lengths) object.findProgram('steps').testRun({ dataIn: new Uint8Array(length) });
  kernel.shutdown();
  return counter;
}

/** Runs assembled instructions as a socket filter over packets of the given lengths. */
function assembled(
  text: string,
  lengths: readonly number[],
): { counter: ExecutionCounter; results: number[] } {
  const counter = new ExecutionCounter();
  const kernel = new EmbeddedKernel({ randomSeed: 1 });
  kernel.observe(counter);
  const progFd = kernel.progLoad({
    progType: progTypeByName('socket_filter')!.id,
    insns: encodeProgram(assemble(text)),
    license: 'GPL',
    progName: 'assembled',
  });
  const results = lengths.map(
    (length) => kernel.progTestRun({ progFd, dataIn: new Uint8Array(length) }).retval,
  );
  kernel.shutdown();
  return { counter, results };
}

describe('coverage of a compiled object', () => {
  const report = coverageReport(counted());
  const [file] = report.files;

  it('counts lines as often as control comes to them', () => {
    expect(Object.fromEntries(file!.lines.map(({ line, count }) => [line, count]))).toEqual({
      21: 4, // classify
      23: 4,
      28: 4,
      32: 16, // add_round, 4 times a packet
      33: 16,
      34: 16,
      40: 4, // steps
      41: 4,
      42: 4,
      43: 4,
      44: 4,
      46: 4,
      47: 3, // new kinds
      48: 3,
      49: 1, // the one that is known: its instructions are followed by some of another line, without a record
      50: 1,
      52: 4,
      53: 4,
      54: 4,
    });
  });

  it('counts functions', () => {
    expect(file!.functions).toEqual([
      { name: 'classify', line: 21, count: 4 },
      { name: 'add_round', line: 32, count: 16 },
      { name: 'steps', line: 40, count: 4 },
    ]);
  });

  it('counts both ways of branches', () => {
    expect(file!.branches).toEqual([
      { line: 23, function: 'classify', insn: 1, reached: true, taken: 3, notTaken: 1 },
      { line: 23, function: 'classify', insn: 4, reached: true, taken: 1, notTaken: 3 },
      { line: 46, function: 'steps', insn: 18, reached: true, taken: 1, notTaken: 3 },
      { line: 54, function: 'steps', insn: 47, reached: true, taken: 1, notTaken: 3 },
    ]);
    expect(report.totals.branches).toEqual({ found: 8, hit: 8 });
  });

  it('adds programs and runs', () => {
    const counter = new ExecutionCounter();
    for (let i = 0; i < 2; i++) {
      const { kernel, object } = observed(STEPS, counter);
      // The packet of 60 bytes alone: 2 in all.
      object.findProgram('steps').testRun({ dataIn: new Uint8Array(60) });
      if (i === 1) object.findProgram('steps').testRun({ dataIn: new Uint8Array(60), repeat: 3 });
      kernel.shutdown();
    }
    const [merged] = coverageReport(counter).files;
    expect(merged!.functions.map(({ count }) => count)).toEqual([5, 20, 5]);
    expect(merged!.lines.find(({ line }) => line === 47)?.count).toBe(2);
    expect(merged!.lines.find(({ line }) => line === 49)?.count).toBe(3);
  });

  it('says what has not run', () => {
    const none = coverageReport(counted([]));
    expect(none.totals.lines).toEqual({ found: 19, hit: 0 });
    expect(lcovText(none)).toContain('BRDA:46,0,0,-\nBRDA:46,0,1,-\n');
    const one = coverageReport(counted([60]));
    expect(one.totals.lines).toEqual({ found: 19, hit: 17 });
  });

  it('changes neither results nor maps', () => {
    const run = (observer: ExecutionCounter | null) => {
      const { kernel, object } = observed(STEPS, observer);
      const results = LENGTHS.map(
        (length) => object.findProgram('steps').testRun({ dataIn: new Uint8Array(length) }).retval,
      );
      const entries = [...object.findMap('counters').entries()];
      kernel.shutdown();
      return { results, entries };
    };
    expect(run(new ExecutionCounter())).toEqual(run(null));
  });

  it('is accepted by lcov, with the same sums', (context) => {
    if (spawnSync('lcov', ['--version']).status !== 0) {
      context.skip('lcov is not installed');
      return;
    }
    const directory = mkdtempSync(join(tmpdir(), 'tsbpf-lcov-'));
    try {
      const path = join(directory, 'steps.info');
      writeFileSync(path, lcovText(report, 'steps'));
      const said = execFileSync('lcov', ['--summary', path, '--rc', 'lcov_branch_coverage=1'], {
        encoding: 'utf8',
        stdio: 'pipe',
      });
      const { lines, functions, branches } = report.totals;
      expect(said).toContain(`(${lines.hit} of ${lines.found} lines)`);
      expect(said).toContain(`(${functions.hit} of ${functions.found} functions)`);
      expect(said).toContain(`(${branches.hit} of ${branches.found} branches)`);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});

describe('coverage of instructions', () => {
  it('counts loops, and jumps both ways', () => {
    const { counter, results } = assembled(
      `r0 = 0
       r1 = 5
       loop: r0 += r1
       r1 -= 1
       if r1 != 0 goto loop
       if r0 == 15 goto end
       r0 = 1
       end: exit`,
      [14, 14],
    );
    expect(results).toEqual([15, 15]);
    const [program] = coverageReport(counter).programs;
    // What the verifier has proven never to run counts 0.
    expect(program!.insns).toEqual([2, 2, 10, 10, 10, 2, 0, 2]);
  });

  it('counts what the rewriting leaves out', () => {
    // The comparison is decided by the verifier: it is never made, and gone.
    const { counter } = assembled(
      `r0 = 7
       if r0 == 8 goto end
       r0 = 9
       end: exit`,
      [14],
    );
    expect(coverageReport(counter).programs[0]!.insns).toEqual([1, 1, 1, 1]);
  });

  it('counts jumps that the packet decides', () => {
    const { counter } = assembled(
      `r0 = 0
       r1 = *(u32 *)(r1 + 0)
       r0 += 1
       if r1 > 20 goto out
       r0 += 2
       out: exit`,
      [14, 40, 40],
    );
    expect(coverageReport(counter).programs[0]!.insns).toEqual([3, 3, 3, 3, 1, 3]);
  });
});

describe('profile', () => {
  it('counts instructions by function, line and stack', () => {
    const result = profile(counted());
    expect(result.functions.map(({ name, instructions, calls }) => ({ name, instructions, calls }))).toEqual([
      { name: 'steps', instructions: 163, calls: 4 },
      { name: 'add_round', instructions: 160, calls: 16 },
      { name: 'classify', instructions: 24, calls: 4 },
    ]);
    expect(result.instructions).toBe(347);
    expect(result.lines[0]).toMatchObject({ line: 32, instructions: 64, text: '*(__u64 *)ctx += index;' });
    expect(foldedStacks(result)).toBe('steps 163\nsteps;add_round 160\nsteps;classify 24\n');
  });
});
