import { describe, expect, it } from 'vitest';
import { type Btf, BtfBuilder, btfInt, checkBtf, dumpC, formatValue, parseBtf } from '../../src/btf/index.ts';
import { BpfError } from '../../src/util/index.ts';

const INT = { kind: 'int', bitOffset: 0, char: false, bool: false } as const;

/** struct point { int x; unsigned y:3; unsigned z:5; union { char name[8]; long id; }; struct point *next; } */
function sampleBuilder(): { builder: BtfBuilder; point: number } {
  const builder = new BtfBuilder();
  const int = builder.add({ ...INT, name: 'int', size: 4, signed: true, bits: 32 });
  const unsigned = builder.add({ ...INT, name: 'unsigned int', size: 4, signed: false, bits: 32 });
  const char = builder.add({ ...INT, name: 'char', size: 1, signed: true, bits: 8, char: true });
  const long = builder.add({ ...INT, name: 'long', size: 8, signed: true, bits: 64 });
  const text = builder.add({ kind: 'array', type: char, indexType: unsigned, count: 8 });
  const union = builder.add({
    kind: 'union',
    name: '',
    size: 8,
    members: [
      { name: 'name', type: text, bitOffset: 0, bitSize: 0 },
      { name: 'id', type: long, bitOffset: 0, bitSize: 0 },
    ],
  });
  const pointer = builder.add({ kind: 'ptr', type: 8 });
  const point = builder.add({
    kind: 'struct',
    name: 'point',
    size: 24,
    members: [
      { name: 'x', type: int, bitOffset: 0, bitSize: 0 },
      { name: 'y', type: unsigned, bitOffset: 32, bitSize: 3 },
      { name: 'z', type: unsigned, bitOffset: 35, bitSize: 5 },
      { name: '', type: union, bitOffset: 64, bitSize: 0 },
      { name: 'next', type: pointer, bitOffset: 128, bitSize: 0 },
    ],
  });
  builder.add({ kind: 'typedef', name: 'point_t', type: point });
  builder.add({
    kind: 'enum',
    name: 'colour',
    size: 4,
    signed: true,
    values: [
      { name: 'RED', value: -1n },
      { name: 'GREEN', value: 2n },
    ],
  });
  builder.add({
    kind: 'enum64',
    name: 'big',
    size: 8,
    signed: false,
    values: [{ name: 'HUGE', value: 1n << 40n }],
  });
  return { builder, point };
}

function sample(): Btf {
  return sampleBuilder().builder.build();
}

describe('reading and writing', () => {
  it.each([true, false])('gives back what was written, little endian %s', (littleEndian) => {
    const { builder } = sampleBuilder();
    const btf = parseBtf(builder.bytes({ littleEndian }));
    expect(btf.littleEndian).toBe(littleEndian);
    for (const [id, type] of btf.types()) expect(type).toEqual(builder.get(id));
    checkBtf(btf);
  });

  it('continues a base with split BTF', () => {
    const base = sample();
    const builder = new BtfBuilder();
    builder.add({ kind: 'typedef', name: 'more', type: base.find('point', 'struct')! });
    // String offsets of a split BTF continue after the base's strings, ids after its types.
    const bytes = builder.bytes();
    const view = new DataView(bytes.buffer);
    view.setUint32(24, view.getUint32(24, true) + base.stringSize, true);
    const split = parseBtf(bytes, { base });
    const id = split.find('more')!;
    expect(id).toBe(base.typeCount);
    expect(split.sizeOf(id)).toBe(24);
    expect(split.find('point', 'struct')).toBe(base.find('point', 'struct'));
  });
});

describe('look-ups', () => {
  const btf = sample();
  const point = btf.find('point', 'struct')!;

  it('finds by name and kind', () => {
    expect(btf.find('point', 'union')).toBeUndefined();
    expect(btf.find('nothing')).toBeUndefined();
    expect(() => btf.get('nothing', 'struct')).toThrow(expect.objectContaining({ code: 'ENOENT' }));
    expect(btf.resolved(btf.find('point_t')!)).toBe(btf.type(point));
  });

  it('knows size and alignment', () => {
    expect(btf.sizeOf(btf.find('point_t')!)).toBe(24);
    expect(btf.alignOf(point)).toBe(8);
    expect(() => btf.sizeOf(0)).toThrow(/void '' has no size/);
  });

  it('follows member paths through anonymous members', () => {
    expect(btf.findPath(point, 'z')).toMatchObject({ bitOffset: 35, bitSize: 5 });
    expect(btf.findPath(point, 'name[3]')).toMatchObject({ bitOffset: 88 });
    expect(btf.findPath(point, 'nope')).toBeUndefined();
    expect(() => btf.findPath(point, 'name[9]')).toThrow(BpfError);
    expect(() => btf.findPath(point, 'a..b')).toThrow(/not a member path/);
  });
});

describe('values', () => {
  const btf = sample();

  it('formats structs, bit-fields, text and enums', () => {
    const bytes = new Uint8Array(24);
    const view = new DataView(bytes.buffer);
    view.setInt32(0, -5, true);
    view.setUint8(4, 5 | (9 << 3));
    bytes.set(new TextEncoder().encode('bash'), 8);
    view.setBigUint64(16, 0xffff_8880_0000_1000n, true);
    expect(formatValue(btf, btf.find('point_t')!, bytes)).toEqual({
      x: -5,
      y: 5,
      z: 9,
      name: 'bash',
      id: 0x68736162,
      next: 0xffff_8880_0000_1000n,
    });
    expect(formatValue(btf, btf.find('colour')!, Uint8Array.of(255, 255, 255, 255))).toBe('RED');
    expect(formatValue(btf, btf.find('colour')!, Uint8Array.of(9, 0, 0, 0))).toBe(9);
    expect(formatValue(btf, btf.find('big')!, Uint8Array.of(0, 0, 0, 0, 0, 1, 0, 0))).toBe('HUGE');
  });

  it('refuses bytes that are too short', () => {
    expect(() => formatValue(btf, btf.find('point_t')!, new Uint8Array(23))).toThrow(
      /needs 24 bytes, 23 are given/,
    );
  });
});

