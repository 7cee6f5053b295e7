/**
 * Local simplification: constants, identities, shorter forms. Each rule looks at one instruction and its operands; a work list
 * carries changes to the users.
 *
 * Rules keep what the kernel's verifier needs: pointer arithmetic is not reassociated across a comparison, comparisons keep their
 * operands, and nothing is narrowed that is loaded from memory.
 */
import {
  BINARY_OPS,
  type BinaryOp,
  bitsOf,
  type Const,
  constant,
  detach,
  FLAG,
  type Func,
  hasEffect,
  INVERSE,
  Inst,
  type IrType,
  isConst,
  isConstOf,
  type Predicate,
  replaceUses,
  SWAPPED,
  sameValue,
  setArg,
  setArgs,
  signedValue,
  sweep,
  undef,
  type Value,
} from '../ir/index.ts';
import { foldBinary, foldCompare, isPowerOf2, log2, swapBytes } from './arithmetic.ts';
import { possibleBits } from './known-bits.ts';
import { stringFunction } from './strings.ts';

const COMMUTATIVE: ReadonlySet<string> = new Set(['add', 'mul', 'and', 'or', 'xor']);

class Folder {
  readonly work: Inst[] = [];
  readonly queued = new Set<Inst>();
  changed = false;

  queue(inst: Inst): void {
    if (inst.block === undefined || this.queued.has(inst)) return;
    this.queued.add(inst);
    this.work.push(inst);
  }

  queueUsers(inst: Inst): void {
    for (const user of inst.users) this.queue(user);
  }

  /** A new instruction right before another. */
  before(inst: Inst, op: Inst['op'], type: IrType, args: Value[]): Inst {
    const made = new Inst(op, type, args);
    made.loc = inst.loc;
    made.block = inst.block;
    this.pending.push({ made, before: inst });
    this.queue(made);
    return made;
  }

  readonly pending: { made: Inst; before: Inst }[] = [];

  /** Puts the new instructions into their blocks. */
  settle(func: Func): void {
    if (this.pending.length > 0) {
      const byPlace = new Map<Inst, Inst[]>();
      for (const { made, before } of this.pending) {
        const list = byPlace.get(before);
        if (list === undefined) byPlace.set(before, [made]);
        else list.push(made);
      }
      for (const block of func.blocks) {
        if (!block.insts.some((inst) => byPlace.has(inst))) continue;
        const rebuilt: Inst[] = [];
        const place = (inst: Inst): void => {
          for (const made of byPlace.get(inst) ?? []) place(made);
          rebuilt.push(inst);
        };
        for (const inst of block.insts) place(inst);
        block.insts = rebuilt;
      }
      this.pending.length = 0;
    }
    sweep(func);
  }
}

/** A choice between two constants: a select of them, or a truth value made wider. */
function choiceOf(value: Value): { cond: Value; yes: bigint; no: bigint } | undefined {
  if (value.kind !== 'inst') return undefined;
  const [a, b, c] = value.args;
  if (value.op === 'select' && isConst(b) && isConst(c)) return { cond: a!, yes: b.value, no: c.value };
  if ((value.op === 'zext' || value.op === 'sext') && a!.type === 'i1')
    return { cond: a!, yes: value.op === 'zext' ? 1n : (1n << BigInt(bitsOf(value.type))) - 1n, no: 0n };
  return undefined;
}

/** An operation with one operand that is a phi of constants and nobody else's: a phi of results. */
function intoPhi(
  inst: Inst,
  folder: Folder,
  result: (value: bigint) => Const | undefined,
): Value | undefined {
  const phi = inst.args[0]!;
  if (phi.kind !== 'inst' || phi.op !== 'phi' || phi.users.size !== 1 || phi.args.length > 8)
    return undefined;
  const results: Const[] = [];
  for (const arg of phi.args) {
    const one = isConst(arg) ? result(arg.value) : undefined;
    if (one === undefined) return undefined;
    results.push(one);
  }
  const made = folder.before(phi, 'phi', inst.type, results);
  made.targets = [...phi.targets];
  return made;
}

