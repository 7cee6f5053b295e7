// HASH, PERCPU_HASH, LRU_HASH, LRU_PERCPU_HASH and HASH_OF_MAPS: chained buckets, newest element first, as Linux does.
// An update replaces the element (pointers to the old value keep seeing the old value) except under BPF_F_LOCK and in
// per-CPU maps, which update in place.
//
// Where threads share the memory every bucket has a word that is odd while its chain changes: updates hold it, lookups read the chain
// without it and read again where it has changed. LRU maps have one lock for updates besides, which their list needs.
import {
  BUCKET_BYTES, BUCKET_SEQ, ELEM_HASH, ELEM_KEY, ELEM_NEXT, ELEM_PREV, ELEM_STATE, HDR_BUCKETS, HDR_COUNT, HDR_CPU_STRIDE, HDR_CPUS,
  HDR_DROPPED, HDR_HAS_LOCK, HDR_KEY_SIZE, HDR_LRU_HEAD, HDR_LRU_TAIL, HDR_MAP_LOCK, HDR_MASK, HDR_MAX_ENTRIES, HDR_SEED, HDR_STRIDE,
  HDR_VALUE_OFF, SHARED_BUCKET_BYTES,
} from '../layout';
import {
  copy, copyLocked, copyValue, currentCpu, E2BIG, EEXIST, EINVAL, ENOENT, ENOMEM, EXIST, F_LOCK, initSpecial, NOEXIST, release,
  take, zero,
} from './common';
import { acquire, add, addBelow, beginChange, beginRead, endChange, free, isUnchanged, peek, poke, SHARED } from './lock';

const VALUE_AFTER_8: usize = ELEM_KEY + 8;

@inline
function mix64(x: u64): u32 {
  x = (x ^ (x >> 32)) * 0x9e3779b97f4a7c15;
  return <u32>(x >> 32) ^ <u32>x >> 15;
}

@inline
function hash4(key: u32, seed: u32): u32 {
  return mix64((<u64>seed << 32) | key);
}

@inline
function hash8(key: u64, seed: u32): u32 {
  return mix64(key ^ <u64>seed * 0xff51afd7ed558ccd);
}

function hashN(key: usize, size: u32, seed: u32): u32 {
  let h: u64 = (<u64>size << 32) | seed;
  while (size >= 8) {
    h = (h ^ load<u64>(key)) * 0x9e3779b97f4a7c15;
    h ^= h >> 29;
    key += 8;
    size -= 8;
  }
  let tail: u64 = 0;
  if (size & 4) {
    tail = load<u32>(key);
    key += 4;
  }
  if (size & 2) {
    tail = (tail << 16) | load<u16>(key);
    key += 2;
  }
  if (size & 1) tail = (tail << 8) | load<u8>(key);
  return mix64(h ^ tail);
}

@inline
function equalN(a: usize, b: usize, size: u32): bool {
  while (size >= 8) {
    if (peek<u64>(a) != load<u64>(b)) return false;
    a += 8;
    b += 8;
    size -= 8;
  }
  if (size & 4) {
    if (peek<u32>(a) != load<u32>(b)) return false;
    a += 4;
    b += 4;
  }
  if (size & 2) {
    if (peek<u16>(a) != load<u16>(b)) return false;
    a += 2;
    b += 2;
  }
  return !(size & 1) || peek<u8>(a) == load<u8>(b);
}

@inline
function bucketAt(map: usize, index: u32): usize {
  return load<u32>(map, HDR_BUCKETS) + index * <u32>(SHARED ? SHARED_BUCKET_BYTES : BUCKET_BYTES);
}

@inline
function bucket(map: usize, hash: u32): usize {
  return bucketAt(map, hash & load<u32>(map, HDR_MASK));
}

@inline
function walk4(at: usize, wanted: u32): usize {
  let elem: usize = peek<u32>(at);
  while (elem && (SHARED ? atomic.load<u32>(elem, ELEM_KEY) : load<u32>(elem, ELEM_KEY)) != wanted) elem = (SHARED ? atomic.load<u32>(elem, ELEM_NEXT) : load<u32>(elem, ELEM_NEXT));
  return elem;
}

