// Shared by all map types: constants, copies, allocation of elements. Nothing here may need static memory.
import {
  ELEM_FREE, ELEM_STATE, HDR_ALLOC_LOCK, HDR_BUMP, HDR_BUMP_END, HDR_ELEM_SIZE, HDR_FREE, HDR_LOCK_OFF, HDR_SPECIAL, HDR_VALUE_SIZE,
} from '../layout';
import { acquire, free as unlock, SHARED } from './lock';

export { currentCpu } from './run-state';

export const EPERM: i32 = -1;
export const ENOENT: i32 = -2;
export const E2BIG: i32 = -7;
export const EAGAIN: i32 = -11;
export const ENOMEM: i32 = -12;
export const EFAULT: i32 = -14;
export const EEXIST: i32 = -17;
export const EINVAL: i32 = -22;
export const ENOSPC: i32 = -28;

export const NOEXIST: u32 = 1;
export const EXIST: u32 = 2;
export const F_LOCK: u32 = 4;

// STACKS of src/memory/layout.ts: the lowest address that a program may be handed.
export const STACKS_AT: usize = 0x11000;

// Gives the map a new slab (HDR_BUMP, HDR_BUMP_END); 0 when memory is exhausted.
@external("env", "refill")
declare function refill(map: usize): i32;

// Whether a helper may touch `size` bytes there: above what belongs to the kernel itself, below the end. The verifier has proven
// it for compiled programs; a helper must not trap on anything else.
@inline
export function inMemory(at: usize, size: u32): bool {
  return at >= STACKS_AT && <u64>at + <u64>size <= <u64>memory.size() << 16;
}

// Values and keys are short: a loop beats the bulk instruction, which leaves compiled code.
@inline
export function copy(to: usize, from: usize, size: u32): void {
  if (size > 192) {
    memory.copy(to, from, size);
    return;
  }
  while (size >= 8) {
    store<u64>(to, load<u64>(from));
    to += 8;
    from += 8;
    size -= 8;
  }
  if (size & 4) {
    store<u32>(to, load<u32>(from));
    to += 4;
    from += 4;
  }
  if (size & 2) {
    store<u16>(to, load<u16>(from));
    to += 2;
    from += 2;
  }
  if (size & 1) store<u8>(to, load<u8>(from));
}

@inline
export function zero(to: usize, size: u32): void {
  memory.fill(to, 0, size);
}

// Copies a value around its special fields, which keep what they hold.
function copyAroundSpecial(map: usize, to: usize, from: usize, table: usize): void {
  let at: u32 = 0;
  const n = load<u32>(table);
  for (let i: u32 = 0; i < n; i++) {
    const offset = load<u32>(table + 4 + i * 8);
    copy(to + at, from + at, offset - at);
    at = offset + load<u32>(table + 8 + i * 8);
  }
  copy(to + at, from + at, load<u32>(map, HDR_VALUE_SIZE) - at);
}

@inline
export function copyValue(map: usize, to: usize, from: usize): void {
  const table = load<u32>(map, HDR_SPECIAL);
  if (table) copyAroundSpecial(map, to, from, table);
  else copy(to, from, load<u32>(map, HDR_VALUE_SIZE));
}

// Sets the special fields of a fresh value to zero. Where threads share the memory a lock stays as it is: of memory that was never used it
// is free, and in an element that is used again a program that came too late may hold it, and will give it back.
@inline
export function initSpecial(map: usize, value: usize): void {
  const table = load<u32>(map, HDR_SPECIAL);
  if (table) {
    const n = load<u32>(table);
    for (let i: u32 = 0; i < n; i++) {
      const offset = load<u32>(table + 4 + i * 8);
      if (!SHARED || offset != load<u32>(map, HDR_LOCK_OFF)) zero(value + offset, load<u32>(table + 8 + i * 8));
    }
  }
}

// Copies a value under its bpf_spin_lock (BPF_F_LOCK).
export function copyLocked(map: usize, to: usize, from: usize, inMap: usize): void {
  const lock = inMap + load<u32>(map, HDR_LOCK_OFF);
  acquire(lock);
  copyValue(map, to, from);
  unlock(lock);
}

// An element from the free list or the newest slab; 0 when memory is exhausted.
export function take(map: usize): usize {
  if (SHARED) acquire(map + HDR_ALLOC_LOCK);
  const elem = takeAlone(map);
  if (SHARED) unlock(map + HDR_ALLOC_LOCK);
  return elem;
}

@inline
function takeAlone(map: usize): usize {
  const first = load<u32>(map, HDR_FREE);
  if (first) {
    // Bit 0: a lookup that came late has marked the element as used.
    store<u32>(map, load<u32>(first, ELEM_FREE) & ~1, HDR_FREE);
    return first;
  }
  const size = load<u32>(map, HDR_ELEM_SIZE);
  let bump = load<u32>(map, HDR_BUMP);
  if (bump + size > load<u32>(map, HDR_BUMP_END)) {
    if (!refill(map)) return 0;
    bump = load<u32>(map, HDR_BUMP);
  }
  store<u32>(map, bump + size, HDR_BUMP);
  return bump;
}

// Key, value and ELEM_NEXT stay as they were until the element is used again: programs may still hold a pointer.
@inline
export function release(map: usize, elem: usize): void {
  if (SHARED) acquire(map + HDR_ALLOC_LOCK);
  store<u32>(elem, load<u32>(map, HDR_FREE), ELEM_FREE);
  store<u32>(elem, 1, ELEM_STATE);
  store<u32>(map, elem, HDR_FREE);
  if (SHARED) unlock(map + HDR_ALLOC_LOCK);
}