/** What an instruction is equal to, where it is simpler; may also change it in place (then gives itself). */
function simplify(inst: Inst, folder: Folder): Value | undefined {
  if (BINARY_OPS.has(inst.op)) return simplifyBinary(inst, inst.op as BinaryOp, folder);
  const [a, b, c] = inst.args;
  switch (inst.op) {
    case 'icmp':
      return simplifyCompare(inst);
    case 'zext':
    case 'sext':
      if (a!.kind === 'const')
        return constant(inst.type, inst.op === 'sext' ? signedValue(a as Const) : (a as Const).value);
      if (a!.kind === 'undef') return constant(inst.type, 0n);
      {
        const wide = (n: bigint): Const =>
          constant(inst.type, inst.op === 'sext' ? BigInt.asIntN(bitsOf(a!.type), n) : n);
        if (a!.kind === 'inst' && a!.op === 'select' && a!.users.size === 1) {
          const found = choiceOf(a!);
          if (found !== undefined && a!.type !== 'i1') {
            const args = [found.cond, wide(found.yes), wide(found.no)];
            inst.op = 'select';
            inst.flags = 0;
            setArgs(inst, args);
            return inst;
          }
        }
        const phi = a!.type === 'i1' ? undefined : intoPhi(inst, folder, wide);
        if (phi !== undefined) return phi;
      }
      if (a!.kind === 'inst' && a!.op === 'sext' && a!.args[0]!.type === 'i1' && inst.op === 'sext') {
        setArg(inst, 0, a!.args[0]!);
        return inst;
      }
      if (a!.kind === 'inst' && a!.op === 'zext') {
        setArg(inst, 0, a!.args[0]!);
        inst.op = 'zext';
        return inst;
      }
      if (a!.kind === 'inst' && a!.op === 'sext' && inst.op === 'sext') {
        setArg(inst, 0, a!.args[0]!);
        return inst;
      }
      // 0 or 1 already.
      if (
        inst.op === 'zext' &&
        a!.kind === 'inst' &&
        a!.op === 'icmp' &&
        a!.pred === 'ne' &&
        isConstOf(a!.args[1], 0n)
      ) {
        const truth = a!.args[0]!;
        if (truth.type !== 'ptr' && truth.type !== 'i1' && possibleBits(truth) <= 1n) {
          if (truth.type === inst.type) return truth;
          if (bitsOf(truth.type) > bitsOf(inst.type)) inst.op = 'trunc';
          setArg(inst, 0, truth);
          return inst;
        }
      }
      // The sign is known to be 0.
      if (inst.op === 'sext' && a!.type !== 'i1') {
        const sign = 1n << BigInt(bitsOf(a!.type) - 1);
        if ((possibleBits(a!) & sign) === 0n) {
          inst.op = 'zext';
          inst.flags |= FLAG.NNEG;
          return inst;
        }
      }
      if (inst.op === 'zext' && a!.kind === 'inst' && a!.op === 'trunc') {
        const wide = a!.args[0]!;
        if (wide.type === inst.type) {
          const mask = (1n << BigInt(bitsOf(a!.type))) - 1n;
          if ((possibleBits(wide) & ~mask) === 0n) return wide;
          if (bitsOf(a!.type) < 32) {
            inst.op = 'and';
            setArgs(inst, [wide, constant(inst.type, mask)]);
            return inst;
          }
        }
      }
      return undefined;
    case 'trunc': {
      if (a!.kind === 'const') return constant(inst.type, (a as Const).value);
      if (a!.kind === 'undef') return undef(inst.type);
      if (a!.kind !== 'inst') return undefined;
      if (a!.op === 'select' && a!.users.size === 1 && inst.type !== 'i1') {
        const found = choiceOf(a!);
        if (found !== undefined) {
          inst.op = 'select';
          setArgs(inst, [found.cond, constant(inst.type, found.yes), constant(inst.type, found.no)]);
          return inst;
        }
      }
      {
        const phi = inst.type === 'i1' ? undefined : intoPhi(inst, folder, (n) => constant(inst.type, n));
        if (phi !== undefined) return phi;
      }
      if (a!.op === 'trunc') {
        setArg(inst, 0, a!.args[0]!);
        return inst;
      }
      if (a!.op === 'zext' || a!.op === 'sext') {
        const inner = a!.args[0]!;
        if (inner.type === inst.type) return inner;
        if (bitsOf(inner.type) > bitsOf(inst.type)) {
          setArg(inst, 0, inner);
          return inst;
        }
        inst.op = a!.op;
        setArg(inst, 0, inner);
        return inst;
      }
      if (
        (a!.op === 'and' ||
          a!.op === 'or' ||
          a!.op === 'xor' ||
          a!.op === 'add' ||
          a!.op === 'sub' ||
          a!.op === 'mul') &&
        a!.users.size === 1 &&
        bitsOf(inst.type) < 32
      ) {
        const x = folder.before(inst, 'trunc', inst.type, [a!.args[0]!]);
        const y = folder.before(inst, 'trunc', inst.type, [a!.args[1]!]);
        inst.op = a!.op;
        setArgs(inst, [x, y]);
        return inst;
      }
      return undefined;
    }
    case 'ptrtoint':
      if (a!.kind === 'const') return constant('i64', (a as Const).value);
      if (a!.kind === 'inst' && a!.op === 'inttoptr' && a!.args[0]!.type === 'i64') return a!.args[0]!;
      return undefined;
    case 'inttoptr':
      if (a!.kind === 'const') return constant('ptr', (a as Const).value);
      if (a!.kind === 'inst' && a!.op === 'ptrtoint') return a!.args[0]!;
      // The loader and the verifier follow pointers through integers; so do the passes.
      if (a!.kind === 'inst' && (a!.op === 'add' || a!.op === 'sub') && a!.users.size === 1) {
        const [x, y] = a!.args as [Value, Value];
        if (x.kind === 'inst' && x.op === 'ptrtoint' && !(y.kind === 'inst' && y.op === 'ptrtoint')) {
          let by: Value = y;
          if (a!.op === 'sub')
            by = isConst(y)
              ? constant('i64', -y.value)
              : folder.before(inst, 'sub', 'i64', [constant('i64', 0n), y]);
          inst.op = 'ptradd';
          setArgs(inst, [x.args[0]!, by]);
          return inst;
        }
        if (a!.op === 'add' && y.kind === 'inst' && y.op === 'ptrtoint') {
          inst.op = 'ptradd';
          setArgs(inst, [y.args[0]!, x]);
          return inst;
        }
      }
      return undefined;
    case 'ptradd':
      if (isConstOf(b, 0n)) return a;
      if (isConst(a) && isConst(b)) return constant('ptr', a.value + b.value);
      if (a!.kind === 'inst' && a!.op === 'ptradd' && isConst(b) && isConst(a!.args[1])) {
        const sum = constant('i64', b.value + (a!.args[1] as Const).value);
        setArgs(inst, [a!.args[0]!, sum]);
        return inst;
      }
      return undefined;
    case 'select':
      if (a!.kind === 'const') return (a as Const).value === 0n ? c : b;
      if (sameValue(b!, c!)) return b;
      if (a!.kind === 'inst' && a!.op === 'xor' && isConstOf(a!.args[1], 1n)) {
        setArgs(inst, [a!.args[0]!, c!, b!]);
        return inst;
      }
      if (inst.type === 'i1' && isConst(b) && isConst(c)) {
        if (b.value === 1n) return a!;
        inst.op = 'xor';
        setArgs(inst, [a!, constant('i1', 1n)]);
        return inst;
      }
      if (inst.type !== 'ptr' && isConst(b) && isConst(c)) {
        // The truth value itself, wider.
        if (b.value === 1n && c.value === 0n) {
          inst.op = 'zext';
          setArgs(inst, [a!]);
          return inst;
        }
        if (b.value === 0n && c.value === 1n && a!.kind === 'inst' && a!.op === 'icmp') {
          const not = folder.before(inst, 'xor', 'i1', [a!, constant('i1', 1n)]);
          inst.op = 'zext';
          setArgs(inst, [not]);
          return inst;
        }
      }
      // An arm that the same condition chooses.
      for (const i of [1, 2]) {
        const arm = inst.args[i]!;
        if (arm.kind === 'inst' && arm.op === 'select' && arm.args[0] === a) {
          setArg(inst, i, arm.args[i]!);
          return inst;
        }
      }
      return undefined;
    case 'bswap':
      if (a!.kind === 'const') return constant(inst.type, swapBytes((a as Const).value, bitsOf(inst.mem)));
      if (a!.kind === 'inst' && a!.op === 'bswap' && a!.mem === inst.mem && a!.type === inst.type)
        return a!.args[0];
      return undefined;
    case 'phi':
      return simplifyPhi(inst);
    case 'call': {
      // Through a pointer that is known by now.
      if (inst.callee?.kind !== 'pointer') return undefined;
      if (a!.kind === 'function') inst.callee = { kind: 'function', func: a! };
      else if (a!.kind === 'const')
        inst.callee = { kind: 'helper', id: Number((a as Const).value & 0x7fff_ffffn) };
      else return undefined;
      setArgs(inst, inst.args.slice(1));
      return inst;
    }
    case 'libcall':
      return stringFunction(inst);
    case 'constant_p':
      return isConst(a) ? constant('i32', 1n) : undefined;
    default:
      return undefined;
  }
}

