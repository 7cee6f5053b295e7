/**
 * Tables as BCC's Python gives them, with JavaScript's names: a Map-like object over a map of either kernel, keys and values typed by
 * the program's own structs. What only some kinds of map can do says so (EOPNOTSUPP) on the others.
 */
import { type Btf, type BtfValue, formatValue } from '../btf/index.ts';
import type { Kernel } from '../contracts/kernel.ts';
import { BpfMap, type MapInput, PerfBufferReader, RingBufferReader } from '../libbpf/index.ts';
import { BpfError } from '../util/errors.ts';
import {
  type HistogramOptions,
  type JsonHistogram,
  linearHistogram,
  log2Histogram,
  log2Intervals,
} from './histogram.ts';

/** What a table's events and its owner have to do with each other. */
export interface TableOwner {
  readonly kernel: Kernel;
  readonly btf: Btf | undefined;
  /** Struct of the events of that table, where the program says one. */
  eventType(table: string): string | undefined;
  /** Descriptor of a loaded function, for program arrays. */
  programFd(name: string): number;
  addPoller(poller: Poller): void;
  /** What is to be done when the program ends. */
  onClose(action: () => void): void;
  write(text: string): void;
  /** Where lost events are told of that nobody asked about. */
  writeError(text: string): void;
  /** Events for which a ring buffer had no room, as the program's methods counted them; undefined where they do not. */
  lostEvents(table: string): bigint | undefined;
}

/** Something that `BPF.poll` looks after. */
export interface Poller {
  readonly kind: 'perf' | 'ring';
  /** Hands over what is there; gives how many. */
  consume(): number;
  /** Resolves when there may be something. */
  wait(signal: AbortSignal): Promise<void>;
  close(): void;
}

/** Called with an event as the program's struct has it (bytes where that is not known), its bytes, and the CPU (perf buffers). */
export type EventCallback = (event: BtfValue | Uint8Array, bytes: Uint8Array, cpu: number) => void;

/** A loaded function, for a slot of a program array. */
export interface SlotProgram {
  readonly fd: number;
  readonly program: object;
}

export interface PerfBufferSettings {
  /** Pages of the ring of each CPU, a power of two. Default 8, as in BCC. */
  readonly pageCount?: number;
  /** Default, as in BCC: a line to stderr. */
  readonly onLost?: (count: bigint, cpu: number) => void;
}

export interface RingBufferSettings {
  /** Told while polling of events for which there was no room: those of `BPF_RINGBUF_OUTPUT` tables. Default: a line to stderr. */
  readonly onLost?: (count: bigint) => void;
}

/** Queues and stacks: the oldest element goes where there is no room. */
export const BPF_EXIST = 2;

export interface TableHistogramOptions extends HistogramOptions {
  /** Title of each histogram of a table whose keys have a bucket in front of the slot. Default `Bucket ptr`. */
  readonly sectionHeader?: string;
  /** How a bucket is shown. */
  readonly sectionPrint?: (bucket: BtfValue) => string;
  /** Buckets under one heading, from a key's first member. */
  readonly bucket?: (bucket: BtfValue) => BtfValue;
  readonly bucketSort?: (buckets: BtfValue[]) => BtfValue[];
}

const LOG2_SLOTS = 65;
const LINEAR_SLOTS = 1025;
const STACK_WORD = 8;
/** Maps whose entries are always there. */
const FIXED: ReadonlySet<string> = new Set(['array', 'percpu_array']);

export class Table implements Iterable<[BtfValue, BtfValue | BtfValue[]]> {
  readonly map: BpfMap;
  readonly #owner: TableOwner;

  constructor(map: BpfMap, owner: TableOwner) {
    this.map = map;
    this.#owner = owner;
  }

  get name(): string {
    return this.map.name;
  }
  /** Kind of the map: `hash`, `percpu_array`. */
  get kind(): string {
    return this.map.type.name;
  }
  get maxEntries(): number {
    return this.map.definition.maxEntries;
  }
  /** Number of entries, by walking. */
  get size(): number {
    return this.map.count();
  }

  // Map-like ------------------------------------------------------------------------------------------------------

