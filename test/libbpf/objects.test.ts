/** Objects of clang on the embedded kernel: load, maps as typed objects, pins, failures that leave nothing behind. */
import { readFileSync } from 'node:fs';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { BpfMap, BpfObject } from '../../src/libbpf/index.ts';
import { BpfError } from '../../src/util/index.ts';

const file = (path: string): Uint8Array => readFileSync(new URL(`../../${path}`, import.meta.url));
const MAPS = file('test/hostile/corpus/maps.bpf.o');
const EXTERN = file('test/hostile/corpus/extern.bpf.o');
const UNCHECKED = file('examples/objects/unchecked.bpf.o');

const errorOf = (action: () => unknown): BpfError | undefined => {
  try {
    action();
    return undefined;
  } catch (error) {
    if (error instanceof BpfError) return error;
    throw error;
  }
};
const KINDS = ['map', 'prog', 'link', 'btf'] as const;

describe('an object', () => {
  let kernel: EmbeddedKernel;
  const left = () => KINDS.filter((kind) => kernel.objGetNextId({ kind, startId: 0 }) !== null);
  const open = (bytes = MAPS) => BpfObject.open(bytes, { name: 'maps' });
  beforeEach(() => {
    kernel = new EmbeddedKernel({ possibleCpus: 3 });
  });

  it('is loaded with its data, frozen constants, inner maps and program arrays', () => {
    const object = open().load(kernel);
    expect(object.findProgram('optional').loaded).toBe(false);
    expect(object.programs.filter((program) => program.loaded).map((program) => program.name)).toEqual(
      expect.arrayContaining(['entry', 'tail_a', 'tail_b', 'devmap_prog']),
    );
    const value = (name: string) => object.maps.find((map) => map.name.endsWith(name))!;
    expect(value('.rodata').get(0)).toMatchObject({ threshold: 99 });
    expect(value('maps.data').get(0)).toMatchObject({ global_data: 42, static_data: 7 });
    expect(errorOf(() => value('.rodata').set(0, value('.rodata').getBytes(new Uint8Array(4))!))?.code).toBe(
      'EPERM',
    );
    const outer = object.findMap('outer');
    expect([outer.has(0), outer.has(1), outer.has(3)]).toEqual([true, false, true]);
    const inner = BpfMap.fromFd(kernel, kernel.objGetFdById({ kind: 'map', id: outer.get(3) as number }));
    expect(inner.name).toBe('inner_b');
    kernel.close(inner.fd);
    const jumps = object.findMap('jumps');
    expect(jumps.get(2)).toBe(object.findProgram('tail_a').info().id);
    expect(jumps.get(5)).toBe(object.findProgram('tail_b').info().id);
    const entry = object.findProgram('entry');
    expect(entry.testRun({ dataIn: new Uint8Array(64) }).retval).toBe(1);
    expect(entry.info()).toMatchObject({ name: 'entry', gplCompatible: true });
    expect(value('.bss').get(0)).toMatchObject({ zeroed: [0, 0, 0, 1, 0, 0, 0, 0, 0, 0] });
    object.close();
    // The pin that was made by name keeps its map.
    expect(left()).toEqual(['map']);
    kernel.unlink('/sys/fs/bpf/pinned');
    expect(left()).toEqual([]);
  });

  it('finds its maps pinned by name again', () => {
    const first = open().load(kernel);
    first.findMap('pinned').set(1, new Uint8Array(24).fill(7));
    const second = open().load(kernel);
    expect(second.findMap('pinned').getBytes(Uint8Array.of(1, 0, 0, 0))).toEqual(new Uint8Array(24).fill(7));
    first.close();
    second.close();
    const third = open().load(kernel);
    expect(third.findMap('pinned').getBytes(Uint8Array.of(1, 0, 0, 0))).toEqual(new Uint8Array(24).fill(7));
    third.close();
    // Another root, another map.
    kernel.mkdir('/sys/fs/bpf/mine');
    const fourth = open().load(kernel, { pinRoot: '/sys/fs/bpf/mine' });
    expect(fourth.findMap('pinned').getBytes(Uint8Array.of(1, 0, 0, 0))).toEqual(new Uint8Array(24));
    fourth.close();
    kernel.unlink('/sys/fs/bpf/pinned');
    kernel.objPin({
      pathname: '/sys/fs/bpf/pinned',
      bpfFd: kernel.mapCreate({ mapType: 2, keySize: 4, valueSize: 4, maxEntries: 3 }),
    });
    expect(errorOf(() => open().load(kernel))?.code).toBe('EINVAL');
  });

  it('leaves nothing behind when a program is refused', () => {
    const object = open();
    // Nobody accepts this: the first instruction of `entry` reads beyond its context.
    const insns = object.findProgram('entry').spec.insns as {
      code: number;
      dst: number;
      src: number;
      off: number;
      imm: number;
    }[];
    insns[0] = { code: 0x79, dst: 0, src: 1, off: 4096, imm: 0 };
    expect(errorOf(() => object.load(kernel))?.code).toBe('EACCES');
    expect(left()).toEqual([]);
    expect(kernel.readdir('/sys/fs/bpf')).toEqual([]);
    // The others, if they are wanted.
    const again = open();
    (again.findProgram('entry').spec.insns as typeof insns)[0] = insns[0];
    again.load(kernel, { strict: false });
    expect(again.failures.map(({ program }) => program.name)).toEqual(['entry']);
    expect(again.findProgram('tail_a').loaded).toBe(true);
    expect(errorOf(() => again.findProgram('entry').fd)?.code).toBe('EBADF');
    again.close();
  });

  it('says what is refused, with its line', () => {
    const error = errorOf(() => BpfObject.open(UNCHECKED, { name: 'unchecked' }).load(kernel));
    expect(error?.code).toBe('EACCES');
    expect((error as { source?: { line: number } }).source?.line).toBeGreaterThan(0);
    expect(left()).toEqual([]);
  });

  it('needs kernel symbols and options that are there', () => {
    const error = errorOf(() => BpfObject.open(EXTERN, { name: 'extern' }).load(kernel));
    expect(error?.code).toBe('ENOENT');
    expect(error?.message).toMatch(/CONFIG_BPF_SYSCALL|bpf_rcu_read_lock/);
    expect(left()).toEqual([]);
  });

  it('is loaded once, and again after it was closed', () => {
    const object = open().load(kernel);
    expect(errorOf(() => object.load(kernel))?.code).toBe('EBUSY');
    object.close();
    object.close();
    object.load(kernel);
    object.close();
    expect(errorOf(() => object.findMap('none'))?.code).toBe('ENOENT');
    expect(errorOf(() => object.findProgram('none'))?.hint).toContain('entry');
  });

  it('attaches where an interface is named, and detaches with its links', () => {
    const ifindex = kernel.simulator.addInterface('eth0');
    const object = open().load(kernel);
    expect(object.attach()).toEqual([]);
    const link = object.findProgram('tail_a').attach({ interface: 'eth0' });
    expect(kernel.simulator.receive({ ifindex, data: new Uint8Array(64) }).xdp).toBe(1);
    link.update(object.findProgram('tail_b'), { expect: object.findProgram('tail_a') });
    expect(kernel.simulator.receive({ ifindex, data: new Uint8Array(64) }).xdp).toBe(3);
    expect(
      errorOf(() => link.update(object.findProgram('tail_a'), { expect: object.findProgram('tail_a') }))
        ?.code,
    ).toBe('EPERM');
    link.destroy();
    link.destroy();
    expect(kernel.simulator.receive({ ifindex, data: new Uint8Array(64) }).xdp).toBeNull();
    expect(errorOf(() => object.findProgram('tail_a').attach({ interface: 'none' }))?.code).toBe('ENODEV');
    expect(errorOf(() => object.findProgram('tail_a').attach())?.code).toBe('EINVAL');
  });
});

