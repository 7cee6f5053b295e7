/** What the loader asks of a kernel for objects that real compilers and projects make. */
import { describe, expect, it } from 'vitest';
import { BtfBuilder } from '../../src/btf/index.ts';
import type { Kernel, MapCreateAttr, ProgLoadAttr } from '../../src/contracts/kernel.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { BpfObject } from '../../src/libbpf/index.ts';
import { kconfigValues } from '../../src/libbpf/kconfig.ts';
import type { KconfigSpec } from '../../src/object/index.ts';
import { BpfError } from '../../src/util/index.ts';
import { compileText, skipReason } from '../object/compile.ts';

const reason = skipReason();
if (reason !== undefined) console.log(`loader tests with compiled objects skipped: ${reason}`);

const HEAD = `#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char _license[] SEC("license") = "GPL";
`;

interface Asked {
  readonly maps: MapCreateAttr[];
  readonly programs: ProgLoadAttr[];
}

/** The embedded kernel, with what it is asked; `change` may replace methods. */
function listen(asked: Asked, change: Partial<Kernel> = {}, kernel = new EmbeddedKernel()): Kernel {
  const listening: Partial<Kernel> = {
    mapCreate: (attr) => {
      asked.maps.push(attr);
      return kernel.mapCreate(attr);
    },
    progLoad: (attr) => {
      asked.programs.push(attr);
      return kernel.progLoad(attr);
    },
    ...change,
  };
  return new Proxy(kernel as Kernel, {
    get(target, property) {
      const own: unknown = Reflect.get(listening, property);
      if (own !== undefined) return own;
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

const nothing = (): Asked => ({ maps: [], programs: [] });
const RETURN_0 = '{ return 0; }\n';

describe.skipIf(reason !== undefined)('loading', () => {
  it('sizes that a map type leaves no choice about', () => {
    const asked = nothing();
    const source = `${HEAD}struct event { int a[21]; };
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 5000); __type(value, struct event); } ring SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __type(value, struct event); } perf SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 3); __type(key, __u32); __type(value, struct event); } plain SEC(".maps");
`;
    const object = BpfObject.open(compileText(source)).load(listen(asked));
    const sizes = asked.maps.map((map) => [map.keySize, map.valueSize, map.maxEntries]);
    expect(sizes).toEqual([
      [0, 0, 8192],
      [4, 4, 1],
      [4, 84, 3],
    ]);
    expect(object.findMap('ring').definition).toMatchObject({ valueSize: 0, maxEntries: 8192 });
    object.close();
  });

  it('a wrong key of an array is no omission', () => {
    const source = `${HEAD}struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 3); __type(key, __u64); __type(value, int); } a SEC(".maps");`;
    expect(() => BpfObject.open(compileText(source)).load(new EmbeddedKernel())).toThrow(
      /map 'a'.*key_size 8/,
    );
  });

  it('maps that take no types are made without, others are tried again without', () => {
    const asked = nothing();
    const source = `${HEAD}
struct { __uint(type, BPF_MAP_TYPE_STACK_TRACE); __uint(max_entries, 8); __type(key, __u32); __uint(value_size, 80); } stacks SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 8); __type(key, __u32); __type(value, int); } hash SEC(".maps");
`;
    const kernel = new EmbeddedKernel();
    const choosy = listen(
      asked,
      {
        mapCreate: (attr) => {
          asked.maps.push(attr);
          if (attr.btfFd !== undefined) throw new BpfError('ENOTSUPP', 'no types');
          return kernel.mapCreate(attr);
        },
      },
      kernel,
    );
    BpfObject.open(compileText(source)).load(choosy).close();
    expect(asked.maps.map((map) => [map.mapName, map.btfFd !== undefined])).toEqual([
      ['stacks', false],
      ['hash', true],
      ['hash', false],
    ]);
  });

  it('an object whose types the kernel refuses is loaded without them', () => {
    const asked = nothing();
    // The kernel wants a name for every parameter.
    const source = `${HEAD}SEC("xdp") int unnamed(void *) ${RETURN_0}`;
    const object = BpfObject.open(compileText(source, { flags: ['-Wno-everything'] }));
    object.load(listen(asked));
    expect(object.btfError?.message).toMatch(/'unnamed' does not name its argument 1/);
    expect(asked.programs[0]?.progBtfFd).toBeUndefined();
    object.close();
  });

  it('targets in the types of the kernel', () => {
    const asked = nothing();
    const source = `${HEAD}
SEC("?fentry/vfs_read") int BPF_one(void *ctx) ${RETURN_0}
SEC("?lsm/file_open") int two(void *ctx) ${RETURN_0}
SEC("?tp_btf/sched_switch") int three(void *ctx) ${RETURN_0}
SEC("?iter/task") int four(void *ctx) ${RETURN_0}
SEC("?fentry") int five(void *ctx) ${RETURN_0}
SEC("?fentry/none") int six(void *ctx) ${RETURN_0}
SEC("xdp.frags") int seven(void *ctx) ${RETURN_0}
`;
    const builder = new BtfBuilder();
    const proto = builder.add({ kind: 'func_proto', returnType: 0, params: [] });
    const func = (name: string): number =>
      builder.add({ kind: 'func', name, type: proto, linkage: 'static' });
    const vfsRead = func('vfs_read');
    const fileOpen = func('bpf_lsm_file_open');
    const iterTask = func('bpf_iter_task');
    const pointer = builder.add({ kind: 'ptr', type: proto });
    const schedSwitch = builder.add({ kind: 'typedef', name: 'btf_trace_sched_switch', type: pointer });
    const object = BpfObject.open(compileText(source));
    for (const program of object.programs) program.autoload = true;
    const kernel = new EmbeddedKernel({ kernelBtf: builder.build() });
    object.load(listen(asked, {}, kernel), { strict: false });
    const ids = new Map(asked.programs.map((program) => [program.progName, program.attachBtfId]));
    expect(Object.fromEntries(ids)).toEqual({
      BPF_one: vfsRead,
      two: fileOpen,
      three: schedSwitch,
      four: iterTask,
      seven: undefined,
    });
    expect(asked.programs.at(-1)).toMatchObject({ progName: 'seven', progFlags: 32 });
    const failure = (name: string): unknown =>
      object.failures.find((one) => one.program.name === name)?.error;
    expect(failure('five')).toMatchObject({ code: 'EINVAL' });
    expect(failure('six')).toMatchObject({ code: 'ESRCH' });
    object.close();
  });

  it('what is not implemented is named', () => {
    const source = `${HEAD}struct ops { int (*call)(void); };
SEC("struct_ops/call") int call(void *ctx) ${RETURN_0}
SEC(".struct_ops") struct ops my_ops = { .call = (void *)call };
`;
    expect(() => BpfObject.open(compileText(source)).load(new EmbeddedKernel())).toThrow(
      /my_ops.*nothing can implement it/,
    );
  });

  it('a map type without implementation is verified against, and refused by name', () => {
    const source = `${HEAD}
struct { __uint(type, BPF_MAP_TYPE_XSKMAP); __uint(max_entries, 8); __uint(key_size, 4); __uint(value_size, 4); } socks SEC(".maps");
SEC("xdp") int uses(void *ctx) { return bpf_redirect_map(&socks, 0, 0); }
SEC("xdp") int wrong(void *ctx) { long out = 0; bpf_map_push_elem(&socks, &out, 0); return 0; }
SEC("xdp") int other(void *ctx) ${RETURN_0}
`;
    const object = BpfObject.open(compileText(source)).load(new EmbeddedKernel(), { strict: false });
    const reasons = object.failures.map(
      ({ program, error }) => `${program.name}: ${(error as Error).message}`,
    );
    expect(reasons[0]).toMatch(/^uses: .*map type xskmap is not implemented by this kernel/);
    expect(reasons[1]).toMatch(/^wrong: .*cannot pass map_type 17 into func bpf_map_push_elem/);
    expect(object.findProgram('other').loaded).toBe(true);
    object.close();
  });
});

describe('kconfig', () => {
  const variable = (
    name: string,
    kind: KconfigSpec['kind'],
    size: number,
    rest: Partial<KconfigSpec> = {},
  ): KconfigSpec => ({
    name,
    offset: 0,
    size,
    kind,
    signed: false,
    weak: false,
    typeId: 0,
    ...rest,
  });
  const features = new EmbeddedKernel().features();
  const value = (one: KconfigSpec, text?: string): number[] => [
    ...kconfigValues([one], one.size, features, text === undefined ? undefined : new Map([[one.name, text]])),
  ];

  it.each([
    ['bool', 1, 'y', [1]],
    ['bool', 1, 'n', [0]],
    ['tristate', 4, 'm', [2, 0, 0, 0]],
    ['char', 1, 'm', [109]],
    ['int', 4, '250', [250, 0, 0, 0]],
    ['int', 2, '0x1234', [0x34, 0x12]],
    ['char_array', 6, '"abc"', [97, 98, 99, 0, 0, 0]],
    ['char_array', 3, '"abc"', [97, 98, 0]],
  ] as const)('%s of %i bytes: %s', (kind, size, text, bytes) => {
    expect(value(variable('CONFIG_X', kind, size), text)).toEqual(bytes);
  });

  it.each([
    ['bool', 1, 'm'],
    ['bool', 1, '7'],
    ['int', 1, '256'],
    ['int', 4, '"abc"'],
    ['char_array', 4, '7'],
  ] as const)('%s of %i bytes is not %s', (kind, size, text) => {
    expect(() => value(variable('CONFIG_X', kind, size), text)).toThrow(BpfError);
  });

  it('signed numbers, weak and unknown variables', () => {
    expect(value(variable('CONFIG_X', 'int', 2, { signed: true }), '-2')).toEqual([0xfe, 0xff]);
    expect(value(variable('CONFIG_X', 'int', 2, { weak: true }))).toEqual([0, 0]);
    expect(() => value(variable('CONFIG_X', 'int', 2))).toThrow(/CONFIG_X is not known/);
  });
});
