/**
 * The embedded kernel: the face with the methods of the `Kernel` contract. Each is one line that calls the command's function;
 * commands that this kernel does not have say so with the errno of a Linux built without them.
 */

import { ownKernelBtf } from '../compiler/headers/own-types.ts';
import type { CpuOptions, KernelCpus } from '../contracts/cpus.ts';
import type {
  Fd,
  Kernel,
  KernelFeatures,
  LinkCreateAttr,
  LinkUpdateAttr,
  MachineFiles,
  MapBatchAttr,
  MapBatchResult,
  MapCreateAttr,
  MapElemAttr,
  MappedMemory,
  MapUpdateAttr,
  ObjectInfo,
  ObjectKind,
  PerfEventAttr,
  PreparedRun,
  ProgLoadAttr,
  ProgTestRunAttr,
  ProgTestRunResult,
  RingMapping,
  Simulator,
  TraceLine,
} from '../contracts/kernel.ts';
import type { ProgramObserver } from '../contracts/observe.ts';
import type { Credentials } from '../contracts/verify.ts';
import { testRunHook } from '../hooks/index.ts';
import { IMPLEMENTED_MAP_TYPES, RingBufMap } from '../maps/index.ts';
import { HELPERS, MAP_TYPES, PROG_TYPES } from '../spec/index.ts';
import { BpfError } from '../util/errors.ts';
import * as links from './commands/link.ts';
import * as maps from './commands/map.ts';
import * as batches from './commands/map-batch.ts';
import * as objects from './commands/objects.ts';
import { progLoad } from './commands/prog-load.ts';
import { progLoadAsync } from './commands/prog-load-async.ts';
import { prepareRun, progTestRun } from './commands/test-run.ts';
import { Cpus, MAX_CPUS } from './cpus/cpus.ts';
import { holds } from './credentials.ts';
import { PerfEventObject } from './events.ts';
import { KernelObject } from './fd-table.ts';
import { GivenFiles } from './given-files.ts';
import { type EmbeddedKernelOptions, Machine } from './machine.ts';
import { mapMemory } from './mapped-memory.ts';
import { MapObject } from './objects.ts';
import { missingCommands, requireNothing } from './release.ts';
import { mapRingBuffer } from './rings.ts';
import { oops } from './run.ts';
import { MachineSimulator } from './simulator.ts';
import {
  createToken,
  type DelegationOptions,
  DirectoryObject,
  delegatesNothing,
  parseDelegation,
} from './token.ts';

export class EmbeddedKernel implements Kernel {
  readonly simulator: Simulator;
  readonly files?: MachineFiles;
  /** Null where the kernel has one CPU. */
  readonly cpus: KernelCpus | null;
  readonly #machine: Machine;

