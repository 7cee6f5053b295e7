/** The seam between hooks and the kernel: how packets, events and PROG_TEST_RUN become contexts of program types. */
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { ProgTypeRow } from '../spec/types.ts';
import type { KernelArg, SyscallArg } from './events.ts';

/** Input of PROG_TEST_RUN, checked for size by nobody yet. */
export interface TestRunInput {
  readonly data: Uint8Array;
  readonly ctx: Uint8Array;
  readonly flags: number;
  /** As asked for; 0: not at all. */
  readonly cpu: number;
  readonly repeat: number;
  readonly batchSize: number;
}

/**
 * A context that lies in the linear memory, ready for a run. Made by a hook, used for one run or a series of runs,
 * then released.
 */
export interface LiveContext {
  /** Offset of the context object: the program's R1. 0: NULL. */
  readonly address: number;
  /** The packet as it is now; empty for program types without one. */
  packet(): Uint8Array;
  /** The context as user space may read it back (UAPI layout); empty where it cannot. */
  userContext(): Uint8Array;
  release(): void;
}

/** Contexts with packets, made by the hooks that know their layouts. */
export interface PacketSource {
  xdp(frame: {
    readonly data: Uint8Array;
    readonly ifindex: number;
    readonly rxQueue: number;
    readonly meta?: number;
    /** Bytes of `data` that lie in one piece, the metadata included; the rest is in fragments that programs do not see. */
    readonly linear?: number;
  }): LiveContext;
  skb(packet: {
    readonly data: Uint8Array;
    readonly ifindex: number;
    readonly pulled?: boolean;
    /** enum: PACKET_HOST …; absent: as an interface sees it that takes every unicast frame. */
    readonly packetType?: number;
  }): LiveContext;
}

/** What a hook needs to build contexts. */
export interface HookEnv {
  readonly memory: GuestMemory;
  readonly type: ProgTypeRow;
  readonly packets: PacketSource;
  /** Bytes of the context that the program reads at most (bpf_prog_aux.max_ctx_offset). */
  readonly maxCtxOffset: number;
  /** Receive queues of a network interface, undefined where there is none of that index. */
  readonly rxQueues: (ifindex: number) => number | undefined;
}

/** A program type's way from input to context: one file of `src/hooks` each. */
export interface Hook {
  /** Names of the program types (`ProgTypeRow.name`). */
  readonly progTypes: readonly string[];
  /**
   * PROG_TEST_RUN: throws BpfError (EINVAL …) where Linux refuses the input; absent: the program types have no test run
   * (ENOTSUPP).
   */
  testRun?(input: TestRunInput, env: HookEnv): LiveContext;
}

/** Where the arguments of events lie while programs may look at them. */
export interface UserMemory {
  /** Copies an argument to user memory and gives the 64-bit value that the program sees. */
  place(arg: SyscallArg): bigint;
}

/** Where objects of the kernel lie that events bring along. */
export interface KernelObjects {
  /** The value that programs see. Errors: BpfError for a struct or member that the kernel's types do not have. */
  place(arg: KernelArg): bigint;
  /** The same for what an event has on every Linux: 0 where the kernel's types do not have the struct. */
  placeKnown(arg: KernelArg): bigint;
  /** Number of a kernel function's parameters; undefined where the kernel's types do not have it. */
  parameters(symbol: string): number | undefined;
  /** The objects of the event are gone. */
  release(): void;
}
