/** Runs the command line in this process, on an embedded kernel, and keeps what it writes. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';
import { type CliEnv, runCli } from '../../src/cli/index.ts';
import { type KernelChoice, type OpenedKernel, openKernel } from '../../src/open-kernel.ts';
import { cpuThreads } from '../cpus/threads.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export interface CliResult {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliCircumstances {
  readonly tty?: boolean;
  readonly variables?: Record<string, string>;
  /** What a choice other than `embedded` gives. */
  readonly host?: (choice: KernelChoice) => Promise<OpenedKernel>;
  /** Standard input, line by line. */
  readonly input?: readonly string[];
  /** Gets the function that stands for Ctrl-C. */
  readonly interrupt?: (fire: () => void) => void;
}

export async function cli(argv: readonly string[], circumstances: CliCircumstances = {}): Promise<CliResult> {
  let stdout = '';
  let stderr = '';
  const isTTY = circumstances.tty === true;
  const env: CliEnv = {
    openKernel: ({ onOops, cpus, ...options }) => {
      if (options.kernel !== 'embedded' && circumstances.host !== undefined)
        return circumstances.host(options.kernel ?? 'embedded');
      return openKernel({
        ...options,
        ...(cpus === undefined ? {} : { cpus: { count: cpus, start: cpuThreads() } }),
        ...(onOops === undefined ? {} : { onOops: ({ message }) => onOops(message) }),
      });
    },
    version: '1.2.3',
    stdout: {
      isTTY,
      write: (text) => {
        stdout += text;
      },
    },
    stderr: {
      isTTY,
      write: (text) => {
        stderr += text;
      },
    },
    variables: circumstances.variables ?? {},
    ...(circumstances.input === undefined
      ? {}
      : { lines: () => from(circumstances.input ?? []), interactive: isTTY }),
    onInterrupt: (listener) => {
      circumstances.interrupt?.(listener);
      return () => {};
    },
  };
  const exit = await runCli(argv, env);
  return { exit, stdout, stderr };
}

async function* from(lines: readonly string[]): AsyncGenerator<string> {
  yield* lines;
}

export const example = (name: string): string => join(ROOT, 'examples/objects', `${name}.bpf.o`);
export const TRAFFIC = join(ROOT, 'examples/inputs/traffic.pcap');
export const COMMANDS = join(ROOT, 'examples/inputs/commands.strace');
export const BIN = join(ROOT, 'dist/bin.js');

const scratch = mkdtempSync(join(tmpdir(), 'tsbpf-cli-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** A path for a file that is gone after the test file. */
export function temporary(name: string, contents?: string | Uint8Array): string {
  const path = join(scratch, name);
  if (contents !== undefined) writeFileSync(path, contents);
  return path;
}
