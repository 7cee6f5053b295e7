/** The tools as tests call them: in this process, with what they print caught. */
import { fileURLToPath } from 'node:url';
import { biolatency } from '../../examples/tools/biolatency.ts';
import { runTool, type Tool } from '../../examples/tools/common/index.ts';
import { dnssnoop } from '../../examples/tools/dnssnoop.ts';
import { execsnoop } from '../../examples/tools/execsnoop.ts';
import { exitsnoop } from '../../examples/tools/exitsnoop.ts';
import { fsdist } from '../../examples/tools/fsdist.ts';
import { fsslower } from '../../examples/tools/fsslower.ts';
import { opensnoop } from '../../examples/tools/opensnoop.ts';
import { profile } from '../../examples/tools/profile.ts';
import { runqlat } from '../../examples/tools/runqlat.ts';
import { sigsnoop } from '../../examples/tools/sigsnoop.ts';
import { syscount } from '../../examples/tools/syscount.ts';
import { tcpconnect } from '../../examples/tools/tcpconnect.ts';
import { tcplife } from '../../examples/tools/tcplife.ts';

const ALL: readonly Tool<never>[] = [
  biolatency,
  dnssnoop,
  execsnoop,
  exitsnoop,
  fsdist,
  fsslower,
  opensnoop,
  profile,
  runqlat,
  sigsnoop,
  syscount,
  tcpconnect,
  tcplife,
] as unknown as readonly Tool<never>[];

export const TOOLS: ReadonlyMap<string, Tool<never>> = new Map(ALL.map((tool) => [tool.name, tool]));

export const input = (name: string): string =>
  fileURLToPath(new URL(`../../examples/inputs/${name}`, import.meta.url));

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A tool that runs: what it printed so far, and Ctrl-C. */
export interface Running {
  readonly done: Promise<Outcome>;
  stdout(): string;
  stderr(): string;
  interrupt(): void;
}

/** `onReady`: called when the tool's programs are attached. */
export function start(command: string, onReady: () => void = () => {}): Running {
  const [name = '', ...argv] = command.split(' ');
  const tool = TOOLS.get(name);
  if (tool === undefined) throw new Error(`there is no tool ${name}`);
  const interrupted = new AbortController();
  const printed = { stdout: '', stderr: '' };
  const into = (which: 'stdout' | 'stderr') => ({
    write: (text: string) => {
      printed[which] += text;
    },
  });
  const env = { stdout: into('stdout'), stderr: into('stderr'), signal: interrupted.signal, onReady };
  return {
    done: runTool(tool, argv, env).then((code) => ({ code, ...printed })),
    stdout: () => printed.stdout,
    stderr: () => printed.stderr,
    interrupt: () => interrupted.abort(),
  };
}

export const run = (command: string): Promise<Outcome> => start(command).done;

/** Objects of `--json`, one a line. */
export const objects = (text: string): Record<string, unknown>[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

export type Json = Record<string, unknown>;
async function until(what: string, running: Running, done: () => boolean): Promise<void> {
  for (let left = 2400; !done(); left--) {
    if (left === 0) throw new Error(`no ${what}: ${running.stdout()} ${running.stderr()}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/**
 * Runs a tool with --json around `act`, until `seen` (of its objects) is true, then Ctrl-C. Tools that only print at their end are given
 * nothing to see.
 */
export async function around(
  command: string,
  act: () => void | Promise<void>,
  seen?: (events: readonly Json[]) => boolean,
): Promise<{ readonly events: Json[]; readonly outcome: Outcome }> {
  let attached = (): void => {};
  const ready = new Promise<void>((resolve) => {
    attached = resolve;
  });
  const running = start(`${command} --kernel host --json`, attached);
  await Promise.race([ready, running.done]);
  await act();
  if (seen !== undefined) await until('such event', running, () => seen(objects(running.stdout())));
  running.interrupt();
  const outcome = await running.done;
  if (outcome.code !== 0 || outcome.stderr !== '')
    throw new Error(`${command} ended with ${outcome.code}: ${outcome.stderr}`);
  return { events: objects(outcome.stdout), outcome };
}
