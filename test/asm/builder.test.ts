import { describe, expect, it } from 'vitest';
import {
  addrSpaceCast,
  assemble,
  disassemble,
  exit,
  insn,
  ldImm64,
  mov64Imm,
  mov64Reg,
  ProgramBuilder,
  R0,
  R1,
  R2,
  R10,
  reg,
} from '../../src/asm/index.ts';
import { BpfError } from '../../src/util/index.ts';

describe('the builder', () => {
  it('resolves labels in jumps, calls and function addresses', () => {
    const insns = new ProgramBuilder()
      .mov64(R0, 0)
      .ldx('dw', R1, R10, -8)
      .jmp('jeq', R1, 5, 'out')
      .jmp32('jslt', R1, reg(R2), 'out')
      .ldFunc(R2, 'fn')
      .callLocal('fn')
      .callHelper('bpf_map_lookup_elem')
      .gotol('out')
      .label('out')
      .exit()
      .label('fn')
      .atomic('fetch_add', 'dw', R10, R1, -8)
      .storeRelease('w', R10, R1, -8)
      .exit()
      .build();
    expect(disassemble(insns)).toBe(
      disassemble(
        assemble(`
          r0 = 0
          r1 = *(u64 *)(r10 -8)
          if r1 == 5 goto out
          if w1 s< w2 goto out
          r2 = subprog[fn]
          call fn
          call 1
          gotol out
     out: exit
     fn:  r1 = atomic64_fetch_add((u64 *)(r10 -8), r1)
          store_release((u32 *)(r10 -8), r1)
          exit`),
      ),
    );
  });

  it('refuses what does not exist or does not fit', () => {
    const b = () => new ProgramBuilder();
    expect(() => b().goto('out').build()).toThrow(/label "out"/);
    expect(() => b().label('a').label('a')).toThrow(/twice/);
    expect(() => b().callHelper('bpf_nothing')).toThrow(BpfError);
    expect(() => b().mov64(R0, 2 ** 32)).toThrow(/mov64_imm: imm/);
    expect(() => b().ldx('b', R0, R1, 40_000)).toThrow(/ldx8: off/);
    expect(() => insn('frob64_imm')).toThrow(/no instruction frob64_imm/);
    const far = b().goto('out');
    for (let i = 0; i < 40_000; i++) far.exit();
    expect(() => far.label('out').build()).toThrow(/40000 slots/);
  });
});

describe('constructors', () => {
  it('make what the text says', () => {
    expect([mov64Imm(R0, 1), mov64Reg(R1, R0), exit()]).toEqual(assemble('r0 = 1\nr1 = r0\nexit'));
    expect(ldImm64(R1, -2n)).toEqual(assemble('r1 = 0xfffffffffffffffe'));
    expect(ldImm64(R1, 0x8000_0000_ffff_ffffn)).toEqual(assemble('r1 = 0x80000000ffffffff'));
    expect(addrSpaceCast(R1, R2, 1, 0)).toEqual(assemble('r1 = addr_space_cast(r2, 1, 0)')[0]);
    expect(insn('add64_imm', { dst: 1, imm: 0xffff_ffff }).imm).toBe(-1);
  });
});