@inline
function walk8(at: usize, wanted: u64): usize {
  let elem: usize = peek<u32>(at);
  while (elem && (SHARED ? atomic.load<u64>(elem, ELEM_KEY) : load<u64>(elem, ELEM_KEY)) != wanted) elem = (SHARED ? atomic.load<u32>(elem, ELEM_NEXT) : load<u32>(elem, ELEM_NEXT));
  return elem;
}

@inline
function walkN(at: usize, key: usize, size: u32, hash: u32): usize {
  let elem: usize = peek<u32>(at);
  while (elem) {
    if ((SHARED ? atomic.load<u32>(elem, ELEM_HASH) : load<u32>(elem, ELEM_HASH)) == hash && equalN(elem + ELEM_KEY, key, size)) return elem;
    elem = (SHARED ? atomic.load<u32>(elem, ELEM_NEXT) : load<u32>(elem, ELEM_NEXT));
  }
  return 0;
}

@inline
function find4(map: usize, key: usize): usize {
  const wanted = load<u32>(key);
  const at = bucket(map, hash4(wanted, load<u32>(map, HDR_SEED)));
  if (!SHARED) return walk4(at, wanted);
  while (true) {
    const seen = beginRead(at + BUCKET_SEQ);
    const elem = walk4(at, wanted);
    if (isUnchanged(at + BUCKET_SEQ, seen)) return elem;
  }
}

@inline
function find8(map: usize, key: usize): usize {
  const wanted = load<u64>(key);
  const at = bucket(map, hash8(wanted, load<u32>(map, HDR_SEED)));
  if (!SHARED) return walk8(at, wanted);
  while (true) {
    const seen = beginRead(at + BUCKET_SEQ);
    const elem = walk8(at, wanted);
    if (isUnchanged(at + BUCKET_SEQ, seen)) return elem;
  }
}

// For those who hold the chain: nobody else changes it.
@inline
function findHashed(map: usize, key: usize, size: u32, hash: u32): usize {
  return walkN(bucket(map, hash), key, size, hash);
}

@inline
function hashKey(map: usize, key: usize, size: u32): u32 {
  const seed = load<u32>(map, HDR_SEED);
  if (size == 4) return hash4(load<u32>(key), seed);
  if (size == 8) return hash8(load<u64>(key), seed);
  return hashN(key, size, seed);
}

@inline
function findN(map: usize, key: usize): usize {
  const size = load<u32>(map, HDR_KEY_SIZE);
  const hash = hashKey(map, key, size);
  const at = bucket(map, hash);
  if (!SHARED) return walkN(at, key, size, hash);
  while (true) {
    const seen = beginRead(at + BUCKET_SEQ);
    const elem = walkN(at, key, size, hash);
    if (isUnchanged(at + BUCKET_SEQ, seen)) return elem;
  }
}

// --- lookups of programs, by key size

@inline
function value(map: usize, elem: usize): usize {
  return elem ? elem + load<u32>(map, HDR_VALUE_OFF) : 0;
}

export function hash_lookup_4(map: usize, key: usize): usize {
  const elem = find4(map, key);
  return elem ? elem + VALUE_AFTER_8 : 0;
}

export function hash_lookup_8(map: usize, key: usize): usize {
  const elem = find8(map, key);
  return elem ? elem + VALUE_AFTER_8 : 0;
}

export function hash_lookup_n(map: usize, key: usize): usize {
  return value(map, findN(map, key));
}

@inline
function ofCpu(map: usize, elem: usize, cpu: u32): usize {
  return elem ? elem + load<u32>(map, HDR_VALUE_OFF) + cpu * load<u32>(map, HDR_CPU_STRIDE) : 0;
}

export function percpu_hash_lookup_4(map: usize, key: usize): usize {
  return ofCpu(map, find4(map, key), currentCpu());
}

