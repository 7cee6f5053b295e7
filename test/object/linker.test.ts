/** Static linking of several objects, run on the embedded kernel. */
import { describe, expect, it } from 'vitest';
import {
  BtfBuilder,
  type BtfType,
  btfInt,
  dedupTypes,
  parseBtf,
  parseBtfExt,
  writeBtfExt,
} from '../../src/btf/index.ts';
import { parseElf } from '../../src/elf/index.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { BpfObject } from '../../src/libbpf/index.ts';
import { linkObjects, parseObject } from '../../src/object/index.ts';
import { BpfError } from '../../src/util/index.ts';
import { compileText, skipReason } from './compile.ts';

const reason = skipReason();
if (reason !== undefined) console.log(`linking of objects skipped: ${reason}`);

const HEAD = `#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char _license[] SEC("license") = "GPL";
`;
const object = (source: string): Uint8Array => compileText(HEAD + source);
const link = (...sources: string[]): Uint8Array => linkObjects(sources.map(object));
const run = (loaded: BpfObject, name: string): number =>
  loaded.findProgram(name).testRun({ dataIn: new Uint8Array(64) }).retval;
const load = (bytes: Uint8Array): BpfObject =>
  BpfObject.open(bytes, { name: 'linked' }).load(new EmbeddedKernel());

const MAP =
  'struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 4); __type(key, __u32); __type(value, __u64); }';

