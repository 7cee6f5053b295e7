/** The compiler as a whole: what programs do, what objects hold, what is said about mistakes that only BPF makes. */
import { describe, expect, it } from 'vitest';
import { parseBtf } from '../../src/btf/index.ts';
import { parseElf } from '../../src/elf/index.ts';
import { build, errorsOf, listing, run } from './compile-support.ts';

describe('programs do what C says', () => {
  it('arithmetic, loops, arrays and structs', () => {
    const text = `struct point { int x, y; };
      static __attribute__((noinline)) int area(struct point *p) { return p->x * p->y; }
      SEC("xdp") int prog(struct xdp_md *ctx) {
        int squares[8]; struct point p = { .x = 3, .y = 4 };
        for (int i = 0; i < 8; i++) squares[i] = i * i;
        int sum = 0;
        for (int i = 7; i >= 0; i--) { if (i == 2) continue; sum += squares[i]; }
        return sum + area(&p);
      }`;
    for (const cpu of [1, 2, 3, 4] as const) expect(run(text, undefined, { cpu })).toBe(140 - 4 + 12);
  });

  it('no end of a function stands where nothing leads to', () => {
    const text = `u32 rounds;
      SEC("xdp") int prog(struct xdp_md *ctx) {
        int sum = 0;
        #pragma unroll(4)
        for (int i = 0; i < (int)(rounds & 7); i++) sum += i * 3;
        return sum;
      }`;
    for (const cpu of [1, 2, 3, 4] as const) expect(run(text, undefined, { cpu })).toBe(0);
  });

  it('overflow arithmetic on operands and results of any width and sign', () => {
    const cases: [
      type: string,
      value: bigint,
      op: string,
      type: string,
      value: bigint,
      out: string,
      overflows: number,
    ][] = [
      ['s64', -(1n << 63n), 'add', 's64', -(1n << 63n), 's32', 1],
      ['u64', 1n << 32n, 'mul', 'u64', 1n << 32n, 'u32', 1],
      ['s32', -1n, 'add', 'u32', 0n, 'u64', 1],
      ['s64', -(1n << 62n), 'mul', 's64', 2n, 's64', 0],
      ['s64', 1n << 62n, 'mul', 's64', 2n, 's64', 1],
      ['u64', 5n, 'sub', 'u64', 8n, 's64', 0],
      ['s32', -3n, 'mul', 'u32', 7n, 's8', 0],
      ['u64', (1n << 64n) - 1n, 'sub', 's64', -1n, 'u64', 1],
    ];
    const checks = cases.map(([left, a, op, right, b, out, overflows], i) => {
      const exact = op === 'add' ? a + b : op === 'sub' ? a - b : a * b;
      const number = (value: bigint): string => `${BigInt.asUintN(64, value)}ULL`;
      return `{ volatile ${left} a = (${left})${number(a)}; volatile ${right} b = (${right})${number(b)}; ${out} r;
        if (__builtin_${op}_overflow(a, b, &r) != ${overflows} || r != (${out})${number(exact)}) return ${i + 1}; }`;
    });
    const text = `SEC("xdp") int prog(struct xdp_md *ctx) { ${checks.join('\n')} return 99; }`;
    for (const cpu of [1, 3, 4] as const) expect(run(text, undefined, { cpu })).toBe(99);
  });

  it('builtins that align, classify and tell where they stand', () => {
    const text = `struct s { int a; };
      SEC("xdp") int prog(struct xdp_md *ctx) {
        volatile u32 t = 100; char b[8]; struct s s;
        if (__builtin_align_up(t, 64) != 128 || __builtin_align_down(t, 64) != 64) return 1;
        if (__builtin_is_aligned(t, 8) || !__builtin_is_aligned(t, 4)) return 2;
        if (__builtin_unpredictable(t == 0) || __builtin_assume_aligned(b, 8) != b) return 3;
        if (__builtin_classify_type(t) != 1 || __builtin_classify_type(s) != 12 || __builtin_classify_type(b) != 5) return 4;
        if (__builtin_LINE() - __LINE__ || __builtin_FUNCTION()[0] != 'p' || __builtin_FILE()[0] != 't') return 5;
        return 99;
      }`;
    expect(run(text)).toBe(99);
  });

  it('packets behind their checks', () => {
    const text = `SEC("xdp") int prog(struct xdp_md *ctx) {
      u8 *data = (u8 *)(long)ctx->data, *end = (u8 *)(long)ctx->data_end;
      u32 len;
      if (data + 14 > end) return 1;
      len = data[0];
      if (len > 10) return 2;
      if (data + len + 1 > end) return 3;
      return data[len] + 100;
    }`;
    const packet = Uint8Array.from({ length: 64 }, (_, i) => (i === 0 ? 7 : i));
    expect(run(text, packet)).toBe(107);
    expect(
      run(
        text,
        Uint8Array.from({ length: 64 }, () => 200),
      ),
    ).toBe(2);
  });

  it('maps, and counters in them', () => {
    const text = `struct { __uint(type, 2); __uint(max_entries, 1); __type(key, u32); __type(value, u64); } counts SEC(".maps");
      SEC("xdp") int prog(struct xdp_md *ctx) {
        u32 key = 0; u64 *value = bpf_map_lookup_elem(&counts, &key);
        if (!value) return -1;
        *value += 40;
        __sync_fetch_and_add(value, 2);
        return *value;
      }`;
    expect(run(text)).toBe(42);
  });

  it('bit-fields, unions, switches with ranges, goto', () => {
    const text = `struct flags { u32 a : 3, b : 7; int c : 5; union { u32 word; u8 bytes[4]; }; };
      SEC("xdp") int prog(struct xdp_md *ctx) {
        struct flags f = { .a = 9, .b = 100, .c = 17, .word = 0x01020304 };
        int sum = f.a + f.b + f.c + f.bytes[3];
        again:
        switch (sum) { case 80 ... 90: sum += 1000; goto again; case 1087: return 5; default: return sum; }
      }`;
    // 1 + 100 - 15 + 1 = 87.
    expect(run(text)).toBe(5);
  });

  it('constants of the loader stay where they are', () => {
    const text = `const volatile u32 limit = 7; static u64 hits; u32 start = 5;
      SEC("xdp") int prog(struct xdp_md *ctx) { hits += limit; return hits + start; }`;
    expect(run(text)).toBe(12);
  });

  it('bit-fields that are cast to their own type', () => {
    const text = `struct { u64 low : 32, high : 32; } fields;
      SEC("xdp") int prog(struct xdp_md *ctx) {
        fields.low--;
        return ((u64)fields.low + 755) >> 32;
      }`;
    expect(run(text)).toBe(1);
  });

  it('signed values in memory taken for unsigned wider ones', () => {
    const text = `static unsigned int (*bpf_get_prandom_u32)(void) = (void *)7;
      const volatile signed char table[4] = {-83, -83, -83, -83};
      SEC("xdp") int prog(struct xdp_md *ctx) {
        unsigned int word = (unsigned int)table[bpf_get_prandom_u32() & 3];
        return ((unsigned long long)word + 948) >> 32;
      }`;
    for (const cpu of [1, 2, 3, 4] as const) expect(run(text, undefined, { cpu })).toBe(1);
  });

  it('inline assembly with operands', () => {
    const text = `SEC("xdp") int prog(struct xdp_md *ctx) {
      u64 a = 40, out;
      asm volatile("%[out] = %[a]; %[out] += %[n]" : [out] "=&r"(out) : [a] "r"(a), [n] "i"(2));
      asm volatile("" : "+r"(out));
      return out;
    }`;
    expect(run(text)).toBe(42);
  });

  it('jumps out of inline assembly', () => {
    const text = `SEC("xdp") int prog(struct xdp_md *ctx) {
      u64 n = ctx->data_end - ctx->data;
      asm goto("if %[n] == 64 goto %l[yes]" : : [n] "r"(n) : : yes);
      return 1;
    yes:
      return 2;
    }`;
    expect(run(text, new Uint8Array(64))).toBe(2);
    expect(run(text, new Uint8Array(70))).toBe(1);
  });

  it('a cast to short leaves the register of inline assembly whole', () => {
    const text = `SEC("xdp") int prog(struct xdp_md *ctx) {
      volatile s64 n = -5;
      asm goto("if %[n] s< 0 goto %l[yes]" : : [n] "r"((short)n) : : yes);
      return 1;
    yes:
      return 2;
    }`;
    expect(run(text)).toBe(2);
  });

  it('a jump from one piece of inline assembly into the next', () => {
    const text = `SEC("xdp") void prog(struct xdp_md *ctx) {
      asm volatile("r0 = 7");
      asm volatile("if r0 > 3 goto +1");
      asm volatile("r0 = 1");
      asm volatile("r1 = 0");
    }`;
    expect(run(text)).toBe(7);
  });
});

