/**
 * A perf.data file (`perf record`) as events of a kernel: tracepoints with their records as the kernel wrote them, samples with their
 * call stacks; beside them the names of processes and the format files. The layout is that of
 * tools/perf/Documentation/perf.data-file-format.txt and perf_event_open(2). Files that were written to a pipe or compressed (-z)
 * are refused by name.
 */
import type { EventStacks, KernelEvent, ProcessSpec } from '../../contracts/events.ts';
import { BpfError } from '../../util/errors.ts';
import { isPerfData } from './detect.ts';
import { readFormats, type TracepointFormat } from './formats.ts';
import { PerfBytes } from './reader.ts';

/** What was recorded: a tracepoint, or a counter that was sampled. */
export type PerfEventName =
  | { readonly kind: 'tracepoint'; readonly category: string; readonly name: string }
  | { readonly kind: 'sampling'; readonly type: number; readonly config: bigint };

export interface PerfRecording {
  /** In the order of their times. */
  readonly events: readonly KernelEvent[];
  /** What the recording was asked to hold, whether it happened or not. */
  readonly recorded: readonly PerfEventName[];
  /** Format files of its tracepoints, by `category/name`. */
  readonly formats: Readonly<Record<string, string>>;
  /** Real time at monotonic time 0, nanoseconds since the epoch; null where the recording does not tell (-k). */
  readonly epoch: bigint | null;
  /** Samples that found no room while the recording was made. */
  readonly lost: bigint;
  /** One more than the highest CPU that was seen. */
  readonly cpus: number;
}

const MAX_BYTES = 512 << 20;
const MAX_EVENTS = 4_000_000;
const MAX_ATTRS = 65_536;
const MAX_FRAMES = 1024;
const ATTRS_AT = 16;
const DATA_AT = 40;
const FLAGS_AT = 72;
const HEADER_SIZE = 104;
const FEATURE = { tracingData: 1, clockData: 29 } as const;

const TYPE_TRACEPOINT = 2;
const RECORD = { lost: 2, comm: 3, exit: 4, fork: 7, sample: 9, lostSamples: 13, compressed: 81 } as const;
/** enum perf_event_sample_format */
const SAMPLE = {
  ip: 1n << 0n,
  tid: 1n << 1n,
  time: 1n << 2n,
  addr: 1n << 3n,
  read: 1n << 4n,
  callchain: 1n << 5n,
  id: 1n << 6n,
  cpu: 1n << 7n,
  period: 1n << 8n,
  streamId: 1n << 9n,
  raw: 1n << 10n,
  identifier: 1n << 16n,
} as const;
const SAMPLE_ID_ALL = 1n << 18n;
const READ = { enabled: 1n, running: 2n, id: 4n, group: 8n, lost: 16n } as const;
/** Marks inside of call chains (enum perf_callchain_context): from here on they are no addresses. */
const CONTEXT_MAX = 0xffff_ffff_ffff_f001n;
const CONTEXT_KERNEL = 0xffff_ffff_ffff_ff80n;
const CONTEXT_USER = 0xffff_ffff_ffff_fe00n;
const KERNEL_HALF = 1n << 63n;

interface Attr {
  readonly type: number;
  readonly config: bigint;
  readonly sampleType: bigint;
  readonly readFormat: bigint;
  readonly sampleIdAll: boolean;
}

interface Section {
  readonly offset: number;
  readonly size: number;
}

/** One record of the file, before it is put into the order of time. */
interface Dated {
  readonly time: bigint;
  readonly act: () => void;
}

/** Throws BpfError: EINVAL for what is no perf.data or is damaged, EFBIG above 512 MiB, EOPNOTSUPP for forms that are not read. */
export function parsePerfData(file: Uint8Array): PerfRecording {
  if (file.length > MAX_BYTES)
    throw new BpfError('EFBIG', `a recording of ${file.length} bytes: at most ${MAX_BYTES} are read`);
  if (!isPerfData(file))
    throw new BpfError('EINVAL', 'no perf.data: it does not begin with PERFILE2', {
      hint: 'record with: perf record -k CLOCK_MONOTONIC -o FILE -e EVENT COMMAND',
    });
  return new PerfDataReader(file).run();
}

class PerfDataReader {
  readonly #file: Uint8Array;
  readonly #attrs: Attr[] = [];
  readonly #byId = new Map<bigint, Attr>();
  #formats = new Map<bigint, TracepointFormat>();
  #epoch: bigint | null = null;
  readonly #dated: Dated[] = [];
  readonly #events: KernelEvent[] = [];
  readonly #processes = new Map<number, ProcessSpec>();
  #lost = 0n;
  #cpus = 1;

  constructor(file: Uint8Array) {
    this.#file = file;
  }

