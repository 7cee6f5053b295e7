/** CPUs as threads: what a run on another CPU sees, what comes back, and what is refused. */
import { afterEach, describe, expect, it } from 'vitest';
import { EmbeddedKernel, type EmbeddedKernelOptions } from '../../src/kernel/index.ts';
import { BpfObject, PerfBufferReader, RingBufferReader } from '../../src/libbpf/index.ts';
import { compileC, PACKET } from './stress.ts';
import { cpuThreads } from './threads.ts';

const code = compileC('./cpus.bpf.c');
const open: EmbeddedKernel[] = [];

function boot(options: Partial<EmbeddedKernelOptions> = {}, programs: readonly string[] = []) {
  const kernel = new EmbeddedKernel({
    cpus: { count: 3, start: cpuThreads() },
    onOops: () => {},
    ...options,
  });
  open.push(kernel);
  const object = BpfObject.open(code);
  for (const program of object.programs)
    program.autoload =
      programs.length === 0 ? !program.name.startsWith('timer') : programs.includes(program.name);
  object.load(kernel);
  const run = (name: string, cpu: number, repeat = 1) =>
    kernel.cpus!.testRun(cpu, { progFd: object.findProgram(name).fd, dataIn: PACKET, repeat });
  return { kernel, object, cpus: kernel.cpus!, run };
}

afterEach(() => {
  for (const kernel of open.splice(0)) kernel.shutdown();
});

