/** Control flow made simpler: unreachable blocks, branches that are decided, chains of blocks, jumps to jumps. */
import {
  type Block,
  computePreds,
  detach,
  type Func,
  Inst,
  isConst,
  replaceUses,
  reversePostorder,
  sameValue,
  setArg,
  sweep,
  undef,
  type Value,
} from '../ir/index.ts';

/** Drops one entry of each phi of `block` for an edge from `pred` that is gone. */
export function removeEdge(pred: Block, block: Block): void {
  for (const phi of block.insts) {
    if (phi.op !== 'phi') break;
    const at = phi.targets.indexOf(pred);
    if (at < 0) continue;
    phi.targets.splice(at, 1);
    const value = phi.args[at]!;
    // removeArg by position, keeping the other uses of the same value.
    phi.args.splice(at, 1);
    if ((value.kind === 'inst' || value.kind === 'param') && !phi.args.includes(value))
      value.users.delete(phi);
  }
}

/** Takes out blocks that nothing leads to. */
export function removeUnreachable(func: Func): boolean {
  const order = new Set(reversePostorder(func));
  if (order.size === func.blocks.length) return false;
  for (const block of func.blocks) {
    if (order.has(block)) continue;
    for (const succ of block.succs) if (order.has(succ)) removeEdge(block, succ);
    for (const inst of block.insts) {
      if (inst.type !== 'void') replaceUses(inst, undef(inst.type));
      detach(inst);
    }
  }
  func.blocks = func.blocks.filter((block) => order.has(block));
  computePreds(func);
  return true;
}

function replaceTerminator(block: Block, target: Block): void {
  const old = block.terminator!;
  const inst = new Inst('br', 'void', []);
  inst.targets = [target];
  inst.loc = old.loc;
  inst.unroll = old.unroll;
  inst.block = block;
  block.insts[block.insts.length - 1] = inst;
  detach(old);
}

/** Branches on constants, and with both ways the same. */
function decideBranches(func: Func): boolean {
  let changed = false;
  for (const block of func.blocks) {
    const last = block.terminator;
    if (last === undefined) continue;
    if (last.op === 'condbr') {
      const [yes, no] = last.targets as [Block, Block];
      const cond = last.args[0]!;
      if (isConst(cond) || cond.kind === 'undef') {
        const taken = isConst(cond) && cond.value !== 0n ? yes : no;
        const other = taken === yes ? no : yes;
        removeEdge(block, other);
        replaceTerminator(block, taken);
        changed = true;
      } else if (yes === no) {
        removeEdge(block, yes);
        replaceTerminator(block, yes);
        changed = true;
      } else if (cond.kind === 'inst' && cond.op === 'xor' && cond.type === 'i1' && isConst(cond.args[1])) {
        setArg(last, 0, cond.args[0]!);
        last.targets = [no, yes];
        changed = true;
      }
    } else if (last.op === 'switch' && isConst(last.args[0])) {
      const at = last.cases.indexOf((last.args[0] as { value: bigint }).value);
      const taken = last.targets[at + 1]!;
      last.targets.forEach((target, i) => {
        if (i !== at + 1) removeEdge(block, target);
      });
      replaceTerminator(block, taken);
      changed = true;
    }
  }
  return changed;
}

/** A block with one successor that has one predecessor becomes one with it. */
function mergeChains(func: Func): boolean {
  computePreds(func);
  let changed = false;
  const gone = new Set<Block>();
  for (const block of func.blocks) {
    if (gone.has(block)) continue;
    for (;;) {
      const last = block.terminator;
      if (last?.op !== 'br') break;
      const next = last.targets[0]!;
      if (next === block || next.preds.length !== 1 || next === func.entry || gone.has(next)) break;
      for (const phi of next.insts) {
        if (phi.op !== 'phi') break;
        replaceUses(phi, phi.args[0]!);
        detach(phi);
      }
      block.insts.pop();
      detach(last);
      const moved = next.insts.filter((inst) => inst.block === next);
      for (const inst of moved) {
        inst.block = block;
        block.insts.push(inst);
      }
      for (const succ of block.succs) {
        for (const phi of succ.insts) {
          if (phi.op !== 'phi') break;
          phi.targets = phi.targets.map((from) => (from === next ? block : from));
        }
        succ.preds = succ.preds.map((from) => (from === next ? block : from));
      }
      next.insts = [];
      gone.add(next);
      changed = true;
    }
  }
  if (gone.size > 0) func.blocks = func.blocks.filter((block) => !gone.has(block));
  return changed;
}

