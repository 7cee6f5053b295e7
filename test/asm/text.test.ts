import { describe, expect, it } from 'vitest';
import { assemble, assembleProgram, disassemble } from '../../src/asm/index.ts';
import { BpfError } from '../../src/util/index.ts';
import { Random } from '../generator/random.ts';

const same = (a: string, b: string, options = {}) =>
  expect(disassemble(assemble(a, options))).toBe(disassemble(assemble(b)));

describe('text', () => {
  it('takes labels, comments, blank lines and numbers of both kinds', () => {
    same(
      `# counts to ten
start:  r0 = 0            // zero
loop:   r0 += 1 ; one more
        /* until
           ten */ if r0 < 0xa goto loop
        if r0 s> -1 goto 1f
        goto start
1:      exit`,
      'r0 = 0\nr0 += 1\nif r0 < 10 goto pc-2\nif r0 s> 0xffffffff goto pc+1\ngoto pc-5\nexit',
    );
  });

  it('finds numbered labels in both directions', () => {
    same('1: r0 = 0\n1: goto 1b\ngoto 1f\ngoto 1f\n1: exit', 'r0 = 0\ngoto pc-1\ngoto pc+1\ngoto pc+0\nexit');
  });

  it('calls by name, number and label', () => {
    same(
      'call bpf_ktime_get_ns\ncall ktime_get_ns\ncall 5\ncall bpf_ktime_get_ns#5\ncall f\nexit\nf: exit',
      'call 5\ncall 5\ncall 5\ncall 5\ncall pc+1\nexit\nexit',
    );
    expect(assemble('call bpf_thing', { kfuncId: () => 77 })[0]).toMatchObject({ src: 2, imm: 77 });
  });

  it('reads a hexadecimal constant as the syntax asked for does', () => {
    expect(assemble('r1 = 0x5')).toHaveLength(2);
    expect(assemble('r1 = 0x5', { syntax: 'llvm' })).toHaveLength(1);
    expect(assemble('(b7) r1 = 0x5')).toHaveLength(1);
    expect(assemble('r1 = -0x5')).toHaveLength(1);
    expect(assemble('r1 = 5 ll')).toHaveLength(2);
    expect(assemble('w1 = 0x5')).toHaveLength(1);
  });

  it("takes LLVM's way of writing", () => {
    same(
      `r1 = *(u32 *)(r2 - 0x8); w3 = *(u8 *)(r2 + 8) # two statements
       if w3 == 0x5 goto +0x1 <LBB0_2>
       w2 = xchg32_32(r1 - 0x8, w2)
       r1 = 0x1ffffffff ll
       exit`,
      'r1 = *(u32 *)(r2 -8)\nr3 = *(u8 *)(r2 +8)\nif w3 == 5 goto pc+1\nr2 = atomic_xchg((u32 *)(r1 -8), r2)\nr1 = 0x1ffffffff\nexit',
      { syntax: 'llvm' },
    );
  });

  it('lists the maps that it names', () => {
    const text = 'r1 = map[counts]\nr2 = map[data][0]+4\nr3 = other ll\nexit';
    const program = assembleProgram(text);
    expect(program.relocations).toEqual([
      { insn: 0, name: 'counts' },
      { insn: 2, name: 'data' },
      { insn: 4, name: 'other' },
    ]);
    expect(program.insns.filter((i) => i.code === 0x18).map((i) => i.src)).toEqual([1, 2, 1]);
    expect(assemble(text, { mapFd: () => 9 })[0]).toMatchObject({ src: 1, imm: 9 });
    expect(() => assemble(text)).toThrow(/line 1: there is no map "counts"/);
  });

  it('says of each slot which line it came from, and where labels are', () => {
    const program = assembleProgram('\nr1 = 0x5\na: exit\nb:');
    expect(program.lines).toEqual([2, 2, 3]);
    expect(Object.fromEntries(program.labels)).toEqual({ a: 2, b: 3 });
  });
});

