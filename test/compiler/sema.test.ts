/** The semantic analysis: initialisers, conversions made explicit, builtins, CO-RE marks, what is reported. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Expr, FunctionDecl, Stmt } from '../../src/compiler/ast/index.ts';
import { typeName } from '../../src/compiler/sema/index.ts';
import { BROKEN } from './sema-broken.ts';
import { analyzed, initial } from './sema-support.ts';

/** A typed expression as text: every conversion shows. */
function show(expr: Expr): string {
  switch (expr.kind) {
    case 'int':
      return `${expr.value}`;
    case 'decl-ref':
      return expr.decl.name;
    case 'cast':
      return `${expr.how}<${typeName(expr.type)}>(${show(expr.operand)})`;
    case 'binary':
    case 'compare':
    case 'logical':
      return `(${show(expr.left)} ${expr.op} ${show(expr.right)})`;
    case 'assign':
      return `${show(expr.target)} = ${show(expr.value)}`;
    case 'compound-assign':
      return `${show(expr.target)} ${expr.op}=<${typeName(expr.computation)}> ${show(expr.value)}`;
    case 'pointer-add':
      return `(${show(expr.pointer)} ${expr.op}${expr.scale} ${show(expr.index)})`;
    case 'member':
      return `${show(expr.record)}.${expr.field.name ?? `#${expr.field.index}`}${expr.preserve ? '!' : ''}`;
    case 'deref':
      return `*${show(expr.pointer)}`;
    case 'subscript':
      return `${show(expr.base)}[${show(expr.index)}]${expr.preserve ? '!' : ''}`;
    case 'address':
      return `&${show(expr.operand)}`;
    case 'call':
      return `call${expr.helper === null ? '' : `#${expr.helper}`}(${expr.args.map(show).join(', ')})`;
    case 'builtin':
      return `${expr.name}(${[...expr.args.map(show), ...expr.immediates, ...(expr.typeArg === null ? [] : [typeName(expr.typeArg)])].join(', ')})`;
    case 'unary':
      return `${expr.op}${show(expr.operand)}`;
    default:
      return expr.kind;
  }
}

/** What the last return statement of the last function gives. */
function returned(text: string): string {
  const { unit, reports } = analyzed(text);
  expect(reports.filter((report) => report.includes('error'))).toEqual([]);
  const body: readonly Stmt[] = (unit.functions.at(-1) as FunctionDecl).body!.body;
  const last = body.at(-1)!;
  return last.kind === 'return' && last.value !== null ? show(last.value) : last.kind;
}

describe('initialisers', () => {
  it.each<[string, string[]]>([
    ['int x = 3 * 4 + sizeof(int);', ['0=16']],
    ['struct { char a; int b; long c; } x = { 1, .c = 3 };', ['0=1', '8=3']],
    [
      'struct { int a, b; struct { int c, d; } e; int f; } x = { 1, 2, 3, 4, 5 };',
      ['0=1', '4=2', '8=3', '12=4', '16=5'],
    ],
    ['struct { struct { int a, b; } c[2]; int d; } x = { .c[1].a = 1, 2, 3 };', ['8=1', '12=2', '16=3']],
    ['int x[2][3] = { 1, 2, [1] = { [2] = 5 }, };', ['0=1', '4=2', '20=5']],
    ['int x[] = { [1 ... 3] = 7, 8, [0] = 1 };', ['0=1', '4=7', '8=7', '12=7', '16=8']],
    ['int x[3] = { 1, 2, 3, [1] = 9 };', ['0=1', '4=9', '8=3']],
    ['struct { union { int a; char b[4]; }; int c; } x = { .b = "hi", 5 };', ['0="hi\0"', '4=5']],
    ['struct { int a : 4, : 2, b : 6; char c; } x = { 1, -3, 2 };', ['0+4b=1', '6+6b=-3', '2=2']],
    ['char x[] = "a\\x41\\102" "\\n";', ['0="aAB\n\0"']],
    ['const char *x[] = { "abc", [2] = "d" + 1 };', ['0="abc\0"', '16="d\0"+1']],
    ['int y[4]; int *x[2] = { y + 1, &y[3] };', ['0=y+4', '8=y+12']],
    ['int f(void); int (*x)(void) = f;', ['0=f']],
    ['struct { struct { int a; } b; } x = { .b = { 1 }, .b.a = 2 };', ['0=2']],
    ['struct s { int n; int v[]; } x = { 2, { 5, 6 } };', ['0=2', '4=5', '8=6']],
    ['const int n = 4; int x = n * 2;', ['0=8']],
    ['unsigned char x = (char)200 < 0;', ['0=1']],
    ['long x = -1 > 0u;', ['0=1']],
    ['int x = 1.5 * 4;', ['0=6']],
    ['int x = 0x1.8p3;', ['0=12']],
  ])('%s', (text, expected) => {
    const { unit, reports } = analyzed(text);
    expect(reports.filter((report) => report.includes('error'))).toEqual([]);
    expect(initial(unit, 'x')).toEqual(expected);
  });
});