/** Leads an edge to another block; the phis there get the value that they have along `via`. */
function redirect(pred: Block, via: Block, target: Block, valueFor: (phi: Inst) => Value): void {
  const last = pred.terminator!;
  let count = 0;
  last.targets = last.targets.map((one) => {
    if (one !== via) return one;
    count++;
    return target;
  });
  for (const phi of target.insts) {
    if (phi.op !== 'phi') break;
    const value = valueFor(phi);
    for (let i = 0; i < count; i++) {
      phi.args.push(value);
      if (value.kind === 'inst' || value.kind === 'param') value.users.add(phi);
      phi.targets.push(pred);
    }
  }
  for (let i = 0; i < count; i++) {
    removeEdge(pred, via);
    via.preds.splice(via.preds.indexOf(pred), 1);
    target.preds.push(pred);
  }
}

/** Jumps to jumps where no phi is concerned: chains of any length (labels in a row) in one walk. */
function skipJumps(func: Func): boolean {
  const next = new Map<Block, Block>();
  for (const block of func.blocks) {
    const [jump] = block.insts;
    if (jump?.op !== 'br' || jump.unroll !== 0 || block === func.entry) continue;
    const target = jump.targets[0]!;
    if (target !== block && target.insts[0]?.op !== 'phi') next.set(block, target);
  }
  if (next.size === 0) return false;
  const ends = new Map<Block, Block>();
  const endOf = (from: Block): Block => {
    const path: Block[] = [];
    const seen = new Set<Block>();
    let at = from;
    for (let to = next.get(at); to !== undefined && !seen.has(at); to = next.get(at)) {
      const known = ends.get(at);
      seen.add(at);
      path.push(at);
      at = known ?? to;
    }
    // Jumps in a circle stay.
    if (seen.has(at)) for (const block of path) next.delete(block);
    else for (const block of path) ends.set(block, at);
    return seen.has(at) ? from : at;
  };
  let changed = false;
  for (const block of func.blocks) {
    const last = block.terminator;
    if (last === undefined || !last.targets.some((target) => next.has(target))) continue;
    const targets = last.targets.map(endOf);
    if (targets.every((target, i) => target === last.targets[i])) continue;
    last.targets = targets;
    changed = true;
  }
  return changed;
}

/** Blocks that hold a jump alone are skipped where the phis behind allow it. */
function skipEmpty(func: Func): boolean {
  let changed = skipJumps(func);
  computePreds(func);
  for (const block of func.blocks) {
    if (block === func.entry) continue;
    const last = block.terminator;
    if (last?.op !== 'br' || last.unroll !== 0) continue;
    const target = last.targets[0]!;
    if (target === block) continue;
    const phis = block.insts.slice(0, -1);
    if (phis.some((inst) => inst.op !== 'phi')) continue;
    // Phis here must be used by the phis of the target alone, along this edge.
    const own = phis.every((phi) =>
      [...phi.users].every(
        (user) =>
          user.op === 'phi' &&
          user.block === target &&
          user.args.every((arg, i) => arg !== phi || user.targets[i] === block),
      ),
    );
    if (!own) continue;
    const targetHasPhis = target.insts[0]?.op === 'phi';
    for (const pred of [...new Set(block.preds)]) {
      const end = pred.terminator!;
      // Two edges from one block to one target would need equal values.
      if (targetHasPhis && pred.succs.includes(target)) {
        const same = target.insts.every(
          (phi) =>
            phi.op !== 'phi' ||
            sameValue(
              phi.args[phi.targets.indexOf(pred)]!,
              along(phi.args[phi.targets.indexOf(block)]!, block, pred),
            ),
        );
        if (!same) continue;
      }
      if (end.op === 'switch' && targetHasPhis && end.targets.filter((one) => one === block).length > 1) {
        // All edges carry the same value: fine.
      }
      redirect(pred, block, target, (phi) => along(phi.args[phi.targets.indexOf(block)]!, block, pred));
      changed = true;
    }
  }
  return changed;
}

/** What a value is when control came to `block` from `pred`. */
function along(value: Value, block: Block, pred: Block): Value {
  if (value.kind === 'inst' && value.op === 'phi' && value.block === block)
    return value.args[value.targets.indexOf(pred)]!;
  return value;
}

