/**
 * The seam between the embedded kernel and threads: how it gets one for each CPU beside its own, and what callers may run there. Threads
 * are made by whoever knows the host (`node:worker_threads`, `Worker`); the kernel only sends and receives messages.
 */
import type { KernelEvent } from './events.ts';
import type { ProgTestRunAttr, ProgTestRunResult } from './test-run.ts';

/** A thread that serves one CPU (its entry file calls `serveCpu`). */
export interface CpuThread {
  post(message: unknown): void;
  /** Whether something waits for it: only then need it keep the process from ending. */
  busy?(waited: boolean): void;
  /** Ends it at once. A promise, where the host tells when it has ended. */
  terminate(): unknown;
}

export interface CpuThreadEvents {
  readonly onMessage: (message: unknown) => void;
  /** The thread has ended by itself or could not start. */
  readonly onError: (error: Error) => void;
}

export type StartCpuThread = (events: CpuThreadEvents) => CpuThread;

/** What the thread of a CPU sees of the channel to the kernel. */
export interface CpuPort {
  post(message: unknown): void;
  listen(onMessage: (message: unknown) => void): void;
}

export interface CpuOptions {
  /** How many CPUs, with that of the calling thread: 1 to 32. */
  readonly count: number;
  readonly start: StartCpuThread;
}

export interface FrameRunOptions {
  /** Default 1. */
  readonly times?: number;
  /** Bytes of `CpuFrames.bytes` that hold records; default all. */
  readonly length?: number;
  /** Frame n arrives at `start` + its time stamp - `first` (nanoseconds). Absent: from the time of the run on. */
  readonly time?: { readonly start: bigint; readonly first: bigint };
}

/** Frames that lie in the kernel's memory, for any of its CPUs. */
export interface CpuFrames {
  /** Records of a little-endian pcap file with Ethernet frames, whole ones only. Nobody may write here while a run is under way. */
  readonly bytes: Uint8Array;
  /** Runs the interface's XDP program over the frames. */
  run(cpu: number, options?: FrameRunOptions): Promise<FrameCounts>;
  free(): void;
}

export interface FrameCounts {
  readonly frames: number;
  /** How often the program gave each result. */
  readonly actions: ReadonlyMap<number, number>;
  /** The program was stopped by a fault: the frame at which it was counts as XDP_ABORTED, and those behind it were not run. */
  readonly faulted: boolean;
}

/** The CPUs of an embedded kernel. CPU 0 is the calling thread: what is run there, is run before the call gives its promise. */
export interface KernelCpus {
  readonly count: number;
  /** Resolves when all threads have started; rejects with BpfError where one cannot. */
  ready(): Promise<void>;
  /**
   * PROG_TEST_RUN on a CPU. Runs of one CPU come one after the other. Rejects as `Kernel.progTestRun` throws, and with ENOTSUPP where the
   * program needs what only CPU 0 has.
   */
  testRun(cpu: number, attr: ProgTestRunAttr): Promise<ProgTestRunResult>;
  /**
   * As `Simulator.fire`, with the programs on that CPU, whatever `event.cpu` says. Events of one CPU, and those of one process, are
   * handled one after the other; what an event does to its process and the clock, it does when its turn comes. Rejects with ENOTSUPP
   * where a program needs what only CPU 0 has.
   */
  fire(cpu: number, event: KernelEvent): Promise<number>;
  /** As `Simulator.ask`, in the same way. */
  ask(cpu: number, event: Extract<KernelEvent, { kind: 'lsm' }>): Promise<number>;
  /** Room for frames of `size` bytes for the XDP program of an interface; null where frames must be received one by one. */
  frames(request: {
    readonly ifindex: number;
    readonly size: number;
    readonly tick?: number;
  }): CpuFrames | null;
  /** Resolves when nothing runs on any CPU but this one. */
  idle(): Promise<void>;
  /** Resolves when the kernel has been shut down and its threads have ended. */
  ended(): Promise<void>;
}
