/**
 * Functions of the kernel that programs may or may not attach to, where neither BTF nor the function's name says it: lists in the
 * kernel's source. The value is the first long-term release with the entry, and behind `..` the first without; names without a function in the kernel's BTF do no harm.
 * Sources: Linux 6.18 kernel/bpf/bpf_lsm.c, btf_id_deny, noreturn_deny, check_non_sleepable_error_inject, ALLOW_ERROR_INJECTION.
 */
import { isSince } from './releases/version.ts';

type FunctionList = Readonly<Record<string, string>>;

function list(since: string, names: string): FunctionList {
  return Object.fromEntries(names.split(/\s+/).map((name) => [name, since]));
}

function lsm(since: string, names: string): FunctionList {
  return list(
    since,
    names
      .trim()
      .split(/\s+/)
      .map((name) => `bpf_lsm_${name}`)
      .join(' '),
  );
}

export const ATTACH_LISTS = {
  /** Hooks whose result the kernel cannot take from a program. */
  lsmDisabled: {
    ...lsm(
      '6.1',
      `vm_enough_memory inode_need_killpriv inode_getsecurity inode_listsecurity inode_copy_up_xattr getselfattr getprocattr setprocattr
     key_getsecurity audit_rule_match ismaclabel`,
    ),
    ...lsm('6.1..6.12', 'xfrm_decode_session'),
  },
  /** Functions of that prefix that are no hooks. */
  lsmInternal: lsm(
    '5.4',
    `find_cgroup_shim func_proto init is_sleepable_hook verify_prog is_trusted get_retval_range`,
  ),
  /** Hooks that are called where one may sleep. */
  lsmSleepable: {
    ...lsm(
      '5.11',
      `bpf bpf_map bpf_prog bprm_check_security bprm_committing_creds bprm_creds_for_exec
       bprm_creds_from_file capget capset cred_prepare file_ioctl file_lock file_open file_receive inode_create inode_free_security
       inode_getattr inode_getxattr inode_mknod inode_need_killpriv inode_post_setxattr inode_readlink
       inode_rename inode_rmdir inode_setattr inode_setxattr inode_symlink inode_unlink kernel_module_request kernel_read_file
       kernfs_init_security mmap_file netlink_send path_notify release_secctx sb_alloc_security sb_eat_lsm_opts sb_kern_mount
       sb_mount sb_remount sb_set_mnt_opts sb_show_options sb_statfs sb_umount settime socket_accept
       socket_bind socket_connect socket_create socket_getpeername socket_getpeersec_dgram socket_getsockname socket_getsockopt
       socket_listen socket_post_create socket_recvmsg socket_sendmsg socket_shutdown socket_socketpair syslog task_alloc
       task_prctl task_setscheduler`,
    ),
    ...lsm('5.10', 'bprm_committed_creds'),
    ...lsm('5.11..6.12', 'inet_conn_established'),
    ...lsm('6.1', 'userns_create'),
    ...lsm('6.15', 'inode_removexattr inode_post_removexattr'),
    ...lsm(
      '6.12',
      `bpf_map_create bpf_map_free bpf_prog_load bpf_prog_free bpf_token_create bpf_token_free bpf_token_cmd bpf_token_capable
       file_post_open path_unlink path_mkdir path_rmdir path_truncate path_symlink path_link path_rename
       path_chmod path_chown`,
    ),
  },
  /** Hooks whose arguments are not alive for sure. */
  lsmUntrusted: lsm(
    '6.6',
    'bpf_map_free bpf_prog_free file_alloc_security file_free_security sk_alloc_security sk_free_security task_free',
  ),
  /** Hooks that answer 0 or 1. */
  lsmBool: lsm('6.12', 'xfrm_state_pol_flow_match audit_rule_known inode_xattr_skipcap'),
  /** No tracing program may attach: the trampoline itself calls them. */
  tracingDenied: {
    ...list('5.15', 'migrate_disable migrate_enable rcu_read_unlock_strict'),
    ...list('6.6', 'preempt_count_add preempt_count_sub __rcu_read_lock __rcu_read_unlock'),
  },
  /** Functions that do not return. */
  noReturn: list(
    '6.12',
    `__ia32_sys_exit __ia32_sys_exit_group __kunit_abort kunit_try_catch_throw __module_put_and_kthread_exit __x64_sys_exit
     __x64_sys_exit_group do_exit do_group_exit kthread_complete_and_exit kthread_exit make_task_dead`,
  ),
  /** Functions whose result programs may change (fmod_ret) in every kernel: BTF's own list. */
  modifiable: list(
    '6.6',
    'bpf_modify_return_test bpf_modify_return_test2 bpf_modify_return_test_tp update_socket_protocol bpf_fentry_test1',
  ),
  /** Of these they may also sleep in some. */
  modifiableAsleep: list('6.6', 'bpf_fentry_test1'),
  /** Functions that may be made to fail, beside system calls, in kernels that have such a list (ALLOW_ERROR_INJECTION). */
  failing: {
    ...list(
      '5.7',
      `should_failslab should_fail_alloc_page should_fail_bio open_ctree btrfs_cow_block btrfs_search_slot io_ctl_init
       bpf_modify_return_test`,
    ),
    ...list('5.10', '__filemap_add_folio __add_to_page_cache_locked'),
  },
  /** Of these no program may sleep in some. */
  failingAwake: list(
    '5.10',
    'should_fail_alloc_page should_failslab __filemap_add_folio __add_to_page_cache_locked',
  ),
} as const satisfies Readonly<Record<string, FunctionList>>;

export type AttachListName = keyof typeof ATTACH_LISTS;

/** Whether the release has the function on the list. */
export function onAttachList(name: AttachListName, func: string, release: string): boolean {
  const found: FunctionList = ATTACH_LISTS[name];
  if (!Object.hasOwn(found, func)) return false;
  const [since, until] = found[func]!.split('..');
  return isSince(release, since!) && (until === undefined || !isSince(release, until));
}

/** Entry of a system call. */
const SYSTEM_CALL = /^__(x64|ia32|ia32_compat|arm64|arm64_compat|s390x|s390|riscv|se)_(compat_)?sys_/;

/** Whether the kernel's list of functions that may be made to fail has it, where there is such a list. */
export function mayBeMadeToFail(func: string, release: string): boolean {
  return SYSTEM_CALL.test(func) || onAttachList('failing', func, release);
}
