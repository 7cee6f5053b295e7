/**
 * Helper rows: Socket maps: sk_msg and sk_skb programs.
 * Prototypes are those of Linux 6.18 (struct bpf_func_proto).
 */
import type { HelperRow } from '../types.ts';
import { CTX, FLAGS, helper, INT, KEY, MAP, u32 } from './row.ts';

export const SOCKMAP_HELPERS: readonly HelperRow[] = [
  helper(53, 'sock_map_update', '4.14', ['sock_ops'], INT, [CTX, MAP, KEY, FLAGS], {
    pktAccess: true,
    mapTypes: ['sockmap'],
  }),
  helper(61, 'msg_apply_bytes', '4.17', ['sk_msg'], INT, [CTX, u32('bytes')]),
  helper(62, 'msg_cork_bytes', '4.17', ['sk_msg'], INT, [CTX, u32('bytes')]),
  helper(63, 'msg_pull_data', '4.17', ['sk_msg'], INT, [CTX, u32('start'), u32('end'), FLAGS], {
    changesPacket: true,
  }),
  helper(70, 'sock_hash_update', '4.18', ['sock_ops'], INT, [CTX, MAP, KEY, FLAGS], {
    pktAccess: true,
    mapTypes: ['sockhash'],
  }),
  helper(71, 'msg_redirect_hash', '4.18', ['sk_msg'], INT, [CTX, MAP, KEY, FLAGS], {
    mapTypes: ['sockhash'],
  }),
  helper(72, 'sk_redirect_hash', '4.18', ['sk_skb'], INT, [CTX, MAP, KEY, FLAGS], { mapTypes: ['sockhash'] }),
  helper(82, 'sk_select_reuseport', '4.19', ['sk_reuseport'], INT, [CTX, MAP, KEY, u32('flags')], {
    mapTypes: ['reuseport_sockarray', 'sockmap', 'sockhash'],
  }),
  helper(90, 'msg_push_data', '4.20', ['sk_msg'], INT, [CTX, u32('start'), u32('len'), FLAGS], {
    changesPacket: true,
  }),
  helper(91, 'msg_pop_data', '5.0', ['sk_msg'], INT, [CTX, u32('start'), u32('len'), FLAGS], {
    changesPacket: true,
  }),
];
