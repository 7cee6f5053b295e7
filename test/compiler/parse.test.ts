/** The parser: what it takes, how it goes on after errors, and that no input brings it down. */
import { describe, expect, it } from 'vitest';
import { analyzed } from './sema-support.ts';

const errors = (text: string): readonly string[] =>
  analyzed(`${text}\n`).reports.filter((report) => report.includes(' error: '));

describe('declarators', () => {
  it.each([
    'int (*(*table[4])(int, char *))(void);',
    'void (*signal(int number, void (*handler)(int)))(int);',
    'int (*matrix)[3], *rows[3];',
    'extern const volatile unsigned long long int * const restrict volatile p;',
    'long unsigned int x; short int unsigned y; int long signed long z;',
    'struct s { int a : 3, : 2, b; union { int c; struct { char d, e; }; }; int tail[]; };',
    'typedef int T; T f(T T) { return T; }',
    'typedef int T; int f(void) { T T = 1; { typedef char T; T c = 2; return c + sizeof(T); } }',
    'enum e { A, B = 5, C, }; enum e e = C;',
    'int f(int a[static 3], int b[const], int c[*]);',
    'typeof(int *) p; __typeof__(*p) q; typeof_unqual(const int) r = 1; __auto_type s = 1;',
    '_Alignas(16) char buffer[3]; _Static_assert(_Alignof(long) == 8, "");',
    'int x __attribute__((section(".data"), aligned(8), unused)), y __attribute__((weak));',
    '[[gnu::packed]] int x;',
    'int f(void) asm("other"); asm("nop");',
  ])('%s', (text) => {
    expect(errors(text)).toEqual([]);
  });
});

describe('statements', () => {
  const inside = (body: string) => errors(`int g(int); int f(int a, int *p) { ${body}\nreturn 0; }`);
  it.each([
    'switch (a) { case 1 ... 3: case 5: g(1); break; default: ; }',
    'for (int i = 0, j = 1; i < j; i++, j--) continue;',
    'for (;;) { if (a) break; else if (p) goto out; }\nout:;',
    'do a--; while (a > 0);',
    '{ __label__ again; again: if (a-- > 0) goto again; }',
    'asm volatile("%[out] = %1; %0 += 1" : [out] "=r"(a) : "r"(p), "i"(4) : "memory", "r1");',
    'asm goto("if %0 == 0 goto %l[out]" :: "r"(a) :: out); out:;',
    'asm volatile("exit");',
    'int x = ({ int y = a; y + 1; }), z = a ?: 2; g(x + z);',
    '_Pragma("unroll") for (int i = 0; i < 4; i++) a += i;\n#pragma unroll 4\nwhile (a) a--;\n#pragma clang loop unroll(disable)\ndo a--; while (a);',
    'switch (a) { case 1: __attribute__((fallthrough)); case 2: ; }',
    'struct { int x, y; } v = { .y = 1, x: 2 }; int w[] = { [2] = 1, [0 ... 1] = 3 }; g(v.x + w[0]);',
    'g(((struct { int a; }){ .a = 3 }).a); g(sizeof(int[3]) + sizeof a + sizeof(a)); g(_Generic(a, int: 1, default: 2));',
  ])('%s', (body) => {
    expect(inside(body)).toEqual([]);
  });
});

describe('recovery', () => {
  it('reports several errors of one file, each at its place', () => {
    const text = [
      'int a = ;',
      'struct s { int x; unknown y; int z; };',
      'int f(struct s *p) {',
      '  int b = p->x +;',
      '  p->nope = 1;',
      '  if (p->z { }',
      '  return b',
      '}',
      'int g(void) { return missing; }',
    ].join('\n');
    expect(errors(text)).toEqual([
      '1:9: error: expected expression',
      "2:19: error: unknown type name 'unknown'",
      '4:17: error: expected expression',
      "6:12: error: expected ')'",
      "7:11: error: expected ';' after return statement",
      "5:6: error: no member named 'nope' in 'struct s'",
      "9:22: error: use of undeclared identifier 'missing'",
    ]);
  });

  it('stops at the limit of errors', () => {
    const { reports } = analyzed('int f(void) { return x; }\n'.repeat(100).replace(/f/g, () => `f${n++}`));
    expect(reports.filter((report) => report.includes('undeclared'))).toHaveLength(20);
    expect(reports.at(-1)).toContain('too many errors');
  });
  let n = 0;

  it('refuses what BPF cannot do with a reason', () => {
    expect(errors('int f(void) { void *p = &&l; goto *p; l: return 0; }')).toEqual([
      '1:35: error: computed goto is not supported on BPF: every jump must have a known target',
      '1:25: error: the address of a label cannot be taken on BPF: every jump must have a known target',
    ]);
    expect(errors('int f(a) int a; { return a; }')[0]).toContain(
      'definitions in that style are not supported',
    );
    expect(errors('int v __attribute__((vector_size(16)));')[0]).toContain('vector types are not supported');
    expect(errors('_Complex double c;')[0]).toContain('complex numbers are not supported');
  });
});

