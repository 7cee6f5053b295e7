/**
 * Warnings about what is right C and hardly meant: precedence that surprises, comparisons with one result, constants that do not fit.
 * Named, worded and placed as clang's; questions only, the callers know where in the source they stand.
 */
import { type CompareOp, type CType, core, type Expr, type VarDecl } from '../ast/index.ts';
import type { SExpr } from '../parse/index.ts';
import { isMacroLocation, type Location } from '../source/index.ts';
import { compareIntegers, integerOf, isInteger, wrap } from './arithmetic-types.ts';

export type Report = (code: string, message: string, loc: Location) => void;

const COMPARISONS: ReadonlySet<string> = new Set(['==', '!=', '<', '>', '<=', '>=']);
const BITWISE: ReadonlyMap<string, number> = new Map([
  ['&', 0],
  ['^', 1],
  ['|', 2],
]);

const operator = (node: SExpr): string => (node.kind === 'binary' ? node.op : '');

/** Operators within others without parentheses, where people misread which comes first. */
export function checkPrecedence(op: string, left: SExpr, right: SExpr, loc: Location, report: Report): void {
  const level = BITWISE.get(op);
  const inner = [left, right].filter((node) => node.kind === 'binary');
  if (inner.length === 0) return;
  if (level !== undefined) {
    const compared = inner.filter((node) => COMPARISONS.has(operator(node)));
    if (compared.length === 1 && !inner.some((node) => BITWISE.has(operator(node)))) {
      const first = operator(compared[0]!);
      report(
        'parentheses',
        `${op} has lower precedence than ${first}; ${first} will be evaluated first`,
        loc,
      );
    }
  }
  if (isMacroLocation(loc)) return;
  for (const node of inner) {
    const first = operator(node);
    const within = BITWISE.get(first);
    if (level !== undefined && within !== undefined && within < level && op !== '&')
      report('bitwise-op-parentheses', `'${first}' within '${op}'`, node.loc);
    if (op === '||' && first === '&&') report('logical-op-parentheses', "'&&' within '||'", node.loc);
    if ((op === '<<' || op === '>>') && (first === '+' || first === '-'))
      report(
        'shift-op-parentheses',
        `operator '${op}' has lower precedence than '${first}'; '${first}' will be evaluated first`,
        node.loc,
      );
  }
}

/** `!a == b`: the `!` is of `a` alone. */
export function checkNot(op: string, left: SExpr, right: Expr, report: Report): void {
  if ((!COMPARISONS.has(op) && op !== '&') || left.kind !== 'unary' || left.op !== '!') return;
  if (isBoolean(right)) return;
  const what = op === '&' ? 'bitwise operator' : 'comparison';
  report(
    'logical-not-parentheses',
    `logical not is only applied to the left hand side of this ${what}`,
    left.loc,
  );
}

function isBoolean(expr: Expr): boolean {
  let at = expr;
  while (at.kind === 'cast' && at.how !== 'to-bool' && (at.how === 'load' || !at.explicit)) at = at.operand;
  const type = core(at.type);
  return (
    at.kind === 'compare' ||
    at.kind === 'logical' ||
    (at.kind === 'unary' && at.op === '!') ||
    (type.kind === 'integer' && type.bool)
  );
}

/** `if ((a == b))`: twice in parentheses, as an assignment that is meant would be. */
export function checkDoubleParentheses(node: SExpr, report: Report): void {
  if (node.kind !== 'paren' || node.inner.kind !== 'binary' || node.inner.op !== '==') return;
  if (isMacroLocation(node.loc) || isMacroLocation(node.inner.loc)) return;
  if (!['name', 'member', 'subscript'].includes(node.inner.left.kind)) return;
  report('parentheses-equality', 'equality comparison with extraneous parentheses', node.inner.loc);
}

/** The variable that an expression reads, else null. */
function variableOf(expr: Expr): VarDecl | null {
  let at = expr;
  while (at.kind === 'cast' && !at.explicit) at = at.operand;
  return at.kind === 'decl-ref' && at.decl.kind === 'var' ? at.decl : null;
}

/** `x = x` */
export function checkSelfAssign(
  target: Expr,
  value: Expr,
  loc: Location,
  quote: (type: CType) => string,
  report: Report,
): void {
  const variable = variableOf(value);
  if (variable === null || target.kind !== 'decl-ref' || target.decl !== variable || isMacroLocation(loc))
    return;
  report(
    'self-assign',
    `explicitly assigning value of variable of type ${quote(target.type)} to itself`,
    loc,
  );
}

