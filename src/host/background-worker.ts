/** The file that a thread of Node runs to verify and compile for an embedded kernel. */
import { parentPort } from 'node:worker_threads';
import { serveBackground } from '../kernel/background/serve.ts';

const port = parentPort;
if (port !== null) {
  serveBackground({
    post: (message) => port.postMessage(message),
    listen: (onMessage) => port.on('message', onMessage),
  });
}
