/**
 * Loops: full and partial unrolling, rotation (the test at the end), invariant computations before the loop.
 *
 * No load is moved out of a loop, for the check that allows it may be inside. Values that leave a loop go through a variable while
 * blocks are copied; `construct` makes SSA of it again.
 */
import {
  BINARY_OPS,
  type BinaryOp,
  Block,
  bitsOf,
  computePreds,
  Dominators,
  type Func,
  findLoops,
  hasEffect,
  Inst,
  isConst,
  type Loop,
  sweep,
  type Value,
} from '../ir/index.ts';
import { foldBinary, foldCompare } from './arithmetic.ts';
import { cloneBlocks } from './clone.ts';
import { demote } from './demote.ts';
import { construct } from './promote.ts';

/** Instructions of all copies together up to which a loop is unrolled without being told. */
const SMALL = 150;
/** And with `#pragma unroll`. */
const LARGE = 16_384;
const MAX_TRIPS = 1_024;
const ROTATED_HEADER = 16;

/** Truth values cannot go through memory here: loops that let one out are left alone. */
function truthLeaves(loop: Loop): boolean {
  for (const block of loop.blocks)
    for (const inst of block.insts)
      if (inst.type === 'i1')
        for (const user of inst.users) {
          if (
            user.op === 'phi'
              ? !user.targets.every((from) => loop.blocks.has(from))
              : !loop.blocks.has(user.block!)
          )
            return true;
        }
  return false;
}

/** A load of a variable that a value goes through until `construct` has made SSA again: none by then. */
const isReload = (inst: Inst, homes: ReadonlySet<Value>): boolean =>
  inst.op === 'load' && homes.has(inst.args[0]!);

const costOf = (loop: Loop, homes: ReadonlySet<Value>): number => {
  let cost = 0;
  for (const block of loop.blocks)
    for (const inst of block.insts)
      if (inst.op !== 'phi' && inst.op !== 'lifetime' && inst.op !== 'br' && !isReload(inst, homes)) cost++;
  return cost;
};

/** How often the back edge is taken, found by running the counter; undefined where it is not known. */
function tripCount(loop: Loop, dom: Dominators): number | undefined {
  const [latch] = loop.latches;
  if (latch === undefined || loop.latches.length !== 1) return undefined;
  const exits: { block: Block; cond: Inst; stay: boolean }[] = [];
  for (const block of loop.blocks) {
    const last = block.terminator!;
    if (last.op !== 'condbr' || !dom.dominates(block, latch)) continue;
    const [yes, no] = last.targets as [Block, Block];
    const cond = last.args[0]!;
    if (cond.kind !== 'inst' || loop.blocks.has(yes) === loop.blocks.has(no)) continue;
    exits.push({ block, cond, stay: loop.blocks.has(yes) });
  }
  for (const { cond, stay } of exits) {
    const phis = loop.header.insts.filter((inst) => inst.op === 'phi');
    let values = new Map<Value, bigint>();
    for (const phi of phis) {
      const start = phi.args.find((_, i) => !loop.blocks.has(phi.targets[i]!));
      if (start !== undefined && isConst(start)) values.set(phi, start.value);
    }
    for (let trips = 0; trips <= MAX_TRIPS; trips++) {
      const memo = new Map(values);
      const truth = evaluate(cond, memo, loop, 0);
      if (truth === undefined) break;
      if ((truth !== 0n) !== stay) return trips;
      const next = new Map<Value, bigint>();
      for (const phi of phis) {
        const back = phi.args[phi.targets.indexOf(latch)]!;
        const value = values.has(phi) ? evaluate(back, memo, loop, 0) : undefined;
        if (value !== undefined) next.set(phi, value);
      }
      values = next;
    }
  }
  return undefined;
}

