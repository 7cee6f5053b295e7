/** Helpers on XDP frames (net/core/filter.c). Frames are linear: there are no fragments. */
import type { HelperFamily } from './types.ts';

const XDP_ABORTED = 0;
const XDP_REDIRECT = 4;
/** The low bits of the flags are the action for a key that is not there: XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX. */
const FAILURE_ACTIONS = 3;
const BPF_F_BROADCAST = 8;
const BROADCAST_FLAGS = 24; // BPF_F_BROADCAST | BPF_F_EXCLUDE_INGRESS

export const XDP_HELPERS: HelperFamily = {
  bpf_xdp_adjust_head:
    ({ env }) =>
    (ctx, delta) =>
      env.packets.adjustHead(ctx, delta | 0),
  bpf_xdp_adjust_tail:
    ({ env }) =>
    (ctx, delta) =>
      env.packets.adjustTail(ctx, delta | 0),
  bpf_xdp_adjust_meta:
    ({ env }) =>
    (ctx, delta) =>
      env.packets.adjustMeta(ctx, delta | 0),
  bpf_xdp_load_bytes: ({ module }) => module.wasm.xdp_load_bytes,
  bpf_xdp_store_bytes: ({ module }) => module.wasm.xdp_store_bytes,
  bpf_xdp_get_buff_len: ({ env, returnHalves }) => {
    return (ctx) => returnHalves(env.packets.data(ctx).length, 0);
  },
  bpf_redirect_map: ({ env, memory, module, opsOf }) => {
    return (address, low, high, flags, flagsHigh) => {
      const map = env.mapByAddress(address);
      const find = map && opsOf(map)?.redirect;
      if (map === undefined || find === undefined) return XDP_ABORTED;
      const allowed = FAILURE_ACTIONS | (map.info.type.holds === 'device' ? BROADCAST_FLAGS : 0);
      if (flagsHigh !== 0 || (flags & ~allowed) !== 0) return XDP_ABORTED;
      const key = module.scratch(4);
      memory.u32[key >>> 2] = low;
      const found = high === 0 && find(address, key) !== 0;
      if (!found && (flags & BPF_F_BROADCAST) === 0) return flags & FAILURE_ACTIONS;
      env.packets.redirectMap?.(map, low >>> 0, flags);
      return XDP_REDIRECT;
    };
  },
  bpf_redirect: ({ env }) => {
    const { packets } = env;
    const { redirect } = packets;
    return redirect && ((ifindex, flags, high) => redirect.call(packets, ifindex, flags, high));
  },
};
