/** What each kind of attachment asks of the kernel, and what it says when it has not been told enough. */
import { describe, expect, it } from 'vitest';
import type { Fd } from '../../src/contracts/kernel.ts';
import {
  type Attachable,
  type AttachKind,
  type AttachOptions,
  attachesWithObject,
  attachProgram,
  attachStructOps,
  attachTc,
  iteratorText,
} from '../../src/libbpf/attach/index.ts';
import type { BpfLink } from '../../src/libbpf/link.ts';
import { BpfMap } from '../../src/libbpf/map.ts';
import { SECTIONS } from '../../src/spec/index.ts';
import { BPF_ATTACH_TYPE } from '../../src/uapi/index.ts';
import { utf8 } from '../../src/util/bytes.ts';
import { FakeKernel, type FakeOptions } from './fake-kernel.ts';
import { CODE, CODE_OFFSET, DATA, DATA_OFFSET, tinyElf } from './tiny-elf.ts';

const PROGRAM = 9 as Fd;
const EVENT = 100;
const BINARY = tinyElf({
  symbols: [
    { name: 'work_a', address: CODE },
    { name: 'work_b', address: CODE + 0x20 },
  ],
  notes: [
    { provider: 'p', name: 'n', arguments: '-4@%edi', address: CODE + 4, semaphore: DATA },
    { provider: 'p', name: 'n', arguments: '-4@%esi', address: CODE + 8, semaphore: DATA },
    { provider: 'p', name: 'n', arguments: '-4@%edi', address: CODE + 12 },
  ],
});
const CONTENTS = {
  '/bin/tiny': BINARY,
  tiny: BINARY,
  '/cgroup': new Uint8Array(),
  '/netns': new Uint8Array(),
};

interface Given {
  readonly kind: AttachKind;
  readonly attachTo?: string;
  readonly attachType?: string;
  readonly options?: AttachOptions;
  readonly kernel?: FakeOptions;
}

function attach(given: Given): { fake: FakeKernel; link: BpfLink } {
  const fake = new FakeKernel({ files: { contents: CONTENTS }, ...given.kernel });
  const program: Attachable = {
    name: 'prog',
    fd: PROGRAM,
    attachTo: given.attachTo,
    attachType: given.attachType,
  };
  return { fake, link: attachProgram(fake.kernel, given.kind, program, given.options ?? {}) };
}

const A = BPF_ATTACH_TYPE;
const onEvent = (event: object, cookie?: bigint) => [
  { method: 'perfEventOpen', attr: event },
  {
    method: 'linkCreate',
    attr: {
      progFd: PROGRAM,
      targetFd: EVENT,
      attachType: A.BPF_PERF_EVENT,
      ...(cookie === undefined ? {} : { bpfCookie: cookie }),
    },
  },
];
const link = (attr: object) => [{ method: 'linkCreate', attr: { progFd: PROGRAM, ...attr } }];

