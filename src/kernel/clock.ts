/**
 * The clocks of the embedded kernel. They run with the host's clock until something sets the time (a replay, a test): from
 * then on they stand still between `advanceTo` calls, so that a recording gives the same timestamps on every run.
 */
import type { Clock } from '../contracts/runtime.ts';

const HZ_NS = 4_000_000n; // CONFIG_HZ = 250

export class KernelClock implements Clock {
  /** Nanoseconds of the monotonic clock; undefined while the clock runs freely. */
  #fixed: bigint | undefined;
  /** Who knows the monotonic time at present. */
  #source: (() => bigint) | undefined;
  /** Real time minus monotonic time. */
  #epoch: bigint;
  readonly #shift: number;
  /** Kept: programs take the time often, and hosts look the global up by a function. */
  readonly #host = performance;

  /** `shift`: milliseconds that this thread started after the one whose clock it is to agree with. */
  constructor(shift = 0) {
    this.#shift = shift;
    this.#epoch = BigInt(Math.round((performance.timeOrigin - this.#shift) * 1000)) * 1000n;
  }

  monotonic(): bigint {
    return this.#source?.() ?? this.#fixed ?? BigInt(Math.round((this.#host.now() + this.#shift) * 1e6));
  }
  monotonicNumber(): number {
    return this.#fixed === undefined && this.#source === undefined
      ? Math.round((this.#host.now() + this.#shift) * 1e6)
      : Number.NaN;
  }
  boottime(): bigint {
    return this.monotonic();
  }
  realtime(): bigint {
    return this.#epoch + this.monotonic();
  }
  tai(): bigint {
    return this.realtime() + 37_000_000_000n;
  }
  jiffies(): bigint {
    return 4_294_892_296n + this.monotonic() / HZ_NS;
  }

  /** Told before the clock is moved: timers run on the way. */
  beforeAdvance: ((to: bigint) => void) | undefined;

  /** Stops the clock at a time of the monotonic clock; never moves it back. */
  advanceTo(nanoseconds: bigint): void {
    this.beforeAdvance?.(nanoseconds);
    this.stepTo(nanoseconds);
  }

  /** As `advanceTo`, and nobody is told. */
  stepTo(nanoseconds: bigint): void {
    if (this.#fixed === undefined || nanoseconds > this.#fixed) this.#fixed = nanoseconds;
  }

  /** Whether it moves by itself. */
  get runs(): boolean {
    return this.#fixed === undefined && this.#source === undefined;
  }

  /** The monotonic time is what `source` says, until it is taken away. */
  follow(source: (() => bigint) | undefined): void {
    this.#source = source;
  }

  /** Says which real time the monotonic 0 was (a recording's first timestamp). */
  setEpoch(realtime: bigint): void {
    this.#epoch = realtime;
  }

  /** Lets the clock run freely again. */
  run(): void {
    this.#fixed = undefined;
  }
}
