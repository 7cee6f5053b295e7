/** Bits that nobody looks at: masks and extensions that only change those are not needed. */
import {
  BINARY_OPS,
  bitsOf,
  detach,
  type Func,
  type Inst,
  isConst,
  replaceUses,
  sweep,
  type Value,
} from '../ir/index.ts';

const allOf = (value: Value): bigint => (1n << BigInt(bitsOf(value.type))) - 1n;
const upTo = (mask: bigint): bigint => (mask === 0n ? 0n : (1n << BigInt(mask.toString(2).length)) - 1n);

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
      return index === 1 ? (1n << BigInt(bitsOf(user.mem))) - 1n : all;
    default:
      return all;
  }
}

/** Takes out what only changes bits that nobody wants. True where something changed. */
export function dropUnwanted(func: Func): boolean {
  const wanted = new Map<Inst, bigint>();
  const work: Inst[] = [];
  const queued = new Set<Inst>();
  const queue = (inst: Inst): void => {
    if (queued.has(inst)) return;
    queued.add(inst);
    work.push(inst);
  };
  const isNumber = (value: Value): value is Inst =>
    value.kind === 'inst' && value.type !== 'ptr' && value.type !== 'void' && value.type !== 'i1';
  // Readers first: blocks backwards, so that most is settled in one go.
  for (const block of func.blocks) for (const inst of block.insts) queue(inst);
  while (work.length > 0) {
    const inst = work.pop()!;
    queued.delete(inst);
    const mine = isNumber(inst) ? (wanted.get(inst) ?? 0n) : 1n;
    if (isNumber(inst) && mine === 0n) continue;
    inst.args.forEach((arg, i) => {
      if (!isNumber(arg)) return;
      const before = wanted.get(arg) ?? 0n;
      const next = before | wantedOf(inst, i, mine);
      if (next === before) return;
      wanted.set(arg, next);
      queue(arg);
    });
  }
  let changed = false;
  for (const block of func.blocks) {
    for (const inst of block.insts) {
      if (!isNumber(inst) || inst.block === undefined) continue;
      const bits = wanted.get(inst) ?? 0n;
      if (bits === 0n || !BINARY_OPS.has(inst.op)) {
        if (inst.op === 'sext' && bits !== 0n && (bits & ~allOf(inst.args[0]!)) === 0n) {
          inst.op = 'zext';
          changed = true;
        }
        continue;
      }
      const [a, b] = inst.args as [Value, Value];
      if (!isConst(b)) continue;
      const all = allOf(inst);
      if ((inst.op === 'and' && (bits & ~b.value) === 0n) || (inst.op === 'or' && (bits & b.value) === 0n)) {
        replaceUses(inst, a);
        detach(inst);
        changed = true;
      } else if (inst.op === 'ashr' && (bits & ~(all >> b.value)) === 0n) {
        inst.op = 'lshr';
        changed = true;
      } else if (
        inst.op === 'lshr' &&
        a.kind === 'inst' &&
        a.op === 'shl' &&
        isConst(a.args[1]) &&
        a.args[1].value === b.value &&
        (bits & ~(all >> b.value)) === 0n
      ) {
        replaceUses(inst, a.args[0]!);
        detach(inst);
        changed = true;
      }
    }
  }
  if (changed) sweep(func);
  return changed;
}
