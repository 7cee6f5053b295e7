/** What the embedded kernel has beyond the contract: privileges, sysctls, a driven machine, contained faults. */
import { describe, expect, it } from 'vitest';
import type { Engine, ExecutableProgram } from '../../src/contracts/engine.ts';
import type { Credentials } from '../../src/contracts/verify.ts';
import { createInterpreter } from '../../src/interpreter/index.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { BPF_ATTACH_TYPE } from '../../src/uapi/index.ts';
import { BpfError, ProgramFault } from '../../src/util/index.ts';
import {
  code,
  expectCode,
  FRAME,
  idOf,
  load,
  makeMap,
  ProgramBuilder,
  R0,
  R1,
  R2,
  R3,
  returns,
  run,
  u32,
  u64,
} from './subject.ts';

const { BPF_PERF_EVENT, BPF_XDP } = BPF_ATTACH_TYPE;
const NOBODY: Credentials = {
  uid: 1000,
  capBpf: false,
  capPerfmon: false,
  capNetAdmin: false,
  capSysAdmin: false,
};
const as = (caps: Partial<Credentials>, unprivilegedDisabled = 2) => {
  const kernel = new EmbeddedKernel({ credentials: { ...NOBODY, ...caps } });
  kernel.simulator.setSysctl('kernel.unprivileged_bpf_disabled', unprivilegedDisabled);
  return kernel;
};
const process = { pid: 7, tgid: 7, uid: 5, gid: 6, comm: 'seven' };

describe('privileges', () => {
  it('of nobody, while unprivileged_bpf_disabled is set', () => {
    for (const disabled of [1, 2]) {
      const kernel = as({}, disabled);
      expectCode('EPERM', () => makeMap(kernel, 'array'));
      expectCode('EPERM', () => load(kernel, returns(0)));
      expectCode('EPERM', () => kernel.btfLoad({ btf: new Uint8Array() }));
      expectCode('EPERM', () => kernel.objGetNextId({ kind: 'map', startId: 0 }));
      // Sizes are looked at first.
      expectCode('EINVAL', () => makeMap(kernel, 'array', { keySize: 3 }));
    }
  });

  it('of nobody, while it is not', () => {
    const kernel = as({}, 0);
    const map = makeMap(kernel, 'array');
    kernel.mapUpdateElem({ mapFd: map, key: u32(0), value: u32(1) });
    expect(run(kernel, load(kernel, returns(0)))).toBe(0);
    expectCode('ok', () => load(kernel, returns(1), 'cgroup_skb'));
    for (const type of ['xdp', 'kprobe', 'tracepoint', 'sched_cls', 'raw_tracepoint'])
      expect([type, code(() => load(kernel, returns(0), type))]).toEqual([type, 'EPERM']);
    expectCode('EPERM', () => load(kernel, returns(0), 'xdp', { progType: 999 }));
    for (const type of ['hash', 'prog_array', 'perf_event_array', 'array_of_maps'])
      expect([type, code(() => makeMap(kernel, type, { innerMapFd: map }))]).toEqual([type, 'ok']);
    for (const type of ['lru_hash', 'lpm_trie', 'queue', 'stack'])
      expect([
        type,
        code(() =>
          makeMap(kernel, type, {
            keySize: type === 'lpm_trie' ? 8 : type === 'lru_hash' ? 4 : 0,
            mapFlags: type === 'lpm_trie' ? 1 : 0,
          }),
        ),
      ]).toEqual([type, 'EPERM']);
    expectCode('EPERM', () => kernel.objGetFdById({ kind: 'map', id: idOf(kernel, map) }));
    expectCode('EPERM', () => kernel.btfLoad({ btf: new Uint8Array(24) }));
    const many = new ProgramBuilder();
    for (let i = 0; i < 4096; i++) many.mov64(R0, 0);
    expectCode('E2BIG', () => load(kernel, many.exit()));
    // The code is nobody's business.
    const info = kernel.objGetInfoByFd({ bpfFd: load(kernel, returns(0)) });
    expect(info).toMatchObject({ createdByUid: 1000, jitedProgLen: 0, jitedDump: '' });
  });

  it('by capability', () => {
    const types = (kernel: EmbeddedKernel) =>
      ['socket_filter', 'xdp', 'kprobe', 'tracepoint'].filter(
        (type) => code(() => load(kernel, returns(0), type)) === 'ok',
      );
    expect(types(as({ capBpf: true }))).toEqual(['socket_filter']);
    expect(types(as({ capBpf: true, capNetAdmin: true }))).toEqual(['socket_filter', 'xdp']);
    expect(types(as({ capBpf: true, capPerfmon: true }))).toEqual(['socket_filter', 'kprobe', 'tracepoint']);
    expect(types(as({ capNetAdmin: true, capPerfmon: true }))).toEqual([]);
    // CAP_SYS_ADMIN stands for all of them.
    expect(types(as({ capSysAdmin: true }))).toHaveLength(4);
    expectCode('EPERM', () => as({ capBpf: true }).objGetNextId({ kind: 'prog', startId: 0 }));
  });

  it('are given up for good with unprivileged_bpf_disabled = 1', () => {
    const { simulator } = new EmbeddedKernel();
    const name = 'kernel.unprivileged_bpf_disabled';
    expect(simulator.sysctl(name)).toBe(2);
    simulator.setSysctl(name, 0);
    simulator.setSysctl(name, 2);
    simulator.setSysctl(name, 1);
    simulator.setSysctl(name, 1);
    for (const value of [0, 2]) expectCode('EPERM', () => simulator.setSysctl(name, value));
    expectCode('EINVAL', () => simulator.setSysctl(name, 3));
    expectCode('ENOENT', () => simulator.setSysctl('kernel.none', 3));
    expectCode('ENOENT', () => simulator.sysctl('constructor'));
  });
});

