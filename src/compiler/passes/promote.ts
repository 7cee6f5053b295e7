/**
 * Variables to registers: aggregates whose address does not escape are cut into the parts that are read and written (scalar
 * replacement), and each part becomes SSA values with phis where definitions meet (Cytron et al. 1991).
 */
import {
  type Block,
  bitsOf,
  bytesOf,
  constant,
  Dominators,
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
  undef,
  type Value,
} from '../ir/index.ts';

interface Access {
  readonly inst: Inst;
  /** Which operand is the pointer. */
  readonly operand: number;
  readonly offset: number;
  readonly size: number;
}

interface Part {
  readonly offset: number;
  readonly size: number;
  type: IrType;
  home: Inst | undefined;
}

const MAX_PARTS = 64;
const MAX_COPY_PARTS = 24;

/** All uses of an alloca at constant offsets, or undefined where one is of another kind. */
function accesses(alloca: Inst): { list: Access[]; pointers: Inst[] } | undefined {
  const list: Access[] = [];
  const pointers: Inst[] = [];
  const work: { value: Inst; offset: number }[] = [{ value: alloca, offset: 0 }];
  while (work.length > 0) {
    const { value, offset } = work.pop()!;
    for (const user of value.users) {
      switch (user.op) {
        case 'ptradd': {
          const by = user.args[1]!;
          if (user.args[0] !== value || !isConst(by)) return undefined;
          pointers.push(user);
          work.push({ value: user, offset: offset + Number(signedValue(by)) });
          break;
        }
        case 'load':
          if (user.has(FLAG.VOLATILE)) return undefined;
          list.push({ inst: user, operand: 0, offset, size: bytesOf(user.mem) });
          break;
        case 'store':
          if (user.args[1] === value || user.has(FLAG.VOLATILE)) return undefined;
          list.push({ inst: user, operand: 0, offset, size: bytesOf(user.mem) });
          break;
        case 'memset':
        case 'memcpy':
        case 'memmove': {
          const size = user.args[2]!;
          if (!isConst(size) || user.has(FLAG.VOLATILE)) return undefined;
          if (user.op === 'memset' && !isConst(user.args[1])) return undefined;
          // Both ends in one variable.
          if (user.args[0] === value && user.args[1] === value) return undefined;
          list.push({
            inst: user,
            operand: user.args[0] === value ? 0 : 1,
            offset,
            size: Number(size.value),
          });
          break;
        }
        case 'lifetime':
          list.push({ inst: user, operand: 0, offset: 0, size: alloca.size });
          break;
        default:
          return undefined;
      }
    }
  }
  for (const { offset, size } of list) if (offset < 0 || offset + size > alloca.size) return undefined;
  return { list, pointers };
}

const isBulk = (inst: Inst): boolean =>
  inst.op === 'memset' || inst.op === 'memcpy' || inst.op === 'memmove' || inst.op === 'lifetime';

/** Disjoint parts that no access straddles; undefined where they would be too large or too many. */
function partition(alloca: Inst, list: readonly Access[]): Part[] | undefined {
  const ranges = list
    .filter(({ inst }) => !isBulk(inst))
    .map(({ offset, size, inst }) => ({
      start: offset,
      end: offset + size,
      type: inst.op === 'load' ? inst.type : inst.args[1]!.type,
    }))
    .sort((a, b) => a.start - b.start || b.end - a.end);
  const parts: Part[] = [];
  let last: { start: number; end: number; type: IrType } | undefined;
  const flush = (): boolean => {
    if (last === undefined) return true;
    const size = last.end - last.start;
    if (size > 8 || (size & (size - 1)) !== 0) return false;
    parts.push({ offset: last.start, size, type: last.type, home: undefined });
    return true;
  };
  for (const range of ranges) {
    if (last !== undefined && range.start < last.end) {
      // The widest access decides the type.
      if (range.end - range.start > last.end - last.start) last.type = range.type;
      if (range.end - range.start === last.end - last.start && range.type === 'ptr') last.type = 'ptr';
      last.end = Math.max(last.end, range.end);
      continue;
    }
    if (!flush()) return undefined;
    last = { ...range };
  }
  if (!flush()) return undefined;
  for (const part of parts) {
    if (part.type === 'i1') part.type = 'i8';
    if (bytesOf(part.type) !== part.size) part.type = intType(part.size * 8);
  }
  // What is only copied needs parts too.
  const copies = list.filter(({ inst }) => inst.op === 'memcpy' || inst.op === 'memmove');
  if (copies.length > 0) {
    const covered = new Uint8Array(alloca.size);
    const filled: Part[] = [...parts];
    for (const part of parts) covered.fill(1, part.offset, part.offset + part.size);
    for (const { offset, size } of copies) {
      for (let at = offset; at < offset + size; ) {
        if (covered[at] === 1) {
          at++;
          continue;
        }
        let room = 8;
        const free = (bytes: number): boolean => {
          for (let i = 0; i < bytes; i++) if (at + i >= offset + size || covered[at + i] === 1) return false;
          return true;
        };
        while (at % room !== 0 || !free(room)) room /= 2;
        filled.push({ offset: at, size: room, type: intType(room * 8), home: undefined });
        covered.fill(1, at, at + room);
        at += room;
      }
    }
    filled.sort((a, b) => a.offset - b.offset);
    // A copy that cuts a part in two is beyond us.
    for (const { offset, size } of copies) {
      for (const part of filled) {
        const inside = part.offset >= offset && part.offset + part.size <= offset + size;
        const outside = part.offset >= offset + size || part.offset + part.size <= offset;
        if (!inside && !outside) return undefined;
      }
    }
    if (filled.length > MAX_COPY_PARTS) return undefined;
    return filled;
  }
  return parts.length > MAX_PARTS ? undefined : parts;
}

