/** `bpf/bpf_helpers.h` and `bpf/bpf_endian.h`: the macros of libbpf that nearly every program uses, by their names. */
import { guarded, letters, macro } from './text.ts';

/** Most arguments behind the format of BPF_SNPRINTF and its like. */
const MOST_ARGUMENTS = 12;

function attributes(): string {
  const table: Readonly<Record<string, string>> = {
    __always_inline: 'inline __attribute__((always_inline))',
    __noinline: '__attribute__((noinline))',
    __weak: '__attribute__((weak))',
    __hidden: '__attribute__((visibility("hidden")))',
  };
  const tags: Readonly<Record<string, string>> = {
    __kconfig: 'section(".kconfig")',
    __ksym: 'section(".ksyms")',
    __kptr_untrusted: 'btf_type_tag("kptr_untrusted")',
    __kptr: 'btf_type_tag("kptr")',
    __percpu_kptr: 'btf_type_tag("percpu_kptr")',
    __uptr: 'btf_type_tag("uptr")',
    __arg_ctx: 'btf_decl_tag("arg:ctx")',
    __arg_nonnull: 'btf_decl_tag("arg:nonnull")',
    __arg_nullable: 'btf_decl_tag("arg:nullable")',
    __arg_trusted: 'btf_decl_tag("arg:trusted")',
    __arg_untrusted: 'btf_decl_tag("arg:untrusted")',
    __arg_arena: 'btf_decl_tag("arg:arena")',
  };
  let text = '';
  // Other headers define some of these their own way first.
  for (const [name, value] of Object.entries(table)) text += `#undef ${name}\n${macro(name, value)}`;
  for (const [name, value] of Object.entries(tags)) text += macro(name, `__attribute__((${value}))`);
  return text;
}

/** Counting of arguments, and what is built on it. */
function variadics(): string {
  const numbers = Array.from({ length: MOST_ARGUMENTS + 1 }, (_, i) => MOST_ARGUMENTS - i).join(', ');
  let text =
    macro('___bpf_concat(a, b)', 'a ## b') +
    macro('___bpf_apply(fn, n)', '___bpf_concat(fn, n)') +
    macro(`___bpf_nth(_, ${letters(MOST_ARGUMENTS, '_').join(', ')}, N, ...)`, 'N') +
    macro('___bpf_narg(...)', `___bpf_nth(_, ##__VA_ARGS__, ${numbers})`) +
    macro('___bpf_fill0(arr, p, x)', 'do {} while (0)');
  for (let n = 1; n <= MOST_ARGUMENTS; n++) {
    const names = letters(n, 'x');
    const stores = names.map((name, i) => `arr[p + ${i}] = ${name}`).join('; ');
    text += macro(`___bpf_fill${n}(arr, p, ${names.join(', ')})`, stores);
  }
  return `${text}${macro('___bpf_fill(arr, args...)', '___bpf_apply(___bpf_fill, ___bpf_narg(args))(arr, 0, args)')}`;
}

/** A statement expression that puts the format into read-only data and the arguments into an array of 64-bit words. */
function formatted(call: string): string {
  return `({
    static const char ___fmt[] = fmt;
    unsigned long long ___param[___bpf_narg(args)];
    _Pragma("GCC diagnostic push")
    _Pragma("GCC diagnostic ignored \\"-Wint-conversion\\"")
    ___bpf_fill(___param, args);
    _Pragma("GCC diagnostic pop")
    ${call};
  })`;
}

function printing(): string {
  const direct = Array.from({ length: 4 }, () => '__bpf_printk');
  const arrays = Array.from({ length: MOST_ARGUMENTS - 3 }, () => '__bpf_vprintk');
  return (
    macro(
      'BPF_SEQ_PRINTF(seq, fmt, args...)',
      formatted('bpf_seq_printf(seq, ___fmt, sizeof(___fmt), ___param, sizeof(___param))'),
    ) +
    macro(
      'BPF_SNPRINTF(out, out_size, fmt, args...)',
      formatted('bpf_snprintf(out, out_size, ___fmt, ___param, sizeof(___param))'),
    ) +
    `#ifdef BPF_NO_GLOBAL_DATA\n#define BPF_PRINTK_FMT_MOD\n#else\n#define BPF_PRINTK_FMT_MOD static const\n#endif\n` +
    macro(
      '__bpf_printk(fmt, ...)',
      `({
        BPF_PRINTK_FMT_MOD char ____fmt[] = fmt;
        bpf_trace_printk(____fmt, sizeof(____fmt), ##__VA_ARGS__);
      })`,
    ) +
    macro(
      '__bpf_vprintk(fmt, args...)',
      formatted('bpf_trace_vprintk(___fmt, sizeof(___fmt), ___param, sizeof(___param))'),
    ) +
    macro(
      'bpf_stream_printk(stream_id, fmt, args...)',
      formatted('bpf_stream_vprintk_impl(stream_id, ___fmt, ___param, sizeof(___param), NULL)'),
    ) +
    macro('___bpf_pick_printk(...)', `___bpf_nth(_, ##__VA_ARGS__, ${[...arrays, ...direct].join(', ')})`) +
    macro('bpf_printk(fmt, args...)', '___bpf_pick_printk(args)(fmt, ##args)')
  );
}

