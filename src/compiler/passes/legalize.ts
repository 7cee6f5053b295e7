/**
 * Types that the machine has. With 32-bit arithmetic (v3): 32 and 64 bits; without: 64 bits alone. Narrower values keep garbage
 * above their width; whoever looks there gets them extended first, once, right behind their definition, so that the value that was
 * compared is the value that is used.
 */
import {
  type Block,
  bitsOf,
  constant,
  detach,
  FLAG,
  type Func,
  Inst,
  type IrType,
  isConst,
  replaceUses,
  setArg,
  setArgs,
  signedValue,
  sweep,
  type Value,
} from '../ir/index.ts';
import { possibleBits } from './known-bits.ts';
import { maskOf } from './masks.ts';

const WRAPPING_OPS: ReadonlySet<string> = new Set(['add', 'sub', 'mul', 'and', 'or', 'xor']);
const SIGNED_OPS: ReadonlySet<string> = new Set(['sdiv', 'srem', 'ashr']);
const UNSIGNED_OPS: ReadonlySet<string> = new Set(['udiv', 'urem', 'lshr']);

export function legalize(func: Func, cpu: number): void {
  lowerTruth(func);
  narrowFrameAccesses(func);
  const word: IrType = cpu >= 3 ? 'i32' : 'i64';
  const wordBits = bitsOf(word);
  const isNarrow = (type: IrType): boolean =>
    type !== 'i1' && type !== 'ptr' && type !== 'void' && bitsOf(type) < wordBits;
  // The width that each value had.
  const width = new Map<Value, IrType>();
  const originalType = (value: Value): IrType => width.get(value) ?? value.type;
  const inserted = new Map<Inst | Block, Inst[]>();
  const insertedBefore = new Map<Inst, Inst[]>();
  const extended = new Map<Value, { z?: Value; s?: Value }>();
  const behind = (value: Inst | undefined, block: Block, inst: Inst): void => {
    inst.block = block;
    const key = value === undefined || value.op === 'phi' ? block : value;
    const list = inserted.get(key);
    if (list === undefined) inserted.set(key, [inst]);
    else list.push(inst);
  };
  const widen = (value: Value): Value => {
    if (value.kind === 'const' && isNarrow(value.type)) return constant(word, value.value);
    if (value.kind === 'undef' && isNarrow(value.type)) return { kind: 'undef', type: word };
    return value;
  };
  /** The same where nobody looks above the old width: the form that fits an instruction. */
  const widenFreely = (value: Value): Value =>
    value.kind === 'const' && isNarrow(value.type) && value.value > 0x7fff_ffffn
      ? constant(word, signedValue(value))
      : widen(value);
  for (const param of func.params) {
    if (!isNarrow(param.type)) continue;
    width.set(param, param.type);
    param.type = word;
  }
  for (const block of func.blocks)
    for (const inst of block.insts) {
      if (!isNarrow(inst.type)) continue;
      width.set(inst, inst.type);
    }
  // Above its old width a value is anything: what was said of overflows holds no more.
  for (const inst of width.keys())
    if (inst.kind === 'inst') {
      inst.type = word;
      inst.flags &= ~(FLAG.NSW | FLAG.NUW);
    }

  const extend = (value: Value, signed: boolean): Value => {
    const type = originalType(value);
    if (value.kind === 'const') {
      if (!isNarrow(value.type)) return value;
      return constant(word, signed ? signedValue(value) : value.value);
    }
    if (value.kind === 'undef') return widen(value);
    if (!isNarrow(type)) return value;
    const bits = bitsOf(type);
    const mask = maskOf(bits);
    const possible = possibleBits(value);
    if ((possible & ~mask) === 0n && (!signed || possible >> BigInt(bits - 1) === 0n)) return value;
    if (value.kind === 'inst' && value.op === 'load' && value.has(FLAG.SIGNED) && signed) return value;
    let known = extended.get(value);
    if (known === undefined) {
      known = {};
      extended.set(value, known);
    }
    const done = signed ? known.s : known.z;
    if (done !== undefined) return done;
    const block = value.kind === 'inst' ? value.block! : func.entry;
    const after = value.kind === 'inst' ? value : undefined;
    const put = (op: Inst['op'], args: Value[]): Inst => {
      const inst = new Inst(op, word, args);
      inst.loc = after?.loc;
      behind(after, block, inst);
      return inst;
    };
    // A load that only signed readers have can sign-extend itself.
    if (signed && cpu >= 4 && after?.op === 'load' && loadIsOnlySigned(after)) {
      after.flags |= FLAG.SIGNED;
      known.s = value;
      return value;
    }
    if (signed) {
      const by = constant(word, BigInt(wordBits - bits));
      const up = put('shl', [value, by]);
      known.s = put('ashr', [up, by]);
      return known.s;
    }
    known.z = put('and', [value, constant(word, mask)]);
    return known.z;
  };

  /** From below a word to 64 bits at once. */
  const signExtendWide = (inst: Inst, from: Value, bits: number): void => {
    if (cpu >= 4 && from.kind === 'inst' && from.op === 'load' && [...from.users].every(isWideSext)) {
      from.flags |= FLAG.SIGNED;
      from.type = inst.type;
      width.delete(from);
    }
    if (from.type === inst.type) {
      inst.op = 'opaque';
      inst.size = -1;
      return;
    }
    const wide = new Inst('zext', inst.type, [from]);
    const by = constant(inst.type, BigInt(bitsOf(inst.type) - bits));
    const up = new Inst('shl', inst.type, [wide, by]);
    for (const made of [wide, up]) {
      made.loc = inst.loc;
      made.block = inst.block;
    }
    insertedBefore.set(inst, [wide, up]);
    inst.op = 'ashr';
    setArgs(inst, [up, by]);
  };

  for (const block of func.blocks) {
    for (const inst of block.insts) {
      const { op } = inst;
      switch (op) {
        case 'zext':
        case 'sext': {
          const from = inst.args[0]!;
          const fromType = originalType(from);
          if (fromType === 'i1') break;
          if (!isNarrow(fromType)) {
            if (isConst(from)) break;
            break;
          }
          if (op === 'sext' && inst.type !== word && from.kind !== 'const' && from.kind !== 'undef') {
            signExtendWide(inst, from, bitsOf(fromType));
            break;
          }
          const value = extend(from, op === 'sext');
          // To the word itself: nothing is left to do.
          if (inst.type === word) {
            setArg(inst, 0, value);
            inst.op = 'opaque';
            inst.size = -1;
          } else setArg(inst, 0, value);
          break;
        }
        case 'trunc': {
          const from = inst.args[0]!;
          if (from.type === inst.type) {
            inst.op = 'opaque';
            inst.size = -1;
          }
          break;
        }
        case 'icmp': {
          if (!isNarrow(originalType(inst.args[0]!)) && !isNarrow(originalType(inst.args[1]!))) break;
          const signed = inst.pred.startsWith('s');
          setArgs(inst, [extend(inst.args[0]!, signed), extend(inst.args[1]!, signed)]);
          break;
        }
        default:
          if (width.has(inst) && (SIGNED_OPS.has(op) || UNSIGNED_OPS.has(op))) {
            const signed = SIGNED_OPS.has(op);
            const shift = op === 'ashr' || op === 'lshr';
            setArgs(inst, [
              extend(inst.args[0]!, signed),
              shift ? widen(inst.args[1]!) : extend(inst.args[1]!, signed),
            ]);
          } else if (op === 'inttoptr' || op === 'ptrtoint') break;
          else if (op === 'store') {
            inst.args.forEach((arg, i) => {
              setArg(inst, i, widen(arg));
            });
          } else {
            const wraps = width.has(inst) && WRAPPING_OPS.has(op);
            inst.args.forEach((arg, i) => {
              setArg(inst, i, wraps ? widenFreely(arg) : widen(arg));
            });
          }
      }
    }
  }
  // Put in what was made, right behind what it extends.
  for (const block of func.blocks) {
    const rebuilt: Inst[] = [];
    const atStart = inserted.get(block);
    let started = atStart === undefined;
    for (const inst of block.insts) {
      if (!started && inst.op !== 'phi' && inst.op !== 'alloca') {
        rebuilt.push(...(atStart ?? []));
        started = true;
      }
      rebuilt.push(...(insertedBefore.get(inst) ?? []));
      rebuilt.push(inst);
      const behindIt = inst.op === 'phi' ? undefined : inserted.get(inst);
      if (behindIt !== undefined) rebuilt.push(...behindIt);
    }
    block.insts = rebuilt;
  }
  // Conversions within the word are names only.
  for (const block of func.blocks) {
    for (const inst of block.insts) {
      if (inst.op !== 'opaque' || inst.size !== -1) continue;
      replaceUses(inst, inst.args[0]!);
      detach(inst);
    }
  }
  sweep(func);
}

