/** PROG_TEST_RUN: input and output of each program type as its hook defines them; the repeat loop runs inside the engine. */
import type { ProgTestRunAttr, ProgTestRunResult } from '../../contracts/kernel.ts';
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

export function progTestRun(machine: Machine, attr: ProgTestRunAttr): ProgTestRunResult {
  const program = machine.fds.expect(attr.progFd, ProgObject, 'program');
  const hook = testRunHook(program.type.name);
  if (hook === undefined) throw new BpfError('ENOTSUPP', `${program.type.name} programs have no test run`);
  const attachType = attachTypeById(program.parts.expectedAttachType);
  if (attachType?.noTestRun)
    throw new BpfError('EINVAL', `${program.type.name} programs for ${attachType.name} have no test run`);
  if (program.fault !== undefined)
    throw new BpfError('EFAULT', `the program faulted before: ${program.fault.message}`);
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
  const outerCpu = machine.cpu;
  if (onCpu) machine.cpu = cpu;
  const level = machine.level++;
  const outer = machine.running;
  const outerBudget = machine.memory.i32[RUN_STATE.budget >>> 2]!;
  machine.running = program;
  try {
    const times = Math.max(1, repeat);
    const start = performance.now();
    const retval = program.parts.executable.runRepeated(context.address, times, level);
    const elapsed = performance.now() - start;
    if (machine.sysctls.get('kernel.bpf_stats_enabled') !== 0 || machine.statsUsers > 0) {
      program.runCount += times;
      program.runTimeNs += elapsed * 1e6;
    }
    const dataOut = output(attr.dataSizeOut, context.packet(), 'data');
    const ctxOut = output(attr.ctxSizeOut, context.userContext(), 'context');
    return { retval, duration: Math.round((elapsed * 1e6) / times), dataOut, ctxOut };
  } catch (error) {
    if (error instanceof BpfError) throw error;
    oops(machine, program, error);
    const errno = error instanceof ProgramFault && error.reason === 'budget' ? 'ETIMEDOUT' : 'EFAULT';
    throw new BpfError(errno, `the run faulted: ${(error as Error).message}`, { cause: error });
  } finally {
    machine.level = level;
    machine.cpu = outerCpu;
    machine.running = outer;
    machine.memory.i32[RUN_STATE.budget >>> 2] = outerBudget;
    reclaim(machine);
    context.release();
  }
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
