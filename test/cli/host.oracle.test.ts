/** The command line on the kernel of this machine: programs see a process group or packets of the test's own. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { encodeProgram, ProgramBuilder, R0, R1 } from '../../src/asm/index.ts';
import { restricted } from '../../src/cli/session/restrict.ts';
import type { Kernel } from '../../src/contracts/kernel.ts';
import { BpfObject } from '../../src/libbpf/index.ts';
import { openKernel } from '../../src/open-kernel.ts';
import type { VerifierError } from '../../src/util/index.ts';
import { eventually, ipFrame, ownNetwork, sendFrames, skipReason, vethPair } from '../host/host-support.ts';
import { BIN, COMMANDS, cli, example, TRAFFIC, temporary } from './cli.ts';

const opened = await openKernel({ kernel: 'auto' });
const hasBpftool = spawnSync('bpftool', ['version']).status === 0;
const lines = (text: string) => text.split('\n').filter(Boolean);

if (opened.chosen !== 'host') {
  describe.skip(`host kernel: ${skipReason('the command line on the host kernel', opened.why)}`, () =>
    it('cannot be reached here', () => {}));
} else {
  ownNetwork();
  vethPair('c0', 'c1');
  afterAll(() => opened.kernel.shutdown());
  describe('run --kernel host', running);
  describe('restricted programs', () => restricting(opened.kernel));
  describe('without privileges', unprivileged);
  describe('signals', signalled);
  describe('verify --kernel host', verifying);
  describe('diff', differing);
  describe('prog and map --kernel host', () => tools(opened.kernel));
}

function running(): void {
  // Linux gives each line of trace_pipe to one reader: another suite may have taken some.
  it('prints what a command and its children execute, and nothing of others', { retry: 5 }, async () => {
    const { exit, stdout, stderr } = await cli([
      'run',
      example('hello'),
      '--kernel',
      'host',
      '--',
      '/bin/sh',
      '-c',
      '/bin/true; (/bin/echo >/dev/null)',
    ]);
    expect(stderr).toBe('');
    expect(exit).toBe(0);
    const said = lines(stdout).filter((line) => line.includes('Hello'));
    expect(said.map((line) => line.replace(/^.*runs /, ''))).toEqual(['/bin/sh', '/bin/true', '/bin/echo']);
  });

  it.each(['exec_ringbuf', 'exec_perf'])('%s delivers events, decoded', async (name) => {
    const { exit, stdout } = await cli([
      'run',
      example(name),
      '--kernel',
      'host',
      '--json',
      '--',
      '/bin/sh',
      '-c',
      '/bin/true',
    ]);
    expect(exit).toBe(0);
    const document = JSON.parse(stdout);
    const names = document.output.map((one: { data: { filename: string } }) => one.data.filename);
    // A perf buffer has a ring for each CPU, and no order among them.
    expect(name === 'exec_perf' ? names.sort() : names).toEqual(['/bin/sh', '/bin/true']);
    expect(document.records).toEqual([{ map: 'events', delivered: 2, lost: 0 }]);
  });

  it('counts calls of the command only', async () => {
    const { stdout } = await cli([
      'run',
      example('syscall_tail'),
      '--kernel',
      'host',
      '--json',
      '--',
      '/bin/true',
    ]);
    const { maps } = JSON.parse(stdout);
    const counters = maps.find(({ name }: { name: string }) => name === 'counters').entries;
    expect(counters[0].value).toBe(1);
  });

  it('does not trace the whole machine unless told to', async () => {
    const { exit, stderr } = await cli(['run', example('hello'), '--kernel', 'host']);
    expect(exit).toBe(2);
    expect(stderr).toMatch(/would see all processes(.|\n)*--pid N, or --all/);
  });

  it('sees one process with --pid, until its time is over', async () => {
    const { exit, stdout } = await cli([
      'run',
      example('count_by_user'),
      '--kernel',
      'host',
      '--pid',
      String(process.pid),
      '--duration',
      '1',
    ]);
    expect(exit).toBe(0);
    expect(stdout).toMatch(/calls_by_uid {2}hash, 1 entry/);
    const nobody = await cli(['run', example('hello'), '--kernel', 'host', '--pid', '4194305']);
    expect(nobody.stderr).toMatch(/there is no process 4194305/);
  });

  it('filters real packets until an interrupt', async () => {
    let stop = () => {};
    const run = cli(
      [
        'run',
        example('xdp_filter'),
        '--kernel',
        'host',
        '--interface',
        'c0',
        '--set',
        'blocked:192.0.2.0/24=1',
      ],
      {
        interrupt: (fire) => {
          stop = fire;
        },
      },
    );
    eventually(() => expect(stop).not.toBe(undefined));
    await new Promise((resolve) => setTimeout(resolve, 300));
    sendFrames('c1', [ipFrame(6, [10, 0, 0, 1]), ipFrame(6, [192, 0, 2, 7])]);
    await new Promise((resolve) => setTimeout(resolve, 100));
    stop();
    const { exit, stdout } = await run;
    expect(exit).toBe(0);
    expect(stdout).toMatch(/│ {3}6 │ {7}2 │ +\d+ │ {7}1 │/);
    expect(stdout).toMatch(/XDP on interface c0/);
    expect(execFileSync('ip', ['-d', 'link', 'show', 'c0'], { encoding: 'utf8' })).not.toMatch(/prog\/xdp/);
  });

  it('gives packets of a file to programs by test runs, with the results of the embedded kernel', async () => {
    const results = async (kernel: string) => {
      const { stdout } = await cli([
        'run',
        example('xdp_filter'),
        '--kernel',
        kernel,
        '--pcap',
        TRAFFIC,
        '--json',
      ]);
      const { packets, maps } = JSON.parse(stdout);
      return { packets, maps };
    };
    expect(await results('host')).toEqual(await results('embedded'));
  });

  it('refuses what only an embedded kernel can', async () => {
    const replay = await cli(['run', example('hello'), '--kernel', 'host', '--replay', COMMANDS]);
    expect(replay.exit).toBe(2);
    const engine = await cli(['run', example('hello'), '--kernel', 'host', '--all', '--engine', 'interp']);
    expect(engine.stderr).toMatch(/the engine of the host kernel cannot be chosen/);
  });
}

function restricting(kernel: Kernel): void {
  it.each([false, true])('programs see one process, in its pid namespace: %s', (inNamespace) => {
    const { dev, ino } = statSync('/proc/self/ns/pid', { bigint: true });
    const count = (pid: number): number => {
      const filter = { kind: 'process', pid, ...(inNamespace ? { namespace: { dev, ino } } : {}) } as const;
      const object = BpfObject.open(readFileSync(example('count_by_user'))).load(restricted(kernel, filter));
      try {
        object.attach();
        statSync('/');
        return [...object.findMap('calls_by_uid')].length;
      } finally {
        object.close();
      }
    };
    expect(count(process.pid)).toBe(1);
    expect(count(process.pid + 1_000_000)).toBe(0);
  });

  it('a refusal names the instructions of the object', () => {
    const reject = (on: Kernel) => {
      const code = new ProgramBuilder().mov64(R0, 1).stx('dw', R1, R0, 0).exit();
      try {
        on.progLoad({ progType: 5, insns: encodeProgram(code.build()), license: 'GPL' });
      } catch (error) {
        return { insn: (error as VerifierError).insn, message: (error as VerifierError).message };
      }
      return undefined;
    };
    expect(reject(restricted(kernel, { kind: 'process', pid: 1 }))).toEqual(reject(kernel));
  });
}

function unprivileged(): void {
  const run = (...argv: string[]) =>
    spawnSync('setpriv', ['--reuid', '65534', '--clear-groups', process.execPath, BIN, ...argv], {
      encoding: 'utf8',
    });

  it.skipIf(!existsSync(BIN))('says what is missing, and auto goes on', () => {
    const host = run('verify', example('hello'), '--kernel', 'host');
    expect(host.stderr).toMatch(/may not use bpf\(2\)(.|\n)*hint: run as root/);
    expect(host.status).toBe(1);
    const auto = run('verify', example('hello'), '--kernel', 'auto');
    expect(auto.stderr).toMatch(/the embedded kernel was taken/);
    expect(auto.status).toBe(0);
  });
}

function signalled(): void {
  it.skipIf(!existsSync(BIN))('a session that is asked to end leaves nothing', async () => {
    const child = spawn(process.execPath, [
      BIN,
      'run',
      example('exec_ringbuf'),
      '--kernel',
      'host',
      '--',
      '/bin/sh',
      '-c',
      '/bin/true; sleep 60',
    ]);
    let stdout = '';
    const ended = new Promise((resolve) => child.once('exit', resolve));
    await new Promise<void>((resolve) => {
      child.stdout.on('data', (text) => {
        stdout += text;
        if (/sleep/.test(stdout)) resolve();
      });
    });
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
    expect(stdout).toMatch(/records from events/);
    const mount = /^\S+ (\S+) cgroup2 /m.exec(readFileSync('/proc/mounts', 'utf8'))![1];
    expect(readdirSync(mount).filter((name) => name === `tsbpf-${child.pid}`)).toEqual([]);
  });
}

function verifying(): void {
  it('says the same as the embedded kernel', async () => {
    const verdicts = async (kernel: string) => {
      const { exit, stdout } = await cli(['verify', example('unchecked'), '--kernel', kernel, '--json']);
      return { exit, records: JSON.parse(stdout) };
    };
    expect(await verdicts('host')).toEqual(await verdicts('embedded'));
  });

  it('auto says which kernel it took', async () => {
    const { stderr } = await cli(['verify', example('hello'), '--kernel', 'auto']);
    expect(stderr).toMatch(/note: the host kernel was taken: /);
  });
}

function differing(): void {
  it.each(['hello', 'exec_ringbuf', 'xdp_filter', 'socket_sizes', 'unchecked', 'syscall_tail'])(
    '%s is the same on both kernels',
    async (name) => {
      const { exit, stdout } = await cli(['diff', example(name), '--pcap', TRAFFIC]);
      expect(stdout).toMatch(/no difference/);
      expect(exit).toBe(0);
    },
  );

  it('says what differs: here the time of day', async () => {
    const object = temporary('clock.s', 'call bpf_ktime_get_ns\nexit\n');
    const file = temporary('clock.o');
    expect((await cli(['asm', object, '-o', file, '--section', 'xdp'])).exit).toBe(0);
    const { exit, stdout } = await cli(['diff', file, '--json']);
    expect(exit).toBe(1);
    const { programs, differing: count } = JSON.parse(stdout);
    expect(count).toBe(1);
    expect(programs[0]).toMatchObject({ runs: 1, equalRuns: 0, differences: [{ what: 'retval', input: 1 }] });
  });
}

function tools(kernel: Kernel): void {
  const object = BpfObject.open(readFileSync(example('xdp_filter')), { name: 'xdp_filter' }).load(kernel);
  const program = object.findProgram('xdp_filter');
  const map = object.findMap('protocols');
  const id = (fd: number) => {
    const info = kernel.objGetInfoByFd({ bpfFd: fd });
    return 'id' in info ? info.id : 0;
  };
  const host = async (...argv: string[]) => {
    const { exit, stdout, stderr } = await cli([...argv, '--kernel', 'host']);
    expect(stderr).toBe('');
    expect(exit).toBe(0);
    return stdout;
  };
  afterAll(() => object.close());

  it('show programs by id, name and tag, and all of them', async () => {
    const { tag } = program.info();
    const wanted = { id: id(program.fd), type: 'xdp', name: 'xdp_filter', tag, jited: true };
    for (const by of [['id', String(wanted.id)], ['tag', tag], ['name', 'xdp_filter'], []])
      expect(JSON.parse(await host('prog', 'show', ...by, '-j'))).toContainEqual(
        expect.objectContaining(wanted),
      );
    expect(await host('prog', 'show', 'id', String(wanted.id))).toMatch(
      /^\d+: xdp {2}name xdp_filter .*\n\tloaded_at 20/,
    );
    const dump = ['prog', 'dump', 'xlated', 'id', String(wanted.id)];
    expect(await host(...dump)).toMatch(/^int xdp_filter\(struct xdp_md \* ctx\):\n; .*\n {3}0: \(/);
    if (hasBpftool) {
      const bpftool = (...args: string[]) => execFileSync('bpftool', args, { encoding: 'utf8' });
      for (const option of [[], ['opcodes'], ['linum']]) {
        expect(await host(...dump, ...option)).toBe(bpftool(...dump, ...option));
        expect(JSON.parse(await host(...dump, ...option, '-j'))).toEqual(
          JSON.parse(bpftool('-j', ...dump, ...option)),
        );
      }
    }
    const jited = await host('prog', 'dump', 'jited', 'id', String(wanted.id));
    if (spawnSync('objdump', ['--version']).status !== 0) expect(jited).toMatch(/^0000000\t/);
    else
      expect(jited).toMatch(
        /^int xdp_filter\(struct xdp_md \* ctx\):\nbpf_prog_\w+_xdp_filter: .*\n; .*\n {3}0:\t/,
      );
    expect(JSON.parse(await host('prog', 'run', 'id', String(wanted.id), '-j')).retval).toBe(2);
  });

  it('dump calls between functions of compiled programs as bpftool does', async (context) => {
    if (!hasBpftool) context.skip('there is no bpftool');
    const steps = BpfObject.open(readFileSync(new URL('../debug/objects/steps.bpf.o', import.meta.url)), {
      name: 'steps',
    }).load(kernel);
    try {
      const dump = ['prog', 'dump', 'xlated', 'id', String(id(steps.findProgram('steps').fd))];
      const bpftool = (...args: string[]) => execFileSync('bpftool', args, { encoding: 'utf8' });
      expect(await host(...dump)).toMatch(/call pc\+\d+#bpf_prog_\w+_classify/);
      for (const option of [[], ['opcodes'], ['linum']])
        expect(await host(...dump, ...option)).toBe(bpftool(...dump, ...option));
      expect(JSON.parse(await host(...dump, '-j'))).toEqual(JSON.parse(bpftool('-j', ...dump)));
    } finally {
      steps.close();
    }
  });

  it('show and dump maps, typed', async () => {
    map.set(7, { packets: 3n, bytes: 4n, dropped: 5n });
    const by = ['id', String(id(map.fd))];
    expect(JSON.parse(await host('map', 'show', ...by, '-j'))).toMatchObject(
      [{ name: 'protocols', type: 'percpu_array' }].map(({ name }) => ({ name })),
    );
    const entries = JSON.parse(await host('map', 'dump', ...by, '-j'));
    expect(entries[7].formatted.key).toBe(7);
    expect(JSON.stringify(entries[7].formatted)).toContain('"packets":3');
  });

  it('gen object: linked as bpftool links, loaded by both kernels', async (context) => {
    if (!hasBpftool) context.skip('there is no bpftool');
    const [ours, theirs] = [temporary('ours.o'), temporary('theirs.o')];
    const inputs = [example('xdp_filter'), example('socket_sizes'), example('exec_ringbuf')];
    expect((await cli(['gen', 'object', ours, ...inputs])).exit).toBe(0);
    execFileSync('bpftool', ['gen', 'object', theirs, ...inputs]);
    const loaded = async (file: string, choice: string) => {
      const { exit, stdout } = await cli(['prog', 'show', file, '-j', '--kernel', choice]);
      expect(exit).toBe(0);
      return (JSON.parse(stdout) as Record<string, unknown>[]).map(
        ({ name, type, tag, bytes_xlated, map_ids }) => [
          ...[name, type, tag, bytes_xlated],
          (map_ids as unknown[]).length,
        ],
      );
    };
    for (const choice of ['host', 'embedded'])
      expect(await loaded(ours, choice)).toEqual(await loaded(theirs, choice));
    const same = await cli(['diff', ours, '--pcap', TRAFFIC]);
    expect(same).toMatchObject({ exit: 0 });
  });

  it('say what there is not', async () => {
    expect((await cli(['prog', 'show', 'name', 'no_such', '--kernel', 'host'])).stderr).toMatch(
      /no program has name no_such/,
    );
    expect((await cli(['map', 'dump', 'id', '4000000000', '--kernel', 'host'])).exit).toBe(1);
    expect((await cli(['prog', 'show', 'bogus', 'x', '--kernel', 'host'])).exit).toBe(2);
    expect((await cli(['prog', 'show'])).stderr).toMatch(/the embedded kernel holds no programs/);
    expect(
      (await cli(['map', 'dump', 'id', '1', '--pcap', join(temporary('x'), 'y'), '--kernel', 'host'])).exit,
    ).toBe(2);
  });
}
