/** Several CPUs of an embedded kernel in turns, in an order that a seed decides and that can be repeated (contract `Simulator`). */
import type { SourceLocation } from '../util/errors.ts';

/** A test run (PROG_TEST_RUN) of one CPU. */
export interface InterleavedRun {
  /** Descriptor of the program. */
  readonly progFd: number;
  /** Packet, for program types that have one. */
  readonly dataIn?: Uint8Array;
  /** Context as user space gives it; of types without a test run the bytes that R1 points to. */
  readonly ctxIn?: Uint8Array;
  /** Times, default 1. */
  readonly repeat?: number;
}

export interface InterleaveAttr {
  /** What each CPU runs, in that order; CPU 0 first. At most `possibleCpus` of the kernel. */
  readonly cpus: readonly (readonly InterleavedRun[])[];
  /** Decides when which CPU goes on; default 0. */
  readonly seed?: number;
  /** The order of an earlier run, `0:12 1:3 0:7`: CPU and instructions. In place of a seed. */
  readonly schedule?: string;
  /** Instructions between two changes of the CPU on average (1 or more); default: drawn by the seed, between 1 and 64. */
  readonly slice?: number;
  /** Also looks for accesses that nothing puts in an order. Slower. */
  readonly races?: boolean;
  /** Also tells the turns with their places, at most so many. */
  readonly turns?: number;
  /**
   * Called when all is over; then maps and everything else that programs may have written are put back as they were before, so that the
   * next seed starts from the same state. Errors: EOPNOTSUPP where memory has been allocated or freed meanwhile.
   */
  readonly rewindAfter?: () => void;
  /** Instructions of all CPUs together after which the whole is stopped, default 10 million. */
  readonly limit?: number;
}

/** An instruction of a CPU. */
export interface InterleavedPlace {
  readonly cpu: number;
  readonly program: string;
  /** Index in the program as loaded. */
  readonly insn: number;
  readonly source?: SourceLocation;
}

/** CPUs that wait for each other's locks. */
export interface Deadlock {
  /** In the order of waiting: each waits for a lock that the next one took at `takenAt`; the last one for the first. */
  readonly waits: readonly {
    readonly at: InterleavedPlace;
    readonly lock: string;
    readonly takenAt: InterleavedPlace | undefined;
  }[];
  /** True: the lock gave up, as bpf_res_spin_lock does (-EDEADLK). False: the runs were ended. */
  readonly recovered: boolean;
}

/** Two accesses of the same bytes by different CPUs, at least one a plain store, with no lock or atomic operation that orders them. */
export interface DataRace {
  /** `value of map 'counts', bytes 0 to 7` */
  readonly memory: string;
  readonly first: InterleavedPlace & { readonly access: 'read' | 'write' | 'atomic' };
  readonly second: InterleavedPlace & { readonly access: 'read' | 'write' | 'atomic' };
}

/** What a CPU did before another one went on. */
export interface InterleavedTurn {
  readonly cpu: number;
  readonly instructions: number;
  /** What it does next, when its turn comes again; absent: its runs are over, or one is and the next has not begun. */
  readonly next?: InterleavedPlace;
}

export interface InterleaveResult {
  /** What each run returned (low half of R0), by CPU; null: it faulted or was ended. A run repeated has as many. */
  readonly results: readonly (readonly (number | null)[])[];
  /** The order in which it went, for `InterleaveAttr.schedule`. */
  readonly schedule: string;
  readonly instructions: number;
  readonly deadlocks: readonly Deadlock[];
  /** Each pair of instructions once; empty unless asked for. */
  readonly races: readonly DataRace[];
  /** The first ones, as many as were asked for. */
  readonly turns: readonly InterleavedTurn[];
}
