/**
 * Kernel functions: Sets of processors: tracing, struct_ops and syscall programs.
 * Flags and sets are those of Linux 6.18 (BTF_ID_FLAGS, register_btf_kfunc_id_set).
 */
import { type KfuncRow, kfunc } from './row.ts';

export const CPUMASK_KFUNCS: readonly KfuncRow[] = [
  kfunc('bpf_cpumask_create', 'tracing struct_ops syscall', 'acquire ret_null'),
  kfunc('bpf_cpumask_release', 'tracing struct_ops syscall', 'release'),
  kfunc('bpf_cpumask_acquire', 'tracing struct_ops syscall', 'acquire trusted_args'),
  kfunc('bpf_cpumask_first', 'tracing struct_ops syscall', 'rcu'),
  kfunc('bpf_cpumask_first_zero', 'tracing struct_ops syscall', 'rcu'),
  kfunc('bpf_cpumask_first_and', 'tracing struct_ops syscall', 'rcu'),
  kfunc('bpf_cpumask_set_cpu', 'tracing struct_ops syscall', 'rcu'),
  kfunc('bpf_cpumask_clear_cpu', 'tracing struct_ops syscall', 'rcu'),
  kfunc('bpf_cpumask_test_cpu', 'tracing struct_ops syscall', 'rcu'),
  kfunc('bpf_cpumask_test_and_set_cpu', 'tracing struct_ops syscall', 'rcu'),
  kfunc('bpf_cpumask_test_and_clear_cpu', 'tracing struct_ops syscall', 'rcu'),
  kfunc('bpf_cpumask_setall', 'tracing struct_ops syscall', 'rcu'),
  kfunc('bpf_cpumask_clear', 'tracing struct_ops syscall', 'rcu'),
  kfunc('bpf_cpumask_and', 'tracing struct_ops syscall', 'rcu'),
  kfunc('bpf_cpumask_or', 'tracing struct_ops syscall', 'rcu'),
  kfunc('bpf_cpumask_xor', 'tracing struct_ops syscall', 'rcu'),
  kfunc('bpf_cpumask_equal', 'tracing struct_ops syscall', 'rcu'),
  kfunc('bpf_cpumask_intersects', 'tracing struct_ops syscall', 'rcu'),
  kfunc('bpf_cpumask_subset', 'tracing struct_ops syscall', 'rcu'),
  kfunc('bpf_cpumask_empty', 'tracing struct_ops syscall', 'rcu'),
  kfunc('bpf_cpumask_full', 'tracing struct_ops syscall', 'rcu'),
  kfunc('bpf_cpumask_copy', 'tracing struct_ops syscall', 'rcu'),
  kfunc('bpf_cpumask_any_distribute', 'tracing struct_ops syscall', 'rcu'),
  kfunc('bpf_cpumask_any_and_distribute', 'tracing struct_ops syscall', 'rcu'),
  kfunc('bpf_cpumask_weight', 'tracing struct_ops syscall', 'rcu'),
  kfunc('bpf_cpumask_populate', 'tracing struct_ops syscall', 'rcu'),
];
