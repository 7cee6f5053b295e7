/**
 * From events to the attach points that they hit, with the context that programs see at each: one row a kind of point.
 * Layouts are those of x86-64 Linux: tracefs format files (common fields: 8 bytes), struct pt_regs, arrays of u64 for raw
 * tracepoints. The contexts lie in scratch memory that is valid during the event only.
 */
import type {
  KernelArg,
  KernelEvent,
  KernelObjectArg,
  ProcessSpec,
  SyscallArg,
  TaskArg,
} from '../contracts/events.ts';
import type { KernelObjects, UserMemory } from '../contracts/hooks.ts';
import { type GuestMemory, kernelAddress } from '../memory/index.ts';
import { BpfError } from '../util/errors.ts';

type EventOf<K extends KernelEvent['kind']> = Extract<KernelEvent, { kind: K }>;

/** Offsets in struct pt_regs (arch/x86/include/asm/ptrace.h). */
const PT_REGS = {
  r15: 0,
  r14: 8,
  r13: 16,
  r12: 24,
  bp: 32,
  bx: 40,
  r11: 48,
  r10: 56,
  r9: 64,
  r8: 72,
  ax: 80,
  cx: 88,
  dx: 96,
  si: 104,
  di: 112,
  origAx: 120,
  ip: 128,
  cs: 136,
  flags: 144,
  sp: 152,
  ss: 160,
} as const;
const PT_REGS_SIZE = 168;
/** In struct bpf_perf_event_data: the registers, then these. */
const PERF_DATA = { ...PT_REGS, samplePeriod: 168, addr: 176 } as const;
const PERF_DATA_SIZE = 184;
/** Selectors of code: the kernel's and that of programs (__KERNEL_CS, __USER_CS). */
const KERNEL_CS = 0x10n;
const USER_CS = 0x33n;
/** Where system calls and functions take their arguments (System V ABI; man 2 syscall). */
const SYSCALL_REGS = [PT_REGS.di, PT_REGS.si, PT_REGS.dx, PT_REGS.r10, PT_REGS.r8, PT_REGS.r9];
const FUNCTION_REGS = [PT_REGS.di, PT_REGS.si, PT_REGS.dx, PT_REGS.cx, PT_REGS.r8, PT_REGS.r9];
/** Bytes of the common fields of every tracepoint record: type, flags, preempt count, pid. */
const COMMON = 8;
const MAX_RAW_ARGS = 12;
const MAX_SYSCALL_ARGS = 6;
const MAX_POINT_LISTS = 4096;
/** PERF_MAX_TRACE_SIZE */
export const MAX_RECORD = 8192;
/** Longest text of one field, NUL included. Two of them fit into a record. */
const MAX_DYNAMIC = 4000;
const TASK_COMM_LEN = 16;

/** A field of a tracepoint's format: a number, a fixed array of 16 characters, or a text of any length. */
type RecordField = { readonly i32: number } | { readonly comm: string } | { readonly text: string };

export class EventContexts {
  readonly #memory: GuestMemory;
  readonly #objects: KernelObjects;
  readonly #record: number;
  readonly #regs: number;
  readonly #syscallRegs: number;
  readonly #args: number;
  readonly #perfData: number;
  readonly #points = new Map<string, readonly string[]>();
  #placed: readonly bigint[] | undefined;
  /** Bytes of the record that may not be zero. */
  #written = 0;

  constructor(memory: GuestMemory, objects: KernelObjects) {
    this.#memory = memory;
    this.#objects = objects;
    this.#record = memory.allocate(MAX_RECORD, 'tracepoint record');
    this.#regs = memory.allocate(PT_REGS_SIZE, 'pt_regs of the probe');
    this.#syscallRegs = memory.allocate(PT_REGS_SIZE, 'pt_regs of the system call');
    this.#args = memory.allocate(MAX_RAW_ARGS * 8, 'raw tracepoint arguments');
    this.#perfData = memory.allocate(PERF_DATA_SIZE, 'context of perf event programs');
  }

