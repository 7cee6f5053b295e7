/**
 * Events, links, queries and rings of the host kernel: probes on a program that the test builds, samples of a process that it
 * started, a cgroup and pins of its own.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { encodeProgram, ProgramBuilder } from '../../src/asm/index.ts';
import { parseBtf } from '../../src/btf/index.ts';
import type { Fd } from '../../src/contracts/kernel.ts';
import { createHostKernel, type HostKernel } from '../../src/host/index.ts';
import { mountPoint } from '../../src/host/tracefs.ts';
import { RingBufferReader } from '../../src/libbpf/index.ts';
import { progTypeByName } from '../../src/spec/index.ts';
import { BPF_ATTACH_TYPE, BPF_LINK_TYPE } from '../../src/uapi/index.ts';
import { code, exists, fromU32, makeMap, R0, R1, R2, R3, reg, returns, u32 } from '../kernel/subject.ts';
import {
  eventually,
  ip,
  openHost,
  ownBpffs,
  ownNetwork,
  skipReason,
  vethPair,
  WaitingChild,
} from './host-support.ts';

const A = BPF_ATTACH_TYPE;
const L = BPF_LINK_TYPE;
const [R6, R10] = [6, 10] as (typeof R0)[];

const host = await openHost();
if (typeof host === 'string') {
  describe.skip(`host kernel: ${skipReason('events on the host kernel', host)}`, () =>
    it('cannot be reached here', () => {}));
} else {
  ownNetwork();
  vethPair('e0', 'e1');
  const bpffs = await ownBpffs();
  afterEach(() => host.shutdown());
  describe('probes', () => probes(host));
  describe('links', () => links(host, bpffs));
  describe('rings', () => rings(host));
  describe('questions', () => questions(host));
}

function load(kernel: HostKernel, type: string, program: ProgramBuilder, attr: object = {}): Fd {
  return kernel.progLoad({
    progType: progTypeByName(type)!.id,
    insns: encodeProgram(program.build()),
    license: 'GPL',
    ...attr,
  });
}

/** Adds one to element 0 of an array of u32. */
function counts(map: Fd): ProgramBuilder {
  return new ProgramBuilder()
    .st('w', R10, -4, 0)
    .mov64(R2, reg(R10))
    .alu64('add', R2, -4)
    .ldMapFd(R1, map)
    .callHelper('bpf_map_lookup_elem')
    .jmp('jeq', R0, 0, 'out')
    .ldx('w', R1, R0, 0)
    .alu64('add', R1, 1)
    .stx('w', R0, R1)
    .label('out')
    .mov64(R0, 0)
    .exit();
}

function counter(kernel: HostKernel): { map: Fd; value(): number } {
  const map = makeMap(kernel, 'array');
  return { map, value: () => fromU32(kernel.mapLookupElem({ mapFd: map, key: u32(0) }))! };
}

