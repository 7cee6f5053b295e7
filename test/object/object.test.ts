import { describe, expect, it } from 'vitest';
import { dataMapName, objectName, parseObject } from '../../src/object/index.ts';
import { BpfError } from '../../src/util/index.ts';
import { compileFixture, compileText, skipReason } from './compile.ts';

const reason = skipReason();
if (reason !== undefined) console.log(`object tests with compiled fixtures skipped: ${reason}`);

const HEAD = '#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n';

describe('names', () => {
  it('cuts object names at the first dot', () => {
    expect(objectName('/tmp/katran.bpf.o')).toBe('katran');
    expect(objectName('x')).toBe('x');
  });

  it.each([
    ['a', '.rodata', 'a.rodata'],
    ['verylongobjectname', '.rodata', 'verylong.rodata'],
    ['verylongobjectname', '.bss', 'verylong.bss'],
    ['verylongobjectname', '.kconfig', 'verylon.kconfig'],
    ['obj', '.data.custom', '.data.custom'],
    ['obj', '.rodata.very_long_one', '.rodata.very_lo'],
    ['my-obj', '.data', 'my_obj.data'],
  ])('%s %s', (object, section, expected) => {
    expect(dataMapName(object, section)).toBe(expected);
  });
});

describe.skipIf(reason !== undefined).each(['bpf', 'bpfeb'] as const)('objects for %s', (target) => {
  it('reads maps of every kind', () => {
    const spec = parseObject(compileFixture('maps', { target }), { name: 'maps.bpf.o' });
    expect(spec).toMatchObject({ name: 'maps', license: 'GPL', version: 0x050a03, warnings: [] });
    const map = (name: string) => spec.maps.find((item) => item.name === name)!;
    const index = (name: string) => spec.maps.findIndex((item) => item.name === name);
    expect(map('counts')).toMatchObject({ type: 1, keySize: 8, valueSize: 24, maxEntries: 128, flags: 1 });
    expect(spec.btf!.name(map('counts').btfKeyTypeId)).toBe('key');
    expect(map('pinned')).toMatchObject({ keySize: 4, valueSize: 24, pinning: 'by_name' });
    expect(map('outer')).toMatchObject({ type: 12, keySize: 4, valueSize: 4, maxEntries: 4 });
    expect(map('outer').inner).toMatchObject({ name: 'outer.inner', type: 2, valueSize: 8, maxEntries: 2 });
    expect(map('outer').values).toEqual([
      { index: 0, kind: 'map', map: index('inner_a'), symbol: 'inner_a' },
      { index: 3, kind: 'map', map: index('inner_b'), symbol: 'inner_b' },
    ]);
    expect(map('jumps').values).toEqual([
      { index: 2, kind: 'program', program: 'tail_a' },
      { index: 5, kind: 'program', program: 'tail_b' },
    ]);
    expect(map('maps.data')).toMatchObject({ origin: 'data', valueSize: 8, flags: 0x400 });
    expect(map('maps.rodata')).toMatchObject({ origin: 'rodata', valueSize: 4, flags: 0x480 });
    expect(map('.rodata.text').initial).toEqual(new TextEncoder().encode('hello\0'));
    expect(map('maps.bss')).toMatchObject({ origin: 'bss', valueSize: 48, initial: undefined });
    const view = new DataView(map('maps.data').initial!.buffer);
    expect(view.getInt32(0, target === 'bpf')).toBe(42);
  });

  it('resolves references to maps and data', () => {
    const spec = parseObject(compileFixture('maps', { target }), { name: 'maps' });
    const entry = spec.programs.find((program) => program.name === 'entry')!;
    expect(entry).toMatchObject({ section: 'xdp', progType: 'xdp', autoload: true });
    expect(spec.programs.find((program) => program.name === 'optional')).toMatchObject({
      autoload: false,
      section: 'tc',
      progType: 'sched_cls',
    });
    const references = entry.relocations.map((item) => [item.kind, item.symbol]);
    expect(references).toContainEqual(['map', 'counts']);
    expect(references).toContainEqual(['map_value', 'static_data']);
    for (const relocation of entry.relocations) {
      const insn = entry.insns[relocation.insn]!;
      expect(insn.code).toBe(0x18);
      expect(insn.src).toBe(relocation.kind === 'map' ? 1 : 2);
      if (relocation.kind === 'map_value')
        expect(entry.insns[relocation.insn + 1]!.imm).toBe(relocation.offset);
    }
    const line = entry.lineInfo.find((item) => item.text.includes('bpf_ringbuf_reserve'))!;
    expect(line.text).toContain('void *e = bpf_ringbuf_reserve(&ring, 8, 0);');
    expect(line.column).toBeGreaterThan(0);
  });

  it('appends each subprogram once and resolves calls', () => {
    const spec = parseObject(compileFixture('calls', { target }), { name: 'calls' });
    const layout = Object.fromEntries(
      spec.programs.map((program) => [program.name, program.functions.map((item) => item.name)]),
    );
    expect(layout).toEqual({
      one: ['one', 'global_func', 'middle', 'leaf', 'hidden_func'],
      two: ['two', 'callback', 'middle', 'leaf'],
      three: ['three', 'leaf'],
    });
    for (const program of spec.programs) {
      const starts = new Set(program.functions.map((item) => item.start));
      program.insns.forEach((insn, i) => {
        const call = insn.code === 0x85 && insn.src === 1;
        const address = insn.code === 0x18 && insn.src === 4;
        if (call || address) expect(starts.has(i + insn.imm + 1)).toBe(true);
      });
      expect(program.funcInfoRecords.length).toBe(8 * program.functions.length);
      expect(program.lineInfo.filter((line) => starts.has(line.insn))).toHaveLength(starts.size);
      for (const item of program.functions) expect(spec.btf!.name(item.typeId)).toBe(item.name);
    }
  });

  it('keeps externs by name', () => {
    const spec = parseObject(compileFixture('extern', { target }), { name: 'extern' });
    expect(spec.kconfig.map((item) => [item.name, item.kind, item.offset, item.size, item.weak])).toEqual([
      ['CONFIG_NO_SUCH_THING', 'tristate', 0, 4, true],
      ['LINUX_KERNEL_VERSION', 'int', 4, 4, false],
      ['CONFIG_BPF_SYSCALL', 'bool', 8, 1, false],
      ['CONFIG_DEFAULT_HOSTNAME', 'char_array', 9, 16, true],
    ]);
    const handler = spec.programs[0]!;
    expect(handler.attachTo).toBe('sched_switch');
    const kinds = new Map(handler.relocations.map((item) => [item.symbol, item]));
    expect(kinds.get('bpf_prog_active')).toMatchObject({ kind: 'ksym', typed: false, weak: true });
    expect(kinds.get('bpf_no_such_var')).toMatchObject({ kind: 'ksym', typed: true, weak: true });
    expect(
      handler.relocations.filter((item) => item.symbol === 'bpf_no_such_kfunc').map((item) => item.kind),
    ).toEqual(['kfunc_address', 'kfunc']);
    expect(handler.coreRelocations.map((item) => item.kind)).toEqual([
      'byte_off',
      'byte_off',
      'field_exists',
      'byte_off',
      'type_size',
      'enumval_value',
    ]);
    expect(spec.btf!.get('.kconfig', 'datasec').size).toBe(25);
  });

  it('reads legacy maps and objects without BTF', () => {
    const spec = parseObject(compileFixture('legacy', { target, debug: false }));
    expect(spec.btf).toBeUndefined();
    expect(
      spec.maps.map((map) => [map.name, map.origin, map.type, map.keySize, map.valueSize, map.maxEntries]),
    ).toEqual([
      ['first', 'legacy', 2, 4, 8, 1],
      ['second', 'legacy', 1, 8, 16, 10],
    ]);
    expect(spec.programs[0]).toMatchObject({ name: 'probe', progType: 'kprobe', attachTo: 'do_unlinkat' });
  });
});

