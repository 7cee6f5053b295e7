/**
 * Kernel functions: Files, HID devices, crypto, kprobe sessions, statistics of cgroups, and functions of the kernel's own tests.
 * Flags and sets are those of Linux 6.18 (BTF_ID_FLAGS, register_btf_kfunc_id_set).
 */
import { type KfuncRow, kfunc } from './row.ts';

export const OTHER_KFUNCS: readonly KfuncRow[] = [
  kfunc('hid_bpf_get_data', 'struct_ops', 'ret_null'),
  kfunc('hid_bpf_allocate_context', 'struct_ops', 'acquire ret_null sleepable'),
  kfunc('hid_bpf_release_context', 'struct_ops', 'release sleepable'),
  kfunc('hid_bpf_hw_request', 'struct_ops', 'sleepable'),
  kfunc('hid_bpf_hw_output_report', 'struct_ops', 'sleepable'),
  kfunc('hid_bpf_input_report', 'struct_ops', 'sleepable'),
  kfunc('hid_bpf_try_input_report', 'struct_ops', ''),
  kfunc('hid_bpf_allocate_context', 'syscall', 'acquire ret_null'),
  kfunc('hid_bpf_release_context', 'syscall', 'release'),
  kfunc('hid_bpf_hw_request', 'syscall', ''),
  kfunc('hid_bpf_hw_output_report', 'syscall', ''),
  kfunc('hid_bpf_input_report', 'syscall', ''),
  kfunc('bpf_get_task_exe_file', 'tracing', 'acquire trusted_args ret_null', { progTypes: ['lsm'] }),
  kfunc('bpf_put_file', 'tracing', 'release', { progTypes: ['lsm'] }),
  kfunc('bpf_path_d_path', 'tracing', 'trusted_args', { progTypes: ['lsm'] }),
  kfunc('bpf_get_dentry_xattr', 'tracing', 'sleepable trusted_args', { progTypes: ['lsm'] }),
  kfunc('bpf_get_file_xattr', 'tracing', 'sleepable trusted_args', { progTypes: ['lsm'] }),
  kfunc('bpf_set_dentry_xattr', 'tracing', 'sleepable trusted_args', { progTypes: ['lsm'] }),
  kfunc('bpf_remove_dentry_xattr', 'tracing', 'sleepable trusted_args', { progTypes: ['lsm'] }),
  kfunc('bpf_get_fsverity_digest', 'tracing', 'trusted_args', { progTypes: ['lsm'] }),
  kfunc('bpf_crypto_decrypt', 'tc sched_act xdp', 'rcu'),
  kfunc('bpf_crypto_encrypt', 'tc sched_act xdp', 'rcu'),
  kfunc('bpf_crypto_ctx_create', 'syscall', 'acquire ret_null sleepable'),
  kfunc('bpf_crypto_ctx_release', 'syscall', 'release'),
  kfunc('bpf_crypto_ctx_acquire', 'syscall', 'acquire rcu ret_null'),
  kfunc('css_rstat_updated', 'tracing', ''),
  kfunc('css_rstat_flush', 'tracing', 'sleepable'),
  kfunc('bpf_session_is_return', 'kprobe', '', {
    attachTypes: ['TRACE_KPROBE_SESSION', 'TRACE_UPROBE_SESSION'],
  }),
  kfunc('bpf_session_cookie', 'kprobe', '', {
    returnSize: 8,
    attachTypes: ['TRACE_KPROBE_SESSION', 'TRACE_UPROBE_SESSION'],
  }),
  kfunc('bpf_kfunc_call_test_release', 'tc tracing syscall', 'release'),
  kfunc('bpf_kfunc_call_memb_release', 'tc tracing syscall', 'release'),
];
