import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { readPackets } from '../../src/capture/index.ts';
import { COMMANDS, cli, example, TRAFFIC, temporary } from './cli.ts';

const BLOCKED = ['--set', 'blocked:10.66.0.0/16=1'];

interface RunDocument {
  output: {
    kind: string;
    map: string;
    type: string;
    data: Record<string, unknown>;
    message: string;
    comm: string;
  }[];
  packets: { packets: number; written: number; failure?: string };
  events: { events: number; runs: number };
  programs: {
    name: string;
    verifier: { insnsProcessed: number; microseconds: number };
    engine: { name: string; bytes: number };
    runs: number;
    results: Record<string, number>;
  }[];
  maps: { name: string; type: string; entries: { key: unknown; value: unknown }[] }[];
  records: { map: string; delivered: number; lost: number }[];
  oopses: string[];
}

async function run(...argv: string[]): Promise<RunDocument> {
  const { exit, stdout, stderr } = await cli(['run', ...argv, '--json']);
  expect({ exit, stderr }).toEqual({ exit: 0, stderr: expect.any(String) });
  return JSON.parse(stdout) as RunDocument;
}

describe.each(['jit', 'interp'])('run on packets, %s', (engine) => {
  it('filters by XDP and counts in maps', async () => {
    const result = await run(example('xdp_filter'), '--pcap', TRAFFIC, ...BLOCKED, '--engine', engine);
    const [program] = result.programs;
    expect(program).toMatchObject({
      name: 'xdp_filter',
      engine: { name: engine === 'jit' ? 'jit' : 'interpreter' },
      runs: result.packets.packets,
    });
    expect(program.verifier.insnsProcessed).toBeGreaterThan(50);
    const { XDP_PASS: passed, XDP_DROP: dropped } = program.results;
    expect(passed + dropped).toBe(result.packets.packets);
    const protocols = result.maps.find(({ name }) => name === 'protocols')!;
    const rows = protocols.entries as { key: number; value: { packets: number; dropped: number } }[];
    expect(rows.map(({ key }) => key)).toEqual([0, 1, 6, 17, 58]);
    expect(rows.reduce((sum, { value }) => sum + value.dropped, 0)).toBe(dropped);
    expect(result.maps.find(({ name }) => name === 'blocked')!.entries).toEqual([
      { key: '10.66.0.0/16', value: 1 },
    ]);
  });

  it('gives packets to socket filters, per-CPU counters to their readers', async () => {
    const result = await run(example('socket_sizes'), '--pcap', TRAFFIC, '--engine', engine, '--cpus', '2');
    const { results, runs } = result.programs[0];
    expect(Object.values(results).reduce((sum, count) => sum + count)).toBe(runs);
    expect(results.whole ?? results.cut).toBeGreaterThan(0);
    const counts = result.maps[0].entries as { value: number[] }[];
    expect(counts.every(({ value }) => value.length === 2)).toBe(true);
    expect(counts.flatMap(({ value }) => value).reduce((sum, count) => sum + count)).toBe(runs);
  });
});