  run(): PerfRecording {
    const head = new PerfBytes(this.#file, 8);
    const size = head.size();
    if (size < HEADER_SIZE)
      throw new BpfError('EOPNOTSUPP', 'perf.data that was written to a pipe is not read', {
        hint: 'record with -o FILE',
      });
    const attrSize = head.size();
    const attrs = sectionAt(this.#file, ATTRS_AT + 8);
    const data = sectionAt(this.#file, DATA_AT);
    this.#readAttrs(attrs, attrSize);
    this.#readFeatures(data);
    this.#readRecords(data);
    // Each CPU has its own buffer in the file: what happened first is found by its time.
    this.#dated.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0));
    for (const { act } of this.#dated) act();
    const formats: Record<string, string> = {};
    for (const { category, name, text } of this.#formats.values()) formats[`${category}/${name}`] = text;
    return {
      events: this.#events,
      recorded: this.#recorded(),
      formats,
      epoch: this.#epoch,
      lost: this.#lost,
      cpus: this.#cpus,
    };
  }

  #recorded(): PerfEventName[] {
    return this.#attrs.map(({ type, config }) => {
      const format = type === TYPE_TRACEPOINT ? this.#formats.get(config) : undefined;
      return format === undefined
        ? { kind: 'sampling', type, config }
        : { kind: 'tracepoint', category: format.category, name: format.name };
    });
  }

  #readAttrs({ offset, size }: Section, attrSize: number): void {
    if (attrSize < 64 + 16 || size / attrSize > MAX_ATTRS)
      throw new BpfError('EINVAL', `perf.data: attributes of ${attrSize} bytes, ${size} together`);
    for (let at = offset; at + attrSize <= offset + size; at += attrSize) {
      const from = new PerfBytes(this.#file, at, Math.min(at + attrSize, this.#file.length));
      const type = from.u32();
      from.skip(4);
      const config = from.u64();
      from.skip(8);
      const sampleType = from.u64();
      const readFormat = from.u64();
      const sampleIdAll = (from.u64() & SAMPLE_ID_ALL) !== 0n;
      const attr = { type, config, sampleType, readFormat, sampleIdAll };
      this.#attrs.push(attr);
      const ids = new PerfBytes(this.#file, at + attrSize - 16);
      const list = new PerfBytes(this.#file, ids.size());
      for (let left = Math.min(ids.size(), list.left); left >= 8; left -= 8) this.#byId.set(list.u64(), attr);
    }
    if (this.#attrs.length === 0) throw new BpfError('EINVAL', 'perf.data without any event');
  }

  /** Sections behind the data, one for each bit of the header that is set. */
  #readFeatures(data: Section): void {
    const flags = new PerfBytes(this.#file, FLAGS_AT, HEADER_SIZE).u64();
    const table = new PerfBytes(this.#file, Math.min(this.#file.length, data.offset + data.size));
    for (let bit = 0; bit < 64; bit++) {
      if (((flags >> BigInt(bit)) & 1n) === 0n) continue;
      if (table.left < 16) return;
      const offset = table.size();
      const size = table.size();
      if (bit === FEATURE.tracingData) this.#formats = readFormats(table.part(offset, size));
      else if (bit === FEATURE.clockData && size >= 24) {
        const clock = table.part(offset, size);
        clock.skip(8);
        this.#epoch = clock.u64() - clock.u64();
      }
    }
  }

  #readRecords({ offset, size }: Section): void {
    const end = Math.min(this.#file.length, offset + size);
    for (let at = offset; at + 8 <= end; ) {
      const head = new PerfBytes(this.#file, at, end);
      const type = head.u32();
      head.skip(2);
      const length = head.u16();
      if (length < 8 || at + length > end)
        throw new BpfError('EINVAL', `perf.data: a record of ${length} bytes at ${at}`);
      this.#record(type, new PerfBytes(this.#file, at + 8, at + length));
      at += length;
    }
  }

  #record(type: number, body: PerfBytes): void {
    switch (type) {
      case RECORD.sample:
        this.#sample(body);
        break;
      case RECORD.comm: {
        const time = this.#trailingTime(body);
        body.skip(4);
        const pid = body.u32();
        const comm = body.text();
        this.#later(time, () => this.#know(pid, { comm }));
        break;
      }
      case RECORD.fork: {
        const [tgid, parentTgid, pid, parent] = [body.u32(), body.u32(), body.u32(), body.u32()];
        const time = body.u64();
        this.#later(time, () => {
          const { comm } = this.#processes.get(parent) ?? {};
          this.#know(pid, { tgid, ppid: parentTgid, ...(comm === undefined ? {} : { comm }) });
        });
        break;
      }
      case RECORD.lost:
        body.skip(8);
        this.#lost += body.u64();
        break;
      case RECORD.lostSamples:
        this.#lost += body.u64();
        break;
      case RECORD.compressed:
        throw new BpfError('EOPNOTSUPP', 'compressed perf.data is not read', { hint: 'record without -z' });
      default:
        break;
    }
  }

  #later(time: bigint, act: () => void): void {
    if (this.#dated.push({ time, act }) > MAX_EVENTS)
      throw new BpfError('EFBIG', `more than ${MAX_EVENTS} records`, { hint: 'split the recording' });
  }

  /** The time at the end of records that are no samples (sample_id_all): as the first event's sample_type says. */
  #trailingTime(body: PerfBytes): bigint {
    const [attr] = this.#attrs;
    if (attr === undefined || !attr.sampleIdAll || (attr.sampleType & SAMPLE.time) === 0n) return 0n;
    const behind = [SAMPLE.time, SAMPLE.id, SAMPLE.streamId, SAMPLE.cpu, SAMPLE.identifier];
    const size = 8 * behind.filter((bit) => (attr.sampleType & bit) !== 0n).length;
    return size > body.left ? 0n : body.part(body.end - size, size).u64();
  }

  #know(pid: number, more: Partial<ProcessSpec>): void {
    this.#processes.set(pid, { ...this.#processes.get(pid), pid, ...more });
  }

  #attrOf(body: PerfBytes): Attr {
    const [first] = this.#attrs as [Attr, ...Attr[]];
    if ((first.sampleType & SAMPLE.identifier) === 0n || body.left < 8) return first;
    const id = body.part(body.at, 8).u64();
    return this.#byId.get(id) ?? first;
  }

  #sample(body: PerfBytes): void {
    const attr = this.#attrOf(body);
    const has = (bit: bigint): boolean => (attr.sampleType & bit) !== 0n;
    if (has(SAMPLE.identifier)) body.skip(8);
    const ip = has(SAMPLE.ip) ? body.u64() : 0n;
    const [tgid, pid] = has(SAMPLE.tid) ? [body.u32(), body.u32()] : [0, 0];
    const time = has(SAMPLE.time) ? body.u64() : 0n;
    const address = has(SAMPLE.addr) ? body.u64() : 0n;
    if (has(SAMPLE.id)) body.skip(8);
    if (has(SAMPLE.streamId)) body.skip(8);
    const cpu = has(SAMPLE.cpu) ? Number(body.u64() & 0xffff_ffffn) : 0;
    const period = has(SAMPLE.period) ? body.u64() : 0n;
    if (has(SAMPLE.read)) skipCounts(body, attr.readFormat);
    const stacks = has(SAMPLE.callchain) ? readStacks(body) : stackOf(ip);
    const record = has(SAMPLE.raw) ? body.bytes(body.u32()) : new Uint8Array();
    if (cpu < 4096) this.#cpus = Math.max(this.#cpus, cpu + 1);
    this.#later(time, () => {
      const known = this.#processes.get(pid);
      const process = { ...known, pid, tgid, comm: known?.comm ?? (pid === 0 ? 'swapper' : `:${pid}`) };
      const format = attr.type === TYPE_TRACEPOINT ? this.#formats.get(attr.config) : undefined;
      if (format !== undefined) {
        const { category, name } = format;
        this.#events.push({ kind: 'tracepoint', category, name, record, process, time, cpu, stacks });
      } else {
        const { type, config } = attr;
        this.#events.push({ kind: 'perf_sample', type, config, period, address, process, time, cpu, stacks });
      }
    });
  }
}

