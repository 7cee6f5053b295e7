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
const MAX_LINE = 4 << 20;
const MAX_RECORDS = 2_000_000;
const DAY = 86_400_000_000_000n;
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
  for (const { line, text: one } of linesOf(text)) {
    const record = one.length > MAX_LINE ? `a line of ${one.length} characters` : known(parseLine(one, line));
    if (typeof record !== 'string') {
      if (records.push(record) > MAX_RECORDS)
        throw new BpfError('EFBIG', `more than ${MAX_RECORDS} records`, { hint: 'split the recording' });
      continue;
    }
    skippedCount++;
    if (skipped.length < KEPT_SKIPS) skipped.push({ line, why: record, text: one.slice(0, 80) });
  }
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

/** What strace says of a new process in the middle of another one's line, when it writes to the terminal's stream. */
const ATTACHED = /strace: Process \d+ (?:attached|detached)$/;

/** The lines that are not empty, with their numbers; those that a note of strace has cut in two are joined. */
function* linesOf(text: string): Generator<{ line: number; text: string }> {
  let number = 0;
  let begun: { line: number; text: string } | undefined;
  for (let at = 0; at <= text.length; ) {
    const end = text.indexOf('\n', at);
    const stop = end < 0 ? text.length : end;
    let line = text.slice(at, stop);
    at = stop + 1;
    number++;
    if (line.endsWith('\r')) line = line.slice(0, -1);
    const note = line.length <= MAX_LINE ? ATTACHED.exec(line) : null;
    if (note !== null && note.index > 0) {
      begun = { line: begun?.line ?? number, text: (begun?.text ?? '') + line.slice(0, note.index) };
      if (begun.text.length <= MAX_LINE) continue;
    }
    if (begun !== undefined && note === null && line.trim() !== '') {
      yield { line: begun.line, text: begun.text + line };
      begun = undefined;
      continue;
    }
    if (line.trim() !== '') yield { line: number, text: line };
  }
  if (begun !== undefined) yield begun;
}

/** Calls that no system has are no records. */
function known(record: StraceRecord | string): StraceRecord | string {
  if (typeof record === 'string' || !('name' in record.what)) return record;
  const { name } = record.what;
  return Object.hasOwn(SYSCALLS, name) ? record : `there is no system call '${name}' on x86-64`;
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
  /** There are events that stand before earlier ones. */
  #late = false;
  /** Of recordings with the time of the day: midnights passed, and the latest time. */
  #days = 0n;
  #last = 0n;

  constructor(records: readonly StraceRecord[], options: StraceOptions) {
    this.#records = records;
    this.#defaultPid = options.pid ?? unforkedPid(records) ?? 1;
    const first = records.find((record) => record.time !== null);
    this.#first = first === undefined || first.clock === 'relative' ? 0n : first.time!;
  }

  run(skipped: SkippedLine[], skippedCount: number): StraceRecording {
    this.#join();
    for (const record of this.#records) this.#replay(record);
    // Other processes went on while a call took its time.
    if (this.#late) this.#events.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0));
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
      this.#advance(record.clock, record.time);
    } else this.#time += 1000n;
    const { what } = record;
    switch (what.kind) {
      case 'call':
        this.#enter(pid, what.name, what.args);
        this.#exit(pid, what.name, what.args, what.ret, what.duration);
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
        this.#events.push({
          kind: 'exit',
          process: this.#actor(pid).spec,
          time: this.#time,
          exitCode: what.status,
        });
        this.#actors.delete(pid);
        break;
      case 'signal':
      case 'note':
        break;
    }
  }

  #advance(clock: StraceRecord['clock'], printed: bigint): void {
    if (clock === 'relative') {
      this.#time += printed;
      return;
    }
    // Past midnight the time of the day starts over.
    if (clock === 'day' && printed + this.#days + DAY / 2n < this.#last) this.#days += DAY;
    const absolute = printed + this.#days;
    this.#last = absolute;
    const time = absolute - this.#first + START;
    // Clocks that were set back must not turn time back.
    if (time > this.#time) this.#time = time;
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
    // Threads have the parent of their group.
    const ppid = fork.thread ? (parent.spec.ppid ?? 0) : (parent.spec.tgid ?? fork.parent);
    const child: ProcessSpec = { ...parent.spec, pid, tgid, ppid };
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

  /** `duration`: the line tells of the call's start, and how long it took. */
  #exit(pid: number, name: string, text: string, ret: bigint | null, duration = 0n): void {
    const nr = SYSCALLS[name];
    if (nr === undefined || ret === null) return;
    const actor = this.#actor(pid);
    const time = this.#time + duration;
    if (duration > 0n) this.#late = true;
    if (ret >= 0n) this.#applyEffects(actor, name, text, ret, time);
    this.#events.push({ kind: 'syscall_exit', name, nr, ret, process: actor.spec, time });
  }

  /** What a call that succeeded changes about its process. */
  #applyEffects(actor: Actor, name: string, text: string, ret: bigint, time: bigint): void {
    if (EXECS.has(name)) {
      const path = readArguments(name, text).find((arg) => arg.kind === 'memory');
      const filename = textOf(path);
      const comm = filename.split('/').at(-1) || filename;
      this.#events.push({ kind: 'exec', process: actor.spec, comm, filename, time });
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

/**
 * strace on the terminal leaves out the pid of the only process: it is the first one with a pid that no other process has made.
 */
function unforkedPid(records: readonly StraceRecord[]): number | undefined {
  const children = new Set<number>();
  for (const { what } of records)
    if ((what.kind === 'call' || what.kind === 'resumed') && FORKS.has(what.name) && what.ret !== null)
      children.add(Number(what.ret));
  for (const { pid } of records) if (pid !== null && !children.has(pid)) return pid;
  return undefined;
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
