/** What has no effect goes: values that nobody needs, also in circles of phis, and stores to variables that nobody reads. */
import { detach, type Func, hasEffect, type Inst, sweep } from '../ir/index.ts';

export function eliminateDeadCode(func: Func): boolean {
  const dead = deadVariables(func);
  const needed = new Set<Inst>();
  const work: Inst[] = [];
  for (const block of func.blocks) {
    for (const inst of block.insts) {
      if (hasEffect(inst) && !dead.has(inst)) {
        needed.add(inst);
        work.push(inst);
      }
    }
  }
  while (work.length > 0) {
    const inst = work.pop()!;
    for (const arg of inst.args) {
      if (arg.kind !== 'inst' || needed.has(arg)) continue;
      // A mark of life does not keep its variable.
      if (inst.op === 'lifetime') continue;
      needed.add(arg);
      work.push(arg);
    }
  }
  let changed = false;
  for (const block of func.blocks) {
    for (const inst of block.insts) {
      const variable = inst.op === 'lifetime' ? inst.args[0] : undefined;
      const keep =
        needed.has(inst) && (variable === undefined || variable.kind !== 'inst' || needed.has(variable));
      if (keep) continue;
      detach(inst);
      changed = true;
    }
  }
  if (changed) sweep(func);
  return changed;
}

/** Stores (and marks) of variables that are never read and whose address goes nowhere. */
function deadVariables(func: Func): Set<Inst> {
  const dead = new Set<Inst>();
  for (const alloca of func.entry.insts) {
    if (alloca.op !== 'alloca') continue;
    const writes: Inst[] = [];
    const work: Inst[] = [alloca];
    const seen = new Set<Inst>(work);
    let read = false;
    while (work.length > 0 && !read) {
      const value = work.pop()!;
      for (const user of value.users) {
        if (user.op === 'lifetime') writes.push(user);
        else if (user.op === 'ptradd' && user.args[0] === value) {
          if (!seen.has(user)) {
            seen.add(user);
            work.push(user);
          }
        } else if (user.op === 'store' && user.args[1] !== value && !hasVolatile(user)) writes.push(user);
        else if (user.op === 'memset' || (isCopy(user) && user.args[1] !== value)) writes.push(user);
        else {
          read = true;
          break;
        }
      }
    }
    if (!read) for (const write of writes) dead.add(write);
  }
  return dead;
}

const isCopy = (inst: Inst): boolean => inst.op === 'memcpy' || inst.op === 'memmove';
const hasVolatile = (inst: Inst): boolean => (inst.flags & 1) !== 0;
