/** Formats with what Linux 6.18 printed for them (bpf_snprintf; test/host/helpers.test.ts compares many more). */
import { describe, expect, it } from 'vitest';
import { HelperBench, kernelPointer } from './env.ts';

type Arg = bigint | string;

/** The text and the result of bpf_snprintf. */
function snprintf(fmt: string, args: readonly Arg[], size = 300): { text: string; ret: number } {
  const bench = new HelperBench();
  const words = BigUint64Array.from(args, (arg) =>
    typeof arg === 'string' ? kernelPointer(bench.put(arg)) : BigInt.asUintN(64, arg),
  );
  const out = bench.put(new Uint8Array(512));
  const data = bench.put(new Uint8Array(words.buffer));
  const ret = Number(bench.call('bpf_snprintf', [out, size, bench.put(fmt), data, 8 * args.length]));
  return { text: bench.memory.readCString(out), ret };
}

const PRINTED: readonly (readonly [fmt: string, args: readonly Arg[], text: string])[] = [
  ['%d', [5n], '5'],
  ['%%|%d', [1n], '%|1'],
  ['%+d|% d|%05d|%-5d|%-05d|%+05d', [1n, 2n, 3n, 4n, 5n, 6n], '+1| 2|00003|4    |5    |+0006'],
  [
    '%lld %ld %llu %lx %llX %i',
    [-1n, -1n, -1n, -1n, -1n, -1n],
    '-1 -1 18446744073709551615 ffffffffffffffff FFFFFFFFFFFFFFFF -1',
  ],
  ['%u %x %X', [-1n, -1n, -1n], '4294967295 ffffffff FFFFFFFF'],
  ['%10s|%-10s|', ['abc', 'abc'], '       abc|abc       |'],
  ['%c|%5c|%-5c|', [65n, 66n, 67n], 'A|    B|C    |'],
  ['%px|%20px|%-20px|', [4096n, 4096n, 4096n], '0000000000001000|                1000|1000                |'],
  ['%p|%p|', [0n, -22n], '0000000000000000|ffffffffffffffea|'],
  ['%20p|', [0n], '                   0|'],
  ['%ps %pS %pB|', [4096n, 4096n, 4096n], '0x1000 0x1000 0x1000|'],
  ['%pks|', ['abc'], 'abc|'],
  ['%pus|', ['abc'], '|'],
  ['%s|', [0n], '|'],
  ['%pI4abc|%pi4|', ['\x01\x02\x03\x04', '\x01\x02\x03\x04'], '1.2.3.4|001.002.003.004|'],
  ['%pI6c|', ['abcdefghijklmnop'], '6162:6364:6566:6768:696a:6b6c:6d6e:6f70|'],
  ['%pi6|', ['abcdefghijklmnop'], '6162636465666768696a6b6c6d6e6f70|'],
  ['%pI4|', [0n], '0.0.0.0|'],
  ['%pxx|%d', [1n, 5n], '0000000000000001|5'],
  ['a\tb\n', [], 'a\tb\n'],
  ['%d', [1n, 2n], '1'],
];

const REFUSED: readonly (readonly [fmt: string, args: readonly Arg[]])[] = [
  ['%', []],
  ['%d%', [1n]],
  ['%p%', [1n]],
  ['%d %d', [1n]],
  ['%hd', [1n]],
  ['%#x', [1n]],
  ['%.3d', [1n]],
  ['%*d', [1n, 2n]],
  ['%sx', ['x']],
  ['%lc', [1n]],
  ['%ls', ['x']],
  ['%llll', [5n]],
  ['%lp', [5n]],
  ['%5%', [1n]],
  ['%pe|', [-22n]],
  ['%pd', [0n]],
  ['\x01', []],
];

describe('bpf_snprintf', () => {
  it.each(PRINTED)('%j', (fmt, args, text) => {
    expect(snprintf(fmt, args)).toEqual({ text, ret: text.length + 1 });
  });
  it.each(REFUSED)('refuses %j', (fmt, args) => {
    expect(snprintf(fmt, args).ret).toBe(-22);
  });

  it('cuts what does not fit and gives the whole length', () => {
    expect(snprintf('%d-%d', [12345n, 6n], 4)).toEqual({ text: '123', ret: 8 });
    expect(snprintf('%d', [12345n], 1)).toEqual({ text: '', ret: 6 });
    expect(snprintf('%99999999999d|', [5n], 8)).toEqual({ text: '       ', ret: 8_388_609 });
  });

  it('has 512 bytes for arguments', () => {
    expect(snprintf('%s%d', ['a'.repeat(509), 3n]).ret).toBe(-28);
    expect(snprintf('%s%s', ['a'.repeat(509), 'bc']).ret).toBe(511);
    expect(snprintf('%s%c', ['a'.repeat(511), 65n]).ret).toBe(-28);
  });

  it('takes whole arguments, twelve at most', () => {
    const bench = new HelperBench();
    const [out, fmt, data] = [bench.put(new Uint8Array(8)), bench.put('x'), bench.put(new Uint8Array(104))];
    for (const size of [4, 12, 104]) {
      expect(bench.call('bpf_snprintf', [out, 8, fmt, data, size])).toBe(-22n);
    }
    expect(bench.call('bpf_snprintf', [out, 8, fmt, data, 96])).toBe(2n);
  });

  it('tells pointers apart without showing them', () => {
    const [a, again, b] = [0x1234n, 0x1234n, 0x1235n].map((value) => snprintf('%p', [value]).text);
    expect(a).toBe(again);
    expect(a).not.toBe(b);
    expect(a).toMatch(/^00000000[0-9a-f]{8}$/);
  });
});

