/**
 * What is known of a number while compiling: bits that are 0 or 1, and bounds without and with sign. Transfer functions of all
 * operations, as the machine does them (RFC 9669 section 4.1).
 *
 * `soft` facts are true, but the kernel's verifier does not find them (divisions, shifts by a number that is not known, results of
 * byte swaps): a mask or a check that the program needs for a pointer must not go because of one.
 */
import { bitsOf, type Const, FLAG, type Inst, type Predicate, type Value } from '../ir/index.ts';
import { swapBytes } from './arithmetic.ts';
import { maskOf, signBit, upTo } from './masks.ts';

export interface Facts {
  readonly bits: number;
  /** Bits known to be 0, and to be 1. */
  readonly zero: bigint;
  readonly one: bigint;
  readonly umin: bigint;
  readonly umax: bigint;
  readonly smin: bigint;
  readonly smax: bigint;
  readonly soft: boolean;
}

const smaller = (a: bigint, b: bigint): bigint => (a < b ? a : b);
const larger = (a: bigint, b: bigint): bigint => (a > b ? a : b);

const UNKNOWN: readonly Facts[] = Array.from({ length: 65 }, (_, bits) => ({
  bits,
  zero: 0n,
  one: 0n,
  umin: 0n,
  umax: maskOf(bits),
  smin: -signBit(bits),
  smax: maskOf(bits) >> 1n,
  soft: false,
}));

export const unknown = (bits: number): Facts => UNKNOWN[bits]!;

export const isKnown = (facts: Facts): boolean => facts.umin === facts.umax;
export const isNonNegative = (facts: Facts): boolean => facts.smin >= 0n;

export function exactly(bits: number, value: bigint): Facts {
  const all = maskOf(bits);
  const unsigned = value & all;
  const signed = BigInt.asIntN(bits, unsigned);
  return {
    bits,
    zero: all & ~unsigned,
    one: unsigned,
    umin: unsigned,
    umax: unsigned,
    smin: signed,
    smax: signed,
    soft: false,
  };
}

/** Draws from each kind of knowledge what it says about the others. Contradictions (code that is not reached) give back what is given. */
function make(
  bits: number,
  zero: bigint,
  one: bigint,
  umin: bigint,
  umax: bigint,
  smin: bigint,
  smax: bigint,
  soft: boolean,
): Facts {
  const all = maskOf(bits);
  const half = signBit(bits);
  for (let round = 0; round < 2; round++) {
    umin = larger(umin, one);
    umax = smaller(umax, all & ~zero);
    // Within one half of the circle signed and unsigned order are the same.
    if (umax < half || umin >= half) {
      smin = larger(smin, BigInt.asIntN(bits, umin));
      smax = smaller(smax, BigInt.asIntN(bits, umax));
    }
    if (smin >= 0n || smax < 0n) {
      umin = larger(umin, smin & all);
      umax = smaller(umax, smax & all);
    }
    if (umin > umax || smin > smax) return { ...unknown(bits), soft };
    // Leading bits that the bounds share.
    const fixed = all & ~upTo(umin ^ umax);
    one |= umin & fixed;
    zero |= ~umin & fixed;
    if ((one & zero) !== 0n) return { ...unknown(bits), soft };
  }
  return { bits, zero, one, umin, umax, smin, smax, soft };
}

const fromUnsigned = (bits: number, umin: bigint, umax: bigint, soft: boolean): Facts =>
  make(bits, 0n, 0n, umin, umax, unknown(bits).smin, unknown(bits).smax, soft);
const fromSigned = (bits: number, smin: bigint, smax: bigint, soft: boolean): Facts =>
  make(bits, 0n, 0n, 0n, maskOf(bits), smin, smax, soft);
const fromBits = (bits: number, zero: bigint, one: bigint, soft: boolean): Facts =>
  make(bits, zero, one, 0n, maskOf(bits), unknown(bits).smin, unknown(bits).smax, soft);

/** Either of the two. */
export function union(a: Facts, b: Facts): Facts {
  if (a === b) return a;
  return make(
    a.bits,
    a.zero & b.zero,
    a.one & b.one,
    smaller(a.umin, b.umin),
    larger(a.umax, b.umax),
    smaller(a.smin, b.smin),
    larger(a.smax, b.smax),
    a.soft || b.soft,
  );
}

/** Both. */
export function intersect(a: Facts, b: Facts): Facts {
  return make(
    a.bits,
    a.zero | b.zero,
    a.one | b.one,
    larger(a.umin, b.umin),
    smaller(a.umax, b.umax),
    larger(a.smin, b.smin),
    smaller(a.smax, b.smax),
    a.soft || b.soft,
  );
}