describe('run on packets', () => {
  it('says nothing of times that nobody has taken: of runs on other CPUs', async () => {
    const one = await cli(['run', example('xdp_filter'), '--pcap', TRAFFIC]);
    expect(one.stdout).toMatch(/runs {6}95, [\d.]+ \S+ each/);
    const two = await cli(['run', example('xdp_filter'), '--pcap', TRAFFIC, '--cpus', '2']);
    expect(two.stdout).toMatch(/runs {6}95$/m);
  });

  it('writes what passes', async () => {
    const path = temporary('passed.pcap');
    const { packets, programs } = await run(
      example('xdp_filter'),
      '--pcap',
      TRAFFIC,
      ...BLOCKED,
      '--write',
      path,
    );
    const written = [...readPackets(new Uint8Array(readFileSync(path)))];
    expect(written.length).toBe(packets.written);
    expect(written.length).toBe(programs[0].results.XDP_PASS);
    const before = [...readPackets(new Uint8Array(readFileSync(TRAFFIC)))];
    expect(before.map(({ timestampNs }) => timestampNs)).toEqual(
      expect.arrayContaining(written.map(({ timestampNs }) => timestampNs)),
    );
  });

  it('writes a file without packets where none passes', async () => {
    const { exit } = await cli([
      'asm',
      temporary('drop.s', 'r0 = 1\nexit\n'),
      '-o',
      temporary('drop.o'),
      '--section',
      'xdp',
    ]);
    expect(exit).toBe(0);
    const path = temporary('none.pcap');
    const { packets } = await run(temporary('drop.o'), '--pcap', TRAFFIC, '--write', path);
    expect(packets.written).toBe(0);
    expect([...readPackets(new Uint8Array(readFileSync(path)))]).toEqual([]);
  });

  it('repeats its input', async () => {
    const { packets } = await run(example('xdp_filter'), '--pcap', TRAFFIC, '--repeat', '3');
    const once = [...readPackets(new Uint8Array(readFileSync(TRAFFIC)))].length;
    expect(packets.packets).toBe(3 * once);
  });

  it('counts what came before the end of a cut capture, and fails', async () => {
    const cut = temporary('cut.pcap', readFileSync(TRAFFIC).subarray(0, 5000));
    const { exit, stdout, stderr } = await cli(['run', example('xdp_filter'), '--pcap', cut]);
    expect(exit).toBe(1);
    expect(stdout).toMatch(/XDP_PASS × \d+/);
    expect(stderr).toMatch(/cut\.pcap: the capture ends inside the record/);
  });

  it('reads long captures ahead, to the record that is cut', async () => {
    const once = await run(example('xdp_filter'), '--pcap', TRAFFIC);
    const times = Math.ceil((20 << 20) / (readFileSync(TRAFFIC).length - 24));
    const bytes = repeated(readFileSync(TRAFFIC), times);
    const long = temporary('long.pcap', bytes);
    const { packets, programs } = await run(example('xdp_filter'), '--pcap', long);
    expect(packets.packets).toBe(times * once.packets.packets);
    for (const [action, count] of Object.entries(once.programs[0]!.results))
      expect(programs[0]!.results[action]).toBe(times * count);
    const cut = temporary('long-cut.pcap', bytes.subarray(0, -1));
    const { exit, stdout, stderr } = await cli(['run', example('xdp_filter'), '--pcap', cut, '--json']);
    expect(exit).toBe(1);
    expect((JSON.parse(stdout) as RunDocument).packets.packets).toBe(times * once.packets.packets - 1);
    expect(stderr).toMatch(/long-cut\.pcap: the capture ends inside the record/);
  });

  it('ends at an interrupt with what it has', async () => {
    const big = temporary('big.pcap', repeated(readFileSync(TRAFFIC), 4000));
    const { exit, stdout } = await cli(
      ['run', example('xdp_filter'), '--pcap', big, '--repeat', '1000', '--json'],
      {
        interrupt: (fire) => setTimeout(fire, 700),
      },
    );
    expect(exit).toBe(0);
    const { packets, programs } = JSON.parse(stdout) as RunDocument;
    expect(packets.packets).toBeGreaterThan(0);
    expect(programs[0].runs).toBe(packets.packets);
  });

  it('shows progress to a person only', async () => {
    const big = temporary('progress.pcap', repeated(readFileSync(TRAFFIC), 3000));
    const argv = ['run', example('xdp_filter'), '--pcap', big, '--engine', 'interp'];
    expect((await cli(argv, { tty: true })).stderr).toMatch(/\r[\d,]+ packets, \d+\.\d s/);
    expect((await cli(argv)).stderr).toBe('');
  });
});

/** A capture with its packets many times over. */
function repeated(capture: Uint8Array, times: number): Uint8Array {
  const packets = capture.subarray(24);
  const whole = new Uint8Array(24 + times * packets.length);
  whole.set(capture.subarray(0, 24));
  for (let i = 0; i < times; i++) whole.set(packets, 24 + i * packets.length);
  return whole;
}