describe('the typed tree', () => {
  it.each([
    [
      'int f(char a, long b) { return a + b; }',
      'integer<int>((integer<long>(integer<int>(load<char>(a))) + load<long>(b)))',
    ],
    [
      'int f(unsigned a, int b) { return a < b; }',
      '(load<unsigned int>(a) < integer<unsigned int>(load<int>(b)))',
    ],
    [
      'long f(int *p, int i) { return p[i]; }',
      'integer<long>(load<int>(load<int *>(p)[integer<long>(load<int>(i))]))',
    ],
    [
      'int *f(int *p, unsigned i) { return p + i; }',
      '(load<int *>(p) +4 integer<long>(load<unsigned int>(i)))',
    ],
    ['_Bool f(int *p) { return p; }', 'to-bool<_Bool>(load<int *>(p))'],
    ['unsigned char f(unsigned char c) { return c += 300; }', 'c +=<int> 300'],
    [
      'struct s { int a : 5; unsigned b : 32; }; unsigned f(struct s *p) { return p->a + p->b; }',
      '(integer<unsigned int>(load<int>(*load<struct s *>(p).a)) + load<unsigned int>(*load<struct s *>(p).b))',
    ],
    ['struct s { union { int a; }; } g; int f(void) { return g.a; }', 'load<int>(g.#0.a)'],
    [
      'static long (*h)(void *, int) = (void *) 14; long f(void *c) { return h(c, 1); }',
      'call#14(load<void *>(c), 1)',
    ],
    [
      'void *f(unsigned short x) { return (void *)(long)x; }',
      'int-to-pointer<void *>(integer<long>(load<unsigned short>(x)))',
    ],
    ['int f(int a) { return a ?: 3; }', 'conditional'],
    ['enum e { A, B }; int f(enum e x) { return x == B; }', '(same<unsigned int>(load<enum e>(x)) == 1)'],
  ])('%s', (text, expected) => {
    expect(returned(text)).toBe(expected);
  });

  it('marks what CO-RE relocates', () => {
    const types =
      'struct in { int z; }; struct s { int a; struct { int b[3]; }; struct in i; struct s *n; } __attribute__((preserve_access_index));';
    expect(returned(`${types} int f(struct s *p) { return p->b[2]; }`)).toBe(
      'load<int>(decay<int *>(*load<struct s *>(p).#1!.b!)[2]!)',
    );
    expect(returned(`${types} int f(struct s *p) { return p->i.z; }`)).toBe(
      'load<int>(*load<struct s *>(p).i!.z)',
    );
    expect(
      returned(`struct t { int x; }; int *f(struct t *p) { return __builtin_preserve_access_index(&p->x); }`),
    ).toBe('preserve_access_index(&*load<struct t *>(p).x!)');
    expect(
      returned(`${types} unsigned f(struct s *p) { return __builtin_preserve_field_info(p->a, 2); }`),
    ).toBe('preserve_field_info(*load<struct s *>(p).a!, 2)');
    expect(
      returned(
        `enum e { A, B = 7 }; long f(void) { return __builtin_preserve_enum_value(*(typeof(enum e) *)B, 1); }`,
      ),
    ).toContain('preserve_enum_value(1, 1, enum e)');
    expect(
      returned(
        `${types} unsigned f(void) { return __builtin_preserve_type_info(*(typeof(struct s) *)0, 1); }`,
      ),
    ).toBe('preserve_type_info(1, struct s)');
    expect(
      analyzed(
        '#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)\nstruct a { int x; };\n#pragma clang attribute pop\nstruct b { int x; };',
      ).unit.records.map((record) => record.attributes.preserveAccessIndex === true),
    ).toEqual([true, false]);
  });

  it.each([
    ['long f(long *p) { return __sync_fetch_and_add(p, 1); }', 'atomic_fetch_add(load<long *>(p), 1, 5)'],
    ['int f(int *p) { return __atomic_load_n(p, 2); }', 'atomic_load(load<int *>(p), 2)'],
    [
      'int f(int *p) { return __sync_val_compare_and_swap(p, 1, 2); }',
      'sync_val_compare_and_swap(load<int *>(p), 1, 2)',
    ],
    [
      'unsigned short f(unsigned short x) { return __builtin_bswap16(x); }',
      'bswap16(load<unsigned short>(x))',
    ],
    [
      '_Bool f(int a, long b, short *r) { return __builtin_mul_overflow(a, b, r); }',
      'mul_overflow(load<int>(a), load<long>(b), load<short *>(r))',
    ],
    [
      'int f(int x) { return __builtin_constant_p(x) + __builtin_constant_p(3); }',
      '(constant_p(load<int>(x)) + 1)',
    ],
    ['int f(void) { return __builtin_choose_expr(sizeof(int) == 4, 1, undefined_here); }', '1'],
    ['int f(void) { return __builtin_types_compatible_p(int, const int) + __builtin_popcount(255); }', '9'],
    [
      'void *memcpy(void *, const void *, unsigned long); void *f(void *a, void *b) { return memcpy(a, b, 4); }',
      'memcpy(load<void *>(a), pointer<const void *>(load<void *>(b)), 4)',
    ],
  ])('%s', (text, expected) => {
    expect(returned(text)).toBe(expected);
  });

  it('takes a program with most of the language', () => {
    const text = readFileSync(new URL('./sema-features.c', import.meta.url), 'utf8');
    const { reports, unit } = analyzed(text);
    expect(reports).toEqual([]);
    expect(unit.functions.filter((decl) => decl.body !== null).map((decl) => decl.name)).toEqual([
      'add',
      'sum',
      'prog',
    ]);
    expect(unit.functions.at(-1)!.attributes.section).toBe('kprobe');
  });
});