describe('checksums', () => {
  it('bpf_csum_diff adds, subtracts, and folds', () => {
    const bench = new HelperBench();
    const bytes = bench.put(Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7));
    // RFC 1071 section 3: the sum of these words is 0xddf2 in network order.
    expect(bench.call('bpf_csum_diff', [0, 0, bytes, 8, 0])).toBe(0xf2ddn);
    expect(bench.call('bpf_csum_diff', [bytes, 8, bytes, 8, 0])).toBe(0xffffn);
    expect(bench.call('bpf_csum_diff', [0, 0, 0, 0, 0x7fff_ffff])).toBe(0x7fffn);
    expect(bench.call('bpf_csum_diff', [bytes, 6, 0, 0, 0])).toBe(-22n);
  });

  it('bpf_csum_diff has the zero that Linux has, before and after it is inverted', () => {
    const bench = new HelperBench();
    const ones = bench.put(new Uint8Array(16).fill(255));
    expect(bench.call('bpf_csum_diff', [ones, 4, 0, 0, 0])).toBe(0n);
    expect(bench.call('bpf_csum_diff', [ones, 8, 0, 0, 0])).toBe(0n);
    expect(bench.call('bpf_csum_diff', [0, 0, ones, 4, 0])).toBe(0xffffn);
  });

  it('bpf_csum_diff of random bytes, at any place', () => {
    const bench = new HelperBench();
    // Sums of 64-bit words that carry round, halves together, then 16 bits.
    const around = (sum: bigint, bits: bigint) => {
      let rest = sum;
      while (rest >> bits !== 0n) rest = (rest & ((1n << bits) - 1n)) + (rest >> bits);
      return rest;
    };
    const invert = (sum: bigint) => BigInt.asUintN(32, ~sum);
    const partial = (bytes: Uint8Array, seed: bigint) => {
      const padded = new Uint8Array((bytes.length + 7) & ~7);
      padded.set(bytes);
      const words = [...new BigUint64Array(padded.buffer)];
      return around(
        around(
          words.reduce((sum, word) => around(sum + word, 64n), seed),
          64n,
        ),
        32n,
      );
    };
    let state = 12345;
    const next = (below: number) => {
      state = (Math.imul(state, 1103515245) + 12345) | 0;
      return (state >>> 8) % below;
    };
    for (let i = 0; i < 300; i++) {
      const [from, to] = [0, 1].map(() => {
        const ones = next(3) === 0;
        return Uint8Array.from({ length: 4 * next(18) }, () => (ones ? 255 : next(256)));
      }) as [Uint8Array, Uint8Array];
      const seed = next(4) === 0 ? 0xffff_ffff : (next(0x1_0000) * 0x1_0000 + next(0x1_0000)) >>> 0;
      let sum = BigInt(seed);
      if (to.length > 0) {
        sum = partial(to, sum);
        if (from.length > 0) sum = around(sum + invert(partial(from, 0n)), 32n);
      } else if (from.length > 0) sum = invert(partial(from, invert(sum)));
      const place = bench.put(new Uint8Array(256)) + next(8);
      bench.memory.u8.set(from, place);
      bench.memory.u8.set(to, place + 100);
      const got = bench.call('bpf_csum_diff', [place, from.length, place + 100, to.length, seed]);
      expect(got, `${from} to ${to}, seed ${seed}`).toBe(around(sum, 16n));
    }
  });

  it('bpf_l3_csum_replace keeps a header right', () => {
    const bench = new HelperBench();
    const header = Uint8Array.of(
      0x45,
      0,
      0,
      60,
      0x1c,
      0x46,
      0x40,
      0,
      64,
      6,
      0xb1,
      0xe6,
      172,
      16,
      10,
      99,
      172,
      16,
      10,
      12,
    );
    bench.packet = { start: bench.put(header), length: header.length };
    const { view } = bench.memory;
    const ttl = bench.packet.start + 8;
    const before = view.getUint16(ttl, true);
    bench.memory.u8[ttl]--;
    const after = view.getUint16(ttl, true);
    expect(bench.call('bpf_l3_csum_replace', [0, 10, before, after, 2])).toBe(0n);
    // A header with its checksum sums to all ones.
    const sum = bench.call('bpf_csum_diff', [0, 0, bench.packet.start, 20, 0]);
    expect(sum).toBe(0xffffn);
    expect(bench.call('bpf_l3_csum_replace', [0, 11, 0, 0, 2])).toBe(-14n);
    expect(bench.call('bpf_l3_csum_replace', [0, 10, 0, 0, 3])).toBe(-22n);
    expect(bench.call('bpf_l3_csum_replace', [0, 10, 0, 0, 0x12])).toBe(-22n);
  });
});

describe('numbers', () => {
  it.each([
    ['-42xyz', 10, -42n, 3n],
    ['0x1f', 0, 31n, 4n],
    ['077', 0, 63n, 3n],
    [' \t12', 0, 12n, 4n],
    ['9223372036854775808', 10, 0n, -34n],
    ['-9223372036854775808', 10, -9223372036854775808n, 20n],
    ['', 10, 0n, -22n],
    ['-', 10, 0n, -22n],
    ['zz', 16, 0n, -22n],
    ['5', 7, 0n, -22n],
  ])('bpf_strtol(%j, base %i)', (text, base, value, ret) => {
    const bench = new HelperBench();
    const result = bench.put(new Uint8Array(8).fill(0x55));
    expect(bench.call('bpf_strtol', [bench.put(text), text.length, base, result])).toBe(ret);
    if (text.length > 0) expect(BigInt.asIntN(64, bench.memory.readU64(result))).toBe(value);
  });
});
