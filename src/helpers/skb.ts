/** Helpers on socket buffers (net/core/filter.c). Buffers are linear and carry no partial checksum (CHECKSUM_NONE). */
import { MODELLED_SKB } from '../spec/index.ts';
import { BPF_HDR_START_OFF } from '../uapi/index.ts';
import { ERRNO } from '../util/index.ts';
import { csumReplace2, csumReplace4, csumReplaceByDiff } from './checksum.ts';
import { flowHash } from './flow-hash.ts';
import { packetRange } from './packet-bytes.ts';
import type { HelperContext, HelperFamily } from './types.ts';

const FAULT = -ERRNO.EFAULT;
const INVALID = -ERRNO.EINVAL;
const FIELD_MASK = 0xf; // BPF_F_HDR_FIELD_MASK
const MARK_MANGLED_0 = 32;
const MARK_ENFORCE = 64;
const L4_FLAGS = 0x10 | MARK_MANGLED_0 | MARK_ENFORCE | 128 | FIELD_MASK; // … BPF_F_PSEUDO_HDR, BPF_F_IPV6
/** CSUM_MANGLED_0: UDP's "checksum is zero". */
const MANGLED_0 = 0xffff;
/** Largest offset of a checksum field. */
const MAX_FIELD_OFFSET = 0xffff;
/** BPF_SKB_MAX_LEN with 4 KiB pages. */
const MAX_LENGTH = 16_064;
const MAX_PACKET_TYPE = 3; // PACKET_OTHERHOST

/** Replaces the 16-bit checksum at `at` by what `size` bytes changing from `from` to `to` make of it; null: a bad size. */
function replaced(check: number, size: number, from: number, fromHigh: number, to: number): number | null {
  switch (size) {
    case 0:
      return from === 0 && fromHigh === 0 ? csumReplaceByDiff(check, to) : null;
    case 2:
      return csumReplace2(check, from, to);
    case 4:
      return csumReplace4(check, from, to);
    default:
      return null;
  }
}

type ReplaceArgs = [
  ctx: number,
  offset: number,
  from: number,
  fromHigh: number,
  to: number,
  toHigh: number,
  flags: number,
  high: number,
];

function replaceChecksum(context: HelperContext, allowed: number) {
  const range = packetRange(context);
  return (...[ctx, offset, from, fromHigh, to, , flags, high]: ReplaceArgs): number => {
    if (high !== 0 || (flags & ~allowed) !== 0) return INVALID;
    if (offset >>> 0 > MAX_FIELD_OFFSET || (offset & 1) !== 0) return FAULT;
    const at = range(ctx, offset, 2);
    if (at < 0) return FAULT;
    const { view } = context.memory;
    const check = view.getUint16(at, true);
    const zeroIsNone = (flags & MARK_MANGLED_0) !== 0;
    if (zeroIsNone && (flags & MARK_ENFORCE) === 0 && check === 0) return 0;
    const next = replaced(check, flags & FIELD_MASK, from, fromHigh, to);
    if (next === null) return INVALID;
    view.setUint16(at, zeroIsNone && next === 0 ? MANGLED_0 : next, true);
    return 0;
  };
}

export const SKB_HELPERS: HelperFamily = {
  bpf_skb_load_bytes: ({ module }) => module.wasm.skb_load_bytes,

  bpf_skb_load_bytes_relative: (context) => {
    const { env, memory, valid } = context;
    return (ctx, offset, to, size, startHeader) => {
      if (!valid(to, size)) return FAULT;
      const { start, length } = env.packets.data(ctx);
      const headers = env.packets.headers?.(ctx) ?? { link: start, network: start + 14 };
      const { BPF_HDR_START_MAC, BPF_HDR_START_NET } = BPF_HDR_START_OFF;
      const base =
        startHeader === BPF_HDR_START_MAC
          ? headers.link
          : startHeader === BPF_HDR_START_NET
            ? headers.network
            : -1;
      const at = base + (offset >>> 0);
      const { u8 } = memory;
      if (base < 0 || offset >>> 0 > MAX_FIELD_OFFSET || at + size > start + length || !valid(at, size)) {
        u8.fill(0, to, to + size);
        return FAULT;
      }
      u8.copyWithin(to, at, at + size);
      return 0;
    };
  },

  bpf_skb_store_bytes: ({ module }) => module.wasm.skb_store_bytes,

  bpf_skb_pull_data: ({ env }) => {
    return (ctx, length) => (length >>> 0 > env.packets.data(ctx).length ? -ERRNO.ENOMEM : 0);
  },

  bpf_skb_change_tail: ({ env }) => {
    return (ctx, length, flags, high) => {
      const now = env.packets.data(ctx);
      const wanted = length >>> 0;
      const network = (env.packets.headers?.(ctx).network ?? now.start + 14) - now.start;
      if ((flags | high) !== 0 || wanted > MAX_LENGTH || wanted < Math.max(0, network)) return INVALID;
      return env.packets.adjustTail(ctx, wanted - now.length);
    };
  },

  bpf_skb_change_head: ({ env, memory }) => {
    return (ctx, room, flags, high) => {
      const more = room >>> 0;
      if ((flags | high) !== 0 || more + env.packets.data(ctx).length > MAX_LENGTH) return INVALID;
      const result = env.packets.adjustHead(ctx, -more);
      if (result !== 0) return result;
      const { start } = env.packets.data(ctx);
      memory.u8.fill(0, start, start + more);
      return 0;
    };
  },

  bpf_skb_change_type: ({ memory }) => {
    return (ctx, type) => {
      const at = (ctx + MODELLED_SKB.pkt_type) >>> 2;
      if (memory.u32[at] > MAX_PACKET_TYPE || type >>> 0 > MAX_PACKET_TYPE) return INVALID;
      memory.u32[at] = type;
      return 0;
    };
  },

  bpf_l3_csum_replace: (context) => replaceChecksum(context, FIELD_MASK),
  bpf_l4_csum_replace: (context) => replaceChecksum(context, L4_FLAGS),

  bpf_csum_diff: ({ module }) => module.wasm.csum_diff,
  // Only for checksums that the device has computed over the whole packet (CHECKSUM_COMPLETE).
  bpf_csum_update:
    ({ returnU64 }) =>
    () =>
      returnU64(BigInt.asUintN(64, BigInt(-ERRNO.ENOTSUPP))),

  bpf_get_hash_recalc: ({ env, memory, returnHalves }) => {
    return (ctx) => {
      const at = (ctx + MODELLED_SKB.hash) >>> 2;
      if (memory.u32[at] === 0) {
        const { start, length } = env.packets.data(ctx);
        const network = env.packets.headers?.(ctx).network ?? start + 14;
        memory.u32[at] =
          env.packets.hash?.(ctx) ?? flowHash(memory.u8.subarray(network, Math.max(network, start + length)));
      }
      returnHalves(memory.u32[at], 0);
    };
  },
  bpf_set_hash_invalid: ({ memory }) => {
    return (ctx) => {
      memory.u32[(ctx + MODELLED_SKB.hash) >>> 2] = 0;
      return 0;
    };
  },
  bpf_set_hash: ({ memory }) => {
    return (ctx, hash) => {
      memory.u32[(ctx + MODELLED_SKB.hash) >>> 2] = hash;
      return 0;
    };
  },
};