describe('code keeps the shape that the verifier follows', () => {
  it('context fields are read by one load with a constant offset', () => {
    const text = `SEC("xdp") int prog(struct xdp_md *ctx) { return ctx->rx_queue_index & 0xff; }`;
    expect(listing(text)).toEqual(['r0 = *(u32 *)(r1 +16)', 'w0 &= 255', 'exit']);
  });

  it('a volatile object is read each time', () => {
    const text = `volatile u32 flag; SEC("xdp") int prog(struct xdp_md *ctx) { return flag + flag; }`;
    expect(listing(text).filter((line) => line.includes('*(u32 *)'))).toHaveLength(2);
  });

  it('32-bit instructions only where there are some', () => {
    const text = `SEC("xdp") int prog(struct xdp_md *ctx) { return ctx->data * 3 > 100 ? 1 : 2; }`;
    expect(listing(text, { cpu: 2 }).some((line) => /\bw\d/.test(line))).toBe(false);
    expect(listing(text, { cpu: 3 }).some((line) => /\bw\d/.test(line))).toBe(true);
  });
});

describe('objects', () => {
  const text = `struct inner { int a; }; struct outer { struct inner *far; int b[3]; };
    enum mode { OFF, ON = 5 };
    struct { __uint(type, 1); __uint(max_entries, 4); __type(key, u32); __type(value, struct outer); } table SEC(".maps");
    enum mode mode = ON; static u64 zero; const char name[] = "abc";
    extern int CONFIG_HZ __attribute__((section(".kconfig"), weak));
    static __attribute__((noinline)) long helper(struct outer *o, int n) { return o->b[1] * n; }
    SEC("xdp") int prog(struct xdp_md *ctx) {
      u32 key = 0; struct outer *o = bpf_map_lookup_elem(&table, &key);
      zero += CONFIG_HZ + mode + name[ctx->data & 1];
      return o ? helper(o, 4) : 0;
    }`;
  const { object, spec } = build(text);

  it('have the sections and symbols that loaders look for', () => {
    const elf = parseElf(object);
    const names = elf.sections.map((section) => section.name);
    for (const name of ['.text', 'xdp', '.maps', '.data', '.bss', '.rodata', 'license', '.BTF', '.BTF.ext'])
      expect(names).toContain(name);
    expect(elf.symbols.find((symbol) => symbol.name === 'prog')).toMatchObject({ bind: 1, type: 2 });
    expect(elf.symbols.find((symbol) => symbol.name === 'helper')).toMatchObject({ bind: 0, type: 2 });
    expect(elf.symbols.find((symbol) => symbol.name === 'CONFIG_HZ')).toMatchObject({ section: 0, bind: 2 });
    // A helper's pointer is a number: no data.
    expect(elf.symbols.some((symbol) => symbol.name === 'bpf_map_lookup_elem')).toBe(false);
  });

  it('tell the types that are used, and forward declarations of those behind pointers', () => {
    const btf = parseBtf(parseElf(object).section('.BTF')!.data);
    const types = [...btf.types()].map(([, type]) => type);
    const named = (kind: string, name: string) =>
      types.find((type) => type.kind === kind && 'name' in type && type.name === name);
    expect(named('fwd', 'inner')).toBeDefined();
    expect(named('struct', 'outer')).toMatchObject({ size: 24 });
    expect(named('func', 'helper')).toMatchObject({ linkage: 'static' });
    expect(named('func', 'prog')).toMatchObject({ linkage: 'global' });
    expect(named('var', 'CONFIG_HZ')).toMatchObject({ linkage: 'extern' });
    expect(named('datasec', '.maps')).toBeDefined();
    expect(named('struct', 'xdp_md')).toBeDefined();
    const proto = btf.type((named('func', 'helper') as { type: number }).type);
    expect(proto).toMatchObject({ params: [{ name: 'o' }, { name: 'n' }] });
  });

  it('name the line of each instruction', () => {
    const [program] = spec.programs;
    expect(program!.insns.length).toBeGreaterThan(10);
    expect(parseElf(object).section('.BTF.ext')!.data.length).toBeGreaterThan(100);
  });
});

