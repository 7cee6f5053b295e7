/**
 * Operations that the machine does not have, as ones that it has: block copies and fills of constant size, comparisons of memory,
 * switches (as trees of comparisons: there are no jump tables before v4 and no need for them).
 */
import {
  Block,
  bytesOf,
  computePreds,
  constant,
  detach,
  FLAG,
  type Func,
  Inst,
  type IrType,
  intType,
  isConst,
  type MemType,
  replaceUses,
  signedValue,
  sweep,
  type Value,
} from '../ir/index.ts';

export type Complain = (code: string, message: string, loc: number | undefined) => void;

/** Bytes that are copied inline; beyond that the program would not fit anyway. */
const MAX_INLINE = 16_384;

class Writer {
  readonly made: Inst[] = [];
  readonly from: Inst;

  constructor(from: Inst) {
    this.from = from;
  }

  add(op: Inst['op'], type: IrType, args: Value[]): Inst {
    const inst = new Inst(op, type, args);
    inst.loc = this.from.loc;
    inst.block = this.from.block;
    this.made.push(inst);
    return inst;
  }

  at(base: Value, offset: number): Value {
    return offset === 0 ? base : this.add('ptradd', 'ptr', [base, constant('i64', BigInt(offset))]);
  }

  load(size: number, base: Value, offset: number): Inst {
    const type = intType(size * 8) as MemType;
    const inst = this.add('load', type, [this.at(base, offset)]);
    inst.mem = type;
    inst.flags |= this.from.flags & FLAG.VOLATILE;
    return inst;
  }

  store(value: Value, base: Value, offset: number): void {
    const inst = this.add('store', 'void', [this.at(base, offset), value]);
    inst.mem = value.type as MemType;
    inst.flags |= this.from.flags & FLAG.VOLATILE;
  }
}

/** What is known of a pointer's place in the frame: null where it is elsewhere, undefined where it may be in the frame. */
function frameOffset(pointer: Value): { variable: Inst; offset: number } | null | undefined {
  let at = pointer;
  let offset = 0;
  for (;;) {
    if (at.kind === 'param' || at.kind === 'global' || at.kind === 'const') return null;
    if (at.kind !== 'inst') return undefined;
    if (at.op === 'alloca') return { variable: at, offset };
    if (at.op === 'load' || at.op === 'call') return null;
    if (at.op !== 'ptradd') return undefined;
    const by = at.args[1]!;
    if (isConst(by)) offset += Number(signedValue(by));
    else {
      const base = frameOffset(at.args[0]!);
      return base === null ? null : undefined;
    }
    at = at.args[0]!;
  }
}

/** Bytes from a parameter on, where that is what a pointer is made from. */
function parameterOffset(pointer: Value): number | undefined {
  let at = pointer;
  let offset = 0;
  while (at.kind === 'inst' && at.op === 'ptradd' && isConst(at.args[1]!)) {
    offset += Number(signedValue(at.args[1]!));
    at = at.args[0]!;
  }
  return at.kind === 'param' ? offset : undefined;
}

/** The widest access that is allowed at `offset` of a pointer: frame and context must be accessed aligned, the rest need not. */
function widest(pointer: Value, offset: number, left: number, align: number): number {
  const place = frameOffset(pointer);
  let size = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
  if (place === null) {
    const start = parameterOffset(pointer);
    // A parameter may point into the frame: what C says of its place, or an aligned caller's variable.
    if (start !== undefined)
      while (size > 1 && (start + offset) % size !== 0 && (size > align || offset % size !== 0)) size /= 2;
    return size;
  }
  if (place === undefined) {
    while (size > 1 && (size > align || offset % size !== 0)) size /= 2;
    return size;
  }
  while (size > 1 && (place.offset + offset) % size !== 0) size /= 2;
  if (place.variable.align < size) place.variable.align = size;
  return size;
}