export const sameFacts = (a: Facts, b: Facts): boolean =>
  a.zero === b.zero &&
  a.one === b.one &&
  a.umin === b.umin &&
  a.umax === b.umax &&
  a.smin === b.smin &&
  a.smax === b.smax &&
  a.soft === b.soft;

/** What moved since `before` is let go: loops end. */
export function widen(before: Facts, now: Facts): Facts {
  const none = unknown(now.bits);
  return make(
    now.bits,
    before.zero & now.zero,
    before.one & now.one,
    now.umin < before.umin ? none.umin : now.umin,
    now.umax > before.umax ? none.umax : now.umax,
    now.smin < before.smin ? none.smin : now.smin,
    now.smax > before.smax ? none.smax : now.smax,
    now.soft,
  );
}

/** Sums and differences of bits: those that no carry can change are known (as the kernel's tnum_add and tnum_sub). */
function sumBits(a: Facts, b: Facts, subtract: boolean): { zero: bigint; one: bigint } {
  const all = maskOf(a.bits);
  const ma = all & ~(a.zero | a.one);
  const mb = all & ~(b.zero | b.one);
  let mu: bigint;
  let value: bigint;
  if (subtract) {
    value = a.one - b.one;
    mu = ((value + ma) ^ (value - mb)) | ma | mb;
  } else {
    value = a.one + b.one;
    mu = ((value + ma + mb) ^ value) | ma | mb;
  }
  const one = value & ~mu & all;
  return { one, zero: all & ~(one | mu) };
}

function addOrSub(a: Facts, b: Facts, subtract: boolean, inst: Inst): Facts {
  const { bits } = a;
  const all = maskOf(bits);
  const none = unknown(bits);
  const { zero, one } = sumBits(a, b, subtract);
  let umin = subtract ? a.umin - b.umax : a.umin + b.umin;
  let umax = subtract ? a.umax - b.umin : a.umax + b.umax;
  // All sums wrap, or none does.
  if (umin > all) {
    umin &= all;
    umax &= all;
  } else if (umax < 0n) {
    umin &= all;
    umax &= all;
  }
  if (umin < 0n || umax > all) {
    umin = 0n;
    umax = all;
  }
  let smin = subtract ? a.smin - b.smax : a.smin + b.smin;
  let smax = subtract ? a.smax - b.smin : a.smax + b.smax;
  let soft = a.soft || b.soft;
  if (smin < none.smin || smax > none.smax) {
    if (inst.has(FLAG.NSW)) {
      // What overflows is undefined; the verifier does not know of it.
      soft ||= smin >= none.smin || smax <= none.smax;
      smin = larger(smin, none.smin);
      smax = smaller(smax, none.smax);
    } else {
      smin = none.smin;
      smax = none.smax;
    }
  }
  return make(bits, zero, one, umin, umax, smin, smax, soft);
}

function multiply(a: Facts, b: Facts): Facts {
  const { bits } = a;
  const all = maskOf(bits);
  const none = unknown(bits);
  const soft = a.soft || b.soft;
  const low = (facts: Facts): bigint => {
    // Trailing zeros.
    const maybe = all & ~facts.zero;
    return maybe === 0n ? 1n << BigInt(bits) : maybe & -maybe;
  };
  const zero = (low(a) * low(b) - 1n) & all;
  const top = a.umax * b.umax;
  if (top <= all) {
    const facts = make(bits, zero, 0n, a.umin * b.umin, top, none.smin, none.smax, soft);
    return facts;
  }
  const corners = [a.smin * b.smin, a.smin * b.smax, a.smax * b.smin, a.smax * b.smax];
  const smin = corners.reduce(smaller);
  const smax = corners.reduce(larger);
  if (smin >= none.smin && smax <= none.smax) return make(bits, zero, 0n, 0n, all, smin, smax, soft);
  return fromBits(bits, zero, 0n, soft);
}

function divide(op: string, a: Facts, b: Facts): Facts {
  const { bits } = a;
  const byZero = b.umin === 0n;
  switch (op) {
    case 'udiv':
      return fromUnsigned(bits, byZero ? 0n : a.umin / b.umax, a.umax / larger(b.umin, 1n), true);
    case 'urem':
      if (a.umax < b.umin) return { ...a, soft: true };
      return fromUnsigned(bits, 0n, byZero ? a.umax : smaller(a.umax, b.umax - 1n), true);
    case 'sdiv':
      if (a.smin >= 0n && b.smin >= 0n) return divide('udiv', a, b);
      if (b.smin >= 1n)
        return fromSigned(bits, smaller(0n, a.smin / b.smin), larger(0n, a.smax / b.smin), true);
      return { ...unknown(bits), soft: true };
    default: {
      if (a.smin >= 0n && b.smin >= 0n) return divide('urem', a, b);
      if (byZero || (b.smin <= 0n && b.smax >= 0n))
        return fromSigned(bits, smaller(0n, a.smin), larger(0n, a.smax), true);
      // The sign is that of the dividend, the size below that of the divisor.
      const size = larger(b.smin < 0n ? -b.smin : b.smin, b.smax < 0n ? -b.smax : b.smax) - 1n;
      return fromSigned(
        bits,
        a.smin >= 0n ? 0n : larger(a.smin, -size),
        a.smax <= 0n ? 0n : smaller(a.smax, size),
        true,
      );
    }
  }
}

