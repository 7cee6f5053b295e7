/**
 * The one seam of the front ends: a kernel, embedded or Linux's own. One method per bpf(2) command with the command's name
 * and fields; beside it what stands beside bpf(2): perf events, rings, sockets, trace_pipe, features. Every method throws
 * BpfError with the errno that Linux would set; look-ups that find nothing return null instead, as that is no error.
 *
 * Numbers of types (`progType`, `mapType`, `attachType`) are those of the UAPI. Sizes are bytes.
 */

import type { Annotations } from './annotations.ts';
import type { KernelCpus } from './cpus.ts';
import type { JitedFunction } from './engine.ts';
import type { ProgramObserver } from './observe.ts';
import type { Simulator, TraceLine } from './simulator.ts';
import type { Fd, ProgTestRunAttr, ProgTestRunResult } from './test-run.ts';

export type * from './simulator.ts';
export type { Fd, ProgTestRunAttr, ProgTestRunResult };

export interface MapCreateAttr {
  readonly mapType: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly mapFlags?: number;
  readonly innerMapFd?: Fd;
  readonly numaNode?: number;
  readonly mapName?: string;
  readonly mapIfindex?: number;
  readonly btfFd?: Fd;
  readonly btfKeyTypeId?: number;
  readonly btfValueTypeId?: number;
  readonly btfVmlinuxValueTypeId?: number;
  readonly mapExtra?: bigint;
  // Of Linux only; the embedded kernel has no tokens, modules or signatures.
  readonly valueTypeBtfObjFd?: Fd;
  readonly mapTokenFd?: Fd;
  /** SHA-256 of the one program that may use the map. */
  readonly exclProgHash?: Uint8Array;
}

export interface MapElemAttr {
  readonly mapFd: Fd;
  readonly key: Uint8Array;
  readonly flags?: number;
}

export interface MapUpdateAttr extends MapElemAttr {
  readonly value: Uint8Array;
}

export interface MapBatchAttr {
  readonly mapFd: Fd;
  /** Token of the batch before; null: from the start. */
  readonly inBatch?: Uint8Array | null;
  readonly count: number;
  readonly elemFlags?: number;
  readonly flags?: number;
}

export interface MapBatchResult {
  readonly keys: Uint8Array[];
  readonly values: Uint8Array[];
  /** Token for the next batch; null: the map has been walked to its end. */
  readonly outBatch: Uint8Array | null;
}

export interface ProgLoadAttr {
  readonly progType: number;
  /** Raw instructions, 8 bytes each. */
  readonly insns: Uint8Array;
  readonly license: string;
  /** Bits 1, 2 and 4; see VerifyRequest. */
  readonly logLevel?: number;
  readonly logSize?: number;
  readonly kernVersion?: number;
  readonly progFlags?: number;
  readonly progName?: string;
  readonly progIfindex?: number;
  readonly expectedAttachType?: number;
  readonly progBtfFd?: Fd;
  /** Records as PROG_LOAD takes them: `func_info_rec_size` bytes each (8), line info 16. */
  readonly funcInfo?: Uint8Array;
  readonly funcInfoRecSize?: number;
  readonly lineInfo?: Uint8Array;
  readonly lineInfoRecSize?: number;
  readonly attachBtfId?: number;
  readonly attachProgFd?: Fd;
  readonly attachBtfObjFd?: Fd;
  readonly fdArray?: readonly Fd[];
  /** Number of entries of `fdArray` that the kernel is to bind to the program even when it does not use them. */
  readonly fdArrayCnt?: number;
  // Of Linux only.
  /** `struct bpf_core_relo` records: CO-RE in the kernel. */
  readonly coreRelos?: Uint8Array;
  readonly coreReloRecSize?: number;
  readonly progTokenFd?: Fd;
  readonly signature?: Uint8Array;
  readonly keyringId?: number;
  /** Gets the verifier's log on success too. */
  readonly onLog?: (log: string) => void;
  /** Gets the time that each step of a successful load took; the host kernel tells nothing. */
  readonly onStages?: (stages: LoadStages) => void;
  /** Gets what was known and spent at each instruction, on refusal too; slows the verification down. The host kernel tells nothing. */
  readonly onAnnotations?: (annotations: Annotations) => void;
}

