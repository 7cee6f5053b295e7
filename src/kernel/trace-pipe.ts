/**
 * trace_pipe: lines that programs print, consumed by reading. The buffer is bounded; what no reader took in time is
 * counted and the next line read says so, as the kernel's "CPU:n [LOST m EVENTS]".
 */
import type { TraceLine } from '../contracts/kernel.ts';

const CAPACITY = 65_536;

export class TracePipe {
  #lines: TraceLine[] = [];
  /** Lines before this one have been read; they are dropped from time to time. */
  #first = 0;
  #lost = 0;
  #wake: (() => void)[] = [];
  #closed = false;

  get lost(): number {
    return this.#lost;
  }

  write(line: TraceLine): void {
    if (this.#lines.length - this.#first >= CAPACITY) {
      this.#first++;
      this.#lost++;
    }
    if (this.#first >= CAPACITY) this.#compact();
    this.#lines.push(line);
    if (this.#wake.length > 0) this.#wakeAll();
  }

  /** Lines written so far, taken out of the pipe; the first one says how many were lost before. */
  drain(): TraceLine[] {
    this.#compact();
    const lines = this.#lost > 0 ? [lostLine(this.#lost), ...this.#lines] : this.#lines;
    this.#lost = 0;
    this.#lines = [];
    return lines;
  }

  #compact(): void {
    this.#lines = this.#lines.slice(this.#first);
    this.#first = 0;
  }

  #next(): TraceLine | undefined {
    if (this.#first < this.#lines.length) return this.#lines[this.#first++];
    this.#compact();
    return undefined;
  }

  /** Ends when `signal` fires or the kernel shuts down; what is in the pipe by then is still delivered. */
  async *read(signal?: AbortSignal): AsyncGenerator<TraceLine> {
    const onAbort = () => this.#wakeAll();
    signal?.addEventListener('abort', onAbort);
    try {
      for (;;) {
        if (this.#lost > 0) {
          const lost = this.#lost;
          this.#lost = 0;
          yield lostLine(lost);
        }
        const line = this.#next();
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
