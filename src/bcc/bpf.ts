/**
 * The front end that BCC's users know: a C program as text, its functions attached to events, its tables as objects. Names are those of
 * BCC's Python in JavaScript's spelling (docs/bcc.md has the table). Maps are made at once; a function is loaded when it is
 * first attached or asked for, as the type of program that the place wants. Functions whose names say where they
 * belong (`kprobe__…`, `TRACEPOINT_PROBE` …) are attached at once.
 */
import type { Btf } from '../btf/index.ts';
import type { Fd, Kernel, TraceLine } from '../contracts/kernel.ts';
import {
  type AttachKind,
  type AttachOptions,
  BpfLink,
  BpfObject,
  type BpfProgram,
  Symbolizer,
} from '../libbpf/index.ts';
import { type ObjectSpec, type ProgramSpec, parseObject } from '../object/index.ts';
import { attachTypeByName, SECTIONS, sectionFor } from '../spec/index.ts';
import { fromUtf8 } from '../util/bytes.ts';
import { BpfError } from '../util/errors.ts';
import { type BccSource, compileBcc } from './compile.ts';
import { fixSyscallFunction, kernelFunctions, syscallFunction, tracepoints } from './names.ts';
import { type Poller, Table, type TableOwner } from './table.ts';

export interface BpfOptions {
  /** The program; or `srcFile`, a path that the kernel's machine has. */
  readonly text?: string;
  readonly srcFile?: string;
  /** Where it runs: `new EmbeddedKernel()`, or what `openKernel` gives. */
  readonly kernel: Kernel;
  /** `-DNAME=1`, `-I DIR` … */
  readonly cflags?: readonly string[];
  /** Types of the kernel, where it shows none itself. */
  readonly kernelBtf?: Btf;
  /** Format files of tracepoints by `category/name`, where there is no tracefs. */
  readonly tracepointFormats?: Readonly<Record<string, string>>;
  /** Where tables and traces are printed. */
  readonly write?: (text: string) => void;
  /** Gets the compiler's warnings. */
  readonly onDiagnostics?: (text: string) => void;
  /** False: functions are not attached by their names. */
  readonly autoAttach?: boolean;
}

/** A loaded function. */
export interface LoadedFunction {
  readonly name: string;
  readonly fd: Fd;
  readonly program: BpfProgram;
}

export interface KprobeOptions {
  /** Function of the kernel, with `+offset`; `eventRe`: all that match instead. */
  readonly event?: string;
  readonly eventRe?: RegExp;
  readonly eventOff?: number;
  readonly fnName: string;
}

export interface UprobeOptions {
  /** Program or library: `c`, `bash`, a path. */
  readonly name: string;
  readonly sym?: string;
  /** Offset in the file, instead of a symbol. */
  readonly addr?: bigint;
  readonly symOff?: number;
  readonly fnName: string;
  readonly pid?: number;
}

export interface TracepointOptions {
  /** `category:name` */
  readonly tp?: string;
  readonly tpRe?: RegExp;
  readonly fnName: string;
}

export interface PerfEventOptions {
  /** PERF_TYPE_*, PERF_COUNT_* */
  readonly evType: number;
  readonly evConfig: number | bigint;
  readonly fnName: string;
  readonly samplePeriod?: number | bigint;
  readonly sampleFreq?: number;
  readonly pid?: number;
  readonly cpu?: number;
}

export interface TraceFields {
  readonly task: string;
  readonly pid: number;
  readonly cpu: number;
  readonly flags: string;
  /** Seconds since boot. */
  readonly ts: number;
  readonly msg: string;
}

/** Sections of the kinds of attachment that a function's name may ask for. */
const BY_NAME: ReadonlySet<AttachKind> = new Set([
  'kprobe',
  'kretprobe',
  'tracepoint',
  'raw_tracepoint',
  'trace',
  'lsm',
]);
const SYSCALL_KINDS: ReadonlySet<string> = new Set(['kprobe', 'kretprobe']);
/** Programs with the network's types are called so in BCC's own table. */
const DEFAULT_LICENSE = 'GPL';

