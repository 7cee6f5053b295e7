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
  isConst,
  type MemType,
  mayAlias,
  replaceUses,
  setArg,
  signedValue,
  sweep,
  type Value,
} from '../ir/index.ts';
import { possibleBits } from './known-bits.ts';

const MAX_KNOWN = 96;

interface Known {
  readonly base: Value;
  readonly offset: number;
  readonly size: number;
  /** Undefined: different things came from the blocks before; a phi is made when somebody reads it. */
  value: Value | undefined;
  readonly alias: AliasTag | undefined;
  readonly merge?: { readonly block: Block; readonly values: readonly { value: Value; from: Block }[] };
}

/** Base and constant offset of an address. */
export function addressOf(pointer: Value): { base: Value; offset: number } {
  let base = pointer;
  let offset = 0;
  while (base.kind === 'inst' && base.op === 'ptradd' && isConst(base.args[1])) {
    offset += Number(signedValue(base.args[1]));
    base = base.args[0]!;
  }
  return { base, offset };
}

/** What object a pointer points into, where that is known. */
export function objectOf(pointer: Value): Value | undefined {
  let at = pointer;
  while (at.kind === 'inst' && at.op === 'ptradd') at = at.args[0]!;
  if (at.kind === 'global') return at;
  if (at.kind === 'inst' && at.op === 'alloca') return at;
  return undefined;
}

/** Variables whose address is used in other ways than for loads, stores and arguments of calls. */
export function capturedVariables(func: Func): Set<Inst> {
  const captured = new Set<Inst>();
  for (const alloca of func.entry.insts) {
    if (alloca.op !== 'alloca') continue;
    const work: Inst[] = [alloca];
    const seen = new Set<Inst>(work);
    scan: while (work.length > 0) {
      const value = work.pop()!;
      for (const user of value.users) {
        switch (user.op) {
          case 'load':
          case 'lifetime':
          case 'call':
          case 'icmp':
          case 'memcpy':
          case 'memset':
          case 'memmove':
          case 'memcmp':
            continue;
          case 'store':
            if (user.args[1] !== value) continue;
            captured.add(alloca);
            break scan;
          case 'atomic':
            if (user.args[0] === value && !user.args.slice(1).includes(value)) continue;
            captured.add(alloca);
            break scan;
          case 'ptradd':
            if (!seen.has(user)) {
              seen.add(user);
              work.push(user);
            }
            continue;
          default:
            captured.add(alloca);
            break scan;
        }
      }
    }
  }
  return captured;
}

class Numbering {
  private readonly func: Func;
  private readonly dom: Dominators;
  private readonly numbers = new Map<Value, number>();
  private readonly captured: Set<Inst>;
  private readonly table = new Map<string, Value>();
  private readonly atEnd = new Map<Block, Known[]>();
  changed = false;

  constructor(func: Func) {
    this.func = func;
    this.dom = new Dominators(func);
    this.captured = capturedVariables(func);
  }

  private number(value: Value): string {
    if (value.kind === 'const') return `${value.type}:${value.value}`;
    if (value.kind === 'undef') return `${value.type}:?`;
    let number = this.numbers.get(value);
    if (number === undefined) {
      number = this.numbers.size;
      this.numbers.set(value, number);
    }
    return `%${number}`;
  }

  private key(inst: Inst): string | undefined {
    const { op } = inst;
    if (BINARY_OPS.has(op)) {
      let [a, b] = inst.args.map((arg) => this.number(arg)) as [string, string];
      if ((op === 'add' || op === 'mul' || op === 'and' || op === 'or' || op === 'xor') && a > b)
        [a, b] = [b, a];
      return `${op} ${inst.type} ${a} ${b}`;
    }
    switch (op) {
      case 'icmp':
        return `icmp ${inst.pred} ${this.number(inst.args[0]!)} ${this.number(inst.args[1]!)}`;
      case 'zext':
      case 'sext':
      case 'trunc':
      case 'ptrtoint':
      case 'inttoptr':
        return `${op} ${inst.type} ${this.number(inst.args[0]!)}`;
      case 'bswap':
        return `bswap ${inst.mem} ${this.number(inst.args[0]!)}`;
      case 'ptradd':
        return `ptradd ${this.number(inst.args[0]!)} ${this.number(inst.args[1]!)}`;
      case 'select':
        return `select ${inst.args.map((arg) => this.number(arg)).join(' ')}`;
      case 'call':
        if (inst.callee?.kind !== 'function' || inst.callee.func.effects !== 'none') return undefined;
        return `call ${inst.callee.func.name} ${inst.args.map((arg) => this.number(arg)).join(' ')}`;
      default:
        return undefined;
    }
  }

