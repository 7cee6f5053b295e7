import { describe, expect, it } from 'vitest';
import { BPF_ONLY, check, LOOKUP, map, NOBODY, verdict } from './support.ts';

const hash = map('hash', 8, 16);

describe('without CAP_PERFMON', () => {
  it.each([
    ['r0 = r10\nexit', 'EACCES: R0 leaks addr as return value'],
    [
      '*(u64 *)(r10 -8) = r1\n*(u8 *)(r10 -8) = 1\nr0 = 0\nexit',
      'EACCES: attempt to corrupt spilled pointer on stack',
    ],
    ['r2 = r1\nif r2 == r10 goto pc+1\nr0 = 0\nr0 = 0\nexit', 'EACCES: R10 pointer comparison prohibited'],
    ['w0 = w10\nexit', 'EACCES: R10 partial copy of pointer'],
  ])('%j: %s', (text, reason) => {
    expect(verdict(text, { credentials: BPF_ONLY })).toBe(reason);
    expect(verdict(text)).toBe('accept');
  });

  it('both ways of a decided branch are followed speculatively', () => {
    const text = 'r0 = 0\nif r0 == 0x0 goto pc+1\nr0 = 1\nexit';
    expect(check(text).stats.insnsProcessed).toBe(3);
    expect(check(text, { credentials: BPF_ONLY }).stats.insnsProcessed).toBe(5);
  });

  it('pointer arithmetic must have one sign and stay in bounds', () => {
    const text = `${LOOKUP}r1 = *(u64 *)(r0 +0)\nif r1 s> 8 goto pc+2\nif r1 s< -8 goto pc+1\nr0 += r1\nr0 = 0\nexit`;
    expect(verdict(text, { maps: [hash] })).toBe('accept');
    expect(verdict(text, { maps: [hash], credentials: BPF_ONLY })).toBe(
      'EACCES: R1 has unknown scalar with mixed signed bounds, pointer arithmetic with it prohibited for !root',
    );
  });
});

describe('without CAP_BPF', () => {
  it('there are no loops, no functions, and 4096 instructions', () => {
    const credentials = NOBODY;
    expect(verdict('r0 = 0\nr0 += 1\nif r0 < 10 goto pc-2\nexit', { credentials })).toBe(
      'EINVAL: back-edge from insn 2 to 1',
    );
    expect(verdict('call pc+1\nexit\nr0 = 0\nexit', { credentials })).toContain(
      'EPERM: loading/calling other bpf',
    );
    const long = `${'r0 = 0\n'.repeat(4096)}exit`;
    expect(verdict(long, { credentials })).toContain('E2BIG');
    expect(verdict(long)).toBe('accept');
  });
});
