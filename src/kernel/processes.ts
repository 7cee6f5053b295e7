/**
 * The process table of the embedded kernel: who is `current` when a program runs, and the user memory of each process.
 * Processes are made on first mention, renamed by exec and removed by exit. User memory holds the arguments of one system
 * call of each thread, until that thread enters the next one: programs may look at them between enter and exit.
 */
import type { ProcessSpec, SyscallArg } from '../contracts/events.ts';
import type { UserMemory } from '../contracts/hooks.ts';
import type { Task } from '../contracts/runtime.ts';
import { USER_HI, userAddress } from '../memory/address.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { concatBytes } from '../util/bytes.ts';
import type { TaskStructs } from './task-structs.ts';

const NUL = new Uint8Array(1);
/** TASK_COMM_LEN - 1 */
const COMM_BYTES = 15;
/** Tasks that are brought up to date together: a process, its parents, their groups' leaders. */
const MAX_RELATIVES = 16;
/** Processes kept at most; the one that was mentioned longest ago goes first. */
const MAX_PROCESSES = 65_536;

/** A process as plain data: what programs on another thread may ask of it. */
export interface TaskImage extends Omit<Task, 'userOffset'> {
  /** Its user memory: offsets and sizes. */
  readonly blocks: readonly UserBlock[];
}

interface UserBlock {
  readonly start: number;
  readonly size: number;
}

/** The task that an image tells of. */
export function taskOf({ blocks, ...task }: TaskImage): Task {
  return { ...task, userOffset: (low, high, size) => offsetIn(blocks, low, high, size) };
}

function offsetIn(blocks: readonly UserBlock[], low: number, high: number, size: number): number {
  if (high >>> 0 !== USER_HI) return -1;
  const start = low >>> 0;
  for (const block of blocks) {
    if (start >= block.start && start + size <= block.start + block.size) return start;
  }
  return -1;
}

export class Process implements Task, UserMemory {
  readonly pid: number;
  readonly tgid: number;
  uid: number;
  gid: number;
  comm: string;
  /** Its parent's pid; 0: nobody. */
  ppid: number;
  /** The thread of the parent that made it, where that is known. */
  maker = 0;
  /** As wait(2) has it. */
  exitCode = 0;
  /** Monotonic nanoseconds. */
  readonly startTime: bigint;
  /** As given, before it was cut. */
  #name: string;
  readonly #memory: GuestMemory;
  readonly #table: ProcessTable;
  #task = 0;
  #blocks: UserBlock[] = [];