function sectionAt(file: Uint8Array, at: number): Section {
  const from = new PerfBytes(file, at);
  const section = { offset: from.size(), size: from.size() };
  if (section.offset + section.size > file.length)
    throw new BpfError(
      'EINVAL',
      `perf.data: a section of ${section.size} bytes at ${section.offset}; the file has ${file.length}`,
      { hint: 'perf was ended before it could write the whole file' },
    );
  return section;
}

/** The values of the counters themselves (PERF_SAMPLE_READ). */
function skipCounts(body: PerfBytes, format: bigint): void {
  const times = 8 * (Number((format & READ.enabled) !== 0n) + Number((format & READ.running) !== 0n));
  const each = 8 * (1 + Number((format & READ.id) !== 0n) + Number((format & READ.lost) !== 0n));
  const values = (format & READ.group) === 0n ? 1 : body.size();
  body.skip(times + each * values);
}

function readStacks(body: PerfBytes): EventStacks {
  const count = body.size();
  const kernel: bigint[] = [];
  const user: bigint[] = [];
  let into: bigint[] | null = user;
  for (let i = 0; i < count; i++) {
    const address = body.u64();
    if (address >= CONTEXT_MAX)
      into = address === CONTEXT_KERNEL ? kernel : address === CONTEXT_USER ? user : null;
    else if (into !== null && into.length < MAX_FRAMES) into.push(address);
  }
  return { ...(kernel.length > 0 ? { kernel } : {}), ...(user.length > 0 ? { user } : {}) };
}

function stackOf(ip: bigint): EventStacks {
  if (ip === 0n) return {};
  return ip >= KERNEL_HALF ? { kernel: [ip] } : { user: [ip] };
}
