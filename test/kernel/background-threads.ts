/** Threads that verify and compile, for tests and benchmarks. */
import type { StartBackgroundThread } from '../../src/contracts/background.ts';
import { nodeBackgroundThreads } from '../../src/host/cpu-threads.ts';
import { workerBundle } from '../worker-bundle.ts';

let threads: StartBackgroundThread | undefined;

export function backgroundThreads(): StartBackgroundThread {
  threads ??= nodeBackgroundThreads(workerBundle('background-worker'));
  return threads;
}
