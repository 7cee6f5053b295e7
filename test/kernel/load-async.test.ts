/** Loads that let the caller go on: they give what a plain load gives, and end well whatever happens meanwhile. */
import { readdirSync, readFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { createLoadMaps, loadProgram } from '../../bench/load-programs.ts';
import { encodeProgram, ProgramBuilder } from '../../src/asm/index.ts';
import { parseBtf } from '../../src/btf/index.ts';
import type { BackgroundOptions } from '../../src/contracts/background.ts';
import type { Fd, ObjectInfo, ProgLoadAttr } from '../../src/contracts/kernel.ts';
import { CodeCache, createJit } from '../../src/jit/index.ts';
import { EmbeddedKernel, ownKernelBtf, UNPRIVILEGED } from '../../src/kernel/index.ts';
import { BpfObject } from '../../src/libbpf/index.ts';
import { openKernel } from '../../src/open-kernel.ts';
import { HELPERS } from '../../src/spec/index.ts';
import { BpfError, VerifierError } from '../../src/util/index.ts';
import { runArena } from '../arena/programs.ts';
import { compileC } from '../cpus/stress.ts';
import { cpuThreads } from '../cpus/threads.ts';
import { backgroundThreads } from './background-threads.ts';
import { makeMap, progType, R0, R1, R2, reg, returns, tailCall } from './subject.ts';

const PACKET = new Uint8Array(64).map((_, i) => i);
const kernels: EmbeddedKernel[] = [];

/** With a cache of its own, so that everything is compiled. */
function open(background?: Partial<BackgroundOptions>, options: object = {}): EmbeddedKernel {
  const kernel = new EmbeddedKernel({
    ...(background === undefined
      ? {}
      : { background: { start: backgroundThreads(), fromInsns: 0, ...background } }),
    engines: { jit: createJit({ cache: new CodeCache() }) },
    ...options,
  });
  kernels.push(kernel);
  return kernel;
}

afterEach(() => {
  for (const kernel of kernels.splice(0)) kernel.shutdown();
});

const xdp = (insns: Uint8Array, attr: Partial<ProgLoadAttr> = {}): ProgLoadAttr => ({
  progType: progType('xdp'),
  insns,
  license: 'GPL',
  ...attr,
});
const small = (value: number) => encodeProgram(returns(value).build());
const uninitialised = encodeProgram(new ProgramBuilder().mov64(R0, reg(R2)).exit().build());

async function failure(promise: Promise<unknown>): Promise<BpfError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof BpfError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

/** What stays the same from load to load. */
function lasting(kernel: EmbeddedKernel, bpfFd: Fd): Partial<ObjectInfo> {
  const {
    loadTime: _,
    id: __,
    ...info
  } = kernel.objGetInfoByFd({ bpfFd }) as ObjectInfo & { loadTime: bigint };
  return info;
}

const OBJECTS = ['examples/objects', 'bench/objects'].flatMap((folder) =>
  readdirSync(new URL(`../../${folder}/`, import.meta.url))
    .filter((name) => name.endsWith('.o'))
    .map((name) => `${folder}/${name}`),
);

describe('a load with a thread', () => {
  it.each(OBJECTS)('%s: programs, code and logs are those of a plain load', async (path) => {
    const bytes = readFileSync(new URL(`../../${path}`, import.meta.url));
    const [plain, background] = [open(), open({ threads: 2 })];
    const options = { strict: false, logLevel: 1 };
    const expected = BpfObject.open(bytes).load(plain, options);
    const object = await BpfObject.open(bytes).loadAsync(background, options);
    const shown = (kernel: EmbeddedKernel, { programs, failures }: BpfObject) => ({
      failures: failures.map(({ program, error }) => [program.name, (error as Error).message]),
      programs: programs.map((program) => [
        program.name,
        program.log,
        program.loaded ? lasting(kernel, program.fd) : null,
      ]),
    });
    expect(shown(background, object)).toEqual(shown(plain, expected));
  });

  it.each(['../cpus/stress.bpf.c', '../cpus/events.bpf.c', '../cpus/frames.bpf.c'])(
    '%s, too',
    async (path) => {
      const bytes = compileC(path);
      const [plain, background] = [open(), open({})];
      const expected = BpfObject.open(bytes).load(plain);
      const object = await BpfObject.open(bytes).loadAsync(background);
      for (const [i, { fd }] of object.programs.entries())
        expect(lasting(background, fd)).toEqual(lasting(plain, expected.programs[i]!.fd));
    },
  );

  const KERNELS: Record<string, () => object> = {
    'with a budget': () => ({ budget: 1000 }),
    'of an older release': () => ({ release: '6.6' }),
    'with the types of a Linux': () => ({ kernelBtf: parseBtf(ownKernelBtf().bytes.slice()) }),
    'with several CPUs': () => ({ cpus: { count: 2, start: cpuThreads() } }),
    'of somebody without capabilities': () => ({
      credentials: { ...UNPRIVILEGED, capBpf: true, capNetAdmin: true },
    }),
  };

  it.each(Object.keys(KERNELS))('in a kernel %s, too', async (what) => {
    const [plain, background] = [open(undefined, KERNELS[what]!()), open({}, KERNELS[what]!())];
    const bytes = readFileSync(new URL('../../bench/objects/calls.bpf.o', import.meta.url));
    const expected = BpfObject.open(bytes).load(plain, { strict: false });
    const object = await BpfObject.open(bytes).loadAsync(background, { strict: false });
    const shown = (kernel: EmbeddedKernel, { programs }: BpfObject) =>
      programs.map((program) => (program.loaded ? lasting(kernel, program.fd) : null));
    expect(shown(background, object)).toEqual(shown(plain, expected));
    const { fd: progFd } = object.programs.find(({ loaded }) => loaded)!;
    const { retval } = background.progTestRun({ progFd, dataIn: PACKET });
    if (background.cpus !== null)
      expect((await background.cpus.testRun(1, { progFd, dataIn: PACKET })).retval).toBe(retval);
  });

  it('kernel functions and constants of maps', async () => {
    const [plain, background] = [open(), open({})];
    const results = await Promise.all(
      [plain, background].map(async (kernel) => {
        const constants = makeMap(kernel, 'array', { valueSize: 8, maxEntries: 1, mapFlags: 1 << 7 });
        kernel.mapUpdateElem({
          mapFd: constants,
          key: new Uint8Array(4),
          value: Uint8Array.of(9, 0, 0, 0, 5, 0, 0, 0),
        });
        kernel.mapFreeze({ mapFd: constants });
        const kfunc = (name: string) => ownKernelBtf().find(name, 'func')!;
        const b = new ProgramBuilder()
          .callKfunc(kfunc('bpf_rcu_read_lock'))
          .callKfunc(kfunc('bpf_rcu_read_unlock'))
          .ldMapValue(R1, constants, 4)
          .ldx('w', R0, R1, 0)
          // Known to be 5: the rest is dead code.
          .jmp('jeq', R0, 5, 'out')
          .mov64(R0, reg(R2))
          .label('out')
          .exit();
        const attr = { ...xdp(encodeProgram(b.build())), progType: progType('sched_cls') };
        const fd = kernel === plain ? plain.progLoad(attr) : await kernel.progLoadAsync(attr);
        return { ...lasting(kernel, fd), retval: kernel.progTestRun({ progFd: fd, dataIn: PACKET }).retval };
      }),
    );
    expect(results[0]!.retval).toBe(5);
    expect(results[1]).toEqual(results[0]);
  });

  it('lets the caller go on, and gives the same results', async () => {
    const [plain, background] = [open(), open({})];
    const attr = (kernel: EmbeddedKernel) => xdp(loadProgram(10_000, createLoadMaps(kernel), { seed: 5 }));
    const expected = plain.progLoad(attr(plain));
    let rounds = 0;
    let loading = true;
    const goOn = () => {
      rounds++;
      if (loading) setImmediate(goOn);
    };
    setImmediate(goOn);
    const given = attr(background);
    const load = background.progLoadAsync(given);
    // What the caller does with its bytes after the call is nobody's concern.
    given.insns.fill(0);
    const fd = await load;
    loading = false;
    expect(rounds).toBeGreaterThan(2);
    expect(lasting(background, fd)).toEqual(lasting(plain, expected));
    const run = { dataIn: PACKET, repeat: 3 };
    const { retval } = plain.progTestRun({ progFd: expected, ...run });
    expect(background.progTestRun({ progFd: fd, ...run }).retval).toBe(retval);
  });

  it('tells the steps', async () => {
    const kernel = open({});
    const stages: object[] = [];
    const attr = xdp(small(1), { onStages: (taken) => stages.push(taken) });
    await kernel.progLoadAsync(attr);
    await kernel.progLoadAsync(attr);
    expect(stages).toMatchObject([{ cached: false }, { cached: true }]);
  });

  it('the same program at the same time is compiled once', async () => {
    const kernel = open({ threads: 2 });
    const maps = createLoadMaps(kernel);
    const attr = xdp(loadProgram(2000, maps, { seed: 3 }));
    const fds = await Promise.all([1, 2, 3].map(() => kernel.progLoadAsync(attr)));
    expect(new Set(fds).size).toBe(3);
    const cached = fds.map((bpfFd) => (kernel.objGetInfoByFd({ bpfFd }) as { jitCached: boolean }).jitCached);
    expect(cached.filter((one) => !one)).toHaveLength(1);
    expect(kernel.simulator.codeCache()).toMatchObject({ programs: 1 });
  });

  it('tail calls and the interpreter', async () => {
    const kernel = open({});
    const start = (attr: ProgLoadAttr) => kernel.progLoadAsync(attr);
    const array = makeMap(kernel, 'prog_array');
    const last = await start(xdp(small(7)));
    const first = await start(xdp(encodeProgram(tailCall(array, 0, 3).build())));
    kernel.mapUpdateElem({ mapFd: array, key: new Uint8Array(4), value: Uint8Array.of(last, 0, 0, 0) });
    expect(kernel.progTestRun({ progFd: first, dataIn: PACKET }).retval).toBe(7);
    kernel.simulator.setSysctl('net.core.bpf_jit_enable', 0);
    const interpreted = await start(xdp(small(9)));
    expect(kernel.objGetInfoByFd({ bpfFd: interpreted })).toMatchObject({ jited: false });
    expect(kernel.progTestRun({ progFd: interpreted, dataIn: PACKET }).retval).toBe(9);
  });

  it('arenas', async () => {
    for (const seed of [1, 2, 3]) {
      const background = open({});
      const shape = (fd: Fd) => ({ ...lasting(background, fd), jitCached: null });
      const first: object[] = [];
      // Loaded once more in the background, beside the map that is there.
      const watched = new Proxy(background, {
        get: (target, name) => {
          const value = Reflect.get(target, name, target);
          if (name === 'progLoad')
            return (attr: ProgLoadAttr) => {
              const fd = target.progLoad(attr);
              first.push(shape(fd));
              later.push(target.progLoadAsync(attr));
              return fd;
            };
          return typeof value === 'function' ? value.bind(target) : value;
        },
      });
      const later: Promise<Fd>[] = [];
      runArena(watched, seed);
      const again = await Promise.all(later);
      expect(again).not.toHaveLength(0);
      for (const [i, fd] of again.entries()) expect(shape(fd)).toEqual(first[i]);
    }
  });

  it('hardened code is blinded', async () => {
    const kernel = open({});
    kernel.simulator.setSysctl('net.core.bpf_jit_harden', 2);
    const fd = await kernel.progLoadAsync(xdp(small(0x1234_5678)));
    expect(kernel.progTestRun({ progFd: fd, dataIn: PACKET }).retval).toBe(0x1234_5678);
    const { jitedDump } = kernel.objGetInfoByFd({ bpfFd: fd }) as { jitedDump: string };
    expect(jitedDump).toContain('global.get');
    expect(jitedDump).not.toContain('const 0x12345678');
  });
});

describe('what is refused', () => {
  const programs: Record<string, ProgLoadAttr> = {
    'a program that is not safe': xdp(uninitialised, { logLevel: 2 }),
    'a program without end': xdp(encodeProgram(new ProgramBuilder().mov64(R0, 1).build())),
    'a map that is none': xdp(
      encodeProgram(new ProgramBuilder().ldMapFd(R1, 99).mov64(R0, 0).exit().build()),
    ),
    'no instructions': xdp(new Uint8Array()),
    'half an instruction': xdp(new Uint8Array(12)),
    'no such type': { ...xdp(small(1)), progType: 999 },
    'a helper of others': xdp(
      encodeProgram(new ProgramBuilder().callHelper('bpf_override_return').exit().build()),
    ),
    'a name with spaces': xdp(small(1), { progName: 'a b' }),
    'flags that are none': xdp(small(1), { progFlags: 1 << 30 }),
  };

  it.each(Object.keys(programs))('%s: with the same error and log', async (what) => {
    const [plain, background] = [open(), open({})];
    const attempt = async (load: (attr: ProgLoadAttr) => Promise<Fd>) => {
      const logs: string[] = [];
      const error = await failure(load({ ...programs[what]!, onLog: (log) => logs.push(log) }));
      const { code, message, hint } = error;
      const more =
        error instanceof VerifierError
          ? {
              log: error.log,
              insn: error.insn,
              registers: error.registers,
              path: error.path,
              why: error.explain?.(),
            }
          : {};
      return { code, message, hint, logs, ...more };
    };
    const expected = await attempt(async (attr) => plain.progLoad(attr));
    expect(await attempt((attr) => background.progLoadAsync(attr))).toEqual(expected);
    expect(await attempt((attr) => plain.progLoadAsync(attr))).toEqual(expected);
  });

  it('of an object: the error of its first program; nothing stays', async () => {
    const kernel = open({});
    const bytes = readFileSync(new URL('../../examples/objects/unchecked.bpf.o', import.meta.url));
    const object = BpfObject.open(bytes);
    const error = await failure(object.loadAsync(kernel));
    expect(error.message).toBe(
      await failure((async () => BpfObject.open(bytes).load(open()))()).then(({ message }) => message),
    );
    for (const kind of ['prog', 'map', 'btf'] as const)
      expect(kernel.objGetNextId({ kind, startId: 0 })).toBeNull();
    // It may be tried again.
    expect((await failure(object.loadAsync(kernel))).message).toBe(error.message);
  });
});

describe('what happens meanwhile', () => {
  const large = (kernel: EmbeddedKernel) => xdp(loadProgram(5000, createLoadMaps(kernel), { seed: 9 }));

  it('the kernel is shut down', async () => {
    const kernel = open({});
    const loads = [kernel.progLoadAsync(large(kernel)), kernel.progLoadAsync(xdp(small(2)))];
    kernel.shutdown();
    for (const load of loads) expect((await failure(load)).code).toBe('ESHUTDOWN');
  });

  it('the kernel is shut down at any time', async () => {
    for (const ms of [20, 60, 100, 140, 180]) {
      const kernel = open({});
      const load = kernel.progLoadAsync(large(kernel)).then(
        () => 'loaded',
        (error: BpfError) => error.code,
      );
      setTimeout(() => kernel.shutdown(), ms);
      expect(['loaded', 'ESHUTDOWN']).toContain(await load);
    }
  });

  it('the caller gives up', async () => {
    const kernel = open({});
    const controller = new AbortController();
    const load = kernel.progLoadAsync(large(kernel), { signal: controller.signal });
    controller.abort(new Error('enough'));
    const error = await failure(load);
    expect([error.code, (error.cause as Error).message]).toEqual(['ECANCELED', 'enough']);
    expect((await failure(kernel.progLoadAsync(xdp(small(1)), { signal: controller.signal }))).code).toBe(
      'ECANCELED',
    );
    // The thread is there for others.
    const fd = await kernel.progLoadAsync(xdp(small(4)));
    expect(kernel.progTestRun({ progFd: fd, dataIn: PACKET }).retval).toBe(4);
    expect(kernel.objGetNextId({ kind: 'prog', startId: 1 })).toBeNull();
  });

  it('descriptors are closed and used for something else', async () => {
    const kernel = open({});
    const maps = createLoadMaps(kernel);
    const attr = xdp(loadProgram(3000, maps, { seed: 2 }));
    const expected = kernel.progTestRun({ progFd: kernel.progLoad(attr), dataIn: PACKET }).retval;
    const load = kernel.progLoadAsync(attr);
    kernel.close(maps.array);
    kernel.close(maps.hash);
    makeMap(kernel, 'queue', { keySize: 0 });
    makeMap(kernel, 'queue', { keySize: 0 });
    expect(kernel.progTestRun({ progFd: await load, dataIn: PACKET }).retval).toBe(expected);
  });

  it('an object is closed', async () => {
    const kernel = open({});
    const object = BpfObject.open(compileC('../cpus/stress.bpf.c'));
    const load = object.loadAsync(kernel);
    object.close();
    expect((await failure(load)).code).toBe('ECANCELED');
    await new Promise((resolve) => setTimeout(resolve, 50));
    for (const kind of ['prog', 'map'] as const) expect(kernel.objGetNextId({ kind, startId: 0 })).toBeNull();
  });

  it('somebody begins to watch programs', async () => {
    const kernel = open({});
    const load = kernel.progLoadAsync(large(kernel));
    let seen = 0;
    kernel.observe({ onInsn: () => seen++ });
    const progFd = await load;
    kernel.progTestRun({ progFd, dataIn: PACKET });
    expect(seen).toBeGreaterThan(1000);
  });
});

describe('without a thread', () => {
  it('all is done by the caller: none was given, none can be started, one that ends', async () => {
    const starts: (Partial<BackgroundOptions> | undefined)[] = [
      undefined,
      { start: () => Promise.reject(new Error('no threads here')) },
      {
        start: () => {
          throw new Error('no threads here');
        },
      },
      {
        start: ({ onError }) => {
          setTimeout(() => onError(new Error('it ended')), 5);
          return { post: () => {}, terminate: () => {} };
        },
      },
    ];
    for (const background of starts) {
      const kernel = open(background);
      for (const value of [5, 6]) {
        const fd = await kernel.progLoadAsync(xdp(small(value)));
        expect(kernel.progTestRun({ progFd: fd, dataIn: PACKET }).retval).toBe(value);
      }
    }
  });

  it('openKernel from sources, whose threads have no file', async () => {
    const { kernel } = await openKernel();
    const fd = await kernel.progLoadAsync(xdp(loadProgram(2000, createLoadMaps(kernel), { seed: 1 })));
    expect(fd).toBeGreaterThan(2);
    kernel.shutdown();
  });

  it('numbers that are none', () => {
    for (const background of [{ threads: 0 }, { threads: 1.5 }, { fromInsns: Number.NaN }])
      expect(() => open(background)).toThrow(BpfError);
  });
});

it('rows of helpers can be posted', () => {
  expect(structuredClone(HELPERS)).toEqual(HELPERS);
});
