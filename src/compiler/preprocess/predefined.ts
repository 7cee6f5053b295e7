/**
 * The macros that exist before the first line, those of `clang -target bpf -dM -E` (clang 19): facts of the target, 64-bit little
 * endian with `char` signed, and the version of the compiler that programs ask for.
 */

export interface PredefinedOptions {
  /** BPF instruction set, `-mcpu=v1` to `v4`. */
  readonly cpu: 1 | 2 | 3 | 4;
  /** `-O`: 0 defines `__NO_INLINE__`, others `__OPTIMIZE__`. */
  readonly optimize: 0 | 1 | 2 | 3 | 's' | 'z';
}

/** What each generation of the instruction set has first. */
const FEATURES: Readonly<Record<1 | 2 | 3 | 4, readonly string[]>> = {
  1: ['ADDR_SPACE_CAST'],
  2: ['JMP_EXT', 'MAY_GOTO'],
  3: ['ALU32', 'JMP32'],
  4: ['BSWAP', 'GOTOL', 'LDSX', 'MOVSX', 'SDIV_SMOD', 'ST'],
};

/** Name, C type, bits, suffix of constants, length modifier of printf; `signed char` and so on as clang writes them. */
const INTEGERS = [
  ['8', 'signed char', 'unsigned char', 8, '', 'hh'],
  ['16', 'short', 'unsigned short', 16, '', 'h'],
  ['32', 'int', 'unsigned int', 32, '', ''],
  ['64', 'long int', 'long unsigned int', 64, 'L', 'l'],
] as const;

/** Digits and limits of the floating types: `FLT` is binary32, the others are binary64. */
const FLOATS = [
  [
    'FLT',
    'F',
    24,
    6,
    9,
    -125,
    128,
    -37,
    38,
    '1.40129846e-45',
    '1.19209290e-7',
    '3.40282347e+38',
    '1.17549435e-38',
  ],
  ...(['DBL', 'LDBL'] as const).map(
    (name) =>
      [
        ...([name, name === 'DBL' ? '' : 'L', 53, 15, 17, -1021, 1024, -307, 308] as const),
        ...(['4.9406564584124654e-324', '2.2204460492503131e-16', '1.7976931348623157e+308'] as const),
        '2.2250738585072014e-308',
      ] as const,
  ),
] as const;

