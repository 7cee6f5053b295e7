/**
 * From events to the attach points that they hit, with the context that programs see at each: one row a kind of point.
 * Layouts are those of x86-64 Linux: tracefs format files (common fields: 8 bytes), struct pt_regs, arrays of u64 for raw
 * tracepoints. The contexts lie in scratch memory that is valid during the event only.
 */
import type { KernelEvent } from '../contracts/events.ts';
import type { UserMemory } from '../contracts/hooks.ts';
import { type GuestMemory, kernelAddress } from '../memory/index.ts';
import { InternalError } from '../util/errors.ts';

type EventOf<K extends KernelEvent['kind']> = Extract<KernelEvent, { kind: K }>;

/** One place that an event hits: the name of the attach point, and how its context is laid out when programs are there. */
export interface EventPoint {
  readonly point: string;
  /** Offset of the context. Only called where a program is attached. */
  readonly context: () => number;
}

/** Offsets in struct pt_regs (arch/x86/include/asm/ptrace.h). */
const PT_REGS = {
  r10: 56,
  r9: 64,
  r8: 72,
  ax: 80,
  cx: 88,
  dx: 96,
  si: 104,
  di: 112,
  origAx: 120,
  sp: 152,
} as const;
const PT_REGS_SIZE = 168;
/** Where system calls and functions take their arguments (System V ABI; man 2 syscall). */
const SYSCALL_REGS = [PT_REGS.di, PT_REGS.si, PT_REGS.dx, PT_REGS.r10, PT_REGS.r8, PT_REGS.r9];
const FUNCTION_REGS = [PT_REGS.di, PT_REGS.si, PT_REGS.dx, PT_REGS.cx, PT_REGS.r8, PT_REGS.r9];
/** Bytes of the common fields of every tracepoint record: type, flags, preempt count, pid. */
const COMMON = 8;
const MAX_RAW_ARGS = 12;
/** PERF_MAX_TRACE_SIZE */
export const MAX_RECORD = 8192;
/** Longest text of one field, NUL included. Two of them fit into a record. */
const MAX_DYNAMIC = 4000;
const TASK_COMM_LEN = 16;

/** A field of a tracepoint's format: a number, a fixed array of 16 characters, or a text of any length. */
type RecordField = { readonly i32: number } | { readonly comm: string } | { readonly text: string };

export class EventContexts {
  readonly #memory: GuestMemory;
  readonly #record: number;
  readonly #regs: number;
  readonly #syscallRegs: number;
  readonly #args: number;

  constructor(memory: GuestMemory) {
    this.#memory = memory;
    this.#record = memory.allocate(MAX_RECORD, 'tracepoint record');
    this.#regs = memory.allocate(PT_REGS_SIZE, 'pt_regs of the probe');
    this.#syscallRegs = memory.allocate(PT_REGS_SIZE, 'pt_regs of the system call');
    this.#args = memory.allocate(MAX_RAW_ARGS * 8, 'raw tracepoint arguments');
  }

