/**
 * The thread of a CPU other than 0: a machine of its own on the kernel's memory, without descriptors and commands. It runs what it is sent;
 * programs are made from their images when they are first needed. What a program asks that only the kernel's thread can do is sent there: what
 * it prints and whom it wakes as a message, samples of perf events with an answer that the thread sleeps for.
 */
import type { CpuPort } from '../../contracts/cpus.ts';
import type { BpfMap } from '../../contracts/maps.ts';
import type { HelperEnv } from '../../contracts/runtime.ts';
import { attachMap, MAP_HEADER } from '../../maps/index.ts';
import { GuestMemory, RUN_STATE } from '../../memory/index.ts';
import { BpfError } from '../../util/errors.ts';
import { Machine } from '../machine.ts';
import { Bindings } from './bindings.ts';
import { ProgramDirectory } from './directory.ts';
import { runJob } from './jobs.ts';
import type { ErrorImage, FromThread, Job, ToThread, Welcome } from './protocol.ts';

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
    this.#bindings = new Bindings(new ProgramDirectory(this.#memory, welcome.directory));
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

  #env(machine: Machine): Partial<HelperEnv> & { async: undefined } {
    return {
      mapByAddress: (address) => this.#mapAt(address),
      tracePrint: (text) => this.#print(machine, text),
      ringWakeup: (map) => {
        const waking = (map.layout.address + MAP_HEADER.HDR_WAKING) >>> 2;
        if (Atomics.exchange(this.#memory.u32, waking, 1) === 0)
          this.post({ kind: 'wake', map: map.layout.address });
      },
      perfOutput: (map, ctx, flagsLow, flagsHigh, data, size) => {
        const packet = flagsHigh === 0 ? { start: 0, length: 0 } : machine.packets.ops.data(ctx);
        return this.#ask([map.layout.address, packet.start, packet.length, flagsLow, flagsHigh, data, size]);
      },
      // Callbacks that run later need somebody who watches the clock.
      async: undefined,
    };
  }

  #mapAt(address: number): BpfMap | undefined {
    let map = this.#maps.get(address);
    if (map === undefined) {
      map = attachMap(this.#memory, address);
      if (map !== undefined) this.#maps.set(address, map);
    }
    return map;
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

  /** bpf_perf_event_output on the kernel's thread. */
  #ask(args: readonly number[]): number {
    const { i32, cpuDelta } = this.#memory;
    const answered = (RUN_STATE.answered + cpuDelta) >>> 2;
    Atomics.store(i32, answered, 0);
    this.post({ kind: 'perf_output', args });
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
