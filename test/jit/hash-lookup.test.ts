/** Lookups in hash maps, which compiled programs make in place: every kind of map, sizes of keys, long chains, and what LRU maps remember. */
import { describe, expect, it } from 'vitest';
import { encodeProgram, ProgramBuilder, R0, R1, R2, R6, reg } from '../../src/asm/index.ts';
import type { Fd } from '../../src/contracts/kernel.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { mapTypeByName } from '../../src/spec/index.ts';
import { BPF_PROG_TYPE } from '../../src/uapi/index.ts';

const CPUS = 2;
const BPF_F_TEST_RUN_ON_CPU = 1;
const MISSING = 0x7fff_ffff;
const ENGINES = { interpreter: 0, jit: 1 } as const;
const KEY_SIZES = [1, 2, 3, 4, 5, 7, 8, 12, 15, 16, 20, 24, 31, 40, 64, 65];

/** Keys of few different bytes, so that parts of many are the same. */
function keyOf(n: number, size: number): Uint8Array {
  const key = new Uint8Array(size);
  const base = size === 1 ? 256 : size <= 5 ? 16 : 5;
  let rest = n;
  for (let at = size - 1; at >= 0 && rest > 0; at -= at % 3 === 0 ? 2 : 1) {
    key[at] = rest % base;
    rest = Math.floor(rest / base);
  }
  return key;
}

const u32 = (n: number): Uint8Array => new Uint8Array(Uint32Array.of(n).buffer);

/** Gives the first word of what the map has under the key that stands in `input`; MISSING where there is nothing. */
function lookupProgram(kernel: EmbeddedKernel, map: Fd, input: Fd, progType: number): Fd {
  const code = new ProgramBuilder()
    .st('w', 10, -4, 0)
    .mov64(R2, reg(10))
    .alu64('add', R2, -4)
    .ldMapFd(R1, input)
    .callHelper('bpf_map_lookup_elem')
    .jmp('jeq', R0, 0, 'missing')
    .mov64(R2, reg(R0))
    .ldMapFd(R1, map)
    .callHelper('bpf_map_lookup_elem')
    .jmp('jeq', R0, 0, 'missing')
    .ldx('w', R6, R0, 0)
    .mov64(R0, reg(R6))
    .exit()
    .label('missing')
    .mov64(R0, MISSING)
    .exit();
  const progFd = kernel.progLoad({
    progType,
    insns: encodeProgram(code.build()),
    license: 'GPL',
  });
  return progFd;
}

function setUp(engine: keyof typeof ENGINES, type: string, keySize: number, maxEntries: number) {
  const kernel = new EmbeddedKernel({ possibleCpus: CPUS });
  kernel.simulator.setSysctl('net.core.bpf_jit_enable', ENGINES[engine]);
  const map = kernel.mapCreate({ mapType: mapTypeByName(type)!.id, keySize, valueSize: 8, maxEntries });
  const input = kernel.mapCreate({ mapType: 2, keySize: 4, valueSize: 72, maxEntries: 1 });
  const progFd = lookupProgram(kernel, map, input, BPF_PROG_TYPE.BPF_PROG_TYPE_XDP);
  expect(kernel.objGetInfoByFd({ bpfFd: progFd })).toMatchObject({ jited: engine === 'jit' });
  const perCpu = mapTypeByName(type)!.perCpu !== undefined;
  const put = (n: number) => {
    const value = new Uint8Array(perCpu ? 8 * CPUS : 8);
    for (let at = 0; at < value.length; at += 8) value.set(u32(n + at), at);
    kernel.mapUpdateElem({ mapFd: map, key: keyOf(n, keySize), value });
  };
  const look = (n: number): number => {
    const value = new Uint8Array(72).fill(0xee);
    value.set(keyOf(n, keySize));
    kernel.mapUpdateElem({ mapFd: input, key: u32(0), value });
    return kernel.progTestRun({ progFd, dataIn: new Uint8Array(64) }).retval;
  };
  /** On a CPU of one's choice, which only raw tracepoints have. */
  const lookOn = (cpu: number, n: number): number => {
    look(n);
    const tracer = lookupProgram(kernel, map, input, BPF_PROG_TYPE.BPF_PROG_TYPE_RAW_TRACEPOINT);
    return kernel.progTestRun({ progFd: tracer, flags: BPF_F_TEST_RUN_ON_CPU, cpu, ctxIn: new Uint8Array(8) })
      .retval;
  };
  return { kernel, map, put, look, lookOn };
}

describe.each(Object.keys(ENGINES) as (keyof typeof ENGINES)[])('%s', (engine) => {
  describe.each(['hash', 'lru_hash', 'percpu_hash', 'lru_percpu_hash'])('%s', (type) => {
    it.each(KEY_SIZES)('finds what is there and nothing else, keys of %i bytes', (keySize) => {
      const { kernel, put, look } = setUp(engine, type, keySize, 100);
      const present = Array.from({ length: 100 }, (_, i) => 2 * i);
      for (const n of present) put(n);
      for (const n of present) expect(look(n)).toBe(n);
      for (const n of present) expect(look(n + 1)).toBe(MISSING);
      kernel.shutdown();
    });
  });

  it('finds the value of the CPU that runs', () => {
    for (const type of ['percpu_hash', 'lru_percpu_hash']) {
      const { kernel, put, lookOn } = setUp(engine, type, 8, 4);
      put(3);
      expect(lookOn(0, 3)).toBe(3);
      expect(lookOn(1, 3)).toBe(11);
      kernel.shutdown();
    }
  });

  it('follows changes of the map', () => {
    const { kernel, map, put, look } = setUp(engine, 'hash', 16, 4);
    expect(look(7)).toBe(MISSING);
    put(7);
    expect(look(7)).toBe(7);
    kernel.mapUpdateElem({
      mapFd: map,
      key: keyOf(7, 16),
      value: Uint8Array.of(99, 0, 0, 0, 0, 0, 0, 0),
    });
    expect(look(7)).toBe(99);
    kernel.mapDeleteElem({ mapFd: map, key: keyOf(7, 16) });
    expect(look(7)).toBe(MISSING);
    kernel.shutdown();
  });
});

it.each(['lru_hash', 'lru_percpu_hash'])('%s: what was looked up stays, on both engines alike', (type) => {
  const left = (engine: keyof typeof ENGINES): number[] => {
    const { kernel, map, put, look } = setUp(engine, type, 8, 8);
    for (let n = 1; n <= 8; n++) put(n);
    for (const n of [1, 2, 5]) expect(look(n)).toBe(n);
    for (let n = 101; n <= 104; n++) put(n);
    const stay = [1, 2, 3, 4, 5, 6, 7, 8].filter((n) => {
      try {
        kernel.mapLookupElem({ mapFd: map, key: keyOf(n, 8) });
        return true;
      } catch {
        return false;
      }
    });
    kernel.shutdown();
    return stay;
  };
  expect(left('jit')).toEqual(left('interpreter'));
  expect(left('jit')).toEqual(expect.arrayContaining([1, 2, 5]));
});