const ASKED: readonly (readonly [string, Given, readonly object[]])[] = [
  [
    'tracepoint',
    { kind: 'tracepoint', attachTo: 'sched/sched_switch', options: { pid: 5, cookie: 7n } },
    onEvent({ kind: 'tracepoint', category: 'sched', name: 'sched_switch', pid: 5 }, 7n),
  ],
  [
    'kprobe with offset',
    { kind: 'kprobe', attachTo: 'vfs_read+0x10' },
    onEvent({ kind: 'kprobe', symbol: 'vfs_read', retprobe: false, offset: 16n }),
  ],
  [
    'kretprobe',
    { kind: 'kretprobe', attachTo: 'vfs_read' },
    onEvent({ kind: 'kprobe', symbol: 'vfs_read', retprobe: true }),
  ],
  [
    'ksyscall',
    { kind: 'ksyscall', attachTo: 'unlink' },
    onEvent({ kind: 'kprobe', symbol: '__x64_sys_unlink', retprobe: false }),
  ],
  [
    'raw tracepoint',
    { kind: 'raw_tracepoint', attachTo: 'sys_enter' },
    [{ method: 'rawTracepointOpen', attr: { name: 'sys_enter', progFd: PROGRAM } }],
  ],
  [
    'tp_btf, fentry, …',
    { kind: 'trace', attachTo: 'vfs_read', attachType: 'TRACE_FENTRY' },
    [{ method: 'rawTracepointOpen', attr: { name: null, progFd: PROGRAM } }],
  ],
  [
    'fentry with a cookie',
    { kind: 'trace', attachTo: 'vfs_read', attachType: 'TRACE_FENTRY', options: { cookie: 3n } },
    link({ attachType: A.BPF_TRACE_FENTRY, bpfCookie: 3n }),
  ],
  [
    'uprobe by symbol and offset',
    { kind: 'uprobe', attachTo: '/bin/tiny:work_b+4', options: { pid: 8 } },
    onEvent({
      kind: 'uprobe',
      path: '/bin/tiny',
      offset: BigInt(CODE_OFFSET + 0x24),
      retprobe: false,
      pid: 8,
    }),
  ],
  [
    'uretprobe by name of the binary and offset',
    { kind: 'uretprobe', options: { target: 'tiny:0x110' } },
    onEvent({ kind: 'uprobe', path: 'tiny', offset: 0x110n, retprobe: true }),
  ],
  [
    'multi-uprobe by pattern',
    { kind: 'uretprobe_multi', attachTo: '/bin/tiny:work_?' },
    link({
      attachType: A.BPF_TRACE_UPROBE_MULTI,
      uprobeMulti: {
        path: '/bin/tiny',
        offsets: [BigInt(CODE_OFFSET), BigInt(CODE_OFFSET + 0x20)],
        flags: 1,
      },
    }),
  ],
  [
    'multi-kprobe by name',
    { kind: 'kprobe_multi', attachTo: 'vfs_read' },
    link({ attachType: A.BPF_TRACE_KPROBE_MULTI, kprobeMulti: { symbols: ['vfs_read'], flags: 0 } }),
  ],
  [
    'XDP',
    { kind: 'xdp', options: { interface: 'eth0', xdpMode: 'skb' } },
    link({ targetIfindex: 3, attachType: A.BPF_XDP, flags: 2 }),
  ],
  [
    'tcx, in order',
    {
      kind: 'tcx',
      attachType: 'TCX_INGRESS',
      options: { interface: 7, flags: 8, relativeId: 5, expectedRevision: 2n },
    },
    link({
      targetIfindex: 7,
      attachType: A.BPF_TCX_INGRESS,
      flags: 8,
      relativeId: 5,
      expectedRevision: 2n,
    }),
  ],
  [
    'netkit',
    { kind: 'netkit', attachType: 'NETKIT_PEER', options: { interface: 'eth0' } },
    link({ targetIfindex: 3, attachType: A.BPF_NETKIT_PEER }),
  ],
  [
    'cgroup by path',
    { kind: 'cgroup', attachType: 'CGROUP_DEVICE', options: { cgroup: '/cgroup' } },
    [{ method: 'open', attr: '/cgroup' }, ...link({ targetFd: 100, attachType: A.BPF_CGROUP_DEVICE })],
  ],
  [
    'cgroup by descriptor, attach type told',
    { kind: 'cgroup', options: { cgroup: 55 as Fd, attachType: 'cgroup_inet_egress' } },
    link({ targetFd: 55, attachType: A.BPF_CGROUP_INET_EGRESS }),
  ],
  [
    'sk_lookup',
    { kind: 'sk_lookup', attachType: 'SK_LOOKUP', options: { netns: '/netns' } },
    [{ method: 'open', attr: '/netns' }, ...link({ targetFd: 100, attachType: A.BPF_SK_LOOKUP })],
  ],
  [
    'sockmap',
    { kind: 'sockmap', attachType: 'SK_MSG_VERDICT', options: { map: { fd: 44 } } },
    link({ targetFd: 44, attachType: A.BPF_SK_MSG_VERDICT }),
  ],
  [
    'sockmap of an older kernel',
    {
      kind: 'sockmap',
      attachType: 'SK_MSG_VERDICT',
      options: { map: { fd: 44 } },
      kernel: { release: '6.9.0' },
    },
    [
      {
        method: 'progAttach',
        attr: { targetFd: 44, attachBpfFd: PROGRAM, attachType: A.BPF_SK_MSG_VERDICT },
      },
    ],
  ],
  [
    'netfilter',
    {
      kind: 'netfilter',
      attachType: 'NETFILTER',
      options: { netfilter: { pf: 2, hooknum: 1, priority: -5, defrag: true } },
    },
    link({ attachType: A.BPF_NETFILTER, netfilter: { pf: 2, hooknum: 1, priority: -5, flags: 1 } }),
  ],
  [
    'iterator of a process',
    { kind: 'iter', attachTo: 'task', options: { iter: { pid: 258 } } },
    link({
      attachType: A.BPF_TRACE_ITER,
      iterInfo: new Uint8Array([0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0]),
    }),
  ],
  ['iterator', { kind: 'iter', attachTo: 'task' }, link({ attachType: A.BPF_TRACE_ITER })],
  [
    'perf event of a process',
    {
      kind: 'perf_event',
      options: { pid: 6, perfEvent: { type: 1, config: 0n, frequency: 99 } },
    },
    onEvent({ kind: 'sampling', type: 1, config: 0n, cpu: -1, frequency: 99, pid: 6 }),
  ],
];

