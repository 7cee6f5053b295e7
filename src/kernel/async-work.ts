/**
 * What programs have asked to run later: timers (bpf_timer), workqueues (bpf_wq) and task work, each at a field of a map's value. Timers
 * run when the kernel's clock gets there: in turns as it is moved, or by themselves while it runs freely. Work runs as soon as no
 * program does.
 *
 * Invariant: a callback that is set holds its program; nothing of a map runs once user space has let go of it.
 */

import type { CallbackTable } from '../contracts/engine.ts';
import type { AsyncCalls } from '../contracts/runtime.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { RUN_STATE } from '../memory/layout.ts';
import { ERRNO } from '../util/errno.ts';
import type { KernelClock } from './clock.ts';
import type { MapObject, ProgObject } from './objects.ts';

/** What it needs of the machine around it. */
export interface AsyncHost {
  readonly memory: GuestMemory;
  readonly clock: KernelClock;
  readonly callbacks: CallbackTable;
  mapByAddress(address: number): MapObject | undefined;
  /** Runs in progress, and what runs. */
  level: number;
  running: ProgObject | undefined;
  cookie: bigint;
}

type Kind = Parameters<AsyncCalls['init']>[0];

interface Call {
  readonly kind: Kind;
  readonly field: number;
  readonly map: MapObject;
  readonly realtime: boolean;
  program: ProgObject | undefined;
  token: number;
  /** Monotonic time when it runs; undefined: it does not wait. */
  due: bigint | undefined;
  /** Ties are in order of their start. */
  order: number;
}

/** Callbacks that one step of the clock may run: a timer that starts itself again may not keep it from ever coming to its end. */
const MOST_AT_ONCE = 1 << 20;
const LONGEST_WAIT = 0x7fff_ffff;

export class AsyncWork implements AsyncCalls {
  readonly #machine: AsyncHost;
  /** A callback has faulted; what is thrown here ends the command that let it run. */
  onFault: (program: ProgObject, error: unknown) => void = (_, error) => {
    throw error;
  };
  /** By the offset of the field. */
  readonly #calls = new Map<number, Call>();
  #running: Call | undefined;
  #order = 0;
  #wake: ReturnType<typeof setTimeout> | undefined;

  constructor(machine: AsyncHost) {
    this.#machine = machine;
    machine.clock.beforeAdvance = (to) => this.#runUntil(to, true);
  }

