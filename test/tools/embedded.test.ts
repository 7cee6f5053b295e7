/**
 * Every tool over its recording, on both engines, with what it prints as goldens (`golden/NAME.txt`; `vitest -u` writes them anew after
 * `examples/tools/record.sh`), and what tools say when they cannot do what they were asked for.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { input, objects, run, TOOLS } from './support.ts';

process.env.TZ = 'UTC';

/** Name of the golden, recording, options. */
const RUNS: readonly (readonly [string, string, string])[] = [
  ['execsnoop', 'commands.strace', 'execsnoop'],
  ['execsnoop-failed-time-uid', 'commands.strace', 'execsnoop -x -T -t -U -q'],
  ['execsnoop-ppid-name', 'commands.strace', 'execsnoop -P 21080 -n s --max-args 1'],
  ['execsnoop-json', 'commands.strace', 'execsnoop --json -u 1000 -l -u'],
  ['opensnoop', 'commands.strace', 'opensnoop'],
  ['opensnoop-flags', 'commands.strace', 'opensnoop -e -T -U -f O_WRONLY -f O_CREAT'],
  ['opensnoop-json', 'commands.strace', 'opensnoop --json -n grep'],
  ['opensnoop-failed', 'files.strace', 'opensnoop -x'],
  ['exitsnoop', 'files.strace', 'exitsnoop -T'],
  ['exitsnoop-json', 'files.strace', 'exitsnoop -x --json'],
  ['syscount', 'files.strace', 'syscount'],
  ['syscount-latency', 'files.strace', 'syscount -L -T 5'],
  ['syscount-errors', 'files.strace', 'syscount -e ESRCH -P'],
  ['syscount-json', 'commands.strace', 'syscount -x --json -i 0.02'],
  ['fsslower', 'files.strace', 'fsslower 1'],
  ['fsslower-json', 'files.strace', 'fsslower 0 --json -n copy'],
  ['fsdist', 'files.strace', 'fsdist -T'],
  ['fsdist-json', 'files.strace', 'fsdist --json -m 1 2'],
  ['sigsnoop', 'signals.data', 'sigsnoop -n -T'],
  ['sigsnoop-json', 'signals.data', 'sigsnoop --json -x'],
  ['sigsnoop-kill', 'files.strace', 'sigsnoop -k'],
  ['tcplife', 'tcp.data', 'tcplife -T'],
  ['tcplife-json', 'tcp.data', 'tcplife --json -6'],
  ['tcplife-port', 'tcp.data', 'tcplife -D 18098'],
  ['tcpconnect', 'tcp.data', 'tcpconnect -T -U'],
  ['tcpconnect-count', 'tcp.data', 'tcpconnect -c'],
  ['tcpconnect-json', 'tcp.data', 'tcpconnect --json -P 18098'],
  ['biolatency', 'block.data', 'biolatency'],
  ['biolatency-intervals', 'block.data', 'biolatency -T -Q 0.01 3'],
  ['biolatency-disks', 'block.data', 'biolatency -D -m'],
  ['biolatency-json', 'block.data', 'biolatency --json -F'],
  ['runqlat', 'sched.data', 'runqlat'],
  ['runqlat-threads', 'sched.data', 'runqlat -P -m'],
  ['runqlat-json', 'sched.data', 'runqlat --json 0.05'],
  ['dnssnoop', 'dns.pcap', 'dnssnoop -T'],
  ['dnssnoop-json', 'dns.pcap', 'dnssnoop --json -n www'],
  ['profile', 'samples.txt', 'profile -D'],
  ['profile-folded', 'samples.txt', 'profile -f -a'],
  ['profile-json', 'samples.txt', 'profile --json -K'],
];