describe('run on a recording', () => {
  it.each(['exec_ringbuf', 'exec_perf'])('%s: decodes events by the type in the object', async (name) => {
    const result = await run(example(name), '--replay', COMMANDS);
    expect(result.output.length).toBeGreaterThan(5);
    for (const event of result.output) {
      expect(event).toMatchObject({ kind: 'event', map: 'events', type: 'exec_event' });
      expect(Object.keys(event.data)).toEqual(['time_ns', 'pid', 'uid', 'comm', 'filename']);
    }
    expect(result.output.map(({ data }) => data.filename)).toEqual(
      expect.arrayContaining(['/usr/bin/ls', '/usr/bin/grep', '/no/such/program', '/usr/bin/id']),
    );
    expect(result.output.find(({ data }) => data.filename === '/usr/bin/id')?.data).toMatchObject({
      uid: 1000,
    });
    expect(result.records).toEqual([{ map: 'events', delivered: result.output.length, lost: 0 }]);
  });

  it('hello: trace_pipe', async () => {
    const { stdout } = await cli(['run', example('hello'), '--replay', COMMANDS]);
    expect(stdout).toMatch(
      /^ +sh-\d+ +\[000\] \S+ +\d+\.\d{6}: bpf_trace_printk: Hello, world! sh runs \/usr\/bin\/ls$/m,
    );
  });

  it('count_by_user: a hash map by user', async () => {
    const { maps, events } = await run(example('count_by_user'), '--replay', COMMANDS);
    const entries = maps[0].entries as { key: number; value: number }[];
    expect(entries.map(({ key }) => key)).toEqual([0, 1000]);
    expect(entries.reduce((sum, { value }) => sum + value, 0)).toBe(events.runs);
  });

  it('syscall_tail: what a program array holds is called, not attached', async () => {
    const { programs, maps, output } = await run(example('syscall_tail'), '--replay', COMMANDS);
    const runs = Object.fromEntries(programs.map(({ name, runs: count }) => [name, count]));
    expect(runs.on_execve).toBe(0);
    const counters = maps.find(({ name }) => name === 'counters')!.entries as { value: number }[];
    expect(counters.reduce((sum, { value }) => sum + value, 0)).toBe(runs.dispatch);
    expect(output.filter(({ kind }) => kind === 'trace').length).toBe(counters[0].value);
  });
});

describe('run on a recording of perf', () => {
  const COUNT = temporary(
    'count.bpf.c',
    `#include <linux/bpf.h>
#include <linux/bpf_perf_event.h>
#include <bpf/bpf_helpers.h>
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 2); __type(key, __u32); __type(value, __u64); } seen SEC(".maps");
static int count(__u32 which)
{
	__u64 *value = bpf_map_lookup_elem(&seen, &which);
	if (value)
		*value += 1;
	return 0;
}
SEC("tracepoint/sched/sched_switch") int on_switch(void *ctx) { return count(0); }
SEC("perf_event") int on_sample(struct bpf_perf_event_data *ctx) { return count(1); }
char LICENSE[] SEC("license") = "GPL";
`,
  );
  const input = (name: string) => fileURLToPath(new URL(`../../examples/inputs/${name}`, import.meta.url));
  it('perf.data: tracepoints, on the CPUs where they happened', async () => {
    const { events, maps } = await run(COUNT, '--replay', input('sched.data'), '--program', 'on_switch');
    expect(events.runs).toBeGreaterThan(10);
    // Of two CPUs; elements that are zero are not shown.
    expect(maps[0]!.entries).toEqual([{ key: 0, value: [0, events.runs] }]);
  });

  it('perf script: samples', async () => {
    const { events, maps } = await run(COUNT, '--replay', input('samples.txt'), '--program', 'on_sample');
    expect(events.runs).toBeGreaterThan(10);
    expect(maps[0]!.entries).toMatchObject([{ key: 1 }]);
    const perCpu = maps[0]!.entries[0]!.value as number[];
    expect(perCpu.reduce((sum, value) => sum + value, 0)).toBe(events.runs);
  });

  it('cut off: says so', async () => {
    const cut = temporary('cut.data', readFileSync(input('sched.data')).subarray(0, 3000));
    const { exit, stderr } = await cli(['run', COUNT, '--replay', cut]);
    expect(exit).toBe(1);
    expect(stderr).toMatch(/cut\.data: perf\.data: .*\[EINVAL\]/);
  });
});

