/**
 * One run of a tool: the kernel that it runs on, its programs (compiled when it starts), where events come from and when it ends. On the host
 * events come as they happen, until Ctrl-C or the end of the time asked for; on the embedded kernel from a recording, whose own clock
 * intervals go by.
 */
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import {
  BPF,
  BpfError,
  BpfObject,
  type BtfValue,
  builtinHeader,
  compile,
  formatDiagnostics,
  formatValue,
  type Kernel,
  type KernelEvent,
  RingBufferReader,
} from '../tsbpf.ts';
import { clockTime, isoTime, jsonLine, type Sink } from './output.ts';
import type { Recording } from './recording.ts';

/** Events that a program sent, and what waits for them. */
interface Source {
  /** Hands over what is there: how many. */
  consume(): number;
  wait(signal: AbortSignal): Promise<void>;
  close(): void;
}

export interface RunOptions {
  /** Seconds between two calls of `onInterval`. */
  readonly interval?: number | undefined;
  /** Intervals, after which the run ends. */
  readonly count?: number | undefined;
  /** Seconds, after which the run ends; where `--duration` was not given. */
  readonly duration?: number | undefined;
  /** Also called at the end, unless that came with the last interval. */
  readonly onInterval?: () => void;
}

export interface SessionOptions {
  readonly tool: string;
  readonly kernel: Kernel;
  readonly recording: Recording | undefined;
  readonly json: boolean;
  /** Seconds, after which the run ends. */
  readonly duration: number | undefined;
  readonly stdout: Sink;
  readonly stderr: Sink;
  /** Ends the run: Ctrl-C. */
  readonly signal: AbortSignal;
  /** Called when programs are attached and events are awaited. */
  readonly onReady?: () => void;
  /** The recording that the tool wants, as a command. */
  readonly record: string;
  /** Print the programs instead of running them. */
  readonly showPrograms: boolean;
}

/** Thrown where `--ebpf` has printed the program. */
export class Shown extends Error {}

/** Events of a recording between two looks at Ctrl-C. */
const STEP = 512;
/** Pages of a perf ring of each CPU. */
const PERF_PAGES = 64;
const LONGEST_WAIT = 1000;