describe('a run on a CPU', () => {
  it('has its number, its per-CPU values and a result', async () => {
    const { kernel, object, cpus, run } = boot();
    await cpus.ready();
    const results = await Promise.all([0, 1, 2].map((cpu) => run('whoami', cpu, 1000 * (cpu + 1))));
    expect(results.map(({ retval }) => retval)).toEqual([0, 1, 2]);
    expect(object.findMap('own').get(0)).toEqual(
      [1000n, 2000n, 3000n].map((n) => expect.toSatisfy((v: unknown) => BigInt(v as never) === n)),
    );
    // What user space writes, every CPU sees.
    kernel.mapUpdateElem({
      mapFd: object.findMap('own').fd,
      key: new Uint8Array(4),
      value: new Uint8Array(24),
    });
    await run('whoami', 2);
    expect((object.findMap('own').get(0) as unknown[]).map(Number)).toEqual([0, 0, 1]);
  });

  it('gives packets back', async () => {
    const { kernel, object, cpus } = boot();
    const dataIn = Uint8Array.from({ length: 100 }, (_, i) => i);
    const result = await cpus.testRun(1, { progFd: object.findProgram('length').fd, dataIn });
    expect(result.retval).toBe(2);
    expect(result.dataOut).toEqual(dataIn);
    expect(result.dataOut.buffer).toBeInstanceOf(ArrayBuffer);
    expect(kernel.progTestRun({ progFd: object.findProgram('length').fd, dataIn }).retval).toBe(2);
  });

  it('prints, samples and wakes through the thread of CPU 0', async () => {
    const { kernel, object, cpus, run } = boot();
    await cpus.ready();
    const ring = new RingBufferReader(kernel, object.findMap('ring').fd);
    await run('print', 2, 3);
    expect(kernel.simulator.drainTrace().map(({ cpu, message }) => [cpu, message])).toEqual(
      Array.from({ length: 3 }, () => [2, 'bpf_trace_printk: on CPU 2']),
    );
    const mapping = kernel.mapRing(object.findMap('ring').fd);
    const woken = mapping.wait(60_000);
    await run('send', 1);
    expect(await woken).toBe(true);
    expect(ring.consume().map((record) => record[0])).toEqual([1]);
    const perf = new PerfBufferReader(kernel, object.findMap('samples').fd);
    expect((await run('sample', 2, 5)).retval).toBe(0);
    const seen = perf.consume().map(({ cpu }) => cpu);
    expect(seen).toEqual([2, 2, 2, 2, 2]);
    perf.close();
  });

  it('goes through maps of maps and over all elements', async () => {
    const { kernel, object, run } = boot();
    const inner = kernel.mapCreate({ mapType: 1, keySize: 4, valueSize: 8, maxEntries: 8 });
    expect((await run('inner', 1)).retval).toBe(1);
    const value = new Uint8Array(4);
    new DataView(value.buffer).setInt32(0, inner, true);
    kernel.mapUpdateElem({ mapFd: object.findMap('outer').fd, key: new Uint8Array(4), value });
    expect((await run('inner', 1)).retval).toBe(9);
    await run('whoami', 2, 41);
    expect((await run('walk', 2)).retval).toBe(1);
    expect(Number(object.globals.visited_sum)).toBe(41);
  });

  it('waits for a resilient lock that another CPU holds', async () => {
    const { object, cpus, run } = boot({}, ['resilient']);
    await cpus.ready();
    await Promise.all([1, 2, 0].map((cpu) => run('resilient', cpu, 20_000)));
    const { n } = object.findMap('resilients').get(0) as { n: number };
    expect(Number(n) + Number(object.globals.timeouts)).toBe(60_000);
  });

  it.each([1, 0])('sets timers, which run on CPU 0 (bpf_jit_enable = %d)', async (jit) => {
    const names = ['start', 'cancel', 'delete', 'replace'].map((name) => `timer_${name}`);
    const kernel = new EmbeddedKernel({ cpus: { count: 3, start: cpuThreads() } });
    open.push(kernel);
    kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
    kernel.simulator.setTime(1_000_000_000n);
    const object = BpfObject.open(code);
    for (const program of object.programs) program.autoload = names.includes(program.name);
    object.load(kernel);
    const run = async (name: string, cpu: number) =>
      (await kernel.cpus!.testRun(cpu, { progFd: object.findProgram(name).fd, dataIn: PACKET })).retval | 0;
    const count = (name: string) => Number(object.globals[name]);
    for (const cpu of [1, 2, 0]) expect(await run('timer_start', cpu)).toBe(0);
    expect(count('ticks')).toBe(0);
    kernel.simulator.setTime(1_000_001_000n);
    expect([count('ticks'), count('tick_keys'), count('tick_cpus')]).toEqual([3, 3 + 5 + 1, 0]);
    for (const cpu of [1, 2, 0]) {
      expect(await run('timer_cancel', cpu)).toBe(1);
      expect(await run('timer_delete', cpu)).toBe(0);
      expect(await run('timer_replace', cpu)).toBe(0);
    }
    kernel.simulator.setTime(1_000_002_000n);
    expect(count('ticks')).toBe(3);
    // Both at once, and while timers run.
    const many = { dataIn: PACKET, repeat: 200 };
    const running = [1, 2].map((cpu) =>
      kernel.cpus!.testRun(cpu, { progFd: object.findProgram('timer_delete').fd, ...many }),
    );
    expect((await Promise.all(running)).map(({ retval }) => retval)).toEqual([0, 0]);
    kernel.simulator.setTime(1_000_003_000n);
    expect(count('ticks')).toBe(3);
  });

  it('iterates', async () => {
    const { run } = boot({}, ['iterate']);
    expect((await Promise.all([0, 1].map((cpu) => run('iterate', cpu)))).map(({ retval }) => retval)).toEqual(
      [45, 45],
    );
  });

  it('interpreted gives the same', async () => {
    const kernel = new EmbeddedKernel({ cpus: { count: 2, start: cpuThreads() } });
    open.push(kernel);
    kernel.simulator.setSysctl('net.core.bpf_jit_enable', 0);
    const object = BpfObject.open(code);
    for (const program of object.programs)
      program.autoload = ['whoami', 'walk', 'length'].includes(program.name);
    object.load(kernel);
    const run = (name: string, cpu: number) =>
      kernel.cpus!.testRun(cpu, { progFd: object.findProgram(name).fd, dataIn: PACKET, repeat: 10 });
    for (const cpu of [0, 1]) {
      expect((await run('whoami', cpu)).retval).toBe(cpu);
      expect((await run('walk', cpu)).retval).toBe(1);
      expect((await run('length', cpu)).retval).toBe(2);
    }
    expect(Number(object.globals.visited)).toBe(20);
    expect(Number(object.globals.visited_sum)).toBe(200);
  });

  it('of frames counts results', async () => {
    const { kernel, object, cpus } = boot();
    const ifindex = kernel.simulator.addInterface('eth0');
    object.findProgram('length').attach({ interface: ifindex });
    const sizes = [60, 61, 100, 14, 1500];
    const frames = cpus.frames({ ifindex, size: sizes.reduce((sum, size) => sum + 16 + size, 0) })!;
    const view = new DataView(frames.bytes.buffer, frames.bytes.byteOffset, frames.bytes.length);
    let at = 0;
    for (const size of sizes) {
      view.setUint32(at, 1000, true);
      view.setUint32(at + 8, size, true);
      view.setUint32(at + 12, size, true);
      at += 16 + size;
    }
    const counts = await Promise.all([0, 1, 2].map((cpu) => frames.run(cpu, { times: 10 })));
    for (const { frames: n, actions } of counts) {
      expect(n).toBe(50);
      expect([...actions].sort()).toEqual([
        [1, 20],
        [2, 30],
      ]);
    }
    frames.free();
  });
});

