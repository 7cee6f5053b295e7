/**
 * The CPUs of a kernel, seen from its own thread, which is CPU 0: starts a thread for each other one, sends it what it is to run, and does
 * for its programs what only this thread can do.
 *
 * Memory that a program may still look at is not given back: what `afterGrace` is told to free waits until every CPU that ran then has
 * come to a point where it holds nothing.
 */
import type { CpuFrames, CpuOptions, CpuThread, FrameCounts } from '../../contracts/cpus.ts';
import type { KernelEvent } from '../../contracts/events.ts';
import type { ProgTestRunAttr, ProgTestRunResult } from '../../contracts/kernel.ts';
import { MAP_HEADER, mapsCode } from '../../maps/index.ts';
import { CPU_AREA, RUN_STATE } from '../../memory/index.ts';
import type { ErrnoName } from '../../util/errno.ts';
import { BpfError, ProgramFault } from '../../util/errors.ts';
import { ERRNO } from '../../util/index.ts';
import type { EmbeddedKernelOptions, Machine } from '../machine.ts';
import { ProgObject } from '../objects.ts';
import { oops, reclaim } from '../run.ts';
import { ProgramDirectory } from './directory.ts';
import { CpuEvents } from './events.ts';
import type { CpuSet } from './hooks.ts';
import { imageOf } from './image.ts';
import { runJob } from './jobs.ts';
import type { ErrorImage, FramesResult, FromThread, Job, JobResults, Welcome } from './protocol.ts';
import { answer, type Question } from './questions.ts';

/** More threads than this would only wait for one another. */
export const MAX_CPUS = 32;

interface Pending {
  readonly resolve: (result: never) => void;
  readonly reject: (error: Error) => void;
  readonly program: ProgObject;
}

interface Seat {
  readonly cpu: number;
  readonly delta: number;
  thread: CpuThread | undefined;
  readonly pending: Map<number, Pending>;
  readonly ready: Promise<void>;
  readonly started: () => void;
  readonly failed: (error: Error) => void;
  /** Why it runs nothing any more. */
  error: Error | undefined;
}

interface Deferred {
  readonly free: () => void;
  /** CPUs that ran then, with what their activity was. */
  readonly seen: Map<Seat, number>;
}

