/** What a run is given: packet, context, map contents, which calls fail; and how inputs are made from one another. */
import type { Random } from '../../util/random.ts';

export interface Entry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

export interface Input {
  readonly packet: Uint8Array;
  readonly context: Uint8Array;
  /** By number of the map; what is not named is empty (hash) or zero (array). */
  readonly maps: ReadonlyMap<number, readonly Entry[]>;
  /** Numbers of the calls, from 0, whose result is NULL although it need not be. */
  readonly failing: ReadonlySet<number>;
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
