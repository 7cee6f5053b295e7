/** Refusals of the program as a whole: its shape, its maps, how much there is to explore, the kernel's types. */
import type { RefusalKind } from '../../../contracts/refusal.ts';
import { fix, type Row } from '../row.ts';

export const PROGRAM_ROWS = {
  program_length: {
    title: 'too many instructions, or none',
    asked: ({ reason }) => `has ${reason.actual ?? 0} instructions`,
    why: ({ reason }) => `a program may have 1 to ${reason.limit} instructions`,
    needed: ({ reason }) => `no more than ${reason.limit} instructions`,
    fix: () =>
      fix(
        'split the program with tail calls; without CAP_BPF the limit is 4096 instructions, with it a million',
      ),
  },
  encoding: {
    title: 'malformed instruction',
    why: () => 'the instruction is none of RFC 9669, or has values in fields that must be zero',
    needed: () => 'an instruction with a valid opcode and zeros in all fields that it does not use',
    fix: () =>
      fix('compile for this kernel (clang -mcpu=v3 or v4), or correct what generates the instructions'),
  },
  division_by_zero: {
    title: 'division by the constant 0',
    why: () => 'the divisor is the constant 0',
    needed: () => 'a divisor other than 0; dividing by a register that holds 0 gives 0',
    fix: () => fix('correct the constant'),
  },
  shift_too_wide: {
    title: 'shift by more than the width',
    why: ({ reason }) =>
      `the shift is by ${reason.actual} bits, the register has ${(reason.limit ?? 63) + 1}`,
    needed: ({ reason }) => `a shift by 0 to ${reason.limit} bits`,
    fix: ({ reason }) => fix(`shift by ${reason.limit} bits at most`),
  },
  jump_out_of_range: {
    title: 'jump out of the function',
    why: ({ reason }) =>
      `the jump goes to instruction ${reason.insn ?? '?'}, which is not in the same function`,
    needed: () => 'every jump stays inside its function',
    fix: () => fix('correct the jump’s distance; functions are entered by calls only'),
  },
  jump_into_constant: {
    title: 'jump into the middle of an instruction',
    why: () => 'a jump goes to the second half of a 64-bit constant, which takes two slots',
    needed: () => 'jumps go to the first slot of an instruction',
    fix: () => fix('correct the jump’s distance: ld_imm64 counts as two'),
  },
  call_out_of_range: {
    title: 'call out of the program',
    why: ({ reason }) => `the call goes to instruction ${reason.insn ?? '?'}, where the program has none`,
    needed: () => 'calls go to the first instruction of a function of the program',
    fix: () => fix('link the object again: the function that is called is not part of the program'),
  },
  falls_off_end: {
    title: 'control runs off the end',
    asked: () => 'goes on behind the last instruction of the function',
    why: () => 'the last instruction of the function is neither exit nor a jump',
    needed: () => 'every path ends with a return',
    fix: () => fix('return a value at the end of the function', 'return 0;'),
  },
  unreachable_code: {
    title: 'unreachable code',
    asked: () => 'has code that nothing leads to',
    why: () => 'no path leads to this instruction',
    needed: () => 'every instruction can be reached from the entry',
    fix: () => fix('remove the code, or compile with optimisation (-O2), which does it'),
  },
  back_edge: {
    title: 'loop without CAP_BPF',
    asked: ({ reason }) => `jumps back to instruction ${reason.insn ?? '?'}`,
    why: () => 'programs of users without CAP_BPF may not have loops',
    needed: () => 'only jumps forward, or CAP_BPF',
    fix: () => fix('unroll the loop, or load with CAP_BPF', '#pragma unroll\nfor (int i = 0; i < N; i++)'),
  },
  too_many_subprograms: {
    title: 'too many functions',
    asked: () => 'has more functions than that',
    why: ({ reason }) => `a program may have ${reason.limit} functions`,
    needed: ({ reason }) => `at most ${reason.limit} functions`,
    fix: () => fix('inline small functions with __always_inline, or split the program with tail calls'),
  },
  debug_info: {
    title: 'BTF does not fit the program',
    asked: () => 'comes with function and line records',
    why: ({ reason }) =>
      reason.detail === 'functions'
        ? 'tail calls and legacy packet loads in functions need BTF that says that the function returns int'
        : 'the records of .BTF.ext do not agree with the instructions',
    needed: () =>
      'one function record for each function, and ascending line records that point to instructions',
    fix: () => fix('compile with -g; tools that change instructions must change .BTF.ext with them'),
  },
  capability: {
    title: 'missing privilege',
    why: ({ reason }) =>
      `this needs ${reason.expected ?? 'CAP_BPF'}${reason.struct === undefined ? '' : `: it reads struct ${reason.struct}`}`,
    needed: ({ reason }) => `a process with ${reason.expected ?? 'CAP_BPF'}`,
    fix: ({ reason }) => fix(`load the program as root or with ${reason.expected ?? 'CAP_BPF'}`),
  },
  licence: {
    title: 'licence not compatible with the GPL',
    why: ({ reason }) =>
      reason.struct === undefined
        ? `${reason.function ?? 'the function'} is for GPL-compatible programs only, and the program does not declare such a licence`
        : `struct ${reason.struct} of the kernel may be read by GPL-compatible programs only`,
    needed: () => 'a licence that the kernel counts as GPL-compatible',
    fix: () => fix('declare one, if the program may have it', 'char LICENSE[] SEC("license") = "GPL";'),
  },
  map_unknown: {
    title: 'no such map',
    asked: ({ reason }) => `uses the map behind descriptor ${reason.actual}`,
    why: ({ reason }) => `descriptor ${reason.actual} is not a map`,
    needed: () => 'a descriptor of a map that is open when the program is loaded',
    fix: () =>
      fix('create the map first and keep its descriptor open until the program is loaded; libbpf does both'),
  },
  map_limit: {
    title: 'too many maps',
    asked: ({ reason }) => `uses one more map${reason.map === undefined ? '' : ` (${reason.map})`}`,
    why: ({ reason }) =>
      reason.limit === 1
        ? 'a program may use one map of this kind'
        : `a program may use ${reason.limit} maps`,
    needed: ({ reason }) => `at most ${reason.limit}`,
    fix: () => fix('put several values into one map, as fields of a struct or with a wider key'),
  },
  map_not_for_program: {
    title: 'map does not fit the program',
    asked: ({ reason, request }) =>
      `uses ${reason.map ? `map ${reason.map}` : 'a map'} in a ${request.progType.name} program`,
    why: ({ reason, request }) => {
      if (reason.detail === 'sleepable')
        return 'sleepable programs may use array, hash, ring buffer and local storage maps only';
      if (reason.detail === 'no arena')
        return 'the instruction converts arena addresses, and the program uses no arena';
      if (reason.field !== undefined)
        return `its values have a ${reason.field}, which ${request.progType.name} programs may not use`;
      return `${request.progType.name} programs cannot use maps of this type`;
    },
    needed: () => 'a map of a type, and with fields, that the program type may use',
    fix: ({ reason }) =>
      reason.detail === 'sleepable'
        ? fix('take another map type, or drop “.s” from the section')
        : fix('move the field or the data to a map of another type'),
  },
  map_no_direct_value: {
    title: 'map without a direct value',
    asked: ({ reason }) => `takes the address of a value of ${reason.map ? `map ${reason.map}` : 'a map'}`,
    why: () => 'only arrays (and arenas) have values at a fixed address',
    needed: () => 'a lookup, or an array map',
    fix: () => fix('look the value up', 'value = bpf_map_lookup_elem(&map, &key);'),
  },
  map_direct_offset: {
    title: 'address outside of the map',
    asked: ({ reason }) =>
      `takes the address of byte ${reason.offset} of ${reason.map ? `map ${reason.map}` : 'a map'}`,
    why: ({ reason }) =>
      reason.limit === undefined
        ? 'only the one value of an array of one element has a direct address'
        : `its value has ${reason.limit} bytes`,
    needed: ({ reason }) => `an offset below ${reason.limit ?? 'the size of the value'}`,
    fix: () => fix('correct the offset, or look the value up by its key'),
  },
  too_complex: {
    title: 'too complex',
    asked: () => 'has to be verified',
    why: ({ reason }) =>
      `the verifier has followed ${reason.limit} instructions over all paths and has not come to an end`,
    needed: ({ reason }) => `all paths together stay below ${reason.limit} instructions`,
    fix: () =>
      fix(
        'lower the bounds of loops, use bpf_loop() or bpf_for(), and move code to global (not static) functions, which are verified once; `tsbpf verify --annotate` shows which lines cost most',
        'bpf_for(i, 0, n) { … }',
      ),
  },
  too_many_paths: {
    title: 'too many branches',
    asked: () => 'has to be verified',
    why: ({ reason }) => `more than ${reason.limit} branches wait to be followed at once`,
    needed: () => 'fewer decisions one after the other on one path',
    fix: () =>
      fix(
        'replace the loop by bpf_loop() or bpf_for(), or chains of conditions by a table',
        'bpf_for(i, 0, n) { … }',
      ),
  },
  endless_loop: {
    title: 'endless loop',
    asked: () => 'goes round the loop once more',
    why: () =>
      'a round of the loop ends in the state that it started with: nothing brings it nearer to its end',
    needed: () => 'something that the verifier knows changes from round to round, and a bound for it',
    fix: () =>
      fix('count the rounds against a constant, or use bpf_for()', 'for (int i = 0; i < 64; i++) { … }'),
  },
  global_function: {
    title: 'prototype of a global function',
    asked: ({ reason }) =>
      `has ${reason.function ? `${reason.function}()` : 'a function'} as a global function`,
    why: () =>
      'a global function is verified on its own, and its prototype has something that the verifier cannot start from',
    needed: () =>
      'at most five parameters: numbers, the context, pointers to structs of known size; a number as the result',
    fix: () => fix('make the function static, or change its parameters', 'static __noinline int f(…)'),
  },
  missing_kernel_types: {
    title: 'types of the kernel are not known',
    why: ({ reason }) =>
      `${reason.struct === undefined ? 'this' : `struct ${reason.struct}`} needs the kernel’s BTF, which was not given`,
    needed: () => 'the BTF of the kernel that the program is for',
    fix: () => fix('give it: tsbpf … --btf /sys/kernel/btf/vmlinux'),
  },
  bounds_violated: {
    title: 'contradictory bounds',
    why: () =>
      'the bounds of a register contradict each other, and the load asked to refuse that (BPF_F_TEST_REG_INVARIANTS)',
    needed: () => 'bounds that agree',
    fix: () => fix('load without BPF_F_TEST_REG_INVARIANTS'),
  },
  internal: {
    title: 'verifier bug',
    asked: () => 'has to be verified',
    why: () => 'the verifier met a state that should not exist',
    needed: () => 'a verifier without this bug',
    fix: () => fix('please report it with the object file'),
  },
} as const satisfies Partial<Record<RefusalKind, Row>>;
