// Helpers that are a few instructions: they stand here so that compiled programs call them without leaving Wasm.
import { currentCpu } from './common';
import { acquire, free, noteHeld, SHARED } from './lock';

export function spin_lock(lock: usize): void {
  if (SHARED) {
    acquire(lock);
    noteHeld(lock);
  } else store<u32>(lock, 1);
}

export function spin_unlock(lock: usize): void {
  if (SHARED) {
    noteHeld(0);
    free(lock);
  } else store<u32>(lock, 0);
}

export function get_smp_processor_id(): i32 {
  return <i32>currentCpu();
}
