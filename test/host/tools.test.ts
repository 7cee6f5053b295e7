/** The tools on the kernel of the machine: each sees what the test does, and counts as often as it was done. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import {
  closeSync,
  fsyncSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { around, type Json, objects, run, start } from '../tools/support.ts';
import { openHost, skipReason } from './host-support.ts';

const host = await openHost();
const why = typeof host === 'string' ? skipReason('tools on the host', host) : undefined;
if (typeof host !== 'string') host.shutdown();

const folder = mkdtempSync(join(tmpdir(), 'tsbpf-tools-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Bucket {
  readonly low: number;
  readonly count: number;
}

const total = (event: Json | undefined): number =>
  ((event?.histogram as readonly Bucket[] | undefined) ?? []).reduce((sum, { count }) => sum + count, 0);

describe.skipIf(why !== undefined)('tools on the host', () => {
  it('execsnoop sees an execution with its arguments, and one that fails', async () => {
    const { events } = await around(
      `execsnoop -x -P ${process.pid}`,
      () => {
        spawnSync('/bin/echo', ['hello', 'a b']);
        spawnSync('/no/such/program');
      },
      (all) => all.length >= 2,
    );
    expect(events).toContainEqual(
      expect.objectContaining({
        comm: 'echo',
        ppid: process.pid,
        ret: 0,
        args: ['/bin/echo', 'hello', 'a b'],
      }),
    );
    expect(events).toContainEqual(expect.objectContaining({ ret: -2, args: ['/no/such/program'] }));
  });

  it('opensnoop sees files that are opened, and not', async () => {
    const file = join(folder, 'opened');
    const { events } = await around(
      `opensnoop -p ${process.pid}`,
      () => {
        closeSync(openSync(file, 'w'));
        expect(() => openSync(`${file}-not`, 'r')).toThrow(/ENOENT/);
      },
      (all) => all.some(({ path }) => path === `${file}-not`),
    );
    const [made] = events.filter(({ path }) => path === file);
    expect(made).toMatchObject({
      errno: 0,
      flags: expect.arrayContaining(['O_WRONLY', 'O_CREAT', 'O_TRUNC']),
    });
    expect(events.find(({ path }) => path === `${file}-not`)).toMatchObject({ fd: null, errno: 2 });
  });

  it('exitsnoop sees how processes end', async () => {
    const children: (number | undefined)[] = [];
    const { events } = await around(
      'exitsnoop',
      () => {
        children.push(spawnSync('/bin/sh', ['-c', 'sleep 0.1; exit 7']).pid);
        children.push(spawnSync('/bin/sh', ['-c', 'kill -TERM $$']).pid);
      },
      (all) => all.some(({ pid }) => pid === children[1]),
    );
    const [failed, killed] = children.map((child) => events.find(({ pid }) => pid === child));
    expect(failed).toMatchObject({ comm: 'sh', ppid: process.pid, status: 7, signal: null });
    expect(failed?.age as number).toBeGreaterThan(0.1);
    expect(killed).toMatchObject({ status: null, signal: 15 });
  });

  it('syscount counts what was called, and what failed', async () => {
    const work = (): void => {
      const back = process.cwd();
      for (let i = 0; i < 20; i++) process.chdir(folder);
      for (let i = 0; i < 5; i++) expect(() => process.chdir('/no/such/place')).toThrow(/ENOENT/);
      process.chdir(back);
    };
    const all = await around(`syscount -L -T 500 -p ${process.pid}`, work);
    expect(all.events.find(({ syscall }) => syscall === 'chdir')).toMatchObject({ count: 26, nr: 80 });
    expect(all.events.find(({ syscall }) => syscall === 'chdir')?.nanoseconds as number).toBeGreaterThan(
      1000,
    );
    const failed = await around(`syscount -x -e ENOENT -T 500 -p ${process.pid}`, work);
    expect(failed.events.find(({ syscall }) => syscall === 'chdir')).toMatchObject({ count: 5 });
  });

  it('sigsnoop sees signals, and what kill(2) is asked for', async () => {
    let child: number | undefined;
    const act = (): void => {
      child = spawnSync('/bin/sh', [
        '-c',
        'trap : USR1; kill -USR1 $$; kill -0 $$; kill -USR2 1073741823',
      ]).pid;
    };
    const signals = await around('sigsnoop -s USR1', act, (all) => all.some(({ pid }) => pid === child));
    expect(signals.events.filter(({ pid }) => pid === child)).toMatchObject([
      { comm: 'sh', signal: 10, name: 'SIGUSR1', target: child, targetComm: 'sh', result: 'delivered' },
    ]);
    const calls = await around(
      'sigsnoop -k',
      act,
      (all) => all.filter(({ pid }) => pid === child).length >= 3,
    );
    expect(calls.events.filter(({ pid }) => pid === child)).toMatchObject([
      { signal: 10, target: child, errno: 0 },
      { signal: 0, target: child, errno: 0 },
      { signal: 12, target: 1073741823, errno: 3 },
    ]);
  });

  it('tcpconnect and tcplife see a connection, with its bytes', async () => {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.resume();
      socket.on('end', () => socket.end('answer'));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const connect = async (): Promise<void> => {
      const client = createConnection({ port, host: '127.0.0.1' });
      client.resume();
      client.end(Buffer.alloc(20_000));
      await once(client, 'close');
    };
    try {
      const begun = await around(`tcpconnect -P ${port}`, connect, (all) => all.length >= 1);
      expect(begun.events).toMatchObject([{ pid: process.pid, destination: '127.0.0.1', port }]);
      const ended = await around(`tcplife -D ${port}`, connect, (all) => all.length >= 1);
      expect(ended.events).toMatchObject([{ remote: { address: '127.0.0.1', port }, pid: process.pid }]);
      // TCP counts its SYN and FIN as a byte each.
      const [{ sent, received } = {}] = ended.events as { sent?: number; received?: number }[];
      expect([20_001, 20_002]).toContain(sent);
      expect([6, 7]).toContain(received);
    } finally {
      server.close();
    }
  });

  it('biolatency counts requests to a block device', async ({ skip }) => {
    const file = join(folder, 'disk');
    writeFileSync(file, Buffer.alloc(4 << 20));
    const attached = spawnSync('losetup', ['-f', '--show', file], { encoding: 'utf8' });
    if (attached.status !== 0) skip(`no loop device: ${attached.stderr}`);
    const device = attached.stdout.trim();
    try {
      const read = (): void => {
        execFileSync('dd', [`if=${device}`, 'of=/dev/null', 'bs=4k', 'count=100', 'iflag=direct'], {
          stdio: 'ignore',
        });
      };
      const { events } = await around(`biolatency -F -k ${device.split('/').at(-1)}`, read);
      const reads = events.filter(({ flags }) => String(flags).startsWith('R'));
      expect(reads.reduce((sum, event) => sum + total(event), 0)).toBeGreaterThanOrEqual(100);
    } finally {
      execFileSync('losetup', ['-d', device]);
    }
  });

  it('runqlat counts how often a thread had to wait for its turn', async () => {
    const child = spawn('/bin/sh', ['-c', 'while read x; do echo $x; done'], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    try {
      const { events } = await around(`runqlat -P -t ${child.pid}`, async () => {
        for (let i = 0; i < 10; i++) {
          child.stdin.write(`${i}\n`);
          await once(child.stdout, 'data');
        }
      });
      expect(events).toMatchObject([{ tid: child.pid, comm: 'sh', unit: 'usecs' }]);
      expect(total(events[0])).toBeGreaterThanOrEqual(10);
    } finally {
      child.stdin.end();
      await once(child, 'exit');
    }
  });

  it('fsslower and fsdist see operations on a file, with its name and file system', async () => {
    const file = join(folder, 'file-that-is-written');
    const type = execFileSync('stat', ['-f', '-c', '%T', folder], { encoding: 'utf8' }).trim();
    const work = (): void => {
      const fd = openSync(file, 'w');
      for (let i = 0; i < 7; i++) writeSync(fd, Buffer.alloc(1000));
      fsyncSync(fd);
      closeSync(fd);
      expect(readFileSync(file)).toHaveLength(7000);
    };
    const slow = await around(`fsslower 0 -p ${process.pid} -n file-that`, work, (all) =>
      all.some(({ operation }) => operation === 'read'),
    );
    const of = (operation: string): Json[] => slow.events.filter((event) => event.operation === operation);
    expect(of('write')).toHaveLength(7);
    expect(of('write')[0]).toMatchObject({ bytes: 1000, name: 'file-that-is-written' });
    expect(type).toContain(String(of('write')[0]?.fs).replace('ext4', 'ext'));
    expect(of('sync')).toHaveLength(1);
    expect(of('open').length).toBeGreaterThanOrEqual(2);
    const { events } = await around(`fsdist -p ${process.pid}`, work);
    const writes = events.find(({ operation }) => operation === 'write');
    expect(total(writes)).toBeGreaterThanOrEqual(7);
  });

  it('dnssnoop sees a question and its answer', async () => {
    const server = createSocket('udp4');
    server.on('message', (message, peer) => {
      const answer = Buffer.concat([message, Buffer.from('c00c000100010000003c0004c0000207', 'hex')]);
      answer.writeUInt16BE(0x8180, 2);
      answer.writeUInt16BE(1, 6);
      server.send(answer, peer.port, peer.address);
    });
    server.bind(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address();
    const client = createSocket('udp4');
    try {
      const { events } = await around(
        `dnssnoop -i lo -p ${port}`,
        async () => {
          const head = Buffer.from('123401000001000000000000', 'hex');
          const question = Buffer.from('\x04test\x07example\x00\x00\x01\x00\x01', 'latin1');
          client.send(Buffer.concat([head, question]), port, '127.0.0.1');
          await once(client, 'message');
        },
        (all) => all.length >= 2,
      );
      expect(events).toMatchObject([
        { id: 0x1234, response: false, name: 'test.example', type: 'A' },
        { id: 0x1234, response: true, rcode: 'NOERROR', answers: ['192.0.2.7'], ms: expect.any(Number) },
      ]);
    } finally {
      client.close();
      server.close();
    }
  });

  it('profile samples a process, with names of the kernel and of user space', async () => {
    const child = spawn('dd', ['if=/dev/zero', 'of=/dev/null', 'bs=64k'], { stdio: 'ignore' });
    const svg = join(folder, 'flame.svg');
    try {
      const outcome = await run(`profile -F 199 -p ${child.pid} --kernel host --json --svg ${svg} 2`);
      expect(outcome.code).toBe(0);
      const stacks = objects(outcome.stdout);
      for (const stack of stacks) expect(stack).toMatchObject({ pid: child.pid, comm: 'dd' });
      expect(stacks.reduce((sum, { count }) => sum + Number(count), 0)).toBeGreaterThan(20);
      const names = stacks.flatMap(({ kernel, user }) => [...(kernel as string[]), ...(user as string[])]);
      expect(names).toEqual(expect.arrayContaining(['vfs_read', 'do_syscall_64']));
      // The C library has several names for it.
      expect(names.some((name) => /^(?:__|__libc_)?read$/.test(name))).toBe(true);
      expect(readFileSync(svg, 'utf8')).toMatch(/<title>vfs_read /);
    } finally {
      child.kill();
      await once(child, 'exit');
    }
  });

  it('opensnoop counts what was lost when there was no room', async () => {
    const file = join(folder, 'opened-often');
    const times = 5000;
    let attached = (): void => {};
    const ready = new Promise<void>((resolve) => {
      attached = resolve;
    });
    const running = start(`opensnoop -p ${process.pid} --kernel host --json`, attached);
    await Promise.race([ready, running.done]);
    // Nobody reads meanwhile: the buffer of one processor is full after some hundred. On that one everything happens.
    const before = /: ([0-9a-f,]+)$/m.exec(
      spawnSync('taskset', ['-p', `${process.pid}`], { encoding: 'utf8' }).stdout,
    );
    spawnSync('taskset', ['-p', '1', `${process.pid}`]);
    for (let i = 0; i < times; i++) closeSync(openSync(file, 'w'));
    // Linux tells of what was lost with the next event of each processor that finds room.
    const sawLast = (): boolean => objects(running.stdout()).some(({ path }) => path === `${file}-last`);
    for (let left = 200; left > 0 && !sawLast(); left--) {
      closeSync(openSync(`${file}-last`, 'w'));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    if (before !== null) spawnSync('taskset', ['-p', before[1]!, `${process.pid}`]);
    running.interrupt();
    const { code, stdout, stderr } = await running.done;
    expect(code).toBe(0);
    const events = objects(stdout);
    const seen = events.filter(({ path }) => path === file).length;
    const { lost } = events.at(-1) as { lost: number };
    expect(stderr).toBe(`opensnoop: ${lost} events were lost: there was no room for them\n`);
    // All were seen or counted; what else this process opened may be among the lost.
    expect(seen).toBeGreaterThan(100);
    expect(lost).toBeGreaterThan(100);
    expect(seen + lost).toBeGreaterThanOrEqual(times);
    expect(seen + lost).toBeLessThan(times + 200);
  });

  it('says what the kernel lacks', async ({ skip }) => {
    if (typeof host !== 'string' && host.files?.readTracing('kprobe_events')) skip('this kernel has kprobes');
    expect(await run('fsslower --kernel host --probe kprobe')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /no functions of this kernel can be probed\nfsslower: try --probe syscall/,
      ),
    });
    expect(await run('biolatency --kernel host -k no-such-disk')).toMatchObject({
      code: 1,
      stderr: "biolatency: there is no block device 'no-such-disk'\n",
    });
  });

  it('ends at Ctrl-C with its summary, as a program of its own', async () => {
    const tool = fileURLToPath(new URL('../../examples/tools/syscount.ts', import.meta.url));
    const child = spawn(process.execPath, ['--import', 'tsx', tool], {
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (more: string) => {
      text += more;
      if (text.startsWith('Tracing') && !child.killed) setTimeout(() => child.kill('SIGINT'), 300);
    });
    const [code] = (await once(child, 'exit')) as [number];
    expect(code).toBe(0);
    expect(text).toMatch(/SYSCALL +COUNT\n\S+ +\d+\n/);
  });
});
