/** What happens to the machine from outside: packets on interfaces, events of processes, time (contract `Simulator`). */
import type { Btf } from '../btf/index.ts';
import type { CodeCacheStats } from '../contracts/engine.ts';
import type { KernelEvent } from '../contracts/events.ts';
import type { InterleaveAttr, InterleaveResult } from '../contracts/interleave.ts';
import type { FrameBatch, PacketVerdict, Simulator, TraceLine } from '../contracts/kernel.ts';
import type { RegisteredStruct } from '../contracts/simulator.ts';
import { EventContexts } from '../hooks/index.ts';
import { XDP_ACTION } from '../uapi/index.ts';
import { BpfError } from '../util/errors.ts';
import { enterEvent, eventTypes, leaveEvent } from './event-process.ts';
import { type BatchRequest, openFrameBatch } from './frame-batch.ts';
import { interleave } from './interleave/index.ts';
import { EventObjects } from './kernel-objects.ts';
import type { Machine } from './machine.ts';
import type { Process } from './processes.ts';
import { runProgram } from './run.ts';
import { SYSCTLS, type SysctlName } from './sysctls.ts';
import { TaskStructs } from './task-structs.ts';

export class MachineSimulator implements Simulator {
  readonly #machine: Machine;
  readonly #objects: EventObjects;
  readonly #contexts: EventContexts;

  constructor(machine: Machine) {
    this.#machine = machine;
    const types = (): Btf => eventTypes(machine);
    machine.processes.model(new TaskStructs(machine.memory, types), () => machine.clock.monotonic());
    this.#objects = new EventObjects(machine.memory, machine.processes, types);
    this.#contexts = new EventContexts(machine.memory, this.#objects);
  }

  addInterface(name: string): number {
    return this.#machine.devices.add(name).ifindex;
  }

  receive(packet: Parameters<Simulator['receive']>[0]): PacketVerdict {
    const machine = this.#machine;
    const { cpu } = machine;
    machine.cpu = this.#cpuOf(packet.cpu);
    try {
      return this.#receive(packet);
    } finally {
      machine.cpu = cpu;
    }
  }

  #receive(packet: Parameters<Simulator['receive']>[0]): PacketVerdict {
    const machine = this.#machine;
    const device = machine.devices.byIndex(packet.ifindex);
    if (device === undefined) {
      throw new BpfError('ENODEV', `there is no network interface ${packet.ifindex}`);
    }
    let { data } = packet;
    let xdp: number | null = null;
    let redirect: PacketVerdict['redirect'];
    const [attachment] = machine.points.at(device.xdpPoint);
    if (attachment !== undefined) {
      const context = machine.packets.xdp({ data, ifindex: packet.ifindex, rxQueue: packet.rxQueue ?? 0 });
      try {
        machine.redirects.clear();
        // A program that faults drops, as XDP_ABORTED does.
        xdp =
          runProgram(machine, attachment.program, context.address, attachment.cookie) ??
          XDP_ACTION.XDP_ABORTED;
        data = context.packet();
        if (xdp === XDP_ACTION.XDP_REDIRECT) redirect = machine.redirects.take();
      } finally {
        context.release();
      }
      if (xdp !== XDP_ACTION.XDP_PASS)
        return { xdp, data, filters: [], ...(redirect === undefined ? {} : { redirect }) };
    }
    const filters: number[] = [];
    for (const filter of machine.points.at('socket')) {
      const { socket } = filter;
      if (socket?.isFor(packet.ifindex) === false) continue;
      const context = machine.packets.skb({ data, ifindex: packet.ifindex });
      try {
        const wanted = runProgram(machine, filter.program, context.address, filter.cookie) ?? 0;
        const kept = Math.min(wanted, data.length);
        filters.push(kept);
        socket?.deliver(data, kept);
      } finally {
        context.release();
      }
    }
    return { xdp, data, filters };
  }

  receiveFrames(batch: BatchRequest): FrameBatch | null {
    return openFrameBatch(this.#machine, batch);
  }

  interleave(attr: InterleaveAttr): InterleaveResult {
    return interleave(this.#machine, attr);
  }

  fire(event: KernelEvent): number {
    let ran = 0;
    this.#run(event, () => {
      ran++;
      return true;
    });
    return ran;
  }

  ask(event: Extract<KernelEvent, { kind: 'lsm' }>): number {
    let verdict = 0;
    this.#run(event, (result) => {
      verdict = result | 0;
      return verdict === 0;
    });
    return verdict;
  }

  /** Runs the programs that the event hits, until `after` (told what one has returned) does not want any more. */
  #run(event: KernelEvent, after: (result: number) => boolean): void {
    const machine = this.#machine;
    const cpu = this.#cpuOf('cpu' in event ? event.cpu : undefined);
    const process = enterEvent(machine, event);
    const before = { current: machine.current, cpu: machine.cpu, stacks: machine.stacks };
    machine.current = process;
    machine.stacks = event.stacks;
    machine.cpu = cpu;
    try {
      if (machine.points.size > 0) this.#runAll(event, process, after);
    } finally {
      machine.current = before.current;
      machine.cpu = before.cpu;
      machine.stacks = before.stacks;
      this.#objects.release();
    }
    leaveEvent(machine, event);
  }

  /** The number that programs are to see; CPUs that recordings have and this kernel has not are CPU 0. */
  #cpuOf(cpu = 0): number {
    const { cpus, possibleCpus } = this.#machine;
    if (!Number.isInteger(cpu) || cpu < 0 || cpu >= possibleCpus) return 0;
    if (cpus?.runs(cpu))
      throw new BpfError('EBUSY', `CPU ${cpu} runs programs: its values are not to be touched from here`, {
        hint: 'give the event to kernel.cpus, which waits',
      });
    return cpu;
  }

  #runAll(event: KernelEvent, process: Process, after: (result: number) => boolean): void {
    const machine = this.#machine;
    const points = this.#contexts.points(event);
    for (let i = 0; i < points.length; i++) {
      for (const attachment of machine.points.at(points[i])) {
        if (attachment.pid !== undefined && attachment.pid !== process.tgid) continue;
        if (attachment.cpu !== undefined && attachment.cpu !== machine.cpu) continue;
        // Laid out anew for each program: the one before may have written to it.
        const context = this.#contexts.context(event, i, process);
        const result = runProgram(machine, attachment.program, context, attachment.cookie);
        if (result !== null && !after(result)) return;
      }
    }
  }

  structOps(struct?: string): RegisteredStruct[] {
    return [...this.#machine.structOps].filter((one) => struct === undefined || one.struct === struct);
  }

  setTime(monotonic: bigint, realtime?: bigint): void {
    if (realtime !== undefined) this.#machine.clock.setEpoch(realtime - monotonic);
    this.#machine.clock.advanceTo(monotonic);
  }

  drainTrace(): TraceLine[] {
    return this.#machine.tracePipe.drain();
  }

  setSysctl(name: string, value: number): void {
    this.#machine.sysctls.set(name as SysctlName, value);
  }

  sysctl(name: string): number {
    if (!Object.hasOwn(SYSCTLS, name)) throw new BpfError('ENOENT', `there is no sysctl ${name}`);
    return this.#machine.sysctls.get(name as SysctlName);
  }

  codeCache(): CodeCacheStats | null {
    return this.#machine.engines.jit.cacheStats?.() ?? null;
  }

  oopses(): readonly { program: string; message: string }[] {
    return this.#machine.oopses;
  }
}
