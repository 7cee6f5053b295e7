/**
 * Variables of a source that nothing ever writes to are constants, whether it says so or not: what is read of them is known, and what is left of
 * them stands in `.rodata`. As clang has it (tables of names without `const`).
 *
 * Only static ones without a section of their own: others can be written by who loads the object or links it. Reads that are volatile
 * keep a variable as it is: they say that somebody else writes.
 */
import { FLAG, type Func, type Global, type Inst, type Module, type Value } from '../ir/index.ts';

/** Instructions that only read through their operand of this number; `memcpy` and `memmove` write through their first. */
const READS: Partial<Record<Inst['op'], readonly number[]>> = {
  load: [0],
  memcpy: [1],
  memmove: [1],
  memcmp: [0, 1],
  libcall: [0, 1],
};

const isCandidate = (global: Global): boolean =>
  global.linkage === 'static' && global.section === undefined && !global.used && !global.constant;

/** Marks them. True where there is a new one. */
export function findConstants(module: Module, functions: readonly Func[]): boolean {
  const found = new Set(module.globals.filter(isCandidate));
  if (found.size === 0) return false;
  for (const global of module.globals)
    for (const { target } of global.relocs) if (target.kind === 'global') found.delete(target);
  for (const func of functions)
    for (const block of func.blocks)
      for (const inst of block.insts)
        inst.args.forEach((arg, i) => {
          if (arg.kind === 'global' && found.has(arg) && !onlyReads(inst, i)) found.delete(arg);
        });
  for (const global of found) {
    global.constant = true;
    global.readonlyContents = true;
  }
  return found.size > 0;
}

/** Whether nothing is written, nor the address kept, through operand `index` of the instruction. */
function onlyReads(inst: Inst, index: number): boolean {
  const work: { readonly inst: Inst; readonly index: number }[] = [{ inst, index }];
  for (let at = work.pop(); at !== undefined; at = work.pop()) {
    const { inst: user, index: operand } = at;
    if (user.op === 'ptradd' && operand === 0) {
      for (const next of user.users)
        next.args.forEach((arg: Value, i) => {
          if (arg === user) work.push({ inst: next, index: i });
        });
      continue;
    }
    if ((user.flags & FLAG.VOLATILE) !== 0 || !READS[user.op]?.includes(operand)) return false;
  }
  return true;
}