function expandCopy(inst: Inst, complain: Complain): Inst[] | undefined {
  const [to, from, length] = inst.args as [Value, Value, Value];
  if (!isConst(length) || length.value > BigInt(MAX_INLINE)) {
    complain(
      'unsupported-memory-call',
      `A call to built-in function '${inst.op}' is not supported.`,
      inst.loc,
    );
    return undefined;
  }
  const size = Number(length.value);
  const out = new Writer(inst);
  const align = Math.max(1, inst.align);
  if (inst.op === 'memset') {
    const byte = from;
    let spread: ((bytes: number) => Value) | undefined;
    if (isConst(byte)) {
      spread = (bytes) => {
        let value = 0n;
        for (let i = 0; i < bytes; i++) value = (value << 8n) | (byte.value & 0xffn);
        return constant(intType(bytes * 8), value);
      };
    } else {
      const wide = out.add('zext', 'i64', [byte]);
      const all = out.add('mul', 'i64', [wide, constant('i64', 0x0101010101010101n)]);
      spread = (bytes) => (bytes === 8 ? all : out.add('trunc', intType(bytes * 8), [all]));
    }
    for (let at = 0; at < size; ) {
      const chunk = widest(to, at, size - at, align);
      out.store(spread(chunk), to, at);
      at += chunk;
    }
    return out.made;
  }
  const chunks: { at: number; size: number }[] = [];
  for (let at = 0; at < size; ) {
    const chunk = Math.min(widest(to, at, size - at, align), widest(from, at, size - at, align));
    chunks.push({ at, size: chunk });
    at += chunk;
  }
  if (inst.op === 'memmove') {
    // All is read before anything is written: the ends may overlap.
    const values = chunks.map((chunk) => out.load(chunk.size, from, chunk.at));
    chunks.forEach((chunk, i) => {
      out.store(values[i]!, to, chunk.at);
    });
  } else for (const chunk of chunks) out.store(out.load(chunk.size, from, chunk.at), to, chunk.at);
  return out.made;
}

/** Expands copies and fills. Those of variable size are reported. */
export function expandMemory(func: Func, complain: Complain): boolean {
  if (!func.blocks.some((block) => block.insts.some((inst) => MEMORY_OPS.has(inst.op)))) return false;
  for (const block of func.blocks)
    for (const inst of block.insts)
      if (inst.op === 'libcall') {
        complain(
          'unsupported-memory-call',
          `A call to built-in function '${inst.name}' is not supported.`,
          inst.loc,
        );
        replaceUses(inst, constant(inst.type, 0n));
        detach(inst);
      }
  sweep(func);
  for (const block of func.blocks) {
    if (!block.insts.some((inst) => inst.op === 'memcpy' || inst.op === 'memmove' || inst.op === 'memset'))
      continue;
    const rebuilt: Inst[] = [];
    for (const inst of block.insts) {
      if (inst.op !== 'memcpy' && inst.op !== 'memmove' && inst.op !== 'memset') {
        rebuilt.push(inst);
        continue;
      }
      const made = expandCopy(inst, complain);
      if (made !== undefined) rebuilt.push(...made);
      detach(inst);
    }
    block.insts = rebuilt;
  }
  expandCompares(func, complain);
  return true;
}

const MEMORY_OPS: ReadonlySet<string> = new Set(['libcall', 'memcpy', 'memmove', 'memset', 'memcmp']);

