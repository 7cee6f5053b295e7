/**
 * What the examples of this folder run on: the embedded kernel with a recording of commands, or with `--kernel host` (as root) the
 * kernel of this machine until Ctrl-C; `--pid N` looks at one process.
 */
import { readFileSync, realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseStrace } from '../../src/capture/index.ts';
import { type Kernel, openKernel } from '../../src/index.ts';

export interface Surroundings {
  readonly kernel: Kernel;
  readonly print: (line: string) => void;
  /** `--pid`: only this process is looked at. */
  readonly pid?: number;
  /** Resolves when there will be no more events. */
  readonly events: () => Promise<void>;
}

export type Example = (surroundings: Surroundings) => Promise<void>;

const RECORDING = new URL('../inputs/commands.strace', import.meta.url);

/** Flags with which a program looks at one process. */
export const onlyProcess = (pid: number | undefined): string[] =>
  pid === undefined ? [] : [`-DONLY_PID=${pid}`];

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
  const option = (name: string) =>
    process.argv.includes(name) ? process.argv[process.argv.indexOf(name) + 1] : undefined;
  const choice = option('--kernel') === 'host' ? 'host' : 'embedded';
  const pid = option('--pid');
  const { kernel } = await openKernel({ kernel: choice });
  const interrupted = new Promise<void>((resolve) => process.once('SIGINT', resolve));
  // Ctrl-C must find a process that is waiting.
  const alive = setInterval(() => {}, 1 << 30);
  try {
    const events = choice === 'host' ? () => interrupted : () => playCommands(kernel);
    const print = (line: string) => console.log(line);
    await example({ kernel, print, events, ...(pid === undefined ? {} : { pid: Number(pid) }) });
  } finally {
    clearInterval(alive);
    kernel.shutdown();
  }
}
