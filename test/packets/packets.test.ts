import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  asEthernet,
  type CapturedPacket,
  type CaptureInterface,
  LINKTYPE,
  readPackets,
  streamPackets,
  writePcap,
  writePcapng,
} from '../../src/capture/packets/index.ts';
import { BpfError, concatBytes } from '../../src/util/index.ts';

const hasTcpdump = spawnSync('tcpdump', ['--version'], { stdio: 'ignore' }).status === 0;
if (!hasTcpdump) console.log('comparison with tcpdump skipped: no tcpdump on this machine');

function netInterface(index: number, linkType: number, name?: string): CaptureInterface {
  return { index, linkType, snapLength: 262_144, name, ticksPerSecond: 1_000_000_000n, secondsOffset: 0n };
}

const ETH = netInterface(0, LINKTYPE.ETHERNET, 'veth0');
const RAW = netInterface(1, LINKTYPE.RAW, 'tun0');

/** An IPv4/UDP packet with a payload of `size` bytes. */
function udp(size: number, ethernet: boolean): Uint8Array {
  const ip = new Uint8Array(28 + size).fill(0x61);
  const view = new DataView(ip.buffer);
  ip.fill(0, 0, 28);
  ip[0] = 0x45;
  view.setUint16(2, ip.length);
  ip[8] = 64;
  ip[9] = 17;
  ip.set([10, 0, 0, 1, 10, 0, 0, 2], 12);
  view.setUint16(20, 1000 + size);
  view.setUint16(22, 53000);
  view.setUint16(24, 8 + size);
  if (!ethernet) return ip;
  return concatBytes([Uint8Array.of(2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0), ip]);
}

function sample(count: number, both: boolean): CapturedPacket[] {
  return Array.from({ length: count }, (_, i) => {
    const raw = both && i % 3 === 1;
    const data = udp(i * 7, !raw);
    return {
      data,
      originalLength: data.length + (i % 2) * 100,
      timestampNs: 1_700_000_000_000_000_000n + BigInt(i) * 1_234_567_000n,
      interface: raw ? RAW : ETH,
    };
  });
}

const formats: [string, (packets: CapturedPacket[]) => Iterable<Uint8Array>, boolean][] = [
  ['pcap, microseconds, little endian', (p) => writePcap(p), false],
  ['pcap, nanoseconds, little endian', (p) => writePcap(p, { nanoseconds: true }), false],
  ['pcap, microseconds, big endian', (p) => writePcap(p, { littleEndian: false }), false],
  ['pcap, nanoseconds, big endian', (p) => writePcap(p, { littleEndian: false, nanoseconds: true }), false],
  ['pcapng, little endian', (p) => writePcapng(p), true],
  ['pcapng, big endian', (p) => writePcapng(p, { littleEndian: false }), true],
];

const essence = (packet: CapturedPacket) => [
  packet.timestampNs,
  packet.originalLength,
  packet.interface.linkType,
  [...packet.data],
];

