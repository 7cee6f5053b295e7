/**
 * Internet checksums (RFC 1071; lib/checksum.c, net/core/utils.c): one's complement sums over little-endian words, as x86 has
 * them. Sums are unsigned 32-bit numbers that fold to 16 bits.
 */

/** Adds with end-around carry. */
export function csumAdd(a: number, b: number): number {
  const sum = (a >>> 0) + (b >>> 0);
  return (sum > 0xffff_ffff ? sum - 0xffff_ffff : sum) >>> 0;
}

export function csumSub(a: number, b: number): number {
  return csumAdd(a, ~b >>> 0);
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