/** memcmp of constant size: piece by piece; only equality is asked for in wide pieces. */
function expandCompares(func: Func, complain: Complain): void {
  for (let b = 0; b < func.blocks.length; b++) {
    const block = func.blocks[b]!;
    const index = block.insts.findIndex((inst) => inst.op === 'memcmp');
    if (index < 0) continue;
    const inst = block.insts[index]!;
    const [left, right, length] = inst.args as [Value, Value, Value];
    if (!isConst(length) || length.value > BigInt(MAX_INLINE)) {
      complain('unsupported-memory-call', "A call to built-in function 'memcmp' is not supported.", inst.loc);
      replaceUses(inst, constant('i32', 0n));
      detach(inst);
      sweep(func);
      b--;
      continue;
    }
    const size = Number(length.value);
    const equality = [...inst.users].every(
      (user) => user.op === 'icmp' && (user.pred === 'eq' || user.pred === 'ne') && isZero(user.args[1]!),
    );
    const end = new Block(func, 'memcmp.end');
    end.insts = block.insts.splice(index + 1);
    for (const moved of end.insts) moved.block = end;
    for (const succ of end.succs)
      for (const phi of succ.insts) {
        if (phi.op !== 'phi') break;
        phi.targets = phi.targets.map((from) => (from === block ? end : from));
      }
    block.insts.pop();
    const incoming: [Value, Block][] = [];
    const added: Block[] = [];
    let current = block;
    let out = new Writer(inst);
    const finish = (): void => {
      for (const made of out.made) made.block = current;
      current.insts.push(...out.made);
    };
    for (let at = 0; at < size; ) {
      const chunk = equality
        ? Math.min(
            widest(left, at, size - at, Math.max(1, inst.align)),
            widest(right, at, size - at, Math.max(1, inst.align)),
          )
        : 1;
      const a = out.load(chunk, left, at);
      const c = out.load(chunk, right, at);
      const differs = out.add('icmp', 'i1', [a, c]);
      differs.pred = 'ne';
      const next = new Block(func, 'memcmp.next');
      let leave = end;
      let value: Value = constant('i32', 1n);
      let different: Block | undefined;
      if (!equality) {
        different = new Block(func, 'memcmp.differs');
        leave = different;
      }
      const branch = out.add('condbr', 'void', [differs]);
      branch.targets = [leave, next];
      finish();
      if (different !== undefined) {
        const saved = current;
        current = different;
        out = new Writer(inst);
        const wa = out.add('zext', 'i32', [a]);
        const wc = out.add('zext', 'i32', [c]);
        value = out.add('sub', 'i32', [wa, wc]);
        const go = out.add('br', 'void', []);
        go.targets = [end];
        finish();
        added.push(different);
        incoming.push([value, different]);
        current = saved;
      } else incoming.push([value, current]);
      out = new Writer(inst);
      current = next;
      added.push(next);
      at += chunk;
    }
    const go = out.add('br', 'void', []);
    go.targets = [end];
    finish();
    incoming.push([constant('i32', 0n), current]);
    const phi = new Inst(
      'phi',
      'i32',
      incoming.map(([value]) => value),
    );
    phi.targets = incoming.map(([, from]) => from);
    phi.block = end;
    phi.loc = inst.loc;
    end.insts.unshift(phi);
    replaceUses(inst, phi);
    detach(inst);
    added.push(end);
    func.blocks.splice(b + 1, 0, ...added);
  }
  computePreds(func);
}

const isZero = (value: Value): boolean => value.kind === 'const' && value.value === 0n;

