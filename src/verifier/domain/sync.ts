/** What the parts of a scalar let each other deduce. */

import type { Scalar } from './scalar.ts';
import type { Tnum } from './tnum.ts';

/** Keeps the low half (a 32-bit write zero-extends). */
export declare function zext32(s: Scalar): Scalar;
/** Truncates to `size` bytes (1, 2, 4, 8), zero-extending: a load of that size or a narrowing fill. */
export declare function coerceToSize(s: Scalar, size: number): Scalar;
/** Sign-extends the low `size` bytes (1, 2, 4) to 64 bits. */
export declare function coerceToSizeSx(s: Scalar, size: number): Scalar;
/** Sign-extends the low `size` bytes (1, 2) to 32 bits; the result is zero-extended. */
export declare function coerceSubregToSizeSx(s: Scalar, size: number): Scalar;
/** Unknown with the given bits. */
export declare function fromTnum(t: Tnum): Scalar;
/** Intersects with the s32 range min..max read as a 64-bit number (helper return ranges) and synchronises. */
export declare function withS32Range(s: Scalar, min: number, max: number): Scalar;
/** Intersects with u64/s64 bounds and synchronises. */
export declare function withRange(
  s: Scalar,
  r: { smin?: bigint; smax?: bigint; umin?: bigint; umax?: bigint },
): Scalar;
/** Null where the bounds are consistent, else the log line's message (REG INVARIANTS VIOLATION). */
export declare function boundsViolation(s: Scalar): string | null;