function evaluate(value: Value, known: Map<Value, bigint>, loop: Loop, depth: number): bigint | undefined {
  if (isConst(value)) return value.value;
  const before = known.get(value);
  if (before !== undefined) return before;
  if (value.kind !== 'inst' || depth > 12 || !loop.blocks.has(value.block!)) return undefined;
  const { op } = value;
  const isBinary = BINARY_OPS.has(op);
  if (!isBinary && op !== 'icmp' && op !== 'zext' && op !== 'sext' && op !== 'trunc') return undefined;
  const args: bigint[] = [];
  for (const arg of value.args) {
    const one = evaluate(arg, known, loop, depth + 1);
    if (one === undefined) return undefined;
    args.push(one);
  }
  const [a, b] = args as [bigint, bigint];
  const from = value.args[0]!.type;
  let result: bigint | undefined;
  if (isBinary) result = foldBinary(op as BinaryOp, value.type, a, b);
  else if (op === 'icmp') result = foldCompare(value.pred, from, a, b) ? 1n : 0n;
  else result = op === 'sext' ? BigInt.asIntN(bitsOf(from), a) : a;
  if (result === undefined) return undefined;
  const cut = BigInt.asUintN(bitsOf(value.type), result);
  known.set(value, cut);
  return cut;
}

/**
 * Puts `count` copies of a loop before it; `closed`: the copies are all there is, and the loop's own blocks are to be taken out. Ids of
 * blocks stay, predecessors are kept; variables that `construct` is to make values of again go into `homes`.
 */
function copyLoop(func: Func, loop: Loop, count: number, closed: boolean, homes: Set<Inst>): void {
  const blocks = [...loop.blocks].sort((a, b) => a.id - b.id);
  for (const block of blocks) {
    for (const inst of [...block.insts]) {
      const home = demote(func, inst, (one) => loop.blocks.has(one));
      if (home !== undefined) homes.add(home);
    }
  }
  const { header } = loop;
  const headerPhis = header.insts.filter((inst) => inst.op === 'phi');
  const outside = header.preds.filter((pred) => !loop.blocks.has(pred));
  const exits = new Set<Block>();
  const exitPhis = new Set<Inst>();
  for (const block of blocks)
    for (const succ of block.succs)
      if (!loop.blocks.has(succ)) {
        exits.add(succ);
        for (const phi of succ.insts) if (phi.op === 'phi') exitPhis.add(phi);
      }

  const copies: { blocks: Block[]; values: Map<Value, Value>; targets: Map<Block, Block> }[] = [];
  for (let i = 0; i < count; i++) {
    const values = new Map<Value, Value>();
    const targets = new Map<Block, Block>();
    copies.push({
      blocks: cloneBlocks(blocks, (one) => new Block(func, one.name), values, targets),
      values,
      targets,
    });
  }
  // Copies leave the loop by the same exits.
  for (const phi of exitPhis) {
    const edges = phi.args
      .map((arg, i) => ({ arg, from: phi.targets[i]! }))
      .filter(({ from }) => loop.blocks.has(from));
    for (const { values, targets } of copies)
      for (const { arg, from } of edges) {
        const value = values.get(arg) ?? arg;
        phi.args.push(value);
        if (value.kind === 'inst' || value.kind === 'param') value.users.add(phi);
        phi.targets.push(targets.get(from)!);
      }
  }
  // Chain: the outside goes to the first copy, each copy's back edges to the next, the last one's to the loop itself.
  const redirect = (from: Block, old: Block, to: Block): void => {
    const last = from.terminator!;
    last.targets = last.targets.map((target) => (target === old ? to : target));
  };
  const replaceIncoming = (
    phi: Inst,
    edges: readonly { value: Value; from: Block }[],
    keep: (from: Block) => boolean,
  ): void => {
    const kept = phi.args
      .map((value, i) => ({ value, from: phi.targets[i]! }))
      .filter(({ from }) => keep(from));
    const all = [...kept, ...edges];
    const old = phi.args;
    phi.args = all.map(({ value }) => value);
    phi.targets = all.map(({ from }) => from);
    for (const value of old)
      if ((value.kind === 'inst' || value.kind === 'param') && !phi.args.includes(value))
        value.users.delete(phi);
    for (const value of phi.args) if (value.kind === 'inst' || value.kind === 'param') value.users.add(phi);
  };
  const originalEdges = headerPhis.map((phi) =>
    phi.args.map((value, i) => ({ value, from: phi.targets[i]! })),
  );
  copies.forEach(({ values, targets }, i) => {
    const copyHeader = targets.get(header)!;
    const before = copies[i - 1];
    headerPhis.forEach((phi, p) => {
      const copy = values.get(phi) as Inst;
      const edges =
        before === undefined
          ? originalEdges[p]!.filter(({ from }) => !loop.blocks.has(from))
          : originalEdges[p]!.filter(({ from }) => loop.blocks.has(from)).map(({ value, from }) => ({
              value: before.values.get(value) ?? value,
              from: before.targets.get(from)!,
            }));
      replaceIncoming(copy, edges, () => false);
    });
    if (before === undefined) for (const pred of outside) redirect(pred, header, copyHeader);
    else
      for (const latch of loop.latches)
        redirect(before.targets.get(latch)!, before.targets.get(header)!, copyHeader);
    for (const latch of loop.latches) targets.get(latch)!.terminator!.unroll = 0;
  });
  const last = copies[copies.length - 1]!;
  const lastHeader = last.targets.get(header)!;
  if (closed) {
    const never = new Block(func, 'never');
    const inst = new Inst('unreachable', 'void', []);
    inst.block = never;
    never.insts.push(inst);
    for (const latch of loop.latches) redirect(last.targets.get(latch)!, lastHeader, never);
    last.blocks.push(never);
    headerPhis.forEach((phi) => {
      replaceIncoming(phi, [], (from) => loop.blocks.has(from));
    });
  } else {
    for (const latch of loop.latches) redirect(last.targets.get(latch)!, lastHeader, header);
    headerPhis.forEach((phi, p) => {
      const edges = originalEdges[p]!.filter(({ from }) => loop.blocks.has(from)).map(({ value, from }) => ({
        value: last.values.get(value) ?? value,
        from: last.targets.get(from)!,
      }));
      replaceIncoming(phi, edges, (from) => loop.blocks.has(from));
    });
  }
  for (const latch of loop.latches) latch.terminator!.unroll = -1;
  const at = func.blocks.indexOf(blocks[0]!);
  func.blocks.splice(at, 0, ...copies.flatMap((copy) => copy.blocks));
  header.preds = header.preds.filter((pred) => loop.blocks.has(pred));
  copies[0]!.targets.get(header)!.preds = outside;
  for (const { blocks: made } of copies)
    for (const block of made) for (const succ of block.succs) succ.preds.push(block);
  if (!closed) return;
  // The loop itself is reached no more.
  for (const phi of exitPhis) replaceIncoming(phi, [], (from) => !loop.blocks.has(from));
  for (const exit of exits) exit.preds = exit.preds.filter((pred) => !loop.blocks.has(pred));
  for (const block of blocks)
    for (const inst of block.insts) {
      const { args } = inst;
      inst.args = [];
      for (const arg of args) if (arg.kind === 'inst' || arg.kind === 'param') arg.users.delete(inst);
    }
}

