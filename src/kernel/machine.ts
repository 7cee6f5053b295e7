/**
 * The state of one embedded kernel that its commands share: memory, tables of objects, credentials, clocks, attach points.
 * Commands are functions over it, one file a family; `EmbeddedKernel` is the thin face with the methods of the contract.
 */

import type { Btf } from '../btf/index.ts';
import type { BackgroundOptions } from '../contracts/background.ts';
import type { CpuOptions } from '../contracts/cpus.ts';
import type { Engine, EngineEnv, PreparedProgram } from '../contracts/engine.ts';
import type { EventStacks } from '../contracts/events.ts';
import type { TraceLine } from '../contracts/kernel.ts';
import type { KfuncTable } from '../contracts/kfuncs.ts';
import type { BpfMap } from '../contracts/maps.ts';
import type { ProgramObserver } from '../contracts/observe.ts';
import type { HelperEnv, HelperTable, Task } from '../contracts/runtime.ts';
import type { RegisteredStruct } from '../contracts/simulator.ts';
import type { Credentials } from '../contracts/verify.ts';
import { createHelpers, createKfuncTable } from '../helpers/index.ts';
import { PacketContexts } from '../hooks/index.ts';
import { createInterpreter, watch } from '../interpreter/index.ts';
import { type CompileCode, createJit, type JitOptions } from '../jit/index.ts';
import { createMapsModule, type MapsModule } from '../maps/index.ts';
import { GuestMemory, type GuestMemoryOptions, MAX_NESTED_RUNS, RUN_STATE } from '../memory/index.ts';
import { createPacketLoads, type PacketLoads } from '../rewrite/index.ts';
import { type Release, releaseOf } from '../spec/index.ts';
import { BpfError, type SourceLocation } from '../util/errors.ts';
import type { verify } from '../verifier/index.ts';
import { AsyncWork } from './async-work.ts';
import { AttachPoints } from './attach-points.ts';
import { BackgroundThreads } from './background/threads.ts';
import { Bpffs } from './bpffs.ts';
import { KernelClock } from './clock.ts';
import type { CpuSet } from './cpus/hooks.ts';
import { ROOT } from './credentials.ts';
import { Callbacks, ProgramEntries } from './engine-tables.ts';
import type { PerfEventObject } from './events.ts';
import { FdTable, IdTable } from './fd-table.ts';
import type { LinkObject } from './links.ts';
import { NetworkDevices } from './network.ts';
import type { BtfObject, MapObject, ProgObject } from './objects.ts';
import { perfOutput } from './perf-output.ts';
import { ProcessTable } from './processes.ts';
import { Redirects } from './redirect.ts';
import { WaitQueue } from './rings.ts';

import { Sysctls } from './sysctls.ts';
import { TracePipe } from './trace-pipe.ts';

export interface EmbeddedKernelOptions {
  readonly memory?: GuestMemoryOptions;
  /** Who makes the calls (default: root). */
  readonly credentials?: Credentials;
  /** CPUs that per-CPU maps have room for (default: those that there are). Programs run on CPU 0 unless an event says otherwise. */
  readonly possibleCpus?: number;
  /** Threads that verify and compile for `progLoadAsync`. Absent: it does all on the calling thread. */
  readonly background?: BackgroundOptions;
  /** CPUs that run at the same time, each a thread on a memory that all share. Absent: one CPU, and nothing is shared. */
  readonly cpus?: CpuOptions;
  /**
   * Most loop rounds and calls of one run (1 to 2^31 - 1); absent: none are counted. A run that needs more ends with a fault: its
   * program is detached, and what it had reserved is given back.
   */
  readonly budget?: number;
  /**
   * Types of the kernel that programs are verified against. Default: none but the functions that programs may call, with what these
   * take (`ownKernelBtf`); programs that need others are refused.
   */
  readonly kernelBtf?: Btf;
  /** Release of Linux to be, `6.1`; default the newest that the tables know. Errors: EINVAL for text that is none. */
  readonly release?: string;
  /** Seed of bpf_get_prandom_u32, for runs that must repeat; default: from the clock. */
  readonly randomSeed?: number;
  /**
   * Compiles WebAssembly in place of `new WebAssembly.Module`, where the host can choose between its compilers; told how many
   * instructions the program has.
   */
  readonly compileModule?: CompileCode;
  /**
   * In interpreted programs reads of bytes of the stack that nothing was written to are faults, as the verifier has it for those without
   * CAP_PERFMON. Privileged programs may read them: compilers copy padding.
   */
  readonly strictStack?: boolean;
  /** Engines in place of the kernel's own: an interpreter that is watched, a JIT with other limits. */
  readonly engines?: Partial<Readonly<Record<'interpreter' | 'jit', Engine>>>;
  /** Verifier in place of the kernel's own: one that remembers what it has verified. */
  readonly verify?: typeof verify;
  /**
   * 32 bits for the hash of each new map. Absent: always the same hash, so that maps are walked in an order that repeats; give
   * random ones where strangers choose the keys.
   */
  readonly hashSeed?: () => number;
  /**
   * Files of the machine around the kernel, by absolute path: executables that probes are found in, `/proc/PID/maps`, `/proc/kallsyms`,
   * what is below `/sys/kernel/tracing`. Absent: there are none, and `Kernel.files` is absent, too.
   */
  readonly files?: Readonly<Record<string, Uint8Array | string>>;
  /** Called when a program is stopped by a fault; default: one line on the console. */
  readonly onOops?: (oops: Oops) => void;
  /** Gets what was compiled, as text, while net.core.bpf_jit_enable is 2; default: the console. */
  readonly onJitDump?: (text: string) => void;
}

