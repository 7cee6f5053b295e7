/** Arithmetic made simpler: constants, identities, shorter forms. */
import {
  type BinaryOp,
  bitsOf,
  constant,
  FLAG,
  INVERSE,
  type Inst,
  isConst,
  isConstOf,
  sameValue,
  setArg,
  setArgs,
  signedValue,
  undef,
  type Value,
} from '../ir/index.ts';
import { foldBinary, isPowerOf2, log2 } from './arithmetic.ts';
import { choiceOf, type Folder, intoPhi } from './folder.ts';
import { possibleBits } from './known-bits.ts';
import { maskOf, signBit } from './masks.ts';

const COMMUTATIVE: ReadonlySet<string> = new Set(['add', 'mul', 'and', 'or', 'xor']);

export function simplifyBinary(inst: Inst, op: BinaryOp, folder: Folder): Value | undefined {
  let [a, b] = inst.args as [Value, Value];
  const { type } = inst;
  if (isConst(a) && isConst(b)) {
    const folded = foldBinary(op, type, a.value, b.value);
    return folded === undefined ? undefined : constant(type, folded);
  }
  if (isConst(a) && COMMUTATIVE.has(op)) {
    setArgs(inst, [b, a]);
    [a, b] = [b, a];
  }
  const zero = constant(type, 0n);
  if (a.kind === 'undef' || b.kind === 'undef') return op === 'and' || op === 'mul' ? zero : undef(type);
  const all = maskOf(bitsOf(type));
  if (sameValue(a, b)) {
    if (op === 'sub' || op === 'xor') return zero;
    if (op === 'and' || op === 'or') return a;
  }
  if (op === 'sdiv' || op === 'srem') {
    const sign = signBit(bitsOf(type));
    if (((possibleBits(a) | possibleBits(b)) & sign) === 0n) {
      inst.op = op === 'sdiv' ? 'udiv' : 'urem';
      return inst;
    }
  }
  // A choice of constants, with a constant: a choice of results.
  for (const [choice, other, flipped] of [
    [a, b, false],
    [b, a, true],
  ] as const) {
    if (!isConst(other) || choice.kind !== 'inst' || choice.users.size !== 1) continue;
    const found = choiceOf(choice);
    if (found === undefined || type === 'i1') continue;
    // x & 1 of a truth value, and the like, have rules of their own.
    const apply = (n: bigint): bigint | undefined =>
      flipped ? foldBinary(op, type, other.value, n) : foldBinary(op, type, n, other.value);
    const first = apply(found.yes);
    const second = apply(found.no);
    if (first === undefined || second === undefined) continue;
    inst.op = 'select';
    inst.flags = 0;
    setArgs(inst, [found.cond, constant(type, first), constant(type, second)]);
    return inst;
  }
  if (isConst(b)) {
    const phi = intoPhi(inst, folder, (n) => {
      const folded = foldBinary(op, type, n, b.value);
      return folded === undefined ? undefined : constant(type, folded);
    });
    if (phi !== undefined) return phi;
  }
  if (!isConst(b)) {
    if (isConst(a) && a.value === 0n && (op === 'shl' || op === 'lshr' || op === 'ashr')) return zero;
    // (p + x) - p
    if (
      op === 'sub' &&
      a.kind === 'inst' &&
      b.kind === 'inst' &&
      a.op === 'ptrtoint' &&
      b.op === 'ptrtoint'
    ) {
      const x = a.args[0]!;
      const y = b.args[0]!;
      if (x.kind === 'inst' && x.op === 'ptradd' && x.args[0] === y) return x.args[1];
    }
    if (op === 'sub' && a.kind === 'inst' && a.op === 'add') {
      if (a.args[0] === b) return a.args[1];
      if (a.args[1] === b) return a.args[0];
    }
    if (op === 'add' && b.kind === 'inst' && b.op === 'sub' && isConstOf(b.args[0], 0n)) {
      inst.op = 'sub';
      setArgs(inst, [a, b.args[1]!]);
      return inst;
    }
    return undefined;
  }
  const n = b.value;
  switch (op) {
    case 'add':
    case 'sub':
      if (n === 0n) return a;
      if (op === 'sub') {
        inst.op = 'add';
        // -n may wrap where n did not.
        inst.flags &= ~FLAG.NUW;
        setArg(inst, 1, constant(type, -n));
        return inst;
      }
      if (a.kind === 'inst' && a.op === 'add' && isConst(a.args[1])) {
        const sum = constant(type, n + a.args[1].value);
        inst.flags &= a.flags;
        // Both signs the same: no overflow in between either.
        if (signedValue(b) < 0n !== signedValue(a.args[1]) < 0n) inst.flags &= ~FLAG.NSW;
        setArgs(inst, [a.args[0]!, sum]);
        return inst;
      }
      return undefined;
    case 'mul':
      if (n === 0n) return zero;
      if (n === 1n) return a;
      if (n === all) {
        inst.op = 'sub';
        setArgs(inst, [zero, a]);
        return inst;
      }
      if (isPowerOf2(n)) {
        inst.op = 'shl';
        inst.flags &= ~FLAG.NSW;
        setArg(inst, 1, constant(type, log2(n)));
        return inst;
      }
      return undefined;
    case 'udiv':
      if (n === 1n) return a;
      if (isPowerOf2(n)) {
        inst.op = 'lshr';
        setArg(inst, 1, constant(type, log2(n)));
        return inst;
      }
      return undefined;
    case 'urem':
      if (n === 1n) return zero;
      if (isPowerOf2(n)) {
        inst.op = 'and';
        setArg(inst, 1, constant(type, n - 1n));
        return inst;
      }
      return undefined;
    case 'sdiv':
    case 'srem': {
      if (n === 1n) return op === 'sdiv' ? a : zero;
      const sign = signBit(bitsOf(type));
      if ((possibleBits(a) & sign) === 0n && (n & sign) === 0n) {
        inst.op = op === 'sdiv' ? 'udiv' : 'urem';
        return inst;
      }
      if (n === all && op === 'sdiv') {
        inst.op = 'sub';
        setArgs(inst, [zero, a]);
        return inst;
      }
      // A power of two: shifts that round towards zero.
      if (isPowerOf2(n) && n !== sign) {
        const shift = log2(n);
        const width = BigInt(bitsOf(type));
        const fill = folder.before(inst, 'ashr', type, [a, constant(type, width - 1n)]);
        const bias = folder.before(inst, 'lshr', type, [fill, constant(type, width - shift)]);
        const sum = folder.before(inst, 'add', type, [a, bias]);
        if (op === 'sdiv') {
          inst.op = 'ashr';
          setArgs(inst, [sum, constant(type, shift)]);
        } else {
          const whole = folder.before(inst, 'and', type, [sum, constant(type, ~(n - 1n))]);
          inst.op = 'sub';
          setArgs(inst, [a, whole]);
        }
        inst.flags = 0;
        return inst;
      }
      return undefined;
    }
    case 'and':
      if (n === 0n) return zero;
      if (n === all) return a;
      if ((possibleBits(a) & ~n) === 0n) return a;
      if (a.kind === 'inst' && a.op === 'and' && isConst(a.args[1])) {
        setArgs(inst, [a.args[0]!, constant(type, n & a.args[1].value)]);
        return inst;
      }
      return undefined;
    case 'or':
      if (n === 0n) return a;
      if (n === all) return constant(type, all);
      if ((possibleBits(a) & ~n) === 0n) return b;
      return undefined;
    case 'xor':
      if (n === 0n) return a;
      if (type === 'i1' && a.kind === 'inst') {
        if (a.op === 'icmp' && a.users.size === 1) {
          a.pred = INVERSE[a.pred];
          return a;
        }
        if (a.op === 'icmp') {
          inst.op = 'icmp';
          inst.pred = INVERSE[a.pred];
          setArgs(inst, [...a.args]);
          return inst;
        }
        if (a.op === 'xor' && isConstOf(a.args[1], 1n)) return a.args[0];
      }
      if (a.kind === 'inst' && a.op === 'xor' && isConst(a.args[1])) {
        setArgs(inst, [a.args[0]!, constant(type, n ^ a.args[1].value)]);
        return inst;
      }
      return undefined;
    case 'shl':
    case 'lshr':
    case 'ashr': {
      if (n === 0n) return a;
      const width = BigInt(bitsOf(type));
      if (n >= width) return op === 'ashr' ? undefined : zero;
      if (a.kind === 'inst' && isConst(a.args[1])) {
        const m = a.args[1].value;
        if (a.op === op && n + m < width) {
          setArgs(inst, [a.args[0]!, constant(type, n + m)]);
          return inst;
        }
        if (a.op === op && op !== 'ashr') return zero;
        if (op === 'lshr' && a.op === 'shl' && n === m && all >> n <= 0x7fff_ffffn) {
          inst.op = 'and';
          setArgs(inst, [a.args[0]!, constant(type, all >> n)]);
          return inst;
        }
        if (op === 'shl' && a.op === 'lshr' && n === m && a.users.size === 1) {
          const mask = (all >> n) << n;
          if (BigInt.asIntN(32, mask) === BigInt.asIntN(bitsOf(type), mask)) {
            inst.op = 'and';
            setArgs(inst, [a.args[0]!, constant(type, mask)]);
            return inst;
          }
        }
      }
      if (op === 'ashr' && (possibleBits(a) & signBit(bitsOf(type))) === 0n) {
        inst.op = 'lshr';
        return inst;
      }
      if (op === 'lshr' && possibleBits(a) >> n === 0n) return zero;
      return undefined;
    }
  }
}
