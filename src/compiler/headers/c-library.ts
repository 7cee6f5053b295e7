/** The headers of the C library and of the compiler that make sense in a BPF program: types, limits, names of functions clang builds in. */
import { constants, guarded, macro } from './text.ts';

const SIZES = [8, 16, 32, 64] as const;

function stddef(): string {
  const body = `#ifndef __VMLINUX_H__
typedef __SIZE_TYPE__ size_t;
typedef __PTRDIFF_TYPE__ ptrdiff_t;
typedef __WCHAR_TYPE__ wchar_t;
#endif
#undef NULL
#define NULL ((void *)0)
#undef offsetof
#define offsetof(type, member) __builtin_offsetof(type, member)
`;
  return guarded('__STDDEF_H', body);
}

function stdint(): string {
  let types = '';
  let values = '';
  for (const bits of SIZES) {
    for (const kind of ['', '_least', '_fast']) {
      const upper = kind.toUpperCase();
      // 64 bits are `long long` as in __s64, so that programs may define either by the other.
      const [signed, unsigned] =
        bits === 64
          ? ['long long', 'unsigned long long']
          : [`__INT${upper}${bits}_TYPE__`, `__UINT${upper}${bits}_TYPE__`];
      types += `typedef ${signed} int${kind}${bits}_t;\ntypedef ${unsigned} uint${kind}${bits}_t;\n`;
      values += `#define INT${upper}${bits}_MAX __INT${upper}${bits}_MAX__\n#define UINT${upper}${bits}_MAX __UINT${upper}${bits}_MAX__\n`;
      values += `#define INT${upper}${bits}_MIN (-__INT${upper}${bits}_MAX__ - 1)\n`;
    }
    const suffix = bits === 64 ? 'L' : '';
    values += macro(`INT${bits}_C(v)`, suffix === '' ? 'v' : `v##${suffix}`);
    values += macro(`UINT${bits}_C(v)`, bits >= 32 ? `v##U${suffix}` : 'v');
  }
  for (const name of ['intptr', 'intmax']) {
    types += `typedef __${name.toUpperCase()}_TYPE__ ${name}_t;\ntypedef __U${name.toUpperCase()}_TYPE__ u${name}_t;\n`;
    const upper = name.toUpperCase();
    values += `#define ${upper}_MAX __${upper}_MAX__\n#define ${upper}_MIN (-__${upper}_MAX__ - 1)\n#define U${upper}_MAX __U${upper}_MAX__\n`;
  }
  values += '#define SIZE_MAX __SIZE_MAX__\n#define PTRDIFF_MAX __PTRDIFF_MAX__\n';
  // vmlinux.h has the types with exact widths, as the same types or as unlike but equal ones.
  const exact = types.replace(/^.*_(?:least|fast).*\n/gm, '').replace(/^.*intmax.*\n/gm, '');
  const rest = types
    .split('\n')
    .filter((line) => !exact.split('\n').includes(line))
    .join('\n');
  return guarded('__CLANG_STDINT_H', `#ifndef __VMLINUX_H__\n${exact}#endif\n${rest}\n${values}`);
}

function limits(): string {
  const text: Record<string, string> = {
    CHAR_BIT: '__CHAR_BIT__',
    SCHAR_MAX: '__SCHAR_MAX__',
    CHAR_MAX: '__SCHAR_MAX__',
  };
  text.SCHAR_MIN = '(-__SCHAR_MAX__ - 1)';
  text.CHAR_MIN = 'SCHAR_MIN';
  text.UCHAR_MAX = '(__SCHAR_MAX__ * 2 + 1)';
  for (const [name, max] of [
    ['SHRT', '__SHRT_MAX__'],
    ['INT', '__INT_MAX__'],
    ['LONG', '__LONG_MAX__'],
    ['LLONG', '__LONG_LONG_MAX__'],
  ] as const) {
    const unsigned = { SHRT: '', INT: 'U', LONG: 'UL', LLONG: 'ULL' }[name];
    text[`${name}_MAX`] = max;
    text[`${name}_MIN`] = `(-${max} - 1)`;
    text[`U${name}_MAX`] = `(${max} * 2${unsigned} + 1${unsigned})`;
  }
  return guarded('__CLANG_LIMITS_H', `${constants(text)}#define PATH_MAX 4096\n#define NAME_MAX 255\n`);
}

