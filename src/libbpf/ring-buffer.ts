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

/** Of one step, after which the writers get their room back. */
const STEP_RECORDS = 4096;
const STEP_BYTES = 1 << 16;

/** Sees a record where it lies, `length` bytes of `bytes` from `offset` on: they are the kernel's again when the call returns. */
export type RecordVisitor = (bytes: Uint8Array, offset: number, length: number) => void;

export class RingBufferReader {
  readonly #ring: RingMapping;
  readonly #waiting = new Waiting();
  /** Where the records of a step lie, counted from its first byte, and how long they are. */
  readonly #offsets = new Int32Array(STEP_RECORDS);
  readonly #lengths = new Int32Array(STEP_RECORDS);
  /** Bytes of the step. */
  #stepBytes = 0;
  /** Records delivered so far. */
  delivered = 0;

  constructor(kernel: Kernel, mapFd: Fd) {
    this.#ring = kernel.mapRing(mapFd);
  }

  /**
   * All records that are complete now, at most `limit`, as copies; those that were read together share one buffer. Throws EBADMSG
   * where the ring's contents cannot be: somebody has written over it. What comes before the damage is delivered first.
   */
  consume(limit = Number.POSITIVE_INFINITY): Uint8Array[] {
    const records: Uint8Array[] = [];
    this.#steps(limit, (data, begin, count) => {
      const copy = copyWrapped(data, this.#ring.size, begin, this.#stepBytes).buffer;
      for (let i = 0; i < count; i++)
        records.push(new Uint8Array(copy, this.#offsets[i]!, this.#lengths[i]!));
    });
    return records;
  }

  /** As `consume`, without copies but for the record at the ring's end: how many there were. */
  visit(visitor: RecordVisitor, limit = Number.POSITIVE_INFINITY): number {
    const { size } = this.#ring;
    let visited = 0;
    this.#steps(limit, (data, begin, count) => {
      for (let i = 0; i < count; i++) {
        const length = this.#lengths[i]!;
        const offset = (begin + this.#offsets[i]!) % size;
        if (offset + length <= size) visitor(data, offset, length);
        else visitor(copyWrapped(data, size, offset, length), 0, length);
      }
      visited += count;
    });
    return visited;
  }

  /**
   * Gives what is complete now to `take`, step by step: the data area, where the step begins in it, how many records there are in
   * `offsets` and `lengths`. After each step its room goes back to the writers, whatever `take` throws.
   */
  #steps(limit: number, take: (data: Uint8Array, begin: number, count: number) => void): void {
    const ring = this.#ring;
    if (this.#waiting.closed) return;
    const data = ring.data();
    const start = ring.consumerPosition();
    const end = ring.producerPosition();
    if (end - start > BigInt(ring.size))
      throw new BpfError('EBADMSG', `the ring buffer claims ${end - start} bytes; it has ${ring.size}`);
    // Positions are counted from the start, in plain numbers.
    const begin = Number(start & BigInt(ring.size - 1));
    const available = Number(end - start);
    let done = 0;
    let left = limit;
    let taken = 0;
    while (done < available && left > 0) {
      const from = (begin + done) % ring.size;
      const count = this.#step(from, available - done, Math.min(left, STEP_RECORDS), taken === 0);
      if (this.#stepBytes === 0) return;
      done += this.#stepBytes;
      left -= count;
      taken += count;
      this.delivered += count;
      try {
        if (count > 0) take(data, from, count);
      } finally {
        ring.setConsumerPosition(start + BigInt(done));
      }
    }
  }

  /** Finds the records of the next step, which may have none but discarded ones; no bytes: nothing is complete. */
  #step(from: number, available: number, most: number, isFirst: boolean): number {
    const ring = this.#ring;
    let count = 0;
    let bytes = 0;
    const room = Math.min(available, STEP_BYTES);
    while (bytes < room && count < most) {
      const word = ring.header((from + bytes) % ring.size);
      if ((word & BUSY) !== 0) break;
      const length = word & ~(BUSY | DISCARD);
      const step = alignUp(length + HEADER, 8);
      if (bytes + step > available) {
        if (count > 0 || !isFirst) break;
        throw new BpfError(
          'EBADMSG',
          `a ring buffer record claims ${length} bytes where ${available - bytes} have been written`,
        );
      }
      if ((word & DISCARD) === 0) {
        this.#offsets[count] = bytes + HEADER;
        this.#lengths[count] = length;
        count++;
      }
      bytes += step;
    }
    this.#stepBytes = bytes;
    return count;
  }

  /** Resolves when there may be something to consume, when `signal` fires, and now and then. */
  wait(signal?: AbortSignal): Promise<void> {
    return this.#waiting.wait([this.#ring], signal);
  }

  /** Every record as it comes, until `signal` fires or the reader is closed. The event loop turns between what is read together. */
  records(options: { readonly signal?: AbortSignal } = {}): AsyncIterableIterator<Uint8Array> {
    let batch: Uint8Array[] = [];
    let next = 0;
    let looked = false;
    let ended = false;
    const end = (): IteratorResult<Uint8Array> => {
      ended = true;
      batch = [];
      return { done: true, value: undefined };
    };
    const refill = async (): Promise<IteratorResult<Uint8Array>> => {
      while (!ended && !this.#waiting.closed) {
        // Also where there is more already: with a writer as fast as this reader nothing else would ever run.
        if (looked) await this.#waiting.wait([this.#ring], options.signal);
        looked = true;
        // Somebody who does not wait for each answer may have asked meanwhile.
        if (next >= batch.length) {
          next = 0;
          batch = [];
          if (!ended) batch = this.consume();
        }
        if (next < batch.length) return { done: false, value: batch[next++]! };
        if (options.signal?.aborted) break;
      }
      return end();
    };
    // A generator would wait three times for each record; this hands over what is there at once.
    return {
      next: async () => {
        if (next < batch.length) return { done: false, value: batch[next++]! };
        return refill();
      },
      return: async () => end(),
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<Uint8Array> {
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
