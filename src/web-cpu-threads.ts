/** Web workers for the embedded kernel: its CPUs, and those that verify and compile for it. */
import type { StartBackgroundThread } from './contracts/background.ts';
import type { StartCpuThread } from './contracts/cpus.ts';

/** What is used of a web worker. */
export interface WebWorker {
  postMessage(message: unknown): void;
  terminate(): void;
  onmessage: ((event: { data: never }) => void) | null;
  onerror: ((event: never) => void) | null;
}

/**
 * Makes threads for `EmbeddedKernel({ cpus: { count, start } })` out of workers that run `tsbpf/cpu-worker`. The page must be cross-origin
 * isolated (headers Cross-Origin-Opener-Policy: same-origin, Cross-Origin-Embedder-Policy: require-corp).
 */
export function webCpuThreads(makeWorker: () => WebWorker): StartCpuThread {
  return ({ onMessage, onError }) => {
    const worker = makeWorker();
    worker.onmessage = ({ data }) => onMessage(data);
    worker.onerror = (event) =>
      onError(new Error(String((event as { message?: string }).message ?? 'the worker failed')));
    return { post: (message) => worker.postMessage(message), terminate: () => worker.terminate() };
  };
}

/** Makes threads for `EmbeddedKernel({ background: { start } })` out of workers that run `tsbpf/background-worker`; any page may. */
export function webBackgroundThreads(makeWorker: () => WebWorker): StartBackgroundThread {
  return webCpuThreads(makeWorker);
}