describe('what the kernel is asked', () => {
  it.each(ASKED)('%s', (_name, given, calls) => {
    const { fake, link } = attach(given);
    expect(fake.calls).toEqual(calls);
    link.destroy();
    link.destroy();
    expect([...fake.open]).toEqual([]);
  });

  it('a perf event on all CPUs that are online', () => {
    const contents = { '/sys/devices/system/cpu/online': utf8('0,2-3\n') };
    const { fake, link } = attach({
      kind: 'perf_event',
      options: { perfEvent: { type: 1, config: 0n, period: 5n } },
      kernel: { files: { contents } },
    });
    const cpus = fake.calls.filter(({ method }) => method === 'perfEventOpen');
    expect(cpus.map(({ attr }) => (attr as { cpu: number }).cpu)).toEqual([0, 2, 3]);
    expect(() => link.fd).toThrow(expect.objectContaining({ code: 'EOPNOTSUPP' }));
    link.update({ fd: 12 as Fd });
    expect(fake.calls.filter(({ method }) => method === 'linkUpdate')).toHaveLength(3);
    link.destroy();
    expect(fake.open.size).toBe(0);
  });

  it('when one of several links is refused, none is left', () => {
    const fake = new FakeKernel({ failLink: 2 });
    const program: Attachable = { name: 'prog', fd: PROGRAM, attachTo: undefined };
    const perfEvent = { type: 1, config: 0n, period: 5n };
    expect(() => attachProgram(fake.kernel, 'perf_event', program, { perfEvent })).toThrow('refused');
    expect(fake.open.size).toBe(0);
  });
});

