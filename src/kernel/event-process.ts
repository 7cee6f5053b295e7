/** What an event does to the clock and the process table before and after the programs that it hits, on whichever CPU these run. */
import type { Btf } from '../btf/index.ts';
import { ownKernelBtf } from '../compiler/headers/own-types.ts';
import type { KernelEvent } from '../contracts/events.ts';
import type { Machine } from './machine.ts';
import type { Process } from './processes.ts';

/** Types that objects of events are laid out by. */
export const eventTypes = (machine: Machine): Btf => machine.kernelBtf ?? ownKernelBtf();

/** The process that is current while the event's programs run. */
export function enterEvent(machine: Machine, event: KernelEvent): Process {
  const { processes } = machine;
  if (event.time !== undefined) machine.clock.advanceTo(event.time);
  const process = processes.mention(event.process);
  switch (event.kind) {
    case 'syscall_enter':
      // The arguments of the call before have been looked at by now.
      process.clearUserMemory();
      break;
    case 'fork':
      processes.fork(process, event.child);
      break;
    case 'exit':
      process.exitCode = event.exitCode ?? 0;
      break;
    case 'exec':
      // The new program has a memory of its own.
      process.clearUserMemory();
      processes.mention({ pid: process.pid, comm: event.comm });
      break;
    default:
      break;
  }
  return process;
}

export function leaveEvent(machine: Machine, event: KernelEvent): void {
  if (event.kind === 'exit') machine.processes.remove(event.process.pid);
}