function hintOf(loop: Loop): number {
  for (const latch of loop.latches) {
    const { unroll } = latch.terminator!;
    if (unroll !== 0) return unroll;
  }
  return 0;
}

/** Unrolls inner loops, as far as none of them stands in another. The caller cleans up and comes back; false where there was none. */
export function unrollLoops(func: Func): boolean {
  const dom = new Dominators(func);
  const loops = findLoops(dom);
  const outer = new Set(loops.map((loop) => loop.parent));
  const homes = new Set<Inst>();
  const gone = new Set<Block>();
  let changed = false;
  for (const loop of loops.reverse()) {
    const hint = hintOf(loop);
    if (outer.has(loop) || hint === -1 || truthLeaves(loop)) continue;
    const count = copiesFor(loop, dom, hint, homes);
    if (count === undefined) continue;
    copyLoop(func, loop, count.copies, count.closed, homes);
    if (count.closed) for (const block of loop.blocks) gone.add(block);
    changed = true;
  }
  if (!changed) return false;
  func.blocks = func.blocks.filter((block) => !gone.has(block));
  computePreds(func);
  construct(func, [...homes]);
  return true;
}

function copiesFor(
  loop: Loop,
  dom: Dominators,
  hint: number,
  homes: ReadonlySet<Value>,
): { copies: number; closed: boolean } | undefined {
  const cost = costOf(loop, homes);
  const trips = tripCount(loop, dom);
  if (trips !== undefined) {
    const limit = hint === 0 ? SMALL : LARGE;
    const wanted = hint <= 0 || hint >= trips;
    if (wanted && (trips + 1) * cost <= limit + cost) return { copies: trips + 1, closed: true };
  }
  return hint > 1 && hint * cost <= LARGE ? { copies: hint - 1, closed: false } : undefined;
}