describe('multi-kprobe by pattern', () => {
  const functions = utf8('vfs_read\nvfs_write [mod]\nvfs_read\nother\n__ftrace_invalid_address___5\n');
  const asked = (kallsyms: string) => {
    const contents = { available_filter_functions: functions, '/proc/kallsyms': utf8(kallsyms) };
    const { fake } = attach({ kind: 'kprobe_multi', attachTo: 'vfs_*', kernel: { files: { contents } } });
    return (fake.calls[0]!.attr as { kprobeMulti: object }).kprobeMulti;
  };

  it('addresses where they are known', () => {
    expect(asked('10 T vfs_read\n20 t vfs_read\n30 t vfs_write\n40 d vfs_write\n')).toEqual({
      addresses: [0x10n, 0x20n, 0x30n],
      flags: 0,
    });
  });

  it('names where they are hidden', () => {
    expect(asked('0 T vfs_read\n0 t vfs_write\n')).toEqual({ symbols: ['vfs_read', 'vfs_write'], flags: 0 });
  });

  it('nothing matches, nothing is known', () => {
    const contents = { available_filter_functions: functions };
    const attempt = (attachTo: string, kernel: FakeOptions) => () =>
      attach({ kind: 'kprobe_multi', attachTo, kernel });
    const enoent = expect.objectContaining({ code: 'ENOENT' });
    expect(attempt('none_*', { files: { contents } })).toThrow(enoent);
    expect(attempt('vfs_*', { files: { contents: {} } })).toThrow(enoent);
    expect(attempt('vfs_*', { noFiles: true })).toThrow(expect.objectContaining({ code: 'EOPNOTSUPP' }));
  });
});

describe('USDT', () => {
  const made = (kernel: FakeOptions = {}, attachType?: string) => {
    const fake = new FakeKernel({ files: { contents: CONTENTS }, ...kernel });
    const map = (name: string, fd: number, keySize: number, valueSize: number) =>
      new BpfMap(fake.kernel, fd as Fd, {
        name,
        type: 2,
        keySize,
        valueSize,
        maxEntries: 4,
        flags: 0,
        btf: undefined,
        btfKeyTypeId: 0,
        btfValueTypeId: 0,
      });
    const all = [map('__bpf_usdt_specs', 30, 4, 208), map('__bpf_usdt_ip_to_spec_id', 31, 8, 4)];
    const maps = { find: (name: string) => all.find((one) => one.name === name) };
    const program: Attachable = { name: 'prog', fd: PROGRAM, attachTo: '/bin/tiny:p:n', attachType, maps };
    return {
      fake,
      attach: (options: AttachOptions = {}) => attachProgram(fake.kernel, 'usdt', program, options),
    };
  };
  const of = (fake: FakeKernel, method: string) =>
    fake.calls.filter((call) => call.method === method).map(({ attr }) => attr as Record<string, unknown>);

  it('one entry for each argument list, one uprobe for each place', () => {
    const { fake, attach } = made();
    const link = attach({ pid: 4 });
    expect(of(fake, 'mapUpdateElem').map(({ key }) => (key as Uint8Array)[0])).toEqual([0, 1]);
    expect(of(fake, 'perfEventOpen')).toEqual([
      { kind: 'uprobe', path: '/bin/tiny', offset: 0x104n, pid: 4, refCtrOffset: BigInt(DATA_OFFSET) },
      { kind: 'uprobe', path: '/bin/tiny', offset: 0x108n, pid: 4, refCtrOffset: BigInt(DATA_OFFSET) },
      { kind: 'uprobe', path: '/bin/tiny', offset: 0x10cn, pid: 4 },
    ]);
    expect(of(fake, 'linkCreate').map(({ bpfCookie }) => bpfCookie)).toEqual([0n, 1n, 0n]);
    link.destroy();
    expect(fake.open.size).toBe(0);
  });

  it('programs for it have all places in one link', () => {
    const { fake, attach } = made({}, 'TRACE_UPROBE_MULTI');
    const link = attach();
    expect(of(fake, 'linkCreate')).toEqual([
      {
        progFd: PROGRAM,
        attachType: A.BPF_TRACE_UPROBE_MULTI,
        uprobeMulti: {
          path: '/bin/tiny',
          offsets: [0x104n, 0x108n, 0x10cn],
          refCtrOffsets: [BigInt(DATA_OFFSET), BigInt(DATA_OFFSET), 0n],
          cookies: [0n, 1n, 0n],
        },
      },
    ]);
    link.destroy();
    expect(fake.open.size).toBe(0);
  });

  it('entries are used again, and run out', () => {
    const { attach } = made();
    for (let i = 0; i < 10; i++) attach().destroy();
    const two = [attach(), attach()];
    expect(() => attach()).toThrow(expect.objectContaining({ code: 'E2BIG' }));
    two[0]!.destroy();
    attach();
  });

  it('a refused link gives its entries back', () => {
    const { fake, attach } = made({ failLink: 3 });
    expect(() => attach()).toThrow('refused');
    expect(fake.open.size).toBe(0);
    attach();
    attach();
  });

  it('kernels without cookies are told the addresses of one process', () => {
    const release = '5.10.0';
    expect(() => made({ release }).attach()).toThrow(expect.objectContaining({ code: 'EOPNOTSUPP' }));
    const maps = utf8('7f0000000000-7f0000001000 r-xp 00000000 fe:00 1   /bin/tiny\n');
    const { fake, attach } = made({ release, files: { contents: { ...CONTENTS, '/proc/4/maps': maps } } });
    const link = attach({ pid: 4 });
    const keys = of(fake, 'mapUpdateElem')
      .filter(({ mapFd }) => mapFd === 31)
      .map(({ key }) => new DataView((key as Uint8Array).buffer).getBigUint64(0, true));
    expect(keys).toEqual([0x7f0000000104n, 0x7f0000000108n, 0x7f000000010cn]);
    expect(of(fake, 'linkCreate')[0]).not.toHaveProperty('bpfCookie');
    link.destroy();
    expect(of(fake, 'mapDeleteElem')).toHaveLength(3);
  });

  it('an object without the maps', () => {
    expect(() => attach({ kind: 'usdt', attachTo: '/bin/tiny:p:n' })).toThrow(
      expect.objectContaining({ code: 'ENOENT', hint: expect.stringContaining('usdt.bpf.h') }),
    );
  });
});

