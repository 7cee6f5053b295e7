/** Map type → implementation: the one list of what the embedded kernel has. A new type is one line here. */
import type { MapCreateParams } from '../contracts/maps.ts';
import type { MapTypeRow } from '../spec/types.ts';
import { BpfError } from '../util/index.ts';
import { ARENA } from './arena.ts';
import { ARRAY } from './array.ts';
import { ARRAY_OF_MAPS } from './array-of-maps.ts';
import { type EmbeddedMap, MapBlocks, type MapContext, type MapTypeImpl, type ProgramOps } from './base.ts';
import { CPUMAP } from './cpumap.ts';
import { checkMapCreate } from './create-check.ts';
import { DEVMAP, DEVMAP_HASH } from './devmap.ts';
import { HASH } from './hash.ts';
import { HASH_OF_MAPS } from './hash-of-maps.ts';
import { LPM_TRIE } from './lpm-trie.ts';
import { LRU_HASH } from './lru-hash.ts';
import { LRU_PERCPU_HASH } from './lru-percpu-hash.ts';
import type { MapsModule } from './module.ts';
import { PERCPU_ARRAY } from './percpu-array.ts';
import { PERCPU_HASH } from './percpu-hash.ts';
import { PERF_EVENT_ARRAY } from './perf-event-array.ts';
import { PROG_ARRAY } from './prog-array.ts';
import { QUEUE } from './queue.ts';
import { RINGBUF } from './ringbuf.ts';
import { SHAPE_ONLY } from './shape-only.ts';
import { STACK } from './stack.ts';
import { STACK_TRACE } from './stack-trace.ts';

/** By the name of the type's row. */
const TYPES: Readonly<Record<string, MapTypeImpl>> = {
  hash: HASH,
  array: ARRAY,
  prog_array: PROG_ARRAY,
  perf_event_array: PERF_EVENT_ARRAY,
  percpu_hash: PERCPU_HASH,
  percpu_array: PERCPU_ARRAY,
  lru_hash: LRU_HASH,
  lru_percpu_hash: LRU_PERCPU_HASH,
  lpm_trie: LPM_TRIE,
  array_of_maps: ARRAY_OF_MAPS,
  hash_of_maps: HASH_OF_MAPS,
  queue: QUEUE,
  stack: STACK,
  stack_trace: STACK_TRACE,
  ringbuf: RINGBUF,
  devmap: DEVMAP,
  devmap_hash: DEVMAP_HASH,
  cpumap: CPUMAP,
  arena: ARENA,
};

/** Names of the map types that `createMap` can make. */
export const IMPLEMENTED_MAP_TYPES: readonly string[] = Object.keys(TYPES);

function implementation(type: MapTypeRow): MapTypeImpl | undefined {
  return Object.hasOwn(TYPES, type.name) ? TYPES[type.name] : undefined;
}

/** What programs call on maps of this type and key size; undefined where the type is not implemented. */
export function programOps(module: MapsModule, type: MapTypeRow, keySize: number): ProgramOps | undefined {
  return implementation(type)?.ops(module.wasm, keySize);
}

const describe = ({ type, keySize, valueSize, maxEntries, flags, mapExtra }: MapCreateParams): string =>
  `map type ${type.name} with key_size ${keySize}, value_size ${valueSize}, max_entries ${maxEntries}, ` +
  `map_flags 0x${flags.toString(16)}${mapExtra === 0n ? '' : `, map_extra 0x${mapExtra.toString(16)}`}`;

/**
 * Makes a map; of a type that is not implemented one with `shapeOnly`. Throws BpfError: what `checkMapCreate` refuses, ENOMEM
 * where the kernel's memory is exhausted (nothing is left behind then).
 */
export function createMap(params: MapCreateParams, ctx: MapContext): EmbeddedMap {
  const type = implementation(params.type) ?? SHAPE_ONLY;
  const refused = checkMapCreate(params);
  if (refused < 0) throw BpfError.fromReturn(refused, `${describe(params)} is refused`);
  const blocks = new MapBlocks(ctx.memory);
  try {
    return type.create(params, ctx, blocks);
  } catch (error) {
    blocks.free();
    throw error;
  }
}
