/**
 * Which steps of a recording one stops at: those where an instruction of the program as loaded begins, and those where a C line
 * begins. Worked out once, so that walking backwards stops where walking forwards does.
 */
import type { Recording } from '../recording/recording.ts';

export class Walk {
  readonly #recording: Recording;
  /** Bit 1: an instruction begins; bit 2: a line begins. */
  readonly #stops: Uint8Array;

  constructor(recording: Recording) {
    this.#recording = recording;
    this.#stops = new Uint8Array(recording.length);
    const { journal } = recording;
    const frames = new Map<number, { insn: number; pc: number; line: number; passed: number }>();
    for (let step = 0; step < recording.length; step++) {
      if (journal.kind.at(step) !== 0) {
        this.#stops[step] = 3;
        continue;
      }
      const source = recording.source(step);
      const insn = recording.insn(step);
      const pc = journal.pc.at(step);
      const entry = journal.entry.at(step);
      const frame = frames.get(entry);
      const record = source.lineOf[insn] ?? -1;
      const line = source.lines[record]?.line ?? -1;
      if (frame === undefined) {
        frames.set(entry, { insn, pc, line, passed: -1 });
        this.#stops[step] = line > 0 ? 3 : 1;
        continue;
      }
      const back = pc <= frame.pc;
      if (insn !== frame.insn || back) this.#stops[step] = 1;
      const jumped = back || insn > frame.insn + 2;
      const begins = (source.lineStarts[insn] ?? 0) === 1;
      if (line > 0 && (line !== frame.line || back)) {
        // As coverage counts lines: into the middle of a record is no beginning.
        if (!begins && (record === frame.passed || (jumped && line !== frame.line))) frame.passed = record;
        else {
          this.#stops[step] = 3;
          frame.passed = -1;
          frame.line = line;
        }
        if (frame.passed >= 0) frame.line = -1;
      }
      frame.insn = insn;
      frame.pc = pc;
    }
  }

  beginsInsn(step: number): boolean {
    return (this.#stops[step]! & 1) !== 0;
  }

  /** An instruction that calls a helper or a kernel function, or a tail call; once a call, not where callbacks come back to it. */
  beginsCall(step: number): boolean {
    if (this.#recording.journal.kind.at(step) !== 0) return false;
    const kind = this.#recording.callAt(step)?.kind;
    return kind === 'function' || kind === 'tail_call';
  }

  beginsLine(step: number): boolean {
    return (this.#stops[step]! & 2) !== 0;
  }

  /** The next step in a direction for which `wanted` holds; the last or first one where there is none. */
  find(from: number, direction: 1 | -1, wanted: (step: number) => boolean): number {
    let step = from + direction;
    for (; step > 0 && step < this.#recording.length - 1; step += direction) if (wanted(step)) return step;
    return Math.min(Math.max(step, 0), this.#recording.length - 1);
  }
}
