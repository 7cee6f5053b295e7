/** Threads of Node for the embedded kernel: its CPUs, and those that verify and compile for it. */
import { Worker } from 'node:worker_threads';
import type { StartBackgroundThread } from '../contracts/background.ts';
import type { CpuThread, CpuThreadEvents, StartCpuThread } from '../contracts/cpus.ts';

/**
 * Makes threads for `EmbeddedKernel({ cpus: { count, start } })`. `entry`: the file that they run, default that of this package
 * (`host/cpu-worker`); give it where a bundler has put it elsewhere.
 */
export function nodeCpuThreads(entry = new URL('./cpu-worker.js', import.meta.url)): StartCpuThread {
  return threads(entry, 'tsbpf CPU');
}

/** Makes threads for `EmbeddedKernel({ background: { start } })`. `entry`: as above, `host/background-worker`. */
export function nodeBackgroundThreads(
  entry = new URL('./background-worker.js', import.meta.url),
): StartBackgroundThread {
  return threads(entry, 'tsbpf compiler');
}

function threads(entry: URL, name: string): StartCpuThread {
  return ({ onMessage, onError }: CpuThreadEvents): CpuThread => {
    const worker = new Worker(entry, { name });
    worker.on('message', onMessage);
    worker.on('error', onError);
    worker.on('messageerror', onError);
    worker.on('exit', (code) => onError(new Error(`it ended with code ${code}`)));
    return {
      post: (message) => worker.postMessage(message),
      busy: (waited) => (waited ? worker.ref() : worker.unref()),
      terminate: () => worker.terminate(),
    };
  };
}
