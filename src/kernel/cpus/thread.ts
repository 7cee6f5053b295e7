/**
 * The thread of a CPU other than 0: a machine of its own on the kernel's memory, without descriptors and commands. It runs what it is sent;
 * programs are made from their images when they are first needed. What a program asks that only the kernel's thread can do is sent there: what
 * it prints and whom it wakes as a message, samples of perf events with an answer that the thread sleeps for.
 */
import type { CpuPort } from '../../contracts/cpus.ts';
import type { BpfMap, SpecialField } from '../../contracts/maps.ts';
import type { HelperEnv } from '../../contracts/runtime.ts';
import { attachMap, MAP_HEADER } from '../../maps/index.ts';
import { GuestMemory, RUN_STATE } from '../../memory/index.ts';
import { BpfError } from '../../util/errors.ts';
import { Callbacks } from '../engine-tables.ts';
import { Machine } from '../machine.ts';
import { Bindings } from './bindings.ts';
import { ProgramDirectory } from './directory.ts';
import { runJob } from './jobs.ts';
import type { ErrorImage, FromThread, Job, ToThread, Welcome } from './protocol.ts';
import type { Question } from './questions.ts';
import { remoteArena, remoteAsync } from './remote.ts';

/** Lines on their way before the thread waits. */
const MOST_LINES = 4096;

/** Serves one CPU on a thread's channel: what the entry file of a thread calls, and all it does. */
export function serveCpu(port: CpuPort): void {
  let served: ServedCpu | undefined;
  port.listen((message) => {
    const said = message as ToThread;
    if (said.kind === 'welcome') {
      served = new ServedCpu(port, said);
      served.post({ kind: 'ready' });
    } else served?.hear(said);
  });
}

class ServedCpu {
  readonly #port: CpuPort;
  readonly #memory: GuestMemory;
  readonly #machine: Machine;
  readonly #bindings: Bindings;
  /** Maps that no program names: inner ones. */
  readonly #maps = new Map<number, BpfMap>();

