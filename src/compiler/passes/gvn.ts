/**
 * Values that were computed before: along the dominator tree for pure operations, along single paths for loads (with what stores
 * put there). Conditions that a dominating branch decided are constants.
 */
import {
  type AliasTag,
  BINARY_OPS,
  type Block,
  bitsOf,
  bytesOf,
  type Const,
  constant,
  Dominators,
  detach,
  FLAG,
  type Func,
  hasEffect,
  INVERSE,
  Inst,
  type IrType,
  isConst,
  mayAlias,
  type Predicate,
  replaceUses,
  setArg,
  signedValue,
  sweep,
  type Value,
} from '../ir/index.ts';
import { addressOf, capturedVariables, objectOf } from './addresses.ts';
import { possibleBits } from './known-bits.ts';
import { signBit } from './masks.ts';
import { ScopedTable } from './scoped-table.ts';

const MAX_KNOWN = 96;

interface Known {
  readonly base: Value;
  readonly offset: number;
  readonly size: number;
  /** Undefined: different things came from the blocks before; a phi is made when somebody reads it. */
  value: Value | undefined;
  readonly alias: AliasTag | undefined;
  readonly merge?: { readonly block: Block; readonly values: readonly { value: Value; from: Block }[] };
  /** What a load that extends gives of a merge, and the load that asked first. */
  wide?: { readonly phi: Inst; readonly load: Inst };
}

/** Codes of operations for the table: with the type or predicate added, all are different. */
const CODES: ReadonlyMap<string, number> = new Map(
  [...BINARY_OPS, 'zext', 'sext', 'trunc', 'ptrtoint', 'inttoptr', 'bswap', 'ptradd', 'select', 'call'].map(
    (op, i) => [op, 64 + 16 * i],
  ),
);
const TYPE_CODES: Readonly<Record<IrType, number>> = {
  void: 0,
  i1: 1,
  i8: 2,
  i16: 3,
  i32: 4,
  i64: 5,
  ptr: 6,
};
const PREDICATE_CODES: Readonly<Record<Predicate, number>> = {
  eq: 1,
  ne: 2,
  ult: 3,
  ule: 4,
  ugt: 5,
  uge: 6,
  slt: 7,
  sle: 8,
  sgt: 9,
  sge: 10,
};
/** Not negative: an entry is there where it is known. */
const POSITIVE = 32;
const COMMUTATIVE: ReadonlySet<string> = new Set(['add', 'mul', 'and', 'or', 'xor']);

class Numbering {
  private readonly func: Func;
  private readonly dom: Dominators;
  /** Of what is no instruction; those have their ids. */
  private readonly numbers = new Map<Value, number>();
  private readonly constants = new Map<IrType, Map<bigint | undefined, number>>();
  private nextNumber = 0;
  private readonly captured: Set<Inst>;
  private readonly table: ScopedTable;
  /** Two numbers as one, for what has more operands. */
  private readonly pairs = new Map<number, Map<number, number>>();
  private readonly atEnd = new Map<Block, Known[]>();
  private left = 0;
  private right = 0;
  changed = false;

  constructor(func: Func) {
    this.func = func;
    this.dom = new Dominators(func);
    this.captured = capturedVariables(func);
    for (const block of func.blocks) for (const inst of block.insts) inst.id = this.nextNumber++;
    this.table = new ScopedTable(2 * this.nextNumber);
  }

  private number(value: Value): number {
    if (value.kind === 'inst') return value.id;
    let number = this.numbers.get(value);
    if (number !== undefined) return number;
    if (value.kind === 'const' || value.kind === 'undef') {
      let ofType = this.constants.get(value.type);
      if (ofType === undefined) {
        ofType = new Map();
        this.constants.set(value.type, ofType);
      }
      const key = value.kind === 'const' ? value.value : undefined;
      number = ofType.get(key);
      if (number === undefined) {
        number = this.nextNumber++;
        ofType.set(key, number);
      }
    } else number = this.nextNumber++;
    this.numbers.set(value, number);
    return number;
  }

  private pair(a: number, b: number): number {
    let seconds = this.pairs.get(a);
    if (seconds === undefined) {
      seconds = new Map();
      this.pairs.set(a, seconds);
    }
    let number = seconds.get(b);
    if (number === undefined) {
      number = this.nextNumber++;
      seconds.set(b, number);
    }
    return number;
  }

