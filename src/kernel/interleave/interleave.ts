/**
 * The CPUs of one kernel in turns on one thread: each has a stack, a run state and runs to do, and is left between any two instructions
 * when its slice is over. Helpers are single steps, bpf_loop is not. Locks are really waited for. Nothing depends on anything but the
 * seed: time goes by instructions while it lasts.
 */
import type { LiveContext } from '../../contracts/hooks.ts';
import type {
  Deadlock,
  InterleaveAttr,
  InterleavedPlace,
  InterleavedRun,
  InterleavedTurn,
  InterleaveResult,
} from '../../contracts/interleave.ts';
import { testRunHook } from '../../hooks/index.ts';
import { Lane, OUTCOME, type Place } from '../../interpreter/index.ts';
import { RUN_STATE, STACK_BYTES } from '../../memory/layout.ts';
import { BpfError, ProgramFault } from '../../util/errors.ts';
import type { Machine } from '../machine.ts';
import { ProgObject } from '../objects.ts';
import { oops, reclaim } from '../run.ts';
import { describe, placeOf } from './places.ts';
import { RaceDetector } from './races.ts';
import { replayed, type Schedule, ScheduleLog, seeded } from './schedule.ts';

const DEFAULT_LIMIT = 10_000_000;
const NS_PER_INSTRUCTION = 4n;
/** Words of the run state, which each CPU has for itself; the limit of a budget, which is among them, never changes. */
const STATE_WORDS = 32;
const STATE = RUN_STATE.helperResult >>> 2;
/** What bpf_get_prandom_u32 starts from: a schedule repeats without its seed. */
const RANDOM_STATE = 1;
const EMPTY = new Uint8Array();
/** Bytes that R1 points to, where a program type has no test run and no context is given. */
const PLAIN_CONTEXT = 256;

interface Job {
  readonly program: ProgObject;
  readonly run: InterleavedRun;
}

interface Held {
  readonly cpu: number;
  readonly place: Place;
}

class Cpu {
  readonly index: number;
  readonly lane: Lane;
  readonly stack: number;
  /** Its run state while another CPU runs. */
  readonly state = new Int32Array(STATE_WORDS);
  readonly jobs: readonly Job[];
  readonly results: (number | null)[] = [];
  at = 0;
  context: LiveContext | undefined;
  /** The lock that it waits for, 0: none. */
  lock = 0;
  /** The next attempt to take the lock is made although it is held. */
  forced = false;

  constructor(index: number, lane: Lane, stack: number, jobs: readonly Job[]) {
    this.index = index;
    this.lane = lane;
    this.stack = stack;
    this.jobs = jobs;
  }

  get job(): Job | undefined {
    return this.jobs[this.at];
  }
}

/** Errors: EINVAL where the CPUs, the schedule or a program do not fit. What programs do wrong is in the result. */
export function interleave(machine: Machine, attr: InterleaveAttr): InterleaveResult {
  if (attr.cpus.length < 1 || attr.cpus.length > machine.possibleCpus)
    throw new BpfError('EINVAL', `${attr.cpus.length} CPUs of a machine that has ${machine.possibleCpus}`, {
      hint: 'the kernel is made with as many as it may ever need: possibleCpus',
    });
  if (machine.level > 0) throw new BpfError('EBUSY', 'a program is running');
  const slice = attr.slice;
  if (slice !== undefined && !(slice >= 1 && Number.isFinite(slice)))
    throw new BpfError('EINVAL', `a slice of ${slice} instructions`);
  const schedule = attr.schedule === undefined ? seeded(attr.seed ?? 0, slice) : replayed(attr.schedule);
  const jobs = attr.cpus.map((runs) =>
    runs.flatMap((run) => {
      const program = machine.fds.expect(run.progFd, ProgObject, 'program');
      if (program.parts.executable.engine !== 'interpreter')
        throw new BpfError(
          'EINVAL',
          `program '${program.parts.name}' is compiled: it cannot be left between instructions`,
          {
            hint: 'load it while the sysctl net.core.bpf_jit_enable is 0',
          },
        );
      return Array.from({ length: run.repeat ?? 1 }, (): Job => ({ program, run }));
    }),
  );
  const { rewindAfter } = attr;
  if (rewindAfter === undefined) return new Interleaving(machine, schedule, jobs, attr).run();
  const rewind = remember(machine);
  const result = new Interleaving(machine, schedule, jobs, attr).run();
  rewindAfter();
  rewind();
  return result;
}

/**
 * What puts the memory back as it is now; what is kept beside it (descriptors, readers) does not change while programs run. Blocks that
 * are new then are left alone: nothing that is put back knows of them.
 */
function remember({ memory, redirects }: Machine): () => void {
  const bytes = memory.u8.slice();
  const blocks = [...memory.blocks()];
  return () => {
    redirects.clear();
    for (const { start, size } of blocks) {
      if (memory.blockAt(start)?.start !== start)
        throw new BpfError('EOPNOTSUPP', 'the runs have freed memory: it cannot be put back');
      memory.u8.set(bytes.subarray(start, start + size), start);
    }
  };
}

