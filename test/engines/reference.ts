/** What each arithmetic and jump instruction means, written down once more in bigint, after RFC 9669 sections 4.1 to 4.3. */
import type { InsnRow } from '../../src/asm/index.ts';

const u = (bits: number, v: bigint): bigint => BigInt.asUintN(bits, v);
const s = (bits: number, v: bigint): bigint => BigInt.asIntN(bits, v);

function reverse(bits: number, v: bigint): bigint {
  let out = 0n;
  for (let i = 0; i < bits; i += 8) out = (out << 8n) | ((v >> BigInt(i)) & 0xffn);
  return out;
}

/** R_dst after the instruction; `a` and `b` are the whole 64-bit operands (an immediate: sign-extended). */
export function aluResult(row: InsnRow, a: bigint, b: bigint): bigint {
  const n = row.group === 'alu64' ? 64 : 32;
  const x = u(n, a);
  const y = u(n, b);
  const amount = y % BigInt(n);
  const end = (v: bigint): bigint => u(n, v);
  switch (row.op) {
    case 'add':
      return end(x + y);
    case 'sub':
      return end(x - y);
    case 'mul':
      return end(x * y);
    case 'div':
      return y === 0n ? 0n : end(x / y);
    case 'mod':
      return y === 0n ? x : end(x % y);
    case 'sdiv':
      return y === 0n ? 0n : end(s(n, x) / s(n, y));
    case 'smod':
      return y === 0n ? x : end(s(n, x) % s(n, y));
    case 'or':
      return x | y;
    case 'and':
      return x & y;
    case 'xor':
      return x ^ y;
    case 'lsh':
      return end(x << amount);
    case 'rsh':
      return x >> amount;
    case 'arsh':
      return end(s(n, x) >> amount);
    case 'mov':
      return y;
    case 'neg':
      return end(-x);
    case 'movsx':
      return end(s(row.fixed.off!, b));
    case 'le':
      return u(row.width, a);
    case 'be':
    case 'bswap':
      return reverse(row.width, u(row.width, a));
    default:
      throw new Error(`no reference for ${row.name}`);
  }
}

export function jumpTaken(row: InsnRow, a: bigint, b: bigint): boolean {
  const n = row.width;
  const x = u(n, a);
  const y = u(n, b);
  const sx = s(n, a);
  const sy = s(n, b);
  const outcomes: Readonly<Record<string, boolean>> = {
    jeq: x === y,
    jne: x !== y,
    jgt: x > y,
    jge: x >= y,
    jlt: x < y,
    jle: x <= y,
    jset: (x & y) !== 0n,
    jsgt: sx > sy,
    jsge: sx >= sy,
    jslt: sx < sy,
    jsle: sx <= sy,
  };
  return outcomes[row.op]!;
}

/** Memory, source register and R0 after an atomic instruction (RFC 9669 section 5.3). */
export function atomicResult(
  row: InsnRow,
  memory: bigint,
  source: bigint,
  r0: bigint,
): { memory: bigint; source: bigint; r0: bigint } {
  const n = row.width;
  const old = u(n, memory);
  const y = u(n, source);
  if (row.op === 'atomic_cmpxchg') return { memory: old === u(n, r0) ? y : old, source, r0: old };
  const next: Readonly<Record<string, bigint>> = {
    add: u(n, old + y),
    or: old | y,
    and: old & y,
    xor: old ^ y,
    xchg: y,
  };
  const [, fetch, name] = /^atomic_(fetch_)?(\w+)$/.exec(row.op)!;
  const fetches = fetch !== undefined || name === 'xchg';
  return { memory: next[name!]!, source: fetches ? old : source, r0 };
}