function iterators(): string {
  const numbers = 'struct bpf_iter_num ___it __attribute__((aligned(8), cleanup(bpf_iter_num_destroy)))';
  return `struct bpf_iter_num;
extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __weak __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __weak __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __weak __ksym;
#ifndef bpf_for_each
${macro(
  'bpf_for_each(type, cur, args...)',
  `for (
    struct bpf_iter_##type ___it __attribute__((aligned(8), cleanup(bpf_iter_##type##_destroy))),
      *___p __attribute__((unused)) = (
        bpf_iter_##type##_new(&___it, ##args),
        (void)bpf_iter_##type##_destroy,
        (void *)0);
    (((cur) = bpf_iter_##type##_next(&___it)));
  )`,
)}#endif
#ifndef bpf_for
${macro(
  'bpf_for(i, start, end)',
  `for (
    ${numbers},
      *___p __attribute__((unused)) = (bpf_iter_num_new(&___it, (start), (end)), (void)bpf_iter_num_destroy, (void *)0);
    ({
      int *___t = bpf_iter_num_next(&___it);
      (___t ? ((i) = *___t, (i) >= (start) && (i) < (end)) : 0);
    });
  )`,
)}#endif
#ifndef bpf_repeat
${macro(
  'bpf_repeat(N)',
  `for (
    ${numbers},
      *___p __attribute__((unused)) = (bpf_iter_num_new(&___it, 0, (N)), (void)bpf_iter_num_destroy, (void *)0);
    bpf_iter_num_next(&___it);
  )`,
)}#endif
`;
}

export function bpfHelpers(): string {
  return guarded(
    '__BPF_HELPERS__',
    `#include <linux/types.h>
#include "bpf_helper_defs.h"
${macro('__uint(name, val)', 'int (*name)[val]')}${macro('__type(name, val)', 'typeof(val) *name')}${macro('__array(name, val)', 'typeof(val) *name[]')}${macro(
  '__ulong(name, val)',
  'enum { ___bpf_concat(__unique_value, __COUNTER__) = val } name',
)}#ifndef likely
${macro('likely(x)', '(__builtin_expect(!!(x), 1))')}#endif
#ifndef unlikely
${macro('unlikely(x)', '(__builtin_expect(!!(x), 0))')}#endif
${macro(
  'SEC(name)',
  `_Pragma("GCC diagnostic push")
  _Pragma("GCC diagnostic ignored \\"-Wignored-attributes\\"")
  __attribute__((section(name), used))
  _Pragma("GCC diagnostic pop")`,
)}${attributes()}#ifndef NULL
#define NULL ((void *)0)
#endif
#ifndef KERNEL_VERSION
${macro('KERNEL_VERSION(a, b, c)', '(((a) << 16) + ((b) << 8) + ((c) > 255 ? 255 : (c)))')}#endif
#ifndef offsetof
${macro('offsetof(type, member)', '((unsigned long)&((type *)0)->member)')}#endif
#undef container_of
${macro(
  'container_of(ptr, type, member)',
  '({ void *__mptr = (void *)(ptr); ((type *)(__mptr - offsetof(type, member))); })',
)}#ifndef barrier
${macro('barrier()', 'asm volatile("" ::: "memory")')}#endif
#ifndef barrier_var
${macro('barrier_var(var)', 'asm volatile("" : "+r"(var))')}#endif
#ifndef __bpf_unreachable
${macro('__bpf_unreachable()', '__builtin_trap()')}#endif
#if __clang_major__ >= 8 && defined(__bpf__)
/* A tail call whose map stays a constant: what the verifier needs to turn it into a jump. */
static __always_inline void bpf_tail_call_static(void *ctx, const void *map, const __u32 slot)
{
	if (!__builtin_constant_p(slot))
		__bpf_unreachable();
	asm volatile("r1 = %[ctx]\\n\\t"
		     "r2 = %[map]\\n\\t"
		     "r3 = %[slot]\\n\\t"
		     "call 12"
		     :: [ctx]"r"(ctx), [map]"r"(map), [slot]"i"(slot)
		     : "r0", "r1", "r2", "r3", "r4", "r5");
}
#endif
enum libbpf_pin_type { LIBBPF_PIN_NONE, LIBBPF_PIN_BY_NAME };
enum libbpf_tristate { TRI_NO = 0, TRI_YES = 1, TRI_MODULE = 2 };
${macro(
  'bpf_ksym_exists(sym)',
  '({ _Static_assert(!__builtin_constant_p(!!sym), #sym " should be marked as __weak"); !!sym; })',
)}${variadics()}${printing()}${iterators()}`,
  );
}

/** All of BPF is little endian here; constants are swapped while compiling. */
export function bpfEndian(): string {
  let text = '#include <linux/types.h>\n';
  for (const bits of [16, 32, 64]) {
    const bytes = bits / 8;
    const parts = Array.from({ length: bytes }, (_, i) => {
      const shift = bits - 8 - 16 * i;
      const mask = `0xffULL << ${8 * i}`;
      return shift >= 0
        ? `(((__u64)(x) & (${mask})) << ${shift})`
        : `(((__u64)(x) & (${mask})) >> ${-shift})`;
    });
    text += macro(`___bpf_swab${bits}(x)`, `((__u${bits})(${parts.join(' | ')}))`);
  }
  const swapped = (name: string, bits: number): string =>
    macro(`${name}(x)`, `(__builtin_constant_p(x) ? ___bpf_swab${bits}(x) : __builtin_bswap${bits}(x))`);
  for (const [name, bits] of [
    ['bpf_htons', 16],
    ['bpf_ntohs', 16],
    ['bpf_htonl', 32],
    ['bpf_ntohl', 32],
    ['bpf_cpu_to_be64', 64],
    ['bpf_be64_to_cpu', 64],
  ] as const)
    text += swapped(name, bits);
  for (const [name, bits] of [
    ['htons', 16],
    ['ntohs', 16],
    ['htonl', 32],
    ['ntohl', 32],
  ] as const) {
    text += macro(`__bpf_${name}(x)`, `__builtin_bswap${bits}(x)`);
    text += macro(`__bpf_constant_${name}(x)`, `___bpf_swab${bits}(x)`);
  }
  return guarded('__BPF_ENDIAN__', text);
}
