// QUEUE and STACK: a circle of max_entries + 1 slots; head is where the next element goes, tail the oldest one.
import { HDR_COUNT, HDR_DROPPED, HDR_HEAD, HDR_MAP_LOCK, HDR_MAX_ENTRIES, HDR_STRIDE, HDR_TAIL, HDR_VALUE_SIZE, HDR_VALUES } from '../layout';
import { copy, E2BIG, EINVAL, ENOENT, EXIST, NOEXIST, zero } from './common';
import { acquire, free } from './lock';

@inline
function slot(map: usize, index: u32): usize {
  return load<u32>(map, HDR_VALUES) + index * load<u32>(map, HDR_STRIDE);
}

@inline
function after(map: usize, index: u32): u32 {
  return index == load<u32>(map, HDR_MAX_ENTRIES) ? 0 : index + 1;
}

@inline
function push(map: usize, value: usize, flags: u32): i32 {
  const head = load<u32>(map, HDR_HEAD);
  const next = after(map, head);
  const tail = load<u32>(map, HDR_TAIL);
  if (next == tail) {
    if (!(flags & EXIST)) {
      store<u32>(map, load<u32>(map, HDR_DROPPED) + 1, HDR_DROPPED);
      return E2BIG;
    }
    store<u32>(map, after(map, tail), HDR_TAIL);
  } else store<u32>(map, load<u32>(map, HDR_COUNT) + 1, HDR_COUNT);
  copy(slot(map, head), value, load<u32>(map, HDR_VALUE_SIZE));
  store<u32>(map, next, HDR_HEAD);
  return 0;
}

@inline
function empty(map: usize, value: usize): bool {
  if (load<u32>(map, HDR_HEAD) != load<u32>(map, HDR_TAIL)) return false;
  zero(value, load<u32>(map, HDR_VALUE_SIZE));
  return true;
}

@inline
function removed(map: usize): void {
  store<u32>(map, load<u32>(map, HDR_COUNT) - 1, HDR_COUNT);
}

@inline
function peekQueue(map: usize, value: usize): i32 {
  if (empty(map, value)) return ENOENT;
  copy(value, slot(map, load<u32>(map, HDR_TAIL)), load<u32>(map, HDR_VALUE_SIZE));
  return 0;
}

@inline
function popQueue(map: usize, value: usize): i32 {
  if (empty(map, value)) return ENOENT;
  const tail = load<u32>(map, HDR_TAIL);
  copy(value, slot(map, tail), load<u32>(map, HDR_VALUE_SIZE));
  store<u32>(map, after(map, tail), HDR_TAIL);
  removed(map);
  return 0;
}

@inline
function top(map: usize): u32 {
  const head = load<u32>(map, HDR_HEAD);
  return head == 0 ? load<u32>(map, HDR_MAX_ENTRIES) : head - 1;
}

@inline
function peekStack(map: usize, value: usize): i32 {
  if (empty(map, value)) return ENOENT;
  copy(value, slot(map, top(map)), load<u32>(map, HDR_VALUE_SIZE));
  return 0;
}

@inline
function popStack(map: usize, value: usize): i32 {
  if (empty(map, value)) return ENOENT;
  const at = top(map);
  copy(value, slot(map, at), load<u32>(map, HDR_VALUE_SIZE));
  store<u32>(map, at, HDR_HEAD);
  removed(map);
  return 0;
}

export function queue_push(map: usize, value: usize, flags: u32, high: u32): i32 {
  if (high != 0 || flags & NOEXIST || flags > EXIST) return EINVAL;
  acquire(map + HDR_MAP_LOCK);
  const result = push(map, value, flags);
  free(map + HDR_MAP_LOCK);
  return result;
}

export function queue_peek(map: usize, value: usize): i32 {
  acquire(map + HDR_MAP_LOCK);
  const result = peekQueue(map, value);
  free(map + HDR_MAP_LOCK);
  return result;
}

export function queue_pop(map: usize, value: usize): i32 {
  acquire(map + HDR_MAP_LOCK);
  const result = popQueue(map, value);
  free(map + HDR_MAP_LOCK);
  return result;
}

export function stack_peek(map: usize, value: usize): i32 {
  acquire(map + HDR_MAP_LOCK);
  const result = peekStack(map, value);
  free(map + HDR_MAP_LOCK);
  return result;
}

export function stack_pop(map: usize, value: usize): i32 {
  acquire(map + HDR_MAP_LOCK);
  const result = popStack(map, value);
  free(map + HDR_MAP_LOCK);
  return result;
}
