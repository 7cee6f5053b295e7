/** Checks the invariants of `ir.ts`. A violation is a bug of the compiler: InternalError with the instruction and the function. */
import { InternalError } from '../../util/index.ts';
import { Dominators } from './analysis.ts';
import { BINARY_OPS, type Func, type Inst, isTerminator, type Module, type Value } from './ir.ts';
import { printFunc, printInst } from './print.ts';

export function verifyModule(module: Module, after: string): void {
  for (const func of module.funcs) if (!func.isDeclaration) verifyFunc(func, after);
}

export function verifyFunc(func: Func, after: string): void {
  const fail = (what: string, inst?: Inst): never => {
    const shown = inst === undefined ? '' : `: ${printInst(inst)}`;
    throw new InternalError(`IR of ${func.name} after ${after}: ${what}${shown}\n${printFunc(func)}`);
  };
  const dom = new Dominators(func);
  const place = new Map<Inst, number>();
  for (const block of func.blocks) {
    if (block.terminator === undefined) fail(`block ${block.name}.${block.id} has no terminator`);
    block.insts.forEach((inst, i) => {
      if (place.has(inst)) fail('an instruction stands twice', inst);
      place.set(inst, i);
      if (inst.block !== block) fail('an instruction does not know its block', inst);
      if (isTerminator(inst.op) !== (i === block.insts.length - 1)) fail('terminator not at the end', inst);
      if (inst.op === 'phi' && i > 0 && block.insts[i - 1]!.op !== 'phi')
        fail('phi behind other instructions', inst);
    });
  }
  const defined = (value: Value, user: Inst, at: Inst): void => {
    if (value.kind !== 'inst') return;
    if (value.block === undefined || !place.has(value)) {
      fail(`operand %${value.id} (${value.op}) stands nowhere`, user);
      return;
    }
    const from = value.block;
    const to = at.block!;
    if (from === to ? place.get(value)! >= place.get(at)! : !dom.dominates(from, to))
      fail(`operand %${value.id} is not defined before its use`, user);
  };
  for (const block of dom.order) {
    for (const inst of block.insts) {
      for (const arg of inst.args) {
        if ((arg.kind === 'inst' || arg.kind === 'param') && !arg.users.has(inst))
          fail('an operand does not know its user', inst);
      }
      if (inst.op === 'phi') {
        if (inst.args.length !== inst.targets.length) fail('phi with unequal lists', inst);
        if (inst.targets.length !== block.preds.length) fail('phi and predecessors differ', inst);
        for (const pred of block.preds)
          if (!inst.targets.includes(pred)) fail('phi lacks a predecessor', inst);
        inst.args.forEach((arg, i) => {
          const from = inst.targets[i]!;
          if (arg.type !== inst.type) fail('phi of mixed types', inst);
          if (arg.kind !== 'inst' || !dom.reachable(from)) return;
          const last = from.insts[from.insts.length - 1]!;
          if (arg.block !== from || arg === last) defined(arg, inst, last);
        });
        continue;
      }
      for (const arg of inst.args) defined(arg, inst, inst);
      for (const target of inst.targets) if (target.func !== func) fail('jump out of the function', inst);
      if (BINARY_OPS.has(inst.op) && inst.args.some((arg) => arg.type !== inst.type))
        fail('operands of other types', inst);
      if (inst.op === 'icmp' && inst.args[0]!.type !== inst.args[1]!.type) fail('compares two types', inst);
      if (inst.op === 'condbr' && (inst.args[0]!.type !== 'i1' || inst.targets.length !== 2))
        fail('condbr of something else', inst);
    }
  }
}
