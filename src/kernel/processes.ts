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

const NUL = new Uint8Array(1);
/** TASK_COMM_LEN - 1 */
const COMM_BYTES = 15;
/** Processes kept at most; the one that was mentioned longest ago goes first. */
const MAX_PROCESSES = 65_536;

export class Process implements Task, UserMemory {
  readonly pid: number;
  readonly tgid: number;
  uid: number;
  gid: number;
  comm: string;
  /** As given, before it was cut. */
  #name: string;
  readonly taskStruct = 0;
  readonly #memory: GuestMemory;
  #blocks: { start: number; size: number }[] = [];

  constructor(spec: ProcessSpec, memory: GuestMemory) {
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

  userOffset(low: number, high: number, size: number): number {
    if (high >>> 0 !== USER_HI) return -1;
    const start = low >>> 0;
    for (const block of this.#blocks) {
      if (start >= block.start && start + size <= block.start + block.size) return start;
    }
    return -1;
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

  constructor(memory: GuestMemory) {
    this.#memory = memory;
  }

  /** The process with that pid, made from `spec` where it is new; what `spec` says of a known one is taken over. */
  mention(spec: ProcessSpec): Process {
    let process = this.#byPid.get(spec.pid);
    if (process === undefined) {
      process = new Process(spec, this.#memory);
      if (this.#byPid.size >= MAX_PROCESSES) this.remove(this.#byPid.keys().next().value!);
      this.#byPid.set(spec.pid, process);
      return process;
    }
    if (spec.uid !== undefined) process.uid = spec.uid;
    if (spec.gid !== undefined) process.gid = spec.gid;
    if (spec.comm !== undefined) process.rename(spec.comm);
    return process;
  }

  /** fork: the child has its parent's name and ids unless `child` says otherwise. */
  fork(parent: Process, child: ProcessSpec): Process {
    return this.mention({ uid: parent.uid, gid: parent.gid, comm: parent.comm, ...child });
  }

  remove(pid: number): void {
    this.#byPid.get(pid)?.clearUserMemory();
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
