/**
 * What a release deduces of numbers, where that is less than (or other than) the newest does: set for the time of a
 * verification. The older rules themselves are in older-*.ts. Null stands for the newest, so that its paths cost one
 * comparison; verification is synchronous, so that one variable serves.
 */

/** Rows of spec/releases/rules.ts by the same names say since when. */
export interface Deductions {
  /** 32-bit bounds of their own. */
  readonly bounds_of_halves: boolean;
  /** Bits learnt from the 64-bit range are kept where the 32-bit one narrows the low half further. */
  readonly bits_of_both_ranges: boolean;
  /** Products are built of the parts of one factor. */
  readonly products_by_parts: boolean;
  /** Ranges decide comparisons for equality, and a known left operand others. */
  readonly equality_by_range: boolean;
  /** Ranges of both operands count in a comparison, and ranges of both widths inform each other. */
  readonly ranges_of_both_operands: boolean;
  /** Bitwise operations and products of two unknown numbers have ranges. */
  readonly bitwise_ranges: boolean;
  /** Products of negative numbers have ranges. */
  readonly negative_products: boolean;
  /** Sums of which both ends wrap keep their range. */
  readonly wrapped_sums: boolean;
  /** Products are unions of partial sums. */
  readonly product_unions: boolean;
  /** Known bits decide comparisons for equality. */
  readonly bits_decide: boolean;
  /** The one number that a range and bits have in common is the value. */
  readonly single_values: boolean;
  /** 32-bit ranges that cross the sign tell something. */
  readonly signs_of_halves: boolean;
  /** A number of -1 or 0 is followed as two. */
  readonly forked_masks: boolean;
}

/** The rules in force; null: those of the newest release. */
export let older: Deductions | null = null;

/** Sets what counts from here on; gives back what did. */
export function deduceAs(deductions: Deductions | null): Deductions | null {
  const before = older;
  older = deductions;
  return before;
}
