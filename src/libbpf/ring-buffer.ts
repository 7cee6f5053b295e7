/**
 * Reading a BPF_MAP_TYPE_RINGBUF (Documentation/bpf/ringbuf.rst): records in the order of their reservation, those that
 * were discarded left out, stopping at one that is still being written. The same on both kernels.
 */
import type { Fd, Kernel, RingMapping } from '../contracts/kernel.ts';
import { BPF_RINGBUF } from '../uapi/index.ts';
import { alignUp } from '../util/bytes.ts';
import { BpfError } from '../util/errors.ts';
import { Waiting } from './waiting.ts';

const BUSY = 0x8000_0000;
const DISCARD = 0x4000_0000;
const HEADER = BPF_RINGBUF.BPF_RINGBUF_HDR_SZ;

export class RingBufferReader {
  readonly #ring: RingMapping;
  readonly #waiting = new Waiting();
  /** Records delivered so far. */
  delivered = 0;

  constructor(kernel: Kernel, mapFd: Fd) {
    this.#ring = kernel.mapRing(mapFd);
  }

  /**
   * All records that are complete now, as copies, at most `limit`. Throws EBADMSG where the ring's contents cannot be: somebody
   * has written over it. What comes before the damage is delivered first.
   */
  consume(limit = Number.POSITIVE_INFINITY): Uint8Array[] {
    const ring = this.#ring;
    const records: Uint8Array[] = [];
    if (this.#waiting.closed) return records;
    const data = ring.data();
    const start = ring.consumerPosition();
    const end = ring.producerPosition();
    if (end - start > BigInt(ring.size))
      throw new BpfError('EBADMSG', `the ring buffer claims ${end - start} bytes; it has ${ring.size}`);
    // Positions are counted from the start, in plain numbers.
    const begin = Number(start & BigInt(ring.size - 1));
    const available = Number(end - start);
    let done = 0;
    while (done < available && records.length < limit) {
      const offset = (begin + done) % ring.size;
      const word = ring.header(offset);
      if ((word & BUSY) !== 0) break;
      const length = word & ~(BUSY | DISCARD);
      const step = alignUp(length + HEADER, 8);
      if (done + step > available) {
        if (records.length > 0) break;
        throw new BpfError(
          'EBADMSG',
          `a ring buffer record claims ${length} bytes where ${available - done} have been written`,
        );
      }
      if ((word & DISCARD) === 0) records.push(copyWrapped(data, ring.size, offset + HEADER, length));
      done += step;
    }
    if (done > 0) ring.setConsumerPosition(start + BigInt(done));
    this.delivered += records.length;
    return records;
  }

  /** Every record as it comes, until `signal` fires or the reader is closed. */
  async *records(options: { signal?: AbortSignal } = {}): AsyncGenerator<Uint8Array> {
    while (!this.#waiting.closed) {
      const batch = this.consume();
      yield* batch;
      if (options.signal?.aborted) return;
      if (batch.length === 0) await this.#waiting.wait([this.#ring], options.signal);
    }
  }

  [Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    return this.records();
  }

  close(): void {
    if (this.#waiting.closed) return;
    this.#waiting.close();
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