describe('CO-RE', () => {
  it('accesses of marked structs are relocations in the load itself', () => {
    const { spec } =
      build(`struct task { int a; struct { int b; int c[4]; } in; } __attribute__((preserve_access_index));
      SEC("xdp") int prog(struct task *t) { return t->in.c[2]; }`);
    const [program] = spec.programs;
    expect(program!.coreRelocations.map(({ insn, access, kind }) => ({ insn, access, kind }))).toEqual([
      { insn: 0, access: '0:1:1:2', kind: 'byte_off' },
    ]);
    expect(program!.insns[0]).toMatchObject({ off: 16 });
  });

  it('questions about fields, types and enumerators', () => {
    const { spec } =
      build(`struct task { int a; int flag : 3; } __attribute__((preserve_access_index)); enum e { A, B = 7 };
      SEC("xdp") int prog(struct task *t) {
        return __builtin_preserve_field_info(t->a, 2) + __builtin_preserve_type_info(*(struct task *)0, 1)
          + __builtin_preserve_enum_value(*(enum e *)B, 1);
      }`);
    expect(spec.programs[0]!.coreRelocations.map(({ kind, access }) => `${kind} ${access}`).sort()).toEqual([
      'enumval_value 1',
      'field_exists 0:0',
      'type_size 0',
    ]);
  });
});

