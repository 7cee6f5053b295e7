// RINGBUF: positions count bytes since creation; a record lies at its position modulo the size and may run over the end into
// the second copy of the data area. Memory cannot be mapped twice here: commit copies what ran over to the beginning.
import {
  HDR_DROPPED, HDR_MAP_LOCK, HDR_RING_MASK, HDR_RING_PENDING, RING_BUSY, RING_CONSUMER, RING_DATA, RING_DISCARD, RING_HEADER_SIZE,
  RING_PRODUCER,
} from '../layout';
import { EAGAIN, EINVAL } from './common';
import { acquire, free, peek, poke, SHARED } from './lock';

const NO_WAKEUP: u32 = 1;
const FORCE_WAKEUP: u32 = 2;
const MAX_RECORD: u32 = 0x3fffffff;

@external("env", "wakeup")
declare function wakeup(map: usize, flags: u32): void;

@inline
function dropped(map: usize): usize {
  store<u32>(map, load<u32>(map, HDR_DROPPED) + 1, HDR_DROPPED);
  return 0;
}

// Offset of a sample of `size` bytes, or 0.
export function ringbuf_reserve(map: usize, size: u32, flags: u32, high: u32): usize {
  if (flags | high || size > MAX_RECORD) return 0;
  acquire(map + HDR_MAP_LOCK);
  const sample = reserve(map, size);
  free(map + HDR_MAP_LOCK);
  return sample;
}

@inline
function reserve(map: usize, size: u32): usize {
  const mask = load<u32>(map, HDR_RING_MASK);
  const length = (size + RING_HEADER_SIZE + 7) & ~7;
  if (length > mask + 1) return 0;
  const consumer = peek<u64>(map + RING_CONSUMER);
  const producer = load<u64>(map, RING_PRODUCER);
  let pending = load<u64>(map, HDR_RING_PENDING);
  const data = map + RING_DATA;
  while (pending < producer) {
    let word = peek<u32>(data + (<u32>pending & mask));
    if (word & RING_BUSY) break;
    word &= ~RING_DISCARD;
    pending += (word + RING_HEADER_SIZE + 7) & ~7;
  }
  store<u64>(map, pending, HDR_RING_PENDING);
  const next = producer + length;
  if (next - consumer > mask || next - pending > mask) return dropped(map);
  const header = data + (<u32>producer & mask);
  store<u32>(header, size | RING_BUSY);
  store<u32>(header, (header - map) >> 12, 4);
  // Readers see the record busy before they see that it is there.
  if (SHARED) atomic.store<u64>(map, next, RING_PRODUCER);
  else store<u64>(map, next, RING_PRODUCER);
  return header + RING_HEADER_SIZE;
}

@inline
function commit(sample: usize, flags: u32, discard: u32): void {
  const header = sample - RING_HEADER_SIZE;
  const map = (header & ~0xfff) - (load<u32>(header, 4) << 12);
  const size = load<u32>(header) & ~RING_BUSY;
  const mask = load<u32>(map, HDR_RING_MASK);
  const at = header - map - RING_DATA;
  const end = at + RING_HEADER_SIZE + size;
  if (end > mask + 1) memory.copy(map + RING_DATA, map + RING_DATA + mask + 1, end - mask - 1);
  poke(header, size | discard);
  const caughtUp = (peek<u32>(map + RING_CONSUMER) & mask) == at;
  if (flags & FORCE_WAKEUP || (caughtUp && !(flags & NO_WAKEUP))) wakeup(map, flags);
}

export function ringbuf_submit(sample: usize, flags: u32, high: u32): void {
  commit(sample, flags, 0);
}

export function ringbuf_discard(sample: usize, flags: u32, high: u32): void {
  commit(sample, flags, RING_DISCARD);
}

export function ringbuf_output(map: usize, data: usize, size: u32, flags: u32, high: u32): i32 {
  if (high != 0 || flags & ~(NO_WAKEUP | FORCE_WAKEUP)) return EINVAL;
  const sample = ringbuf_reserve(map, size, 0, 0);
  if (!sample) return EAGAIN;
  memory.copy(sample, data, size);
  commit(sample, flags, 0);
  return 0;
}
