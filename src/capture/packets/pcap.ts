/**
 * The pcap format (draft-ietf-opsawg-pcap; libpcap's savefile): one file header, then records with a 16-byte header. Time stamps
 * in micro- or nanoseconds, either byte order.
 */
import { BpfError } from '../../util/index.ts';
import type { ByteQueue } from './byte-queue.ts';
import { type CapturedPacket, type CaptureInterface, MAX_CAPTURE_RECORD } from './types.ts';

const MAGIC_MICRO = 0xa1b2c3d4;
const MAGIC_NANO = 0xa1b23c4d;
const FILE_HEADER = 24;
const RECORD_HEADER = 16;

function bad(what: string): BpfError {
  return new BpfError('EINVAL', `malformed pcap file: ${what}`);
}

/** Byte order and resolution that the first four bytes say; undefined where it is no pcap file. */
export function pcapMagic(bytes: Uint8Array): { littleEndian: boolean; nanoseconds: boolean } | undefined {
  if (bytes.length < 4) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (const littleEndian of [true, false]) {
    const magic = view.getUint32(0, littleEndian);
    if (magic === MAGIC_MICRO || magic === MAGIC_NANO)
      return { littleEndian, nanoseconds: magic === MAGIC_NANO };
  }
  return undefined;
}

export interface PcapHeader {
  readonly littleEndian: boolean;
  readonly nanoseconds: boolean;
  readonly linkType: number;
  readonly snapLength: number;
  /** Bytes of the header: the first record follows. */
  readonly length: number;
}

/** The file's header; undefined where the first 24 bytes are none that this reader knows. */
export function pcapHeader(bytes: Uint8Array): PcapHeader | undefined {
  const magic = pcapMagic(bytes);
  if (magic === undefined || bytes.length < FILE_HEADER) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint16(4, magic.littleEndian) !== 2) return undefined;
  return {
    ...magic,
    snapLength: view.getUint32(16, magic.littleEndian),
    // The upper bits tell the length of a frame check sequence.
    linkType: view.getUint32(20, magic.littleEndian) & 0x03ff_ffff,
    length: FILE_HEADER,
  };
}

/** What is wrong with a record whose header claims too much. */
export function tooLongRecord(number: number, offset: number, captured: number): BpfError {
  return bad(`packet ${number} at offset ${offset} claims ${captured} bytes`);
}

/** Reads packets from a queue as far as its bytes reach. */
export class PcapReader {
  private readonly queue: ByteQueue;
  private little = true;
  private interface: CaptureInterface | undefined;
  private count = 0;

  constructor(queue: ByteQueue) {
    this.queue = queue;
  }

  /** The next packet, or undefined where more bytes are needed. */
  next(): CapturedPacket | undefined {
    this.interface ??= this.header();
    if (this.interface === undefined) return undefined;
    const header = this.queue.peek(RECORD_HEADER);
    if (header === undefined) return undefined;
    const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
    const seconds = view.getUint32(0, this.little);
    const fraction = view.getUint32(4, this.little);
    const captured = view.getUint32(8, this.little);
    const originalLength = view.getUint32(12, this.little);
    if (captured > MAX_CAPTURE_RECORD) {
      throw tooLongRecord(this.count + 1, this.queue.position, captured);
    }
    const record = this.queue.take(RECORD_HEADER + captured);
    if (record === undefined) return undefined;
    this.count++;
    const perTick = 1_000_000_000n / this.interface.ticksPerSecond;
    return {
      data: record.subarray(RECORD_HEADER),
      originalLength,
      timestampNs: BigInt(seconds) * 1_000_000_000n + BigInt(fraction) * perTick,
      interface: this.interface,
    };
  }

  private header(): CaptureInterface | undefined {
    const header = this.queue.peek(FILE_HEADER);
    if (header === undefined) return undefined;
    const magic = pcapMagic(header);
    if (magic === undefined) throw bad('wrong magic');
    this.little = magic.littleEndian;
    const known = pcapHeader(header);
    if (known === undefined) {
      const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
      const version = `${view.getUint16(4, this.little)}.${view.getUint16(6, this.little)}`;
      throw bad(`version ${version}, expected 2.4`);
    }
    this.queue.skip(FILE_HEADER);
    return {
      index: 0,
      linkType: known.linkType,
      snapLength: known.snapLength,
      name: undefined,
      ticksPerSecond: known.nanoseconds ? 1_000_000_000n : 1_000_000n,
      secondsOffset: 0n,
    };
  }
}

export interface PcapWriteOptions {
  /** Default: that of the first packet, or Ethernet. */
  readonly linkType?: number;
  readonly nanoseconds?: boolean;
  readonly littleEndian?: boolean;
  /** Default 262144. */
  readonly snapLength?: number;
}

/** Writes packets as a pcap file, piece by piece. Errors: EINVAL for packets of another link type than the first. */
export function* writePcap(
  packets: Iterable<CapturedPacket>,
  options: PcapWriteOptions = {},
): Generator<Uint8Array, void, undefined> {
  const little = options.littleEndian ?? true;
  let linkType = options.linkType;
  const header = (): Uint8Array => {
    const bytes = new Uint8Array(FILE_HEADER);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, options.nanoseconds === true ? MAGIC_NANO : MAGIC_MICRO, little);
    view.setUint16(4, 2, little);
    view.setUint16(6, 4, little);
    view.setUint32(16, options.snapLength ?? 262_144, little);
    view.setUint32(20, linkType ?? 1, little);
    return bytes;
  };
  let started = false;
  for (const packet of packets) {
    linkType ??= packet.interface.linkType;
    if (packet.interface.linkType !== linkType) {
      throw new BpfError(
        'EINVAL',
        `a pcap file holds one link type: ${linkType}, but a packet has ${packet.interface.linkType}`,
        { hint: 'write a pcapng file' },
      );
    }
    if (!started) yield header();
    started = true;
    const bytes = new Uint8Array(RECORD_HEADER + packet.data.length);
    const view = new DataView(bytes.buffer);
    const fraction = packet.timestampNs % 1_000_000_000n;
    view.setUint32(0, Number(BigInt.asUintN(32, packet.timestampNs / 1_000_000_000n)), little);
    view.setUint32(4, Number(options.nanoseconds === true ? fraction : fraction / 1000n), little);
    view.setUint32(8, packet.data.length, little);
    view.setUint32(12, packet.originalLength, little);
    bytes.set(packet.data, RECORD_HEADER);
    yield bytes;
  }
  if (!started) yield header();
}