  /** The points that an event hits, in the order in which Linux runs their programs. `user` holds its arguments. */
  points(event: KernelEvent, user: UserMemory): EventPoint[] {
    switch (event.kind) {
      case 'syscall_enter':
        return this.#syscallEnter(event, user);
      case 'syscall_exit':
        return this.#syscallExit(event);
      case 'tracepoint':
        return [{ point: `tracepoint:${event.category}/${event.name}`, context: () => this.#raw(event) }];
      case 'raw_tracepoint':
        return [{ point: `raw_tracepoint:${event.name}`, context: () => this.#words(event.args) }];
      case 'kprobe':
        return [
          {
            point: `kprobe:${event.symbol}`,
            context: () =>
              this.#registers(
                this.#regs,
                FUNCTION_REGS,
                event.args.map((arg) => user.place(arg)),
              ),
          },
        ];
      case 'kretprobe':
        return [{ point: `kretprobe:${event.symbol}`, context: () => this.#returned(event.ret) }];
      case 'fork':
        return [{ point: 'tracepoint:sched/sched_process_fork', context: () => this.#fork(event) }];
      case 'exec':
        return [{ point: 'tracepoint:sched/sched_process_exec', context: () => this.#exec(event) }];
      case 'exit':
        return [{ point: 'tracepoint:sched/sched_process_exit', context: () => this.#exit(event) }];
    }
  }

  #syscallEnter(event: EventOf<'syscall_enter'>, user: UserMemory): EventPoint[] {
    // Placed once, whichever point comes first: all programs see the same addresses.
    let placed: bigint[] | undefined;
    const args = () => {
      placed ??= event.args.map((arg) => user.place(arg));
      return placed;
    };
    const nr = BigInt(event.nr);
    const callRegs = () => {
      const regs = this.#registers(this.#syscallRegs, SYSCALL_REGS, args());
      this.#memory.writeU64(regs + PT_REGS.origAx, nr);
      return kernelAddress(regs);
    };
    return [
      { point: 'raw_tracepoint:sys_enter', context: () => this.#words([callRegs(), nr]) },
      { point: 'tracepoint:raw_syscalls/sys_enter', context: () => this.#fields(event, [nr, ...args()]) },
      {
        point: `tracepoint:syscalls/sys_enter_${event.name}`,
        context: () => this.#fields(event, [nr, ...args()]),
      },
      {
        point: `kprobe:__x64_sys_${event.name}`,
        context: () => this.#registers(this.#regs, FUNCTION_REGS, [callRegs()]),
      },
    ];
  }

  #syscallExit(event: EventOf<'syscall_exit'>): EventPoint[] {
    const nr = BigInt(event.nr);
    return [
      { point: `kretprobe:__x64_sys_${event.name}`, context: () => this.#returned(event.ret) },
      {
        point: 'raw_tracepoint:sys_exit',
        context: () => {
          this.#memory.writeU64(this.#syscallRegs + PT_REGS.ax, event.ret);
          this.#memory.writeU64(this.#syscallRegs + PT_REGS.origAx, nr);
          return this.#words([kernelAddress(this.#syscallRegs), event.ret]);
        },
      },
      { point: 'tracepoint:raw_syscalls/sys_exit', context: () => this.#fields(event, [nr, event.ret]) },
      {
        point: `tracepoint:syscalls/sys_exit_${event.name}`,
        context: () => this.#fields(event, [nr, event.ret]),
      },
    ];
  }

  /** A record of 8-byte fields behind the common ones. */
  #fields(event: KernelEvent, fields: readonly bigint[]): number {
    this.#common(event);
    fields.forEach((field, i) => {
      this.#memory.writeU64(this.#record + COMMON + 8 * i, field);
    });
    return this.#record;
  }

  #common(event: KernelEvent): void {
    this.#memory.u8.fill(0, this.#record, this.#record + MAX_RECORD);
    this.#memory.view.setInt32(this.#record + 4, event.process.pid, true);
  }

  #raw(event: EventOf<'tracepoint'>): number {
    this.#common(event);
    this.#memory.write(this.#record, event.record.subarray(0, MAX_RECORD));
    return this.#record;
  }

  #words(args: readonly bigint[]): number {
    if (args.length > MAX_RAW_ARGS) throw new InternalError(`raw tracepoint with ${args.length} arguments`);
    this.#memory.u8.fill(0, this.#args, this.#args + MAX_RAW_ARGS * 8);
    args.forEach((arg, i) => {
      this.#memory.writeU64(this.#args + 8 * i, arg);
    });
    return this.#args;
  }

  #registers(at: number, registers: readonly number[], values: readonly bigint[]): number {
    this.#memory.u8.fill(0, at, at + PT_REGS_SIZE);
    values.slice(0, registers.length).forEach((value, i) => {
      this.#memory.writeU64(at + registers[i], value);
    });
    return at;
  }

  #returned(ret: bigint): number {
    this.#registers(this.#regs, [PT_REGS.ax], [ret]);
    return this.#regs;
  }

  #exec(event: EventOf<'exec'>): number {
    const { pid } = event.process;
    return this.#formatted(event, [{ text: event.filename ?? event.comm }, { i32: pid }, { i32: pid }]);
  }

  #fork(event: EventOf<'fork'>): number {
    const comm = event.process.comm ?? '';
    return this.#formatted(event, [
      { text: comm },
      { i32: event.process.pid },
      { text: event.child.comm ?? comm },
      { i32: event.child.pid },
    ]);
  }

  #exit(event: EventOf<'exit'>): number {
    return this.#formatted(event, [
      { comm: event.process.comm ?? '' },
      { i32: event.process.pid },
      { i32: 120 },
      { i32: 1 },
    ]);
  }

  /** A record by its format: fields in order behind the common ones, texts (`__data_loc`: length << 16 | offset) at the end. */
  #formatted(event: KernelEvent, fields: readonly RecordField[]): number {
    this.#common(event);
    const { view } = this.#memory;
    const encoder = new TextEncoder();
    let end = COMMON;
    for (const field of fields) end += 'comm' in field ? TASK_COMM_LEN : 4;
    let at = COMMON;
    for (const field of fields) {
      if ('comm' in field) {
        this.#memory.write(this.#record + at, encoder.encode(field.comm).subarray(0, TASK_COMM_LEN - 1));
        at += TASK_COMM_LEN;
        continue;
      }
      if ('i32' in field) view.setInt32(this.#record + at, field.i32, true);
      else {
        const text = encoder.encode(field.text).subarray(0, MAX_DYNAMIC - 1);
        view.setUint32(this.#record + at, ((text.length + 1) << 16) | end, true);
        this.#memory.write(this.#record + end, text);
        end += text.length + 1;
      }
      at += 4;
    }
    return this.#record;
  }
}