function probes(kernel: HostKernel): void {
  const directory = mkdtempSync(join(tmpdir(), 'tsbpf-host-'));
  afterAll(() => rmSync(directory, { recursive: true }));
  const source = join(directory, 'target.c');
  const target = join(directory, 'target');
  const calls = 7;
  writeFileSync(
    source,
    `__attribute__((noinline)) int probed(int n) { __asm__ volatile(""); return n + 1; }
     int main(void) { int sum = 0; for (int i = 0; i < ${calls}; i++) sum += probed(i); return sum == 0; }`,
  );
  const built = spawnSync('gcc', ['-O1', '-fPIE', '-pie', '-o', target, source]).status === 0;
  if (!built) skipReason('user probes', 'gcc is missing');

  it.skipIf(!built).each([false, true])('a user probe counts calls (return: %s)', async (retprobe) => {
    // In a position-independent program of GNU ld, addresses of code are places in the file.
    const address = /^([0-9a-f]+) T probed$/m.exec(execFileSync('nm', [target], { encoding: 'utf8' }))![1];
    const { map, value } = counter(kernel);
    const child = new WaitingChild(`exec ${target}`);
    const event = kernel.perfEventOpen({
      kind: 'uprobe',
      path: target,
      offset: BigInt(`0x${address}`),
      retprobe,
      pid: child.pid,
    });
    const progFd = load(kernel, 'kprobe', counts(map));
    const link = kernel.linkCreate({ progFd, targetFd: event, attachType: A.BPF_PERF_EVENT, bpfCookie: 5n });
    expect(kernel.objGetInfoByFd({ bpfFd: link })).toMatchObject({
      kind: 'link',
      type: L.BPF_LINK_TYPE_PERF_EVENT,
      details: { type: retprobe ? 2 : 1, fileName: target, cookie: 5n },
    });
    await child.run();
    expect(value()).toBe(calls);
    // Another process does not count.
    execFileSync(target);
    expect(value()).toBe(calls);
  });

  it('samples of a process call a program', async () => {
    const { map, value } = counter(kernel);
    const child = new WaitingChild('i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done');
    const event = kernel.perfEventOpen({
      kind: 'sampling',
      type: 1,
      config: 0n,
      cpu: -1,
      pid: child.pid,
      frequency: 1000,
    });
    const progFd = load(kernel, 'perf_event', counts(map));
    kernel.linkCreate({ progFd, targetFd: event, attachType: A.BPF_PERF_EVENT });
    await child.run();
    expect(value()).toBeGreaterThan(5);
  });

  it('kernel functions can be probed, or it says why not', () => {
    const opening = () => kernel.perfEventOpen({ kind: 'kprobe', symbol: 'do_nanosleep' });
    if (existsSync('/sys/bus/event_source/devices/kprobe')) expect(opening()).toBeGreaterThan(0);
  });

  it('tracepoints that are not there are named', () => {
    const open = (name: string) => () =>
      kernel.perfEventOpen({ kind: 'tracepoint', category: 'syscalls', name });
    expect(open('sys_enter_nothing')).toThrow('this kernel has no tracepoint syscalls/sys_enter_nothing');
    expect(code(open('../../id'))).toBe('EINVAL');
    expect(code(open('sys_enter_nothing'))).toBe('ENOENT');
  });

  it('a task descriptor tells what is attached', () => {
    const event = kernel.perfEventOpen({
      kind: 'tracepoint',
      category: 'syscalls',
      name: 'sys_enter_newuname',
    });
    const progFd = load(kernel, 'tracepoint', returns(0));
    kernel.linkCreate({ progFd, targetFd: event, attachType: A.BPF_PERF_EVENT });
    const progId = kernel.objGetInfoByFd({ bpfFd: progFd }).id;
    expect(kernel.taskFdQuery({ pid: process.pid, fd: event })).toEqual({
      progId,
      fdType: 1,
      probeOffset: 0n,
      probeAddr: 0n,
      name: 'sys_enter_newuname',
    });
  });
}

