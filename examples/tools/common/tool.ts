/** The command line around a tool: options that all have, the kernel that it is to run on, errors as words and exit codes. */
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { BpfError, openKernel } from '../tsbpf.ts';
import type { Sink } from './output.ts';
import { type Recording, readRecording } from './recording.ts';
import { Session, Shown } from './session.ts';

export interface Tool<Options extends object> {
  readonly name: string;
  readonly summary: string;
  /** For --help: a command line, and what it does. */
  readonly examples: readonly (readonly [command: string, does: string])[];
  /** The command that makes a recording for the embedded kernel. */
  readonly record: string;
  /** Adds options and arguments of its own. */
  readonly configure?: (command: Command) => void;
  readonly run: (session: Session, options: Options) => Promise<void>;
}

export interface ToolEnv {
  readonly stdout: Sink;
  readonly stderr: Sink;
  /** Ends the tool as Ctrl-C does. */
  readonly signal: AbortSignal;
  /** Called when programs are attached and events are awaited. */
  readonly onReady?: () => void;
}

interface CommonOptions {
  readonly kernel: 'embedded' | 'host' | 'auto';
  readonly input?: string;
  readonly engine: 'jit' | 'interpreter';
  readonly json?: true;
  readonly duration?: number;
  readonly ebpf?: true;
}

/** For options: a whole number, `least` or more, at most `most`. */
export function whole(least = 0, most?: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d{1,10}$/.test(text) || value < least || (most !== undefined && value > most))
      throw new InvalidArgumentError(
        `a whole number from ${least} ${most === undefined ? 'on' : `to ${most}`} is needed.`,
      );
    return value;
  };
}

/** For options: numbers of ports, separated by commas. */
export const ports = (text: string): number[] => text.split(',').map((one) => whole(1, 65_535)(one));

/** For options: seconds, with a fraction perhaps. */
export function seconds(text: string): number {
  const value = Number(text);
  if (!/^\d{0,9}(?:\.\d{1,9})?$/.test(text) || !(value > 0))
    throw new InvalidArgumentError('a number of seconds above 0 is needed.');
  return value;
}

/** Arguments `[interval] [count]`, as most tools that sum something up have them. */
export function withInterval(command: Command): Command {
  return command
    .argument('[interval]', 'seconds between two outputs; default: one output, at the end', seconds)
    .argument('[count]', 'number of outputs', whole(1));
}

function commandOf<Options extends object>(tool: Tool<Options>): Command {
  const command = new Command(tool.name).description(tool.summary).exitOverride();
  tool.configure?.(command);
  command
    .addOption(
      new Option('--kernel <kernel>', 'where to run; auto: embedded with --input, else host')
        .choices(['embedded', 'host', 'auto'])
        .default('auto'),
    )
    .option('--input <file>', 'recording for the embedded kernel: strace, perf.data, perf script, pcap')
    .addOption(
      new Option('--engine <engine>', 'of the embedded kernel')
        .choices(['jit', 'interpreter'])
        .default('jit'),
    )
    .option('-d, --duration <seconds>', 'end after this time', seconds)
    .option('--json', 'one JSON object a line')
    .option('--ebpf', 'print the program, and do nothing');
  const width = Math.max(...tool.examples.map(([line]) => line.length));
  const examples = tool.examples.map(([line, does]) => `  ${line.padEnd(width)}  # ${does}`);
  command.addHelpText('after', `\nExamples:\n${examples.join('\n')}\n\nA recording:\n  ${tool.record}`);
  return command;
}

/** Runs a tool: 0 done, 1 failed or not possible here, 2 wrong command line. */
export async function runTool<Options extends object>(
  tool: Tool<Options>,
  argv: readonly string[],
  env: ToolEnv,
): Promise<number> {
  const command = commandOf(tool).configureOutput({
    writeOut: (text) => env.stdout.write(text),
    writeErr: (text) => env.stderr.write(text),
  });
  const fail = (text: string): void => env.stderr.write(`${tool.name}: ${text}\n`);
  try {
    command.parse([...argv], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? 0 : 2;
  }
  const common = command.opts<CommonOptions>();
  const given = Object.fromEntries(
    command.registeredArguments.map((argument, i) => [argument.name(), command.processedArgs[i]]),
  );
  const shows = common.ebpf === true;
  const embedded = common.kernel === 'embedded' || (common.kernel === 'auto' && common.input !== undefined);
  if (embedded && common.input === undefined && !shows) {
    fail(`the embedded kernel needs events: --input FILE, made with: ${tool.record}`);
    return 2;
  }
  if (!embedded && common.input !== undefined) {
    fail('a recording is for the embedded kernel; --kernel host looks at this machine');
    return 2;
  }
  let session: Session | undefined;
  try {
    const recording = common.input === undefined ? undefined : readRecording(common.input);
    session = await openSession(tool, common, recording, env);
    await tool.run(session, { ...common, ...given } as unknown as Options);
    session.tellLost();
    return 0;
  } catch (error) {
    if (error instanceof Shown) return 0;
    if (!(error instanceof BpfError)) throw error;
    fail(error.message);
    if (error.hint !== undefined) fail(error.hint);
    return 1;
  } finally {
    session?.close();
    session?.kernel.shutdown();
  }
}

async function openSession(
  tool: Tool<never>,
  common: CommonOptions,
  recording: Recording | undefined,
  env: ToolEnv,
): Promise<Session> {
  const kernel = await openKernelFor(tool, recording, common.ebpf === true);
  kernel.simulator?.setSysctl('net.core.bpf_jit_enable', common.engine === 'jit' ? 1 : 0);
  return new Session({
    tool: tool.name,
    kernel,
    recording,
    json: common.json === true,
    duration: common.duration,
    stdout: env.stdout,
    stderr: env.stderr,
    signal: env.signal,
    ...(env.onReady === undefined ? {} : { onReady: env.onReady }),
    record: tool.record,
    showPrograms: common.ebpf === true,
  });
}

/** `shows`: nothing is run, and no kernel is touched. */
async function openKernelFor(tool: Tool<never>, recording: Recording | undefined, shows: boolean) {
  try {
    const { kernel } = await openKernel(
      recording === undefined && !shows
        ? { kernel: 'host' }
        : { kernel: 'embedded', possibleCpus: Math.max(1, recording?.cpus ?? 1), onOops: () => {} },
    );
    return kernel;
  } catch (error) {
    if (!(error instanceof BpfError)) throw error;
    throw new BpfError('EPERM', error.message, {
      hint: `run it as root on Linux, or over a recording: --input FILE, made with: ${tool.record}`,
      cause: error,
    });
  }
}

/** Runs the tool where its file is the program that was started (`npx tsx examples/tools/NAME.ts`). */
export async function main<Options extends object>(url: string, tool: Tool<Options>): Promise<void> {
  const [, started] = process.argv;
  if (started === undefined || pathToFileURL(started).href !== url) return;
  // A reader that has seen enough (`| head`) is no error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit();
  });
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort());
  process.exitCode = await runTool(tool, process.argv.slice(2), {
    stdout: process.stdout,
    stderr: process.stderr,
    signal: interrupted.signal,
  });
}