  constructor(port: CpuPort, welcome: Welcome) {
    this.#port = port;
    this.#memory = new GuestMemory({}, { wasm: welcome.memory, cpuDelta: welcome.cpuDelta });
    const callbacks = new Callbacks();
    this.#bindings = new Bindings(new ProgramDirectory(this.#memory, welcome.directory), callbacks);
    this.#machine = new Machine(
      {
        possibleCpus: welcome.possibleCpus,
        randomSeed: welcome.randomSeed,
        release: welcome.release,
        ...(welcome.budget === undefined ? {} : { budget: welcome.budget }),
        onOops: ({ error, message, progId }) => {
          const program = this.#machine.programs.find(progId)!;
          const insn = 'insn' in error ? Number(error.insn) : -1;
          this.post({ kind: 'oops', progId: this.#bindings.idOf(program), message, insn });
        },
      },
      {
        memory: this.#memory,
        mapsCode: welcome.mapsCode,
        cpu: welcome.cpu,
        clockShift: performance.timeOrigin - welcome.timeOrigin,
        entries: this.#bindings,
        callbacks,
        env: (machine) => this.#env(machine),
      },
    );
    this.#bindings.start(this.#machine);
  }

  post(message: FromThread): void {
    this.#port.post(message);
  }

  hear(message: Exclude<ToThread, Welcome>): void {
    if (message.kind === 'forget') {
      this.#bindings.forget(message.entry);
      this.post({ kind: 'forgotten', entry: message.entry });
      return;
    }
    const { id, job } = message;
    try {
      this.post({ kind: 'done', id, result: this.#run(job) });
    } catch (error) {
      this.post({ kind: 'done', id, error: errorImage(error) });
    }
  }

  #run(job: Job): unknown {
    const activity = (RUN_STATE.activity + this.#memory.cpuDelta) >>> 2;
    Atomics.add(this.#memory.u32, activity, 1);
    try {
      return runJob(this.#machine, this.#bindings.programAt(job.entry), job);
    } finally {
      this.#maps.clear();
      Atomics.add(this.#memory.u32, activity, 1);
    }
  }

  #env(machine: Machine): Partial<HelperEnv> {
    const ask = (question: Question): number => this.#ask(question);
    return {
      mapByAddress: (address) => this.#mapAt(address),
      tracePrint: (text) => this.#print(machine, text),
      ringWakeup: (map) => {
        const waking = (map.layout.address + MAP_HEADER.HDR_WAKING) >>> 2;
        if (Atomics.exchange(this.#memory.u32, waking, 1) === 0)
          this.post({ kind: 'wake', map: map.layout.address });
      },
      perfOutput: (map, ctx, flagsLow, flagsHigh, data, size) => {
        const { start, length } = flagsHigh === 0 ? { start: 0, length: 0 } : machine.packets.ops.data(ctx);
        return ask({
          kind: 'perf_output',
          map: map.layout.address,
          packet: { start, length },
          flags: [flagsLow, flagsHigh],
          data,
          size,
        });
      },
      stackId: (map, stack, flags) => ask({ kind: 'stack_id', map: map.layout.address, stack, flags }),
      // Callbacks that run later run on CPU 0, which watches the clock.
      async: remoteAsync(ask, (token) => this.#bindings.callbackOf(token)),
      changeOwning: (kind, map, words) => ask({ kind, map: map.layout.address, words }),
    };
  }

  #mapAt(address: number): BpfMap | undefined {
    let map = this.#maps.get(address);
    if (map === undefined) {
      map = attachMap(this.#memory, address, { info: { specialFields: this.#owningFields(address) } });
      if (map === undefined) return undefined;
      const ask = (question: Question): number => this.#ask(question);
      if (map.info.type.name === 'arena') map = Object.assign(map, { arena: remoteArena(ask, address) });
      this.#maps.set(address, map);
    }
    return map;
  }

  /** Special fields but the lock, as the header tells them: of which kind they are only CPU 0 needs to know. */
  #owningFields(address: number): SpecialField[] {
    const { u32 } = this.#memory;
    const table = u32[(address + MAP_HEADER.HDR_SPECIAL) >>> 2]! >>> 2;
    const count = table === 0 ? 0 : u32[table]!;
    const lock = u32[(address + MAP_HEADER.HDR_LOCK_OFF) >>> 2]!;
    return Array.from({ length: count }, (_, i): SpecialField => {
      const [offset, size] = u32.subarray(table + 1 + 2 * i);
      return { kind: offset === lock ? 'spin_lock' : 'timer', offset: offset!, size: size! };
    });
  }

  #print(machine: Machine, text: string): void {
    const line = machine.traceLine(text);
    const { i32, cpuDelta } = this.#memory;
    const printing = (RUN_STATE.printing + cpuDelta) >>> 2;
    let waiting = Atomics.add(i32, printing, 1) + 1;
    this.post({ kind: 'trace', line });
    while (waiting > MOST_LINES) {
      Atomics.wait(i32, printing, waiting, 100);
      waiting = Atomics.load(i32, printing);
    }
  }

  /** Sleeps until the kernel's thread has answered. */
  #ask(question: Question): number {
    const { i32, cpuDelta } = this.#memory;
    const answered = (RUN_STATE.answered + cpuDelta) >>> 2;
    Atomics.store(i32, answered, 0);
    this.post({ kind: 'ask', question });
    while (Atomics.load(i32, answered) === 0) Atomics.wait(i32, answered, 0);
    return i32[(RUN_STATE.answer + cpuDelta) >>> 2]!;
  }
}

function errorImage(error: unknown): ErrorImage {
  if (error instanceof BpfError) return { code: error.code, message: error.message, hint: error.hint };
  return {
    code: undefined,
    message: error instanceof Error ? (error.stack ?? error.message) : String(error),
    hint: undefined,
  };
}