function links(kernel: HostKernel, bpffs: string): void {
  it('a pinned link outlives the kernel object that made it, and changes its program', async () => {
    const maker = await createHostKernel();
    const pathname = `${bpffs}/link`;
    const link = maker.linkCreate({
      progFd: load(maker, 'xdp', returns(2)),
      targetIfindex: maker.ifNameToIndex('e0')!,
      attachType: A.BPF_XDP,
    });
    maker.objPin({ pathname, bpfFd: link });
    maker.shutdown();
    const again = kernel.objGet({ pathname });
    const before = kernel.objGetInfoByFd({ bpfFd: again });
    expect(before).toMatchObject({ kind: 'link', type: L.BPF_LINK_TYPE_XDP });
    kernel.linkUpdate({ linkFd: again, newProgFd: load(kernel, 'xdp', returns(1)) });
    expect(kernel.objGetInfoByFd({ bpfFd: again })).not.toMatchObject({
      progId: (before as { progId: number }).progId,
    });
    kernel.unlink(pathname);
    kernel.linkDetach({ linkFd: again });
    expect(kernel.objGetInfoByFd({ bpfFd: again })).toMatchObject({ details: { ifindex: 0 } });
  });

  it('tcx programs run in the order that was asked for', () => {
    const targetIfindex = kernel.ifNameToIndex('e0')!;
    const make = () => load(kernel, 'sched_cls', returns(-1), { expectedAttachType: A.BPF_TCX_INGRESS });
    const attachType = A.BPF_TCX_INGRESS;
    const [first, second] = [make(), make()];
    const link = kernel.linkCreate({ progFd: first, targetIfindex, attachType });
    const BEFORE = 1 << 3;
    kernel.linkCreate({
      progFd: second,
      targetIfindex,
      attachType,
      flags: BEFORE | (1 << 13),
      relativeFd: link,
    });
    const ids = [second, first].map((fd) => kernel.objGetInfoByFd({ bpfFd: fd }).id);
    const found = kernel.progQuery({ targetIfindex, attachType });
    expect(found.progIds).toEqual(ids);
    expect(found.revision).toBe(3n);
    expect(kernel.objGetInfoByFd({ bpfFd: link })).toMatchObject({
      type: L.BPF_LINK_TYPE_TCX,
      details: { ifindex: targetIfindex, attachType },
    });
  });

  const cgroups = mountPoint('cgroup2');
  it.skipIf(cgroups === undefined)('programs of a cgroup, with links and without', () => {
    const path = `${cgroups}/tsbpf-test-${process.pid}`;
    mkdirSync(path);
    const targetFd = openSync(path, 'r') as Fd;
    try {
      const attachType = A.BPF_CGROUP_INET_EGRESS;
      const progFd = load(kernel, 'cgroup_skb', returns(1), { expectedAttachType: attachType });
      const { id } = kernel.objGetInfoByFd({ bpfFd: progFd });
      kernel.progAttach({ targetFd, attachBpfFd: progFd, attachType, attachFlags: 2 });
      expect(kernel.progQuery({ targetFd, attachType }).progIds).toEqual([id]);
      kernel.progDetach({ targetFd, attachBpfFd: progFd, attachType });
      expect(kernel.progQuery({ targetFd, attachType })).toMatchObject({ progIds: [] });
      const link = kernel.linkCreate({ progFd, targetFd, attachType });
      expect(kernel.objGetInfoByFd({ bpfFd: link })).toMatchObject({
        type: L.BPF_LINK_TYPE_CGROUP,
        details: { attachType, cgroupId: expect.any(BigInt) },
      });
      kernel.close(link);
    } finally {
      closeSync(targetFd);
      rmdirSync(path);
    }
  });

  it('an iterator walks a map', () => {
    const btf = parseBtf(kernel.kernelBtf()!);
    const map = makeMap(kernel, 'hash', { maxEntries: 3 });
    for (let i = 0; i < 3; i++) kernel.mapUpdateElem({ mapFd: map, key: u32(i), value: u32(i) });
    // bpf_seq_write(ctx->meta->seq, "x", 1) for every element.
    const program = new ProgramBuilder()
      .ldx('dw', R6, R1, 0)
      .ldx('dw', R1, R6, 0)
      .st('b', R10, -8, 'x'.charCodeAt(0))
      .mov64(R2, reg(R10))
      .alu64('add', R2, -8)
      .mov64(R3, 1)
      .callHelper('bpf_seq_write')
      .mov64(R0, 0)
      .exit();
    const progFd = load(kernel, 'tracing', program, {
      expectedAttachType: A.BPF_TRACE_ITER,
      attachBtfId: btf.find('bpf_iter_bpf_map_elem', 'func'),
    });
    const iterInfo = u32(map);
    const link = kernel.linkCreate({ progFd, attachType: A.BPF_TRACE_ITER, iterInfo });
    expect(kernel.objGetInfoByFd({ bpfFd: link })).toMatchObject({
      type: L.BPF_LINK_TYPE_ITER,
      details: { targetName: 'bpf_map_elem', 'map.mapId': kernel.objGetInfoByFd({ bpfFd: map }).id },
    });
    const iterator = kernel.iterCreate({ linkFd: link });
    const buffer = new Uint8Array(64);
    // One call more for the end.
    expect(Buffer.from(buffer.subarray(0, readSync(iterator, buffer))).toString()).toBe('xxxx');
  });
}