  /**
   * The attach points that an event hits, in the order in which Linux runs their programs. The list of a kind of event is made
   * once: an event that nobody listens to costs a look-up.
   */
  points(event: KernelEvent): readonly string[] {
    this.#placed = undefined;
    const name = nameOf(event);
    const key = name === '' ? event.kind : `${event.kind} ${name}`;
    let points = this.#points.get(key);
    if (points === undefined) {
      // Names come from recordings: the table must not grow with what they invent.
      if (this.#points.size >= MAX_POINT_LISTS) this.#points.clear();
      points = ROWS[event.kind].map((row) => row.point(name));
      this.#points.set(key, points);
    }
    return points;
  }

  /** Lays out the context of the event's point number `index`: its offset. `user` holds the event's arguments. */
  context(event: KernelEvent, index: number, user: UserMemory): number {
    const row: Row<KernelEvent> = ROWS[event.kind][index] as Row<KernelEvent>;
    return row.context(this, event, user);
  }

  /** The event's arguments, in user memory or as objects of the kernel, placed once: all programs see the same addresses. */
  placed(args: readonly (SyscallArg | KernelObjectArg | TaskArg)[], user: UserMemory): readonly bigint[] {
    this.#placed ??= args.map((arg) =>
      arg.kind === 'object' || arg.kind === 'task' ? this.#objects.place(arg) : user.place(arg),
    );
    return this.#placed;
  }

