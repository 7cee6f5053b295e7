/**
 * What all maps share: the header in linear memory, moving keys and values in and out of it, freezing, and the errno that
 * Linux gives where a type lacks an operation. Types override what they have; the hooks get offsets, not bytes.
 */
import type { BpfMap, MapCreateParams, MapInfo, MapLayout, MapObjectResolver } from '../contracts/maps.ts';
import type { GuestMemory } from '../memory/index.ts';
import { BPF_MAP_FLAGS } from '../uapi/index.ts';
import { alignUp, BpfError, ERRNO } from '../util/index.ts';
import {
  HDR_COUNT,
  HDR_CPUS,
  HDR_FLAGS,
  HDR_HAS_LOCK,
  HDR_ID,
  HDR_KEY_SIZE,
  HDR_LOCK_OFF,
  HDR_MAX_ENTRIES,
  HDR_SIZE,
  HDR_SPECIAL,
  HDR_TYPE,
  HDR_VALUE_SIZE,
  NO_LOCK,
} from './layout.ts';
import type { MapsModule, MapsWasm } from './module.ts';
import { freeSlabs, slabsOf } from './slabs.ts';

/** What a map needs of the kernel around it. */
export interface MapContext {
  readonly memory: GuestMemory;
  readonly module: MapsModule;
  readonly resolver: MapObjectResolver;
  readonly possibleCpus: number;
  /** Calls `free` when no program can hold what it was given before; absent: none can. */
  afterGrace?(free: () => void): void;
  /** 32 bits for the hash seed of a map without BPF_F_ZERO_SEED; default 0, which makes iteration order repeatable. */
  seed?(): number;
}

/** BPF_F_LOCK: under the value's bpf_spin_lock. */
const F_LOCK = 4;

/** No memory is larger, and sizes beyond 2^53 are not numbers that can be trusted. */
const MAX_BLOCK = 2 ** 32;

/** The blocks of one map: freed together, also when the map's construction fails half-way. */
export class MapBlocks {
  readonly #memory: GuestMemory;
  readonly #starts: number[] = [];
  #bytes = 0;

  constructor(memory: GuestMemory) {
    this.#memory = memory;
  }
  get bytes(): number {
    return this.#bytes;
  }
  allocate(size: number, label: string, align: number): number {
    if (size > MAX_BLOCK) throw new BpfError('ENOMEM', `no room for ${size} bytes (${label})`);
    const start = this.#memory.allocate(size, label, align);
    this.#starts.push(start);
    this.#bytes += size;
    return start;
  }
  free(): void {
    for (const start of this.#starts) this.#memory.free(start);
    this.#starts.length = 0;
    this.#bytes = 0;
  }
}

/** One map type of the registry. */
export interface MapTypeImpl {
  /** Throws BpfError (ENOMEM) where there is no room. The parameters have passed `checkMapCreate`. */
  create(params: MapCreateParams, ctx: MapContext, blocks: MapBlocks): EmbeddedMap;
  /** What programs call on a map with keys of `keySize` bytes. */
  ops(wasm: MapsWasm, keySize: number): ProgramOps;
}

type Words = (...words: number[]) => number;

/**
 * The operations that programs call, with the words of the helper's row: exports of Wasm, so that engines import them as they
 * are. Absent: the type has no such operation and the verifier lets no program call it.
 */
export interface ProgramOps {
  /** (map, key) → value or 0. */
  readonly lookup?: Words;
  /** (map, key, value, flags, flagsHigh) → 0 or -errno. */
  readonly update?: Words;
  /** (map, key) → 0 or -errno. */
  readonly delete?: Words;
  /** (map, key, cpu) → value or 0. */
  readonly lookupPercpu?: Words;
  /** (map, value, flags, flagsHigh) → 0 or -errno. */
  readonly push?: Words;
  /** (map, value) → 0 or -errno. */
  readonly pop?: Words;
  readonly peek?: Words;
  /** (map, key) → value or 0: where bpf_redirect_map sends a frame. */
  readonly redirect?: Words;
}

/** A visit of bpf_for_each_map_elem: offsets of key and value; true stops the walk. */
export type ElementVisitor = (key: number, value: number) => boolean;

/** A map of the embedded kernel: the contract, and what helpers and registry use besides. */
export interface EmbeddedMap extends BpfMap {
  /** As `nextKey`; but after a key that has gone the walk goes on about where it was, which may give keys again, and does not start anew. */
  keyAfter(key: Uint8Array): Uint8Array | number;
  readonly frozen: boolean;
  /** Reservations or inserts refused for lack of room. */
  readonly dropped: number;
  /** Calls `visit` for each element; the number visited, or -errno where the type has no walk. */
  walk(visit: ElementVisitor, key: number): number;
  /** Types that hold objects: drops what they hold while the map itself lives on (last user reference gone). */
  releaseObjects(): void;
}

export abstract class MapBase implements EmbeddedMap {
  readonly info: MapInfo;
  readonly layout: MapLayout;
  readonly userValueSize: number;
  protected readonly ctx: MapContext;
  readonly #blocks: MapBlocks;
  #frozen = false;
  #info: { -readonly [K in keyof MapInfo]: MapInfo[K] };

