import { describe, expect, it } from 'vitest';
import {
  CALLBACK_SHAPES,
  HELPERS,
  helperByName,
  helperParams,
  helperResult,
  mapCreateError,
  mapTypeByName,
  sectionFor,
} from '../../src/spec/index.ts';
import { BPF_MAP_FLAGS } from '../../src/uapi/index.ts';

const params = (name: string) => helperParams(helperByName(name)!);
const result = (name: string) => helperResult(helperByName(name)!);

describe('helperParams', () => {
  it('passes pointers, sizes and 32-bit scalars as one word, other scalars as two', () => {
    expect(params('bpf_map_lookup_elem')).toEqual(['u32', 'u32']);
    expect(params('bpf_map_update_elem')).toEqual(['u32', 'u32', 'u32', 'u64']);
    expect(params('bpf_loop')).toEqual(['u32', 'u32', 'u32', 'u64']);
    expect(params('bpf_probe_read_kernel')).toEqual(['u32', 'u32', 'u64']);
    expect(params('bpf_trace_printk')).toEqual(['u32', 'u32', 'u64', 'u64', 'u64']);
    expect(params('bpf_tail_call')).toEqual(['u32', 'u32', 'u32']);
    expect(params('bpf_xdp_adjust_head')).toEqual(['u32', 'u32']);
    expect(params('bpf_ktime_get_ns')).toEqual([]);
  });

  it('has at most five parameters', () => {
    for (const row of HELPERS) expect(helperParams(row).length).toBeLessThanOrEqual(5);
  });
});

describe('helperResult', () => {
  it('follows the kind of the return and the width of the value', () => {
    expect(result('bpf_map_lookup_elem')).toBe('ptr');
    expect(result('bpf_map_update_elem')).toBe('s32');
    expect(result('bpf_ktime_get_ns')).toBe('u64');
    expect(result('bpf_get_prandom_u32')).toBe('u64');
    expect(result('bpf_get_current_pid_tgid')).toBe('u64');
    expect(result('bpf_get_smp_processor_id')).toBe('s32');
    expect(result('bpf_csum_diff')).toBe('u64');
    expect(result('bpf_ringbuf_reserve')).toBe('ptr');
    expect(result('bpf_ringbuf_submit')).toBe('void');
    expect(result('bpf_get_current_task')).toBe('u64');
    expect(result('bpf_get_current_task_btf')).toBe('ptr');
  });
});

describe('CALLBACK_SHAPES', () => {
  it('has a shape for every helper that calls back', () => {
    for (const row of HELPERS) {
      expect(row.callback === undefined, row.name).toBe(row.callbackShape === undefined);
      if (row.callbackShape === undefined) continue;
      const shape = CALLBACK_SHAPES[row.callbackShape];
      expect(shape.params.length).toBe(shape.names.length);
      expect(row.args.some(({ kind }) => kind === 'func')).toBe(true);
    }
  });
});

describe('sectionFor', () => {
  it.each([
    ['xdp', 'xdp', ''],
    ['xdp.frags', 'xdp.frags', ''],
    ['kprobe/do_sys_open', 'kprobe', 'do_sys_open'],
    ['kprobe', 'kprobe', ''],
    ['kprobe.multi/tcp_*', 'kprobe.multi', 'tcp_*'],
    ['tracepoint/syscalls/sys_enter_execve', 'tracepoint', 'syscalls/sys_enter_execve'],
    ['tp/sched/sched_switch', 'tp', 'sched/sched_switch'],
    ['raw_tp.w/x', 'raw_tp.w', 'x'],
    ['uprobe//bin/bash:readline', 'uprobe', '/bin/bash:readline'],
    ['cgroup/connect4', 'cgroup/connect4', ''],
    ['cgroup_skb/egress', 'cgroup_skb/egress', ''],
    ['sk_skb/stream_verdict', 'sk_skb/stream_verdict', ''],
    ['tc', 'tc', ''],
    ['classifier', 'classifier', ''],
    ['socket', 'socket', ''],
    ['struct_ops/init', 'struct_ops', 'init'],
  ])('%s', (name, row, extra) => {
    expect(sectionFor(name)).toMatchObject({ row: { name: row }, extra, autoload: true });
  });

  it('takes a question mark as "only when asked for"', () => {
    expect(sectionFor('?kprobe/x')).toMatchObject({ extra: 'x', autoload: false });
  });

  it.each(['xdp_drop', 'xdp/foo', 'kprobes', '.text', '', '?', 'cgroup', 'maps'])(
    'does not know %j',
    (name) => {
      expect(sectionFor(name)).toBeNull();
    },
  );
});

describe('mapCreateError', () => {
  const sizes = { keySize: 4, valueSize: 8, maxEntries: 16, flags: 0 };
  const errno = (type: string, change: object) =>
    mapCreateError(mapTypeByName(type)!, { ...sizes, ...change })?.errno;

  it('accepts what Linux accepts', () => {
    expect(errno('hash', {})).toBeUndefined();
    expect(errno('array', { flags: BPF_MAP_FLAGS.BPF_F_MMAPABLE })).toBeUndefined();
    expect(errno('lpm_trie', { keySize: 8, flags: BPF_MAP_FLAGS.BPF_F_NO_PREALLOC })).toBeUndefined();
    expect(errno('ringbuf', { keySize: 0, valueSize: 0, maxEntries: 1 << 16 })).toBeUndefined();
  });

  it('names the field and the rule', () => {
    expect(errno('hash', { keySize: 0 })).toBe('EINVAL');
    expect(errno('hash', { valueSize: 4 << 20 })).toBe('E2BIG');
    expect(errno('array', { keySize: 8 })).toBe('EINVAL');
    expect(errno('ringbuf', { keySize: 0, valueSize: 0, maxEntries: 12_288 })).toBe('EINVAL');
    expect(errno('lpm_trie', { keySize: 8 })).toBe('EINVAL');
    expect(errno('lru_hash', { flags: BPF_MAP_FLAGS.BPF_F_NO_PREALLOC })).toBe('ENOTSUPP');
    expect(errno('array', { flags: BPF_MAP_FLAGS.BPF_F_RDONLY | BPF_MAP_FLAGS.BPF_F_WRONLY })).toBe('EINVAL');
    expect(mapCreateError(mapTypeByName('array')!, { ...sizes, keySize: 8 })?.message).toMatch(
      /key_size 8.*take 4/,
    );
  });
});
