/** Refusals of calls: the function, each argument, and what is held when a path ends. */
import type { RefusalKind } from '../../../contracts/refusal.ts';
import { boundsWords, type Case, fix, known, type Row } from '../row.ts';
import { typeList, typeWords } from '../words.ts';

const argument = (c: Case): string =>
  c.reason.argument === undefined ? c.name : `argument ${c.reason.argument} (${c.name})`;

function mapOf({ reason, register }: Case): string {
  const name = reason.map ?? register?.map ?? '';
  return name === '' ? 'this map' : `map ${name}`;
}

const RELEASES: Readonly<Record<string, string>> = {
  bpf_ringbuf_reserve: 'bpf_ringbuf_submit(record, 0);   // or bpf_ringbuf_discard(record, 0);',
  bpf_sk_lookup_tcp: 'bpf_sk_release(sk);',
  bpf_sk_lookup_udp: 'bpf_sk_release(sk);',
  bpf_skc_lookup_tcp: 'bpf_sk_release(sk);',
};

/** By the detail of the reason; the argument is the function's name. */
const ATTACH_REASONS: Readonly<Record<string, (name: string) => string>> = {
  none: () => 'programs of this type are for one function, and none is given (attach_btf_id)',
  unknown: () => 'the types of the kernel have nothing with the id that the program is loaded for',
  kind: (name) => `${name} is not what a program with this attach type attaches to`,
  prototype: (name) => `${name} has arguments or a result that cannot be handed to a program`,
  disabled: (name) => `${name} gives the kernel more than a number, which a program cannot`,
  awake: (name) =>
    `${name} may be called where nothing may sleep, and the program is loaded with BPF_F_SLEEPABLE`,
  result: (name) => `the result of ${name} may not be changed`,
  denied: (name) => `${name} is called by what calls the program: it would never end`,
  no_return: (name) => `${name} does not return`,
  kernel: () => 'freplace programs replace functions of other programs, not of the kernel',
  static: (name) => `${name} is a static function: only global ones can be replaced`,
  differs: (name) => `the prototype of the program is not that of ${name}`,
  packet: (name) => `the program may move the packet, which ${name} does not: its callers rely on that`,
  sleeps: (name) => `the program may sleep, which ${name} does not: its callers rely on that`,
  nested: () => 'the target is itself a program that replaces or traces another: such chains are not allowed',
};