describe('what is missing or wrong', () => {
  it.each<[string, Given, string]>([
    ['no target', { kind: 'kprobe' }, 'EINVAL'],
    ['an offset that is none', { kind: 'kprobe', attachTo: 'f+x' }, 'EINVAL'],
    ['a name with a blank', { kind: 'kprobe', attachTo: 'a b' }, 'EINVAL'],
    ['a return with an offset', { kind: 'kretprobe', attachTo: 'f+1' }, 'EINVAL'],
    ['half a tracepoint', { kind: 'tracepoint', attachTo: 'sched' }, 'EINVAL'],
    ['no binary', { kind: 'uprobe', attachTo: 'main' }, 'EINVAL'],
    ['no place', { kind: 'uprobe', attachTo: '/bin/tiny:' }, 'EINVAL'],
    ['no file', { kind: 'uprobe', attachTo: '/bin/none:main' }, 'ENOENT'],
    ['no such name', { kind: 'uprobe', attachTo: 'none:main' }, 'ENOENT'],
    ['a return with an offset', { kind: 'uretprobe', attachTo: '/bin/tiny:work_a+4' }, 'EINVAL'],
    ['no function', { kind: 'uprobe', attachTo: '/bin/tiny:main' }, 'ENOENT'],
    ['no machine', { kind: 'uprobe', attachTo: '/bin/tiny:main', kernel: { noFiles: true } }, 'EOPNOTSUPP'],
    ['nothing matches', { kind: 'uprobe_multi', attachTo: '/bin/tiny:x*' }, 'ENOENT'],
    [
      'symbols and offsets',
      { kind: 'uprobe_multi', attachTo: 't', options: { symbols: [], offsets: [] } },
      'EINVAL',
    ],
    ['symbols and addresses', { kind: 'kprobe_multi', options: { symbols: [], addresses: [] } }, 'EINVAL'],
    ['no interface', { kind: 'xdp' }, 'EINVAL'],
    ['no such interface', { kind: 'tcx', options: { interface: 'eth9' } }, 'ENODEV'],
    ['no attach type', { kind: 'cgroup', options: { cgroup: '/cgroup' } }, 'EINVAL'],
    ['no such attach type', { kind: 'cgroup', options: { cgroup: 5 as Fd, attachType: 'X' } }, 'EINVAL'],
    ['no cgroup', { kind: 'cgroup', attachType: 'CGROUP_DEVICE' }, 'EINVAL'],
    ['no such cgroup', { kind: 'cgroup', attachType: 'CGROUP_DEVICE', options: { cgroup: '/x' } }, 'ENOENT'],
    ['no namespace', { kind: 'sk_lookup', attachType: 'SK_LOOKUP' }, 'EINVAL'],
    ['no map', { kind: 'sockmap', attachType: 'SK_MSG_VERDICT' }, 'EINVAL'],
    ['no event', { kind: 'perf_event' }, 'EINVAL'],
    ['no rate', { kind: 'perf_event', options: { perfEvent: { type: 1, config: 0n } } }, 'EINVAL'],
    ['no hook', { kind: 'netfilter' }, 'EINVAL'],
    ['a function of struct_ops', { kind: 'struct_ops' }, 'EINVAL'],
  ])('%s', (_name, given, code) => {
    expect(() => attach(given)).toThrow(expect.objectContaining({ code }));
  });

  it('a section that says nothing', () => {
    const program: Attachable = { name: 'prog', fd: PROGRAM, attachTo: undefined };
    expect(() => attachProgram(new FakeKernel().kernel, undefined, program, {})).toThrow(
      expect.objectContaining({ code: 'EOPNOTSUPP' }),
    );
  });

  it('a kernel without traffic control, or iterators', () => {
    const { kernel } = new FakeKernel();
    const program: Attachable = { name: 'prog', fd: PROGRAM, attachTo: undefined };
    const lacking = expect.objectContaining({ code: 'EOPNOTSUPP' });
    expect(() => attachTc(kernel, program, { interface: 1, direction: 'ingress' })).toThrow(lacking);
    expect(() => iteratorText(kernel, { fd: 4 as Fd })).toThrow(lacking);
  });
});

