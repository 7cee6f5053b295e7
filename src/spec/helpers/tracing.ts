/**
 * Helper rows: Tracing: stacks, perf events, arguments and cookies of the traced function, tasks.
 * Prototypes are those of Linux 6.18 (struct bpf_func_proto).
 */
import type { HelperRow } from '../types.ts';
import { any, arg, CTX, FLAGS, helper, INT, input, MAP, output, size, sizeOrZero, U64, u32 } from './row.ts';

export const TRACING_HELPERS: readonly HelperRow[] = [
  helper(14, 'get_current_pid_tgid', '4.2', ['base'], U64, []),
  helper(15, 'get_current_uid_gid', '4.2', ['base'], U64, []),
  helper(16, 'get_current_comm', '4.2', ['base'], INT, [output('buf'), size('size_of_buf')], {
    capability: 'perfmon',
  }),
  helper(22, 'perf_event_read', '4.3', ['base'], U64, [MAP, FLAGS], {
    gplOnly: true,
    mapTypes: ['perf_event_array'],
    capability: 'perfmon',
  }),
  helper(
    25,
    'perf_event_output',
    '4.4',
    ['kernel_events', 'cgroup', 'lwt', 'tc', 'socket_filter', 'xdp', 'sk_skb', 'sk_msg', 'sk_lookup'],
    INT,
    [CTX, MAP, FLAGS, input('data'), sizeOrZero('size')],
    { gplOnly: true, mapTypes: ['perf_event_array'] },
  ),
  helper(27, 'get_stackid', '4.6', ['kernel_events'], INT, [CTX, MAP, FLAGS], {
    gplOnly: true,
    mapTypes: ['stack_trace'],
    variants: [{ allowed: ['perf_event'], gplOnly: false }],
  }),
  helper(35, 'get_current_task', '4.8', ['base'], U64, [], { gplOnly: true, capability: 'perfmon' }),
  helper(37, 'current_task_under_cgroup', '4.9', ['base'], INT, [MAP, u32('index')], {
    mapTypes: ['cgroup_array'],
    capability: 'bpf',
  }),
  helper(55, 'perf_event_read_value', '4.15', ['base'], INT, [MAP, FLAGS, output('buf'), size('buf_size')], {
    gplOnly: true,
    mapTypes: ['perf_event_array'],
    capability: 'perfmon',
  }),
  helper(56, 'perf_prog_read_value', '4.15', ['perf_event'], INT, [CTX, output('buf'), size('buf_size')], {
    gplOnly: true,
  }),
  helper(58, 'override_return', '4.16', ['kprobe'], INT, [CTX, any('rc')], { gplOnly: true }),
  helper(
    67,
    'get_stack',
    '4.18',
    ['kernel_events'],
    { kind: 'integer', range: 'errno_or_size' },
    [CTX, output('buf'), sizeOrZero('size'), FLAGS],
    { gplOnly: true },
  ),
  helper(
    119,
    'read_branch_records',
    '5.6',
    ['perf_event'],
    INT,
    [CTX, arg('buf', 'mem', { nullable: true, write: true }), sizeOrZero('size'), FLAGS],
    { gplOnly: true },
  ),
  helper(120, 'get_ns_current_pid_tgid', '5.7', ['base'], INT, [
    any('dev'),
    any('ino'),
    output('nsdata'),
    size('size'),
  ]),
  helper(123, 'get_current_ancestor_cgroup_id', '5.6', ['base'], U64, [u32('ancestor_level')], {
    capability: 'bpf',
  }),
  helper(
    141,
    'get_task_stack',
    '5.9',
    ['base'],
    { kind: 'integer', range: 'errno_or_size' },
    [arg('task', 'btf_id', { btfType: 'task_struct' }), output('buf'), sizeOrZero('size'), FLAGS],
    { capability: 'perfmon' },
  ),
  // Of the trampolines only those on functions of the kernel's allow list, of LSM hooks only sleepable ones.
  helper(
    147,
    'd_path',
    '5.10',
    ['tracing', 'lsm'],
    INT,
    [arg('path', 'btf_id', { btfType: 'path' }), arg('buf', 'mem', { write: true }), sizeOrZero('sz')],
    {
      attachTypes: { tracing: ['TRACE_FENTRY', 'TRACE_FEXIT', 'MODIFY_RETURN', 'TRACE_ITER'] },
    },
  ),
  helper(
    158,
    'get_current_task_btf',
    '5.11',
    ['base'],
    { kind: 'btf_id', trusted: true, btfType: 'task_struct' },
    [],
    { gplOnly: true, capability: 'perfmon' },
  ),
  helper(173, 'get_func_ip', '5.15', ['kprobe', 'tracing'], U64, [CTX], {
    gplOnly: true,
    attachTypes: { tracing: ['TRACE_FENTRY', 'TRACE_FEXIT', 'MODIFY_RETURN'] },
  }),
  helper(
    174,
    'get_attach_cookie',
    '5.15',
    ['kprobe', 'tracepoint', 'perf_event', 'raw_tracepoint', 'raw_tracepoint_writable', 'tracing', 'lsm'],
    U64,
    [CTX],
    {
      attachTypes: {
        tracing: ['TRACE_FENTRY', 'TRACE_FEXIT', 'MODIFY_RETURN', 'TRACE_RAW_TP'],
        lsm: ['LSM_MAC'],
      },
    },
  ),
  helper(
    175,
    'task_pt_regs',
    '5.15',
    ['base'],
    { kind: 'btf_id', btfType: 'pt_regs' },
    [arg('task', 'btf_id', { btfType: 'task_struct' })],
    { gplOnly: true, capability: 'perfmon' },
  ),
  helper(176, 'get_branch_snapshot', '5.16', ['base'], INT, [output('entries'), sizeOrZero('size')], {
    gplOnly: true,
    rawArgs: ['flags'],
    capability: 'perfmon',
  }),
  helper(
    180,
    'find_vma',
    '5.17',
    ['base'],
    INT,
    [
      arg('task', 'btf_id', { btfType: 'task_struct' }),
      any('addr'),
      arg('callback_fn', 'func'),
      arg('callback_ctx', 'stack', { nullable: true }),
      FLAGS,
    ],
    { callback: 'sync', callbackShape: 'find_vma', capability: 'perfmon' },
  ),
  helper(
    183,
    'get_func_arg',
    '5.17',
    ['tracing', 'lsm'],
    INT,
    [CTX, u32('n'), arg('value', 'mem', { uninit: true, write: true, aligned: true, fixedSize: 8 })],
    { attachTypes: { tracing: ['TRACE_FENTRY', 'TRACE_FEXIT', 'MODIFY_RETURN'], lsm: ['LSM_MAC'] } },
  ),
  helper(
    184,
    'get_func_ret',
    '5.17',
    ['tracing', 'lsm'],
    INT,
    [CTX, arg('value', 'mem', { uninit: true, write: true, aligned: true, fixedSize: 8 })],
    { attachTypes: { tracing: ['TRACE_FENTRY', 'TRACE_FEXIT', 'MODIFY_RETURN'], lsm: ['LSM_MAC'] } },
  ),
  helper(185, 'get_func_arg_cnt', '5.17', ['tracing', 'lsm'], INT, [CTX], {
    attachTypes: { tracing: ['TRACE_FENTRY', 'TRACE_FEXIT', 'MODIFY_RETURN'], lsm: ['LSM_MAC'] },
  }),
];
