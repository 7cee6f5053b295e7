/** Refusals about the stack: its size, what was written to it, how it may be addressed. */
import type { RefusalKind } from '../../../contracts/refusal.ts';
import { boundsWords, fix, known, type Row } from '../row.ts';
import { bytes } from '../words.ts';

const LARGE = fix(
  'keep large variables in a per-CPU array map of one element',
  'struct {\n\t__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);\n\t__uint(max_entries, 1);\n\t__type(key, __u32);\n\t__type(value, struct big);\n} scratch SEC(".maps");',
);

export const STACK_ROWS = {
  stack_frame: {
    title: 'stack frame too large',
    asked: ({ reason }) => `uses ${bytes(reason.actual ?? 0)} of stack in one function`,
    why: ({ reason }) => `a function has ${bytes(reason.limit ?? 512)} of stack`,
    needed: ({ reason }) => `at most ${bytes(reason.limit ?? 512)}`,
    fix: () => LARGE,
  },
  stack_combined: {
    title: 'stack too large',
    asked: ({ reason }) =>
      `uses ${bytes(reason.actual ?? 0)} of stack over all functions that call each other`,
    why: ({ reason }) =>
      `all frames together have ${bytes(reason.limit ?? 512)}, and each counts in steps of 16 or 32 bytes`,
    needed: ({ reason }) => `at most ${bytes(reason.limit ?? 512)} in any chain of calls`,
    fix: () => LARGE,
  },
  stack_tail_call: {
    title: 'too much stack below a tail call',
    asked: ({ reason }) =>
      `makes a tail call from a function whose callers hold ${bytes(reason.actual ?? 0)} of stack`,
    why: ({ reason }) =>
      `a chain of tail calls from functions may keep ${bytes(reason.limit ?? 256)} at most`,
    needed: ({ reason }) => `at most ${bytes(reason.limit ?? 256)} of stack in the callers`,
    fix: () => fix('make the tail call from the main function, or keep variables in a per-CPU array map'),
  },
  call_depth: {
    title: 'calls nested too deep',
    asked: ({ reason }) => `nests ${reason.actual ?? '?'} calls`,
    why: ({ reason }) => `there are ${reason.limit} frames at most`,
    needed: ({ reason }) => `at most ${reason.limit} functions in any chain of calls, no recursion`,
    fix: () => fix('inline functions with __always_inline, and turn recursion into a loop'),
  },
  stack_bounds: {
    title: 'outside of the stack',
    why: (c) =>
      c.reason.detail === 'unprivileged'
        ? `the sum may lie outside of the 512 bytes of the frame, which programs without CAP_PERFMON may not even compute`
        : `the access ${c.reason.offset === undefined ? '' : `starts at byte ${c.reason.offset} `}of the frame, which is the 512 bytes below R10 (bytes -512 to -1)${c.register?.smin === c.register?.smax ? '' : `; the variable part of ${c.name} ${boundsWords(c.register)}`}`,
    needed: () => 'offset and size stay within the 512 bytes of the frame',
    fix: ({ reason }) =>
      (reason.offset ?? 0) < -512
        ? LARGE
        : fix(
            'correct the index or the size: an array on the stack must be as large as what is written to it',
            'if (i < sizeof(buf)) buf[i] = c;',
          ),
  },
  stack_unbounded: {
    title: 'unbounded index into the stack',
    why: (c) => `${c.name} is a stack pointer plus a number that ${boundsWords(c.register)}`,
    needed: () => 'bounds of the index that keep it inside of the array',
    fix: () => fix('bound the index just before it is used', 'if (i >= sizeof(buf)) return 0;'),
  },
  stack_uninitialised: {
    title: 'uninitialised stack',
    why: ({ reason, called }) => {
      const at =
        reason.actual === undefined ? '' : `byte ${reason.actual} of the ${bytes(reason.size ?? 0)} `;
      const where =
        reason.offset === undefined
          ? 'the stack'
          : `R10${reason.offset < 0 ? ` - ${-reason.offset}` : ` + ${reason.offset}`}`;
      return `${at}at ${where} was not written on this path${reason.argument === undefined ? '' : `, and ${called} would read it`}`;
    },
    needed: () => 'every byte that is read, padding of structs too, was written before on every path',
    fix: () =>
      fix(
        'initialise the whole variable; {} sets padding only where the compiler chooses to, memset always does',
        'struct key key;\n__builtin_memset(&key, 0, sizeof(key));',
      ),
  },
  stack_variable: {
    title: 'variable offset into the stack',
    why: (c) =>
      `${c.name} is a stack pointer whose offset ${boundsWords(c.register)}, and ${c.reason.detail === 'helper' ? 'this helper takes only constant ones' : 'programs without CAP_PERFMON may use only constant ones'}`,
    needed: () => 'a constant offset',
    fix: ({ reason }) =>
      reason.detail === 'helper'
        ? fix('copy the part of the array to a variable of its own and pass that')
        : fix('use constant indexes (unroll the loop), keep the array in a map, or load with CAP_PERFMON'),
  },
  stack_spill: {
    title: 'pointer on the stack damaged',
    why: ({ reason }) =>
      reason.detail === 'into the caller'
        ? 'a pointer to this function’s stack would lie in the caller’s frame, and outlive what it points to'
        : `a pointer that is kept on the stack would be ${reason.detail === 'part of it read' ? 'read in parts' : 'overwritten in parts'}`,
    needed: () => 'pointers are stored and loaded whole: 8 bytes, aligned to 8',
    fix: () => fix('keep numbers and pointers in separate variables, and load the pointer whole'),
  },
  stack_zero_size: {
    title: 'memory of size 0',
    why: (c) => `${c.called} must be given memory of at least one byte`,
    needed: () => 'a size above 0',
    fix: () => fix('leave out the call where there is nothing to pass', 'if (n > 0)'),
  },
  register_unwritten: {
    title: 'uninitialised register',
    why: (c) => `${c.name} has no value on this path: ${c.origin ?? 'nothing was written to it'}`,
    needed: (c) => `${c.name} was written on every path to here`,
    fix: (c) =>
      c.name === 'R0' && c.deed === 'returns'
        ? fix('return a value on every path', 'return 0;')
        : /destroyed|call/.test(c.origin ?? '')
          ? fix('keep the value in R6 to R9 or on the stack across the call: calls destroy R1 to R5')
          : fix('initialise the variable where it is declared; pass all arguments that the function takes'),
  },
  register_unknown: {
    title: 'no such register',
    why: (c) => `there are R0 to R10, not ${c.name}`,
    needed: () => 'a register from R0 to R10',
    fix: () => fix('correct what generates the instructions'),
  },
  frame_pointer_written: {
    title: 'frame pointer is read-only',
    why: () => 'R10 points to the stack and cannot be changed',
    needed: () => 'another register as the destination',
    fix: () => fix('copy R10 to another register and change that', 'r2 = r10\nr2 += -8'),
  },
  return_pointer: {
    title: 'result is not a number',
    asked: () => 'returns',
    why: (c) => `${c.name} holds ${c.type}`,
    needed: ({ reason }) =>
      reason.min === undefined ? 'a number as the result' : `a number from ${reason.min} to ${reason.max}`,
    fix: () => fix('return a number', 'return 0;'),
  },
  return_range: {
    title: 'wrong return value',
    asked: () => 'returns',
    why: (c) => `R0 ${boundsWords(c.register)}${c.origin === undefined ? '' : ` (${c.origin})`}`,
    needed: ({ reason: { min = 0, max = min, detail = '' }, request }) =>
      `a ${request.progType.name} program${detail.includes('callback') ? '’s callback' : ''} returns ${min === max ? min : `${min} to ${max}`}`,
    fix: ({ reason: { min = 0, max = min } }) =>
      fix(
        'return one of the values that are allowed, on every path',
        min === max ? `return ${min};` : `if (ret < ${min} || ret > ${max})\n\tret = ${min};\nreturn ret;`,
      ),
  },
  mixed_pointers: {
    title: 'one instruction, several kinds of pointers',
    why: (c) =>
      `on another path the instruction uses another kind of pointer than here, where it is ${c.type}, and the kernel rewrites each such access for one kind`,
    needed: () => 'the same kind of pointer on every path',
    fix: () =>
      fix(
        'do the access in each branch apart, and keep the compiler from joining them',
        'asm volatile("" ::: "memory");',
      ),
  },
  packet_load: {
    title: 'legacy packet load',
    why: ({ reason, request }) =>
      reason.detail === 'R6'
        ? 'R6 must hold the context, and does not'
        : `${request.progType.name} programs have no packet for it`,
    needed: () => 'a socket filter, tc or cgroup packet program, with the context in R6',
    fix: () => fix('use bpf_skb_load_bytes() in place of llvm.bpf.load.*'),
  },
  speculation: {
    title: 'pointer arithmetic that cannot be guarded against speculation',
    why: (c) => {
      const why: Readonly<Record<string, string>> = {
        bounds: 'the number may be negative on one path and positive on another',
        type: 'the pointer is of a kind for which no limit is known',
        paths: 'other paths add to another pointer, or in another way',
        limit: 'the sum may go beyond what the pointer points to',
      };
      return `${known(c)}; ${why[c.reason.detail ?? ''] ?? 'no mask can be computed'}`;
    },
    needed: () => 'bounds that are the same on every path, or CAP_PERFMON',
    fix: () =>
      fix(
        'bound the index with an unsigned comparison just before it is used, or load with CAP_PERFMON',
        'if (i >= SIZE) return 0;',
      ),
  },
} as const satisfies Partial<Record<RefusalKind, Row>>;