describe('mistakes that only BPF knows', () => {
  it('a frame of more than 512 bytes', () => {
    expect(
      errorsOf(`long fill(void *p);
        SEC("xdp") int prog(struct xdp_md *ctx) { char buffer[600]; fill(buffer); return buffer[5]; }`),
    ).toEqual([expect.stringContaining('stack frame size (600) exceeds limit (512)')]);
  });

  it('calls with more than five arguments', () => {
    expect(
      errorsOf(`long six(int a, int b, int c, int d, int e, int f);
        SEC("xdp") int prog(struct xdp_md *ctx) { return six(1, 2, 3, 4, 5, 6); }`),
    ).toEqual(['2: too many arguments in the call: 6, and BPF has registers for 5']);
  });

  it('signed division before v4', () => {
    const text = `SEC("xdp") int prog(struct xdp_md *ctx) { return (int)ctx->data / (int)ctx->data_end; }`;
    expect(errorsOf(text)).toEqual(['1: unsupported signed division, please convert to unsigned div/mod.']);
    expect(errorsOf(text, { cpu: 4 })).toEqual([]);
  });

  it('copies whose size is not known', () => {
    expect(
      errorsOf(
        `SEC("xdp") int prog(struct xdp_md *ctx) { char a[64]; __builtin_memset(a, 0, ctx->data); return a[1]; }`,
      ),
    ).toEqual([expect.stringContaining("'memset' is not supported")]);
  });

  it('nonsense in inline assembly', () => {
    expect(
      errorsOf(`SEC("xdp") int prog(struct xdp_md *ctx) { asm volatile("nonsense r1"); return 0; }`),
    ).toEqual([expect.stringContaining('1: inline assembly')]);
  });
});
