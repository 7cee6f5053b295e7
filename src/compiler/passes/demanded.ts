/** Bits that nobody looks at: masks and extensions that only change those are not needed. */
import {
  BINARY_OPS,
  bitsOf,
  constant,
  detach,
  type Func,
  type Inst,
  isConst,
  replaceUses,
  setArg,
  sweep,
  type Value,
} from '../ir/index.ts';
import { possibleBits } from './known-bits.ts';
import { maskOf, upTo } from './masks.ts';

const allOf = (value: Value): bigint => maskOf(bitsOf(value.type));

/** The bits of operand `index` that matter where the bits `wanted` of the result do. */
function wantedOf(user: Inst, index: number, wanted: bigint): bigint {
  const operand = user.args[index]!;
  const all = allOf(operand);
  switch (user.op) {
    case 'trunc':
    case 'zext':
      return wanted & all;
    case 'sext': {
      const sign = (all >> 1n) + 1n;
      return (wanted & all) | ((wanted & ~all) === 0n ? 0n : sign);
    }
    case 'and': {
      const other = user.args[1 - index]!;
      return isConst(other) ? wanted & other.value : wanted;
    }
    case 'or': {
      const other = user.args[1 - index]!;
      return isConst(other) ? wanted & ~other.value : wanted;
    }
    case 'xor':
    case 'phi':
      return wanted;
    case 'select':
      return index === 0 ? all : wanted;
    case 'add':
    case 'sub':
    case 'mul':
      return upTo(wanted) & all;
    case 'shl': {
      const by = user.args[1]!;
      if (index === 1) return all;
      return isConst(by) ? wanted >> by.value : upTo(wanted) & all;
    }
    case 'lshr':
    case 'ashr': {
      const by = user.args[1]!;
      if (index === 1 || !isConst(by)) return all;
      const moved = (wanted << by.value) & all;
      if (user.op === 'lshr') return moved;
      const sign = (all >> 1n) + 1n;
      return wanted << by.value > all ? moved | sign : moved;
    }
    case 'store':
      return index === 1 ? maskOf(bitsOf(user.mem)) : all;
    default:
      return all;
  }
}

const fitsImmediate = (value: bigint, bits: number): boolean =>
  bits < 64 || BigInt.asUintN(64, BigInt.asIntN(32, value)) === value;

/** An operand that has the bits `wanted` of the result. */
function equalWhereWanted(inst: Inst, wanted: bigint): Value | undefined {
  const [a, b] = inst.args as [Value, Value];
  const all = allOf(inst);
  const isNothing = (value: Value, bits: bigint): boolean => (possibleBits(value) & bits) === 0n;
  switch (inst.op) {
    case 'and':
      return isConst(b) && (wanted & ~b.value) === 0n ? a : undefined;
    case 'or':
    case 'xor':
      if (isNothing(b, wanted)) return a;
      return isNothing(a, wanted) ? b : undefined;
    case 'add':
      if (isNothing(b, upTo(wanted))) return a;
      return isNothing(a, upTo(wanted)) ? b : undefined;
    case 'sub':
      return isNothing(b, upTo(wanted)) ? a : undefined;
    case 'lshr':
    case 'ashr':
    case 'shl': {
      // Forth and back, where what falls off is not wanted.
      if (!isConst(b) || a.kind !== 'inst' || !isConst(a.args[1]) || a.args[1].value !== b.value)
        return undefined;
      if (inst.op === 'shl')
        return a.op === 'lshr' && (wanted & ((1n << b.value) - 1n)) === 0n ? a.args[0] : undefined;
      return a.op === 'shl' && (wanted & ~(all >> b.value)) === 0n ? a.args[0] : undefined;
    }
    default:
      return undefined;
  }
}

const isNumber = (value: Value): value is Inst =>
  value.kind === 'inst' && value.type !== 'ptr' && value.type !== 'void' && value.type !== 'i1';

/** Takes out what only changes bits that nobody wants. True where something changed. */
export function dropUnwanted(func: Func): boolean {
  // By the number of an instruction.
  const wanted: bigint[] = [];
  const work: Inst[] = [];
  // Readers first: blocks backwards, so that most is settled in one go.
  for (const block of func.blocks)
    for (const inst of block.insts) {
      inst.id = wanted.length;
      wanted.push(0n);
      work.push(inst);
    }
  const queued = new Uint8Array(work.length).fill(1);
  while (work.length > 0) {
    const inst = work.pop()!;
    queued[inst.id] = 0;
    let mine = 1n;
    if (isNumber(inst)) {
      mine = wanted[inst.id]!;
      if (mine === 0n) continue;
    }
    const { args } = inst;
    for (let i = 0; i < args.length; i++) {
      const arg = args[i]!;
      if (!isNumber(arg)) continue;
      const before = wanted[arg.id]!;
      if (before === allOf(arg)) continue;
      const next = before | wantedOf(inst, i, mine);
      if (next === before) continue;
      wanted[arg.id] = next;
      if (queued[arg.id] === 1) continue;
      queued[arg.id] = 1;
      work.push(arg);
    }
  }
  let changed = false;
  for (const block of func.blocks) {
    for (const inst of block.insts) {
      if (!isNumber(inst) || inst.block === undefined) continue;
      const bits = wanted[inst.id]!;
      if (bits === 0n || !BINARY_OPS.has(inst.op)) {
        if (inst.op === 'sext' && bits !== 0n && (bits & ~allOf(inst.args[0]!)) === 0n) {
          inst.op = 'zext';
          changed = true;
        }
        continue;
      }
      const same = equalWhereWanted(inst, bits);
      if (same !== undefined) {
        replaceUses(inst, same);
        detach(inst);
        changed = true;
        continue;
      }
      const b = inst.args[1]!;
      if (!isConst(b)) continue;
      const all = allOf(inst);
      if (inst.op === 'ashr' && (bits & ~(all >> b.value)) === 0n) {
        inst.op = 'lshr';
        changed = true;
      } else if (inst.op === 'and' && !fitsImmediate(b.value, bitsOf(inst.type))) {
        // Bits of the mask that do not matter make it one that fits the instruction.
        for (const mask of [b.value | (all & ~bits), b.value & bits]) {
          if (!fitsImmediate(mask, bitsOf(inst.type))) continue;
          setArg(inst, 1, constant(inst.type, mask));
          changed = true;
          break;
        }
      }
    }
  }
  if (changed) sweep(func);
  return changed;
}
