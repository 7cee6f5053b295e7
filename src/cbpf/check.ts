/**
 * What Linux asks of a classic program before it takes it (net/core/filter.c: bpf_check_classic): known codes, jumps that go
 * forward and stay inside, no division by 0, a return at the end, scratch words written on every path before they are read.
 */
import { BpfError } from '../util/errors.ts';
import { ANCILLARY_OFFSET, ancillaryAt } from './ancillary.ts';
import { CLASSIC_MAX_INSNS, type ClassicInsn, classicOp, SCRATCH_WORDS } from './instruction.ts';

const DIVISIONS: ReadonlySet<string> = new Set(['div', 'mod']);
const SHIFTS: ReadonlySet<string> = new Set(['lsh', 'rsh']);
const ALL_WORDS = (1 << SCRATCH_WORDS) - 1;

/** Throws BpfError EINVAL that names the instruction and the rule. */
export function checkClassic(insns: readonly ClassicInsn[]): void {
  if (insns.length === 0 || insns.length > CLASSIC_MAX_INSNS)
    throw new BpfError(
      'EINVAL',
      `a classic program has 1 to ${CLASSIC_MAX_INSNS} instructions, not ${insns.length}`,
    );
  insns.forEach((insn, at) => {
    checkInsn(insn, at, insns.length);
  });
  if (classicOp(insns.at(-1)!.code)?.kind !== 'return')
    refuse(insns.length - 1, 'the last instruction is no return');
  checkScratch(insns);
}

function refuse(at: number, why: string): never {
  throw new BpfError('EINVAL', `classic instruction ${at}: ${why}`);
}

function checkInsn({ code, jt, jf, k }: ClassicInsn, at: number, count: number): void {
  const op = classicOp(code);
  if (op === undefined) refuse(at, `there is no code 0x${code.toString(16)}`);
  const inside = (distance: number) => at + 1 + distance < count;
  switch (op.kind) {
    case 'alu':
      if (op.operand === 'k' && k === 0 && DIVISIONS.has(op.op)) refuse(at, 'division by the constant 0');
      if (op.operand === 'k' && k >= 32 && SHIFTS.has(op.op)) refuse(at, `a shift by ${k} bits`);
      return;
    case 'load-scratch':
    case 'store':
      if (k >= SCRATCH_WORDS) refuse(at, `M[${k}]: there are ${SCRATCH_WORDS} words of scratch memory`);
      return;
    case 'jump':
      if (!inside(k)) refuse(at, `the jump leaves the program of ${count} instructions`);
      return;
    case 'branch':
      if (!inside(jt) || !inside(jf)) refuse(at, `a branch leaves the program of ${count} instructions`);
      return;
    case 'load':
      if (op.from === 'abs' && k >= ANCILLARY_OFFSET && ancillaryAt(k) === undefined)
        refuse(at, `there is no ancillary data at offset ${k - ANCILLARY_OFFSET}`);
      return;
    default:
      return;
  }
}

/** Jumps go forward only: one pass from the start knows the words that every path to an instruction has written. */
function checkScratch(insns: readonly ClassicInsn[]): void {
  const written = new Uint16Array(insns.length).fill(ALL_WORDS);
  let now = 0;
  insns.forEach(({ code, jt, jf, k }, at) => {
    now &= written[at]!;
    const op = classicOp(code)!;
    const meet = (distance: number) => {
      written[at + 1 + distance]! &= now;
    };
    switch (op.kind) {
      case 'store':
        now |= 1 << k;
        break;
      case 'load-scratch':
        if ((now & (1 << k)) === 0) refuse(at, `M[${k}] is read where it may not have been written`);
        break;
      case 'jump':
        meet(k);
        now = ALL_WORDS;
        break;
      case 'branch':
        meet(jt);
        meet(jf);
        now = ALL_WORDS;
        break;
      default:
        break;
    }
  });
}
