/**
 * Contradictions between the parts of a scalar: they arise on ways that cannot be taken and that the deduction did not
 * recognise as such. Linux reports them and forgets the bounds (reg_bounds_sanity_check).
 */
import { Bounds, type Scalar } from './scalar.ts';
import { tnumSubregIsConst } from './tnum.ts';

const LOW = 0xffff_ffffn;

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
  if (s.umin > s.umax || s.smin > s.smax || s.u32min > s.u32max || s.s32min > s.s32max) {
    return 'range bounds violation';
  }
  const { value, mask } = s.tnum;
  if (mask === 0n) {
    const signed = BigInt.asIntN(64, value);
    if (s.umin !== value || s.umax !== value || s.smin !== signed || s.smax !== signed) {
      return 'const tnum out of sync with range bounds';
    }
  }
  if (tnumSubregIsConst(s.tnum)) {
    const low = Number(value & LOW);
    if (s.u32min !== low || s.u32max !== low || s.s32min !== (low | 0) || s.s32max !== (low | 0)) {
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
