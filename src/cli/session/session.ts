/** One `run`: an object in a fresh kernel, its programs attached, input fed to them, output read, everything counted. */
import type { Kernel } from '../../contracts/kernel.ts';
import type { ProgramObserver } from '../../contracts/observe.ts';
import { RecordingFull } from '../../debug/index.ts';
import { openSourceOrObject } from '../compiler/source-or-object.ts';
import type { CliEnv } from '../environment.ts';
import { UsageError } from '../errors.ts';
import {
  type EngineName,
  type LoadedObject,
  type LoadRequest,
  loadInto,
  openKernel,
  type ProgramReport,
} from '../load.ts';
import type { Output } from '../output.ts';
import { type Assignment, assign } from '../values.ts';
import { attachAll, type Placement, tailCalled } from './attach.ts';
import { feedInBulk } from './bulk-packets.ts';
import { RecordDecoder } from './decode.ts';
import { runLive } from './live.ts';
import { OutputReader, type ProgramOutput } from './output.ts';
import { Pace } from './pace.ts';
import { feedPackets, type PacketCounts, PcapWriter, type Results } from './packets.ts';
import type { EventCounts, Recording } from './replay.ts';
import { canRestrict, restricted } from './restrict.ts';
import type { Scope, ScopeRequest } from './scope.ts';
import { testRunAll } from './test-runs.ts';

export interface SessionOptions {
  readonly file: string;
  /** Flags of the compiler, where `file` is C. */
  readonly cflags?: string;
  readonly pcap?: string;
  readonly write?: string;
  readonly replay?: string;
  readonly engine?: EngineName;
  readonly sysctl?: ReadonlyMap<string, number>;
  readonly log: number;
  readonly program: readonly string[];
  /** Maps that will be shown. */
  readonly maps: readonly string[];
  /** Name of the interface; on the host one of the machine. */
  readonly interface?: string;
  /** Default: the embedded kernel. */
  readonly kernel?: LoadRequest['kernel'];
  readonly onChosen?: LoadRequest['onChosen'];
  /** Whom tracing programs on the host kernel see. */
  readonly scope?: ScopeRequest;
  /** Standard output is one document. */
  readonly json?: boolean;
  readonly set: readonly Assignment[];
  readonly type?: string;
  readonly progType?: string;
  /** The kernel to relocate and verify for. */
  readonly target?: Pick<LoadRequest, 'kernelBtf' | 'kconfig'>;
  readonly repeat: number;
  readonly duration?: number;
  readonly cpus: number;
  /** Told what the verifier knew at each instruction. */
  readonly onAnnotations?: LoadRequest['onAnnotations'];
  /** Watches the programs; the embedded kernel only. */
  readonly observer?: ProgramObserver;
  /** Packet or context for programs without input. */
  readonly data?: Uint8Array;
}

export interface ProgramSummary {
  readonly report: ProgramReport;
  readonly placement: Placement;
  readonly results: ReadonlyMap<string, number>;
}

export interface SessionSummary {
  readonly loaded: LoadedObject;
  readonly programs: readonly ProgramSummary[];
  readonly packets: PacketCounts;
  readonly events: EventCounts;
  readonly records: readonly { map: string; delivered: number; lost: bigint }[];
  readonly oopses: readonly string[];
  /** Milliseconds that feeding the input took. */
  readonly elapsed: number;
}

/** Who is told what happens, while it happens. */
export interface SessionListener {
  /** Programs were refused: nothing is run. */
  rejected(loaded: LoadedObject): void;
  /** The verifier's log, where one was asked for. */
  log(report: ProgramReport): void;
  output(output: ProgramOutput): void;
  note(text: string): void;
}

