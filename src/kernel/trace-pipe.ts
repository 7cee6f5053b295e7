/**
 * trace_pipe: lines that programs print, consumed by reading. The buffer is bounded; what no reader took in time is
 * counted and the next line read says so, as the kernel's "CPU:n [LOST m EVENTS]".
 */
import type { TraceLine } from '../contracts/kernel.ts';

const CAPACITY = 65_536;

export class TracePipe {
  #lines: TraceLine[] = [];
  #lost = 0;
  #wake: (() => void)[] = [];
  #closed = false;

  get lost(): number {
    return this.#lost;
  }

  write(line: TraceLine): void {
    if (this.#lines.length >= CAPACITY) {
      this.#lines.shift();
      this.#lost++;
    }
    this.#lines.push(line);
    this.#wakeAll();
  }

  /** Lines written so far, taken out of the pipe. */
  drain(): TraceLine[] {
    const lines = this.#lines;
    this.#lines = [];
    return lines;
  }

  /** Ends when `signal` fires or the kernel shuts down; what is in the pipe by then is still delivered. */
  async *read(signal?: AbortSignal): AsyncGenerator<TraceLine> {
    const onAbort = () => this.#wakeAll();
    signal?.addEventListener('abort', onAbort);
    try {
      for (;;) {
        if (this.#lost > 0) {
          yield lostLine(this.#lost);
          this.#lost = 0;
        }
        const line = this.#lines.shift();
        if (line !== undefined) {
          yield line;
          continue;
        }
        if (this.#closed || signal?.aborted) return;
        await new Promise<void>((resolve) => this.#wake.push(resolve));
      }
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  close(): void {
    this.#closed = true;
    this.#wakeAll();
  }

  #wakeAll(): void {
    const waiting = this.#wake;
    this.#wake = [];
    for (const resolve of waiting) resolve();
  }
}

function lostLine(count: number): TraceLine {
  return { comm: '', pid: 0, cpu: 0, flags: '', timestamp: 0, message: `CPU:0 [LOST ${count} EVENTS]` };
}