  run(): void {
    const undo: { block: Block; next: number; added: [string, Value | undefined][] }[] = [];
    const enter = (block: Block): void => {
      const added: [string, Value | undefined][] = [];
      this.visit(block, (key, value) => {
        added.push([key, this.table.get(key)]);
        this.table.set(key, value);
      });
      undo.push({ block, next: 0, added });
    };
    enter(this.func.entry);
    while (undo.length > 0) {
      const top = undo[undo.length - 1]!;
      const children = this.dom.childrenOf(top.block);
      if (top.next < children.length) enter(children[top.next++]!);
      else {
        for (let i = top.added.length - 1; i >= 0; i--) {
          const [key, old] = top.added[i]!;
          if (old === undefined) this.table.delete(key);
          else this.table.set(key, old);
        }
        undo.pop();
      }
    }
    for (const phi of this.phis) phi.block!.insts.unshift(phi);
    sweep(this.func);
  }

  /** What the branch into a block says. */
  private learn(block: Block, put: (key: string, value: Value) => void): void {
    if (block.preds.length !== 1) return;
    const last = block.preds[0]!.terminator;
    if (last?.op !== 'condbr' || last.targets[0] === last.targets[1]) return;
    const cond = last.args[0]!;
    if (cond.kind !== 'inst' || cond.op !== 'icmp') return;
    const truth = last.targets[0] === block;
    const a = this.number(cond.args[0]!);
    const b = this.number(cond.args[1]!);
    const bit = (value: boolean): Const => constant('i1', value ? 1n : 0n);
    put(`icmp ${cond.pred} ${a} ${b}`, bit(truth));
    put(`icmp ${INVERSE[cond.pred]} ${a} ${b}`, bit(!truth));
    // What is compared with constants may turn out not to be negative.
    const limit = cond.args[1]!;
    if (!isConst(limit)) return;
    const pred = truth ? cond.pred : INVERSE[cond.pred];
    const number = signedValue(limit);
    const sign = 1n << BigInt(bitsOf(limit.type) - 1);
    const isPositive =
      (pred === 'sge' && number >= 0n) ||
      (pred === 'sgt' && number >= -1n) ||
      (pred === 'eq' && number >= 0n) ||
      (pred === 'ult' && limit.value <= sign) ||
      (pred === 'ule' && limit.value < sign);
    if (isPositive) put(`positive ${a}`, bit(true));
  }

