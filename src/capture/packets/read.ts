/**
 * Packets of a capture file of either format, one at a time: from bytes in memory or from pieces as they arrive. What is not yet
 * needed is not held, so a capture may be larger than memory.
 */
import { BpfError } from '../../util/index.ts';
import { ByteQueue } from './byte-queue.ts';
import { PcapReader, pcapMagic } from './pcap.ts';
import { isPcapng, PcapngReader } from './pcapng.ts';
import type { CapturedPacket } from './types.ts';

/** Decodes a capture that is pushed piece by piece. */
export class CaptureDecoder {
  private readonly queue = new ByteQueue();
  private reader: PcapReader | PcapngReader | undefined;

  push(piece: Uint8Array): void {
    this.queue.push(piece);
  }

  /** Every packet that is complete by now. Errors: ENOEXEC for an unknown format, EINVAL for a malformed file. */
  *packets(): Generator<CapturedPacket, void, undefined> {
    this.reader ??= this.open();
    while (this.reader !== undefined) {
      const packet = this.reader.next();
      if (packet === undefined) return;
      yield packet;
    }
  }

  /** To be called after the last piece. Errors: EINVAL where the file ends inside a record. */
  end(): void {
    const { available, pendingSkip, position } = this.queue;
    if (this.reader === undefined && available === 0) {
      throw new BpfError('ENOEXEC', 'an empty file is no packet capture');
    }
    if (this.reader === undefined) throw notACapture();
    if (available > 0 || pendingSkip > 0) {
      throw new BpfError('EINVAL', `the capture ends inside the record at offset ${position}`, {
        hint: 'all packets before it were read',
      });
    }
  }

  private open(): PcapReader | PcapngReader | undefined {
    const magic = this.queue.peek(4);
    if (magic === undefined) return undefined;
    if (isPcapng(magic)) return new PcapngReader(this.queue);
    if (pcapMagic(magic) !== undefined) return new PcapReader(this.queue);
    throw notACapture();
  }
}

function notACapture(): BpfError {
  return new BpfError('ENOEXEC', 'neither a pcap nor a pcapng file', {
    hint: 'record with tcpdump -w FILE or dumpcap',
  });
}

/** Packets of a capture in memory, read one by one; their data are views of `bytes`. */
export function* readPackets(bytes: Uint8Array): Generator<CapturedPacket, void, undefined> {
  const decoder = new CaptureDecoder();
  decoder.push(bytes);
  yield* decoder.packets();
  decoder.end();
}

/** Packets of a capture that arrives in pieces, such as a file's read stream. */
export async function* streamPackets(
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<CapturedPacket, void, undefined> {
  const decoder = new CaptureDecoder();
  for await (const piece of pieces) {
    decoder.push(piece);
    yield* decoder.packets();
  }
  decoder.end();
}