/** Switches as trees of comparisons: dense runs by range, the rest by halves. */
export function lowerSwitches(func: Func): void {
  for (let b = 0; b < func.blocks.length; b++) {
    const block = func.blocks[b]!;
    const last = block.terminator;
    if (last?.op !== 'switch') continue;
    const value = last.args[0]!;
    const { type } = value;
    const fallback = last.targets[0]!;
    interface Range {
      low: bigint;
      high: bigint;
      readonly target: Block;
    }
    const ranges: Range[] = [];
    const sorted = last.cases
      .map((number, i) => ({ number, target: last.targets[i + 1]! }))
      .filter(({ target }) => target !== fallback)
      .sort((x, y) => (x.number < y.number ? -1 : 1));
    for (const { number, target } of sorted) {
      const before = ranges[ranges.length - 1];
      if (before !== undefined && before.target === target && before.high + 1n === number)
        before.high = number;
      else ranges.push({ low: number, high: number, target });
    }
    // Phi entries are rebuilt from the edges that are made.
    const targets = new Set(last.targets);
    const values = new Map<Block, Map<Inst, Value>>();
    for (const target of targets) {
      const byPhi = new Map<Inst, Value>();
      for (const phi of target.insts) {
        if (phi.op !== 'phi') break;
        byPhi.set(phi, phi.args[phi.targets.indexOf(block)]!);
        for (let at = phi.targets.indexOf(block); at >= 0; at = phi.targets.indexOf(block)) {
          phi.targets.splice(at, 1);
          phi.args.splice(at, 1);
        }
      }
      values.set(target, byPhi);
    }
    block.insts.pop();
    const { loc } = last;
    detach(last);
    const added: Block[] = [];
    const link = (from: Block, to: Block): void => {
      for (const [phi, one] of values.get(to) ?? []) {
        phi.args.push(one);
        phi.targets.push(from);
      }
    };
    const put = (into: Block, op: Inst['op'], args: Value[], to: Block[]): Inst => {
      const inst = new Inst(op, op === 'icmp' ? 'i1' : 'void', args);
      inst.targets = to;
      inst.loc = loc;
      inst.block = into;
      into.insts.push(inst);
      return inst;
    };
    const compare = (into: Block, pred: Inst['pred'], number: bigint, yes: Block, no: Block): void => {
      const test = put(into, 'icmp', [value, constant(type, number)], []);
      test.pred = pred;
      put(into, 'condbr', [test], [yes, no]);
      for (const to of [yes, no]) link(into, to);
    };
    const go = (into: Block, to: Block): void => {
      put(into, 'br', [], [to]);
      link(into, to);
    };
    const work: { block: Block; from: number; to: number; low: bigint; high: bigint }[] = [
      { block, from: 0, to: ranges.length, low: 0n, high: (1n << BigInt(8 * bytesOf(type))) - 1n },
    ];
    const fresh = (): Block => {
      const made = new Block(func, 'switch');
      added.push(made);
      return made;
    };
    while (work.length > 0) {
      const { block: into, from, to, low, high } = work.pop()!;
      const count = to - from;
      if (count === 0) {
        go(into, fallback);
        continue;
      }
      if (count === 1) {
        const range = ranges[from]!;
        const fromStart = range.low <= low;
        const toEnd = range.high >= high;
        if (fromStart && toEnd) go(into, range.target);
        else if (range.low === range.high) compare(into, 'eq', range.low, range.target, fallback);
        else if (fromStart) compare(into, 'ule', range.high, range.target, fallback);
        else if (toEnd) compare(into, 'uge', range.low, range.target, fallback);
        else {
          const next = fresh();
          compare(into, 'ult', range.low, fallback, next);
          compare(next, 'ule', range.high, range.target, fallback);
        }
        continue;
      }
      if (count <= 3 && ranges.slice(from, to).every((range) => range.low === range.high)) {
        // A few numbers: one after the other.
        const next = fresh();
        compare(into, 'eq', ranges[from]!.low, ranges[from]!.target, next);
        work.push({ block: next, from: from + 1, to, low, high });
        continue;
      }
      const middle = from + (count >> 1);
      const left = fresh();
      const right = fresh();
      const pivot = ranges[middle]!.low;
      compare(into, 'ult', pivot, left, right);
      work.push({ block: left, from, to: middle, low, high: pivot - 1n });
      work.push({ block: right, from: middle, to, low: pivot, high });
    }
    // Uses of values that phis name are kept by hand above.
    for (const byPhi of values.values())
      for (const [phi, one] of byPhi) {
        if (one.kind !== 'inst' && one.kind !== 'param') continue;
        if (phi.args.includes(one)) one.users.add(phi);
        else one.users.delete(phi);
      }
    func.blocks.splice(b + 1, 0, ...added);
  }
  computePreds(func);
}
