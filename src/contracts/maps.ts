/** The seam of the maps: what verifier, engines, helpers and commands know of a map. */
import type { Btf } from '../btf/index.ts';
import type { ArenaPages } from '../memory/arena-pages.ts';
import type { MapTypeRow } from '../spec/types.ts';

/** Where special fields lie in a map's value, found in its BTF; offsets in bytes. */
export interface SpecialField {
  readonly kind:
    | 'spin_lock'
    | 'res_spin_lock'
    | 'timer'
    | 'task_work'
    | 'uptr'
    | 'kptr_untrusted'
    | 'kptr_ref'
    | 'kptr_percpu'
    | 'list_head'
    | 'list_node'
    | 'rb_root'
    | 'rb_node'
    | 'workqueue'
    | 'refcount';
  readonly offset: number;
  readonly size: number;
  /** For kptrs: BTF name of the struct pointed to; for lists and trees: of their elements. */
  readonly target?: string;
  /** That struct: the kernel's, or one of the program's own BTF. */
  readonly struct?: { readonly btf: Btf; readonly id: number; readonly kernel: boolean };
  /** For lists and trees: where the node lies in an element. */
  readonly nodeOffset?: number;
}

/** What the verifier knows of a map: plain data, so that it can be pointed at any kernel's maps. */
export interface MapInfo {
  /** Identity: two loads of one map are the same `MapInfo` object. */
  readonly id: number;
  readonly name: string;
  readonly type: MapTypeRow;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  /** BPF_F_* of MAP_CREATE. */
  readonly flags: number;
  /** `map_extra` of MAP_CREATE; for arenas the address of their memory in user space. */
  readonly mapExtra?: bigint;
  /** For maps of maps: what every inner map looks like. */
  readonly inner?: MapInfo;
  readonly specialFields?: readonly SpecialField[];
  readonly hasBtf?: boolean;
  /** Frozen and read-only for programs: loads at constant offsets are known. */
  readonly frozen?: boolean;
  /** Reads `size` bytes of the value at `offset` of a frozen read-only array (little-endian), undefined if out of range. */
  readonly constant?: (offset: number, size: number) => bigint | undefined;
}

/** What the fast paths of the engines know besides: where the map lies in the linear memory. */
export interface MapLayout {
  /** Offset of the map's header: the `struct bpf_map *` that programs hold. */
  readonly address: number;
  /** ARRAY-like: offset of value 0, and bytes from one value to the next; 0 where there is none. */
  readonly values: number;
  readonly stride: number;
  /** Per-CPU arrays (`values` and `stride` are 0): value `i` of CPU `c` stands at values + c * cpuStride + i * stride. */
  readonly perCpu?: { readonly values: number; readonly stride: number; readonly cpuStride: number };
  /** Hash tables: how lookups find an element. */
  readonly hash?: HashLayout;
}

/**
 * A table of `mask` + 1 buckets of 4 bytes at `buckets`, each the offset of its chain's first element or 0; a key is in the chain that
 * its hash (`maps/wasm/hash.ts`) with `seed` leads to. Does not change while the map lives. Other fields are offsets in an element.
 */
export interface HashLayout {
  readonly buckets: number;
  readonly mask: number;
  readonly seed: number;
  /** u32: the next element, 0 at the end. */
  readonly next: number;
  /** u32: the hash of the element's key. */
  readonly hashed: number;
  readonly key: number;
  readonly value: number;
  /** Bytes from one CPU's value to the next one's; 0: the map is not per CPU. */
  readonly cpuStride: number;
  /** u32 whose bit 0 a lookup sets; 0: lookups leave no trace. */
  readonly used: number;
}

/** Pages that programs and user space share (BPF_MAP_TYPE_ARENA). Addresses are the low halves of those in user space. */
export interface Arena extends ArenaPages {
  /** BPF_F_NO_USER_CONV: pointers that programs store stay low halves. */
  readonly keepsAddresses: boolean;
  /** mmap(2): gives the arena an address if it has none, and tells it. */
  map(): bigint;
  /** Offset in the linear memory of a byte that user space touches, whose page is there then; 0 where that is refused (SIGSEGV). */
  touch(offset: number): number;
  /** Address of `count` new pages, at `address` or (null) anywhere; -1 where there are none. */
  allocatePages(address: number | null, count: number): number;
  freePages(address: number, count: number): void;
  /** Keeps pages from being allocated anywhere: 0 or -errno. */
  reservePages(address: number, count: number): number;
}

/**
 * A live map: the operations of bpf(2) on it, and its place in memory. All results are 0 or -errno; keys and values are
 * exactly `keySize` and `userValueSize` bytes (the caller has checked).
 */
export interface BpfMap {
  readonly info: MapInfo;
  readonly layout: MapLayout;
  /** The type is not implemented: programs can be verified against the map, but not run. */
  readonly shapeOnly?: boolean;
  /** Bytes of one value as user space sees it: per-CPU maps give one value a possible CPU, each rounded up to 8. */
  readonly userValueSize: number;
  /** A copy of the value, or null where there is none; a number is -errno (EOPNOTSUPP …). */
  lookup(key: Uint8Array, flags?: number): Uint8Array | number;
  update(key: Uint8Array, value: Uint8Array, flags: number): number;
  delete(key: Uint8Array): number;
  /** The key after `key` (null: the first), or -errno (-ENOENT at the end). */
  nextKey(key: Uint8Array | null): Uint8Array | number;
  /** QUEUE and STACK push, pop, peek; others -EOPNOTSUPP. `lookupAndDelete` also for hash maps. */
  lookupAndDelete(key: Uint8Array, flags?: number): Uint8Array | number;
  /** Offset of the value's bytes for direct value access (array maps), or -errno. */
  valueAddress(offset: number): number;
  /** Number of elements, where the type can tell cheaply; for progress and pictures. */
  count(): number;
  freeze(): number;
  /**
   * For what a run that ended by a fault had reserved and not committed: gives what gives up all that was reserved until now, to be called
   * when no run is in progress that was so.
   */
  abandonReservations?(): () => void;
  /** Arenas only. */
  readonly arena?: Arena;
  /** Bytes of linear memory that the map occupies. */
  readonly memory: number;
  /** The last reference has gone. */
  free(): void;
}

/** What a map that holds other objects (maps, programs, perf events …) needs from the kernel around it. */
export interface MapObjectResolver {
  /** fd → live map, for maps of maps; takes a reference. -errno where the fd is not a map. */
  mapByFd(fd: number): BpfMap | number;
  /** Gives the reference back. */
  putMap(map: BpfMap): void;
  /** The map whose header lies at `address`. */
  mapByAddress(address: number): BpfMap | undefined;
  /** fd → index in the table of program entries and id of the program; checks owner compatibility; takes a reference. */
  progEntryByFd(fd: number, owner: BpfMap): { entry: number; id: number } | number;
  putProg(id: number): void;
  /** fd → a perf event's ring. */
  perfEventByFd(fd: number): { id: number } | number;
  putPerfEvent(id: number): void;
  /** Whether there is a network interface of this index (device maps). Absent: every index but 0 is one. */
  interfaceExists?(ifindex: number): boolean;
}

/** Sizes and flags of MAP_CREATE after the kernel has checked fds and privileges. */
export interface MapCreateParams {
  readonly id: number;
  readonly name: string;
  readonly type: MapTypeRow;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  readonly mapExtra: bigint;
  readonly inner?: BpfMap;
  readonly specialFields?: readonly SpecialField[];
  readonly hasBtf?: boolean;
}
