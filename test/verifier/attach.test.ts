/** What programs may attach to: functions, hooks, tracepoints and iterators of a small kernel of our own, by release. */
import { describe, expect, it } from 'vitest';
import { BtfBuilder, btfInt } from '../../src/btf/index.ts';
import type { VerifyResult } from '../../src/contracts/verify.ts';
import { ATTACH_LISTS, attachTypeByName } from '../../src/spec/index.ts';
import { check } from './support.ts';

const types = new BtfBuilder();
const int = types.add(btfInt('int', 4, { signed: true }));
const proto = (returnType: number, params: number[]): number =>
  types.add({
    kind: 'func_proto',
    returnType,
    params: params.map((type, i) => ({ name: type === 0 ? '' : `a${i}`, type })),
  });
const func = (name: string, type: number): number =>
  types.add({ kind: 'func', name, type, linkage: 'static' });
const one = proto(int, [int]);
const none = proto(0, [int]);
const NAMES = [
  'vfs_read',
  'security_file_open',
  '__x64_sys_read',
  'should_failslab',
  'migrate_disable',
  'do_exit',
  'bpf_lsm_file_open',
  'bpf_lsm_getprocattr',
  'bpf_lsm_inode_xattr_skipcap',
  'bpf_lsm_inode_permission',
  'bpf_lsm_func_proto',
  'bpf_iter_task',
  'bpf_iter_nothing',
  'within_error_injection_list',
];
for (const name of NAMES) func(name, one);
func('bpf_lsm_task_free', none);
func('_printk', proto(int, [int, 0]));
func('wide', proto(int, new Array(13).fill(int)));
const big = types.add({ kind: 'struct', name: 'big', size: 24, members: [] });
const small = types.add({ kind: 'struct', name: 'small', size: 16, members: [] });
func('by_value', proto(int, [big]));
func('by_small_value', proto(int, [small]));
func('gives_struct', proto(small, [int]));
types.add({ kind: 'typedef', name: 'btf_trace_tick', type: types.add({ kind: 'ptr', type: none }) });
types.add({ kind: 'typedef', name: 'size_t', type: int });
const BTF = types.build();

interface How {
  readonly type?: string;
  readonly attachType?: string;
  readonly sleeps?: boolean;
  readonly release?: string;
  readonly returns?: number;
  readonly gpl?: boolean;
}

function load(target: string | number, how: How = {}): VerifyResult {
  const { attachType = 'TRACE_FENTRY', returns = 0, release, sleeps = false, gpl = true } = how;
  const type = how.type ?? (attachType.startsWith('LSM') ? 'lsm' : 'tracing');
  const id =
    typeof target === 'number' ? target : (BTF.find(target, 'func') ?? BTF.find(target, 'typedef') ?? 0);
  return check(`r0 = ${returns}\nexit`, {
    type,
    kernelBtf: BTF,
    attachBtfId: id,
    expectedAttachType: type === 'ext' ? 0 : attachTypeByName(attachType)!.id,
    flags: sleeps ? 1 << 4 : 0,
    gplCompatible: gpl,
    ...(release === undefined ? {} : { release }),
  });
}

const refused = (result: VerifyResult): string =>
  result.verdict === 'accept'
    ? 'accepted'
    : `${result.errno}: ${result.message.replace(/btf_id \d+/, 'btf_id N')}`;

