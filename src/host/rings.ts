/**
 * Rings in memory that is shared with the kernel: BPF_MAP_TYPE_RINGBUF (consumer page writable, producer page and data twice
 * read-only) and the ring of a perf event (header page, data).
 *
 * Positions go through Atomics: on memory outside of JavaScript's heap they are the processor's own atomic loads and stores,
 * sequentially consistent, which is more than the acquire and release that the layouts ask for.
 *
 * Invariant: after `unmap` the addresses are ordinary zero pages until the last view of them is collected, so that a view that
 * somebody has kept reads zeros instead of ending the process.
 */
import type { Fd, RingMapping } from '../contracts/kernel.ts';
import { BPF_MAP_TYPE, UAPI_LAYOUTS } from '../uapi/index.ts';
import { errnoName } from '../util/errno.ts';
import { BpfError } from '../util/errors.ts';
import { errnoText } from './bpf.ts';
import type { Host } from './host.ts';
import { fieldOf } from './layout.ts';
import { mapInfoStruct } from './maps.ts';
import type { Native } from './native.ts';
import { Readiness } from './readiness.ts';

const PROT_READ = 1;
const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
/** MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE */
const REPLACE = 0x02 | 0x20 | 0x10 | 0x4000;
const F_DUPFD_CLOEXEC = 1030;
/** A record that another CPU is still writing: look again after this time. */
const BUSY_PAUSE_MS = 1;

const DATA_HEAD = fieldOf(UAPI_LAYOUTS.perf_event_mmap_page, 'data_head').offset;
const DATA_TAIL = fieldOf(UAPI_LAYOUTS.perf_event_mmap_page, 'data_tail').offset;

/** A shared mapping of a part of a descriptor. */
class Mapping {
  readonly buffer: ArrayBuffer;
  readonly #native: Native;
  readonly #address: number;
  readonly #size: number;

  constructor(native: Native, fd: number, offset: number, size: number, protection: number) {
    const address = native.call('mmap', 0, size, protection, MAP_SHARED, fd, offset);
    if (address < 0) {
      const code = errnoName(-address);
      throw new BpfError(code, `mmap of ${size} bytes of descriptor ${fd}: ${errnoText(code)}`);
    }
    this.#native = native;
    this.#address = address;
    this.#size = size;
    this.buffer = native.view(address, size);
  }