/** Puts instructions before another one. */
class Inserter {
  readonly before: Inst;
  readonly made: Inst[] = [];

  constructor(before: Inst) {
    this.before = before;
  }

  add(op: Inst['op'], type: IrType, args: Value[]): Inst {
    const inst = new Inst(op, type, args);
    inst.loc = this.before.loc;
    inst.block = this.before.block;
    this.made.push(inst);
    return inst;
  }

  load(type: IrType, address: Value): Inst {
    const inst = this.add('load', type, [address]);
    inst.mem = type as MemType;
    return inst;
  }

  store(value: Value, address: Value): void {
    const inst = this.add('store', 'void', [address, value]);
    inst.mem = value.type as MemType;
  }

  at(base: Value, offset: number): Value {
    return offset === 0 ? base : this.add('ptradd', 'ptr', [base, constant('i64', BigInt(offset))]);
  }

  /** The same bits as another type of the same size. */
  cast(value: Value, type: IrType): Value {
    if (value.type === type) return value;
    if (value.kind === 'const') return constant(type, value.value);
    if (value.kind === 'undef') return undef(type);
    if (type === 'ptr') return this.add('inttoptr', 'ptr', [value]);
    if (value.type === 'ptr') return this.add('ptrtoint', 'i64', [value]);
    return this.add(bitsOf(type) > bitsOf(value.type) ? 'zext' : 'trunc', type, [value]);
  }
}

function splat(byte: bigint, type: IrType): Value {
  let value = 0n;
  for (let i = 0; i < bytesOf(type); i++) value = (value << 8n) | (byte & 0xffn);
  return constant(type, value);
}

/** Cuts one alloca; gives the allocas of its parts. Instructions to insert are collected by the one they stand before. */
function cut(
  alloca: Inst,
  list: readonly Access[],
  parts: readonly Part[],
  inserts: Map<Inst, Inst[]>,
): Inst[] {
  const homes: Inst[] = [];
  const home = (part: Part): Inst => {
    if (part.home === undefined) {
      const inst = new Inst('alloca', 'ptr', []);
      inst.size = part.size;
      inst.align = part.size;
      inst.name = alloca.name;
      inst.mem = part.type as MemType;
      inst.block = alloca.block;
      part.home = inst;
      homes.push(inst);
    }
    return part.home;
  };
  for (const { inst, operand, offset, size } of list) {
    const out = new Inserter(inst);
    switch (inst.op) {
      case 'lifetime':
        for (const part of parts) out.add('lifetime', 'void', [home(part)]);
        break;
      case 'memset': {
        const byte = inst.args[1]!;
        for (const part of parts) {
          const from = Math.max(part.offset, offset);
          const to = Math.min(part.offset + part.size, offset + size);
          if (from >= to || byte.kind !== 'const') continue;
          if (to - from === part.size) out.store(splat(byte.value, part.type), home(part));
          else
            insertPart(out, part, home(part), from - part.offset, to - from, byteMask(byte.value, to - from));
        }
        break;
      }
      case 'memcpy':
      case 'memmove': {
        const other = inst.args[1 - operand]!;
        const inside = parts.filter(
          (part) => part.offset >= offset && part.offset + part.size <= offset + size,
        );
        const values = inside.map((part) =>
          operand === 0
            ? out.load(part.type, out.at(other, part.offset - offset))
            : out.load(part.type, home(part)),
        );
        inside.forEach((part, i) => {
          if (operand === 0) out.store(values[i]!, home(part));
          else out.store(values[i]!, out.at(other, part.offset - offset));
        });
        break;
      }
      case 'load': {
        const part = parts.find((one) => one.offset <= offset && offset < one.offset + one.size)!;
        const whole = out.load(part.type, home(part));
        replaceUses(inst, extractPart(out, part, whole, offset - part.offset, inst.type));
        break;
      }
      default: {
        const part = parts.find((one) => one.offset <= offset && offset < one.offset + one.size)!;
        const value = inst.args[1]!;
        if (size === part.size) out.store(out.cast(value, part.type), home(part));
        else {
          const wide = intType(part.size * 8);
          const narrow = out.cast(value, intType(size * 8));
          insertPart(out, part, home(part), offset - part.offset, size, out.cast(narrow, wide));
        }
      }
    }
    inserts.set(inst, out.made);
  }
  return homes;
}

