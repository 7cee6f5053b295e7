/** Conditional jumps over scalars by the rules in force: the newest (branch.ts), or those of before 6.8 (older-branch.ts). */
import { newestBranchTaken, newestRefine, newestRefineSame, type Refined } from './branch.ts';
import { older } from './deductions.ts';
import { olderBranchTaken, olderRefine, olderRefineSame } from './older-branch.ts';
import type { Scalar } from './scalar.ts';

/** 1 where the jump is always taken, 0 where it never is, -1 where it depends on the values. */
export function isBranchTaken(left: Scalar, right: Scalar, op: number, is32: boolean): 1 | 0 | -1 {
  if (older === null || older.ranges_of_both_operands) return newestBranchTaken(left, right, op, is32);
  return olderBranchTaken(left, right, op, is32, older);
}

/** What both ways teach of two registers, or of a register and a number. */
export function refineBranch(left: Scalar, right: Scalar, op: number, is32: boolean): Refined {
  if (older === null || older.ranges_of_both_operands) return newestRefine(left, right, op, is32);
  return olderRefine(left, right, op, is32, older);
}

/** What both ways of `if rX op rX` teach. */
export function refineBranchSame(
  reg: Scalar,
  op: number,
  is32: boolean,
): { readonly whenTrue: Scalar; readonly whenFalse: Scalar } {
  if (older === null || older.ranges_of_both_operands) return newestRefineSame(reg, op, is32);
  return olderRefineSame(reg, op, is32);
}
