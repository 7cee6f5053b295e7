/**
 * Why a program is refused, as data: one kind for each thing that can be wrong, and the operands that a person needs to understand
 * it. Front ends and tools read this; nobody reads the text of the log. `verifier/explain/table` has a row for every kind.
 */

/** What the verifier has against the program. */
export type RefusalKind =
  // The program as a whole
  | 'program_length'
  | 'encoding'
  | 'division_by_zero'
  | 'shift_too_wide'
  | 'jump_out_of_range'
  | 'jump_into_constant'
  | 'call_out_of_range'
  | 'falls_off_end'
  | 'unreachable_code'
  | 'back_edge'
  | 'too_many_subprograms'
  | 'debug_info'
  | 'capability'
  | 'licence'
  // Maps the program refers to
  | 'map_unknown'
  | 'map_limit'
  | 'map_not_for_program'
  | 'map_no_direct_value'
  | 'map_direct_offset'
  // How much there is to explore
  | 'too_complex'
  | 'too_many_paths'
  | 'endless_loop'
  // Stack
  | 'stack_frame'
  | 'stack_combined'
  | 'stack_tail_call'
  | 'call_depth'
  | 'stack_bounds'
  | 'stack_unbounded'
  | 'stack_uninitialised'
  | 'stack_variable'
  | 'stack_spill'
  | 'stack_zero_size'
  // Registers
  | 'register_unwritten'
  | 'register_unknown'
  | 'frame_pointer_written'
  | 'bounds_violated'
  // Memory
  | 'null_pointer'
  | 'not_a_pointer'
  | 'not_accessible'
  | 'negative_offset'
  | 'unbounded_offset'
  | 'packet_bounds'
  | 'region_bounds'
  | 'variable_offset'
  | 'modified_pointer'
  | 'negative_pointer'
  | 'misaligned'
  | 'read_only'
  | 'write_only'
  | 'packet_read_only'
  | 'context_access'
  | 'struct_access'
  | 'special_field'
  | 'kptr_access'
  | 'mixed_pointers'
  | 'atomic_target'
  // Pointer arithmetic and leaks
  | 'pointer_arithmetic'
  | 'pointer_null_arithmetic'
  | 'pointer_operator'
  | 'pointer_32bit'
  | 'pointer_subtraction'
  | 'pointer_offset'
  | 'pointer_leak'
  | 'pointer_comparison'
  | 'speculation'
  // Calls
  | 'function_unknown'
  | 'function_not_allowed'
  | 'function_sleeps'
  | 'program_sleeps'
  | 'attach_target'
  | 'function_flags'
  | 'argument_type'
  | 'argument_null'
  | 'argument_constant'
  | 'argument_negative_size'
  | 'argument_unbounded_size'
  | 'argument_zero_size'
  | 'argument_string'
  | 'argument_offset'
  | 'argument_packet'
  | 'argument_reference'
  | 'argument_state'
  | 'argument_map'
  | 'argument_field'
  | 'format_string'
  | 'dynptr_uninitialised'
  | 'dynptr_initialised'
  | 'dynptr_type'
  | 'dynptr_place'
  | 'dynptr_overwritten'
  | 'callback'
  | 'global_function'
  | 'packet_load'
  | 'missing_kernel_types'
  // Things held
  | 'reference_leak'
  | 'release_unowned'
  | 'lock_held'
  | 'lock_twice'
  | 'lock_mismatch'
  | 'lock_needed'
  | 'section_held'
  | 'section_needed'
  | 'section_mismatch'
  // The end
  | 'return_pointer'
  | 'return_range'
  // Ours
  | 'internal';

/** The kind of memory an access goes to. */
export type RegionKind =
  | 'stack'
  | 'packet'
  | 'map_value'
  | 'map_key'
  | 'memory'
  | 'buffer'
  | 'context'
  | 'flow_keys'
  | 'struct';

export interface RefusalReason {
  readonly kind: RefusalKind;
  /** The offending instruction, for what is refused before the program is explored. */
  readonly at?: number;
  /** The register that is not what it must be, 0 to 10. */
  readonly register?: number;
  /** Of a call: which argument, 1 to 5. */
  readonly argument?: number;
  /** The function that is called: helper, kfunc or subprogram. */
  readonly function?: string;
  readonly map?: string;
  readonly region?: RegionKind;
  /** The access asked for, in bytes from the start of what the pointer points to (for a packet: of what is proven). */
  readonly offset?: number;
  readonly size?: number;
  readonly write?: boolean;
  /** What there is: bytes of the region, frames, instructions, …; the end of the range that is allowed. */
  readonly limit?: number;
  /** What there would be, where it is beyond `limit`. */
  readonly actual?: number;
  /** Inclusive bounds that are required. */
  readonly min?: number;
  readonly max?: number;
  /** Instruction that the reason refers to besides the offending one: a jump's target, where a reference was taken. */
  readonly insn?: number;
  /** Type names as the log has them. */
  readonly given?: string;
  readonly expected?: string;
  readonly struct?: string;
  readonly field?: string;
  /** The target release is too old: what it lacks, and the first that has it. */
  readonly needs?: { readonly what: string; readonly since: string };
  /** Which of several rules of the kind: a few words. */
  readonly detail?: string;
}
