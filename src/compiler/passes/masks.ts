/** Masks of a number of bits, out of tables: a shift of a bigint makes a new one each time. */

/** Products of two numbers of 64 bits are the longest that passes ask about. */
const ALL: readonly bigint[] = Array.from({ length: 130 }, (_, i) => (1n << BigInt(i)) - 1n);
const SIGN: readonly bigint[] = Array.from({ length: 65 }, (_, i) => (i === 0 ? 0n : 1n << BigInt(i - 1)));

/** All of the lowest `bits` bits. */
export const maskOf = (bits: number): bigint => ALL[bits]!;

/** The sign bit of a number of so many bits. */
export const signBit = (bits: number): bigint => SIGN[bits]!;

/** Bits up to the highest that is set; the value is not negative. */
export function bitLength(value: bigint): number {
  let length = 0;
  let rest = value;
  for (; rest > 0xffff_ffffn; rest >>= 32n) length += 32;
  return length + 32 - Math.clz32(Number(rest));
}

/** The smallest mask of low bits that holds the value. */
export const upTo = (value: bigint): bigint => ALL[bitLength(value)]!;
