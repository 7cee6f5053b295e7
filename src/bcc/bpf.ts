/**
 * The front end that BCC's users know: a C program as text, its functions attached to events, its tables as objects. Names are those of
 * BCC's Python in JavaScript's spelling (docs/bcc.md has the table). Maps are made at once; a function is loaded when it is
 * first attached or asked for, as the type of program that the place wants. Functions whose names say where they
 * belong (`kprobe__…`, `TRACEPOINT_PROBE` …) are attached at once.
 */
import { disassemble } from '../asm/index.ts';
import type { Fd, Kernel } from '../contracts/kernel.ts';
import {
  type AttachKind,
  type AttachOptions,
  BpfLink,
  BpfObject,
  type FunctionSymbol,
  type IterOptions,
  iteratorText,
} from '../libbpf/index.ts';
import { type ProgramSpec, parseObject } from '../object/index.ts';
import { BpfError, VerifierError } from '../util/errors.ts';
import { Attachments } from './attachments.ts';
import { compileBcc } from './compile.ts';
import { Constants } from './constants.ts';
import { Debug } from './debug.ts';
import { Features } from './features.ts';
import { Functions } from './functions.ts';
import { fixSyscallFunction, kernelFunctions, syscallFunction, tracepoints } from './names.ts';
import {
  type BpfOptions,
  type KprobeOptions,
  type KretprobeOptions,
  type LoadedFunction,
  type PerfEventOptions,
  sourceOf,
  type TracepointOptions,
  type UprobeOptions,
} from './options.ts';
import { Output, showTrace, type TraceFields } from './output.ts';
import { attachTypeId, nameOf, userPlace, xdpMode } from './places.ts';
import { SharedTables } from './shared.ts';
import { type SymbolOptions, Symbols } from './symbols.ts';
import { Table, type TableOwner } from './table.ts';
import { findBinary, type USDT } from './usdt.ts';

/** Sections of the kinds of attachment that a function's name may ask for. */
const BY_NAME: ReadonlySet<AttachKind> = new Set([
  'kprobe',
  'kretprobe',
  'tracepoint',
  'raw_tracepoint',
  'trace',
  'lsm',
]);
/** A packet that was put together again (GRO). */
const LARGEST_PACKET = 65_535;
/** As BCC's, where nobody says another. */
const DEFAULT_PROBE_LIMIT = 1000;
const SYSCALL_KINDS: ReadonlySet<string> = new Set(['kprobe', 'kretprobe']);

export class BPF extends Constants {
  readonly kernel: Kernel;
  readonly #maps: BpfObject;
  readonly #owner: TableOwner;
  readonly #write: (text: string) => void;
  readonly #tables = new Map<string, Table>();
  readonly #functions: Functions;
  readonly #attachments = new Attachments();
  readonly #output = new Output();
  readonly #symbols: Symbols;
  readonly #features: Features;
  readonly #shared: SharedTables;
  readonly #probeLimit: number;
  readonly #closers: (() => void)[] = [];