export function percpu_hash_lookup_8(map: usize, key: usize): usize {
  return ofCpu(map, find8(map, key), currentCpu());
}

export function percpu_hash_lookup_n(map: usize, key: usize): usize {
  return ofCpu(map, findN(map, key), currentCpu());
}

export function percpu_hash_lookup_cpu(map: usize, key: usize, cpu: u32): usize {
  return cpu < load<u32>(map, HDR_CPUS) ? ofCpu(map, findN(map, key), cpu) : 0;
}

@inline
function touch(elem: usize): usize {
  if (!SHARED) {
    if (elem) store<u32>(elem, load<u32>(elem, ELEM_PREV) | 1, ELEM_PREV);
  } else if (elem && !(atomic.load<u32>(elem, ELEM_PREV) & 1)) atomic.or<u32>(elem, 1, ELEM_PREV);
  return elem;
}

export function lru_hash_lookup_4(map: usize, key: usize): usize {
  return value(map, touch(find4(map, key)));
}

export function lru_hash_lookup_8(map: usize, key: usize): usize {
  return value(map, touch(find8(map, key)));
}

export function lru_hash_lookup_n(map: usize, key: usize): usize {
  return value(map, touch(findN(map, key)));
}

export function lru_percpu_hash_lookup(map: usize, key: usize): usize {
  return ofCpu(map, touch(findN(map, key)), currentCpu());
}

export function lru_percpu_hash_lookup_cpu(map: usize, key: usize, cpu: u32): usize {
  return cpu < load<u32>(map, HDR_CPUS) ? ofCpu(map, touch(findN(map, key)), cpu) : 0;
}

export function hash_of_maps_lookup(map: usize, key: usize): usize {
  const elem = findN(map, key);
  return elem ? load<u32>(elem + load<u32>(map, HDR_VALUE_OFF)) : 0;
}

// --- for user space: the element itself, without marking it as used

export function hash_find(map: usize, key: usize): usize {
  return findN(map, key);
}

function firstFrom(map: usize, at: u32, to: usize, size: u32): i32 {
  const mask = load<u32>(map, HDR_MASK);
  for (; at <= mask; at++) {
    const head = bucketAt(map, at);
    if (!peek<u32>(head)) continue;
    beginChange(head + BUCKET_SEQ);
    const elem = load<u32>(head);
    if (elem) copy(to, elem + ELEM_KEY, size);
    endChange(head + BUCKET_SEQ);
    if (elem) return 1;
  }
  return 0;
}

// Copies the key after this one, by bucket, while its chain stands still; 1 where there is one. The first key where `key` is 0; where it is
// gone too, or with `onward` the first one of its bucket.
export function hash_next_key(map: usize, key: usize, to: usize, onward: u32): i32 {
  const size = load<u32>(map, HDR_KEY_SIZE);
  if (!key) return firstFrom(map, 0, to, size);
  const hash = hashKey(map, key, size);
  const index = hash & load<u32>(map, HDR_MASK);
  const sequence = bucketAt(map, index) + BUCKET_SEQ;
  beginChange(sequence);
  const elem = findHashed(map, key, size, hash);
  const next: usize = elem ? load<u32>(elem, ELEM_NEXT) : 0;
  if (next) copy(to, next + ELEM_KEY, size);
  endChange(sequence);
  if (next) return 1;
  return firstFrom(map, elem ? index + 1 : onward ? index : 0, to, size);
}

// Copies `size` bytes of the value while the chain stands still; 1 where there is one.
export function hash_read(map: usize, key: usize, to: usize, size: u32): i32 {
  const keySize = load<u32>(map, HDR_KEY_SIZE);
  const hash = hashKey(map, key, keySize);
  const at = bucket(map, hash);
  beginChange(at + BUCKET_SEQ);
  const elem = walkN(at, key, keySize, hash);
  if (elem) copy(to, elem + load<u32>(map, HDR_VALUE_OFF), size);
  endChange(at + BUCKET_SEQ);
  return elem ? 1 : 0;
}

