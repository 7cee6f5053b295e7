/**
 * Constant evaluation over the typed tree: integers exactly as the target computes them, addresses of static objects
 * as symbol + offset. What is no constant gives null; nothing is ever approximated.
 */
import {
  type BuiltinExpr,
  type CastExpr,
  core,
  type Expr,
  type FunctionDecl,
  type IntegerType,
  QUAL_CONST,
  QUAL_VOLATILE,
  qualifiers,
  type StringExpr,
  type VarDecl,
} from '../ast/index.ts';
import { compareIntegers, integerOf, isInteger, sizeOf, wrap } from './arithmetic-types.ts';

/** An integer or null pointer (`base` null), or the address of something static plus `offset` bytes. */
export interface Constant {
  readonly base: VarDecl | FunctionDecl | StringExpr | null;
  readonly offset: bigint;
}

const int = (offset: bigint): Constant => ({ base: null, offset });
const TRUE = int(1n);
const FALSE = int(0n);
const truth = (value: boolean): Constant => (value ? TRUE : FALSE);

/** The value of an integer constant expression, or null. */
export function evaluateInteger(expr: Expr, demanded = false): bigint | null {
  if (expr.kind === 'int') return expr.value;
  const value = evaluate(expr, demanded);
  return value === null || value.base !== null ? null : value.offset;
}

/**
 * The value of an expression where it is a constant of the compiler or the linker; null else. `demanded`: the language
 * wants a constant here, so what is undecided (`__builtin_constant_p`) is decided now.
 */
export function evaluate(expr: Expr, demanded = false): Constant | null {
  switch (expr.kind) {
    case 'int':
      return int(expr.value);
    case 'unary': {
      const operand = evaluate(expr.operand, demanded);
      if (operand === null) return null;
      if (expr.op === '!') {
        const value = isTrue(operand);
        return value === null ? null : truth(!value);
      }
      if (operand.base !== null) return null;
      const value = expr.op === '-' ? -operand.offset : ~operand.offset;
      return int(wrap(value, integerOf(expr.type)));
    }
    case 'binary': {
      const left = evaluate(expr.left, demanded);
      if (left === null) return null;
      const right = evaluate(expr.right, demanded);
      if (right === null) return null;
      if (left.base !== null || right.base !== null) return addressArithmetic(expr.op, left, right);
      const value = arithmetic(expr.op, left.offset, right.offset, integerOf(expr.type));
      return value === null ? null : int(value);
    }
    case 'compare': {
      const left = evaluate(expr.left, demanded);
      if (left === null) return null;
      const right = evaluate(expr.right, demanded);
      if (right === null) return null;
      if (left.base !== right.base) {
        // The address of an object is never null.
        const oneIsNull =
          (left.base === null && left.offset === 0n) || (right.base === null && right.offset === 0n);
        if (!oneIsNull || isWeak(left) || isWeak(right) || (expr.op !== '==' && expr.op !== '!='))
          return null;
        return truth(expr.op === '!=');
      }
      return truth(compareIntegers(expr.op, left.offset, right.offset));
    }
    case 'logical': {
      const left = evaluate(expr.left, demanded);
      if (left === null) return null;
      const decided = isTrue(left);
      if (decided === null) return null;
      if (decided === (expr.op === '||')) return truth(decided);
      const right = evaluate(expr.right, demanded);
      const second = right === null ? null : isTrue(right);
      return second === null ? null : truth(second);
    }
    case 'conditional': {
      const cond = evaluate(expr.cond, demanded);
      const decided = cond === null ? null : isTrue(cond);
      if (cond === null || decided === null) return null;
      if (decided) return expr.then === null ? cond : evaluate(expr.then, demanded);
      return evaluate(expr.otherwise, demanded);
    }
    case 'cast':
      return evaluateCast(expr, demanded);
    case 'address':
      return evaluateAddress(expr.operand, demanded);
    case 'pointer-add': {
      const pointer = evaluate(expr.pointer, demanded);
      const index = pointer === null ? null : evaluateInteger(expr.index, demanded);
      if (pointer === null || index === null) return null;
      const step = index * BigInt(expr.scale);
      return shifted(pointer, expr.op === '+' ? step : -step);
    }
    case 'pointer-diff': {
      const left = evaluate(expr.left, demanded);
      const right = left === null ? null : evaluate(expr.right, demanded);
      if (left === null || right === null || left.base !== right.base || expr.scale === 0) return null;
      return int((left.offset - right.offset) / BigInt(expr.scale));
    }
    case 'builtin':
      return evaluateBuiltin(expr, demanded);
    case 'statement-expr':
      return null;
    default:
      return null;
  }
}