it('a struct_ops map: a link, or its element', () => {
  const map = (flags: number) => ({ fd: 8, name: 'ops', definition: { flags } });
  const linked = new FakeKernel();
  attachStructOps(linked.kernel, map(1 << 13), new Uint8Array(8)).destroy();
  expect(linked.calls.map(({ method }) => method)).toEqual(['mapUpdateElem', 'linkCreate']);
  const plain = new FakeKernel();
  attachStructOps(plain.kernel, map(0), new Uint8Array(8)).destroy();
  expect(plain.calls.map(({ method }) => method)).toEqual(['mapUpdateElem', 'mapDeleteElem']);
});

describe('attaching the whole object', () => {
  it.each<[string, AttachKind, string | undefined, AttachOptions, boolean]>([
    ['a target in the section', 'kprobe', 'vfs_read', {}, true],
    ['a bare section', 'kprobe', undefined, {}, false],
    ['a bare section, told the target', 'kprobe', undefined, { target: 'vfs_read' }, true],
    ['an interface', 'tcx', undefined, { interface: 'eth0' }, true],
    ['no interface', 'xdp', undefined, {}, false],
    ['a cgroup', 'cgroup', undefined, { cgroup: '/c' }, true],
    ['no cgroup', 'cgroup', undefined, { interface: 'eth0' }, false],
    ['no namespace', 'sk_lookup', undefined, {}, false],
    ['struct_ops', 'struct_ops', undefined, {}, false],
  ])('%s', (_name, kind, target, options, expected) => {
    expect(attachesWithObject(kind, target, options)).toBe(expected);
  });

  it('every section of the table has an attacher that answers', () => {
    for (const { attach: kind } of SECTIONS)
      if (kind !== undefined) expect(attachesWithObject(kind, undefined, {})).toBe(false);
    expect(attachesWithObject(undefined, 'x', {})).toBe(false);
  });
});