  constructor(spec: ProcessSpec, memory: GuestMemory, table: ProcessTable, startTime: bigint) {
    this.#table = table;
    this.startTime = startTime;
    this.ppid = spec.ppid ?? 0;
    this.pid = spec.pid;
    this.tgid = spec.tgid ?? spec.pid;
    this.uid = spec.uid ?? 0;
    this.gid = spec.gid ?? this.uid;
    this.#name = spec.comm ?? 'unknown';
    this.comm = truncateComm(this.#name);
    this.#memory = memory;
  }

  rename(comm: string): void {
    if (comm === this.#name) return;
    this.#name = comm;
    this.comm = truncateComm(comm);
  }

  /** The modelled task, as it is now; 0 where the kernel has no such type. */
  get taskStruct(): number {
    return this.#table.writeTask(this);
  }

  /** Room for the modelled task, made when it is first asked for. */
  taskRoom(structs: TaskStructs): number {
    if (this.#task === 0) this.#task = structs.allocate(this.pid);
    return this.#task;
  }

  /** It is gone: nothing of it stays in memory. */
  release(structs: TaskStructs | undefined): void {
    this.clearUserMemory();
    structs?.free(this.#task);
    this.#task = 0;
  }

  userOffset(low: number, high: number, size: number): number {
    return offsetIn(this.#blocks, low, high, size);
  }

  image(): TaskImage {
    const { pid, tgid, uid, gid, comm, taskStruct } = this;
    return { pid, tgid, uid, gid, comm, taskStruct, blocks: this.#blocks.map((block) => ({ ...block })) };
  }

  place(arg: SyscallArg): bigint {
    switch (arg.kind) {
      case 'value':
        return BigInt.asUintN(64, arg.value);
      case 'memory':
        return userAddress(this.#store(arg.bytes));
      case 'strings': {
        const table = new BigUint64Array(arg.strings.length + 1);
        arg.strings.forEach((text, i) => {
          table[i] = userAddress(this.#store(concatBytes([text, NUL])));
        });
        return userAddress(this.#store(new Uint8Array(table.buffer)));
      }
    }
  }

  /** The arguments of the call before are gone. */
  clearUserMemory(): void {
    if (this.#blocks.length === 0) return;
    for (const block of this.#blocks) this.#memory.free(block.start);
    this.#blocks = [];
  }

  #store(bytes: Uint8Array): number {
    const start = this.#memory.allocate(bytes.length, `user memory of ${this.pid}`);
    this.#memory.write(start, bytes);
    this.#blocks.push({ start, size: bytes.length });
    return start;
  }
}

export class ProcessTable {
  readonly #memory: GuestMemory;
  readonly #byPid = new Map<number, Process>();
  #structs: TaskStructs | undefined;
  #now: () => bigint = () => 0n;

  constructor(memory: GuestMemory) {
    this.#memory = memory;
  }

  /** From here on tasks are modelled, and begin when they are first mentioned. */
  model(structs: TaskStructs, now: () => bigint): void {
    this.#structs = structs;
    this.#now = now;
  }

  /** The modelled task of a process with those that it points to, as they are now: its offset. */
  writeTask(process: Process): number {
    const structs = this.#structs;
    if (structs === undefined) return 0;
    const seen = new Set<Process>();
    const write = (one: Process | undefined): number => {
      if (one === undefined || (!seen.has(one) && seen.size >= MAX_RELATIVES)) return 0;
      const at = one.taskRoom(structs);
      if (seen.has(one)) return at;
      seen.add(one);
      const leader = one.tgid === one.pid ? at : write(this.#byPid.get(one.tgid));
      structs.write(at, one, write(this.#byPid.get(one.maker) ?? this.#byPid.get(one.ppid)), leader);
      return at;
    };
    return write(process);
  }

  /** The process with that pid, made from `spec` where it is new; what `spec` says of a known one is taken over. */
  mention(spec: ProcessSpec): Process {
    let process = this.#byPid.get(spec.pid);
    if (process === undefined) {
      process = new Process(spec, this.#memory, this, this.#now());
      if (this.#byPid.size >= MAX_PROCESSES) this.remove(this.#byPid.keys().next().value!);
      this.#byPid.set(spec.pid, process);
      return process;
    }
    if (spec.ppid !== undefined) process.ppid = spec.ppid;
    if (spec.uid !== undefined) process.uid = spec.uid;
    if (spec.gid !== undefined) process.gid = spec.gid;
    if (spec.comm !== undefined) process.rename(spec.comm);
    return process;
  }

  /** fork: the child has its parent's name and ids unless `child` says otherwise. */
  fork(parent: Process, child: ProcessSpec): Process {
    const { uid, gid, comm, tgid } = parent;
    const isThread = child.tgid === tgid && child.pid !== tgid;
    const made = this.mention({ uid, gid, comm, ppid: isThread ? parent.ppid : tgid, ...child });
    // A new thread has the parent of the one that made it (CLONE_THREAD).
    made.maker = isThread ? parent.maker : parent.pid;
    return made;
  }

  remove(pid: number): void {
    this.#byPid.get(pid)?.release(this.#structs);
    this.#byPid.delete(pid);
  }

  find(pid: number): Process | undefined {
    return this.#byPid.get(pid);
  }

  clear(): void {
    for (const pid of [...this.#byPid.keys()]) this.remove(pid);
  }
}

/** At most 15 bytes of UTF-8, never half a character. */
function truncateComm(comm: string): string {
  const encoder = new TextEncoder();
  let text = '';
  let size = 0;
  for (const character of comm) {
    size += encoder.encode(character).length;
    if (size > COMM_BYTES) break;
    text += character;
  }
  return text;
}
