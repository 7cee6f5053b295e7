/** Programs of network places on the host kernel: in a network namespace and a cgroup of the test's own. */
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, rmdirSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import type { HostKernel } from '../../src/host/index.ts';
import { mountPoint } from '../../src/host/tracefs.ts';
import type { AttachOptions } from '../../src/libbpf/index.ts';
import { openObject, Watch, withObject } from './attach-support.ts';
import { ip, ipFrame, openHost, ownNetwork, sendFrames, skipReason, vethPair } from './host-support.ts';

const python = spawnSync('python3', ['--version']).status === 0;
const host = python ? await openHost() : 'python3, which sends the packets, is missing';
if (typeof host === 'string') {
  describe.skip(`host kernel: ${skipReason('network places on the host kernel', host)}`, () =>
    it('cannot be reached here', () => {}));
} else {
  ownNetwork();
  ip('link', 'set', 'lo', 'up');
  vethPair('n0', 'n1');
  ip('address', 'add', '10.99.0.1/24', 'dev', 'n0');
  ip('neighbour', 'add', '10.99.0.2', 'lladdr', '02:00:00:00:00:02', 'dev', 'n0');
  afterAll(() => host.shutdown());
  interfaces(host);
  cgroups(host);
  namespaces(host);
  sockmaps(host);
}

/** Attaches one program, does something that it sees, detaches, does it again: the counts. */
async function counts(
  kernel: HostKernel,
  name: string,
  options: AttachOptions,
  action: () => void,
): Promise<[attached: number, detached: number]> {
  let result: [number, number] = [0, 0];
  await withObject(kernel, openObject('network', name), (object) => {
    const watch = new Watch(object);
    const link = object.findProgram(name).attach(options);
    action();
    const { count } = watch;
    link.destroy();
    action();
    result = [count, watch.count - count];
  });
  return result;
}

function older(kernel: HostKernel, major: number, minor: number): boolean {
  const [a = 0, b = 0] = kernel.features().release.split('.').map(Number);
  return a < major || (a === major && b < minor);
}

/** Sends packets from another process, a few at a time. */
function sendMany(device: string, count: number): Promise<void> {
  const script = `
import socket, sys, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((sys.argv[1], 0))
frame = bytes.fromhex(sys.argv[2])
for i in range(int(sys.argv[3])):
    s.send(frame)
    if i % 10 == 0: time.sleep(0.001)
`;
  const frame = Buffer.from(ipFrame(17, [10, 99, 0, 9])).toString('hex');
  return new Promise((resolve, reject) => {
    execFile('python3', ['-c', script, device, frame, String(count)], (error) =>
      error === null ? resolve() : reject(error),
    );
  });
}

const frames = (count: number) => Array.from({ length: count }, () => ipFrame(17, [10, 99, 0, 9]));

