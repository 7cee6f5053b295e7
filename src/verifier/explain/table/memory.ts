/** Refusals of loads and stores: what the pointer is, how far it may reach, what may be written. */
import type { RefusalKind, RegionKind } from '../../../contracts/refusal.ts';
import { boundsWords, type Case, fix, known, type Row } from '../row.ts';
import { bytes, regionWords, typeWords } from '../words.ts';

function regionOf({ reason, register }: Case): string {
  const name = regionWords(reason.region ?? REGION_OF[register?.type ?? '']);
  return reason.map ? `${name} of ${reason.map}` : name;
}

const nullTest = (c: Case) =>
  fix(
    'test the pointer before it is used, and leave where it is NULL',
    `if (!${pointerName(c)})\n\treturn ${leave(c)};`,
  );

const REGION_OF: Readonly<Record<string, RegionKind>> = {
  map_value: 'map_value',
  map_key: 'map_key',
  pkt: 'packet',
  fp: 'stack',
};

/** A C name that fits what the pointer is. */
function pointerName({ register }: Case): string {
  if (register?.type.startsWith('map_value')) return 'value';
  if (register?.type.includes('sock')) return 'sk';
  return register?.type.includes('ringbuf') ? 'record' : 'ptr';
}

export const MEMORY_ROWS = {
  null_pointer: {
    title: 'possibly NULL pointer',
    why: (c) => `${known(c)}: no test on this path excludes NULL`,
    needed: (c) => `${c.name} is known not to be NULL`,
    fix: nullTest,
  },
  not_a_pointer: {
    title: 'number used as a pointer',
    why: (c) => `${known(c)}, not a pointer that the verifier knows`,
    needed: (c) => `${c.name} is a pointer into memory that the program may access`,
    fix: () =>
      fix(
        'read memory of the kernel or of a process through a helper; if it was a pointer, keep it out of arithmetic and of partial copies that make it a number',
        'bpf_probe_read_kernel(&x, sizeof(x), ptr);',
      ),
  },
  not_accessible: {
    title: 'pointer that cannot be dereferenced',
    why: (c) => `${known(c)}, which has no memory that a program may access directly`,
    needed: (c) => `${c.name} is a pointer to memory: context, packet, stack, map value, …`,
    fix: (c) =>
      c.register?.type === 'map_ptr'
        ? fix('look a value up and access that', 'value = bpf_map_lookup_elem(&map, &key);')
        : c.register?.type === 'pkt_end'
          ? fix('access the packet through ctx->data; ctx->data_end serves for comparisons only')
          : fix('pass it to a helper that takes such a pointer'),
  },
  negative_offset: {
    title: 'possibly negative offset',
    why: (c) =>
      `the offset of ${c.name} ${boundsWords(c.register)}: the access may lie before the start of ${regionOf(c)}`,
    needed: () => 'the offset is known not to be negative',
    fix: () =>
      fix('make the index unsigned, or test that it is not negative', 'if (i < 0 || i >= SIZE)\n\treturn 0;'),
  },
  unbounded_offset: {
    title: 'unbounded offset',
    why: (c) =>
      `the offset of ${c.name} ${boundsWords(c.register)}; ${regionOf(c)} has ${bytes(c.reason.limit ?? 0)}`,
    needed: (c) => `an offset of at most ${Math.max(0, (c.reason.limit ?? 0) - (c.reason.size ?? 0))}`,
    fix: (c) =>
      fix(
        'compare the index with the size, or mask it, just before it is used',
        `if (i >= ${elements(c)})\n\treturn 0;`,
      ),
  },
  region_bounds: {
    title: 'outside of the memory',
    why: (c) => {
      const { offset = 0, size = 0, limit = 0 } = c.reason;
      const { smin, smax, umax } = c.register ?? {};
      const fixed = smin !== undefined && smin === smax;
      const from =
        c.reason.region === 'flow_keys' || fixed || umax === undefined
          ? `byte ${offset}`
          : `byte ${offset} plus a number that ${boundsWords(c.register)}`;
      return `${regionOf(c)} has ${bytes(limit)}; the access takes ${bytes(size)} from ${from}`;
    },
    needed: (c) => `offset plus size stay within 0 to ${c.reason.limit ?? 0}`,
    fix: (c) =>
      c.register?.smin !== undefined && c.register.smin !== c.register.smax
        ? fix('bound the index before the access', `if (i >= ${elements(c)})\n\treturn 0;`)
        : fix(
            c.reason.region === 'map_value'
              ? 'make the value of the map as large as the struct that is read from it'
              : 'stay within the memory: correct the offset or the size',
          ),
  },
  packet_bounds: {
    title: 'outside of the packet',
    why: (c) => {
      const range = c.register?.range ?? c.reason.limit ?? 0;
      const moving = c.register?.smin !== c.register?.smax;
      const end = endOf(c);
      const have =
        range === 0
          ? `nothing is proven about how much ${end === 'data' ? 'metadata' : 'of the packet'} lies behind ${c.name}`
          : `only ${bytes(range)} from ${moving ? 'its variable part' : 'its start'} on are proven to lie before ${end}`;
      return `${have}; the access needs ${bytes((c.reason.offset ?? 0) + (c.reason.size ?? 0))}${
        moving ? `. The variable part of the offset ${boundsWords(c.register)}` : ''
      }`;
    },
    needed: (c) =>
      `a comparison on this path that shows that ${bytes((c.reason.offset ?? 0) + (c.reason.size ?? 0))} lie before ${endOf(c)}`,
    fix: (c) =>
      fix(
        `compare the pointer plus the size of the access with ${endOf(c)}, and leave when it is beyond; helpers that may move the packet make it necessary again`,
        `if (ptr + ${Math.max(1, (c.reason.offset ?? 0) + (c.reason.size ?? 0))} > ${endOf(c)})\n\treturn ${leave(c)};`,
      ),
  },
  variable_offset: {
    title: 'variable offset',
    why: (c) =>
      `${c.name} is ${c.type} plus a number that ${boundsWords(c.register)}; fields of ${c.type} have constant offsets only`,
    needed: () => 'a constant offset that the compiler knows',
    fix: () => fix('access the field by its name; where the index varies, use a switch or unroll the loop'),
  },
  modified_pointer: {
    title: 'pointer was moved',
    why: (c) => `${c.name} is ${c.type} plus ${c.reason.offset}; this use needs the pointer as it was given`,
    needed: (c) => `${c.name} without an offset`,
    fix: () =>
      fix('keep the pointer, and let the load carry the offset: ctx->field', 'asm volatile("" : "+r"(ctx));'),
  },
  negative_pointer: {
    title: 'pointer before its start',
    why: (c) => `${c.name} is ${c.type} minus ${-(c.reason.offset ?? 0)}`,
    needed: () => 'an offset that is not negative',
    fix: () => fix('do not go back from the pointer (no container_of on it)'),
  },
  misaligned: {
    title: 'misaligned access',
    why: (c) =>
      `the access of ${bytes(c.reason.size ?? 0)} is at offset ${c.reason.offset}${c.reason.region === 'packet' ? ' of a packet that starts 2 bytes behind a multiple of 4' : ''}, which is no multiple of its size`,
    needed: (c) => `an address that is a multiple of ${c.reason.size}`,
    fix: () =>
      fix(
        'align the field (no packed structs), read it byte by byte with memcpy, or load without BPF_F_STRICT_ALIGNMENT',
        '__builtin_memcpy(&x, p, sizeof(x));',
      ),
  },
  read_only: {
    title: 'write to read-only memory',
    why: (c) =>
      c.reason.map
        ? `map ${c.reason.map} was made with BPF_F_RDONLY_PROG (as .rodata and const globals are)`
        : c.reason.detail === 'dynptr'
          ? 'the dynptr is const, and the function changes it'
          : `${c.reason.struct ? `struct ${c.reason.struct} of the kernel` : known(c)} may be read only`,
    needed: () => 'memory that the program may write',
    fix: (c) =>
      c.reason.map
        ? fix('make the variable non-const (it then lies in .data), or the map without BPF_F_RDONLY_PROG')
        : fix('copy to a variable on the stack and change that, or use the helper that sets the field'),
  },
  write_only: {
    title: 'read of write-only memory',
    why: (c) => `map ${c.reason.map ?? ''} was made with BPF_F_WRONLY_PROG: programs may only write to it`,
    needed: () => 'a map that programs may read',
    fix: () => fix('make the map without BPF_F_WRONLY_PROG'),
  },
  packet_read_only: {
    title: 'write to the packet',
    why: ({ request }) => `${request.progType.name} programs may not write to packets directly`,
    needed: () => 'a program type that may: xdp, tc, sk_skb, …',
    fix: () => fix('write with bpf_skb_store_bytes() where the type has it, or attach as tc or xdp'),
  },
  context_access: {
    title: 'no such field of the context',
    why: (c) => {
      const { offset = 0, size = 0, write } = c.reason;
      const struct = c.reason.struct ?? c.request.progType.ctx.struct;
      const field = c.request.progType.ctx.fields.find(
        (f) => offset >= f.offset && offset < f.offset + f.size,
      );
      const what = c.reason.struct === undefined ? `a ${c.request.progType.name} program` : 'it';
      if (field === undefined || c.reason.struct !== undefined)
        return `${what} has nothing at bytes ${offset} to ${offset + size - 1} of struct ${struct}${c.reason.detail === undefined ? '' : ` (${c.reason.detail})`}`;
      if (write) return `${what} may not write ${field.name} of struct ${struct} with ${bytes(size)}`;
      if (offset !== field.offset || size !== field.size)
        return `${field.name} of struct ${struct} lies at byte ${field.offset} and has ${bytes(field.size)}; the access takes ${bytes(size)} at ${offset}`;
      return `${what} may not read ${field.name} of struct ${struct}`;
    },
    needed: () => 'a field that this program type has, at its own offset and size',
    fix: (c) => {
      const names = c.request.progType.ctx.fields.map(({ name }) => name).slice(0, 12);
      return fix(
        names.length === 0
          ? 'access only what the program type’s context has'
          : `use one of the fields that the type has: ${names.join(', ')}${c.request.progType.ctx.fields.length > 12 ? ', …' : ''}`,
      );
    },
  },
  struct_access: {
    title: 'access does not fit the struct',
    why: (c) => {
      const { struct = '?', field, offset, size, detail } = c.reason;
      return `${offset === undefined ? '' : `bytes ${offset} to ${offset + (size ?? 1) - 1} of `}struct ${struct}${field ? `, at member ${field}` : ''}: ${detail ?? 'not allowed'}`;
    },
    needed: () => 'an access to one member, at its offset and size',
    fix: (c) =>
      c.reason.detail === 'per-CPU memory'
        ? fix('get the copy of this CPU first', 'p = bpf_this_cpu_ptr(&var);')
        : c.reason.detail === 'user memory'
          ? fix('read it through the helper', 'bpf_probe_read_user(&x, sizeof(x), ptr);')
          : fix(
              'use CO-RE (vmlinux.h, preserve_access_index), so that offsets fit the running kernel',
              'BPF_CORE_READ(task, comm)',
            ),
  },
  special_field: {
    title: 'special field of a map value',
    why: (c) =>
      `the access touches the ${c.reason.field ?? 'special field'} in the value${c.reason.map ? ` of ${c.reason.map}` : ''}, ${SPECIAL[c.reason.detail ?? ''] ?? 'which belongs to the kernel'}`,
    needed: () => 'accesses that leave the field alone',
    fix: (c) =>
      fix(`use the helpers for ${c.reason.field ?? 'it'}, and copy the fields beside it one by one`),
  },
  kptr_access: {
    title: 'kernel pointer in a map value',
    why: (c) =>
      c.reason.detail === 'store'
        ? 'a referenced kptr is only changed with bpf_kptr_xchg'
        : 'a kptr is only read and written whole, by plain 8-byte instructions',
    needed: () => 'bpf_kptr_xchg(), or a plain load',
    fix: () => fix('exchange it', 'old = bpf_kptr_xchg(&value->ptr, new);'),
  },
  atomic_target: {
    title: 'atomic operation on such memory',
    why: (c) =>
      `${c.name} is ${typeWords(c.reason.given ?? '')}; atomic operations work on stack, map values and arenas`,
    needed: () => 'a pointer to a map value or to the stack',
    fix: () => fix('keep the counter in a map value', '__sync_fetch_and_add(value, 1);'),
  },
  pointer_arithmetic: {
    title: 'arithmetic on such a pointer',
    why: (c) => `${known(c)}, which cannot be moved`,
    needed: () => 'the pointer as it was given',
    fix: () =>
      fix(
        'use it unchanged: the offset belongs into the access, or the value into a lookup with another key',
      ),
  },
  pointer_null_arithmetic: {
    title: 'arithmetic on a possibly NULL pointer',
    why: (c) => `${known(c)}: no test on this path excludes NULL`,
    needed: (c) => `${c.name} is known not to be NULL`,
    fix: nullTest,
  },
  pointer_operator: {
    title: 'operation on a pointer',
    why: (c) =>
      c.reason.given === 'two pointers'
        ? `both operands of “${c.reason.detail}” are pointers`
        : `${known(c)}; with pointers only + and - work`,
    needed: () => 'pointer plus or minus a number',
    fix: () => fix('compute the offset as a number first, and add it to the pointer then'),
  },
  pointer_32bit: {
    title: '32-bit arithmetic on a pointer',
    why: (c) => `${known(c)}; a 32-bit operation would cut it`,
    needed: () => '64-bit arithmetic',
    fix: () => fix('compute with long or __u64 in place of int'),
  },
  pointer_subtraction: {
    title: 'subtraction with a pointer',
    why: (c) =>
      c.reason.detail === 'from a number'
        ? 'a pointer would be subtracted from a number'
        : 'from a stack pointer only constants are taken, by adding negative ones',
    needed: () => 'pointer minus number',
    fix: () => fix('turn the operands round, or add a negative constant'),
  },
  pointer_offset: {
    title: 'offset too large',
    why: (c) =>
      `the number that is added to ${c.reason.given ?? 'the'} pointer ${c.reason.detail === 'unbounded' ? 'has no lower bound' : 'may be 2^29 or more'}`,
    needed: () => 'bounds of the number below 2^29',
    fix: () => fix('bound the number before it is added', 'if (off > 1500)\n\treturn 0;'),
  },
  pointer_leak: {
    title: 'address would leak',
    why: (c) =>
      `${known(c)}; an address of the kernel would get into ${LEAKS[c.reason.detail ?? ''] ?? c.reason.detail ?? 'memory'}, where a user without CAP_PERFMON could read it`,
    needed: () => 'a number, or CAP_PERFMON',
    fix: () => fix('store what the pointer points to, not the pointer; or load with CAP_PERFMON'),
  },
  pointer_comparison: {
    title: 'comparison of a pointer',
    why: (c) =>
      `${known(c)}; without CAP_PERFMON pointers are compared with NULL only, packet pointers with data_end`,
    needed: () => 'a comparison with NULL, or CAP_PERFMON',
    fix: () => fix('compare numbers that the pointers stand for, or load with CAP_PERFMON'),
  },
} as const satisfies Partial<Record<RefusalKind, Row>>;

/** Metadata ends where the packet starts. */
function endOf({ register }: Case): string {
  return register?.type === 'pkt_meta' ? 'data' : 'data_end';
}

const SPECIAL: Readonly<Record<string, string>> = {
  'variable offset': 'and its offset varies',
  'other place': 'but does not start where the field starts',
  size: 'and does not have its 8 bytes',
  helper: 'which helpers may not touch',
};

const LEAKS: Readonly<Record<string, string>> = {
  map: 'a map',
  mem: 'memory',
  ctx: 'the context',
  context: 'the context',
  helper: 'what a helper is given',
  'return value': 'the return value',
  'part of it': 'a number',
};

/** How many elements of the access's size there are room for. */
function elements(c: Case): string {
  const { limit = 0, size = 1 } = c.reason;
  return String(Math.max(1, Math.floor(limit / Math.max(1, size))));
}

/** What a program of the type returns to let things pass. */
function leave({ request }: Case): string {
  return PASSES[request.progType.name] ?? '0';
}

const PASSES: Readonly<Record<string, string>> = {
  xdp: 'XDP_PASS',
  sched_cls: 'TC_ACT_OK',
  sched_act: 'TC_ACT_OK',
};
