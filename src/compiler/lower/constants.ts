/** Values that are known before the program runs: initialisers of static data. Numbers, and addresses with an addend. */
import type { Expr, FunctionDecl, StringExpr, VarDecl } from '../ast/index.ts';
import type { Func, Global } from '../ir/index.ts';
import { isBool, isSigned, sizeOf } from './types.ts';

export interface StaticValue {
  readonly base: Global | Func | undefined;
  readonly value: bigint;
}

export interface StaticContext {
  globalOf(decl: VarDecl): Global;
  funcOf(decl: FunctionDecl): Func;
  literal(expr: StringExpr): Global;
}

const number = (value: bigint): StaticValue => ({ base: undefined, value });

function cutTo(expr: Expr, value: bigint): bigint {
  const bits = Math.min(sizeOf(expr.type) * 8, 64);
  return isSigned(expr.type) ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value);
}

/** The value of a constant expression, undefined where it is none. */
export function evaluateStatic(cx: StaticContext, expr: Expr): StaticValue | undefined {
  const both = (a: Expr, b: Expr): [bigint, bigint] | undefined => {
    const x = evaluateStatic(cx, a);
    const y = evaluateStatic(cx, b);
    if (x === undefined || y === undefined || x.base !== undefined || y.base !== undefined) return undefined;
    return [x.value, y.value];
  };
  switch (expr.kind) {
    case 'int':
      return number(expr.value);
    case 'cast': {
      if (expr.how === 'decay') return staticAddress(cx, expr.operand);
      if (expr.how === 'load') {
        // A constant object: `static const int n = 4`.
        const { operand } = expr;
        if (operand.kind === 'compound-literal' || operand.kind === 'decl-ref') {
          const decl = operand.decl;
          const entry = decl.kind === 'var' ? decl.init?.entries[0] : undefined;
          if (
            entry !== undefined &&
            decl.kind === 'var' &&
            decl.init!.entries.length === 1 &&
            entry.offset === 0
          )
            return evaluateStatic(cx, entry.value);
        }
        return undefined;
      }
      const inner = evaluateStatic(cx, expr.operand);
      if (inner === undefined) return undefined;
      if (inner.base !== undefined) return sizeOf(expr.type) === 8 ? inner : undefined;
      if (expr.how === 'to-bool' || (expr.how === 'integer' && isBool(expr.type)))
        return number(inner.value === 0n ? 0n : 1n);
      if (expr.how === 'integer') return number(cutTo(expr, inner.value));
      return number(BigInt.asUintN(64, inner.value));
    }
    case 'address':
      return staticAddress(cx, expr.operand);
    case 'unary': {
      const inner = evaluateStatic(cx, expr.operand);
      if (inner === undefined || inner.base !== undefined) return undefined;
      if (expr.op === '!') return number(inner.value === 0n ? 1n : 0n);
      return number(cutTo(expr, expr.op === '-' ? -inner.value : ~inner.value));
    }
    case 'binary': {
      const pair = both(expr.left, expr.right);
      if (pair === undefined) return undefined;
      const result = arithmetic(expr.op, pair[0], pair[1]);
      return result === undefined ? undefined : number(cutTo(expr, result));
    }
    case 'compare': {
      const pair = both(expr.left, expr.right);
      if (pair === undefined) return undefined;
      const [a, b] = pair;
      const truth = { '==': a === b, '!=': a !== b, '<': a < b, '>': a > b, '<=': a <= b, '>=': a >= b }[
        expr.op
      ];
      return number(truth ? 1n : 0n);
    }
    case 'logical': {
      const left = evaluateStatic(cx, expr.left);
      if (left === undefined) return undefined;
      const first = left.base !== undefined || left.value !== 0n;
      if (first === (expr.op === '||')) return number(first ? 1n : 0n);
      const right = evaluateStatic(cx, expr.right);
      if (right === undefined) return undefined;
      return number(right.base !== undefined || right.value !== 0n ? 1n : 0n);
    }
    case 'conditional': {
      const cond = evaluateStatic(cx, expr.cond);
      if (cond === undefined) return undefined;
      const truth = cond.base !== undefined || cond.value !== 0n;
      if (!truth) return evaluateStatic(cx, expr.otherwise);
      return expr.then === null ? cond : evaluateStatic(cx, expr.then);
    }
    case 'pointer-add': {
      const base = evaluateStatic(cx, expr.pointer);
      const index = evaluateStatic(cx, expr.index);
      if (base === undefined || index === undefined || index.base !== undefined) return undefined;
      const by = index.value * BigInt(expr.scale);
      return { base: base.base, value: expr.op === '+' ? base.value + by : base.value - by };
    }
    case 'pointer-diff': {
      const a = evaluateStatic(cx, expr.left);
      const b = evaluateStatic(cx, expr.right);
      if (a === undefined || b === undefined || a.base !== b.base) return undefined;
      return number((a.value - b.value) / BigInt(Math.max(1, expr.scale)));
    }
    case 'comma':
      return evaluateStatic(cx, expr.right);
    case 'builtin':
      if (expr.name === 'expect') return evaluateStatic(cx, expr.args[0]!);
      if (expr.name === 'constant_p')
        return number(evaluateStatic(cx, expr.args[0]!) === undefined ? 0n : 1n);
      if (/^bswap/.test(expr.name)) {
        const inner = evaluateStatic(cx, expr.args[0]!);
        if (inner === undefined || inner.base !== undefined) return undefined;
        return number(swapBytes(inner.value, Number(expr.name.slice(5)) / 8));
      }
      return undefined;
    default:
      return undefined;
  }
}

function swapBytes(value: bigint, bytes: number): bigint {
  let result = 0n;
  for (let i = 0; i < bytes; i++) result = (result << 8n) | ((value >> BigInt(8 * i)) & 0xffn);
  return result;
}

function arithmetic(op: string, a: bigint, b: bigint): bigint | undefined {
  switch (op) {
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      return a * b;
    case '/':
      return b === 0n ? undefined : a / b;
    case '%':
      return b === 0n ? undefined : a % b;
    case '&':
      return a & b;
    case '|':
      return a | b;
    case '^':
      return a ^ b;
    case '<<':
      return b < 0n || b > 63n ? undefined : a << b;
    case '>>':
      return b < 0n || b > 63n ? undefined : a >> b;
    default:
      return undefined;
  }
}

function staticAddress(cx: StaticContext, expr: Expr): StaticValue | undefined {
  switch (expr.kind) {
    case 'decl-ref':
      if (expr.decl.kind === 'function') return { base: cx.funcOf(expr.decl), value: 0n };
      if (expr.decl.storage === 'local' || expr.decl.storage === 'parameter') return undefined;
      return { base: cx.globalOf(expr.decl), value: 0n };
    case 'compound-literal':
      return expr.decl.storage === 'local' ? undefined : { base: cx.globalOf(expr.decl), value: 0n };
    case 'string':
      return { base: cx.literal(expr), value: 0n };
    case 'member': {
      const base = staticAddress(cx, expr.record);
      return base && { base: base.base, value: base.value + BigInt(Math.floor(expr.field.offset / 8)) };
    }
    case 'deref':
      return evaluateStatic(cx, expr.pointer);
    case 'subscript': {
      const base = evaluateStatic(cx, expr.base);
      const index = evaluateStatic(cx, expr.index);
      if (base === undefined || index === undefined || index.base !== undefined) return undefined;
      return { base: base.base, value: base.value + index.value * BigInt(expr.scale) };
    }
    case 'cast':
      return expr.how === 'same' ? staticAddress(cx, expr.operand) : undefined;
    default:
      return undefined;
  }
}