/** Prototypes of what the compiler builds in; calls of other functions have nothing to link with. */
function strings(): string {
  const prototypes = `#include <stddef.h>
void *memcpy(void *dest, const void *src, size_t n);
void *memmove(void *dest, const void *src, size_t n);
void *memset(void *s, int c, size_t n);
int memcmp(const void *s1, const void *s2, size_t n);
size_t strlen(const char *s);
int strcmp(const char *s1, const char *s2);
int strncmp(const char *s1, const char *s2, size_t n);
char *strcpy(char *dest, const char *src);
char *strncpy(char *dest, const char *src, size_t n);
`;
  return guarded('_STRING_H', prototypes);
}

function errno(): string {
  return '#include <asm/errno.h>\n';
}

function sysTypes(): string {
  const types: Readonly<Record<string, string>> = {
    pid_t: 'int',
    uid_t: 'unsigned int',
    gid_t: 'unsigned int',
    mode_t: 'unsigned int',
    off_t: 'long',
    ssize_t: 'long',
    time_t: 'long',
    clockid_t: 'int',
    id_t: 'unsigned int',
    dev_t: 'unsigned long',
    ino_t: 'unsigned long',
    u_int8_t: 'unsigned char',
    u_int16_t: 'unsigned short',
    u_int32_t: 'unsigned int',
    u_int64_t: 'unsigned long long',
  };
  const text = Object.entries(types)
    .map(([name, type]) => `typedef ${type} ${name};\n`)
    .join('');
  return guarded(
    '_SYS_TYPES_H',
    `#include <stddef.h>\n#include <stdint.h>\n#ifndef __VMLINUX_H__\n${text}#endif\n`,
  );
}

/** Formats of inttypes.h, from the predefined modifiers. */
function inttypes(): string {
  let text = '#include <stdint.h>\n';
  for (const bits of SIZES)
    for (const letter of 'diouxX')
      text += `#define PRI${letter}${bits} __${/[di]/.test(letter) ? '' : 'U'}INT${bits}_FMT${letter}__\n`;
  return guarded('__CLANG_INTTYPES_H', text);
}

export const C_HEADERS: Readonly<Record<string, () => string>> = {
  'stddef.h': stddef,
  'stdint.h': stdint,
  'inttypes.h': inttypes,
  'limits.h': limits,
  'string.h': strings,
  'strings.h': () => '#include <string.h>\n',
  'errno.h': errno,
  'sys/types.h': sysTypes,
  'sys/socket.h': () => '#include <sys/types.h>\n#include <linux/socket.h>\n',
  'netinet/in.h': () => '#include <stdint.h>\n#include <linux/in.h>\n#include <linux/in6.h>\n',
  'arpa/inet.h': () => '#include <netinet/in.h>\n',
  'stdlib.h': () => guarded('_STDLIB_H', '#include <stddef.h>\n'),
  'stdio.h': () => guarded('_STDIO_H', '#include <stddef.h>\n'),
  'unistd.h': () => guarded('_UNISTD_H', '#include <sys/types.h>\n'),
  'stdbool.h': () =>
    guarded(
      '__STDBOOL_H',
      '#ifndef __VMLINUX_H__\n#define bool _Bool\n#define true 1\n#define false 0\n#endif\n#define __bool_true_false_are_defined 1\n',
    ),
  'stdarg.h': () =>
    guarded(
      '__STDARG_H',
      'typedef __builtin_va_list va_list;\n#define va_start(ap, ...) __builtin_va_start(ap, __VA_ARGS__)\n#define va_end(ap) __builtin_va_end(ap)\n#define va_arg(ap, type) __builtin_va_arg(ap, type)\n',
    ),
  'stdalign.h': () => guarded('__STDALIGN_H', '#define alignas _Alignas\n#define alignof _Alignof\n'),
};