export const CALL_ROWS = {
  function_unknown: {
    title: 'no such function',
    why: (c) => `the kernel has no ${c.reason.function ?? c.called}`,
    needed: () => 'a function of the kernel that the program is for',
    fix: () =>
      fix(
        'take another function, or guard the call: if (bpf_ksym_exists(f)), and mark the declaration __weak',
      ),
  },
  function_not_allowed: {
    title: 'function is not for this program type',
    why: (c) => `${c.request.progType.name} programs may not call ${c.reason.function ?? c.called}`,
    needed: () =>
      'a function that the program type (with its attach type and the caller’s privileges) may call',
    fix: (c) =>
      fix(
        ALTERNATIVES[c.reason.function ?? ''] ??
          `see bpf-helpers(7) for the types that have it; attach to another hook, or do this part in another program and share a map`,
      ),
  },
  function_sleeps: {
    title: 'function may sleep',
    why: (c) => `${c.reason.function ?? c.called} may sleep, and here that is not possible`,
    needed: () => 'a sleepable program, outside of RCU, preemption and lock sections',
    fix: () =>
      fix(
        'make the program sleepable where its hook allows it',
        'SEC("fentry.s/…")   // or lsm.s/, uprobe.s/, iter.s/, syscall',
      ),
  },
  program_sleeps: {
    title: 'program may not sleep',
    why: (c) =>
      c.reason.detail === 'required'
        ? `${c.request.progType.name} programs always may sleep, and this one is loaded without that flag`
        : `${c.request.progType.name} programs with this attach type run where nothing may sleep`,
    needed: (c) => (c.reason.detail === 'required' ? 'the flag BPF_F_SLEEPABLE' : 'no flag BPF_F_SLEEPABLE'),
    fix: (c) =>
      c.reason.detail === 'required'
        ? fix('load it with BPF_F_SLEEPABLE', 'SEC("syscall")')
        : fix('load it without BPF_F_SLEEPABLE, or attach to a hook that may sleep'),
  },
  attach_target: {
    title: 'cannot attach there',
    why: (c) => {
      const { detail, function: name = 'the target' } = c.reason;
      return ATTACH_REASONS[detail ?? '']?.(name) ?? `programs of this kind do not attach to ${name}`;
    },
    needed: () => 'a target that programs of this type may attach to',
    fix: (c) =>
      c.reason.detail === 'none'
        ? fix('name what to attach to in the section', 'SEC("fentry/vfs_read")')
        : fix('attach to another function, or with another type of program'),
  },
  function_flags: {
    title: 'unknown flags',
    why: (c) => `${c.called} takes no flags, and ${c.name} ${boundsWords(c.register)}`,
    needed: () => 'flags that are 0',
    fix: () => fix('pass 0'),
  },
  argument_type: {
    title: 'argument of the wrong kind',
    why: (c) =>
      `${argument(c)} is ${c.reason.given === undefined ? c.type : typeWords(c.reason.given)}${c.origin === undefined ? '' : ` (${c.origin})`}${
        c.reason.expected === undefined
          ? ', which the function does not take'
          : `; ${c.called} takes ${typeList(c.reason.expected)}`
      }`,
    needed: (c) =>
      `${argument(c)} is ${c.reason.expected === undefined ? 'of a kind that the function takes' : typeList(c.reason.expected)}`,
    fix: (c) =>
      c.register?.mayBeNull === true
        ? fix('test the pointer for NULL before it is passed', 'if (!ptr)\n\treturn 0;')
        : c.register?.type === 'scalar' && /\bfp\b/.test(c.reason.expected ?? '')
          ? fix('pass the address of a variable, not its value', 'bpf_map_lookup_elem(&map, &key)')
          : c.register?.type === 'scalar' && /ringbuf|sock|ptr_/.test(c.reason.expected ?? '')
            ? fix(
                'pass the pointer that the acquiring function gave, and once only: when it is released it becomes a number',
              )
            : fix('pass what the function takes, in the order that its declaration has'),
  },
  argument_null: {
    title: 'possibly NULL argument',
    why: (c) =>
      `${argument(c)} is ${c.type}${c.origin === undefined ? '' : ` (${c.origin})`}, and ${c.called} does not take NULL`,
    needed: (c) => `${c.name} is known not to be NULL`,
    fix: () => fix('test the pointer before it is passed', 'if (!ptr)\n\treturn 0;'),
  },
  argument_constant: {
    title: 'argument is not a constant',
    why: (c) =>
      `${argument(c)} ${boundsWords(c.register)}; it must be the same number on this path every time`,
    needed: () => 'a constant',
    fix: () =>
      fix(
        'pass a constant; for sizes that vary reserve the largest, or use a dynptr',
        'bpf_ringbuf_reserve_dynptr(&rb, size, 0, &ptr);',
      ),
  },
  argument_negative_size: {
    title: 'possibly negative size',
    why: (c) => `the size in ${c.name} ${boundsWords(c.register)}`,
    needed: () => 'a size that is known not to be negative',
    fix: () => fix('make the size unsigned, and bound it', 'if (n > sizeof(buf))\n\tn = sizeof(buf);'),
  },
  argument_unbounded_size: {
    title: 'unbounded size',
    why: (c) => `the size in ${c.name} ${boundsWords(c.register)}`,
    needed: () => 'an upper bound that fits the memory',
    fix: () =>
      fix(
        'bound the size just before the call; a mask works where the compiler drops the comparison',
        'n &= sizeof(buf) - 1;',
      ),
  },
  argument_zero_size: {
    title: 'size may be 0',
    why: (c) => `the size in ${c.name} ${boundsWords(c.register)}, and ${c.called} does not take 0`,
    needed: () => 'a size of at least 1',
    fix: () => fix('leave the call out where the size is 0', 'if (n == 0)\n\treturn 0;'),
  },
  argument_string: {
    title: 'argument is not a constant string',
    why: (c) => `${argument(c)}: ${c.reason.detail ?? 'no constant string'}`,
    needed: () => 'the address of a string with its end in read-only data (.rodata)',
    fix: () => fix('make the text a constant', 'static const char fmt[] = "…";'),
  },
  argument_offset: {
    title: 'argument with an offset',
    why: (c) =>
      c.reason.detail === 'variable'
        ? `the offset of ${c.name} varies; the ${c.reason.field ?? 'field'} is at a constant one`
        : `${argument(c)} is ${c.type} plus ${c.reason.offset}; it must be passed as it was given`,
    needed: () => 'the pointer without the offset',
    fix: () => fix('pass the pointer that the other function gave, or &value->field with a constant offset'),
  },
  argument_packet: {
    title: 'packet pointer as an argument',
    why: (c) => `${c.called} takes no pointer into the packet in ${c.request.progType.name} programs`,
    needed: () => 'memory on the stack or in a map',
    fix: () => fix('copy the bytes to the stack first', '__builtin_memcpy(&key, &ip->saddr, sizeof(key));'),
  },
  argument_reference: {
    title: 'argument without the reference that is needed',
    why: (c) =>
      c.reason.detail === 'two'
        ? `${argument(c)} is the second argument that holds a reference`
        : `${argument(c)} is ${c.type}${c.origin === undefined ? '' : ` (${c.origin})`}, which holds no reference and is not trusted to stay valid`,
    needed: (c) =>
      c.reason.detail === 'two'
        ? 'one argument with a reference'
        : 'a pointer that was acquired, or is valid for as long as the program runs',
    fix: (c) =>
      c.reason.detail === 'two'
        ? fix('make two calls')
        : fix(
            'acquire a reference first, test it for NULL, and release it afterwards',
            'p = bpf_task_acquire(task);',
          ),
  },
  argument_state: {
    title: 'argument in the wrong state',
    why: (c) =>
      `${argument(c)} is not in the state that ${c.called} needs: made by the function that begins, or not in use yet`,
    needed: () =>
      'a variable on the stack: unused for the function that begins, begun and not ended for all others',
    fix: () =>
      fix(
        'pair the calls on every path: new, next, destroy; save, restore; and use one variable for each pair',
      ),
  },
  argument_map: {
    title: 'map does not fit the function',
    why: (c) =>
      c.reason.detail === 'another map'
        ? 'the timer lies in a value of another map than the one that is passed'
        : `${c.called} does not work on ${mapOf(c)}${c.reason.given === undefined ? '' : `, whose type is ${c.reason.given}`}`,
    needed: (c) =>
      c.reason.expected === undefined
        ? 'a map of a type that the function is for'
        : `a map of type ${c.reason.expected}`,
    fix: () =>
      fix(
        'take the function for this map type (ring buffers: bpf_ringbuf_*, perf arrays: bpf_perf_event_output, queues: bpf_map_push_elem), or another map type',
      ),
  },
  argument_field: {
    title: 'map value lacks the field',
    why: (c) => {
      const map = c.reason.map ? `map ${c.reason.map}` : 'the map';
      if (c.reason.detail === 'no types')
        return `${map} has no BTF, so that nothing is known about fields of its values`;
      if (c.reason.detail === 'other place')
        return `the ${c.reason.field ?? 'field'} is ${c.reason.limit === undefined ? 'somewhere else' : `at byte ${c.reason.limit}`}; ${c.name} points to byte ${c.reason.offset}`;
      return `values of ${map} have no ${c.reason.field ?? 'such field'}${c.reason.detail === undefined ? '' : ` (${c.reason.detail})`}`;
    },
    needed: (c) => `a pointer to the ${c.reason.field ?? 'field'} of a map value whose type has one`,
    fix: (c) =>
      fix(
        'declare the map with the type of its values, and pass the address of the field',
        `__type(value, struct value);   // struct value { struct ${c.reason.field ?? 'bpf_spin_lock'} …; }`,
      ),
  },
  format_string: {
    title: 'bad format string',
    why: (c) => `the format for ${c.called} is not understood, or does not fit the number of values`,
    needed: () => 'a conversion for every value, of the kinds that bpf_trace_printk and bpf_snprintf have',
    fix: () =>
      fix(
        'use %d %u %x %ld %lu %lx %lld %llu %llx %c %s %p %pK %ps %pB %pi4 %pI4 %pi6 %pI6 only',
        'bpf_printk("pid %d", pid);',
      ),
  },
  dynptr_uninitialised: {
    title: 'dynptr is not initialised',
    why: (c) => `${argument(c)} is no dynptr that was initialised on this path`,
    needed: () =>
      'a dynptr that bpf_dynptr_from_*() or bpf_ringbuf_reserve_dynptr() has filled, not released yet',
    fix: () =>
      fix(
        'initialise it first, and do not use it after it was submitted or discarded',
        'bpf_dynptr_from_mem(data, sizeof(data), 0, &ptr);',
      ),
  },
  dynptr_initialised: {
    title: 'dynptr is in use already',
    why: (c) => `${argument(c)} must point to a dynptr that holds nothing`,
    needed: () => 'a fresh struct bpf_dynptr on the stack',
    fix: () => fix('declare another one, or release this one first', 'struct bpf_dynptr ptr;'),
  },
  dynptr_type: {
    title: 'dynptr of another type',
    why: (c) => `${c.called} needs a dynptr of type ${c.reason.expected ?? '?'}`,
    needed: (c) => `a dynptr of type ${c.reason.expected ?? '?'}`,
    fix: () =>
      fix(
        'pass a dynptr of that type: ringbuf ones come from bpf_ringbuf_reserve_dynptr, local ones from bpf_dynptr_from_mem',
      ),
  },
  dynptr_place: {
    title: 'dynptr is not on the stack',
    why: (c) =>
      `${c.reason.argument === undefined ? 'the pointer' : argument(c)} does not point to 16 aligned bytes at a constant place of the stack`,
    needed: () => 'the address of a struct bpf_dynptr variable',
    fix: () => fix('declare it as a local variable', 'struct bpf_dynptr ptr;'),
  },
  dynptr_overwritten: {
    title: 'dynptr would be overwritten',
    why: () => 'the write hits a dynptr on the stack that is still in use',
    needed: () => 'the dynptr stays as it is until it is released',
    fix: () =>
      fix('submit or discard it first, or use another variable', 'bpf_ringbuf_discard_dynptr(&ptr, 0);'),
  },
  callback: {
    title: 'function cannot be a callback',
    why: (c) =>
      c.reason.detail === 'map'
        ? 'maps of this type cannot be walked with a callback'
        : c.reason.detail === 'no types'
          ? 'the function has no BTF'
          : 'the callback is a global function',
    needed: () => 'a static function with BTF; for bpf_for_each_map_elem an array or hash map',
    fix: () =>
      fix('make the function static, and compile with -g', 'static int callback(__u32 index, void *data)'),
  },
  reference_leak: {
    title: 'reference is not released',
    asked: ({ reason }) =>
      reason.detail === 'BPF_EXIT instruction in main prog' || reason.detail === undefined
        ? 'returns'
        : `leaves (${reason.detail})`,
    why: (c) =>
      `what was acquired${c.origin === undefined ? '' : ` by ${c.origin}`} is still held at the end of this path`,
    needed: () => 'it is released on every path, the ones for errors too',
    fix: (c) =>
      fix(
        'release it, or submit or discard the record, before every return',
        RELEASES[c.called] ?? 'bpf_…_release(ptr);',
      ),
  },
  release_unowned: {
    title: 'release of something not held',
    why: (c) =>
      `${known(c)}, which does not hold a reference${c.register?.mayBeNull === true ? ' for sure' : ''}: never acquired, or released already`,
    needed: () => 'the very pointer that the acquiring function gave, not NULL, once',
    fix: () => fix('release the pointer once, after it was tested for NULL, and not a copy that was moved'),
  },
  lock_held: {
    title: 'not while holding a lock',
    why: (c) =>
      c.reason.detail === 'call'
        ? `bpf_spin_lock is held, and ${c.called} may not be called then`
        : c.deed === 'returns'
          ? 'bpf_spin_lock is still held when the program returns'
          : `bpf_spin_lock is held${c.reason.detail === undefined ? '' : `: ${c.reason.detail}`}`,
    needed: () => 'the lock is released before',
    fix: () =>
      fix(
        'unlock first, and keep only plain loads and stores between lock and unlock',
        'bpf_spin_unlock(&value->lock);',
      ),
  },
  lock_twice: {
    title: 'second lock',
    why: () => 'a bpf_spin_lock is held already, and a program may hold one at a time',
    needed: () => 'no lock is held',
    fix: () =>
      fix(
        'unlock the first before the second is taken',
        'bpf_spin_unlock(&first->lock);\nbpf_spin_lock(&second->lock);',
      ),
  },
  lock_mismatch: {
    title: 'unlock does not fit the lock',
    why: (c) => `bpf_spin_unlock: ${c.reason.detail ?? 'another lock is held'}`,
    needed: () => 'the lock that was taken last, through the same lookup',
    fix: () => fix('unlock exactly what was locked, on every path, with the pointer of the same lookup'),
  },
  lock_needed: {
    title: 'lock is not held',
    why: (c) => `${c.called} works on a list or tree, whose lock is not held here`,
    needed: () => 'the bpf_spin_lock that lies beside the list or tree is held',
    fix: () => fix('take the lock around the call', 'bpf_spin_lock(&lock);\n…\nbpf_spin_unlock(&lock);'),
  },
  section_needed: {
    title: 'outside of an RCU section',
    why: (c) => `${c.called} works on objects that only an RCU section keeps alive, and none is open`,
    needed: () => 'an RCU section around the call and all uses of its result',
    fix: () => fix('open a section', 'bpf_rcu_read_lock();\n…\nbpf_rcu_read_unlock();'),
  },
  section_mismatch: {
    title: 'section is not nested properly',
    why: (c) => `${c.called}: the RCU or preemption section is open already, or was never opened`,
    needed: () => 'sections are opened once and closed once on every path',
    fix: () =>
      fix('pair each lock with its unlock on every path', 'bpf_rcu_read_lock();\n…\nbpf_rcu_read_unlock();'),
  },
  section_held: {
    title: 'section is not left',
    why: (c) =>
      `an RCU, preemption or interrupt section is open: ${c.reason.detail ?? 'it must be closed first'}`,
    needed: () => 'every section that is entered is left on every path',
    fix: () => fix('leave the section before', 'bpf_rcu_read_unlock();'),
  },
} as const satisfies Partial<Record<RefusalKind, Row>>;

const ALTERNATIVES: Readonly<Record<string, string>> = {
  bpf_probe_read: 'use bpf_probe_read_kernel() or bpf_probe_read_user()',
  bpf_probe_read_str: 'use bpf_probe_read_kernel_str() or bpf_probe_read_user_str()',
  bpf_get_current_pid_tgid:
    'there is no current process in this hook; keep what is known of it in a map, from a tracing program',
  bpf_get_current_comm:
    'there is no current process in this hook; keep its name in a map, from a tracing program',
};
