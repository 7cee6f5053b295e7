/** Inputs that are valid in every part, and made to cost more than their size: each must end soon with an error or a result. */
import { describe, expect, it } from 'vitest';
import { BtfBuilder, btfInt, checkBtf, dumpC, formatValue, parseBtf } from '../../src/btf/index.ts';
import { ElfWriter, R_BPF, SHF, SHT, STB, STT } from '../../src/elf/index.ts';
import { parseObject } from '../../src/object/index.ts';
import { BpfError } from '../../src/util/index.ts';

const INT = btfInt('int', 4, { signed: true });

/** Runs it: BpfError or a result; what does not end runs into the test's time limit. */
function ends(action: () => void): void {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(BpfError);
  }
}

describe('crafted BTF', () => {
  it('prototypes that double with each level', () => {
    const builder = new BtfBuilder();
    builder.add(INT);
    for (let i = 0; i < 60; i++) {
      const proto = builder.add({
        kind: 'func_proto',
        returnType: 0,
        params: [1, 2, 3].map((n) => ({ name: `p${n}`, type: builder.typeCount - 1 })),
      });
      builder.add({ kind: 'ptr', type: proto });
    }
    builder.add({ kind: 'typedef', name: 'deep', type: builder.typeCount - 1 });
    const btf = builder.build();
    ends(() => dumpC(btf));
    ends(() => checkBtf(btf));
  });

  it('anonymous structs that double with each level', () => {
    const builder = new BtfBuilder();
    let last = builder.add(INT);
    for (let i = 0; i < 28; i++) {
      const size = 4 * 2 ** i;
      last = builder.add({
        kind: 'struct',
        name: '',
        size: size * 2,
        members: [
          { name: 'a', type: last, bitOffset: 0, bitSize: 0 },
          { name: 'b', type: last, bitOffset: size * 8, bitSize: 0 },
        ],
      });
    }
    builder.add({ kind: 'typedef', name: 'wide', type: last });
    const btf = builder.build();
    ends(() => dumpC(btf, { limit: 4_000_000 }));
    ends(() => btf.findMember(last, 'nothing'));
    ends(() => checkBtf(btf));
    ends(() => formatValue(btf, last, new Uint8Array(1024)));
  });

  it.each([0x61, 0xc3])('names that share one long string of byte %i', (byte) => {
    const count = 20_000;
    const length = 1_000_000;
    const bytes = new Uint8Array(24 + 12 * count + length + 2);
    const view = new DataView(bytes.buffer);
    view.setUint16(0, 0xeb9f, true);
    bytes[2] = 1;
    [24, 0, 12 * count, 12 * count, length + 2].forEach((word, i) => {
      view.setUint32(4 + 4 * i, word, true);
    });
    for (let i = 0; i < count; i++) {
      view.setUint32(24 + 12 * i, 1 + i, true);
      view.setUint32(28 + 12 * i, 8 << 24, true);
    }
    bytes.fill(byte, 24 + 12 * count + 1, bytes.length - 1);
    ends(() => {
      const btf = parseBtf(bytes);
      ends(() => btf.find('a'));
      ends(() => checkBtf(btf));
      ends(() => dumpC(btf));
      ends(() => BtfBuilder.from(btf).build());
    });
  });

  it('chains of types longer than the stack', () => {
    const builder = new BtfBuilder();
    builder.add(INT);
    for (let i = 0; i < 100_000; i++) builder.add({ kind: 'typedef', name: `t${i}`, type: i + 1 });
    for (let i = 0; i < 100_000; i++) {
      const type = builder.typeCount - 1;
      builder.add({
        kind: 'struct',
        name: `s${i}`,
        size: 4,
        members: [{ name: 'm', type, bitOffset: 0, bitSize: 0 }],
      });
    }
    const btf = builder.build();
    const last = btf.typeCount - 1;
    ends(() => checkBtf(btf));
    ends(() => dumpC(btf));
    ends(() => btf.alignOf(last));
    ends(() => btf.resolve(100_000));
    ends(() => formatValue(btf, last, new Uint8Array(4)));
  });
});

describe('crafted objects', () => {
  const exit = [0x95, 0, 0, 0, 0, 0, 0, 0];
  const call = [0x85, 0x10, 0, 0, 0xff, 0xff, 0xff, 0xff];

  it('a chain of calls longer than the stack', () => {
    const count = 50_000;
    const writer = new ElfWriter();
    const data = new Uint8Array(16 * count);
    for (let i = 0; i < count; i++) data.set([...call, ...exit], 16 * i);
    const text = writer.addSection({ name: '.text', flags: SHF.ALLOC | SHF.EXECINSTR, data });
    const main = writer.addSection({
      name: 'xdp',
      flags: SHF.ALLOC | SHF.EXECINSTR,
      data: Uint8Array.from([...call, ...exit]),
    });
    writer.addSymbol({ name: 'main', section: main, type: STT.FUNC, bind: STB.GLOBAL, size: 16 });
    const functions = Array.from({ length: count }, (_, i) =>
      writer.addSymbol({
        name: `f${i}`,
        section: text,
        value: 16 * i,
        size: 16,
        type: STT.FUNC,
        bind: STB.GLOBAL,
      }),
    );
    writer.addRelocation(main, 0, R_BPF['64_32'], functions[0]!);
    for (let i = 0; i + 1 < count; i++) writer.addRelocation(text, 16 * i, R_BPF['64_32'], functions[i + 1]!);
    // The last call of the chain goes back to the first function.
    writer.addRelocation(text, 16 * (count - 1), R_BPF['64_32'], functions[0]!);
    const spec = parseObject(writer.bytes());
    expect(spec.programs[0]!.functions).toHaveLength(count + 1);
  });

  it('many programs that all call one large function', () => {
    const count = 5000;
    const size = 50_000;
    const writer = new ElfWriter();
    const body = new Uint8Array(8 * size);
    for (let i = 0; i < size; i++) body.set(exit, 8 * i);
    const text = writer.addSection({ name: '.text', flags: SHF.ALLOC | SHF.EXECINSTR, data: body });
    const data = new Uint8Array(16 * count);
    for (let i = 0; i < count; i++) data.set([...call, ...exit], 16 * i);
    const main = writer.addSection({ name: 'xdp', flags: SHF.ALLOC | SHF.EXECINSTR, data });
    const big = writer.addSymbol({
      name: 'big',
      section: text,
      size: 8 * size,
      type: STT.FUNC,
      bind: STB.GLOBAL,
    });
    for (let i = 0; i < count; i++) {
      writer.addSymbol({
        name: `p${i}`,
        section: main,
        value: 16 * i,
        size: 16,
        type: STT.FUNC,
        bind: STB.GLOBAL,
      });
      writer.addRelocation(main, 16 * i, R_BPF['64_32'], big);
    }
    expect(() => parseObject(writer.bytes())).toThrow(expect.objectContaining({ code: 'E2BIG' }));
  });

  it('a .bss of two gigabytes costs nothing', () => {
    const writer = new ElfWriter();
    writer.addSection({ name: '.bss', type: SHT.NOBITS, flags: SHF.ALLOC | SHF.WRITE, size: 0x7fff_0000 });
    const spec = parseObject(writer.bytes());
    expect(spec.maps[0]).toMatchObject({ valueSize: 0x7fff_0000, initial: undefined });
  });
});
