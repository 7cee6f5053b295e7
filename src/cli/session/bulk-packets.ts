/**
 * A capture file in bulk: where one XDP program alone sees the packets, their bytes are read straight into the kernel's memory and
 * run there, piece by piece. Any other file, and any other set of programs, goes packet by packet (packets.ts).
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { LINKTYPE, MAX_CAPTURE_RECORD, pcapHeader, tooLongRecord } from '../../capture/index.ts';
import type { FrameBatch } from '../../contracts/kernel.ts';
import { BpfError } from '../../util/errors.ts';
import { fileError, withPath } from '../files.ts';
import { labelOfAction, type PacketCounts, type PacketFeed, START } from './packets.ts';

const FILE_HEADER = 24;
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
    const batch = machine.receiveFrames({ ifindex: feed.ifindex, tick, start: START, longest });
    if (batch === null) return false;
    try {
      await feedPieces(feed, file, batch, counts);
      const results = feed.results.get(placement);
      for (const [action, times] of batch.actions) {
        const label = labelOfAction(action);
        results?.set(label, times + (results.get(label) ?? 0));
      }
    } finally {
      batch.close();
    }
    return true;
  } finally {
    file.close();
  }
}

async function feedPieces(
  { pace, after }: PacketFeed,
  file: PositionedFile,
  batch: FrameBatch,
  counts: PacketCounts,
): Promise<void> {
  for (;;) {
    const piece = file.read(batch.room());
    if (piece.length === 0) break;
    const before = batch.frames;
    const sound = batch.take(piece.length);
    counts.packets += batch.frames - before;
    after();
    await pace.step(batch.frames - before);
    // Stopped, or no frame in as many bytes as the longest one needs.
    if (!sound || pace.stopped || batch.frames === before) break;
  }
  const rest = batch.rest();
  if (rest.length === 0 || pace.stopped) return;
  const offset = file.position - rest.length;
  const view = new DataView(rest.buffer, rest.byteOffset, rest.length);
  const captured = rest.length >= CAPTURED_LENGTH + 4 ? view.getUint32(CAPTURED_LENGTH, true) : 0;
  const failure =
    captured > MAX_CAPTURE_RECORD
      ? tooLongRecord(batch.frames + 1, offset, captured)
      : new BpfError('EINVAL', `the capture ends inside the record at offset ${offset}`, {
          hint: 'all packets before it were read',
        });
  const said = withPath(file.path, failure);
  // What came before counts.
  if (!(said instanceof BpfError) || batch.frames === 0) throw said;
  counts.failure = said;
  pace.stopped = true;
}

/** A file that is read piece by piece, without a stream in between. */
class PositionedFile {
  readonly path: string;
  readonly isRegular: boolean;
  position = 0;
  readonly #fd: number;

  constructor(path: string) {
    this.path = path;
    try {
      this.#fd = openSync(path, 'r');
      this.isRegular = fstatSync(this.#fd).isFile();
    } catch (error) {
      throw fileError(path, error, 'read it');
    }
  }

  /** The part of `room` that was filled; empty at the end. */
  read(room: Uint8Array): Uint8Array {
    try {
      const length = readSync(this.#fd, room, 0, room.length, this.position);
      this.position += length;
      return room.subarray(0, length);
    } catch (error) {
      throw fileError(this.path, error, 'read it');
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}