/** Undefined where programs were refused. The caller closes `loaded`. */
export async function runSession(
  env: CliEnv,
  out: Output,
  options: SessionOptions,
  listener: SessionListener,
): Promise<SessionSummary | undefined> {
  const object = await openSourceOrObject(options.file, out, options.cflags);
  const held = tailCalled(object, options.set);
  choosePrograms(object, options.program, held);
  const decoder = new RecordDecoder(object.spec.btf, options.type);
  // Read before anything is loaded: a bad recording is said at once.
  const recording =
    options.replay === undefined ? undefined : (await import('./replay.ts')).readRecording(options.replay);
  const oopses: string[] = [];
  if (options.cpus > MOST_THREADS && options.pcap !== undefined)
    listener.note(
      `packets go through one thread: ${options.cpus} CPUs are more than ${MOST_THREADS}, the most that are threads`,
    );
  const { kernel, chosen } = await openKernel(env, {
    // Each CPU of the recording has its values of per-CPU maps.
    cpus: Math.max(options.cpus, recording?.cpus ?? 1),
    threads: wantsThreads(options),
    onOops: (message) => oopses.push(message),
    ...(options.kernel === undefined ? {} : { kernel: options.kernel }),
    ...(options.onChosen === undefined ? {} : { onChosen: options.onChosen }),
    ...(options.engine === undefined ? {} : { engine: options.engine }),
    ...(options.sysctl === undefined ? {} : { sysctl: options.sysctl }),
    ...options.target,
  });
  if (options.observer !== undefined) kernel.observe?.(options.observer);
  const scope = chosen === 'host' ? await scopeFor(kernel, object, options) : undefined;
  let loaded: LoadedObject | undefined;
  try {
    const filter = scope?.filter;
    loaded = loadInto(filter === undefined ? kernel : restricted(kernel, filter), chosen, object, {
      strict: false,
      ...(options.onAnnotations === undefined ? {} : { onAnnotations: options.onAnnotations }),
      logLevel: options.log,
      ...(options.progType === undefined ? {} : { type: options.progType }),
      ...options.target,
    });
    for (const report of loaded.reports) listener.log(report);
    if (loaded.reports.some(({ error }) => error !== undefined)) {
      listener.rejected(loaded);
      loaded.close();
      return undefined;
    }
    // Said now, not after the input.
    for (const name of options.maps) object.findMap(name);
    for (const assignment of options.set) assign(object, assignment);
    const feeder = new Feeder(env, out, options, loaded, { decoder, listener, recording, held, scope });
    const elapsed = await feeder.run();
    return { ...feeder.summary(), oopses, elapsed };
  } catch (error) {
    if (loaded === undefined) kernel.shutdown();
    else loaded.close();
    throw error;
  } finally {
    await scope?.close();
  }
}

/** More threads would only wait for one another: the others are room in per-CPU maps. */
const MOST_THREADS = 32;

/** Packets are what several CPUs can share; who watches programs, or has them interpreted, sees one. */
function wantsThreads({ cpus, pcap, write, observer, engine, onAnnotations }: SessionOptions): boolean {
  const watched = observer !== undefined || onAnnotations !== undefined || engine === 'interp';
  return pcap !== undefined && write === undefined && !watched && cpus > 1 && cpus <= MOST_THREADS;
}

/** Programs that would see every process of the machine only do so where that was said. Shuts the kernel down where it was not. */
async function scopeFor(
  kernel: Kernel,
  object: LoadedObject['object'],
  options: SessionOptions,
): Promise<Scope> {
  try {
    if (options.replay !== undefined)
      throw new UsageError('recordings are played to the embedded kernel', 'leave out --kernel host');
    if (options.write !== undefined)
      throw new UsageError('test runs let no packets pass: --write is for the embedded kernel');
    const sees = object.programs.find(
      ({ autoload, spec }) => autoload && canRestrict(spec.progType ?? options.progType),
    );
    const { scope = sees === undefined || options.pcap !== undefined ? { kind: 'all' } : undefined } =
      options;
    if (scope !== undefined) return (await import('./scope.ts')).openScope(scope);
    throw new UsageError(
      `'${sees?.name}' would see all processes of this machine`,
      'choose: -- COMMAND ARGS…, --pid N, or --all',
    );
  } catch (error) {
    kernel.shutdown();
    throw error;
  }
}

/** Named programs, and those that they may tail-call; without names what the object says. */
function choosePrograms(
  object: LoadedObject['object'],
  names: readonly string[],
  held: ReadonlyMap<string, string>,
): void {
  if (names.length === 0) {
    if (object.programs.length === 0) throw new UsageError(`'${object.spec.name}' has no programs`);
    return;
  }
  const wanted = new Set(names.map((name) => object.findProgram(name).name));
  for (const program of object.programs)
    program.autoload = wanted.has(program.name) || held.has(program.name);
}

interface FeederParts {
  readonly decoder: RecordDecoder;
  readonly listener: SessionListener;
  readonly recording: Recording | undefined;
  readonly held: ReadonlyMap<string, string>;
  /** Of the host kernel. */
  readonly scope: Scope | undefined;
}

/** The interface of an embedded kernel. */
const INTERFACE = 'eth0';

class Feeder {
  readonly #options: SessionOptions;
  readonly #loaded: LoadedObject;
  readonly #parts: FeederParts;
  readonly #out: Output;
  readonly #env: CliEnv;
  readonly #kernel: Kernel;
  readonly #reader: OutputReader;
  #placements: readonly Placement[] = [];
  readonly #results: Results = new Map();
  readonly #packets: PacketCounts = { packets: 0, skipped: 0, written: 0 };
  readonly #events: EventCounts = { events: 0, skipped: 0, runs: 0 };

  constructor(env: CliEnv, out: Output, options: SessionOptions, loaded: LoadedObject, parts: FeederParts) {
    this.#env = env;
    this.#out = out;
    this.#options = options;
    this.#loaded = loaded;
    this.#parts = parts;
    this.#kernel = loaded.kernel;
    this.#kernel.enableStats({ type: 0 });
    this.#reader = new OutputReader(loaded.kernel, loaded.object, parts.decoder, parts.listener.output);
  }

