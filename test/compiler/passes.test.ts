/** What the passes make of typical code, seen in the instructions. */
import { describe, expect, it } from 'vitest';
import { listing, run } from './compile-support.ts';

describe('passes', () => {
  it('variables and small structs live in registers', () => {
    const text = `struct pair { u32 a, b; };
      SEC("xdp") int prog(struct xdp_md *ctx) { struct pair p = { ctx->data, 0 }, q = p; q.b = q.a & 0xf; return q.b; }`;
    expect(listing(text)).toEqual(['r0 = *(u32 *)(r1 +0)', 'w0 &= 15', 'exit']);
  });

  it('functions that are called once, and small ones, are inlined', () => {
    const text = `static int twice(int x) { return x * 2; }
      SEC("xdp") int prog(struct xdp_md *ctx) { return twice(twice(3)); }`;
    expect(listing(text)).toEqual(['r0 = 12', 'exit']);
  });

  it('short loops disappear, marked ones whatever their size', () => {
    const loop = (pragma: string) => `SEC("xdp") int prog(struct xdp_md *ctx) {
        u32 sum = 0;
        ${pragma}
        for (int i = 0; i < 100; i++) sum += (ctx->rx_queue_index >> (i & 7)) ^ i;
        return sum;
      }`;
    const jumps = (text: string) => listing(text).filter((line) => line.includes('goto')).length;
    expect(jumps(loop(''))).toBeGreaterThan(0);
    expect(jumps(loop('_Pragma("unroll")'))).toBe(0);
    expect(run(loop('_Pragma("unroll")'))).toBe(run(loop('')));
    expect(run(loop('_Pragma("clang loop unroll_count(7)")'))).toBe(run(loop('')));
  });

  it('truth values that are numbers need no branch, but for numbers that an address is made of', () => {
    const jumps = (text: string) => listing(text).filter((line) => line.includes('goto')).length;
    const prog = (body: string) => `u64 out[4]; u32 table[16];
      SEC("xdp") int prog(struct xdp_md *ctx) {
        u16 a = ctx->rx_queue_index, b = ctx->ingress_ifindex;
        ${body}
        return 2;
      }`;
    expect(jumps(prog('out[0] = a < b; out[1] = a != 0; out[2] = b == 7; out[3] = (s8)a >= (s8)b;'))).toBe(0);
    expect(jumps(prog('out[0] = a != 0 || b > 9;'))).toBe(0);
    expect(jumps(prog('out[0] = a == 3 && b == 4;'))).toBe(0);
    // The bounds of the index have to be seen on each path.
    expect(jumps(prog('u8 good = a < 16; out[0] = good; if (good) out[1] = table[a];'))).toBeGreaterThan(0);
  });

  it('what a branch says of a number stays with its blocks when a chain of tests in front becomes a number', () => {
    const text = `u64 out; u32 first = 0x1a5c0100, second = 0x9a5c0100; u8 left, right = 3;
      SEC("xdp") int prog(struct xdp_md *ctx) {
        u8 a = left, b = right, bits = 0;
        u32 word = first * 3 + second;
        u8 low = word >> 8, high = word >> 24;
        u16 result = (!a || b) / ((low % (high | 1)) | 1);
        for (int i = 0; i < 5; i++) bits |= (low && high) + 1;
        out = result;
        return bits;
      }`;
    expect(run(text)).toBe(2);
  });

  it('a loop keeps the test that ends it where its end is known for other reasons', () => {
    // `i != shifted` ends the loop at 2 at the latest, but that takes bounds of a shift to see.
    const text = `SEC("xdp") int prog(struct xdp_md *ctx) {
        u32 by = ctx->rx_queue_index & 31, last = 0;
        for (u32 i = 0; i < 3; i++) {
          last = i;
          if (i != ((u32)(ctx->ingress_ifindex == 77) >> by)) break;
        }
        return last;
      }`;
    expect(listing(text).filter((line) => /goto -/.test(line))).toEqual([]);
    expect(run(text)).toBe(1);
  });

  it('bytes that branches store are known behind them, as a load extends them', () => {
    const text = (type: string) => `SEC("xdp") int prog(struct xdp_md *ctx) {
        u32 in = ctx->rx_queue_index;
        volatile int unknown = 3;
        struct { ${type} kind; u64 rest; } s[2] = {};
        if (in > unknown) s[0].kind = 200; else s[0].kind = 10;
        if (in > 100) s[1].rest = in;
        if (s[0].kind == 10) return 1;
        return s[0].kind < 0 ? 2 : 3 + s[1].rest;
      }`;
    expect(run(text('u8'))).toBe(1);
    expect(run(text('s8'))).toBe(1);
    expect(run(text('s8').replace('in > unknown', 'in < unknown'))).toBe(2);
    expect(run(text('u8').replace('in > unknown', 'in < unknown'))).toBe(3);
  });

  it('bytes of a constant keep their sign where their place is known late', () => {
    const text = (type: string) => `static const ${type} table[4] = { (${type})134, 1, 2, 3 };
      SEC("xdp") int prog(struct xdp_md *ctx) {
        int in = ctx->rx_queue_index;
        u64 at = 0;
        switch ((u32)in % 5) { case 6: at = (u64)table[(u32)at & 3]; break; }
        return (s16)table[(u32)at & 3] <= (s16)in;
      }`;
    expect(run(text('u8'))).toBe(0);
    expect(run(text('s8'))).toBe(1);
  });

  it('static variables that nothing writes to are constants', () => {
    const names = `static const char *names[] = { "one", "two", "three" };
      SEC("xdp") int prog(struct xdp_md *ctx) { return names[2][1]; }`;
    expect(listing(names)).toEqual(['r0 = 104', 'exit']);
    const zero = `static int debug; SEC("xdp") int prog(struct xdp_md *ctx) { return debug ? 5 : 6; }`;
    expect(listing(zero)).toEqual(['r0 = 6', 'exit']);
    const table = `static u32 table[] = { 5, 6, 7, 8 };
      SEC("xdp") int prog(struct xdp_md *ctx) { return table[ctx->rx_queue_index & 3]; }`;
    expect(run(table)).toBe(5);
  });

  it('but not those that are volatile, written, or whose address is kept', () => {
    const prog = (variable: string, body: string) =>
      `${variable} SEC("xdp") int prog(struct xdp_md *ctx) { ${body} }`;
    const loads = (text: string) => listing(text).filter((line) => / = \*\(u32/.test(line)).length;
    expect(loads(prog('static volatile int x;', 'return x;'))).toBe(1);
    expect(loads(prog('static int x;', 'int was = x; x = 7; return was;'))).toBe(1);
    const kept = `static int x = 3; __attribute__((noinline)) int set(int *p) { if (p) *p = 9; return 0; }
      SEC("xdp") int prog(struct xdp_md *ctx) { set(&x); return x; }`;
    expect(run(kept)).toBe(9);
  });

  it('what was stored is not loaded again', () => {
    const text = `u32 slot; SEC("xdp") int prog(struct xdp_md *ctx) { slot = ctx->data & 7; return slot; }`;
    expect(listing(text).filter((line) => /= \*\(u32/.test(line))).toHaveLength(1);
  });

  it('comparisons that are made twice are made once', () => {
    const text = `SEC("xdp") int prog(struct xdp_md *ctx) {
      int kind = ctx->rx_queue_index > 5 ? 1 : 2;
      if (kind == 1) return 10;
      return 20;
    }`;
    expect(listing(text).filter((line) => line.startsWith('if'))).toHaveLength(1);
  });

  it('masks of bits that nobody wants are dropped', () => {
    const text = `u8 out; SEC("xdp") int prog(struct xdp_md *ctx) { out = (ctx->data & 0xffff) + 1; return 0; }`;
    expect(listing(text).some((line) => line.includes('&='))).toBe(false);
  });

  it('masks that keep an index in bounds stay where the verifier knows nothing of the number', () => {
    const text = `static const u32 table[4] = { 5, 6, 7, 8 };
      SEC("xdp") int prog(struct xdp_md *ctx) { u32 by = ctx->rx_queue_index; return table[(3u >> (by & 31)) & 3]; }`;
    expect(listing(text).some((line) => line.endsWith('&= 3'))).toBe(true);
    expect(run(text)).toBe(8);
  });

  it('what branches and divisions say of numbers decides later ones', () => {
    const text = `u64 out; SEC("xdp") int prog(struct xdp_md *ctx) {
      u32 x = ctx->rx_queue_index;
      if (x >= 16) return 1;
      if (x * 3 > 45) return 2;
      out = (x % 7) / 7;
      return x + 1 > 16 ? 3 : 4;
    }`;
    expect(listing(text).filter((line) => line.startsWith('if'))).toHaveLength(1);
    expect(listing(text).some((line) => line.includes('/='))).toBe(false);
  });

  it('counters of loops count, though it be known that there is no second round', () => {
    // That `most` is 0 or 1 is nothing that the verifier knows; without a counter this loop has no end to it.
    const text = `u32 first = 9, second = 4; u64 sum;
      SEC("xdp") int prog(struct xdp_md *ctx) {
        u32 greater = first > second;
        s64 most = greater % ((ctx->rx_queue_index % 175) | 1);
        for (int i = 0; i < 100; i++) {
          if (most <= i) break;
          sum += i + 1;
        }
        return sum + most;
      }`;
    expect(run(text)).toBe(0);
  });

  it('calls without effect go where nobody reads the result; constants cross calls', () => {
    const text = `static __attribute__((noinline)) u64 mix(u64 a, u64 b) { return a * 31 + b; }
      static __attribute__((noinline)) int scale(int x, int by) { return ((x + 1) * by) ^ (x >> 3); }
      SEC("xdp") int prog(struct xdp_md *ctx) {
        mix(ctx->rx_queue_index, 2);
        return scale(ctx->rx_queue_index, 4) + scale(ctx->ingress_ifindex, 4);
      }`;
    const lines = listing(text);
    expect(lines.filter((line) => line.startsWith('call'))).toHaveLength(2);
    expect(lines.some((line) => /^r2 = /.test(line))).toBe(false);
  });

  it('a function that ends with a call of itself is a loop', () => {
    const text = `static __attribute__((noinline)) u32 gcd(u32 a, u32 b) { return b == 0 ? a : gcd(b, a % b); }
      SEC("xdp") int prog(struct xdp_md *ctx) { return ctx->rx_queue_index > 100 ? gcd(ctx->rx_queue_index, 12) : 6; }`;
    expect(listing(text).some((line) => /^goto|goto pc?-/.test(line) || line.includes('goto -'))).toBe(true);
  });

  it('shifts that are compared with 0 compare the number itself', () => {
    const text = `SEC("xdp") int prog(struct xdp_md *ctx) { return ctx->rx_queue_index >> 16 ? 1 : 2; }`;
    expect(listing(text).some((line) => line.includes('>>='))).toBe(false);
  });

  it('stores that are overwritten behind a branch, or before other words are read, go', () => {
    const text = `u64 out[4]; SEC("xdp") int prog(struct xdp_md *ctx) {
      u32 queue = ctx->rx_queue_index;
      out[1] = 7;
      if (queue > 3) out[1] = out[2]; else out[1] = 3;
      return 0;
    }`;
    expect(listing(text).some((line) => line.endsWith('= 7'))).toBe(false);
  });

  it('loops one behind another and within others keep their values when they are rotated and unrolled together', () => {
    const mask = 0xffff_ffffn;
    const body: string[] = [];
    let expected = 1n;
    for (let k = 0; k < 70; k++) {
      const trips = 2 + (k % 3);
      const unknown = k % 2 === 0;
      // The bound of an inner loop and the next loop's start come out of the loop before.
      body.push(`for (i = 0; i < ${unknown ? `n + ${trips}` : trips}; i++) {
        s = s * 5 + i + ${k};
        for (u32 j = 0; j < ((s ^ i) & 3); j++) s ^= (n + 7) * j + i;
      }
      s += i;`);
      for (let i = 0n; i < BigInt(trips); i++) {
        expected = (expected * 5n + i + BigInt(k)) & mask;
        for (let j = 0n; j < ((expected ^ i) & 3n); j++) expected ^= 7n * j + i;
      }
      expected = (expected + BigInt(trips)) & mask;
    }
    const text = `u32 zero;
      SEC("xdp") int prog(struct xdp_md *ctx) { u32 s = 1, i, n = zero & 1; ${body.join('\n')} return s & 0xffff; }`;
    expect(run(text)).toBe(Number(expected & 0xffffn));
  });
});
