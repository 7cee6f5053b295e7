/** Records and enums that are read from the text give the trees that their tokens give, right and wrong ones. */
import { describe, expect, it } from 'vitest';
import { parse, type STopLevel } from '../../src/compiler/parse/index.ts';
import { Preprocessor } from '../../src/compiler/preprocess/index.ts';
import { DiagnosticSink, SourceManager } from '../../src/compiler/source/index.ts';

function parsed(text: string, plain: boolean): { items: STopLevel[]; diagnostics: unknown; plainly: number } {
  const sink = new DiagnosticSink(new SourceManager(), {});
  const tokens = new Preprocessor(sink, 'x.c', text, { resolver: { read: () => undefined } });
  const items: STopLevel[] = [];
  let plainly = 0;
  const source = {
    next: () => tokens.next(),
    plainText: (last: Parameters<typeof tokens.plainText>[0]) => tokens.plainText(last),
    resume: (at: Parameters<typeof tokens.resume>[0]) => {
      plainly++;
      tokens.resume(at);
    },
  };
  parse(plain ? source : { next: source.next }, sink, (item) => items.push(item));
  return { items, diagnostics: sink.diagnostics, plainly };
}

const BEFORE = `typedef unsigned int u32; typedef u32 T;
#define M int m
#define EMPTY
#define F(x) x
`;

const MEMBERS = [
  ...[
    'int a;',
    'u32 u32;',
    'T T, b;',
    'const volatile unsigned long long int x;',
    'long unsigned int x : 3;',
  ],
  ...[
    'short int unsigned a[4][0]; int b[];',
    'struct s *a, b;',
    'struct t **const volatile *x[3];',
    'enum e v;',
  ],
  ...[
    'int (*f)(void);',
    'void *(*f)(struct q *, const char *, T, struct s);',
    'int (*f)(int a);',
    'int (**f[2])();',
  ],
  ...['int (*f)(int, ...);', 'int (*p)[3];', 'union { int a; struct { T b; u32 *c; }; } u;', 'struct { };'],
  ...[
    'struct { int a; } __attribute__((packed)) p;',
    'struct { int a; }\nT;',
    'struct { int a; } int b;',
    'int : 3;',
  ],
  ...[
    'struct { struct { struct { struct { struct { int deep; }; }; }; }; };',
    'int a /* c */; // d\nint b;',
    'M;',
  ],
  ...[
    'EMPTY int a;',
    'int F(x);',
    'int a\\\nb;',
    'int é;',
    '#pragma pack(1)\nstruct { int a; } x;\n#pragma pack()\n',
  ],
  ...[
    '_Pragma("pack(1)") int a;',
    'unknown a;',
    's a;',
    'unsigned u32 x;',
    'char long c;',
    'int struct s x;',
    'int a b;',
  ],
  ...[
    'int *;',
    'struct s;',
    'int a[0x10]; int b[07]; int c[1u]; int d[1 + 1];',
    'int a : 0x3;',
    'int a\n;',
    'int L"a";',
  ],
  ...[
    'int a; int a',
    'int a;; int b;',
    '_Static_assert(1, ""); int a;',
    'enum { X, Y = 2 } e;',
    'int a[[]];',
    ': 3;',
  ],
];

const ENUMERATORS = [
  'A, B = 5, C',
  'A = 1, T, B = 2,',
  'A = -1, B = 0x5, C = 7,',
  'int,',
  'A B, C',
  'A = , B,',
  '',
];

describe('text and tokens', () => {
  const same = (text: string): void => {
    const { plainly, ...ours } = parsed(text, true);
    const { plainly: none, ...theirs } = parsed(text, false);
    expect(none).toBe(0);
    expect(ours).toEqual(theirs);
  };
  it.each(MEMBERS)('struct { %s }', (members) => {
    for (const around of [
      `struct s {\n${members}\n};`,
      `struct { int before; ${members} int after; } v;`,
      `union n { char a; struct { ${members} }; int z;\n};`,
      `int f(void) { char T; struct l { ${members} T x; }; return 0; }`,
    ])
      same(`${BEFORE}${around}\nint last;\n`);
  });
  it.each(ENUMERATORS)('enum { %s }', (list) => {
    same(`${BEFORE}enum e {\n${list}\n};\nint f(void) { enum { Z, ${list} }; return Z; }\n`);
  });
  it('whole records come from the text', () => {
    const text = 'struct a { int b; struct c *d; };\n'.repeat(3);
    expect(parsed(text, true).plainly).toBe(3);
  });
});
