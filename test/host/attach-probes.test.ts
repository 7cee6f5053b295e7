/** Probes of a process of the test's own on the host kernel: uprobes, USDT, samples, tracepoints, attached as libbpf attaches. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { HostKernel } from '../../src/host/index.ts';
import { type AttachOptions, type BpfObject, Executable, Symbolizer } from '../../src/libbpf/index.ts';
import { PERF_SW_IDS, PERF_TYPE } from '../../src/uapi/index.ts';
import { buildVictim, openObject, Victim, Watch, withObject } from './attach-support.ts';
import { eventually, loadedIds, openHost, skipReason } from './host-support.ts';

const SUITE = 'probes of processes on the host kernel';
const host = process.arch === 'x64' ? await openHost() : 'the programs read registers of x86-64';
const victimBuilt = typeof host === 'string' ? null : buildVictim();
if (typeof host === 'string' || victimBuilt === null) {
  const why = typeof host === 'string' ? host : 'gcc is missing';
  describe.skip(`host kernel: ${skipReason(SUITE, why)}`, () => it('cannot be probed here', () => {}));
} else {
  probes(host, victimBuilt);
}

function probes(kernel: HostKernel, built: NonNullable<ReturnType<typeof buildVictim>>): void {
  const victimFile = new Executable(built.path, new Uint8Array(readFileSync(built.path)));
  let victim: Victim;
  beforeEach(async () => {
    victim = new Victim(built.path);
    expect(await victim.line()).toBe('semaphore 0');
  });
  afterEach(() => victim.stop());
  afterAll(() => {
    kernel.shutdown();
    built.remove();
  });

  /** One program, attached with options; gives what it has counted after one round of the victim's work, and after detaching. */
  const watched = (program: string, options: AttachOptions, check: (watch: Watch) => void): Promise<void> =>
    withObject(kernel, openObject('probes', program), async (object) => {
      const watch = new Watch(object, victim.pid);
      const link = object.findProgram(program).attach(options);
      await victim.work();
      check(watch);
      link.destroy();
      const { count } = watch;
      await victim.work();
      expect(watch.count).toBe(count);
    });

  it('uprobe by symbol: arguments, cookie; gone when the link is', async () => {
    const target = `${built.path}:work_multiply`;
    await watched('called', { target, cookie: 0x1234n }, (watch) => {
      expect(watch.count).toBe(3);
      expect(watch.words.slice(0, 3)).toEqual([7n, 7n, 0x1234n]);
    });
  });

  it('uprobe by offset in the file, for one process', async () => {
    const offset = victimFile.functionOffset('work_add');
    const target = `${built.path}:0x${offset.toString(16)}`;
    await watched('called', { target, pid: victim.pid }, (watch) => {
      expect(watch.count).toBe(3);
      expect(watch.words.slice(0, 2)).toEqual([2n, 100n]);
    });
  });

  it('uprobe by symbol and offset', async () => {
    // Behind mov %rdi,%rax: three bytes.
    await watched('called', { target: `${built.path}:work_multiply+0x3` }, (watch) => {
      expect(watch.count).toBe(3);
    });
  });

  it('uretprobe: what the function returned', async () => {
    await watched('returned', { target: `${built.path}:work_multiply` }, (watch) => {
      expect(watch.count).toBe(3);
      expect(watch.words[3]).toBe(49n);
    });
  });

  it('a function of a shared library that the section names, for one process', async () => {
    await withObject(kernel, openObject('probes', 'library_called'), async (object) => {
      const watch = new Watch(object, victim.pid);
      const [link] = object.attach({ pid: victim.pid });
      expect(link.target).toBe('uprobe libc.so.6:getppid');
      await victim.work();
      expect(watch.count).toBe(1);
    });
  });

  it('multi-uprobe by pattern', async () => {
    await watched('each_called', { target: `${built.path}:work_*`, cookies: [1n, 100n] }, (watch) => {
      expect(watch.count).toBe(6);
      expect(watch.words[0]).toBe(303n);
    });
  });

  it('multi-uretprobe by symbols', async () => {
    const symbols = ['work_add', 'work_multiply'];
    await watched('each_returned', { target: built.path, symbols }, (watch) => {
      expect(watch.count).toBe(6);
    });
  });

  it('USDT: arguments from registers, memory and constants, the cookie, the semaphore', async () => {
    const target = `${built.path}:demo:passed`;
    await withObject(kernel, openObject('probes', 'probed'), async (object) => {
      const watch = new Watch(object, victim.pid);
      const link = object.findProgram('probed').attach({ target, cookie: 77n });
      // Each of the two places counts the semaphore up.
      expect(await victim.work()).toBe('semaphore 2');
      expect(watch.count).toBe(2);
      expect(watch.words).toEqual([4n, -5n, 0x123456789abcdefn, -300n, -9n, 77n]);
      link.destroy();
      expect(await victim.work()).toBe('semaphore 0');
      expect(watch.count).toBe(2);
    });
  });

  it('perf event: samples of a busy process by time', async () => {
    const perfEvent = {
      type: PERF_TYPE.PERF_TYPE_SOFTWARE,
      config: BigInt(PERF_SW_IDS.PERF_COUNT_SW_CPU_CLOCK),
      frequency: 1000,
    };
    await withObject(kernel, openObject('probes', 'sampled'), async (object) => {
      const watch = new Watch(object, victim.pid);
      const link = object.findProgram('sampled').attach({ pid: victim.pid, perfEvent });
      victim.start('spin');
      await new Promise((done) => setTimeout(done, 500));
      link.destroy();
      expect(watch.count).toBeGreaterThan(50);
    });
  });

  it('perf event: on every CPU, by a counter', async () => {
    const perfEvent = {
      type: PERF_TYPE.PERF_TYPE_SOFTWARE,
      config: BigInt(PERF_SW_IDS.PERF_COUNT_SW_CONTEXT_SWITCHES),
      period: 1n,
    };
    await withObject(kernel, openObject('probes', 'sampled'), async (object) => {
      const watch = new Watch(object, victim.pid);
      const link = object.findProgram('sampled').attach({ perfEvent });
      expect(link.parts.length).toBeGreaterThan(0);
      await victim.work();
      expect(watch.count).toBeGreaterThan(0);
    });
  });

  it('raw tracepoint of the section', async () => {
    await withObject(kernel, openObject('probes', 'entered'), async (object) => {
      const watch = new Watch(object, victim.pid);
      object.attach();
      await victim.work();
      expect(watch.count).toBeGreaterThan(1);
    });
  });

  it('a stack of the process: functions of the program, then of its libraries', async () => {
    await withObject(kernel, openObject('probes', 'stacked'), async (object) => {
      const watch = new Watch(object, victim.pid);
      object.findProgram('stacked').attach({ target: `${built.path}:work_add` });
      await victim.work();
      const frames = new Symbolizer(kernel).stack(stackOf(object, watch), victim.pid);
      expect(frames[0]).toMatchObject({ name: 'work_add', offset: 0n, object: built.path });
      expect(frames.map(({ name }) => name)).toContain('main');
      expect(frames.at(-1)!.object).not.toBe('');
    });
  });

  it('a stack of the kernel', async () => {
    await withObject(kernel, openObject('probes', 'stacked_kernel'), async (object) => {
      const watch = new Watch(object, victim.pid);
      object.attach();
      await victim.work();
      const names = new Symbolizer(kernel).stack(stackOf(object, watch)).map(({ name }) => name);
      expect(names.join(' ')).toMatch(/do_syscall_64|el0_svc/);
    });
  });

  it('tracepoint by BTF', async () => {
    await withObject(kernel, openObject('typed', 'entered'), async (object) => {
      const watch = new Watch(object, victim.pid);
      object.attach();
      await victim.work();
      expect(watch.count).toBeGreaterThan(1);
      // The last call before it waits for the next line is read(2).
      expect(watch.words[0]).toBe(0n);
    });
  });

  const stackOf = (object: BpfObject, watch: Watch): Uint8Array => {
    const id = Number(watch.words[0]);
    expect(id).toBeGreaterThanOrEqual(0);
    const key = new Uint8Array(new Uint32Array([id]).buffer);
    return object.findMap('stacks').getBytes(key)!;
  };

  it('what is not there: an errno, and what there is', async () => {
    await withObject(kernel, openObject('probes', 'called', 'probed'), (object) => {
      const called = object.findProgram('called');
      const probed = object.findProgram('probed');
      const code = (code: string) => expect.objectContaining({ code });
      expect(() => called.attach()).toThrow(code('EINVAL'));
      expect(() => called.attach({ target: built.path })).toThrow(code('EINVAL'));
      expect(() => called.attach({ target: 'no-such-program:main' })).toThrow(code('ENOENT'));
      expect(() => called.attach({ target: '/no/such/file:main' })).toThrow(code('ENOENT'));
      expect(() =>
        called.attach({ target: `${fileURLToPath(new URL('./objects/victim.c', import.meta.url))}:main` }),
      ).toThrow(code('ENOEXEC'));
      expect(() => called.attach({ target: `${built.path}:work` })).toThrow(
        expect.objectContaining({ code: 'ENOENT', hint: expect.stringContaining('work_multiply') }),
      );
      expect(() => called.attach({ target: `${built.path}:work_add+x` })).toThrow(code('EINVAL'));
      expect(() => probed.attach({ target: `${built.path}:demo:missed` })).toThrow(
        expect.objectContaining({ code: 'ENOENT', hint: 'there are demo:passed' }),
      );
    });
  });

  it('nothing is left behind', () => {
    const object = openObject('probes', 'called', 'probed').load(kernel);
    const link = object.findProgram('called').attach({ target: `${built.path}:work_add` });
    const ids = [object.findProgram('called').info().id, object.findProgram('probed').info().id];
    expect(loadedIds().prog).toEqual(expect.arrayContaining(ids));
    link.destroy();
    object.close();
    eventually(() => {
      const { prog } = loadedIds();
      expect(ids.filter((id) => prog.includes(id))).toEqual([]);
    });
  });
}
