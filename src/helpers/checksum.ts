/**
 * Internet checksums (RFC 1071; lib/checksum.c, net/core/utils.c): one's complement sums over little-endian words, as x86 has
 * them. Sums are unsigned 32-bit numbers that fold to 16 bits.
 */

const WORD = 0x1_0000_0000;

/** Adds with end-around carry. */
export function csumAdd(a: number, b: number): number {
  const sum = (a >>> 0) + (b >>> 0);
  return (sum > 0xffff_ffff ? sum - 0xffff_ffff : sum) >>> 0;
}

export function csumSub(a: number, b: number): number {
  return csumAdd(a, ~b >>> 0);
}

/**
 * The 32-bit sum of bytes, added to `sum`; where the last word of 8 bytes is not whole zeros follow. The one's complement sum of 64-bit words
 * is made first, its halves are put together at the end, as on x86-64: which of the two zeros comes out matters once it is inverted.
 */
export function csumPartial(bytes: Uint8Array, sum: number): number {
  let low = sum >>> 0;
  let high = 0;
  const word = (at: number) =>
    ((bytes[at] ?? 0) |
      ((bytes[at + 1] ?? 0) << 8) |
      ((bytes[at + 2] ?? 0) << 16) |
      ((bytes[at + 3] ?? 0) << 24)) >>>
    0;
  for (let at = 0; at < bytes.length; at += 8) {
    low += word(at);
    high += word(at + 4) + Math.floor(low / WORD);
    low = (low % WORD) + Math.floor(high / WORD);
    high %= WORD;
    // The carry that went round may carry once more.
    high += Math.floor(low / WORD);
    low %= WORD;
  }
  const both = high + low;
  return (both + Math.floor(both / WORD)) >>> 0;
}

/** The sum folded to 16 bits, not inverted. */
export function fold16(sum: number): number {
  let folded = (sum >>> 16) + (sum & 0xffff);
  folded = (folded >>> 16) + (folded & 0xffff);
  return folded & 0xffff;
}

/** The checksum field for a sum. */
export function csumFold(sum: number): number {
  return ~fold16(sum) & 0xffff;
}

/** New value of the 16-bit field `check` when a 16-bit word (already in memory order) changes. */
export function csumReplace2(check: number, from: number, to: number): number {
  return csumReplaceByDiff(check, csumAdd(~from & 0xffff, to & 0xffff));
}

/** The same for a 32-bit word. */
export function csumReplace4(check: number, from: number, to: number): number {
  return csumFold(csumAdd(csumSub(~check & 0xffff, from), to));
}

/** The same for a difference as bpf_csum_diff gives it. */
export function csumReplaceByDiff(check: number, diff: number): number {
  return csumFold(csumAdd(diff, ~check & 0xffff));
}

export interface MemoryRange {
  readonly at: number;
  readonly size: number;
}

/** bpf_csum_diff: what `from` turning into `to` changes in a sum that starts as `seed`; either may be empty. */
export function csumDiff(u8: Uint8Array, from: MemoryRange, to: MemoryRange, seed: number): number {
  const sum = ({ at, size }: MemoryRange, start: number) => csumPartial(u8.subarray(at, at + size), start);
  if (from.size > 0 && to.size > 0) return fold16(csumSub(sum(to, seed), sum(from, 0)));
  if (to.size > 0) return fold16(sum(to, seed));
  if (from.size > 0) return fold16(~sum(from, ~seed >>> 0) >>> 0);
  return fold16(seed);
}
