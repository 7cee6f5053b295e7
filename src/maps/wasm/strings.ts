// Strings and reads of memory that may not be there, for helpers and kernel functions: what a program can do often must not leave Wasm.
// A string of a kernel function is a guest address in two words: elsewhere than in kernel memory it is -ERANGE; -EFAULT where the memory
// ends before the string does, -E2BIG where that does not end in 64 KiB (XATTR_SIZE_MAX).
import { copy, E2BIG, EFAULT, ENOENT, inMemory, STACKS_AT, zero } from './common';

const ERANGE: i32 = -34;
// KERNEL_HI of src/memory/address.ts.
const KERNEL_HI: u32 = 0xffff8881;
const LIMIT: u32 = 65536;
const ONES: u64 = 0x0101010101010101;
const TOPS: u64 = 0x8080808080808080;

// Bytes from there to the end of what may be read.
@inline
function room(at: usize): u32 {
  const end = <u32>memory.size() << 16;
  return at >= STACKS_AT && at < end ? end - at : 0;
}

@inline
function least(a: u32, b: u32): u32 {
  return a < b ? a : b;
}

@inline
function isKernel(high: u32): bool {
  return high == KERNEL_HI;
}

@inline
function hasZero(word: u64): bool {
  return ((word - ONES) & ~word & TOPS) != 0;
}

@inline
function lower(c: u32): u32 {
  return c - 65 < 26 ? c + 32 : c;
}

// Index of the first of `n` bytes at which the strings differ or both end; `n` where there is none.
function difference(a: usize, b: usize, n: u32): u32 {
  let i: u32 = 0;
  while (i + 8 <= n) {
    const word = load<u64>(a + i);
    if (word != load<u64>(b + i) || hasZero(word)) break;
    i += 8;
  }
  while (i < n) {
    const c = load<u8>(a + i);
    if (c != load<u8>(b + i) || c == 0) break;
    i++;
  }
  return i;
}

@inline
function order(x: u32, y: u32): i32 {
  return x == y ? 0 : x < y ? -1 : 1;
}

// Number of the first of `n` bytes that is 0; `n` where there is none.
function length(at: usize, n: u32): u32 {
  let i: u32 = 0;
  while (i + 8 <= n && !hasZero(load<u64>(at + i))) i += 8;
  while (i < n && load<u8>(at + i) != 0) i++;
  return i;
}

export function strncmp(a: usize, limit: u32, b: usize): i32 {
  const n = least(limit, least(room(a), room(b)));
  const i = difference(a, b, n);
  return i < n ? order(load<u8>(a + i), load<u8>(b + i)) : 0;
}

export function strcmp(a: usize, aHigh: u32, b: usize, bHigh: u32): i32 {
  if (!isKernel(aHigh) || !isKernel(bHigh)) return ERANGE;
  const n = least(LIMIT, least(room(a), room(b)));
  const i = difference(a, b, n);
  if (i < n) return order(load<u8>(a + i), load<u8>(b + i));
  return n == LIMIT ? E2BIG : EFAULT;
}

export function strcasecmp(a: usize, aHigh: u32, b: usize, bHigh: u32): i32 {
  if (!isKernel(aHigh) || !isKernel(bHigh)) return ERANGE;
  const n = least(LIMIT, least(room(a), room(b)));
  for (let i: u32 = 0; i < n; i++) {
    const x = lower(load<u8>(a + i));
    const y = lower(load<u8>(b + i));
    if (x != y) return order(x, y);
    if (x == 0) return 0;
  }
  return n == LIMIT ? E2BIG : EFAULT;
}

@inline
function bounded(low: u32, high: u32): u32 {
  return high != 0 ? LIMIT : least(low, LIMIT);
}

@inline
function find(s: usize, count: u32, c: u32): i32 {
  const n = least(count, room(s));
  const wanted = c & 0xff;
  for (let i: u32 = 0; i < n; i++) {
    const at: u32 = load<u8>(s + i);
    if (at == wanted) return i;
    if (at == 0) return ENOENT;
  }
  return n < count ? EFAULT : count == LIMIT ? E2BIG : ENOENT;
}

export function strnchr(s: usize, high: u32, countLow: u32, countHigh: u32, c: u32): i32 {
  return isKernel(high) ? find(s, bounded(countLow, countHigh), c) : ERANGE;
}

export function strchr(s: usize, high: u32, c: u32): i32 {
  return isKernel(high) ? find(s, LIMIT, c) : ERANGE;
}

export function strchrnul(s: usize, high: u32, c: u32): i32 {
  if (!isKernel(high)) return ERANGE;
  const n = least(LIMIT, room(s));
  const wanted = c & 0xff;
  for (let i: u32 = 0; i < n; i++) {
    const at: u32 = load<u8>(s + i);
    if (at == 0 || at == wanted) return i;
  }
  return n == LIMIT ? E2BIG : EFAULT;
}

