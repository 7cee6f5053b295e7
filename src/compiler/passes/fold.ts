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
  type Inst,
  isConst,
  isConstOf,
  replaceUses,
  sameValue,
  setArg,
  setArgs,
  signedValue,
  undef,
  type Value,
} from '../ir/index.ts';
import { swapBytes } from './arithmetic.ts';
import { simplifyBinary } from './fold-binary.ts';
import { simplifyCompare } from './fold-compare.ts';
import { choiceOf, Folder, intoPhi } from './folder.ts';
import { possibleBits } from './known-bits.ts';
import { maskOf, signBit } from './masks.ts';
import { stringFunction } from './strings.ts';

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
        const sign = signBit(bitsOf(a!.type));
        if ((possibleBits(a!) & sign) === 0n) {
          inst.op = 'zext';
          inst.flags |= FLAG.NNEG;
          return inst;
        }
      }
      if (inst.op === 'zext' && a!.kind === 'inst' && a!.op === 'trunc') {
        const wide = a!.args[0]!;
        if (wide.type === inst.type) {
          const mask = maskOf(bitsOf(a!.type));
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

/** Runs all rules to their end. True where something changed. */
export function fold(func: Func): boolean {
  const folder = new Folder();
  for (let i = func.blocks.length - 1; i >= 0; i--) {
    const { insts } = func.blocks[i]!;
    for (let j = insts.length - 1; j >= 0; j--) {
      folder.enter(insts[j]!);
      folder.queue(insts[j]!);
    }
  }
  // Each instruction may be rewritten a bounded number of times.
  let budget = 64 * (folder.work.length + 64);
  while (folder.work.length > 0 && budget-- > 0) {
    const inst = folder.next();
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
