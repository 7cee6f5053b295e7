/**
 * Helper rows: Dynamic pointers.
 * Prototypes are those of Linux 6.18 (struct bpf_func_proto).
 */
import type { HelperRow } from '../types.ts';
import { arg, FLAGS, helper, INT, input, output, sizeOrZero, u32 } from './row.ts';

export const DYNPTR_HELPERS: readonly HelperRow[] = [
  helper(
    197,
    'dynptr_from_mem',
    '5.19',
    ['base'],
    INT,
    [
      output('data'),
      sizeOrZero('size'),
      FLAGS,
      arg('ptr', 'dynptr', { dynptr: 'local', uninit: true, write: true }),
    ],
    { capability: 'bpf' },
  ),
  helper(
    201,
    'dynptr_read',
    '5.19',
    ['base'],
    INT,
    [output('dst'), sizeOrZero('len'), arg('src', 'dynptr', { rdonly: true }), u32('offset'), FLAGS],
    { capability: 'bpf' },
  ),
  helper(
    202,
    'dynptr_write',
    '5.19',
    ['base'],
    INT,
    [arg('dst', 'dynptr', { rdonly: true }), u32('offset'), input('src'), sizeOrZero('len'), FLAGS],
    { writesDynptr: true, capability: 'bpf' },
  ),
  helper(
    203,
    'dynptr_data',
    '5.19',
    ['base'],
    { kind: 'dynptr_mem', nullable: true },
    [arg('ptr', 'dynptr', { rdonly: true }), u32('offset'), arg('len', 'const_alloc_size_or_zero')],
    { castOf: 0, capability: 'bpf' },
  ),
];
