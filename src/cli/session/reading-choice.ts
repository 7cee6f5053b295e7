/**
 * Whether a thread is to read the next piece of a file while this one runs programs over the last. It depends on what cannot be known
 * in front: on programs (short ones leave nothing to overlap), on frames (of long ones little is touched, but bytes that another
 * processor has read must come over from its cache), and on what else the machine does. So both ways are tried, and the faster one is
 * taken for a while.
 */

/** Bytes after which a way has shown what it is worth. */
const TRIAL = 1 << 24;
/** Bytes for which the faster way is taken, until both are tried again. */
const STRETCH = 1 << 29;

type Phase = 'warming' | 'here' | 'changing' | 'ahead' | 'chosen';

export class ReadingChoice {
  /** The next piece is to be read ahead. */
  readsAhead = false;
  #phase: Phase = 'warming';
  readonly #isPossible: boolean;
  #bytes = 0;
  #time = 0;
  /** Milliseconds a byte, read here. */
  #here = 0;

  constructor(isPossible: boolean) {
    this.#isPossible = isPossible;
  }

  /** Says what reading and running a piece took, in bytes and milliseconds. */
  took(bytes: number, time: number): void {
    if (!this.#isPossible) return;
    this.#bytes += bytes;
    this.#time += time;
    const rate = this.#time / this.#bytes;
    switch (this.#phase) {
      case 'warming':
        // Code that is run the first time is still being compiled.
        if (this.#bytes >= TRIAL) this.#enter('here', false);
        break;
      case 'here':
        if (this.#bytes < TRIAL) break;
        this.#here = rate;
        this.#enter('changing', true);
        break;
      case 'changing':
        // The first piece was still read by this thread, and nothing ran beside the reading of the second.
        if (this.#bytes >= TRIAL / 4) this.#enter('ahead', true);
        break;
      case 'ahead':
        if (this.#bytes >= TRIAL) this.#enter('chosen', rate < this.#here);
        break;
      case 'chosen':
        if (this.#bytes >= STRETCH) this.#enter('warming', false);
        break;
    }
  }

  #enter(phase: Phase, ahead: boolean): void {
    this.#phase = phase;
    this.readsAhead = ahead;
    this.#bytes = 0;
    this.#time = 0;
  }
}
