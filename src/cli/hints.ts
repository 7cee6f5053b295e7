/**
 * What to do about a refusal. The reason is only there as text, in the format of the kernel's log, on either kernel; the hints
 * serve people alone, nothing in the program depends on them. First match wins.
 */
const HINTS: readonly (readonly [RegExp, string])[] = [
  [
    /invalid access to packet/,
    'compare the pointer plus the size of the access with data_end, and leave when it is beyond',
  ],
  [
    /invalid mem access '\w*_or_null'|pointer type \w*_or_null|expected=\w+_or_null/,
    'the pointer may be NULL: test it before using it',
  ],
  [
    /R\d+ invalid mem access 'scalar'/,
    'the register holds a number, not a pointer; use bpf_probe_read_kernel or bpf_probe_read_user for foreign addresses',
  ],
  [
    /R\d+ !read_ok/,
    'the register has no value on this path: it was never written, or a call has destroyed it (calls keep only r6 to r9)',
  ],
  [
    /invalid (indirect )?read from stack|invalid (indirect )?access to stack/,
    'initialise the variable, all bytes of it with its padding, for instance with = {}',
  ],
  [/invalid access to map value/, 'bound the index or offset by a comparison before the access'],
  [
    /min value is negative|unbounded min value/,
    'make the variable unsigned, or test that it is not negative',
  ],
  [
    /unbounded memory access|max value is outside/,
    'bound the value: compare it with the size before, or mask it with &=',
  ],
  [/back-edge|infinite loop detected/, 'let the loop end: give it a constant bound, or use bpf_loop'],
  [
    /BPF program is too large|too many (insns|jumps)|complexity/,
    'fewer paths: bound loops lower, move code to global functions, or use bpf_loop',
  ],
  [
    /combined stack size|stack depth|Stack size .* exceeds|stack frame/,
    'the stack has 512 bytes: keep large variables in a per-CPU array map',
  ],
  [/unreachable insn/, 'remove the code that no path leads to'],
  [
    /Unreleased reference|reference leak/,
    'release the object, or submit or discard the record, on every path',
  ],
  [
    /cannot call GPL-restricted function|GPL compatible/,
    'declare a licence that is compatible with the GPL: char LICENSE[] SEC("license") = "GPL";',
  ],
  [
    /unknown func|program of this type cannot use helper|cannot use helper|is not allowed/,
    'programs of this type may not call it: bpf-helpers(7) says which may',
  ],
  [
    /At program exit the register R0|R0 has (value|invalid)|should have been in/,
    'return one of the values that the program type allows',
  ],
  [
    /pointer (arithmetic|comparison)|math between .* pointer|R\d+ (bitwise|32-bit) operator/,
    'only adding to and subtracting from a pointer is allowed, within bounds that are known',
  ],
  [/leak(s)? (addr|pointer)|R\d+ leaks addr/, 'unprivileged programs may not let addresses out'],
  [/write into map forbidden|cannot write into rdonly/, 'the memory is read-only'],
  [
    /dereference of modified ctx|invalid bpf_context access/,
    'only the fields of the context that this program type has may be accessed, at their own size',
  ],
  [
    /invalid map_ptr|fd -?\d+ is not pointing to valid bpf_map/,
    'the instruction refers to a map that does not exist',
  ],
];

export function hintFor(message: string): string | undefined {
  return HINTS.find(([pattern]) => pattern.test(message))?.[1];
}
