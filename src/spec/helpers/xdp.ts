/**
 * Helper rows: XDP frames, and redirection and routing shared by XDP and tc.
 * Prototypes are those of Linux 6.18 (struct bpf_func_proto).
 */
import type { HelperRow } from '../types.ts';
import {
  any,
  arg,
  CTX,
  FLAGS,
  helper,
  INT,
  input,
  MAP,
  output,
  size,
  sizeOrZero,
  U64,
  u32,
  VOID,
} from './row.ts';

export const XDP_HELPERS: readonly HelperRow[] = [
  helper(13, 'clone_redirect', '4.2', ['tc', 'lwt_xmit'], INT, [CTX, u32('ifindex'), FLAGS], {
    changesPacket: true,
  }),
  helper(23, 'redirect', '4.4', ['tc', 'xdp', 'lwt_xmit'], INT, [u32('ifindex'), FLAGS]),
  helper(44, 'xdp_adjust_head', '4.10', ['xdp'], INT, [CTX, u32('delta')], { changesPacket: true }),
  helper(51, 'redirect_map', '4.14', ['xdp'], INT, [MAP, any('key'), FLAGS], {
    mapTypes: ['devmap', 'devmap_hash', 'cpumap', 'xskmap'],
  }),
  helper(52, 'sk_redirect_map', '4.14', ['sk_skb'], INT, [CTX, MAP, u32('key'), FLAGS], {
    mapTypes: ['sockmap'],
  }),
  helper(54, 'xdp_adjust_meta', '4.15', ['xdp'], INT, [CTX, u32('delta')], { changesPacket: true }),
  helper(60, 'msg_redirect_map', '4.17', ['sk_msg'], INT, [CTX, MAP, u32('key'), FLAGS], {
    mapTypes: ['sockmap'],
  }),
  helper(65, 'xdp_adjust_tail', '4.18', ['xdp'], INT, [CTX, u32('delta')], { changesPacket: true }),
  helper(
    69,
    'fib_lookup',
    '4.18',
    ['tc', 'xdp'],
    INT,
    [CTX, arg('params', 'mem', { write: true }), size('plen'), u32('flags')],
    { gplOnly: true },
  ),
  helper(
    121,
    'xdp_output',
    '5.6',
    ['btf_tracing'],
    INT,
    [arg('ctx', 'btf_id', { btfType: 'xdp_buff' }), MAP, FLAGS, input('data'), sizeOrZero('size')],
    { gplOnly: true, mapTypes: ['perf_event_array'] },
  ),
  helper(152, 'redirect_neigh', '5.10', ['tc'], INT, [
    u32('ifindex'),
    arg('params', 'mem', { nullable: true, rdonly: true }),
    sizeOrZero('plen'),
    FLAGS,
  ]),
  helper(155, 'redirect_peer', '5.10', ['tc'], INT, [u32('ifindex'), FLAGS]),
  helper(
    163,
    'check_mtu',
    '5.12',
    ['tc', 'xdp'],
    INT,
    [
      CTX,
      u32('ifindex'),
      arg('mtu_len', 'mem', { write: true, aligned: true, fixedSize: 4 }),
      u32('len_diff'),
      FLAGS,
    ],
    { gplOnly: true },
  ),
  helper(
    188,
    'xdp_get_buff_len',
    '5.18',
    ['btf_tracing', 'xdp'],
    VOID,
    [arg('xdp_md', 'btf_id', { btfType: 'xdp_buff' })],
    { variants: [{ allowed: ['xdp'], args: [CTX], ret: U64 }] },
  ),
  helper(189, 'xdp_load_bytes', '5.18', ['xdp'], INT, [CTX, u32('offset'), output('buf'), size('len')]),
  helper(190, 'xdp_store_bytes', '5.18', ['xdp'], INT, [CTX, u32('offset'), input('buf'), size('len')]),
];