  /** Whether the sign bit is known to be 0, here. */
  private isPositive(value: Value, depth = 0): boolean {
    if (isConst(value)) return signedValue(value) >= 0n;
    if (value.kind !== 'inst' && value.kind !== 'param') return false;
    if (this.table.has(`positive ${this.number(value)}`)) return true;
    if ((possibleBits(value) & (1n << BigInt(bitsOf(value.type) - 1))) === 0n) return true;
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

  private visit(block: Block, put: (key: string, value: Value) => void): void {
    this.learn(block, put);
    let known = this.knownAt(block);
    for (const inst of block.insts) {
      if (inst.block === undefined) continue;
      this.unsign(inst);
      if (inst.op === 'phi' && this.undefinedPhi(inst)) continue;
      const key = this.key(inst);
      if (key !== undefined) {
        const before = this.table.get(key);
        if (before !== undefined && before.type === inst.type) {
          // Flags hold for both or for none.
          if (before.kind === 'inst') before.flags &= inst.flags;
          replaceUses(inst, before);
          detach(inst);
          this.changed = true;
        } else put(key, inst);
        continue;
      }
      known = this.memory(inst, known);
    }
    this.atEnd.set(block, known);
    // The condition itself is known now, also behind the branch.
    const last = block.terminator;
    const cond = last?.op === 'condbr' ? last.args[0]! : undefined;
    if (cond?.kind === 'inst' && cond.op === 'icmp') {
      const decided = this.table.get(
        `icmp ${cond.pred} ${this.number(cond.args[0]!)} ${this.number(cond.args[1]!)}`,
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
    this.phis.push(phi);
    known.value = phi;
    return phi;
  }

  private readonly phis: Inst[] = [];

  private memory(inst: Inst, known: Known[]): Known[] {
    switch (inst.op) {
      case 'load': {
        if (inst.has(FLAG.VOLATILE)) return known;
        const { base, offset } = addressOf(inst.args[0]!);
        const size = bytesOf(inst.mem);
        const found = known.findLast(
          (one) => one.base === base && one.offset === offset && one.size === size,
        );
        if (found !== undefined) {
          const value = this.sameBits(found, inst);
          if (value !== undefined) {
            replaceUses(inst, value);
            detach(inst);
            this.changed = true;
            return known;
          }
        }
        const constantValue = this.loadConstant(base, offset, inst.mem);
        if (constantValue !== undefined) {
          replaceUses(inst, constantValue);
          detach(inst);
          this.changed = true;
          return known;
        }
        return limit([
          ...known.filter((one) => one !== found),
          { base, offset, size, value: inst, alias: inst.alias },
        ]);
      }
      case 'store': {
        const { base, offset } = addressOf(inst.args[0]!);
        const size = bytesOf(inst.mem);
        const value = inst.args[1]!;
        // It is there already.
        const found = known.findLast(
          (one) => one.base === base && one.offset === offset && one.size === size,
        );
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
          return known;
        }
        const kept = this.clobber(known, inst.args[0]!, offset, size, inst.alias);
        return inst.has(FLAG.VOLATILE)
          ? kept
          : limit([...kept, { base, offset, size, value, alias: inst.alias }]);
      }
      case 'memset':
      case 'memcpy':
      case 'memmove': {
        const { offset } = addressOf(inst.args[0]!);
        const size = inst.args[2]!;
        return this.clobber(known, inst.args[0]!, offset, isConst(size) ? Number(size.value) : -1);
      }
      case 'atomic': {
        const { offset } = addressOf(inst.args[0]!);
        return this.clobber(known, inst.args[0]!, offset, bytesOf(inst.mem));
      }
      case 'lifetime':
        return known.filter((one) => one.base !== inst.args[0]);
      case 'call': {
        if (!hasEffect(inst)) return known;
        const passed = new Set<Value | undefined>(inst.args.map(objectOf));
        return known.filter((one) => {
          const object = objectOf(one.base);
          return object?.kind === 'inst' && !this.captured.has(object) && !passed.has(object);
        });
      }
      case 'asmgoto':
        return [];
      case 'asm':
        return inst.asm?.memory === false ? known : [];
      default:
        return known;
    }
  }

  /** What is still known after a write to a pointer at `offset` of its base; size -1: any. */
  private clobber(
    known: readonly Known[],
    pointer: Value,
    offset: number,
    size: number,
    alias?: AliasTag,
  ): Known[] {
    const { base } = addressOf(pointer);
    const object = objectOf(pointer);
    return known.filter((one) => {
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
    const type = known.value?.type ?? known.merge!.values[0]!.value.type;
    if (type !== load.type && known.value === undefined) return undefined;
    const value = this.valueOf(known);
    if (value.type === load.type) return value;
    if (isConst(value) && bitsOf(value.type) === bitsOf(load.type)) return constant(load.type, value.value);
    return undefined;
  }

  /** Bytes of a constant that nobody changes. */
  private loadConstant(base: Value, offset: number, mem: MemType): Value | undefined {
    if (base.kind !== 'global' || !base.readonlyContents || offset < 0) return undefined;
    const size = bytesOf(mem);
    // Copies of a fixed length from a shorter text: what lies behind it is nobody's.
    if (offset + size > base.size && base.literal !== true) return undefined;
    const reloc = base.relocs.find((one) => one.offset < offset + size && offset < one.offset + 8);
    if (reloc !== undefined)
      return reloc.offset === offset && mem === 'ptr' && reloc.addend === 0 ? reloc.target : undefined;
    let value = 0n;
    for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(base.init?.[offset + i] ?? 0);
    return constant(mem, value);
  }
}

const limit = (known: Known[]): Known[] => (known.length > MAX_KNOWN ? known.slice(1) : known);

export function numberValues(func: Func): boolean {
  const numbering = new Numbering(func);
  numbering.run();
  return numbering.changed;
}