describe('C', () => {
  it('declares what a type needs before it', () => {
    const btf = sample();
    expect(dumpC(btf, { roots: [btf.find('point_t')!] })).toBe(
      ['struct point;', '', 'typedef struct point point_t;', '', ''].join('\n'),
    );
    expect(dumpC(btf)).toContain(
      [
        'struct point {',
        '\tint x;',
        '\tunsigned int y: 3;',
        '\tunsigned int z: 5;',
        '\tunion {',
        '\t\tchar name[8];',
        '\t\tlong id;',
        '\t};',
        '\tstruct point *next;',
        '};',
      ].join('\n'),
    );
  });
});

describe('what the kernel takes', () => {
  const check = (make: (b: BtfBuilder) => void): void => {
    const builder = new BtfBuilder();
    make(builder);
    checkBtf(builder.build());
  };
  const func = (b: BtfBuilder, name: string, param: string): number => {
    const int = b.add(btfInt('int', 4, { signed: true }));
    const type = b.add({ kind: 'func_proto', returnType: int, params: [{ name: param, type: int }] });
    return b.add({ kind: 'func', name, type, linkage: 'static' });
  };

  it('tags hold any text, but some', () => {
    for (const name of ['comment:test_jited=0=\tmovabsq\t$0x{{.*}}, %r9', 'a', '\u00e9'])
      expect(() =>
        check((b) =>
          b.add({ kind: 'decl_tag', name, type: func(b, 'f', 'a'), componentIndex: -1, attribute: false }),
        ),
      ).not.toThrow();
    expect(() =>
      check((b) =>
        b.add({ kind: 'decl_tag', name: '', type: func(b, 'f', 'a'), componentIndex: -1, attribute: false }),
      ),
    ).toThrow(/without name/);
  });

  it('functions name their arguments', () => {
    expect(() => check((b) => func(b, 'f', 'a'))).not.toThrow();
    expect(() => check((b) => func(b, 'f', ''))).toThrow(/'f' does not name its argument 1/);
    expect(() => check((b) => func(b, 'f\t', 'a'))).toThrow(/not a valid name/);
  });
});

describe('hostile BTF', () => {
  const { builder } = sampleBuilder();
  const whole = builder.bytes();

  it('answers every truncation with an error', () => {
    for (let size = 0; size < whole.length; size++)
      expect(() => parseBtf(whole.slice(0, size))).toThrow(BpfError);
  });

  const broken = (edit: (builder: BtfBuilder) => void): Btf => {
    const fresh = sampleBuilder().builder;
    edit(fresh);
    return fresh.build();
  };

  it('ends circular typedefs', () => {
    const btf = broken((b) => {
      b.add({ kind: 'typedef', name: 'a', type: 13 });
      b.add({ kind: 'typedef', name: 'b', type: 12 });
    });
    expect(() => btf.resolve(12)).toThrow(/type id 12: .*circular/);
    expect(() => btf.sizeOf(13)).toThrow(BpfError);
    expect(() => checkBtf(btf)).toThrow(/contains itself/);
    expect(() => formatValue(btf, 12, new Uint8Array(8))).toThrow(BpfError);
  });

  it('ends a struct that contains itself', () => {
    const btf = broken((b) => {
      b.add({
        kind: 'struct',
        name: 'self',
        size: 8,
        members: [{ name: 'me', type: 12, bitOffset: 0, bitSize: 0 }],
      });
    });
    expect(() => btf.alignOf(12)).toThrow(/contains itself/);
    expect(() => checkBtf(btf)).toThrow(/contains itself/);
    expect(() => dumpC(btf)).toThrow(/contains itself/);
    expect(() => formatValue(btf, 12, new Uint8Array(8))).toThrow(/nested deeper/);
  });

  it('bounds arrays', () => {
    const btf = broken((b) => {
      b.add({ kind: 'array', type: 8, indexType: 1, count: 0xffff_ffff });
      b.add({ kind: 'struct', name: 'empty', size: 0, members: [] });
      b.add({ kind: 'array', type: 13, indexType: 1, count: 0xffff_ffff });
    });
    expect(() => btf.sizeOf(12)).toThrow(/larger than 4 GB/);
    expect(() => formatValue(btf, 14, new Uint8Array(0))).toThrow(expect.objectContaining({ code: 'E2BIG' }));
  });

  it.each([
    ['a name beyond the strings', 24, 0xffff, /type id 1: name at offset/],
    ['an unknown kind', 28, 31 << 24, /type id 1: unknown kind 31/],
    ['a type that does not exist', 24 + 4 * 16 + 12, 999, /type id 5: refers to type id 999/],
    ['a huge count', 28, (4 << 24) | 0xffff, /type id 1: struct with 65535 items/],
  ])('%s', (_name, offset, value, message) => {
    const bytes = whole.slice();
    new DataView(bytes.buffer).setUint32(offset, value, true);
    expect(() => parseBtf(bytes)).toThrow(message);
  });
});
