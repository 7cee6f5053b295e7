/** PROG_TEST_RUN: input and output of each program type as its hook defines them; the repeat loop runs inside the engine. */
import type { ProgTestRunAttr, ProgTestRunResult } from '../../contracts/kernel.ts';
import { testRunHook } from '../../hooks/index.ts';
import { BpfError } from '../../util/errors.ts';
import type { Machine } from '../machine.ts';
import { ProgObject } from '../objects.ts';
import { oops } from '../run.ts';

const EMPTY = new Uint8Array();

export function progTestRun(machine: Machine, attr: ProgTestRunAttr): ProgTestRunResult {
  const program = machine.fds.expect(attr.progFd, ProgObject, 'program');
  const hook = testRunHook(program.type.name);
  if (hook === undefined) throw new BpfError('ENOTSUPP', `${program.type.name} programs have no test run`);
  if (program.fault !== undefined)
    throw new BpfError('EFAULT', `the program faulted before: ${program.fault.message}`);
  const repeat = attr.repeat ?? 1;
  if (!Number.isInteger(repeat) || repeat < 0 || repeat > 0xffff_ffff)
    throw new BpfError('EINVAL', `repeat ${repeat} is no 32-bit count`);
  if ((attr.cpu ?? 0) !== 0 && attr.cpu! >= machine.possibleCpus)
    throw new BpfError('ENXIO', `there is no CPU ${attr.cpu}`);
  const context = hook(
    { data: attr.dataIn ?? EMPTY, ctx: attr.ctxIn ?? EMPTY, flags: attr.flags ?? 0 },
    { memory: machine.memory, packets: machine.packets, type: program.type },
  );
  const level = machine.level++;
  const outer = machine.running;
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
    const dataOut = context.packet();
    const ctxOut = context.userContext();
    checkRoom(attr.dataSizeOut, dataOut, 'data');
    checkRoom(attr.ctxSizeOut, ctxOut, 'context');
    return { retval, duration: Math.round((elapsed * 1e6) / times), dataOut, ctxOut };
  } catch (error) {
    if (error instanceof BpfError) throw error;
    oops(machine, program, error);
    throw new BpfError('EFAULT', `the run faulted: ${(error as Error).message}`, { cause: error });
  } finally {
    machine.level = level;
    machine.running = outer;
    context.release();
  }
}

function checkRoom(room: number | undefined, out: Uint8Array, what: string): void {
  if (room !== undefined && room < out.length) {
    throw new BpfError(
      'ENOSPC',
      `the ${what} has ${out.length} bytes after the run; there is room for ${room}`,
    );
  }
}
