import { describe, expect, it } from 'vitest';
import { encodeProgram, ProgramBuilder, R2, R3 } from '../../src/asm/index.ts';
import type { EventStacks } from '../../src/contracts/events.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { mapTypeByName, progTypeByName } from '../../src/spec/index.ts';
import { u32 } from '../maps/env.ts';
import { HelperBench } from './env.ts';

const USER_STACK = 0x100n;
const FAST_STACK_CMP = 0x200n;
const REUSE_STACKID = 0x400n;
const USER_BUILD_ID = 0x800n;

const ips = (...values: number[]): bigint[] => values.map((value) => 0xffff_ffff_8100_0000n + BigInt(value));
const words = (bytes: Uint8Array): bigint[] => [...new BigUint64Array(bytes.slice().buffer)];

class Bench extends HelperBench {
  stacks: EventStacks = {};
  constructor() {
    super();
    (this.env as { stack: unknown }).stack = (user: boolean) =>
      user ? this.stacks.user : this.stacks.kernel;
  }
}

describe('bpf_get_stackid', () => {
  const setup = (valueSize = 24, maxEntries = 4) => {
    const bench = new Bench();
    const map = bench.map('stack_trace', { keySize: 4, valueSize, maxEntries });
    const id = (flags = 0n): number => Number(bench.call('bpf_get_stackid', [0n, map.layout.address, flags]));
    return { bench, map, id };
  };

  it('numbers stacks, the same stack by the same number', () => {
    const { bench, map, id } = setup();
    bench.stacks = { kernel: ips(1, 2), user: [7n] };
    const first = id();
    expect(first).toBeGreaterThanOrEqual(0);
    expect(first).toBeLessThan(4);
    expect(id()).toBe(first);
    expect(words(map.lookup(u32(first)) as Uint8Array)).toEqual([...ips(1, 2), 0n]);
    expect(map.count()).toBe(1);
    const user = id(USER_STACK | REUSE_STACKID);
    expect(words(map.lookup(u32(user)) as Uint8Array)).toEqual([7n, 0n, 0n]);
  });

  it('skips the innermost and cuts the outermost', () => {
    const { bench, map, id } = setup();
    bench.stacks = { kernel: ips(1, 2, 3, 4, 5) };
    expect(words(map.lookup(u32(id(1n))) as Uint8Array)).toEqual(ips(2, 3, 4));
    expect(id(5n)).toBe(-14);
    expect(id(4n | REUSE_STACKID)).toBeGreaterThanOrEqual(0);
  });

  it('fails where there is no stack, and at unknown flags', () => {
    const { bench, id } = setup();
    expect(id()).toBe(-14);
    bench.stacks = { kernel: ips(1) };
    expect(id(USER_STACK)).toBe(-14);
    expect(id(0x1000n)).toBe(-22);
    expect(id(1n << 32n)).toBe(-22);
  });

  it('two stacks with one place: the first stays, unless told otherwise', () => {
    const { bench, map, id } = setup(24, 1);
    bench.stacks = { kernel: ips(1) };
    expect(id()).toBe(0);
    bench.stacks = { kernel: ips(2) };
    expect(id()).toBe(-17);
    expect(id(FAST_STACK_CMP)).toBe(-17);
    expect(id(REUSE_STACKID)).toBe(0);
    expect(words(map.lookup(u32(0)) as Uint8Array)).toEqual([...ips(2), 0n, 0n]);
  });

  it('user space reads, walks and deletes, but does not write', () => {
    const { bench, map, id } = setup(24, 64);
    const ids = new Set<number>();
    for (let i = 0; i < 8; i++) {
      bench.stacks = { kernel: ips(i) };
      ids.add(id(REUSE_STACKID));
    }
    const walked: number[] = [];
    for (let key = map.nextKey(null); typeof key !== 'number'; key = map.nextKey(key))
      walked.push(new DataView(key.buffer).getUint32(0, true));
    expect(walked).toEqual([...ids].sort((a, b) => a - b));
    expect(map.nextKey(u32(64))).toEqual(u32(walked[0]!));
    expect(map.update(u32(0), new Uint8Array(24), 0)).toBe(-22);
    expect(map.delete(u32(walked[0]!))).toBe(0);
    expect(map.delete(u32(walked[0]!))).toBe(-2);
    expect(map.delete(u32(64))).toBe(-7);
    expect(map.lookup(u32(walked[0]!))).toBe(-2);
  });

  it('with build ids, addresses stand for files that are not known', () => {
    const bench = new Bench();
    const map = bench.map('stack_trace', { keySize: 4, valueSize: 64, maxEntries: 4, flags: 0x20 });
    bench.stacks = { user: [0x1234n] };
    const id = Number(bench.call('bpf_get_stackid', [0n, map.layout.address, USER_STACK]));
    expect(words(map.lookup(u32(id)) as Uint8Array)).toEqual([2n, 0n, 0n, 0x1234n, 0n, 0n, 0n, 0n]);
  });
});

