/** Events whose programs run on other CPUs: the number, the values and the task that they see, and in which order they come. */
import { afterEach, describe, expect, it } from 'vitest';
import type { KernelEvent } from '../../src/contracts/events.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { BpfObject } from '../../src/libbpf/index.ts';
import { compileC } from './stress.ts';
import { cpuThreads } from './threads.ts';

const code = compileC('./events.bpf.c');
const open: EmbeddedKernel[] = [];

function boot(jit: 0 | 1, threads = true) {
  const kernel = new EmbeddedKernel({
    onOops: () => {},
    ...(threads ? { cpus: { count: 3, start: cpuThreads() } } : { possibleCpus: 3 }),
  });
  open.push(kernel);
  kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
  const object = BpfObject.open(code).load(kernel);
  const ifindex = kernel.simulator.addInterface('eth0');
  for (const program of object.programs)
    program.attach(program.name === 'frame' ? { interface: ifindex } : {});
  const own = (index: number) => (object.findMap('own').get(index) as unknown[]).map(Number);
  const printed = () => kernel.simulator.drainTrace().map(({ cpu, message }) => [cpu, message.slice(18)]);
  return { kernel, object, ifindex, cpus: kernel.cpus!, own, printed };
}

afterEach(() => {
  for (const kernel of open.splice(0)) kernel.shutdown();
});

const process = { pid: 21, tgid: 20, uid: 1000, gid: 100, comm: 'worker' };
const opens = (path: string, time: bigint, pid = 21): KernelEvent => ({
  kind: 'syscall_enter',
  name: 'openat',
  nr: 257,
  args: [
    { kind: 'value', value: -100n },
    { kind: 'memory', bytes: Uint8Array.from(`${path}\0`, (c) => c.charCodeAt(0)) },
  ],
  process: { ...process, pid },
  time,
});
const unlinks = (tgid: number): KernelEvent => ({
  kind: 'kprobe',
  symbol: 'do_unlinkat',
  args: [{ kind: 'value', value: -100n }],
  process: { pid: tgid },
  time: 1n,
});
const asks = (f_flags: number) =>
  ({
    kind: 'lsm',
    hook: 'file_open',
    args: [{ kind: 'object', struct: 'file', members: { f_flags } }],
    process,
    time: 1n,
  }) as const;

describe.each(['interpreter', 'jit'] as const)('events on CPUs that are threads (%s)', (engine) => {
  it('keep call stacks in one map', async () => {
    const { object, cpus } = boot(engine === 'jit' ? 1 : 0);
    const ids: number[] = [];
    for (const cpu of [1, 2, 0, 1]) {
      const stacks = { kernel: [0xffff_ffff_8100_0000n, BigInt(cpu)], user: [] };
      await cpus.fire(cpu, { ...unlinks(cpu + 50), symbol: 'do_mkdirat', stacks } as KernelEvent);
      ids.push(Number(object.globals.stack_id));
    }
    expect(ids.every((id) => id >= 0)).toBe(true);
    expect(new Set(ids).size).toBe(3);
    expect(ids[3]).toBe(ids[0]);
    expect(object.findMap('stacks').count()).toBe(3);
  });

  const jit = engine === 'jit' ? 1 : 0;

  it('programs see the number of their CPU, its values, their task and its memory', async () => {
    const { cpus, own, printed } = boot(jit);
    for (const cpu of [2, 1, 0]) expect(await cpus.fire(cpu, opens(`/tmp/${cpu}`, 10n))).toBe(1);
    expect(own(0)).toEqual([1, 1, 1]);
    expect(printed()).toEqual(
      [2, 1, 0].flatMap((cpu) => [
        [cpu, `${cpu} worker worker opens /tmp/${cpu}`],
        [cpu, 'at 10'],
      ]),
    );
  });

  it('events of one process wait for each other, also on different CPUs', async () => {
    const { cpus, printed } = boot(jit);
    const paths = Array.from({ length: 30 }, (_, i) => `/${i}`);
    await Promise.all(paths.map((path, i) => cpus.fire(1 + (i % 2), opens(path, BigInt(i)))));
    const lines = printed().map(([, text]) => text);
    expect(lines.filter((text) => String(text).includes('opens')).sort()).toEqual(
      paths.map((path, i) => `${1 + (i % 2)} worker worker opens ${path}`).sort(),
    );
    expect(lines.filter((text) => String(text).startsWith('at')).sort()).toEqual(
      paths.map((_, i) => `at ${i}`).sort(),
    );
  });

  it('counts are exact where many events run at the same time', async () => {
    const { object, cpus, own } = boot(jit);
    await cpus.ready();
    const all: Promise<number>[] = [];
    for (let i = 0; i < 600; i++) all.push(cpus.fire(i % 3, unlinks(100 + (i % 7))));
    expect((await Promise.all(all)).every((ran) => ran === 1)).toBe(true);
    expect(own(1)).toEqual([200, 200, 200]);
    const counted = [...object.findMap('pids').entries()].map(([, n]) => Number(n));
    expect(counted.reduce((a, b) => a + b, 0)).toBe(600);
    expect(counted).toHaveLength(7);
  });

  it('hooks of the security module are asked in turn', async () => {
    const { cpus, printed } = boot(jit);
    expect(await cpus.ask(2, asks(1))).toBe(0);
    expect(await cpus.ask(1, asks(2))).toBe(-1);
    expect(printed()).toEqual([[2, 'flags 1 on 2']]);
  });

  it('an event that nobody listens to changes its process, and a CPU that is not there is refused', async () => {
    const { cpus, printed } = boot(jit);
    await cpus.fire(2, { kind: 'exec', process, comm: 'another', time: 2n });
    expect(await cpus.fire(1, { ...opens('/x', 3n), process: { pid: 21 } } as KernelEvent)).toBe(1);
    expect(printed()[0]).toEqual([1, '1 another another opens /x']);
    await expect(cpus.fire(3, opens('/x', 1n))).rejects.toMatchObject({ code: 'ENXIO' });
  });
});

it('the simulator keeps off the values of a CPU that runs', async () => {
  const { kernel, cpus, own } = boot(1);
  await cpus.ready();
  const running = cpus.fire(1, unlinks(7));
  const event = { ...unlinks(8), cpu: 1 } as KernelEvent;
  expect(() => kernel.simulator.fire(event)).toThrow(expect.objectContaining({ code: 'EBUSY' }));
  await running;
  expect(kernel.simulator.fire(event)).toBe(1);
  expect(own(1)).toEqual([0, 2, 0]);
});

it('without threads events say on which CPU they are, frames too', () => {
  const { kernel, ifindex, own, printed } = boot(1, false);
  for (const cpu of [0, 2]) kernel.simulator.fire({ ...opens('/x', 5n), cpu } as KernelEvent);
  // What this machine does not have is CPU 0.
  for (const cpu of [9, -1]) kernel.simulator.fire({ ...opens('/x', 5n), cpu } as KernelEvent);
  expect(own(0)).toEqual([3, 0, 1]);
  expect(printed()[2]).toEqual([2, '2 worker worker opens /x']);
  for (const cpu of [1, 1, 2]) kernel.simulator.receive({ ifindex, data: new Uint8Array(64), cpu });
  expect(own(0)).toEqual([3, 2, 2]);
});
