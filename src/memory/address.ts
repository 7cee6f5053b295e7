/**
 * Guest addresses: 64 bits wide, the offset in the linear memory in the low half, a constant upper half that tells the
 * address space. Kernel addresses look like Linux's direct map on x86-64, so that NULL, `%p` and IS_ERR behave; addresses
 * of user memory have an upper half of their own, so that probe reads can tell the two apart. Compiled code only ever
 * wraps an address to its low half.
 */

/** Upper half of every kernel address, as an unsigned and as a signed 32-bit number. */
export const KERNEL_HI = 0xffff_8881;
export const KERNEL_HI_SIGNED = KERNEL_HI | 0;
/** Upper half of every address of user memory. */
export const USER_HI = 0x0000_7f5c;

declare const guestBrand: unique symbol;
/** An offset in the linear memory (0 = NULL). Made by the allocator only. */
export type GuestPtr = number & { readonly [guestBrand]?: true };

/** The 64-bit kernel address of an offset; NULL stays NULL. */
export function kernelAddress(offset: GuestPtr): bigint {
  return offset === 0 ? 0n : (BigInt(KERNEL_HI) << 32n) | BigInt(offset >>> 0);
}

/** The 64-bit user address of an offset; NULL stays NULL. */
export function userAddress(offset: GuestPtr): bigint {
  return offset === 0 ? 0n : (BigInt(USER_HI) << 32n) | BigInt(offset >>> 0);
}
