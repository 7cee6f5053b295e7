/**
 * Which of our kinds of refusal (contracts/refusal) the last line of a kernel's log is: Linux says no reason but this line, so it is
 * read here, where its text comes in, and nowhere behind. Texts are those of kernel/bpf/verifier.c, 5.10 to 6.18. First match wins;
 * a line that is not known has no kind.
 */
import type { RefusalKind } from '../contracts/refusal.ts';

const KINDS: readonly (readonly [RegExp, RefusalKind])[] = [
  [/invalid access to packet|outside of the packet/, 'packet_bounds'],
  [/dereference of modified ctx/, 'modified_pointer'],
  [
    /invalid bpf_context access|invalid sock access|ctx ptr .*disallowed|misaligned context/,
    'context_access',
  ],
  [/type=\w+ expected=/, 'argument_type'],
  [/_or_null|null-check it first/, 'null_pointer'],
  [/invalid mem access 'scalar'/, 'not_a_pointer'],
  [/!read_ok/, 'register_unwritten'],
  [/invalid (?:indirect )?read from stack/, 'stack_uninitialised'],
  [/invalid (?:indirect )?(?:read|access).*stack|invalid write to stack/, 'stack_bounds'],
  // Of sizes that are given to functions, the kernel knows another remedy.
  [/unbounded memory access, use/, 'argument_unbounded_size'],
  [/min value is negative, either use unsigned or/, 'argument_negative_size'],
  [/unbounded memory access|make sure to bounds check/, 'unbounded_offset'],
  [/outside of the allowed memory range|invalid access to (?:map value|memory)/, 'region_bounds'],
  [/min value is negative|unbounded min value/, 'negative_offset'],
  [/back-edge/, 'back_edge'],
  [/infinite loop detected/, 'endless_loop'],
  [/BPF program is too large|too many jumps|too complex/, 'too_complex'],
  [/combined stack size/, 'stack_combined'],
  [/call stack of/, 'call_depth'],
  [/stack size/, 'stack_frame'],
  [/unreachable insn/, 'unreachable_code'],
  [/not an exit or jmp/, 'falls_off_end'],
  [/jump out of range/, 'jump_out_of_range'],
  [/call to invalid destination/, 'call_out_of_range'],
  [/[Uu]nreleased reference|reference leak/, 'reference_leak'],
  [/GPL/, 'licence'],
  [/invalid func unknown|unknown func/, 'function_unknown'],
  [/cannot use helper|not allowed in/, 'function_not_allowed'],
  [/cannot pass map_type/, 'argument_map'],
  [/At program exit|should have been in/, 'return_range'],
  [/pointer comparison/, 'pointer_comparison'],
  [/subtract(?:ion|ed)? /, 'pointer_subtraction'],
  [/32-bit pointer arithmetic/, 'pointer_32bit'],
  [/pointer \+= pointer/, 'pointer_operator'],
  [/pointer arithmetic|math between/, 'pointer_arithmetic'],
  [/leaks addr|leak kernel pointer/, 'pointer_leak'],
  [/frame pointer is read only/, 'frame_pointer_written'],
  [/cannot write into packet/, 'packet_read_only'],
  [/forbidden|cannot write into|is read only/, 'read_only'],
  [/not pointing to valid bpf_map/, 'map_unknown'],
  [/misaligned/, 'misaligned'],
];

export function refusalKind(message: string): RefusalKind | undefined {
  return KINDS.find(([pattern]) => pattern.test(message))?.[1];
}