it('does not attach what --set puts into a program array', async () => {
  const { programs } = await run(
    example('syscall_tail'),
    '--replay',
    COMMANDS,
    '--set',
    'handlers:0=dispatch',
  );
  expect(programs.every(({ runs }) => runs === 0)).toBe(true);
});

describe('run without input', () => {
  it('test-runs what can be', async () => {
    const { programs } = await run(example('xdp_filter'), '--repeat', '10');
    expect(programs[0]).toMatchObject({ runs: 10, results: { 'returned 2': 10 } });
  });

  it('takes a packet as hex', async () => {
    const { programs } = await run(
      example('unchecked'),
      '--program',
      'checked',
      '--data',
      `${'00'.repeat(12)}0800`,
    );
    expect(programs[0].results).toEqual({ 'returned 1': 1 });
  });

  it('fails where no program takes the packet', async () => {
    const { exit, stderr } = await cli(['run', example('xdp_filter'), '--data', '00']);
    expect(exit).toBe(1);
    expect(stderr).toMatch(/at least 14 bytes, not 1/);
  });

  it('says when CPUs are too many to be threads', async () => {
    const { exit, stderr } = await cli([
      ...['run', example('xdp_filter'), '--cpus', '99'],
      ...['--pcap', TRAFFIC],
    ]);
    expect(exit).toBe(0);
    expect(stderr).toMatch(/one thread: 99 CPUs are more than 32/);
  });

  it('says what waits for events', async () => {
    const { exit, stderr } = await cli(['run', example('hello')]);
    expect(exit).toBe(0);
    expect(stderr).toMatch(/'hello' waits for events: give them with --replay/);
  });
});

describe('run: what goes wrong', () => {
  it.each([
    [
      'no such capture',
      ['--pcap', '/no/such.pcap'],
      1,
      /\/no\/such\.pcap: cannot read it: there is no such file \[ENOENT\]/,
    ],
    [
      'an object as a capture',
      ['--pcap', example('hello')],
      1,
      /neither a pcap nor a pcapng file \[ENOEXEC\]/,
    ],
    [
      'a capture as a recording',
      ['--replay', TRAFFIC],
      1,
      /no line is strace's.*\[EINVAL\]\nhint: record with: strace -f -ttt/,
    ],
    [
      'no such map',
      ['--set', 'bad:1=1'],
      1,
      /there is no map 'bad' \[ENOENT\]\nhint: there are blocked, protocols/,
    ],
    ['no such map to show', ['--pcap', TRAFFIC, '--map', 'nope'], 1, /there is no map 'nope' \[ENOENT\]/],
    [
      'no such program',
      ['--program', 'nope'],
      1,
      /there is no program 'nope' \[ENOENT\]\nhint: there are xdp_filter/,
    ],
    ['no entry', ['--set', 'blocked'], 2, /'blocked' is no map entry\nhint: write MAP:KEY=VALUE/],
    ['no network', ['--set', 'blocked:10.0.0.0/99=1'], 2, /is no network/],
    [
      'a value of another type',
      ['--set', 'protocols:6={"packets":"x"}'],
      1,
      /cannot set protocols:6.*counters\.packets takes an integer/,
    ],
    ['no such struct', ['--type', 'nosuch'], 1, /no struct 'nosuch'/],
    ['--write alone', ['--write', 'x.pcap'], 2, /--write needs packets/],
    ['unknown engine', ['--engine', 'fast'], 2, /Allowed choices are jit, interp/],
    ['a directory to write to', ['--pcap', TRAFFIC, '--write', '/'], 1, /cannot write it: it is a directory/],
  ])('%s', async (_what, argv, code, message) => {
    const { exit, stderr, stdout } = await cli(['run', example('xdp_filter'), ...argv]);
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/ at .*\.ts:\d+/);
    expect(exit).toBe(code);
    expect(stdout).toBe('');
  });

  it('shows why a program was rejected and runs nothing', async () => {
    const { exit, stdout } = await cli(['run', example('unchecked'), '--pcap', TRAFFIC]);
    expect(exit).toBe(1);
    expect(stdout).toMatch(/unchecked_packet {2}xdp {2}rejected: EACCES/);
    expect(stdout).not.toMatch(/XDP_\w+ ×/);
  });
});
