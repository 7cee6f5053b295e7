import { describe, expect, it } from 'vitest';
import {
  assemble,
  decodeProgram,
  disassemble,
  encodeProgram,
  formatInsn,
  INSN_ROWS,
  KERNEL_LOG,
  rowByName,
  rowOf,
} from '../../src/asm/index.ts';
import type { Insn } from '../../src/contracts.ts';
import { Random } from '../generator/random.ts';
import { randomInsn } from './rows.ts';

describe('the table', () => {
  it('has one row a name, and one row for every instruction', () => {
    expect(new Set(INSN_ROWS.map((r) => r.name)).size).toBe(INSN_ROWS.length);
    const random = new Random(1);
    for (const row of INSN_ROWS) {
      expect(rowByName(row.name)).toBe(row);
      expect(rowOf(randomInsn(row, random)[0]!)?.name).toBe(row.name);
    }
  });
});

describe('every row', () => {
  for (const row of INSN_ROWS) {
    it(`${row.name}: bytes, instruction, text and back`, () => {
      const random = new Random(row.code);
      for (let i = 0; i < 40; i++) {
        const insns = randomInsn(row, random);
        expect(decodeProgram(encodeProgram(insns))).toEqual(insns);
        expect(decodeProgram(encodeProgram(insns, { bigEndian: true }), { bigEndian: true })).toEqual(insns);
        const text = disassemble(insns);
        expect(text).not.toContain('.insn');
        expect(assemble(text), text).toEqual(insns);
        expect(assemble(disassemble(insns, { opcode: true, index: true })), text).toEqual(insns);
      }
    });
  }
});

describe('LLVM syntax', () => {
  // What LLVM's own text does not say: the kind of a call and of a pseudo load, the immediate of an indirect packet load.
  const silent = /^(call_(local|kfunc)|ld_(?!imm64).*|ldind\d+)$/;
  for (const row of INSN_ROWS.filter((r) => r.llvm !== null && !silent.test(r.name))) {
    it(`${row.name}: text and back`, () => {
      const random = new Random(row.code);
      for (let i = 0; i < 40; i++) {
        const insns = randomInsn(row, random);
        const text = disassemble(insns, { syntax: 'llvm' });
        expect(assemble(text, { syntax: 'llvm' }), text).toEqual(insns);
      }
    });
  }
});

describe('random programs', () => {
  it('of good instructions come back', () => {
    const random = new Random(7);
    for (let n = 0; n < 200; n++) {
      const insns: Insn[] = [];
      while (insns.length < 50) insns.push(...randomInsn(random.pick(INSN_ROWS), random));
      expect(assemble(disassemble(insns))).toEqual(insns);
      expect(assemble(disassemble(insns, { opcode: true }))).toEqual(insns);
    }
  });

  it('of random bytes come back too', () => {
    const random = new Random(8);
    for (let n = 0; n < 400; n++) {
      const insns = decodeProgram(random.bytes(8 * random.between(0, 60)));
      expect(assemble(disassemble(insns, { opcode: n % 2 === 0, index: n % 3 === 0 }))).toEqual(insns);
    }
  });
});

describe('a program that is broken', () => {
  it('is refused where it ends inside an instruction', () => {
    expect(() => decodeProgram(new Uint8Array(13))).toThrow(/13 bytes.*byte 8/);
  });

  it('is refused where a field does not fit', () => {
    expect(() => encodeProgram([{ code: 0xb7, dst: 16, src: 0, off: 0, imm: 0 }])).toThrow(
      /instruction 0: dst/,
    );
    expect(() => encodeProgram([{ code: 0xb7, dst: 0, src: 0, off: 0x8000, imm: 0 }])).toThrow(/off/);
    expect(() => encodeProgram([{ code: 0xb7, dst: 0, src: 0, off: 0, imm: 0.5 }])).toThrow(/imm/);
  });

  it('prints as the kernel prints it', () => {
    const one = (code: number): string =>
      formatInsn([{ code, dst: 1, src: 2, off: 0, imm: 0 }], 0, KERNEL_LOG);
    expect(one(0x00)).toBe('BUG_ld_00');
    expect(one(0x18)).toBe('BUG_ld_18');
    expect(one(0x01)).toBe('BUG_ldx_01');
    expect(one(0x02)).toBe('BUG_st_02');
    expect(one(0x03)).toBe('BUG_03');
    expect(disassemble([{ code: 0, dst: 0, src: 0, off: 0, imm: 0 }], { lossless: false })).toBe(
      'BUG_ld_00\n',
    );
  });
});

describe('names in place of numbers', () => {
  it('stand where a callback gives them', () => {
    const insns = assemble('r1 = map[fd:4]\nr1 = map[fd:4][0]+8\ncall kernel-function#77\ncall 9999\nexit');
    const text = disassemble(insns, {
      mapName: (fd) => (fd === 4 ? 'counts' : undefined),
      kfuncName: () => 'bpf_rcu_read_lock',
      helperName: (id) => (id === 9999 ? 'bpf_new' : undefined),
      labelOf: () => undefined,
    });
    expect(text).toBe(
      'r1 = map[counts]\nr1 = map[counts][0]+8\ncall bpf_rcu_read_lock#77\ncall bpf_new#9999\nexit\n',
    );
  });

  it('give labels to jumps', () => {
    const insns = assemble('if r0 == 0 goto pc+1\ncall pc+1\nexit\nexit');
    expect(disassemble(insns, { labelOf: (slot) => `l${slot}` })).toBe(
      'if r0 == 0x0 goto l2\ncall l3\nexit\nexit\n',
    );
  });
});
