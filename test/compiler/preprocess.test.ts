import { describe, expect, it } from 'vitest';
import { preprocess } from './preprocess-support.ts';

const tokens = (text: string, files: Record<string, string> = {}): string =>
  preprocess(text, files).tokens.join(' ');

describe('macros', () => {
  // C11 6.10.3.5, example 3
  it('expands the examples of the standard', () => {
    const text = `
#define x 3
#define f(a) f(x * (a))
#undef x
#define x 2
#define g f
#define z z[0]
#define h g(~
#define m(a) a(w)
#define w 0,1
#define t(a) a
#define p() int
#define q(x) x
#define r(x,y) x ## y
#define str(x) # x
f(y+1) + f(f(z)) % t(t(g)(0) + t)(1);
g(x+(3,4)-w) | h 5) & m
(f)^m(m);
p() i[q()] = { q(1), r(2,3), r(4,), r(,5), r(,) };
char c[2][6] = { str(hello), str() };`;
    expect(tokens(text)).toBe(
      'f ( 2 * ( y + 1 ) ) + f ( 2 * ( f ( 2 * ( z [ 0 ] ) ) ) ) % f ( 2 * ( 0 ) ) + t ( 1 ) ; ' +
        'f ( 2 * ( 2 + ( 3 , 4 ) - 0 , 1 ) ) | f ( 2 * ( ~ 5 ) ) & f ( 2 * ( 0 , 1 ) ) ^ m ( 0 , 1 ) ; ' +
        'int i [ ] = { 1 , 23 , 4 , 5 , } ; char c [ 2 ] [ 6 ] = { "hello" , "" } ;',
    );
  });

  it('makes strings with the white space of the source', () => {
    expect(tokens('#define S(x) #x\nS( a  "b\\n" \'c\' /* d */ + e ) S(\n) S("\\\\")')).toBe(
      '"a \\"b\\\\n\\" \'c\' + e" "" "\\"\\\\\\\\\\""',
    );
  });

  it('leaves backslashes outside of literals alone in strings', () => {
    expect(tokens('#define S(x) #x\nS(\\n "\\n" @)')).toBe('"\\n \\"\\\\n\\" @"');
  });

  it('knows the three ways to write variadic macros', () => {
    const text = `#define A(f, ...) p(f, ##__VA_ARGS__)
#define B(f, args...) p(f, ##args)
#define C(f, ...) p(f __VA_OPT__(,) __VA_ARGS__)
A(1) A(1, 2, 3) B(1) B(1, 2) C(1) C(1, 2)`;
    expect(tokens(text)).toBe('p ( 1 ) p ( 1 , 2 , 3 ) p ( 1 ) p ( 1 , 2 ) p ( 1 ) p ( 1 , 2 )');
  });

  it('counts lines, files, levels and uses', () => {
    const text =
      '#include "a.h"\n__FILE__ __LINE__ __COUNTER__\n#line 70 "b.c"\n__LINE__\n__COUNTER__ __BASE_FILE__ __FILE__';
    expect(tokens(text, { 'a.h': '__INCLUDE_LEVEL__ __FILE__ __LINE__ __COUNTER__' })).toBe(
      '1 "a.h" 1 0 "main.c" 2 1 70 2 "main.c" "b.c"',
    );
  });

  it('knows no builtin that the compiler lacks', () => {
    const names = ['bswap16', 'align_up', 'classify_type', 'memchr', 'shufflevector', 'readcyclecounter'];
    expect(
      tokens(names.map((name) => `#if __has_builtin(__builtin_${name})\n${name}\n#endif`).join('\n')),
    ).toBe('bswap16 align_up classify_type');
  });

  it('joins spliced lines inside of every token', () => {
    expect(tokens('ab\\\ncd +\\\n+ "x\\\ny" 1\\\n2 // gone \\\n too\nend')).toBe('abcd ++ "xy" 12 end');
  });

  it('gives the parser the pragmas it has to know', () => {
    expect(
      tokens('#define N 4\n#pragma unroll N\n_Pragma("clang loop unroll(full)") for\n#pragma once'),
    ).toBe('#pragma unroll N #pragma clang loop unroll(full) for');
  });
});

