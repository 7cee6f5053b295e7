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
});
