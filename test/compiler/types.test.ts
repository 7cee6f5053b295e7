/** Types: layouts as clang has them for BPF, sizes, enums, spelling in messages. */
import { describe, expect, it } from 'vitest';
import { typeName } from '../../src/compiler/sema/index.ts';
import { analyzed, variable } from './sema-support.ts';

/** `size/align: offsets in bits` of a struct named s. */
function layout(text: string): string {
  const { unit, reports } = analyzed(text);
  expect(reports).toEqual([]);
  const record = unit.records.find((candidate) => candidate.tag === 's')!;
  return `${record.size}/${record.align}: ${record.fields.map((field) => field.offset).join(' ')}`;
}

describe('layout', () => {
  it.each([
    ['struct s { char a; int b; char c; };', '12/4: 0 32 64'],
    ['struct s { char a; int b; char c; } __attribute__((packed));', '6/1: 0 8 40'],
    ['struct s { int a : 3; int b : 30; int c : 2; };', '8/4: 0 32 62'],
    ['struct s { char a : 4; short b : 6; int c : 22; };', '4/4: 0 4 10'],
    ['struct s { int a : 5; int : 0; char b; int : 3; };', '8/4: 0 32'],
    ['struct s { char a; long b : 40; char c; };', '8/8: 0 8 48'],
    ['struct s { char a; int b : 30 __attribute__((packed)); };', '5/1: 0 8'],
    ['union s { char a; int b[3]; long c : 3; };', '16/8: 0 0 0'],
    ['struct s { char a; struct { long b; }; union { char c; short d; }; };', '24/8: 0 64 128'],
    ['struct s { char a; int b[]; };', '4/4: 0 32'],
    ['struct s { char a; } __attribute__((aligned(16)));', '16/16: 0'],
    ['struct s { char a; char b __attribute__((aligned(8))); };', '16/8: 0 64'],
    ['#pragma pack(push, 2)\nstruct s { char a; long b; int c : 20; };\n#pragma pack(pop)', '14/2: 0 16 80'],
    ['typedef int t __attribute__((aligned(2))); struct s { char a; t b; };', '6/2: 0 16'],
    ['enum e { A } __attribute__((packed)); struct s { enum e a; _Bool b; };', '2/1: 0 8'],
    ['enum e { A = 0x100000000 }; struct s { char a; enum e b; };', '16/8: 0 64'],
    ['struct s { };', '0/1: '],
    ['struct s { __int128 a; char b; };', '32/16: 0 128'],
  ])('%s', (text, expected) => {
    expect(layout(text)).toBe(expected);
  });
});

describe('types', () => {
  it('are spelled as clang spells them', () => {
    const spell = (text: string) => typeName(variable(analyzed(text).unit, 'x').type);
    expect(spell('unsigned long int x;')).toBe('unsigned long');
    expect(spell('const char *const x[3];')).toBe('const char *const[3]');
    expect(spell('int (*x)(int, void *);')).toBe('int (*)(int, void *)');
    expect(spell('int (*(*x)[2])(void);')).toBe('int (*(*)[2])(void)');
    expect(spell('struct s; struct s *volatile x;')).toBe('struct s *volatile');
    expect(spell('typedef struct { int a; } t; const t *x;')).toBe('const t *');
  });

  it('keep what BTF needs: typedefs, tags, qualifiers', () => {
    const { unit, reports } = analyzed(
      'typedef int number; struct s { const number __attribute__((btf_type_tag("user"))) *p; } __attribute__((btf_decl_tag("d"))) *x;',
    );
    expect(reports).toEqual([]);
    const record = unit.records[0]!;
    expect(record.attributes.declTags).toEqual(['d']);
    expect(record.fields[0]!.type).toMatchObject({
      kind: 'pointer',
      pointee: {
        kind: 'tagged',
        tag: 'user',
        base: { kind: 'qualified', quals: 1, base: { kind: 'typedef', name: 'number' } },
      },
    });
  });

  it('complete arrays from their initialisers', () => {
    const { unit } = analyzed('int x[] = { 1, [4] = 2, 3 }; char s[] = "abc"; char t[2] = "ab";');
    expect(['x', 's', 't'].map((name) => typeName(variable(unit, name).type))).toEqual([
      'int[6]',
      'char[4]',
      'char[2]',
    ]);
  });

  it('of enumerators are those of C', () => {
    expect(
      analyzed(
        'enum a { A = -1, B = 0x80000000 }; _Static_assert(sizeof(B) == 8 && sizeof(enum a) == 8, "");' +
          'enum b { C = 0xffffffff }; _Static_assert(C > 0 && sizeof(C) == 4 && _Generic(C, unsigned: 1, default: 0), "");' +
          'enum c { D, E }; _Static_assert(_Generic(D, int: 1) && _Generic((enum c)0, unsigned: 1), "");' +
          'enum d : unsigned char { F }; _Static_assert(sizeof(enum d) == 1, "");',
      ).reports,
    ).toEqual([]);
  });
});