function interfaces(kernel: HostKernel): void {
  // n0 sends, n1 receives; the interfaces may have packets of their own to send.
  const send = () => sendFrames('n0', frames(5));
  const expectFive = ([attached, detached]: [number, number]) => {
    expect(attached).toBeGreaterThanOrEqual(5);
    expect(detached).toBe(0);
  };

  it('tcx/ingress and tcx/egress', async (context) => {
    if (older(kernel, 6, 6)) context.skip('tcx needs Linux 6.6');
    expectFive(await counts(kernel, 'tcx_in', { interface: 'n1' }, send));
    expectFive(await counts(kernel, 'tcx_out', { interface: 'n0' }, send));
  });

  it('tcx: a program before another, by the revision that it knows', async (context) => {
    if (older(kernel, 6, 6)) context.skip('tcx needs Linux 6.6');
    const BEFORE = 8;
    await withObject(kernel, openObject('network', 'tcx_in'), (object) => {
      const program = object.findProgram('tcx_in');
      const first = program.attach({ interface: 'n1' });
      // The same program does not go twice.
      expect(() => program.attach({ interface: 'n1', flags: BEFORE })).toThrow(
        expect.objectContaining({ code: 'EEXIST' }),
      );
      expect(() => program.attach({ interface: 'n1', expectedRevision: 77n })).toThrow(
        expect.objectContaining({ code: 'ESTALE' }),
      );
      first.destroy();
    });
  });

  it('a program that is replaced while packets go loses none', async (context) => {
    if (older(kernel, 6, 6)) context.skip('tcx needs Linux 6.6');
    const PACKETS = 3000;
    await withObject(kernel, openObject('network', 'tcx_out'), async (one) => {
      await withObject(kernel, openObject('network', 'tcx_out'), async (two) => {
        const watches = [new Watch(one), new Watch(two)];
        const programs = [one, two].map((object) => object.findProgram('tcx_out'));
        const link = programs[0]!.attach({ interface: 'n0' });
        let sending = true;
        const sender = sendMany('n0', PACKETS).finally(() => {
          sending = false;
        });
        for (let turn = 1; sending; turn++) {
          link.update(programs[turn % 2]!, { expect: programs[(turn + 1) % 2]! });
          await new Promise((done) => setTimeout(done, 1));
        }
        await sender;
        link.destroy();
        const counts = watches.map(({ count }) => count);
        for (const count of counts) expect(count).toBeGreaterThan(0);
        expect(counts[0]! + counts[1]!).toBeGreaterThanOrEqual(PACKETS);
        // Packets of the interface's own.
        expect(counts[0]! + counts[1]!).toBeLessThan(PACKETS + 20);
      });
    });
  });

  it('XDP with a mode', async () => {
    expectFive(await counts(kernel, 'xdp_pass', { interface: 'n1', xdpMode: 'skb' }, send));
  });

  it('the older tc: its qdisc comes and goes with it', async () => {
    const qdiscs = () => execFileSync('tc', ['qdisc', 'show', 'dev', 'n1'], { encoding: 'utf8' });
    await withObject(kernel, openObject('network', 'classify'), (object) => {
      const watch = new Watch(object);
      const link = object.findProgram('classify').attachTc({ interface: 'n1', direction: 'ingress' });
      expect(qdiscs()).toContain('clsact');
      const ifindex = kernel.ifNameToIndex('n1')!;
      expect(kernel.tc.query({ ifindex, direction: 'ingress' })).toMatchObject([
        { progId: object.findProgram('classify').info().id },
      ]);
      expect(() => link.fd).toThrow(expect.objectContaining({ code: 'EOPNOTSUPP' }));
      send();
      const { count } = watch;
      expect(count).toBeGreaterThanOrEqual(5);
      link.destroy();
      send();
      expect(watch.count).toBe(count);
      expect(qdiscs()).not.toContain('clsact');
    });
  });

  it('the whole object: what the options have a place for', async (context) => {
    if (older(kernel, 6, 6)) context.skip('tcx needs Linux 6.6');
    await withObject(
      kernel,
      openObject('network', 'tcx_in', 'xdp_pass', 'look_up', 'cgroup_out'),
      (object) => {
        const links = object.attach({ interface: 'n1' });
        expect(links.map(({ target }) => target)).toEqual(['tcx on interface n1', 'XDP on interface n1']);
      },
    );
  });

  it('netfilter: a hook of the namespace', async (context) => {
    if (older(kernel, 6, 4)) context.skip('netfilter links need Linux 6.4');
    await withObject(kernel, openObject('network', 'hooked'), (object) => {
      const program = object.findProgram('hooked');
      expect(() => program.attach()).toThrow(expect.objectContaining({ code: 'EINVAL' }));
      // Local packets of IPv4.
      const link = program.attach({ netfilter: { pf: 2, hooknum: 3, priority: -128 } });
      const watch = new Watch(object);
      sendUdp('10.99.0.2');
      expect(watch.count).toBe(1);
      link.destroy();
    });
  });

  it('no interface, no such interface', async () => {
    await withObject(kernel, openObject('network', 'tcx_in'), (object) => {
      const program = object.findProgram('tcx_in');
      expect(() => program.attach()).toThrow(expect.objectContaining({ code: 'EINVAL' }));
      expect(() => program.attach({ interface: 'n9' })).toThrow(expect.objectContaining({ code: 'ENODEV' }));
    });
  });
}

