/** Copies of instructions and blocks: for inlining and unrolling. */
import { type Block, Inst, type Value } from '../ir/index.ts';

/** A copy with the same operands; the caller maps them. */
export function cloneInst(inst: Inst, map: (value: Value) => Value, mapBlock: (block: Block) => Block): Inst {
  const copy = new Inst(inst.op, inst.type, inst.args.map(map));
  copy.loc = inst.loc;
  copy.flags = inst.flags;
  copy.pred = inst.pred;
  copy.mem = inst.mem;
  copy.targets = inst.targets.map(mapBlock);
  copy.cases = [...inst.cases];
  copy.size = inst.size;
  copy.align = inst.align;
  copy.name = inst.name;
  copy.callee = inst.callee;
  copy.atomic = inst.atomic;
  copy.asm = inst.asm;
  copy.core = inst.core;
  copy.alias = inst.alias;
  copy.unroll = inst.unroll;
  return copy;
}

/**
 * Copies blocks in order; values and blocks that are not among them stay the same unless the maps name others. Both maps get an
 * entry for everything copied. Operands that are copied later (phis) are filled in at the end.
 */
export function cloneBlocks(
  blocks: readonly Block[],
  make: (block: Block) => Block,
  values: Map<Value, Value>,
  targets: Map<Block, Block>,
): Block[] {
  const copies = blocks.map((block) => {
    const copy = make(block);
    targets.set(block, copy);
    return copy;
  });
  const later: { copy: Inst; original: Inst }[] = [];
  const mapValue = (value: Value): Value => values.get(value) ?? value;
  const mapBlock = (block: Block): Block => targets.get(block) ?? block;
  blocks.forEach((block, i) => {
    const copy = copies[i]!;
    for (const inst of block.insts) {
      const made = cloneInst(inst, mapValue, mapBlock);
      made.block = copy;
      copy.insts.push(made);
      values.set(inst, made);
      if (inst.args.some((arg) => arg.kind === 'inst')) later.push({ copy: made, original: inst });
    }
  });
  for (const { copy, original } of later) {
    original.args.forEach((arg, i) => {
      const mapped = mapValue(arg);
      const old = copy.args[i]!;
      if (old === mapped) return;
      copy.args[i] = mapped;
      if ((old.kind === 'inst' || old.kind === 'param') && !copy.args.includes(old)) old.users.delete(copy);
      if (mapped.kind === 'inst' || mapped.kind === 'param') mapped.users.add(copy);
    });
  }
  return copies;
}