/** A branch on a phi that is constant along an edge: the edge goes straight on. */
function threadJumps(func: Func): boolean {
  computePreds(func);
  let changed = false;
  for (const block of func.blocks) {
    const last = block.terminator;
    if (last?.op !== 'condbr' && last?.op !== 'switch') continue;
    if (last.unroll !== 0) continue;
    const phis = block.insts.filter((inst) => inst.op === 'phi');
    if (phis.length === 0) continue;
    const rest = block.insts.slice(phis.length, -1);
    // The condition: the phi itself, or one comparison of it with a constant.
    let cond = last.args[0]!;
    let compare: Inst | undefined;
    if (rest.length === 1 && rest[0] === cond && rest[0].op === 'icmp' && rest[0].users.size === 1) {
      compare = rest[0];
      if (!isConst(compare.args[1])) continue;
      cond = compare.args[0]!;
    } else if (rest.length > 0) continue;
    if (cond.kind !== 'inst' || cond.op !== 'phi' || cond.block !== block) continue;
    // Values of this block must not be needed elsewhere, but by phis of the targets.
    const local = phis.every((phi) =>
      [...phi.users].every(
        (user) =>
          user === compare ||
          user === last ||
          (user.op === 'phi' &&
            user.block !== block &&
            user.args.every((arg, i) => arg !== phi || user.targets[i] === block)),
      ),
    );
    if (!local) continue;
    for (const pred of [...new Set(block.preds)]) {
      if (pred === block || block.preds.filter((one) => one === pred).length !== 1) continue;
      const value = cond.args[cond.targets.indexOf(pred)]!;
      if (!isConst(value)) continue;
      let target: Block;
      if (last.op === 'switch') target = last.targets[last.cases.indexOf(value.value) + 1]!;
      else {
        const truth = compare === undefined ? value.value !== 0n : compareConst(compare, value.value);
        target = last.targets[truth ? 0 : 1]!;
      }
      if (target === block) continue;
      if (target.insts[0]?.op === 'phi' && pred.succs.includes(target)) continue;
      redirect(pred, block, target, (phi) => along(phi.args[phi.targets.indexOf(block)]!, block, pred));
      changed = true;
    }
  }
  return changed;
}

function compareConst(compare: Inst, value: bigint): boolean {
  const other = compare.args[1] as { value: bigint };
  const { type } = compare.args[1]!;
  const bits = { i1: 1, i8: 8, i16: 16, i32: 32, i64: 64, ptr: 64, void: 0 }[type];
  const x = BigInt.asIntN(bits, value);
  const y = BigInt.asIntN(bits, other.value);
  switch (compare.pred) {
    case 'eq':
      return value === other.value;
    case 'ne':
      return value !== other.value;
    case 'ult':
      return value < other.value;
    case 'ule':
      return value <= other.value;
    case 'ugt':
      return value > other.value;
    case 'uge':
      return value >= other.value;
    case 'slt':
      return x < y;
    case 'sle':
      return x <= y;
    case 'sgt':
      return x > y;
    case 'sge':
      return x >= y;
  }
}

/** Paths that end in `unreachable` are never taken: the branch to them goes. */
function pruneUnreachable(func: Func): boolean {
  let changed = false;
  for (const block of func.blocks) {
    const last = block.terminator;
    if (last?.op !== 'condbr') continue;
    const dead = last.targets.findIndex(
      (target) => target.insts.length === 1 && target.insts[0]!.op === 'unreachable',
    );
    if (dead < 0) continue;
    const other = last.targets[1 - dead]!;
    if (other === last.targets[dead]) continue;
    removeEdge(block, last.targets[dead]!);
    replaceTerminator(block, other);
    changed = true;
  }
  return changed;
}

export function simplifyCfg(func: Func): boolean {
  let changed = false;
  for (let round = 0; round < 20; round++) {
    let again = decideBranches(func);
    again = pruneUnreachable(func) || again;
    // Later on blocks are cut off only by what changed something here.
    if (again || round === 0) again = removeUnreachable(func) || again;
    for (const step of [threadJumps, skipEmpty]) {
      if (!step(func)) continue;
      again = true;
      removeUnreachable(func);
    }
    again = mergeChains(func) || again;
    sweep(func);
    if (!again) break;
    changed = true;
  }
  computePreds(func);
  return changed;
}
