/** Calls of a function by itself right before its end become jumps to its start: the kernel's verifier takes loops, but no recursion. */
import {
  Block,
  computePreds,
  detach,
  type Func,
  Inst,
  pushArg,
  replaceUses,
  type Value,
} from '../ir/index.ts';
import { removeEdge } from './cfg.ts';

interface Tail {
  readonly block: Block;
  readonly call: Inst;
}

/** The call that ends a block: what it gives is returned at once, here or in a block that does nothing else. */
function tailOf(func: Func, block: Block): Tail | undefined {
  const last = block.terminator!;
  const call = block.insts[block.insts.length - 2];
  if (call?.op !== 'call' || call.callee?.kind !== 'function' || call.callee.func !== func) return undefined;
  if (call.args.length !== func.params.length) return undefined;
  let end = last;
  let result: Value | undefined = last.args[0];
  if (last.op === 'br') {
    const target = last.targets[0]!;
    end = target.terminator!;
    const [phi] = target.insts;
    if (end.op !== 'ret' || target.insts.length !== (phi?.op === 'phi' ? 2 : 1)) return undefined;
    result = end.args[0];
    if (phi?.op === 'phi') result = result === phi ? phi.args[phi.targets.indexOf(block)] : undefined;
  } else if (end.op !== 'ret') return undefined;
  const isPassedOn = end.args.length === 0 ? call.users.size === 0 : result === call && call.users.size === 1;
  return isPassedOn ? { block, call } : undefined;
}

/** True where something changed. */
export function tailRecursion(func: Func): boolean {
  const tails = func.blocks.flatMap((block) => tailOf(func, block) ?? []);
  if (tails.length === 0) return false;
  // A variable of the frame would have to be a new one each time.
  if (func.entry.insts.some((inst) => inst.op === 'alloca')) return false;
  const header = func.entry;
  const entry = new Block(func, 'entry');
  const go = new Inst('br', 'void', []);
  go.targets = [header];
  go.block = entry;
  entry.insts.push(go);
  const phis = func.params.map((param) => {
    const phi = new Inst('phi', param.type, []);
    phi.block = header;
    replaceUses(param, phi);
    pushArg(phi, param);
    phi.targets.push(entry);
    return phi;
  });
  header.insts.unshift(...phis);
  func.blocks.unshift(entry);
  for (const { block, call } of tails) {
    const last = block.terminator!;
    if (last.op === 'br') removeEdge(block, last.targets[0]!);
    phis.forEach((phi, i) => {
      pushArg(phi, call.args[i]!);
      phi.targets.push(block);
    });
    block.insts.splice(block.insts.length - 2, 2);
    detach(last);
    detach(call);
    const back = new Inst('br', 'void', []);
    back.targets = [header];
    back.loc = call.loc;
    back.block = block;
    block.insts.push(back);
  }
  computePreds(func);
  return true;
}