function byteMask(byte: bigint, count: number): Value {
  return splat(byte, 'i64').kind === 'const'
    ? constant('i64', BigInt.asUintN(count * 8, (splat(byte, 'i64') as { value: bigint }).value))
    : undef('i64');
}

function extractPart(out: Inserter, part: Part, whole: Value, skip: number, type: IrType): Value {
  if (skip === 0 && bytesOf(type) === part.size) return out.cast(whole, type);
  const wide = intType(part.size * 8);
  let value = out.cast(whole, wide);
  if (skip > 0) value = out.add('lshr', wide, [value, constant(wide, BigInt(8 * skip))]);
  return out.cast(out.cast(value, intType(bitsOf(type))), type);
}

function insertPart(out: Inserter, part: Part, home: Inst, skip: number, size: number, value: Value): void {
  const wide = intType(part.size * 8);
  const mask = ((1n << BigInt(8 * size)) - 1n) << BigInt(8 * skip);
  const old = out.cast(out.load(part.type, home), wide);
  const kept = out.add('and', wide, [old, constant(wide, ~mask)]);
  let added = out.cast(value, wide);
  if (skip > 0) added = out.add('shl', wide, [added, constant(wide, BigInt(8 * skip))]);
  out.store(out.cast(out.add('or', wide, [kept, added]), part.type), home);
}

