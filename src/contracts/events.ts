/**
 * The seam between hooks and whatever produces events for the embedded kernel (an API call, a pcap, a strace recording).
 * Events are plain data: a hook turns one into the context that its program type sees.
 */

import type { BtfInput } from '../btf/index.ts';

/** A process of the embedded kernel, made on first mention. */
export interface ProcessSpec {
  readonly pid: number;
  readonly tgid?: number;
  readonly ppid?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly comm?: string;
}

/** An argument of a system call: a number, or bytes that lie in the user memory of the process. */
export type SyscallArg =
  | { readonly kind: 'value'; readonly value: bigint }
  /** A NUL-terminated string or a buffer; the program gets its user address. */
  | { readonly kind: 'memory'; readonly bytes: Uint8Array; readonly address?: bigint }
  /** `char *const argv[]`: user memory holding pointers to strings, NULL at the end. */
  | { readonly kind: 'strings'; readonly strings: readonly Uint8Array[]; readonly address?: bigint };

/**
 * What a pointer to an object of the kernel leads to: members by name, laid out as the kernel's own types say. A pointer takes what it
 * points to: members of a struct, or a text (NUL is added), or bytes.
 */
export interface KernelObjectArg {
  readonly kind: 'object';
  /** `sock`, `linux_binprm` */
  readonly struct: string;
  readonly members: Readonly<Record<string, BtfInput>>;
}

/** The task of a process, as the process table has it. */
export interface TaskArg {
  readonly kind: 'task';
  readonly process: ProcessSpec;
}

/** An argument of a raw tracepoint or a kernel function. Objects are there while the programs of the event run. */
export type KernelArg = bigint | KernelObjectArg | TaskArg;

/** Where the code was when an event happened: addresses, the innermost first. */
export interface EventStacks {
  readonly kernel?: readonly bigint[];
  readonly user?: readonly bigint[];
}

export type KernelEvent = EventBody & { readonly stacks?: EventStacks };

type EventBody =
  | {
      readonly kind: 'syscall_enter';
      readonly name: string;
      readonly nr: number;
      readonly args: readonly SyscallArg[];
      readonly process: ProcessSpec;
      readonly time: bigint;
      readonly cpu?: number;
    }
  | {
      readonly kind: 'syscall_exit';
      readonly name: string;
      readonly nr: number;
      readonly ret: bigint;
      readonly process: ProcessSpec;
      readonly time: bigint;
      readonly cpu?: number;
    }
  /** Any tracepoint with its record as laid out by its format file. */
  | {
      readonly kind: 'tracepoint';
      readonly category: string;
      readonly name: string;
      readonly record: Uint8Array;
      readonly process: ProcessSpec;
      readonly time: bigint;
      readonly cpu?: number;
    }
  /** A raw tracepoint with up to 12 arguments. */
  | {
      readonly kind: 'raw_tracepoint';
      readonly name: string;
      readonly args: readonly KernelArg[];
      readonly process: ProcessSpec;
      readonly time: bigint;
      readonly cpu?: number;
    }
  /** Entry of a kernel function with its arguments, or its return: for kprobes and fentry programs. */
  | {
      readonly kind: 'kprobe';
      readonly symbol: string;
      readonly args: readonly (SyscallArg | KernelObjectArg | TaskArg)[];
      readonly process: ProcessSpec;
      readonly time: bigint;
      readonly cpu?: number;
    }
  | {
      readonly kind: 'kretprobe';
      readonly symbol: string;
      readonly ret: bigint;
      /** All arguments, for fexit programs; what is left out they see as zero. */
      readonly args?: readonly KernelArg[];
      readonly process: ProcessSpec;
      readonly time: bigint;
      readonly cpu?: number;
    }
  /** The security module is asked (`file_open`): programs of the hook say whether it may be. */
  | {
      readonly kind: 'lsm';
      readonly hook: string;
      readonly args: readonly KernelArg[];
      readonly process: ProcessSpec;
      readonly time: bigint;
      readonly cpu?: number;
    }
  /** The process table changes: exec renames, fork makes, exit removes. */
  | {
      readonly kind: 'fork';
      readonly process: ProcessSpec;
      readonly child: ProcessSpec;
      readonly time: bigint;
    }
  | {
      readonly kind: 'exec';
      readonly process: ProcessSpec;
      readonly comm: string;
      /** Path of the file that is executed. */
      readonly filename?: string;
      readonly time: bigint;
    }
  | {
      readonly kind: 'exit';
      readonly process: ProcessSpec;
      readonly time: bigint;
      /** As wait(2) has it: status << 8, or the signal that ended the process. Default 0. */
      readonly exitCode?: number;
    }
  /** A place in an executable is reached: uprobes and USDT probes there. `offset` is the place in the file. */
  | {
      readonly kind: 'uprobe';
      readonly path: string;
      readonly offset: bigint;
      /** Arguments of the function, in their registers. */
      readonly args?: readonly SyscallArg[];
      /** Other registers, and these instead of arguments, by the names of struct pt_regs: `bx`, `bp`, `r12`, `ip`. */
      readonly registers?: Readonly<Record<string, bigint>>;
      readonly process: ProcessSpec;
      readonly time: bigint;
      readonly cpu?: number;
    }
  /** The function that begins there returns. */
  | {
      readonly kind: 'uretprobe';
      readonly path: string;
      readonly offset: bigint;
      readonly ret: bigint;
      readonly process: ProcessSpec;
      readonly time: bigint;
      readonly cpu?: number;
    }
  /** A sample of a perf event (perf_event_open(2)): what ran, is `stacks`; its innermost address is the instruction pointer. */
  | {
      readonly kind: 'perf_sample';
      /** PERF_TYPE_* and what it counts. */
      readonly type: number;
      readonly config: bigint;
      readonly period?: bigint;
      readonly address?: bigint;
      readonly process: ProcessSpec;
      readonly time: bigint;
      readonly cpu?: number;
    };

/** A packet as read from a capture file. */
export interface CapturedPacket {
  /** Nanoseconds since the epoch. */
  readonly time: bigint;
  readonly data: Uint8Array;
  /** Length on the wire; larger than `data.length` where the capture cut it. */
  readonly originalLength: number;
  /** Number of the interface inside the capture. */
  readonly interfaceId: number;
  /** LINKTYPE_*: 1 = Ethernet. */
  readonly linkType: number;
}