  /** Undefined where there is none. Per-CPU tables: one value a CPU. */
  get(key: MapInput): BtfValue | BtfValue[] | undefined {
    return this.map.get(key);
  }
  /** As `get`. */
  lookup(key: MapInput): BtfValue | BtfValue[] | undefined {
    return this.map.get(key);
  }
  has(key: MapInput): boolean {
    return this.map.has(key);
  }
  /** Program arrays take a function or the name of one that was loaded, maps of maps a table. */
  set(key: MapInput, value: MapInput | SlotProgram | Table): this {
    this.map.set(key, this.#slotValue(value));
    return this;
  }
  update(key: MapInput, value: MapInput | SlotProgram | Table): this {
    return this.set(key, value);
  }
  /** False where there was none. */
  delete(key: MapInput): boolean {
    return this.map.delete(key);
  }
  keys(): Generator<BtfValue> {
    return this.map.keys();
  }
  values(): Generator<BtfValue | BtfValue[]> {
    return this.map.values();
  }
  entries(): Generator<[BtfValue, BtfValue | BtfValue[]]> {
    return this.map.entries();
  }
  /** All pairs, as an array. */
  items(): [BtfValue, BtfValue | BtfValue[]][] {
    return [...this.map.entries()];
  }
  [Symbol.iterator](): Generator<[BtfValue, BtfValue | BtfValue[]]> {
    return this.map.entries();
  }
  /** Arrays keep their entries: they become 0. */
  clear(): void {
    this.map.clear();
  }
  /** An entry of an array becomes 0, others go. */
  clearItem(key: MapInput): void {
    if (FIXED.has(this.kind)) this.set(key, new Uint8Array(this.map.storedSize));
    else this.map.delete(key);
  }
  /** The key behind `key`, the first one without; undefined at the end. */
  next(key?: MapInput): BtfValue | undefined {
    const bytes = this.#owner.kernel.mapGetNextKey({
      mapFd: this.map.fd,
      key: key === undefined ? null : this.map.encodeKey(key),
    });
    return bytes === null ? undefined : this.map.decodeKey(bytes);
  }
  /** Every value becomes 0; the keys stay. */
  zero(): void {
    const bytes = new Uint8Array(this.map.storedSize);
    for (const key of [...this.map.keyBytes()])
      this.#owner.kernel.mapUpdateElem({ mapFd: this.map.fd, key, value: bytes, flags: 0 });
  }

  // Batches -------------------------------------------------------------------------------------------------------

  /** All pairs by MAP_LOOKUP_BATCH. */
  itemsLookupBatch(): [BtfValue, BtfValue | BtfValue[]][] {
    return this.#batches((attr) => this.#owner.kernel.mapLookupBatch(attr));
  }
  /** The same; the entries are gone afterwards. */
  itemsLookupAndDeleteBatch(): [BtfValue, BtfValue | BtfValue[]][] {
    return this.#batches((attr) => this.#owner.kernel.mapLookupAndDeleteBatch(attr));
  }
  /** How many were written. */
  itemsUpdateBatch(entries: Iterable<readonly [MapInput, MapInput]>): number {
    const keys: Uint8Array[] = [];
    const values: Uint8Array[] = [];
    for (const [key, value] of entries) {
      keys.push(this.map.encodeKey(key));
      values.push(this.#encodeValue(value));
    }
    return this.#owner.kernel.mapUpdateBatch({ mapFd: this.map.fd, keys, values });
  }
  /** Without keys: all of them. */
  itemsDeleteBatch(keys?: Iterable<MapInput>): number {
    const encoded = [...(keys ?? this.map.keyBytes())].map((key) => this.map.encodeKey(key));
    if (encoded.length === 0) return 0;
    return this.#owner.kernel.mapDeleteBatch({ mapFd: this.map.fd, keys: encoded });
  }

  // Queues and stacks ---------------------------------------------------------------------------------------------

  /** `flags`: `BPF_EXIST`, and the oldest element goes where there is no room. Errors: E2BIG. */
  push(value: MapInput, flags = 0): void {
    const { kernel } = this.#owner;
    if (flags === 0) this.map.push(value);
    else {
      const key = new Uint8Array();
      kernel.mapUpdateElem({ mapFd: this.map.fd, key, value: this.#encodeValue(value), flags });
    }
  }
  pop(): BtfValue | BtfValue[] | undefined {
    return this.map.take();
  }
  peek(): BtfValue | BtfValue[] | undefined {
    return this.map.get(new Uint8Array());
  }

  // Over the CPUs -------------------------------------------------------------------------------------------------

  sum(key: MapInput): BtfValue | undefined {
    return this.map.sum(key);
  }
  max(key: MapInput): number | undefined {
    const values = this.#numbers(key);
    return values === undefined ? undefined : Math.max(...values);
  }
  average(key: MapInput): number | undefined {
    const values = this.#numbers(key);
    return values === undefined ? undefined : values.reduce((a, b) => a + b, 0) / values.length;
  }

  /** BPF_PERF_ARRAY: a counter on each CPU (PERF_TYPE_*, PERF_COUNT_*), which programs read with `perf_read`. */
  openPerfEvent(type: number, config: number | bigint, pid = -1): void {
    if (this.kind !== 'perf_event_array') throw this.#cannot('holds no perf events');
    const { kernel } = this.#owner;
    const cpus = Math.min(kernel.features().possibleCpus, this.maxEntries);
    for (let cpu = 0; cpu < cpus; cpu++) {
      const fd = kernel.perfEventOpen({ kind: 'sampling', type, config: BigInt(config), cpu, pid });
      this.#owner.onClose(() => kernel.close(fd));
      this.map.set(cpu, fd);
    }
  }

  // Histograms ----------------------------------------------------------------------------------------------------

  /** The histogram of powers of two, as text. */
  log2Hist(options: TableHistogramOptions = {}): string {
    return this.#histogram(LOG2_SLOTS, log2Histogram, options);
  }
  linearHist(options: TableHistogramOptions = {}): string {
    return this.#histogram(LINEAR_SLOTS, linearHistogram, options);
  }
  /** What the histogram of powers of two has, as data: BCC's `print_json_hist` prints it. */
  jsonHist(options: TableHistogramOptions = {}): JsonHistogram[] {
    return this.#sections(LOG2_SLOTS, options).map(({ bucket, values }) => ({
      ...(bucket === undefined ? {} : { bucket }),
      valueType: options.valueType ?? 'value',
      data: log2Intervals(values),
    }));
  }
  printJsonHist(valueType = 'value', options: TableHistogramOptions = {}): void {
    this.#owner.write(`${JSON.stringify(this.jsonHist({ ...options, valueType }), withBigint)}\n`);
  }
  printLog2Hist(valueType = 'value', options: TableHistogramOptions = {}): void {
    this.#owner.write(this.log2Hist({ ...options, valueType }));
  }
  printLinearHist(valueType = 'value', options: TableHistogramOptions = {}): void {
    this.#owner.write(this.linearHist({ ...options, valueType }));
  }

  // Stacks --------------------------------------------------------------------------------------------------------

  /** Addresses of a stack, the innermost first; none for an id that is not there (or an error of bpf_get_stackid). */
  walk(stackId: number): bigint[] {
    if (this.kind !== 'stack_trace') throw this.#cannot('has no stacks');
    if (stackId < 0) return [];
    const bytes = this.map.getBytes(new Uint8Array(new Uint32Array([stackId]).buffer));
    if (bytes === undefined) return [];
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const addresses: bigint[] = [];
    for (let at = 0; at + STACK_WORD <= bytes.length; at += STACK_WORD) {
      const address = view.getBigUint64(at, true);
      if (address === 0n) break;
      addresses.push(address);
    }
    return addresses;
  }

  // Events --------------------------------------------------------------------------------------------------------

  /** An event's bytes as the struct that the program submits to this table; `type`: another struct of the program. */
  event(
    bytes: Uint8Array,
    type: string | undefined = this.#owner.eventType(this.name),
  ): BtfValue | Uint8Array {
    const { btf } = this.#owner;
    if (btf === undefined || type === undefined) return bytes;
    const id = btf.find(type, 'struct') ?? btf.find(type, 'union') ?? btf.find(type, 'typedef');
    if (id === undefined) throw new BpfError('ENOENT', `the program has no type '${type}'`);
    const size = btf.sizeOf(id);
    if (bytes.length < size)
      throw new BpfError(
        'EBADMSG',
        `an event of '${this.name}' has ${bytes.length} bytes; struct ${type} has ${size}`,
      );
    return formatValue(btf, id, bytes.subarray(0, size));
  }

  /** Events go to `callback` while `BPF.perfBufferPoll` (or `poll`) runs. */
  openPerfBuffer(callback: EventCallback, settings: PerfBufferSettings = {}): PerfBufferReader {
    const reader = this.perfReader(settings);
    this.#owner.addPoller({
      kind: 'perf',
      consume: () => {
        const samples = reader.consume();
        for (const { cpu, data } of samples) callback(this.event(data), data, cpu);
        return samples.length;
      },
      wait: (signal) => reader.wait(signal),
      close: () => reader.close(),
    });
    return reader;
  }

  /** The same for `BPF.ringBufferPoll`; the CPU is 0. */
  openRingBuffer(callback: EventCallback, { onLost }: RingBufferSettings = {}): RingBufferReader {
    if (this.kind !== 'ringbuf') throw this.#cannot('is no ring buffer');
    const reader = new RingBufferReader(this.#owner.kernel, this.map.fd);
    let known = this.lost;
    this.#owner.addPoller({
      kind: 'ring',
      consume: () => {
        const records = reader.consume();
        const { lost } = this;
        if (lost > known) (onLost ?? this.#sayLost)(lost - known);
        known = lost;
        for (const data of records) callback(this.event(data), data, 0);
        return records.length;
      },
      wait: (signal) => reader.wait(signal),
      close: () => reader.close(),
    });
    return reader;
  }

  /** Events one by one, until `signal` fires. Perf buffers and ring buffers. */
  async *events(
    options: PerfBufferSettings & { readonly signal?: AbortSignal } = {},
  ): AsyncGenerator<BtfValue | Uint8Array> {
    const signal = options.signal === undefined ? {} : { signal: options.signal };
    if (this.kind === 'ringbuf') {
      const reader = new RingBufferReader(this.#owner.kernel, this.map.fd);
      try {
        for await (const data of reader.records(signal)) yield this.event(data);
      } finally {
        reader.close();
      }
      return;
    }
    const reader = this.perfReader(options);
    try {
      for await (const { data } of reader.samples(signal)) yield this.event(data);
    } finally {
      reader.close();
    }
  }

  /** Events for which a ring buffer had no room since the program was made; 0n where nobody counts. */
  get lost(): bigint {
    return this.#owner.lostEvents(this.name) ?? 0n;
  }

  readonly #sayLost = (count: bigint): void => {
    this.#owner.writeError(`Possibly lost ${count} samples\n`);
  };

  private perfReader(settings: PerfBufferSettings): PerfBufferReader {
    if (this.kind !== 'perf_event_array') throw this.#cannot('is no perf buffer');
    const onLost = settings.onLost ?? this.#sayLost;
    return new PerfBufferReader(this.#owner.kernel, this.map.fd, {
      pages: settings.pageCount ?? 8,
      onLost: (cpu: number, count: bigint) => onLost(count, cpu),
    });
  }

  // ---------------------------------------------------------------------------------------------------------------

  #cannot(why: string): BpfError {
    return new BpfError('EOPNOTSUPP', `table '${this.name}' (${this.kind}) ${why}`);
  }

  #slotValue(value: MapInput | SlotProgram | Table): MapInput {
    if (isTable(value)) return value.map.fd;
    if (this.kind === 'prog_array') {
      if (typeof value === 'string') return this.#owner.programFd(value);
      if (isProgram(value)) return value.fd;
    }
    return value as MapInput;
  }

  #encodeValue(value: MapInput): Uint8Array {
    if (value instanceof Uint8Array) return value;
    const { valueSize } = this.map.definition;
    if (this.map.type.perCpu) throw this.#cannot('takes values of batches as bytes');
    const plain = new BpfMap(this.#owner.kernel, this.map.fd, {
      ...this.map.definition,
      btfKeyTypeId: this.map.definition.btfValueTypeId,
      keySize: valueSize,
    });
    return plain.encodeKey(value);
  }

  #batches(
    read: (attr: { mapFd: number; inBatch: Uint8Array | null; count: number }) => {
      readonly keys: Uint8Array[];
      readonly values: Uint8Array[];
      readonly outBatch: Uint8Array | null;
    },
  ): [BtfValue, BtfValue | BtfValue[]][] {
    const result: [BtfValue, BtfValue | BtfValue[]][] = [];
    let inBatch: Uint8Array | null = null;
    for (let seen = 0; seen <= 2 * this.maxEntries; ) {
      const { keys, values, outBatch } = read({
        mapFd: this.map.fd,
        inBatch,
        count: Math.min(this.maxEntries, 4096),
      });
      keys.forEach((key, i) => {
        result.push([this.map.decodeKey(key), this.map.decodeStored(values[i]!)]);
      });
      if (outBatch === null) break;
      inBatch = outBatch;
      seen += Math.max(1, keys.length);
    }
    return result;
  }

  #numbers(key: MapInput): number[] | undefined {
    const value = this.map.get(key);
    if (value === undefined) return undefined;
    return (Array.isArray(value) ? value : [value]).map(Number);
  }

  #histogram(
    slots: number,
    print: (values: readonly number[], options: HistogramOptions) => string,
    options: TableHistogramOptions,
  ): string {
    const sections = this.#sections(slots, options);
    const header = options.sectionHeader ?? 'Bucket ptr';
    const show = options.sectionPrint ?? ((bucket: BtfValue) => String(bucket));
    return sections
      .map(({ bucket, values }) =>
        bucket === undefined
          ? print(values, options)
          : `\n${header} = ${show(bucket)}\n${print(values, options)}`,
      )
      .join('');
  }

  /** Counts by slot; where keys have a bucket in front of the slot, those of each. */
  #sections(slots: number, options: TableHistogramOptions): Section[] {
    const plain: number[] = new Array(slots).fill(0);
    const sections = new Map<string, { readonly bucket: BtfValue; readonly values: number[] }>();
    for (const [key, value] of this.map.entries()) {
      const count = Number(this.map.type.perCpu && Array.isArray(value) ? sumOf(value) : value);
      if (typeof key !== 'object' || key === null) {
        const slot = Number(key);
        if (slot >= 0 && slot < slots) plain[slot] = count;
        continue;
      }
      // A struct as key: what is counted apart, then the slot.
      const [first, second] = Object.values(key as Record<string, BtfValue>);
      const bucket = options.bucket === undefined ? first! : options.bucket(first!);
      const name = JSON.stringify(bucket, withBigint);
      let section = sections.get(name);
      if (section === undefined) {
        section = { bucket, values: new Array(slots).fill(0) };
        sections.set(name, section);
      }
      const slot = Number(second);
      if (slot >= 0 && slot < slots) section.values[slot]! += count;
    }
    if (sections.size === 0) return [{ bucket: undefined, values: plain }];
    const order = [...sections.values()];
    if (options.bucketSort === undefined) return order;
    const sorted = options.bucketSort(order.map(({ bucket }) => bucket));
    return sorted.flatMap((bucket) => order.filter((one) => one.bucket === bucket));
  }
}

interface Section {
  readonly bucket: BtfValue | undefined;
  readonly values: readonly number[];
}

/** Numbers beyond 2^53 as text. */
function withBigint(_name: string, part: unknown): unknown {
  return typeof part === 'bigint' ? `${part}n` : part;
}

function isTable(value: unknown): value is Table {
  return value instanceof Table;
}

function isProgram(value: MapInput | SlotProgram): value is SlotProgram {
  return typeof value === 'object' && value !== null && 'program' in value && 'fd' in value;
}

function sumOf(values: readonly BtfValue[]): number {
  return values.reduce<number>((total, value) => total + Number(value), 0);
}