  /** The same for arguments that are addresses or objects of the kernel. */
  arguments(args: readonly KernelArg[]): number {
    this.#placed ??= args.map((arg) => this.#objects.place(arg));
    return this.words(this.#placed);
  }

  /** The same with the function's result behind the last of its parameters. */
  argumentsAndResult(symbol: string, args: readonly KernelArg[], result: bigint): number {
    this.#placed ??= args.map((arg) => this.#objects.place(arg));
    const words = [...this.#placed];
    const count = this.#objects.parameters(symbol) ?? words.length;
    while (words.length < count) words.push(0n);
    return this.words([...words.slice(0, count), result]);
  }

  /** For what Linux itself hands over with an event: objects that the kernel's types may not have are NULL. */
  known(args: readonly KernelArg[]): number {
    this.#placed ??= args.map((arg) => this.#objects.placeKnown(arg));
    return this.words(this.#placed);
  }

  /** The registers of a system call on its kernel stack: their address. */
  syscallRegisters(nr: number, args: readonly bigint[]): bigint {
    const regs = this.#registers(this.#syscallRegs, SYSCALL_REGS, args);
    this.#memory.writeU64(regs + PT_REGS.origAx, BigInt(nr));
    return kernelAddress(regs);
  }

  /** The same at the exit, where rax holds the result. */
  syscallResult(nr: number, ret: bigint): bigint {
    this.#registers(this.#syscallRegs, [PT_REGS.ax], [ret]);
    this.#memory.writeU64(this.#syscallRegs + PT_REGS.origAx, BigInt(nr));
    return kernelAddress(this.#syscallRegs);
  }

  /** Registers of a process: arguments, then what else is known. Errors: EINVAL for a name that is no register's. */
  userRegisters(event: EventOf<'uprobe'>, args: readonly bigint[]): number {
    const at = this.functionRegisters(args);
    for (const [name, value] of Object.entries(event.registers ?? {})) {
      if (!Object.hasOwn(PT_REGS, name))
        throw new BpfError('EINVAL', `there is no register '${name}' in struct pt_regs`, {
          hint: `there are ${Object.keys(PT_REGS).join(', ')}`,
        });
      this.#memory.writeU64(at + PT_REGS[name as keyof typeof PT_REGS], value);
    }
    return at;
  }

  functionRegisters(args: readonly bigint[]): number {
    return this.#registers(this.#regs, FUNCTION_REGS, args);
  }

  /** A record of 8-byte fields behind the common ones. */
  fields(event: KernelEvent, fields: readonly bigint[]): number {
    this.#common(event, COMMON + 8 * fields.length);
    fields.forEach((field, i) => {
      this.#memory.writeU64(this.#record + COMMON + 8 * i, field);
    });
    return this.#record;
  }

  /** Clears what the record before has written, and fills in the common fields. */
  #common(event: KernelEvent, size: number): void {
    this.#memory.u8.fill(0, this.#record, this.#record + Math.max(size, this.#written));
    this.#written = size;
    this.#memory.view.setInt32(this.#record + 4, event.process.pid, true);
  }

  record(event: EventOf<'tracepoint'>): number {
    const record = event.record.subarray(0, MAX_RECORD);
    this.#common(event, Math.max(COMMON, record.length));
    this.#memory.write(this.#record, record);
    return this.#record;
  }

  /** The array of arguments that raw tracepoints see. */
  words(args: readonly bigint[]): number {
    if (args.length > MAX_RAW_ARGS)
      throw new BpfError(
        'EINVAL',
        `a raw tracepoint has at most ${MAX_RAW_ARGS} arguments, not ${args.length}`,
      );
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

  /** struct bpf_perf_event_data, with the registers that a sample tells. */
  sample(event: EventOf<'perf_sample'>): number {
    const at = this.#perfData;
    const { kernel = [], user = [] } = event.stacks ?? {};
    const inKernel = kernel.length > 0;
    this.#memory.u8.fill(0, at, at + PERF_DATA_SIZE);
    this.#memory.writeU64(at + PERF_DATA.ip, (inKernel ? kernel[0] : user[0]) ?? 0n);
    this.#memory.writeU64(at + PERF_DATA.cs, inKernel ? KERNEL_CS : USER_CS);
    this.#memory.writeU64(at + PERF_DATA.samplePeriod, event.period ?? 0n);
    this.#memory.writeU64(at + PERF_DATA.addr, event.address ?? 0n);
    return at;
  }

  returned(ret: bigint): number {
    this.#registers(this.#regs, [PT_REGS.ax], [ret]);
    return this.#regs;
  }

  /** A record by its format: fields in order behind the common ones, texts (`__data_loc`: length << 16 | offset) at the end. */
  formatted(event: KernelEvent, fields: readonly RecordField[]): number {
    this.#common(event, MAX_RECORD);
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

interface Row<E extends KernelEvent> {
  readonly point: (name: string) => string;
  readonly context: (contexts: EventContexts, event: E, user: UserMemory) => number;
}

const task = (process: ProcessSpec): TaskArg => ({ kind: 'task', process: { pid: process.pid } });
const DEFAULT_PRIO = 120;

/** What each kind of event hits, in the order in which Linux runs the programs. */
const ROWS: { readonly [K in KernelEvent['kind']]: readonly Row<EventOf<K>>[] } = {
  syscall_enter: [
    {
      point: () => 'raw_tracepoint:sys_enter',
      context: (c, event, user) =>
        c.words([c.syscallRegisters(event.nr, c.placed(event.args, user)), BigInt(event.nr)]),
    },
    { point: () => 'tracepoint:raw_syscalls/sys_enter', context: enterRecord },
    { point: (name) => `tracepoint:syscalls/sys_enter_${name}`, context: enterRecord },
    {
      point: (name) => `kprobe:__x64_sys_${name}`,
      context: (c, event, user) =>
        c.functionRegisters([c.syscallRegisters(event.nr, c.placed(event.args, user))]),
    },
  ],
  syscall_exit: [
    { point: (name) => `kretprobe:__x64_sys_${name}`, context: (c, event) => c.returned(event.ret) },
    {
      point: () => 'raw_tracepoint:sys_exit',
      context: (c, event) => c.words([c.syscallResult(event.nr, event.ret), event.ret]),
    },
    { point: () => 'tracepoint:raw_syscalls/sys_exit', context: exitRecord },
    { point: (name) => `tracepoint:syscalls/sys_exit_${name}`, context: exitRecord },
  ],
  tracepoint: [{ point: (name) => `tracepoint:${name}`, context: (c, event) => c.record(event) }],
  raw_tracepoint: [
    { point: (name) => `raw_tracepoint:${name}`, context: (c, event) => c.arguments(event.args) },
  ],
  kprobe: [
    {
      point: (name) => `kprobe:${name}`,
      context: (c, event, user) => c.functionRegisters(c.placed(event.args, user)),
    },
    { point: (name) => `fentry:${name}`, context: (c, event, user) => c.words(c.placed(event.args, user)) },
  ],
  kretprobe: [
    { point: (name) => `kretprobe:${name}`, context: (c, event) => c.returned(event.ret) },
    {
      point: (name) => `fexit:${name}`,
      context: (c, event) => c.argumentsAndResult(event.symbol, event.args ?? [], event.ret),
    },
  ],
  lsm: [
    {
      point: (name) => `lsm:${name}`,
      // The programs see what the hook would return without them: 0.
      context: (c, event) => c.argumentsAndResult(`bpf_lsm_${event.hook}`, event.args, 0n),
    },
  ],
  uprobe: [
    {
      point: (name) => `uprobe:${name}`,
      context: (c, event, user) => c.userRegisters(event, c.placed(event.args ?? [], user)),
    },
  ],
  uretprobe: [{ point: (name) => `uretprobe:${name}`, context: (c, event) => c.returned(event.ret) }],
  perf_sample: [{ point: (name) => `perf_event:${name}`, context: (c, event) => c.sample(event) }],
  fork: [
    {
      point: () => 'raw_tracepoint:sched_process_fork',
      context: (c, event) => c.known([task(event.process), task(event.child)]),
    },
    {
      point: () => 'tracepoint:sched/sched_process_fork',
      context: (c, event) => {
        const comm = event.process.comm ?? '';
        return c.formatted(event, [
          { text: comm },
          { i32: event.process.pid },
          { text: event.child.comm ?? comm },
          { i32: event.child.pid },
        ]);
      },
    },
  ],
  exec: [
    {
      point: () => 'raw_tracepoint:sched_process_exec',
      context: (c, event) => {
        const filename = event.filename ?? event.comm;
        const members = { filename, interp: filename };
        const program = { kind: 'object', struct: 'linux_binprm', members } as const;
        return c.known([task(event.process), BigInt(event.process.pid), program]);
      },
    },
    {
      point: () => 'tracepoint:sched/sched_process_exec',
      context: (c, event) => {
        const { pid } = event.process;
        return c.formatted(event, [{ text: event.filename ?? event.comm }, { i32: pid }, { i32: pid }]);
      },
    },
  ],
  exit: [
    {
      point: () => 'raw_tracepoint:sched_process_exit',
      context: (c, event) => c.known([task(event.process), isLeader(event) ? 1n : 0n]),
    },
    {
      point: () => 'tracepoint:sched/sched_process_exit',
      context: (c, event) =>
        c.formatted(event, [
          { comm: event.process.comm ?? '' },
          { i32: event.process.pid },
          { i32: DEFAULT_PRIO },
          { i32: isLeader(event) ? 1 : 0 },
        ]),
    },
  ],
};

function enterRecord(c: EventContexts, event: EventOf<'syscall_enter'>, user: UserMemory): number {
  return c.fields(event, [BigInt(event.nr), ...c.placed(event.args, user).slice(0, MAX_SYSCALL_ARGS)]);
}

function exitRecord(c: EventContexts, event: EventOf<'syscall_exit'>): number {
  return c.fields(event, [BigInt(event.nr), event.ret]);
}

/** The group is dead with its leader, which is the last to go as a rule. */
function isLeader({ process }: EventOf<'exit'>): boolean {
  return process.tgid === undefined || process.tgid === process.pid;
}

/** A place in an executable as attach points name it. */
export function userPlace(path: string, offset: bigint): string {
  return `${path}+0x${offset.toString(16)}`;
}

/** What tells the points of one kind of event apart. */
function nameOf(event: KernelEvent): string {
  switch (event.kind) {
    case 'syscall_enter':
    case 'syscall_exit':
    case 'raw_tracepoint':
      return event.name;
    case 'tracepoint':
      return `${event.category}/${event.name}`;
    case 'kprobe':
    case 'kretprobe':
      return event.symbol;
    case 'lsm':
      return event.hook;
    case 'uprobe':
    case 'uretprobe':
      return userPlace(event.path, event.offset);
    case 'perf_sample':
      return `${event.type}:${event.config}`;
    default:
      return '';
  }
}