/** Microseconds of the steps of PROG_LOAD. */
export interface LoadStages {
  readonly verify: number;
  readonly rewrite: number;
  /** What the engine does before the first run: decoding, or compiling to WebAssembly. */
  readonly prepare: number;
  /** Of `prepare`: translating to WebAssembly, and compiling that. */
  readonly translate?: number;
  readonly compile?: number;
  /** The compiled code was there from a load before. */
  readonly cached?: boolean;
}

/**
 * A program with a context that stays between runs: what a run leaves in packet and context the next one finds, until `reset`. The
 * program lives as long as this is open.
 */
export interface PreparedRun {
  /** Runs once; gives the low half of R0. Errors: EFAULT, ETIMEDOUT (budget) for a run that faulted, EBADF after `close`. */
  run(): number;
  /** The context as it was at first, with another packet where one is given. */
  reset(dataIn?: Uint8Array): void;
  /** Packet and context as the last run left them. */
  dataOut(): Uint8Array;
  ctxOut(): Uint8Array;
  close(): void;
}

export interface LinkCreateAttr {
  /** The program; for struct_ops the map (`mapFd`) stands in its place. */
  readonly progFd: Fd;
  readonly mapFd?: Fd;
  /** What it is attached to: a perf event, a cgroup, a network namespace; or an interface. */
  readonly targetFd?: Fd;
  readonly targetIfindex?: number;
  readonly attachType: number;
  readonly flags?: number;
  readonly targetBtfId?: number;
  /** bpf_get_attach_cookie. */
  readonly bpfCookie?: bigint;
  readonly iterInfo?: Uint8Array;
  readonly kprobeMulti?: {
    readonly symbols?: readonly string[];
    readonly addresses?: readonly bigint[];
    readonly cookies?: readonly bigint[];
    readonly flags?: number;
  };
  readonly uprobeMulti?: {
    readonly path: string;
    readonly offsets: readonly bigint[];
    readonly refCtrOffsets?: readonly bigint[];
    readonly cookies?: readonly bigint[];
    readonly pid?: number;
    readonly flags?: number;
  };
  readonly netfilter?: {
    readonly pf: number;
    readonly hooknum: number;
    readonly priority: number;
    readonly flags?: number;
  };
  readonly relativeFd?: Fd;
  readonly relativeId?: number;
  readonly expectedRevision?: bigint;
}

export interface LinkUpdateAttr {
  readonly linkFd: Fd;
  readonly newProgFd: Fd;
  readonly flags?: number;
  readonly oldProgFd?: Fd;
}

export interface ProgInfo {
  readonly type: number;
  readonly id: number;
  readonly tag: string;
  readonly name: string;
  readonly jited: boolean;
  readonly jitedProgLen: number;
  /** Rewritten instructions as `prog dump xlated` shows them. */
  readonly xlatedInsns: Uint8Array;
  readonly loadTime: bigint;
  readonly createdByUid: number;
  readonly mapIds: readonly number[];
  readonly gplCompatible: boolean;
  readonly btfId: number;
  /** Records for the instructions of `xlatedInsns`: 8 and 16 bytes each. */
  readonly funcInfo: Uint8Array;
  readonly lineInfo: Uint8Array;
  readonly runTimeNs: bigint;
  readonly runCnt: bigint;
  readonly recursionMisses: bigint;
  readonly verifiedInsns: number;
  readonly attachBtfId: number;
  /** Text of the compiled code where the kernel can give one (embedded: WebAssembly). */
  readonly jitedDump: string;
  /** The same by function and instruction, with C lines; `jitedInsns` is a WebAssembly module then (embedded). */
  readonly jitedListing?: readonly JitedFunction[];
  /** The code was there from an earlier load of the same program (embedded). */
  readonly jitCached?: boolean;
  // Of Linux only.
  readonly ifindex?: number;
  readonly netnsDev?: bigint;
  readonly netnsIno?: bigint;
  readonly attachBtfObjId?: number;
  /** Machine code of all functions of the program, and where they start, how long they are, how they are tagged. */
  readonly jitedInsns?: Uint8Array;
  readonly jitedKsyms?: readonly bigint[];
  readonly jitedFuncLens?: readonly number[];
  readonly jitedLineInfo?: readonly bigint[];
  readonly progTags?: readonly string[];
}

