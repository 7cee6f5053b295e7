/**
 * Rings that user space maps, in Linux's own page layout, and who waits for them: the ring of a perf event
 * (perf_event_open(2), struct perf_event_mmap_page) and the mapping of a BPF ring buffer.
 */
import type { RingMapping } from '../contracts/kernel.ts';
import type { RingAreas } from '../maps/index.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { ERRNO } from '../util/errno.ts';
import { BpfError } from '../util/errors.ts';

export const PAGE_SIZE = 4096;

/** Offsets in struct perf_event_mmap_page. */
const DATA_HEAD = 1024;
const DATA_TAIL = 1032;
const DATA_OFFSET = 1040;
const DATA_SIZE = 1048;

/** enum perf_event_type */
const PERF_RECORD_LOST = 2;
const PERF_RECORD_SAMPLE = 9;

/** Those who wait for a ring to be written. */
export class WaitQueue {
  #waiting: (() => void)[] = [];

  wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }

  /** True when woken, false after `timeoutMs` or when `signal` fires. */
  wait(timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
    if (signal?.aborted) return Promise.resolve(false);
    return new Promise((resolve) => {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const finish = (woken: boolean) => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        this.#waiting = this.#waiting.filter((other) => other !== onWake);
        resolve(woken);
      };
      const onWake = () => finish(true);
      const onAbort = () => finish(false);
      this.#waiting.push(onWake);
      signal?.addEventListener('abort', onAbort);
      if (Number.isFinite(timeoutMs) && timeoutMs >= 0) timer = setTimeout(() => finish(false), timeoutMs);
    });
  }
}

/** A BPF ring buffer as user space maps it. */
export function mapRingBuffer(memory: GuestMemory, areas: RingAreas, waiters: WaitQueue): RingMapping {
  return {
    kind: 'ringbuf',
    size: areas.size,
    // Other CPUs may be writing: what a position or a header says is there, is there.
    producerPosition: () => Atomics.load(memory.u64, areas.producer >>> 3),
    consumerPosition: () => Atomics.load(memory.u64, areas.consumer >>> 3),
    setConsumerPosition: (position) => void Atomics.store(memory.u64, areas.consumer >>> 3, position),
    data: () => memory.u8.subarray(areas.data, areas.data + areas.size),
    header: (offset) => Atomics.load(memory.u32, (areas.data + offset) >>> 2),
    wait: (timeoutMs, signal) => waiters.wait(timeoutMs, signal),
    unmap: () => {},
  };
}

/** The ring of one perf event: a header page and `pages` data pages. */
export class PerfRing {
  readonly waiters = new WaitQueue();
  readonly #memory: GuestMemory;
  readonly #base: number;
  readonly #size: number;
  readonly #id: number;
  readonly #wakeupEvents: number;
  #sinceWakeup = 0;
  /** Samples that found no room and are not yet reported by a PERF_RECORD_LOST. */
  #pendingLost = 0n;
  lost = 0n;

  constructor(memory: GuestMemory, pages: number, id: number, wakeupEvents: number) {
    if (!Number.isInteger(pages) || pages < 1 || pages > 1 << 16 || (pages & (pages - 1)) !== 0) {
      throw new BpfError('EINVAL', `a perf ring needs a power of two of data pages, not ${pages}`);
    }
    this.#memory = memory;
    this.#size = pages * PAGE_SIZE;
    this.#base = memory.allocate(PAGE_SIZE + this.#size, 'perf ring', PAGE_SIZE);
    this.#id = id;
    this.#wakeupEvents = Math.max(1, wakeupEvents);
    memory.writeU64(this.#base + DATA_OFFSET, BigInt(PAGE_SIZE));
    memory.writeU64(this.#base + DATA_SIZE, BigInt(this.#size));
  }

  /** Writes one PERF_RECORD_SAMPLE with PERF_SAMPLE_RAW: 0, or -ENOSPC where it has no room (it is then counted as lost). */
  output(parts: readonly { start: number; size: number }[]): number {
    let raw = 0;
    for (const part of parts) raw += part.size;
    // The raw size counts its own padding: header (8), size word (4), data, zeros up to a multiple of 8.
    const padded = Math.ceil((raw + 4) / 8) * 8;
    const size = 8 + padded;
    const lostSize = this.#pendingLost > 0n ? 24 : 0;
    // The header holds the size in 16 bits.
    if (size > 0xffff) return -ERRNO.E2BIG;
    const head = this.#memory.readU64(this.#base + DATA_HEAD);
    const used = Number(head - this.#memory.readU64(this.#base + DATA_TAIL));
    if (used < 0 || used + size + lostSize > this.#size) {
      this.#pendingLost++;
      this.lost++;
      return -ERRNO.ENOSPC;
    }
    let at = Number(head % BigInt(this.#size));
    if (lostSize > 0) {
      at = this.#word(at, PERF_RECORD_LOST);
      at = this.#word(at, lostSize << 16);
      at = this.#word(at, this.#id);
      at = this.#word(at, 0);
      at = this.#word(at, Number(this.#pendingLost & 0xffff_ffffn));
      at = this.#word(at, Number(this.#pendingLost >> 32n));
      this.#pendingLost = 0n;
    }
    at = this.#word(at, PERF_RECORD_SAMPLE);
    at = this.#word(at, size << 16);
    at = this.#word(at, padded - 4);
    for (const part of parts) at = this.#copy(at, part.start, part.size);
    for (let pad = padded - 4 - raw; pad > 0; pad--) {
      this.#memory.u8[this.#base + PAGE_SIZE + at] = 0;
      at = (at + 1) % this.#size;
    }
    this.#memory.writeU64(this.#base + DATA_HEAD, head + BigInt(size + lostSize));
    if (++this.#sinceWakeup >= this.#wakeupEvents) {
      this.#sinceWakeup = 0;
      this.waiters.wake();
    }
    return 0;
  }

  map(): RingMapping {
    const memory = this.#memory;
    const base = this.#base;
    const size = this.#size;
    return {
      kind: 'perf',
      size,
      producerPosition: () => memory.readU64(base + DATA_HEAD),
      consumerPosition: () => memory.readU64(base + DATA_TAIL),
      setConsumerPosition: (position) => memory.writeU64(base + DATA_TAIL, position),
      data: () => memory.u8.subarray(base + PAGE_SIZE, base + PAGE_SIZE + size),
      header: (offset) => memory.u32[(base + PAGE_SIZE + offset) >>> 2],
      wait: (timeoutMs, signal) => this.waiters.wait(timeoutMs, signal),
      unmap: () => {},
    };
  }

  free(): void {
    this.#memory.free(this.#base);
  }

  /** Stores a 32-bit word at a 4-aligned offset of the data area: the next offset. */
  #word(at: number, value: number): number {
    this.#memory.u32[(this.#base + PAGE_SIZE + at) >>> 2] = value >>> 0;
    return (at + 4) % this.#size;
  }

  #copy(at: number, start: number, size: number): number {
    const data = this.#base + PAGE_SIZE;
    const first = Math.min(size, this.#size - at);
    const bytes = this.#memory.u8;
    bytes.copyWithin(data + at, start, start + first);
    if (first < size) bytes.copyWithin(data, start + first, start + size);
    return (at + size) % this.#size;
  }
}