/** Null where only the linker knows: a weak symbol may have no address. */
export function isTrue(value: Constant): boolean | null {
  if (isWeak(value)) return null;
  return value.base !== null || value.offset !== 0n;
}

function isWeak({ base }: Constant): boolean {
  return base !== null && base.kind !== 'string' && base.attributes.weak === true;
}

function shifted(value: Constant, by: bigint): Constant {
  return { base: value.base, offset: BigInt.asIntN(64, value.offset + by) };
}

function addressArithmetic(op: string, left: Constant, right: Constant): Constant | null {
  if (op === '+' && right.base === null) return shifted(left, right.offset);
  if (op === '+' && left.base === null) return shifted(right, left.offset);
  if (op === '-' && right.base === null) return shifted(left, -right.offset);
  if (op === '-' && left.base === right.base) return int(left.offset - right.offset);
  return null;
}

/** `left op right` in an integer type; null for a division by zero. */
export function arithmetic(op: string, left: bigint, right: bigint, type: IntegerType): bigint | null {
  switch (op) {
    case '+':
      return wrap(left + right, type);
    case '-':
      return wrap(left - right, type);
    case '*':
      return wrap(left * right, type);
    case '/':
      return right === 0n ? null : wrap(left / right, type);
    case '%':
      return right === 0n ? null : wrap(left % right, type);
    case '&':
      return wrap(left & right, type);
    case '|':
      return wrap(left | right, type);
    case '^':
      return wrap(left ^ right, type);
    case '<<':
    case '>>': {
      // Undefined where it shifts too far or by less than nothing; clang folds these so.
      const most = BigInt(type.size * 8 - 1);
      const distance = right < 0n ? -right : right;
      const by = distance > most ? most : distance;
      return wrap((op === '<<') === right >= 0n ? left << by : left >> by, type);
    }
    default:
      return null;
  }
}

function evaluateCast(expr: CastExpr, demanded = false): Constant | null {
  const { operand } = expr;
  switch (expr.how) {
    case 'decay':
      return evaluateAddress(operand, demanded);
    case 'load':
      return constantVariable(operand);
    case 'void':
      return null;
    default: {
      const value = evaluate(operand, demanded);
      if (value === null) return null;
      switch (expr.how) {
        case 'to-bool':
          return isWeak(value) ? null : truth(isTrue(value)!);
        case 'integer':
          if (value.base !== null) return sizeOf(expr.type) === 8 ? value : null;
          return int(wrap(value.offset, integerOf(expr.type)));
        case 'pointer-to-int':
        case 'int-to-pointer':
          return value.base !== null ? value : int(wrap(value.offset, integerOf(expr.type)));
        default:
          return value;
      }
    }
  }
}

/** The value of a `const` variable whose initialiser is constant: C has no such rule, clang folds it all the same. */
function constantVariable(expr: Expr): Constant | null {
  if (expr.kind !== 'decl-ref' || expr.decl.kind !== 'var') return null;
  const { type, init, attributes } = expr.decl;
  const quals = qualifiers(type);
  if ((quals & QUAL_CONST) === 0 || (quals & QUAL_VOLATILE) !== 0 || attributes.weak) return null;
  if (init === null || init.entries.length !== 1 || !isInteger(type)) return null;
  // Folded when it was declared, so that chains of such variables do not nest.
  const { value } = init.entries[0]!;
  return value.kind === 'int' ? int(value.value) : null;
}

/** The address of an lvalue. */
export function evaluateAddress(expr: Expr, demanded = false): Constant | null {
  switch (expr.kind) {
    case 'decl-ref': {
      const { decl } = expr;
      if (decl.kind === 'function') return { base: decl, offset: 0n };
      if (decl.storage === 'local' || decl.storage === 'parameter') return null;
      return { base: decl, offset: 0n };
    }
    case 'string':
      return { base: expr, offset: 0n };
    case 'compound-literal':
      return expr.decl.storage === 'local' ? null : { base: expr.decl, offset: 0n };
    case 'member': {
      const record = evaluateAddress(expr.record, demanded);
      return record === null || expr.field.bitWidth !== null
        ? null
        : shifted(record, BigInt(expr.field.offset / 8));
    }
    case 'subscript': {
      const base = evaluate(expr.base, demanded);
      const index = base === null ? null : evaluateInteger(expr.index, demanded);
      return base === null || index === null ? null : shifted(base, index * BigInt(expr.scale));
    }
    case 'deref':
      return evaluate(expr.pointer, demanded);
    case 'cast':
      return expr.how === 'same' ? evaluateAddress(expr.operand, demanded) : null;
    default:
      return null;
  }
}

