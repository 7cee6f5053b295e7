/** Random classic programs: mostly well-formed, with the odd bad jump, shift, division and scratch word. */
import { type ClassicInsn, classicCodes, classicOp } from '../../src/cbpf/index.ts';

/** A generator of numbers below `n` (xorshift32). */
export function seeded(seed: number): (n: number) => number {
  let state = seed * 0x9e37_79b9 || 1;
  return (n) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % n;
  };
}

const CODES = classicCodes();
const RETURN_A: ClassicInsn = { code: 0x16, jt: 0, jf: 0, k: 0 };
/** and #0x7f: what is returned shows in the length that a socket keeps. */
const KEEP_LOW_BITS: ClassicInsn = { code: 0x54, jt: 0, jf: 0, k: 0x7f };

/** `ancillary`: offsets from SKF_AD_OFF that may be loaded. */
export function randomClassic(random: (n: number) => number, ancillary: readonly number[]): ClassicInsn[] {
  const count = 3 + random(24);
  const insns: ClassicInsn[] = [];
  for (let at = 0; at < count; at++) {
    let code = CODES[random(CODES.length)]!;
    // Returns in the middle end most programs early.
    while (classicOp(code)!.kind === 'return' && random(8) !== 0) code = CODES[random(CODES.length)]!;
    insns.push(makeInsn(code, count + 2 - at - 1, random, ancillary));
  }
  return [...insns, KEEP_LOW_BITS, RETURN_A];
}

function makeInsn(
  code: number,
  left: number,
  random: (n: number) => number,
  ancillary: readonly number[],
): ClassicInsn {
  const op = classicOp(code)!;
  const rare = random(200) === 0;
  const jump = () => (rare ? random(256) : random(Math.min(left, 6)));
  const insn = { code, jt: 0, jf: 0, k: random(2) === 0 ? random(256) : random(2 ** 32) };
  switch (op.kind) {
    case 'load':
    case 'load-header-length':
      if (op.kind === 'load' && op.from === 'abs' && random(4) === 0)
        return {
          ...insn,
          k: (0xffff_f000 + (rare ? random(0x1000) : ancillary[random(ancillary.length)]!)) >>> 0,
        };
      return { ...insn, k: rare ? random(2 ** 32) : random(40) };
    case 'load-scratch':
    case 'store':
      return { ...insn, k: rare ? random(20) : random(3) };
    case 'branch':
      return { ...insn, jt: jump(), jf: jump() };
    case 'jump':
      return { ...insn, k: rare ? random(2 ** 32) : random(Math.min(left, 6)) };
    case 'alu':
      if (op.op === 'lsh' || op.op === 'rsh') return { ...insn, k: rare ? random(40) : random(32) };
      return rare ? { ...insn, k: 0 } : insn;
    default:
      return insn;
  }
}