// --- updates

@inline
function link(map: usize, elem: usize, hash: u32): void {
  const head = bucket(map, hash);
  store<u32>(elem, load<u32>(head), ELEM_NEXT);
  store<u32>(elem, hash, ELEM_HASH);
  store<u32>(elem, 0, ELEM_PREV);
  store<u32>(elem, 0, ELEM_STATE);
  poke(head, <u32>elem);
}

function unlink(map: usize, elem: usize): void {
  let at = bucket(map, load<u32>(elem, ELEM_HASH));
  while (load<u32>(at) != elem) at = load<u32>(at) + ELEM_NEXT;
  poke(at, load<u32>(elem, ELEM_NEXT));
}

// In LRU maps the lock of the map keeps other updates out; lookups must still see that a chain changes.
function linkLru(map: usize, elem: usize, hash: u32): void {
  const sequence = bucket(map, hash) + BUCKET_SEQ;
  beginChange(sequence);
  link(map, elem, hash);
  endChange(sequence);
}

function unlinkLru(map: usize, elem: usize): void {
  const sequence = bucket(map, load<u32>(elem, ELEM_HASH)) + BUCKET_SEQ;
  beginChange(sequence);
  unlink(map, elem);
  endChange(sequence);
}

@inline
function addCount(map: usize, n: i32): void {
  add(map + HDR_COUNT, n);
}

@inline
function full(map: usize): bool {
  return load<u32>(map, HDR_COUNT) >= load<u32>(map, HDR_MAX_ENTRIES);
}

@inline
function refuse(map: usize): i32 {
  add(map + HDR_DROPPED, 1);
  return E2BIG;
}

export function hash_update(map: usize, key: usize, from: usize, flags: u32, high: u32): i32 {
  const mode = flags & ~F_LOCK;
  if (high != 0 || mode > EXIST) return EINVAL;
  if (flags & F_LOCK && !load<u32>(map, HDR_HAS_LOCK)) return EINVAL;
  const size = load<u32>(map, HDR_KEY_SIZE);
  const hash = hashKey(map, key, size);
  if (!SHARED) return replace(map, key, from, flags, mode, size, hash);
  const sequence = bucket(map, hash) + BUCKET_SEQ;
  beginChange(sequence);
  const result = replace(map, key, from, flags, mode, size, hash);
  endChange(sequence);
  return result;
}

@inline
function replace(map: usize, key: usize, from: usize, flags: u32, mode: u32, size: u32, hash: u32): i32 {
  const old = findHashed(map, key, size, hash);
  const valueOff = load<u32>(map, HDR_VALUE_OFF);
  if (old) {
    if (mode == NOEXIST) return EEXIST;
    if (flags & F_LOCK) {
      const to = old + valueOff;
      if (SHARED) copyLocked(map, to, from, to);
      else copyValue(map, to, from);
      return 0;
    }
  } else {
    if (mode == EXIST) return ENOENT;
    if (!addBelow(map + HDR_COUNT, load<u32>(map, HDR_MAX_ENTRIES))) return refuse(map);
  }
  const elem = take(map);
  if (!elem) {
    if (!old) addCount(map, -1);
    return ENOMEM;
  }
  copy(elem + ELEM_KEY, key, size);
  copyValue(map, elem + valueOff, from);
  initSpecial(map, elem + valueOff);
  link(map, elem, hash);
  if (old) {
    unlink(map, old);
    release(map, old);
  }
  return 0;
}

export function hash_delete(map: usize, key: usize): i32 {
  const size = load<u32>(map, HDR_KEY_SIZE);
  const hash = hashKey(map, key, size);
  if (!SHARED) return remove(map, findHashed(map, key, size, hash));
  const sequence = bucket(map, hash) + BUCKET_SEQ;
  beginChange(sequence);
  const result = remove(map, findHashed(map, key, size, hash));
  endChange(sequence);
  return result;
}

