/**
 * Helper rows: Memory reads and writes that may fault; signals.
 * Prototypes are those of Linux 6.18 (struct bpf_func_proto).
 */
import type { HelperRow } from '../types.ts';
import { any, arg, FLAGS, helper, INT, input, output, size, sizeOrZero, u32 } from './row.ts';

export const PROBE_HELPERS: readonly HelperRow[] = [
  helper(
    4,
    'probe_read',
    '4.1',
    ['kernel_events'],
    INT,
    [output('dst'), sizeOrZero('size'), any('unsafe_ptr')],
    { gplOnly: true },
  ),
  helper(36, 'probe_write_user', '4.8', ['kernel_events'], INT, [any('dst'), input('src'), size('len')], {
    gplOnly: true,
    capability: 'sys_admin',
  }),
  helper(
    45,
    'probe_read_str',
    '4.11',
    ['kernel_events'],
    { kind: 'integer', range: 'errno_or_size' },
    [output('dst'), sizeOrZero('size'), any('unsafe_ptr')],
    { gplOnly: true },
  ),
  helper(109, 'send_signal', '5.3', ['base'], INT, [u32('sig')], { capability: 'perfmon' }),
  helper(
    112,
    'probe_read_user',
    '5.5',
    ['base'],
    INT,
    [output('dst'), sizeOrZero('size'), any('unsafe_ptr')],
    { gplOnly: true, capability: 'perfmon' },
  ),
  helper(
    113,
    'probe_read_kernel',
    '5.5',
    ['base'],
    INT,
    [output('dst'), sizeOrZero('size'), any('unsafe_ptr')],
    { gplOnly: true, capability: 'perfmon' },
  ),
  helper(
    114,
    'probe_read_user_str',
    '5.5',
    ['base'],
    { kind: 'integer', range: 'errno_or_size' },
    [output('dst'), sizeOrZero('size'), any('unsafe_ptr')],
    { gplOnly: true, capability: 'perfmon' },
  ),
  helper(
    115,
    'probe_read_kernel_str',
    '5.5',
    ['base'],
    { kind: 'integer', range: 'errno_or_size' },
    [output('dst'), sizeOrZero('size'), any('unsafe_ptr')],
    { gplOnly: true, capability: 'perfmon' },
  ),
  helper(117, 'send_signal_thread', '5.5', ['base'], INT, [u32('sig')], { capability: 'perfmon' }),
  helper(148, 'copy_from_user', '5.10', ['base'], INT, [output('dst'), sizeOrZero('size'), any('user_ptr')], {
    mightSleep: true,
    capability: 'perfmon',
  }),
  helper(
    191,
    'copy_from_user_task',
    '5.18',
    ['base'],
    INT,
    [
      output('dst'),
      sizeOrZero('size'),
      any('user_ptr'),
      arg('tsk', 'btf_id', { btfType: 'task_struct' }),
      FLAGS,
    ],
    { gplOnly: true, mightSleep: true, capability: 'perfmon' },
  ),
];
