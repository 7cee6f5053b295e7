/**
 * Helper rows: Maps, time, random numbers, processors, tail calls, loops, locks, timers and kernel pointers.
 * Prototypes are those of Linux 6.18 (struct bpf_func_proto).
 */
import type { HelperRow } from '../types.ts';
import { any, arg, CTX, FLAGS, helper, INT, KEY, MAP, U64, u32, VALUE_OR_NULL, VOID } from './row.ts';

export const CORE_HELPERS: readonly HelperRow[] = [
  helper(1, 'map_lookup_elem', '3.19', ['all'], VALUE_OR_NULL, [MAP, KEY], {
    pktAccess: true,
    acquiresForMaps: ['sockmap', 'sockhash'],
  }),
  helper(2, 'map_update_elem', '3.19', ['all'], INT, [MAP, KEY, arg('value', 'map_value'), FLAGS], {
    pktAccess: true,
    mapAccess: 'write',
  }),
  helper(3, 'map_delete_elem', '3.19', ['all'], INT, [MAP, KEY], { pktAccess: true, mapAccess: 'write' }),
  helper(5, 'ktime_get_ns', '4.1', ['all'], U64, []),
  helper(7, 'get_prandom_u32', '4.1', ['all'], U64, [], { random: true }),
  helper(8, 'get_smp_processor_id', '4.1', ['base'], { kind: 'integer', range: 'cpu' }, [], {
    fastcall: true,
  }),
  helper(12, 'tail_call', '4.2', ['all'], VOID, [CTX, MAP, u32('index')], {
    changesPacket: true,
    mapTypes: ['prog_array'],
    tailCall: true,
  }),
  helper(42, 'get_numa_node_id', '4.10', ['base'], INT, []),
  helper(87, 'map_push_elem', '4.20', ['all'], INT, [MAP, arg('value', 'map_value'), FLAGS], {
    pktAccess: true,
    mapTypes: ['queue', 'stack', 'bloom_filter'],
    mapAccess: 'write',
  }),
  helper(
    88,
    'map_pop_elem',
    '4.20',
    ['all'],
    INT,
    [MAP, arg('value', 'map_value', { uninit: true, write: true })],
    { mapTypes: ['queue', 'stack'], mapAccess: 'write' },
  ),
  helper(
    89,
    'map_peek_elem',
    '4.20',
    ['all'],
    INT,
    [MAP, arg('value', 'map_value', { uninit: true, write: true })],
    { mapTypes: ['queue', 'stack', 'bloom_filter'] },
  ),
  helper(93, 'spin_lock', '5.1', ['base'], VOID, [arg('lock', 'spin_lock')], {
    lock: 'acquire',
    capability: 'bpf',
  }),
  helper(94, 'spin_unlock', '5.1', ['base'], VOID, [arg('lock', 'spin_lock')], {
    lock: 'release',
    capability: 'bpf',
  }),
  helper(118, 'jiffies64', '5.5', ['base'], U64, [], { capability: 'bpf' }),
  helper(125, 'ktime_get_boot_ns', '5.8', ['all'], U64, []),
  helper(
    153,
    'per_cpu_ptr',
    '5.10',
    ['base'],
    { kind: 'mem_or_btf_id', nullable: true, rdonly: true },
    [arg('percpu_ptr', 'percpu_btf_id'), u32('cpu')],
    { capability: 'bpf' },
  ),
  helper(
    154,
    'this_cpu_ptr',
    '5.10',
    ['base'],
    { kind: 'mem_or_btf_id', rdonly: true },
    [arg('percpu_ptr', 'percpu_btf_id')],
    { capability: 'bpf' },
  ),
  helper(
    160,
    'ktime_get_coarse_ns',
    '5.11',
    ['network', 'cgroup_sock', 'cgroup_sysctl', 'sk_reuseport', 'struct_ops'],
    U64,
    [],
  ),
  helper(
    164,
    'for_each_map_elem',
    '5.13',
    ['base'],
    INT,
    [MAP, arg('callback_fn', 'func'), arg('callback_ctx', 'stack', { nullable: true }), FLAGS],
    { callback: 'sync', callbackShape: 'for_each_map_elem', capability: 'bpf' },
  ),
  helper(169, 'timer_init', '5.15', ['base'], INT, [arg('timer', 'timer'), MAP, FLAGS], {
    gplOnly: true,
    capability: 'bpf',
  }),
  helper(
    170,
    'timer_set_callback',
    '5.15',
    ['base'],
    INT,
    [arg('timer', 'timer'), arg('callback_fn', 'func')],
    { gplOnly: true, callback: 'async', callbackShape: 'timer', capability: 'bpf' },
  ),
  helper(171, 'timer_start', '5.15', ['base'], INT, [arg('timer', 'timer'), any('nsecs'), FLAGS], {
    gplOnly: true,
    capability: 'bpf',
  }),
  helper(172, 'timer_cancel', '5.15', ['base'], INT, [arg('timer', 'timer')], {
    gplOnly: true,
    capability: 'bpf',
  }),
  helper(
    181,
    'loop',
    '5.17',
    ['base'],
    INT,
    [u32('nr_loops'), arg('callback_fn', 'func'), arg('callback_ctx', 'stack', { nullable: true }), FLAGS],
    { callback: 'sync', callbackShape: 'loop', capability: 'bpf' },
  ),
  helper(
    194,
    'kptr_xchg',
    '5.19',
    ['base'],
    { kind: 'btf_id', nullable: true },
    [arg('dst', 'kptr_xchg_dest'), arg('ptr', 'btf_id', { nullable: true, release: true })],
    { acquires: true, capability: 'bpf' },
  ),
  helper(195, 'map_lookup_percpu_elem', '5.19', ['base'], VALUE_OR_NULL, [MAP, KEY, u32('cpu')], {
    pktAccess: true,
    mapTypes: ['percpu_array', 'percpu_hash', 'lru_percpu_hash'],
  }),
  helper(208, 'ktime_get_tai_ns', '6.1', ['base'], U64, []),
];