describe.skipIf(reason !== undefined)('special sections', () => {
  const spec = reason === undefined ? parseObject(compileFixture('special')) : undefined;

  it('reads struct_ops', () => {
    const plain = spec!.maps.find((map) => map.name === 'plain')!;
    expect(plain).toMatchObject({ origin: 'struct_ops', type: 26, flags: 0 });
    expect(plain.structOps).toMatchObject({
      typeName: 'tcp_congestion_ops',
      link: false,
      autocreate: true,
      functions: [
        { offset: 0, program: 'first' },
        { offset: 16, program: 'second' },
      ],
    });
    const linked = spec!.maps.find((map) => map.name === 'linked')!;
    expect(linked).toMatchObject({ flags: 0x2000, structOps: { link: true, autocreate: false } });
  });

  it('reads static maps, map_extra and arenas', () => {
    expect(spec!.maps.find((map) => map.name === 'extra')!.mapExtra).toBe(0x123456789an);
    const names = (program: string) =>
      spec!.programs
        .find((item) => item.name === program)!
        .relocations.map((item) => [item.kind, item.symbol]);
    expect(names('iterate')).toEqual([
      ['map', 'hidden_map'],
      ['map', 'extra'],
    ]);
    expect(names('use_arena')).toContainEqual(['map_value', 'in_arena']);
    expect(spec!.maps.find((map) => map.name === 'arena')!.initial).toEqual(Uint8Array.of(5, 0, 0, 0));
  });

  it('splits section names', () => {
    const sections = spec!.programs.map((program) => [
      program.name,
      program.progType,
      program.attachTo,
      program.sleepable,
    ]);
    expect(sections).toContainEqual(['iterate', 'tracing', 'task', true]);
    expect(sections).toContainEqual(['user', 'kprobe', '/usr/bin/bash:readline', false]);
    expect(sections).toContainEqual(['unknown', undefined, undefined, false]);
    expect(sections).toContainEqual(['connect', 'cgroup_sock_addr', undefined, false]);
  });

  it('warns of addresses in data', () => {
    expect(spec!.warnings.join()).toMatch(/section '.rodata' holds addresses/);
  });
});