const SEND = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], 4000))
try: s.send(b"x")
except ConnectionRefusedError: pass
`;

/** One datagram, from a process that first goes into a cgroup. */
function sendUdp(address: string, cgroup?: string): void {
  const script = cgroup === undefined ? SEND : `open("${cgroup}/cgroup.procs", "w").write("0")\n${SEND}`;
  execFileSync('python3', ['-c', script, address]);
}

function cgroups(kernel: HostKernel): void {
  const mount = mountPoint('cgroup2');
  if (mount === undefined) {
    it.skip(skipReason('cgroup programs', 'there is no cgroup2 mount'), () => {});
    return;
  }
  const cgroup = `${mount}/tsbpf-test-${process.pid}`;
  mkdirSync(cgroup);
  afterAll(() => rmdirSync(cgroup));
  const send = () => sendUdp('10.99.0.2', cgroup);

  it('cgroup_skb/egress sees the packets of the cgroup only', async () => {
    expect(await counts(kernel, 'cgroup_out', { cgroup }, send)).toEqual([1, 0]);
    expect(await counts(kernel, 'cgroup_out', { cgroup }, () => sendUdp('10.99.0.2'))).toEqual([0, 0]);
  });

  it('cgroup/skb is told the direction', async () => {
    const options = { cgroup, attachType: 'CGROUP_INET_EGRESS' };
    await withObject(kernel, openObject('network', 'cgroup_open'), (object) => {
      expect(() => object.findProgram('cgroup_open').attach({ cgroup })).toThrow(
        expect.objectContaining({ code: 'EINVAL' }),
      );
    });
    expect(await counts(kernel, 'cgroup_open', options, send)).toEqual([1, 0]);
  });

  it('cgroup/connect4, sockops', async () => {
    expect(await counts(kernel, 'cgroup_connect', { cgroup }, send)).toEqual([1, 0]);
    const [events, after] = await counts(kernel, 'socket_events', { cgroup }, () => talk(cgroup));
    expect(events).toBeGreaterThan(0);
    expect(after).toBe(0);
  });

  it('a directory that is no cgroup, or is not there', async () => {
    await withObject(kernel, openObject('network', 'cgroup_out'), (object) => {
      const program = object.findProgram('cgroup_out');
      expect(() => program.attach({ cgroup: `${cgroup}/none` })).toThrow(
        expect.objectContaining({ code: 'ENOENT' }),
      );
      expect(() => program.attach({ cgroup: '/' })).toThrow(expect.objectContaining({ code: 'EBADF' }));
      expect(() => program.attach()).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    });
  });
}

/** A TCP connection over loopback, from a process in the cgroup. */
function talk(cgroup: string): void {
  const script = `
open("${cgroup}/cgroup.procs", "w").write("0")
import socket
l = socket.create_server(("127.0.0.1", 0))
c = socket.create_connection(l.getsockname())
c.send(b"x")
l.accept()[0].recv(1)
`;
  execFileSync('python3', ['-c', script]);
}

function namespaces(kernel: HostKernel): void {
  // The namespace of this thread, not that of the process's first one.
  const netns = '/proc/thread-self/ns/net';

  it('sk_lookup sees the look-ups of its namespace', async () => {
    const connect = () =>
      execFileSync('python3', [
        '-c',
        `
import socket
l = socket.create_server(("127.0.0.1", 0))
socket.create_connection(l.getsockname()).close()
`,
      ]);
    const [attached, detached] = await counts(kernel, 'look_up', { netns }, connect);
    expect(attached).toBeGreaterThan(0);
    expect(detached).toBe(0);
  });

  it('flow dissector: one a namespace', async () => {
    await withObject(kernel, openObject('network', 'dissect'), (object) => {
      const program = object.findProgram('dissect');
      const link = program.attach({ netns });
      expect(kernel.objGetInfoByFd({ bpfFd: link.fd })).toMatchObject({ kind: 'link', type: 5 });
      expect(() => program.attach({ netns })).toThrow(expect.objectContaining({ code: 'E2BIG' }));
      link.destroy();
      program.attach({ netns }).destroy();
    });
  });
}

function sockmaps(kernel: HostKernel): void {
  it('sk_msg and sk_skb: links on a sockmap', async (context) => {
    if (older(kernel, 6, 10)) context.skip('links on sockmaps need Linux 6.10');
    await withObject(kernel, openObject('network', 'message', 'stream'), (object) => {
      const map = object.findMap('sockets');
      for (const name of ['message', 'stream']) {
        const link = object.findProgram(name).attach({ map });
        expect(link.target).toBe('sockmap sockets');
        expect(kernel.objGetInfoByFd({ bpfFd: link.fd })).toMatchObject({ kind: 'link' });
        link.destroy();
      }
      expect(() => object.findProgram('message').attach()).toThrow(
        expect.objectContaining({ code: 'EINVAL' }),
      );
    });
  });
}