export interface MapInfoAttr {
  readonly type: number;
  readonly id: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly mapFlags: number;
  readonly name: string;
  readonly btfId: number;
  readonly btfKeyTypeId: number;
  readonly btfValueTypeId: number;
  readonly btfVmlinuxValueTypeId: number;
  readonly mapExtra: bigint;
  readonly ifindex: number;
  /** Not in the UAPI struct, but in fdinfo: bytes in use, and whether it is frozen. */
  readonly memlock: number;
  readonly frozen: boolean;
  // Of Linux only.
  readonly netnsDev?: bigint;
  readonly netnsIno?: bigint;
  readonly btfVmlinuxId?: number;
}

export interface LinkInfo {
  readonly type: number;
  readonly id: number;
  readonly progId: number;
  /** The union of `bpf_link_info` by link type: fields with their UAPI names in camelCase. */
  readonly details: Readonly<Record<string, string | number | bigint | readonly bigint[]>>;
}

export interface BtfInfo {
  readonly id: number;
  readonly name: string;
  readonly kernelBtf: boolean;
  readonly data: Uint8Array;
}

/** What a token allows: one bit each by number. Since 6.17. */
export interface TokenInfo {
  readonly allowedCmds: bigint;
  readonly allowedMaps: bigint;
  readonly allowedProgs: bigint;
  readonly allowedAttachs: bigint;
}

export type ObjectKind = 'prog' | 'map' | 'link' | 'btf';

export type ObjectInfo =
  | ({ readonly kind: 'prog' } & ProgInfo)
  | ({ readonly kind: 'map' } & MapInfoAttr)
  | ({ readonly kind: 'link' } & LinkInfo)
  | ({ readonly kind: 'btf' } & BtfInfo)
  /** Tokens have no id: 0. */
  | ({ readonly kind: 'token'; readonly id: number } & TokenInfo);

/** perf_event_open(2), as far as programs hang on it. */
export type PerfEventAttr =
  /** The ring that a PERF_EVENT_ARRAY slot points to (PERF_COUNT_SW_BPF_OUTPUT). `pages`: data pages, a power of two. */
  | {
      readonly kind: 'bpf_output';
      readonly cpu: number;
      readonly pid?: number;
      readonly wakeupEvents?: number;
      readonly pages: number;
    }
  /** `category/name` as below tracefs/events: `syscalls/sys_enter_execve`. */
  | {
      readonly kind: 'tracepoint';
      readonly category: string;
      readonly name: string;
      readonly pid?: number;
      readonly cpu?: number;
    }
  | {
      readonly kind: 'kprobe';
      readonly symbol: string;
      readonly offset?: bigint;
      readonly retprobe?: boolean;
      /** Of a retprobe: how many calls may be under way at once, those beyond are missed; the kernel's choice where absent. */
      readonly maxactive?: number;
    }
  | {
      readonly kind: 'uprobe';
      readonly path: string;
      readonly offset: bigint;
      readonly retprobe?: boolean;
      readonly pid?: number;
      readonly refCtrOffset?: bigint;
    }
  | {
      readonly kind: 'sampling';
      readonly type: number;
      readonly config: bigint;
      readonly cpu: number;
      readonly pid?: number;
      readonly period?: bigint;
      readonly frequency?: number;
    };

