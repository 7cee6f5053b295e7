// HASH, PERCPU_HASH, LRU_HASH, LRU_PERCPU_HASH and HASH_OF_MAPS: chained buckets, newest element first, as Linux does.
// An update replaces the element (pointers to the old value keep seeing the old value) except under BPF_F_LOCK and in
// per-CPU maps, which update in place.
import {
  ELEM_HASH, ELEM_KEY, ELEM_NEXT, ELEM_PREV, ELEM_STATE, HDR_BUCKETS, HDR_COUNT, HDR_CPU_STRIDE, HDR_CPUS, HDR_DROPPED,
  HDR_HAS_LOCK, HDR_KEY_SIZE, HDR_LRU_HEAD, HDR_LRU_TAIL, HDR_MASK, HDR_MAX_ENTRIES, HDR_SEED, HDR_STRIDE,
  HDR_VALUE_OFF,
} from '../layout';
import {copy, copyValue, currentCpu, 
  E2BIG, EEXIST, EINVAL, ENOENT, ENOMEM, EXIST, F_LOCK, initSpecial, NOEXIST, release,
  take, zero,
} from './common';

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
    if (load<u64>(a) != load<u64>(b)) return false;
    a += 8;
    b += 8;
    size -= 8;
  }
  if (size & 4) {
    if (load<u32>(a) != load<u32>(b)) return false;
    a += 4;
    b += 4;
  }
  if (size & 2) {
    if (load<u16>(a) != load<u16>(b)) return false;
    a += 2;
    b += 2;
  }
  return !(size & 1) || load<u8>(a) == load<u8>(b);
}

@inline
function bucket(map: usize, hash: u32): usize {
  return load<u32>(map, HDR_BUCKETS) + ((hash & load<u32>(map, HDR_MASK)) << 2);
}

@inline
function find4(map: usize, key: usize): usize {
  const wanted = load<u32>(key);
  let elem: usize = load<u32>(bucket(map, hash4(wanted, load<u32>(map, HDR_SEED))));
  while (elem && load<u32>(elem, ELEM_KEY) != wanted) elem = load<u32>(elem, ELEM_NEXT);
  return elem;
}

@inline
function find8(map: usize, key: usize): usize {
  const wanted = load<u64>(key);
  let elem: usize = load<u32>(bucket(map, hash8(wanted, load<u32>(map, HDR_SEED))));
  while (elem && load<u64>(elem, ELEM_KEY) != wanted) elem = load<u32>(elem, ELEM_NEXT);
  return elem;
}

