/** Linux itself behind the `Kernel` contract: each method is one system call or a file of /sys, in the room's other files. */
import { lstatSync, mkdirSync, readdirSync, readFileSync, readSync, rmdirSync, unlinkSync } from 'node:fs';
import type * as K from '../contracts/kernel.ts';
import { BpfError } from '../util/errors.ts';
import { Bpf } from './bpf.ts';
import { FdTable } from './fds.ts';
import { hostFeatures } from './features.ts';
import { type Host, readPossibleCpus } from './host.ts';
import { objGetInfoByFd } from './info.ts';
import { readKernelConfig } from './kernel-config.ts';
import * as links from './links.ts';
import { createMachineFiles } from './machine-files.ts';
import { mapMemory } from './mapped-memory.ts';
import * as maps from './maps.ts';
import type { Native } from './native.ts';
import * as objects from './objects.ts';
import { perfEventOpen } from './perf-events.ts';
import * as programs from './programs.ts';
import { mapRing } from './rings.ts';
import { socketAttach } from './sockets.ts';
import { readTracePipe } from './trace-pipe.ts';
import { fsError, Tracefs } from './tracefs.ts';
import { createTrafficControl } from './traffic-control.ts';

type Args<M extends keyof K.Kernel> = K.Kernel[M] extends (...args: infer A) => unknown ? A[0] : never;

export class HostKernel implements K.Kernel {
  readonly simulator = null;
  readonly files: K.MachineFiles;
  readonly tc: K.TrafficControl;
  readonly #host: Host;
  #features: K.KernelFeatures | undefined;

