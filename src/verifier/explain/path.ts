/** The way to a refusal: branches, calls and returns of the failing path, with the rounds of loops drawn together. */
import { CALL, CLASS, insnClass, insnOp, JMP_OP, LD_IMM64 } from '../../asm/opcodes.ts';
import type { Insn } from '../../contracts/insn.ts';
import type { FunctionName } from './origin.ts';
import { condition } from './words.ts';

export interface Step {
  readonly kind: 'entry' | 'branch' | 'call' | 'return' | 'helper' | 'loop' | 'refused';
  readonly insn: number;
  readonly what: string;
  readonly taken?: boolean;
  readonly rounds?: number;
}

/** Steps that are shown: some of the start, most of the end. */
const FIRST = 16;
const LAST = 48;
/** Longest loop body, in steps, whose rounds are recognised. */
const LONGEST_ROUND = 40;

function stepAt(
  insns: readonly Insn[],
  index: number,
  next: number | undefined,
  nameOf: FunctionName,
): Step | undefined {
  const insn = insns[index];
  if (insn === undefined || insn.code === LD_IMM64) return undefined;
  const cls = insnClass(insn.code);
  if (cls !== CLASS.JMP && cls !== CLASS.JMP32) return undefined;
  const op = insnOp(insn.code);
  if (op === JMP_OP.JA) return undefined;
  if (op === JMP_OP.EXIT) return { kind: 'return', insn: index, what: 'returns' };
  if (op === JMP_OP.CALL) {
    const name = nameOf(insn, index);
    return insn.src === CALL.LOCAL
      ? { kind: 'call', insn: index, what: `calls ${name}` }
      : { kind: 'helper', insn: index, what: `calls ${name}` };
  }
  if (next === undefined) return undefined;
  const target = index + 1 + insn.off;
  const taken = next === target;
  const text = op === JMP_OP.JCOND ? 'the budget of the loop is used up' : condition(insn);
  if (target === index + 1) return undefined;
  return { kind: 'branch', insn: index, what: `${text} is ${taken ? 'true' : 'false'}`, taken };
}

const same = (a: Step, b: Step): boolean => a.insn === b.insn && a.taken === b.taken;

/** Rounds of the same steps one after the other: the last is shown, those before are counted. */
function drawTogether(steps: readonly Step[]): Step[] {
  const out: Step[] = [];
  let i = 0;
  while (i < steps.length) {
    let period = 0;
    let rounds = 1;
    for (let p = 1; p <= LONGEST_ROUND && i + 2 * p <= steps.length; p++) {
      let n = 1;
      while (repeats(steps, i, i + n * p, p)) n++;
      if (n > 1 && n * p > rounds * period) {
        period = p;
        rounds = n;
      }
    }
    if (period === 0 || rounds < 2) {
      out.push(steps[i++]!);
      continue;
    }
    const first = steps[i]!;
    const left = rounds - 1;
    out.push({
      kind: 'loop',
      insn: first.insn,
      what: `${left} round${left === 1 ? '' : 's'} before this one`,
      rounds: left,
    });
    i += left * period;
    for (let k = 0; k < period; k++) out.push(steps[i++]!);
  }
  return out;
}

function repeats(steps: readonly Step[], a: number, b: number, length: number): boolean {
  if (b + length > steps.length) return false;
  for (let k = 0; k < length; k++) if (!same(steps[a + k]!, steps[b + k]!)) return false;
  return true;
}

/** The steps of a path whose last instruction is the one that is refused. */
export function stepsOf(insns: readonly Insn[], path: readonly number[], nameOf: FunctionName): Step[] {
  const steps: Step[] = [];
  path.forEach((index, i) => {
    if (i === path.length - 1) return;
    const step = stepAt(insns, index, path[i + 1], nameOf);
    if (step !== undefined) steps.push(step);
  });
  const drawn = drawTogether(steps);
  const shown = drawn.length <= FIRST + LAST + 1 ? drawn : shorten(drawn);
  const first = path[0];
  if (first !== undefined)
    shown.unshift({
      kind: 'entry',
      insn: first,
      what: first === 0 ? 'starts' : 'goes on from an earlier point',
    });
  return shown;
}

function shorten(steps: readonly Step[]): Step[] {
  const left = steps.length - FIRST - LAST;
  const gap = steps[FIRST]!;
  return [
    ...steps.slice(0, FIRST),
    { kind: 'loop', insn: gap.insn, what: `${left} more steps` },
    ...steps.slice(-LAST),
  ];
}
