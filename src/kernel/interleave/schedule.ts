/** Who runs next and for how long: drawn from a seed, or as an earlier run went. */

import { BpfError } from '../../util/errors.ts';
import { Random } from '../../util/random.ts';

/** CPU and instructions. */
export type Slice = readonly [cpu: number, instructions: number];

export interface Schedule {
  /** `ready`: CPUs that can go on, never empty. */
  next(ready: readonly number[]): Slice;
}

/** Mean length of slices is at most 2 to this power, where it is drawn. */
const LONGEST_DRAWN = 6;
/** A slice is cut here, so that a mean of 64 stays one. */
const LONGEST_SLICE = 1 << 20;

/**
 * Lengths are geometric. Without a mean the seed draws one too: some interleavings are fine, which finds windows of a few instructions,
 * some coarse, which lets one CPU get far ahead.
 */
export function seeded(seed: number, mean?: number): Schedule {
  const random = new Random(seed);
  const length = mean ?? 2 ** (random.fraction() * LONGEST_DRAWN);
  const stay = Math.log(1 - 1 / Math.max(length, 1 + 1e-9));
  return {
    next(ready) {
      const cpu = ready[Math.floor(random.fraction() * ready.length)]!;
      const drawn = length <= 1 ? 1 : 1 + Math.floor(Math.log(1 - random.fraction()) / stay);
      return [cpu, Math.min(drawn, LONGEST_SLICE)];
    },
  };
}

const SLICE = /^(\d+):(\d+)$/;

/** Throws BpfError EINVAL for text that is none, and where the schedule does not fit what happens. */
export function replayed(text: string): Schedule {
  const slices = text
    .split(/\s+/)
    .filter((word) => word !== '')
    .map((word): Slice => {
      const match = SLICE.exec(word);
      const instructions = Number(match?.[2]);
      if (match === null || instructions < 1 || instructions > 0x7fff_ffff)
        throw new BpfError('EINVAL', `'${word}' is no part of a schedule`, {
          hint: 'a schedule is what an interleaving gave: CPU:INSTRUCTIONS, separated by spaces',
        });
      return [Number(match[1]), instructions];
    });
  let at = 0;
  return {
    next(ready) {
      const slice = slices[at++];
      if (slice === undefined || !ready.includes(slice[0]))
        throw new BpfError(
          'EINVAL',
          slice === undefined
            ? `the schedule ends after ${slices.length} slices, before the runs do`
            : `slice ${at} of the schedule is for CPU ${slice[0]}, which cannot go on`,
          { hint: 'a schedule holds for the same programs, inputs and maps that it was made with' },
        );
      return slice;
    },
  };
}

/** Remembers slices as text; those of one CPU that follow one another are one. */
export class ScheduleLog {
  readonly #slices: [number, number][] = [];

  #cut = false;

  add(cpu: number, instructions: number): void {
    const last = this.#slices.at(-1);
    if (last !== undefined && last[0] === cpu && !this.#cut) last[1] += instructions;
    else this.#slices.push([cpu, instructions]);
    this.#cut = false;
  }

  /** What comes next is a slice of its own: a fault has ended the last one. */
  cut(): void {
    this.#cut = true;
  }

  get text(): string {
    return this.#slices.map(([cpu, instructions]) => `${cpu}:${instructions}`).join(' ');
  }
}
