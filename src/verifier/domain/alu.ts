/** Transfer of ALU instructions over scalars. */
import type { Scalar } from './scalar.ts';

/**
 * The result of `dst op= src` for two scalars, bounds synchronised. `op` is `code & 0xf0` (BPF_ADD .. BPF_ARSH, BPF_NEG;
 * for BPF_NEG `src` is not read). With `is64` false this is the 32-bit operation, the result zero-extended.
 */
export declare function scalarAlu(op: number, dst: Scalar, src: Scalar, is64: boolean): Scalar;
/** `dst = (s8|s16|s32)src` with `bits` of 8, 16 or 32: 64-bit movsx. */
export declare function movSignExtend(src: Scalar, bits: number, is64: boolean): Scalar;
/** `ptr.scalar += off` (op BPF_ADD) or `-= off` (BPF_SUB): bounds of a pointer's variable offset. */
export declare function pointerOffsetAlu(op: number, offset: Scalar, delta: Scalar): Scalar;