/**
 * A ring as user space maps it, in Linux's own page layout: BPF_MAP_TYPE_RINGBUF (consumer page, producer page, data twice)
 * or a perf event (header page, data). One reader serves both kernels.
 */
export interface RingMapping {
  readonly kind: 'ringbuf' | 'perf';
  /** Bytes of the data area, a power of two. */
  readonly size: number;
  /** Reads positions with acquire and writes the consumer's with release semantics. Monotonic, in bytes. */
  producerPosition(): bigint;
  consumerPosition(): bigint;
  setConsumerPosition(position: bigint): void;
  /** Data area; offsets wrap at `size`. Read afresh for every batch: it may move. */
  data(): Uint8Array;
  /** Header word of a ring-buffer record at `offset` with acquire semantics (busy bit). */
  header(offset: number): number;
  /** Resolves when something may have been written, or after `timeoutMs` (false). Never busy. */
  wait(timeoutMs: number, signal?: AbortSignal): Promise<boolean>;
  unmap(): void;
}

export interface KernelFeatures {
  readonly kind: 'embedded' | 'host';
  /** `6.18` */
  readonly release: string;
  readonly arch: 'x86_64' | 'aarch64';
  readonly possibleCpus: number;
  /** Bytes of a page, where it is not 4096. */
  readonly pageSize?: number;
  readonly progTypes: ReadonlySet<number>;
  readonly mapTypes: ReadonlySet<number>;
  readonly helpers: ReadonlySet<number>;
}

/** A map as user space sees it through mmap(2). Offsets beyond it, and pages that may not be touched, are EFAULT. */
export interface MappedMemory {
  /** Where it lies in user space: what addresses in an arena are relative to. */
  readonly address: bigint;
  readonly size: number;
  /** A copy. Touching a page of an arena that is not there makes it, unless the map has BPF_F_SEGV_ON_FAULT. */
  read(offset: number, length: number): Uint8Array;
  write(offset: number, bytes: Uint8Array): void;
  unmap(): void;
}

/**
 * The machine below the kernel, as far as programs are attached by what it has: executables, /proc, tracefs, cgroups, namespaces.
 * Paths are those of this process. Every method throws BpfError; what is not there is null.
 */
export interface MachineFiles {
  /** All of a file. */
  read(path: string): Uint8Array | null;
  /** A file below tracefs: `available_filter_functions`. */
  readTracing(path: string): Uint8Array | null;
  /**
   * Path of an executable or shared library by name (`bash`, `libc.so.6`): as the process `pid` has mapped it, else as the dynamic
   * linker (names with `.so`) or PATH would find it.
   */
  resolveExecutable(name: string, pid?: number): string | null;
  /** A file or directory as a descriptor of this kernel: a cgroup, a namespace. Throws ENOENT. */
  open(path: string): Fd;
}

/** Where a classifier hangs in the older tc: the clsact qdisc of an interface. */
export interface TcHook {
  readonly ifindex: number;
  readonly direction: 'ingress' | 'egress';
}

/** A classifier at its place. The kernel gives what is left out or 0. */
export interface TcFilter extends TcHook {
  readonly handle?: number;
  readonly priority?: number;
}

/** The older tc over netlink (libbpf: bpf_tc_*), direct action. Since Linux 4.5; tcx links (6.6) are the newer way. */
export interface TrafficControl {
  /** Makes the clsact qdisc; false where there is one. */
  createQdisc(ifindex: number): boolean;
  destroyQdisc(ifindex: number): void;
  /** `replace`: takes the place of a filter of that handle and priority. */
  attach(
    filter: TcFilter & { readonly progFd: Fd; readonly replace?: boolean },
  ): Required<Pick<TcFilter, 'handle' | 'priority'>>;
  detach(filter: Required<TcFilter>): void;
  query(hook: TcHook): readonly {
    readonly handle: number;
    readonly priority: number;
    readonly progId: number;
    readonly name: string;
  }[];
}