describe('a mistake', () => {
  const cases: [text: string, message: RegExp, hint?: RegExp][] = [
    ['exit\n r1 = r2 + 3', /line 2, column 10: unexpected "\+"/, /end of line/],
    ['r1 =', /line 1, column 5: the line ends too early/, /register|number/],
    ['r11 = 5', /no register r11/, /r0 to r10/],
    ['r1 = 5000000000', /does not fit a 32-bit immediate/, / ll$/],
    ['r1 = 0x12345678901234567', /does not fit 64 bits/],
    ['r1 = 111111111111111111111111111111111', /longer than 64 bits/],
    ['*(u8 *)(r1 +40000) = 1', /does not fit a 16-bit offset/],
    ['call foo', /neither a label nor a helper/, /by name or number/],
    ['call bpf_map_lookup_elem#2', /is helper 1, not 2/],
    ['goto nowhere', /no label "nowhere"/],
    ['goto 1f', /no label for "1f"/],
    ['goto pc+40000', /jump of 16 bits/, /gotol/],
    ['r1 = be16 r2', /must be the register/],
    ['(07) r1 = 5', /does not have the opcode 07/],
    ['(07)', /must follow the opcode/],
    ['x:\nx: exit', /line 2, column 1: the label "x" stands also in line 1/],
    ['/* no end', /not closed/],
    ['r1 @ 5', /unexpected character "@"/],
    ['r1 = 12ab', /is not a number/],
    ['.insn 0x95, 0, 0', /expected "," and off/],
    ['.insn 0x195, 0, 0, 0, 0', /code = 405/],
    ['.insn 0x95, 0, 0, 0, 0, 0', /unexpected ","/],
  ];
  for (const [text, message, hint] of cases) {
    it(`is explained: ${JSON.stringify(text)}`, () => {
      let error: unknown;
      try {
        assemble(text);
      } catch (e) {
        error = e;
      }
      expect(error).toBeInstanceOf(BpfError);
      expect((error as BpfError).code).toBe('EINVAL');
      expect((error as BpfError).message).toMatch(message);
      if (hint !== undefined) expect((error as BpfError).hint).toMatch(hint);
    });
  }

  it('is found for a jump that a label puts out of reach', () => {
    const text = `goto far\n${'exit\n'.repeat(40_000)}far: exit`;
    expect(() => assemble(text)).toThrow(/40000 slots away/);
    expect(() => assemble(text.replace('goto', 'gotol'))).not.toThrow();
  });
});

describe('hostile text', () => {
  it('gives a program or a BpfError, in little time', () => {
    const random = new Random(3);
    const pieces = [
      'r1',
      'w2',
      ' = ',
      '*(u8 *)(',
      ')',
      '+',
      '-',
      '0x',
      '5',
      'goto',
      'x:',
      ';',
      '\n',
      '/*',
      '*/',
      '(b7)',
      'll',
      'lock',
      'if ',
      ' s> ',
      '[',
      '#',
      'call ',
      'pc',
      '.insn',
      ',',
      '\u0000',
      'é',
      '"',
    ];
    for (let n = 0; n < 3000; n++) {
      const text = Array.from({ length: random.between(1, 30) }, () => random.pick(pieces)).join('');
      for (const syntax of ['kernel', 'llvm'] as const) {
        try {
          assembleProgram(text, { syntax });
        } catch (e) {
          expect(e, text).toBeInstanceOf(BpfError);
        }
      }
    }
  });

  // A test that took quadratic time here would not end.
  it('that is long takes linear time', () => {
    const n = 200_000;
    for (const text of [
      'x'.repeat(n),
      '('.repeat(n),
      '9'.repeat(n),
      '-'.repeat(n),
      `r1 = ${'-'.repeat(n)}`,
      `${'a:'.repeat(n / 2)}`,
      `${'1:'.repeat(n / 2)}`,
      '/*'.repeat(n),
      '#\n'.repeat(n),
      ' '.repeat(n),
      's>'.repeat(n),
      `goto x <${'<'.repeat(n)}`,
      `${' <'.repeat(n)}`,
    ]) {
      try {
        assembleProgram(text);
      } catch (e) {
        expect(e).toBeInstanceOf(BpfError);
      }
    }
  });

  it('of many instructions stops at a million', () => {
    expect(() => assemble('exit\n'.repeat(1_000_001))).toThrow(/more than 1000000/);
  });
});
