/** The front end beside clang-19: places of diagnostics, values and types of constants, layouts of records. */

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { evaluate } from '../../src/compiler/sema/index.ts';
import { BROKEN } from './sema-broken.ts';
import { analyzed, clang, noClang } from './sema-support.ts';

if (noClang) console.log('skipped: no clang-19 on this machine');

class Random {
  private seed: number;
  constructor(seed: number) {
    this.seed = seed;
  }
  below(limit: number): number {
    this.seed = (Math.imul(this.seed, 1103515245) + 12345) & 0x7fffffff;
    return (this.seed >>> 8) % limit;
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}

const LEAVES = (
  "0 1 2 7 31 63 255 0x80 0xffff 0x7fffffff 0x80000000 4294967295 0xffffffffu 1u 3l 5ul 9ll 11ull 0x7fffffffffffffffl 'a' '\\377' " +
  '(-1) (-128) 017 sizeof(int) sizeof(Q) EA EB EC __builtin_offsetof(Q,c) _Alignof(long)'
).split(' ');
const OPERATORS = '+ - * & | ^ == != < > <= >= && || << >> / %'.split(' ');
const CASTS = [
  'char',
  'signed char',
  'unsigned char',
  'short',
  'unsigned short',
  'int',
  'unsigned',
  'long',
  'unsigned long',
  'long long',
  '_Bool',
  'enum e',
];

function expression(random: Random, depth: number): string {
  if (depth === 0 || random.below(8) === 0) return random.pick(LEAVES);
  const inner = () => expression(random, depth - 1);
  switch (random.below(6)) {
    case 0:
      return `(${random.pick(['-', '~', '!', '+'])}${inner()})`;
    case 1:
      return `((${random.pick(CASTS)})${inner()})`;
    case 2:
      return random.below(3) === 0
        ? `__builtin_${random.pick(['popcount', 'parity', 'bswap16', 'bswap32', 'bswap64', 'ffs', 'clrsb'])}(${inner()})`
        : `(${inner()} ? ${inner()} : ${inner()})`;
    default:
      return `(${inner()} ${random.pick(OPERATORS)} ${inner()})`;
  }
}

const HEAD =
  'enum e { EA, EB = -5, EC = 70000 }; struct q { char a; int b : 3; short c; int d[4]; }; typedef struct q Q;\n';
const KINDS =
  'int:1, unsigned:2, long:3, unsigned long:4, long long:5, unsigned long long:6, char:7, signed char:8, unsigned char:9, short:10, unsigned short:11, _Bool:12, default:0';

const FIELD_TYPES: readonly (readonly [string, number])[] = [
  ['char', 8],
  ['unsigned char', 8],
  ['short', 16],
  ['unsigned', 32],
  ['int', 32],
  ['long', 64],
  ['_Bool', 1],
  ['enum e', 32],
  ['t8', 32],
  ['t2', 32],
];

function members(random: Random, depth: number, names: { n: number }): string {
  let text = '';
  for (let i = 0; i <= random.below(7); i++) {
    const name = `f${names.n++}`;
    const [type, width] = random.pick(FIELD_TYPES);
    const attribute = random.pick([
      '',
      '',
      '',
      '',
      '',
      ' __attribute__((packed))',
      ' __attribute__((aligned(4)))',
      ' __attribute__((aligned(16)))',
    ]);
    const choice = random.below(10);
    if (choice === 0 && depth < 3)
      text += `${random.pick(['struct', 'union'])} { ${members(random, depth + 1, names)} }${random.pick(['', ' __attribute__((packed))'])} ${random.pick(['', name])}; `;
    else if (choice < 6) text += `${type} ${name} : ${1 + random.below(width)}${attribute}; `;
    else if (choice === 6) text += `${type} : ${random.below(width + 1)}; `;
    else if (choice === 7 && type !== 't8') text += `${type} ${name}[${random.below(4)}]${attribute}; `;
    else text += `${type} ${name}${attribute}; `;
  }
  return text;
}

/** `struct name → size/align: offsets` from clang's -fdump-record-layouts. */
function clangLayouts(dump: string): Map<string, string> {
  const result = new Map<string, string>();
  for (const block of dump.split('*** Dumping AST Record Layout').slice(1)) {
    let head: string | null = null;
    const offsets: number[] = [];
    for (const line of block.split('\n')) {
      const match = /^\s*(\d+(?::(?:\d+-\d+|-))?)? \|( +)(.*)$/.exec(line);
      if (match === null) continue;
      const rest = match[3]!;
      const size = /^\[sizeof=(\d+), align=(\d+)/.exec(rest);
      if (size !== null && head !== null) result.set(head, `${size[1]}/${size[2]}: ${offsets.join(' ')}`);
      else if (head === null) head = rest.replace(/^(?:struct|union) /, '');
      else if (match[2]!.length === 3) {
        const [byte, bits] = match[1]!.split(':');
        if (bits === undefined) offsets.push(Number(byte) * 8);
        else if (!rest.endsWith(' ')) offsets.push(Number(byte) * 8 + Number(bits.split('-')[0]));
      }
    }
  }
  return result;
}

function compareLayouts(text: string, tags: readonly string[]): { compared: number; different: string[] } {
  const uses = tags.map((tag, i) => `char use${i}[sizeof(${tag}) + 1];`).join('\n');
  const theirs = clangLayouts(
    clang(`${text}\n${uses}\n`, ['-fsyntax-only', '-w', '-Xclang', '-fdump-record-layouts']).stdout,
  );
  const different: string[] = [];
  let compared = 0;
  for (const record of analyzed(text).unit.records) {
    const want = record.tag === null || !record.complete ? undefined : theirs.get(record.tag);
    if (want === undefined) continue;
    compared++;
    const ours = `${record.size}/${record.align}: ${record.fields.map((field) => field.offset).join(' ')}`;
    if (ours !== want) different.push(`${record.tag}: ${ours}, clang ${want}`);
  }
  return { compared, different };
}

describe.skipIf(noClang)('beside clang', () => {
  it('broken programs are reported at the same places', () => {
    const place = (reports: readonly string[]) =>
      reports.map((report) => report.split(': ').slice(0, 2).join(' '));
    const wrong: string[] = [];
    for (const { text, reports, clang: same } of BROKEN)
      if (same && place(clang(`${text}\n`, ['-fsyntax-only']).reports).join() !== place(reports).join())
        wrong.push(text);
    expect(wrong).toEqual([]);
  });

  it('1000 random constant expressions have the same value and type', () => {
    const random = new Random(11);
    const all = Array.from({ length: 1000 }, () => expression(random, 1 + random.below(5)));
    const line = (text: string, i: number) =>
      `unsigned long v${i} = (unsigned long)(${text}); int t${i} = _Generic((${text}), ${KINDS});`;
    // What clang refuses (a division by zero) is left out.
    const refused = new Set(
      clang(HEAD + all.map(line).join('\n'), ['-fsyntax-only', '-w']).reports.map(
        (report) => Number.parseInt(report, 10) - 2,
      ),
    );
    const text = HEAD + all.map((one, i) => (refused.has(i) ? '' : line(one, i))).join('\n');
    const values = new Map<string, bigint>();
    for (const match of clang(text, ['-S', '-emit-llvm', '-w']).stdout.matchAll(
      /^@(\w+) = .*global i\d+ (-?\d+)/gm,
    ))
      values.set(match[1]!, BigInt.asUintN(64, BigInt(match[2]!)));
    expect(values.size).toBeGreaterThan(1800);
    const { unit, errors } = analyzed(text, { errorLimit: 0 });
    expect(errors).toBe(0);
    const different: string[] = [];
    for (const { name, init } of unit.variables) {
      const value = init === null ? null : evaluate(init.entries[0]!.value);
      if (value === null || BigInt.asUintN(64, value.offset) !== values.get(name)) different.push(name);
    }
    expect(different).toEqual([]);
  });

  it('800 random records have the same layout', () => {
    const random = new Random(5);
    let text = `${HEAD}typedef int t8 __attribute__((aligned(8))); typedef int t2 __attribute__((aligned(2)));\n`;
    const tags: string[] = [];
    for (let i = 0; i < 800; i++) {
      const kind = random.pick(['struct', 'struct', 'union']);
      const pack = random.pick([0, 0, 0, 0, 1, 2, 4]);
      if (pack > 0) text += `#pragma pack(push, ${pack})\n`;
      text += `${kind} s${i} { ${members(random, 0, { n: 0 })} }${random.pick(['', '', '', ' __attribute__((packed))', ' __attribute__((packed, aligned(4)))'])};\n`;
      if (pack > 0) text += '#pragma pack(pop)\n';
      tags.push(`${kind} s${i}`);
    }
    const { compared, different } = compareLayouts(text, tags);
    expect(compared).toBeGreaterThanOrEqual(800);
    expect(different).toEqual([]);
  });

  const btf = '/sys/kernel/btf/vmlinux';
  const absent = !existsSync(btf) || spawnSync('bpftool', ['version']).error !== undefined;
  if (absent) console.log('skipped: no kernel BTF or no bpftool on this machine');
  it.skipIf(absent)("every struct of the running kernel's vmlinux.h has the same layout", () => {
    const text = spawnSync('bpftool', ['btf', 'dump', 'file', btf, 'format', 'c'], {
      encoding: 'utf8',
      maxBuffer: 1 << 28,
    }).stdout;
    const tags = [...text.matchAll(/^((?:struct|union) \w+) \{/gm)].map((match) => match[1]!);
    const { compared, different } = compareLayouts(text, tags);
    expect(compared).toBe(new Set(tags).size);
    expect(different).toEqual([]);
  });
});