describe('diagnostics', () => {
  it.each(BROKEN.map((broken): [string, readonly string[]] => [broken.text, broken.reports]))(
    '%s',
    (text, reports) => {
      expect(analyzed(`${text}\n`).reports).toEqual(reports);
    },
  );

  it('what is right C and hardly meant', () => {
    const text = `struct s { unsigned bits : 3; };
int f(struct s *p, int a, int b, unsigned char c) {
  int set; set = 3;
  if (a & b == c) p->bits = 9;
  if (!a == b) a = a;
  if ((a == b)) a = b << a + 1;
  if (a && b || c == 256) ;
  return (a != 1 || a != 2) + ((a & 3) == 4) + (a == a);
}
`;
    const reports = analyzed(text, { warnings: ['all'] }).reports.map((report) => report.replace(/: .*/, ''));
    expect(reports).toHaveLength(13);
    // By name or by group they are turned off.
    const less = ['all', 'no-parentheses', 'no-self-assign', 'no-empty-body'];
    expect(analyzed(text, { warnings: less }).reports).toHaveLength(7);
    // What is an error stays one.
    const strict = analyzed('int f(int a) { int x; return a; }', {
      warnings: ['error=unused-variable', 'all'],
    });
    expect(strict.reports[0]).toMatch(/error: unused variable/);
  });

  it('warnings that -Wall turns on', () => {
    const text = [
      'static int never(void) { return 1; }',
      'int f(int a) {',
      '  int unused, set, x;',
      '  if (a) set = x;',
      'lab:',
      '  return set;',
      '}',
    ].join('\n');
    expect(analyzed(text).reports).toEqual([]);
    expect(analyzed(text, { warnings: ['all'] }).reports).toEqual([
      "5:1: warning: unused label 'lab'",
      "3:7: warning: unused variable 'unused'",
      "4:16: warning: variable 'x' is uninitialized when used here",
      "1:12: warning: unused function 'never'",
    ]);
  });

  it('pragmas hold where the statement stands', () => {
    const text = [
      'int g(int *p);',
      '#define QUIET(x) ({ _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \\"-Wint-conversion\\"") int r = g(x); _Pragma("GCC diagnostic pop") r; })',
      'int f(int a) { return QUIET(a); }',
      'int h(int a) { return g(a); }',
    ].join('\n');
    expect(analyzed(text).reports.map((report) => report.slice(0, 11))).toEqual(['4:25: error']);
  });

  it('refuses what BPF has not', () => {
    const first = (text: string) => analyzed(text).reports[0];
    expect(first('float f(float a) { return a * 2; }')).toContain('floating-point is not supported on BPF');
    expect(first('int f(int n, ...) { return n; }')).toContain(
      "variadic function 'f' cannot be defined on BPF",
    );
    expect(first('int f(int n) { int a[n]; return 0; }')).toContain(
      "variable length array 'a' is not supported on BPF",
    );
    expect(first('int f(__int128 *p) { return __sync_fetch_and_add(p, 1); }')).toContain('more than 8 bytes');
  });
});