describe('tracing programs', () => {
  it.each([
    ['vfs_read', {}, 'accepted'],
    [0, {}, 'EINVAL: Tracing programs must provide btf_id'],
    [1 << 20, {}, 'EINVAL: attach_btf_id N is invalid'],
    ['btf_trace_tick', {}, 'EINVAL: attach_btf_id N is not a function'],
    ['_printk', {}, 'EINVAL: The function _printk with variable args is unsupported.'],
    ['wide', {}, 'EINVAL: The function wide has 13 arguments. Too many.'],
    ['by_value', {}, 'EINVAL: The function by_value arg0 type STRUCT is unsupported.'],
    ['by_small_value', {}, 'accepted'],
    [
      'by_small_value',
      { release: '5.15' },
      'EINVAL: The function by_small_value arg0 type STRUCT is unsupported.',
    ],
    ['gives_struct', {}, 'EINVAL: The function gives_struct return type STRUCT is unsupported.'],
    ['migrate_disable', {}, "EINVAL: Attaching tracing programs to function 'migrate_disable' is rejected."],
    ['migrate_disable', { release: '6.1' }, 'EINVAL: '],
    ['do_exit', {}, 'accepted'],
    [
      'do_exit',
      { attachType: 'TRACE_FEXIT' },
      "EINVAL: Attaching fexit/fmod_ret to __noreturn function 'do_exit' is rejected.",
    ],
    ['do_exit', { attachType: 'TRACE_FEXIT', release: '6.1' }, 'accepted'],
    ['vfs_read', { attachType: 'MODIFY_RETURN' }, 'EINVAL: vfs_read() is not modifiable'],
    ['security_file_open', { attachType: 'MODIFY_RETURN' }, 'accepted'],
    ['__x64_sys_read', { attachType: 'MODIFY_RETURN' }, 'accepted'],
    ['__x64_sys_read', { sleeps: true }, 'accepted'],
    ['vfs_read', { sleeps: true }, 'EINVAL: vfs_read is not sleepable'],
    ['should_failslab', { sleeps: true }, 'EINVAL: should_failslab is not sleepable'],
    ['btf_trace_tick', { attachType: 'TRACE_RAW_TP' }, 'accepted'],
    ['size_t', { attachType: 'TRACE_RAW_TP' }, 'EINVAL: attach_btf_id N points to wrong type name size_t'],
    ['vfs_read', { attachType: 'TRACE_RAW_TP' }, 'EINVAL: attach_btf_id N is not a typedef'],
    ['btf_trace_tick', { attachType: 'TRACE_RAW_TP', sleeps: true, release: '6.1' }, 'accepted'],
    ['bpf_iter_task', { attachType: 'TRACE_ITER' }, 'accepted'],
    ['vfs_read', { type: 'ext' }, 'EINVAL: Cannot replace kernel functions'],
  ] as const)('%s %j', (target, how, expected) => {
    expect(refused(load(target, how))).toBe(expected);
  });

  it('iterate over what there is', () => {
    const result = load('bpf_iter_nothing', { attachType: 'TRACE_ITER' });
    expect(result.verdict).toBe('reject');
  });
});

describe('LSM programs', () => {
  const LSM = { attachType: 'LSM_MAC' } as const;
  it.each([
    ['bpf_lsm_file_open', {}, 'accepted'],
    ['bpf_lsm_file_open', { sleeps: true }, 'accepted'],
    ['bpf_lsm_inode_permission', { sleeps: true }, 'EINVAL: bpf_lsm_inode_permission is not sleepable'],
    ['bpf_lsm_file_open', { gpl: false }, 'EINVAL: LSM programs must have a GPL compatible license'],
    ['bpf_lsm_getprocattr', {}, 'EINVAL: attach_btf_id N points to disabled hook bpf_lsm_getprocattr'],
    ['bpf_lsm_func_proto', {}, 'EINVAL: attach_btf_id N points to wrong type name bpf_lsm_func_proto'],
    ['vfs_read', {}, 'EINVAL: attach_btf_id N points to wrong type name vfs_read'],
    [
      'bpf_lsm_file_open',
      { returns: 1 },
      'EINVAL: At program exit the register R0 has smin=1 smax=1 should have been in [-4095, 0]',
    ],
    ['bpf_lsm_file_open', { returns: 1, release: '6.1' }, 'accepted'],
    ['bpf_lsm_inode_xattr_skipcap', { returns: 1 }, 'accepted'],
    [
      'bpf_lsm_inode_xattr_skipcap',
      { returns: -1 },
      'EINVAL: At program exit the register R0 has smin=-1 smax=-1 should have been in [0, 1]',
    ],
    ['bpf_lsm_task_free', { returns: 7 }, 'accepted'],
    [
      'bpf_lsm_task_free',
      { attachType: 'LSM_CGROUP' },
      "EINVAL: Note, BPF_LSM_CGROUP that attach to void LSM hooks can't modify return value!",
    ],
    ['bpf_lsm_task_free', { attachType: 'LSM_CGROUP', returns: 1 }, 'accepted'],
  ] as const)('%s %j', (target, how, expected) => {
    expect(refused(load(target, { ...LSM, ...how }))).toBe(expected);
  });

  it('know the range of the result that they are shown', () => {
    const text = 'r0 = *(u64 *)(r1 +8)\nexit';
    const options = {
      type: 'lsm',
      kernelBtf: BTF,
      attachBtfId: BTF.find('bpf_lsm_file_open', 'func')!,
      expectedAttachType: attachTypeByName('LSM_MAC')!.id,
    };
    expect(refused(check(text, options))).toBe('accepted');
  });
});

describe('the lists of functions', () => {
  it('have names and releases only', () => {
    for (const list of Object.values(ATTACH_LISTS)) {
      for (const [name, since] of Object.entries(list)) {
        expect(name).toMatch(/^\w+$/);
        expect(since).toMatch(/^\d+\.\d+(\.\.\d+\.\d+)?$/);
      }
    }
  });
});
