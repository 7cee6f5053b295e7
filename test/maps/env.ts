/** A kernel of a few lines around the maps: numbers instead of fds, references counted. */
import type { BpfMap, MapCreateParams, MapObjectResolver } from '../../src/contracts/maps.ts';
import { createMap, createMapsModule, type EmbeddedMap, type MapContext } from '../../src/maps/index.ts';
import { GuestMemory, RUN_STATE } from '../../src/memory/index.ts';
import { mapTypeByName } from '../../src/spec/map-types.ts';
import { ERRNO } from '../../src/util/index.ts';

export interface MapSizes {
  readonly keySize?: number;
  readonly valueSize?: number;
  readonly maxEntries?: number;
  readonly flags?: number;
  readonly inner?: BpfMap;
  readonly specialFields?: MapCreateParams['specialFields'];
}

export class TestKernel implements MapObjectResolver {
  readonly memory: GuestMemory;
  readonly ctx: MapContext;
  /** fd → map; tests choose the numbers. */
  readonly maps = new Map<number, EmbeddedMap>();
  /** References held by other maps: +1 taken, -1 given back, by `map 7`, `prog 3`, `event 1`. */
  readonly references = new Map<string, number>();
  interfaceExists?: (ifindex: number) => boolean;
  /** Whether kernels are made with a memory that threads may share. */
  static shared = false;
  #nextId = 1;

  constructor(possibleCpus = 2, maximumPages = 4096) {
    this.memory = new GuestMemory({ maximumPages, shared: TestKernel.shared });
    const module = createMapsModule(this.memory);
    this.ctx = { memory: this.memory, module, resolver: this, possibleCpus };
  }

  params(type: string, sizes: MapSizes = {}): MapCreateParams {
    const row = mapTypeByName(type);
    if (row === undefined) throw new Error(`no map type ${type}`);
    return {
      id: this.#nextId,
      name: `${type}_${this.#nextId}`,
      type: row,
      keySize: sizes.keySize ?? 4,
      valueSize: sizes.valueSize ?? 8,
      maxEntries: sizes.maxEntries ?? 4,
      flags: sizes.flags ?? 0,
      mapExtra: 0n,
      ...(sizes.inner === undefined ? {} : { inner: sizes.inner }),
      ...(sizes.specialFields === undefined ? {} : { specialFields: sizes.specialFields }),
    };
  }

  create(type: string, sizes: MapSizes = {}): EmbeddedMap {
    const map = createMap(this.params(type, sizes), this.ctx);
    this.#nextId++;
    return map;
  }

  set cpu(cpu: number) {
    this.memory.u32[RUN_STATE.cpu >>> 2] = cpu;
  }

  #count(what: string, by: number): void {
    this.references.set(what, (this.references.get(what) ?? 0) + by);
  }

  mapByFd(fd: number): EmbeddedMap | number {
    const map = this.maps.get(fd);
    if (map === undefined) return -ERRNO.EBADF;
    this.#count(`map ${map.info.id}`, 1);
    return map;
  }
  putMap(map: BpfMap): void {
    this.#count(`map ${map.info.id}`, -1);
  }
  mapByAddress(address: number): EmbeddedMap | undefined {
    return [...this.maps.values()].find((map) => map.layout.address === address);
  }
  progEntryByFd(fd: number): { entry: number; id: number } | number {
    if (fd < 100) return -ERRNO.EBADF;
    this.#count(`prog ${fd}`, 1);
    return { entry: fd - 99, id: fd };
  }
  putProg(id: number): void {
    this.#count(`prog ${id}`, -1);
  }
  perfEventByFd(fd: number): { id: number } | number {
    if (fd < 100) return -ERRNO.EBADF;
    this.#count(`event ${fd}`, 1);
    return { id: fd };
  }
  putPerfEvent(id: number): void {
    this.#count(`event ${id}`, -1);
  }
}

export function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

export function u64(value: number | bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt.asUintN(64, BigInt(value)), true);
  return bytes;
}
