/** What bounds a recording: the runs that nobody would see the rest of end with it, and looking at maps of the past is not paid step by step. */
import { describe, expect, it } from 'vitest';
import { Debugger, Recorder, RecordingFull } from '../../src/debug/index.ts';
import { cli } from '../cli/cli.ts';
import { observed, STEPS } from './programs.ts';

describe('a recording that is full', () => {
  it.each([false, true])('ends the run where that was asked for (stopRuns = %s)', (stopRuns) => {
    const recorder = new Recorder({ maxSteps: 30, stopRuns });
    const { kernel, object } = observed(STEPS, recorder);
    const run = () => object.findProgram('steps').testRun({ dataIn: new Uint8Array(60) });
    if (stopRuns) expect(run).toThrow(RecordingFull);
    else expect(run().retval).toBe(2);
    const debug = new Debugger(recorder.finish());
    expect(debug.recording.length).toBe(30);
    expect(debug.continue()).toMatchObject({ reason: 'limit', location: { step: 29 } });
    // Nobody watches what is loaded after that, and the kernel goes on.
    kernel.observe(null);
    expect(run().retval).toBe(2);
    kernel.shutdown();
  });

  it('is what the command goes through, with a word of it', async () => {
    const argv = ['debug', STEPS, '--steps', '30', '--repeat', '1000000', '--command', 'c'];
    const { exit, stdout, stderr } = await cli(argv);
    expect(exit).toBe(0);
    expect(stderr).toContain('the limit of 30 steps');
    expect(stdout).toContain('The recording ends here: the limit of 30 steps.');
  });
});

it('walks with maps of the past and gives the kernel its memory back', () => {
  const recorder = new Recorder();
  const { object, kernel } = observed(STEPS, recorder);
  const packet = new Uint8Array(60);
  for (let i = 0; i < 5; i++) object.findProgram('steps').testRun({ dataIn: packet });
  const debug = new Debugger(recorder.finish());
  debug.addWatchpoint('counters[1].packets');
  const seen: unknown[] = [];
  for (let stop = debug.continue(); stop.reason === 'watchpoint'; stop = debug.continue())
    seen.push(stop.change?.after);
  expect(seen).toEqual([1, 2, 3, 4, 5].map((n) => (typeof seen[0] === 'bigint' ? BigInt(n) : n)));
  const back: unknown[] = [];
  for (let stop = debug.continue('reverse'); stop.reason === 'watchpoint'; stop = debug.continue('reverse'))
    back.push(stop.change?.after);
  expect(back).toEqual([...seen].reverse());
  // The kernel has what it had.
  object.findProgram('steps').testRun({ dataIn: packet });
  const value = kernel.mapLookupElem({
    mapFd: object.findMap('counters').fd,
    key: Uint8Array.of(1, 0, 0, 0),
  });
  expect(value?.[0]).toBe(6);
  kernel.shutdown();
});