  /** What an instruction computes: a code, and operands in `left` and `right`. 0: nothing that could be found again. */
  private key(inst: Inst): number {
    const { op, args } = inst;
    this.right = 0;
    if (BINARY_OPS.has(op)) {
      this.left = this.number(args[0]!);
      this.right = this.number(args[1]!);
      if (this.left > this.right && COMMUTATIVE.has(op)) {
        const { left } = this;
        this.left = this.right;
        this.right = left;
      }
      return CODES.get(op)! + TYPE_CODES[inst.type];
    }
    switch (op) {
      case 'icmp':
        this.left = this.number(args[0]!);
        this.right = this.number(args[1]!);
        return PREDICATE_CODES[inst.pred];
      case 'zext':
      case 'sext':
      case 'trunc':
      case 'ptrtoint':
      case 'inttoptr':
        this.left = this.number(args[0]!);
        return CODES.get(op)! + TYPE_CODES[inst.type];
      case 'bswap':
        this.left = this.number(args[0]!);
        return CODES.get(op)! + TYPE_CODES[inst.mem];
      case 'ptradd':
        this.left = this.number(args[0]!);
        this.right = this.number(args[1]!);
        return CODES.get(op)!;
      case 'select':
        this.left = this.pair(this.number(args[0]!), this.number(args[1]!));
        this.right = this.number(args[2]!);
        return CODES.get(op)!;
      case 'call':
        if (inst.callee?.kind !== 'function' || inst.callee.func.effects !== 'none') return 0;
        this.left = this.number(inst.callee.func);
        for (const arg of args) this.left = this.pair(this.left, this.number(arg));
        return CODES.get(op)!;
      default:
        return 0;
    }
  }

  run(): void {
    const undo: { block: Block; next: number; mark: number }[] = [];
    const enter = (block: Block): void => {
      const mark = this.table.mark();
      this.visit(block);
      undo.push({ block, next: 0, mark });
    };
    enter(this.func.entry);
    while (undo.length > 0) {
      const top = undo[undo.length - 1]!;
      const children = this.dom.childrenOf(top.block);
      if (top.next < children.length) enter(children[top.next++]!);
      else {
        this.table.release(top.mark);
        undo.pop();
      }
    }
    for (const phi of this.phis) phi.block!.insts.unshift(phi);
    sweep(this.func);
  }

  /** What the branch into a block says. */
  private learn(block: Block): void {
    if (block.preds.length !== 1) return;
    const last = block.preds[0]!.terminator;
    if (last?.op !== 'condbr' || last.targets[0] === last.targets[1]) return;
    const cond = last.args[0]!;
    if (cond.kind !== 'inst' || cond.op !== 'icmp') return;
    const truth = last.targets[0] === block;
    const a = this.number(cond.args[0]!);
    const b = this.number(cond.args[1]!);
    const bit = (value: boolean): Const => constant('i1', value ? 1n : 0n);
    this.table.put(PREDICATE_CODES[cond.pred], a, b, bit(truth));
    this.table.put(PREDICATE_CODES[INVERSE[cond.pred]], a, b, bit(!truth));
    // What is compared with constants may turn out not to be negative.
    const limit = cond.args[1]!;
    if (!isConst(limit)) return;
    const pred = truth ? cond.pred : INVERSE[cond.pred];
    const number = signedValue(limit);
    const sign = signBit(bitsOf(limit.type));
    const isPositive =
      (pred === 'sge' && number >= 0n) ||
      (pred === 'sgt' && number >= -1n) ||
      (pred === 'eq' && number >= 0n) ||
      (pred === 'ult' && limit.value <= sign) ||
      (pred === 'ule' && limit.value < sign);
    if (isPositive) this.table.put(POSITIVE, a, 0, bit(true));
  }

