/**
 * The file that a web worker runs as a CPU of an embedded kernel: `new Worker(new URL('tsbpf/cpu-worker', import.meta.url), { type: 'module' })`,
 * or bundled with the page. Deno and Bun have such workers too.
 */
import { serveCpu } from './kernel/cpus/thread.ts';

interface WorkerScope {
  postMessage(message: unknown): void;
  onmessage: ((event: { data: unknown }) => void) | null;
}

const scope = globalThis as unknown as WorkerScope;
serveCpu({
  post: (message) => scope.postMessage(message),
  listen: (onMessage) => {
    scope.onmessage = ({ data }) => onMessage(data);
  },
});
