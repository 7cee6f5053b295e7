/** What stands beside bpf(2) on the host kernel: traffic control over netlink, executables by name, files. */
import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { encodeProgram } from '../../src/asm/index.ts';
import type { Fd } from '../../src/contracts/kernel.ts';
import type { HostKernel } from '../../src/host/index.ts';
import { progTypeByName } from '../../src/spec/index.ts';
import { code, returns } from '../kernel/subject.ts';
import { openHost, ownNetwork, skipReason, vethPair, WaitingChild } from './host-support.ts';

const host = await openHost();
if (typeof host === 'string') {
  describe.skip(`host kernel: ${skipReason('the machine below the host kernel', host)}`, () =>
    it('cannot be reached here', () => {}));
} else {
  ownNetwork();
  vethPair('m0', 'm1');
  afterEach(() => host.shutdown());
  describe('traffic control', () => trafficControl(host));
  describe('files', () => files(host));
}

function trafficControl(kernel: HostKernel): void {
  const classifier = (name: string): Fd =>
    kernel.progLoad({
      progType: progTypeByName('sched_cls')!.id,
      insns: encodeProgram(returns(0).build()),
      license: 'GPL',
      progName: name,
    });

  it('has classifiers with handles and priorities', () => {
    const ifindex = kernel.ifNameToIndex('m0')!;
    const { tc } = kernel;
    const [first, second] = [classifier('first'), classifier('second')];
    const id = (fd: Fd) => kernel.objGetInfoByFd({ bpfFd: fd }).id;
    expect(tc.createQdisc(ifindex)).toBe(true);
    expect(tc.createQdisc(ifindex)).toBe(false);
    const hook = { ifindex, direction: 'ingress' } as const;
    const chosen = tc.attach({ ...hook, progFd: first });
    expect(chosen).toEqual({ handle: 1, priority: 49152 });
    const asked = { handle: 7, priority: 3 };
    expect(tc.attach({ ...hook, ...asked, progFd: second })).toEqual(asked);
    expect(tc.query(hook)).toEqual([
      { ...asked, progId: id(second), name: `second:[${id(second)}]` },
      { ...chosen, progId: id(first), name: `first:[${id(first)}]` },
    ]);
    expect(tc.query({ ifindex, direction: 'egress' })).toEqual([]);
    expect(code(() => tc.attach({ ...hook, ...asked, progFd: first }))).toBe('EEXIST');
    tc.attach({ ...hook, ...asked, progFd: first, replace: true });
    expect(tc.query(hook)[0].progId).toBe(id(first));
    tc.detach({ ...hook, ...asked });
    expect(tc.query(hook)).toHaveLength(1);
    expect(code(() => tc.detach({ ...hook, ...asked }))).toBe('ENOENT');
    tc.destroyQdisc(ifindex);
    expect(tc.query(hook)).toEqual([]);
  });

  it('says in words what is wrong', () => {
    expect(() => kernel.tc.createQdisc(987_654)).toThrow(/no such device \(ENODEV\)/);
    expect(() => kernel.tc.attach({ ifindex: 1, direction: 'egress', progFd: classifier('x') })).toThrow(
      /EINVAL/,
    );
    expect(code(() => kernel.tc.attach({ ifindex: 1, direction: 'egress', progFd: 0 as Fd }))).toBe('EINVAL');
  });
}

function files(kernel: HostKernel): void {
  it('are read, or are not there', () => {
    expect(kernel.files.read('/proc/version')).toEqual(new Uint8Array(readFileSync('/proc/version')));
    expect(kernel.files.read('/no/such/file')).toBeNull();
    expect(kernel.files.read('/proc/version/below')).toBeNull();
    expect(code(() => kernel.files.read('/'))).toBe('EISDIR');
    expect(kernel.files.readTracing('README')?.length).toBeGreaterThan(100);
    expect(kernel.files.readTracing('nothing')).toBeNull();
  });

  it('are found by the names of programs and libraries', async () => {
    expect(kernel.files.resolveExecutable('true')).toMatch(/^\/.*\/(true|coreutils|busybox)$/);
    const libc = kernel.files.resolveExecutable('libc.so.6')!;
    expect(libc).toMatch(/^\/.*libc[.-].*so/);
    expect(kernel.files.resolveExecutable('/bin/true')).toMatch(/^\//);
    expect(kernel.files.resolveExecutable('no-such-program')).toBeNull();
    expect(kernel.files.resolveExecutable('libnothing.so.9')).toBeNull();
    const child = new WaitingChild();
    expect(kernel.files.resolveExecutable('libc.so.6', child.pid)).toMatch(/libc/);
    await child.stop();
  });

  it('become descriptors of the kernel', () => {
    const fd = kernel.files.open('/proc/version');
    expect(new TextDecoder().decode(kernel.readFd(fd, 5))).toBe('Linux');
    kernel.close(fd);
    expect(code(() => kernel.readFd(fd, 5))).toBe('EBADF');
    expect(code(() => kernel.files.open('/no/such/file'))).toBe('ENOENT');
  });
}
