/** The loader's rules on kernels that are not this machine's: older ones, ones with modules, the embedded one. */
import { describe, expect, it } from 'vitest';
import { decodeProgram } from '../../src/asm/index.ts';
import { type Btf, BtfBuilder, type BtfType, btfInt, parseBtf } from '../../src/btf/index.ts';
import type { Kernel, MachineFiles, ProgLoadAttr } from '../../src/contracts/kernel.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { BpfObject, parseKernelConfig } from '../../src/libbpf/index.ts';
import { btfSupport, sanitizeBtf } from '../../src/libbpf/load/sanitize-btf.ts';
import { BpfError, utf8, VerifierError } from '../../src/util/index.ts';
import { compileText, skipReason } from '../object/compile.ts';

const reason = skipReason();
if (reason !== undefined) console.log(`the loader's rules with compiled objects skipped: ${reason}`);

const HEAD = `#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
char _license[] SEC("license") = "GPL";
`;
const open = (source: string): BpfObject => BpfObject.open(compileText(HEAD + source));

/** The embedded kernel with other answers. */
function changed(change: Partial<Kernel>, kernel = new EmbeddedKernel()): Kernel {
  return new Proxy(kernel as Kernel, {
    get(target, property) {
      const own: unknown = Reflect.get(change, property);
      if (own !== undefined) return own;
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** A kernel from before some kinds of BTF. */
function kernelBefore(...kinds: readonly string[]): Kernel {
  const kernel = new EmbeddedKernel();
  return changed(
    {
      btfLoad(attr) {
        for (const [id, type] of parseBtf(attr.btf).types()) {
          const kind = type.kind === 'func' && type.linkage === 'global' ? 'func_global' : type.kind;
          if (kinds.includes(kind) || kinds.includes(type.kind))
            throw new BpfError('EINVAL', `[${id}] Invalid kind: ${kind}`);
          if (kinds.includes('enum64') && type.kind === 'enum' && type.signed)
            throw new BpfError('EINVAL', `[${id}] Invalid btf_info kind_flag`);
        }
        return kernel.btfLoad(attr);
      },
    },
    kernel,
  );
}

describe('BTF for older kernels', () => {
  const everything = (): Btf => {
    const builder = new BtfBuilder();
    const int = builder.add(btfInt('int', 4, { signed: true }));
    const tag = builder.add({ kind: 'type_tag', name: 'rcu', type: int, attribute: false });
    builder.add({ kind: 'ptr', type: tag });
    builder.add({ kind: 'float', name: 'double', size: 8 });
    builder.add({
      kind: 'enum64',
      name: 'big',
      size: 8,
      signed: false,
      values: [{ name: 'BIG', value: 1n << 40n }],
    });
    builder.add({
      kind: 'enum',
      name: 'small',
      size: 4,
      signed: true,
      values: [{ name: 'NEG', value: -1n }],
    });
    const proto = builder.add({ kind: 'func_proto', returnType: int, params: [{ name: 'a', type: int }] });
    const func = builder.add({ kind: 'func', name: 'f', type: proto, linkage: 'global' });
    builder.add({ kind: 'decl_tag', name: 'kfunc', type: func, componentIndex: -1, attribute: false });
    const variable = builder.add({ kind: 'var', name: 'v', type: int, linkage: 'global' });
    builder.add({ kind: 'datasec', name: '.data', size: 4, vars: [{ type: variable, offset: 0, size: 4 }] });
    return builder.build();
  };
  const kinds = (btf: Btf): string[] => [...btf.types()].map(([, type]) => type.kind);

  it('a current kernel takes everything', () => {
    const support = btfSupport(new EmbeddedKernel());
    expect(Object.values(support).every(Boolean)).toBe(true);
    expect(sanitizeBtf(everything().bytes, support)).toBeUndefined();
  });

  it.each([
    [['type_tag'], { 1: 'const' }],
    [['float'], { 3: 'struct' }],
    [['enum64'], { 4: 'union' }],
    [['func_global'], {}],
    [['func'], { 6: 'enum', 7: 'typedef' }],
    [['decl_tag'], { 8: 'int' }],
    [['var', 'datasec'], { 8: 'int', 9: 'int', 10: 'struct' }],
    [
      ['type_tag', 'float', 'enum64', 'func', 'decl_tag', 'var', 'datasec'],
      { 1: 'const', 3: 'struct', 4: 'union', 6: 'enum', 7: 'typedef', 8: 'int', 9: 'int', 10: 'struct' },
    ],
  ])('without %s', (missing, expected) => {
    const kernel = kernelBefore(...missing);
    const btf = everything();
    expect(() => kernel.btfLoad({ btf: btf.bytes })).toThrow();
    const sanitized = sanitizeBtf(btf.bytes, btfSupport(kernel));
    expect(sanitized).toBeDefined();
    kernel.close(kernel.btfLoad({ btf: sanitized! }));
    const after = kinds(parseBtf(sanitized!)).slice(0, btf.typeCount - 1);
    expect(after).toEqual(Object.assign(kinds(btf), expected));
  });

  it.skipIf(reason !== undefined)('an object is loaded with what the kernel knows of its types', () => {
    const source = `enum big { BIG = 0x100000000000ULL };
int __attribute__((btf_type_tag("rcu"))) *tagged; double ratio; enum big big;
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 1); __type(key, int); __type(value, int); } m SEC(".maps");
__attribute__((noinline)) int sub(int a) { return a + 1; }
SEC("socket") int f(void *ctx) { big = BIG; return sub(1); }`;
    const loaded: ProgLoadAttr[] = [];
    const old = kernelBefore('type_tag', 'float', 'enum64', 'decl_tag', 'func_global');
    const kernel = changed(
      {
        progLoad: (attr) => {
          loaded.push(attr);
          return old.progLoad(attr);
        },
      },
      old as EmbeddedKernel,
    );
    const object = open(source).load(kernel);
    expect(object.btfError).toBeUndefined();
    expect(loaded[0].progBtfFd).toBeDefined();
    expect(object.findProgram('f').testRun({ dataIn: new Uint8Array(64) }).retval).toBe(2);
    object.close();
    const none = open(source).load(kernelBefore('int'));
    expect(none.btfError?.message).toMatch(/Invalid kind/);
    none.close();
  });
});

describe.skipIf(reason !== undefined)('modules', () => {
  const INT: BtfType = btfInt('int', 4, { signed: true });
  const base = (): BtfBuilder => {
    const builder = new BtfBuilder();
    builder.add(INT);
    return builder;
  };
  const vmlinux = base().build();
  /** Split BTF: ids and strings go on where those of vmlinux end. */
  const splitBtf = (types: readonly BtfType[]): Uint8Array => {
    const builder = base();
    for (const type of types) builder.add(type);
    const whole = builder.bytes();
    const view = new DataView(whole.buffer);
    const [typeSize, stringOffset, stringSize] = [12, 16, 20].map((at) => view.getUint32(at, true));
    const cutTypes = whole.subarray(24 + 16, 24 + typeSize);
    const cutStrings = whole.subarray(24 + stringOffset + vmlinux.stringSize, 24 + stringOffset + stringSize);
    const split = new Uint8Array(24 + cutTypes.length + cutStrings.length);
    split.set(whole.subarray(0, 24));
    const header = new DataView(split.buffer);
    header.setUint32(12, cutTypes.length, true);
    header.setUint32(16, cutTypes.length, true);
    header.setUint32(20, cutStrings.length, true);
    split.set(cutTypes, 24);
    split.set(cutStrings, 24 + cutTypes.length);
    return split;
  };
  const PROTO: BtfType = { kind: 'func_proto', returnType: 1, params: [{ name: 'a', type: 1 }] };
  const MODULES = [
    splitBtf([PROTO, { kind: 'func', name: 'one_kfunc', type: 2, linkage: 'static' }]),
    splitBtf([
      PROTO,
      { kind: 'func', name: 'two_kfunc', type: 2, linkage: 'static' },
      {
        kind: 'struct',
        name: 'of_module',
        size: 8,
        members: [{ name: 'field', type: 1, bitOffset: 32, bitSize: 0 }],
      },
    ]),
  ];
  const withModules = (loaded: ProgLoadAttr[], closed: number[] = []): Kernel => {
    const kernel = new EmbeddedKernel();
    return changed(
      {
        kernelBtf: () => vmlinux.bytes,
        objGetNextId: ({ startId }) => (startId <= MODULES.length ? startId + 1 : null),
        objGetFdById: ({ id }) => 1000 + id,
        objGetInfoByFd: (attr) =>
          attr.bpfFd > 1000
            ? {
                kind: 'btf',
                id: attr.bpfFd - 1000,
                kernelBtf: true,
                ...(attr.bpfFd === 1001
                  ? { name: 'vmlinux', data: vmlinux.bytes }
                  : { name: `module${attr.bpfFd - 1001}`, data: MODULES[attr.bpfFd - 1002] }),
              }
            : kernel.objGetInfoByFd(attr),
        close: (fd) => {
          if (fd > 1000) closed.push(fd);
          else kernel.close(fd);
        },
        progLoad: (attr) => {
          loaded.push(attr);
          throw new BpfError('EINVAL', 'only looked at');
        },
      },
      kernel,
    );
  };

  it('kernel functions of modules are called by the descriptors of their types', () => {
    const loaded: ProgLoadAttr[] = [];
    const closed: number[] = [];
    const object = open(`extern int one_kfunc(int) __ksym; extern int two_kfunc(int) __ksym;
SEC("xdp") int f(void *ctx) { return two_kfunc(1) + one_kfunc(2) + two_kfunc(3); }`);
    object.load(withModules(loaded, closed), { strict: false });
    const calls = decodeProgram(loaded[0].insns).filter((insn) => insn.code === 0x85);
    expect(calls.map(({ src, off, imm }) => [src, off, imm])).toEqual([
      [2, 1, 3],
      [2, 2, 3],
      [2, 1, 3],
    ]);
    expect(loaded[0].fdArray).toEqual([0, 1003, 1002]);
    expect(closed.sort()).toEqual([1001, 1002, 1003]);
    object.close();
  });

  it('CO-RE looks at modules for what vmlinux does not have', () => {
    const loaded: ProgLoadAttr[] = [];
    const object = open(`struct of_module { int field; } __attribute__((preserve_access_index));
SEC("xdp") int f(void *ctx) { return bpf_core_field_offset(struct of_module, field); }`);
    object.load(withModules(loaded), { strict: false });
    expect(decodeProgram(loaded[0].insns)[0]).toMatchObject({ code: 0xb7, imm: 4 });
    object.close();
  });
});

describe.skipIf(reason !== undefined)('on the embedded kernel', () => {
  const refusal = (action: () => unknown): Error => {
    try {
      action();
    } catch (error) {
      return error as Error;
    }
    throw new Error('was not refused');
  };

  it('a weak kernel function that is asked for is no hindrance, others are named', () => {
    const source = (weak: string, test: string): string => `extern int bpf_some_kfunc(int) __ksym ${weak};
SEC("xdp") int f(void *ctx) { ${test} return bpf_some_kfunc(1); return 3; }`;
    const object = open(source('__weak', 'if (bpf_some_kfunc)')).load(new EmbeddedKernel());
    expect(object.findProgram('f').testRun({ dataIn: new Uint8Array(64) }).retval).toBe(3);
    object.close();
    expect(refusal(() => open(source('', '')).load(new EmbeddedKernel()))).toMatchObject({
      code: 'ENOENT',
      message: expect.stringMatching(/program 'f': extern \(func ksym\) 'bpf_some_kfunc': not found/),
    });
    const explained = refusal(() => open(source('__weak', '')).load(new EmbeddedKernel()));
    expect(explained).toBeInstanceOf(VerifierError);
    expect(explained.message).toMatch(/^<invalid kfunc call> kfunc 'bpf_some_kfunc' is referenced/);
  });

  it('poisoned accesses and maps that are not made are explained', () => {
    const builder = new BtfBuilder();
    builder.add({ kind: 'struct', name: 'thing', size: 4, members: [] });
    const core = open(`struct thing { int gone; } __attribute__((preserve_access_index));
SEC("xdp") int f(void *ctx) { return bpf_core_field_offset(struct thing, gone); }`);
    const error = refusal(() => core.load(new EmbeddedKernel(), { kernelBtf: builder.build() }));
    expect(error.message).toMatch(
      /^<invalid CO-RE relocation> failed to resolve CO-RE relocation <byte_off> \[\d+\] struct thing\.gone/,
    );
    expect((error as VerifierError).log).toContain('<invalid CO-RE relocation>\nfailed to resolve');
    const map =
      open(`struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 1); __type(key, int); __type(value, int); } m SEC(".maps");
SEC("xdp") int f(void *ctx) { int key = 0; return bpf_map_lookup_elem(&m, &key) ? 1 : 2; }
SEC("xdp") int g(void *ctx) { return 2; }`);
    map.mapSettings('m').setAutocreate(false);
    map.load(new EmbeddedKernel(), { strict: false });
    expect((map.failures[0].error as Error).message).toMatch(/BPF map 'm' is referenced but wasn't created/);
    expect(map.findProgram('g').loaded).toBe(true);
    expect(map.maps).toEqual([]);
    map.close();
  });

  it('symbols by address', () => {
    const files = (text: string): MachineFiles => ({
      read: (path) => (path === '/proc/kallsyms' ? utf8(text) : null),
      readTracing: () => null,
      resolveExecutable: () => null,
      open: () => {
        throw new BpfError('ENOENT', 'none');
      },
    });
    const load = (text: string): BpfObject =>
      open(
        `extern const void symbol __ksym; __u64 address; SEC("xdp") int f(void *ctx) { address = (__u64)&symbol; return 0; }`,
      ).load(changed({ files: files(text) }));
    const object = load(
      'ffffffff81000010 T a_symbol\nffffffff81000020 T symbol\nffffffff81000030 t symbol2\n',
    );
    object.findProgram('f').testRun({ dataIn: new Uint8Array(64) });
    expect(object.globals.address).toBe(0xffffffff81000020n);
    object.close();
    expect(() => load('0 T other\n')).toThrow(/'symbol': not found in kallsyms/);
    expect(() => load('1 t symbol\n2 t symbol\t[module]\n')).toThrow(/ambiguous: 0x1 or 0x2/);
  });

  it('tries again where the verifier was interrupted, and without an optional attach type', () => {
    const kernel = new EmbeddedKernel();
    const asked: (number | undefined)[] = [];
    let interruptions = 4;
    const moody = changed(
      {
        progLoad(attr) {
          if (interruptions-- > 0) throw new BpfError('EAGAIN', 'a signal');
          asked.push(attr.expectedAttachType);
          if (attr.expectedAttachType) throw new BpfError('EINVAL', 'no such field');
          return kernel.progLoad(attr);
        },
      },
      kernel,
    );
    const object = open(`SEC("cgroup_skb/egress") int f(void *ctx) { return 1; }`).load(moody);
    expect(asked).toEqual([1, 0]);
    object.close();
    interruptions = 5;
    expect(() => open(`SEC("xdp") int f(void *ctx) { return 1; }`).load(moody)).toThrow(/a signal/);
  });

  it('a function of a loaded program as the target', () => {
    const kernel = new EmbeddedKernel();
    const first = open(`__attribute__((noinline)) int part(int a) { return a; }
SEC("xdp") int whole(void *ctx) { return part(2); }`).load(kernel);
    const loaded: ProgLoadAttr[] = [];
    const looking = changed(
      {
        progLoad: (attr) => {
          loaded.push(attr);
          throw new BpfError('EPERM', 'only looked at');
        },
      },
      kernel,
    );
    const second = open(`SEC("freplace/part") int mine(int a) { return a + 1; }`);
    expect(() => second.load(looking)).toThrow(/of a program that is not given/);
    second.programs[0].attachTarget = { program: first.findProgram('whole'), name: 'part' };
    expect(() => second.load(looking)).toThrow(/only looked at/);
    expect(loaded[0].attachProgFd).toBe(first.findProgram('whole').fd);
    expect(first.spec.btf?.name(loaded[0].attachBtfId ?? 0)).toBe('part');
    second.programs[0].attachTarget = { program: first.findProgram('whole'), name: 'none' };
    expect(() => second.load(looking)).toThrow(/none/);
    first.close();
  });

  it('globals, before load and after', () => {
    const object =
      open(`const volatile int limit = 3; static volatile int calls; char text[8] = "abc"; int none;
SEC("xdp") int f(void *ctx) { calls++; none = limit; return calls; }`);
    expect(Object.keys(object.globals).sort()).toEqual(
      ['_license', 'calls', 'limit', 'none', 'text'].filter((name) => name !== '_license'),
    );
    object.globals.limit = 9;
    object.globals.text = 'hello';
    expect(() => {
      object.globals.nothing = 1;
    }).toThrow(/no global variable 'nothing'/);
    expect(() => object.data('.none')).toThrow(/there is no data section/);
    object.load(new EmbeddedKernel());
    object.findProgram('f').testRun({ dataIn: new Uint8Array(64) });
    expect({ ...object.globals }).toEqual({ limit: 9, calls: 1, text: 'hello', none: 9 });
    object.globals.calls = 41;
    expect(object.findProgram('f').testRun({ dataIn: new Uint8Array(64) }).retval).toBe(42);
    expect(() => {
      object.globals.limit = 1;
    }).toThrow(/constant/);
    expect(() => object.mapSettings('.bss').setValueSize(8)).toThrow(/made already/);
    object.close();
  });

  it('options of the kernel as its configuration file has them', () => {
    const kernel = changed({ kernelConfig: () => '# CONFIG_A is not set\nCONFIG_HZ=250\nCONFIG_X="y"\n' });
    const object = open(`extern int CONFIG_HZ __kconfig; extern _Bool CONFIG_A __kconfig __weak;
SEC("xdp") int f(void *ctx) { return CONFIG_HZ + CONFIG_A; }`).load(kernel);
    expect(object.findProgram('f').testRun({ dataIn: new Uint8Array(64) }).retval).toBe(250);
    object.close();
    expect(parseKernelConfig('CONFIG_X="y"\n').get('CONFIG_X')).toBe('"y"');
    expect(() =>
      open(
        `extern char LINUX_KERNEL_VERSION __kconfig; SEC("xdp") int f(void *ctx) { return LINUX_KERNEL_VERSION; }`,
      ).load(kernel),
    ).toThrow(/LINUX_KERNEL_VERSION is \d+, which does not fit in 1 bytes/);
  });
});
