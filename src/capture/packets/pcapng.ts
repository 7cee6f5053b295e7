/**
 * The pcapng format (draft-ietf-opsawg-pcapng): sections of blocks. Read are section headers, interface descriptions, enhanced,
 * simple and obsolete packet blocks; other blocks are passed over without being held. Each section has its own
 * byte order and interfaces; each interface its own clock resolution and offset.
 */
import { BpfError, fromUtf8, utf8 } from '../../util/index.ts';
import type { ByteQueue } from './byte-queue.ts';
import { type CapturedPacket, type CaptureInterface, MAX_CAPTURE_RECORD } from './types.ts';

const BLOCK = { SECTION: 0x0a0d0d0a, INTERFACE: 1, PACKET: 2, SIMPLE: 3, ENHANCED: 6 } as const;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const OPTION = { END: 0, IF_NAME: 2, IF_TSRESOL: 9, IF_TSOFFSET: 14 } as const;
/** Most interfaces of one section: they are kept as long as it lasts. */
const MAX_INTERFACES = 65_536;

const READ_BLOCKS: ReadonlySet<number> = new Set(Object.values(BLOCK));

function bad(what: string): BpfError {
  return new BpfError('EINVAL', `malformed pcapng file: ${what}`);
}

/** True where the first four bytes are a section header's, which reads the same in both byte orders. */
export function isPcapng(bytes: Uint8Array): boolean {
  return bytes[0] === 0x0a && bytes[1] === 0x0d && bytes[2] === 0x0d && bytes[3] === 0x0a;
}

/** Reads packets from a queue as far as its bytes reach. */
export class PcapngReader {
  private readonly queue: ByteQueue;
  private little = true;
  private inSection = false;
  private interfaces: CaptureInterface[] = [];

  constructor(queue: ByteQueue) {
    this.queue = queue;
  }

  /** The next packet, or undefined where more bytes are needed. */
  next(): CapturedPacket | undefined {
    for (;;) {
      const head = this.queue.peek(12);
      if (head === undefined) return undefined;
      const where = `block at offset ${this.queue.position}`;
      if (isPcapng(head)) this.readByteOrder(head);
      else if (!this.inSection) throw bad('it does not begin with a section header');
      const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
      const type = view.getUint32(0, this.little);
      const length = view.getUint32(4, this.little);
      if (length < 12 || length % 4 !== 0) throw bad(`${where} has a length of ${length} bytes`);
      if (!READ_BLOCKS.has(type)) {
        this.queue.skip(length);
        continue;
      }
      if (length > MAX_CAPTURE_RECORD) throw bad(`${where} claims ${length} bytes`);
      const block = this.queue.take(length);
      if (block === undefined) return undefined;
      const body = new DataView(block.buffer, block.byteOffset, block.byteLength);
      if (body.getUint32(length - 4, this.little) !== length) throw bad(`${where} has two different lengths`);
      const packet = this.readBlock(type, block, body, where);
      if (packet !== undefined) return packet;
    }
  }

  private readByteOrder(head: Uint8Array): void {
    const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
    if (view.getUint32(8, true) === BYTE_ORDER_MAGIC) this.little = true;
    else if (view.getUint32(8, false) === BYTE_ORDER_MAGIC) this.little = false;
    else throw bad(`section at offset ${this.queue.position} has no byte order`);
    this.inSection = true;
  }

  private readBlock(
    type: number,
    block: Uint8Array,
    view: DataView,
    where: string,
  ): CapturedPacket | undefined {
    const end = block.length - 4;
    const u32 = (at: number): number => view.getUint32(at, this.little);
    const need = (size: number): void => {
      if (size > end) throw bad(`${where} of type ${type} has ${block.length} bytes`);
    };
    const data = (at: number, size: number): Uint8Array => {
      if (at + size > end) throw bad(`${where}: a packet of ${size} bytes in a block of ${block.length}`);
      return block.subarray(at, at + size);
    };
    switch (type) {
      case BLOCK.SECTION: {
        need(24);
        const major = view.getUint16(12, this.little);
        if (major !== 1)
          throw bad(`${where}: version ${major}.${view.getUint16(14, this.little)}, expected 1.0`);
        this.interfaces = [];
        return undefined;
      }
      case BLOCK.INTERFACE:
        need(16);
        if (this.interfaces.length >= MAX_INTERFACES) {
          throw new BpfError('E2BIG', `pcapng file: more than ${MAX_INTERFACES} interfaces`);
        }
        this.interfaces.push(this.readInterface(block, view, end, where));
        return undefined;
      case BLOCK.ENHANCED:
      case BLOCK.PACKET: {
        need(28);
        const index = type === BLOCK.ENHANCED ? u32(8) : view.getUint16(8, this.little);
        const source = this.interface(index, where);
        const ticks = (BigInt(u32(12)) << 32n) | BigInt(u32(16));
        return {
          data: data(28, u32(20)),
          originalLength: u32(24),
          timestampNs:
            (ticks * 1_000_000_000n) / source.ticksPerSecond + source.secondsOffset * 1_000_000_000n,
          interface: source,
        };
      }
      case BLOCK.SIMPLE: {
        need(12);
        const source = this.interface(0, where);
        const originalLength = u32(8);
        const limit = source.snapLength === 0 ? originalLength : Math.min(originalLength, source.snapLength);
        return { data: data(12, limit), originalLength, timestampNs: 0n, interface: source };
      }
      default:
        return undefined;
    }
  }