describe('hostile input', () => {
  const many = (text: string, times = 50_000) => text.repeat(times);
  const list = (make: (i: number) => string, times = 5000) =>
    Array.from({ length: times }, (_, i) => make(i)).join('');
  it.each<[string, string, string | null]>([
    ['brackets', `int x = ${many('(')}1${many(')')};`, 'bracket nesting level exceeded maximum of 256'],
    ['operators', `int x = ${many('-')}1;`, 'bracket nesting level'],
    ['spaced operators', `int x = ${many('- ')}1;`, 'bracket nesting level'],
    ['sums', `int x = 1${many('+1')};`, 'nested more than 800 operators deep'],
    ['choices', `int x = ${many('1?1:')}1;`, 'bracket nesting level'],
    ['blocks', `int f(void){${many('{')}${many('}')}}`, 'bracket nesting level'],
    ['else if', `int f(int a){if(a);${many('else if(a);')}}`, "more than 800 times 'else if'"],
    ['pointers', `int ${many('*')}x;`, 'more than 256 levels of pointers'],
    ['arrays', `int x${many('[1]')};`, 'a declarator of more than 256 parts'],
    ['structs', `${many('struct {')}int a;`, 'bracket nesting level'],
    ['braces', `int a[] = ${many('{')}1${many('}')};`, 'bracket nesting level'],
    ['members', `int f(int a){return a${many('.b')};}`, 'nested more than 800'],
    ['calls', `int f(int a){return f${many('(1)')};}`, 'nested more than 800'],
    [
      'typedefs',
      `typedef int t0; ${list((i) => `typedef t${i} *t${i + 1};`)}`,
      'made of more than 1000 parts',
    ],
    [
      'parameters',
      `typedef void (*t0)(void); ${list((i) => `typedef void (*t${i + 1})(t${i});`)}`,
      'made of more than 1000',
    ],
    [
      'records',
      `struct s0 {int a;}; ${list((i) => `struct s${i + 1} { struct s${i} x; };`)}`,
      'structs inside each other',
    ],
    ['constants', `const int x0=1; ${list((i) => `const int x${i + 1} = x${i}+1;`)} int a[x5000];`, null],
    ['itself', 'const int x = x; int y[x];', 'not a compile-time constant'],
    ['a wide range', 'int a[] = {[0 ... 100000000] = 1};', 'too many elements'],
    ['a large array', 'int a[1ul<<62][1ul<<62];', 'array is too large'],
    ['statement expressions', `int f(void){return ${many('({')}1;${many('});')}}`, 'bracket nesting level'],
    ['nothing', '', null],
    ['an open function', 'int f(void) { if (', 'expected expression'],
    ['one character', '@', "expected identifier or '('"],
  ])('%s', (_name, text, message) => {
    const found = errors(text);
    if (message === null) expect(found).toEqual([]);
    else expect(found[0]).toContain(message);
  });

  it('changes of a good program give diagnostics, never an exception', () => {
    const words = (
      'struct s { int a:3; struct s *n; char t[4]; }; typedef int T; enum e { A, B = 2 }; ' +
      'static int f(struct s *p, T i) { for (int j = 0; j < i; j++) { p->a += j ? 1 : A; switch (i) { case 1 ... 3: break; default: return B; } } ' +
      'return ({ T k = p->t[1]; k; }) + sizeof(struct s) + (int){ 1 }; } struct s v = { .a = 1, .t = "abc" }; ' +
      'int g(void) { __auto_type q = &v; asm volatile("" : "=r"(q->a)); return f(q, *(T *)q) + _Generic(q, default: 1); }'
    ).split(' ');
    let seed = 7;
    const random = (below: number) => {
      seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
      return (seed >>> 8) % below;
    };
    for (let round = 0; round < 1500; round++) {
      const changed = [...words];
      for (let k = 0; k <= random(3); k++) {
        const at = random(changed.length);
        if (random(3) === 0) changed.splice(at, 1 + random(3));
        else if (random(2) === 0) changed.splice(at, 0, words[random(words.length)]!);
        else changed[at] = words[random(words.length)]!;
      }
      expect(() => analyzed(changed.join(' '), { errorLimit: 0, warnings: ['all', 'extra'] })).not.toThrow();
    }
  });
});
