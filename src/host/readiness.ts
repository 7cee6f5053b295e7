/**
 * Waiting for a descriptor without a thread, without polling: the event loop's epoll watches it while somebody waits, and only
 * then, so a program that waits for nothing ends.
 */
import type { Native, Watch } from './native.ts';

interface Waiter {
  finish(woken: boolean): void;
}

export class Readiness {
  readonly #native: Native;
  readonly #fd: number;
  /** Whether there is something now: a wakeup that finds nothing wakes nobody. */
  readonly #isReady: () => boolean;
  #watch: Watch | undefined;
  #watching = false;
  #waiting: Waiter[] = [];
  #closed = false;

  /** `fd` must stay open until `close`. */
  constructor(native: Native, fd: number, isReady: () => boolean) {
    this.#native = native;
    this.#fd = fd;
    this.#isReady = isReady;
  }

  /** True when there is something, false after `timeoutMs`, when `signal` fires, or when this is closed. */
  wait(timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
    if (this.#closed || signal?.aborted) return Promise.resolve(false);
    return new Promise((resolve) => {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const waiter: Waiter = {
        finish: (woken) => {
          clearTimeout(timer);
          signal?.removeEventListener('abort', onAbort);
          this.#waiting = this.#waiting.filter((other) => other !== waiter);
          if (this.#waiting.length === 0) this.#stop();
          resolve(woken);
        },
      };
      const onAbort = () => waiter.finish(false);
      this.#waiting.push(waiter);
      signal?.addEventListener('abort', onAbort);
      if (Number.isFinite(timeoutMs) && timeoutMs >= 0) timer = setTimeout(onAbort, timeoutMs);
      this.#start();
    });
  }

  close(): void {
    this.#closed = true;
    this.#finishAll(false);
    this.#watch?.close();
    this.#watch = undefined;
  }

  #start(): void {
    if (this.#watching) return;
    this.#watching = true;
    this.#watch ??= this.#native.watch(this.#fd);
    this.#watch.start((readable) => {
      if (this.#isReady()) this.#finishAll(true);
      // Hung up or broken: it would be reported again and again. Those who wait do so until their time is over.
      else if (!readable) this.#watch?.stop();
    });
  }

  #stop(): void {
    if (!this.#watching) return;
    this.#watching = false;
    this.#watch?.stop();
  }

  #finishAll(woken: boolean): void {
    for (const waiter of [...this.#waiting]) waiter.finish(woken);
  }
}
