/**
 * The example objects on the host kernel: they see real processes and packets of the test's own, say what they say on the embedded
 * kernel, and leave nothing behind.
 */
import { readFileSync, readSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { asEthernet, readPackets } from '../../src/capture/index.ts';
import type { Fd, Kernel } from '../../src/contracts/kernel.ts';
import type { HostKernel } from '../../src/host/index.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { BpfObject, PerfBufferReader, RingBufferReader } from '../../src/libbpf/index.ts';
import { readCString, type VerifierError } from '../../src/util/index.ts';
import {
  eventually,
  ipFrame,
  loadedIds,
  openHost,
  ownNetwork,
  sendFrames,
  skipReason,
  vethPair,
  WaitingChild,
} from './host-support.ts';

const EXAMPLES = fileURLToPath(new URL('../../examples/', import.meta.url));
const object = (name: string) => BpfObject.open(readFileSync(`${EXAMPLES}objects/${name}.bpf.o`), { name });

const host = await openHost();
if (typeof host === 'string') {
  describe.skip(`host kernel: ${skipReason('example objects on the host kernel', host)}`, () =>
    it('cannot be reached here', () => {}));
} else {
  ownNetwork();
  vethPair('h0', 'h1');
  afterAll(() => host.shutdown());
  // Tracepoints of system calls do not look at the pid of their perf event; the tests look at their own children only.
  tracing(host);
  network(host);
  describe('the same on both kernels', () => comparison(host));
}

/** Until `found` gives something, or ten seconds have passed. */
async function first<T, R>(
  source: AsyncIterable<T>,
  found: (item: T) => R | undefined,
): Promise<R | undefined> {
  for await (const item of source) {
    const result = found(item);
    if (result !== undefined) return result;
  }
  return undefined;
}

function tracing(kernel: HostKernel): void {
  const opened: BpfObject[] = [];
  const load = (name: string): BpfObject => {
    const loaded = object(name).load(kernel);
    opened.push(loaded);
    return loaded;
  };
  afterEach(() => {
    for (const one of opened.splice(0)) one.close();
  });
  const soon = () => AbortSignal.timeout(10_000);

  it('hello prints what a process of ours executes', async () => {
    const child = new WaitingChild();
    load('hello').attach({ pid: child.pid });
    const lines = first(kernel.tracePipe({ signal: soon() }), (line) =>
      line.pid === child.pid ? line : undefined,
    );
    await child.run();
    // The name that ftrace prints is the one that the process had last; the program's own is that of the moment.
    expect((await lines)?.message).toMatch(/^Hello, world! \S*sh runs \/bin\/true$/);
  });

  it('a ring buffer delivers the same', async () => {
    const child = new WaitingChild();
    const loaded = load('exec_ringbuf');
    loaded.attach({ pid: child.pid });
    const reader = new RingBufferReader(kernel, loaded.findMap('events').fd);
    const seen = first(reader.records({ signal: soon() }), (record) => eventOf(record, child.pid));
    await child.run();
    expect(await seen).toEqual('/bin/true');
    reader.close();
  });

  it('a perf buffer delivers the same', async () => {
    const child = new WaitingChild();
    const loaded = load('exec_perf');
    loaded.attach({ pid: child.pid });
    const reader = new PerfBufferReader(kernel, loaded.findMap('events').fd, { pages: 8 });
    const seen = first(reader.samples({ signal: soon() }), ({ data }) => eventOf(data, child.pid));
    await child.run();
    expect(await seen).toEqual('/bin/true');
    expect(reader.lost).toBe(0n);
    reader.close();
  });

  it('a link says where it is', () => {
    const [link] = load('hello').attach({ pid: process.pid });
    expect(kernel.objGetInfoByFd({ bpfFd: link.fd })).toMatchObject({
      kind: 'link',
      type: 7,
      details: { type: 5, tpName: 'sys_enter_execve', cookie: 0n },
    });
  });
}

/** `struct exec_event`: pid at 8, file name at 32. */
function eventOf(record: Uint8Array, pid: number): string | undefined {
  const view = new DataView(record.buffer, record.byteOffset, record.length);
  return view.getUint32(8, true) === pid ? readCString(record, 32) : undefined;
}

function network(kernel: HostKernel): void {
  const GOOD = [10, 0, 0, 1];
  const BAD = [192, 0, 2, 7];
  const TCP = 6;
  const UDP = 17;

  it('the XDP filter counts and drops real packets', () => {
    const loaded = object('xdp_filter').load(kernel);
    loaded.findMap('blocked').set({ prefix_length: 24, address: 0x0002_00c0 }, 1);
    const [link] = loaded.attach({ interface: 'h0' });
    try {
      sendFrames('h1', [ipFrame(TCP, GOOD), ipFrame(TCP, BAD), ipFrame(UDP, BAD), ipFrame(TCP, GOOD, 120)]);
      const counters = (protocol: number) => {
        const mapFd = loaded.findMap('protocols').fd;
        const value = kernel.mapLookupElem({
          mapFd,
          key: new Uint8Array(new Uint32Array([protocol]).buffer),
        })!;
        return [...new BigUint64Array(value.slice().buffer)].map(Number);
      };
      eventually(() =>
        expect([counters(TCP), counters(UDP)]).toEqual([
          [3, 280, 1],
          [1, 80, 1],
        ]),
      );
      expect(kernel.objGetInfoByFd({ bpfFd: link.fd })).toMatchObject({
        type: 6,
        details: { ifindex: kernel.ifNameToIndex('h0') },
      });
    } finally {
      loaded.close();
    }
  });

  it('a socket filter gives its socket what it says', () => {
    const loaded = object('socket_sizes').load(kernel);
    const socket = loaded.findProgram('first_bytes').attachSocket();
    try {
      sendFrames('h1', [ipFrame(TCP, GOOD), ipFrame(UDP, GOOD, 300)]);
      const buffer = new Uint8Array(2048);
      let size = 0;
      eventually(() => {
        size = readSync(socket, buffer);
      });
      expect([size, buffer[23]]).toEqual([64, UDP]);
    } finally {
      kernel.close(socket);
      loaded.close();
    }
  });
}

function comparison(kernel: HostKernel): void {
  const packets = [...readPackets(readFileSync(`${EXAMPLES}inputs/traffic.pcap`))]
    .map((packet) => asEthernet(packet))
    .filter((data): data is Uint8Array => data !== undefined && data.length >= 14)
    .slice(0, 60);

  function onEach<T>(run: (kernel: Kernel) => T): T[] {
    const embedded = new EmbeddedKernel({ possibleCpus: kernel.features().possibleCpus });
    try {
      return [run(kernel), run(embedded)];
    } finally {
      embedded.shutdown();
    }
  }

  it.each([
    ['xdp_filter', 'xdp_filter', 'protocols'],
    ['socket_sizes', 'first_bytes', 'packets_by_size'],
  ])('%s returns, writes and counts', (name, program, map) => {
    const [onHost, onEmbedded] = onEach((each) => {
      const loaded = object(name).load(each);
      const runs = packets.map((dataIn) => {
        const { retval, dataOut } = loaded.findProgram(program).testRun({ dataIn });
        return [retval, Buffer.from(dataOut).toString('hex')];
      });
      const sums = sumOf(each, loaded.findMap(map).fd);
      loaded.close();
      return { runs, sums };
    });
    expect(onHost.runs).toEqual(onEmbedded.runs);
    expect(onHost.sums).toEqual(onEmbedded.sums);
  });

  it.each(['unchecked_packet', 'unchecked_lookup'])('%s is refused', (name) => {
    const [onHost, onEmbedded] = onEach((each) => {
      const loaded = object('unchecked').load(each, { strict: false });
      const { error } = loaded.failures.find((failure) => failure.program.name === name)!;
      loaded.close();
      const { message, code, insn, source, insnsProcessed, registers, path } = error as VerifierError;
      return {
        message,
        code,
        insn,
        source: source?.line,
        text: source?.text,
        insnsProcessed,
        // The embedded verifier tells more of a register than its text.
        registers: registers.map(({ register, state }) => ({ register, state })),
        path,
      };
    });
    expect(onHost).toEqual(onEmbedded);
    expect((onHost as { message: string }).message).not.toBe('');
  });

  it('programs have the same tag, size and maps', () => {
    const [onHost, onEmbedded] = onEach((each) => {
      const loaded = object('xdp_filter').load(each);
      const { tag, name, type, gplCompatible, mapIds, funcInfo, verifiedInsns } = loaded
        .findProgram('xdp_filter')
        .info();
      loaded.close();
      return {
        tag,
        name,
        type,
        gplCompatible,
        maps: mapIds.length,
        funcInfo: funcInfo.length,
        verifiedInsns,
      };
    });
    expect(onHost).toEqual(onEmbedded);
  });

  it('nothing stays after shutdown', () => {
    const before = idsOf(kernel);
    const loaded = object('xdp_filter').load(kernel);
    loaded.attach({ interface: 'h0' });
    const made = idsOf(kernel);
    const info = kernel.objGetInfoByFd({ bpfFd: loaded.findProgram('xdp_filter').fd });
    expect(made.prog).toContain(info.id);
    kernel.shutdown();
    eventually(() => {
      const after = loadedIds();
      expect(after.prog).not.toContain(info.id);
      for (const id of info.kind === 'prog' ? info.mapIds : []) expect(after.map).not.toContain(id);
      for (const id of made.link.filter((one) => !before.link.includes(one)))
        expect(after.link).not.toContain(id);
    });
  });
}

function idsOf(kernel: Kernel): Record<'prog' | 'map' | 'link', number[]> {
  const all = (kind: 'prog' | 'map' | 'link'): number[] => {
    const ids: number[] = [];
    for (let id = kernel.objGetNextId({ kind, startId: 0 }); id !== null; ) {
      ids.push(id);
      id = kernel.objGetNextId({ kind, startId: id });
    }
    return ids;
  };
  return { prog: all('prog'), map: all('map'), link: all('link') };
}

/** All values of an array of 64-bit counters, those of all CPUs added up. */
function sumOf(kernel: Kernel, mapFd: Fd): string[] {
  const sums: string[] = [];
  let key = kernel.mapGetNextKey({ mapFd, key: null });
  while (key !== null) {
    const words = [...new BigUint64Array(kernel.mapLookupElem({ mapFd, key })!.slice().buffer)];
    const info = kernel.objGetInfoByFd({ bpfFd: mapFd });
    const perValue = info.kind === 'map' ? info.valueSize / 8 : 1;
    const parts = Array.from({ length: perValue }, (_, i) =>
      words.filter((_word, at) => at % perValue === i).reduce((sum, word) => sum + word, 0n),
    );
    sums.push(parts.join(' '));
    key = kernel.mapGetNextKey({ mapFd, key });
  }
  return sums;
}
