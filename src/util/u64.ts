/** 64-bit values as bigint and as 32-bit halves. Hot code works on halves; bigint is for borders and tables. */

export const U64_MAX = 0xffff_ffff_ffff_ffffn;
export const S64_MIN = -0x8000_0000_0000_0000n;
export const S64_MAX = 0x7fff_ffff_ffff_ffffn;

export function asU64(value: bigint): bigint {
  return BigInt.asUintN(64, value);
}

export function asS64(value: bigint): bigint {
  return BigInt.asIntN(64, value);
}

/** The low half as an unsigned number. */
export function lowHalf(value: bigint): number {
  return Number(value & 0xffff_ffffn);
}

/** The high half as an unsigned number. */
export function highHalf(value: bigint): number {
  return Number((value >> 32n) & 0xffff_ffffn);
}

/** Joins two halves (signed or unsigned numbers) to an unsigned 64-bit value. */
export function joinHalves(low: number, high: number): bigint {
  return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
}
