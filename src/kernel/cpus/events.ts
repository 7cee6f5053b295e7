/**
 * Events on CPUs that are threads. The kernel's thread does what the event does to processes and clock and lays out its context; the thread
 * of the CPU runs the programs, with the task as data.
 *
 * Invariant: a CPU handles one event at a time, and a process is on one CPU at a time: contexts, objects and user memory of an event
 * stay as they are until its last program has ended.
 */
import type { KernelEvent } from '../../contracts/events.ts';
import { EventContexts } from '../../hooks/index.ts';
import { enterEvent, eventTypes, leaveEvent } from '../event-process.ts';
import { EventObjects } from '../kernel-objects.ts';
import type { Machine } from '../machine.ts';
import type { ProgObject } from '../objects.ts';
import type { Process } from '../processes.ts';
import type { EventJob } from './protocol.ts';

/** Runs a program on a CPU: what it returned, null where it faulted. */
export type RunOnCpu = (cpu: number, program: ProgObject, job: EventJob) => Promise<number | null>;

interface Place {
  readonly objects: EventObjects;
  readonly contexts: EventContexts;
}

export class CpuEvents {
  readonly #machine: Machine;
  readonly #run: RunOnCpu;
  readonly #places: Place[] = [];
  /** The last event of each CPU and process that has one under way. */
  readonly #last = new Map<string, Promise<void>>();

  constructor(machine: Machine, run: RunOnCpu) {
    this.#machine = machine;
    this.#run = run;
  }

  /** Runs the programs that the event hits, until `after` (told what one has returned) does not want any more. */
  handle(cpu: number, event: KernelEvent, after: (result: number) => boolean): Promise<void> {
    const turns = [`cpu ${cpu}`, `pid ${event.process.pid}`];
    const before = turns.flatMap((turn) => this.#last.get(turn) ?? []);
    const work =
      before.length === 0
        ? this.#handle(cpu, event, after)
        : Promise.all(before).then(() => this.#handle(cpu, event, after));
    // Who comes next waits for the end, whatever it is.
    const end = work.then(
      () => {},
      () => {},
    );
    for (const turn of turns) this.#last.set(turn, end);
    void end.then(() => {
      for (const turn of turns) if (this.#last.get(turn) === end) this.#last.delete(turn);
    });
    return work;
  }

  async #handle(cpu: number, event: KernelEvent, after: (result: number) => boolean): Promise<void> {
    const machine = this.#machine;
    const process = enterEvent(machine, event);
    const { objects, contexts } = this.#place(cpu);
    try {
      const points = machine.points.size > 0 ? contexts.points(event) : [];
      for (let i = 0; i < points.length; i++) {
        for (const { program, cookie, pid, cpu: only } of machine.points.at(points[i]!)) {
          if ((pid ?? process.tgid) !== process.tgid || (only ?? cpu) !== cpu) continue;
          if (program.fault !== undefined) continue;
          const ctx = contexts.context(event, i, process);
          const result = await this.#run(cpu, program, this.#job(program, event, process, ctx, cookie));
          if (result !== null && !after(result)) return;
        }
      }
    } finally {
      objects.release();
      leaveEvent(machine, event);
    }
  }

  #job(
    program: ProgObject,
    { stacks }: KernelEvent,
    process: Process,
    ctx: number,
    cookie: bigint,
  ): EventJob {
    const { clock } = this.#machine;
    const now = clock.monotonic();
    return {
      kind: 'event',
      entry: program.parts.executable.entry,
      ctx,
      cookie,
      task: process.image(),
      ...(stacks === undefined ? {} : { stacks }),
      ...(clock.runs ? {} : { time: { now, epoch: clock.realtime() - now } }),
    };
  }

  #place(cpu: number): Place {
    let place = this.#places[cpu];
    if (place === undefined) {
      const { memory, processes } = this.#machine;
      const objects = new EventObjects(memory, processes, () => eventTypes(this.#machine));
      place = { objects, contexts: new EventContexts(memory, objects) };
      this.#places[cpu] = place;
    }
    return place;
  }
}
