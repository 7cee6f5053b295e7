/** Numbers whose bounds the kernel's verifier has to follow. */
import { BINARY_OPS, type Inst, type Value } from '../ir/index.ts';

/** Values that one question looks at. */
const MAX_REACH = 48;

/** Whether an address, a call or the result of the function may be made from it. `memo` holds what was found, per state of a function. */
export function reachesPointer(value: Value, memo: Map<Value, boolean>): boolean {
  if (value.kind !== 'inst' && value.kind !== 'param') return false;
  const before = memo.get(value);
  if (before !== undefined) return before;
  const found = search(value);
  memo.set(value, found);
  return found;
}

function search(value: Inst | Extract<Value, { readonly kind: 'param' }>): boolean {
  const seen = new Set<Value>([value]);
  const work: (typeof value)[] = [value];
  while (work.length > 0) {
    const one = work.pop()!;
    for (const user of one.users) {
      switch (user.op) {
        case 'icmp':
        case 'condbr':
        case 'switch':
        case 'load':
          continue;
        case 'store':
          // A variable of the frame comes back with its bounds.
          continue;
        case 'phi':
        case 'select':
        case 'zext':
        case 'sext':
        case 'trunc':
          break;
        default:
          if (!BINARY_OPS.has(user.op)) return true;
      }
      if (seen.has(user)) continue;
      if (seen.size >= MAX_REACH) return true;
      seen.add(user);
      work.push(user);
    }
  }
  return false;
}
