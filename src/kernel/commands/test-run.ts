/** PROG_TEST_RUN: input and output of each program type as its hook defines them; the repeat loop runs inside the engine. */
import type { LiveContext } from '../../contracts/hooks.ts';
import type { PreparedRun, ProgTestRunAttr, ProgTestRunResult } from '../../contracts/kernel.ts';
import { testRunHook } from '../../hooks/index.ts';
import { RUN_STATE } from '../../memory/layout.ts';
import { attachTypeById } from '../../spec/index.ts';
import { BpfError, ProgramFault } from '../../util/errors.ts';
import type { Machine } from '../machine.ts';
import { ProgObject } from '../objects.ts';
import { oops, reclaim } from '../run.ts';

const EMPTY = new Uint8Array();
/** BPF_F_TEST_RUN_ON_CPU */
const ON_CPU = 1;

/** What a run needs; the caller releases the context. */
interface OpenRun {
  readonly program: ProgObject;
  readonly context: LiveContext;
  readonly times: number;
  /** The CPU that was asked for. */
  readonly cpu: number | undefined;
}

function open(machine: Machine, attr: ProgTestRunAttr): OpenRun {
  const program = machine.fds.expect(attr.progFd, ProgObject, 'program');
  const hook = testRunHook(program.type.name);
  if (hook === undefined) throw new BpfError('ENOTSUPP', `${program.type.name} programs have no test run`);
  const attachType = attachTypeById(program.parts.expectedAttachType);
  if (attachType?.noTestRun)
    throw new BpfError('EINVAL', `${program.type.name} programs for ${attachType.name} have no test run`);
  if (program.fault !== undefined) throw faultedBefore(program);
  const repeat = attr.repeat ?? 1;
  if (!Number.isInteger(repeat) || repeat < 0 || repeat > 0xffff_ffff)
    throw new BpfError('EINVAL', `repeat ${repeat} is no 32-bit count`);
  const flags = attr.flags ?? 0;
  const cpu = attr.cpu ?? 0;
  const onCpu = (flags & ON_CPU) !== 0;
  if (onCpu && cpu >= machine.possibleCpus) throw new BpfError('ENXIO', `there is no CPU ${cpu}`);
  const context = hook(
    {
      data: attr.dataIn ?? EMPTY,
      ctx: attr.ctxIn ?? EMPTY,
      flags,
      cpu: onCpu ? 0 : cpu,
      repeat: attr.repeat ?? 0,
      batchSize: attr.batchSize ?? 0,
    },
    {
      memory: machine.memory,
      packets: machine.packets,
      type: program.type,
      maxCtxOffset: program.parts.maxCtxOffset,
      rxQueues: (ifindex) => (machine.devices.byIndex(ifindex) === undefined ? undefined : 1),
    },
  );
  return { program, context, times: Math.max(1, repeat), cpu: onCpu ? cpu : undefined };
}

function faultedBefore(program: ProgObject): BpfError {
  return new BpfError('EFAULT', `the program faulted before: ${program.fault?.message}`);
}

/** The error of a run that ended by `error`, which has been reported. */
function runError(machine: Machine, program: ProgObject, error: unknown): BpfError {
  if (error instanceof BpfError) return error;
  oops(machine, program, error);
  const errno = error instanceof ProgramFault && error.reason !== 'access' ? 'ETIMEDOUT' : 'EFAULT';
  return new BpfError(errno, `the run faulted: ${(error as Error).message}`, { cause: error });
}

export function progTestRun(machine: Machine, attr: ProgTestRunAttr): ProgTestRunResult {
  const { program, context, times, cpu } = open(machine, attr);
  const outerCpu = machine.cpu;
  if (cpu !== undefined) machine.cpu = cpu;
  const level = machine.level++;
  const outer = machine.running;
  const outerBudget = machine.memory.i32[(RUN_STATE.budget + machine.memory.cpuDelta) >>> 2]!;
  machine.running = program;
  try {
    const start = performance.now();
    const retval = program.parts.executable.runRepeated(context.address, times, level);
    const elapsed = performance.now() - start;
    if (machine.keepsStats) {
      program.runCount += times;
      program.runTimeNs += elapsed * 1e6;
    }
    const dataOut = output(attr.dataSizeOut, context.packet(), 'data');
    const ctxOut = output(attr.ctxSizeOut, context.userContext(), 'context');
    return { retval, duration: Math.round((elapsed * 1e6) / times), dataOut, ctxOut };
  } catch (error) {
    throw runError(machine, program, error);
  } finally {
    machine.level = level;
    machine.cpu = outerCpu;
    machine.running = outer;
    machine.memory.i32[(RUN_STATE.budget + machine.memory.cpuDelta) >>> 2] = outerBudget;
    reclaim(machine);
    context.release();
  }
}

