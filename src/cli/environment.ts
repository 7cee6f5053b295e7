/** What the command line needs from the process that it runs in; `src/bin.ts` makes the real one, tests make their own. */
import type { Btf } from '../btf/index.ts';
import type { Kernel } from '../contracts/kernel.ts';

export interface CliKernelOptions {
  readonly possibleCpus?: number;
  /** Types of the kernel that programs are verified against. */
  readonly kernelBtf?: Btf;
  /** Told of programs that were stopped by a fault. */
  readonly onOops?: (message: string) => void;
}

export interface CliSink {
  write(text: string): void;
  /** A person looks: colours and progress. */
  readonly isTTY: boolean;
}

export interface CliEnv {
  /** A fresh kernel, at the default settings of a machine with root. */
  createKernel(options: CliKernelOptions): Kernel;
  readonly version: string;
  readonly stdout: CliSink;
  readonly stderr: CliSink;
  /** Environment variables: NO_COLOR, FORCE_COLOR. */
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** Calls `listener` on the next interrupt (Ctrl-C) in place of ending the process; gives the function that takes it back. */
  onInterrupt(listener: () => void): () => void;
}
