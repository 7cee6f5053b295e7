/** `bpf/bpf_core_read.h`: reads through kernel pointers that are relocated to the running kernel's types (CO-RE). */
import { guarded, letters, macro } from './text.ts';

/** Most fields in one chain. */
const LONGEST_CHAIN = 10;

const KINDS: Readonly<Record<string, readonly string[]>> = {
  bpf_field_info_kind: [
    'BPF_FIELD_BYTE_OFFSET',
    'BPF_FIELD_BYTE_SIZE',
    'BPF_FIELD_EXISTS',
    'BPF_FIELD_SIGNED',
    'BPF_FIELD_LSHIFT_U64',
    'BPF_FIELD_RSHIFT_U64',
  ],
  bpf_type_id_kind: ['BPF_TYPE_ID_LOCAL', 'BPF_TYPE_ID_TARGET'],
  bpf_type_info_kind: ['BPF_TYPE_EXISTS', 'BPF_TYPE_SIZE', 'BPF_TYPE_MATCHES'],
  bpf_enum_value_kind: ['BPF_ENUMVAL_EXISTS', 'BPF_ENUMVAL_VALUE'],
};

function counting(): string {
  const numbers = Array.from({ length: LONGEST_CHAIN + 1 }, (_, i) => LONGEST_CHAIN - i).join(', ');
  let text =
    macro('___concat(a, b)', 'a ## b') +
    macro('___apply(fn, n)', '___concat(fn, n)') +
    macro(`___nth(_, ${letters(LONGEST_CHAIN, '_').join(', ')}, N, ...)`, 'N') +
    macro('___narg(...)', `___nth(_, ##__VA_ARGS__, ${numbers})`);
  for (let n = 1; n <= LONGEST_CHAIN; n++) {
    const names = letters(n);
    text += macro(`___arrow${n}(${names.join(', ')})`, names.join('->'));
  }
  return (
    text +
    macro('___arrow(...)', '___apply(___arrow, ___narg(__VA_ARGS__))(__VA_ARGS__)') +
    macro('___type(...)', '__typeof_unqual__(___arrow(__VA_ARGS__))')
  );
}

/**
 * `___chainN(last, inner, dst, src, a, b, …)`: follows the pointers `src->a->b…` with `inner`, reads the last field with `last`. Each
 * step knows the type it stands on from the unevaluated chain before it.
 */
function chains(): string {
  let text = macro('___field(src_type, src, field)', '&((src_type)(src))->field');
  for (let n = 1; n < LONGEST_CHAIN; n++) {
    const fields = letters(n, 'f');
    const steps: string[] = [];
    if (n > 1) steps.push('const void *__t;');
    fields.forEach((field, i) => {
      const before = ['src', ...fields.slice(0, i)].join(', ');
      const from = i === 0 ? 'src' : '__t';
      const place = `___field(___type(${before}), ${from}, ${field})`;
      steps.push(
        i < n - 1
          ? `inner((void *)(&__t), sizeof(*(&__t)), ${place});`
          : `last((void *)(dst), sizeof(*(dst)), ${place});`,
      );
    });
    text += macro(`___chain${n}(last, inner, dst, src, ${fields.join(', ')})`, steps.join(' '));
  }
  return `${text}${macro('___chain(last, inner, dst, src, ...)', '___apply(___chain, ___narg(__VA_ARGS__))(last, inner, dst, src, __VA_ARGS__)')}`;
}

/** Family, reader of the last field, reader of the pointers on the way. */
const READERS = [
  ['BPF_CORE_READ', 'bpf_core_read', 'bpf_core_read'],
  ['BPF_CORE_READ_USER', 'bpf_core_read_user', 'bpf_core_read_user'],
  ['BPF_PROBE_READ', 'bpf_probe_read_kernel', 'bpf_probe_read_kernel'],
  ['BPF_PROBE_READ_USER', 'bpf_probe_read_user', 'bpf_probe_read_user'],
] as const;
const STRING_READERS = [
  ['BPF_CORE_READ_STR_INTO', 'bpf_core_read_str', 'bpf_core_read'],
  ['BPF_CORE_READ_USER_STR_INTO', 'bpf_core_read_user_str', 'bpf_core_read_user'],
  ['BPF_PROBE_READ_STR_INTO', 'bpf_probe_read_kernel_str', 'bpf_probe_read_kernel'],
  ['BPF_PROBE_READ_USER_STR_INTO', 'bpf_probe_read_user_str', 'bpf_probe_read_user'],
] as const;

function readers(): string {
  let text = '';
  for (const [name, last, inner] of READERS) {
    text += macro(
      `${name}_INTO(dst, src, a, ...)`,
      `({ ___chain(${last}, ${inner}, dst, (src), a, ##__VA_ARGS__) })`,
    );
    text += macro(
      `${name}(src, a, ...)`,
      `({ ___type((src), a, ##__VA_ARGS__) __r; ${name}_INTO(&__r, (src), a, ##__VA_ARGS__); __r; })`,
    );
  }
  for (const [name, last, inner] of STRING_READERS)
    text += macro(
      `${name}(dst, src, a, ...)`,
      `({ ___chain(${last}, ${inner}, dst, (src), a, ##__VA_ARGS__) })`,
    );
  for (const [name, helper] of [
    ['bpf_core_read', 'bpf_probe_read_kernel'],
    ['bpf_core_read_user', 'bpf_probe_read_user'],
    ['bpf_core_read_str', 'bpf_probe_read_kernel_str'],
    ['bpf_core_read_user_str', 'bpf_probe_read_user_str'],
  ] as const)
    text += macro(
      `${name}(dst, sz, src)`,
      `${helper}(dst, sz, (const void *)__builtin_preserve_access_index(src))`,
    );
  return text;
}