export interface Kernel {
  // maps
  mapCreate(attr: MapCreateAttr): Fd;
  mapLookupElem(attr: MapElemAttr): Uint8Array | null;
  mapUpdateElem(attr: MapUpdateAttr): void;
  mapDeleteElem(attr: MapElemAttr): void;
  /** The key after `key` (null: the first one), null at the end. */
  mapGetNextKey(attr: { readonly mapFd: Fd; readonly key: Uint8Array | null }): Uint8Array | null;
  mapLookupAndDeleteElem(attr: MapElemAttr): Uint8Array | null;
  mapLookupBatch(attr: MapBatchAttr): MapBatchResult;
  mapLookupAndDeleteBatch(attr: MapBatchAttr): MapBatchResult;
  /** Number of elements done; a failure in the middle throws with that number in its message. */
  mapUpdateBatch(attr: {
    readonly mapFd: Fd;
    readonly keys: readonly Uint8Array[];
    readonly values: readonly Uint8Array[];
    readonly elemFlags?: number;
  }): number;
  mapDeleteBatch(attr: {
    readonly mapFd: Fd;
    readonly keys: readonly Uint8Array[];
    readonly elemFlags?: number;
  }): number;
  mapFreeze(attr: { readonly mapFd: Fd }): void;

  // programs
  progLoad(attr: ProgLoadAttr): Fd;
  /**
   * As `progLoad`, and lets the caller's thread go on: the embedded kernel has threads verify and compile large programs, where it was given any
   * (`background`); else, and for Linux, all is done before the promise is given. `attr` may be changed and descriptors closed after the
   * call. Rejects as `progLoad` throws; with ECANCELED when `signal` is aborted, with ESHUTDOWN when the kernel is shut down meanwhile.
   */
  progLoadAsync(attr: ProgLoadAttr, options?: { readonly signal?: AbortSignal }): Promise<Fd>;
  progTestRun(attr: ProgTestRunAttr): ProgTestRunResult;
  /** A test run that is made ready once and started many times from JavaScript (embedded); `repeat` is not looked at. */
  prepareRun?(attr: ProgTestRunAttr): PreparedRun;
  progBindMap(attr: { readonly progFd: Fd; readonly mapFd: Fd; readonly flags?: number }): void;
  progAttach(attr: {
    readonly targetFd: Fd;
    readonly attachBpfFd: Fd;
    readonly attachType: number;
    readonly attachFlags?: number;
    readonly replaceBpfFd?: Fd;
    /** In place of `targetFd`: tcx, netkit. */
    readonly targetIfindex?: number;
    readonly relativeFd?: Fd;
    readonly relativeId?: number;
    readonly expectedRevision?: bigint;
  }): void;
  progDetach(attr: {
    readonly targetFd: Fd;
    readonly attachBpfFd?: Fd;
    readonly attachType: number;
    readonly attachFlags?: number;
    readonly targetIfindex?: number;
    readonly relativeFd?: Fd;
    readonly relativeId?: number;
    readonly expectedRevision?: bigint;
  }): void;
  progQuery(attr: {
    readonly targetFd?: Fd;
    readonly targetIfindex?: number;
    readonly attachType: number;
    readonly queryFlags?: number;
  }): { readonly progIds: number[]; readonly attachFlags: number };

  // links
  linkCreate(attr: LinkCreateAttr): Fd;
  linkUpdate(attr: LinkUpdateAttr): void;
  linkDetach(attr: { readonly linkFd: Fd }): void;
  rawTracepointOpen(attr: {
    readonly name: string | null;
    readonly progFd: Fd;
    readonly cookie?: bigint;
  }): Fd;

