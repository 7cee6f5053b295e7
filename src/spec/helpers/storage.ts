/**
 * Helper rows: Local storage on sockets, tasks, inodes and cgroups.
 * Prototypes are those of Linux 6.18 (struct bpf_func_proto).
 */
import type { HelperRow } from '../types.ts';
import { arg, CTX, FLAGS, helper, INT, MAP, VALUE_OR_NULL } from './row.ts';

export const STORAGE_HELPERS: readonly HelperRow[] = [
  helper(81, 'get_local_storage', '4.19', ['cgroup', 'lsm'], { kind: 'map_value' }, [MAP, FLAGS], {
    mapTypes: ['cgroup_storage', 'percpu_cgroup_storage'],
    zeroFlagsArg: 1,
    attachTypes: { lsm: ['LSM_CGROUP'] },
  }),
  helper(
    107,
    'sk_storage_get',
    '5.2',
    [
      'tc',
      'cgroup_skb',
      'cgroup_sock',
      'cgroup_sock_addr',
      'sock_ops',
      'sk_msg',
      'tracing',
      'cgroup_sockopt',
      'struct_ops',
      'lsm',
    ],
    VALUE_OR_NULL,
    [MAP, arg('sk', 'btf_id_sock_common'), arg('value', 'map_value', { nullable: true }), FLAGS],
    {
      mapTypes: ['sk_storage'],
      attachTypes: { tracing: ['TRACE_FENTRY', 'TRACE_FEXIT', 'TRACE_RAW_TP', 'TRACE_ITER'] },
      variants: [
        { allowed: ['cgroup_sock'], args: [MAP, CTX, arg('value', 'map_value', { nullable: true }), FLAGS] },
        {
          allowed: ['tracing'],
          args: [
            MAP,
            arg('sk', 'btf_id', { nullable: true, btfType: 'sock_common' }),
            arg('value', 'map_value', { nullable: true }),
            FLAGS,
          ],
        },
      ],
    },
  ),
  helper(
    108,
    'sk_storage_delete',
    '5.2',
    [
      'tc',
      'cgroup_skb',
      'cgroup_sock_addr',
      'sock_ops',
      'sk_msg',
      'tracing',
      'cgroup_sockopt',
      'struct_ops',
      'lsm',
    ],
    INT,
    [MAP, arg('sk', 'btf_id_sock_common')],
    {
      mapTypes: ['sk_storage'],
      attachTypes: { tracing: ['TRACE_FENTRY', 'TRACE_FEXIT', 'TRACE_RAW_TP', 'TRACE_ITER'] },
      variants: [
        {
          allowed: ['tracing'],
          args: [MAP, arg('sk', 'btf_id', { nullable: true, btfType: 'sock_common' })],
        },
      ],
    },
  ),
  helper(
    145,
    'inode_storage_get',
    '5.10',
    ['lsm'],
    VALUE_OR_NULL,
    [
      MAP,
      arg('inode', 'btf_id', { nullable: true, btfType: 'inode' }),
      arg('value', 'map_value', { nullable: true }),
      FLAGS,
    ],
    { mapTypes: ['inode_storage'] },
  ),
  helper(
    146,
    'inode_storage_delete',
    '5.10',
    ['lsm'],
    INT,
    [MAP, arg('inode', 'btf_id', { nullable: true, btfType: 'inode' })],
    { mapTypes: ['inode_storage'] },
  ),
  helper(
    156,
    'task_storage_get',
    '5.11',
    ['base'],
    VALUE_OR_NULL,
    [
      MAP,
      arg('task', 'btf_id', { nullable: true, btfType: 'task_struct' }),
      arg('value', 'map_value', { nullable: true }),
      FLAGS,
    ],
    { mapTypes: ['task_storage'], capability: 'bpf' },
  ),
  helper(
    157,
    'task_storage_delete',
    '5.11',
    ['base'],
    INT,
    [MAP, arg('task', 'btf_id', { nullable: true, btfType: 'task_struct' })],
    { mapTypes: ['task_storage'], capability: 'bpf' },
  ),
  helper(
    210,
    'cgrp_storage_get',
    '6.2',
    ['base'],
    VALUE_OR_NULL,
    [
      MAP,
      arg('cgroup', 'btf_id', { nullable: true, btfType: 'cgroup' }),
      arg('value', 'map_value', { nullable: true }),
      FLAGS,
    ],
    { mapTypes: ['cgrp_storage'], capability: 'bpf' },
  ),
  helper(
    211,
    'cgrp_storage_delete',
    '6.2',
    ['base'],
    INT,
    [MAP, arg('cgroup', 'btf_id', { nullable: true, btfType: 'cgroup' })],
    { mapTypes: ['cgrp_storage'], capability: 'bpf' },
  ),
];
