/**
 * Rules of the verifier that changed from release to release: what a program may do since when. A release has a rule from
 * `since` on; what Linux does without it is written in the comment. A stable series counts as it is now, with its repairs, so
 * `since` is the first of the long-term releases (5.4, 5.10, 5.15, 6.1, 6.6, 6.12, 6.18) that has it where a repair was carried back.
 *
 * Checked against 5.10, 6.1 and 6.12 by test/guest/verdicts.
 */
export interface Rule {
  readonly since: string;
  /** For reasons: `callbacks need Linux 5.13`. */
  readonly what: string;
}

export const RULES = {
  /** Without: calls of subprograms and tail calls exclude each other in a program. */
  tail_calls_beside_subprograms: { since: '5.10', what: 'tail calls in programs with subprograms' },
  /** Without: global functions are verified where they are called, as static ones. */
  global_functions: { since: '5.6', what: 'functions verified on their own' },
  /** Without: parameters of global functions are scalars or the context. */
  global_memory_arguments: { since: '5.12', what: 'pointers as arguments of global functions' },
  /** Without: CAP_SYS_ADMIN stands for CAP_BPF and CAP_PERFMON. */
  cap_bpf: { since: '5.8', what: 'CAP_BPF and CAP_PERFMON' },
  /** Without: loads from frozen read-only maps give unknown scalars. */
  constant_map_values: { since: '5.5', what: 'known values of read-only maps' },
  /** Without: what no jump is may not lead into a loop that was entered elsewhere. */
  loops_entered_by_falling_through: { since: '6.7', what: 'loops that are entered in their middle' },
  /** Without: privileged programs may not read stack that was never written. */
  uninit_stack_reads: { since: '5.10', what: 'reads of stack that was not written' },
  /** Without: they may not read below what was ever touched, either. */
  untouched_stack_reads: { since: '6.1', what: 'reads of stack that was not touched' },
  /** Without: packets' pointers are compared only by those who may see pointers. */
  packet_comparison: { since: '6.1', what: 'comparison of packet pointers without CAP_PERFMON' },
  /** Without: a narrower store over a spilled scalar counts as one over a spilled pointer. */
  narrow_store_over_scalar: { since: '6.6', what: 'narrow stores over spilled scalars' },
  /** Without: only constants keep their value on the stack. */
  spills_of_bounded_scalars: { since: '5.10', what: 'bounds of spilled scalars' },
  /** Without: only spills of 8 bytes are kept. */
  spills_of_part: { since: '5.10', what: 'scalars spilled in less than 8 bytes' },
  /** Without: a spilled 0 is eight bytes of zero, which may be overwritten one by one. */
  spills_of_zero: { since: '6.8', what: 'identity of spilled zeroes' },
  /** Without: a stored immediate is unknown when it is read again, unless it is 0. */
  spills_of_immediates: { since: '5.10', what: 'immediates on the stack' },
  /** Without: spilled scalars without any bounds lose their identity. */
  spills_of_any_scalar: { since: '6.9', what: 'identity of spilled scalars' },
  /** Without: a spill makes no copy of a number that had none. */
  linked_spills: { since: '6.9', what: 'spills that are refined with their register' },
  /** Without: a read of less than was spilled gives an unknown scalar. */
  narrowing_fills: { since: '6.9', what: 'reads of part of a spilled scalar' },
  /** Without: a function that holds a bpf_spin_lock may call no other. */
  calls_under_lock: { since: '6.9', what: 'calls while a bpf_spin_lock is held' },
  /** Without: whatever a speculative path does wrong refuses the program; with: a barrier ends the path. */
  speculation_barriers: { since: '6.17', what: 'barriers against speculation' },
  /** Without: `(map pointer == 0)` leaks the pointer for those who may not see it. */
  known_pointer_comparison: { since: '6.12', what: 'comparison of map pointers with 0' },
  /** Without: a lookup in an array may give NULL, whatever the key. */
  constant_keys: { since: '6.15', what: 'lookups with a constant key that are never NULL' },
  /** Without: a negated or byte-swapped register may be anything. */
  unary_ranges: { since: '6.17', what: 'ranges of negated and swapped values' },
  /** Without: other words for a helper that the program's type may not call. */
  helper_refused_by_type: { since: '6.10', what: 'words of a refusal' },
  /** Without: stores of constants into the context are refused. */
  constant_stores_into_context: { since: '6.4', what: 'stores of constants into the context' },
  /** Without: programs on hooks of the LSM return what they like. */
  lsm_return_values: { since: '6.12', what: 'ranges of what LSM programs return' },
  /** Without: those of programs for control groups may be stale. */
  trusted_arguments_of_cgroups: {
    since: '6.12',
    what: 'arguments of LSM_CGROUP programs that are known to be alive',
  },
  /** Without: any tracing program may be loaded as one that sleeps. */
  sleepable_by_attach_type: { since: '6.2', what: 'attach types of programs that may sleep' },
  /** Without: the bits of a wrong result are printed, not its range. */
  words_of_result_ranges: { since: '6.8', what: 'words of a refusal' },
  /** Without: numbers are called `inv`. */
  words_for_numbers: { since: '5.18', what: 'words of a refusal' },
  /** Without: no text says that tracing programs may not attach to a function. */
  words_for_denied_functions: { since: '6.16', what: 'words of a refusal' },
  /** Without: no tracing program is attached to another one. */
  nested_tracing: { since: '6.9', what: 'tracing programs for tracing programs' },
  /** Without: functions with arguments that are structs cannot be attached to. */
  struct_arguments: { since: '6.1', what: 'structs as arguments of traced functions' },
  /** Without: a function that a helper calls is taken to be called once. */
  callbacks_again: { since: '6.6', what: 'functions that helpers call any number of times' },
  // What is deduced of numbers (verifier/domain/deductions.ts says more).
  /** Without: numbers have 64-bit bounds only. */
  bounds_of_halves: { since: '5.7', what: 'bounds of the low 32 bits' },
  /** Without: where a 32-bit range tells bits, those that the 64-bit range told of the low half are lost. */
  bits_of_both_ranges: { since: '5.19', what: 'bits by ranges of both widths' },
  /** Without: more bits of a product are unknown. */
  products_by_parts: { since: '5.14', what: 'bits of products' },
  /** Without: a range that has not the number does not decide a comparison for equality, and a known left operand none. */
  equality_by_range: { since: '6.4', what: 'comparisons that ranges decide' },
  /** Without: one operand of a comparison has to be known; ranges of 32 and of 64 bits tell each other little. */
  ranges_of_both_operands: { since: '6.8', what: 'comparisons of two ranges' },
  /** Without: `|`, `^` and `*` by an unknown number give one; `&`, `|`, `^` of numbers that may be negative have no signed range. */
  bitwise_ranges: { since: '6.10', what: 'ranges of bitwise operations' },
  /** Without: products of numbers that may be negative, or large, are unknown. */
  negative_products: { since: '6.14', what: 'ranges of signed products' },
  /** Without: a sum of which both ends wrap is unknown; ranges that cross the sign tell nothing. */
  wrapped_sums: { since: '6.17', what: 'ranges of sums that wrap' },
  /** Without: bits of products are known less well. */
  product_unions: { since: '6.18', what: 'bits of products' },
  /** Without: two numbers that differ in a known bit may be equal. */
  bits_decide: { since: '6.12', what: 'comparisons that bits decide' },
  /** Without: that a range and bits have just one number in common is not seen. */
  single_values: { since: '6.18', what: 'ranges that bits narrow to a number' },
  /** Without: 32-bit ranges that cross the sign tell nothing. */
  signs_of_halves: { since: '6.12', what: '32-bit ranges that cross the sign' },
  /** Without: a number of -1 or 0 is not followed as two. */
  forked_masks: { since: '6.12', what: 'masks that are all ones or zero' },
  /** Without: copies of a number are not refined together. */
  linked_copies: { since: '5.10', what: 'copies that are refined together' },
  /** Without: a 32-bit copy is no copy. */
  linked_halves: { since: '6.6', what: '32-bit copies that are refined together' },
  /** Without: a copy to which a constant was added is no copy any longer. */
  linked_sums: { since: '6.11', what: 'copies at a distance' },
  /** Without: not in 32 bits. */
  linked_sums_of_halves: { since: '6.18', what: '32-bit copies at a distance' },
  /** Without: bytes of zero beside a narrow spill are any bytes. */
  zeroes_beside_spills: { since: '6.6', what: 'zeroes beside spilled scalars' },
  /** Without: a processor's number may be anything. */
  processor_range: { since: '6.6', what: 'the range of bpf_get_smp_processor_id' },
  /** Without: large frames of tracing programs count like others. */
  private_stacks: { since: '6.13', what: 'private stacks' },
} as const satisfies Readonly<Record<string, Rule>>;

export type RuleName = keyof typeof RULES;