/** Writes `size` bytes `count` times, discarding every fourth record. */
function rings(kernel: HostKernel): void {
  const ring = (size = 4096) => makeMap(kernel, 'ringbuf', { keySize: 0, valueSize: 0, maxEntries: size });
  /** bpf_ringbuf_output of 8 bytes for each run. */
  const writer = (map: Fd) =>
    load(
      kernel,
      'sched_cls',
      new ProgramBuilder()
        .st('dw', R10, -8, 77)
        .ldMapFd(R1, map)
        .mov64(R2, reg(R10))
        .alu64('add', R2, -8)
        .mov64(R3, 8)
        .mov64(4 as typeof R0, 0)
        .callHelper('bpf_ringbuf_output')
        .mov64(R0, 0)
        .exit(),
    );
  const write = (progFd: Fd, repeat: number) =>
    kernel.progTestRun({ progFd, dataIn: new Uint8Array(64), repeat });

  it('wakes who waits, and only then', async () => {
    const map = ring();
    const mapping = kernel.mapRing(map);
    const progFd = writer(map);
    expect(await mapping.wait(10)).toBe(false);
    const waiting = mapping.wait(5000);
    const both = mapping.wait(5000);
    setTimeout(() => write(progFd, 1), 20);
    expect(await Promise.all([waiting, both])).toEqual([true, true]);
    // What was not read is still there.
    expect(await mapping.wait(5000)).toBe(true);
    expect(mapping.producerPosition() - mapping.consumerPosition()).toBe(16n);
    mapping.setConsumerPosition(mapping.producerPosition());
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 20);
    expect(await mapping.wait(5000, stop.signal)).toBe(false);
    mapping.unmap();
    await expect(mapping.wait(5000)).rejects.toMatchObject({ code: 'EBADF' });
  });

  it('does nothing while it waits', async () => {
    const mapping = kernel.mapRing(ring());
    const before = process.cpuUsage();
    await mapping.wait(1000);
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1e6).toBeLessThan(0.05);
    mapping.unmap();
  });

  it('views of a ring that is gone read zeros', () => {
    const map = ring();
    const mapping = kernel.mapRing(map);
    write(writer(map), 3);
    const data = mapping.data();
    expect(data[8]).toBe(77);
    mapping.unmap();
    expect(data[8]).toBe(0);
    expect(mapping.producerPosition()).toBe(0n);
  });

  it('ends those who read it when its kernel is shut down', async () => {
    const reader = new RingBufferReader(kernel, ring());
    const reading = reader.records().next();
    setTimeout(() => kernel.shutdown(), 20);
    await expect(reading).rejects.toMatchObject({ code: 'EBADF' });
  });

  it('outlives the descriptor of its map', () => {
    const map = ring();
    const progFd = writer(map);
    const reader = new RingBufferReader(kernel, map);
    kernel.close(map);
    write(progFd, 5);
    expect(reader.consume()).toHaveLength(5);
    reader.close();
  });

  it('delivers many records in order, round after round', () => {
    const map = ring(1 << 16);
    const progFd = writer(map);
    const reader = new RingBufferReader(kernel, map);
    for (let round = 0; round < 50; round++) {
      write(progFd, 4000);
      const records = reader.consume();
      expect(records).toHaveLength(4000);
      expect(records.every((record) => record.length === 8 && record[0] === 77)).toBe(true);
    }
    reader.close();
  });

  it('are of ring buffers and bpf_output events only', () => {
    expect(code(() => kernel.mapRing(makeMap(kernel, 'hash')))).toBe('EINVAL');
    expect(code(() => kernel.mapRing(load(kernel, 'xdp', returns(0))))).toBe('EINVAL');
    expect(code(() => kernel.mapRing(987_654 as Fd))).toBe('EBADF');
    expect(code(() => kernel.perfEventOpen({ kind: 'bpf_output', cpu: 0, pages: 3 }))).toBe('EINVAL');
  });
}