const CONSTANTS = `
_LP64 1|__LP64__ 1|__BPF__ 1|__bpf__ 1|__ELF__ 1|__STDC__ 1|__STDC_HOSTED__ 1|__STDC_VERSION__ 201710L
__STDC_UTF_16__ 1|__STDC_UTF_32__ 1|__STDC_EMBED_NOT_FOUND__ 0|__STDC_EMBED_FOUND__ 1|__STDC_EMBED_EMPTY__ 2
__ATOMIC_RELAXED 0|__ATOMIC_CONSUME 1|__ATOMIC_ACQUIRE 2|__ATOMIC_RELEASE 3|__ATOMIC_ACQ_REL 4|__ATOMIC_SEQ_CST 5
__BIGGEST_ALIGNMENT__ 8|__BITINT_MAXWIDTH__ 128|__CHAR_BIT__ 8|__BOOL_WIDTH__ 8|__POINTER_WIDTH__ 64
__BYTE_ORDER__ __ORDER_LITTLE_ENDIAN__|__LITTLE_ENDIAN__ 1
__ORDER_LITTLE_ENDIAN__ 1234|__ORDER_BIG_ENDIAN__ 4321|__ORDER_PDP_ENDIAN__ 3412
__CHAR16_TYPE__ unsigned short|__CHAR32_TYPE__ unsigned int|__CONSTANT_CFSTRINGS__ 1
__DECIMAL_DIG__ __LDBL_DECIMAL_DIG__|__FLT_RADIX__ 2|__FINITE_MATH_ONLY__ 0
__FPCLASS_SNAN 0x0001|__FPCLASS_QNAN 0x0002|__FPCLASS_NEGINF 0x0004|__FPCLASS_NEGNORMAL 0x0008
__FPCLASS_NEGSUBNORMAL 0x0010|__FPCLASS_NEGZERO 0x0020|__FPCLASS_POSZERO 0x0040|__FPCLASS_POSSUBNORMAL 0x0080
__FPCLASS_POSNORMAL 0x0100|__FPCLASS_POSINF 0x0200
__GCC_ATOMIC_TEST_AND_SET_TRUEVAL 1|__GCC_CONSTRUCTIVE_SIZE 32|__GCC_DESTRUCTIVE_SIZE 32
__GNUC__ 4|__GNUC_MINOR__ 2|__GNUC_PATCHLEVEL__ 1|__GNUC_STDC_INLINE__ 1|__GXX_ABI_VERSION 1002
__INT_MAX__ 2147483647|__INT_WIDTH__ 32|__LLONG_WIDTH__ 64|__LONG_LONG_MAX__ 9223372036854775807LL
__LONG_MAX__ 9223372036854775807L|__LONG_WIDTH__ 64|__SCHAR_MAX__ 127|__SHRT_MAX__ 32767|__SHRT_WIDTH__ 16
__SIG_ATOMIC_MAX__ 2147483647|__SIG_ATOMIC_WIDTH__ 32
__WCHAR_MAX__ 2147483647|__WCHAR_TYPE__ int|__WCHAR_WIDTH__ 32|__WINT_MAX__ 2147483647|__WINT_TYPE__ int|__WINT_WIDTH__ 32
__MEMORY_SCOPE_SYSTEM 0|__MEMORY_SCOPE_DEVICE 1|__MEMORY_SCOPE_WRKGRP 2|__MEMORY_SCOPE_WVFRNT 3|__MEMORY_SCOPE_SINGLE 4
__OPENCL_MEMORY_SCOPE_WORK_ITEM 0|__OPENCL_MEMORY_SCOPE_WORK_GROUP 1|__OPENCL_MEMORY_SCOPE_DEVICE 2
__OPENCL_MEMORY_SCOPE_ALL_SVM_DEVICES 3|__OPENCL_MEMORY_SCOPE_SUB_GROUP 4
__OBJC_BOOL_IS_BOOL 0|__PRAGMA_REDEFINE_EXTNAME 1|__USER_LABEL_PREFIX__ |__llvm__ 1
__SIZEOF_DOUBLE__ 8|__SIZEOF_FLOAT__ 4|__SIZEOF_INT128__ 16|__SIZEOF_INT__ 4|__SIZEOF_LONG_DOUBLE__ 8
__SIZEOF_LONG_LONG__ 8|__SIZEOF_LONG__ 8|__SIZEOF_POINTER__ 8|__SIZEOF_PTRDIFF_T__ 8|__SIZEOF_SHORT__ 2
__SIZEOF_SIZE_T__ 8|__SIZEOF_WCHAR_T__ 4|__SIZEOF_WINT_T__ 4
__clang__ 1|__clang_major__ 19|__clang_minor__ 1|__clang_patchlevel__ 7|__clang_version__ "19.1.7 (tsbpf)"
__VERSION__ "Clang 19.1.7 (tsbpf)"|__clang_literal_encoding__ "UTF-8"|__clang_wide_literal_encoding__ "UTF-32"
`;