  /** `extra` and `headerAlign`: bytes behind the header in the same block, and its alignment. */
  constructor(params: MapCreateParams, ctx: MapContext, blocks: MapBlocks, extra = 0, headerAlign = 16) {
    this.ctx = ctx;
    this.#blocks = blocks;
    const { type, keySize, valueSize, maxEntries, flags, id, name } = params;
    this.#info = {
      id,
      name,
      type,
      keySize,
      valueSize,
      maxEntries,
      flags,
      // A copy: what programs are verified against is a shape, not the map that lent it.
      ...(params.inner === undefined ? {} : { inner: { ...params.inner.info } }),
      ...(params.mapExtra === 0n ? {} : { mapExtra: params.mapExtra }),
      ...(params.specialFields === undefined ? {} : { specialFields: params.specialFields }),
      ...(params.hasBtf === undefined ? {} : { hasBtf: params.hasBtf }),
    };
    this.info = this.#info;
    this.userValueSize = type.perCpu ? alignUp(valueSize, 8) * ctx.possibleCpus : valueSize;
    const address = this.allocate(HDR_SIZE + extra, 'header', headerAlign);
    this.layout = { address, values: 0, stride: 0 };
    this.set(HDR_TYPE, type.id);
    this.set(HDR_KEY_SIZE, keySize);
    this.set(HDR_VALUE_SIZE, valueSize);
    this.set(HDR_MAX_ENTRIES, maxEntries);
    this.set(HDR_FLAGS, flags);
    this.set(HDR_ID, id);
    this.set(HDR_CPUS, ctx.possibleCpus);
    this.#writeSpecialFields(params);
  }

  get address(): number {
    return this.layout.address;
  }
  get frozen(): boolean {
    return this.#frozen;
  }
  get memory(): number {
    let bytes = this.#blocks.bytes;
    if (this.slabbed) for (const slab of slabsOf(this.ctx.memory, this.address)) bytes += slab.bytes;
    return bytes;
  }
  /** Elements come from slabs that any thread makes. */
  protected get slabbed(): boolean {
    return false;
  }
  get dropped(): number {
    return 0;
  }

  // The operations of bpf(2).

  lookup(key: Uint8Array, flags = 0): Uint8Array | number {
    const at = this.findForUser(this.putKey(key));
    if (at < 0) return at;
    if (at === 0) return -ERRNO.ENOENT;
    if (!this.ctx.memory.shared || (flags & F_LOCK) === 0 || this.get(HDR_HAS_LOCK) === 0)
      return this.readValue(at);
    const { spin_lock, spin_unlock } = this.ctx.module.wasm;
    const lock = at + this.get(HDR_LOCK_OFF);
    spin_lock(lock);
    const value = this.readValue(at);
    spin_unlock(lock);
    return value;
  }

