/** Where pointers point: base, offset, object; and whether the address of a variable gets away. */
import { type Func, type Inst, isConst, signedValue, type Value } from '../ir/index.ts';

/** Base and constant offset of an address. */
export function addressOf(pointer: Value): { base: Value; offset: number } {
  let base = pointer;
  let offset = 0;
  while (base.kind === 'inst' && base.op === 'ptradd' && isConst(base.args[1])) {
    offset += Number(signedValue(base.args[1]));
    base = base.args[0]!;
  }
  return { base, offset };
}

/** What object a pointer points into, where that is known. */
export function objectOf(pointer: Value): Value | undefined {
  let at = pointer;
  while (at.kind === 'inst' && at.op === 'ptradd') at = at.args[0]!;
  if (at.kind === 'global') return at;
  if (at.kind === 'inst' && at.op === 'alloca') return at;
  return undefined;
}

/** Variables whose address is used in other ways than for loads, stores and arguments of calls. */
export function capturedVariables(func: Func): Set<Inst> {
  const captured = new Set<Inst>();
  for (const alloca of func.entry.insts) {
    if (alloca.op !== 'alloca') continue;
    const work: Inst[] = [alloca];
    const seen = new Set<Inst>(work);
    scan: while (work.length > 0) {
      const value = work.pop()!;
      for (const user of value.users) {
        switch (user.op) {
          case 'load':
          case 'lifetime':
          case 'call':
          case 'icmp':
          case 'memcpy':
          case 'memset':
          case 'memmove':
          case 'memcmp':
            continue;
          case 'store':
            if (user.args[1] !== value) continue;
            captured.add(alloca);
            break scan;
          case 'atomic':
            if (user.args[0] === value && !user.args.slice(1).includes(value)) continue;
            captured.add(alloca);
            break scan;
          case 'ptradd':
            if (!seen.has(user)) {
              seen.add(user);
              work.push(user);
            }
            continue;
          default:
            captured.add(alloca);
            break scan;
        }
      }
    }
  }
  return captured;
}
