/**
 * Branches that are decided by where control comes from: the block with the branch is copied for that way (Cytron-style threading).
 * What programs check twice, once in a parser and once behind it, is then checked once, as the kernel's verifier sees it.
 */
import {
  Block,
  computePreds,
  Dominators,
  type Func,
  hasEffect,
  Inst,
  isConst,
  sweep,
  type Value,
} from '../ir/index.ts';
import { foldCompare } from './arithmetic.ts';
import { removeEdge } from './cfg.ts';
import { cloneBlocks } from './clone.ts';
import { demote } from './demote.ts';
import { construct } from './promote.ts';

const MAX_COPIED = 8;
const MAX_ROUNDS = 200;

interface Candidate {
  readonly block: Block;
  /** Blocks before it, and where each of them will go. */
  readonly edges: { readonly pred: Block; readonly target: Block }[];
}

function candidate(block: Block, dom: Dominators): Candidate | undefined {
  const last = block.terminator!;
  if (last.op !== 'condbr' || last.unroll !== 0 || last.targets[0] === last.targets[1]) return undefined;
  if (block.preds.length < 2 || block.insts[0]?.op !== 'phi') return undefined;
  const cond = last.args[0]!;
  if (cond.kind !== 'inst' || cond.block !== block) return undefined;
  let phi: Inst = cond;
  let limit: bigint | undefined;
  if (cond.op === 'icmp') {
    const [a, b] = cond.args;
    if (a?.kind !== 'inst' || !isConst(b)) return undefined;
    phi = a;
    limit = b.value;
  }
  if (phi.op !== 'phi' || phi.block !== block || !phi.args.some(isConst)) return undefined;
  let copied = 0;
  for (const inst of block.insts) {
    if (inst.op === 'phi' || inst === last) continue;
    copied++;
    if (inst.op === 'call' || inst.op === 'asm' || inst.op === 'atomic') return undefined;
    if (hasEffect(inst) && inst.op !== 'store' && inst.op !== 'lifetime') return undefined;
  }
  if (copied > MAX_COPIED) return undefined;
  // Truth values cannot go through a variable; loops keep their headers.
  for (const inst of block.insts)
    if (inst.type === 'i1' && [...inst.users].some((user) => user.block !== block || user.op === 'phi'))
      return undefined;
  for (const pred of block.preds) if (dom.reachable(pred) && dom.dominates(block, pred)) return undefined;
  const edges: Candidate['edges'] = [];
  block.preds.forEach((pred) => {
    if (!dom.reachable(pred) || block.preds.filter((one) => one === pred).length > 1) return;
    const value = phi.args[phi.targets.indexOf(pred)]!;
    if (!isConst(value)) return;
    const truth =
      limit === undefined ? value.value !== 0n : foldCompare(cond.pred, phi.type, value.value, limit);
    edges.push({ pred, target: last.targets[truth ? 0 : 1]! });
  });
  // Something has to stay, or nothing was gained over folding; all may go.
  return edges.length === 0 ? undefined : { block, edges };
}

function thread(func: Func, { block, edges }: Candidate): void {
  const homes: Inst[] = [];
  for (const inst of [...block.insts]) {
    const home = demote(func, inst, (one) => one === block);
    if (home !== undefined) homes.push(home);
  }
  const phis = block.insts.filter((inst) => inst.op === 'phi');
  const rest = block.insts.filter((inst) => inst.op !== 'phi');
  const added: Block[] = [];
  for (const { pred, target } of edges) {
    const values = new Map<Value, Value>();
    for (const phi of phis) values.set(phi, phi.args[phi.targets.indexOf(pred)]!);
    const source = new Block(func, block.name);
    source.insts = rest;
    const copy = new Block(func, block.name);
    cloneBlocks([source], () => copy, values, new Map());
    const old = copy.insts.pop()!;
    for (const arg of old.args) if (arg.kind === 'inst' || arg.kind === 'param') arg.users.delete(old);
    const go = new Inst('br', 'void', []);
    go.targets = [target];
    go.loc = old.loc;
    go.block = copy;
    copy.insts.push(go);
    for (const phi of target.insts) {
      if (phi.op !== 'phi') break;
      const value = phi.args[phi.targets.indexOf(block)]!;
      const mapped = values.get(value) ?? value;
      phi.args.push(mapped);
      if (mapped.kind === 'inst' || mapped.kind === 'param') mapped.users.add(phi);
      phi.targets.push(copy);
    }
    const last = pred.terminator!;
    last.targets = last.targets.map((one) => (one === block ? copy : one));
    removeEdge(pred, block);
    added.push(copy);
  }
  func.blocks.splice(func.blocks.indexOf(block), 0, ...added);
  computePreds(func);
  if (block.preds.length === 0) removeBlock(func, block);
  construct(func, homes);
}

function removeBlock(func: Func, block: Block): void {
  for (const succ of new Set(block.succs)) removeEdge(block, succ);
  for (const inst of block.insts) {
    const { args } = inst;
    inst.args = [];
    for (const arg of args) if (arg.kind === 'inst' || arg.kind === 'param') arg.users.delete(inst);
    inst.block = undefined;
  }
  func.blocks = func.blocks.filter((one) => one !== block);
  computePreds(func);
}

/** True where something was threaded. */
export function threadBranches(func: Func): boolean {
  let changed = false;
  const done = new Set<Block>();
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const dom = new Dominators(func);
    let found: Candidate | undefined;
    for (const block of dom.order) {
      if (done.has(block)) continue;
      found = candidate(block, dom);
      if (found !== undefined) break;
    }
    if (found === undefined) break;
    done.add(found.block);
    thread(func, found);
    changed = true;
  }
  if (changed) sweep(func);
  return changed;
}