/** What makes a machine one CPU of a kernel that another thread has made: the memory is there already. */
export interface MachineSeat {
  readonly memory: GuestMemory;
  readonly mapsCode: WebAssembly.Module;
  readonly cpu: number;
  /** Milliseconds between the time origins of the two threads. */
  readonly clockShift: number;
  /** What programs ask of the kernel and this thread cannot answer by itself. */
  readonly env: (machine: Machine) => Partial<HelperEnv>;
  readonly entries: ProgramEntries;
  readonly callbacks: Callbacks;
}

/** A run that faulted: a bug of verifier or JIT, contained. */
export interface Oops {
  readonly program: string;
  readonly progId: number;
  /** With the line of C source where the program came with line info. */
  readonly message: string;
  readonly source?: SourceLocation;
  readonly error: Error;
}

/** Clock tick that perf and trace output carry: the process that runs while no event is being handled. */
const INIT_PROCESS = { pid: 1, tgid: 1, uid: 0, gid: 0, comm: 'tsbpf' };

function checkedBudget(budget = 0): number {
  if (!Number.isInteger(budget) || budget < 0 || budget > 0x7fff_ffff)
    throw new BpfError('EINVAL', `a budget of ${budget}: give 1 to 2^31 - 1 loop rounds and calls`);
  return budget;
}

const UNTRACED = { args: 0, returned: false };

/** Fields whose callbacks run later. */
const LATER_FIELDS: ReadonlySet<string> = new Set(['timer', 'workqueue', 'task_work']);

function jitOptions({ compileModule }: EmbeddedKernelOptions): JitOptions {
  return compileModule === undefined ? {} : { compile: compileModule };
}

