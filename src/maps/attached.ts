/**
 * A map as another thread than its maker's sees it: nothing but its header in the shared memory. Programs get all that they can have of
 * it; commands, references and objects in it are the business of the thread that made it.
 */
import type { BpfMap, MapInfo, MapLayout } from '../contracts/maps.ts';
import type { GuestMemory } from '../memory/index.ts';
import { RUN_STATE } from '../memory/index.ts';
import { mapTypeById } from '../spec/map-types.ts';
import { ERRNO } from '../util/index.ts';
import type { ElementVisitor } from './base.ts';
import { chainAt } from './chains.ts';
import {
  ELEM_KEY,
  ELEM_STATE,
  HDR_BUCKETS,
  HDR_COUNT,
  HDR_CPU_STRIDE,
  HDR_FLAGS,
  HDR_ID,
  HDR_KEY_SIZE,
  HDR_MASK,
  HDR_MAX_ENTRIES,
  HDR_STRIDE,
  HDR_TYPE,
  HDR_VALUE_OFF,
  HDR_VALUE_SIZE,
  HDR_VALUES,
  SHARED_BUCKET_BYTES,
} from './layout.ts';

/** What is known besides the header, where it is known: an inner map's name and layout are not. */
export interface AttachedParts {
  readonly info?: Partial<Pick<MapInfo, 'name' | 'inner' | 'specialFields' | 'mapExtra'>>;
  readonly layout?: MapLayout;
}

class AttachedMap implements BpfMap {
  readonly info: MapInfo;
  readonly layout: MapLayout;
  readonly userValueSize: number;
  readonly memory = 0;
  readonly #memory: GuestMemory;

  constructor(memory: GuestMemory, address: number, { info = {}, layout }: AttachedParts) {
    this.#memory = memory;
    this.layout = layout ?? { address, values: 0, stride: 0 };
    const get = (field: number): number => memory.u32[(address + field) >>> 2]!;
    this.info = {
      name: '',
      ...info,
      id: get(HDR_ID),
      type: mapTypeById(get(HDR_TYPE))!,
      keySize: get(HDR_KEY_SIZE),
      valueSize: get(HDR_VALUE_SIZE),
      maxEntries: get(HDR_MAX_ENTRIES),
      flags: get(HDR_FLAGS),
    };
    this.userValueSize = this.info.valueSize;
  }

  #get(field: number): number {
    return this.#memory.u32[(this.layout.address + field) >>> 2]!;
  }

  /** Of maps with numbers as keys: what stands in the slot. */
  lookup(key: Uint8Array): Uint8Array | number {
    const values = this.#get(HDR_VALUES);
    const index = new DataView(key.buffer, key.byteOffset).getUint32(0, true);
    if (values === 0 || index >= this.info.maxEntries) return -ERRNO.ENOENT;
    return this.#memory.read(values + index * this.#get(HDR_STRIDE), this.info.valueSize);
  }
  update(): number {
    return -ERRNO.ENOTSUPP;
  }
  delete(): number {
    return -ERRNO.ENOTSUPP;
  }
  nextKey(): number {
    return -ERRNO.ENOTSUPP;
  }
  lookupAndDelete(): number {
    return -ERRNO.ENOTSUPP;
  }
  valueAddress(): number {
    return -ERRNO.ENOTSUPP;
  }
  freeze(): number {
    return -ERRNO.ENOTSUPP;
  }
  count(): number {
    return this.#get(HDR_COUNT);
  }
  free(): void {}

  /** bpf_for_each_map_elem. */
  walk(visit: ElementVisitor, key: number): number {
    return this.#get(HDR_VALUES) !== 0 ? this.#walkSlots(visit, key) : this.#walkChains(visit);
  }

  /** Bytes from CPU 0's values to those of the CPU that runs. */
  #own(): number {
    return this.#get(HDR_CPU_STRIDE) * this.#memory.u32[(RUN_STATE.cpu + this.#memory.cpuDelta) >>> 2]!;
  }

  #walkSlots(visit: ElementVisitor, key: number): number {
    const { maxEntries } = this.info;
    const start = this.#get(HDR_VALUES) + this.#own();
    const stride = this.#get(HDR_STRIDE);
    for (let i = 0; i < maxEntries; i++) {
      this.#memory.u32[key >>> 2] = i;
      if (visit(key, start + i * stride)) return i + 1;
    }
    return maxEntries;
  }

  #walkChains(visit: ElementVisitor): number {
    const buckets = this.#get(HDR_BUCKETS);
    const mask = this.#get(HDR_MASK);
    const toValue = this.#get(HDR_VALUE_OFF) + this.#own();
    let visited = 0;
    for (let at = 0; at <= mask; at++) {
      for (const elem of chainAt(this.#memory, buckets + at * SHARED_BUCKET_BYTES)) {
        if ((this.#memory.u32[(elem + ELEM_STATE) >>> 2]! & 1) !== 0) continue;
        visited++;
        if (visit(elem + ELEM_KEY, elem + toValue)) return visited;
      }
    }
    return visited;
  }
}

/** The map whose header lies at `address` of a shared memory; undefined where no type has the number that stands there. */
export function attachMap(
  memory: GuestMemory,
  address: number,
  parts: AttachedParts = {},
): (BpfMap & { walk(visit: ElementVisitor, key: number): number }) | undefined {
  if (mapTypeById(memory.u32[(address + HDR_TYPE) >>> 2]!) === undefined) return undefined;
  return new AttachedMap(memory, address, parts);
}