/** Sizes that a bit-field's storage may have, with the type that loads it. */
const UNITS = [
  [1, 'unsigned char'],
  [2, 'unsigned short'],
  [4, 'unsigned int'],
  [8, 'unsigned long long'],
] as const;

function bitFields(): string {
  const loads = UNITS.map(([size, type]) => `case ${size}: val = *(const ${type} *)p; break;`).join(' ');
  const stores = UNITS.map(([size, type]) => `case ${size}: *(${type} *)p = val; break;`).join(' ');
  const extract = `val <<= __CORE_RELO(s, field, LSHIFT_U64);
    if (__CORE_RELO(s, field, SIGNED))
      val = ((long long)val) >> __CORE_RELO(s, field, RSHIFT_U64);
    else
      val = val >> __CORE_RELO(s, field, RSHIFT_U64);
    val;`;
  return (
    macro('__CORE_RELO(src, field, info)', '__builtin_preserve_field_info((src)->field, BPF_FIELD_##info)') +
    macro(
      '__CORE_BITFIELD_PROBE_READ(dst, src, fld)',
      `bpf_probe_read_kernel((void *)dst, __CORE_RELO(src, fld, BYTE_SIZE),
        (const void *)src + __CORE_RELO(src, fld, BYTE_OFFSET))`,
    ) +
    macro(
      'BPF_CORE_READ_BITFIELD_PROBED(s, field)',
      `({ unsigned long long val = 0; __CORE_BITFIELD_PROBE_READ(&val, s, field); ${extract} })`,
    ) +
    macro(
      'BPF_CORE_READ_BITFIELD(s, field)',
      `({
        const void *p = (const void *)s + __CORE_RELO(s, field, BYTE_OFFSET);
        unsigned long long val;
        asm volatile("" : "=r"(p) : "0"(p));
        switch (__CORE_RELO(s, field, BYTE_SIZE)) { ${loads} default: val = 0; break; }
        ${extract}
      })`,
    ) +
    macro(
      'BPF_CORE_WRITE_BITFIELD(s, field, new_val)',
      `({
        void *p = (void *)s + __CORE_RELO(s, field, BYTE_OFFSET);
        unsigned int byte_size = __CORE_RELO(s, field, BYTE_SIZE);
        unsigned int lshift = __CORE_RELO(s, field, LSHIFT_U64);
        unsigned int rshift = __CORE_RELO(s, field, RSHIFT_U64);
        unsigned long long mask, val, nval = new_val;
        unsigned int rpad = rshift - lshift;
        asm volatile("" : "+r"(p));
        switch (byte_size) { ${loads} }
        mask = (~0ULL << rshift) >> lshift;
        val = (val & ~mask) | ((nval << rpad) & mask);
        switch (byte_size) { ${stores} }
      })`,
    )
  );
}

export function bpfCoreRead(): string {
  let text = '#include "bpf_helpers.h"\n';
  for (const [name, members] of Object.entries(KINDS))
    text += `enum ${name} { ${members.map((member, i) => `${member} = ${i}`).join(', ')} };\n`;
  text += bitFields();
  text += macro('___bpf_typeof(type)', '((typeof(type) *) 0)');
  text += macro('___bpf_field_ref1(field)', '(field)');
  text += macro('___bpf_field_ref2(type, field)', '(___bpf_typeof(type)->field)');
  text += macro('___bpf_field_ref(args...)', '___bpf_apply(___bpf_field_ref, ___bpf_narg(args))(args)');
  for (const [name, kind] of [
    ['exists', 'EXISTS'],
    ['size', 'BYTE_SIZE'],
    ['offset', 'BYTE_OFFSET'],
  ])
    text += macro(
      `bpf_core_field_${name}(field...)`,
      `__builtin_preserve_field_info(___bpf_field_ref(field), BPF_FIELD_${kind})`,
    );
  for (const [name, kind] of [
    ['local', 'LOCAL'],
    ['kernel', 'TARGET'],
  ])
    text += macro(
      `bpf_core_type_id_${name}(type)`,
      `__builtin_btf_type_id(*___bpf_typeof(type), BPF_TYPE_ID_${kind})`,
    );
  for (const name of ['exists', 'matches', 'size'])
    text += macro(
      `bpf_core_type_${name}(type)`,
      `__builtin_preserve_type_info(*___bpf_typeof(type), BPF_TYPE_${name.toUpperCase()})`,
    );
  for (const [name, kind] of [
    ['_exists', 'EXISTS'],
    ['', 'VALUE'],
  ])
    text += macro(
      `bpf_core_enum_value${name}(enum_type, enum_value)`,
      `__builtin_preserve_enum_value(*(typeof(enum_type) *)enum_value, BPF_ENUMVAL_${kind})`,
    );
  text += 'extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym __weak;\n';
  text += macro(
    'bpf_core_cast(ptr, type)',
    '((typeof(type) *)bpf_rdonly_cast((ptr), bpf_core_type_id_kernel(type)))',
  );
  return guarded('__BPF_CORE_READ_H__', text + counting() + chains() + readers());
}