/** Rewrites loads and stores of the given one-part variables (`mem` is their type) as values. */
export function construct(func: Func, homes: readonly Inst[]): void {
  if (homes.length === 0) return;
  const dom = new Dominators(func);
  const frontiers = dom.frontiers();
  const index = new Map(homes.map((home, i) => [home, i]));
  const phis = new Map<Inst, number>();
  homes.forEach((home, i) => {
    const loads = [...home.users].some((user) => user.op === 'load');
    if (!loads) return;
    const work: Block[] = [];
    const placed = new Set<Block>();
    for (const user of home.users) {
      if (user.op !== 'load' && user.block !== undefined && dom.reachable(user.block)) work.push(user.block);
    }
    const live = liveInto(home, dom);
    while (work.length > 0) {
      const block = work.pop()!;
      for (const target of frontiers[dom.indexOf(block)]!) {
        if (placed.has(target) || !live.has(target)) continue;
        placed.add(target);
        const phi = new Inst('phi', home.mem, []);
        phi.block = target;
        phi.loc = target.insts[0]?.loc;
        target.insts.unshift(phi);
        phis.set(phi, i);
        work.push(target);
      }
    }
  });
  // Renaming along the dominator tree, without recursion.
  const stacks: Value[][] = homes.map((home) => [undef(home.mem)]);
  const visit: { block: Block; next: number; pushed: number[] }[] = [];
  const enter = (block: Block): void => {
    const pushed: number[] = [];
    const set = (i: number, value: Value): void => {
      stacks[i]!.push(value);
      pushed.push(i);
    };
    for (const inst of block.insts) {
      const phi = phis.get(inst);
      if (phi !== undefined) {
        set(phi, inst);
        continue;
      }
      const home = inst.args[0];
      const i = home?.kind === 'inst' ? index.get(home) : undefined;
      if (i === undefined) continue;
      if (inst.op === 'load') {
        replaceUses(inst, stacks[i]![stacks[i]!.length - 1]!);
      } else if (inst.op === 'store') set(i, inst.args[1]!);
      else set(i, undef(home!.kind === 'inst' ? home.mem : 'i64'));
      detach(inst);
    }
    for (const succ of new Set(block.succs)) {
      for (const inst of succ.insts) {
        if (inst.op !== 'phi') break;
        const phi = phis.get(inst);
        if (phi === undefined) continue;
        const value = stacks[phi]![stacks[phi]!.length - 1]!;
        // A block may be a successor twice.
        for (const pred of succ.preds) {
          if (pred !== block) continue;
          inst.args.push(value);
          if (value.kind === 'inst' || value.kind === 'param') value.users.add(inst);
          inst.targets.push(block);
        }
      }
    }
    visit.push({ block, next: 0, pushed });
  };
  enter(func.entry);
  while (visit.length > 0) {
    const top = visit[visit.length - 1]!;
    const children = dom.childrenOf(top.block);
    if (top.next < children.length) enter(children[top.next++]!);
    else {
      for (const i of top.pushed) stacks[i]!.pop();
      visit.pop();
    }
  }
  // What cannot be reached goes.
  for (const block of func.blocks) {
    if (dom.reachable(block)) continue;
    for (const inst of block.insts) {
      const home = inst.args[0];
      if (home?.kind !== 'inst' || !index.has(home)) continue;
      if (inst.type !== 'void') replaceUses(inst, undef(inst.type));
      detach(inst);
    }
  }
  for (const home of homes) detach(home);
  sweep(func);
}

/** Blocks at whose start the variable is read before it is written. */
function liveInto(home: Inst, dom: Dominators): Set<Block> {
  const first = new Map<Block, 'read' | 'write'>();
  const blocks = new Set<Block>();
  for (const user of home.users) if (user.block !== undefined) blocks.add(user.block);
  for (const block of blocks) {
    for (const inst of block.insts) {
      if (inst.args[0] !== home) continue;
      first.set(block, inst.op === 'load' ? 'read' : 'write');
      break;
    }
  }
  const live = new Set<Block>();
  const work: Block[] = [];
  for (const [block, kind] of first) if (kind === 'read') work.push(block);
  while (work.length > 0) {
    const block = work.pop()!;
    if (live.has(block)) continue;
    live.add(block);
    for (const pred of block.preds) if (dom.reachable(pred) && first.get(pred) !== 'write') work.push(pred);
    for (const pred of block.preds) if (first.get(pred) === 'read') work.push(pred);
  }
  return live;
}

/** Moves what can be moved to registers. True where something changed. */
export function promote(func: Func): boolean {
  let changed = false;
  for (let round = 0; round < 8; round++) {
    const homes: Inst[] = [];
    const inserts = new Map<Inst, Inst[]>();
    const gone = new Set<Inst>();
    const busy = new Set<Inst>();
    let again = false;
    for (const alloca of func.entry.insts) {
      if (alloca.op !== 'alloca') continue;
      const found = accesses(alloca);
      if (found === undefined) continue;
      const parts = partition(alloca, found.list);
      if (parts === undefined) continue;
      // A copy between two variables is cut for one of them in a round.
      if (found.list.some(({ inst }) => busy.has(inst))) {
        again = true;
        continue;
      }
      for (const { inst } of found.list) busy.add(inst);
      for (const home of cut(alloca, found.list, parts, inserts)) homes.push(home);
      for (const { inst } of found.list) gone.add(inst);
      for (const pointer of found.pointers) gone.add(pointer);
      gone.add(alloca);
    }
    if (gone.size === 0) return changed;
    changed = true;
    for (const block of func.blocks) {
      if (!block.insts.some((inst) => gone.has(inst))) continue;
      const rebuilt: Inst[] = [];
      for (const inst of block.insts) {
        const made = inserts.get(inst);
        if (made !== undefined) rebuilt.push(...made);
        if (!gone.has(inst)) rebuilt.push(inst);
      }
      block.insts = rebuilt;
    }
    for (const inst of gone) detach(inst);
    func.entry.insts = [...homes, ...func.entry.insts];
    construct(func, homes);
    if (!again && round > 0) return changed;
  }
  return changed;
}
