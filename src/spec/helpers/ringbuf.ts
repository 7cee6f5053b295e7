/**
 * Helper rows: The BPF ring buffers: kernel/bpf/ringbuf.c.
 * Prototypes are those of Linux 6.18 (struct bpf_func_proto).
 */
import type { HelperRow } from '../types.ts';
import { arg, FLAGS, helper, INT, input, MAP, sizeOrZero, U64, u32, VOID } from './row.ts';

export const RINGBUF_HELPERS: readonly HelperRow[] = [
  helper(130, 'ringbuf_output', '5.8', ['base'], INT, [MAP, input('data'), sizeOrZero('size'), FLAGS], {
    mapTypes: ['ringbuf'],
  }),
  helper(
    131,
    'ringbuf_reserve',
    '5.8',
    ['base'],
    { kind: 'ringbuf_mem', nullable: true },
    [MAP, arg('size', 'const_alloc_size_or_zero'), FLAGS],
    { acquires: true, mapTypes: ['ringbuf'] },
  ),
  helper(132, 'ringbuf_submit', '5.8', ['base'], VOID, [
    arg('data', 'ringbuf_mem', { release: true }),
    FLAGS,
  ]),
  helper(133, 'ringbuf_discard', '5.8', ['base'], VOID, [
    arg('data', 'ringbuf_mem', { release: true }),
    FLAGS,
  ]),
  helper(134, 'ringbuf_query', '5.8', ['base'], U64, [MAP, FLAGS], { mapTypes: ['ringbuf'] }),
  helper(
    198,
    'ringbuf_reserve_dynptr',
    '5.19',
    ['base'],
    INT,
    [MAP, u32('size'), FLAGS, arg('ptr', 'dynptr', { dynptr: 'ringbuf', uninit: true, write: true })],
    { mapTypes: ['ringbuf'], capability: 'bpf' },
  ),
  helper(
    199,
    'ringbuf_submit_dynptr',
    '5.19',
    ['base'],
    VOID,
    [arg('ptr', 'dynptr', { dynptr: 'ringbuf', release: true }), FLAGS],
    { mapTypes: ['ringbuf'], capability: 'bpf' },
  ),
  helper(
    200,
    'ringbuf_discard_dynptr',
    '5.19',
    ['base'],
    VOID,
    [arg('ptr', 'dynptr', { dynptr: 'ringbuf', release: true }), FLAGS],
    { mapTypes: ['ringbuf'], capability: 'bpf' },
  ),
  helper(
    209,
    'user_ringbuf_drain',
    '6.1',
    ['base'],
    INT,
    [MAP, arg('callback_fn', 'func'), arg('ctx', 'stack', { nullable: true }), FLAGS],
    { mapTypes: ['user_ringbuf'], callback: 'sync', callbackShape: 'user_ringbuf_drain', capability: 'bpf' },
  ),
];
