/** Formats, numbers and checksums: the same calls made on the kernel by a program of one helper call. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { helperByName } from '../../src/spec/index.ts';
import { fromHex, toHex, utf8 } from '../../src/util/index.ts';
import { HelperBench, kernelPointer } from '../helpers/env.ts';
import { whyNoProbe } from './probe.ts';
import { type HostArg, HostBpf, type HostCommand } from './server.ts';

const why = whyNoProbe();
if (why !== null) console.log(`skipped: helpers against the kernel: ${why}`);

function randomizer(seed: number): (limit: number) => number {
  let state = seed >>> 0 || 1;
  return (limit) => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b_3c6d) + 0x9e37_79b9) >>> 0;
    return ((state ^ (state >>> 13)) >>> 0) % limit;
  };
}

type Random = (limit: number) => number;
const pick = <T>(random: Random, list: readonly T[]): T => list[random(list.length)];

const NUMBERS = [
  0n,
  1n,
  9n,
  255n,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  0x1_0000_0000n,
  0x7fff_ffff_ffff_ffffn,
  0x8000_0000_0000_0000n,
  0xffff_ffff_ffff_ffffn,
  0x0123_4567_89ab_cdefn,
];
type FormatArg = { readonly value: bigint } | { readonly text: string };

/** One random conversion with an argument that fits it; hashed pointers are each kernel's own, so %p gets NULL or errors. */
function conversion(random: Random): { fmt: string; arg: FormatArg } {
  const number = (): FormatArg => ({ value: pick(random, NUMBERS) });
  const text = (): FormatArg => ({
    text: pick(random, ['', 'a', 'abc', 'a longer text', 'x'.repeat(random(200))]),
  });
  const flags = Array.from({ length: random(3) }, () => pick(random, ['0', '-', '+', ' '])).join('');
  const width = random(2) === 0 ? '' : String(random(30));
  const kind = random(10);
  if (kind < 6)
    return {
      fmt: `%${flags}${width}${pick(random, ['', 'l', 'll'])}${pick(random, ['d', 'i', 'u', 'x', 'X'])}`,
      arg: number(),
    };
  if (kind === 6) return { fmt: `%${flags}${width}s`, arg: text() };
  if (kind === 7) return { fmt: `%${flags}${width}c`, arg: { value: BigInt(random(255) + 1) } };
  if (kind === 8) {
    const pointer = pick(random, ['px', 'ps', 'pS', 'pB', 'p', 'pK']);
    const hidden = pointer === 'p' || pointer === 'pK';
    return {
      fmt: `%${flags}${width}${pointer}`,
      arg: {
        value: hidden
          ? pick(random, [0n, 0xffff_ffff_ffff_ffean])
          : pick(random, [0n, 1n, 4096n, 0xffff_ffffn]),
      },
    };
  }
  const size = pick(random, ['4', '6']);
  const bytes = Array.from({ length: 16 }, () => String.fromCharCode(1 + random(127))).join('');
  return { fmt: `%${pick(random, ['pi', 'pI'])}${size}`, arg: { text: bytes } };
}

function format(random: Random): { fmt: string; args: FormatArg[] } {
  const args: FormatArg[] = [];
  let fmt = '';
  const n = random(5);
  for (let i = 0; i < n; i++) {
    fmt += pick(random, ['', ' ', 'x=', '%%', ', ', '\n', '|']);
    const part = conversion(random);
    fmt += part.fmt;
    args.push(part.arg);
    fmt += pick(random, [' ', ',', '|', '', '.']);
  }
  // Broken ones: a character changed.
  if (random(4) === 0 && fmt.length > 0) {
    const at = random(fmt.length);
    fmt =
      fmt.slice(0, at) +
      pick(random, ['%', 'l', '5', 'h', '#', '.', '*', 's', '\x01', 'é', 'p', 'K']) +
      fmt.slice(at + 1);
    // A text where a number is asked prints an address; keep to numbers then.
    return { fmt, args: args.map(() => ({ value: 0n })) };
  }
  return { fmt, args };
}