export class Machine {
  readonly memory: GuestMemory;
  readonly fds = new FdTable();
  readonly maps = new IdTable<MapObject>();
  readonly programs = new IdTable<ProgObject>();
  readonly links = new IdTable<LinkObject>();
  readonly btfs = new IdTable<BtfObject>();
  readonly perfEvents = new IdTable<PerfEventObject>();
  readonly sysctls = new Sysctls();
  readonly bpffs = new Bpffs();
  readonly clock: KernelClock;
  readonly tracePipe = new TracePipe();
  readonly points = new AttachPoints();
  /** What is registered of struct_ops, in that order. */
  readonly structOps = new Set<RegisteredStruct>();
  readonly entries: ProgramEntries;
  readonly callbacks: Callbacks;
  readonly processes: ProcessTable;
  readonly devices = new NetworkDevices();
  readonly packets: PacketContexts;
  readonly mapsModule: MapsModule;
  readonly helpers: HelperTable;
  readonly kfuncs: KfuncTable;
  readonly packetLoads: PacketLoads;
  readonly async: AsyncWork;
  readonly redirects = new Redirects();
  readonly engines: Readonly<Record<'interpreter' | 'jit', Engine>>;
  readonly background: BackgroundThreads | undefined;
  /** The kernel was shut down. */
  closed = false;
  readonly verify: typeof verify | undefined;
  readonly engineEnv: EngineEnv;
  readonly possibleCpus: number;
  /** Programs are loaded with checks of RUN_STATE.budget. */
  readonly budgeted: boolean;
  readonly hashSeed: (() => number) | undefined;
  readonly kernelBtf: Btf | undefined;
  readonly release: Release;
  readonly onOops: (oops: Oops) => void;
  readonly onJitDump: (text: string) => void;
  /** Other CPUs than that of this thread. */
  cpus: CpuSet | undefined;
  /** What `onOops` was told so far. */
  readonly oopses: Oops[] = [];
  /** Readers of BPF ring buffers, by map id. */
  readonly ringWaiters = new Map<number, WaitQueue>();
  credentials: Credentials;
  current: Task;
  /** Of the event that is being handled. */
  stacks: EventStacks | undefined;
  #cpu = 0;
  /** Descriptors of BPF_ENABLE_STATS that are open. */
  statsUsers = 0;
  /** Runs in progress; a run inside a run gets the next stack. */
  level = 0;
  /** Program whose helpers run now, for messages. */
  running: ProgObject | undefined;
  /** The cookie that it was attached with. */
  cookie = 0n;
  /** Watches the runs of programs that are loaded while it is set. */
  observer: ProgramObserver | null = null;
  /** Programs that faulted since the last time no program ran. */
  readonly faulted = new Set<ProgObject>();
  /** Code that has been replaced while programs may have been running in it. */
  readonly retired: PreparedProgram[] = [];
  readonly #byHeader = new Map<number, MapObject>();

  constructor(options: EmbeddedKernelOptions = {}, seat?: MachineSeat) {
    const cpus = options.cpus?.count ?? 1;
    this.memory = seat?.memory ?? new GuestMemory({ ...options.memory, shared: cpus > 1 });
    this.clock = new KernelClock(seat?.clockShift);
    this.callbacks = seat?.callbacks ?? new Callbacks();
    this.entries = seat?.entries ?? new ProgramEntries(this.callbacks);
    this.credentials = options.credentials ?? ROOT;
    this.hashSeed = options.hashSeed;
    this.possibleCpus = options.possibleCpus ?? cpus;
    this.budgeted = options.budget !== undefined;
    this.memory.i32[(RUN_STATE.budgetLimit + this.memory.cpuDelta) >>> 2] = checkedBudget(options.budget);
    this.kernelBtf = options.kernelBtf;
    this.release = releaseOf(options.release);
    this.onOops = options.onOops ?? ((oops) => console.error(`tsbpf: ${oops.message}`));
    this.onJitDump = options.onJitDump ?? ((text) => console.error(text));
    this.randomState = options.randomSeed ?? Date.now();
    this.processes = new ProcessTable(this.memory);
    this.current = this.processes.mention(INIT_PROCESS);
    this.packets = new PacketContexts(this.memory);
    this.packetLoads = createPacketLoads(this.memory, this.packets.ops);
    this.mapsModule = createMapsModule(this.memory, seat?.mapsCode);
    this.engineEnv = { memory: this.memory, entries: this.entries, callbacks: this.callbacks };
    this.verify = options.verify;
    this.background = options.background && new BackgroundThreads(options.background, options.kernelBtf);
    this.engines = {
      interpreter: createInterpreter({ strict: options.strictStack ? 'stack' : true }),
      jit: createJit(jitOptions(options)),
      ...options.engines,
    };
    this.async = new AsyncWork(this);
    const env = { ...this.#helperEnv(), ...seat?.env(this) };
    this.helpers = createHelpers(env, this.mapsModule);
    this.kfuncs = createKfuncTable(env, this.mapsModule);
    if (seat !== undefined) this.cpu = seat.cpu;
  }

  /** Time and number of runs are counted. */
  get keepsStats(): boolean {
    return this.statsUsers > 0 || this.sysctls.statsEnabled;
  }

  /** Number of the CPU that programs run on; per-CPU maps look at the run state. */
  get cpu(): number {
    return this.#cpu;
  }

  set cpu(cpu: number) {
    this.#cpu = cpu;
    this.memory.u32[(RUN_STATE.cpu + this.memory.cpuDelta) >>> 2] = cpu;
  }

  observe(observer: ProgramObserver | null): void {
    this.observer = observer;
    observer?.onMachine?.(this.memory);
    for (const { parts } of this.programs.values()) if (watch(parts.executable, observer)) break;
  }

  mapByAddress(address: number): MapObject | undefined {
    return this.#byHeader.get(address);
  }

  addMap(map: MapObject): void {
    this.maps.set(map.id, map);
    this.#byHeader.set(map.map.layout.address, map);
  }

  userGone(map: MapObject): void {
    this.async.dropMap(map);
  }

  /** Calls `free` when no program can hold what it was given before. */
  afterGrace(free: () => void): void {
    if (this.cpus === undefined) free();
    else this.cpus.afterGrace(free);
  }

  removeMap(map: MapObject): void {
    this.#freeOwned(map);
    this.maps.remove(map.id);
    this.#byHeader.delete(map.map.layout.address);
    this.ringWaiters.delete(map.id);
  }

  /** What a value owns goes: timers that wait, elements of lists and trees, objects that kptrs point to. */
  valueGoes(map: BpfMap, value: number): void {
    for (const field of map.info.specialFields ?? []) {
      if (LATER_FIELDS.has(field.kind)) this.async.drop(value + field.offset);
    }
    this.kfuncs.freeOwned(value, map.info.specialFields ?? []);
  }

  /** What all values own goes with the map. */
  #freeOwned({ map }: MapObject): void {
    if (!this.kfuncs.ownsObjects(map)) return;
    const { values, stride } = map.layout;
    if (values !== 0 && stride !== 0) {
      for (let i = 0; i < map.info.maxEntries; i++) this.valueGoes(map, values + i * stride);
      return;
    }
    const found: number[] = [];
    const key = this.mapsModule.scratch(8);
    map.walk((_key, value) => {
      found.push(value);
      return false;
    }, key);
    for (const value of found) this.valueGoes(map, value);
  }

