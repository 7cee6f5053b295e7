/**
 * What is known of registers while code is made: constants, places in the frame, callbacks. A forward analysis along the
 * layout: at a merge what all predecessors agree on, at a loop header minus what the loop writes. Only used to choose
 * better code, so that "unknown" is always right.
 */

export const KNOWN = { nothing: 0, constant: 1, frame: 2, callback: 3 } as const;
const REGISTERS = 10;
/** Words of one saved state: kind, low and high of each register. */
const WORDS = 3 * REGISTERS;

export class Known {
  /** One of KNOWN for R0..R9. */
  readonly kind = new Int32Array(REGISTERS);
  /** Constant: low half. Frame: offset from R10. Callback: index of the subprogram. */
  readonly low = new Int32Array(REGISTERS);
  /** Constant: high half. */
  readonly high = new Int32Array(REGISTERS);

  forget(register: number): void {
    this.kind[register] = KNOWN.nothing;
  }

  forgetAll(mask: number): void {
    for (let r = 0; r < REGISTERS; r++) if ((mask >> r) & 1) this.kind[r] = KNOWN.nothing;
  }

  set(register: number, kind: number, low: number, high = 0): void {
    this.kind[register] = kind;
    this.low[register] = low;
    this.high[register] = high;
  }

  /** R`to` = R`from`, where 10 is the frame pointer. */
  copy(to: number, from: number): void {
    if (from === 10) this.set(to, KNOWN.frame, 0);
    else this.set(to, this.kind[from]!, this.low[from]!, this.high[from]!);
  }

  isFrame(register: number): boolean {
    return register === 10 || this.kind[register] === KNOWN.frame;
  }

  /** Offset from R10 of a register for which `isFrame` holds. */
  frameOffset(register: number): number {
    return register === 10 ? 0 : this.low[register]!;
  }

  reset(): void {
    this.kind.fill(KNOWN.nothing);
  }
}

/** Saved states, one a position of the layout; flat, as large programs have tens of thousands. */
export class KnownStates {
  readonly #words: Int32Array;

  constructor(count: number) {
    this.#words = new Int32Array(count * WORDS);
  }

  save(at: number, known: Known): void {
    const words = this.#words;
    let i = at * WORDS;
    for (let r = 0; r < REGISTERS; r++) {
      words[i++] = known.kind[r]!;
      words[i++] = known.low[r]!;
      words[i++] = known.high[r]!;
    }
  }

  load(at: number, known: Known): void {
    const words = this.#words;
    let i = at * WORDS;
    for (let r = 0; r < REGISTERS; r++) {
      known.kind[r] = words[i++]!;
      known.low[r] = words[i++]!;
      known.high[r] = words[i++]!;
    }
  }

  /** Keeps in `known` only what the state at `at` knows as well. */
  meet(at: number, known: Known): void {
    const words = this.#words;
    let i = at * WORDS;
    for (let r = 0; r < REGISTERS; r++, i += 3) {
      if (words[i] !== known.kind[r] || words[i + 1] !== known.low[r] || words[i + 2] !== known.high[r])
        known.kind[r] = KNOWN.nothing;
    }
  }
}
