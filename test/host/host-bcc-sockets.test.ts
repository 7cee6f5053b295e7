/** Raw sockets of BCC programs on the host kernel: bound to one interface. */
import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BPF } from '../../src/bcc/index.ts';
import type { HostKernel } from '../../src/host/index.ts';
import { KEEP_MDNS, udpPacket } from '../bcc/support.ts';
import { openHost, skipReason } from './host-support.ts';

const DEVICES = ['tsbpfraw0', 'tsbpfraw1'] as const;
/** Sends the frames that it is given, in hexadecimal, from an interface. */
const SEND = `
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((sys.argv[1], 0x0800))
for frame in sys.argv[2:]:
    s.send(bytes.fromhex(frame))
`;

const host = await openHost();
if (typeof host === 'string') {
  describe.skip(`host kernel: ${skipReason('packet sockets on the host kernel', host)}`, () =>
    it('cannot be reached here', () => {}));
} else sockets(host);

function sockets(kernel: HostKernel): void {
  const ip = (...args: string[]) => execFileSync('ip', args, { stdio: 'pipe' });
  beforeAll(() => {
    ip('link', 'add', DEVICES[0], 'type', 'veth', 'peer', 'name', DEVICES[1]);
    for (const name of DEVICES) ip('link', 'set', name, 'up');
  });
  afterAll(() => {
    ip('link', 'del', DEVICES[0]);
    kernel.shutdown();
  });

  it('get the packets of their interface that the filter keeps', async () => {
    using b = new BPF({ kernel, text: KEEP_MDNS });
    const socket = b.attachRawSocket(b.loadFunc('keep', BPF.SOCKET_FILTER), DEVICES[1]);
    const other = b.attachRawSocket('keep', 'lo');
    const frames = [53, 5353].map((port) => Buffer.from(udpPacket(port)).toString('hex'));
    execFileSync('python3', ['-c', SEND, DEVICES[0], ...frames]);
    const { value } = await b.packets(socket, { signal: AbortSignal.timeout(20_000) }).next();
    expect(value).toEqual(udpPacket(5353).subarray(0, 60));
    expect(() => kernel.readFd(other, 100)).toThrow(expect.objectContaining({ code: 'EAGAIN' }));
  });

  it('are refused for interfaces that are not there', () => {
    using b = new BPF({ kernel, text: KEEP_MDNS });
    expect(() => b.attachRawSocket('keep', 'tsbpfraw9')).toThrow(/no network interface 'tsbpfraw9'/);
    expect(() => b.attachRawSocket('keep', 1 << 20)).toThrow(expect.objectContaining({ code: 'ENODEV' }));
  });
}