/** The text of `#define` lines to be read before everything else. */
export function predefinedMacros(options: PredefinedOptions): string {
  const lines: string[] = [];
  const define = (name: string, value: string | number): void => {
    lines.push(`#define ${name} ${value}`);
  };
  for (const line of CONSTANTS.trim().split('\n'))
    for (const entry of line.split('|')) lines.push(`#define ${entry}`);
  for (let version = 1; version <= options.cpu; version++)
    for (const feature of FEATURES[version as 1 | 2 | 3 | 4]) define(`__BPF_FEATURE_${feature}`, 1);
  define('__BPF_CPU_VERSION__', options.cpu);
  if (options.optimize === 0) define('__NO_INLINE__', 1);
  else define('__OPTIMIZE__', 1);
  if (options.optimize === 's' || options.optimize === 'z') define('__OPTIMIZE_SIZE__', 1);
  for (const family of ['CLANG', 'GCC'])
    for (const type of [
      'BOOL',
      'CHAR',
      'CHAR16_T',
      'CHAR32_T',
      'INT',
      'LLONG',
      'LONG',
      'POINTER',
      'SHORT',
      'WCHAR_T',
    ])
      define(`__${family}_ATOMIC_${type}_LOCK_FREE`, 2);
  integerMacros(define);
  for (const [
    name,
    suffix,
    mant,
    dig,
    decimal,
    minExp,
    maxExp,
    min10,
    max10,
    denorm,
    epsilon,
    max,
    min,
  ] of FLOATS) {
    const value = (text: string) => text + suffix;
    define(`__${name}_MANT_DIG__`, mant);
    define(`__${name}_DIG__`, dig);
    define(`__${name}_DECIMAL_DIG__`, decimal);
    define(`__${name}_MIN_EXP__`, `(${minExp})`);
    define(`__${name}_MAX_EXP__`, maxExp);
    define(`__${name}_MIN_10_EXP__`, `(${min10})`);
    define(`__${name}_MAX_10_EXP__`, max10);
    define(`__${name}_DENORM_MIN__`, value(denorm));
    define(`__${name}_EPSILON__`, value(epsilon));
    define(`__${name}_MAX__`, value(max));
    define(`__${name}_NORM_MAX__`, value(max));
    define(`__${name}_MIN__`, value(min));
    for (const has of ['DENORM', 'INFINITY', 'QUIET_NAN']) define(`__${name}_HAS_${has}__`, 1);
  }
  return `${lines.join('\n')}\n`;
}

function integerMacros(define: (name: string, value: string | number) => void): void {
  const limit = (bits: number, signed: boolean, suffix: string): string =>
    `${2n ** BigInt(signed ? bits - 1 : bits) - 1n}${suffix}`;
  const formats = (name: string, letters: string, modifier: string): void => {
    for (const letter of letters) define(`__${name}_FMT${letter}__`, `"${modifier}${letter}"`);
  };
  for (const [name, signed, unsigned, bits, suffix, modifier] of INTEGERS) {
    const u = bits >= 32 ? 'U' : '';
    define(`__INT${name}_C_SUFFIX__`, suffix);
    define(`__UINT${name}_C_SUFFIX__`, u + suffix);
    for (const kind of ['', '_LEAST', '_FAST']) {
      define(`__INT${kind}${name}_TYPE__`, signed);
      define(`__UINT${kind}${name}_TYPE__`, unsigned);
      define(`__INT${kind}${name}_MAX__`, limit(bits, true, suffix));
      define(`__UINT${kind}${name}_MAX__`, limit(bits, false, u + suffix));
      formats(`INT${kind}${name}`, 'di', modifier);
      formats(`UINT${kind}${name}`, 'ouxX', modifier);
      if (kind !== '') define(`__INT${kind}${name}_WIDTH__`, bits);
    }
  }
  for (const name of ['INTMAX', 'INTPTR', 'PTRDIFF']) {
    define(`__${name}_TYPE__`, 'long int');
    define(`__${name}_MAX__`, limit(64, true, 'L'));
    define(`__${name}_WIDTH__`, 64);
    formats(name, 'di', 'l');
  }
  for (const name of ['UINTMAX', 'UINTPTR', 'SIZE']) {
    define(`__${name}_TYPE__`, 'long unsigned int');
    define(`__${name}_MAX__`, limit(64, false, 'UL'));
    define(`__${name}_WIDTH__`, 64);
    formats(name, 'ouxX', 'l');
  }
  define('__INTMAX_C_SUFFIX__', 'L');
  define('__UINTMAX_C_SUFFIX__', 'UL');
}