interface Attachment {
  readonly key: string;
  readonly link: BpfLink;
}

export class BPF {
  // Types of programs for `loadFunc`.
  static readonly SOCKET_FILTER = 'socket_filter';
  static readonly KPROBE = 'kprobe';
  static readonly SCHED_CLS = 'sched_cls';
  static readonly SCHED_ACT = 'sched_act';
  static readonly TRACEPOINT = 'tracepoint';
  static readonly XDP = 'xdp';
  static readonly PERF_EVENT = 'perf_event';
  static readonly CGROUP_SKB = 'cgroup_skb';
  static readonly CGROUP_SOCK = 'cgroup_sock';
  static readonly LWT_IN = 'lwt_in';
  static readonly LWT_OUT = 'lwt_out';
  static readonly LWT_XMIT = 'lwt_xmit';
  static readonly SOCK_OPS = 'sock_ops';
  static readonly SK_SKB = 'sk_skb';
  static readonly CGROUP_DEVICE = 'cgroup_device';
  static readonly SK_MSG = 'sk_msg';
  static readonly RAW_TRACEPOINT = 'raw_tracepoint';
  static readonly CGROUP_SOCK_ADDR = 'cgroup_sock_addr';
  static readonly TRACING = 'tracing';
  static readonly LSM = 'lsm';
  // Verdicts of XDP.
  static readonly XDP_ABORTED = 0;
  static readonly XDP_DROP = 1;
  static readonly XDP_PASS = 2;
  static readonly XDP_TX = 3;
  static readonly XDP_REDIRECT = 4;

  readonly kernel: Kernel;
  readonly #spec: ObjectSpec;
  readonly #maps: BpfObject;
  readonly #owner: TableOwner;
  readonly #write: (text: string) => void;
  readonly #kernelBtf: Btf | undefined;
  readonly #tables = new Map<string, Table>();
  /** By name and section. */
  readonly #functions = new Map<string, { readonly loaded: LoadedFunction; readonly object: BpfObject }>();
  #attachments: Attachment[] = [];
  readonly #pollers: Poller[] = [];
  readonly #ended = new AbortController();
  #symbols: Symbolizer | undefined;

