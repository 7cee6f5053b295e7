import { describe, expect, it } from 'vitest';
import { check, LOOKUP, map } from './support.ts';

const hash = map('hash', 8, 16, { name: 'counts' });

describe('log', () => {
  // The texts are what Linux 6.18 printed for the same programs.
  it('of level 2 shows every instruction with what it changed', () => {
    const { log } = check('r0 = 1\nr1 = *(u32 *)(r1 +0)\nif r1 == 0x5 goto pc+1\nr0 = 2\nexit', {
      logLevel: 2,
    });
    expect(log).toBe(`func#0 @0
Live regs before insn:
      0: .1........ (b7) r0 = 1
      1: 01........ (61) r1 = *(u32 *)(r1 +0)
      2: 01........ (15) if r1 == 0x5 goto pc+1
      3: .......... (b7) r0 = 2
      4: 0......... (95) exit
0: R1=ctx() R10=fp0
0: (b7) r0 = 1                        ; R0=1
1: (61) r1 = *(u32 *)(r1 +0)          ; R1=scalar(smin=0,smax=umax=0xffffffff,var_off=(0x0; 0xffffffff))
2: (15) if r1 == 0x5 goto pc+1        ; R1=scalar(smin=0,smax=umax=0xffffffff,var_off=(0x0; 0xffffffff))
3: (b7) r0 = 2                        ; R0=2
4: (95) exit

from 2 to 4: R0=1 R1=5 R10=fp0
4: R0=1 R1=5 R10=fp0
4: (95) exit
processed 6 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
`);
  });

  it('of level 1 shows the failing path only, level 4 the counts', () => {
    const text = `${LOOKUP}r0 = *(u64 *)(r0 +16)\nexit`;
    const one = check(text, { logLevel: 1, maps: [hash] }).log;
    expect(one).toContain('R0=map_value(map=counts,ks=8,vs=16)');
    expect(one).toContain(
      'invalid access to map value, value_size=16 off=16 size=8\nR0 min value is outside',
    );
    const four = check(text, { logLevel: 4, maps: [hash] }).log;
    expect(four).toMatch(
      /^invalid access to map value.*\nR0 min value.*\nverification time \d+ usec\nstack depth 8\nprocessed 9 insns/,
    );
    expect(check(text, { maps: [hash] }).log).toBe('');
    expect(check('r0 = 0\nexit', { logLevel: 1 }).log).toMatch(/^processed 2 insns/);
  });

  it('shows source lines once', () => {
    const lineInfo = [
      { insn: 0, file: 'dir/a.c', text: '\tint x = 1;', line: 3, column: 1 },
      { insn: 1, file: 'dir/a.c', text: '\treturn x;', line: 4, column: 1 },
    ];
    const { log } = check('r0 = 1\nexit', { logLevel: 2, lineInfo });
    expect(log).toContain('; int x = 1; @ a.c:3\n0: (b7) r0 = 1');
    expect(log).toContain('; return x; @ a.c:4\n1: (95) exit');
  });

  it('is bounded', () => {
    const { log } = check('r0 = 0\nr0 += 1\nif r0 < 3000 goto pc-2\nexit', { logLevel: 2, logLimit: 2000 });
    expect(log.length).toBeLessThanOrEqual(2000);
    expect(log).toContain('processed 6002 insns');
  });
});

describe('a refusal', () => {
  it('carries instruction, registers, path and line', () => {
    const lineInfo = [{ insn: 0, file: 'a.c', text: 'whole();', line: 1, column: 1 }];
    const result = check(`${LOOKUP}r0 = *(u64 *)(r0 +16)\nexit`, { maps: [hash], lineInfo });
    expect(result).toMatchObject({
      verdict: 'reject',
      errno: 'EACCES',
      insn: 9,
      registers: [{ register: 'R0', state: 'map_value(map=counts,ks=8,vs=16)' }],
      path: [0, 1, 2, 3, 5, 6, 9],
      source: { line: 1 },
    });
  });
});