  ringQueue(mapId: number): WaitQueue {
    let queue = this.ringWaiters.get(mapId);
    if (queue === undefined) {
      queue = new WaitQueue();
      this.ringWaiters.set(mapId, queue);
    }
    return queue;
  }

  /** What the next random bits come from. */
  get randomState(): number {
    return this.memory.i32[(RUN_STATE.random + this.memory.cpuDelta) >>> 2]!;
  }

  set randomState(state: number) {
    this.memory.i32[(RUN_STATE.random + this.memory.cpuDelta) >>> 2] = state | 0;
  }

  /** 32 random bits (splitmix32), the same sequence for the same seed; compiled code takes them itself (`jit/call.ts`). */
  random(): number {
    let z = (this.randomState + 0x9e37_79b9) | 0;
    this.randomState = z;
    z = Math.imul(z ^ (z >>> 16), 0x21f0_aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a_2d97);
    return (z ^ (z >>> 15)) >>> 0;
  }

  #helperEnv(): HelperEnv {
    return {
      memory: this.memory,
      clock: this.clock,
      callbacks: this.callbacks,
      cpu: () => this.cpu,
      possibleCpus: this.possibleCpus,
      random: () => this.random(),
      randomInMemory: true,
      current: () => this.current,
      tracePrint: (text) => this.#trace(text),
      mapByAddress: (address) => this.mapByAddress(address)?.map,
      perfOutput: (map, ctx, flagsLow, flagsHigh, data, size) =>
        perfOutput(this, map, { ctx, flagsLow, flagsHigh, data, size }),
      ringWakeup: (map) => this.ringWaiters.get(map.info.id)?.wake(),
      packets: {
        ...this.packets.ops,
        redirect: (ifindex, low, high) => this.redirects.toDevice(this.running?.runsAs, ifindex, low, high),
        redirectMap: (map, key, flags) => this.redirects.toEntry(map, key, flags),
      },
      attachCookie: () => this.cookie,
      async: this.async,
      run: () => this.cpu * (MAX_NESTED_RUNS + 1) + this.level,
      tracedFunction: () => this.running?.parts.traced ?? UNTRACED,
      valueGoes: (map, value) => this.valueGoes(map, value),
      stack: (user) => (user ? this.stacks?.user : this.stacks?.kernel),
    };
  }

  #trace(text: string): void {
    this.tracePipe.write(this.traceLine(text));
  }

  /** What a program has printed, as a line of trace_pipe. */
  traceLine(text: string): TraceLine {
    return {
      comm: this.current.comm,
      pid: this.current.pid,
      cpu: this.cpu,
      flags: '.....',
      timestamp: Number(this.clock.monotonic()) / 1e9,
      message: `bpf_trace_printk: ${text}`,
    };
  }
}