  /** Whether the sign bit is known to be 0, here. */
  private isPositive(value: Value, depth = 0): boolean {
    if (isConst(value)) return signedValue(value) >= 0n;
    if (value.kind !== 'inst' && value.kind !== 'param') return false;
    if (this.table.find(POSITIVE, this.number(value), 0) !== undefined) return true;
    if ((possibleBits(value) & signBit(bitsOf(value.type))) === 0n) return true;
    if (value.kind !== 'inst' || depth > 4) return false;
    switch (value.op) {
      case 'add':
      case 'mul':
        return value.has(FLAG.NSW) && value.args.every((arg) => this.isPositive(arg, depth + 1));
      case 'sdiv':
      case 'ashr':
      case 'sext':
        return (
          this.isPositive(value.args[0]!, depth + 1) &&
          (value.op !== 'sdiv' || this.isPositive(value.args[1]!, depth + 1))
        );
      case 'srem':
        return this.isPositive(value.args[0]!, depth + 1);
      case 'udiv':
      case 'urem':
        return this.isPositive(value.args[value.op === 'udiv' ? 0 : 1]!, depth + 1);
      case 'select':
        return this.isPositive(value.args[1]!, depth + 1) && this.isPositive(value.args[2]!, depth + 1);
      case 'phi':
        return this.isPositivePhi(value, depth);
      default:
        return false;
    }
  }

  /** A counter that starts at 0 or above and only grows, without overflow. */
  private isPositivePhi(phi: Inst, depth: number): boolean {
    if (this.assumed.has(phi)) return true;
    this.assumed.add(phi);
    const result = phi.args.every((arg) => arg === phi || this.isPositive(arg, depth + 1));
    this.assumed.delete(phi);
    return result;
  }

  private readonly assumed = new Set<Inst>();

  /** One value, or nothing at all on the other paths: the value, where it is known on them too. */
  private undefinedPhi(phi: Inst): boolean {
    let only: Value | undefined;
    let some = false;
    for (const arg of phi.args) {
      if (arg === phi) continue;
      if (arg.kind === 'undef') some = true;
      else if (only === undefined) only = arg;
      else if (only !== arg) return false;
    }
    if (!some || only?.kind !== 'inst' || only.block === phi.block) return false;
    if (!this.dom.dominates(only.block!, phi.block!)) return false;
    replaceUses(phi, only);
    detach(phi);
    this.changed = true;
    return true;
  }

  /** Signed operations on what is not negative are unsigned ones. */
  private unsign(inst: Inst): void {
    switch (inst.op) {
      case 'sext':
        if (inst.args[0]!.type === 'i1' || !this.isPositive(inst.args[0]!)) return;
        inst.op = 'zext';
        inst.flags |= FLAG.NNEG;
        break;
      case 'ashr':
        if (!this.isPositive(inst.args[0]!)) return;
        inst.op = 'lshr';
        break;
      case 'sdiv':
      case 'srem':
        if (!inst.args.every((arg) => this.isPositive(arg))) return;
        inst.op = inst.op === 'sdiv' ? 'udiv' : 'urem';
        break;
      default:
        return;
    }
    this.changed = true;
  }

  private visit(block: Block): void {
    this.learn(block);
    const known = this.knownAt(block);
    for (const inst of block.insts) {
      if (inst.block === undefined) continue;
      this.unsign(inst);
      if (inst.op === 'phi' && this.undefinedPhi(inst)) continue;
      const key = this.key(inst);
      if (key !== 0) {
        const { left, right } = this;
        const before = this.table.find(key, left, right);
        if (before !== undefined && before.type === inst.type) {
          // Flags hold for both or for none.
          if (before.kind === 'inst') before.flags &= inst.flags;
          replaceUses(inst, before);
          detach(inst);
          this.changed = true;
        } else this.table.put(key, left, right, inst);
        continue;
      }
      this.memory(inst, known);
    }
    this.atEnd.set(block, known);
    // The condition itself is known now, also behind the branch.
    const last = block.terminator;
    const cond = last?.op === 'condbr' ? last.args[0]! : undefined;
    if (cond?.kind === 'inst' && cond.op === 'icmp') {
      const decided = this.table.find(
        PREDICATE_CODES[cond.pred],
        this.number(cond.args[0]!),
        this.number(cond.args[1]!),
      );
      if (decided !== undefined && isConst(decided)) {
        setArg(last!, 0, decided);
        this.changed = true;
      }
    }
  }

