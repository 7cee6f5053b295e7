/** The objects behind descriptors: maps, programs, BTF. Links and events stand in their own files. */
import type { Btf } from '../btf/index.ts';
import type { ExecutableProgram, PreparedProgram } from '../contracts/engine.ts';
import type { LineInfo, TargetFunction, VerifyStats } from '../contracts/verify.ts';
import type { EmbeddedMap } from '../maps/index.ts';
import type { ProgTypeRow } from '../spec/types.ts';
import { BPF_MAP_FLAGS } from '../uapi/index.ts';
import { type IdTable, KernelObject } from './fd-table.ts';

export class BtfObject extends KernelObject {
  readonly what = 'bpf-btf';
  readonly id: number;
  readonly btf: Btf;
  /** As loaded. */
  readonly bytes: Uint8Array;
  readonly #ids: IdTable<BtfObject>;

  constructor(btf: Btf, bytes: Uint8Array, ids: IdTable<BtfObject>) {
    super();
    this.btf = btf;
    this.bytes = bytes;
    this.#ids = ids;
    this.id = ids.allocate(this);
  }

  protected destroy(): void {
    this.#ids.remove(this.id);
  }
}

export interface MapParts {
  readonly map: EmbeddedMap;
  readonly btf:
    | { readonly object: BtfObject; readonly keyTypeId: number; readonly valueTypeId: number }
    | undefined;
  readonly mapExtra: bigint;
  /** Of struct_ops maps: the type of their value in the kernel's types. */
  readonly vmlinuxValueTypeId?: number;
}

/** What all programs of one program array have in common (kernel: bpf_map_owner). */
export interface ProgArrayOwner {
  readonly type: ProgTypeRow;
  readonly engine: string;
  readonly xdpFrags: boolean;
  readonly expectedAttachType: number;
  /** See `ProgramParts.attachProto`. */
  readonly attachProto: string;
}

/** The machine, to a map. */
export interface MapOwner {
  /** No descriptor and no pin stands for it any longer. */
  userGone(map: MapObject): void;
  /** The last reference has gone. */
  removeMap(map: MapObject): void;
  /** Calls `free` when no program can be looking at the map any more. Absent: at once. */
  afterGrace?(free: () => void): void;
}

/** The element of a struct_ops map, to the commands (`struct-ops.ts`). */
export interface StructContents {
  update(key: Uint8Array, value: Uint8Array, flags: number): void;
  lookup(key: Uint8Array): Uint8Array | null;
  nextKey(key: Uint8Array | null): Uint8Array | null;
  delete(): void;
  register(): void;
  unregister(): void;
  /** Registered without a link: holds its own map. */
  readonly holdsMap: boolean;
  readonly canBeLinked: boolean;
  free(): void;
}

export class MapObject extends KernelObject {
  readonly what = 'bpf-map';
  readonly parts: MapParts;
  frozen = false;
  /** What a struct_ops map holds. */
  structOps: StructContents | undefined;
  owner: ProgArrayOwner | undefined;
  readonly #owner: MapOwner;

  /** Takes over the references in `parts`. */
  constructor(parts: MapParts, owner: MapOwner) {
    super();
    this.parts = parts;
    this.#owner = owner;
  }

  get map(): EmbeddedMap {
    return this.parts.map;
  }

  get id(): number {
    return this.parts.map.info.id;
  }

  protected override lastUserGone(): void {
    const { type, flags } = this.map.info;
    const { BPF_F_PRESERVE_ELEMS } = BPF_MAP_FLAGS;
    // Perf events go with the descriptor that they came through, as far as the map was not made to keep them.
    const lets = type.holds === 'prog' || (type.holds === 'perf_event' && !(flags & BPF_F_PRESERVE_ELEMS));
    if (lets) this.map.releaseObjects();
    this.#owner.userGone(this);
  }

