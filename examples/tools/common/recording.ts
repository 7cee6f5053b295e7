/** Inputs of the embedded kernel: recordings that other programs make (strace, perf, tcpdump), told apart by what stands in them. */
import { readFileSync } from 'node:fs';
import {
  asEthernet,
  BpfError,
  isPerfData,
  isPerfScript,
  type KernelEvent,
  parsePerfData,
  parsePerfScript,
  parseStrace,
  readPackets,
} from '../tsbpf.ts';

/** A name of what a recorded address is. */
export interface FrameName {
  readonly name: string | undefined;
  readonly object: string;
}

export interface RecordedPacket {
  /** Monotonic nanoseconds. */
  readonly time: bigint;
  /** An Ethernet frame. */
  readonly data: Uint8Array;
}

export interface Recording {
  readonly kind: 'strace' | 'perf.data' | 'perf script' | 'packet capture';
  readonly events: readonly KernelEvent[];
  readonly packets: readonly RecordedPacket[];
  /** Whether events of that tracepoint (`category/name`) would be in it. */
  has(tracepoint: string): boolean;
  /** Format files by `category/name`. */
  readonly formats: Readonly<Record<string, string>>;
  /** Real time at monotonic time 0, nanoseconds; null: not known. */
  readonly epoch: bigint | null;
  readonly cpus: number;
  /** What was sampled. */
  readonly sampled: { readonly type: number; readonly config: bigint } | undefined;
  frame(address: bigint): FrameName | undefined;
  /** What is missing in it, for people. */
  readonly notes: readonly string[];
}

const NOTHING = {
  events: [],
  packets: [],
  has: () => false,
  formats: {},
  epoch: null,
  cpus: 1,
  sampled: undefined,
  frame: () => undefined,
  notes: [],
} satisfies Omit<Recording, 'kind'>;

const STRACE_TRACEPOINTS =
  /^(?:syscalls\/sys_(?:enter|exit)_\w+|raw_syscalls\/sys_(?:enter|exit)|sched\/sched_process_(?:fork|exec|exit))$/;
const PCAP_MAGICS = new Set([0xa1b2c3d4, 0xd4c3b2a1, 0xa1b23c4d, 0x4d3cb2a1, 0x0a0d0d0a]);
/** Monotonic time of a capture's first packet. */
const START = 1_000_000_000n;
/** PERF_TYPE_SOFTWARE, PERF_COUNT_SW_DUMMY: perf's own book-keeping. */
const isDummy = ({ type, config }: { readonly type: number; readonly config: bigint }): boolean =>
  type === 1 && config === 9n;

/** Errors: those of the file, and of the formats. */
export function readRecording(path: string): Recording {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw new BpfError('ENOENT', `the recording cannot be read: ${(error as Error).message}`);
  }
  if (isPerfData(bytes)) return fromPerfData(bytes);
  if (bytes.length >= 4 && PCAP_MAGICS.has(new DataView(bytes.buffer, bytes.byteOffset).getUint32(0)))
    return fromCapture(bytes);
  const text = new TextDecoder().decode(bytes);
  return isPerfScript(text) ? fromPerfScript(text) : fromStrace(path, text);
}

function fromPerfData(bytes: Uint8Array): Recording {
  const { events, recorded, formats, epoch, lost, cpus } = parsePerfData(bytes);
  const names = new Set(
    recorded.flatMap((one) => (one.kind === 'tracepoint' ? `${one.category}/${one.name}` : [])),
  );
  const sampled = recorded.find((one) => one.kind === 'sampling' && !isDummy(one));
  return {
    ...NOTHING,
    kind: 'perf.data',
    events,
    has: (tracepoint) => names.has(tracepoint),
    formats,
    epoch,
    cpus,
    sampled: sampled?.kind === 'sampling' ? sampled : undefined,
    notes: lost === 0n ? [] : [`${lost} events were lost when the recording was made`],
  };
}

function fromPerfScript(text: string): Recording {
  const { events, frame, cpus } = parsePerfScript(text);
  const first = events.find((event) => event.kind === 'perf_sample');
  return { ...NOTHING, kind: 'perf script', events, frame, cpus, sampled: first };
}

function fromStrace(path: string, text: string): Recording {
  const { events, epoch, skippedCount } = parseStrace(text, { name: path });
  return {
    ...NOTHING,
    kind: 'strace',
    events,
    epoch,
    has: (tracepoint) => STRACE_TRACEPOINTS.test(tracepoint),
    notes: skippedCount === 0 ? [] : [`${skippedCount} lines of the recording could not be read`],
  };
}

function fromCapture(bytes: Uint8Array): Recording {
  const packets: RecordedPacket[] = [];
  let others = 0;
  let epoch: bigint | undefined;
  for (const packet of readPackets(bytes)) {
    const data = asEthernet(packet);
    if (data === null || data === undefined) others++;
    else {
      epoch ??= packet.timestampNs - START;
      const time = packet.timestampNs - epoch;
      packets.push({ time: time < 0n ? 0n : time, data });
    }
  }
  return {
    ...NOTHING,
    kind: 'packet capture',
    packets,
    epoch: epoch ?? null,
    notes: others === 0 ? [] : [`${others} packets of other link layers were left out`],
  };
}
