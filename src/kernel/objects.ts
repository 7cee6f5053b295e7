/** The objects behind descriptors: maps, programs, BTF. Links and events stand in their own files. */
import type { Btf } from '../btf/index.ts';
import type { PreparedProgram } from '../contracts/engine.ts';
import type { LineInfo, VerifyStats } from '../contracts/verify.ts';
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
}

/** What all programs of one program array have in common (kernel: bpf_map_owner). */
export interface ProgArrayOwner {
  readonly type: ProgTypeRow;
  readonly engine: string;
}

export class MapObject extends KernelObject {
  readonly what = 'bpf-map';
  readonly parts: MapParts;
  frozen = false;
  owner: ProgArrayOwner | undefined;
  readonly #onDestroy: (map: MapObject) => void;

  /** Takes over the references in `parts`. `onDestroy` forgets the id. */
  constructor(parts: MapParts, onDestroy: (map: MapObject) => void) {
    super();
    this.parts = parts;
    this.#onDestroy = onDestroy;
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
  }

  protected destroy(): void {
    this.#onDestroy(this);
    this.parts.map.free();
    this.parts.btf?.object.put();
  }
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
  readonly executable: PreparedProgram;
  readonly stats: VerifyStats;
  readonly btf: BtfObject | undefined;
  /** Records for `xlated`. */
  readonly funcInfo: Uint8Array;
  readonly lineInfo: Uint8Array;
  /** Lines of the program as loaded, in order of instructions. */
  readonly lines: readonly LineInfo[];
  readonly attachBtfId: number;
  /** Bytes of the context that it reads at most. */
  readonly maxCtxOffset: number;
  /** It calls helpers that move the edges of its packet, or may tail-call programs that do. */
  readonly movesPacket: boolean;
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
  readonly #ids: IdTable<ProgObject>;

  /** Takes over the references in `maps` and in `parts.btf`. */
  constructor(parts: ProgramParts, maps: MapObject[], ids: IdTable<ProgObject>) {
    super();
    this.parts = parts;
    this.maps = maps;
    this.#ids = ids;
    this.id = ids.allocate(this);
  }

  get type(): ProgTypeRow {
    return this.parts.type;
  }

  protected destroy(): void {
    this.#ids.remove(this.id);
    this.parts.executable.release();
    this.parts.btf?.put();
    for (const map of this.maps) map.put();
  }
}
