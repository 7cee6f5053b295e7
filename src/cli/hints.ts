/**
 * What to do about a refusal of which only the text of a kernel's log is known: a guess by its words, for people alone. Where this
 * package's verifier knows the reason, `verifier/explain` says it, and this is not asked. First match wins.
 */
const HINTS: readonly (readonly [RegExp, string])[] = [
  [
    /invalid access to packet|outside of the packet/,
    'compare the pointer plus the size of the access with data_end, and leave when it is beyond',
  ],
  [
    /invalid bpf_context access|dereference of modified ctx|invalid sock access|ctx ptr .*disallowed|misaligned context/,
    'only the fields that this program type has may be accessed, each at its own offset and size',
  ],
  [/_or_null|null-check it first/, 'the pointer may be NULL: test it before using it'],
  [
    /invalid mem access 'scalar'/,
    'the register holds a number, not a pointer; foreign addresses are read with bpf_probe_read_kernel or bpf_probe_read_user',
  ],
  [
    /!read_ok/,
    'the register has no value on this path: nothing was written to it, or a call has destroyed it (r6 to r9 survive calls)',
  ],
  [
    /invalid (indirect )?(read|access).*stack|invalid read from stack|invalid write to stack/,
    'stay within the 512 bytes below r10, and initialise every byte that is read, padding too: = {}',
  ],
  [
    /outside of the allowed memory range|invalid access to (map value|memory)|make sure to bounds check|unbounded memory access/,
    'bound the index before the access: compare it with the size, or mask it with &=',
  ],
  [
    /min value is negative|unbounded min value/,
    'make the variable unsigned, or test that it is not negative',
  ],
  [/back-edge|infinite loop detected/, 'give the loop a constant bound, or use bpf_loop'],
  [
    /BPF program is too large|too many jumps|too complex/,
    'fewer paths: bound loops lower, move code to global functions, or use bpf_loop',
  ],
  [
    /combined stack size|call stack of|stack size/,
    'all frames together have 512 bytes, and there are at most 8: keep large variables in a per-CPU array map',
  ],
  [/unreachable insn/, 'remove the code that no path leads to'],
  [
    /not an exit or jmp|jump out of range|call to invalid destination/,
    'every path ends with exit, inside of the program',
  ],
  [
    /[Uu]nreleased reference|reference leak/,
    'release the object, or submit or discard the record, on every path',
  ],
  [/GPL/, 'declare a licence that is compatible with the GPL: char LICENSE[] SEC("license") = "GPL";'],
  [
    /cannot use helper|invalid func unknown|unknown func|not allowed in|cannot pass map_type/,
    'this program type, or this map type, does not have the helper: bpf-helpers(7) says which do',
  ],
  [/At program exit|should have been in/, 'return one of the values that the program type allows'],
  [
    /pointer arithmetic|pointer comparison|math between|subtract(ion|ed)? |pointer \+= pointer/,
    'adding to and subtracting from a pointer is allowed within known bounds only',
  ],
  [/leaks addr|leak kernel pointer/, 'unprivileged programs may not let addresses out'],
  [/forbidden|cannot write into|is read only/, 'the memory is read-only for this program'],
  [/not pointing to valid bpf_map/, 'the instruction refers to a map that does not exist'],
  [/type=\w+ expected=/, 'the argument is of another kind than the function takes'],
  [/misaligned/, 'align the access to its size, or load without BPF_F_STRICT_ALIGNMENT'],
];

export function hintFor(message: string): string | undefined {
  return HINTS.find(([pattern]) => pattern.test(message))?.[1];
}
