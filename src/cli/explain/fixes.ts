/**
 * What to do about a refusal of which nothing is known but its kind: by another kernel, where this package's verifier does not share the
 * reason. Where it does, `verifier/explain` says more, and this is not asked.
 */
import type { RefusalKind } from '../../contracts/refusal.ts';

const ARITHMETIC = 'adding to and subtracting from a pointer is allowed within known bounds only';
const BOUND = 'bound the index before the access: compare it with the size, or mask it with &=';
const FEWER_PATHS = 'fewer paths: bound loops lower, move code to global functions, or use bpf_loop';
const LOOP = 'give the loop a constant bound, or use bpf_loop';
const NOT_HERE =
  'this program type, or this map type, does not have the helper: bpf-helpers(7) says which do';
const NOT_NEGATIVE = 'make the variable unsigned, or test that it is not negative';
const ONE_PROGRAM = 'every path ends with exit, inside of the program';
const STACK =
  'all frames together have 512 bytes, and there are at most 8: keep large variables in a per-CPU array map';
const STACK_BYTES =
  'stay within the 512 bytes below r10, and initialise every byte that is read, padding too: = {}';

const FIXES: Readonly<Partial<Record<RefusalKind, string>>> = {
  packet_bounds: 'compare the pointer plus the size of the access with data_end, and leave when it is beyond',
  context_access:
    'only the fields that this program type has may be accessed, each at its own offset and size',
  modified_pointer:
    'only the fields that this program type has may be accessed, each at its own offset and size',
  null_pointer: 'the pointer may be NULL: test it before using it',
  not_a_pointer:
    'the register holds a number, not a pointer; foreign addresses are read with bpf_probe_read_kernel or bpf_probe_read_user',
  register_unwritten:
    'the register has no value on this path: nothing was written to it, or a call has destroyed it (r6 to r9 survive calls)',
  stack_uninitialised: STACK_BYTES,
  stack_bounds: STACK_BYTES,
  unbounded_offset: BOUND,
  region_bounds: BOUND,
  argument_unbounded_size: BOUND,
  negative_offset: NOT_NEGATIVE,
  argument_negative_size: NOT_NEGATIVE,
  back_edge: LOOP,
  endless_loop: LOOP,
  too_complex: FEWER_PATHS,
  stack_combined: STACK,
  stack_frame: STACK,
  call_depth: STACK,
  unreachable_code: 'remove the code that no path leads to',
  falls_off_end: ONE_PROGRAM,
  jump_out_of_range: ONE_PROGRAM,
  call_out_of_range: ONE_PROGRAM,
  reference_leak: 'release the object, or submit or discard the record, on every path',
  licence: 'declare a licence that is compatible with the GPL: char LICENSE[] SEC("license") = "GPL";',
  function_unknown: NOT_HERE,
  function_not_allowed: NOT_HERE,
  argument_map: NOT_HERE,
  return_range: 'return one of the values that the program type allows',
  pointer_comparison: ARITHMETIC,
  pointer_subtraction: ARITHMETIC,
  pointer_arithmetic: ARITHMETIC,
  pointer_operator: ARITHMETIC,
  pointer_32bit: ARITHMETIC,
  pointer_leak: 'unprivileged programs may not let addresses out',
  read_only: 'the memory is read-only for this program',
  packet_read_only: 'the memory is read-only for this program',
  frame_pointer_written: 'r10 stays as it is: copy it to another register and change that',
  map_unknown: 'the instruction refers to a map that does not exist',
  argument_type: 'the argument is of another kind than the function takes',
  misaligned: 'align the access to its size, or load without BPF_F_STRICT_ALIGNMENT',
};

/** Empty where the kind is not known, or says nothing without its operands. */
export function fixFor(kind: string | undefined): string {
  return kind !== undefined && Object.hasOwn(FIXES, kind) ? FIXES[kind as RefusalKind]! : '';
}