describe('includes', () => {
  const files = {
    'a.h': '#ifndef A\n#define A\na\n#endif\n',
    'once.h': '#pragma once\nonce',
    'dir/x.h': '#include "y.h"\n#include_next <x.h>\n',
    'dir/y.h': 'dir_y',
    'other/x.h': 'other_x',
  };

  it('reads guarded files once', () => {
    expect(tokens('#include "a.h"\n#include "a.h"\n#include "once.h"\n#include "once.h"', files)).toBe(
      'a once',
    );
  });

  it('searches like clang', () => {
    const { tokens: found } = preprocess('#include <x.h>', files, { includes: { user: ['dir', 'other'] } });
    expect(found).toEqual(['dir_y', 'other_x']);
  });

  it('answers __has_include', () => {
    expect(tokens('#if __has_include("a.h") && !__has_include(<none.h>)\nyes\n#endif', files)).toBe('yes');
  });
});

describe('diagnostics', () => {
  const cases: [text: string, report: string][] = [
    ['#if 1\nint x;', '1:1: error: unterminated conditional directive'],
    ['#endif', '1:2: error: #endif without #if'],
    ['#include "none.h"', "1:10: fatal error: 'none.h' file not found"],
    ['#define F(a) a\nF(1, 2)', '2:6: error: too many arguments provided to function-like macro invocation'],
    ['#define F(a) a\nF(1', '2:1: error: unterminated function-like macro invocation'],
    ['#if 1 +\n#endif', '1:8: error: expected value in expression'],
    ['#if 1 / 0\n#endif', '1:7: error: division by zero in preprocessor expression'],
    ['/* open', '1:1: error: unterminated /* comment'],
    ['#iff X', "1:2: error: invalid preprocessing directive, did you mean '#if'?"],
    ['#error no way', '1:2: error: no way'],
    ['#define X 1\n#define X 2', "2:9: warning: 'X' macro redefined"],
    ['char *s = "abc', "1:11: warning: missing terminating '\"' character"],
    ['#define C(a,b) a##b\nC(+, -) ', "2:1: error: pasting formed '+-', an invalid preprocessing token"],
  ];
  for (const [text, report] of cases)
    it(report, () => {
      expect(preprocess(text).reports[0]).toBe(report);
    });

  it('prints the line, the caret, the includes and the macros', () => {
    const { printed } = preprocess('#include "a.h"\n', {
      'a.h': '#define BAD(x) OTHER(x)\n#define OTHER(x) x ## +\nint y = BAD(1);\n',
    });
    expect(printed).toBe(`In file included from main.c:1:
a.h:3:9: error: pasting formed '1+', an invalid preprocessing token
    3 | int y = BAD(1);
      |         ^
a.h:1:16: note: expanded from macro 'BAD'
    1 | #define BAD(x) OTHER(x)
      |                ^
a.h:2:20: note: expanded from macro 'OTHER'
    2 | #define OTHER(x) x ## +
      |                    ^
1 error generated.
`);
  });

  it('stops after twenty errors', () => {
    const { reports } = preprocess('#error x\n'.repeat(50));
    expect(reports).toHaveLength(21);
    expect(reports.at(-1)).toBe('0:0: fatal error: too many errors emitted, stopping now [-ferror-limit=]');
  });
});

describe('hostile text', () => {
  const doubling = Array.from({ length: 40 }, (_, i) => `#define D${i + 1} D${i} D${i}`).join('\n');
  const cases: Record<string, [text: string, report: RegExp]> = {
    'a file that includes itself': ['#include "main.c"', /#include nested too deeply/],
    'macros that double forty times': [`#define D0 x\n${doubling}\nD40`, /too many tokens/],
    'calls nested ten thousand deep': [
      `#define F(x) x\n${'F('.repeat(10000)}1${')'.repeat(10000)}`,
      /nested in arguments deeper|too many tokens/,
    ],
    'parentheses nested ten thousand deep': [`#if ${'('.repeat(10000)}1\n#endif`, /nested too deeply/],
    'ten thousand signs': [`#if ${'- '.repeat(10000)}1\n#endif`, /nested too deeply/],
    'strings that double': [
      `#define S(x) #x #x\n#define T(x) S(x)\n${'T('.repeat(60)}"\\"${')'.repeat(60)}`,
      /too many tokens|nested|unterminated/,
    ],
    'an open call at the end': ['#define F(x) x\nF(((((', /unterminated function-like macro/],
  };
  for (const [name, [text, report]] of Object.entries(cases))
    it(`ends with a diagnostic: ${name}`, () => {
      expect(preprocess(text, { 'main.c': text }).reports.join('\n')).toMatch(report);
    });

  it('takes any bytes', () => {
    for (const text of [
      '\0',
      '\ufeff#',
      '\\',
      '#define',
      '#if',
      "'",
      '"',
      '@`',
      'é\u00a0∞',
      '#pragma',
      '##',
      '%:%:',
    ])
      expect(() => preprocess(text)).not.toThrow();
  });
});
