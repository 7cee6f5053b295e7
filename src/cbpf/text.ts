/**
 * Classic programs as text: the listing of `tcpdump -d`, and the numbers of `tcpdump -dd` (C) and `-ddd` (decimal), which are read
 * as well.
 */
import { BpfError } from '../util/errors.ts';
import { CLASSIC_MAX_INSNS, type ClassicInsn, classicOp } from './instruction.ts';

const LOADS = { w: 'ld', h: 'ldh', b: 'ldb' } as const;

/** `ldh      [12]`, and for branches the targets: `jeq      #0x800           jt 2	jf 5`. */
export function formatClassicInsn({ code, jt, jf, k }: ClassicInsn, at: number): string {
  const op = classicOp(code);
  if (op === undefined) return line('unimp', `0x${code.toString(16)}`);
  const hex = `#0x${k.toString(16)}`;
  switch (op.kind) {
    case 'load':
      return line(LOADS[op.size], op.from === 'abs' ? `[${k}]` : `[x + ${k}]`);
    case 'load-constant':
      return line(op.register === 'a' ? 'ld' : 'ldx', hex);
    case 'load-length':
      return line(op.register === 'a' ? 'ld' : 'ldx', '#pktlen');
    case 'load-scratch':
      return line(op.register === 'a' ? 'ld' : 'ldx', `M[${k}]`);
    case 'store':
      return line(op.register === 'a' ? 'st' : 'stx', `M[${k}]`);
    case 'load-header-length':
      return line('ldxb', `4*([${k}]&0xf)`);
    case 'alu': {
      if (op.op === 'neg') return 'neg';
      const decimal = op.op === 'and' || op.op === 'or' || op.op === 'xor' ? hex : `#${k}`;
      return line(op.op, op.operand === 'x' ? 'x' : decimal);
    }
    case 'jump':
      return line('ja', String(at + 1 + k));
    case 'branch':
      return `${line(op.op, op.operand === 'x' ? 'x' : hex).padEnd(26)}jt ${at + 1 + jt}\tjf ${at + 1 + jf}`;
    case 'tax':
    case 'txa':
      return op.kind;
    case 'return':
      return line('ret', op.operand === 'a' ? '' : `#${k}`).trimEnd();
  }
}

function line(name: string, operand: string): string {
  return `${name.padEnd(8)} ${operand}`;
}

/** As `tcpdump -d`. */
export function formatClassic(insns: readonly ClassicInsn[]): string {
  return insns
    .map((insn, at) => `(${String(at).padStart(3, '0')}) ${formatClassicInsn(insn, at)}`)
    .join('\n');
}

const C_ROW = /\{\s*(0x[0-9a-f]+|\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*,\s*(0x[0-9a-f]+|\d+)\s*\}/giy;

/** What `tcpdump -dd` or `-ddd` printed. Throws EINVAL with the place of what is neither. */
export function parseClassic(text: string): ClassicInsn[] {
  const insns = text.trimStart().startsWith('{') ? parseRows(text) : parseDecimal(text);
  if (insns.length > CLASSIC_MAX_INSNS)
    throw new BpfError('EINVAL', `a classic program has at most ${CLASSIC_MAX_INSNS} instructions`);
  return insns;
}

function parseRows(text: string): ClassicInsn[] {
  const insns: ClassicInsn[] = [];
  let at = 0;
  while (at < text.length) {
    while (at < text.length && /[\s,]/.test(text[at]!)) at++;
    if (at >= text.length) break;
    C_ROW.lastIndex = at;
    const match = C_ROW.exec(text);
    if (match === null)
      throw new BpfError('EINVAL', `expected { code, jt, jf, k } at '${text.slice(at, at + 20)}'`);
    insns.push(makeInsn(match.slice(1, 5).map(Number)));
    at = C_ROW.lastIndex;
  }
  return insns;
}

/** The number of instructions, then one a line; also `count,code jt jf k,…` as iptables takes it. */
function parseDecimal(text: string): ClassicInsn[] {
  const [first = '', ...rows] = text.trim().split(/[\n,]/);
  const count = Number(first);
  if (!/^\d+$/.test(first.trim()) || rows.length !== count)
    throw new BpfError(
      'EINVAL',
      `expected a number of instructions and as many lines, not '${first.slice(0, 20)}' and ${rows.length}`,
    );
  return rows.map((row) => {
    const numbers = row.trim().split(/\s+/);
    if (numbers.length !== 4 || numbers.some((word) => !/^\d+$/.test(word)))
      throw new BpfError('EINVAL', `expected 'code jt jf k', not '${row.slice(0, 40)}'`);
    return makeInsn(numbers.map(Number));
  });
}

function makeInsn([code, jt, jf, k]: number[]): ClassicInsn {
  if (code! > 0xffff || jt! > 0xff || jf! > 0xff || k! > 0xffff_ffff)
    throw new BpfError('EINVAL', `'${code} ${jt} ${jf} ${k}' does not fit an instruction`);
  return { code: code!, jt: jt!, jf: jf!, k: k! };
}
