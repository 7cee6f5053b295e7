/** What the command line needs from the process that it runs in; `src/bin.ts` makes the real one, tests make their own. */
import type { Btf } from '../btf/index.ts';
import type { Kernel } from '../contracts/kernel.ts';

export type KernelChoice = 'embedded' | 'host' | 'auto';

export interface CliKernelOptions {
  /** Default `embedded`; what follows is for that one. */
  readonly kernel?: KernelChoice;
  readonly possibleCpus?: number;
  /** CPUs that run at the same time, each a thread; absent: one. */
  readonly cpus?: number;
  /** Types of the kernel that programs are verified against. */
  readonly kernelBtf?: Btf;
  /** Release of Linux that it is to be, `6.1`. */
  readonly release?: string;
  /** Told of programs that were stopped by a fault. */
  readonly onOops?: (message: string) => void;
}

export interface OpenedKernel {
  readonly kernel: Kernel;
  readonly chosen: 'embedded' | 'host';
  /** For people: why this one. */
  readonly why: string;
}

export interface CliSink {
  write(text: string): void;
  /** A person looks: colours and progress. */
  readonly isTTY: boolean;
}

export interface Completion {
  /** What the word may be. */
  readonly found: readonly string[];
  /** The end of the line that they stand in place of. */
  readonly word: string;
}

export interface CliEnv {
  /**
   * The kernel that was chosen. The embedded one is fresh, at the default settings of a machine with root. Rejects with BpfError
   * where the host's cannot be used: what is missing.
   */
  openKernel(options: CliKernelOptions): Promise<OpenedKernel>;
  readonly version: string;
  readonly stdout: CliSink;
  readonly stderr: CliSink;
  /** Environment variables: NO_COLOR, FORCE_COLOR. */
  readonly variables: Readonly<Record<string, string | undefined>>;
  /**
   * Lines of standard input; a person is shown the prompt, may take lines back from the history and complete words. `complete` gives
   * what the last word of a line may become. Absent: there is none.
   */
  lines?(prompt: string, complete?: (line: string) => Completion): AsyncIterable<string>;
  /** A person types. */
  readonly interactive?: boolean;
  /**
   * Calls `listener` on the next interrupt (Ctrl-C) or polite signal to end, in place of ending the process; gives the function
   * that takes it back.
   */
  onInterrupt(listener: () => void): () => void;
}
