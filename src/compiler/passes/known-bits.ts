/** Which bits of a value may be set. */
import { bitsOf, FLAG, isConst, type Value } from '../ir/index.ts';
import { maskOf, upTo } from './masks.ts';

/** Bits that may be set, as a mask; an upper bound. */
export function possibleBits(value: Value, depth = 0): bigint {
  const all = maskOf(bitsOf(value.type));
  if (value.kind === 'const') return value.value;
  if (value.kind !== 'inst' || depth > 5) return all;
  const arg = (i: number): bigint => possibleBits(value.args[i]!, depth + 1);
  switch (value.op) {
    case 'zext':
      return arg(0);
    case 'trunc':
      return arg(0) & all;
    case 'load':
      return value.has(FLAG.SIGNED) ? all : maskOf(bitsOf(value.mem));
    case 'bswap':
      return maskOf(bitsOf(value.mem));
    case 'and':
      return arg(0) & arg(1);
    case 'or':
    case 'xor':
      return arg(0) | arg(1);
    case 'add': {
      const a = upTo(arg(0));
      const b = upTo(arg(1));
      const sum = upTo(a + b);
      return sum > all ? all : sum;
    }
    case 'mul': {
      const product = upTo(upTo(arg(0)) * upTo(arg(1)));
      return product > all ? all : product;
    }
    case 'lshr': {
      // By a number that is not known: the kernel's verifier gives up on the result.
      const by = value.args[1]!;
      return isConst(by) ? arg(0) >> by.value : all;
    }
    case 'shl': {
      const by = value.args[1]!;
      return isConst(by) ? (arg(0) << by.value) & all : all;
    }
    // Not of divisions: the kernel's verifier knows nothing of their results, so masks behind them must stay.
    case 'select':
      return arg(1) | arg(2);
    case 'phi': {
      if (depth > 2 || value.args.length > 4) return all;
      let bits = 0n;
      for (const one of value.args) if (one !== value) bits |= possibleBits(one, depth + 3);
      return bits;
    }
    default:
      return all;
  }
}