/**
 * One program with its context, ready to run from JavaScript again and again (contract `PreparedRun`). Invariant: a run makes no object
 * and looks nothing up; what is rare is done elsewhere.
 */
class KernelPreparedRun implements PreparedRun {
  readonly #machine: Machine;
  readonly #attr: ProgTestRunAttr;
  readonly #program: ProgObject;
  readonly #cpu: number | undefined;
  #context: LiveContext;
  #address: number;
  #closed = false;
  /** No run may be started as it is: it is closed, or the program is on a CPU of its own. */
  #special: boolean;

  constructor(machine: Machine, attr: ProgTestRunAttr) {
    this.#machine = machine;
    this.#attr = attr;
    const { program, context, cpu } = open(machine, attr);
    this.#program = program;
    this.#context = context;
    this.#address = context.address;
    this.#cpu = cpu;
    this.#special = cpu !== undefined;
    program.get();
  }

  run(): number {
    const machine = this.#machine;
    const program = this.#program;
    if (this.#special || machine.level !== 0 || machine.keepsStats || program.fault !== undefined)
      return this.#runSpecially();
    machine.level = 1;
    machine.running = program;
    try {
      return program.parts.executable.run(this.#address, 0);
    } catch (error) {
      throw this.#failed(error, 0);
    } finally {
      machine.level = 0;
      machine.running = undefined;
    }
  }

  /** Inside of another run, on another CPU, with statistics. */
  #runSpecially(): number {
    if (this.#closed) throw new BpfError('EBADF', 'the prepared run is closed');
    const machine = this.#machine;
    const program = this.#program;
    if (program.fault !== undefined) throw faultedBefore(program);
    const outerCpu = machine.cpu;
    const outer = machine.running;
    const outerBudget = machine.memory.i32[(RUN_STATE.budget + machine.memory.cpuDelta) >>> 2]!;
    if (this.#cpu !== undefined) machine.cpu = this.#cpu;
    const level = machine.level++;
    machine.running = program;
    const start = performance.now();
    try {
      return program.parts.executable.run(this.#address, level);
    } catch (error) {
      throw this.#failed(error, level);
    } finally {
      if (machine.keepsStats) {
        program.runCount++;
        program.runTimeNs += (performance.now() - start) * 1e6;
      }
      machine.level = level;
      machine.cpu = outerCpu;
      machine.running = outer;
      machine.memory.i32[(RUN_STATE.budget + machine.memory.cpuDelta) >>> 2] = outerBudget;
    }
  }

  #failed(error: unknown, level: number): BpfError {
    const failure = runError(this.#machine, this.#program, error);
    this.#machine.level = level;
    reclaim(this.#machine);
    return failure;
  }

  reset(dataIn?: Uint8Array): void {
    if (this.#closed) throw new BpfError('EBADF', 'the prepared run is closed');
    const { context } = open(this.#machine, dataIn === undefined ? this.#attr : { ...this.#attr, dataIn });
    this.#context.release();
    this.#context = context;
    this.#address = context.address;
  }

  dataOut(): Uint8Array {
    return this.#closed ? EMPTY : this.#context.packet();
  }

  ctxOut(): Uint8Array {
    return this.#closed ? EMPTY : this.#context.userContext();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#special = true;
    this.#context.release();
    this.#program.put();
  }
}

export function prepareRun(machine: Machine, attr: ProgTestRunAttr): PreparedRun {
  return new KernelPreparedRun(machine, { ...attr, dataIn: attr.dataIn?.slice() ?? EMPTY });
}

/** Room for 0 bytes is no wish for output. */
function output(room: number | undefined, out: Uint8Array, what: string): Uint8Array {
  if (room === 0) return EMPTY;
  if (room !== undefined && room < out.length) {
    throw new BpfError(
      'ENOSPC',
      `the ${what} has ${out.length} bytes after the run; there is room for ${room}`,
    );
  }
  return out;
}