it('sizes of maps that are no 32-bit numbers are refused', () => {
  const kernel = new EmbeddedKernel();
  const good = { mapType: 1, keySize: 4, valueSize: 8, maxEntries: 4, mapFlags: 0 };
  for (const field of ['keySize', 'valueSize', 'maxEntries', 'mapFlags'])
    for (const value of [Number.NaN, 4.5, 2 ** 32, 'x', null])
      expect(
        code(() => kernel.mapCreate({ ...good, [field]: value })),
        `${field} ${value}`,
      ).toBe('EINVAL');
});

describe('sysctls', () => {
  it('choose the engine', () => {
    const kernel = new EmbeddedKernel();
    const jited = () => {
      const info = kernel.objGetInfoByFd({ bpfFd: load(kernel, returns(0)) });
      return info.kind === 'prog' && info.jited;
    };
    expect(jited()).toBe(true);
    kernel.simulator.setSysctl('net.core.bpf_jit_enable', 0);
    expect(jited()).toBe(false);
    kernel.simulator.setSysctl('net.core.bpf_jit_enable', 2);
    expect(jited()).toBe(true);
  });

  it('bound the compiled code of those without CAP_BPF: what does not fit is interpreted', () => {
    const kernel = new EmbeddedKernel();
    const first = kernel.objGetInfoByFd({ bpfFd: load(kernel, returns(0)) });
    if (first.kind !== 'prog') throw new Error('no program');
    for (const [who, jited] of [
      [as({}, 0), false],
      [as({ capBpf: true }, 0), true],
    ] as const) {
      who.simulator.setSysctl('net.core.bpf_jit_limit', Math.floor(1.5 * first.jitedProgLen));
      expect(who.objGetInfoByFd({ bpfFd: load(who, returns(1)) })).toMatchObject({ jited: true });
      const over = load(who, returns(2));
      expect(who.objGetInfoByFd({ bpfFd: over })).toMatchObject({ jited });
      expect(who.progTestRun({ progFd: over, dataIn: new Uint8Array(64) }).retval).toBe(2);
    }
  });

  it('harden: constants are blinded, of nobody or of all', () => {
    const constant = () => new ProgramBuilder().mov64(R0, 0x1337).alu64('xor', R0, 0x1337_0000).exit();
    for (const [harden, caps, hardened] of [
      [0, {}, false],
      [1, { capBpf: true }, false],
      [1, {}, true],
      [2, { capBpf: true }, true],
    ] as const) {
      let code = '';
      const onJitDump = (text: string) => {
        code = text;
      };
      const kernel = new EmbeddedKernel({ credentials: { ...NOBODY, ...caps }, onJitDump });
      kernel.simulator.setSysctl('kernel.unprivileged_bpf_disabled', 0);
      kernel.simulator.setSysctl('net.core.bpf_jit_enable', 2);
      kernel.simulator.setSysctl('net.core.bpf_jit_harden', harden);
      const progFd = load(kernel, constant());
      expect(kernel.progTestRun({ progFd, dataIn: FRAME }).retval).toBe(0x1337_1337);
      expect(code.replaceAll(/;;.*/g, '').includes(`0x${(0x1337_0000).toString(16)}`)).toBe(!hardened);
      const info = kernel.objGetInfoByFd({ bpfFd: progFd });
      // Instructions are shown to those with CAP_BPF; as many as Linux makes of them.
      const insns = info.kind === 'prog' ? info.xlatedInsns.length / 8 : -1;
      expect(insns).toBe('capBpf' in caps ? (hardened ? 7 : 3) : 0);
    }
  });

  it('shows what is compiled, at jit_enable 2', () => {
    const dumps: string[] = [];
    const kernel = new EmbeddedKernel({ onJitDump: (text) => dumps.push(text) });
    load(kernel, returns(0));
    kernel.simulator.setSysctl('net.core.bpf_jit_enable', 2);
    load(kernel, returns(4242));
    expect(dumps).toHaveLength(1);
    expect(dumps[0]).toContain('4242');
  });

  it('count runs', () => {
    const kernel = new EmbeddedKernel();
    const progFd = load(kernel, returns(0));
    const count = () => {
      const info = kernel.objGetInfoByFd({ bpfFd: progFd });
      return info.kind === 'prog' ? info.runCnt : -1n;
    };
    kernel.progTestRun({ progFd, dataIn: FRAME, repeat: 3 });
    expect(count()).toBe(0n);
    kernel.simulator.setSysctl('kernel.bpf_stats_enabled', 1);
    kernel.progTestRun({ progFd, dataIn: FRAME, repeat: 3 });
    kernel.simulator.setSysctl('kernel.bpf_stats_enabled', 0);
    expect(count()).toBe(3n);
    const stats = kernel.enableStats({ type: 0 });
    kernel.progTestRun({ progFd, dataIn: FRAME });
    kernel.close(stats);
    kernel.progTestRun({ progFd, dataIn: FRAME });
    expect(count()).toBe(4n);
    expectCode('EINVAL', () => kernel.enableStats({ type: 1 }));
  });

  it('interpret what the JIT refuses', () => {
    const jit: Engine = {
      name: 'jit',
      prepare: () => {
        throw new BpfError('E2BIG', 'too large');
      },
    };
    const kernel = new EmbeddedKernel({ engines: { jit } });
    expect(run(kernel, load(kernel, returns(5)))).toBe(5);
  });
});