describe.each(formats)('%s', (_name, write, both) => {
  const packets = sample(20, both);
  const file = concatBytes([...write(packets)]);

  it('reads back what was written', () => {
    const read = [...readPackets(file)];
    expect(read.map(essence)).toEqual(packets.map(essence));
    if (both)
      expect(new Set(read.map((packet) => packet.interface.name))).toEqual(new Set(['veth0', 'tun0']));
  });

  it('reads it in pieces of any size', async () => {
    for (const size of [1, 7, 16, 1000]) {
      const pieces = Array.from({ length: Math.ceil(file.length / size) }, (_, i) =>
        file.subarray(i * size, (i + 1) * size),
      );
      const read: CapturedPacket[] = [];
      for await (const packet of streamPackets(pieces)) read.push(packet);
      expect(read.map(essence)).toEqual(packets.map(essence));
    }
  });

  it('gives what was complete before a file that is cut off, then an error', () => {
    for (let size = 0; size < file.length; size += 5) {
      let count = 0;
      try {
        for (const _ of readPackets(file.subarray(0, size))) count++;
      } catch (error) {
        expect(error).toBeInstanceOf(BpfError);
      }
      expect(count).toBeLessThanOrEqual(packets.length);
    }
  });

  it.skipIf(!hasTcpdump)('reads like tcpdump', () => {
    const directory = mkdtempSync(join(tmpdir(), 'tsbpf-pcap-'));
    try {
      const path = join(directory, 'file');
      // libpcap reads one link type per file only.
      const single = packets.filter((packet) => packet.interface === ETH);
      writeFileSync(path, concatBytes([...write(single)]));
      const result = spawnSync('tcpdump', ['-r', path, '-n', '-tt', '--nano', '-xx', '-q'], {
        encoding: 'utf8',
      });
      const lines = result.stdout.split('\n');
      const stamps = lines.filter((line) => /^\d+\.\d+ /.test(line)).map((line) => line.split(' ')[0]!);
      expect(stamps).toEqual(
        single.map(({ timestampNs }) => {
          const fraction = String(timestampNs % 1_000_000_000n).padStart(9, '0');
          return `${timestampNs / 1_000_000_000n}.${fraction}`;
        }),
      );
      const hex = lines
        .filter((line) => line.startsWith('\t0x'))
        .map((line) => line.replace(/^\t0x[0-9a-f]+: /, ''));
      const bytes = hex.join('').replace(/\s/g, '');
      expect(bytes).toBe(single.map((packet) => Buffer.from(packet.data).toString('hex')).join(''));
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

describe('pcapng details', () => {
  const block = (type: number, ...words: number[]): Uint8Array => {
    const bytes = new Uint8Array(12 + 4 * words.length);
    const view = new DataView(bytes.buffer);
    [type, bytes.length, ...words, bytes.length].forEach((word, i) => {
      view.setUint32(4 * i, word >>> 0, true);
    });
    return bytes;
  };
  const section = block(0x0a0d0d0a, 0x1a2b3c4d, 1, 0xffff_ffff, 0xffff_ffff);

  it('takes resolutions of powers of two, offsets and simple packets', () => {
    const ethernet = block(1, 1, 3, 0x0001_0009, 0x94, 0x0008_000e, 100, 0, 0);
    const enhanced = block(6, 0, 0, 3 << 19, 2, 60, 0xbbaa);
    const simple = block(3, 2, 0x0000_ddcc);
    const unknown = block(0x7777, 1, 2, 3);
    const packets = [...readPackets(concatBytes([section, ethernet, unknown, enhanced, simple]))];
    expect(packets).toHaveLength(2);
    // 3 << 19 ticks of 2^-20 s are 1.5 s, and the clock starts at 100 s.
    expect(packets[0]).toMatchObject({ timestampNs: 101_500_000_000n, originalLength: 60 });
    expect([...packets[0]!.data]).toEqual([0xaa, 0xbb]);
    expect([...packets[1]!.data]).toEqual([0xcc, 0xdd]);
  });

  it('starts anew with each section', () => {
    const other = block(1, LINKTYPE.RAW, 0);
    const enhanced = block(6, 0, 0, 0, 4, 4, 0x45);
    const file = concatBytes([section, block(1, 1, 0), enhanced, section, other, enhanced]);
    expect([...readPackets(file)].map((packet) => packet.interface.linkType)).toEqual([1, LINKTYPE.RAW]);
  });

  it.each([
    ['no section', block(1, 1, 0), /neither a pcap nor a pcapng/],
    ['an unknown interface', concatBytes([section, block(6, 5, 0, 0, 0, 0)]), /interface 5 of 0/],
    [
      'a packet beyond its block',
      concatBytes([section, block(1, 1, 0), block(6, 0, 0, 0, 999, 999)]),
      /a packet of 999 bytes in a block/,
    ],
    [
      'a huge block',
      concatBytes([section, Uint8Array.of(6, 0, 0, 0, 0, 0, 0, 0xf0, 0, 0, 0, 0)]),
      /claims 4026531840 bytes/,
    ],
  ])('refuses %s', (_name, file, message) => {
    expect(() => [...readPackets(file)]).toThrow(message);
  });
});

describe('Ethernet from other link types', () => {
  it('puts a header before bare IP packets', () => {
    const data = udp(4, false);
    const frame = asEthernet({ data, originalLength: data.length, timestampNs: 0n, interface: RAW })!;
    expect([...frame.subarray(12, 14)]).toEqual([8, 0]);
    expect(frame.subarray(14)).toEqual(data);
  });

  it('refuses mixed link types in pcap', () => {
    expect(() => [...writePcap(sample(3, true))]).toThrow(/one link type/);
  });
});