/** One value on all paths. */
function simplifyPhi(inst: Inst): Value | undefined {
  let only: Value | undefined;
  let sawUndef = false;
  for (const arg of inst.args) {
    if (arg === inst) continue;
    if (arg.kind === 'undef') {
      sawUndef = true;
      continue;
    }
    if (only === undefined) only = arg;
    else if (!sameValue(only, arg)) return undefined;
  }
  if (only === undefined) return undef(inst.type);
  // A constant, or a parameter, is available everywhere; other values perhaps not on the undefined path.
  if (sawUndef && only.kind === 'inst') return undefined;
  return only;
}

function simplifyCompare(inst: Inst): Value | undefined {
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

function simplifyBinary(inst: Inst, op: BinaryOp, folder: Folder): Value | undefined {
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
  const all = (1n << BigInt(bitsOf(type))) - 1n;
  if (sameValue(a, b)) {
    if (op === 'sub' || op === 'xor') return zero;
    if (op === 'and' || op === 'or') return a;
  }
  if (op === 'sdiv' || op === 'srem') {
    const sign = 1n << BigInt(bitsOf(type) - 1);
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
      const signBit = 1n << BigInt(bitsOf(type) - 1);
      if ((possibleBits(a) & signBit) === 0n && (n & signBit) === 0n) {
        inst.op = op === 'sdiv' ? 'udiv' : 'urem';
        return inst;
      }
      if (n === all && op === 'sdiv') {
        inst.op = 'sub';
        setArgs(inst, [zero, a]);
        return inst;
      }
      // A power of two: shifts that round towards zero.
      if (isPowerOf2(n) && n !== signBit) {
        const shift = log2(n);
        const width = BigInt(bitsOf(type));
        const sign = folder.before(inst, 'ashr', type, [a, constant(type, width - 1n)]);
        const bias = folder.before(inst, 'lshr', type, [sign, constant(type, width - shift)]);
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
      if (op === 'ashr' && (possibleBits(a) & (1n << (width - 1n))) === 0n) {
        inst.op = 'lshr';
        return inst;
      }
      if (op === 'lshr' && possibleBits(a) >> n === 0n) return zero;
      return undefined;
    }
  }
}

/** Runs all rules to their end. True where something changed. */
export function fold(func: Func): boolean {
  const folder = new Folder();
  for (let i = func.blocks.length - 1; i >= 0; i--) {
    const { insts } = func.blocks[i]!;
    for (let j = insts.length - 1; j >= 0; j--) folder.queue(insts[j]!);
  }
  // Each instruction may be rewritten a bounded number of times.
  let budget = 64 * (folder.work.length + 64);
  while (folder.work.length > 0 && budget-- > 0) {
    const inst = folder.work.pop()!;
    folder.queued.delete(inst);
    if (inst.block === undefined) continue;
    if (inst.users.size === 0 && inst.type !== 'void' && !hasEffect(inst) && inst.op !== 'alloca') {
      const { args } = inst;
      detach(inst);
      folder.changed = true;
      for (const arg of args) if (arg.kind === 'inst') folder.queue(arg);
      continue;
    }
    const value = simplify(inst, folder);
    if (value === undefined) continue;
    folder.changed = true;
    if (value === inst) {
      folder.queue(inst);
      folder.queueUsers(inst);
      continue;
    }
    folder.queueUsers(inst);
    replaceUses(inst, value);
    const { args } = inst;
    if (inst.type !== 'void' && !hasEffect(inst)) detach(inst);
    for (const arg of args) if (arg.kind === 'inst') folder.queue(arg);
    if (value.kind === 'inst') {
      folder.queue(value);
      folder.queueUsers(value);
    }
  }
  folder.settle(func);
  return folder.changed;
}
