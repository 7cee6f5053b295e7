/**
 * What was different about kernel functions in older releases: who might call them, their flags, their names. A change counts
 * from the first long-term release (6.1, 6.6, 6.12, 6.18) that has it where the tables of those were compared. Source:
 * BTF_ID_FLAGS, register_btf_kfunc_id_set and bpf_prog_type_to_kfunc_hook of these releases.
 */
import type { KfuncFlag, KfuncHook, KfuncRow } from './row.ts';

interface KfuncChange {
  readonly since: string;
  readonly names: ReadonlySet<string>;
  /** Sets and flags that came with the release. */
  readonly hooks?: readonly KfuncHook[];
  readonly flags?: readonly KfuncFlag[];
  /** Sets that it was in instead until then. */
  readonly instead?: readonly KfuncHook[];
}

const names = (text: string): ReadonlySet<string> => new Set(text.trim().split(/\s+/));

const KEYS = names('bpf_lookup_user_key bpf_lookup_system_key bpf_key_put bpf_verify_pkcs7_signature');

const CHANGES: readonly KfuncChange[] = [
  { since: '6.18', names: KEYS, hooks: ['tc', 'xdp', 'struct_ops', 'syscall', 'cgroup'] },
  { since: '6.18', names: names('bpf_dynptr_from_skb'), hooks: ['struct_ops'] },
  {
    since: '6.18',
    names: names('bpf_arena_alloc_pages bpf_arena_free_pages'),
    flags: ['arena_ret', 'arena_arg1', 'arena_arg2'],
  },
  { since: '6.18', names: names('bpf_cast_to_kern_ctx bpf_rdonly_cast'), flags: ['fastcall'] },
  {
    since: '6.12',
    names: names(`
      crash_kexec bpf_obj_addedimpl bpf_obj_drop_impl bpf_refcount_acquire_impl bpf_list_push_front_impl bpf_list_push_back_impl
      bpf_list_pop_front bpf_list_pop_back bpf_rbtree_remove bpf_rbtree_add_impl bpf_rbtree_first bpf_task_acquire
      bpf_task_release bpf_task_from_pid bpf_task_under_cgroup bpf_cgroup_acquire bpf_cgroup_release bpf_cgroup_ancestor
      bpf_cgroup_from_id
    `),
    hooks: ['xdp', 'syscall', 'cgroup'],
  },
  { since: '6.6', names: names('crash_kexec'), hooks: ['tc', 'struct_ops'] },
  { since: '6.12', names: names('bpf_refcount_acquire_impl'), flags: ['rcu'] },
  { since: '6.12', names: names('bpf_dynptr_from_skb'), hooks: ['tracing'], flags: ['trusted_args'] },
  {
    since: '6.12',
    names: names(`
      bpf_cpumask_acquire bpf_cpumask_and bpf_cpumask_any_and_distribute bpf_cpumask_any_distribute bpf_cpumask_clear
      bpf_cpumask_clear_cpu bpf_cpumask_copy bpf_cpumask_create bpf_cpumask_empty bpf_cpumask_equal bpf_cpumask_first
      bpf_cpumask_first_and bpf_cpumask_first_zero bpf_cpumask_full bpf_cpumask_intersects bpf_cpumask_or
      bpf_cpumask_release bpf_cpumask_set_cpu bpf_cpumask_setall bpf_cpumask_subset bpf_cpumask_test_and_clear_cpu
      bpf_cpumask_test_and_set_cpu bpf_cpumask_test_cpu bpf_cpumask_xor
    `),
    hooks: ['syscall'],
  },
  { since: '6.12', names: names('hid_bpf_get_data'), hooks: ['struct_ops'], instead: ['tracing'] },
  {
    since: '6.12',
    names: names('hid_bpf_allocate_context hid_bpf_release_context hid_bpf_hw_request'),
    hooks: ['struct_ops'],
  },
];

/** Program types that could call no kernel function before, but for common ones. */
export const HOOK_TYPES_SINCE: Readonly<Record<string, string>> = {
  tracepoint: '6.12',
  perf_event: '6.12',
  kprobe: '6.12',
  cgroup_sock: '6.12',
  cgroup_device: '6.12',
  cgroup_sockopt: '6.12',
  cgroup_sysctl: '6.12',
  sock_ops: '6.18',
  cgroup_skb: '6.6',
  cgroup_sock_addr: '6.6',
  sched_act: '6.6',
  sk_skb: '6.6',
  socket_filter: '6.6',
  lwt_out: '6.6',
  lwt_in: '6.6',
  lwt_xmit: '6.6',
  lwt_seg6local: '6.6',
  netfilter: '6.6',
};

/** Names that functions had, since when and until they were renamed. */
const RENAMED: Readonly<
  Record<string, { readonly now: string; readonly since: string; readonly until: string }>
> = {
  cgroup_rstat_updated: { now: 'css_rstat_updated', since: '6.1', until: '6.16' },
  cgroup_rstat_flush: { now: 'css_rstat_flush', since: '6.1', until: '6.16' },
  scx_bpf_dispatch: { now: 'scx_bpf_dsq_insert', since: '6.12', until: '6.18' },
  scx_bpf_dispatch_vtime: { now: 'scx_bpf_dsq_insert_vtime', since: '6.12', until: '6.18' },
  scx_bpf_consume: { now: 'scx_bpf_dsq_move_to_local', since: '6.12', until: '6.18' },
  scx_bpf_dispatch_from_dsq_set_slice: { now: 'scx_bpf_dsq_move_set_slice', since: '6.12', until: '6.18' },
  scx_bpf_dispatch_from_dsq_set_vtime: { now: 'scx_bpf_dsq_move_set_vtime', since: '6.12', until: '6.18' },
  scx_bpf_dispatch_from_dsq: { now: 'scx_bpf_dsq_move', since: '6.12', until: '6.18' },
  scx_bpf_dispatch_vtime_from_dsq: { now: 'scx_bpf_dsq_move_vtime', since: '6.12', until: '6.18' },
};

/** The present name of a function that a release has under another one; undefined where it has none. */
export function nameBeforeRenaming(name: string, isSince: (release: string) => boolean): string | undefined {
  const row = RENAMED[name];
  return row !== undefined && isSince(row.since) && !isSince(row.until) ? row.now : undefined;
}

/** The row as it was in a release; a row without sets is one of no program. */
export function rowOfRelease(row: KfuncRow, isSince: (release: string) => boolean): KfuncRow {
  let { hooks, flags } = row;
  for (const change of CHANGES) {
    if (isSince(change.since) || !change.names.has(row.name)) continue;
    const { hooks: later = [], flags: added = [], instead = [] } = change;
    hooks = [...hooks.filter((hook) => !later.includes(hook)), ...instead];
    if (added.length > 0) flags = new Set([...flags].filter((flag) => !added.includes(flag)));
  }
  return hooks === row.hooks ? row : { ...row, hooks, flags };
}