  init(kind: Kind, field: number, address: number, realtime: boolean): number {
    if (this.#calls.has(field)) return -ERRNO.EBUSY;
    const map = this.#machine.mapByAddress(address);
    if (map === undefined) return -ERRNO.EINVAL;
    if (map.users === 0) return -ERRNO.EPERM;
    this.#calls.set(field, {
      kind,
      field,
      map,
      realtime,
      program: undefined,
      token: 0,
      due: undefined,
      order: 0,
    });
    return 0;
  }

  /** `program`: whose callback it is. */
  setCallback(field: number, callback: number, program = this.#machine.running): number {
    const call = this.#calls.get(field);
    if (call === undefined || program === undefined) return -ERRNO.EINVAL;
    if (call.map.users === 0) return -ERRNO.EPERM;
    program.get();
    call.program?.put();
    call.program = program;
    call.token = callback;
    return 0;
  }

  start(field: number, time: bigint, absolute: boolean): number {
    const call = this.#calls.get(field);
    if (call?.program === undefined) return -ERRNO.EINVAL;
    const { clock } = this.#machine;
    const now = clock.monotonic();
    const epoch = call.realtime ? clock.realtime() - now : 0n;
    call.due = absolute ? time - epoch : now + time;
    call.order = this.#order++;
    this.#schedule();
    return 0;
  }

  cancel(field: number): number {
    const call = this.#calls.get(field);
    if (call === undefined) return -ERRNO.EINVAL;
    if (call === this.#running) return -ERRNO.EDEADLK;
    const waited = call.due !== undefined;
    this.#forget(call);
    return waited ? 1 : 0;
  }

  pending(field: number): boolean {
    return this.#calls.get(field)?.due !== undefined;
  }

  #forget(call: Call): void {
    call.due = undefined;
    call.program?.put();
    call.program = undefined;
  }

  /** The value is gone, or nobody may use it any longer. */
  drop(field: number): void {
    const call = this.#calls.get(field);
    if (call === undefined) return;
    this.#calls.delete(field);
    this.#forget(call);
  }

  dropMap(map: MapObject): void {
    for (const call of [...this.#calls.values()]) if (call.map === map) this.drop(call.field);
  }

  dropAll(): void {
    for (const field of [...this.#calls.keys()]) this.drop(field);
    clearTimeout(this.#wake);
    this.#wake = undefined;
  }

  /** Runs what is due, unless a program runs. */
  runDue(): void {
    if (this.#calls.size > 0) this.#runUntil(this.#machine.clock.monotonic(), false);
  }

  #next(until: bigint): Call | undefined {
    let next: Call | undefined;
    for (const call of this.#calls.values()) {
      if (call.due === undefined || call.due > until) continue;
      const earlier =
        next === undefined || call.due < next.due! || (call.due === next.due && call.order < next.order);
      if (earlier) next = call;
    }
    return next;
  }

  /** `step`: the clock goes along. What callbacks start meanwhile runs too, where it is due by then. */
  #runUntil(until: bigint, step: boolean): void {
    if (this.#running !== undefined || this.#machine.level > 0) return;
    const { clock } = this.#machine;
    const last = this.#order;
    for (let ran = 0; ran < MOST_AT_ONCE; ran++) {
      const call = this.#next(until);
      // Without a clock that moves on, what was started by a callback waits for its turn.
      if (call === undefined || (!step && call.order >= last)) break;
      if (step) clock.stepTo(call.due!);
      call.due = undefined;
      this.#run(call);
    }
    this.#schedule();
  }

  #run(call: Call): void {
    const machine = this.#machine;
    const { program, map, field } = call;
    if (program === undefined || program.fault !== undefined) return;
    const { specialFields = [] } = map.map.info;
    const offset = specialFields.find(({ kind }) => kind === call.kind)?.offset ?? 0;
    const value = field - offset;
    const key = this.#keyOf(map, value);
    program.get();
    const outer = { running: machine.running, cookie: machine.cookie };
    this.#running = call;
    machine.running = program;
    machine.cookie = 0n;
    machine.level++;
    const { i32 } = machine.memory;
    i32[RUN_STATE.tailCallCount >>> 2] = 0;
    i32[RUN_STATE.budget >>> 2] = i32[RUN_STATE.budgetLimit >>> 2]!;
    try {
      machine.callbacks.invoke(call.token, [map.map.layout.address, key, value]);
    } catch (error) {
      this.onFault(program, error);
    } finally {
      machine.level--;
      machine.running = outer.running;
      machine.cookie = outer.cookie;
      this.#running = undefined;
      program.put();
    }
  }

  #keyAt = 0;

  /** Offset of the key of a value: of arrays the index, of others what stands in the element. */
  #keyOf({ map }: MapObject, value: number): number {
    const { layout, info } = map;
    const { memory } = this.#machine;
    if (this.#keyAt === 0) this.#keyAt = memory.allocate(8, 'index of a timer');
    if (layout.stride > 0) {
      memory.u32[this.#keyAt >>> 2] = (value - layout.values) / layout.stride;
      return this.#keyAt;
    }
    // All elements have their key in the same place.
    let distance = 0;
    map.walk((key, at) => {
      distance = at - key;
      return true;
    }, this.#keyAt);
    return info.keySize === 0 ? 0 : value - distance;
  }

  /** While the clock runs by itself, somebody has to look at it. */
  #schedule(): void {
    clearTimeout(this.#wake);
    this.#wake = undefined;
    const { clock } = this.#machine;
    if (!clock.runs) return;
    let due: bigint | undefined;
    for (const call of this.#calls.values())
      if (call.due !== undefined && (due === undefined || call.due < due)) due = call.due;
    if (due === undefined) return;
    const milliseconds = Number(due - clock.monotonic()) / 1e6;
    const wake = setTimeout(
      () => this.runDue(),
      Math.min(Math.max(Math.ceil(milliseconds), 0), LONGEST_WAIT),
    );
    // Nobody waits for a program.
    if (typeof wake === 'object' && 'unref' in wake) wake.unref();
    this.#wake = wake;
  }
}
