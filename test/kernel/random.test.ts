/** Random commands on random descriptors: each does its work or throws BpfError, and in the end nothing is left. */
import { describe, expect, it } from 'vitest';
import type { ObjectKind } from '../../src/contracts/kernel.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { BpfError } from '../../src/util/index.ts';
import { FRAME, load, makeMap, ProgramBuilder, R0, R1, R2, returns, tailCall, u32, uses } from './subject.ts';

const KINDS: readonly ObjectKind[] = ['map', 'prog', 'link', 'btf'];
const TYPES = [
  'array',
  'hash',
  'lru_hash',
  'percpu_array',
  'queue',
  'prog_array',
  'perf_event_array',
  'array_of_maps',
  'hash_of_maps',
  'ringbuf',
  'devmap',
];
const EVENT = { kind: 'raw_tracepoint', name: 'tp', args: [1n], process: { pid: 3 }, time: 1n } as const;

function generator(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

function round(seed: number, steps: number): number {
  const random = generator(seed);
  const kernel = new EmbeddedKernel({ possibleCpus: 2, memory: { maximumPages: 256 }, onOops: () => {} });
  kernel.simulator.setSysctl('net.core.bpf_jit_enable', seed & 1);
  // Any number that is, was or never will be a descriptor.
  const fd = () => 2 + random(24);
  const path = () => `/sys/fs/bpf/${['a', 'b', 'd', 'd/a', 'd/b', '.', '..', 'x.y', ''][random(9)]}`;
  const type = () => TYPES[random(TYPES.length)];
  const progType = () => ['socket_filter', 'xdp', 'raw_tracepoint', 'tracepoint'][random(4)];
  const sizes = (name: string) =>
    name === 'ringbuf'
      ? { keySize: 0, valueSize: 0, maxEntries: 4096 }
      : name === 'queue'
        ? { keySize: 0 }
        : {};
  const flags = () => (random(8) === 0 ? 1 << random(12) : 0);
  const actions: (() => unknown)[] = [
    () => {
      const name = type();
      return makeMap(kernel, name, { ...sizes(name), innerMapFd: fd(), mapFlags: flags() });
    },
    () => makeMap(kernel, type(), { innerMapFd: fd() }),
    () => load(kernel, returns(random(3)), progType()),
    () => load(kernel, uses(fd()), progType()),
    () => load(kernel, tailCall(fd(), random(5), 1), progType()),
    () =>
      load(
        kernel,
        new ProgramBuilder()
          .ldx('w', R0, R1, 4 * random(8))
          .mov64(R2, 0)
          .exit(),
        progType(),
      ),
    () => kernel.mapUpdateElem({ mapFd: fd(), key: u32(random(5)), value: u32(fd()), flags: flags() }),
    () => kernel.mapUpdateElem({ mapFd: fd(), key: u32(random(5)), value: u32(fd()) }),
    () => kernel.mapUpdateElem({ mapFd: fd(), key: new Uint8Array(), value: u32(1) }),
    () => kernel.mapDeleteElem({ mapFd: fd(), key: u32(random(5)) }),
    () => kernel.mapLookupElem({ mapFd: fd(), key: u32(random(5)) }),
    () => kernel.mapLookupAndDeleteElem({ mapFd: fd(), key: u32(random(5)) }),
    () => kernel.mapGetNextKey({ mapFd: fd(), key: random(2) === 0 ? null : u32(random(5)) }),
    () =>
      kernel.mapLookupBatch({
        mapFd: fd(),
        count: random(6),
        inBatch: random(2) === 0 ? null : u32(random(5)),
      }),
    () => kernel.mapLookupAndDeleteBatch({ mapFd: fd(), count: random(6) }),
    () => kernel.mapUpdateBatch({ mapFd: fd(), keys: [u32(0), u32(1)], values: [u32(fd()), u32(fd())] }),
    () => random(6) === 0 && kernel.mapFreeze({ mapFd: fd() }),
    () => kernel.progBindMap({ progFd: fd(), mapFd: fd() }),
    () => kernel.progTestRun({ progFd: fd(), dataIn: FRAME, repeat: random(4) }),
    () => kernel.linkCreate({ progFd: fd(), targetIfindex: random(3), attachType: 37 }),
    () => kernel.linkCreate({ progFd: fd(), targetFd: fd(), attachType: 41 }),
    () =>
      kernel.linkUpdate({
        linkFd: fd(),
        newProgFd: fd(),
        ...(random(2) === 0 ? {} : { oldProgFd: fd(), flags: 4 }),
      }),
    () => kernel.linkDetach({ linkFd: fd() }),
    () => kernel.rawTracepointOpen({ name: 'tp', progFd: fd() }),
    () => kernel.socketAttach({ socketFd: random(2) === 0 ? null : fd(), progFd: fd() }),
    () => kernel.perfEventOpen({ kind: 'bpf_output', cpu: random(3), pages: 1 << random(3) }),
    () => kernel.perfEventOpen({ kind: 'tracepoint', category: 'c', name: 'n' }),
    () => kernel.mapRing(fd()).unmap(),
    () => kernel.objPin({ pathname: path(), bpfFd: fd() }),
    () => kernel.objGet({ pathname: path(), fileFlags: random(3) === 0 ? 8 : 0 }),
    () => kernel.unlink(path()),
    () => kernel.mkdir(path()),
    () => kernel.link(path(), path()),
    () => kernel.symlink('a', path()),
    () => kernel.objGetFdById({ kind: KINDS[random(4)], id: 1 + random(20) }),
    () => kernel.objGetInfoByFd({ bpfFd: fd() }),
    () => kernel.close(fd()),
    () => kernel.close(fd()),
    () => kernel.close(fd()),
    () => kernel.simulator.receive({ ifindex: random(3), data: FRAME }),
    () => kernel.simulator.fire(EVENT),
    () =>
      kernel.simulator.fire({
        kind: 'tracepoint',
        category: 'c',
        name: 'n',
        record: FRAME,
        process: { pid: 1 },
        time: 1n,
      }),
    () => kernel.simulator.setSysctl('net.core.bpf_jit_enable', random(2)),
    () => kernel.enableStats({ type: random(2) }),
  ];
  let done = 0;
  for (let step = 0; step < steps; step++) {
    try {
      actions[random(actions.length)]();
      done++;
    } catch (error) {
      if (!(error instanceof BpfError)) throw new Error(`seed ${seed}, step ${step}`, { cause: error });
    }
  }
  expect(kernel.simulator.oopses()).toEqual([]);
  kernel.shutdown();
  for (const kind of KINDS)
    expect([seed, kind, kernel.objGetNextId({ kind, startId: 0 })]).toEqual([seed, kind, null]);
  return done;
}

describe('random commands', () => {
  for (let part = 0; part < 4; part++)
    it(`part ${part}`, () => {
      let done = 0;
      for (let seed = 1 + part * 10; seed <= 10 + part * 10; seed++) done += round(seed, 1500);
      // Not all are refused.
      expect(done).toBeGreaterThan(3000);
    });
});
