/**
 * Truth values that are numbers, computed without a branch where the numbers that are compared leave a bit free: `a < b` is the sign of
 * `a - b`. To the kernel's verifier a branch makes two paths with a known number each, which later branches then walk apart.
 *
 * Invariant: numbers that a pointer, a call or a result depends on are compared by a branch, for there the verifier has to learn
 * their bounds on each path.
 */
import {
  BINARY_OPS,
  type Block,
  bitsOf,
  constant,
  detach,
  type Func,
  INVERSE,
  Inst,
  type IrType,
  isConst,
  linkPreds,
  type Predicate,
  pushArg,
  replaceUses,
  SWAPPED,
  signedValue,
  sweep,
  type Value,
} from '../ir/index.ts';
import { removeEdge } from './cfg.ts';
import type { Facts } from './facts.ts';
import type { Whole } from './interprocedural.ts';
import { possibleBits } from './known-bits.ts';
import { reachesPointer } from './pointed.ts';
import { type FactsOf, findFacts } from './propagate.ts';

type Range = 'natural' | 'signed';
type Put = (op: Inst['op'], ...args: Value[]) => Inst;

/** Instructions that are worth doing in vain. */
const MAX_SIDE = 6;

/** Constants as operands: with one more and one less they are to fit an instruction. */
const LIMIT = 1n << 30n;

const isSmall = (value: Value): boolean => {
  if (!isConst(value)) return true;
  const signed = signedValue(value);
  return signed > -LIMIT && signed < LIMIT;
};

/** Whether the value is below half of its type's numbers: not negative. */
function isNatural(value: Value, facts: Facts | undefined): boolean {
  if (facts !== undefined && facts.smin >= 0n) return true;
  return possibleBits(value) >> BigInt(bitsOf(value.type) - 1) === 0n;
}

/** Whether, with its sign, the value has a bit to spare. */
function hasSpareSign(value: Value, facts: Facts | undefined): boolean {
  const bits = bitsOf(value.type);
  if (isConst(value)) return isSmall(value);
  const half = 1n << BigInt(bits - 2);
  if (facts !== undefined && facts.smin >= -half && facts.smax < half) return true;
  if (possibleBits(value) < half) return true;
  if (value.kind !== 'inst') return false;
  if (value.op === 'ashr') {
    const by = value.args[1]!;
    return isConst(by) && by.value >= 1n;
  }
  return value.op === 'sext' && value.args[0]!.type !== 'i1' && bitsOf(value.args[0]!.type) < bits;
}

function rangeOf(pred: Predicate, a: Value, b: Value, block: Block, of: FactsOf): Range | undefined {
  const fa = of(a, block);
  const fb = of(b, block);
  if (isNatural(a, fa) && isNatural(b, fb)) return 'natural';
  if (pred.startsWith('s') && hasSpareSign(a, fa) && hasSpareSign(b, fb)) return 'signed';
  return undefined;
}

/** The comparison as a number of its operands' type, 0 or 1; undefined where a branch does it better. */
function arithmetic(test: Inst, wanted: Predicate, of: FactsOf, put: Put): Inst | undefined {
  let [a, b] = test.args as [Value, Value];
  let pred = wanted;
  const { type } = a;
  if ((type !== 'i32' && type !== 'i64') || !isSmall(a) || !isSmall(b) || (isConst(a) && isConst(b)))
    return undefined;
  const range = rangeOf(pred, a, b, test.block!, of);
  if (range === undefined) return undefined;
  const number = (value: bigint): Value => constant(type, value);
  const sign = (value: Value): Inst => put('lshr', value, number(BigInt(bitsOf(type) - 1)));
  if (isConst(a)) {
    [a, b] = [b, a];
    pred = SWAPPED[pred];
  }
  if (pred === 'eq' || pred === 'ne') {
    if (range !== 'natural') return undefined;
    const differs = isConst(b) && b.value === 0n ? a : put('xor', a, b);
    return sign(pred === 'ne' ? put('sub', number(0n), differs) : put('add', differs, number(-1n)));
  }
  const kind = pred.slice(1);
  if (isConst(b)) {
    const c = signedValue(b);
    if (range === 'natural' && c <= 0n) return undefined;
    if (kind === 'lt') return sign(put('add', a, number(-c)));
    if (kind === 'le') return sign(put('add', a, number(-(c + 1n))));
    return sign(put('sub', number(kind === 'gt' ? c : c - 1n), a));
  }
  if (kind === 'lt') return sign(put('sub', a, b));
  if (kind === 'gt') return sign(put('sub', b, a));
  // a <= b: not b < a.
  const less = kind === 'le' ? put('sub', b, a) : put('sub', a, b);
  return put('xor', sign(less), number(1n));
}