  // BTF, pins, ids
  btfLoad(attr: {
    readonly btf: Uint8Array;
    readonly logLevel?: number;
    readonly btfFlags?: number;
    readonly btfTokenFd?: Fd;
  }): Fd;
  objPin(attr: {
    readonly pathname: string;
    readonly bpfFd: Fd;
    readonly fileFlags?: number;
    readonly pathFd?: Fd;
  }): void;
  objGet(attr: { readonly pathname: string; readonly fileFlags?: number; readonly pathFd?: Fd }): Fd;
  /** *_GET_NEXT_ID: the next id after `startId`, null at the end. */
  objGetNextId(attr: { readonly kind: ObjectKind; readonly startId: number }): number | null;
  /** *_GET_FD_BY_ID */
  objGetFdById(attr: {
    readonly kind: ObjectKind;
    readonly id: number;
    readonly openFlags?: number;
    /** With BPF_F_TOKEN_FD in `openFlags`: BTF only, since 6.15. */
    readonly fdByIdTokenFd?: Fd;
  }): Fd;
  objGetInfoByFd(attr: { readonly bpfFd: Fd }): ObjectInfo;
  enableStats(attr: { readonly type: number }): Fd;
  iterCreate(attr: { readonly linkFd: Fd; readonly flags?: number }): Fd;
  taskFdQuery(attr: { readonly pid: number; readonly fd: Fd }): {
    readonly progId: number;
    readonly fdType: number;
    readonly probeOffset: bigint;
    readonly probeAddr: bigint;
    readonly name: string;
  };
  tokenCreate(attr: { readonly bpffsFd: Fd; readonly flags?: number }): Fd;

  // beside bpf(2)
  close(fd: Fd): void;
  /** Files of a bpffs: removes a pin, lists a directory, makes one. */
  unlink(pathname: string): void;
  readdir(pathname: string): string[];
  mkdir(pathname: string): void;
  perfEventOpen(attr: PerfEventAttr): Fd;
  mapRing(fd: Fd): RingMapping;
  /** Values of an array with BPF_F_MMAPABLE, or an arena, which has its address from then on. */
  mapMemory?(mapFd: Fd): MappedMemory;
  /**
   * SO_ATTACH_BPF; `socketFd` null asks the kernel for a packet socket of its own, which gets the packets of all interfaces, or of
   * one (`ifindex`, packet(7)) as far as the program keeps them. Errors: ENODEV for an interface that is not there.
   */
  socketAttach(attr: { readonly socketFd: Fd | null; readonly progFd: Fd; readonly ifindex?: number }): Fd;
  /**
   * The next bytes of a descriptor that is read, at most `size`. An iterator is empty at the end; a packet socket gives a packet a
   * time, EAGAIN where there is none.
   */
  readFd?(fd: Fd, size: number): Uint8Array;
  /** Absent: there is no machine with files (embedded). */
  readonly files?: MachineFiles;
  /** Absent: no traffic control. */
  readonly tc?: TrafficControl;
  /** Index of a network interface by name, null where there is none. */
  ifNameToIndex(name: string): number | null;
  tracePipe(options?: { readonly signal?: AbortSignal }): AsyncIterable<TraceLine>;
  features(): KernelFeatures;
  /** BTF of the kernel itself, null where it has none. */
  kernelBtf(): Uint8Array | null;
  /** The kernel's build configuration as text (`CONFIG_HZ=250`), null where it does not tell. */
  kernelConfig?(): string | null;
  /**
   * Programs that are loaded from now on are interpreted, and their runs are watched; null: no longer watched. Absent: programs run
   * where nobody can watch (the host).
   */
  observe?(observer: ProgramObserver | null): void;
  /** The machine around an embedded kernel, which people drive: packets, events, time. Null on the host. */
  readonly simulator: Simulator | null;
  /** CPUs that run at the same time; absent or null where there is one, or it is not the caller who says what runs where. */
  readonly cpus?: KernelCpus | null;
  /** Closes everything that is still open; pins stay where the kernel outlives its user. */
  shutdown(): void;
}