// As hash_delete; `size` bytes of the value are at `to` then.
export function hash_take(map: usize, key: usize, to: usize, bytes: u32): i32 {
  const size = load<u32>(map, HDR_KEY_SIZE);
  const hash = hashKey(map, key, size);
  const sequence = bucket(map, hash) + BUCKET_SEQ;
  beginChange(sequence);
  const elem = findHashed(map, key, size, hash);
  if (elem) copy(to, elem + load<u32>(map, HDR_VALUE_OFF), bytes);
  const result = remove(map, elem);
  endChange(sequence);
  return result;
}

@inline
function remove(map: usize, elem: usize): i32 {
  if (!elem) return ENOENT;
  unlink(map, elem);
  release(map, elem);
  addCount(map, -1);
  return 0;
}

// The least recently inserted element that was not looked up since it was last passed goes.
function evict(map: usize): void {
  while (true) {
    const elem = load<u32>(map, HDR_LRU_TAIL);
    if (!elem) return;
    const used = load<u32>(elem, ELEM_PREV) & 1;
    lruRemove(map, elem);
    if (!used) {
      unlinkLru(map, elem);
      release(map, elem);
      addCount(map, -1);
      return;
    }
    lruAdd(map, elem);
  }
}

// Makes the element the most recent one, its reference bit clear.
function lruAdd(map: usize, elem: usize): void {
  const head = load<u32>(map, HDR_LRU_HEAD);
  store<u32>(elem, 0, ELEM_PREV);
  store<u32>(elem, head, ELEM_STATE);
  if (head) store<u32>(head, elem | (load<u32>(head, ELEM_PREV) & 1), ELEM_PREV);
  else store<u32>(map, elem, HDR_LRU_TAIL);
  store<u32>(map, elem, HDR_LRU_HEAD);
}

function lruRemove(map: usize, elem: usize): void {
  const before = load<u32>(elem, ELEM_PREV) & ~1;
  const after = load<u32>(elem, ELEM_STATE);
  if (before) store<u32>(before, after, ELEM_STATE);
  else store<u32>(map, after, HDR_LRU_HEAD);
  if (after) store<u32>(after, before | (load<u32>(after, ELEM_PREV) & 1), ELEM_PREV);
  else store<u32>(map, before, HDR_LRU_TAIL);
}

export function lru_hash_update(map: usize, key: usize, from: usize, flags: u32, high: u32): i32 {
  if (high != 0 || flags > EXIST) return EINVAL;
  acquire(map + HDR_MAP_LOCK);
  const result = replaceLru(map, key, from, flags);
  free(map + HDR_MAP_LOCK);
  return result;
}

@inline
function replaceLru(map: usize, key: usize, from: usize, flags: u32): i32 {
  const size = load<u32>(map, HDR_KEY_SIZE);
  const hash = hashKey(map, key, size);
  const old = findHashed(map, key, size, hash);
  if (old) {
    if (flags == NOEXIST) return EEXIST;
  } else {
    if (flags == EXIST) return ENOENT;
    if (full(map)) evict(map);
  }
  const elem = take(map);
  if (!elem) return ENOMEM;
  const to = elem + load<u32>(map, HDR_VALUE_OFF);
  copy(elem + ELEM_KEY, key, size);
  copyValue(map, to, from);
  initSpecial(map, to);
  linkLru(map, elem, hash);
  lruAdd(map, elem);
  if (old) {
    touch(elem);
    unlinkLru(map, old);
    lruRemove(map, old);
    release(map, old);
  } else addCount(map, 1);
  return 0;
}

export function lru_hash_delete(map: usize, key: usize): i32 {
  acquire(map + HDR_MAP_LOCK);
  const result = removeLru(map, findN(map, key));
  free(map + HDR_MAP_LOCK);
  return result;
}