describe('links to perf events', () => {
  const tracepoint = { kind: 'tracepoint', category: 'cat', name: 'tp' } as const;
  const event = {
    kind: 'tracepoint',
    category: 'cat',
    name: 'tp',
    record: new Uint8Array(16),
    process,
    time: 1n,
  } as const;

  it('run programs with their cookies', () => {
    const kernel = new EmbeddedKernel();
    const map = makeMap(kernel, 'array', { valueSize: 8, maxEntries: 1 });
    const program = new ProgramBuilder()
      .callHelper('bpf_get_attach_cookie')
      .ldMapValue(R1, map)
      .ldx('dw', R2, R1)
      .alu64('lsh', R2, 8)
      .alu64('add', R2, { register: R0 })
      .stx('dw', R1, R2)
      .mov64(R0, 0)
      .exit();
    const progFd = load(kernel, program, 'tracepoint');
    const links = [1n, 2n, undefined].map((bpfCookie) =>
      kernel.linkCreate({
        progFd,
        targetFd: kernel.perfEventOpen(tracepoint),
        attachType: BPF_PERF_EVENT,
        ...(bpfCookie === undefined ? {} : { bpfCookie }),
      }),
    );
    expect(kernel.simulator.fire(event)).toBe(3);
    expect(kernel.mapLookupElem({ mapFd: map, key: u32(0) })).toEqual(u64(0x010200));
    expect(kernel.objGetInfoByFd({ bpfFd: links[1] })).toMatchObject({
      kind: 'link',
      type: 7,
      details: { cookie: 2n },
    });
    kernel.close(links[0]);
    expect(kernel.simulator.fire(event)).toBe(2);
    expectCode('EOPNOTSUPP', () => kernel.linkDetach({ linkFd: links[1] }));
    expectCode('EINVAL', () => kernel.linkUpdate({ linkFd: links[1], newProgFd: progFd }));
  });

  it('only of one process', () => {
    const kernel = new EmbeddedKernel();
    const progFd = load(kernel, returns(0), 'tracepoint');
    kernel.linkCreate({
      progFd,
      targetFd: kernel.perfEventOpen({ ...tracepoint, pid: 8 }),
      attachType: BPF_PERF_EVENT,
    });
    expect(kernel.simulator.fire(event)).toBe(0);
    expect(kernel.simulator.fire({ ...event, process: { ...process, pid: 8, tgid: 8 } })).toBe(1);
    expect(kernel.simulator.fire({ ...event, process: { ...process, pid: 9, tgid: 8 } })).toBe(1);
  });

  it('refuse what does not fit', () => {
    const kernel = new EmbeddedKernel();
    const progFd = load(kernel, returns(0), 'tracepoint');
    const link = (attr: object) =>
      code(() => kernel.linkCreate({ progFd, attachType: BPF_PERF_EVENT, ...attr }));
    const target = kernel.perfEventOpen(tracepoint);
    expect(link({ targetFd: target, attachType: BPF_XDP })).toBe('EINVAL');
    expect(link({})).toBe('EBADF');
    expect(link({ targetFd: 9999 })).toBe('EBADF');
    expect(link({ targetFd: progFd })).toBe('EINVAL');
    expect(link({ targetFd: kernel.perfEventOpen({ kind: 'kprobe', symbol: 'f' }) })).toBe('EINVAL');
    expect(link({ targetFd: target, flags: 1 })).toBe('EINVAL');
    expect(link({ targetFd: kernel.perfEventOpen({ kind: 'bpf_output', cpu: 0, pages: 1 }) })).toBe('EINVAL');
    expect(kernel.simulator.fire(event)).toBe(0);
  });
});

