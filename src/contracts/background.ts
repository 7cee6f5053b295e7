/**
 * The seam between a kernel and threads that verify and compile for it while its own thread goes on. Threads are made by whoever knows the
 * host (`node:worker_threads`, `Worker`); the kernel only sends and receives messages.
 */
import type { CpuThread, CpuThreadEvents } from './cpus.ts';

/** Rejects, or tells `onError`, where there can be no thread: the kernel does without from then on. */
export type StartBackgroundThread = (events: CpuThreadEvents) => CpuThread | Promise<CpuThread>;

export interface BackgroundOptions {
  /** Makes a thread whose entry file calls `serveBackground`; not called before there is work for one. */
  readonly start: StartBackgroundThread;
  /** How many at most (default 1); a thread takes some 50 MB. */
  readonly threads?: number;
  /** Programs of fewer instructions are loaded on the calling thread, which takes less time than to ask (default 1000). */
  readonly fromInsns?: number;
}
