/** The file that a thread of Node runs as a CPU of an embedded kernel. */
import { parentPort } from 'node:worker_threads';
import { serveCpu } from '../kernel/cpus/thread.ts';

const port = parentPort;
if (port !== null) {
  serveCpu({
    post: (message) => port.postMessage(message),
    listen: (onMessage) => port.on('message', onMessage),
  });
}
