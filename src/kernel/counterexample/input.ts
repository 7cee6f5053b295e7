/** What a run is given: packet, context, map contents, which calls fail; and how inputs are made from one another. */
import { UAPI_LAYOUTS } from '../../uapi/index.ts';
import type { Random } from '../../util/random.ts';

export interface Entry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

export interface Input {
  readonly packet: Uint8Array;
  /** Of programs that see packets: the fields of their context that can be set, one behind the other (`ContextFields`). */
  readonly context: Uint8Array;
  /** By number of the map; what is not named is empty (hash) or zero (array). */
  readonly maps: ReadonlyMap<number, readonly Entry[]>;
  /** Numbers of the calls, from 0, whose result is NULL although it need not be. */
  readonly failing: ReadonlySet<number>;
}

/** Where a context has what its caller may choose beside the packet; `end`: where it has the packet's length. */
export interface ContextFields {
  readonly size: number;
  readonly fields: readonly { readonly offset: number; readonly size: number }[];
  readonly end?: number;
  /** The fields as a test run without a context has them; absent: all 0. */
  readonly initial?: readonly number[];
}

const field = (struct: keyof typeof UAPI_LAYOUTS, ...names: readonly string[]): ContextFields['fields'] =>
  names.map((name) => UAPI_LAYOUTS[struct].fields.find((one) => one.name === name)!);

/** By struct: what PROG_TEST_RUN takes of it, without what must agree with devices and lengths. */
export const CONTEXT_FIELDS: Readonly<Record<string, ContextFields>> = {
  xdp_md: {
    size: UAPI_LAYOUTS.xdp_md.size,
    fields: field('xdp_md', 'ingress_ifindex', 'rx_queue_index'),
    end: field('xdp_md', 'data_end')[0]!.offset,
    // The loopback interface, its first queue.
    initial: [1, 0, 0, 0, 0, 0, 0, 0],
  },
  __sk_buff: {
    size: UAPI_LAYOUTS.__sk_buff.size,
    fields: field('__sk_buff', 'mark', 'priority', 'cb', 'tstamp'),
  },
};

/** The context as PROG_TEST_RUN takes it; empty where nothing was chosen. */
export function fullContext(layout: ContextFields, chosen: Uint8Array, packetLength: number): Uint8Array {
  if (chosen.every((byte, i) => byte === (layout.initial?.[i] ?? 0))) return new Uint8Array();
  const context = new Uint8Array(layout.size);
  let from = 0;
  for (const { offset, size } of layout.fields) {
    context.set(chosen.subarray(from, from + size), offset);
    from += size;
  }
  if (layout.end !== undefined) new DataView(context.buffer).setUint32(layout.end, packetLength, true);
  return context;
}

/** An Ethernet frame with an IPv4 header and TCP ports: most parsers come far with it. */
const FRAME = [
  ...[0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1, 0x08, 0x00],
  ...[0x45, 0, 0, 0x28, 0, 1, 0x40, 0, 0x40, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2],
  ...[0x30, 0x39, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0x20, 0, 0, 0, 0, 0],
];

export function frame(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => FRAME[i] ?? 0);
}

/** Lengths that packets are tried with first. */
export const LENGTHS: readonly number[] = [54, 14, 64, 34, 42, 15, 128, 1500];

const EDGES: readonly bigint[] = [
  0n,
  1n,
  0x7fn,
  0x80n,
  0xffn,
  0x7fffn,
  0x8000n,
  0xffffn,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  0x7fff_ffff_ffff_ffffn,
  0xffff_ffff_ffff_ffffn,
];

/** Writes the low `size` bytes of `value` at `at`. */
function put(bytes: Uint8Array, at: number, size: number, value: bigint, big: boolean): void {
  for (let i = 0; i < size; i++) {
    const shift = BigInt(8 * (big ? size - 1 - i : i));
    if (at + i < bytes.length) bytes[at + i] = Number((value >> shift) & 0xffn);
  }
}

const SIZES = [8, 4, 2, 1];

/** The same bytes with one place changed: an edge value, a random one, all of one kind. */
export function mutateBytes(bytes: Uint8Array, random: Random): Uint8Array {
  const out = bytes.slice();
  if (out.length === 0) return out;
  switch (random.below(6)) {
    case 0:
      return random.bytes(out.length);
    case 1:
      return out.fill(0xff, random.below(out.length));
    case 2:
      out[random.below(out.length)] = random.next() & 0xff;
      return out;
    default: {
      const size = SIZES[random.below(4)]!;
      put(
        out,
        random.below(Math.max(1, out.length - size + 1)),
        size,
        EDGES[random.below(EDGES.length)]!,
        random.below(2) === 0,
      );
      return out;
    }
  }
}

/** Copies of `bytes` in which a place that holds `from` holds `to`: how a comparison is turned. At most `limit`. */
export function substitute(bytes: Uint8Array, from: bigint, to: bigint, limit: number): Uint8Array[] {
  const out: Uint8Array[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const read = (at: number, size: number, big: boolean): bigint => {
    if (size === 8) return view.getBigUint64(at, !big);
    return BigInt(
      size === 4 ? view.getUint32(at, !big) : size === 2 ? view.getUint16(at, !big) : view.getUint8(at),
    );
  };
  for (const size of SIZES) {
    if (from >> BigInt(8 * size) !== 0n || to >> BigInt(8 * size) !== 0n) continue;
    for (const big of size === 1 ? [false] : [false, true]) {
      for (let at = 0; at + size <= bytes.length && out.length < limit; at++) {
        if (read(at, size, big) !== from) continue;
        const copy = bytes.slice();
        put(copy, at, size, to, big);
        out.push(copy);
      }
    }
  }
  return out;
}
