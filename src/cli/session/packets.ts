/** Packets of a capture file through the programs that see packets, and what they let through into another file. */
import { asEthernet, type CapturedPacket, LINKTYPE, streamPackets, writePcap } from '../../capture/index.ts';
import type { Kernel, PacketVerdict } from '../../contracts/kernel.ts';
import { XDP_ACTION } from '../../uapi/index.ts';
import { BpfError } from '../../util/errors.ts';
import { FileWriter, readPieces, withPath } from '../files.ts';
import type { Placement } from './attach.ts';
import type { Pace } from './pace.ts';

/** Verdicts by program: what they gave back, and how often. */
export type Results = Map<Placement, Map<string, number>>;

export interface PacketFeed {
  readonly kernel: Kernel;
  readonly placements: readonly Placement[];
  readonly ifindex: number;
  readonly results: Results;
  readonly pace: Pace;
  /** Called after each packet, or after many where nobody reads what programs write. */
  readonly after: () => void;
  /** Rings are read between packets, so that they do not overflow. */
  readonly hasReaders: boolean;
}

export interface PacketCounts {
  packets: number;
  /** Packets that have no Ethernet form. */
  skipped: number;
  written: number;
  /** What ended the input before its end. */
  failure?: BpfError;
}

const ACTION_NAMES = new Map<number, string>(
  Object.entries(XDP_ACTION).map(([name, value]) => [value, name]),
);
/** Actions after which a frame goes on its way. */
const GOES_ON = new Set<number>([XDP_ACTION.XDP_PASS, XDP_ACTION.XDP_TX, XDP_ACTION.XDP_REDIRECT]);
/** Monotonic time of the first packet. */
export const START = 1_000_000_000n;

export async function feedPackets(
  feed: PacketFeed,
  path: string,
  counts: PacketCounts,
  writer: PcapWriter | undefined,
): Promise<void> {
  const { kernel, pace } = feed;
  // Without a machine that is driven (the host kernel) all programs get the packets by test runs.
  const machine = kernel.simulator;
  let first: bigint | undefined;
  try {
    for await (const packet of streamPackets(readPieces(path))) {
      if (pace.stopped) return;
      const frame = asEthernet(packet);
      if (frame === undefined) {
        counts.skipped++;
        continue;
      }
      first ??= packet.timestampNs;
      machine?.setTime(START + packet.timestampNs - first, packet.timestampNs);
      counts.packets++;
      const out = receive(feed, frame);
      if (out !== undefined && writer !== undefined) {
        await writer.write(packet, out);
        counts.written++;
      }
      feed.after();
      await pace.step();
    }
  } catch (error) {
    const said = withPath(path, error);
    // A capture that is cut off (tcpdump was killed): what came before counts.
    if (!(said instanceof BpfError) || counts.packets === 0) throw said;
    counts.failure = said;
    pace.stopped = true;
  }
}

/** One frame through everything; what is left of it, undefined where it is dropped. */
function receive(feed: PacketFeed, frame: Uint8Array): Uint8Array | undefined {
  const verdict =
    feed.kernel.simulator?.receive({ ifindex: feed.ifindex, data: frame }) ?? NOT_RECEIVED(frame);
  for (const placement of feed.placements) {
    const results = feed.results.get(placement);
    if (results === undefined) continue;
    const label = labelOf(placement, verdict, frame);
    if (label !== undefined) results.set(label, (results.get(label) ?? 0) + 1);
  }
  if (verdict.xdp !== null && !GOES_ON.has(verdict.xdp)) return undefined;
  if (verdict.filters.length === 0) return verdict.data;
  const length = Math.max(...verdict.filters);
  return length === 0 ? undefined : verdict.data.subarray(0, length);
}

const NOT_RECEIVED = (data: Uint8Array): PacketVerdict => ({ xdp: null, data, filters: [] });

export function labelOfAction(action: number): string {
  return ACTION_NAMES.get(action) ?? `unknown action ${action}`;
}

function labelOf(placement: Placement, verdict: PacketVerdict, frame: Uint8Array): string | undefined {
  switch (placement.place) {
    case 'interface':
      return verdict.xdp === null ? undefined : labelOfAction(verdict.xdp);
    case 'socket': {
      const length = verdict.filters[placement.socket ?? 0];
      if (length === undefined) return undefined;
      return length === 0 ? 'dropped' : length < frame.length ? 'cut' : 'whole';
    }
    case 'packet':
      return testRun(placement, frame);
    default:
      return undefined;
  }
}

function testRun({ program }: Placement, frame: Uint8Array): string {
  try {
    return `returned ${program.testRun({ dataIn: frame }).retval | 0}`;
  } catch (error) {
    // Frames that a test run does not take: too short or too long.
    if (error instanceof BpfError && error.code === 'EINVAL') return 'not taken';
    throw error;
  }
}

/** A pcap file of what passes, with the times of the packets that came in. */
export class PcapWriter {
  readonly #file: FileWriter;
  #started = false;

  constructor(path: string) {
    this.#file = new FileWriter(path);
  }

  async write(packet: CapturedPacket, data: Uint8Array): Promise<void> {
    const written: CapturedPacket = {
      ...packet,
      data,
      originalLength: Math.max(packet.originalLength, data.length),
      interface: { ...packet.interface, linkType: LINKTYPE.ETHERNET },
    };
    await this.#pieces([written]);
  }

  async close(): Promise<void> {
    if (!this.#started) await this.#pieces([]);
    await this.#file.close();
  }

  /** The header comes first, once. */
  async #pieces(packets: readonly CapturedPacket[]): Promise<void> {
    let header = true;
    for (const piece of writePcap(packets, { linkType: LINKTYPE.ETHERNET, nanoseconds: true })) {
      if (!header || !this.#started) await this.#file.write(piece);
      header = false;
    }
    this.#started = true;
  }
}
