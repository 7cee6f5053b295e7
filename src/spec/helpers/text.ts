/**
 * Helper rows: Text: formatting, parsing, comparing, trace_pipe and seq_file output.
 * Prototypes are those of Linux 6.18 (struct bpf_func_proto).
 */
import type { HelperRow } from '../types.ts';
import { arg, FLAGS, helper, INT, input, size, sizeOrZero } from './row.ts';

export const TEXT_HELPERS: readonly HelperRow[] = [
  helper(6, 'trace_printk', '4.1', ['all'], INT, [input('fmt'), size('fmt_size')], {
    gplOnly: true,
    rawArgs: ['arg1', 'arg2', 'arg3'],
    capability: 'perfmon',
    tracepoint: 'bpf_trace/bpf_trace_printk',
  }),
  helper(105, 'strtol', '5.2', ['base'], INT, [
    input('buf'),
    size('buf_len'),
    FLAGS,
    arg('res', 'mem', { uninit: true, write: true, aligned: true, fixedSize: 8 }),
  ]),
  helper(106, 'strtoul', '5.2', ['base'], INT, [
    input('buf'),
    size('buf_len'),
    FLAGS,
    arg('res', 'mem', { uninit: true, write: true, aligned: true, fixedSize: 8 }),
  ]),
  helper(
    126,
    'seq_printf',
    '5.7',
    ['tracing'],
    INT,
    [
      arg('m', 'btf_id', { btfType: 'seq_file' }),
      input('fmt'),
      size('fmt_size'),
      arg('data', 'mem', { nullable: true, rdonly: true }),
      sizeOrZero('data_len'),
    ],
    { gplOnly: true, attachTypes: { tracing: ['TRACE_ITER'] } },
  ),
  helper(
    127,
    'seq_write',
    '5.7',
    ['tracing'],
    INT,
    [arg('m', 'btf_id', { btfType: 'seq_file' }), input('data'), sizeOrZero('len')],
    { gplOnly: true, attachTypes: { tracing: ['TRACE_ITER'] } },
  ),
  helper(
    149,
    'snprintf_btf',
    '5.10',
    ['base'],
    INT,
    [arg('str', 'mem', { write: true }), size('str_size'), input('ptr'), size('btf_ptr_size'), FLAGS],
    { capability: 'perfmon' },
  ),
  helper(
    150,
    'seq_printf_btf',
    '5.10',
    ['tracing'],
    INT,
    [arg('m', 'btf_id', { btfType: 'seq_file' }), input('ptr'), sizeOrZero('ptr_size'), FLAGS],
    { gplOnly: true, attachTypes: { tracing: ['TRACE_ITER'] } },
  ),
  helper(
    165,
    'snprintf',
    '5.13',
    ['base'],
    INT,
    [
      arg('str', 'mem', { nullable: true, write: true }),
      sizeOrZero('str_size'),
      arg('fmt', 'const_str'),
      arg('data', 'mem', { nullable: true, rdonly: true }),
      sizeOrZero('data_len'),
    ],
    { gplOnly: true, capability: 'perfmon' },
  ),
  helper(
    177,
    'trace_vprintk',
    '5.16',
    ['base'],
    INT,
    [
      input('fmt'),
      size('fmt_size'),
      arg('data', 'mem', { nullable: true, rdonly: true }),
      sizeOrZero('data_len'),
    ],
    { gplOnly: true, capability: 'perfmon', tracepoint: 'bpf_trace/bpf_trace_printk' },
  ),
  helper(182, 'strncmp', '5.17', ['base'], INT, [input('s1'), size('s1_sz'), arg('s2', 'const_str')]),
];
