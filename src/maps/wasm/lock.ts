// Locks, for a memory that threads share. Compiled without threads `SHARED` is a constant false and nothing of this is left: the same
// text makes both modules.
import { CPU_DELTA_AT } from './run-state';

export const SHARED: bool = ASC_FEATURE_THREADS;

// Sleeps a little while the word is as seen, where this thread may sleep (the main thread of a page may not). Not memory.atomic.wait32:
// V8's baseline compiler (11.3, Node 20) writes 64 bits into the 32-bit slot of its address there, which zeroes the local beside it.
@external("env", "nap")
declare function nap(word: usize, seen: u32): void;

// Rounds before a waiting thread sleeps: the holder may have lost its processor.
const SPINS: u32 = 200;

function pause(word: usize, seen: u32, spins: u32): void {
  if (spins > SPINS) nap(word, seen);
}

// A word that is 0 while nobody holds it.
export function acquire(lock: usize): void {
  if (!SHARED) return;
  let spins: u32 = 0;
  while (atomic.cmpxchg<u32>(lock, 0, 1) != 0) {
    do {
      pause(lock, 1, ++spins);
    } while (atomic.load<u32>(lock) != 0);
  }
}

@inline
export function free(lock: usize): void {
  if (SHARED) atomic.store<u32>(lock, 0);
}

// A word that counts changes: odd while somebody makes one. Readers do without the lock, and read again where it has changed.
export function beginChange(sequence: usize): void {
  if (!SHARED) return;
  let spins: u32 = 0;
  while (true) {
    const seen = atomic.load<u32>(sequence);
    if (!(seen & 1) && atomic.cmpxchg<u32>(sequence, seen, seen + 1) == seen) return;
    pause(sequence, seen, ++spins);
  }
}

@inline
export function endChange(sequence: usize): void {
  if (SHARED) atomic.store<u32>(sequence, atomic.load<u32>(sequence) + 1);
}

// What a reader remembers: waits until no change is being made.
export function beginRead(sequence: usize): u32 {
  let spins: u32 = 0;
  while (true) {
    const seen = atomic.load<u32>(sequence);
    if (!(seen & 1)) return seen;
    pause(sequence, seen, ++spins);
  }
}

@inline
export function isUnchanged(sequence: usize, seen: u32): bool {
  return atomic.load<u32>(sequence) == seen;
}

// A word that another thread may be writing.
@inline
export function peek<T>(at: usize): T {
  return SHARED ? atomic.load<T>(at) : load<T>(at);
}

@inline
export function poke(at: usize, value: u32): void {
  if (SHARED) atomic.store<u32>(at, value);
  else store<u32>(at, value);
}

@inline
export function add(at: usize, n: i32): void {
  if (SHARED) atomic.add<u32>(at, n);
  else store<u32>(at, load<u32>(at) + n);
}

// Adds 1 to the word where it is below `limit`.
export function addBelow(at: usize, limit: u32): bool {
  if (!SHARED) {
    const n = load<u32>(at);
    if (n >= limit) return false;
    store<u32>(at, n + 1);
    return true;
  }
  while (true) {
    const n = atomic.load<u32>(at);
    if (n >= limit) return false;
    if (atomic.cmpxchg<u32>(at, n, n + 1) == n) return true;
  }
}

// RUN_STATE.heldLock of src/memory/layout.ts: a run that faults must not keep its lock.
const HELD_LOCK_AT: usize = 0x10028;

@inline
export function noteHeld(lock: usize): void {
  if (SHARED) store<u32>(HELD_LOCK_AT + CPU_DELTA_AT(), lock);
}
