/** What people who know gdb type: conditions and ignore counts, catch, display, frames, formats, types, scripts, completion. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { complete } from '../../src/cli/debug/complete.ts';
import type { DebugSession } from '../../src/cli/debug/view.ts';
import { Debugger, Recorder } from '../../src/debug/index.ts';
import { cli } from '../cli/cli.ts';
import { observed, STEPS } from './programs.ts';

const PACKET = '00'.repeat(60);
const ARGV = ['debug', STEPS, '--data', PACKET];

async function objects(commands: string, ...flags: string[]): Promise<Record<string, unknown>[]> {
  const { exit, stdout, stderr } = await cli([...ARGV, '--json', '--command', commands, ...flags]);
  expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' });
  return stdout
    .trimEnd()
    .split('\n')
    .slice(2)
    .map((line) => JSON.parse(line));
}

const stops = (all: Record<string, unknown>[]) => all.filter(({ stop }) => stop !== undefined);

async function text(commands: string): Promise<string[]> {
  const { exit, stdout, stderr } = await cli([...ARGV, '--command', commands]);
  expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' });
  return stdout.trimEnd().split('\n').slice(3);
}

describe('breakpoints', () => {
  it.each([
    ['b add_round; condition 1 index == 2; c', 2],
    ['b add_round if index >= 1; ignore 1 1; c', 2],
    ['b add_round; c 3', 2],
    ['b add_round; b add_round if index == 1; disable 1; c', 1],
    ['b add_round; disable; enable 1; c; condition 1 index == 3; c; condition 1', 3],
    ['b add_round if index == 3; c; delete; b add_round; rc', 2],
    ['advance add_round', 0],
  ])('%s', async (commands, index) => {
    const last = stops(await objects(commands)).at(-1);
    expect(last).toMatchObject({ function: 'add_round', arguments: { index } });
  });

  it('stop at calls of helpers and uses of maps', async () => {
    const all = stops(
      await objects(
        'catch call bpf_map_update_elem; c; delete; catch map counters; rc; delete; catch call loop; c',
      ),
    );
    expect(all.map(({ stop, line }) => [stop, line])).toEqual([
      ['breakpoint', 47],
      ['breakpoint', 43],
      ['breakpoint', 52],
    ]);
  });

  it('stop at loads and stores of a map that lie in memory', async () => {
    const all = stops(await objects('catch map steps.bss; c; c; c'));
    expect(all.map(({ function: name }) => name)).toEqual(['add_round', 'add_round', 'add_round']);
  });

  it('watch under a condition, both ways', async () => {
    const all = stops(await objects('watch rounds if rounds >= 3; c; c; rc'));
    expect(all.map(({ change }) => (change as { after: number }).after)).toEqual([3, 4, 4]);
  });

  it.each([
    ['rounds * 2 + 1', [3, 5, 7, 9]],
    ['rounds == 3', [1, 0]],
    // Changes with the function one is in.
    ['index + rounds', undefined],
  ])('watch what is computed: %s', async (expression, wanted) => {
    const said = await cli([
      ...ARGV,
      '--json',
      '--command',
      `b add_round; c; delete; watch ${expression}; c; c; c; c; c`,
    ]);
    const after = said.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).change?.after)
      .filter((one) => one !== undefined);
    if (wanted === undefined) expect(after.length).toBeGreaterThan(3);
    else expect(after).toEqual(wanted);
  });

  it('until leaves loops, and the function at its end', async () => {
    const all = stops(await objects('b classify; c; until; until; until; until; until'));
    expect(all.at(-1)).toMatchObject({ function: 'steps' });
  });
});

describe('values', () => {
  it('in other bases', async () => {
    expect(await text('b classify; c; p/x length; p/t length; p/o length; p/c length; p/z length')).toEqual(
      expect.arrayContaining([
        '(__u32) 0x3c',
        '(__u32) 111100',
        '(__u32) 074',
        "(__u32) 60 '<'",
        '(__u32) 0x0000003c',
      ]),
    );
  });

  it('at every stop', async () => {
    const lines = await text('display rounds; display/x total; b add_round; c; undisplay 1; c');
    expect(lines.filter((line) => /^\d: /.test(line))).toEqual([
      ...['1: rounds = 0', '2: total = 0x5', '1: rounds = 0', '2: total = 0x5', '2: total = 0x5'],
    ]);
  });

  it('of the caller, with its names and registers', async () => {
    const all = await objects('b classify; c; p $pc; up; p ctx->data_end - ctx->data; p $pc; down; p length');
    expect(all.flatMap(({ value }) => (value === undefined ? [] : [value]))).toEqual([
      expect.any(Number),
      60,
      expect.any(Number),
      60,
    ]);
    const pcs = all.filter(({ print }) => print === '$pc').map(({ value }) => value);
    expect(pcs[0]).not.toBe(pcs[1]);
  });

  it('as C types, and in a form', async () => {
    const said = await text(
      'ptype struct counter; printf "%d rounds, %04x\\n", rounds, total; info registers r1; info line',
    );
    expect(said).toContain('struct counter {');
    expect(said).toContain('\t__u32 last_length;');
    expect(said).toContain('0 rounds, 0005');
    expect(said.filter((line) => /^r\d/.test(line))).toHaveLength(1);
    expect(said.at(-1)).toMatch(/^Line 40 of .*steps\.bpf\.c: instructions [\d, -]+ of steps\.$/);
  });

  it('lists the runs of several inputs', async () => {
    const [info] = (await objects('info runs', '--repeat', '3')).slice(-1);
    expect(info).toMatchObject({ here: 1, runs: [{ run: 1, from: 0, returned: 2 }, { run: 2 }, { run: 3 }] });
  });
});

describe('what is refused', () => {
  it.each([
    ['set $r0 = 5', 'nothing of it can be changed'],
    ['p rounds = 5', 'nothing of it can be changed'],
    ['catch call bpf_redirect', 'they call bpf_loop'],
    ['catch syscall open', 'catch needs what'],
    ['break nowhere.c:3', "no code comes from a file 'nowhere.c'"],
    ['condition 7 1', 'there is no breakpoint 7'],
    ['condition x 1', "'x' is no number of a breakpoint"],
    ['b classify if', 'a condition is expected'],
    ['p/q rounds', "'/q' is no format"],
    ['frame 9', 'there is no frame 9: there are 1'],
    ['list nowhere', "there is no function 'nowhere'"],
    ['list 9999', 'has no line 9999'],
    ['info registers r11', "there is no register 'r11'"],
    ['delete 1-100000', 'are too many'],
    ['printf "%d %d", rounds', 'fewer values than conversions'],
    ['source /nowhere/at/all', 'nowhere'],
    ['x/2i nowhere', 'x/i needs'],
  ])('%s', async (commands, why) => {
    const said = await cli([...ARGV, '--command', commands]);
    expect(said.exit).not.toBe(0);
    expect(said.stderr).toContain(why);
  });
});

describe('scripts', () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'tsbpf-debug-'));
  });
  afterAll(() => rmSync(dir, { recursive: true }));

  it('are done line by line, remarks left out', async () => {
    const file = join(dir, 'a.gdb');
    writeFileSync(file, '# a remark\nset pagination off\nb classify\nc; p/x length\nquit\np 7\n');
    const { exit, stdout } = await cli([...ARGV, '-x', file]);
    expect(exit).toBe(0);
    expect(stdout.trimEnd().split('\n').at(-1)).toBe('(__u32) 0x3c');
  });

  it('that name themselves end', async () => {
    const file = join(dir, 'b.gdb');
    writeFileSync(file, `source ${file}\n`);
    const { exit, stderr } = await cli([...ARGV, '-x', file]);
    expect(exit).toBe(2);
    expect(stderr).toContain('nested too deeply');
  });
});

it('completes commands, places, names, members, helpers and maps', () => {
  const recorder = new Recorder();
  const { object, kernel } = observed(STEPS, recorder);
  object.findProgram('steps').testRun({ dataIn: new Uint8Array(60) });
  const session = { debug: new Debugger(recorder.finish()) } as DebugSession;
  const found = (line: string) => complete(session, line).found;
  expect(found('bre')).toEqual(['break']);
  expect(found('p total; rev')).toContain('reverse-step');
  expect(found('b cl')).toEqual(['classify']);
  expect(found('b st')).toEqual(['steps', 'steps.bpf.c:']);
  expect(found('p to')).toEqual(['total']);
  expect(found('p $r1')).toEqual(['$r1', '$r10']);
  expect(found('p ctx->data_')).toContain('data_end');
  expect(found('info re')).toEqual(['registers']);
  expect(found('catch call bpf_l')).toEqual(['bpf_loop']);
  expect(found('catch map co')).toEqual(['counters']);
  expect(found('nonsense x')).toEqual([]);
  kernel.shutdown();
});