describe('what goes wrong', () => {
  it('on a CPU that is not there', async () => {
    const { run } = boot();
    await expect(async () => run('whoami', 3)).rejects.toMatchObject({ code: 'ENXIO' });
  });

  it('a program that needs what only CPU 0 has is refused by what it is', async () => {
    const { run } = boot({}, ['keep']);
    await expect(run('keep', 1)).rejects.toMatchObject({
      code: 'ENOTSUPP',
      message: expect.stringMatching(/keep cannot run on CPU 1: .*kptr_ref/),
    });
    expect((await run('keep', 0)).retval).toBe(0);
  });

  it('a fault is an oops of the kernel, and gives the lock back', async () => {
    const oopses: string[] = [];
    const { kernel, run } = boot({ budget: 5000, onOops: ({ message }) => oopses.push(message) }, [
      'hold',
      'take',
      'whoami',
    ]);
    await expect(run('hold', 1)).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    expect(oopses).toEqual([expect.stringMatching(/'hold' \(id \d+\) was stopped and detached: .*budget/)]);
    expect(kernel.simulator.oopses()).toHaveLength(1);
    await expect(async () => run('hold', 2)).rejects.toMatchObject({ code: 'EFAULT' });
    expect((await run('take', 2)).retval).toBe(7);
    expect((await run('take', 0)).retval).toBe(7);
    expect((await run('whoami', 1)).retval).toBe(1);
  });

  it('a fault gives back resilient locks at once, and records when runs of that time have ended', async () => {
    const { kernel, object, cpus, run } = boot({ budget: 5000 }, ['strand', 'resilient', 'send', 'whoami']);
    await cpus.ready();
    const ring = new RingBufferReader(kernel, object.findMap('ring').fd);
    // One CPU always runs something.
    let over = false;
    const busy = (async () => {
      let last = run('whoami', 2, 20_000);
      while (!over) {
        const next = run('whoami', 2, 20_000);
        await last;
        last = next;
      }
      await last;
    })();
    await expect(run('strand', 1)).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    expect((await run('resilient', 1)).retval).toBe(0);
    expect((await run('resilient', 0)).retval).toBe(0);
    await run('send', 0);
    const records: number[] = [];
    while (records.length === 0) {
      for (const record of ring.consume()) records.push(record[0]!);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(records).toEqual([0]);
    over = true;
    await busy;
  });

  it('a thread that does not start', async () => {
    const kernel = new EmbeddedKernel({
      cpus: {
        count: 2,
        start: ({ onError }) => {
          queueMicrotask(() => onError(new Error('no threads today')));
          return { post: () => {}, terminate: () => {} };
        },
      },
    });
    open.push(kernel);
    await expect(kernel.cpus!.ready()).rejects.toMatchObject({
      code: 'EIO',
      message: 'the thread of CPU 1 has ended: no threads today',
    });
  });

  it('a thread that cannot be made: those that were made end', () => {
    let ended = 0;
    let made = 0;
    const start = () => {
      if (++made === 3) throw new Error('no more threads');
      return { post: () => {}, terminate: () => ended++ };
    };
    expect(() => new EmbeddedKernel({ cpus: { count: 4, start } })).toThrow(
      expect.objectContaining({
        code: 'EAGAIN',
        message: 'cannot start a thread for CPU 3: no more threads',
      }),
    );
    expect(ended).toBe(2);
  });

  it('counts of CPUs that cannot be', () => {
    for (const count of [33, 1.5, Number.NaN]) {
      expect(() => new EmbeddedKernel({ cpus: { count, start: cpuThreads() } })).toThrow(
        expect.objectContaining({ code: 'EINVAL' }),
      );
    }
    expect(new EmbeddedKernel({ cpus: { count: 1, start: cpuThreads() } }).cpus).toBeNull();
  });
});

describe('a shutdown', () => {
  it('ends threads that run, that sleep for an answer and that have not started, and tells when', async () => {
    const names = ['whoami', 'sample'];
    for (const wait of [true, false]) {
      const { kernel, cpus, run, object } = boot({}, names);
      const perf = new PerfBufferReader(kernel, object.findMap('samples').fd);
      if (wait) await cpus.ready();
      const runs = Promise.allSettled([run('whoami', 1, 2_000_000_000), run('sample', 2, 2_000_000_000)]);
      if (wait) await new Promise((resolve) => setTimeout(resolve, 50));
      // Nothing that the threads ask is heard from here on.
      kernel.shutdown();
      kernel.shutdown();
      for (const result of await runs)
        expect(result).toMatchObject({ status: 'rejected', reason: { code: 'ENODEV' } });
      await cpus.ended();
      if (!wait) await expect(cpus.ready()).rejects.toMatchObject({ code: 'ENODEV' });
      await expect(run('whoami', 1)).rejects.toThrow();
      void perf;
    }
  });
});

describe('what programs were given', () => {
  it('memory of maps that have gone serves other maps', async () => {
    const { kernel } = boot({ cpus: { count: 2, start: cpuThreads() }, memory: { maximumPages: 512 } }, [
      'whoami',
    ]);
    const key = new Uint8Array(4);
    const value = new Uint8Array(1024);
    for (let n = 0; n < 40; n++) {
      const mapFd = kernel.mapCreate({ mapType: 1, keySize: 4, valueSize: 1024, maxEntries: 4096 });
      for (let i = 0; i < 2000; i++) {
        new DataView(key.buffer).setUint32(0, i, true);
        kernel.mapUpdateElem({ mapFd, key, value });
      }
      kernel.close(mapFd);
    }
  });

  it('frames stay until runs that wait for them have ended', async () => {
    const { kernel, object, cpus, run } = boot({}, ['length', 'whoami']);
    await cpus.ready();
    const ifindex = kernel.simulator.addInterface('eth0');
    object.findProgram('length').attach({ interface: ifindex });
    const frames = cpus.frames({ ifindex, size: 76 })!;
    new DataView(frames.bytes.buffer, frames.bytes.byteOffset).setUint32(8, 60, true);
    const before = run('whoami', 1, 200_000);
    const waiting = frames.run(1, { times: 1000 });
    frames.free();
    await before;
    await new Promise((resolve) => setTimeout(resolve, 30));
    // Would lie where the frames are, if they were free.
    kernel.mapCreate({ mapType: 2, keySize: 4, valueSize: 76, maxEntries: 1 });
    expect((await waiting).actions).toEqual(new Map([[1, 1000]]));
    await expect(frames.run(1)).rejects.toMatchObject({ code: 'EINVAL' });
  });

  it('stays until they have run, and comes back', async () => {
    const { kernel, object, cpus, run } = boot({}, ['inner', 'whoami']);
    await cpus.ready();
    const outer = object.findMap('outer').fd;
    const value = new Uint8Array(4);
    for (let i = 0; i < 30; i++) {
      const inner = kernel.mapCreate({ mapType: 1, keySize: 4, valueSize: 8, maxEntries: 8 });
      new DataView(value.buffer).setInt32(0, inner, true);
      kernel.mapUpdateElem({ mapFd: outer, key: new Uint8Array(4), value });
      kernel.close(inner);
      const running = Promise.all([run('inner', 1, 5000), run('inner', 2, 5000)]);
      // The map of the round before dies while programs may be in it.
      expect((await running).map(({ retval }) => retval)).toEqual([9, 9]);
    }
    // Numbers of programs that have gone stand for others, on every CPU.
    for (let i = 0; i < 5; i++) {
      const again = BpfObject.open(code);
      for (const program of again.programs) program.autoload = program.name === 'whoami';
      again.load(kernel);
      const { fd: progFd } = again.findProgram('whoami');
      expect((await cpus.testRun(1, { progFd, dataIn: PACKET })).retval).toBe(1);
      again.close();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await cpus.idle();
  });
});