  /** The kernel's memory goes, the addresses stay while there is a view. */
  unmap(): void {
    const native = this.#native;
    native.call('mmap', this.#address, this.#size, PROT_READ_WRITE, REPLACE, -1, 0);
    returned(native).register(this.buffer, { address: this.#address, size: this.#size });
  }
}

interface Range {
  readonly address: number;
  readonly size: number;
}

const REGISTRIES = new WeakMap<Native, FinalizationRegistry<Range>>();

function returned(native: Native): FinalizationRegistry<Range> {
  let registry = REGISTRIES.get(native);
  if (registry === undefined) {
    registry = new FinalizationRegistry(({ address, size }) => {
      native.call('munmap', address, size);
    });
    REGISTRIES.set(native, registry);
  }
  return registry;
}

export function mapRing(host: Host, fd: Fd): RingMapping {
  const kind = host.fds.kind(fd);
  if (kind === 'map') return mapRingBuffer(host, fd);
  const pages = host.fds.entry(fd)?.pages;
  if (kind === 'perf_event' && pages !== undefined) return mapPerfRing(host, fd, pages);
  throw new BpfError('EINVAL', `descriptor ${fd} has no ring: it is no ring buffer and no bpf_output event`);
}

function mapRingBuffer(host: Host, fd: Fd): RingMapping {
  const info = mapInfoStruct(host, fd, host.fds);
  if (info?.u32('type') !== BPF_MAP_TYPE.BPF_MAP_TYPE_RINGBUF)
    throw new BpfError('EINVAL', `the map of descriptor ${fd} is no ring buffer`);
  const size = info.u32('max_entries');
  const page = host.native.pageSize;
  const consumer = new Mapping(host.native, fd, 0, page, PROT_READ_WRITE);
  let producer: Mapping;
  try {
    producer = new Mapping(host.native, fd, page, page + 2 * size, PROT_READ);
  } catch (error) {
    consumer.unmap();
    throw error;
  }
  return createRing(host, fd, {
    kind: 'ringbuf',
    size,
    read: new BigUint64Array(producer.buffer, 0, 1),
    written: new BigUint64Array(consumer.buffer, 0, 1),
    data: new Uint8Array(producer.buffer, page, size),
    mappings: [consumer, producer],
  });
}

function mapPerfRing(host: Host, fd: Fd, pages: number): RingMapping {
  const page = host.native.pageSize;
  const size = pages * page;
  const mapping = new Mapping(host.native, fd, 0, page + size, PROT_READ_WRITE);
  return createRing(host, fd, {
    kind: 'perf',
    size,
    read: new BigUint64Array(mapping.buffer, DATA_HEAD, 1),
    written: new BigUint64Array(mapping.buffer, DATA_TAIL, 1),
    data: new Uint8Array(mapping.buffer, page, size),
    mappings: [mapping],
  });
}

interface Parts {
  readonly kind: RingMapping['kind'];
  readonly size: number;
  /** Where the kernel puts its position, and where we put ours. */
  readonly read: BigUint64Array;
  readonly written: BigUint64Array;
  readonly data: Uint8Array;
  readonly mappings: readonly Mapping[];
}

function createRing(host: Host, fd: Fd, parts: Parts): RingMapping {
  const { read, written, data } = parts;
  const headers = new Int32Array(data.buffer, data.byteOffset, data.length / 4);
  // A descriptor of our own: the caller may close the other one while the ring is in use.
  const own = host.native.call('fcntl', fd, F_DUPFD_CLOEXEC, 0);
  if (own < 0) {
    for (const mapping of parts.mappings) mapping.unmap();
    throw BpfError.fromReturn(own, `duplicating descriptor ${fd}`);
  }
  const hasData = () => Atomics.load(read, 0) !== Atomics.load(written, 0);
  const readiness = new Readiness(host.native, own, hasData);
  /** Positions when `wait` last said that there is something. */
  let told: readonly [bigint, bigint] = [-1n, -1n];
  let mapped = true;
  const unmap = () => {
    if (!mapped) return;
    mapped = false;
    readiness.close();
    for (const mapping of parts.mappings) mapping.unmap();
  };
  host.fds.own(own, { kind: 'other', onClose: unmap });
  return {
    kind: parts.kind,
    size: parts.size,
    producerPosition: () => Atomics.load(read, 0),
    consumerPosition: () => Atomics.load(written, 0),
    setConsumerPosition: (position) => {
      Atomics.store(written, 0, position);
    },
    data: () => data,
    header: (offset) => Atomics.load(headers, offset >>> 2) >>> 0,
    async wait(timeoutMs, signal) {
      // An answer would make those who read in a loop turn forever.
      if (!mapped)
        throw new BpfError('EBADF', 'the ring is unmapped: it was closed, or its kernel was shut down');
      if (signal?.aborted) return false;
      if (hasData()) {
        // Nothing has moved since: the next record is still being written, and no wakeup is certain to come when it is done.
        const stuck = told[0] === Atomics.load(read, 0) && told[1] === Atomics.load(written, 0);
        await pause(stuck ? BUSY_PAUSE_MS : 0);
      } else if (!(await readiness.wait(timeoutMs, signal))) return false;
      told = [Atomics.load(read, 0), Atomics.load(written, 0)];
      return true;
    },
    unmap: () => {
      if (mapped) host.fds.close(own as Fd);
    },
  };
}

/** Lets the event loop turn at least once. */
function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    if (milliseconds === 0) setImmediate(resolve);
    else setTimeout(resolve, milliseconds);
  });
}