describe('packets', () => {
  it('go through XDP, then to sockets', () => {
    const kernel = new EmbeddedKernel();
    const ifindex = kernel.simulator.addInterface('eth0');
    expect(kernel.simulator.receive({ ifindex, data: FRAME })).toEqual({
      xdp: null,
      data: FRAME,
      filters: [],
    });
    kernel.socketAttach({ socketFd: null, progFd: load(kernel, returns(20)) });
    kernel.socketAttach({ socketFd: null, progFd: load(kernel, returns(0)) });
    kernel.socketAttach({ socketFd: null, progFd: load(kernel, returns(-1)) });
    expect(kernel.simulator.receive({ ifindex, data: FRAME }).filters).toEqual([20, 0, 64]);
    const link = kernel.linkCreate({
      progFd: load(kernel, returns(1), 'xdp'),
      targetIfindex: ifindex,
      attachType: BPF_XDP,
    });
    expect(kernel.simulator.receive({ ifindex, data: FRAME })).toEqual({ xdp: 1, data: FRAME, filters: [] });
    // No packet falls between the old program and the new one.
    kernel.linkUpdate({ linkFd: link, newProgFd: load(kernel, returns(2), 'xdp') });
    expect(kernel.simulator.receive({ ifindex, data: FRAME })).toMatchObject({
      xdp: 2,
      filters: [20, 0, 64],
    });
    kernel.linkDetach({ linkFd: link });
    expect(kernel.simulator.receive({ ifindex, data: FRAME }).xdp).toBeNull();
    expectCode('ENODEV', () => kernel.simulator.receive({ ifindex: 99, data: FRAME }));
    expect(kernel.ifNameToIndex('eth0')).toBe(ifindex);
    expect(kernel.ifNameToIndex('eth1')).toBeNull();
    expectCode('EINVAL', () => kernel.simulator.addInterface('a name that is far too long'));
  });

  it('of any length are taken', () => {
    const kernel = new EmbeddedKernel();
    const ifindex = kernel.simulator.addInterface('eth0');
    const length = new ProgramBuilder()
      .ldx('w', R0, R1, 4)
      .ldx('w', R2, R1, 0)
      .alu64('sub', R0, { register: R2 })
      .exit();
    kernel.linkCreate({ progFd: load(kernel, length, 'xdp'), targetIfindex: ifindex, attachType: BPF_XDP });
    for (const size of [0, 1, 14, 1500, 9000, 70_000, 64])
      expect(kernel.simulator.receive({ ifindex, data: new Uint8Array(size) }).xdp).toBe(size);
  });

  it('are redirected', () => {
    const kernel = new EmbeddedKernel();
    const ifindex = kernel.simulator.addInterface('eth0');
    const other = kernel.simulator.addInterface('eth1');
    const program = new ProgramBuilder().mov64(R1, other).mov64(R2, 0).callHelper('bpf_redirect').exit();
    const link = kernel.linkCreate({
      progFd: load(kernel, program, 'xdp'),
      targetIfindex: ifindex,
      attachType: BPF_XDP,
    });
    expect(kernel.simulator.receive({ ifindex, data: FRAME })).toMatchObject({
      xdp: 4,
      redirect: { kind: 'device', target: other },
    });
    const map = makeMap(kernel, 'devmap');
    kernel.mapUpdateElem({ mapFd: map, key: u32(2), value: u32(other) });
    const byMap = (key: number) =>
      new ProgramBuilder().ldMapFd(R1, map).mov64(R2, key).mov64(R3, 2).callHelper('bpf_redirect_map').exit();
    kernel.linkUpdate({ linkFd: link, newProgFd: load(kernel, byMap(2), 'xdp') });
    expect(kernel.simulator.receive({ ifindex, data: FRAME }).redirect).toEqual({
      kind: 'device',
      target: other,
      flags: 2,
    });
    kernel.linkUpdate({ linkFd: link, newProgFd: load(kernel, byMap(1), 'xdp') });
    const passed = kernel.simulator.receive({ ifindex, data: FRAME });
    expect(passed.xdp).toBe(2);
    expect(passed.redirect).toBeUndefined();
  });
});