/** The block before the header that leads nowhere else; made where there is none. */
function preheader(func: Func, loop: Loop): Block {
  const outside = loop.header.preds.filter((pred) => !loop.blocks.has(pred));
  const [only] = outside;
  if (outside.length === 1 && only!.succs.length === 1) return only!;
  const block = new Block(func, 'preheader');
  for (const phi of loop.header.insts) {
    if (phi.op !== 'phi') break;
    const incoming = phi.args
      .map((value, i) => ({ value, from: phi.targets[i]! }))
      .filter(({ from }) => !loop.blocks.has(from));
    const rest = phi.args
      .map((value, i) => ({ value, from: phi.targets[i]! }))
      .filter(({ from }) => loop.blocks.has(from));
    let value = incoming[0]!.value;
    if (incoming.length > 1) {
      const merged = new Inst(
        'phi',
        phi.type,
        incoming.map((one) => one.value),
      );
      merged.targets = incoming.map((one) => one.from);
      merged.block = block;
      merged.loc = phi.loc;
      block.insts.push(merged);
      value = merged;
    }
    const old = phi.args;
    phi.args = [value, ...rest.map((one) => one.value)];
    phi.targets = [block, ...rest.map((one) => one.from)];
    for (const one of old)
      if ((one.kind === 'inst' || one.kind === 'param') && !phi.args.includes(one)) one.users.delete(phi);
    if (value.kind === 'inst' || value.kind === 'param') value.users.add(phi);
  }
  const go = new Inst('br', 'void', []);
  go.targets = [loop.header];
  go.block = block;
  go.loc = loop.header.insts[0]?.loc;
  block.insts.push(go);
  for (const pred of outside) {
    const last = pred.terminator!;
    last.targets = last.targets.map((target) => (target === loop.header ? block : target));
  }
  func.blocks.splice(func.blocks.indexOf(loop.header), 0, block);
  block.preds = outside;
  loop.header.preds = [block, ...loop.header.preds.filter((pred) => loop.blocks.has(pred))];
  joinParents(loop, block);
  return block;
}

/** A block that was made before a loop stands in all loops around it. */
function joinParents(loop: Loop, block: Block): void {
  for (let outer = loop.parent; outer !== undefined; outer = outer.parent) outer.blocks.add(block);
}

/** The test goes to the end: one jump an iteration instead of two. Loops are found once; outer ones come first. */
export function rotateLoops(func: Func): boolean {
  const homes = new Set<Inst>();
  let changed = false;
  /** Where bodies of rotated loops begin: as headers of inner loops they have a second way back, from the outer test. */
  const entered = new Set<Block>();
  for (const loop of findLoops(new Dominators(func))) {
    const { header, blocks, latches } = loop;
    const last = header.terminator!;
    const fits =
      !entered.has(header) &&
      last.op === 'condbr' &&
      latches.length === 1 &&
      latches[0] !== header &&
      latches[0]!.terminator!.op === 'br' &&
      blocks.has(last.targets[0]!) !== blocks.has(last.targets[1]!) &&
      header.insts.filter((inst) => !isReload(inst, homes)).length <= ROTATED_HEADER &&
      header.insts.every((inst) => !hasEffect(inst) || inst === last) &&
      header.insts.every((inst) => inst.op !== 'load' || isReload(inst, homes));
    if (!fits || truthOutside(header)) continue;
    entered.add(last.targets.find((target) => blocks.has(target))!);
    rotate(func, loop, homes);
    changed = true;
  }
  construct(func, [...homes]);
  return changed;
}

