/**
 * What the examples of this folder run on: the embedded kernel with a recording of commands, or with `--kernel host` (as root) the
 * kernel of this machine until Ctrl-C; `--pid N` looks at one process.
 */
import { readFileSync, realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { BpfError, type Kernel, openKernel, parseStrace } from '../../src/index.ts'; // 'tsbpf'

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

const USAGE = `Options:
  --kernel embedded|host  the recording (default), or this machine until Ctrl-C (as root)
  --pid N                 only this process
  --help`;

interface Options {
  readonly kernel: 'embedded' | 'host';
  readonly pid?: number;
}

/** Undefined: `--help`. Throws an Error that says what is wrong. */
function readOptions(args: string[]): Options | undefined {
  const { values } = parseArgs({
    args,
    options: {
      kernel: { type: 'string', default: 'embedded' },
      pid: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  const { kernel, pid } = values;
  if (values.help === true) return undefined;
  if (kernel !== 'embedded' && kernel !== 'host')
    throw new Error(`--kernel is embedded or host, not '${kernel}'`);
  if (pid !== undefined && !/^[1-9]\d{0,9}$/.test(pid))
    throw new Error(`--pid is the number of a process, not '${pid}'`);
  return { kernel, ...(pid === undefined ? {} : { pid: Number(pid) }) };
}

/** Runs an example whose file was started: `npx tsx examples/bcc/hello.ts`. */
export async function main(moduleUrl: string, example: Example): Promise<void> {
  const started = process.argv[1];
  if (started === undefined || realpathSync(started) !== fileURLToPath(moduleUrl)) return;
  // A reader that has seen enough (`| head`) is no error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit();
  });
  let options: Options | undefined;
  try {
    options = readOptions(process.argv.slice(2));
  } catch (error) {
    console.error(`error: ${(error as Error).message}\n${USAGE}`);
    process.exitCode = 2;
    return;
  }
  if (options === undefined) console.log(USAGE);
  else await run(example, options);
}

async function run(example: Example, options: Options): Promise<void> {
  const interrupted = new Promise<void>((resolve) => process.once('SIGINT', resolve));
  // Ctrl-C must find a process that is waiting.
  const alive = setInterval(() => {}, 1 << 30);
  let kernel: Kernel | undefined;
  try {
    const opened = await openKernel({ kernel: options.kernel });
    kernel = opened.kernel;
    const { simulator } = kernel;
    const events = simulator === null ? () => interrupted : () => playCommands(opened.kernel);
    const { pid } = options;
    await example({
      kernel,
      print: (line) => console.log(line),
      events,
      ...(pid === undefined ? {} : { pid }),
    });
  } catch (error) {
    if (!(error instanceof BpfError)) throw error;
    console.error(`error: ${error.message}${error.hint === undefined ? '' : `\n${error.hint}`}`);
    process.exitCode = 1;
  } finally {
    clearInterval(alive);
    kernel?.shutdown();
  }
}