class Interleaving {
  readonly #machine: Machine;
  readonly #schedule: Schedule;
  readonly #cpus: readonly Cpu[];
  readonly #log = new ScheduleLog();
  readonly #limit: number;
  readonly #races: RaceDetector | null;
  readonly #deadlocks: Deadlock[] = [];
  /** Who took each lock last. */
  readonly #held = new Map<number, Held>();
  #instructions = 0;
  readonly #turns: InterleavedTurn[] = [];
  readonly #mostTurns: number;
  /** The CPU whose turn it was last. */
  #last = -1;

  constructor(machine: Machine, schedule: Schedule, jobs: readonly (readonly Job[])[], attr: InterleaveAttr) {
    this.#machine = machine;
    this.#schedule = schedule;
    this.#limit = attr.limit ?? DEFAULT_LIMIT;
    this.#mostTurns = attr.turns ?? 0;
    const { memory } = machine;
    this.#cpus = jobs.map((list, index) => {
      const stack = memory.allocate(STACK_BYTES, `stack of CPU ${index}`);
      const lane = new Lane({
        memory,
        stackBottom: stack,
        level: 0,
        waits: (lock, held, place) => this.#waits(index, lock, held, place),
      });
      return new Cpu(index, lane, stack, list);
    });
    this.#races = attr.races === true ? new RaceDetector(machine, jobs.length) : null;
  }

  run(): InterleaveResult {
    const machine = this.#machine;
    const { memory } = machine;
    const outer = memory.i32.slice(STATE, STATE + STATE_WORDS);
    const outerCpu = machine.cpu;
    const began = machine.clock.monotonic();
    const random = machine.randomState;
    machine.randomState = RANDOM_STATE;
    machine.clock.follow(() => began + BigInt(this.#instructions) * NS_PER_INSTRUCTION);
    for (const cpu of this.#cpus) cpu.state.set(outer);
    // Programs that helpers run meanwhile nest.
    machine.level = 1;
    try {
      for (;;) {
        const ready = this.#ready();
        if (ready.length === 0) {
          if (this.#cpus.every((cpu) => cpu.job === undefined)) break;
          this.#resolveDeadlock();
          continue;
        }
        const [cpu, instructions] = this.#schedule.next(ready);
        this.#turn(this.#cpus[cpu]!, Math.min(instructions, this.#limit - this.#instructions));
        if (this.#instructions >= this.#limit) {
          this.#stopAll();
          break;
        }
      }
    } finally {
      machine.level = 0;
      machine.running = undefined;
      machine.clock.follow(undefined);
      memory.i32.set(outer, STATE);
      machine.cpu = outerCpu;
      machine.randomState = random;
      for (const cpu of this.#cpus) {
        cpu.context?.release();
        memory.free(cpu.stack);
      }
      reclaim(machine);
    }
    return {
      results: this.#cpus.map((cpu) => cpu.results),
      schedule: this.#log.text,
      instructions: this.#instructions,
      deadlocks: this.#deadlocks,
      races: this.#races?.found ?? [],
      turns: this.#turns,
    };
  }

  /** CPUs that have something to do and wait for no lock that is held. */
  #ready(): number[] {
    const ready: number[] = [];
    for (const cpu of this.#cpus) {
      if (cpu.job === undefined) continue;
      if (cpu.lock === 0 || cpu.forced || this.#machine.memory.view.getUint32(cpu.lock, true) === 0)
        ready.push(cpu.index);
    }
    return ready;
  }

  /** Up to so many instructions of one CPU. */
  #turn(cpu: Cpu, instructions: number): void {
    const machine = this.#machine;
    const { memory } = machine;
    memory.i32.set(cpu.state, STATE);
    machine.cpu = cpu.index;
    let left = instructions;
    cpu.lock = 0;
    try {
      while (left > 0) {
        const { job } = cpu;
        if (job === undefined) break;
        machine.running = job.program;
        if (cpu.context === undefined && !this.#begin(cpu, job)) {
          this.#end(cpu, null);
          continue;
        }
        const outcome = cpu.lane.step(left);
        const ran = left - cpu.lane.left;
        left -= ran;
        this.#instructions += ran;
        this.#log.add(cpu.index, ran);
        if (outcome === OUTCOME.blocked) return;
        if (outcome === OUTCOME.done) this.#end(cpu, cpu.lane.r0);
      }
    } catch (error) {
      if (!(error instanceof ProgramFault)) throw error;
      oops(machine, cpu.job!.program, error);
      this.#instructions += left;
      this.#log.add(cpu.index, left);
      this.#log.cut();
      this.#end(cpu, null);
    } finally {
      cpu.state.set(memory.i32.subarray(STATE, STATE + STATE_WORDS));
      this.#noteTurn(cpu, instructions - left);
    }
  }

  #noteTurn(cpu: Cpu, instructions: number): void {
    if (this.#mostTurns === 0 || instructions === 0) return;
    const goesOn = this.#last === cpu.index;
    this.#last = cpu.index;
    if (!goesOn && this.#turns.length === this.#mostTurns) this.#last = -1;
    else {
      const before = goesOn ? this.#turns.pop()!.instructions : 0;
      const next = cpu.context === undefined ? {} : { next: this.#placeOf(cpu.index, cpu.lane.place) };
      this.#turns.push({ cpu: cpu.index, instructions: before + instructions, ...next });
    }
  }

  /** False: the program has faulted on another CPU. */
  #begin(cpu: Cpu, { program, run }: Job): boolean {
    if (program.fault !== undefined) return false;
    const { i32 } = this.#machine.memory;
    i32[RUN_STATE.tailCallCount >>> 2] = 0;
    i32[RUN_STATE.budget >>> 2] = i32[RUN_STATE.budgetLimit >>> 2]!;
    cpu.context = this.#context(program, run);
    const observer = this.#races?.observer(cpu.index) ?? null;
    cpu.lane.begin(program.parts.executable, cpu.context.address, observer);
    return true;
  }

  #end(cpu: Cpu, result: number | null): void {
    cpu.context?.release();
    cpu.context = undefined;
    cpu.results.push(result);
    cpu.lock = 0;
    cpu.forced = false;
    cpu.at++;
  }

  #context(program: ProgObject, run: InterleavedRun): LiveContext {
    const machine = this.#machine;
    const hook = testRunHook(program.type.name);
    const ctx = run.ctxIn ?? EMPTY;
    if (hook !== undefined)
      return hook(
        { data: run.dataIn ?? EMPTY, ctx, flags: 0, cpu: 0, repeat: 0, batchSize: 0 },
        {
          memory: machine.memory,
          packets: machine.packets,
          type: program.type,
          maxCtxOffset: program.parts.maxCtxOffset,
          rxQueues: (ifindex) => (machine.devices.byIndex(ifindex) === undefined ? undefined : 1),
        },
      );
    const address = machine.memory.allocate(Math.max(PLAIN_CONTEXT, ctx.length), 'context');
    machine.memory.write(address, ctx);
    return {
      address,
      packet: () => EMPTY,
      userContext: () => EMPTY,
      release: () => machine.memory.free(address),
    };
  }

  // Locks.

  /** The CPU is about to take a lock. */
  #waits(index: number, lock: number, held: boolean, place: Place): boolean {
    const cpu = this.#cpus[index]!;
    // A lock that it has itself: the function says so.
    if (held && !cpu.forced && this.#held.get(lock)?.cpu !== index) {
      cpu.lock = lock;
      return true;
    }
    if (!held) this.#held.set(lock, { cpu: index, place });
    cpu.forced = false;
    return false;
  }

  /** All that have something to do wait: where a lock may fail, its taker is told; else the runs in the circle are ended. */
  #resolveDeadlock(): void {
    const circle = this.#circle();
    const first = circle[0]!;
    const recovered = circle.find((cpu) => this.#mayFail(cpu));
    this.#deadlocks.push({
      waits: circle.map((cpu) => {
        const held = this.#held.get(cpu.lock);
        return {
          at: this.#placeOf(cpu.index, cpu.lane.place),
          lock: describe(this.#machine, cpu.lock, 4),
          takenAt: held === undefined ? undefined : this.#placeOf(held.cpu, held.place),
        };
      }),
      recovered: recovered !== undefined,
    });
    if (recovered !== undefined) {
      recovered.forced = true;
      return;
    }
    // The locks would stay taken for ever.
    for (const cpu of circle) this.#machine.memory.view.setUint32(cpu.lock, 0, true);
    this.#end(first, null);
  }

  /** Follows who waits for whom; where nobody is known to have the lock, that CPU alone. */
  #circle(): Cpu[] {
    const path: Cpu[] = [];
    let cpu = this.#cpus.find(({ job }) => job !== undefined)!;
    for (;;) {
      const at = path.indexOf(cpu);
      if (at >= 0) return path.slice(at);
      path.push(cpu);
      const holder = this.#held.get(cpu.lock);
      const next = holder === undefined ? undefined : this.#cpus[holder.cpu];
      if (next?.job === undefined) return [cpu];
      cpu = next;
    }
  }

  /** The function that it calls returns an error where it cannot have the lock. */
  #mayFail(cpu: Cpu): boolean {
    const { executable, insn } = cpu.lane.place;
    const pc = executable.origin.indexOf(insn);
    const call = executable.calls.slice(pc).find((target) => target !== undefined);
    return call?.kind === 'function' && call.callee.result === 's32';
  }

  #stopAll(): void {
    for (const cpu of this.#cpus) while (cpu.job !== undefined) this.#end(cpu, null);
  }

  #placeOf(cpu: number, place: Place): InterleavedPlace {
    return placeOf(this.#machine, cpu, place);
  }
}
