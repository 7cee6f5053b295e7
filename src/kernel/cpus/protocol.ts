/** What the kernel and the threads of its other CPUs tell one another. Everything is plain data. */
import type { EventStacks } from '../../contracts/events.ts';
import type { ProgTestRunAttr, ProgTestRunResult, TraceLine } from '../../contracts/kernel.ts';
import type { TaskImage } from '../processes.ts';
import type { Question } from './questions.ts';

/** The first message to a thread: what it needs to be a CPU. */
export interface Welcome {
  readonly kind: 'welcome';
  readonly cpu: number;
  readonly memory: WebAssembly.Memory;
  readonly cpuDelta: number;
  readonly mapsCode: WebAssembly.Module;
  readonly directory: number;
  readonly possibleCpus: number;
  readonly budget: number | undefined;
  readonly release: string;
  readonly randomSeed: number;
  /** Of the kernel's thread. */
  readonly timeOrigin: number;
}

/** One program that an event hits. */
export interface EventJob {
  readonly kind: 'event';
  readonly entry: number;
  /** Offset of its context. */
  readonly ctx: number;
  readonly cookie: bigint;
  readonly task: TaskImage;
  readonly stacks?: EventStacks;
  /** Monotonic time, and what to add for the real one; absent: the clock runs. */
  readonly time?: { readonly now: bigint; readonly epoch: bigint };
}

/** What a CPU runs at once. */
export type Job =
  | EventJob
  | { readonly kind: 'test_run'; readonly entry: number; readonly attr: Omit<ProgTestRunAttr, 'progFd'> }
  | {
      readonly kind: 'frames';
      readonly entry: number;
      readonly ifindex: number;
      readonly tick: number;
      /** Offsets in the memory. */
      readonly at: number;
      readonly end: number;
      readonly times: number;
      readonly time?: { readonly start: bigint; readonly first: bigint };
    };

export interface JobResults {
  readonly test_run: ProgTestRunResult;
  readonly frames: FramesResult;
  /** What the program returned; null: it faulted. */
  readonly event: number | null;
}

export interface FramesResult {
  readonly actions: readonly (readonly [number, number])[];
  readonly frames: number;
  readonly faulted: boolean;
}

export type ToThread =
  | Welcome
  | { readonly kind: 'job'; readonly id: number; readonly job: Job; readonly jitEnabled: number }
  /** The number will stand for another program. */
  | { readonly kind: 'forget'; readonly entry: number };

/** An error as data; `errno` names that of a BpfError. */
export interface ErrorImage {
  readonly code: string | undefined;
  readonly message: string;
  readonly hint: string | undefined;
}

export type FromThread =
  | { readonly kind: 'ready' }
  | { readonly kind: 'done'; readonly id: number; readonly result?: unknown; readonly error?: ErrorImage }
  | { readonly kind: 'forgotten'; readonly entry: number }
  | { readonly kind: 'oops'; readonly progId: number; readonly message: string; readonly insn: number }
  | { readonly kind: 'trace'; readonly line: TraceLine }
  | { readonly kind: 'wake'; readonly map: number }
  /** The thread sleeps until RUN_STATE.answered is not 0. */
  | { readonly kind: 'ask'; readonly question: Question };
