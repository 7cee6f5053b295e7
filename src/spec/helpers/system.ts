/**
 * Helper rows: LSM, sysctl, infrared, cgroup return values and syscall programs.
 * Prototypes are those of Linux 6.18 (struct bpf_func_proto).
 */
import type { HelperRow } from '../types.ts';
import {
  any,
  arg,
  CTX,
  FLAGS,
  helper,
  INT,
  input,
  NO_RETVAL,
  output,
  size,
  sizeOrZero,
  U64,
  u32,
} from './row.ts';

export const SYSTEM_HELPERS: readonly HelperRow[] = [
  helper(77, 'rc_repeat', '4.18', ['lirc_mode2'], INT, [CTX], { gplOnly: true }),
  helper(
    78,
    'rc_keydown',
    '4.18',
    ['lirc_mode2'],
    INT,
    [CTX, u32('protocol'), any('scancode'), u32('toggle')],
    { gplOnly: true },
  ),
  helper(80, 'get_current_cgroup_id', '4.18', ['base'], U64, [], { capability: 'bpf' }),
  helper(92, 'rc_pointer_rel', '5.0', ['lirc_mode2'], INT, [CTX, u32('rel_x'), u32('rel_y')], {
    gplOnly: true,
  }),
  helper(101, 'sysctl_get_name', '5.2', ['cgroup_sysctl'], INT, [
    CTX,
    arg('buf', 'mem', { write: true }),
    size('buf_len'),
    FLAGS,
  ]),
  helper(102, 'sysctl_get_current_value', '5.2', ['cgroup_sysctl'], INT, [
    CTX,
    output('buf'),
    size('buf_len'),
  ]),
  helper(103, 'sysctl_get_new_value', '5.2', ['cgroup_sysctl'], INT, [CTX, output('buf'), size('buf_len')]),
  helper(104, 'sysctl_set_new_value', '5.2', ['cgroup_sysctl'], INT, [CTX, input('buf'), size('buf_len')]),
  helper(159, 'bprm_opts_set', '5.11', ['lsm'], INT, [
    arg('bprm', 'btf_id', { btfType: 'linux_binprm' }),
    FLAGS,
  ]),
  helper(166, 'sys_bpf', '5.14', ['syscall'], INT, [u32('cmd'), input('attr'), size('attr_size')], {
    capability: 'perfmon',
  }),
  helper(167, 'btf_find_by_name_kind', '5.14', ['syscall'], U64, [
    input('name'),
    size('name_sz'),
    u32('kind'),
    u32('flags'),
  ]),
  helper(168, 'sys_close', '5.14', ['syscall'], INT, [u32('fd')]),
  helper(179, 'kallsyms_lookup_name', '5.16', ['syscall'], INT, [
    input('name'),
    sizeOrZero('name_sz'),
    u32('flags'),
    arg('res', 'mem', { uninit: true, write: true, aligned: true, fixedSize: 8 }),
  ]),
  helper(
    186,
    'get_retval',
    '5.18',
    ['cgroup_sock', 'cgroup_sock_addr', 'cgroup_device', 'cgroup_sysctl', 'cgroup_sockopt', 'lsm'],
    INT,
    [],
    { exceptAttachTypes: NO_RETVAL, attachTypes: { lsm: ['LSM_CGROUP'] } },
  ),
  helper(
    187,
    'set_retval',
    '5.18',
    ['cgroup_sock', 'cgroup_sock_addr', 'cgroup_device', 'cgroup_sysctl', 'cgroup_sockopt', 'lsm'],
    INT,
    [u32('retval')],
    { exceptAttachTypes: NO_RETVAL, attachTypes: { lsm: ['LSM_CGROUP'] } },
  ),
];
