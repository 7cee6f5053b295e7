/**
 * Kernel functions: Objects and their lists and trees, tasks, cgroups, keys, exceptions: tracing, tc, XDP, struct_ops, syscall and cgroup programs.
 * Flags and sets are those of Linux 6.18 (BTF_ID_FLAGS, register_btf_kfunc_id_set).
 */
import { type KfuncRow, kfunc } from './row.ts';

export const GENERIC_KFUNCS: readonly KfuncRow[] = [
  kfunc('crash_kexec', 'tracing tc xdp struct_ops syscall cgroup', 'destructive'),
  kfunc('bpf_obj_new_impl', 'tracing tc xdp struct_ops syscall cgroup', 'acquire ret_null', {
    returns: 'new_object',
  }),
  kfunc('bpf_percpu_obj_new_impl', 'tracing tc xdp struct_ops syscall cgroup', 'acquire ret_null', {
    returns: 'new_percpu_object',
  }),
  kfunc('bpf_obj_drop_impl', 'tracing tc xdp struct_ops syscall cgroup', 'release', { drops: 'object' }),
  kfunc('bpf_percpu_obj_drop_impl', 'tracing tc xdp struct_ops syscall cgroup', 'release', {
    drops: 'percpu_object',
  }),
  kfunc('bpf_refcount_acquire_impl', 'tracing tc xdp struct_ops syscall cgroup', 'acquire ret_null rcu', {
    returns: 'same_object',
    lockSafe: true,
  }),
  kfunc('bpf_list_push_front_impl', 'tracing tc xdp struct_ops syscall cgroup', '', {
    graph: 'list',
    lockSafe: true,
    inserts: true,
  }),
  kfunc('bpf_list_push_back_impl', 'tracing tc xdp struct_ops syscall cgroup', '', {
    graph: 'list',
    lockSafe: true,
    inserts: true,
  }),
  kfunc('bpf_list_pop_front', 'tracing tc xdp struct_ops syscall cgroup', 'acquire ret_null', {
    graph: 'list',
    lockSafe: true,
  }),
  kfunc('bpf_list_pop_back', 'tracing tc xdp struct_ops syscall cgroup', 'acquire ret_null', {
    graph: 'list',
    lockSafe: true,
  }),
  kfunc('bpf_list_front', 'tracing tc xdp struct_ops syscall cgroup', 'ret_null', {
    graph: 'list',
    lockSafe: true,
  }),
  kfunc('bpf_list_back', 'tracing tc xdp struct_ops syscall cgroup', 'ret_null', {
    graph: 'list',
    lockSafe: true,
  }),
  kfunc('bpf_task_acquire', 'tracing tc xdp struct_ops syscall cgroup', 'acquire rcu ret_null'),
  kfunc('bpf_task_release', 'tracing tc xdp struct_ops syscall cgroup', 'release'),
  kfunc('bpf_rbtree_remove', 'tracing tc xdp struct_ops syscall cgroup', 'acquire ret_null', {
    graph: 'rbtree',
    lockSafe: true,
  }),
  kfunc('bpf_rbtree_add_impl', 'tracing tc xdp struct_ops syscall cgroup', '', {
    graph: 'rbtree',
    lockSafe: true,
    inserts: true,
    callback: 'sync',
    callbackShape: 'rbtree_less',
  }),
  kfunc('bpf_rbtree_first', 'tracing tc xdp struct_ops syscall cgroup', 'ret_null', {
    graph: 'rbtree',
    lockSafe: true,
  }),
  kfunc('bpf_rbtree_root', 'tracing tc xdp struct_ops syscall cgroup', 'ret_null', {
    graph: 'rbtree',
    lockSafe: true,
  }),
  kfunc('bpf_rbtree_left', 'tracing tc xdp struct_ops syscall cgroup', 'ret_null', {
    graph: 'rbtree',
    lockSafe: true,
  }),
  kfunc('bpf_rbtree_right', 'tracing tc xdp struct_ops syscall cgroup', 'ret_null', {
    graph: 'rbtree',
    lockSafe: true,
  }),
  kfunc('bpf_cgroup_acquire', 'tracing tc xdp struct_ops syscall cgroup', 'acquire rcu ret_null'),
  kfunc('bpf_cgroup_release', 'tracing tc xdp struct_ops syscall cgroup', 'release'),
  kfunc('bpf_cgroup_ancestor', 'tracing tc xdp struct_ops syscall cgroup', 'acquire rcu ret_null'),
  kfunc('bpf_cgroup_from_id', 'tracing tc xdp struct_ops syscall cgroup', 'acquire ret_null'),
  kfunc('bpf_task_under_cgroup', 'tracing tc xdp struct_ops syscall cgroup', 'rcu'),
  kfunc('bpf_task_get_cgroup1', 'tracing tc xdp struct_ops syscall cgroup', 'acquire rcu ret_null'),
  kfunc('bpf_task_from_pid', 'tracing tc xdp struct_ops syscall cgroup', 'acquire ret_null'),
  kfunc('bpf_task_from_vpid', 'tracing tc xdp struct_ops syscall cgroup', 'acquire ret_null'),
  kfunc('bpf_throw', 'tracing tc xdp struct_ops syscall cgroup', '', { throws: true }),
  kfunc('bpf_send_signal_task', 'tracing tc xdp struct_ops syscall cgroup', 'trusted_args'),
  kfunc('bpf_lookup_user_key', 'tracing tc xdp struct_ops syscall cgroup', 'acquire ret_null sleepable'),
  kfunc('bpf_lookup_system_key', 'tracing tc xdp struct_ops syscall cgroup', 'acquire ret_null'),
  kfunc('bpf_key_put', 'tracing tc xdp struct_ops syscall cgroup', 'release'),
  kfunc('bpf_verify_pkcs7_signature', 'tracing tc xdp struct_ops syscall cgroup', 'sleepable'),
];