describe('a fault of a verified program', () => {
  /** An engine whose programs fault on their second run: a bug of ours, as the kernel around it sees it. */
  function broken(): Engine {
    const real = createInterpreter();
    return {
      name: 'jit',
      prepare(program: ExecutableProgram, env) {
        const prepared = real.prepare(program, env);
        let runs = 0;
        return Object.assign(Object.create(prepared) as typeof prepared, {
          engine: 'jit',
          entry: prepared.entry,
          run: (ctx: number, level?: number) => {
            if (++runs > 1)
              throw new ProgramFault('memory access out of bounds', { program: program.name, insn: 1 });
            return prepared.run(ctx, level);
          },
          runRepeated: () => {
            throw new ProgramFault('memory access out of bounds', { program: program.name, insn: -1 });
          },
          release: () => prepared.release(),
        });
      },
    };
  }

  it('is contained: the program is detached and reported, all else goes on', () => {
    const told: string[] = [];
    const kernel = new EmbeddedKernel({
      engines: { jit: broken() },
      onOops: (oops) => told.push(`${oops.program} ${oops.source?.line ?? ''}`),
    });
    const ifindex = kernel.simulator.addInterface('eth0');
    const progFd = load(kernel, returns(2), 'xdp', { progName: 'faulty' });
    const linkFd = kernel.linkCreate({ progFd, targetIfindex: ifindex, attachType: BPF_XDP });
    expect(kernel.simulator.receive({ ifindex, data: FRAME }).xdp).toBe(2);
    expect(kernel.simulator.receive({ ifindex, data: FRAME }).xdp).toBe(0);
    expect(told).toEqual(['faulty ']);
    expect(kernel.simulator.oopses()[0].message).toContain('memory access out of bounds');
    // Off the interface; the link is still there.
    expect(kernel.simulator.receive({ ifindex, data: FRAME }).xdp).toBeNull();
    expect(kernel.objGetInfoByFd({ bpfFd: linkFd })).toMatchObject({ kind: 'link' });
    expectCode('EFAULT', () => kernel.progTestRun({ progFd, dataIn: FRAME }));
    const other = load(kernel, returns(1), 'xdp');
    kernel.linkCreate({ progFd: other, targetIfindex: ifindex, attachType: BPF_XDP });
    expect(kernel.simulator.receive({ ifindex, data: FRAME }).xdp).toBe(1);
  });

  it('is reported with its registers and what they point to', () => {
    const kernel = new EmbeddedKernel({ onOops: () => {}, budget: 5 });
    kernel.simulator.setSysctl('net.core.bpf_jit_enable', 0);
    const endless = new ProgramBuilder()
      .mov64(R2, 42)
      .mov64(R0, 0)
      .label('again')
      .alu64('add', R0, 1)
      .jmp('jlt', R0, 100, 'again')
      .exit();
    const progFd = load(kernel, endless, 'xdp');
    expectCode('ETIMEDOUT', () => kernel.progTestRun({ progFd, dataIn: FRAME }));
    expect(kernel.simulator.oopses()[0]!.message).toMatch(
      /budget[\s\S]*\n {2}R0 = 0x5\n {2}R1 = 0xffff8881[0-9a-f]{8} \(.+\)\n {2}R2 = 0x2a\n {2}R10 = /,
    );
  });

  it('is a read of stack that nothing was written to, where that is asked for', () => {
    const program = new ProgramBuilder().ldx('dw', R0, 10, -8).mov64(R0, 7).exit();
    for (const strictStack of [false, true]) {
      const kernel = new EmbeddedKernel({ onOops: () => {}, strictStack });
      kernel.simulator.setSysctl('net.core.bpf_jit_enable', 0);
      const progFd = load(kernel, program, 'xdp');
      const run = () => kernel.progTestRun({ progFd, dataIn: FRAME }).retval;
      if (strictStack) expect(run).toThrow(/nothing was written to the byte at R10-8/);
      else expect(run()).toBe(7);
    }
  });

  it('in PROG_TEST_RUN is EFAULT', () => {
    const kernel = new EmbeddedKernel({ engines: { jit: broken() }, onOops: () => {} });
    expectCode('EFAULT', () => kernel.progTestRun({ progFd: load(kernel, returns(0)), dataIn: FRAME }));
    expect(kernel.simulator.oopses()).toHaveLength(1);
  });
});