function truthOutside(header: Block): boolean {
  return header.insts.some(
    (inst) => inst.type === 'i1' && [...inst.users].some((user) => user.block !== header),
  );
}

/** Puts variables that `construct` is to make values of again into `homes`. */
function rotate(func: Func, loop: Loop, homes: Set<Inst>): void {
  const { header } = loop;
  const before = preheader(func, loop);
  // The header is copied as the guard; what it computes and others use goes through variables.
  for (const inst of [...header.insts]) {
    if (inst.type === 'void') continue;
    const home = demote(func, inst, (block) => block === header);
    if (home !== undefined) homes.add(home);
  }
  const values = new Map<Value, Value>();
  for (const phi of header.insts) {
    if (phi.op !== 'phi') break;
    values.set(phi, phi.args[phi.targets.indexOf(before)]!);
  }
  const guard = new Block(func, `${header.name}.guard`);
  const phis = header.insts.filter((inst) => inst.op === 'phi');
  const rest = header.insts.filter((inst) => inst.op !== 'phi');
  const source = new Block(func, 'source');
  source.insts = rest;
  cloneBlocks([source], () => guard, values, new Map());
  source.insts = [];
  const terminator = guard.terminator!;
  for (const succ of new Set(terminator.targets))
    for (const phi of succ.insts) {
      if (phi.op !== 'phi') break;
      const value = phi.args[phi.targets.indexOf(header)]!;
      const mapped = values.get(value) ?? value;
      phi.args.push(mapped);
      if (mapped.kind === 'inst' || mapped.kind === 'param') mapped.users.add(phi);
      phi.targets.push(guard);
    }
  // The way in goes through the guard; the header keeps the back edge alone.
  const go = before.terminator!;
  go.targets = go.targets.map((target) => (target === header ? guard : target));
  for (const phi of phis) {
    const at = phi.targets.indexOf(before);
    const value = phi.args[at]!;
    phi.args.splice(at, 1);
    phi.targets.splice(at, 1);
    if ((value.kind === 'inst' || value.kind === 'param') && !phi.args.includes(value))
      value.users.delete(phi);
  }
  func.blocks.splice(func.blocks.indexOf(header), 0, guard);
  joinParents(loop, guard);
  guard.preds = [before];
  header.preds = header.preds.filter((pred) => pred !== before);
  for (const succ of guard.succs) succ.preds.push(guard);
}

/** Computations whose operands do not change go before the loop. Loops are found once, inner ones come first. */
export function hoistInvariants(func: Func): boolean {
  let changed = false;
  const loops = findLoops(new Dominators(func));
  /** Places of blocks in the function; a new one stands just before its header. */
  const places = new Map(func.blocks.map((block, i) => [block, i]));
  const place = (block: Block): number => places.get(block)!;
  for (const loop of loops.reverse()) {
    const moved: Inst[] = [];
    const isInvariant = (value: Value): boolean =>
      value.kind !== 'inst' || !loop.blocks.has(value.block!) || moved.includes(value);
    const blocks = [...loop.blocks].sort((a, b) => place(a) - place(b));
    for (const block of blocks) {
      for (const inst of block.insts) {
        const isWork =
          (BINARY_OPS.has(inst.op) && inst.type !== 'i1') ||
          inst.op === 'bswap' ||
          inst.op === 'sext' ||
          ((inst.op === 'zext' || inst.op === 'trunc') && inst.args[0]!.type !== 'i1') ||
          inst.op === 'core';
        if (isWork && moved.length < 16 && inst.args.every(isInvariant)) moved.push(inst);
      }
    }
    if (moved.length === 0) continue;
    changed = true;
    const before = preheader(func, loop);
    if (!places.has(before)) places.set(before, place(loop.header) - 0.5);
    const gone = new Set(moved);
    for (const block of loop.blocks) block.insts = block.insts.filter((inst) => !gone.has(inst));
    for (const inst of moved) inst.block = before;
    before.insts.splice(before.insts.length - 1, 0, ...moved);
  }
  sweep(func);
  return changed;
}
