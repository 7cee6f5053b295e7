/**
 * Reading a perf buffer: one ring a CPU behind a PERF_EVENT_ARRAY (perf_event_open(2), "mmap layout"). Samples that found no
 * room are counted, by CPU, as the kernel reports them in PERF_RECORD_LOST.
 */
import type { Fd, Kernel, RingMapping } from '../contracts/kernel.ts';
import { PERF_RECORD } from '../uapi/index.ts';
import { BpfError } from '../util/errors.ts';
import { copyWrapped } from './ring-buffer.ts';
import { Waiting } from './waiting.ts';

export interface PerfSample {
  readonly cpu: number;
  /** What the program wrote, padded by the kernel to a multiple of 8 plus 4 bytes. */
  readonly data: Uint8Array;
}

export interface PerfBufferOptions {
  /** Data pages of 4096 bytes a CPU, a power of two (default 64). */
  readonly pages?: number;
  /** Told of lost samples as they are found. */
  readonly onLost?: (cpu: number, count: bigint) => void;
}

/** struct perf_event_header */
const HEADER = 8;
/** Bytes behind the header: the size of the raw data; id and count. */
const MIN_BODY: Readonly<Record<number, number>> = {
  [PERF_RECORD.PERF_RECORD_SAMPLE]: 8,
  [PERF_RECORD.PERF_RECORD_LOST]: 16,
};

interface CpuRing {
  readonly cpu: number;
  readonly fd: Fd;
  readonly ring: RingMapping;
}

export class PerfBufferReader {
  /** Samples lost so far. */
  lost = 0n;
  /** Samples delivered so far. */
  delivered = 0;
  readonly #kernel: Kernel;
  readonly #rings: CpuRing[] = [];
  readonly #onLost: ((cpu: number, count: bigint) => void) | undefined;
  readonly #waiting = new Waiting();

  /** Opens one ring a CPU and puts it into the map's slot of that CPU. */
  constructor(kernel: Kernel, mapFd: Fd, options: PerfBufferOptions = {}) {
    this.#kernel = kernel;
    this.#onLost = options.onLost;
    const info = kernel.objGetInfoByFd({ bpfFd: mapFd });
    const slots = info.kind === 'map' ? info.maxEntries : 0;
    try {
      for (let cpu = 0; cpu < Math.min(slots, kernel.features().possibleCpus); cpu++) {
        const fd = kernel.perfEventOpen({ kind: 'bpf_output', cpu, pages: options.pages ?? 64 });
        this.#rings.push({ cpu, fd, ring: kernel.mapRing(fd) });
        const word = (value: number) => new Uint8Array(new Uint32Array([value]).buffer);
        kernel.mapUpdateElem({ mapFd, key: word(cpu), value: word(fd), flags: 0 });
      }
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** All samples that are there now, CPU by CPU. */
  consume(): PerfSample[] {
    const samples: PerfSample[] = [];
    for (const one of this.#rings) this.#consumeRing(one, samples);
    this.delivered += samples.length;
    return samples;
  }

  /** Resolves when there may be something to consume, when `signal` fires, and now and then. */
  wait(signal?: AbortSignal): Promise<void> {
    return this.#waiting.wait(
      this.#rings.map(({ ring }) => ring),
      signal,
    );
  }

  /** Every sample as it comes, until `signal` fires or the reader is closed. */
  async *samples(options: { signal?: AbortSignal } = {}): AsyncGenerator<PerfSample> {
    while (!this.#waiting.closed) {
      const batch = this.consume();
      yield* batch;
      if (options.signal?.aborted) return;
      if (batch.length > 0) continue;
      const rings = this.#rings.map(({ ring }) => ring);
      if (rings.length === 0) return;
      await this.#waiting.wait(rings, options.signal);
    }
  }

  [Symbol.asyncIterator](): AsyncGenerator<PerfSample> {
    return this.samples();
  }

  close(): void {
    this.#waiting.close();
    for (const { ring, fd } of this.#rings.splice(0)) {
      ring.unmap();
      this.#kernel.close(fd);
    }
  }

  #consumeRing({ cpu, ring }: CpuRing, samples: PerfSample[]): void {
    const data = ring.data();
    const head = ring.producerPosition();
    let tail = ring.consumerPosition();
    if (head - tail > BigInt(ring.size))
      throw new BpfError(
        'EBADMSG',
        `the perf ring of CPU ${cpu} claims ${head - tail} bytes; it has ${ring.size}`,
      );
    const first = samples.length;
    while (tail < head) {
      const offset = Number(tail % BigInt(ring.size));
      const header = new DataView(copyWrapped(data, ring.size, offset, HEADER).buffer);
      const type = header.getUint32(0, true);
      const size = header.getUint16(6, true);
      const least = HEADER + (MIN_BODY[type] ?? 0);
      if (size < least || size % 8 !== 0 || BigInt(size) > head - tail) {
        // What comes before the damage is delivered first.
        if (samples.length > first) break;
        throw new BpfError('EBADMSG', `a perf record of type ${type} of CPU ${cpu} claims ${size} bytes`);
      }
      const body = copyWrapped(data, ring.size, offset + HEADER, size - HEADER);
      const view = new DataView(body.buffer);
      if (type === PERF_RECORD.PERF_RECORD_SAMPLE) {
        const length = Math.min(view.getUint32(0, true), body.length - 4);
        samples.push({ cpu, data: body.subarray(4, 4 + length) });
      } else if (type === PERF_RECORD.PERF_RECORD_LOST) {
        const count = view.getBigUint64(8, true);
        this.lost += count;
        this.#onLost?.(cpu, count);
      }
      tail += BigInt(size);
    }
    ring.setConsumerPosition(tail);
  }
}
