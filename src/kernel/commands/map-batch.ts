/**
 * The batch commands of maps (linux/bpf.h: BPF_MAP_*_BATCH). Which of them a type has is said by its row. A token is the key
 * that the next batch begins with, so a walk goes on where it was even when what it delivered has been deleted meanwhile.
 */
import type { Fd, MapBatchAttr, MapBatchResult } from '../../contracts/kernel.ts';
import type { MapTypeRow } from '../../spec/types.ts';
import { BpfError } from '../../util/errors.ts';
import type { Machine } from '../machine.ts';
import type { MapObject } from '../objects.ts';
import {
  checkKey,
  checkLookupFlags,
  deleteElem,
  describe,
  found,
  mapDeleteElem,
  mapUpdateElem,
  readable,
  writable,
} from './map.ts';

type Batch = NonNullable<MapTypeRow['batches']>[number];

/** Elements that one batch may name: what the kernel could still allocate room for. */
const MAX_COUNT = 1 << 24;

/** The elements from the token on, at most `count`; taken out of the map where `remove` says so. */
export function mapLookupBatch(machine: Machine, attr: MapBatchAttr, remove = false): MapBatchResult {
  const object = readable(machine, attr.mapFd);
  if (remove) writable(machine, attr.mapFd);
  checkBatch(object, remove ? 'lookup_and_delete' : 'lookup');
  const elemFlags = checkLookupFlags(object, attr.elemFlags ?? 0);
  // Hash tables, which alone can take out, look at the flags; the walk that all others share does not.
  if (attr.flags && object.map.info.type.batches?.includes('lookup_and_delete'))
    throw new BpfError('EINVAL', 'batches take no flags');
  checkCount(attr.count);
  const keys: Uint8Array[] = [];
  const values: Uint8Array[] = [];
  if (attr.count === 0) return { keys, values, outBatch: attr.inBatch ?? null };
  // Where other CPUs change the map meanwhile a walk may come to a key again.
  const seen = machine.memory.shared ? new Set<string>() : undefined;
  let key = firstKey(object, attr.inBatch ?? null);
  while (key !== null && keys.length < attr.count) {
    const text = seen === undefined ? '' : String(key);
    const value =
      seen?.has(text) === true
        ? null
        : readOrTake(machine, object, key, elemFlags, remove && seen !== undefined);
    if (value !== null) {
      seen?.add(text);
      keys.push(key);
      values.push(value);
    }
    key = found(object.map.keyAfter(key), object, 'walk');
  }
  if (remove && seen === undefined) for (const taken of keys) deleteElem(machine, object, taken);
  return { keys, values, outBatch: key };
}

/** `take`: and removes the element at once, so that no update in between is lost. */
function readOrTake(
  machine: Machine,
  object: MapObject,
  key: Uint8Array,
  flags: number,
  take: boolean,
): Uint8Array | null {
  if (!take) return found(object.map.lookup(key, flags), object, 'look up');
  for (const value of machine.kfuncs.owningValues(object.map, key)) machine.valueGoes(object.map, value);
  return found(object.map.lookupAndDelete(key, flags), object, 'take from');
}

function firstKey(object: MapObject, token: Uint8Array | null): Uint8Array | null {
  if (token === null) return found(object.map.nextKey(null), object, 'walk');
  checkKey(object, token);
  const there = found(object.map.lookup(token), object, 'look up');
  return there === null ? found(object.map.keyAfter(token), object, 'walk') : token;
}

export function mapUpdateBatch(
  machine: Machine,
  attr: { mapFd: Fd; keys: readonly Uint8Array[]; values: readonly Uint8Array[]; elemFlags?: number },
): number {
  const object = writable(machine, attr.mapFd);
  checkBatch(object, 'update');
  if (attr.keys.length !== attr.values.length) {
    throw new BpfError('EINVAL', `${attr.keys.length} keys but ${attr.values.length} values`);
  }
  const flags = checkLookupFlags(object, attr.elemFlags ?? 0);
  return each(attr.keys, (key, i) =>
    mapUpdateElem(machine, { mapFd: attr.mapFd, key, value: attr.values[i], flags }),
  );
}

export function mapDeleteBatch(
  machine: Machine,
  attr: { mapFd: Fd; keys: readonly Uint8Array[]; elemFlags?: number },
): number {
  const object = writable(machine, attr.mapFd);
  checkBatch(object, 'delete');
  checkLookupFlags(object, attr.elemFlags ?? 0);
  return each(attr.keys, (key) => mapDeleteElem(machine, { mapFd: attr.mapFd, key }));
}

function checkBatch(object: MapObject, batch: Batch): void {
  if (!object.map.info.type.batches?.includes(batch))
    throw new BpfError('ENOTSUPP', `${describe(object)} has no batches of ${batch.replaceAll('_', ' ')}`);
}

function checkCount(count: number): void {
  if (!Number.isInteger(count) || count < 0 || count > MAX_COUNT)
    throw new BpfError('EINVAL', `a batch of ${count} elements`);
}

/** Stops at the first failure, whose message says how many were done. */
function each(keys: readonly Uint8Array[], action: (key: Uint8Array, index: number) => void): number {
  let done = 0;
  try {
    for (; done < keys.length; done++) action(keys[done], done);
  } catch (error) {
    if (!(error instanceof BpfError)) throw error;
    throw BpfError.fromReturn(-error.errno, `${error.message} (after ${done} elements of the batch)`);
  }
  return done;
}