  /** Compiles, makes the maps, loads and attaches what says where it belongs. Errors: BccCompileError, those of the kernel. */
  constructor(options: BpfOptions) {
    super();
    const { kernel } = options;
    this.kernel = kernel;
    this.#write = options.write ?? ((text) => console.log(text.replace(/\n$/, '')));
    this.#probeLimit = options.probeLimit ?? DEFAULT_PROBE_LIMIT;
    const writeError = options.writeError ?? ((text) => console.error(text.replace(/\n$/, '')));
    const debug = new Debug(options.debug ?? 0, writeError);
    const { object, events, tables } = compileBcc(kernel, { ...sourceOf(options), ...debug.compiling });
    const spec = parseObject(object, { name: 'bcc' });
    debug.compiled(spec, events);
    const loadOptions = options.kernelBtf === undefined ? {} : { kernelBtf: options.kernelBtf };
    this.#maps = new BpfObject({ ...spec, programs: [] });
    this.#functions = new Functions(kernel, spec, this.#maps, options.kernelBtf, debug.loading);
    this.#symbols = new Symbols(kernel);
    this.#features = new Features(kernel, options.kernelBtf);
    this.#shared = new SharedTables(kernel, spec, tables);
    this.#owner = {
      kernel,
      btf: spec.btf,
      eventType: (table) => events.get(table),
      programFd: (name) => this.function(name).fd,
      addPoller: (poller) => this.#output.add(poller),
      onClose: (action) => {
        this.#closers.push(action);
      },
      write: this.#write,
      writeError,
      lostEvents: (table) => {
        const name = `__bcc_lost_${table}`;
        const section = this.#maps.sections.find((one) => one.has(name));
        return section === undefined ? undefined : BigInt(section.get(name) as number | bigint);
      },
    };
    try {
      this.#shared.adopt(this.#maps);
      this.#maps.load(kernel, loadOptions);
      this.#shared.publish(this.#maps);
      if (options.autoAttach !== false) for (const program of spec.programs) this.#attachByName(program);
      for (const context of options.usdtContexts ?? []) this.attachUsdt(context);
    } catch (error) {
      this.cleanup();
      throw error;
    }
  }

  /** The same, for kernels that have to be opened first. */
  static async create(
    options: Omit<BpfOptions, 'kernel'> & { readonly kernel: Kernel | Promise<Kernel> },
  ): Promise<BPF> {
    return new BPF({ ...options, kernel: await options.kernel });
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
    return this.#maps.maps.map(({ name }) => name).filter((name) => !/[.]|^__bpf_usdt/.test(name));
  }

  // Functions -------------------------------------------------------------------------------------------------------

  /** Names of the program's functions. */
  get functions(): readonly string[] {
    return this.#functions.names;
  }

  /** Loads a function as a program of that type (`BPF.XDP`), once. Errors: ENOENT, VerifierError. */
  loadFunc(name: string, type: string): LoadedFunction {
    return this.#functions.loadAs(name, type);
  }

  /** All functions that are not loaded yet, as one type. */
  loadFuncs(type: string = BPF.KPROBE): LoadedFunction[] {
    return this.#functions.notLoaded.map((name) => this.loadFunc(name, type));
  }

  /** Forgets a function that was loaded; what is attached stays. */
  unloadFunc(name: string): void {
    this.#functions.unload(name);
  }

  /** A function that is loaded already. Errors: ENOENT. */
  function(name: string): LoadedFunction {
    return this.#functions.loaded(name);
  }

  /** Instructions of a function, as the compiler made them. */
  dumpFunc(name: string): ProgramSpec['insns'] {
    return this.#functions.find(name).insns;
  }

  /** The same as text, in the syntax of the kernel's log. */
  disassembleFunc(name: string): string {
    return disassemble(this.dumpFunc(name));
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
    const { program } = this.#functions.load(fnName, section);
    const link = kind === undefined ? program.attach(options) : program.attachAs(kind, options);
    this.#attachments.add(key, fnName, link);
    return link;
  }

  attachKprobe(options: KprobeOptions): void {
    this.#probe('kprobe', options);
  }
  attachKretprobe(options: KretprobeOptions): void {
    this.#probe('kretprobe', options);
  }
  detachKprobe(event: string, fnName?: string): void {
    this.#attachments.detach(`kprobe ${event}`, fnName);
  }
  detachKretprobe(event: string, fnName?: string): void {
    this.#attachments.detach(`kretprobe ${event}`, fnName);
  }

  #probe(
    kind: 'kprobe' | 'kretprobe',
    { event, eventRe, eventOff, fnName, maxactive = 0 }: KprobeOptions & KretprobeOptions,
  ): void {
    const more = maxactive === 0 ? {} : { maxactive };
    if (eventRe !== undefined) {
      const names = kernelFunctions(this.kernel, eventRe);
      this.#checkLimit(names.length, `functions match ${eventRe}`);
      this.#each(names, (name) =>
        this.#attach(`${kind} ${name}`, fnName, kind, kind, { target: name, ...more }),
      );
      return;
    }
    if (event === undefined) throw new BpfError('EINVAL', `a ${kind} needs an event or eventRe`);
    const target = eventOff === undefined || eventOff === 0 ? event : `${event}+${eventOff}`;
    this.#checkLimit(1, `probe of ${event}`);
    this.#attach(`${kind} ${event}`, fnName, kind, kind, { target, ...more });
  }

  /** Of what a pattern means some may refuse probes: that is an error if all do. */
  #each<T>(list: readonly T[], attach: (one: T) => void): void {
    let failure: unknown;
    let attached = 0;
    for (const one of list)
      try {
        attach(one);
        attached++;
      } catch (error) {
        if (!(error instanceof BpfError) || error instanceof VerifierError) throw error;
        failure ??= error;
      }
    if (attached === 0) throw failure;
  }

  #checkLimit(more: number, what: string): void {
    const open = this.numOpenKprobes() + this.numOpenUprobes();
    if (open + more > this.#probeLimit)
      throw new BpfError(
        'E2BIG',
        `${more} ${what}: with the ${open} that are open that is more than ${this.#probeLimit} probes`,
        { hint: 'a narrower pattern, or a larger probeLimit' },
      );
  }

  /** How many probes may be open. */
  getProbeLimit(): number {
    return this.#probeLimit;
  }

  attachUprobe(options: UprobeOptions): void {
    this.#userProbe('uprobe', options);
  }
  attachUretprobe(options: UprobeOptions): void {
    this.#userProbe('uretprobe', options);
  }
  detachUprobe(options: Pick<UprobeOptions, 'name' | 'sym' | 'addr'>): void {
    this.#attachments.detach(userPlace('uprobe', options));
  }
  detachUretprobe(options: Pick<UprobeOptions, 'name' | 'sym' | 'addr'>): void {
    this.#attachments.detach(userPlace('uretprobe', options));
  }

  #userProbe(kind: 'uprobe' | 'uretprobe', options: UprobeOptions): void {
    const { name, sym, symRe, addr, symOff, fnName, pid } = options;
    const only = pid === undefined || pid < 0 ? {} : { pid };
    const path = findBinary(this.kernel, name, only.pid);
    if (symRe !== undefined) {
      const found = this.#symbols.functions(path, symRe, only.pid);
      this.#checkLimit(found.length, `functions of ${path} match ${symRe}`);
      this.#each(found, ({ name: one, offset }) =>
        this.#attach(userPlace(kind, { name, sym: one }), fnName, kind, kind, {
          target: `${path}:0x${offset.toString(16)}`,
          ...only,
        }),
      );
      return;
    }
    if (sym === undefined && addr === undefined)
      throw new BpfError('EINVAL', `a ${kind} needs a sym, an addr or a symRe`);
    const place =
      addr === undefined ? `${sym}${symOff === undefined ? '' : `+${symOff}`}` : `0x${addr.toString(16)}`;
    this.#checkLimit(1, `probe of ${path}`);
    this.#attach(userPlace(kind, options), fnName, kind, kind, { target: `${path}:${place}`, ...only });
  }

  /** Functions of a program or library that match. */
  getUserFunctions(name: string, pattern: RegExp): string[] {
    return this.#symbols.functions(name, pattern, undefined).map((one) => one.name);
  }
  /** Where they are in the file. */
  getUserAddresses(name: string, pattern: RegExp): bigint[] {
    return this.getUserFunctionsAndAddresses(name, pattern).map(({ offset }) => BigInt(offset));
  }
  /** Path of a program by its name, null where there is none. */
  findExe(name: string): string | null {
    return this.kernel.files?.resolveExecutable(name) ?? null;
  }
  getUserFunctionsAndAddresses(name: string, pattern: RegExp): FunctionSymbol[] {
    return this.#symbols.functions(name, pattern, undefined);
  }
  /** Path of a library by the name that a linker is given: `c`. Null where there is none. */
  findLibrary(name: string, pid?: number): string | null {
    const path = findBinary(this.kernel, name, pid);
    return path.includes('/') ? path : null;
  }

  /** Attaches what a context has enabled; `usdtContexts` does it as the program is made. */
  attachUsdt(context: USDT): void {
    for (const { probe, fnName } of context.enumerateActiveProbes()) {
      const target = `${probe.binPath}:${probe.provider}:${probe.name}`;
      this.#checkLimit(probe.locations.length, `places of ${target}`);
      this.#attach(`uprobe ${target}`, fnName, 'uprobe', 'usdt', {
        target,
        ...(context.pid === undefined ? {} : { pid: context.pid }),
      });
    }
  }

  attachTracepoint({ tp, tpRe, fnName }: TracepointOptions): void {
    if (tp === undefined && tpRe === undefined)
      throw new BpfError('EINVAL', 'a tracepoint needs a tp or tpRe');
    this.#each(tpRe === undefined ? [tp!] : tracepoints(this.kernel, tpRe), (name) =>
      this.#attach(`tracepoint ${name}`, fnName, 'tracepoint', 'tracepoint', {
        target: name.replace(':', '/'),
      }),
    );
  }
  detachTracepoint(tp: string): void {
    this.#attachments.detach(`tracepoint ${tp}`);
  }

  attachRawTracepoint({ tp, fnName }: { readonly tp: string; readonly fnName: string }): void {
    this.#attach(`raw_tracepoint ${tp}`, fnName, 'raw_tracepoint', 'raw_tracepoint', { target: tp });
  }
  detachRawTracepoint(tp: string): void {
    this.#attachments.detach(`raw_tracepoint ${tp}`);
  }

  /** A function by its whole name, or what it is for: `kfunc__vfs_read`, `vfs_read`. */
  #named(prefix: string, name: string): ProgramSpec {
    const names = [name, `${prefix}__vmlinux__${name}`, `${prefix}__${name}`];
    return this.#functions.find(names.find((one) => this.functions.includes(one)) ?? name);
  }
  #detachNamed(spec: ProgramSpec): void {
    this.#attachments.detach(`${spec.section.split('/')[0]} ${spec.attachTo ?? ''}`, spec.name);
  }

  /** fentry of a function of the kernel: `KFUNC_PROBE` does it by name. */
  attachKfunc(fnName: string): void {
    this.#attachByName(this.#named('kfunc', fnName));
  }
  attachKretfunc(fnName: string): void {
    this.#attachByName(this.#named('kretfunc', fnName));
  }
  attachFmodRet(fnName: string): void {
    this.#attachByName(this.#named('kmod_ret', fnName));
  }
  attachLsm(fnName: string): void {
    this.#attachByName(this.#named('lsm', fnName));
  }
  detachKfunc(fnName: string): void {
    this.#detachNamed(this.#named('kfunc', fnName));
  }
  detachKretfunc(fnName: string): void {
    this.#detachNamed(this.#named('kretfunc', fnName));
  }
  detachFmodRet(fnName: string): void {
    this.#detachNamed(this.#named('kmod_ret', fnName));
  }
  detachLsm(fnName: string): void {
    this.#detachNamed(this.#named('lsm', fnName));
  }

  /** Runs an iterator (`BPF_ITER`) to its end: what it wrote. */
  readIter(fnName: string, iter: IterOptions = {}): string {
    const spec = this.#named('bpf_iter', fnName);
    const { program } = this.#functions.load(spec.name, spec.section);
    const link = program.attachAs('iter', { iter });
    try {
      return iteratorText(this.kernel, link);
    } finally {
      link.destroy();
    }
  }

  attachXdp(
    dev: string | number,
    fn: string | LoadedFunction,
    options: number | { readonly mode?: 'skb' | 'native' | 'hw' } = {},
  ): BpfLink {
    const mode = typeof options === 'number' ? xdpMode(options) : options.mode;
    return this.#attach(`xdp ${dev}`, nameOf(fn), 'xdp', 'xdp', {
      interface: dev,
      ...(mode === undefined ? {} : { xdpMode: mode }),
    });
  }
  removeXdp(dev: string | number): void {
    this.#attachments.detach(`xdp ${dev}`);
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
    this.#attachments.detach(`perf_event ${evType} ${evConfig}`);
  }

  /**
   * A socket filter on a packet socket of its own, of one interface (by name or index) or of all: the descriptor of the socket.
   * `packets` reads what the filter keeps. Errors: ENODEV.
   */
  attachRawSocket(fn: string | LoadedFunction, dev?: string | number): Fd {
    const { program } = this.#functions.load(nameOf(fn), 'socket');
    const fd = program.attachSocket(dev === undefined || dev === '' ? {} : { interface: dev });
    const link = new BpfLink(this.kernel, undefined, `socket ${program.name}`, {
      onDestroy: () => this.kernel.close(fd),
    });
    this.#attachments.add(`socket ${program.name}`, program.name, link);
    return fd;
  }

  /** Packets of a socket that `attachRawSocket` gave, each at most `size` bytes, until `signal` fires or the program is cleaned up. */
  packets(
    socket: Fd,
    options: { readonly size?: number; readonly signal?: AbortSignal } = {},
  ): AsyncGenerator<Uint8Array> {
    return this.#output.packets(this.kernel, socket, options.size ?? LARGEST_PACKET, options.signal);
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
    return this.#attachments.count('kprobe', 'kretprobe');
  }
  numOpenUprobes(): number {
    return this.#attachments.count('uprobe', 'uretprobe');
  }
  numOpenTracepoints(): number {
    return this.#attachments.count('tracepoint');
  }

  // Output ----------------------------------------------------------------------------------------------------------

  /** Waits at most `timeoutMs` (default: until there is something) and hands events over; how many. */
  async perfBufferPoll(timeoutMs?: number): Promise<number> {
    return this.#output.poll('perf', timeoutMs);
  }
  async ringBufferPoll(timeoutMs?: number): Promise<number> {
    return this.#output.poll('ring', timeoutMs);
  }
  /** Both kinds of buffers. */
  async poll(timeoutMs?: number): Promise<number> {
    return this.#output.poll(undefined, timeoutMs);
  }
  /** What is there now, without waiting. */
  perfBufferConsume(): number {
    return this.#output.consume('perf');
  }
  ringBufferConsume(): number {
    return this.#output.consume('ring');
  }

  /** Lines of trace_pipe, those of this kernel's other users included, until `signal` fires or the program is cleaned up. */
  traceFields(options: { readonly signal?: AbortSignal } = {}): AsyncGenerator<TraceFields> {
    return this.#output.trace(this.kernel, options.signal);
  }

  /** Prints them as they come: `format` with `{0}` task, `{1}` pid, `{2}` cpu, `{3}` flags, `{4}` time, `{5}` message. */
  async tracePrint(options: { readonly format?: string; readonly signal?: AbortSignal } = {}): Promise<void> {
    const { format } = options;
    for await (const line of this.traceFields(options)) this.#write(`${showTrace(line, format)}\n`);
  }

  // Symbols ---------------------------------------------------------------------------------------------------------

  /** Name of a function of the kernel; `[unknown]`. */
  ksym(address: bigint, options: SymbolOptions = {}): string {
    return this.#symbols.kernel(address, options);
  }
  /** Address of a function of the kernel; -1n where there is none. */
  ksymname(name: string): bigint {
    return this.#symbols.address(name);
  }
  /** Name of a function of a process; of the kernel where `pid` is -1. */
  sym(address: bigint, pid: number, options: SymbolOptions = {}): string {
    return this.#symbols.user(address, pid, options);
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

  // What the kernel has ---------------------------------------------------------------------------------------------

  /** fentry and fexit. */
  supportKfunc(): boolean {
    return this.#features.has('tracing');
  }
  supportFmodRet(): boolean {
    return this.#features.has('tracing');
  }
  supportLsm(): boolean {
    return this.#features.has('lsm');
  }
  supportRawTracepoint(): boolean {
    return this.#features.has('raw_tracepoint');
  }
  supportRawTracepointInModule(): boolean {
    return this.#features.has('raw_tracepoint');
  }
  /** Undefined where the kernel has no such struct. */
  kernelStructHasField(struct: string, field: string): boolean | undefined {
    return this.#features.structHasField(struct, field);
  }
  kernelEnumHasVal(name: string, value: string): boolean | undefined {
    return this.#features.enumHasValue(name, value);
  }
  tracepointExists(category: string, event: string): boolean {
    return this.#features.hasTracepoint(category, event);
  }
  /** Nanoseconds since boot, as bpf_ktime_get_ns gives them, on this machine. */
  static monotonicTime(): bigint {
    // Node counts from the machine's start, browsers from the page's.
    const { process } = globalThis as { process?: { hrtime?: { bigint(): bigint } } };
    return process?.hrtime?.bigint() ?? BigInt(Math.round(performance.now() * 1e6));
  }

  // ---------------------------------------------------------------------------------------------------------------

  /** Detaches everything and closes what it holds. */
  cleanup(): void {
    this.#output.close();
    this.#attachments.clear();
    this.#functions.close();
    for (const action of this.#closers.splice(0)) action();
    this.#tables.clear();
    this.#shared.close();
    this.#maps.close();
  }
  close(): void {
    this.cleanup();
  }
  [Symbol.dispose](): void {
    this.cleanup();
  }
}
