import { describe, expect, it } from 'vitest';
import { assemble, encodeProgram } from '../../src/asm/index.ts';
import { Debugger, Recorder, type Recording, type RecordOptions, type Stop } from '../../src/debug/index.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { HEAP_START, STACKS } from '../../src/memory/layout.ts';
import { progTypeByName } from '../../src/spec/index.ts';
import { LENGTHS, observed, STEPS } from './programs.ts';

function recorded(lengths: readonly number[] = [60], options?: RecordOptions): Debugger {
  const recorder = new Recorder(options);
  const { object } = observed(STEPS, recorder);
  for (const length of lengths) object.findProgram('steps').testRun({ dataIn: new Uint8Array(length) });
  return new Debugger(recorder.finish());
}

/** Everything that a step has: registers, stacks, maps. */
function state(recording: Recording, debug: Debugger): string {
  const stacks = recording.read(STACKS, HEAP_START - STACKS).join();
  return JSON.stringify([
    recording.registers().map(String),
    stacks,
    debug.inspect.globals(),
    debug.inspect.entries('counters'),
    debug.inspect.backtrace(),
  ]);
}

const place = ({ reason, location }: Stop) => [reason, location.function, location.line];

describe('a recording', () => {
  it('has the same states forwards and backwards', () => {
    const debug = recorded([60, 60]);
    const { recording } = debug;
    const forwards: string[] = [];
    for (let step = 0; step < recording.length; step++) {
      recording.seek(step);
      forwards.push(state(recording, debug));
    }
    for (let step = recording.length - 1; step >= 0; step--) {
      recording.seek(step);
      expect(state(recording, debug) === forwards[step], `step ${step}`).toBe(true);
    }
    recording.seek(recording.length - 1);
    expect(state(recording, debug) === forwards.at(-1)).toBe(true);
  });

  it('ends in the state that the kernel has', () => {
    const recorder = new Recorder();
    const { object } = observed(STEPS, recorder);
    for (const length of LENGTHS) object.findProgram('steps').testRun({ dataIn: new Uint8Array(length) });
    const debug = new Debugger(recorder.finish());
    debug.recording.seek(debug.recording.length - 1);
    expect(debug.inspect.entries('counters')).toEqual(
      [...object.findMap('counters').entries()].map(([key, value]) => ({ key, value })),
    );
    // Looking at the past leaves the present as it is.
    debug.recording.seek(0);
    expect(debug.inspect.entries('counters')).toEqual([]);
    expect([...object.findMap('counters').entries()]).toHaveLength(3);
  });

  it('is bounded, and says so', () => {
    const debug = recorded([60], { maxSteps: 20 });
    expect(debug.recording.length).toBe(20);
    expect(debug.recording.truncated).toBe('the limit of 20 steps');
    expect(debug.continue().reason).toBe('limit');
  });

  it('is bounded in time where helpers may change much', () => {
    const { recording } = recorded([60], { maxCompared: 1 });
    expect(recording.truncated).toBe('the limit of 1 bytes compared around calls of helpers');
    expect(recording.length).toBeLessThan(89);
  });

  it('needs a run', () => {
    const recorder = new Recorder();
    observed(STEPS, recorder);
    expect(() => recorder.finish()).toThrow(/nothing to step through/);
  });
});

