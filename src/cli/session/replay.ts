/** A strace recording, played to the programs that wait for events. */
import { parseStrace, type StraceRecording } from '../../capture/index.ts';
import type { Kernel } from '../../contracts/kernel.ts';
import { BpfError } from '../../util/errors.ts';
import { inFile, readFile } from '../files.ts';
import type { Pace } from './pace.ts';

export function readRecording(path: string): StraceRecording {
  return inFile(path, () => parseStrace(readFile(path)));
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
  recording: StraceRecording,
  counts: EventCounts,
  options: { pace: Pace; after: () => void },
): Promise<void> {
  const machine = kernel.simulator;
  if (machine === null)
    throw new BpfError('EOPNOTSUPP', 'recordings can be played to an embedded kernel only');
  const { pace, after } = options;
  const [first] = recording.events;
  if (first !== undefined) machine.setTime(first.time, recording.epoch + first.time);
  counts.skipped = recording.skippedCount;
  for (const event of recording.events) {
    if (pace.stopped) return;
    counts.runs += machine.fire(event);
    counts.events++;
    after();
    await pace.step();
  }
}
