/**
 * The Wasm module behind the maps: one instance a kernel, on the kernel's linear memory. It owns no byte of that memory; maps
 * get theirs from the allocator here, on this side, and elements come out of slabs that `refill` hands over.
 */
import type { GuestMemory } from '../memory/index.ts';
import { BpfError, ERRNO } from '../util/index.ts';
import { MAPS_WASM } from './generated/maps-wasm.ts';
import { MAPS_WASM_SHARED } from './generated/maps-wasm-shared.ts';
import { refillShared } from './slabs.ts';

type Words = (...words: number[]) => number;

/**
 * Exports of src/maps/wasm, by name. Offsets in, offset (0: none) or -errno out. 64-bit flags are two words, low first.
 * Wasm gives signed words: the memory ends at 2 GiB, so that an offset is never negative.
 */
export interface MapsWasm {
  readonly array_lookup: Words;
  readonly array_update: Words;
  readonly array_delete: Words;
  readonly percpu_array_lookup: Words;
  readonly percpu_array_lookup_cpu: Words;
  readonly percpu_array_update: Words;
  readonly percpu_array_update_all: Words;
  readonly slot_lookup: Words;
  readonly array_of_maps_lookup: Words;
  readonly hash_lookup_4: Words;
  readonly hash_lookup_8: Words;
  readonly hash_lookup_n: Words;
  readonly percpu_hash_lookup_4: Words;
  readonly percpu_hash_lookup_8: Words;
  readonly percpu_hash_lookup_n: Words;
  readonly percpu_hash_lookup_cpu: Words;
  readonly lru_hash_lookup_4: Words;
  readonly lru_hash_lookup_8: Words;
  readonly lru_hash_lookup_n: Words;
  readonly lru_percpu_hash_lookup: Words;
  readonly lru_percpu_hash_lookup_cpu: Words;
  readonly hash_of_maps_lookup: Words;
  readonly hash_find: Words;
  readonly hash_next_key: Words;
  readonly hash_read: Words;
  readonly hash_take: Words;
  readonly lru_hash_take: Words;
  readonly hash_update: Words;
  readonly hash_delete: Words;
  readonly lru_hash_update: Words;
  readonly lru_hash_delete: Words;
  readonly percpu_hash_update: Words;
  readonly percpu_hash_update_all: Words;
  readonly lru_percpu_hash_update: Words;
  readonly lru_percpu_hash_update_all: Words;
  readonly lpm_lookup: Words;
  readonly lpm_lookup_4: Words;
  readonly lpm_update: Words;
  readonly lpm_delete: Words;
  readonly lpm_next_key: Words;
  readonly lpm_read: Words;
  readonly queue_push: Words;
  readonly queue_peek: Words;
  readonly queue_pop: Words;
  readonly stack_peek: Words;
  readonly stack_pop: Words;
  readonly skb_load_bytes: Words;
  readonly skb_store_bytes: Words;
  readonly xdp_load_bytes: Words;
  readonly xdp_store_bytes: Words;
  readonly ringbuf_reserve: Words;
  readonly ringbuf_submit: Words;
  readonly ringbuf_discard: Words;
  readonly ringbuf_output: Words;
  readonly spin_lock: Words;
  readonly spin_unlock: Words;
  readonly get_smp_processor_id: Words;
  readonly csum_diff: Words;
  readonly strncmp: Words;
  readonly strcmp: Words;
  readonly strcasecmp: Words;
  readonly strnchr: Words;
  readonly strchr: Words;
  readonly strchrnul: Words;
  readonly strrchr: Words;
  readonly strnlen: Words;
  readonly strlen: Words;
  readonly strspn: Words;
  readonly strcspn: Words;
  readonly strstr: Words;
  readonly strnstr: Words;
  readonly probe_read_kernel: Words;
  readonly probe_read_kernel_str: Words;
}

export interface MapsModule {
  readonly memory: GuestMemory;
  readonly wasm: MapsWasm;
  /** Called when a ring buffer has something new and Linux would wake its readers; set by `createHelpers`. */
  onWakeup: (map: number, flags: number) => void;
  /** Slab sources by map header: gives the map a new slab, false when memory is exhausted. */
  readonly refills: Map<number, () => boolean>;
  /** Sleeps a little while the word at an address is as seen, where this thread may sleep; only on a shared memory. */
  readonly nap: (word: number, seen: number) => void;
  /** Scratch of at least `size` bytes for keys and values of commands; valid until the next call. */
  scratch(size: number): number;
}

/** By whether the memory is shared: the module with threads is another one, so that a kernel with one CPU pays for no lock. */
const compiled = new Map<boolean, WebAssembly.Module>();

/** The code behind all maps, for a memory of either kind; threads may hand it to one another. */
export function mapsCode(shared: boolean): WebAssembly.Module {
  let module = compiled.get(shared);
  if (module === undefined) {
    const text = atob(shared ? MAPS_WASM_SHARED : MAPS_WASM);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
    module = new WebAssembly.Module(bytes);
    compiled.set(shared, module);
  }
  return module;
}

/** Milliseconds that a thread sleeps at most before it looks at a lock again. */
const NAP = 0.02;

/** Sleeps while the word at an address is as seen, but not for long. */
function napOn(memory: GuestMemory): (word: number, seen: number) => void {
  if (!canWait()) return () => {};
  return (word, seen) => void Atomics.wait(memory.i32, word >>> 2, seen, NAP);
}

/** Whether this thread may sleep in `Atomics.wait`: the main thread of a page may not. */
function canWait(): boolean {
  const word = new Int32Array(new SharedArrayBuffer(4));
  try {
    Atomics.wait(word, 0, 0, 0);
    return true;
  } catch {
    return false;
  }
}

/** One instance of the maps' Wasm on `memory`; `code` where another thread has compiled it. Compiled once a process. */
export function createMapsModule(memory: GuestMemory, code = mapsCode(memory.shared)): MapsModule {
  let scratchAt = 0;
  let scratchSize = 0;
  const refills = new Map<number, () => boolean>();
  const module: { -readonly [K in keyof MapsModule]: MapsModule[K] } = {
    memory,
    wasm: undefined as unknown as MapsWasm,
    onWakeup: () => {},
    refills,
    nap: memory.shared ? napOn(memory) : () => {},
    scratch(size) {
      if (size > scratchSize) {
        if (scratchAt !== 0) memory.free(scratchAt);
        scratchSize = 0;
        scratchAt = 0;
        const wanted = Math.max(4096, size);
        scratchAt = memory.allocate(wanted, 'scratch of map commands');
        scratchSize = wanted;
      }
      return scratchAt;
    },
  };
  const refill = memory.shared
    ? (map: number) => (refillShared(memory, map) ? 1 : 0)
    : (map: number) => (refills.get(map)?.() ? 1 : 0);
  const instance = new WebAssembly.Instance(code, {
    env: {
      memory: memory.wasm,
      refill,
      wakeup: (map: number, flags: number) => module.onWakeup(map, flags),
      ...(memory.shared ? { cpu_delta: memory.cpuDelta, nap: module.nap } : {}),
    },
  });
  module.wasm = instance.exports as unknown as MapsWasm;
  return module;
}

/** Runs `allocate`; false where the kernel's memory is exhausted. */
export function orNoMemory(allocate: () => void): boolean {
  try {
    allocate();
    return true;
  } catch (error) {
    if (error instanceof BpfError && error.errno === ERRNO.ENOMEM) return false;
    throw error;
  }
}