function shift(op: string, a: Facts, amount: Facts): Facts {
  const { bits } = a;
  const all = maskOf(bits);
  const width = BigInt(bits);
  let low = amount.umin;
  let high = amount.umax;
  if (high >= width) {
    // The machine takes the amount modulo the width.
    if (low === high) low = high = low & (width - 1n);
    else {
      low = 0n;
      high = width - 1n;
    }
  }
  const soft = a.soft || amount.soft || low !== high;
  switch (op) {
    case 'shl': {
      if (low === high) {
        const zero = ((a.zero << low) | ((1n << low) - 1n)) & all;
        const one = (a.one << low) & all;
        if (a.umax << low <= all)
          return make(
            bits,
            zero,
            one,
            a.umin << low,
            a.umax << low,
            unknown(bits).smin,
            unknown(bits).smax,
            soft,
          );
        return fromBits(bits, zero, one, soft);
      }
      if (a.umax << high <= all) return fromUnsigned(bits, a.umin << low, a.umax << high, soft);
      const maybe = all & ~a.zero;
      const zero = maybe === 0n ? all : ((maybe & -maybe) - 1n) | ((1n << low) - 1n);
      return fromBits(bits, zero & all, 0n, soft);
    }
    case 'lshr': {
      const range = fromUnsigned(bits, a.umin >> high, a.umax >> low, soft);
      if (low !== high) return range;
      const zero = ((a.zero >> low) | (all & ~(all >> low))) & all;
      return intersect(range, fromBits(bits, zero, a.one >> low, soft));
    }
    default: {
      const smin = a.smin >> (a.smin < 0n ? low : high);
      const smax = a.smax >> (a.smax < 0n ? high : low);
      const range = fromSigned(bits, smin, smax, soft);
      if (low !== high) return range;
      const zero = BigInt.asIntN(bits, a.zero) >> low;
      const one = BigInt.asIntN(bits, a.one) >> low;
      return intersect(range, fromBits(bits, zero & all, one & all, soft));
    }
  }
}

/** Facts of an instruction from those of its operands; phis are the caller's. Undefined for what is no number. */
export function transfer(inst: Inst, of: (value: Value) => Facts): Facts {
  const bits = bitsOf(inst.type);
  const [x, y, z] = inst.args;
  switch (inst.op) {
    case 'add':
    case 'sub':
      return addOrSub(of(x!), of(y!), inst.op === 'sub', inst);
    case 'mul':
      return multiply(of(x!), of(y!));
    case 'udiv':
    case 'urem':
    case 'sdiv':
    case 'srem':
      return divide(inst.op, of(x!), of(y!));
    case 'shl':
    case 'lshr':
    case 'ashr':
      return shift(inst.op, of(x!), of(y!));
    case 'and': {
      const a = of(x!);
      const b = of(y!);
      const zero = a.zero | b.zero;
      // A constant mask is what the verifier knows too.
      const soft = isKnown(b) && a.soft ? (~zero & b.one) !== b.one : a.soft || b.soft;
      return make(
        bits,
        zero,
        a.one & b.one,
        0n,
        smaller(a.umax, b.umax),
        unknown(bits).smin,
        unknown(bits).smax,
        soft,
      );
    }
    case 'or': {
      const a = of(x!);
      const b = of(y!);
      return make(
        bits,
        a.zero & b.zero,
        a.one | b.one,
        larger(a.umin, b.umin),
        maskOf(bits),
        unknown(bits).smin,
        unknown(bits).smax,
        a.soft || b.soft,
      );
    }
    case 'xor': {
      const a = of(x!);
      const b = of(y!);
      return fromBits(
        bits,
        (a.zero & b.zero) | (a.one & b.one),
        (a.zero & b.one) | (a.one & b.zero),
        a.soft || b.soft,
      );
    }
    case 'zext': {
      const a = of(x!);
      const above = maskOf(bits) & ~maskOf(a.bits);
      return make(
        bits,
        a.zero | above,
        a.one,
        a.umin,
        a.umax,
        unknown(bits).smin,
        unknown(bits).smax,
        a.soft,
      );
    }
    case 'sext': {
      const a = of(x!);
      const all = maskOf(bits);
      const wide = (mask: bigint): bigint => BigInt.asIntN(a.bits, mask) & all;
      return make(bits, wide(a.zero), wide(a.one), 0n, all, a.smin, a.smax, a.soft);
    }
    case 'trunc': {
      const a = of(x!);
      const all = maskOf(bits);
      const none = unknown(bits);
      const same = a.umin >> BigInt(bits) === a.umax >> BigInt(bits);
      const signed = a.smin >= none.smin && a.smax <= none.smax;
      return make(
        bits,
        a.zero & all,
        a.one & all,
        same ? a.umin & all : 0n,
        same ? a.umax & all : all,
        signed ? a.smin : none.smin,
        signed ? a.smax : none.smax,
        a.soft,
      );
    }
    case 'bswap': {
      const a = of(x!);
      const width = bitsOf(inst.mem);
      const zero = swapBytes(a.zero & maskOf(width), width) | (maskOf(bits) & ~maskOf(width));
      return fromBits(bits, zero, swapBytes(a.one & maskOf(width), width), true);
    }
    case 'load': {
      const width = bitsOf(inst.mem);
      if (width >= bits) return unknown(bits);
      return inst.has(FLAG.SIGNED)
        ? fromSigned(bits, unknown(width).smin, unknown(width).smax, false)
        : fromUnsigned(bits, 0n, maskOf(width), false);
    }
    case 'select': {
      const c = of(x!);
      if (isKnown(c)) return of(c.umin === 0n ? z! : y!);
      return union(of(y!), of(z!));
    }
    case 'icmp': {
      const decided = decide(inst.pred, of(x!), of(y!));
      return decided === undefined ? unknown(1) : exactly(1, decided ? 1n : 0n);
    }
    default:
      return unknown(bits);
  }
}