  constructor(options: EmbeddedKernelOptions = {}) {
    const cpus = options.cpus && checkedCpus(options.cpus);
    this.#machine = new Machine(options);
    this.#machine.async.onFault = (program, error) => oops(this.#machine, program, error);
    this.simulator = new MachineSimulator(this.#machine);
    if (options.files !== undefined) this.files = new GivenFiles(options.files);
    if (cpus !== undefined && cpus.count > 1) this.#machine.cpus = new Cpus(this.#machine, cpus, options);
    this.cpus = this.#machine.cpus ?? null;
    for (const [method, needed] of missingCommands(this.#machine.release)) {
      Object.defineProperty(this, method, { value: () => requireNothing(this.#machine.release, needed) });
    }
  }

  // maps

  mapCreate(attr: MapCreateAttr): Fd {
    return maps.mapCreate(this.#machine, attr);
  }
  mapLookupElem(attr: MapElemAttr): Uint8Array | null {
    return maps.mapLookupElem(this.#machine, attr);
  }
  mapUpdateElem(attr: MapUpdateAttr): void {
    maps.mapUpdateElem(this.#machine, attr);
  }
  mapDeleteElem(attr: MapElemAttr): void {
    maps.mapDeleteElem(this.#machine, attr);
  }
  mapGetNextKey(attr: { mapFd: Fd; key: Uint8Array | null }): Uint8Array | null {
    return maps.mapGetNextKey(this.#machine, attr);
  }
  mapLookupAndDeleteElem(attr: MapElemAttr): Uint8Array | null {
    return maps.mapLookupAndDeleteElem(this.#machine, attr);
  }
  mapLookupBatch(attr: MapBatchAttr): MapBatchResult {
    return batches.mapLookupBatch(this.#machine, attr);
  }
  mapLookupAndDeleteBatch(attr: MapBatchAttr): MapBatchResult {
    return batches.mapLookupBatch(this.#machine, attr, true);
  }
  mapUpdateBatch(attr: {
    mapFd: Fd;
    keys: readonly Uint8Array[];
    values: readonly Uint8Array[];
    elemFlags?: number;
  }): number {
    return batches.mapUpdateBatch(this.#machine, attr);
  }
  mapDeleteBatch(attr: { mapFd: Fd; keys: readonly Uint8Array[]; elemFlags?: number }): number {
    return batches.mapDeleteBatch(this.#machine, attr);
  }
  mapFreeze(attr: { mapFd: Fd }): void {
    maps.mapFreeze(this.#machine, attr);
  }

  // programs

  progLoad(attr: ProgLoadAttr): Fd {
    return progLoad(this.#machine, attr);
  }
  progLoadAsync(attr: ProgLoadAttr, options: { signal?: AbortSignal } = {}): Promise<Fd> {
    return progLoadAsync(this.#machine, attr, options.signal);
  }
  progTestRun(attr: ProgTestRunAttr): ProgTestRunResult {
    return progTestRun(this.#machine, attr);
  }
  prepareRun(attr: ProgTestRunAttr): PreparedRun {
    return prepareRun(this.#machine, attr);
  }
  progBindMap(attr: { progFd: Fd; mapFd: Fd; flags?: number }): void {
    links.progBindMap(this.#machine, attr);
  }
  progAttach(): void {
    throw absent('PROG_ATTACH', 'attach with LINK_CREATE');
  }
  progDetach(): void {
    throw absent('PROG_DETACH', 'close the link');
  }
  progQuery(): { progIds: number[]; attachFlags: number } {
    throw absent('PROG_QUERY', 'walk the links');
  }

  // links

  linkCreate(attr: LinkCreateAttr): Fd {
    return links.linkCreate(this.#machine, attr);
  }
  linkUpdate(attr: LinkUpdateAttr): void {
    links.linkUpdate(this.#machine, attr);
  }
  linkDetach(attr: { linkFd: Fd }): void {
    links.linkDetach(this.#machine, attr);
  }
  rawTracepointOpen(attr: { name: string | null; progFd: Fd; cookie?: bigint }): Fd {
    return links.rawTracepointOpen(this.#machine, attr);
  }

  // BTF, pins, ids

  btfLoad(attr: { btf: Uint8Array; btfFlags?: number; btfTokenFd?: Fd }): Fd {
    return objects.btfLoad(this.#machine, attr);
  }
  objPin(attr: { pathname: string; bpfFd: Fd }): void {
    objects.objPin(this.#machine, attr);
  }
  objGet(attr: { pathname: string; fileFlags?: number }): Fd {
    return objects.objGet(this.#machine, attr);
  }
  objGetNextId(attr: { kind: ObjectKind; startId: number }): number | null {
    return objects.objGetNextId(this.#machine, attr);
  }
  objGetFdById(attr: { kind: ObjectKind; id: number; openFlags?: number; fdByIdTokenFd?: Fd }): Fd {
    return objects.objGetFdById(this.#machine, attr);
  }
  objGetInfoByFd(attr: { bpfFd: Fd }): ObjectInfo {
    return objects.objGetInfoByFd(this.#machine, attr);
  }
  enableStats(attr: { type: number }): Fd {
    if (!holds(this.#machine.credentials, 'sys_admin'))
      throw new BpfError('EPERM', 'ENABLE_STATS needs CAP_SYS_ADMIN');
    if (attr.type !== 0)
      throw new BpfError('EINVAL', `there are no statistics of type ${attr.type}; 0 is the run time`);
    return this.#machine.fds.install(new StatsSwitch(this.#machine));
  }
  iterCreate(): Fd {
    throw absent('ITER_CREATE');
  }
  taskFdQuery(): never {
    throw absent('TASK_FD_QUERY');
  }
  tokenCreate(attr: { bpffsFd: Fd; flags?: number }): Fd {
    return this.#machine.fds.install(createToken(this.#machine, attr));
  }

  // beside bpf(2)

  close(fd: Fd): void {
    this.#machine.fds.close(fd);
  }
  unlink(pathname: string): void {
    this.#machine.bpffs.unlink(pathname);
  }
  readdir(pathname: string): string[] {
    return this.#machine.bpffs.readdir(pathname);
  }
  mkdir(pathname: string): void {
    this.#machine.bpffs.mkdir(pathname);
  }
  /**
   * Mounts one more bpffs at an absolute path; for a user namespace it may delegate what programs and maps need (mount options
   * delegate_cmds and so on, as text). Errors: EPERM where somebody without CAP_SYS_ADMIN delegates, EINVAL for unknown names.
   */
  mountBpffs(pathname: string, options: DelegationOptions & { readonly userNamespace?: number } = {}): void {
    const delegation = parseDelegation(options);
    if (!delegatesNothing(delegation) && !holds(this.#machine.credentials, 'sys_admin'))
      throw new BpfError('EPERM', 'delegating needs CAP_SYS_ADMIN in the first user namespace');
    const { credentials } = this.#machine;
    const userNamespace = options.userNamespace ?? credentials.userNamespace ?? 0;
    this.#machine.bpffs.mount(pathname, { userNamespace, delegation });
  }
  /** A directory of a bpffs as a descriptor: what TOKEN_CREATE takes. */
  openDirectory(pathname: string): Fd {
    const machine = this.#machine;
    return machine.fds.install(new DirectoryObject(machine.bpffs.mountOf(pathname)));
  }
  /** What `deed` asks of the kernel, somebody else asks. */
  as<T>(credentials: Credentials, deed: () => T): T {
    const before = this.#machine.credentials;
    this.#machine.credentials = credentials;
    try {
      return deed();
    } finally {
      this.#machine.credentials = before;
    }
  }
  /** link(2) on a bpffs: a second name of the same pin. */
  link(existing: string, pathname: string): void {
    this.#machine.bpffs.link(existing, pathname);
  }
  symlink(target: string, pathname: string): void {
    this.#machine.bpffs.symlink(target, pathname);
  }
  perfEventOpen(attr: PerfEventAttr): Fd {
    const machine = this.#machine;
    if (attr.kind === 'bpf_output' && !(attr.cpu >= 0 && attr.cpu < machine.possibleCpus))
      throw new BpfError('EINVAL', `there is no CPU ${attr.cpu}: the machine has ${machine.possibleCpus}`);
    return machine.fds.install(new PerfEventObject(attr, machine.memory, machine.perfEvents));
  }
  mapRing(fd: Fd): RingMapping {
    const machine = this.#machine;
    const object = machine.fds.object(fd);
    if (object instanceof PerfEventObject && object.ring !== undefined)
      return holding(object, object.ring.map());
    if (object instanceof MapObject && object.map instanceof RingBufMap) {
      return holding(object, mapRingBuffer(machine.memory, object.map.areas, machine.ringQueue(object.id)));
    }
    if (object === undefined) throw new BpfError('EBADF', `descriptor ${fd} is not open`);
    throw new BpfError('EINVAL', `descriptor ${fd} is a ${object.what} that has no ring to map`);
  }
  mapMemory(mapFd: Fd): MappedMemory {
    return mapMemory(this.#machine, mapFd);
  }
  socketAttach(attr: { socketFd: Fd | null; progFd: Fd; ifindex?: number }): Fd {
    return links.socketAttach(this.#machine, attr);
  }
  readFd(fd: Fd, size: number): Uint8Array {
    return links.readDescriptor(this.#machine, fd, size);
  }
  ifNameToIndex(name: string): number | null {
    return this.#machine.devices.byName(name)?.ifindex ?? null;
  }
  tracePipe(options: { signal?: AbortSignal } = {}): AsyncIterable<TraceLine> {
    return this.#machine.tracePipe.read(options.signal);
  }
  features(): KernelFeatures {
    const { release } = this.#machine;
    const known = (row: { readonly since: string }) => release.isSince(row.since);
    return {
      kind: 'embedded',
      release: release.name,
      arch: 'x86_64',
      possibleCpus: this.#machine.possibleCpus,
      progTypes: new Set(
        PROG_TYPES.filter(known)
          .filter((row) => testRunHook(row.name) !== undefined || LINKABLE.has(row.name))
          .map((row) => row.id),
      ),
      mapTypes: new Set(
        MAP_TYPES.filter(known)
          // Structs of functions are the kernel's own (struct-ops.ts).
          .filter((row) => IMPLEMENTED_MAP_TYPES.includes(row.name) || row.structOfFunctions)
          .map((row) => row.id),
      ),
      helpers: new Set(
        HELPERS.filter(known)
          .filter((row) => row.tailCall || this.#machine.helpers.resolve(row) !== undefined)
          .map((row) => row.id),
      ),
    };
  }
  kernelBtf(): Uint8Array | null {
    return (this.#machine.kernelBtf ?? ownKernelBtf()).bytes;
  }
  observe(observer: ProgramObserver | null): void {
    this.#machine.observe(observer);
  }
  shutdown(): void {
    this.#machine.closed = true;
    this.#machine.background?.close();
    this.#machine.cpus?.close();
    this.#machine.async.dropAll();
    this.#machine.fds.closeAll();
    this.#machine.bpffs.unmountAll();
    this.#machine.processes.clear();
    this.#machine.tracePipe.close();
  }
}

function checkedCpus(cpus: CpuOptions): CpuOptions {
  if (Number.isInteger(cpus.count) && cpus.count >= 1 && cpus.count <= MAX_CPUS) return cpus;
  throw new BpfError('EINVAL', `${cpus.count} CPUs: give 1 to ${MAX_CPUS}`);
}

const LINKABLE = new Set(['kprobe', 'tracepoint']);

/** A mapping keeps what it shows alive, as mmap(2) does. */
function holding(object: KernelObject, mapping: RingMapping): RingMapping {
  object.get();
  let mapped = true;
  return {
    ...mapping,
    unmap: () => {
      if (mapped) object.put();
      mapped = false;
    },
  };
}

/** The descriptor of BPF_ENABLE_STATS: statistics are kept while it is open. */
class StatsSwitch extends KernelObject {
  readonly what = 'statistics switch';
  readonly #machine: Machine;

  constructor(machine: Machine) {
    super();
    this.#machine = machine;
    machine.statsUsers++;
  }

  protected destroy(): void {
    this.#machine.statsUsers--;
  }
}

function absent(command: string, instead?: string): BpfError {
  return new BpfError(
    'EOPNOTSUPP',
    `the embedded kernel has no ${command}`,
    instead === undefined ? {} : { hint: instead },
  );
}