  /** What memory holds at the start of a block: what all blocks before it agree on, and what each knows for itself. */
  private knownAt(block: Block): Known[] {
    const { preds } = block;
    const lists = preds.map((pred) => this.atEnd.get(pred));
    const [first] = lists;
    if (first === undefined) return [];
    if (lists.length === 1) return [...first];
    if (lists.length > 8 || lists.some((list) => list === undefined) || new Set(preds).size !== preds.length)
      return [];
    const merged: Known[] = [];
    for (const one of first) {
      const all = lists.map((list) =>
        list!.find(
          (other) => other.base === one.base && other.offset === one.offset && other.size === one.size,
        ),
      );
      if (all.some((other) => other === undefined)) continue;
      if (all.every((other) => other === one)) {
        merged.push(one);
        continue;
      }
      const values = all.map((other, i) => ({ value: this.valueOf(other!), from: preds[i]! }));
      const { type } = values[0]!.value;
      if (type === 'i1' || values.some(({ value }) => value.type !== type)) continue;
      const { base, offset, size, alias } = one;
      const isSame = values.every(
        ({ value }) =>
          value === values[0]!.value ||
          (isConst(value) && isConst(values[0]!.value) && value.value === values[0]!.value.value),
      );
      if (isSame) merged.push({ base, offset, size, value: values[0]!.value, alias });
      else merged.push({ base, offset, size, value: undefined, alias, merge: { block, values } });
    }
    return merged;
  }

  private valueOf(known: Known): Value {
    if (known.value !== undefined) return known.value;
    const { block, values } = known.merge!;
    const phi = new Inst(
      'phi',
      values[0]!.value.type,
      values.map(({ value }) => value),
    );
    phi.targets = values.map(({ from }) => from);
    phi.block = block;
    phi.loc = block.insts[0]?.loc;
    phi.id = this.nextNumber++;
    this.phis.push(phi);
    known.value = phi;
    return phi;
  }

  private readonly phis: Inst[] = [];

  /** What an instruction does to what is known, in place. */
  private memory(inst: Inst, known: Known[]): void {
    switch (inst.op) {
      case 'load': {
        if (inst.has(FLAG.VOLATILE)) return;
        const { base, offset } = addressOf(inst.args[0]!);
        const size = bytesOf(inst.mem);
        const at = lastOf(known, base, offset, size);
        const value =
          (at >= 0 ? this.sameBits(known[at]!, inst) : undefined) ?? this.loadConstant(base, offset, inst);
        if (value !== undefined) {
          replaceUses(inst, value);
          detach(inst);
          this.changed = true;
          return;
        }
        if (at >= 0) known.splice(at, 1);
        append(known, { base, offset, size, value: inst, alias: inst.alias });
        return;
      }
      case 'store': {
        const { base, offset } = addressOf(inst.args[0]!);
        const size = bytesOf(inst.mem);
        const value = inst.args[1]!;
        // It is there already.
        const found = known[lastOf(known, base, offset, size)];
        if (
          found !== undefined &&
          !inst.has(FLAG.VOLATILE) &&
          (found.value === value ||
            (isConst(value) &&
              isConst(found.value) &&
              found.value.value === value.value &&
              found.value.type === value.type))
        ) {
          detach(inst);
          this.changed = true;
          return;
        }
        this.clobber(known, inst.args[0]!, offset, size, inst.alias);
        if (!inst.has(FLAG.VOLATILE)) append(known, { base, offset, size, value, alias: inst.alias });
        return;
      }
      case 'memset':
      case 'memcpy':
      case 'memmove': {
        const { offset } = addressOf(inst.args[0]!);
        const size = inst.args[2]!;
        this.clobber(known, inst.args[0]!, offset, isConst(size) ? Number(size.value) : -1);
        return;
      }
      case 'atomic': {
        const { offset } = addressOf(inst.args[0]!);
        this.clobber(known, inst.args[0]!, offset, bytesOf(inst.mem));
        return;
      }
      case 'lifetime':
        keepWhere(known, (one) => one.base !== inst.args[0]);
        return;
      case 'call': {
        if (!hasEffect(inst)) return;
        const passed = new Set<Value | undefined>(inst.args.map(objectOf));
        keepWhere(known, (one) => {
          const object = objectOf(one.base);
          return object?.kind === 'inst' && !this.captured.has(object) && !passed.has(object);
        });
        return;
      }
      case 'asmgoto':
        known.length = 0;
        return;
      case 'asm':
        if (inst.asm?.memory !== false) known.length = 0;
        return;
      default:
    }
  }

