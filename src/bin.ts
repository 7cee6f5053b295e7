#!/usr/bin/env node
/** The `tsbpf` command: the one place that puts the command line and a kernel together. */
import process from 'node:process';
import { type CliSink, runCli } from './cli/index.ts';
import type { StartCpuThread } from './contracts/cpus.ts';
import { VERSION } from './version.ts';

/** Those that ask a process to end. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

function sink(stream: NodeJS.WriteStream): CliSink {
  // A reader that has seen enough (`| head`) is no error.
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit();
  });
  return { write: (text) => void stream.write(text), isTTY: stream.isTTY === true };
}

/** With a terminal the prompt comes again when what was typed has been done. Who stops reading lets go of the input: it may stay open for long. */
async function* linesOf(prompt: string): AsyncGenerator<string> {
  const { createInterface } = await import('node:readline');
  const { stdin: input, stdout: output } = process;
  const typed = createInterface(input.isTTY ? { input, output, prompt } : { input });
  typed.on('SIGINT', () => typed.close());
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
  stdout: sink(process.stdout),
  stderr: sink(process.stderr),
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
}).then((code) => {
  process.exitCode = code;
});
