/**
 * Contradictions between the parts of a scalar: they arise on ways that cannot be taken and that the deduction did not
 * recognise as such. Linux reports them and forgets the bounds (reg_bounds_sanity_check).
 */
import { older } from './deductions.ts';
import { Bounds, isConst, type Scalar } from './scalar.ts';
import { slt, ult } from './wide.ts';

/**
 * Forgets all eight bounds and keeps the tnum (Linux: __mark_reg_unbounded; what follows an invariant violation).
 */
export function unbounded(s: Scalar): Scalar {
  const b = new Bounds(null);
  b.tnum = s.tnum;
  return b;
}

/** Why the parts contradict each other, in the words of the log, or null where they do not. */
export function boundsViolation(s: Scalar): string | null {
  if (
    ult(s.umaxHi, s.umaxLo, s.uminHi, s.uminLo) ||
    slt(s.smaxHi, s.smaxLo, s.sminHi, s.sminLo) ||
    s.w32min >>> 0 > s.w32max >>> 0 ||
    s.s32min > s.s32max
  ) {
    return 'range bounds violation';
  }
  const { valueHi: hi, valueLo: lo } = s.tnum;
  if (isConst(s)) {
    const low = s.uminLo === lo && s.umaxLo === lo && s.sminLo === lo && s.smaxLo === lo;
    if (!low || s.uminHi !== hi || s.umaxHi !== hi || s.sminHi !== hi || s.smaxHi !== hi) {
      return 'const tnum out of sync with range bounds';
    }
  }
  if (s.tnum.maskLo === 0) {
    if (s.w32min !== lo || s.w32max !== lo || s.s32min !== lo || s.s32max !== lo) {
      return 'const subreg tnum out of sync with range bounds';
    }
  }
  return null;
}

/**
 * Linux: reg_bounds_sanity_check without BPF_F_TEST_REG_INVARIANTS. Returns `s` where it is consistent; otherwise hands
 * the log line to `report` (`context` is Linux's: alu, true_reg1, true_reg2, false_reg1, false_reg2, s32_range) and
 * returns `s` with its bounds forgotten. With that flag the caller refuses the program with EFAULT instead.
 */
export function checkInvariants(s: Scalar, context: string, report?: (line: string) => void): Scalar {
  // Releases before 6.8 do not look.
  if (older !== null && !older.ranges_of_both_operands) return s;
  const why = boundsViolation(s);
  if (why === null) return s;
  report?.(formatViolation(s, context, why));
  return unbounded(s);
}

function hex(n: bigint | number): string {
  const width = typeof n === 'bigint' ? BigInt.asUintN(64, n) : BigInt(n >>> 0);
  return `0x${width.toString(16)}`;
}

/** The log line of an invariant violation, without its newline. */
export function formatViolation(s: Scalar, context: string, why: string): string {
  return (
    `verifier bug: REG INVARIANTS VIOLATION (${context}): ${why} u64=[${hex(s.umin)}, ${hex(s.umax)}] ` +
    `s64=[${hex(s.smin)}, ${hex(s.smax)}] u32=[${hex(s.u32min)}, ${hex(s.u32max)}] ` +
    `s32=[${hex(s.s32min)}, ${hex(s.s32max)}] var_off=(${hex(s.tnum.value)}, ${hex(s.tnum.mask)})`
  );
}
