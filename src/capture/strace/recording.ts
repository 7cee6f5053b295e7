/**
 * What `strace -f -ttt -o FILE COMMAND` wrote, as events of a kernel: enter and exit of every system call with its arguments,
 * and the life of the processes that made them (fork, exec, exit, ids, names), as far as the recording tells.
 */
import type { KernelEvent, ProcessSpec, SyscallArg } from '../../contracts/events.ts';
import { SYSCALL_CONSTANTS, SYSCALLS } from '../../uapi/index.ts';
import { fromUtf8 } from '../../util/bytes.ts';
import { BpfError } from '../../util/errors.ts';
import { readArguments } from './arguments.ts';
import { parseLine, type StraceRecord } from './lines.ts';

export interface StraceOptions {
  /** Process of lines without a pid (recordings without -f). */
  readonly pid?: number;
  /** Name of the file, for messages. */
  readonly name?: string;
}

export interface SkippedLine {
  readonly line: number;
  readonly why: string;
  /** At most 80 characters of it. */
  readonly text: string;
}

export interface StraceRecording {
  readonly events: readonly KernelEvent[];
  /** Lines that could not be read: all counted, the first 20 kept. */
  readonly skippedCount: number;
  readonly skipped: readonly SkippedLine[];
  /** Real time at monotonic time 0, nanoseconds since the epoch. */
  readonly epoch: bigint;
}

/** Monotonic time of the first event. */
const START = 1_000_000_000n;
const MAX_BYTES = 256 << 20;
const KEPT_SKIPS = 20;
/** Generations that one event may bring to light at once; no real recording has more than a few. */
const MAX_ANCESTORS = 64;
const FORKS = new Set(['clone', 'clone3', 'fork', 'vfork']);
const EXECS = new Set(['execve', 'execveat']);
/** Calls that set the user or group id, and which argument (the first that is not -1). */
const SETS_UID = new Set(['setuid', 'setreuid', 'setresuid']);
const SETS_GID = new Set(['setgid', 'setregid', 'setresgid']);
const READS_UID = new Set(['getuid', 'geteuid']);
const READS_GID = new Set(['getgid', 'getegid']);

/** Throws BpfError: EINVAL where no line is strace's, EFBIG above 256 MiB. */
export function parseStrace(input: string | Uint8Array, options: StraceOptions = {}): StraceRecording {
  if (input.length > MAX_BYTES)
    throw new BpfError('EFBIG', `a recording of ${input.length} bytes: at most ${MAX_BYTES} are read`);
  const text = typeof input === 'string' ? input : fromUtf8(input);
  const skipped: SkippedLine[] = [];
  let skippedCount = 0;
  const records: StraceRecord[] = [];
  text.split('\n').forEach((raw, i) => {
    const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw;
    if (line.trim() === '') return;
    const record = parseLine(line, i + 1);
    if (typeof record !== 'string') {
      records.push(record);
      return;
    }
    skippedCount++;
    if (skipped.length < KEPT_SKIPS) skipped.push({ line: i + 1, why: record, text: line.slice(0, 80) });
  });
  if (records.length === 0 && skippedCount > 0) {
    const [first] = skipped;
    throw new BpfError(
      'EINVAL',
      `${options.name ?? 'the recording'}: no line is strace's; line ${first.line}: ${first.why}`,
      {
        hint: 'record with: strace -f -ttt -o FILE COMMAND',
      },
    );
  }
  return new Replayer(records, options).run(skipped, skippedCount);
}

/** A process while the recording is walked. */
interface Actor {
  spec: ProcessSpec;
}

class Replayer {
  readonly #records: readonly StraceRecord[];
  readonly #defaultPid: number;
  readonly #actors = new Map<number, Actor>();
  readonly #events: KernelEvent[] = [];
  /** For `unfinished` records: the record that resumes them. */
  readonly #resumedBy = new Map<StraceRecord, StraceRecord>();
  readonly #startedBy = new Map<StraceRecord, StraceRecord>();
  /** Child pid → what its parent called. */
  readonly #forks = new Map<number, { parent: number; thread: boolean }>();
  /** What processes learn about themselves; one that never asks is taken for root. */
  readonly #uids = new Map<number, number>();
  readonly #gids = new Map<number, number>();
  readonly #first: bigint;
  #time = START;

  constructor(records: readonly StraceRecord[], options: StraceOptions) {
    this.#records = records;
    this.#defaultPid = options.pid ?? 1;
    this.#first = records.find((record) => record.time !== null)?.time ?? 0n;
  }

