/** Helpers on XDP frames (net/core/filter.c). Frames are linear: there are no fragments. */
import { ERRNO } from '../util/index.ts';
import { loadBytes, type Refusal, storeBytes } from './packet-bytes.ts';
import type { HelperFamily } from './types.ts';

/** Largest offset that an access by copy may have. */
const MAX_OFFSET = 0xffff;
const outside: Refusal = (offset) => (offset > MAX_OFFSET ? -ERRNO.EFAULT : -ERRNO.EINVAL);

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
  bpf_xdp_load_bytes: (context) => loadBytes(context, outside, false),
  bpf_xdp_store_bytes: (context) => storeBytes(context, outside),
  bpf_xdp_get_buff_len: ({ env, returnHalves }) => {
    return (ctx) => returnHalves(env.packets.data(ctx).length, 0);
  },
  bpf_redirect: ({ env }) => {
    const { packets } = env;
    const { redirect } = packets;
    return redirect && ((ifindex, flags, high) => redirect.call(packets, ifindex, flags, high));
  },
};