function evaluateBuiltin(expr: BuiltinExpr, demanded = false): Constant | null {
  const bits = (from: Expr) => BigInt(sizeOf(from.type) * 8);
  const first = expr.args[0];
  switch (expr.name) {
    case 'expect':
      return first === undefined ? null : evaluate(first, demanded);
    case 'constant_p': {
      // Undecided until the passes ran, unless it is a constant already.
      if (first === undefined) return null;
      const value = evaluate(first, demanded);
      if (value !== null && (value.base === null || value.base.kind === 'string')) return TRUE;
      return demanded ? FALSE : null;
    }
    case 'preserve_access_index':
      return null;
    case 'bswap16':
    case 'bswap32':
    case 'bswap64':
    case 'clz':
    case 'ctz':
    case 'ffs':
    case 'popcount':
    case 'parity':
    case 'abs':
    case 'bitreverse':
    case 'clrsb': {
      if (first === undefined || !isInteger(first.type)) return null;
      const value = evaluateInteger(first, demanded);
      return value === null ? null : bitBuiltin(expr.name, value, bits(first));
    }
    case 'strlen': {
      const value = first === undefined ? null : evaluate(first, demanded);
      if (value?.base?.kind !== 'string') return null;
      const end = value.base.bytes.indexOf(0, Number(value.offset));
      return value.offset < 0n || end < 0 ? null : int(BigInt(end) - value.offset);
    }
    default:
      return null;
  }
}

function bitBuiltin(name: string, signedValue: bigint, width: bigint): Constant | null {
  const value = BigInt.asUintN(Number(width), signedValue);
  const text = value.toString(2);
  const leading = value === 0n ? width : width - BigInt(text.length);
  const trailing = value === 0n ? width : BigInt(text.length - 1 - text.lastIndexOf('1'));
  const ones = BigInt(text.replaceAll('0', '').length);
  switch (name) {
    case 'clz':
      return value === 0n ? null : int(leading);
    case 'ctz':
      return value === 0n ? null : int(trailing);
    case 'ffs':
      return int(value === 0n ? 0n : trailing + 1n);
    case 'popcount':
      return int(ones);
    case 'parity':
      return int(ones & 1n);
    case 'abs':
      return int(signedValue < 0n ? BigInt.asIntN(Number(width), -signedValue) : signedValue);
    case 'clrsb': {
      const folded = signedValue < 0n ? BigInt.asUintN(Number(width), ~value) : value;
      return int(width - 1n - BigInt(folded === 0n ? 0 : folded.toString(2).length));
    }
    case 'bitreverse': {
      const reversed = [...text.padStart(Number(width), '0')].reverse().join('');
      return int(BigInt(`0b${reversed}`));
    }
    default: {
      const bytes = Number(name.slice(5)) / 8;
      const hex = value
        .toString(16)
        .padStart(bytes * 2, '0')
        .slice(-bytes * 2);
      const swapped = (hex.match(/../g) ?? []).reverse().join('');
      return int(BigInt(`0x${swapped}`));
    }
  }
}

/** Whether an expression is a null pointer constant (C11 6.3.2.3): 0, or 0 cast to `void *`. */
export function isNullConstant(expr: Expr): boolean {
  if (expr.kind === 'int') {
    if (expr.value !== 0n) return false;
    const type = core(expr.type);
    return type.kind !== 'pointer' || core(type.pointee).kind === 'void';
  }
  const type = core(expr.type);
  if (type.kind === 'pointer') {
    return (
      expr.kind === 'cast' &&
      (expr.how === 'null' || expr.how === 'int-to-pointer') &&
      core(type.pointee).kind === 'void' &&
      evaluateInteger(expr) === 0n
    );
  }
  return isInteger(expr.type) && evaluateInteger(expr) === 0n;
}
