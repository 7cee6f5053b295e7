/**
 * The file that a web worker runs to verify and compile for an embedded kernel:
 * `new Worker(new URL('tsbpf/background-worker', import.meta.url), { type: 'module' })`, or bundled with the page. Deno and Bun have such
 * workers too.
 */
import { serveBackground } from './kernel/background/serve.ts';

interface WorkerScope {
  postMessage(message: unknown): void;
  onmessage: ((event: { data: unknown }) => void) | null;
}

const scope = globalThis as unknown as WorkerScope;
serveBackground({
  post: (message) => scope.postMessage(message),
  listen: (onMessage) => {
    scope.onmessage = ({ data }) => onMessage(data);
  },
});
