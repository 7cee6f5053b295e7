import { describe, expect, it } from 'vitest';
import { ElfWriter, parseElf, R_BPF, relocationName, SHF, SHT, STB, STT } from '../../src/elf/index.ts';
import { BpfError } from '../../src/util/index.ts';

function sample(littleEndian: boolean): Uint8Array {
  const writer = new ElfWriter({ littleEndian });
  const text = writer.addSection({
    name: 'xdp',
    flags: SHF.ALLOC | SHF.EXECINSTR,
    align: 8,
    data: new Uint8Array(32).fill(7),
  });
  const bss = writer.addSection({ name: '.bss', type: SHT.NOBITS, flags: SHF.ALLOC | SHF.WRITE, size: 100 });
  const global = writer.addSymbol({
    name: 'prog',
    section: text,
    bind: STB.GLOBAL,
    type: STT.FUNC,
    size: 32,
  });
  writer.addSymbol({ name: 'local', section: bss, value: 8, size: 4, type: STT.OBJECT });
  const extern = writer.addSymbol({ name: 'outside', bind: STB.WEAK });
  writer.addRelocation(text, 8, R_BPF['64_64'], extern);
  writer.addRelocation(text, 24, R_BPF['64_32'], global);
  return writer.bytes();
}

describe.each([true, false])('ELF, little endian %s', (littleEndian) => {
  it('reads back what the writer wrote', () => {
    const elf = parseElf(sample(littleEndian));
    expect(elf.littleEndian).toBe(littleEndian);
    expect(elf.machine).toBe(247);
    expect(elf.section('xdp')?.data).toEqual(new Uint8Array(32).fill(7));
    expect(elf.section('.bss')).toMatchObject({ type: SHT.NOBITS, size: 100 });
    expect(elf.section('.bss')?.data.length).toBe(0);
    expect(elf.symbols.map((symbol) => symbol.name)).toEqual(['', 'local', 'prog', 'outside']);
    expect(elf.symbols[1]).toMatchObject({ value: 8, size: 4, bind: STB.LOCAL, section: 2 });
    const relocations = elf.relocations(1);
    expect(relocations.map((r) => [r.offset, relocationName(r.type), r.symbol.name, r.addend])).toEqual([
      [8, 'R_BPF_64_64', 'outside', undefined],
      [24, 'R_BPF_64_32', 'prog', undefined],
    ]);
    expect(elf.relocations(2)).toEqual([]);
  });

  it('answers every truncation with an error', () => {
    const whole = sample(littleEndian);
    for (let size = 0; size < whole.length; size++) {
      expect(() => parseElf(whole.slice(0, size))).toThrow(BpfError);
    }
  });
});

describe('hostile ELF', () => {
  it.each([
    ['empty', new Uint8Array(0), 'ENOEXEC'],
    ['text', new TextEncoder().encode('int main() {}'), 'ENOEXEC'],
    ['32-bit', Uint8Array.from([0x7f, 0x45, 0x4c, 0x46, 1, 1, ...new Array(60).fill(0)]), 'ENOEXEC'],
  ])('%s', (_name, bytes, code) => {
    expect(() => parseElf(bytes)).toThrow(expect.objectContaining({ code }));
  });

  it('names the section that reaches beyond the file', () => {
    const bytes = sample(true);
    const view = new DataView(bytes.buffer);
    const headers = Number(view.getBigUint64(40, true));
    view.setBigUint64(headers + 64 + 32, 0xffff_ffff_ffffn, true);
    expect(() => parseElf(bytes)).toThrow(/section 1 .*beyond the file/);
  });
});
