// Internet checksums (RFC 1071): one's complement sums of little-endian words, as x86-64 makes them (lib/checksum.c,
// arch/x86/lib/csum-partial_64.c). Which of the two zeros comes out matters once a sum is inverted.
import { EINVAL, inMemory } from './common';
import { CPU_DELTA_AT } from './run-state';

// RUN_STATE.helperResult of src/memory/layout.ts.
const RESULT_AT: usize = 0x10000;

// The sum of `size` bytes, a multiple of 4, added to `sum`.
function partial(at: usize, size: u32, sum: u32): u32 {
  let all: u64 = sum;
  while (size >= 8) {
    const word = load<u64>(at);
    all += word;
    if (all < word) all++;
    at += 8;
    size -= 8;
  }
  if (size != 0) {
    const word = <u64>load<u32>(at);
    all += word;
    if (all < word) all++;
  }
  const both = (all >> 32) + (all & 0xffffffff);
  return <u32>(both + (both >> 32));
}

@inline
function add(a: u32, b: u32): u32 {
  const sum = a + b;
  return sum < b ? sum + 1 : sum;
}

@inline
function fold(sum: u32): u32 {
  const folded = (sum >> 16) + (sum & 0xffff);
  return ((folded >> 16) + (folded & 0xffff)) & 0xffff;
}

// bpf_csum_diff: what `from` turning into `to` changes in a sum that starts as `seed`; either may be empty.
export function csum_diff(from: usize, fromSize: u32, to: usize, toSize: u32, seed: u32): void {
  const result = RESULT_AT + CPU_DELTA_AT();
  const isRead = (fromSize == 0 || inMemory(from, fromSize)) && (toSize == 0 || inMemory(to, toSize));
  if (!isRead || ((fromSize | toSize) & 3) != 0) {
    store<i64>(result, EINVAL);
    return;
  }
  let sum = seed;
  if (toSize != 0) {
    sum = partial(to, toSize, seed);
    if (fromSize != 0) sum = add(sum, ~partial(from, fromSize, 0));
  } else if (fromSize != 0) sum = ~partial(from, fromSize, ~seed);
  store<u64>(result, fold(sum));
}
