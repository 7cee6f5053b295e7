/** Waiting for rings: until one is written, the caller's signal fires, or the reader is closed. */
import type { RingMapping } from '../contracts/kernel.ts';

/** Longest wait before a reader looks by itself: programs may commit records without waking anybody. */
const LOOK_AGAIN_MS = 1000;

/** What a reader waits with: closing it ends every wait at once. */
export class Waiting {
  readonly #closing = new AbortController();

  get closed(): boolean {
    return this.#closing.signal.aborted;
  }

  close(): void {
    this.#closing.abort();
  }

  /** Resolves when one of the rings may have been written. */
  async wait(rings: readonly RingMapping[], signal: AbortSignal | undefined): Promise<void> {
    if (rings.length === 0 || signal?.aborted) return;
    const ended = new AbortController();
    const end = () => ended.abort();
    const closing = this.#closing.signal;
    signal?.addEventListener('abort', end);
    closing.addEventListener('abort', end);
    try {
      await Promise.race(rings.map((ring) => ring.wait(LOOK_AGAIN_MS, ended.signal)));
    } finally {
      // The waits on the other rings end, too.
      end();
      signal?.removeEventListener('abort', end);
      closing.removeEventListener('abort', end);
    }
  }
}
