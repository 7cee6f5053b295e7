/**
 * A capture file in bulk: where one XDP program alone sees the packets, their bytes are read straight into the kernel's memory and
 * run there, piece by piece. Any other file, and any other set of programs, goes packet by packet (packets.ts).
 */
import { availableParallelism } from 'node:os';
import { LINKTYPE, MAX_CAPTURE_RECORD, pcapHeader, tooLongRecord } from '../../capture/index.ts';
import type { FrameBatch } from '../../contracts/kernel.ts';
import { BpfError } from '../../util/errors.ts';
import { withPath } from '../files.ts';
import { labelOfAction, type PacketCounts, type PacketFeed, START } from './packets.ts';
import { LONGEST_FRAME, ParallelFrames } from './parallel-frames.ts';
import { PositionedFile } from './positioned-file.ts';
import { ReadingChoice } from './reading-choice.ts';

const FILE_HEADER = 24;
/** Bytes in front of the reader below which a thread that reads them would only just have started. */
const WORTH_READING_AHEAD = 1 << 23;
/** Where a record says how many bytes were captured. */
const CAPTURED_LENGTH = 8;

/** False where the packets must be fed one by one; nothing has been done then. */
export async function feedInBulk(feed: PacketFeed, path: string, counts: PacketCounts): Promise<boolean> {
  const [placement, ...others] = feed.placements.filter(({ place }) => place !== 'none');
  const machine = feed.kernel.simulator;
  if (placement?.place !== 'interface' || others.length > 0 || machine === null || feed.hasReaders)
    return false;
  const file = new PositionedFile(path);
  try {
    const header = file.isRegular ? pcapHeader(file.read(new Uint8Array(FILE_HEADER))) : undefined;
    if (header === undefined || !header.littleEndian || header.linkType !== LINKTYPE.ETHERNET) return false;
    const tick = header.nanoseconds ? 1 : 1000;
    const longest = MAX_CAPTURE_RECORD;
    const { cpus } = feed.kernel;
    const parallel = cpus ? ParallelFrames.open(cpus, { ifindex: feed.ifindex, tick, start: START }) : null;
    if (parallel !== null) {
      try {
        await feedCpus(feed, file, parallel, counts);
        addResults(feed, placement, parallel.actions);
      } finally {
        await parallel.close();
      }
      return true;
    }
    const batch = machine.receiveFrames({ ifindex: feed.ifindex, tick, start: START, longest });
    if (batch === null) return false;
    try {
      await feedPieces(feed, file, batch, counts);
      addResults(feed, placement, batch.actions);
    } finally {
      batch.close();
    }
    return true;
  } finally {
    file.close();
  }
}

/** Piece by piece. What a program does is not seen by a thread that reads: it gets bytes of its own place. */
async function feedPieces(
  { pace, after }: PacketFeed,
  file: PositionedFile,
  batch: FrameBatch,
  counts: PacketCounts,
): Promise<void> {
  const choice = new ReadingChoice(availableParallelism() > 1);
  let reading: Promise<number> | undefined;
  try {
    for (;;) {
      const start = performance.now();
      const isAhead = reading !== undefined;
      const length: number = reading === undefined ? file.read(batch.room()).length : await reading;
      reading = undefined;
      if (isAhead) file.position += length;
      if (length === 0) break;
      const before = batch.frames;
      if (choice.readsAhead && file.size - file.position >= WORTH_READING_AHEAD)
        reading = file.readAhead(batch.ahead(), file.position);
      const sound = isAhead ? batch.takeAhead(length) : batch.take(length);
      choice.took(length, performance.now() - start);
      counts.packets += batch.frames - before;
      after();
      await pace.step(batch.frames - before);
      // Stopped, or no frame in as many bytes as the longest one needs.
      const stuck = batch.frames === before && batch.rest().length > MAX_CAPTURE_RECORD;
      if (!sound || pace.stopped || stuck) break;
    }
  } finally {
    await reading?.catch(() => {});
  }
  if (!pace.stopped) sayRest(batch.rest(), batch.frames, { file, counts, pace });
}

/** Several CPUs take the pieces, each as it gets done with the one before. */
async function feedCpus(
  { pace, after }: PacketFeed,
  file: PositionedFile,
  frames: ParallelFrames,
  counts: PacketCounts,
): Promise<void> {
  // Pieces end at any time that something is waited for.
  let counted = 0;
  const count = async (): Promise<void> => {
    const more = frames.frames - counted;
    counted += more;
    counts.packets += more;
    await pace.step(more);
  };
  for (;;) {
    const piece = file.read(await frames.room());
    if (piece.length === 0) break;
    const sound = await frames.take(piece.length);
    after();
    await count();
    if (!sound || pace.stopped) break;
  }
  await frames.finish();
  await count();
  if (!pace.stopped && frames.sound)
    sayRest(frames.rest(), frames.frames, { file, counts, pace, limit: LONGEST_FRAME });
}

function addResults(
  feed: PacketFeed,
  placement: PacketFeed['placements'][number],
  actions: ReadonlyMap<number, number>,
): void {
  const results = feed.results.get(placement);
  for (const [action, times] of actions) {
    const label = labelOfAction(action);
    results?.set(label, times + (results.get(label) ?? 0));
  }
}

/** Bytes at the end of a capture that are no whole record. */
function sayRest(
  rest: Uint8Array,
  frames: number,
  {
    file,
    counts,
    pace,
    limit,
  }: { file: PositionedFile; counts: PacketCounts; pace: PacketFeed['pace']; limit?: number },
): void {
  if (rest.length === 0) return;
  const offset = file.position - rest.length;
  const view = new DataView(rest.buffer, rest.byteOffset, rest.length);
  const captured = rest.length >= CAPTURED_LENGTH + 4 ? view.getUint32(CAPTURED_LENGTH, true) : 0;
  const failure =
    captured > MAX_CAPTURE_RECORD
      ? tooLongRecord(frames + 1, offset, captured)
      : limit !== undefined && captured > limit
        ? new BpfError(
            'E2BIG',
            `the record at offset ${offset} has ${captured} bytes, which only one CPU takes`,
            {
              hint: 'leave out --cpus',
            },
          )
        : new BpfError('EINVAL', `the capture ends inside the record at offset ${offset}`, {
            hint: 'all packets before it were read',
          });
  const said = withPath(file.path, failure);
  // What came before counts.
  if (!(said instanceof BpfError) || frames === 0) throw said;
  counts.failure = said;
  pace.stopped = true;
}