describe.skipIf(reason !== undefined)('linking', () => {
  it('brings along the function that exceptions end in, which nothing calls', () => {
    const source = `extern void bpf_throw(__u64 cookie) __attribute__((noreturn)) __attribute__((section(".ksyms")));
#define __exception_cb(name) __attribute__((btf_decl_tag("exception_callback:" #name)))
__attribute__((noinline)) static int deep(struct __sk_buff *ctx, int n) {
  if (ctx->len > 10) bpf_throw(n + 5);
  return n;
}
__attribute__((noinline)) int handle(__u64 cookie) { return cookie * 2 + 1; }
SEC("tc") __exception_cb(handle) int handled(struct __sk_buff *ctx) { return deep(ctx, 3); }
SEC("tc") int plain(struct __sk_buff *ctx) { return deep(ctx, 4); }`;
    const loaded = load(object(source));
    expect([run(loaded, 'handled'), run(loaded, 'plain')]).toEqual([17, 9]);
    expect(() => load(object(source.replace('int handle(', 'static int handle(')))).toThrow(
      /program 'handled' .* exception callback 'handle' is no global function/,
    );
  });

  it('functions, variables and maps of another object', () => {
    const linked = link(
      `extern int add(int a, int b);
extern int shared;
extern ${MAP} counts SEC(".maps");
static int hidden = 5;
static __attribute__((noinline)) int twice(int a) { return a * 2 + hidden; }
SEC("socket") int first(void *ctx) {
  __u32 key = 1; __u64 *count = bpf_map_lookup_elem(&counts, &key);
  if (count) *count += 1;
  hidden++;
  return add(twice(3), shared);
}`,
      `int shared = 30;
${MAP} counts SEC(".maps");
static int hidden = 100;
static __attribute__((noinline)) int twice(int a) { return a * 200 + hidden; }
__attribute__((noinline)) int add(int a, int b) { return a + b; }
SEC("socket") int second(void *ctx) {
  __u32 key = 1; __u64 *count = bpf_map_lookup_elem(&counts, &key);
  if (count) *count += 10;
  hidden++;
  return twice(1);
}`,
    );
    const loaded = load(linked);
    expect(loaded.btfError).toBeUndefined();
    expect(run(loaded, 'first')).toBe(6 + 6 + 30);
    expect(run(loaded, 'second')).toBe(200 + 101);
    expect(loaded.findMap('counts').get(1)).toBe(11);
    expect(loaded.globals.shared).toBe(30);
    const bytes = loaded.data('.data').bytes;
    const words = [...new Int32Array(bytes.slice().buffer)];
    expect(words.sort((a, b) => a - b)).toEqual([6, 30, 101]);
    // Two variables of one name keep their places.
    const hidden = loaded.data('.data').variables.filter((variable) => variable.name === 'hidden');
    expect(hidden.map((variable) => variable.offset).sort()).toHaveLength(2);
    expect(hidden[0].offset).not.toBe(hidden[1].offset);
    loaded.close();
  });

  it('is associative, and takes one object alone', () => {
    const a = object(`extern int f(void); SEC("socket") int a(void *ctx) { return f() + 1; }`);
    const b = object(`extern int g(void); __attribute__((noinline)) int f(void) { return g() + 10; }`);
    const c = object(`static volatile int n = 7; __attribute__((noinline)) int g(void) { return n + 100; }`);
    for (const linked of [
      linkObjects([a, b, c]),
      linkObjects([linkObjects([a, b]), c]),
      linkObjects([a, linkObjects([c, b])]),
      linkObjects([linkObjects([c]), linkObjects([b, a])]),
    ]) {
      const loaded = load(linked);
      expect(run(loaded, 'a')).toBe(118);
      loaded.close();
    }
  });

  it('strong before weak, the first of the weak, weak declarations', () => {
    const weak = (value: number): string =>
      `__weak __attribute__((noinline)) int pick(void) { volatile int v = ${value}; return v; }`;
    const use = `__weak __attribute__((noinline)) int pick(void); SEC("socket") int use(void *ctx) { return pick(); }`;
    const value = (...sources: string[]): number => {
      const loaded = load(link(use, ...sources));
      try {
        return run(loaded, 'use');
      } finally {
        loaded.close();
      }
    };
    expect(value(weak(1), weak(2))).toBe(1);
    expect(value(weak(1), weak(3).replace('__weak ', ''))).toBe(3);
    expect(value(weak(3).replace('__weak ', ''), weak(1))).toBe(3);
  });

  it('kernel symbols and options that several objects want are wanted once', () => {
    const source = (name: string): string => `extern int LINUX_KERNEL_VERSION __kconfig;
extern void bpf_no_such(void) __ksym __weak;
SEC("socket") int ${name}(void *ctx) { if (bpf_no_such) bpf_no_such(); return LINUX_KERNEL_VERSION >> 16; }`;
    const linked = link(source('one'), source('two'));
    expect(parseObject(linked).kconfig).toHaveLength(1);
    const loaded = load(linked);
    expect(run(loaded, 'one')).toBe(6);
    expect(run(loaded, 'two')).toBe(6);
    loaded.close();
  });

  it('slots of maps and lines of the source follow', () => {
    const source = (name: string, value: number): string => `
struct inner { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, int); } in_${name} SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); __uint(max_entries, 2); __type(key, __u32); __array(values, struct inner); }
  out_${name} SEC(".maps") = { .values = { [1] = &in_${name} } };
SEC("socket") int ${name}(void *ctx) {
  __u32 key = 1, zero = 0; void *in = bpf_map_lookup_elem(&out_${name}, &key);
  int *v = in ? bpf_map_lookup_elem(in, &zero) : 0;
  return v ? *v + ${value} : -1;
}`;
    const linked = link(source('p', 1), source('q', 2));
    const loaded = load(linked);
    loaded.findMap('in_p').set(0, 10);
    loaded.findMap('in_q').set(0, 20);
    expect([run(loaded, 'p'), run(loaded, 'q')]).toEqual([11, 22]);
    const texts = loaded.findProgram('q').spec.lineInfo.map((line) => line.text);
    expect(texts.some((text) => text.includes('*v + 2'))).toBe(true);
    loaded.close();
  });

  it.each([
    ['two strong definitions', 'int x = 1;', 'int x = 2;', /'x' is defined in object 1 and in object 2/],
    [
      'maps of another size',
      `extern ${MAP} m SEC(".maps"); SEC("socket") int f(void *c) { return bpf_map_delete_elem(&m, c); }`,
      `${MAP.replace('4', '5')} m SEC(".maps");`,
      /'m' of object 1 and of object 2: the definitions of the map differ: maxEntries 4 and 5/,
    ],
    [
      'functions with other parameters',
      'extern int f(int); SEC("socket") int g(void *c) { return f(1); }',
      '__attribute__((noinline)) int f(int a, int b) { return a + b; }',
      /'f' .*their types differ/,
    ],
    [
      'a variable and a function',
      'extern int f; SEC("socket") int g(void *c) { return f; }',
      '__attribute__((noinline)) int f(void) { return 1; }',
      /one is a (var|function)/,
    ],
  ])('%s are refused', (_name, a, b, message) => {
    expect(() => link(a, b)).toThrow(message);
  });

  it('another license, another byte order, no object', () => {
    const plain = object('int a;');
    expect(() =>
      linkObjects([plain, compileText('char l[] __attribute__((section("license"), used)) = "MIT";')]),
    ).toThrow(/section 'license' of object 2 differs/);
    expect(() => linkObjects([plain, compileText(HEAD, { target: 'bpfeb' })])).toThrow(/byte order/);
    expect(() => linkObjects([plain, new Uint8Array(10)])).toThrow();
    expect(() => linkObjects([])).toThrow(/nothing to link/);
  });

  it('damaged objects are refused or linked, nothing else', () => {
    const good = object(`static int n; ${MAP} m SEC(".maps");
SEC("socket") int f(void *ctx) { n++; return bpf_map_delete_elem(&m, &n); }`);
    const other = object('SEC("socket") int g(void *ctx) { return 1; } int n = 4;');
    let seed = 1;
    const random = (limit: number): number => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      return seed % limit;
    };
    let refused = 0;
    for (let round = 0; round < 600; round++) {
      const bad = good.slice();
      for (let i = random(4); i >= 0; i--) bad[random(bad.length)] = random(256);
      try {
        const linked = linkObjects(random(2) === 0 ? [bad, other] : [other, bad]);
        parseObject(linked);
      } catch (error) {
        if (!(error instanceof BpfError)) throw error;
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(50);
    expect(refused).toBeLessThan(600);
  });

  it('a weak definition that is not taken needs nothing', () => {
    const weak = (value: string): string => `static int values[4] = { 1, 2, 3, 4 };
__weak __attribute__((noinline)) int pick(int i) { volatile int v = values[i & 3]; return v + ${value}; }
SEC("socket") int use_${value}(void *ctx) { return pick(2) + values[1]; }`;
    const loaded = load(link(weak('100'), weak('200')));
    expect([run(loaded, 'use_100'), run(loaded, 'use_200')]).toEqual([105, 105]);
    loaded.close();
  });

  it('what is written of .BTF.ext reads the same', () => {
    const elf = parseElf(object('SEC("socket") int f(void *ctx) { return 1; }'));
    const btf = parseBtf(elf.section('.BTF')!.data);
    const ext = parseBtfExt(elf.section('.BTF.ext')!.data, btf);
    const offset = (text: string): number => {
      const all = new TextDecoder().decode(btf.stringBytes);
      return all.indexOf(`\0${text}\0`) + 1;
    };
    expect(parseBtfExt(writeBtfExt(ext, offset), btf)).toEqual(ext);
  });
});

describe('types that say the same', () => {
  it('become one, also where they refer to each other', () => {
    const builder = new BtfBuilder();
    const types: BtfType[] = [];
    for (let copy = 0; copy < 3; copy++) {
      const base = types.length;
      types.push(
        {
          kind: 'struct',
          name: 'list',
          size: 16,
          members: [
            { name: 'next', type: base + 2, bitOffset: 0, bitSize: 0 },
            { name: 'value', type: base + 3, bitOffset: 64, bitSize: 0 },
          ],
        },
        { kind: 'ptr', type: base + 1 },
        btfInt(copy === 2 ? 'long' : 'int', 8, { signed: true }),
      );
    }
    const { types: kept, ids } = dedupTypes(types);
    expect(kept).toHaveLength(6);
    expect(ids).toEqual([0, 1, 2, 3, 1, 2, 3, 4, 5, 6]);
    for (const type of kept) builder.add(type);
    expect(builder.build().typeCount).toBe(7);
  });
});