  /** Leaves what is still known after a write to a pointer at `offset` of its base; size -1: any. */
  private clobber(known: Known[], pointer: Value, offset: number, size: number, alias?: AliasTag): void {
    const { base } = addressOf(pointer);
    const object = objectOf(pointer);
    keepWhere(known, (one) => {
      if (one.base === base)
        return size >= 0 && (one.offset + one.size <= offset || offset + size <= one.offset);
      if (!mayAlias(alias, one.alias)) return true;
      const other = objectOf(one.base);
      if (object !== undefined && other !== undefined) return object !== other;
      // A variable whose address stays here is not what an unknown pointer points to.
      if (object === undefined && other?.kind === 'inst') return !this.captured.has(other);
      if (other === undefined && object?.kind === 'inst') return !this.captured.has(object);
      return false;
    });
  }

  private sameBits(known: Known, load: Inst): Value | undefined {
    if (extendsRead(load)) {
      if (known.value !== undefined) return sameWide(known.value, load);
      if (known.wide !== undefined) return isSameRead(known.wide.load, load) ? known.wide.phi : undefined;
      const { block, values } = known.merge!;
      const wide = values.map(({ value }) => sameWide(value, load));
      if (!wide.every((value) => value !== undefined)) return undefined;
      const phi = new Inst('phi', load.type, wide);
      phi.targets = values.map(({ from }) => from);
      phi.block = block;
      phi.loc = block.insts[0]?.loc;
      phi.id = this.nextNumber++;
      this.phis.push(phi);
      known.wide = { phi, load };
      return phi;
    }
    const type = known.value?.type ?? known.merge!.values[0]!.value.type;
    if (type !== load.type && known.value === undefined) return undefined;
    const value = this.valueOf(known);
    if (value.type === load.type) return value;
    if (isConst(value) && bitsOf(value.type) === bitsOf(load.type)) return constant(load.type, value.value);
    return undefined;
  }

  /** Bytes of a constant that nobody changes. */
  private loadConstant(base: Value, offset: number, load: Inst): Value | undefined {
    const { mem } = load;
    if (base.kind !== 'global' || !base.readonlyContents || offset < 0) return undefined;
    const size = bytesOf(mem);
    // Copies of a fixed length from a shorter text: what lies behind it is nobody's.
    if (offset + size > base.size && base.literal !== true) return undefined;
    const reloc = base.relocs.find((one) => one.offset < offset + size && offset < one.offset + 8);
    if (reloc !== undefined)
      return reloc.offset === offset && mem === 'ptr' && reloc.addend === 0 ? reloc.target : undefined;
    let value = 0n;
    for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(base.init?.[offset + i] ?? 0);
    return extendsRead(load) ? extended(load, value) : constant(mem, value);
  }
}

/** Whether a load gives more bits than it reads, as those of the machine do: what was stored is not what it gives. */
const extendsRead = (load: Inst): boolean => bitsOf(load.type) > 8 * bytesOf(load.mem);

/** What is known to be in memory, as a load that extends gives it; undefined where the extension is not known. */
function sameWide(value: Value, load: Inst): Value | undefined {
  if (isConst(value)) return extended(load, value.value);
  return value.kind === 'inst' && value.op === 'load' && isSameRead(value, load) ? value : undefined;
}

const isSameRead = (one: Inst, other: Inst): boolean =>
  one.mem === other.mem && one.type === other.type && one.has(FLAG.SIGNED) === other.has(FLAG.SIGNED);

/** What such a load gives where the bits in memory are those of `value`. */
function extended(load: Inst, value: bigint): Value {
  const bits = 8 * bytesOf(load.mem);
  return constant(
    load.type,
    load.has(FLAG.SIGNED) ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value),
  );
}

function append(known: Known[], one: Known): void {
  known.push(one);
  if (known.length > MAX_KNOWN) known.shift();
}

function keepWhere(known: Known[], test: (one: Known) => boolean): void {
  let kept = 0;
  for (const one of known) if (test(one)) known[kept++] = one;
  known.length = kept;
}

/** Where the last entry of exactly these bytes stands; -1: there is none. */
function lastOf(known: readonly Known[], base: Value, offset: number, size: number): number {
  for (let i = known.length - 1; i >= 0; i--) {
    const one = known[i]!;
    if (one.base === base && one.offset === offset && one.size === size) return i;
  }
  return -1;
}

export function numberValues(func: Func): boolean {
  const numbering = new Numbering(func);
  numbering.run();
  return numbering.changed;
}
