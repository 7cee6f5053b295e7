/**
 * A recording, played to the programs that wait for events: what strace or perf wrote, told apart by its contents (perf.data by its
 * first bytes, the text of `perf script` by a line with a stack below it; everything else is read as strace's).
 */
import {
  isPerfData,
  isPerfScript,
  parsePerfData,
  parsePerfScript,
  parseStrace,
} from '../../capture/index.ts';
import type { KernelEvent } from '../../contracts/events.ts';
import type { Kernel } from '../../contracts/kernel.ts';
import { fromUtf8 } from '../../util/bytes.ts';
import { BpfError } from '../../util/errors.ts';
import { inFile, readFile } from '../files.ts';
import { plural } from '../output.ts';
import type { Pace } from './pace.ts';

export interface Recording {
  readonly events: readonly KernelEvent[];
  /** Real time at monotonic time 0, nanoseconds since the epoch; null: it does not tell. */
  readonly epoch: bigint | null;
  /** One more than the highest CPU in it. */
  readonly cpus: number;
  /** What was sampled: programs that wait for samples get these. */
  readonly sampled: Sampled | undefined;
  /** Parts that could not be read. */
  readonly skipped: number;
  /** What is missing in it, for people. */
  readonly notes: readonly string[];
}

/** Type and number of a perf event. */
export interface Sampled {
  readonly type: number;
  readonly config: bigint;
}

/** PERF_TYPE_SOFTWARE, PERF_COUNT_SW_DUMMY: perf keeps its own books with it. */
const isDummy = ({ type, config }: Sampled): boolean => type === 1 && config === 9n;

export function readRecording(path: string): Recording {
  return inFile(path, () => {
    const bytes = readFile(path);
    if (isPerfData(bytes)) return fromPerfData(bytes);
    const text = fromUtf8(bytes);
    return isPerfScript(text) ? fromPerfScript(text) : fromStrace(text);
  });
}

function fromStrace(text: string): Recording {
  const { events, epoch, skippedCount, skipped } = parseStrace(text);
  const [first] = skipped;
  const notes =
    first === undefined
      ? []
      : [`${skippedCount} lines of the recording were not read; line ${first.line}: ${first.why}`];
  return { events, epoch, cpus: 1, sampled: undefined, skipped: skippedCount, notes };
}

function fromPerfData(bytes: Uint8Array): Recording {
  const { events, recorded, epoch, lost, cpus } = parsePerfData(bytes);
  const sampled = recorded.find((one) => one.kind === 'sampling' && !isDummy(one));
  return {
    events,
    epoch,
    cpus,
    sampled: sampled?.kind === 'sampling' ? sampled : undefined,
    skipped: 0,
    notes: lost === 0n ? [] : [`${lost} events were lost when the recording was made`],
  };
}

function fromPerfScript(text: string): Recording {
  const { events, cpus, skipped } = parsePerfScript(text);
  const notes =
    skipped === 0 ? [] : [`${plural(skipped, 'line')} of the recording: not read, no part of a sample`];
  return {
    events,
    epoch: null,
    cpus,
    sampled: events.find((event) => event.kind === 'perf_sample'),
    skipped,
    notes,
  };
}

export interface EventCounts {
  events: number;
  /** Lines of the recording that could not be read. */
  skipped: number;
  /** Runs of programs. */
  runs: number;
}

export async function replay(
  kernel: Kernel,
  recording: Recording,
  counts: EventCounts,
  options: { pace: Pace; after: () => void },
): Promise<void> {
  const machine = kernel.simulator;
  if (machine === null)
    throw new BpfError('EOPNOTSUPP', 'recordings can be played to an embedded kernel only');
  const { pace, after } = options;
  const { events, epoch, skipped } = recording;
  const [first] = events;
  if (first !== undefined) machine.setTime(first.time, (epoch ?? 0n) + first.time);
  counts.skipped = skipped;
  for (const event of events) {
    if (pace.stopped) return;
    counts.runs += machine.fire(event);
    counts.events++;
    after();
    await pace.step();
  }
}