describe('stepping', () => {
  it('goes by C line, into and over calls', () => {
    const debug = recorded();
    expect(place(debug.step())).toEqual(['step', 'steps', 41]);
    expect(place(debug.step())).toEqual(['step', 'classify', 21]);
    expect(debug.inspect.backtrace().map(({ function: name, line }) => `${name}:${line}`)).toEqual([
      'classify:21',
      'steps:41',
    ]);
    expect(debug.inspect.arguments()).toEqual([{ name: 'length', type: '__u32', value: 60 }]);
    expect(place(debug.finish())).toEqual(['step', 'steps', 41]);
    expect(place(debug.next('reverse'))).toEqual(['step', 'steps', 41]);
    expect(place(debug.next())).toEqual(['step', 'steps', 42]);
  });

  it('finishes the outermost function at the end of its run', () => {
    const debug = recorded([60, 120]);
    expect(debug.finish().location).toMatchObject({ kind: 'end', line: 54 });
    expect(debug.recording.register(0)).toBe(2n);
    debug.stepInsn();
    debug.next('forward', 3);
    expect(debug.finish().location).toMatchObject({ kind: 'end', step: debug.recording.length - 1 });
    expect(debug.recording.register(0)).toBe(1n);
    expect(debug.finish('reverse').location).toMatchObject({ insn: 0, line: 40 });
    expect(debug.position).toBeGreaterThan(0);
  });

  it('walks backwards over the lines that it came by', () => {
    const debug = recorded([60, 120]);
    const steps = [debug.position];
    while (debug.step().reason === 'step') steps.push(debug.position);
    const back: number[] = [];
    while (debug.step('reverse').reason === 'step') back.unshift(debug.position);
    expect(back).toEqual(steps);
  });

  it('goes by instruction', () => {
    const debug = recorded();
    expect(debug.stepInsn('forward', 4).location.insn).toBe(4);
    expect(debug.nextInsn().location.insn).toBe(5);
    expect(debug.nextInsn('reverse').location.insn).toBe(4);
    expect(debug.stepInsn().location).toMatchObject({ function: 'classify', insn: 50 });
    expect(debug.stepInsn('reverse').location.insn).toBe(4);
    debug.goto(0);
    expect(debug.stepInsn('reverse').reason).toBe('start');
  });
});

describe('breakpoints', () => {
  it('stops at functions, lines and instructions, in both directions', () => {
    const debug = recorded([60, 120]);
    const breakpoint = debug.addBreakpoint({ kind: 'function', name: 'classify' });
    debug.addBreakpoint({ kind: 'line', line: 47 });
    debug.addBreakpoint({ kind: 'insn', insn: 49 });
    const all = () => [1, 2, 3, 4, 5, 6, 7].map(() => debug.continue().location.insn);
    expect(all()).toEqual([50, 23, 49, 50, 23, 49, 49]);
    expect(breakpoint.hits).toBe(2);
    debug.delete(2);
    expect([1, 2, 3, 4].map(() => debug.continue('reverse').location.insn)).toEqual([49, 50, 49, 50]);
    expect(debug.continue('reverse').reason).toBe('start');
  });

  it('looks at conditions', () => {
    const debug = recorded();
    debug.addBreakpoint({ kind: 'function', name: 'add_round' }, { condition: 'index == 2 && rounds == 2' });
    expect(debug.continue()).toMatchObject({ reason: 'breakpoint', breakpoint: 1 });
    expect(debug.inspect.print('index').value).toBe(2);
    expect(debug.inspect.print('*(__u64 *)ctx').value).toBe(1);
    expect(debug.continue().reason).toBe('end');
  });

  it('stops once at a temporary one, and forgets those that are deleted', () => {
    const debug = recorded();
    debug.addBreakpoint({ kind: 'function', name: 'add_round' }, { temporary: true });
    expect(debug.continue().reason).toBe('breakpoint');
    expect(debug.breakpoints).toEqual([]);
    expect(debug.continue().reason).toBe('end');
  });

  it('refuses places that there are not', () => {
    const debug = recorded();
    expect(() => debug.addBreakpoint({ kind: 'function', name: 'nothing' })).toThrow(/no function 'nothing'/);
    expect(() => debug.addBreakpoint({ kind: 'line', line: 4000 })).toThrow(/no line/);
    expect(() => debug.addBreakpoint({ kind: 'insn', insn: 4000 })).toThrow(/no instruction/);
    expect(() => debug.delete(7)).toThrow(/no breakpoint 7/);
    const half = { condition: 'length >' };
    expect(() => debug.addBreakpoint({ kind: 'line', line: 40 }, half)).toThrow(/value is expected/);
    expect(debug.breakpoints).toEqual([]);
  });
});

