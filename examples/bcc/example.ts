/**
 * What the examples of this folder run on: the embedded kernel with a recording of commands, or with `--kernel host` (as root) the
 * kernel of this machine until Ctrl-C.
 */
import { readFileSync, realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseStrace } from '../../src/capture/index.ts';
import { type Kernel, openKernel } from '../../src/index.ts';

export interface Surroundings {
  readonly kernel: Kernel;
  readonly print: (line: string) => void;
  /** Resolves when there will be no more events. */
  readonly events: () => Promise<void>;
}

export type Example = (surroundings: Surroundings) => Promise<void>;

const RECORDING = new URL('../inputs/commands.strace', import.meta.url);

/** Plays the recording of commands to an embedded kernel. */
export async function playCommands(kernel: Kernel): Promise<void> {
  const { events, epoch } = parseStrace(readFileSync(RECORDING));
  kernel.simulator?.setTime(0n, epoch);
  for (const event of events) kernel.simulator?.fire(event);
}

/** Runs an example whose file was started: `npx tsx examples/bcc/hello.ts`. */
export async function main(moduleUrl: string, example: Example): Promise<void> {
  const started = process.argv[1];
  if (started === undefined || realpathSync(started) !== fileURLToPath(moduleUrl)) return;
  const choice = process.argv[process.argv.indexOf('--kernel') + 1] === 'host' ? 'host' : 'embedded';
  const { kernel } = await openKernel({ kernel: choice });
  const interrupted = new Promise<void>((resolve) => process.once('SIGINT', resolve));
  // Ctrl-C must find a process that is waiting.
  const alive = setInterval(() => {}, 1 << 30);
  try {
    const events = choice === 'host' ? () => interrupted : () => playCommands(kernel);
    await example({ kernel, print: (line) => console.log(line), events });
  } finally {
    clearInterval(alive);
    kernel.shutdown();
  }
}