describe('bpf_get_stack', () => {
  const setup = (kernel?: bigint[]) => {
    const bench = new Bench();
    if (kernel !== undefined) bench.stacks = { kernel, user: [9n, 8n] };
    const buf = bench.put(new Uint8Array(64).fill(0xee));
    const call = (size: number, flags = 0n): [number, bigint[]] => {
      const result = Number(bench.call('bpf_get_stack', [0n, buf, size, flags]));
      return [result, words(bench.memory.read(buf, 32))];
    };
    return call;
  };
  const FILL = 0xeeee_eeee_eeee_eeeen;

  it('fills the buffer, and the rest with zeros', () => {
    expect(setup(ips(1, 2))(24)).toEqual([16, [...ips(1, 2), 0n, FILL]]);
    expect(setup(ips(1, 2, 3))(16)).toEqual([16, [...ips(1, 2), FILL, FILL]]);
    expect(setup(ips(1, 2, 3))(16, 2n)).toEqual([8, [...ips(3), 0n, FILL, FILL]]);
    expect(setup(ips(1))(16, 1n)).toEqual([0, [0n, 0n, FILL, FILL]]);
    expect(setup(ips(1))(16, USER_STACK)).toEqual([16, [9n, 8n, FILL, FILL]]);
    expect(setup(ips(1))(32, USER_STACK | USER_BUILD_ID)).toEqual([32, [2n, 0n, 0n, 9n]]);
  });

  it('clears it where it fails', () => {
    const cleared = [0n, 0n, FILL, FILL];
    expect(setup()(16)).toEqual([-14, cleared]);
    expect(setup(ips(1))(16, 2n)).toEqual([-14, cleared]);
    expect(setup(ips(1))(16, 0x1000n)).toEqual([-22, cleared]);
    expect(setup(ips(1))(16, USER_BUILD_ID)).toEqual([-22, cleared]);
    expect(setup(ips(1))(12)[0]).toBe(-22);
    expect(setup(ips(1))(0)).toEqual([0, [FILL, FILL, FILL, FILL]]);
  });
});

describe('events', () => {
  it('bring the stacks that programs see', () => {
    const kernel = new EmbeddedKernel();
    const mapFd = kernel.mapCreate({
      mapType: mapTypeByName('stack_trace')!.id,
      keySize: 4,
      valueSize: 16,
      maxEntries: 8,
    });
    const insns = new ProgramBuilder()
      .ldMapFd(R2, mapFd)
      .mov64(R3, 0)
      .callHelper('bpf_get_stackid')
      .exit()
      .build();
    const progFd = kernel.progLoad({
      progType: progTypeByName('raw_tracepoint')!.id,
      insns: encodeProgram(insns),
      license: 'GPL',
    });
    kernel.rawTracepointOpen({ name: 'sched_switch', progFd });
    const process = { pid: 1 };
    const event = { kind: 'raw_tracepoint', name: 'sched_switch', args: [], process, time: 1n } as const;
    kernel.simulator.fire(event);
    expect(kernel.mapGetNextKey({ mapFd, key: null })).toBeNull();
    kernel.simulator.fire({ ...event, stacks: { kernel: ips(5, 6) } });
    const key = kernel.mapGetNextKey({ mapFd, key: null });
    expect(words(kernel.mapLookupElem({ mapFd, key: key! })!)).toEqual(ips(5, 6));
    kernel.shutdown();
  });
});