@inline
function findHashed(map: usize, key: usize, size: u32, hash: u32): usize {
  let elem: usize = load<u32>(bucket(map, hash));
  while (elem) {
    if (load<u32>(elem, ELEM_HASH) == hash && equalN(elem + ELEM_KEY, key, size)) return elem;
    elem = load<u32>(elem, ELEM_NEXT);
  }
  return 0;
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
  return findHashed(map, key, size, hashKey(map, key, size));
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
  if (elem) store<u32>(elem, load<u32>(elem, ELEM_PREV) | 1, ELEM_PREV);
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

function firstFrom(map: usize, at: u32): usize {
  const buckets = load<u32>(map, HDR_BUCKETS);
  const mask = load<u32>(map, HDR_MASK);
  for (; at <= mask; at++) {
    const elem = load<u32>(buckets + (at << 2));
    if (elem) return elem;
  }
  return 0;
}

// The element after the one with this key, by bucket; the first one where the key is 0 or gone.
export function hash_next(map: usize, key: usize): usize {
  const elem: usize = key ? findN(map, key) : 0;
  if (!elem) return firstFrom(map, 0);
  const next = load<u32>(elem, ELEM_NEXT);
  return next ? next : firstFrom(map, (load<u32>(elem, ELEM_HASH) & load<u32>(map, HDR_MASK)) + 1);
}

// Head of chain `at`, for walks over the whole table.
export function hash_chain(map: usize, at: u32): usize {
  return at <= load<u32>(map, HDR_MASK) ? load<u32>(load<u32>(map, HDR_BUCKETS) + (at << 2)) : 0;
}

// --- updates

@inline
function link(map: usize, elem: usize, hash: u32): void {
  const head = bucket(map, hash);
  store<u32>(elem, load<u32>(head), ELEM_NEXT);
  store<u32>(elem, hash, ELEM_HASH);
  store<u32>(elem, 0, ELEM_PREV);
  store<u32>(elem, 0, ELEM_STATE);
  store<u32>(head, elem);
}

function unlink(map: usize, elem: usize): void {
  let at = bucket(map, load<u32>(elem, ELEM_HASH));
  while (load<u32>(at) != elem) at = load<u32>(at) + ELEM_NEXT;
  store<u32>(at, load<u32>(elem, ELEM_NEXT));
}

@inline
function addCount(map: usize, n: i32): void {
  store<u32>(map, load<u32>(map, HDR_COUNT) + n, HDR_COUNT);
}

@inline
function full(map: usize): bool {
  return load<u32>(map, HDR_COUNT) >= load<u32>(map, HDR_MAX_ENTRIES);
}

@inline
function refuse(map: usize): i32 {
  store<u32>(map, load<u32>(map, HDR_DROPPED) + 1, HDR_DROPPED);
  return E2BIG;
}

export function hash_update(map: usize, key: usize, from: usize, flags: u32, high: u32): i32 {
  const mode = flags & ~F_LOCK;
  if (high != 0 || mode > EXIST) return EINVAL;
  if (flags & F_LOCK && !load<u32>(map, HDR_HAS_LOCK)) return EINVAL;
  const size = load<u32>(map, HDR_KEY_SIZE);
  const hash = hashKey(map, key, size);
  const old = findHashed(map, key, size, hash);
  const valueOff = load<u32>(map, HDR_VALUE_OFF);
  if (old) {
    if (mode == NOEXIST) return EEXIST;
    if (flags & F_LOCK) {
      copyValue(map, old + valueOff, from);
      return 0;
    }
  } else {
    if (mode == EXIST) return ENOENT;
    if (full(map)) return refuse(map);
  }
  const elem = take(map);
  if (!elem) return ENOMEM;
  copy(elem + ELEM_KEY, key, size);
  copyValue(map, elem + valueOff, from);
  initSpecial(map, elem + valueOff);
  link(map, elem, hash);
  if (old) {
    unlink(map, old);
    release(map, old);
  } else addCount(map, 1);
  return 0;
}

export function hash_delete(map: usize, key: usize): i32 {
  const elem = findN(map, key);
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
      unlink(map, elem);
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
  link(map, elem, hash);
  lruAdd(map, elem);
  if (old) {
    touch(elem);
    unlink(map, old);
    lruRemove(map, old);
    release(map, old);
  } else addCount(map, 1);
  return 0;
}

export function lru_hash_delete(map: usize, key: usize): i32 {
  const elem = findN(map, key);
  if (!elem) return ENOENT;
  unlink(map, elem);
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
  let elem = findHashed(map, key, size, hash);
  const valueOff = load<u32>(map, HDR_VALUE_OFF);
  const stride = load<u32>(map, HDR_STRIDE);
  const cpus = load<u32>(map, HDR_CPUS);
  if (elem) {
    if (flags == NOEXIST) return EEXIST;
    if (lru) touch(elem);
  } else {
    if (flags == EXIST) return ENOENT;
    if (full(map)) {
      if (!lru) return refuse(map);
      evict(map);
    }
    elem = take(map);
    if (!elem) return ENOMEM;
    copy(elem + ELEM_KEY, key, size);
    zero(elem + valueOff, stride * cpus);
    link(map, elem, hash);
    if (lru) lruAdd(map, elem);
    addCount(map, 1);
  }
  if (all) copy(elem + valueOff, from, stride * cpus);
  else copyValue(map, elem + valueOff + currentCpu() * stride, from);
  return 0;
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
