/**
 * Of each rule of deduction a program whose last jump leads to a forbidden access where the rule is missing, for
 * deductions.test.ts and for guests with other kernels (test/guest/verdicts).
 */
import type { RuleName } from '../../src/spec/index.ts';

/** R0 and R6 are unknown numbers; `bad` must not be reached, `out` may be. */
export function deductionProgram(lines: string): string {
  return `
call 7
r6 = r0
call 7
${lines}
out:
r0 = 0
exit
bad:
r0 = *(u64 *)(r10 +8)
exit`;
}

export interface DeductionNeed {
  readonly rule: RuleName;
  /** A release that refuses the program. */
  readonly without: string;
  readonly lines: string;
}

export const DEDUCTION_NEEDS: readonly DeductionNeed[] = [
  { rule: 'bounds_of_halves', without: '5.4', lines: 'if w0 > 10 goto out\nw1 = w0\nif r1 > 12 goto bad' },
  { rule: 'linked_copies', without: '5.4', lines: 'r1 = r0\nif r0 > 7 goto out\nif r1 > 7 goto bad' },
  { rule: 'equality_by_range', without: '6.1', lines: 'r0 &= 7\nif r0 == 9 goto bad' },
  {
    rule: 'linked_halves',
    without: '6.1',
    lines: 'r0 &= 255\nw1 = w0\nif r0 > 7 goto out\nif r1 > 7 goto bad',
  },
  {
    rule: 'ranges_of_both_operands',
    without: '6.6',
    lines: 'r0 &= 7\nr6 &= 7\nr6 += 8\nif r0 >= r6 goto bad',
  },
  {
    rule: 'linked_spills',
    without: '6.6',
    lines: 'r0 &= 255\n*(u64 *)(r10 -8) = r0\nif r0 > 7 goto out\nr1 = *(u64 *)(r10 -8)\nif r1 > 7 goto bad',
  },
  { rule: 'bitwise_ranges', without: '6.6', lines: 'r0 &= 7\nr6 &= 7\nr0 |= r6\nif r0 > 7 goto bad' },
  {
    rule: 'linked_sums',
    without: '6.10',
    lines: 'r0 &= 255\nr1 = r0\nr1 += 1\nif r0 > 7 goto out\nif r1 > 8 goto bad',
  },
  {
    rule: 'linked_sums_of_halves',
    without: '6.12',
    lines: 'r0 &= 255\nr1 = r0\nw1 += 1\nif r0 > 7 goto out\nif r1 > 8 goto bad',
  },
  { rule: 'negative_products', without: '6.12', lines: 'r0 &= 7\nr0 -= 4\nr0 *= 3\nif r0 s> 9 goto bad' },
  {
    rule: 'wrapped_sums',
    without: '6.12',
    lines:
      'r0 &= 7\nr1 = 0x8000000080000000 ll\nr0 += r1\nr1 += 5\nr0 += r1\nr2 = 0x10000000c ll\nif r0 > r2 goto bad',
  },
  // 1 or 3, times 3.
  {
    rule: 'product_unions',
    without: '6.12',
    lines: 'r0 &= 2\nr0 |= 1\nr1 = 3\nr0 *= r1\nif r0 & 4 goto bad',
  },
  { rule: 'bits_decide', without: '6.6', lines: 'r0 &= 6\nif r0 == 3 goto bad' },
  {
    rule: 'single_values',
    without: '6.12',
    lines: 'r0 &= 240\nif r0 < 20 goto out\nif r0 > 40 goto out\nif r0 != 32 goto bad',
  },
  {
    rule: 'signs_of_halves',
    without: '6.6',
    lines: 'if w0 s< -5 goto out\nif w0 s> 5 goto out\nif w0 > 0x90000000 goto out\nif w0 > 5 goto bad',
  },
  { rule: 'forked_masks', without: '6.6', lines: 'r0 s>>= 63\nr0 &= 5\nif r0 == 4 goto bad' },
];
