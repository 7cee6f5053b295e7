#!/usr/bin/env node
/** The `tsbpf` command: the one place that puts the command line and a kernel together. */
import process from 'node:process';
import { isatty } from 'node:tty';
import { type CliSink, runCli } from './cli/index.ts';
import type { StartCpuThread } from './contracts/cpus.ts';
import { VERSION } from './version.ts';

/** Those that ask a process to end. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Streams that something was written to: one that nobody writes to is not opened, which takes longer than it looks. */
const opened = new Set<NodeJS.WriteStream>();

function sink(fd: number, stream: () => NodeJS.WriteStream): CliSink {
  const open = (): NodeJS.WriteStream => {
    const to = stream();
    if (opened.has(to)) return to;
    opened.add(to);
    return to.on('error', (error: NodeJS.ErrnoException) => {
      // A reader that has seen enough (`| head`) is no error; a disk that is full is.
      if (error.code === 'EPIPE') process.exit();
      if (fd !== 2) process.stderr.write(`error: standard output cannot be written: ${error.message}\n`);
      process.exit(1);
    });
  };
  return { write: (text) => void open().write(text), isTTY: isatty(fd) };
}

/** Ends the process when all that was written is gone: what V8 would like to clean up then is of no use to anybody. */
async function end(code: number): Promise<void> {
  process.exitCode = code;
  for (const stream of opened)
    if (stream.writableLength > 0) await new Promise<void>((resolve) => stream.write('', () => resolve()));
  process.exit();
}

/** With a terminal the prompt comes again when what was typed has been done. Who stops reading lets go of the input: it may stay open for long. */
async function* linesOf(
  prompt: string,
  complete?: (line: string) => { readonly found: readonly string[]; readonly word: string },
): AsyncGenerator<string> {
  const { createInterface } = await import('node:readline');
  const { stdin: input, stdout: output } = process;
  const completer = (line: string): [string[], string] => {
    const { found, word } = complete?.(line) ?? { found: [], word: line };
    return [[...found], word];
  };
  const typed = createInterface(input.isTTY ? { input, output, prompt, completer } : { input });
  // Ctrl-C leaves the line that was begun; on an empty one it says how to go.
  typed.on('SIGINT', () => {
    output.write(typed.line === '' ? '\nquit or Ctrl-D ends the session\n' : '\n');
    typed.write(null, { ctrl: true, name: 'e' });
    typed.write(null, { ctrl: true, name: 'u' });
    typed.prompt();
  });
  try {
    if (input.isTTY) typed.prompt();
    for await (const line of typed) {
      yield line;
      if (input.isTTY) typed.prompt();
    }
  } finally {
    typed.close();
  }
}

/** Threads for CPUs: their file stands beside this one's bundle. */
async function cpuThreads(): Promise<StartCpuThread> {
  const { nodeCpuThreads } = await import('./host/cpu-threads.ts');
  return nodeCpuThreads(new URL('./host/cpu-worker.js', import.meta.url));
}

// No top-level await: the build makes CommonJS of this.
void runCli(process.argv.slice(2), {
  openKernel: async ({ onOops, cpus: count, ...options }) => {
    const { openKernel } = await import('./open-kernel.ts');
    const cpus =
      count === undefined || options.kernel === 'host' ? {} : { cpus: { count, start: await cpuThreads() } };
    return openKernel({
      ...options,
      ...cpus,
      ...(onOops === undefined ? {} : { onOops: ({ message }) => onOops(message) }),
    });
  },
  version: VERSION,
  stdout: sink(1, () => process.stdout),
  stderr: sink(2, () => process.stderr),
  variables: process.env,
  lines: linesOf,
  // Not before it is asked: it opens the stream.
  get interactive() {
    return process.stdin.isTTY === true;
  },
  onInterrupt: (listener) => {
    for (const signal of SIGNALS) process.once(signal, listener);
    return () => {
      for (const signal of SIGNALS) process.off(signal, listener);
    };
  },
}).then(end);
