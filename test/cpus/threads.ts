/** CPUs for tests and benchmarks. */
import type { StartCpuThread } from '../../src/contracts/cpus.ts';
import { nodeCpuThreads } from '../../src/host/cpu-threads.ts';
import { workerBundle } from '../worker-bundle.ts';

let threads: StartCpuThread | undefined;

export function cpuThreads(): StartCpuThread {
  threads ??= nodeCpuThreads(workerBundle('cpu-worker'));
  return threads;
}