  constructor(native: Native) {
    const fds = new FdTable();
    let cpus: number | undefined;
    this.#host = {
      native,
      fds,
      bpf: new Bpf(native),
      tracefs: new Tracefs(native, fds),
      possibleCpus: () => {
        cpus ??= readPossibleCpus();
        return cpus;
      },
    };
    this.files = createMachineFiles(this.#host);
    this.tc = createTrafficControl(this.#host);
  }

  mapCreate(attr: K.MapCreateAttr): K.Fd {
    return maps.mapCreate(this.#host, attr);
  }
  mapLookupElem(attr: K.MapElemAttr): Uint8Array | null {
    return maps.mapLookupElem(this.#host, attr);
  }
  mapUpdateElem(attr: K.MapUpdateAttr): void {
    maps.mapUpdateElem(this.#host, attr);
  }
  mapDeleteElem(attr: K.MapElemAttr): void {
    maps.mapDeleteElem(this.#host, attr);
  }
  mapGetNextKey(attr: Args<'mapGetNextKey'>): Uint8Array | null {
    return maps.mapGetNextKey(this.#host, attr);
  }
  mapLookupAndDeleteElem(attr: K.MapElemAttr): Uint8Array | null {
    return maps.mapLookupAndDeleteElem(this.#host, attr);
  }
  mapLookupBatch(attr: K.MapBatchAttr): K.MapBatchResult {
    return maps.mapLookupBatch(this.#host, attr);
  }
  mapLookupAndDeleteBatch(attr: K.MapBatchAttr): K.MapBatchResult {
    return maps.mapLookupAndDeleteBatch(this.#host, attr);
  }
  mapUpdateBatch(attr: Args<'mapUpdateBatch'>): number {
    return maps.mapUpdateBatch(this.#host, attr);
  }
  mapDeleteBatch(attr: Args<'mapDeleteBatch'>): number {
    return maps.mapDeleteBatch(this.#host, attr);
  }
  mapFreeze(attr: Args<'mapFreeze'>): void {
    maps.mapFreeze(this.#host, attr);
  }

  progLoad(attr: K.ProgLoadAttr): K.Fd {
    return programs.progLoad(this.#host, attr);
  }
  /** The system call waits for the verifier, so this does too. */
  async progLoadAsync(attr: K.ProgLoadAttr, { signal }: { signal?: AbortSignal } = {}): Promise<K.Fd> {
    if (signal?.aborted)
      throw new BpfError('ECANCELED', 'the load was given up by its caller', { cause: signal.reason });
    return programs.progLoad(this.#host, attr);
  }
  progTestRun(attr: K.ProgTestRunAttr): K.ProgTestRunResult {
    return programs.progTestRun(this.#host, attr);
  }
  progBindMap(attr: Args<'progBindMap'>): void {
    this.#host.bpf.simple('BPF_PROG_BIND_MAP', attr);
  }
  progAttach(attr: Args<'progAttach'>): void {
    this.#host.bpf.simple('BPF_PROG_ATTACH', attr, `attach type ${attr.attachType}`);
  }
  progDetach(attr: Args<'progDetach'>): void {
    this.#host.bpf.simple('BPF_PROG_DETACH', attr, `attach type ${attr.attachType}`);
  }
  progQuery(attr: Args<'progQuery'>): programs.ProgQueryResult {
    return programs.progQuery(this.#host, attr);
  }
  /** What a program wrote to its stream: 1 output, 2 errors. Linux 6.17. */
  progStreamReadByFd(attr: { readonly progFd: K.Fd; readonly streamId: number }): string {
    return objects.progStreamRead(this.#host, attr);
  }

  linkCreate(attr: K.LinkCreateAttr): K.Fd {
    return links.linkCreate(this.#host, attr);
  }
  linkUpdate(attr: K.LinkUpdateAttr): void {
    links.linkUpdate(this.#host, attr);
  }
  linkDetach(attr: Args<'linkDetach'>): void {
    this.#host.bpf.simple('BPF_LINK_DETACH', attr);
  }
  rawTracepointOpen(attr: Args<'rawTracepointOpen'>): K.Fd {
    return links.rawTracepointOpen(this.#host, attr);
  }

  btfLoad(attr: Args<'btfLoad'>): K.Fd {
    return objects.btfLoad(this.#host, attr);
  }
  objPin(attr: Args<'objPin'>): void {
    objects.objPin(this.#host, attr);
  }
  objGet(attr: Args<'objGet'>): K.Fd {
    return objects.objGet(this.#host, attr);
  }
  objGetNextId(attr: Args<'objGetNextId'>): number | null {
    return objects.objGetNextId(this.#host, attr);
  }
  objGetFdById(attr: Args<'objGetFdById'>): K.Fd {
    return objects.objGetFdById(this.#host, attr);
  }
  objGetInfoByFd(attr: Args<'objGetInfoByFd'>): K.ObjectInfo {
    return objGetInfoByFd(this.#host, attr);
  }
  enableStats(attr: Args<'enableStats'>): K.Fd {
    return this.#host.fds.own(this.#host.bpf.simple('BPF_ENABLE_STATS', attr), { kind: 'other' });
  }
  iterCreate(attr: Args<'iterCreate'>): K.Fd {
    return this.#host.fds.own(this.#host.bpf.simple('BPF_ITER_CREATE', attr), { kind: 'other' });
  }
  taskFdQuery(attr: Args<'taskFdQuery'>): objects.TaskFd {
    return objects.taskFdQuery(this.#host, attr);
  }
  tokenCreate(attr: Args<'tokenCreate'>): K.Fd {
    return this.#host.fds.own(this.#host.bpf.simple('BPF_TOKEN_CREATE', attr), { kind: 'other' });
  }

  close(fd: K.Fd): void {
    this.#host.fds.close(fd);
  }
  unlink(pathname: string): void {
    onFile(pathname, () => (lstatSync(pathname).isDirectory() ? rmdirSync(pathname) : unlinkSync(pathname)));
  }
  readdir(pathname: string): string[] {
    return onFile(pathname, () => readdirSync(pathname));
  }
  mkdir(pathname: string): void {
    onFile(pathname, () => mkdirSync(pathname));
  }
  readFd(fd: K.Fd, size: number): Uint8Array {
    const bytes = new Uint8Array(size);
    return onFile(`descriptor ${fd}`, () => bytes.slice(0, readSync(fd, bytes)));
  }
  perfEventOpen(attr: K.PerfEventAttr): K.Fd {
    return perfEventOpen(this.#host, attr);
  }
  mapMemory(fd: K.Fd): K.MappedMemory {
    return mapMemory(this.#host, fd);
  }
  mapRing(fd: K.Fd): K.RingMapping {
    return mapRing(this.#host, fd);
  }
  socketAttach(attr: Args<'socketAttach'>): K.Fd {
    return socketAttach(this.#host, attr);
  }
  ifNameToIndex(name: string): number | null {
    return this.#host.native.ifNameToIndex(name) || null;
  }
  /** Linux gives each line to one reader only. */
  tracePipe(options: { readonly signal?: AbortSignal } = {}): AsyncIterable<K.TraceLine> {
    return readTracePipe(this.#host, options);
  }
  features(): K.KernelFeatures {
    this.#features ??= hostFeatures(this.#host);
    return this.#features;
  }
  kernelBtf(): Uint8Array | null {
    try {
      return new Uint8Array(readFileSync('/sys/kernel/btf/vmlinux'));
    } catch {
      return null;
    }
  }
  kernelConfig(): string | null {
    return readKernelConfig(this.#host.native.release);
  }
  /** Nothing but pins stays: everything else hangs on descriptors, which end with the process at the latest. */
  shutdown(): void {
    this.#host.fds.closeAll();
  }
}

function onFile<T>(pathname: string, action: () => T): T {
  if (pathname.includes('\0')) throw new BpfError('EINVAL', 'a path has no NUL');
  try {
    return action();
  } catch (error) {
    throw fsError(error, pathname);
  }
}
