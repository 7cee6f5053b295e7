/** Conditional jumps over two scalars. */
import type { Scalar } from './scalar.ts';

export interface Refined {
  readonly trueLeft: Scalar;
  readonly trueRight: Scalar;
  readonly falseLeft: Scalar;
  readonly falseRight: Scalar;
}
/** 1 where the jump is always taken, 0 where never, -1 where it depends. `op` is `code & 0xf0`. */
export declare function isBranchTaken(left: Scalar, right: Scalar, op: number, is32: boolean): 1 | 0 | -1;
export declare function refineBranch(left: Scalar, right: Scalar, op: number, is32: boolean): Refined;
/** The op that holds of (right, left) when `op` holds of (left, right). */
export declare function flipJump(op: number): number;