/** Comparisons of integers, already in their common type, that have one result. */
export function checkComparison(
  op: CompareOp,
  left: Expr,
  right: Expr,
  loc: Location,
  quote: (type: CType) => string,
  report: Report,
): void {
  if (isMacroLocation(loc)) return;
  const variable = variableOf(left);
  if (variable !== null && variable === variableOf(right)) {
    const result = op === '==' || op === '<=' || op === '>=';
    report('tautological-compare', `self-comparison always evaluates to ${result}`, loc);
    return;
  }
  if (right.kind !== 'int' || (op !== '==' && op !== '!=')) return;
  if (left.kind === 'binary' && left.right.kind === 'int') {
    const mask = left.right.value;
    const never =
      (left.op === '&' && (right.value & ~mask) !== 0n) || (left.op === '|' && (mask & ~right.value) !== 0n);
    if (never)
      report('tautological-bitwise-compare', `bitwise comparison always evaluates to ${op === '!='}`, loc);
    return;
  }
  if (left.kind !== 'cast' || left.how !== 'integer' || left.explicit || !isInteger(left.operand.type))
    return;
  const narrow = integerOf(left.operand.type);
  if (narrow.signed || narrow.bool || left.operand.kind !== 'cast' || left.operand.how !== 'load') return;
  if (left.operand.operand.kind === 'member' && left.operand.operand.field.bitWidth !== null) return;
  if (wrap(right.value, narrow) === right.value) return;
  report(
    'tautological-constant-out-of-range-compare',
    `result of comparison of constant ${right.value} with expression of type ${quote(left.operand.type)} is always ${op === '!='}`,
    loc,
  );
}

/** `x != 1 || x != 2`, `x == 1 && x == 2`, `x > 5 && x < 1` */
export function checkOverlap(op: '&&' | '||', left: Expr, right: Expr, loc: Location, report: Report): void {
  if (left.kind !== 'compare' || right.kind !== 'compare' || isMacroLocation(loc)) return;
  const variable = variableOf(left.left);
  if (variable === null || variable !== variableOf(right.left)) return;
  if (left.right.kind !== 'int' || right.right.kind !== 'int' || !isInteger(left.left.type)) return;
  const type = integerOf(left.left.type);
  const [a, b] = [left.right.value, right.right.value];
  const results = new Set<boolean>();
  for (const value of [a - 1n, a, a + 1n, b - 1n, b, b + 1n]) {
    if (wrap(value, type) !== value) continue;
    const one = compareIntegers(left.op, value, a);
    const other = compareIntegers(right.op, value, b);
    results.add(op === '&&' ? one && other : one || other);
  }
  if (results.size === 1)
    report(
      'tautological-overlap-compare',
      `overlapping comparisons always evaluate to ${[...results][0]}`,
      loc,
    );
}

/** Conditions that are the address of something. */
export function checkAddressTest(expr: Expr, report: Report): void {
  if (expr.kind !== 'cast' || expr.how !== 'decay' || expr.explicit || expr.operand.kind !== 'decl-ref')
    return;
  const { decl } = expr.operand;
  if (decl.attributes.weak || isMacroLocation(expr.loc)) return;
  const what = decl.kind === 'var' ? 'array' : 'function';
  report(
    'pointer-bool-conversion',
    `address of ${what} '${decl.name}' will always evaluate to 'true'`,
    expr.operand.loc,
  );
}

/** A constant stored into a bit-field that has not room for it. */
export function checkBitField(
  value: Expr,
  width: number,
  type: CType,
  loc: Location,
  quote: (type: CType) => string,
  report: Report,
): void {
  let at = value;
  while (at.kind === 'cast' && !at.explicit) at = at.operand;
  if (at.kind !== 'int' || !isInteger(type)) return;
  const { signed, bool } = integerOf(type);
  // Negative numbers that fit are masks: `= -1` sets all bits.
  const negative = BigInt.asIntN(integerOf(at.type).size * 8, at.value);
  if (bool || (negative < 0n && BigInt.asIntN(width, negative) === negative)) return;
  const stored = signed ? BigInt.asIntN(width, at.value) : BigInt.asUintN(width, at.value);
  if (stored === at.value) return;
  const one = signed && width === 1 && at.value === 1n;
  report(
    one ? 'single-bit-bitfield-constant-conversion' : 'bitfield-constant-conversion',
    `implicit truncation from ${quote(at.type)} to a ${one ? 'one-bit wide ' : ''}bit-field changes value from ${at.value} to ${stored}`.replace(
      'to a bit-field',
      'to bit-field',
    ),
    loc,
  );
}

/** The variable that an expression whose value nobody wants only stores to, else null. */
export function onlyStored(expr: Expr): VarDecl | null {
  let at = expr;
  while (at.kind === 'cast' && (!at.explicit || at.how === 'load')) at = at.operand;
  if (
    at.kind !== 'assign' &&
    at.kind !== 'compound-assign' &&
    at.kind !== 'pointer-assign' &&
    at.kind !== 'inc-dec'
  )
    return null;
  return at.target.kind === 'decl-ref' && at.target.decl.kind === 'var' ? at.target.decl : null;
}
