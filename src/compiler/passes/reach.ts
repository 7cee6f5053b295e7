/** What the object has to hold: what others can name, and what that refers to. */
import type { Func, Global, Module, Value } from '../ir/index.ts';

export interface Kept {
  readonly functions: Func[];
  readonly globals: Global[];
  /** Declared here, defined elsewhere, and used. */
  readonly externs: (Global | Func)[];
}

const isExtern = (linkage: string): boolean => linkage === 'extern' || linkage === 'extern-weak';

export function reachable(module: Module): Kept {
  const seen = new Set<Global | Func>();
  const work: (Global | Func)[] = [];
  const want = (one: Global | Func): void => {
    if (seen.has(one)) return;
    seen.add(one);
    work.push(one);
  };
  for (const func of module.funcs)
    if (!func.isDeclaration && (func.linkage !== 'static' || func.used)) want(func);
  for (const global of module.globals)
    if (!isExtern(global.linkage) && (global.linkage !== 'static' || global.used)) want(global);
  const look = (value: Value): void => {
    if (value.kind === 'global' || value.kind === 'function') want(value);
  };
  while (work.length > 0) {
    const one = work.pop()!;
    if (one.kind === 'global') {
      for (const reloc of one.relocs) want(reloc.target);
      continue;
    }
    for (const block of one.blocks)
      for (const inst of block.insts) {
        for (const arg of inst.args) look(arg);
        if (inst.callee?.kind === 'function') want(inst.callee.func);
        if (inst.asm !== undefined) for (const func of inst.asm.calls.values()) want(func);
      }
  }
  return {
    functions: module.funcs.filter((func) => seen.has(func) && !func.isDeclaration),
    globals: module.globals.filter((global) => seen.has(global) && !isExtern(global.linkage)),
    externs: [
      ...module.globals.filter((global) => seen.has(global) && isExtern(global.linkage)),
      ...module.funcs.filter((func) => seen.has(func) && func.isDeclaration),
    ],
  };
}