  private interface(index: number, where: string): CaptureInterface {
    const found = this.interfaces[index];
    if (found === undefined) throw bad(`${where}: interface ${index} of ${this.interfaces.length}`);
    return found;
  }

  private readInterface(block: Uint8Array, view: DataView, end: number, where: string): CaptureInterface {
    let name: string | undefined;
    let ticksPerSecond = 1_000_000n;
    let secondsOffset = 0n;
    let at = 16;
    while (at + 4 <= end) {
      const code = view.getUint16(at, this.little);
      const size = view.getUint16(at + 2, this.little);
      if (code === OPTION.END) break;
      at += 4;
      if (at + size > end) throw bad(`${where}: option ${code} of ${size} bytes reaches beyond the block`);
      if (code === OPTION.IF_NAME) name = fromUtf8(block.subarray(at, at + size));
      if (code === OPTION.IF_TSRESOL && size === 1) {
        const value = block[at]!;
        ticksPerSecond = value >= 0x80 ? 1n << BigInt(value & 0x7f) : 10n ** BigInt(value);
      }
      if (code === OPTION.IF_TSOFFSET && size === 8) secondsOffset = view.getBigInt64(at, this.little);
      at += Math.ceil(size / 4) * 4;
    }
    return {
      index: this.interfaces.length,
      linkType: view.getUint16(8, this.little),
      snapLength: view.getUint32(12, this.little),
      name,
      ticksPerSecond,
      secondsOffset,
    };
  }
}

export interface PcapngWriteOptions {
  readonly littleEndian?: boolean;
  /** Recorded as the application that wrote the file. */
  readonly application?: string;
}

/** Builds one block: type, length, body padded to 4 bytes, length. */
function block(type: number, body: Uint8Array, little: boolean): Uint8Array {
  const padded = Math.ceil(body.length / 4) * 4;
  const bytes = new Uint8Array(padded + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, little);
  view.setUint32(4, bytes.length, little);
  bytes.set(body, 8);
  view.setUint32(bytes.length - 4, bytes.length, little);
  return bytes;
}

function options(
  entries: readonly (readonly [code: number, value: Uint8Array])[],
  little: boolean,
): Uint8Array {
  if (entries.length === 0) return new Uint8Array(0);
  const size = entries.reduce((sum, [, value]) => sum + 4 + Math.ceil(value.length / 4) * 4, 4);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [code, value] of entries) {
    view.setUint16(at, code, little);
    view.setUint16(at + 2, value.length, little);
    bytes.set(value, at + 4);
    at += 4 + Math.ceil(value.length / 4) * 4;
  }
  return bytes;
}

/**
 * Writes packets as a pcapng file, piece by piece: one section, an interface description before the first packet of each
 * interface, time stamps in nanoseconds.
 */
export function* writePcapng(
  packets: Iterable<CapturedPacket>,
  settings: PcapngWriteOptions = {},
): Generator<Uint8Array, void, undefined> {
  const little = settings.littleEndian ?? true;
  const OPTION_APPLICATION = 4;
  const application = settings.application ?? 'tsbpf';
  const sectionOptions = options([[OPTION_APPLICATION, utf8(application).subarray(0, 256)]], little);
  const section = new Uint8Array(16 + sectionOptions.length);
  const sectionView = new DataView(section.buffer);
  sectionView.setUint32(0, BYTE_ORDER_MAGIC, little);
  sectionView.setUint16(4, 1, little);
  sectionView.setBigInt64(8, -1n, little);
  section.set(sectionOptions, 16);
  yield block(BLOCK.SECTION, section, little);

  const known = new Map<CaptureInterface, number>();
  for (const packet of packets) {
    let index = known.get(packet.interface);
    if (index === undefined) {
      index = known.size;
      known.set(packet.interface, index);
      yield interfaceBlock(packet.interface, little);
    }
    const body = new Uint8Array(20 + packet.data.length);
    const view = new DataView(body.buffer);
    view.setUint32(0, index, little);
    const ticks = BigInt.asUintN(64, packet.timestampNs);
    view.setUint32(4, Number(ticks >> 32n), little);
    view.setUint32(8, Number(ticks & 0xffff_ffffn), little);
    view.setUint32(12, packet.data.length, little);
    view.setUint32(16, packet.originalLength, little);
    body.set(packet.data, 20);
    yield block(BLOCK.ENHANCED, body, little);
  }
}

function interfaceBlock(source: CaptureInterface, little: boolean): Uint8Array {
  const NANOSECONDS = 9;
  const entries: [number, Uint8Array][] = [];
  if (source.name !== undefined) entries.push([OPTION.IF_NAME, utf8(source.name).subarray(0, 256)]);
  entries.push([OPTION.IF_TSRESOL, Uint8Array.of(NANOSECONDS)]);
  const tail = options(entries, little);
  const body = new Uint8Array(8 + tail.length);
  const view = new DataView(body.buffer);
  view.setUint16(0, source.linkType, little);
  view.setUint32(4, source.snapLength, little);
  body.set(tail, 8);
  return block(BLOCK.INTERFACE, body, little);
}
