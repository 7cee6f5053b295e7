/**
 * The seam between helpers and the kernel around them: what a helper may ask of the machine. The embedded kernel
 * implements it; tests implement it with a few lines.
 */
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { HelperRow } from '../spec/types.ts';
import type { CallableFunction, CallbackTable } from './engine.ts';
import type { BpfMap } from './maps.ts';

/** The process on whose behalf the program runs. */
export interface Task {
  readonly pid: number;
  readonly tgid: number;
  readonly uid: number;
  readonly gid: number;
  /** At most 15 bytes. */
  readonly comm: string;
  /** Offset of the modelled `task_struct`, 0 where there is none. */
  readonly taskStruct: number;
  /** Translates a user address to the offset in linear memory where `size` readable bytes lie, or -1: -EFAULT. */
  userOffset(low: number, high: number, size: number): number;
}

export interface Clock {
  /** Nanoseconds, as pairs of halves would need bigint: split by the helper. */
  monotonic(): bigint;
  /** The same as a number, in whole nanoseconds; NaN where somebody has set a time that a number may not hold. */
  monotonicNumber(): number;
  boottime(): bigint;
  realtime(): bigint;
  tai(): bigint;
  jiffies(): bigint;
}

/** Callbacks that run later, each at a field of a map's value. Results are 0 or -errno. */
export interface AsyncCalls {
  /** `realtime`: the clock of absolute times. */
  init(kind: 'timer' | 'workqueue' | 'task_work', field: number, map: number, realtime: boolean): number;
  setCallback(field: number, callback: number): number;
  /** In `time` nanoseconds, or at that time. */
  start(field: number, time: bigint, absolute: boolean): number;
  /** 1: it was going to run. */
  cancel(field: number): number;
  pending(field: number): boolean;
}

export interface HelperEnv {
  readonly memory: GuestMemory;
  readonly clock: Clock;
  readonly callbacks: CallbackTable;
  /** CPU that runs, and how many are possible. */
  cpu(): number;
  readonly possibleCpus: number;
  /** 32 random bits. */
  random(): number;
  /** `random` is splitmix32 with its state at RUN_STATE.random: engines may go on with it themselves. */
  readonly randomInMemory?: true;
  current(): Task;
  /** One line of trace_pipe (without the header of task, cpu and time, which the kernel adds). */
  tracePrint(text: string): void;
  mapByAddress(address: number): BpfMap | undefined;
  /** Writes one sample to the perf event behind `map` at `index` (or the current CPU): 0 or -errno. */
  perfOutput(
    map: BpfMap,
    ctx: number,
    flagsLow: number,
    flagsHigh: number,
    data: number,
    size: number,
  ): number;
  /** A record was committed to a ring: wake its readers, subject to the flags (BPF_RB_NO_WAKEUP, BPF_RB_FORCE_WAKEUP). */
  ringWakeup(map: BpfMap, flags: number): void;
  /** Moves the edges of the packet behind a modelled context (xdp_adjust_head & co.): 0 or -errno. */
  readonly packets: PacketOps;
  /** Tells the runs apart that are in progress. Absent: there is one. */
  run?(): number;
  /** Absent: helpers whose callbacks run later are not there. */
  readonly async?: AsyncCalls;
  /** A value is overwritten or deleted: what it owns goes. */
  valueGoes?(map: BpfMap, value: number): void;
  /** Updates and deletions of maps whose values own something, where another thread has the books; `words`: those of the helper behind the map. */
  changeOwning?(change: 'update' | 'delete', map: BpfMap, words: readonly number[]): number;
  /** bpf_get_stackid, likewise. */
  stackId?(map: BpfMap, stack: readonly bigint[], flags: number): number;
  /** Name of the kernel symbol at an address for %ps, `name+0x1/0x10` for %pS and %pB; undefined where there is none. */
  symbolName?(address: bigint, kind: 's' | 'S' | 'B'): string | undefined;
  /** The call stack of what runs, innermost address first, in the kernel or in user space; undefined where it is not known. */
  stack?(user: boolean): readonly bigint[] | undefined;
  /** Cookie given when the program that runs was attached (bpf_get_attach_cookie). Absent: the helper is not there. */
  attachCookie?(ctx: number): bigint;
  /** Arguments of the function that the running program traces, and whether the result stands behind them. Absent: no such helpers. */
  tracedFunction?(): { readonly args: number; readonly returned: boolean };
  /** Address of the traced function (bpf_get_func_ip). Absent: the helper is not there. */
  functionIp?(ctx: number): bigint;
}

/** Packet memory behind a modelled `xdp_md` or `__sk_buff`; implemented by hooks, as they know the layouts. */
export interface PacketOps {
  adjustHead(ctx: number, delta: number): number;
  adjustTail(ctx: number, delta: number): number;
  adjustMeta(ctx: number, delta: number): number;
  /** [offset of the first byte, length] of the packet of a context. */
  data(ctx: number): { start: number; length: number };
  /**
   * Offsets in memory of the link-layer and network headers, for legacy packet loads at negative offsets. Absent: an
   * Ethernet frame whose header is the first 14 bytes of the packet.
   */
  headers?(ctx: number): { link: number; network: number };
  changeProto?(ctx: number, proto: number): number;
  /** Flow hash of the packet (bpf_get_hash_recalc); absent: computed from addresses, protocol and ports. */
  hash?(ctx: number): number;
  /** bpf_redirect: remembers where the packet goes and gives the action (XDP_REDIRECT, TC_ACT_REDIRECT) or the refusal. */
  redirect?(ifindex: number, flagsLow: number, flagsHigh: number): number;
  /** bpf_redirect_map found an entry (or was told to broadcast): the frame goes to it when the program says XDP_REDIRECT. */
  redirectMap?(map: BpfMap, key: number, flags: number): void;
}

/** All helpers of one kernel, bound to its environment. */
export interface HelperTable {
  /** The function behind a helper; specialised where the map is known. Undefined: not implemented. */
  resolve(row: HelperRow, map?: BpfMap): CallableFunction | undefined;
}
