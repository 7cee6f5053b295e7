/** `attachRawSocket` on one interface or on all, and its packets on the embedded kernel. */
import { describe, expect, it } from 'vitest';
import { BPF } from '../../src/bcc/index.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { udpPacket as packet, KEEP_MDNS as TEXT } from './support.ts';

describe('attachRawSocket', () => {
  it('gets the packets of its interface that the filter keeps, as much of each as it says', async () => {
    const kernel = new EmbeddedKernel();
    const [eth0, eth1] = ['eth0', 'eth1'].map((name) => kernel.simulator.addInterface(name));
    using b = new BPF({ kernel, text: TEXT });
    const socket = b.attachRawSocket(b.loadFunc('keep', BPF.SOCKET_FILTER), 'eth0');
    const receive = (ifindex: number | undefined, data: Uint8Array) =>
      kernel.simulator.receive({ ifindex: ifindex!, data }).filters;
    expect(receive(eth0, packet(5353))).toEqual([60]);
    expect(receive(eth0, packet(53))).toEqual([0]);
    expect(receive(eth1, packet(5353))).toEqual([]);
    expect(receive(eth0, packet(5353, 50))).toEqual([50]);
    const got: number[] = [];
    const stop = new AbortController();
    for await (const one of b.packets(socket, { signal: stop.signal })) {
      got.push(one.length);
      if (got.length === 2) stop.abort();
    }
    expect(got).toEqual([60, 50]);
    expect(() => kernel.readFd(socket, 10)).toThrow(expect.objectContaining({ code: 'EAGAIN' }));
    expect(b.get('seen').get(0)).toBe(2);
  });

  it('gets those of all interfaces where none is named; a packet that comes later wakes who waits', async () => {
    const kernel = new EmbeddedKernel();
    const ifindexes = ['a', 'b'].map((name) => kernel.simulator.addInterface(name));
    using b = new BPF({ kernel, text: TEXT });
    const packets = b.packets(b.attachRawSocket('keep'), { size: 14 });
    setTimeout(() => {
      for (const ifindex of ifindexes) kernel.simulator.receive({ ifindex, data: packet(5353) });
    }, 10);
    expect((await packets.next()).value).toHaveLength(14);
    expect((await packets.next()).value).toHaveLength(14);
    b.cleanup();
    expect((await packets.next()).done).toBe(true);
  });

  it('drops what nobody reads once its buffer is full', () => {
    const kernel = new EmbeddedKernel();
    const ifindex = kernel.simulator.addInterface('eth0');
    using b = new BPF({ kernel, text: TEXT });
    const socket = b.attachRawSocket('keep');
    for (let i = 0; i < 5000; i++) kernel.simulator.receive({ ifindex, data: packet(5353) });
    let count = 0;
    try {
      for (;;) count += kernel.readFd(socket, 60).length / 60;
    } catch {
      // Empty.
    }
    expect(count).toBeGreaterThan(100);
    expect(count).toBeLessThan(5000);
  });

  it('refuses interfaces that are not there, and descriptors that are no sockets', () => {
    const kernel = new EmbeddedKernel();
    using b = new BPF({ kernel, text: TEXT });
    const { fd } = b.loadFunc('keep', BPF.SOCKET_FILTER);
    expect(() => b.attachRawSocket('keep', 'eth9')).toThrow(/no network interface 'eth9'/);
    expect(() => b.attachRawSocket('keep', 9)).toThrow(expect.objectContaining({ code: 'ENODEV' }));
    expect(() => kernel.readFd(fd, 10)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect(() => kernel.readFd(fd + 99, 10)).toThrow(expect.objectContaining({ code: 'EBADF' }));
  });
});