  /** Compiles, makes the maps, loads and attaches what says where it belongs. Errors: BccCompileError, those of the kernel. */
  constructor(options: BpfOptions) {
    this.kernel = options.kernel;
    this.#write = options.write ?? ((text) => console.log(text.replace(/\n$/, '')));
    const source = sourceOf(options);
    const { object, events } = compileBcc(options.kernel, source);
    const spec = parseObject(object, { name: 'bcc' });
    this.#spec = { ...spec, license: spec.license === '' ? DEFAULT_LICENSE : spec.license };
    this.#kernelBtf = options.kernelBtf;
    this.#maps = new BpfObject({ ...this.#spec, programs: [] });
    this.#maps.load(this.kernel, this.#loadOptions);
    this.#owner = {
      kernel: this.kernel,
      btf: spec.btf,
      eventType: (table) => events.get(table),
      programFd: (name) => this.function(name).fd,
      addPoller: (poller) => {
        this.#pollers.push(poller);
      },
      write: this.#write,
    };
    if (options.autoAttach === false) return;
    try {
      for (const program of spec.programs) this.#attachByName(program);
    } catch (error) {
      this.cleanup();
      throw error;
    }
  }

  /** The same, for sources that have to be read or kernels that have to be opened first. */
  static async create(
    options: Omit<BpfOptions, 'kernel'> & { readonly kernel: Kernel | Promise<Kernel> },
  ): Promise<BPF> {
    return new BPF({ ...options, kernel: await options.kernel });
  }

  get #loadOptions(): { kernelBtf?: Btf } {
    return this.#kernelBtf === undefined ? {} : { kernelBtf: this.#kernelBtf };
  }

  // Tables ----------------------------------------------------------------------------------------------------------

  /** Errors: ENOENT. */
  getTable(name: string): Table {
    let table = this.#tables.get(name);
    if (table === undefined) {
      table = new Table(this.#maps.findMap(name), this.#owner);
      this.#tables.set(name, table);
    }
    return table;
  }
  /** As `getTable`; Python writes `b["name"]`. */
  get(name: string): Table {
    return this.getTable(name);
  }
  get tables(): readonly string[] {
    return this.#maps.maps.map(({ name }) => name).filter((name) => !name.includes('.'));
  }

  // Functions -------------------------------------------------------------------------------------------------------

  /** Names of the program's functions. */
  get functions(): readonly string[] {
    return this.#spec.programs.map(({ name }) => name);
  }

  /** Loads a function as a program of that type (`BPF.XDP`), once. Errors: ENOENT, VerifierError. */
  loadFunc(name: string, type: string): LoadedFunction {
    const row =
      SECTIONS.find((one) => one.progType === type && one.attachType === undefined) ??
      SECTIONS.find((one) => one.progType === type);
    if (row === undefined) throw new BpfError('EINVAL', `there is no type of program '${type}'`);
    return this.#load(name, row.name);
  }

  /** All functions that are not loaded yet, as one type. */
  loadFuncs(type: string): LoadedFunction[] {
    const loaded = new Set([...this.#functions.values()].map((one) => one.loaded.name));
    return this.functions.filter((name) => !loaded.has(name)).map((name) => this.loadFunc(name, type));
  }

  /** A function that is loaded already. Errors: ENOENT. */
  function(name: string): LoadedFunction {
    for (const { loaded } of this.#functions.values()) if (loaded.name === name) return loaded;
    throw new BpfError('ENOENT', `function '${name}' is not loaded`, { hint: 'loadFunc does that' });
  }

  /** Instructions of a function, as the compiler made them. */
  dumpFunc(name: string): ProgramSpec['insns'] {
    return this.#find(name).insns;
  }

  #find(name: string): ProgramSpec {
    const spec = this.#spec.programs.find((one) => one.name === name);
    if (spec !== undefined) return spec;
    const names = this.functions.join(', ');
    throw new BpfError('ENOENT', `the program has no function '${name}'`, {
      hint: names === '' ? 'it has no functions' : `it has ${names}`,
    });
  }

  #load(name: string, section: string): LoadedFunction {
    const key = `${name} ${section}`;
    const known = this.#functions.get(key);
    if (known !== undefined) return known.loaded;
    const match = sectionFor(section);
    if (match === null) throw new BpfError('EINVAL', `'${section}' is no kind of program`);
    const { row, extra } = match;
    const spec: ProgramSpec = {
      ...this.#find(name),
      section,
      sectionRow: row,
      progType: row.progType,
      attachType: row.attachType,
      sleepable: row.sleepable === true,
      attachTo: extra === '' ? undefined : extra,
    };
    const object = new BpfObject({ ...this.#spec, programs: [spec] });
    for (const map of this.#maps.maps) object.mapSettings(map.name).reuse(map);
    object.load(this.kernel, this.#loadOptions);
    const program = object.findProgram(name);
    const loaded = { name, fd: program.fd, program };
    this.#functions.set(key, { loaded, object });
    return loaded;
  }

  // Attaching -------------------------------------------------------------------------------------------------------

  #attachByName(spec: ProgramSpec): void {
    const kind = spec.sectionRow?.attach;
    if (kind === undefined || !BY_NAME.has(kind) || spec.attachTo === undefined) return;
    const [head = ''] = spec.section.split('/');
    const target = SYSCALL_KINDS.has(head) ? fixSyscallFunction(this.kernel, spec.attachTo) : spec.attachTo;
    this.#attach(`${head} ${target}`, spec.name, `${head}/${target}`);
  }

  #attach(
    key: string,
    fnName: string,
    section: string,
    kind?: AttachKind,
    options: AttachOptions = {},
  ): BpfLink {
    const { program } = this.#load(fnName, section);
    const link = kind === undefined ? program.attach(options) : program.attachAs(kind, options);
    this.#attachments.push({ key, link });
    return link;
  }

  #detach(key: string): void {
    const gone = this.#attachments.filter((one) => one.key === key);
    if (gone.length === 0) throw new BpfError('ENOENT', `nothing is attached to ${key}`);
    this.#attachments = this.#attachments.filter((one) => one.key !== key);
    for (const { link } of gone) link.destroy();
  }

  attachKprobe(options: KprobeOptions): void {
    this.#probe('kprobe', options);
  }
  attachKretprobe(options: KprobeOptions): void {
    this.#probe('kretprobe', options);
  }
  detachKprobe(event: string): void {
    this.#detach(`kprobe ${event}`);
  }
  detachKretprobe(event: string): void {
    this.#detach(`kretprobe ${event}`);
  }

  #probe(kind: 'kprobe' | 'kretprobe', { event, eventRe, eventOff, fnName }: KprobeOptions): void {
    const names = eventRe === undefined ? [event] : kernelFunctions(this.kernel, eventRe);
    for (const name of names) {
      if (name === undefined) throw new BpfError('EINVAL', `a ${kind} needs an event or eventRe`);
      const target = eventOff === undefined || eventOff === 0 ? name : `${name}+${eventOff}`;
      this.#attach(`${kind} ${name}`, fnName, kind, kind, { target });
    }
  }

  attachUprobe(options: UprobeOptions): void {
    this.#userProbe('uprobe', options);
  }
  attachUretprobe(options: UprobeOptions): void {
    this.#userProbe('uretprobe', options);
  }
  detachUprobe(options: Pick<UprobeOptions, 'name' | 'sym' | 'addr'>): void {
    this.#detach(userPlace('uprobe', options));
  }
  detachUretprobe(options: Pick<UprobeOptions, 'name' | 'sym' | 'addr'>): void {
    this.#detach(userPlace('uretprobe', options));
  }

  #userProbe(kind: 'uprobe' | 'uretprobe', options: UprobeOptions): void {
    const { name, sym, addr, symOff, fnName, pid } = options;
    if (sym === undefined && addr === undefined)
      throw new BpfError('EINVAL', `a ${kind} needs a sym or an addr`);
    const place =
      addr === undefined ? `${sym}${symOff === undefined ? '' : `+${symOff}`}` : `0x${addr.toString(16)}`;
    // As the linker names libraries: `c` is libc.so.6, which programs are found before.
    const binary = this.#binary(name, pid);
    const target = `${binary}:${place}`;
    this.#attach(userPlace(kind, options), fnName, kind, kind, {
      target,
      ...(pid === undefined || pid < 0 ? {} : { pid }),
    });
  }

  #binary(name: string, pid: number | undefined): string {
    if (name.includes('/')) return name;
    const files = this.kernel.files;
    const library = /^lib.*\.so/.test(name)
      ? [name]
      : [`lib${name}.so`, `lib${name}.so.6`, `lib${name}.so.1`];
    for (const candidate of [...library, name]) {
      const found = files?.resolveExecutable(candidate, pid) ?? null;
      if (found !== null) return found;
    }
    return name;
  }

  attachTracepoint({ tp, tpRe, fnName }: TracepointOptions): void {
    const names = tpRe === undefined ? [tp] : tracepoints(this.kernel, tpRe);
    for (const name of names) {
      if (name === undefined) throw new BpfError('EINVAL', 'a tracepoint needs a tp or tpRe');
      this.#attach(`tracepoint ${name}`, fnName, 'tracepoint', 'tracepoint', {
        target: name.replace(':', '/'),
      });
    }
  }
  detachTracepoint(tp: string): void {
    this.#detach(`tracepoint ${tp}`);
  }

  attachRawTracepoint({ tp, fnName }: { readonly tp: string; readonly fnName: string }): void {
    this.#attach(`raw_tracepoint ${tp}`, fnName, 'raw_tracepoint', 'raw_tracepoint', { target: tp });
  }
  detachRawTracepoint(tp: string): void {
    this.#detach(`raw_tracepoint ${tp}`);
  }

  /** fentry of a function of the kernel: `KFUNC_PROBE` does it by name. */
  attachKfunc(fnName: string): void {
    this.#attachByName(this.#find(fnName));
  }
  attachKretfunc(fnName: string): void {
    this.#attachByName(this.#find(fnName));
  }
  attachLsm(fnName: string): void {
    this.#attachByName(this.#find(fnName));
  }

  attachXdp(
    dev: string | number,
    fn: string | LoadedFunction,
    options: { readonly mode?: 'skb' | 'native' | 'hw' } = {},
  ): BpfLink {
    const { mode } = options;
    return this.#attach(`xdp ${dev}`, nameOf(fn), 'xdp', 'xdp', {
      interface: dev,
      ...(mode === undefined ? {} : { xdpMode: mode }),
    });
  }
  removeXdp(dev: string | number): void {
    this.#detach(`xdp ${dev}`);
  }

  attachPerfEvent(options: PerfEventOptions): void {
    const { evType, evConfig, fnName, samplePeriod, sampleFreq, pid, cpu } = options;
    this.#attach(`perf_event ${evType} ${evConfig}`, fnName, 'perf_event', 'perf_event', {
      ...(pid === undefined || pid < 0 ? {} : { pid }),
      perfEvent: {
        type: evType,
        config: BigInt(evConfig),
        ...(samplePeriod === undefined || BigInt(samplePeriod) === 0n
          ? {}
          : { period: BigInt(samplePeriod) }),
        ...(sampleFreq === undefined || sampleFreq === 0 ? {} : { frequency: sampleFreq }),
        ...(cpu === undefined || cpu < 0 ? {} : { cpu }),
      },
    });
  }
  detachPerfEvent(evType: number, evConfig: number | bigint): void {
    this.#detach(`perf_event ${evType} ${evConfig}`);
  }

  /** A socket filter on a packet socket of its own: the descriptor of the socket. */
  attachRawSocket(fn: string | LoadedFunction): Fd {
    const { program } = this.#load(nameOf(fn), 'socket');
    const fd = program.attachSocket();
    const link = new BpfLink(this.kernel, undefined, `socket ${program.name}`, {
      onDestroy: () => this.kernel.close(fd),
    });
    this.#attachments.push({ key: `socket ${program.name}`, link });
    return fd;
  }

  /** BPF_PROG_ATTACH: `attachType` as `CGROUP_INET_EGRESS` or by its number. */
  attachFunc(fn: LoadedFunction, targetFd: Fd, attachType: string | number, flags = 0): void {
    this.kernel.progAttach({
      targetFd,
      attachBpfFd: fn.fd,
      attachType: attachTypeId(attachType),
      attachFlags: flags,
    });
  }
  detachFunc(fn: LoadedFunction, targetFd: Fd, attachType: string | number): void {
    this.kernel.progDetach({ targetFd, attachBpfFd: fn.fd, attachType: attachTypeId(attachType) });
  }

  numOpenKprobes(): number {
    return this.#attachments.filter(({ key }) => /^k(ret)?probe /.test(key)).length;
  }
  numOpenUprobes(): number {
    return this.#attachments.filter(({ key }) => /^u(ret)?probe /.test(key)).length;
  }
  numOpenTracepoints(): number {
    return this.#attachments.filter(({ key }) => key.startsWith('tracepoint ')).length;
  }

  // Output ----------------------------------------------------------------------------------------------------------

  /** Waits at most `timeoutMs` (default: until there is something) and hands events over; how many. */
  async perfBufferPoll(timeoutMs?: number): Promise<number> {
    return this.#poll('perf', timeoutMs);
  }
  async ringBufferPoll(timeoutMs?: number): Promise<number> {
    return this.#poll('ring', timeoutMs);
  }
  /** Both kinds of buffers. */
  async poll(timeoutMs?: number): Promise<number> {
    return this.#poll(undefined, timeoutMs);
  }
  /** What is there now, without waiting. */
  perfBufferConsume(): number {
    return this.#consume('perf');
  }
  ringBufferConsume(): number {
    return this.#consume('ring');
  }

  #consume(kind: Poller['kind'] | undefined): number {
    let count = 0;
    for (const poller of this.#pollers)
      if (kind === undefined || poller.kind === kind) count += poller.consume();
    return count;
  }

  async #poll(kind: Poller['kind'] | undefined, timeoutMs: number | undefined): Promise<number> {
    const pollers = this.#pollers.filter((one) => kind === undefined || one.kind === kind);
    if (pollers.length === 0)
      throw new BpfError('EINVAL', 'no buffer is open: openPerfBuffer, openRingBuffer');
    const ended = new AbortController();
    const end = () => ended.abort();
    this.#ended.signal.addEventListener('abort', end);
    const timer = timeoutMs === undefined || timeoutMs < 0 ? undefined : setTimeout(end, timeoutMs);
    try {
      for (;;) {
        const count = this.#consume(kind);
        if (count > 0 || ended.signal.aborted) return count;
        await Promise.race(pollers.map((poller) => poller.wait(ended.signal)));
      }
    } finally {
      if (timer !== undefined) clearTimeout(timer);
      // The waits on the other buffers end, too.
      end();
      this.#ended.signal.removeEventListener('abort', end);
    }
  }

  /** Lines of trace_pipe, those of this kernel's other users included, until `signal` fires or the program is cleaned up. */
  async *traceFields(options: { readonly signal?: AbortSignal } = {}): AsyncGenerator<TraceFields> {
    const ended = new AbortController();
    const end = () => ended.abort();
    if (options.signal?.aborted) return;
    options.signal?.addEventListener('abort', end);
    this.#ended.signal.addEventListener('abort', end);
    try {
      for await (const line of this.kernel.tracePipe({ signal: ended.signal })) yield fieldsOf(line);
    } finally {
      options.signal?.removeEventListener('abort', end);
      this.#ended.signal.removeEventListener('abort', end);
    }
  }

  /** Prints them as they come: `format` with `{0}` task, `{1}` pid, `{2}` cpu, `{3}` flags, `{4}` time, `{5}` message. */
  async tracePrint(options: { readonly format?: string; readonly signal?: AbortSignal } = {}): Promise<void> {
    const { format } = options;
    for await (const line of this.traceFields(options)) this.#write(`${showTrace(line, format)}\n`);
  }

  // Symbols ---------------------------------------------------------------------------------------------------------

  get #symbolizer(): Symbolizer {
    this.#symbols ??= new Symbolizer(this.kernel);
    return this.#symbols;
  }

  /** Name of a function of the kernel; `[unknown]`. */
  ksym(
    address: bigint,
    options: { readonly showModule?: boolean; readonly showOffset?: boolean } = {},
  ): string {
    const { name, offset, object } = this.#symbolizer.kernel(address);
    return shown(
      name,
      offset,
      options.showModule === true ? object || 'kernel' : '',
      options.showOffset === true,
    );
  }
  /** Name of a function of a process; of the kernel where `pid` is -1. */
  sym(
    address: bigint,
    pid: number,
    options: { readonly showModule?: boolean; readonly showOffset?: boolean } = {},
  ): string {
    if (pid < 0) return this.ksym(address, options);
    const { name, offset, object } = this.#symbolizer.user(pid, address);
    const file = object.split('/').pop() ?? '';
    return shown(name, offset, options.showModule === true ? file : '', options.showOffset === true);
  }

  getSyscallFnName(name: string): string {
    return syscallFunction(this.kernel, name);
  }
  getSyscallPrefix(): string {
    return syscallFunction(this.kernel, '');
  }
  fixSyscallFnName(name: string): string {
    return fixSyscallFunction(this.kernel, name);
  }
  getKprobeFunctions(pattern: RegExp): string[] {
    return kernelFunctions(this.kernel, pattern);
  }
  getTracepoints(pattern: RegExp): string[] {
    return tracepoints(this.kernel, pattern);
  }

  // ---------------------------------------------------------------------------------------------------------------

  /** Detaches everything and closes what it holds. */
  cleanup(): void {
    this.#ended.abort();
    for (const poller of this.#pollers.splice(0)) poller.close();
    for (const { link } of this.#attachments.splice(0)) link.destroy();
    for (const { object } of this.#functions.values()) object.close();
    this.#functions.clear();
    this.#tables.clear();
    this.#maps.close();
  }
  close(): void {
    this.cleanup();
  }
  [Symbol.dispose](): void {
    this.cleanup();
  }
}

function sourceOf(options: BpfOptions): BccSource {
  const { srcFile, kernel } = options;
  let { text } = options;
  if (text === undefined) {
    if (srcFile === undefined) throw new BpfError('EINVAL', 'a program needs its text or a srcFile');
    const bytes = kernel.files?.read(srcFile) ?? null;
    if (bytes === null)
      throw new BpfError('ENOENT', `there is no file ${srcFile}`, {
        hint: 'the embedded kernel has no files: give the text',
      });
    text = fromUtf8(bytes);
  }
  return {
    text,
    name: srcFile ?? '/virtual/main.c',
    ...(options.cflags === undefined ? {} : { cflags: options.cflags }),
    ...(options.kernelBtf === undefined ? {} : { kernelBtf: options.kernelBtf }),
    ...(options.tracepointFormats === undefined ? {} : { tracepointFormats: options.tracepointFormats }),
    ...(options.onDiagnostics === undefined ? {} : { onDiagnostics: options.onDiagnostics }),
  };
}

const nameOf = (fn: string | LoadedFunction): string => (typeof fn === 'string' ? fn : fn.name);

function userPlace(kind: string, { name, sym, addr }: Pick<UprobeOptions, 'name' | 'sym' | 'addr'>): string {
  return `${kind} ${name}:${sym ?? `0x${(addr ?? 0n).toString(16)}`}`;
}

function attachTypeId(type: string | number): number {
  if (typeof type === 'number') return type;
  const row = attachTypeByName(type);
  if (row === undefined) throw new BpfError('EINVAL', `there is no attach type '${type}'`);
  return row.id;
}

function fieldsOf({ comm, pid, cpu, flags, timestamp, message }: TraceLine): TraceFields {
  return {
    task: comm,
    pid,
    cpu,
    flags,
    ts: timestamp,
    msg: message.replace(/^bpf_trace_printk: /, '').replace(/\n+$/, ''),
  };
}

function showTrace(line: TraceFields, format: string | undefined): string {
  const { task, pid, cpu, flags, ts, msg } = line;
  if (format === undefined)
    return `${`${task}-${pid}`.padStart(24)} [${String(cpu).padStart(3, '0')}] ${flags} ${ts.toFixed(6)}: ${msg}`;
  const values = [task, String(pid), String(cpu), flags, ts.toFixed(6), msg];
  return format.replace(/\{(\d)\}/g, (all, index: string) => values[Number(index)] ?? all);
}

function shown(name: string | undefined, offset: bigint, module: string, withOffset: boolean): string {
  if (name === undefined) return '[unknown]';
  return `${name}${withOffset ? `+0x${offset.toString(16)}` : ''}${module === '' ? '' : ` [${module}]`}`;
}