describe('trace_pipe', () => {
  const event = { kind: 'raw_tracepoint', name: 'tp', args: [], process, time: 1_500_000_000n } as const;
  const printing = (kernel: EmbeddedKernel) => {
    const text = [0x6968, 0];
    const program = new ProgramBuilder()
      .st('dw', 10, -8, text[0])
      .add({ code: 0xbf, dst: 1, src: 10, off: 0, imm: 0 })
      .alu64('add', R1, -8)
      .mov64(R2, 3)
      .callHelper('bpf_trace_printk')
      .mov64(R0, 0)
      .exit();
    kernel.rawTracepointOpen({ name: 'tp', progFd: load(kernel, program, 'raw_tracepoint') });
  };

  it('gives each line once, with who, where and when', () => {
    const kernel = new EmbeddedKernel();
    printing(kernel);
    kernel.simulator.fire(event);
    expect(kernel.simulator.drainTrace()).toMatchObject([
      { comm: 'seven', pid: 7, cpu: 0, timestamp: 1.5, message: 'bpf_trace_printk: hi' },
    ]);
    expect(kernel.simulator.drainTrace()).toEqual([]);
  });

  it('is a stream that ends with the signal or the kernel', async () => {
    const kernel = new EmbeddedKernel();
    printing(kernel);
    const read = async (signal?: AbortSignal) => {
      const lines: string[] = [];
      for await (const line of kernel.tracePipe(signal === undefined ? {} : { signal }))
        lines.push(line.message);
      return lines;
    };
    const stop = new AbortController();
    const first = read(stop.signal);
    kernel.simulator.fire(event);
    await new Promise((resolve) => setTimeout(resolve, 1));
    kernel.simulator.fire(event);
    stop.abort();
    expect(await first).toHaveLength(2);
    const second = read();
    kernel.simulator.fire(event);
    kernel.shutdown();
    expect(await second).toHaveLength(1);
  });

  it('is bounded, and says what was lost', () => {
    const kernel = new EmbeddedKernel();
    printing(kernel);
    for (let i = 0; i < 65_536 + 10; i++) kernel.simulator.fire(event);
    const lines = kernel.simulator.drainTrace();
    expect([lines.length, lines[0].message]).toEqual([65_537, 'CPU:0 [LOST 10 EVENTS]']);
    expect(kernel.simulator.drainTrace()).toEqual([]);
  });
});

