/**
 * Measuring: every subject is calibrated to a sample of a few milliseconds, then samples of all subjects are taken in
 * turns, so that a busy moment of the machine hits all alike; what counts is the median of a subject's samples.
 */

export interface Subject {
  readonly name: string;
  /**
   * Does the work `times` times. A number: the milliseconds that it took, where the clock outside would count something else too
   * (Linux sets up and tears down 5 to 10 ms for a test run of XDP, however often it repeats).
   */
  run(times: number): unknown;
}

export interface HarnessOptions {
  /** Samples a subject. */
  readonly rounds: number;
  /** Length of a sample, milliseconds. */
  readonly sampleMs: number;
  /** Milliseconds since whenever; default: those on the wall. */
  readonly clock?: () => number;
}

/** Milliseconds of this process on a processor: what others do meanwhile does not count, as in Linux's test runs. */
export function processorTime(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

type Clock = () => number;
const wallClock: Clock = () => performance.now();

function timed(subject: Subject, times: number, clock: Clock): number {
  const start = clock();
  const own = subject.run(times);
  return typeof own === 'number' ? own : clock() - start;
}

/** How many runs fill a sample; warms the subject up on the way, so that optimised code is what is measured. */
function calibrate(subject: Subject, sampleMs: number, clock: Clock): number {
  let times = 1;
  for (;;) {
    // The fastest of three: one hiccup must not pass for a long run.
    const ms = Math.min(
      timed(subject, times, clock),
      timed(subject, times, clock),
      timed(subject, times, clock),
    );
    if (ms >= sampleMs / 4) return Math.max(1, Math.round((times * sampleMs) / ms));
    times = Math.min(times * 8, 2 ** 30);
  }
}

/** Nanoseconds of one run of each subject, by name. */
export function measure(subjects: readonly Subject[], options: HarnessOptions): Map<string, number> {
  const clock = options.clock ?? wallClock;
  const times = subjects.map((subject) => {
    calibrate(subject, options.sampleMs, clock);
    return calibrate(subject, options.sampleMs, clock);
  });
  const samples = subjects.map((): number[] => []);
  for (let round = 0; round < options.rounds; round++) {
    subjects.forEach((subject, i) => {
      samples[i]!.push((timed(subject, times[i]!, clock) * 1e6) / times[i]!);
    });
  }
  return new Map(subjects.map((subject, i) => [subject.name, median(samples[i]!)]));
}