export class Session {
  readonly kernel: Kernel;
  readonly recording: Recording | undefined;
  readonly json: boolean;
  /** Events that programs could not hand over. */
  lost = 0;
  readonly #options: SessionOptions;
  readonly #sources: Source[] = [];
  readonly #closing: (() => void)[] = [];
  readonly #epoch: bigint;
  /** Time of the recording that the run is at. */
  #reached = 0n;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.kernel = options.kernel;
    this.recording = options.recording;
    this.json = options.json;
    const live = BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint();
    this.#epoch = options.recording === undefined ? live : (options.recording.epoch ?? 0n);
  }

  get embedded(): boolean {
    return this.recording !== undefined;
  }

  // What is printed ---------------------------------------------------------------------------------------------------

  /** A line of the table; nothing where the output is JSON. */
  text(line: string): void {
    if (!this.json) this.#options.stdout.write(`${line}\n`);
  }
  /** An object of its own line; nothing where the output is text. */
  object(value: object): void {
    if (this.json) this.#options.stdout.write(jsonLine(value));
  }
  note(line: string): void {
    this.#options.stderr.write(`${this.#options.tool}: ${line}\n`);
  }

  /** `13:05:07` of a time that a program took with bpf_ktime_get_ns. */
  clock(ktime: bigint | number): string {
    return clockTime(this.#epoch + BigInt(ktime));
  }
  iso(ktime: bigint | number): string {
    return isoTime(this.#epoch + BigInt(ktime));
  }

  /** A time as programs take it. */
  now(): bigint {
    return this.recording === undefined ? process.hrtime.bigint() : this.#reached;
  }

  /** Text of a file of the machine that is looked at; none where that is a recording. */
  file(path: string): string | undefined {
    const bytes = this.kernel.files?.read(path) ?? null;
    return bytes === null ? undefined : new TextDecoder().decode(bytes);
  }

  /** What ends the tool with a message. */
  failure(code: 'ENODEV' | 'ENOENT' | 'EINVAL', message: string, hint?: string): BpfError {
    return new BpfError(code, message, hint === undefined ? {} : { hint });
  }

  // What is needed ----------------------------------------------------------------------------------------------------

  /** Throws where the kernel, or the recording, has none of these tracepoints (`category/name`). */
  require(...tracepoints: readonly string[]): void {
    const missing = this.#options.showPrograms ? [] : tracepoints.filter((name) => !this.has(name));
    if (missing.length === 0) return;
    const names = missing.join(', ');
    if (this.recording === undefined)
      throw new BpfError('ENOENT', `this kernel has no tracepoint ${names}`, {
        hint: 'what its configuration leaves out is not below /sys/kernel/tracing/events',
      });
    throw new BpfError('ENOENT', `the recording (${this.recording.kind}) has no events of ${names}`, {
      hint: `make one with: ${this.#options.record}`,
    });
  }

  /** Throws where a recording has the events, but not what the tool shows of them: `lacks` says what that is. */
  requireStrace(lacks: string): void {
    if (this.recording === undefined || this.recording.kind === 'strace') return;
    throw new BpfError('ENOENT', `the recording (${this.recording.kind}) does not tell ${lacks}`, {
      hint: `make one with: ${this.#options.record}`,
    });
  }

  has(tracepoint: string): boolean {
    if (this.recording !== undefined) return this.recording.has(tracepoint);
    return (this.kernel.files?.readTracing(`events/${tracepoint}/id`) ?? null) !== null;
  }

  /** Whether functions of the kernel can be probed: not by a recording, and not where kprobes are configured out. */
  hasKprobes(): boolean {
    return (this.kernel.files?.readTracing('kprobe_events') ?? null) !== null;
  }

  // Programs ----------------------------------------------------------------------------------------------------------

  /** A program in BCC's C; `defines` are its `-D`. */
  bcc(text: string, defines: Readonly<Record<string, string | number | true | undefined>> = {}): BPF {
    this.#show(text);
    const cflags = Object.entries(defines).flatMap(([name, value]) =>
      value === undefined ? [] : `-D${name}=${value === true ? 1 : value}`,
    );
    const formats = this.recording?.formats;
    const b = new BPF({
      kernel: this.kernel,
      text,
      cflags,
      ...(formats === undefined ? {} : { tracepointFormats: formats }),
    });
    this.#closing.push(() => b.cleanup());
    return b;
  }

  /** A program of `progs/NAME.bpf.c`, opened: set its constants, then `load` it. */
  open(name: string): BpfObject {
    const path = fileURLToPath(new URL(`../progs/${name}.bpf.c`, import.meta.url));
    const text = readFileSync(path, 'utf8');
    this.#show(text);
    const result = compile({ files: { read: readIfThere }, main: path, text, options: { builtinHeader } });
    if (result.object === null)
      throw new BpfError('EINVAL', formatDiagnostics(result.sources, result.diagnostics));
    const object = BpfObject.open(result.object, { name });
    this.#closing.push(() => object.close());
    return object;
  }

  #show(text: string): void {
    if (!this.#options.showPrograms) return;
    this.#options.stdout.write(text.trimStart());
    throw new Shown();
  }

  // Events ------------------------------------------------------------------------------------------------------------

  /** Events of a BCC table (BPF_PERF_OUTPUT), as the struct that the program submits. */
  perfEvents<Event>(b: BPF, table: string, callback: (event: Event) => void): void {
    const reader = b.get(table).openPerfBuffer((event) => callback(event as Event), {
      pageCount: PERF_PAGES,
      onLost: (count) => {
        this.lost += Number(count);
      },
    });
    this.#sources.push({
      consume: () => b.perfBufferConsume(),
      wait: (signal) => reader.wait(signal),
      close: () => {},
    });
  }

  /** Records of a ring buffer, as a struct of the object. Programs count those that found no room in a variable `lost`. */
  ringEvents<Event>(
    object: BpfObject,
    map: string,
    struct: string,
    callback: (event: Event, bytes: Uint8Array) => void,
  ): void {
    const { btf } = object.spec;
    const id = btf?.find(struct, 'struct');
    if (btf === undefined || id === undefined)
      throw new BpfError('ENOENT', `the program has no struct ${struct}`);
    const size = btf.sizeOf(id);
    const reader = new RingBufferReader(this.kernel, object.findMap(map).fd);
    this.#sources.push({
      consume: () => {
        const records = reader.consume();
        for (const bytes of records)
          callback(formatValue(btf, id, bytes.subarray(0, size)) as BtfValue as Event, bytes);
        return records.length;
      },
      wait: (signal) => reader.wait(signal),
      close: () => {
        this.lost += Number(object.globals.lost ?? 0);
        reader.close();
      },
    });
  }

  // The run -----------------------------------------------------------------------------------------------------------

  /** Comes back at the end: of the recording, of the time, of the intervals, or at Ctrl-C. */
  async run(options: RunOptions = {}): Promise<void> {
    this.#options.onReady?.();
    try {
      const counted =
        this.recording === undefined
          ? await this.#live(options)
          : await this.#replay(this.recording, options);
      this.#consume();
      if (!counted) options.onInterval?.();
    } finally {
      for (const source of this.#sources.splice(0)) source.close();
    }
    for (const note of this.recording?.notes ?? []) this.note(note);
  }

  /** Events that a program could not count or hand over. */
  addLost(count: number): void {
    this.lost += count;
  }

  /** Says what was lost; once, at the end. */
  tellLost(): void {
    if (this.lost === 0) return;
    this.note(`${this.lost} events were lost: there was no room for them`);
    this.object({ lost: this.lost });
  }

  close(): void {
    for (const close of this.#closing.splice(0).reverse()) close();
  }

  #consume(): number {
    return this.#sources.reduce((count, source) => count + source.consume(), 0);
  }

  /** True: the last interval has ended. */
  async #live({ interval, count, onInterval, duration: most }: RunOptions): Promise<boolean> {
    const { signal } = this.#options;
    const duration = this.#options.duration ?? most;
    const start = process.hrtime.bigint();
    const since = (): number => Number(process.hrtime.bigint() - start) / 1e9;
    const end = duration ?? Number.POSITIVE_INFINITY;
    let ticks = 0;
    while (!signal.aborted) {
      const tick = interval === undefined ? Number.POSITIVE_INFINITY : (ticks + 1) * interval;
      const left = Math.min(tick, end) - since();
      if (left > 0) {
        // However many events there are, Ctrl-C and timers have their turn.
        if (this.#consume() > 0) await new Promise((resolve) => setImmediate(resolve));
        else await this.#pause(Math.min(left * 1000, LONGEST_WAIT));
        continue;
      }
      this.#consume();
      if (since() >= tick) {
        ticks++;
        onInterval?.();
        if (count !== undefined && ticks >= count) return true;
      }
      if (since() >= end) return false;
    }
    return false;
  }

  /** Until there may be something to read, the time is over, or Ctrl-C. */
  async #pause(milliseconds: number): Promise<void> {
    const woken = new AbortController();
    const wake = (): void => woken.abort();
    this.#options.signal.addEventListener('abort', wake);
    const timer = setTimeout(wake, milliseconds);
    try {
      const waits = this.#sources.map((source) => source.wait(woken.signal));
      const aborted = new Promise<void>((resolve) => {
        if (woken.signal.aborted) resolve();
        woken.signal.addEventListener('abort', () => resolve());
      });
      await Promise.race([...waits, aborted]);
    } finally {
      clearTimeout(timer);
      this.#options.signal.removeEventListener('abort', wake);
      wake();
    }
  }

  async #replay(
    recording: Recording,
    { interval, count, onInterval, duration: most }: RunOptions,
  ): Promise<boolean> {
    const { signal } = this.#options;
    const duration = this.#options.duration ?? most;
    const machine = this.kernel.simulator!;
    const epoch = recording.epoch ?? 0n;
    const seconds = (value: number): bigint => BigInt(Math.round(value * 1e9));
    const step = interval === undefined ? undefined : seconds(interval);
    let start: bigint | undefined;
    let ticks = 0;
    let done = 0;
    let counted = false;
    /** False: the run ends before an event at that time. */
    const reach = (time: bigint): boolean => {
      if (start === undefined) {
        start = time;
        machine.setTime(time, epoch + time);
      }
      const last = duration === undefined ? time : start + seconds(duration);
      const until = time < last ? time : last;
      while (step !== undefined && step > 0n && until >= start + step * BigInt(ticks + 1)) {
        this.#reached = start + step * BigInt(ticks + 1);
        machine.setTime(this.#reached);
        ticks++;
        onInterval?.();
        counted = count !== undefined && ticks >= count;
        if (counted) return false;
      }
      this.#reached = until;
      return time <= last;
    };
    const after = async (): Promise<void> => {
      this.#consume();
      if (++done % STEP === 0) await new Promise((resolve) => setImmediate(resolve));
    };
    for (const event of recording.events as readonly KernelEvent[]) {
      if (signal.aborted || !reach(event.time)) return counted;
      machine.fire(event);
      await after();
    }
    const ifindex = recording.packets.length === 0 ? 0 : machine.addInterface('eth0');
    for (const { time, data } of recording.packets) {
      if (signal.aborted || !reach(time)) return counted;
      machine.setTime(time);
      machine.receive({ ifindex, data });
      await after();
    }
    const faults = machine.oopses();
    if (faults.length > 0) throw new BpfError('EFAULT', faults.map(({ message }) => message).join('\n'));
    return counted;
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