  /** Some programs wait for events or packets of the machine, not for input that is given. */
  get #live(): boolean {
    return (
      this.#parts.scope !== undefined && this.#options.pcap === undefined && this.#options.data === undefined
    );
  }

  #attach(): void {
    const { scope, held, recording } = this.#parts;
    const { pcap, data, progType } = this.#options;
    const given = pcap !== undefined || data !== undefined;
    this.#placements = attachAll(this.#kernel, this.#loaded.object, {
      interface: this.#options.interface ?? INTERFACE,
      named: new Set(this.#options.program),
      held,
      sampled: recording?.sampled,
      ...(progType === undefined ? {} : { type: progType }),
      ...(scope === undefined ? {} : { live: { interface: this.#options.interface, scope, packets: given } }),
    });
    for (const placement of this.#placements) this.#results.set(placement, new Map());
  }

  /** Milliseconds that it took. */
  async run(): Promise<number> {
    const { pcap, replay: log, duration } = this.#options;
    const noun = pcap !== undefined ? 'packet' : log !== undefined ? 'event' : 'run';
    const pace = new Pace(this.#out, noun, { seconds: duration });
    const release = this.#env.onInterrupt(() => {
      pace.stopped = true;
    });
    const start = performance.now();
    try {
      if (this.#live) await this.#runLive();
      else this.#attach();
      if (this.#live) pace.stopped = true;
      else if (pcap === undefined && log === undefined) this.#testRuns();
      else await this.#feed(pace);
    } catch (error) {
      // What is recorded of the runs is what was wanted of them.
      if (!(error instanceof RecordingFull)) throw error;
    } finally {
      release();
      pace.finish();
      this.#reader.poll();
    }
    const elapsed = performance.now() - start;
    this.#remarks();
    return elapsed;
  }

  async #runLive(): Promise<void> {
    const { listener, scope } = this.#parts;
    await runLive({
      env: this.#env,
      reader: this.#reader,
      scope: scope!,
      duration: this.#options.duration,
      json: this.#options.json === true,
      note: listener.note,
      attach: () => {
        this.#attach();
        if (this.#placements.every(({ place }) => place === 'none')) {
          const why = this.#placements.map(({ program, what }) => `'${program.name}': ${what}`).join('; ');
          throw new UsageError('no program is attached to anything', why);
        }
      },
    });
  }

  summary(): Omit<SessionSummary, 'oopses' | 'elapsed'> {
    const programs = this.#placements.map((placement) => ({
      placement,
      results: this.#results.get(placement)!,
      report: this.#loaded.reports.find(({ program }) => program === placement.program)!,
    }));
    const records = this.#reader.counts();
    return { loaded: this.#loaded, programs, packets: this.#packets, events: this.#events, records };
  }

  async #feed(pace: Pace): Promise<void> {
    const { pcap, write, repeat, duration, interface: name = INTERFACE } = this.#options;
    const after = () => this.#reader.poll();
    const writer = write === undefined ? undefined : new PcapWriter(write);
    const ifindex = this.#kernel.simulator?.addInterface(name) ?? 0;
    const rounds = duration === undefined ? repeat : Number.POSITIVE_INFINITY;
    try {
      for (let round = 0; round < rounds && !pace.stopped; round++) {
        const before = pace.done;
        if (this.#parts.recording !== undefined) {
          const { replay } = await import('./replay.ts');
          await replay(this.#kernel, this.#parts.recording, this.#events, { pace, after });
        }
        if (pcap !== undefined) {
          const feed = { kernel: this.#kernel, placements: this.#placements, results: this.#results };
          const packets = { ...feed, ifindex, pace, after, hasReaders: this.#reader.counts().length > 0 };
          const inBulk = writer === undefined && (await feedInBulk(packets, pcap, this.#packets));
          if (!inBulk) await feedPackets(packets, pcap, this.#packets, writer);
        }
        // Input without anything in it is not repeated for ever.
        if (pace.done === before) break;
      }
    } finally {
      await writer?.close();
    }
  }

  #testRuns(): void {
    testRunAll(this.#placements, this.#results, {
      ...(this.#options.data === undefined ? {} : { data: this.#options.data }),
      repeat: this.#options.repeat,
      note: this.#parts.listener.note,
    });
  }

  #remarks(): void {
    const { note } = this.#parts.listener;
    const { held } = this.#parts;
    for (const { program, place, what } of this.#placements)
      if (place === 'none' && !held.has(program.name)) note(`'${program.name}' is not attached: ${what}`);
    for (const text of this.#parts.recording?.notes ?? []) note(text);
    if (this.#packets.skipped > 0)
      note(`${this.#packets.skipped} packets were left out: their link type has no Ethernet form`);
    const sees = (places: readonly Placement['place'][]) =>
      this.#placements.some(({ place }) => places.includes(place));
    if (this.#options.pcap !== undefined && !sees(['interface', 'socket', 'packet']))
      note('no program of this object sees packets; events come from --replay');
    if (this.#options.replay !== undefined && !sees(['event']))
      note('no program of this object waits for events; packets come from --pcap');
  }
}