export function strrchr(s: usize, high: u32, c: u32): i32 {
  if (!isKernel(high)) return ERANGE;
  const n = least(LIMIT, room(s));
  const wanted = c & 0xff;
  let last: i32 = ENOENT;
  for (let i: u32 = 0; i < n; i++) {
    const at: u32 = load<u8>(s + i);
    if (at == wanted) last = i;
    if (at == 0) return last;
  }
  return n == LIMIT ? E2BIG : EFAULT;
}

export function strnlen(s: usize, high: u32, countLow: u32, countHigh: u32): i32 {
  if (!isKernel(high)) return ERANGE;
  const count = bounded(countLow, countHigh);
  const n = least(count, room(s));
  const i = length(s, n);
  if (i < n) return i;
  return n < count ? EFAULT : count == LIMIT ? E2BIG : count;
}

export function strlen(s: usize, high: u32): i32 {
  return strnlen(s, high, LIMIT, 0);
}

// Bytes at the start of `s` that are in `set`, or that are not.
@inline
function span(s: usize, sHigh: u32, set: usize, setHigh: u32, wanted: bool): i32 {
  if (!isKernel(sHigh) || !isKernel(setHigh)) return ERANGE;
  const n = least(LIMIT, room(s));
  const members = least(LIMIT, room(set));
  for (let i: u32 = 0; i < n; i++) {
    const c: u32 = load<u8>(s + i);
    if (c == 0) return i;
    let j: u32 = 0;
    let member: u32 = 0;
    for (; j < members; j++) {
      member = load<u8>(set + j);
      if (member == 0 || member == c) break;
    }
    if (j == members) return members == LIMIT ? E2BIG : EFAULT;
    if ((member == c) != wanted) return i;
  }
  return n == LIMIT ? E2BIG : EFAULT;
}

export function strspn(s: usize, sHigh: u32, set: usize, setHigh: u32): i32 {
  return span(s, sHigh, set, setHigh, true);
}

export function strcspn(s: usize, sHigh: u32, set: usize, setHigh: u32): i32 {
  return span(s, sHigh, set, setHigh, false);
}

function search(s: usize, part: usize, count: u32): i32 {
  const n = room(s);
  const wantedBytes = room(part);
  for (let i: u32 = 0; i < LIMIT; i++) {
    for (let j: u32 = 0; ; j++) {
      if (j == LIMIT) return E2BIG;
      if (j >= wantedBytes) return EFAULT;
      const wanted = load<u8>(part + j);
      if (wanted == 0) return i;
      // What has no room for the rest is not found, but an empty part is.
      if (i + j == count) return ENOENT;
      if (i + j >= n) return EFAULT;
      const c = load<u8>(s + i + j);
      if (c == 0) return ENOENT;
      if (c != wanted) break;
    }
    if (i == count) return ENOENT;
  }
  return E2BIG;
}

export function strstr(s: usize, sHigh: u32, part: usize, partHigh: u32): i32 {
  return isKernel(sHigh) && isKernel(partHigh) ? search(s, part, LIMIT) : ERANGE;
}

export function strnstr(s: usize, sHigh: u32, part: usize, partHigh: u32, countLow: u32, countHigh: u32): i32 {
  return isKernel(sHigh) && isKernel(partHigh) ? search(s, part, bounded(countLow, countHigh)) : ERANGE;
}

// Ranges that overlap are rare, and the loop of `copy` is not for them.
@inline
function move(to: usize, from: usize, size: u32): void {
  if (to - from < size || from - to < size) memory.copy(to, from, size);
  else copy(to, from, size);
}

export function probe_read_kernel(to: usize, size: u32, low: usize, high: u32): i32 {
  if (!inMemory(to, size)) return EFAULT;
  if (size == 0) return 0;
  if (!isKernel(high) || !inMemory(low, size)) {
    zero(to, size);
    return EFAULT;
  }
  move(to, low, size);
  return 0;
}

// The length with the NUL. As in Linux, all `size` bytes may be read before the last one is replaced by the NUL.
export function probe_read_kernel_str(to: usize, size: u32, low: usize, high: u32): i32 {
  if (!inMemory(to, size)) return EFAULT;
  if (size == 0) return 0;
  const n = isKernel(high) ? least(size, room(low)) : 0;
  const end = length(low, n);
  if (end == n && n < size) {
    zero(to, size);
    return EFAULT;
  }
  const bytes = end == size ? size - 1 : end;
  move(to, low, bytes);
  store<u8>(to + bytes, 0);
  return bytes + 1;
}