describe.each(['jit', 'interpreter'])('tools over recordings (%s)', (engine) => {
  it.each(RUNS)('%s', async (golden, recording, command) => {
    const { code, stdout, stderr } = await run(`${command} --input ${input(recording)} --engine ${engine}`);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    if (command.includes('--json')) expect(objects(stdout).length).toBeGreaterThan(0);
    await expect(stdout).toMatchFileSnapshot(`golden/${golden}.txt`);
  });

  it('tcpconnect takes several ports', async () => {
    const on = async (list: string) =>
      objects(
        (await run(`tcpconnect --json -P ${list} --input ${input('tcp.data')} --engine ${engine}`)).stdout,
      );
    const [both, first, second] = [await on('18098,18099'), await on('18098'), await on('18099')];
    expect(first.length * second.length).toBeGreaterThan(0);
    expect(both.length).toBe(first.length + second.length);
  });

  it('draws a flame graph', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tsbpf-flame-'));
    const file = join(folder, 'flame.svg');
    try {
      const drawn = await run(`profile --svg ${file} --input ${input('samples.txt')} --engine ${engine}`);
      expect(drawn).toMatchObject({ code: 0 });
      expect(drawn.stderr).toMatch(/^profile: \d+ samples in /);
      const svg = readFileSync(file, 'utf8');
      // Every frame once, as wide as its share.
      expect(svg).toMatch(/<title>parse \(\d+ samples, \d+\.\d\d%\)<\/title>/);
      expect(svg).toMatch(/<title>all \(\d+ samples, 100\.00%\)<\/title>/);
      expect(svg.match(/<title>main /g)).toHaveLength(1);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('says how many stacks had no room', async () => {
    const { stderr } = await run(
      `profile -f --stack-storage-size 16 --input ${input('samples.txt')} --engine ${engine}`,
    );
    expect(stderr).toMatch(
      /^profile: \d+ stacks had no room and are missing: try a larger --stack-storage-size\n$/,
    );
  });

  it('ends after a duration of the recording', async () => {
    const all = await run(`opensnoop --input ${input('commands.strace')} --engine ${engine}`);
    const some = await run(`opensnoop -d 0.02 --input ${input('commands.strace')} --engine ${engine}`);
    expect(some.stdout.length).toBeGreaterThan(100);
    expect(all.stdout.startsWith(some.stdout)).toBe(true);
    expect(some.stdout.length).toBeLessThan(all.stdout.length);
  });
});

describe('the command line of the tools', () => {
  it.each([...TOOLS.keys()])('%s has help with examples, and prints its program', async (name) => {
    const help = await run(`${name} --help`);
    expect(help.code).toBe(0);
    for (const word of [`Usage: ${name}`, '--json', '--kernel', '--duration', 'Examples:', 'A recording:'])
      expect(help.stdout).toContain(word);
    const program = await run(`${name} --ebpf`);
    expect(program).toMatchObject({ code: 0, stderr: '' });
    expect(program.stdout).toMatch(/SEC\("|TRACEPOINT_PROBE\(|int sample\(/);
  });

  it.each([
    ['execsnoop -p', 2, /unknown option '-p'/],
    ['tcplife -4 -6', 2, /'-6, --ipv6' cannot be used with option '-4, --ipv4'/],
    ['opensnoop -p x', 2, /a whole number from 1 on is needed/],
    ['opensnoop -f O_NOPE', 2, /a flag is needed: .*O_WRONLY/],
    ['opensnoop -f toString', 2, /a flag is needed/],
    ['tcpconnect -P 80,x', 2, /a whole number from 1 to 65535 is needed/],
    ['tcplife -D 70000', 2, /a whole number from 1 to 65535 is needed/],
    ['biolatency 0', 2, /a number of seconds above 0/],
    ['fsslower -1', 2, /a number of milliseconds is needed/],
    ['sigsnoop -s NOSUCH', 2, /a signal is needed/],
    ['syscount -e EWHAT', 2, /an errno is needed/],
    ['runqlat --kernel embedded', 2, /needs events: --input FILE, made with: perf record/],
    [`runqlat --kernel host --input ${input('sched.data')}`, 2, /a recording is for the embedded kernel/],
    ['execsnoop --input /no/such/file', 1, /cannot be read: ENOENT/],
    [
      `runqlat --input ${input('tcp.data')}`,
      1,
      /has no events of sched\/sched_switch, .*\nrunqlat: make one with: perf/,
    ],
    [`execsnoop --input ${input('tcp.data')}`, 1, /has no events of syscalls\/sys_enter_execve/],
    [`sigsnoop -k --input ${input('signals.data')}`, 1, /has no events of syscalls\/sys_enter_kill/],
    [`profile --input ${input('commands.strace')}`, 1, /\(strace\) has no samples/],
    [`dnssnoop --input ${input('tcp.data')}`, 1, /has no packets/],
    [
      `fsslower --probe kprobe --input ${input('files.strace')}`,
      1,
      /no functions of this kernel can be probed/,
    ],
    [`execsnoop --input ${fileURLToPath(import.meta.url)}`, 1, /no line is strace's/],
  ])('%s', async (command, code, message) => {
    const outcome = await run(command);
    expect(outcome.stderr).toMatch(message);
    expect(outcome.code).toBe(code);
  });

  it('runs as a program of its own', () => {
    const tool = fileURLToPath(new URL('../../examples/tools/execsnoop.ts', import.meta.url));
    const { status, stdout } = spawnSync(
      process.execPath,
      ['--import', 'tsx', tool, '--json', '--input', input('commands.strace')],
      { encoding: 'utf8', cwd: fileURLToPath(new URL('../..', import.meta.url)) },
    );
    expect(status).toBe(0);
    expect(objects(stdout)[0]).toMatchObject({ comm: 'sh', ret: 0 });
  });
});
