/**
 * What is known of registers while code is made: constants, places in the frame, callbacks. A forward analysis along the
 * layout: at a merge what all predecessors agree on, at a loop header minus what the loop writes. Only used to choose
 * better code, so that "unknown" is always right.
 */

export const KNOWN = { nothing: 0, constant: 1, frame: 2, callback: 3 } as const;
const REGISTERS = 10;

export class Known {
  /** One of KNOWN for R0..R9. */
  readonly kind = new Uint8Array(REGISTERS);
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

  snapshot(): Known {
    const copy = new Known();
    copy.kind.set(this.kind);
    copy.low.set(this.low);
    copy.high.set(this.high);
    return copy;
  }

  assign(other: Known): void {
    this.kind.set(other.kind);
    this.low.set(other.low);
    this.high.set(other.high);
  }

  /** Keeps only what `other` knows as well. */
  meet(other: Known): void {
    for (let r = 0; r < REGISTERS; r++) {
      const same =
        this.kind[r] === other.kind[r] && this.low[r] === other.low[r] && this.high[r] === other.high[r];
      if (!same) this.kind[r] = KNOWN.nothing;
    }
  }

  reset(): void {
    this.kind.fill(KNOWN.nothing);
  }
}