describe('maps as objects', () => {
  const kernel = new EmbeddedKernel({ possibleCpus: 3 });
  const object = BpfObject.open(MAPS, { name: 'maps' }).load(kernel);
  const make = (mapType: number, attr: object = {}) =>
    BpfMap.fromFd(kernel, kernel.mapCreate({ mapType, keySize: 4, valueSize: 8, maxEntries: 4, ...attr }));

  it('take and give JavaScript values as BTF says', () => {
    const counts = object.findMap('counts');
    counts.set({ a: 1, b: 2 }, { count: 3n, name: 'three' });
    counts.set({ a: 2 }, { count: 1n << 60n }, 'noexist');
    expect(counts.get({ a: 1, b: 2 })).toMatchObject({ count: 3 });
    expect(counts.get({ a: 2, b: 0 })).toMatchObject({ count: 1n << 60n });
    expect(counts.get({ a: 9, b: 9 })).toBeUndefined();
    expect(counts.count()).toBe(2);
    expect([...counts.keys()]).toEqual(expect.arrayContaining([expect.objectContaining({ a: 1, b: 2 })]));
    expect(errorOf(() => counts.set({ a: 2 }, { count: 1 }, 'noexist'))?.code).toBe('EEXIST');
    expect(errorOf(() => counts.set({ a: 5 }, { count: 1 }, 'exist'))?.code).toBe('ENOENT');
    expect(errorOf(() => counts.set({ none: 5 } as never, { count: 1 }))).toBeInstanceOf(BpfError);
    expect(errorOf(() => counts.set(new Uint8Array(3), { count: 1 }))?.code).toBe('EINVAL');
    expect([counts.delete({ a: 1, b: 2 }), counts.delete({ a: 1, b: 2 })]).toEqual([true, false]);
    expect(counts.take({ a: 2 })).toMatchObject({ count: 1n << 60n });
    counts.set({ a: 1 }, { count: 1 });
    counts.clear();
    expect(counts.count()).toBe(0);
  });

  it('without types: integers and bytes', () => {
    const map = make(1);
    map.set(1, -1);
    map.set(2, 5n);
    expect(map.get(1)).toBe(0xffff_ffff_ffff_ffffn);
    expect(map.get(2)).toBe(5);
    for (const bad of [1.5, Number.NaN, 2 ** 32])
      expect([bad, errorOf(() => map.set(bad, 1))?.code]).toEqual([bad, 'ERANGE']);
    expect(errorOf(() => map.set(1, 1n << 64n))?.code).toBe('ERANGE');
    expect(errorOf(() => map.set('1' as never, 1))?.code).toBe('EINVAL');
  });

  it('of one value a CPU', () => {
    const map = make(6, { valueSize: 4 });
    map.set(0, 5);
    expect(map.get(0)).toEqual([5, 5, 5]);
    map.set(0, [1, 2, 3]);
    expect(map.get(0)).toEqual([1, 2, 3]);
    expect(map.sum(0)).toBe(6);
    expect([...map.values()]).toHaveLength(4);
    map.clear();
    expect(map.sum(0)).toBe(0);
  });

  it('without keys', () => {
    const queue = make(22, { keySize: 0 });
    queue.push(1);
    queue.push(2);
    expect([queue.take(), queue.take(), queue.take()]).toEqual([1, 2, undefined]);
    queue.push(3);
    queue.clear();
    expect(queue.take()).toBeUndefined();
  });

  it('that programs fill while they are cleared', () => {
    const map = make(1);
    map.set(1, 1);
    map.set(2, 2);
    const remove = kernel.mapDeleteElem.bind(kernel);
    const refill = vi.spyOn(kernel, 'mapDeleteElem').mockImplementation((attr) => {
      remove(attr);
      kernel.mapUpdateElem({ ...attr, value: new Uint8Array(map.storedSize) });
    });
    map.clear();
    refill.mockRestore();
    expect([map.get(1), map.get(2)]).toEqual([0, 0]);
  });

  it('that hold programs or maps are cleared', () => {
    const jumps = object.findMap('jumps');
    jumps.clear();
    expect(jumps.has(2)).toBe(false);
    object.findMap('outer').clear();
    expect(object.findMap('outer').has(0)).toBe(false);
  });

  it('that change while they are walked', () => {
    const map = make(1, { maxEntries: 100 });
    for (let i = 0; i < 100; i++) map.set(i, i);
    let steps = 0;
    for (const key of map.keys()) {
      map.delete(key as number);
      if (++steps > 1000) break;
    }
    expect(map.count()).toBe(0);
    for (let i = 0; i < 100; i++) map.set(i, i);
    let added = 100;
    for (const _ of map.keys()) {
      map.delete(added - 100);
      map.set(added++, 1);
    }
    expect(added).toBeLessThan(400);
  });
});