const isWideSext = (user: Inst): boolean => user.op === 'sext' && user.type === 'i64';

function loadIsOnlySigned(load: Inst): boolean {
  for (const user of load.users) if (user.op !== 'sext') return false;
  return true;
}

/** Truth values that are more than the condition of a branch: 0 and 1 in a word. */
function lowerTruth(func: Func): void {
  for (const block of func.blocks) {
    const rebuilt: Inst[] = [];
    const tests = new Map<Inst, Inst>();
    let changed = false;
    for (const inst of block.insts) {
      const isLogic = inst.type === 'i1' && (inst.op === 'and' || inst.op === 'or' || inst.op === 'xor');
      const isChoice = inst.type === 'i1' && (inst.op === 'phi' || inst.op === 'select');
      if (!isLogic && !isChoice) {
        rebuilt.push(inst);
        continue;
      }
      changed = true;
      // As 32 bits, and a comparison with 0 for the readers.
      const from = isChoice && inst.op === 'select' ? 1 : 0;
      if (inst.op === 'phi') {
        inst.args.forEach((arg, i) => {
          const source = inst.targets[i]!;
          setPhiArg(
            inst,
            i,
            wordOf(arg, (made) => beforeTerminator(source, made)),
          );
        });
      } else {
        inst.args.forEach((arg, i) => {
          if (i < from) return;
          setArg(
            inst,
            i,
            wordOf(arg, (made) => {
              made.block = block;
              made.loc = inst.loc;
              rebuilt.push(made);
            }),
          );
        });
      }
      const users = [...inst.users];
      inst.type = 'i32';
      rebuilt.push(inst);
      const test = new Inst('icmp', 'i1', [inst, constant('i32', 0n)]);
      test.pred = 'ne';
      test.block = block;
      test.loc = inst.loc;
      tests.set(inst, test);
      for (const user of users) {
        for (let i = 0; i < user.args.length; i++) if (user.args[i] === inst) setArg(user, i, test);
      }
    }
    if (changed) block.insts = rebuilt;
    if (tests.size > 0) placeTests(block, tests);
  }
}