// As lru_hash_delete; `size` bytes of the value are at `to` then.
export function lru_hash_take(map: usize, key: usize, to: usize, size: u32): i32 {
  acquire(map + HDR_MAP_LOCK);
  const elem = findN(map, key);
  if (elem) copy(to, elem + load<u32>(map, HDR_VALUE_OFF), size);
  const result = removeLru(map, elem);
  free(map + HDR_MAP_LOCK);
  return result;
}

@inline
function removeLru(map: usize, elem: usize): i32 {
  if (!elem) return ENOENT;
  unlinkLru(map, elem);
  lruRemove(map, elem);
  release(map, elem);
  addCount(map, -1);
  return 0;
}

// all = false: `from` is one value, for the current CPU; a new element starts with zeros elsewhere.
@inline
function percpuUpdate(
  map: usize, key: usize, from: usize, flags: u32, high: u32, all: bool, lru: bool,
): i32 {
  if (high != 0 || flags > EXIST) return EINVAL;
  const size = load<u32>(map, HDR_KEY_SIZE);
  const hash = hashKey(map, key, size);
  if (!SHARED) return percpuReplace(map, key, from, flags, all, lru, size, hash);
  const lock = lru ? map + HDR_MAP_LOCK : bucket(map, hash) + BUCKET_SEQ;
  if (lru) acquire(lock);
  else beginChange(lock);
  const result = percpuReplace(map, key, from, flags, all, lru, size, hash);
  if (lru) free(lock);
  else endChange(lock);
  return result;
}

@inline
function percpuReplace(
  map: usize, key: usize, from: usize, flags: u32, all: bool, lru: bool, size: u32, hash: u32,
): i32 {
  let elem = findHashed(map, key, size, hash);
  const valueOff = load<u32>(map, HDR_VALUE_OFF);
  if (elem) {
    if (flags == NOEXIST) return EEXIST;
    if (lru) touch(elem);
    writePercpu(map, elem, from, all);
    return 0;
  }
  if (flags == EXIST) return ENOENT;
  if (lru) {
    if (full(map)) evict(map);
  } else if (!addBelow(map + HDR_COUNT, load<u32>(map, HDR_MAX_ENTRIES))) return refuse(map);
  elem = take(map);
  if (!elem) {
    if (!lru) addCount(map, -1);
    return ENOMEM;
  }
  copy(elem + ELEM_KEY, key, size);
  zero(elem + valueOff, load<u32>(map, HDR_CPU_STRIDE) * load<u32>(map, HDR_CPUS));
  // Lookups find it as soon as it is linked.
  writePercpu(map, elem, from, all);
  if (!lru) {
    link(map, elem, hash);
    return 0;
  }
  linkLru(map, elem, hash);
  lruAdd(map, elem);
  addCount(map, 1);
  return 0;
}

@inline
function writePercpu(map: usize, elem: usize, from: usize, all: bool): void {
  let to = elem + load<u32>(map, HDR_VALUE_OFF);
  const cpuStride = load<u32>(map, HDR_CPU_STRIDE);
  if (!all) {
    copyValue(map, to + currentCpu() * cpuStride, from);
    return;
  }
  const stride = load<u32>(map, HDR_STRIDE);
  const cpus = load<u32>(map, HDR_CPUS);
  for (let cpu: u32 = 0; cpu < cpus; cpu++) {
    copy(to, from, stride);
    from += stride;
    to += cpuStride;
  }
}

export function percpu_hash_update(map: usize, key: usize, from: usize, flags: u32, high: u32): i32 {
  return percpuUpdate(map, key, from, flags, high, false, false);
}

export function percpu_hash_update_all(map: usize, key: usize, from: usize, flags: u32, high: u32): i32 {
  return percpuUpdate(map, key, from, flags, high, true, false);
}

export function lru_percpu_hash_update(map: usize, key: usize, from: usize, flags: u32, high: u32): i32 {
  return percpuUpdate(map, key, from, flags, high, false, true);
}

export function lru_percpu_hash_update_all(map: usize, key: usize, from: usize, flags: u32, high: u32): i32 {
  return percpuUpdate(map, key, from, flags, high, true, true);
}
