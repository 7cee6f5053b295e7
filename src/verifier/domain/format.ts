/** Text of scalars as the log of Linux 6.18 prints them. */
import type { Scalar } from './scalar.ts';
/** `5`, `-1`, `0xffffffff`: a signed number, hex outside s16. */
export declare function formatSnum(n: bigint): string;
/** An unsigned number, hex above 65535. */
export declare function formatUnum(n: bigint): string;
/** The attributes between the parentheses, `smin=0,smax=umax=255,var_off=(0x0; 0xff)`; '' where nothing is known. */
export declare function formatRanges(s: Scalar): string;
/** The whole scalar: `5` or `scalar(id=1,...)`; `attrs` come first inside the parentheses. */
export declare function formatScalar(s: Scalar, attrs?: string): string;
