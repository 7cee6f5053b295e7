/** What happens to the embedded kernel from outside: packets, events, time; and what comes of it. */
import type { BtfValue } from '../btf/index.ts';
import type { CodeCacheStats } from './engine.ts';
import type { KernelArg, KernelEvent, ProcessSpec } from './events.ts';
import type { InterleaveAttr, InterleaveResult } from './interleave.ts';

/** One line of trace_pipe. */
export interface TraceLine {
  readonly comm: string;
  readonly pid: number;
  readonly cpu: number;
  readonly flags: string;
  /** Seconds since boot. */
  readonly timestamp: number;
  readonly message: string;
}

/** What became of a packet that an interface received. */
export interface PacketVerdict {
  /** Return value of the XDP program (enum xdp_action), null where none is attached. */
  readonly xdp: number | null;
  /** The frame as XDP left it. */
  readonly data: Uint8Array;
  /** XDP_REDIRECT: where to. A device or CPU by number, or an AF_XDP socket; absent: the program named no target. */
  readonly redirect?: {
    readonly kind: 'device' | 'cpu' | 'xsk';
    readonly target: number;
    readonly flags: number;
  };
  /** For each attached socket filter: how many bytes of the frame its socket gets (0: none). */
  readonly filters: readonly number[];
}

/**
 * Frames of a capture in bulk, through the one XDP program of an interface and nothing else. The caller puts bytes of a little-endian
 * pcap file with Ethernet frames (records, not the file's header) into `room()` and says how many with `take`.
 */
export interface FrameBatch {
  /** Where the next bytes go: as much as makes the record that they begin with complete. Ask again after each `take`. */
  room(): Uint8Array;
  /** Runs all records that are complete. False where the program was stopped by a fault: no more frames are taken. */
  take(length: number): boolean;
  /**
   * Room for bytes that come after those that the next `take` or `takeAhead` runs, to be filled while it does: a piece, by turns one of
   * two. A view that the next growth of the kernel's memory detaches; the place stays.
   */
  ahead(): Uint8Array;
  /** As `take`, with `length` bytes in the older of the pieces that `ahead` gave and that nobody has taken. */
  takeAhead(length: number): boolean;
  /** Frames so far, and how often the program gave each result. */
  readonly frames: number;
  readonly actions: ReadonlyMap<number, number>;
  /** Bytes of a record that is not complete yet, or too long: a view until the next call. */
  rest(): Uint8Array;
  close(): void;
}

/** A struct of functions that a struct_ops map has registered: a congestion control, a queueing discipline. */
export interface RegisteredStruct {
  /** `tcp_congestion_ops` */
  readonly struct: string;
  /** What the struct calls itself; empty where it has no name. */
  readonly name: string;
  /** The bytes of the struct as it was given, with descriptors in the places of functions. */
  readonly data: Uint8Array;
  /** Members that programs implement. */
  readonly members: readonly string[];
  /**
   * Calls one as the kernel does, on the calling thread. Objects among `args` are there during the call. Errors: ENOENT where no program
   * implements the member, ENODEV once it is unregistered, EINVAL for arguments that do not fit, EFAULT where the program was stopped.
   */
  call(member: string, args: readonly KernelArg[], options?: StructCall): StructCallResult;
}

export interface StructCall {
  /** The current process; default the one that is. */
  readonly process?: ProcessSpec;
  /** Default 0. */
  readonly cpu?: number;
}

export interface StructCallResult {
  /** What the program returned, as the member's prototype says: 32 bits at most; 0 where it returns nothing. */
  readonly value: number;
  /** Objects among the arguments as the program left them; undefined in the places of others. */
  readonly args: readonly (BtfValue | undefined)[];
}

/** Drives an embedded kernel: what hardware and processes do to a real one. */
export interface Simulator {
  /** A new interface, or the one of that name: its ifindex. */
  addInterface(name: string): number;
  receive(packet: {
    readonly ifindex: number;
    readonly data: Uint8Array;
    readonly rxQueue?: number;
    /** The CPU whose number and values programs see; default 0. */
    readonly cpu?: number;
  }): PacketVerdict;
  /**
   * Null where frames must be received one by one: there are other programs that would see them, the program may move the packet's
   * edges, or it is interpreted. Frame n arrives `start` + its time stamp - that of the first one.
   */
  receiveFrames(batch: {
    readonly ifindex: number;
    /** Nanoseconds of a tick of the time stamps: 1 or 1000. */
    readonly tick: number;
    /** Monotonic time of the first frame. */
    readonly start: bigint;
    readonly longest: number;
  }): FrameBatch | null;
  /** Several CPUs in turns, instruction by instruction. The programs must be interpreted. Errors: EINVAL for what does not fit. */
  interleave(attr: InterleaveAttr): InterleaveResult;
  /** How many programs ran because of the event. */
  fire(event: KernelEvent): number;
  /** What the programs of an LSM hook say: 0, or the first other value, usually -errno; programs after it are not asked. */
  ask(event: Extract<KernelEvent, { kind: 'lsm' }>): number;
  /** What struct_ops maps have registered, in that order; of one struct only where it is named. */
  structOps(struct?: string): readonly RegisteredStruct[];
  /** Stops the monotonic clock at a time (nanoseconds); from then on only this moves it. `realtime`: epoch of time 0. */
  setTime(monotonic: bigint, realtime?: bigint): void;
  /** Lines of trace_pipe so far, taken out. */
  drainTrace(): TraceLine[];
  setSysctl(name: string, value: number): void;
  sysctl(name: string): number;
  /** Compiled code that is kept for loads of the same program, by all kernels of the process together; null: none is kept. */
  codeCache(): CodeCacheStats | null;
  /** Programs that were stopped by a fault so far. */
  oopses(): readonly { readonly program: string; readonly message: string }[];
}