describe.skipIf(why !== null)('helpers behave as the kernel does', () => {
  let host: HostBpf;
  beforeAll(async () => {
    host = await HostBpf.open();
  });
  afterAll(() => host?.close());

  it('bpf_snprintf: formats and values', async () => {
    const random = randomizer(20_251);
    const COUNT = Number(process.env.TSBPF_FORMATS ?? 500);
    const cases = Array.from({ length: COUNT }, () => {
      const made = format(random);
      // Linux loses its place among the arguments where %pI4, %pB & co. fall behind the end of the output; we do not.
      return { ...made, size: /p[iIB]/.test(made.fmt) ? 500 : pick(random, [1, 8, 40, 300, 500]) };
    });
    const answers = await host.run(
      cases.map(
        ({ fmt, args, size }): HostCommand => ({
          op: 'snprintf',
          fmt: toHex(utf8(fmt)),
          args: args.map((arg) => ('text' in arg ? { str: toHex(utf8(arg.text)) } : String(arg.value))),
          size,
        }),
      ),
    );
    const bench = new HelperBench();
    let printed = 0;
    for (const [i, { fmt, args, size }] of cases.entries()) {
      const out = bench.put(new Uint8Array(512).fill(0xaa));
      const data = bench.put(
        new Uint8Array(
          BigUint64Array.from(args, (arg) => ('text' in arg ? kernelPointer(bench.put(arg.text)) : arg.value))
            .buffer,
        ),
      );
      const ret = Number(bench.call('bpf_snprintf', [out, size, bench.put(fmt), data, 8 * args.length]));
      const theirs = answers[i];
      const what = JSON.stringify({
        fmt,
        args: args.map((a) => ('text' in a ? a.text : a.value.toString(16))),
      });
      if (theirs.load !== undefined) {
        // The verifier has run the same check.
        expect({ what, ret }).toEqual({ what, ret: theirs.load });
        continue;
      }
      expect({ what, ret }).toEqual({ what, ret: theirs.ret });
      if (ret < 0) continue;
      printed++;
      expect({ what, out: toHex(bench.memory.read(out, size)) }).toEqual({ what, out: theirs.out });
    }
    expect(printed).toBeGreaterThan(COUNT / 2);
  });

  /** Calls a helper on both kernels; `args` hold bytes for buffers, and for the packet context `ctx`. */
  async function both(
    name: string,
    type: number,
    calls: readonly {
      args: readonly (number | Uint8Array | { text: string } | 'ctx')[];
      packet?: Uint8Array;
    }[],
  ): Promise<void> {
    const row = helperByName(name)!;
    const answers = await host.run(
      calls.map(
        ({ args, packet }): HostCommand => ({
          op: 'helper',
          type,
          id: row.id,
          args: args.map((arg): HostArg => {
            if (arg === 'ctx') return { ctx: true };
            if (typeof arg === 'number') return arg;
            return arg instanceof Uint8Array ? { buf: toHex(arg) } : { const: toHex(utf8(arg.text)) };
          }),
          data: toHex(packet ?? new Uint8Array(64)),
        }),
      ),
    );
    for (const [i, { args, packet }] of calls.entries()) {
      const bench = new HelperBench();
      const bytes = packet ?? new Uint8Array(64);
      bench.packet = { start: bench.put(bytes), length: bytes.length };
      const places = args.map((arg) => {
        if (arg === 'ctx') return bench.context();
        if (typeof arg === 'number') return arg;
        return bench.put(arg instanceof Uint8Array ? arg : arg.text);
      });
      const ret = Number(bench.call(name, places));
      const bufs = args.flatMap((arg, at) =>
        arg instanceof Uint8Array ? [toHex(bench.memory.read(places[at], arg.length))] : [],
      );
      const theirs = answers[i];
      const what = `${name}(${args.map((a) => (a instanceof Uint8Array ? toHex(a) : JSON.stringify(a))).join(', ')})`;
      if (theirs.load !== undefined) throw new Error(`${what} does not load: ${theirs.log}`);
      const out = toHex(bench.memory.read(bench.packet.start, bytes.length));
      expect({ what, ret, bufs, out }).toEqual({ what, ret: theirs.ret, bufs: theirs.bufs, out: theirs.out });
    }
  }

  const SOCKET_FILTER = 1;
  const SCHED_CLS = 3;
  const XDP = 6;

  for (const name of ['bpf_strtol', 'bpf_strtoul']) {
    it(name, async () => {
      const random = randomizer(7);
      const words = [
        '0',
        '1',
        '-1',
        ' 12',
        '\t-99x',
        '0x1f',
        '0x',
        '0xg',
        '-0x10',
        '077',
        '08',
        '+5',
        '',
        '-',
        '  ',
        'abc',
        'ff',
        '9223372036854775807',
        '9223372036854775808',
        '-9223372036854775808',
        '-9223372036854775809',
        '18446744073709551615',
        '18446744073709551616',
        '0777777777777777777777777',
        '1_000',
        '12 34',
        '-0',
        '0X1F',
        `${'0'.repeat(70)}5`,
        '0xfffffffffffffffff',
      ];
      const calls = words.flatMap((word) =>
        [0, 8, 10, 16].map((base) => ({
          args: [
            utf8(`${word}${pick(random, ['', '\0', 'z', ' '])}` || '\0'),
            0,
            base,
            Uint8Array.from({ length: 8 }, () => 0x55),
          ],
        })),
      );
      for (const call of calls) call.args[1] = (call.args[0] as Uint8Array).length;
      calls.push({ args: [utf8('5'), 1, 7, new Uint8Array(8)] });
      calls.push({ args: [utf8('5'), 1, 0x20, new Uint8Array(8)] });
      calls.push({ args: [utf8('5'), 1, 2 ** 32 + 10, new Uint8Array(8)] });
      await both(name, SOCKET_FILTER, calls);
    });
  }

  it('bpf_strncmp', async () => {
    const texts = ['', 'a', 'b', 'abc', 'abd', 'abcd', '\x7f', 'é'];
    const calls = texts.flatMap((a) =>
      texts.map((b) => ({ args: [utf8(`${a}\0`), utf8(a).length + 1, { text: b }] })),
    );
    calls.push({ args: [utf8('abc'), 3, { text: 'abcdef' }] });
    await both('bpf_strncmp', SOCKET_FILTER, calls);
  });

  it('bpf_csum_diff', async () => {
    const random = randomizer(99);
    const bytes = (n: number) => Uint8Array.from({ length: n }, () => pick(random, [0, 255, random(256)]));
    const sizes = [0, 4, 8, 12, 16, 20, 60, 64, 128, 512];
    // Sums that are zero in one of its two forms, too.
    const ones = (n: number) => new Uint8Array(n).fill(255);
    const calls = Array.from({ length: 250 }, () => {
      const make = pick(random, [bytes, bytes, ones]);
      const from = make(pick(random, sizes));
      const to = make(pick(random, sizes));
      const seed = pick(random, [0, 1, 0xffff, 0x1_0000, 0x7fff_ffff, 0xffff_ffff, random(2 ** 31)]);
      return {
        args: [from.length > 0 ? from : 0, from.length, to.length > 0 ? to : 0, to.length, seed],
      };
    });
    await both('bpf_csum_diff', SCHED_CLS, calls);
  });

  const packetOf = (random: Random, n: number) => {
    const packet = Uint8Array.from({ length: n }, () => random(256));
    packet.set([8, 0, 0x45], 12);
    return packet;
  };

  for (const name of ['bpf_l3_csum_replace', 'bpf_l4_csum_replace']) {
    it(name, async () => {
      const random = randomizer(3);
      const calls = Array.from({ length: 200 }, () => {
        const flags = name.includes('l4') ? pick(random, [0, 0, 0x10, 0x20, 0x60, 0x30]) : 0;
        const size = pick(random, [0, 2, 2, 4, 4, 3, 8, 15]);
        const values = [0, 1, 0xffff, 0x1234, 0xffff_ffff, 0x8000_0000, random(2 ** 31)];
        const packet = packetOf(random, 64);
        if (random(3) === 0) packet.fill(0, 20, 40);
        return {
          packet,
          args: [
            'ctx' as const,
            pick(random, [20, 24, 26, 36, 40, 21, 62, 63, 64, 70, 0xffff, 0x1_0000]),
            size === 0 && random(2) === 0 ? 0 : pick(random, values),
            pick(random, values),
            size | flags | (random(20) === 0 ? 0x400 : 0),
          ],
        };
      });
      await both(name, SCHED_CLS, calls);
    });
  }

  it('packet bytes', async () => {
    const random = randomizer(5);
    const offsets = [0, 1, 13, 14, 32, 60, 61, 64, 65, 0xffff, 0x7fff_ffff, 0xffff_fff0];
    const cases = (extra: (random: Random) => number[]) =>
      Array.from({ length: 80 }, () => {
        const buffer = Uint8Array.from({ length: pick(random, [1, 2, 4, 8, 20]) }, () => random(256));
        return {
          packet: packetOf(random, 64),
          args: ['ctx' as const, pick(random, offsets), buffer, buffer.length, ...extra(random)],
        };
      });
    await both(
      'bpf_skb_load_bytes',
      SCHED_CLS,
      cases(() => []),
    );
    await both(
      'bpf_skb_store_bytes',
      SCHED_CLS,
      cases((r) => [pick(r, [0, 0, 1, 2, 3, 4])]),
    );
    await both(
      'bpf_skb_load_bytes_relative',
      SCHED_CLS,
      cases((r) => [pick(r, [0, 1, 2])]),
    );
    await both(
      'bpf_xdp_load_bytes',
      XDP,
      cases(() => []),
    );
    await both(
      'bpf_xdp_store_bytes',
      XDP,
      cases(() => []),
    );
  });

  it('asks a kernel that answers', () => {
    expect(host.cpus).toBeGreaterThan(0);
    expect(fromHex('00')).not.toBeNull();
  });
});