function questions(kernel: HostKernel): void {
  it('features are what the kernel answers', () => {
    const features = kernel.features();
    expect(features.kind).toBe('host');
    for (const name of ['socket_filter', 'xdp', 'tracepoint', 'sched_cls'])
      expect(features.progTypes.has(progTypeByName(name)!.id)).toBe(true);
    for (const id of [1, 2, 27]) expect(features.mapTypes.has(id)).toBe(true);
    expect(features.helpers.has(1)).toBe(true);
    expect(features.helpers.size).toBeGreaterThan(150);
  });

  it('programs tell everything about themselves', () => {
    const map = makeMap(kernel, 'array');
    const info = kernel.objGetInfoByFd({ bpfFd: load(kernel, 'xdp', counts(map), { progName: 'counts' }) });
    if (info.kind !== 'prog') throw new Error(info.kind);
    expect(info).toMatchObject({
      name: 'counts',
      mapIds: [kernel.objGetInfoByFd({ bpfFd: map }).id],
      ifindex: 0,
    });
    expect(info.xlatedInsns.length % 8).toBe(0);
    expect(info.xlatedInsns.length).toBeGreaterThan(64);
    if (info.jited) {
      expect(info.jitedInsns).toHaveLength(info.jitedProgLen);
      expect(info.jitedFuncLens).toEqual([info.jitedProgLen]);
    }
    expect(info.progTags).toEqual([info.tag]);
  });

  it('statistics are counted while somebody wants them', () => {
    const progFd = load(kernel, 'xdp', returns(2));
    const stats = kernel.enableStats({ type: 0 });
    kernel.progTestRun({ progFd, dataIn: new Uint8Array(64), repeat: 10 });
    expect(kernel.objGetInfoByFd({ bpfFd: progFd })).toMatchObject({ runCnt: 10n });
    kernel.close(stats);
  });

  it('BTF comes back as it was given, that of the kernel by its name', () => {
    const vmlinux = kernel.objGetInfoByFd({ bpfFd: kernel.objGetFdById({ kind: 'btf', id: 1 }) });
    expect(vmlinux).toMatchObject({ kind: 'btf', id: 1, name: 'vmlinux', kernelBtf: true });
    const file = kernel.kernelBtf();
    expect(file?.length).toBe((vmlinux as { data: Uint8Array }).data.length);
    expect(() => kernel.btfLoad({ btf: new Uint8Array(30) })).toThrow(/^BPF_BTF_LOAD: .*EINVAL/);
  });

  it('what is not ours is not closed', () => {
    expect(code(() => kernel.close(0 as Fd))).toBe('EBADF');
    expect(code(() => kernel.objGetInfoByFd({ bpfFd: 0 as Fd }))).toBe('EINVAL');
    const map = makeMap(kernel, 'array');
    expect(code(() => kernel.mapUpdateElem({ mapFd: map, key: u32(0), value: new Uint8Array(3) }))).toBe(
      'EINVAL',
    );
  });

  it('interfaces have numbers', () => {
    expect(kernel.ifNameToIndex('lo')).toBe(1);
    expect(kernel.ifNameToIndex('no_such_device')).toBeNull();
    ip('link', 'show', 'e0');
  });

  const killed = (...args: string[]): Record<'prog' | 'map' | 'link', number> => {
    const script = fileURLToPath(new URL('./host-killed.ts', import.meta.url));
    const { stdout } = spawnSync('npx', ['tsx', script, ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return JSON.parse(stdout.trim()) as Record<'prog' | 'map' | 'link', number>;
  };
  const KINDS = ['prog', 'map', 'link'] as const;

  it('a process that is killed leaves nothing', () => {
    const ids = killed();
    eventually(() => {
      for (const kind of KINDS) expect([kind, exists(kernel, kind, ids[kind])]).toEqual([kind, false]);
    });
  });

  it('a pinned link outlives its process: it goes on until the pin is removed', async () => {
    const path = `${(await ownBpffs()).replace('self', String(process.pid))}/link`;
    const ids = killed(path);
    for (const kind of KINDS) expect([kind, exists(kernel, kind, ids[kind])]).toEqual([kind, true]);
    const mapFd = kernel.objGetFdById({ kind: 'map', id: ids.map });
    const runs = () => fromU32(kernel.mapLookupElem({ mapFd, key: u32(0) }))!;
    const before = runs();
    // The program counts at the tracepoint of processes that are renamed, as execve(2) does.
    await new WaitingChild().run();
    expect(runs()).toBeGreaterThan(before);
    kernel.close(mapFd);
    kernel.unlink(path);
    eventually(() => {
      for (const kind of KINDS) expect([kind, exists(kernel, kind, ids[kind])]).toEqual([kind, false]);
    });
  });
}