describe('watchpoints', () => {
  it('sees a map value that a helper makes, and one that the program changes', () => {
    const debug = recorded([60, 60]);
    debug.addWatchpoint('counters[1]');
    expect(debug.continue()).toMatchObject({
      reason: 'watchpoint',
      location: { insn: 27 },
      change: { before: undefined, after: { packets: 1, last_length: 60 } },
    });
    expect(debug.continue()).toMatchObject({ change: { before: { packets: 1 }, after: { packets: 2 } } });
    expect(debug.continue().reason).toBe('end');
    // Backwards it stops before the change.
    expect(debug.continue('reverse')).toMatchObject({ reason: 'watchpoint', location: { insn: 31 } });
    expect(debug.inspect.print('counters[1].packets').value).toBe(1);
  });

  it('sees globals and memory', () => {
    const debug = recorded();
    debug.addWatchpoint('total');
    debug.addWatchpoint('rounds');
    const changes: unknown[] = [];
    for (let stop = debug.continue(); stop.reason === 'watchpoint'; stop = debug.continue())
      changes.push([stop.change?.expression, stop.change?.before, stop.change?.after]);
    expect(changes).toEqual([
      ['rounds', 0, 1],
      ['rounds', 1, 2],
      ['rounds', 2, 3],
      ['rounds', 3, 4],
      ['total', 5, 11],
    ]);
  });
});

describe('expressions', () => {
  const debug = recorded();
  debug.addBreakpoint({ kind: 'line', line: 53 });
  debug.continue();
  it.each<[string, unknown, string]>([
    ['total + 1', 6, 's64'],
    ['rounds == 4 ? 10 : 20', 10, 's64'],
    ['counters[1].packets', 1, '__u64'],
    ['counters[0x1].first_bytes[2]', 0, '__u8'],
    ['counters["01000000"].last_length', 60, '__u32'],
    ['ctx->data_end - ctx->data', 60, 's64'],
    ['sizeof(struct counter)', 16, 'u64'],
    ['(__u8)0x1ff', 255, 'u8'],
    ['*(unsigned int *)($fp - 4)', 1, 'u32'],
    ['&total == 0', 0, 's64'],
    ['-1 < 0 && !0', 1, 's64'],
    ['$pc', 39, 'u64'],
  ])('%s', (text, value, type) => {
    expect(debug.inspect.print(text)).toEqual({ name: text, value, type });
  });
  it.each([
    ['nothing', /no variable/],
    ['counters[9]', /no such key/],
    ['*total', /no pointer/],
    ['total.x', /no members/],
    ['1 +', /value is expected/],
    ['1 / 0', /division by zero/],
    ['*(int *)0', /NULL/],
    ['$r11', /no register/],
    ['(struct none *)1', /no type/],
    ['#', /no part/],
    ['('.repeat(5000), /nested too deeply/],
  ])('%s is refused', (text, why) => {
    expect(() => debug.inspect.print(text)).toThrow(why);
  });
});

describe('a program that faults', () => {
  it('ends at the fault', () => {
    const recorder = new Recorder();
    const kernel = new EmbeddedKernel({ budget: 5, onOops: () => {} });
    kernel.observe(recorder);
    const text = `r1 = 10
      loop: r1 -= 1
      if r1 != 0 goto loop
      r0 = 0
      exit`;
    const progFd = kernel.progLoad({
      progType: progTypeByName('socket_filter')!.id,
      insns: encodeProgram(assemble(text)),
      license: 'GPL',
    });
    expect(() => kernel.progTestRun({ progFd, dataIn: new Uint8Array(14) })).toThrow(/budget/);
    const debug = new Debugger(recorder.finish());
    expect(debug.continue()).toMatchObject({
      reason: 'fault',
      location: { insn: 1, kind: 'fault' },
      message: expect.stringContaining('budget'),
    });
    expect(debug.recording.register(1)).toBe(5n);
    expect(debug.stepInsn('reverse').location.insn).toBe(1);
  });
});
