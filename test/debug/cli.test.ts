import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { cli, example, TRAFFIC } from '../cli/cli.ts';
import { STEPS } from './programs.ts';

const PACKET = '00'.repeat(60);

async function script(commands: string, ...flags: string[]): Promise<string[]> {
  const argv = ['debug', STEPS, '--data', PACKET, '--command', commands, ...flags];
  const { exit, stdout, stderr } = await cli(argv);
  expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' });
  // What is recorded, and the first stop with its line.
  return stdout.trimEnd().split('\n').slice(3);
}

describe('tsbpf debug', () => {
  it('stops at breakpoints and shows where it is', async () => {
    expect(await script('break classify; continue; next; print length; backtrace; finish')).toEqual([
      'Breakpoint 1: classify',
      'Breakpoint 1, classify (length=60) at steps.bpf.c:21',
      '21\tstatic __noinline int classify(__u32 length)',
      '23\t\tif (length > 100)',
      '(__u32) 60',
      '#0  classify (length=60) at steps.bpf.c:23',
      expect.stringMatching(/^#1 {2}steps \(ctx=0xffff8881[0-9a-f]+\) at steps\.bpf\.c:41$/),
      '41\t\t__u32 kind = classify(length);',
    ]);
  });

  it('watches a map value that a helper changes, and goes back before it', async () => {
    expect(
      await script('watch counters[1]; continue; reverse-continue; stepi; print counters[1].packets'),
    ).toEqual([
      'Watchpoint 1: counters[1]',
      'Watchpoint 1: counters[1]',
      'Old value = nothing',
      'New value = {packets = 1, last_length = 60, first_bytes = {0, 0, 0, 0}}',
      expect.stringContaining('steps (ctx='),
      '48\t\t} else {',
      'Watchpoint 1: counters[1]',
      'Old value = nothing',
      'New value = {packets = 1, last_length = 60, first_bytes = {0, 0, 0, 0}}',
      expect.stringContaining('steps (ctx='),
      expect.stringContaining('bpf_map_update_elem(&counters, &kind, &fresh, BPF_ANY);'),
      'Watchpoint 1: counters[1]',
      'Old value = nothing',
      'New value = {packets = 1, last_length = 60, first_bytes = {0, 0, 0, 0}}',
      expect.stringContaining('steps (ctx='),
      '48\t\t} else {',
      '=> 27: goto pc+4',
      '(__u64) 1',
    ]);
  });

  it('shows registers, memory, instructions and lines', async () => {
    const lines = await script(
      'tbreak add_round; c; info registers; x/2wx ctx; disassemble; list; info breakpoints',
    );
    expect(lines).toContainEqual(expect.stringMatching(/^r1 {3}0x0 +scalar/));
    expect(lines).toContainEqual(expect.stringMatching(/^0xffff8881[0-9a-f]+: 0x00000000 {2}0x00000000$/));
    expect(lines).toContain('=>   57: w1 = w1');
    expect(lines).toContain('=>   32  \t*(__u64 *)ctx += index;');
    expect(lines.at(-1)).toBe('No breakpoints or watchpoints.');
  });

  it('gives one JSON object a stop', async () => {
    const argv = ['debug', STEPS, '--data', PACKET, '--json', '--command', 'b 47; c; p total; c'];
    const objects = (await cli(argv)).stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(objects).toEqual([
      { recorded: 89 },
      expect.objectContaining({ stop: 'start', step: 0, insn: 0, line: 40 }),
      { breakpoint: 1, at: 'steps.bpf.c:47' },
      expect.objectContaining({ stop: 'breakpoint', breakpoint: 1, line: 47, function: 'steps', insn: 23 }),
      { print: 'total', type: '__u64', value: 5 },
      expect.objectContaining({
        stop: 'end',
        returned: 2,
        registers: expect.objectContaining({ r0: '0x2' }),
      }),
    ]);
  });

  it('takes packets of a file, and the program by name', async () => {
    const argv = ['debug', example('xdp_filter'), 'xdp_filter', '--pcap', TRAFFIC, '--json'];
    const { exit, stdout } = await cli([
      ...argv,
      '--command',
      'break xdp_filter; c; c; c; p ctx->data_end - ctx->data',
    ]);
    expect(exit).toBe(0);
    expect(JSON.parse(stdout.trimEnd().split('\n').at(-1)!).value).toBeGreaterThan(13);
  });

  it('reads commands from standard input, and goes on after a mistake where a person types', async () => {
    const argv = ['debug', STEPS, '--data', PACKET];
    const input = ['step', '', 'bogus', 'print nothing', 'info args', 'quit', 'step'];
    const typed = await cli(argv, { tty: true, input, variables: { NO_COLOR: '1' } });
    expect(typed.exit).toBe(0);
    expect(typed.stderr).toContain("there is no command 'bogus'");
    expect(typed.stderr).toContain("no variable, argument or map 'nothing' here");
    // The empty line has stepped once more.
    expect(typed.stdout.trimEnd().split('\n').at(-1)).toBe('length = 60  (__u32)');
    const piped = await cli(argv, { input });
    expect(piped.exit).toBe(2);
    expect(piped.stdout).not.toContain('length = 60  (');
  });

  it.each([
    ['info nothing', 2, 'it may be registers, args'],
    ['x/9000xb $r1', 2, 'x shows 1 to 4096 bytes'],
    ['goto 100000', 1, 'there is no step 100000'],
    ['break nowhere', 1, 'there are steps, classify, add_round'],
    ['step x', 2, 'is no count'],
    ['re', 2, 'is not clear'],
  ])('%s is refused', async (commands, exit, why) => {
    const said = await cli(['debug', STEPS, '--data', PACKET, '--command', commands]);
    expect({ exit: said.exit, stderr: said.stderr }).toEqual({ exit, stderr: expect.stringContaining(why) });
  });

  it('ends with quit, though whoever types does not close the input', async () => {
    const bin = fileURLToPath(new URL('../../src/bin.ts', import.meta.url));
    const child = spawn(process.execPath, ['--import', 'tsx', bin, 'debug', STEPS, '--data', PACKET]);
    try {
      child.stdin.write('continue\nquit\n');
      const [status] = await once(child, 'exit');
      expect(status).toBe(0);
    } finally {
      child.kill();
    }
  }, 60_000);

  it('says where the recording is cut off', async () => {
    const { stderr, stdout } = await cli([
      'debug',
      STEPS,
      '--data',
      PACKET,
      '--steps',
      '30',
      '--command',
      'c',
    ]);
    expect(stderr).toContain('the limit of 30 steps');
    expect(stdout).toContain('The recording ends here: the limit of 30 steps.');
  });
});