  protected destroy(): void {
    this.structOps?.free();
    this.#owner.removeMap(this);
    const free = () => this.parts.map.free();
    if (this.#owner.afterGrace === undefined) free();
    else this.#owner.afterGrace(free);
    this.parts.btf?.object.put();
  }
}

/** A function of a loaded program, to those who attach to it. */
export interface ProgramFunction extends TargetFunction {
  /** Arguments that it is called with, at most. */
  readonly args: number;
  /** Those that point to the program's context. */
  readonly contexts: readonly number[];
}

/** The function of another program that a program was loaded for. */
export interface ProgramTarget {
  readonly program: ProgObject;
  readonly btfId: number;
  readonly index: number;
}

/** One program at one point; a link replaces `program` in place, so that no event falls between old and new. */
export interface Attachment {
  program: ProgObject;
  /** Only events of this process; undefined: all. */
  readonly pid?: number;
  /** Only events on this CPU; undefined: on all. */
  readonly cpu?: number;
  /** bpf_get_attach_cookie */
  readonly cookie: bigint;
  /** The socket whose filter it is. */
  readonly socket?: PacketSocket;
}

export interface PacketSocket {
  isFor(ifindex: number): boolean;
  deliver(data: Uint8Array, kept: number): void;
}

/** What is attached to a function. */
export interface FunctionHooks {
  enter: readonly Attachment[];
  leave: readonly Attachment[];
  replace: Attachment | undefined;
}

export interface ProgramParts {
  readonly type: ProgTypeRow;
  readonly expectedAttachType: number;
  readonly name: string;
  readonly tag: string;
  readonly gplCompatible: boolean;
  readonly sleepable: boolean;
  /** Instructions after rewrite, as `prog dump xlated` shows them. */
  readonly xlated: Uint8Array;
  /** As rewritten: what `executable` was made from, but for what is attached to its functions. */
  readonly program: ExecutableProgram;
  /** Changes with what is attached to the program's functions; `code` is what it was made from. */
  executable: PreparedProgram;
  code: ExecutableProgram;
  /** It counts as compiled. */
  readonly jited: boolean;
  /** Of a program that stands in for a function: how many arguments; -1: R1 is the context. */
  readonly entryArguments: number;
  /** By number in `program`. */
  readonly functions: readonly ProgramFunction[];
  readonly stats: VerifyStats;
  readonly btf: BtfObject | undefined;
  /** Records for `xlated`. */
  readonly funcInfo: Uint8Array;
  readonly lineInfo: Uint8Array;
  /** Lines of the program as loaded, in order of instructions. */
  readonly lines: readonly LineInfo[];
  readonly attachBtfId: number;
  /** Tells the prototypes of functions apart that programs attach to: their context is its arguments. Empty: there is none. */
  readonly attachProto: string;
  /** The function that it traces: how many arguments, and whether it sees the result. */
  readonly traced: { readonly args: number; readonly returned: boolean };
  /** BPF_F_XDP_HAS_FRAGS */
  readonly xdpFrags: boolean;
  /** It was loaded for a function of another program. */
  readonly forProgram: boolean;
  /** Of a program that replaces functions: type and attach type of those that it may be attached to. */
  readonly replaces: Pick<ProgramParts, 'type' | 'expectedAttachType'> | undefined;
  /** It traces a tracing program. */
  readonly tracesTracing: boolean;
  /** Bytes of the context that it reads at most. */
  readonly maxCtxOffset: number;
  /** It calls helpers that move the edges of its packet, or may tail-call programs that do. */
  readonly movesPacket: boolean;
  /** Tells who watches programs of code that was made of this one. */
  readonly announce: (executable: ExecutableProgram) => void;
  /** Nanoseconds of the boot clock. */
  readonly loadTime: bigint;
  readonly uid: number;
}

export class ProgObject extends KernelObject {
  readonly what = 'bpf-prog';
  readonly id: number;
  readonly parts: ProgramParts;
  readonly maps: MapObject[];
  runCount = 0;
  runTimeNs = 0;
  /** The fault that ended a run. Such a program is detached and not run again. */
  fault: Error | undefined;
  /** Runs of it that were left out because it was running already, or runs nested too deep. */
  recursionMisses = 0;
  /** It runs because of a function that it traces. */
  active = false;
  /** What it was loaded for, until it is attached: a reference. */
  target: ProgramTarget | undefined;
  /** What is attached to its functions, by their numbers. */
  readonly hooks = new Map<number, FunctionHooks>();
  /** Earlier forms of the code whose callbacks may still be called. */
  readonly retired: PreparedProgram[] = [];
  readonly #ids: IdTable<ProgObject>;

  /** Takes over the references in `maps`, in `parts.btf` and in `target`. */
  constructor(parts: ProgramParts, maps: MapObject[], ids: IdTable<ProgObject>, target?: ProgramTarget) {
    super();
    this.target = target;
    this.parts = parts;
    this.maps = maps;
    this.#ids = ids;
    this.id = ids.allocate(this);
  }

  get type(): ProgTypeRow {
    return this.parts.type;
  }

  /** The type whose rules it follows: of one that replaces functions, that of its target. */
  get runsAs(): ProgTypeRow {
    return this.parts.replaces?.type ?? this.parts.type;
  }

  protected destroy(): void {
    this.#ids.remove(this.id);
    this.parts.executable.release();
    for (const executable of this.retired) executable.release();
    this.target?.program.put();
    this.parts.btf?.put();
    for (const map of this.maps) map.put();
  }
}