  run(skipped: SkippedLine[], skippedCount: number): StraceRecording {
    this.#join();
    for (const record of this.#records) this.#replay(record);
    return { events: this.#events, skipped, skippedCount, epoch: this.#first - START };
  }

  #pid(record: StraceRecord): number {
    return record.pid ?? this.#defaultPid;
  }

  /** Pairs the halves of interrupted calls, and finds out who forked whom before the first event of a child. */
  #join(): void {
    const open = new Map<number, StraceRecord>();
    for (const record of this.#records) {
      const pid = this.#pid(record);
      const { what } = record;
      if (what.kind === 'unfinished') open.set(pid, record);
      if (what.kind === 'resumed') {
        const start = open.get(pid);
        if (start !== undefined && start.what.kind === 'unfinished' && start.what.name === what.name) {
          this.#resumedBy.set(start, record);
          this.#startedBy.set(record, start);
          this.#noteFork(pid, what.name, start.what.args + what.args, what.ret);
        }
        open.delete(pid);
      }
      if (what.kind !== 'call') continue;
      this.#noteFork(pid, what.name, what.args, what.ret);
      if (what.ret === null) continue;
      if (READS_UID.has(what.name) && !this.#uids.has(pid)) this.#uids.set(pid, Number(what.ret));
      if (READS_GID.has(what.name) && !this.#gids.has(pid)) this.#gids.set(pid, Number(what.ret));
    }
  }

  #noteFork(pid: number, name: string, args: string, ret: bigint | null): void {
    if (!FORKS.has(name) || ret === null || ret <= 0n) return;
    const child = Number(ret);
    if (child !== pid && !this.#forks.has(child))
      this.#forks.set(child, { parent: pid, thread: args.includes('CLONE_THREAD') });
  }

  #replay(record: StraceRecord): void {
    const pid = this.#pid(record);
    if (record.time !== null) {
      const time = record.time - this.#first + START;
      // Clocks that were set back, and midnight in recordings with -tt, must not turn time back.
      if (time > this.#time) this.#time = time;
    } else this.#time += 1000n;
    const { what } = record;
    switch (what.kind) {
      case 'call':
        this.#enter(pid, what.name, what.args);
        this.#exit(pid, what.name, what.args, what.ret);
        break;
      case 'unfinished': {
        const rest = this.#resumedBy.get(record)?.what;
        this.#enter(pid, what.name, what.args + (rest?.kind === 'resumed' ? rest.args : ''));
        break;
      }
      case 'resumed': {
        const start = this.#startedBy.get(record)?.what;
        if (start?.kind === 'unfinished') this.#exit(pid, what.name, start.args + what.args, what.ret);
        break;
      }
      case 'exited':
        this.#events.push({ kind: 'exit', process: this.#actor(pid).spec, time: this.#time });
        this.#actors.delete(pid);
        break;
      case 'signal':
      case 'note':
        break;
    }
  }

  /** The process, made by fork from its parent where the recording says so, from nothing where it does not. */
  #actor(pid: number): Actor {
    // Ancestors that have not been seen yet are made first, the oldest at the end of the list.
    const unborn: number[] = [];
    let at: number | undefined = pid;
    while (
      at !== undefined &&
      !this.#actors.has(at) &&
      !unborn.includes(at) &&
      unborn.length < MAX_ANCESTORS
    ) {
      unborn.push(at);
      at = this.#forks.get(at)?.parent;
    }
    for (const child of unborn.reverse()) this.#make(child);
    return this.#actors.get(pid)!;
  }

  #make(pid: number): void {
    const fork = this.#forks.get(pid);
    const parent = fork === undefined ? undefined : this.#actors.get(fork.parent);
    if (fork === undefined || parent === undefined) {
      const ids = { uid: this.#uids.get(pid) ?? 0, gid: this.#gids.get(pid) ?? 0 };
      this.#actors.set(pid, { spec: { pid, tgid: pid, ...ids, comm: 'strace' } });
      return;
    }
    const tgid = fork.thread ? (parent.spec.tgid ?? fork.parent) : pid;
    const child: ProcessSpec = { ...parent.spec, pid, tgid, ppid: fork.parent };
    this.#actors.set(pid, { spec: child });
    this.#events.push({ kind: 'fork', process: parent.spec, child, time: this.#time });
  }

  #enter(pid: number, name: string, text: string): void {
    const nr = SYSCALLS[name];
    if (nr === undefined) return;
    const args = readArguments(name, text);
    this.#events.push({
      kind: 'syscall_enter',
      name,
      nr,
      args,
      process: this.#actor(pid).spec,
      time: this.#time,
    });
  }

  #exit(pid: number, name: string, text: string, ret: bigint | null): void {
    const nr = SYSCALLS[name];
    if (nr === undefined || ret === null) return;
    const actor = this.#actor(pid);
    if (ret >= 0n) this.#applyEffects(actor, name, text, ret);
    this.#events.push({ kind: 'syscall_exit', name, nr, ret, process: actor.spec, time: this.#time });
  }

  /** What a call that succeeded changes about its process. */
  #applyEffects(actor: Actor, name: string, text: string, ret: bigint): void {
    if (EXECS.has(name)) {
      const path = readArguments(name, text).find((arg) => arg.kind === 'memory');
      const filename = textOf(path);
      const comm = filename.split('/').at(-1) || filename;
      this.#events.push({ kind: 'exec', process: actor.spec, comm, filename, time: this.#time });
      actor.spec = { ...actor.spec, comm };
    } else if (FORKS.has(name)) this.#actor(Number(ret));
    else if (SETS_UID.has(name)) actor.spec = withId(actor.spec, 'uid', readArguments(name, text));
    else if (SETS_GID.has(name)) actor.spec = withId(actor.spec, 'gid', readArguments(name, text));
    else if (name === 'prctl') {
      const [option, value] = readArguments(name, text);
      if (option?.kind === 'value' && option.value === BigInt(SYSCALL_CONSTANTS.PR_SET_NAME)) {
        actor.spec = { ...actor.spec, comm: textOf(value) };
      }
    }
  }
}

function withId(spec: ProcessSpec, which: 'uid' | 'gid', args: readonly SyscallArg[]): ProcessSpec {
  const id = args.find((arg) => arg.kind === 'value' && arg.value >= 0n);
  return id?.kind === 'value' ? { ...spec, [which]: Number(id.value & 0xffff_ffffn) } : spec;
}

function textOf(arg: SyscallArg | undefined): string {
  if (arg?.kind !== 'memory') return '';
  const end = arg.bytes.indexOf(0);
  return fromUtf8(end < 0 ? arg.bytes : arg.bytes.subarray(0, end));
}