/** The result of a comparison, where the facts of both sides tell. */
export function decide(pred: Predicate, a: Facts, b: Facts): boolean | undefined {
  switch (pred) {
    case 'eq':
    case 'ne': {
      const same = pred === 'eq';
      if (isKnown(a) && isKnown(b) && a.umin === b.umin) return same;
      const apart =
        a.umax < b.umin ||
        b.umax < a.umin ||
        a.smax < b.smin ||
        b.smax < a.smin ||
        (a.one & b.zero) !== 0n ||
        (a.zero & b.one) !== 0n;
      return apart ? !same : undefined;
    }
    case 'ult':
      return a.umax < b.umin ? true : a.umin >= b.umax ? false : undefined;
    case 'ule':
      return a.umax <= b.umin ? true : a.umin > b.umax ? false : undefined;
    case 'slt':
      return a.smax < b.smin ? true : a.smin >= b.smax ? false : undefined;
    case 'sle':
      return a.smax <= b.smin ? true : a.smin > b.smax ? false : undefined;
    case 'ugt':
      return decide('ult', b, a);
    case 'uge':
      return decide('ule', b, a);
    case 'sgt':
      return decide('slt', b, a);
    case 'sge':
      return decide('sle', b, a);
  }
}

/** What is known of the left side where the comparison is true. */
export function refine(pred: Predicate, a: Facts, b: Facts): Facts {
  const { bits } = a;
  const none = unknown(bits);
  const soft = a.soft || b.soft;
  const bounds = (umin: bigint, umax: bigint, smin: bigint, smax: bigint): Facts =>
    intersect(a, make(bits, 0n, 0n, umin, umax, smin, smax, soft));
  const { umin, umax, smin, smax } = none;
  switch (pred) {
    case 'eq':
      return intersect(a, b);
    case 'ne': {
      if (!isKnown(b)) return a;
      const low = a.umin === b.umin ? a.umin + 1n : a.umin;
      const high = a.umax === b.umin ? a.umax - 1n : a.umax;
      const below = a.smin === b.smin ? a.smin + 1n : a.smin;
      const above = a.smax === b.smin ? a.smax - 1n : a.smax;
      if (low > high || below > above) return a;
      return bounds(low, high, below, above);
    }
    case 'ult':
      return b.umax === 0n ? a : bounds(umin, b.umax - 1n, smin, smax);
    case 'ule':
      return bounds(umin, b.umax, smin, smax);
    case 'ugt':
      return b.umin === umax ? a : bounds(b.umin + 1n, umax, smin, smax);
    case 'uge':
      return bounds(b.umin, umax, smin, smax);
    case 'slt':
      return b.smax === smin ? a : bounds(umin, umax, smin, b.smax - 1n);
    case 'sle':
      return bounds(umin, umax, smin, b.smax);
    case 'sgt':
      return b.smin === smax ? a : bounds(umin, umax, b.smin + 1n, smax);
    case 'sge':
      return bounds(umin, umax, b.smin, smax);
  }
}

/** Facts of a constant or of something that nothing is known of. */
export const ofLeaf = (value: Value): Facts =>
  value.kind === 'const' ? exactly(bitsOf(value.type), (value as Const).value) : unknown(bitsOf(value.type));
