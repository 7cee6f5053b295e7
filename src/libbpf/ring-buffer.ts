/**
 * Reading a BPF_MAP_TYPE_RINGBUF (Documentation/bpf/ringbuf.rst): records in the order of their reservation, those that
 * were discarded left out, stopping at one that is still being written. The same on both kernels.
 */
import type { Fd, Kernel, RingMapping } from '../contracts/kernel.ts';
import { BPF_RINGBUF } from '../uapi/index.ts';
import { alignUp } from '../util/bytes.ts';
import { BpfError } from '../util/errors.ts';

const BUSY = 0x8000_0000;
const DISCARD = 0x4000_0000;
const HEADER = BPF_RINGBUF.BPF_RINGBUF_HDR_SZ;

export class RingBufferReader {
  readonly #ring: RingMapping;
  #closed = false;
  /** Records delivered so far. */
  delivered = 0;

  constructor(kernel: Kernel, mapFd: Fd) {
    this.#ring = kernel.mapRing(mapFd);
  }

  /** All records that are complete now, as copies, at most `limit`. */
  consume(limit = Number.POSITIVE_INFINITY): Uint8Array[] {
    const ring = this.#ring;
    const records: Uint8Array[] = [];
    const data = ring.data();
    let position = ring.consumerPosition();
    const end = ring.producerPosition();
    while (position < end && records.length < limit) {
      const offset = Number(position & BigInt(ring.size - 1));
      const word = ring.header(offset);
      if ((word & BUSY) !== 0) break;
      const length = word & ~(BUSY | DISCARD);
      // A length that cannot be means that somebody has written over the ring.
      if (length > ring.size - HEADER)
        throw new BpfError(
          'EBADMSG',
          `a ring buffer record claims ${length} bytes; the ring has ${ring.size}`,
        );
      if ((word & DISCARD) === 0) records.push(copyWrapped(data, ring.size, offset + HEADER, length));
      position += BigInt(alignUp(length + HEADER, 8));
    }
    ring.setConsumerPosition(position);
    this.delivered += records.length;
    return records;
  }

  /** Every record as it comes, until `signal` fires or the reader is closed. */
  async *records(options: { signal?: AbortSignal } = {}): AsyncGenerator<Uint8Array> {
    while (!this.#closed) {
      const batch = this.consume();
      yield* batch;
      if (options.signal?.aborted) return;
      if (batch.length === 0) await this.#ring.wait(1000, options.signal);
    }
  }

  [Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    return this.records();
  }

  close(): void {
    this.#closed = true;
    this.#ring.unmap();
  }
}

/** Data pages are not mapped twice everywhere, so a record may wrap. */
export function copyWrapped(data: Uint8Array, size: number, offset: number, length: number): Uint8Array {
  const start = offset % size;
  const bytes = new Uint8Array(length);
  const first = Math.min(length, size - start);
  bytes.set(data.subarray(start, start + first));
  if (first < length) bytes.set(data.subarray(0, length - first), first);
  return bytes;
}