export class Cpus implements CpuSet {
  readonly count: number;
  readonly #machine: Machine;
  readonly #directory: ProgramDirectory;
  readonly #seats: Seat[] = [];
  readonly #events: CpuEvents;
  #deferred: Deferred[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #nextJob = 1;
  #waitingForIdle: (() => void)[] = [];
  #closed = false;
  #allEnded = (): void => {};
  readonly #ended = new Promise<void>((resolve) => {
    this.#allEnded = resolve;
  });

  constructor(machine: Machine, cpus: CpuOptions, options: EmbeddedKernelOptions) {
    this.count = cpus.count;
    this.#machine = machine;
    this.#directory = new ProgramDirectory(machine.memory);
    this.#events = new CpuEvents(machine, (cpu, program, job) => this.#run<'event'>(cpu, program, job));
    machine.entries.retire = (entry, reuse) => this.#forget(entry, reuse);
    for (let cpu = 1; cpu < cpus.count; cpu++) this.#seats.push(this.#seat(cpu));
    for (const seat of this.#seats) {
      this.#start(seat, cpus);
      const welcome: Welcome = {
        kind: 'welcome',
        cpu: seat.cpu,
        memory: machine.memory.wasm,
        cpuDelta: seat.delta,
        mapsCode: mapsCode(true),
        directory: this.#directory.address,
        possibleCpus: machine.possibleCpus,
        budget: options.budget,
        release: machine.release.name,
        randomSeed: machine.random(),
        timeOrigin: performance.timeOrigin,
      };
      seat.thread!.post(welcome);
    }
  }

  /** Where one thread cannot be made those that were made end. */
  #start(seat: Seat, cpus: CpuOptions): void {
    try {
      seat.thread = cpus.start({
        onMessage: (message) => this.#hear(seat, message as FromThread),
        onError: (error) => this.#lose(seat, error),
      });
    } catch (cause) {
      this.close();
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new BpfError('EAGAIN', `cannot start a thread for CPU ${seat.cpu}: ${why}`, { cause });
    }
  }

  #seat(cpu: number): Seat {
    const area = this.#machine.memory.allocate(CPU_AREA.size, `run state and stacks of CPU ${cpu}`, 4096);
    let started = (): void => {};
    let failed = (_: Error): void => {};
    const ready = new Promise<void>((resolve, reject) => {
      started = resolve;
      failed = reject;
    });
    // Who does not ask learns it from the first run.
    ready.catch(() => {});
    return {
      cpu,
      delta: area - CPU_AREA.start,
      thread: undefined,
      pending: new Map(),
      ready,
      started,
      failed,
      error: undefined,
    };
  }

  async ready(): Promise<void> {
    await Promise.all(this.#seats.map(({ ready }) => ready));
  }

  publish(program: ProgObject): void {
    this.#directory.publish(program.parts.executable.entry, imageOf(program));
  }

  testRun(cpu: number, attr: ProgTestRunAttr): Promise<ProgTestRunResult> {
    const { progFd, ...rest } = attr;
    return this.#submit(cpu, progFd, (entry) => ({ kind: 'test_run', entry, attr: rest }));
  }

  async fire(cpu: number, event: KernelEvent): Promise<number> {
    let ran = 0;
    await this.#events.handle(this.#checked(cpu), event, () => {
      ran++;
      return true;
    });
    return ran;
  }

  async ask(cpu: number, event: Extract<KernelEvent, { kind: 'lsm' }>): Promise<number> {
    let verdict = 0;
    await this.#events.handle(this.#checked(cpu), event, (result) => {
      verdict = result | 0;
      return verdict === 0;
    });
    return verdict;
  }

  frames(request: { ifindex: number; size: number; tick?: number }): CpuFrames | null {
    const machine = this.#machine;
    const device = machine.devices.byIndex(request.ifindex);
    const [attachment, ...others] = device === undefined ? [] : machine.points.at(device.xdpPoint);
    if (attachment === undefined || others.length > 0 || machine.points.at('socket').length > 0) return null;
    const { program } = attachment;
    const { executable, movesPacket } = program.parts;
    if (movesPacket || executable.runFrames === undefined || program.fault !== undefined) return null;
    const at = machine.memory.allocate(request.size, 'frames');
    let runs = 0;
    let wanted = true;
    // A run that waits for its turn has not begun to look at them.
    const letGo = (): void => {
      if (!wanted && runs === 0) machine.memory.free(at);
    };
    return {
      bytes: machine.memory.u8.subarray(at, at + request.size),
      run: async (cpu, options = {}): Promise<FrameCounts> => {
        const { times = 1, length = request.size, time } = options;
        if (!wanted) throw new BpfError('EINVAL', 'the frames have been given back');
        if (!Number.isInteger(length) || length < 0 || length > request.size)
          throw new BpfError('EINVAL', `${length} bytes of frames, of ${request.size}`);
        const job: Job = {
          kind: 'frames',
          entry: executable.entry,
          ifindex: request.ifindex,
          tick: request.tick ?? 1000,
          at,
          end: at + length,
          times,
          ...(time === undefined ? {} : { time }),
        };
        runs++;
        try {
          const { actions, ...counts } = await this.#run<'frames'>(cpu, program, job);
          return { ...counts, actions: new Map(actions) };
        } finally {
          runs--;
          letGo();
        }
      },
      free: () => {
        if (!wanted) return;
        wanted = false;
        letGo();
      },
    };
  }

  get busy(): boolean {
    return this.#seats.some(({ pending }) => pending.size > 0);
  }

  runs(cpu: number): boolean {
    return (this.#seats[cpu - 1]?.pending.size ?? 0) > 0;
  }

  idle(): Promise<void> {
    if (!this.busy) return Promise.resolve();
    return new Promise((resolve) => this.#waitingForIdle.push(resolve));
  }

  ended(): Promise<void> {
    return this.#ended;
  }

  async #submit(cpu: number, fd: number, make: (entry: number) => Job): Promise<ProgTestRunResult> {
    const program = this.#machine.fds.expect(fd, ProgObject, 'program');
    return this.#run<'test_run'>(cpu, program, make(program.parts.executable.entry));
  }

  #checked(cpu: number): number {
    if (Number.isInteger(cpu) && cpu >= 0 && cpu < this.count) return cpu;
    throw new BpfError('ENXIO', `there is no CPU ${cpu}`, {
      hint: `there are CPUs 0 to ${this.count - 1}`,
    });
  }

  #run<K extends Job['kind']>(cpu: number, program: ProgObject, job: Job): Promise<JobResults[K]> {
    this.#checked(cpu);
    if (this.#closed) throw new BpfError('ENODEV', 'the kernel has been shut down');
    if (program.fault !== undefined)
      throw new BpfError('EFAULT', `the program faulted before: ${program.fault.message}`);
    if (cpu === 0) return Promise.resolve(runJob(this.#machine, program, job) as JobResults[K]);
    const seat = this.#seats[cpu - 1]!;
    if (seat.error !== undefined) throw lost(seat);
    const id = this.#nextJob++;
    const jitEnabled = this.#machine.sysctls.get('net.core.bpf_jit_enable');
    return new Promise((resolve, reject) => {
      // The program stays until it has run, and with it its maps.
      seat.pending.set(id, { resolve, reject, program: program.get() as ProgObject });
      seat.thread!.busy?.(true);
      seat.thread!.post({ kind: 'job', id, job, jitEnabled });
    });
  }

  #hear(seat: Seat, message: FromThread): void {
    const { memory } = this.#machine;
    switch (message.kind) {
      case 'ready':
        seat.started();
        if (seat.pending.size === 0) seat.thread!.busy?.(false);
        break;
      case 'done':
        this.#finish(seat, message.id, message.result, message.error);
        break;
      case 'oops':
        this.#oops(message);
        break;
      case 'trace': {
        this.#machine.tracePipe.write(message.line);
        const printing = (RUN_STATE.printing + seat.delta) >>> 2;
        Atomics.sub(memory.i32, printing, 1);
        Atomics.notify(memory.i32, printing);
        break;
      }
      case 'wake': {
        const map = this.#machine.mapByAddress(message.map);
        // The map may have gone, and its memory may be another's.
        if (map === undefined) break;
        Atomics.store(memory.u32, (message.map + MAP_HEADER.HDR_WAKING) >>> 2, 0);
        this.#machine.ringWaiters.get(map.id)?.wake();
        break;
      }
      case 'ask':
        this.#ask(seat, message.question);
        break;
      case 'forgotten':
        this.#forgotten(seat, message.entry);
    }
  }

  #finish(seat: Seat, id: number, result: unknown, error: ErrorImage | undefined): void {
    const pending = seat.pending.get(id);
    if (pending === undefined) return;
    seat.pending.delete(id);
    if (seat.pending.size === 0) seat.thread!.busy?.(false);
    this.#count(pending.program, result);
    pending.program.put();
    if (error === undefined) pending.resolve(result as never);
    else pending.reject(errorOf(error, seat.cpu));
    this.#settle();
  }

  #count(program: ProgObject, result: unknown): void {
    if (!this.#machine.keepsStats) return;
    if (typeof result === 'object' && result !== null && 'frames' in result)
      program.runCount += (result as FramesResult).frames;
    else if (typeof result === 'number') program.runCount++;
  }

  /** Something has ended: memory may be free now, and nobody may be running. */
  #settle(): void {
    this.#collect();
    reclaim(this.#machine);
    if (this.busy) return;
    for (const resolve of this.#waitingForIdle.splice(0)) resolve();
  }

  #oops({ progId, message, insn }: Extract<FromThread, { kind: 'oops' }>): void {
    const program = this.#machine.programs.find(progId);
    if (program === undefined || program.fault !== undefined) return;
    const prefix = /^program '[^']*' \(id \d+\) was stopped and detached: /;
    const text = message.replace(prefix, '').split('\n  at ')[0]!;
    oops(this.#machine, program, new ProgramFault(text, { program: program.parts.name, insn }));
  }

  /** Whatever comes of it, the thread is answered: it sleeps. */
  #ask(seat: Seat, question: Question): void {
    let value: number = -ERRNO.EFAULT;
    try {
      value = answer(this.#machine, seat.cpu, question);
    } finally {
      this.#answer(seat, value);
    }
  }

  #answer(seat: Seat, value: number): void {
    const { i32 } = this.#machine.memory;
    i32[(RUN_STATE.answer + seat.delta) >>> 2] = value;
    const answered = (RUN_STATE.answered + seat.delta) >>> 2;
    Atomics.store(i32, answered, 1);
    Atomics.notify(i32, answered);
  }

  #lose(seat: Seat, error: Error): void {
    if (this.#closed || seat.error !== undefined) return;
    seat.error = error;
    seat.failed(lost(seat));
    this.#dropLock(seat);
    for (const { reject, program } of seat.pending.values()) {
      program.put();
      reject(lost(seat));
    }
    seat.pending.clear();
    for (const entry of [...this.#forgetting.keys()]) this.#forgotten(seat, entry);
    this.#settle();
  }

  /** Whoever waits for the lock of a program that will not go on. */
  #dropLock(seat: Seat): void {
    const { u32 } = this.#machine.memory;
    const held = (RUN_STATE.heldLock + seat.delta) >>> 2;
    const lock = Atomics.exchange(u32, held, 0);
    if (lock !== 0) Atomics.store(u32, lock >>> 2, 0);
  }

  // What may go when nobody can be looking at it.

  /**
   * Written back as it is: stores of before, such as that of an empty slot, are seen by every CPU that begins to run afterwards. A mere load
   * may come before them.
   */
  #activity(seat: Seat): number {
    return Atomics.add(this.#machine.memory.u32, (RUN_STATE.activity + seat.delta) >>> 2, 0);
  }

  afterGrace(free: () => void): void {
    const seen = new Map<Seat, number>();
    for (const seat of this.#seats) {
      if (seat.pending.size === 0 || seat.error !== undefined) continue;
      seen.set(seat, this.#activity(seat));
    }
    if (seen.size === 0) {
      free();
      return;
    }
    this.#deferred.push({ free, seen });
    this.#watch();
  }

  /** A CPU has passed when its activity has changed since, or it runs nothing. */
  #collect(): void {
    const due: Deferred[] = [];
    this.#deferred = this.#deferred.filter((one) => {
      for (const [seat, activity] of one.seen)
        if (seat.pending.size === 0 || this.#activity(seat) !== activity) one.seen.delete(seat);
      if (one.seen.size === 0) due.push(one);
      return one.seen.size > 0;
    });
    for (const { free } of due) free();
  }

  #watch(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#collect();
      if (this.#deferred.length > 0 && !this.#closed) this.#watch();
    }, 10);
    (this.#timer as { unref?: () => void }).unref?.();
  }

  // Numbers of programs that have gone.

  readonly #forgetting = new Map<number, { readonly seats: Set<Seat>; readonly reuse: () => void }>();

  #forget(entry: number, reuse: () => void): void {
    this.afterGrace(() => {
      this.#directory.withdraw(entry);
      const seats = new Set(this.#seats.filter(({ error }) => error === undefined));
      if (seats.size === 0 || this.#closed) {
        reuse();
        return;
      }
      this.#forgetting.set(entry, { seats, reuse });
      for (const seat of seats) seat.thread!.post({ kind: 'forget', entry });
    });
  }

  #forgotten(seat: Seat, entry: number): void {
    const waiting = this.#forgetting.get(entry);
    if (waiting === undefined) return;
    waiting.seats.delete(seat);
    if (waiting.seats.size > 0) return;
    this.#forgetting.delete(entry);
    waiting.reuse();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    const ends = this.#seats.map(({ thread }) => thread?.terminate());
    // One that cannot be ended has ended.
    void Promise.allSettled(ends).then(() => this.#allEnded());
    for (const seat of this.#seats) {
      seat.failed(new BpfError('ENODEV', 'the kernel has been shut down'));
      for (const { reject } of seat.pending.values())
        reject(new BpfError('ENODEV', 'the kernel has been shut down'));
      seat.pending.clear();
    }
    for (const resolve of this.#waitingForIdle.splice(0)) resolve();
    for (const { free } of this.#deferred.splice(0)) free();
  }
}

function lost({ cpu, error }: Seat): BpfError {
  return new BpfError('EIO', `the thread of CPU ${cpu} has ended: ${error?.message ?? 'unknown'}`, {
    cause: error,
  });
}

function errorOf({ code, message, hint }: ErrorImage, cpu: number): Error {
  if (code === undefined) return new Error(`on CPU ${cpu}: ${message}`);
  return new BpfError(code as ErrnoName, message, hint === undefined ? {} : { hint });
}
