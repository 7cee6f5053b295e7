/** Comparisons made simpler. They keep the value that goes on as their operand: what the verifier learns is then said of it. */
import {
  bitsOf,
  type Const,
  constant,
  type Inst,
  isConst,
  isConstOf,
  type Predicate,
  SWAPPED,
  sameValue,
  setArg,
  setArgs,
  signedValue,
  type Value,
} from '../ir/index.ts';
import { foldCompare, isPowerOf2, swapBytes } from './arithmetic.ts';
import { choiceOf } from './folder.ts';
import { possibleBits } from './known-bits.ts';

export function simplifyCompare(inst: Inst): Value | undefined {
  let [a, b] = inst.args as [Value, Value];
  const truth = (value: boolean): Const => constant('i1', value ? 1n : 0n);
  if (isConst(a) && isConst(b)) return truth(foldCompare(inst.pred, a.type, a.value, b.value));
  if (isConst(a)) {
    setArgs(inst, [b, a]);
    inst.pred = SWAPPED[inst.pred];
    [a, b] = [b, a];
  }
  const { pred } = inst;
  if (sameValue(a, b)) return truth(pred === 'eq' || (/e$/.test(pred) && pred !== 'ne'));
  if (a.kind === 'undef' || b.kind === 'undef') return truth(false);
  // The address of an object is not null.
  if (
    isConstOf(b, 0n) &&
    (a.kind === 'global' || a.kind === 'function') &&
    (pred === 'eq' || pred === 'ne')
  ) {
    const weak = a.linkage === 'extern-weak' || a.linkage === 'extern';
    if (!weak) return truth(pred === 'ne');
  }
  if (isConstOf(b, 0n) && a.kind === 'inst' && a.op === 'alloca')
    return truth(pred === 'ne' || pred === 'ugt');
  if (!isConst(b)) return undefined;
  if (a.type === 'i1') {
    // A truth value against a constant.
    if ((pred === 'ne' && b.value === 0n) || (pred === 'eq' && b.value === 1n)) return a;
    if ((pred === 'eq' && b.value === 0n) || (pred === 'ne' && b.value === 1n)) {
      inst.op = 'xor';
      setArgs(inst, [a, constant('i1', 1n)]);
      return inst;
    }
    return undefined;
  }
  const bits = BigInt(bitsOf(a.type));
  const all = (1n << bits) - 1n;
  // Always or never.
  if (pred === 'ult' && b.value === 0n) return truth(false);
  if (pred === 'uge' && b.value === 0n) return truth(true);
  if (pred === 'ugt' && b.value === all) return truth(false);
  if (pred === 'ule' && b.value === all) return truth(true);
  const possible = possibleBits(a);
  if (possible < all) {
    if (pred === 'ugt' && possible <= b.value) return truth(false);
    if (pred === 'ule' && possible <= b.value) return truth(true);
    if (pred === 'ult' && possible < b.value) return truth(true);
    if (pred === 'uge' && possible < b.value) return truth(false);
    if (pred === 'eq' && (b.value & ~possible) !== 0n) return truth(false);
    if (pred === 'ne' && (b.value & ~possible) !== 0n) return truth(true);
    if (possible >> (bits - 1n) === 0n) {
      if (pred === 'slt' && signedValue(b) <= 0n) return truth(false);
      if (pred === 'sge' && signedValue(b) <= 0n) return truth(true);
      if (pred === 'sgt' && signedValue(b) < 0n) return truth(true);
      if (pred === 'sle' && signedValue(b) < 0n) return truth(false);
    }
  }
  if (pred === 'ult' && b.value === 1n) {
    inst.pred = 'eq';
    setArg(inst, 1, constant(b.type, 0n));
    return inst;
  }
  if (a.kind !== 'inst') return undefined;
  // zext(x) ? c is x ? c where c fits; the check then is on the register that was loaded.
  if (a.op === 'zext') {
    const inner = a.args[0]!;
    if (inner.type === 'i1') {
      if (b.value > 1n) return truth(/^ne$|^ul|^sl/.test(pred));
      if (pred === 'ne' || pred === 'eq') {
        setArgs(inst, [inner, constant('i1', b.value)]);
        return inst;
      }
      return undefined;
    }
    if (b.value < 1n << BigInt(bitsOf(inner.type)) && (a.users.size === 1 || bitsOf(inner.type) < 32)) {
      const signed = /^s/.test(pred);
      setArgs(inst, [inner, constant(inner.type, b.value)]);
      if (signed) inst.pred = pred.replace('s', 'u') as Predicate;
      return inst;
    }
    return undefined;
  }
  if (a.op === 'sext' && a.args[0]!.type !== 'i1' && a.users.size === 1) {
    const inner = a.args[0]!;
    const narrow = constant(inner.type, b.value);
    if (BigInt.asUintN(Number(bits), signedValue(narrow)) === b.value) {
      setArgs(inst, [inner, narrow]);
      return inst;
    }
  }
  if (a.op === 'ptrtoint' && (pred === 'eq' || pred === 'ne')) {
    setArgs(inst, [a.args[0]!, constant('ptr', b.value)]);
    return inst;
  }
  if (a.op === 'inttoptr' && (pred === 'eq' || pred === 'ne') && a.users.size === 1) {
    setArgs(inst, [a.args[0]!, constant('i64', b.value)]);
    return inst;
  }
  if ((pred === 'eq' || pred === 'ne') && a.users.size === 1 && isConst(a.args[1])) {
    const by = a.args[1];
    if (a.op === 'add' || a.op === 'xor') {
      const moved = a.op === 'add' ? b.value - by.value : b.value ^ by.value;
      setArgs(inst, [a.args[0]!, constant(a.type, moved)]);
      return inst;
    }
    // Swapped bytes compare with the swapped constant.
  }
  if (
    (pred === 'eq' || pred === 'ne') &&
    a.op === 'bswap' &&
    a.users.size === 1 &&
    bitsOf(a.mem) === bitsOf(a.type)
  ) {
    setArgs(inst, [a.args[0]!, constant(a.type, swapBytes(b.value, bitsOf(a.mem)))]);
    return inst;
  }
  if ((pred === 'eq' || pred === 'ne') && b.value === 0n && a.op === 'sub') {
    setArgs(inst, [a.args[0]!, a.args[1]!]);
    return inst;
  }
  if (a.op === 'lshr' && isConst(a.args[1]) && a.args[1].value < bits) {
    // Of the value itself: the verifier then learns the bounds of what goes on.
    const by = a.args[1].value;
    const below = pred === 'eq' || pred === 'ule' ? b.value + 1n : b.value;
    const isBelow = pred === 'ult' || pred === 'ule' || (pred === 'eq' && b.value === 0n);
    const isAbove = pred === 'uge' || pred === 'ugt' || (pred === 'ne' && b.value === 0n);
    const first = isAbove && (pred === 'ugt' || pred === 'ne') ? b.value + 1n : below;
    if ((isBelow || isAbove) && first << by <= all) {
      inst.pred = isBelow ? 'ult' : 'uge';
      setArgs(inst, [a.args[0]!, constant(a.type, first << by)]);
      return inst;
    }
  }
  if ((pred === 'eq' || pred === 'ne') && b.value === 0n && a.op === 'and' && isConst(a.args[1])) {
    // No bit above the lowest of the mask.
    const mask = a.args[1].value;
    const low = all - mask + 1n;
    if (mask !== 0n && isPowerOf2(low) && low > 1n && bits >= 32n) {
      inst.pred = pred === 'eq' ? 'ult' : 'uge';
      setArgs(inst, [a.args[0]!, constant(a.type, low)]);
      return inst;
    }
  }
  const found = choiceOf(a);
  if (found !== undefined) {
    const first = foldCompare(pred, b.type, found.yes, b.value);
    const second = foldCompare(pred, b.type, found.no, b.value);
    if (first === second) return truth(first);
    if (first) return found.cond;
    inst.op = 'xor';
    setArgs(inst, [found.cond, constant('i1', 1n)]);
    return inst;
  }
  return undefined;
}