function placeTests(block: Block, byInst: ReadonlyMap<Inst, Inst>): void {
  const phis: Inst[] = [];
  const rest: Inst[] = [];
  const tests: Inst[] = [];
  for (const inst of block.insts) {
    const test = byInst.get(inst);
    if (inst.op === 'phi') {
      phis.push(inst);
      if (test !== undefined) tests.push(test);
    } else {
      rest.push(inst);
      if (test !== undefined) rest.push(test);
    }
  }
  block.insts = [...phis, ...tests, ...rest];
}

function setPhiArg(phi: Inst, index: number, value: Value): void {
  setArg(phi, index, value);
}

function wordOf(value: Value, put: (inst: Inst) => void): Value {
  if (value.type !== 'i1') return value;
  if (value.kind === 'const') return constant('i32', value.value);
  if (value.kind === 'undef') return constant('i32', 0n);
  const inst = new Inst('zext', 'i32', [value]);
  put(inst);
  return inst;
}

function beforeTerminator(block: Block, inst: Inst): void {
  inst.block = block;
  inst.loc = block.terminator?.loc;
  block.insts.splice(block.insts.length - 1, 0, inst);
}

/** The frame must be accessed aligned: what is not is done in pieces, and variables get the alignment of their accesses. */
function narrowFrameAccesses(func: Func): void {
  for (const block of func.blocks) {
    const rebuilt: Inst[] = [];
    let changed = false;
    for (const inst of block.insts) {
      if (inst.op !== 'load' && inst.op !== 'store') {
        rebuilt.push(inst);
        continue;
      }
      const size = bitsOf(inst.mem) / 8;
      let offset = 0;
      let base = inst.args[0]!;
      while (base.kind === 'inst' && base.op === 'ptradd' && isConst(base.args[1])) {
        offset += Number(signedValue(base.args[1]));
        base = base.args[0]!;
      }
      if (base.kind !== 'inst' || base.op !== 'alloca' || size === 1) {
        rebuilt.push(inst);
        continue;
      }
      if (offset % size === 0) {
        if (base.align < size) base.align = size;
        rebuilt.push(inst);
        continue;
      }
      changed = true;
      let unit = size / 2;
      while (offset % unit !== 0) unit /= 2;
      if (base.align < unit) base.align = unit;
      const type = `i${unit * 8}` as 'i8' | 'i16' | 'i32';
      const wide: IrType = inst.mem === 'ptr' ? 'i64' : inst.mem;
      const put = (op: Inst['op'], result: IrType, args: Value[]): Inst => {
        const made = new Inst(op, result, args);
        made.loc = inst.loc;
        made.block = block;
        rebuilt.push(made);
        return made;
      };
      const at = (step: number): Value =>
        put('ptradd', 'ptr', [base, constant('i64', BigInt(offset + step))]);
      if (inst.op === 'load') {
        let whole: Value | undefined;
        for (let step = 0; step < size; step += unit) {
          const part = put('load', type, [at(step)]);
          part.mem = type;
          const big = put('zext', wide, [part]);
          const moved = step === 0 ? big : put('shl', wide, [big, constant(wide, BigInt(8 * step))]);
          whole = whole === undefined ? moved : put('or', wide, [whole, moved]);
        }
        let value = whole!;
        if (inst.mem === 'ptr') value = put('inttoptr', 'ptr', [value]);
        replaceUses(inst, value);
      } else {
        let value = inst.args[1]!;
        if (value.type === 'ptr') value = put('ptrtoint', 'i64', [value]);
        for (let step = 0; step < size; step += unit) {
          const moved = step === 0 ? value : put('lshr', wide, [value, constant(wide, BigInt(8 * step))]);
          const part = put('trunc', type, [moved]);
          const store = put('store', 'void', [at(step), part]);
          store.mem = type;
        }
      }
      detach(inst);
    }
    if (changed) block.insts = rebuilt;
  }
}
