/**
 * Which bytes of the stack something was written to since their frame began. Kept only where programs are asked to be strict about them
 * (`InterpreterOptions.strict: 'stack'`): Linux lets privileged programs read whatever lies there, and compilers copy padding.
 */
import { STACK_BYTES } from '../memory/layout.ts';

export class StackBytes {
  readonly #written = new Uint8Array(STACK_BYTES);
  readonly #bottom: number;

  constructor(bottom: number) {
    this.#bottom = bottom;
  }

  /** A frame begins. */
  forget(from: number, upto: number): void {
    this.#written.fill(0, from - this.#bottom, upto - this.#bottom);
  }

  write(at: number, size: number): void {
    const from = at - this.#bottom;
    if (from >= 0 && from < STACK_BYTES) this.#written.fill(1, from, from + size);
  }

  /** Offset of the first byte that nothing was written to, or -1; other memory has none. */
  missing(at: number, size: number): number {
    const from = at - this.#bottom;
    if (from < 0 || from >= STACK_BYTES) return -1;
    const found = this.#written.subarray(from, from + size).indexOf(0);
    return found < 0 ? -1 : at + found;
  }
}
