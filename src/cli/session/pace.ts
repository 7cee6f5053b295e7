/** Long work that stays polite: it can be interrupted, ends after a given time, and shows a person how far it is. */
import { type Output, plural } from '../output.ts';

/** Steps between looks at the clock. */
const STRIDE = 64;
/** Milliseconds that may pass before interrupts and timers get their turn. */
const TURN = 30;
const REDRAW = 150;
/** Nothing is drawn for work that is shorter. */
const PATIENCE = 400;

export class Pace {
  /** Set by an interrupt or by the end of the time. */
  stopped = false;
  #steps = 0;
  #drawn = 0;
  #turn = performance.now();
  readonly #start = performance.now();
  readonly #out: Output;
  readonly #noun: string;
  readonly #deadline: number;

  constructor(out: Output, noun: string, options: { seconds?: number | undefined } = {}) {
    this.#out = out;
    this.#noun = noun;
    this.#deadline = options.seconds === undefined ? Infinity : this.#start + options.seconds * 1000;
  }

  get done(): number {
    return this.#steps;
  }

  /** To be awaited where it gives a promise, which it does rarely. `steps`: as many at once. */
  step(steps = 1): Promise<void> | undefined {
    const before = this.#steps;
    this.#steps += steps;
    if (Math.floor(before / STRIDE) === Math.floor(this.#steps / STRIDE)) return undefined;
    const now = performance.now();
    if (now > this.#deadline) this.stopped = true;
    if (now - this.#turn < TURN) return undefined;
    this.#turn = now;
    this.#draw(now);
    return new Promise((resolve) => {
      setImmediate(resolve);
    });
  }

  finish(): void {
    if (this.#drawn > 0) this.#out.errorWrite(`\r${' '.repeat(60)}\r`);
    this.#drawn = 0;
  }

  #draw(now: number): void {
    if (!this.#out.interactive || now - this.#start < PATIENCE || now - this.#drawn < REDRAW) return;
    this.#drawn = now;
    const text = `${plural(this.#steps, this.#noun)}, ${((now - this.#start) / 1000).toFixed(1)} s`;
    this.#out.errorWrite(`\r${text.padEnd(60)}`);
  }
}
