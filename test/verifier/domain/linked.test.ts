/** Links between registers, with the states that Linux 6.18 prints for the same sequences. */
import { describe, expect, it } from 'vitest';
import {
  boundsViolation,
  checkInvariants,
  constant,
  followLink,
  formatLink,
  formatScalar,
  type Link,
  linkAfterAlu,
  NO_LINK,
  refineBranch,
  refineBranchSame,
  type Scalar,
  scalarAlu,
  unknown,
  withBounds,
} from '../../../src/verifier/domain/index.ts';

const ADD = 0x00;
const SUB = 0x10;
const plain: Link = { id: 1, width: 0, delta: 0 };
const half = scalarAlu(0x50, unknown(), constant(0xffffn), true);

function text(followed: ReturnType<typeof followLink>): string | null {
  return followed && formatScalar(followed.scalar, formatLink(followed.link));
}

describe('links', () => {
  it('remember one constant', () => {
    const plus = linkAfterAlu(plain, ADD, half, constant(7n), true);
    expect(formatLink(plus)).toBe('id=1+7');
    expect(formatLink(linkAfterAlu(plain, SUB, half, constant(5n), true))).toBe('id=1-5');
    expect(formatLink(linkAfterAlu(plain, SUB, half, constant(0n), true))).toBe('id=1+0');
    expect(formatLink(linkAfterAlu(plain, SUB, half, constant(9n), false))).toBe('id=1-9');
    expect(linkAfterAlu(plus, ADD, half, constant(7n), true)).toBe(NO_LINK);
  });

  it('end where the difference is not known', () => {
    expect(linkAfterAlu(plain, ADD, half, half, true)).toBe(NO_LINK);
    expect(linkAfterAlu(plain, 0x20, half, constant(1n), true)).toBe(NO_LINK);
    expect(linkAfterAlu(plain, ADD, unknown(), constant(3n), false)).toBe(NO_LINK);
    expect(linkAfterAlu(plain, ADD, half, constant(1n << 31n), true)).toBe(NO_LINK);
    expect(linkAfterAlu(plain, SUB, half, constant(-(1n << 31n)), true)).toBe(NO_LINK);
    expect(formatLink(NO_LINK)).toBe('');
  });

  it('let a register follow another', () => {
    const low: Scalar = refineBranch(half, constant(100n), 0xa0, false).trueLeft;
    expect(text(followLink(low, plain, plain))).toBe(
      'scalar(id=1,smin=smin32=0,smax=umax=smax32=umax32=99,var_off=(0x0; 0x7f))',
    );
    expect(text(followLink(low, plain, { id: 1, width: 32, delta: 3 }))).toBe(
      'scalar(id=1+3,smin=umin=smin32=umin32=3,smax=umax=smax32=umax32=102,var_off=(0x0; 0x7f))',
    );
    expect(text(followLink(low, plain, { id: 1, width: 64, delta: -5 }))).toBe(
      'scalar(id=1-5,smin=smin32=-5,smax=smax32=94)',
    );
    expect(text(followLink(low, plain, { id: 1, width: 32, delta: -9 }))).toBe(
      'scalar(id=1-9,smin=0,smax=umax=0xffffffff,smin32=-9,smax32=90,var_off=(0x0; 0xffffffff))',
    );
    expect(followLink(low, { id: 1, width: 32, delta: 3 }, { id: 1, width: 64, delta: -5 })).toBeNull();
  });
});

describe('invariants', () => {
  it('are reported, and the bounds forgotten', () => {
    const bit = scalarAlu(0x50, unknown(), constant(1n), true);
    const lines: string[] = [];
    const after = checkInvariants(refineBranchSame(bit, 0x30, true).whenFalse, 'false_reg1', (line) =>
      lines.push(line),
    );
    expect(lines).toEqual([
      'verifier bug: REG INVARIANTS VIOLATION (false_reg1): range bounds violation u64=[0x0, 0x1] s64=[0x0, 0x1] ' +
        'u32=[0x1, 0x0] s32=[0x0, 0x1] var_off=(0x0, 0x1)',
    ]);
    expect(formatScalar(after)).toBe('scalar(var_off=(0x0; 0x1))');
  });

  it('name a constant that its bounds deny', () => {
    expect(boundsViolation(withBounds(constant(5n), { umax: 6n }, false))).toBe(
      'const tnum out of sync with range bounds',
    );
    expect(boundsViolation(withBounds(constant(5n), { u32max: 6 }, false))).toBe(
      'const subreg tnum out of sync with range bounds',
    );
    expect(boundsViolation(constant(5n))).toBeNull();
  });
});
