/** Fixed expectations: the text of scalars after short sequences, as Linux 6.18 prints it. */
import { describe, expect, it } from 'vitest';
import {
  coerceToSize,
  coerceToSizeSx,
  constant,
  constantFromNumber,
  forkScalar,
  formatScalar,
  formatSnum,
  formatUnum,
  isBranchTaken,
  isUnknown,
  pointerOffsetAlu,
  refineBranch,
  type Scalar,
  scalarAlu,
  scalarEndian,
  scalarEquals,
  tnum,
  tnumMul,
  tnumRange,
  tnumStep,
  tnumUnion,
  unknown,
  zext32,
} from '../../../src/verifier/domain/index.ts';

const alu64 = (op: number, dst: Scalar, imm: number) => scalarAlu(op, dst, constantFromNumber(imm), true);
const alu32 = (op: number, dst: Scalar, imm: number) => scalarAlu(op, dst, constantFromNumber(imm), false);
const byte = alu64(0x50, unknown(), 255);

describe('text of scalars', () => {
  const rows: [string, Scalar, string][] = [
    ['nothing known', unknown(), 'scalar()'],
    ['a small constant', constant(-134n), '-134'],
    ['a large constant', constant(0x1_0000n), '0x10000'],
    ['a negative large constant', constant(-40000n), '0xffffffffffff63c0'],
    ['a byte', byte, 'scalar(smin=smin32=0,smax=umax=smax32=umax32=255,var_off=(0x0; 0xff))'],
    ['a u32', zext32(unknown()), 'scalar(smin=0,smax=umax=0xffffffff,var_off=(0x0; 0xffffffff))'],
    ['an s8', coerceToSizeSx(unknown(), 1), 'scalar(smin=smin32=-128,smax=smax32=127)'],
    ['minus a byte', scalarAlu(0x80, byte, byte, true), 'scalar(smin=smin32=-255,smax=smax32=0)'],
    [
      'w = -w',
      scalarAlu(0x80, byte, byte, false),
      'scalar(smin=0,smax=umax=0xffffffff,smin32=-255,smax32=0,var_off=(0x0; 0xffffffff))',
    ],
    [
      'be16 of a byte',
      scalarEndian(byte, 16, true),
      'scalar(smin=smin32=0,smax=umax=smax32=umax32=0xff00,var_off=(0x0; 0xff00))',
    ],
    ['a 32-bit remainder', alu32(0x90, byte, 3), 'scalar()'],
    ['a sign bit spread', alu64(0xc0, unknown(), 63), 'scalar(smin=smin32=-1,smax=smax32=0)'],
    [
      'the first half of a sign extension',
      alu64(0x60, alu64(0x10, byte, 100), 32),
      'scalar(smin=0xffffff9c00000000,smax=0x9b00000000,umax=0xffffffff00000000,smin32=0,smax32=umax32=0,var_off=(0x0; 0xffffffff00000000))',
    ],
    [
      'both halves of a sign extension',
      alu64(0xc0, alu64(0x60, alu64(0x10, byte, 100), 32), 32),
      'scalar(smin=smin32=-100,smax=smax32=155)',
    ],
    ['above a bound', refineBranch(unknown(), constant(87n), 0x20, false).trueLeft, 'scalar(umin=88)'],
    [
      'at least a bound, signed',
      refineBranch(unknown(), constant(0x3a02n), 0x70, false).trueLeft,
      'scalar(smin=umin=14850,umax=0x7fffffffffffffff,var_off=(0x0; 0x7fffffffffffffff))',
    ],
    [
      'one value in range and bits',
      refineBranch(alu64(0x50, unknown(), 0x1000), constant(10n), 0x20, false).trueLeft,
      '4096',
    ],
  ];
  it.each(rows)('%s', (_, s, text) => expect(formatScalar(s)).toBe(text));

  it('puts attributes first', () => {
    expect(formatScalar(byte, 'id=1+8')).toBe(
      'scalar(id=1+8,smin=smin32=0,smax=umax=smax32=umax32=255,var_off=(0x0; 0xff))',
    );
    expect(formatScalar(unknown(), 'id=3')).toBe('scalar(id=3)');
  });

  it('turns to hex outside 16 bits', () => {
    expect([formatSnum(32767n), formatSnum(32768n), formatSnum(-32769n)]).toEqual([
      '32767',
      '0x8000',
      '0xffffffffffff7fff',
    ]);
    expect([formatUnum(65535n), formatUnum(65536n)]).toEqual(['65535', '0x10000']);
  });
});

describe('scalars', () => {
  it('are shared where nothing is to be told apart', () => {
    expect(constant(5n)).toBe(constantFromNumber(5));
    expect(coerceToSize(unknown(), 4)).toBe(coerceToSize(unknown(), 4));
    expect(scalarAlu(0x00, constant(2n), constant(3n), true)).toBe(constant(5n));
    expect(isUnknown(alu64(0x00, unknown(), 0))).toBe(true);
    expect(scalarEquals(constant(1n << 40n), constant(1n << 40n))).toBe(true);
  });

  it('fork before a constant mask where only -1 and 0 are possible', () => {
    const spread = alu64(0xc0, unknown(), 63);
    const fork = forkScalar(0x50, spread, constant(-134n));
    expect([fork?.now, fork?.pushed].map((s) => formatScalar(s!))).toEqual(['-1', '0']);
    expect(forkScalar(0x50, byte, constant(1n))).toBeNull();
    expect(forkScalar(0xa0, spread, constant(1n))).toBeNull();
    expect(forkScalar(0x40, spread, spread)).toBeNull();
  });

  it('decide jumps by bits where ranges do not', () => {
    const even = alu64(0x50, unknown(), -2);
    expect(isBranchTaken(even, constant(7n), 0x10, false)).toBe(0);
    expect(isBranchTaken(even, constant(7n), 0x50, false)).toBe(1);
    expect(isBranchTaken(even, constant(8n), 0x10, false)).toBe(-1);
    expect(isBranchTaken(byte, constant(256n), 0xa0, true)).toBe(1);
  });

  it('move the variable offset of a pointer', () => {
    expect(formatScalar(pointerOffsetAlu(0x00, constant(0n), byte))).toBe(formatScalar(byte));
    expect(formatScalar(pointerOffsetAlu(0x10, constant(0n), byte))).toBe(
      'scalar(smin=smin32=-255,smax=smax32=0)',
    );
  });
});

describe('tnums', () => {
  it('multiply bit by bit', () => {
    expect(tnumMul(tnum(0n, 3n), tnum(3n, 0n))).toEqual(tnum(0n, 15n));
    expect(tnumMul(tnumRange(0n, (1n << 64n) - 1n), tnum(4n, 0n))).toEqual(tnum(0n, (1n << 64n) - 4n));
  });

  it('step to the next number', () => {
    const t = tnum(0b1000n, 0b0101n);
    expect([0n, 8n, 9n, 12n, 13n, 20n].map((z) => tnumStep(t, z))).toEqual([8n, 9n, 12n, 13n, 13n, 13n]);
    for (let value = 0n; value < 16n; value++) {
      for (let mask = 0n; mask < 16n; mask++) {
        if ((value & mask) !== 0n) continue;
        for (let z = 0n; z < 16n; z++) {
          let want = value | mask;
          for (let n = 15n; n > z; n--) if ((n & ~mask) === value) want = n;
          expect(tnumStep(tnum(value, mask), z)).toBe(want);
        }
      }
    }
  });

  it('join', () => {
    expect(tnumUnion(tnum(4n, 0n), tnum(6n, 1n))).toEqual(tnum(4n, 3n));
  });
});