  update(key: Uint8Array, value: Uint8Array, flags: number): number {
    if (this.#frozen) return -ERRNO.EPERM;
    const keyAt = this.putKey(key, value.length);
    const valueAt = keyAt + alignUp(key.length, 8);
    this.ctx.memory.write(valueAt, value);
    return this.updateFromUser(keyAt, valueAt, flags);
  }

  delete(key: Uint8Array): number {
    if (this.#frozen) return -ERRNO.EPERM;
    return this.deleteAt(this.putKey(key));
  }

  nextKey(key: Uint8Array | null): Uint8Array | number {
    return this.#keyAfter(key, false);
  }

  keyAfter(key: Uint8Array): Uint8Array | number {
    return this.#keyAfter(key, true);
  }

  #keyAfter(key: Uint8Array | null, onward: boolean): Uint8Array | number {
    const { keySize } = this.info;
    const from = key === null ? 0 : this.putKey(key, keySize);
    const to = key === null ? this.ctx.module.scratch(keySize) : from + alignUp(keySize, 8);
    const at = this.nextKeyAt(from, to, onward);
    return at <= 0 ? at || -ERRNO.ENOENT : this.ctx.memory.read(at, keySize);
  }

  lookupAndDelete(_key: Uint8Array, _flags = 0): Uint8Array | number {
    return -ERRNO.ENOTSUPP;
  }

  valueAddress(_offset: number): number {
    return -ERRNO.ENOTSUPP;
  }

  count(): number {
    return this.get(HDR_COUNT);
  }

  freeze(): number {
    if (this.info.specialFields !== undefined && this.info.specialFields.length > 0) return -ERRNO.ENOTSUPP;
    if (this.#frozen) return -ERRNO.EBUSY;
    this.#frozen = true;
    // What programs read of a map that neither they nor user space can write is known when they are verified.
    if ((this.info.flags & BPF_MAP_FLAGS.BPF_F_RDONLY_PROG) !== 0 && this.info.type.directValue) {
      this.#info.frozen = true;
      this.#info.constant = (offset, size) => this.constantAt(offset, size);
    }
    return 0;
  }

  walk(_visit: ElementVisitor, _key: number): number {
    return -ERRNO.EINVAL;
  }

  releaseObjects(): void {}

  free(): void {
    this.releaseObjects();
    if (this.slabbed) freeSlabs(this.ctx.memory, this.address);
    this.#blocks.free();
  }

  // What types implement; keys and values are offsets of scratch.

  /** Offset of the value for user space, 0: none, or -errno. */
  protected findForUser(_key: number): number {
    return -ERRNO.ENOTSUPP;
  }
  protected updateFromUser(_key: number, _value: number, _flags: number): number {
    return -ERRNO.ENOTSUPP;
  }
  protected deleteAt(_key: number): number {
    return -ERRNO.ENOTSUPP;
  }
  /** Offset of the next key (`key` 0: of the first), which may be left at `to`; 0: none, or -errno. `onward`: see `keyAfter`. */
  protected nextKeyAt(_key: number, _to: number, _onward: boolean): number {
    return -ERRNO.ENOTSUPP;
  }
  /** A copy of the value at `at` as user space sees it. */
  protected readValue(at: number): Uint8Array {
    const value = this.ctx.memory.read(at, this.info.valueSize);
    for (const field of this.info.specialFields ?? []) value.fill(0, field.offset, field.offset + field.size);
    return value;
  }
  protected constantAt(_offset: number, _size: number): bigint | undefined {
    return undefined;
  }

  // Tools of the types.

  protected get(field: number): number {
    return this.ctx.memory.u32[(this.layout.address + field) >>> 2];
  }
  protected set(field: number, value: number): void {
    this.ctx.memory.u32[(this.layout.address + field) >>> 2] = value;
  }

  /** A zeroed block that lives as long as the map. */
  protected allocate(size: number, label: string, align = 16): number {
    return this.#blocks.allocate(size, `${label} of map ${this.#info.id} (${this.#info.name})`, align);
  }

  /** Where user space sees the map (arenas). */
  protected setUserAddress(address: bigint): void {
    this.#info.mapExtra = address;
  }

  protected setLayout(layout: Partial<MapLayout>): void {
    Object.assign(this.layout, layout);
  }

  /** Copies a key to scratch, with room for a value behind it. */
  protected putKey(key: Uint8Array, room = 0): number {
    const at = this.ctx.module.scratch(alignUp(key.length, 8) + room + 8);
    this.ctx.memory.write(at, key);
    return at;
  }

  #writeSpecialFields(params: MapCreateParams): void {
    const fields = [...(params.specialFields ?? [])].sort((a, b) => a.offset - b.offset);
    if (fields.length === 0) return;
    const table = this.allocate(4 + 8 * fields.length, 'special fields');
    const { u32 } = this.ctx.memory;
    u32[table >>> 2] = fields.length;
    fields.forEach((field, i) => {
      u32[(table >>> 2) + 1 + 2 * i] = field.offset;
      u32[(table >>> 2) + 2 + 2 * i] = field.size;
    });
    this.set(HDR_SPECIAL, table);
    // There is one at most, of either kind.
    const lock = fields.find(({ kind }) => kind === 'spin_lock' || kind === 'res_spin_lock');
    this.set(HDR_LOCK_OFF, lock?.offset ?? NO_LOCK);
    if (lock?.kind === 'spin_lock') this.set(HDR_HAS_LOCK, 1);
  }
}