describe.skipIf(reason !== undefined)('refusals say what, where and why', () => {
  it.each([
    [
      'an undefined function',
      'int nowhere(int);\nSEC("xdp") int p(void *c) { return nowhere(1); }',
      /'nowhere' is not defined/,
    ],
    [
      'an unknown map field',
      'struct { __uint(type, 1); __uint(colour, 3); } m SEC(".maps");\nSEC("xdp") int p(void *c) { return bpf_map_delete_elem(&m, c); }',
      /map 'm': unknown field 'colour'/,
    ],
    [
      'a map without type',
      'struct { __uint(max_entries, 1); } m SEC(".maps");\nSEC("xdp") int p(void *c) { return bpf_map_delete_elem(&m, c); }',
      /map 'm': no map type/,
    ],
    [
      'conflicting sizes',
      'struct { __uint(type, 1); __uint(key_size, 8); __type(key, int); } m SEC(".maps");\nSEC("xdp") int p(void *c) { return bpf_map_delete_elem(&m, c); }',
      /field 'key': conflicting sizes 8 and 4 bytes/,
    ],
  ])('%s', (_name, source, message) => {
    expect(() => parseObject(compileText(HEAD + source))).toThrow(BpfError);
    expect(() => parseObject(compileText(HEAD + source))).toThrow(message);
  });

  it('an object for another machine', () => {
    const object = compileText('int f(void) { return 1; }');
    object[18] = 62;
    expect(() => parseObject(object)).toThrow(/machine 62/);
  });
});
