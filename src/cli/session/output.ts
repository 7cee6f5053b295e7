/** What programs send to user space while they run: trace_pipe, ring buffers, perf buffers, in the order of their making. */
import type { Kernel, TraceLine } from '../../contracts/kernel.ts';
import {
  type BpfObject,
  type BpfProgram,
  type BtfValue,
  PerfBufferReader,
  type PerfSample,
  RingBufferReader,
} from '../../libbpf/index.ts';
import { helperByName } from '../../spec/index.ts';
import { toHex } from '../../util/bytes.ts';
import { toJson } from '../json.ts';
import { cell } from '../map-contents.ts';
import type { Output } from '../output.ts';
import type { DecodedRecord, RecordDecoder } from './decode.ts';

export type ProgramOutput =
  | ({ readonly kind: 'trace' } & TraceLine)
  | {
      readonly kind: 'event';
      readonly map: string;
      readonly cpu: number | undefined;
      readonly record: DecodedRecord;
      readonly bytes: Uint8Array;
    }
  | { readonly kind: 'lost'; readonly map: string; readonly cpu: number; readonly count: bigint };

/** Programs write records with it into the maps that are rings to read from. */
const RING_WRITER = 'bpf_ringbuf_output';

interface Source {
  readonly map: string;
  poll(): void;
  /** Hands on what comes until the signal fires. */
  follow(signal: AbortSignal): Promise<void>;
  close(): void;
  delivered(): number;
  lost(): bigint;
}

/** Reads all outputs of a loaded object; `poll` hands what has come since to `emit`. */
export class OutputReader {
  readonly #kernel: Kernel;
  readonly #sources: readonly Source[];
  readonly #emit: (output: ProgramOutput) => void;
  /** A program prints to trace_pipe. */
  readonly #prints: boolean;
  #fresh = false;

  constructor(
    kernel: Kernel,
    object: BpfObject,
    decoder: RecordDecoder,
    emit: (output: ProgramOutput) => void,
  ) {
    this.#kernel = kernel;
    this.#emit = emit;
    this.#prints = object.programs.some((program) => program.loaded && prints(program));
    this.#sources = object.maps.flatMap((map) => {
      if (map.type.holds === 'perf_event') return [openPerf(kernel, map, decoder, emit)];
      return map.type.helpers.includes(RING_WRITER) ? [openRing(kernel, map, decoder, emit)] : [];
    });
  }

  poll(): void {
    for (const line of this.#kernel.simulator?.drainTrace() ?? []) this.#emit({ kind: 'trace', ...line });
    for (const source of this.#sources) source.poll();
  }

  /**
   * Hands on everything as it comes, until the signal fires; resolves when the last of it has been handed on. The lines of trace_pipe
   * that were there before `ready` are somebody else's.
   */
  async follow(signal: AbortSignal): Promise<void> {
    const followers = this.#sources.map((source) => source.follow(signal));
    if (this.#prints) followers.push(this.#followTrace(signal));
    const ended = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    await Promise.all([...followers, ended]);
  }

  async ready(): Promise<void> {
    if (!this.#prints) return;
    await new Promise((resolve) => setTimeout(resolve, STALE_LINES));
    this.#fresh = true;
  }

  async #followTrace(signal: AbortSignal): Promise<void> {
    for await (const line of this.#kernel.tracePipe({ signal }))
      if (this.#fresh) this.#emit({ kind: 'trace', ...line });
  }

  /** Records by map that were delivered and that found no room. */
  counts(): { map: string; delivered: number; lost: bigint }[] {
    return this.#sources.map(({ map, delivered, lost }) => ({ map, delivered: delivered(), lost: lost() }));
  }

  close(): void {
    for (const source of this.#sources) source.close();
  }
}

/** Milliseconds in which lines are read that were printed before. */
const STALE_LINES = 150;
const CALL = 0x85;
const PRINTERS: ReadonlySet<number | undefined> = new Set(
  ['bpf_trace_printk', 'bpf_trace_vprintk'].map((name) => helperByName(name)?.id),
);

/** One of its instructions calls a helper that prints. */
function prints({ spec }: BpfProgram): boolean {
  return spec.insns.some(({ code, src, imm }) => code === CALL && src === 0 && PRINTERS.has(imm));
}

type Opener = (
  kernel: Kernel,
  map: BpfObject['maps'][number],
  decoder: RecordDecoder,
  emit: (output: ProgramOutput) => void,
) => Source;

const openRing: Opener = (kernel, map, decoder, emit) => {
  const reader = new RingBufferReader(kernel, map.fd);
  const give = (bytes: Uint8Array) =>
    emit({ kind: 'event', map: map.name, cpu: undefined, record: decoder.decode(bytes, false), bytes });
  return {
    map: map.name,
    poll: () => {
      for (const bytes of reader.consume()) give(bytes);
    },
    follow: async (signal) => {
      for await (const bytes of reader.records({ signal })) give(bytes);
    },
    close: () => reader.close(),
    delivered: () => reader.delivered,
    // A program sees that a ring is full; nobody counts it.
    lost: () => 0n,
  };
};

const openPerf: Opener = (kernel, map, decoder, emit) => {
  const reader = new PerfBufferReader(kernel, map.fd, {
    onLost: (cpu, count) => emit({ kind: 'lost', map: map.name, cpu, count }),
  });
  const give = ({ cpu, data }: PerfSample) =>
    emit({ kind: 'event', map: map.name, cpu, record: decoder.decode(data, true), bytes: data });
  return {
    map: map.name,
    poll: () => {
      for (const sample of reader.consume()) give(sample);
    },
    follow: async (signal) => {
      for await (const sample of reader.samples({ signal })) give(sample);
    },
    close: () => reader.close(),
    delivered: () => reader.delivered,
    lost: () => reader.lost,
  };
};

/** One line for people. Trace lines look as trace_pipe shows them. */
export function outputLine(out: Output, output: ProgramOutput): string {
  const { cyan, dim, yellow } = out.color;
  switch (output.kind) {
    case 'trace': {
      const { comm, pid, cpu, flags, timestamp, message } = output;
      const where = `${comm.padStart(16)}-${String(pid).padEnd(7)} [${String(cpu).padStart(3, '0')}] ${flags}`;
      return `${dim(`${where} ${timestamp.toFixed(6).padStart(12)}:`)} ${message}`;
    }
    case 'event': {
      const { record, bytes, map } = output;
      const text =
        record.value === undefined ? `${bytes.length} bytes ${toHex(bytes)}` : members(record.value);
      return `${cyan(map)}: ${record.type === undefined ? '' : `${dim(record.type)} `}${text}`;
    }
    case 'lost':
      return yellow(`${output.map}: ${output.count} events lost on CPU ${output.cpu}`);
  }
}

function members(value: BtfValue): string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return cell(value);
  return Object.entries(value)
    .map(([name, member]) => `${name}=${typeof member === 'string' ? JSON.stringify(member) : cell(member)}`)
    .join(' ');
}

/** One element of `output` in `run --json`. */
export function outputJson(output: ProgramOutput): string {
  if (output.kind !== 'event') return toJson(output);
  const { record, bytes, map, cpu } = output;
  const data = record.value === undefined ? { bytes } : { type: record.type, data: record.value };
  return toJson({ kind: 'event', map, cpu, ...data });
}