describe('bpffs', () => {
  it('has several mounts, each of its own', () => {
    const kernel = new EmbeddedKernel();
    const map = makeMap(kernel, 'array');
    expectCode('EPERM', () => kernel.objPin({ pathname: '/mnt/bpf/map', bpfFd: map }));
    kernel.mountBpffs('/mnt/bpf');
    kernel.mountBpffs('/mnt/bpf/inner');
    kernel.objPin({ pathname: '/mnt/bpf/map', bpfFd: map });
    kernel.objPin({ pathname: '/mnt//bpf/./inner/../inner/map', bpfFd: map });
    expect(kernel.readdir('/mnt/bpf')).toEqual(['map']);
    expect(kernel.readdir('/mnt/bpf/inner')).toEqual(['map']);
    expect(kernel.readdir('/sys/fs/bpf')).toEqual([]);
    kernel.symlink('/mnt/bpf/inner/map', '/sys/fs/bpf/far');
    expect(idOf(kernel, kernel.objGet({ pathname: '/sys/fs/bpf/far' }))).toBe(idOf(kernel, map));
    expectCode('EXDEV', () => kernel.link('/mnt/bpf/map', '/sys/fs/bpf/near'));
    expectCode('EBUSY', () => kernel.unlink('/mnt/bpf/inner'));
    expectCode('EINVAL', () => kernel.objPin({ pathname: 'relative', bpfFd: map }));
    expectCode('ENAMETOOLONG', () =>
      kernel.objPin({ pathname: `/sys/fs/bpf/${'a/'.repeat(4000)}`, bpfFd: map }),
    );
  });
});

it('a mapped ring keeps its map alive', () => {
  const kernel = new EmbeddedKernel();
  const ring = makeMap(kernel, 'ringbuf', { keySize: 0, valueSize: 0, maxEntries: 4096 });
  const mapping = kernel.mapRing(ring);
  kernel.close(ring);
  expect(kernel.objGetNextId({ kind: 'map', startId: 0 })).not.toBeNull();
  mapping.unmap();
  mapping.unmap();
  expect(kernel.objGetNextId({ kind: 'map', startId: 0 })).toBeNull();
});

describe('shutdown', () => {
  it('ends everything, however it hangs together', () => {
    const kernel = new EmbeddedKernel();
    const array = makeMap(kernel, 'prog_array');
    const program = load(
      kernel,
      new ProgramBuilder().ldMapFd(R2, array).mov64(R3, 0).callHelper('bpf_tail_call').mov64(R0, 2).exit(),
      'xdp',
    );
    kernel.mapUpdateElem({ mapFd: array, key: u32(0), value: u32(program) });
    kernel.linkCreate({ progFd: program, targetIfindex: 1, attachType: BPF_XDP });
    kernel.objPin({ pathname: '/sys/fs/bpf/array', bpfFd: array });
    kernel.mountBpffs('/mnt/bpf');
    kernel.objPin({ pathname: '/mnt/bpf/prog', bpfFd: program });
    expectCode('EBUSY', () => kernel.mountBpffs('/mnt/bpf'));
    kernel.shutdown();
    for (const kind of ['map', 'prog', 'link', 'btf'] as const)
      expect(kernel.objGetNextId({ kind, startId: 0 })).toBeNull();
  });
});