/** Of legal types; the caller makes the rest simpler. */
export function computeTruth(func: Func, whole: Whole): boolean {
  if (!func.blocks.some((block) => block.insts.some((inst) => inst.op === 'icmp'))) return false;
  const pass = new TruthPass(findFacts(func, whole));
  let changed = false;
  for (const block of func.blocks) changed = pass.compute(block) || changed;
  // Chains of `||` end at one block: the last link becomes one with the link before.
  for (let again = true; again; ) {
    again = false;
    // Facts are asked by block: ids of blocks must stay what they were when the facts were found.
    linkPreds(func);
    for (const block of func.blocks) {
      if (!pass.join(func, block)) continue;
      again = true;
      changed = true;
      break;
    }
  }
  if (changed) sweep(func);
  return changed;
}

class TruthPass {
  private readonly pointed = new Map<Value, boolean>();
  private readonly of: FactsOf;

  constructor(of: FactsOf) {
    this.of = of;
  }

  private number(test: Value, type: IrType, isTrue: boolean, block: Block, made: Inst[]): Inst | undefined {
    if (test.kind !== 'inst' || test.op !== 'icmp' || test.users.size !== 1) return undefined;
    if (test.args.some((arg) => reachesPointer(arg, this.pointed))) return undefined;
    const put: Put = (op, ...args) => {
      const one = new Inst(op, args[0]!.type, args);
      one.block = block;
      one.loc = test.loc;
      made.push(one);
      return one;
    };
    const result = arithmetic(test, isTrue ? test.pred : INVERSE[test.pred], this.of, put);
    if (result === undefined || result.type === type) return result;
    const cut = put(type === 'i32' ? 'trunc' : 'zext', result);
    cut.type = type;
    return cut;
  }

  compute(block: Block): boolean {
    let changed = false;
    for (const inst of [...block.insts]) {
      if (inst.op !== 'zext') continue;
      const made: Inst[] = [];
      const result = this.number(inst.args[0]!, inst.type, true, block, made);
      if (result === undefined) continue;
      block.insts.splice(block.insts.indexOf(inst), 0, ...made);
      replaceUses(inst, result);
      remove(inst);
      changed = true;
    }
    return changed;
  }

  /** `a || b` and `a && b` as numbers, where `b` costs little. */
  join(func: Func, end: Block): boolean {
    const [phi, second] = end.insts;
    if (phi?.op !== 'phi' || second?.op === 'phi' || (phi.type !== 'i32' && phi.type !== 'i64')) return false;
    for (const side of end.preds) {
      const [from] = side.preds;
      const last = from?.terminator;
      if (side.preds.length !== 1 || from === side || from === end || last?.op !== 'condbr') continue;
      const onward = side.terminator!;
      if (
        onward.op !== 'br' ||
        onward.unroll !== 0 ||
        last.unroll !== 0 ||
        last.targets[0] === last.targets[1]
      )
        continue;
      if (!last.targets.includes(end)) continue;
      const body = side.insts.slice(0, -1);
      if (body.length > MAX_SIDE || !body.every(isCheap)) continue;
      const short = phi.args[phi.targets.indexOf(from!)]!;
      const long = phi.args[phi.targets.indexOf(side)]!;
      if (!isConst(short) || short.value > 1n || possibleBits(long) > 1n) continue;
      const isOr = short.value === 1n;
      const made: Inst[] = [];
      const truth = this.number(last.args[0]!, phi.type, (last.targets[0] === end) === isOr, from!, made);
      if (truth === undefined) continue;
      const both = new Inst(isOr ? 'or' : 'and', phi.type, [truth, long]);
      both.loc = last.loc;
      made.push(both);
      this.merge(func, from!, side, made);
      removeEdge(from!, end);
      removeEdge(side, end);
      pushArg(phi, both);
      phi.targets.push(from!);
      const test = last.args[0] as Inst;
      detach(last);
      remove(test);
      return true;
    }
    return false;
  }

  /** Puts what `side` computes, and `made`, at the end of `from`, which goes on where `side` went. */
  private merge(func: Func, from: Block, side: Block, made: readonly Inst[]): void {
    from.insts.pop();
    for (const inst of [...side.insts.slice(0, -1), ...made, side.terminator!]) {
      inst.block = from;
      from.insts.push(inst);
    }
    side.insts = [];
    func.blocks.splice(func.blocks.indexOf(side), 1);
  }
}

/** What nobody uses any more, and the comparison that it was made of: `join` looks at what is left. */
function remove(inst: Inst): void {
  const block = inst.block!;
  block.insts.splice(block.insts.indexOf(inst), 1);
  const [test] = inst.args;
  detach(inst);
  if (test?.kind === 'inst' && test.op === 'icmp' && test.users.size === 0) remove(test);
}

const isCheap = (inst: Inst): boolean =>
  (BINARY_OPS.has(inst.op) && !/div|rem/.test(inst.op)) ||
  ((inst.op === 'zext' || inst.op === 'sext' || inst.op === 'trunc') && inst.args[0]!.type !== 'i1');
