/** Unary, binary, assignment and conditional operators (C11 6.5.2.4 to 6.5.17). */
import {
  type ArithmeticOp,
  addressSpace,
  type CompareOp,
  type CType,
  core,
  type Expr,
  type PointerType,
  QUAL_CONST,
  QUAL_VOLATILE,
  qualifiers,
  qualify,
} from '../ast/index.ts';
import type { Location } from '../source/index.ts';
import {
  compareIntegers,
  compatible,
  INT,
  integerOf,
  isComplete,
  isInteger,
  isScalar,
  LONG,
  pointerTo,
  sizeOf,
  unqualified,
  VOID,
  wrap,
} from './arithmetic-types.ts';
import { ConvertSema } from './convert.ts';
import { arithmetic, evaluateInteger, isNullConstant } from './evaluate.ts';
import { checkBitField, checkComparison, checkOverlap, checkSelfAssign } from './lint.ts';

const COMPARISONS: ReadonlySet<string> = new Set(['==', '!=', '<', '>', '<=', '>=']);

export abstract class OperatorSema extends ConvertSema {
  protected invalidOperands(left: Expr, right: Expr, loc: Location): Expr {
    this.error(
      'operands',
      `invalid operands to binary expression (${this.quote(left.type)} and ${this.quote(right.type)})`,
      loc,
    );
    return this.errorExpr(loc);
  }

  protected isFloat(expr: Expr): boolean {
    return core(expr.type).kind === 'float';
  }

  /** Arithmetic of floating constants, which may end up as an integer. */
  private floatOperation(op: string, left: Expr, right: Expr, loc: Location): Expr {
    const value = (expr: Expr): number | null => {
      if (expr.kind === 'float') return expr.value;
      const integer = isInteger(expr.type) ? evaluateInteger(expr) : null;
      return integer === null ? null : Number(integer);
    };
    const a = value(left);
    const b = value(right);
    if (a === null || b === null) return this.noFloat(loc);
    const type = this.isFloat(left) ? left.type : right.type;
    const float = (result: number): Expr => ({ kind: 'float', value: result, type, lvalue: false, loc });
    switch (op) {
      case '+':
        return float(a + b);
      case '-':
        return float(a - b);
      case '*':
        return float(a * b);
      case '/':
        return float(a / b);
      case '<':
        return this.intExpr(a < b ? 1n : 0n, INT, loc);
      case '>':
        return this.intExpr(a > b ? 1n : 0n, INT, loc);
      case '<=':
        return this.intExpr(a <= b ? 1n : 0n, INT, loc);
      case '>=':
        return this.intExpr(a >= b ? 1n : 0n, INT, loc);
      case '==':
        return this.intExpr(a === b ? 1n : 0n, INT, loc);
      case '!=':
        return this.intExpr(a !== b ? 1n : 0n, INT, loc);
      default:
        return this.invalidOperands(left, right, loc);
    }
  }

  /** `left op right`; both may be lvalues. */
  protected binaryOperation(op: string, leftNode: Expr, rightNode: Expr, loc: Location): Expr {
    if (op === ',') {
      const right = this.rvalue(rightNode);
      return { kind: 'comma', left: leftNode, right, type: right.type, lvalue: false, loc };
    }
    if (op === '&&' || op === '||') return this.logical(op, leftNode, rightNode, loc);
    const left = this.rvalue(leftNode);
    const right = this.rvalue(rightNode);
    if (left.kind === 'error' || right.kind === 'error') return this.errorExpr(loc);
    const a = core(left.type).kind;
    const b = core(right.type).kind;
    if (a === 'float' || b === 'float') return this.floatOperation(op, left, right, loc);
    if (COMPARISONS.has(op)) return this.comparison(op as CompareOp, left, right, loc);
    const integers = (a === 'integer' || a === 'enum') && (b === 'integer' || b === 'enum');
    if (!integers) {
      if (op === '+' || op === '-') return this.pointerArithmetic(op, left, right, loc);
      return this.invalidOperands(left, right, loc);
    }
    return this.integerOperation(op as ArithmeticOp, left, right, loc);
  }

  private logical(op: '&&' | '||', leftNode: Expr, rightNode: Expr, loc: Location): Expr {
    const left = this.rvalue(leftNode);
    const right = this.rvalue(rightNode);
    if (left.kind === 'error' || right.kind === 'error') return this.errorExpr(loc);
    if (this.isFloat(left) || this.isFloat(right)) return this.noFloat(loc);
    if (!isScalar(left.type) || !isScalar(right.type)) return this.invalidOperands(left, right, loc);
    checkOverlap(op, left, right, loc, this.lint);
    return { kind: 'logical', op, left, right, type: INT, lvalue: false, loc };
  }

  private integerOperation(op: ArithmeticOp, leftNode: Expr, rightNode: Expr, loc: Location): Expr {
    let left: Expr;
    let right: Expr;
    let type: CType;
    if (op === '<<' || op === '>>') {
      left = this.promoteExpr(leftNode);
      right = this.promoteExpr(rightNode);
      type = left.type;
      this.checkShift(right, type, loc);
    } else [left, right, type] = this.usual(leftNode, rightNode);
    if (right.kind === 'int') {
      if (right.value === 0n && (op === '/' || op === '%') && this.unevaluated === 0)
        this.warning(
          'division-by-zero',
          op === '/' ? 'division by zero is undefined' : 'remainder by zero is undefined',
          loc,
        );
      if (left.kind === 'int') {
        const value = arithmetic(op, left.value, right.value, integerOf(type));
        if (value !== null) return this.intExpr(value, type, loc);
      }
    }
    return { kind: 'binary', op, left, right, type, lvalue: false, loc };
  }

  private checkShift(right: Expr, type: CType, loc: Location): void {
    if (right.kind !== 'int' || this.unevaluated > 0) return;
    if (right.value < 0n) this.warning('shift-count-negative', 'shift count is negative', loc);
    else if (right.value >= BigInt(sizeOf(type) * 8))
      this.warning('shift-count-overflow', 'shift count >= width of type', loc);
  }

  /** The size that pointer arithmetic steps by; null after an error. */
  protected pointeeSize(pointer: Expr, loc: Location): number | null {
    const { pointee } = core(pointer.type) as PointerType;
    const at = core(pointee);
    if (at.kind === 'void' || at.kind === 'function') return 1;
    if (!isComplete(pointee)) {
      this.error(
        'incomplete',
        at.kind === 'array' && at.variable
          ? 'variable length arrays are not supported on BPF'
          : `arithmetic on a pointer to an incomplete type ${this.quote(pointee)}`,
        loc,
        this.forwardNote(pointee),
      );
      return null;
    }
    return sizeOf(pointee);
  }

  /** An integer widened to the 64 bits of an index. */
  protected indexValue(expr: Expr): Expr {
    return integerOf(expr.type).size === 8 ? expr : this.castTo(expr, LONG);
  }

  private pointerArithmetic(op: '+' | '-', left: Expr, right: Expr, loc: Location): Expr {
    const a = core(left.type);
    const b = core(right.type);
    if (a.kind === 'pointer' && b.kind === 'pointer' && op === '-') {
      if (!compatible(core(a.pointee), core(b.pointee), false)) {
        this.error(
          'operands',
          `${this.quote(left.type)} and ${this.quote(right.type)} are not pointers to compatible types`,
          loc,
        );
        return this.errorExpr(loc);
      }
      const scale = this.pointeeSize(left, loc);
      if (scale === null) return this.errorExpr(loc);
      if (scale === 0) return this.intExpr(0n, LONG, loc);
      return { kind: 'pointer-diff', left, right, scale, type: LONG, lvalue: false, loc };
    }
    const [pointer, index] = a.kind === 'pointer' ? [left, right] : [right, left];
    if (core(pointer.type).kind !== 'pointer' || !isInteger(index.type) || (op === '-' && pointer === right))
      return this.invalidOperands(left, right, loc);
    const scale = this.pointeeSize(pointer, loc);
    if (scale === null) return this.errorExpr(loc);
    return {
      kind: 'pointer-add',
      op,
      pointer,
      index: this.indexValue(index),
      scale,
      preserve: this.preserving > 0,
      type: pointer.type,
      lvalue: false,
      loc,
    };
  }

  private comparison(op: CompareOp, left: Expr, right: Expr, loc: Location): Expr {
    const a = core(left.type);
    const b = core(right.type);
    const make = (x: Expr, y: Expr): Expr => {
      if (x.kind === 'int' && y.kind === 'int') {
        const result = compareIntegers(op, x.value, y.value);
        return this.intExpr(result ? 1n : 0n, INT, loc);
      }
      return { kind: 'compare', op, left: x, right: y, type: INT, lvalue: false, loc };
    };
    if (isInteger(a) && isInteger(b)) {
      const [x, y] = this.usual(left, right);
      if (
        integerOf(a).signed !== integerOf(b).signed &&
        !integerOf(x.type).signed &&
        op !== '==' &&
        op !== '!='
      )
        this.signCompare(left, right, loc);
      checkComparison(op, x, y, loc, (type) => this.quote(type), this.lint);
      return make(x, y);
    }
    if (a.kind === 'pointer' && b.kind === 'pointer') {
      if (isStringLiteral(left) || isStringLiteral(right))
        this.warning(
          'string-compare',
          'result of comparison against a string literal is unspecified (use an explicit string comparison function instead)',
          loc,
        );
      if (!isNullConstant(left) && !isNullConstant(right)) {
        const x = core(a.pointee);
        const y = core(b.pointee);
        if (x.kind !== 'void' && y.kind !== 'void' && !compatible(x, y, false))
          this.warning(
            'compare-distinct-pointer-types',
            `comparison of distinct pointer types (${this.quote(left.type)} and ${this.quote(right.type)})`,
            loc,
          );
      }
      return make(left, this.castTo(right, left.type));
    }
    if (a.kind === 'pointer' && isInteger(b)) {
      if (!isNullConstant(right)) this.pointerIntegerComparison(left, right, loc);
      return make(left, this.castTo(right, left.type));
    }
    if (b.kind === 'pointer' && isInteger(a)) {
      if (!isNullConstant(left)) this.pointerIntegerComparison(left, right, loc);
      return make(this.castTo(left, right.type), right);
    }
    return this.invalidOperands(left, right, loc);
  }

  private signCompare(left: Expr, right: Expr, loc: Location): void {
    const signed = integerOf(left.type).signed ? left : right;
    if (integerOf(signed.type).size < 4) return;
    const value = evaluateInteger(signed);
    if (value !== null && value >= 0n) return;
    this.warning(
      'sign-compare',
      `comparison of integers of different signs: ${this.quote(left.type)} and ${this.quote(right.type)}`,
      loc,
    );
  }

  private pointerIntegerComparison(left: Expr, right: Expr, loc: Location): void {
    this.warning(
      'pointer-integer-compare',
      `comparison between pointer and integer (${this.quote(left.type)} and ${this.quote(right.type)})`,
      loc,
    );
  }

  // -------------------------------------------------------------------------------------------------------------

  protected unaryOperation(op: '+' | '-' | '~' | '!', node: Expr, loc: Location): Expr {
    const expr = this.rvalue(node);
    if (expr.kind === 'error') return expr;
    if (this.isFloat(expr)) {
      if (expr.kind !== 'float' || op === '~') return this.noFloat(loc);
      if (op === '!') return this.intExpr(expr.value === 0 ? 1n : 0n, INT, loc);
      return { ...expr, value: op === '-' ? -expr.value : expr.value };
    }
    if (op === '!') {
      if (!isScalar(expr.type)) return this.invalidUnary(expr, loc);
      if (expr.kind === 'int') return this.intExpr(expr.value === 0n ? 1n : 0n, INT, loc);
      return { kind: 'unary', op, operand: expr, type: INT, lvalue: false, loc };
    }
    if (!isInteger(expr.type)) return this.invalidUnary(expr, loc);
    const operand = this.promoteExpr(expr);
    if (op === '+') return operand;
    if (operand.kind === 'int')
      return this.intExpr(
        wrap(op === '-' ? -operand.value : ~operand.value, integerOf(operand.type)),
        operand.type,
        loc,
      );
    return { kind: 'unary', op, operand, type: operand.type, lvalue: false, loc };
  }

  private invalidUnary(expr: Expr, loc: Location): Expr {
    this.error('operands', `invalid argument type ${this.quote(expr.type)} to unary expression`, loc);
    return this.errorExpr(loc);
  }

  protected dereference(node: Expr, loc: Location): Expr {
    const pointer = this.rvalue(node);
    if (pointer.kind === 'error') return pointer;
    const at = core(pointer.type);
    if (at.kind !== 'pointer') {
      this.error(
        'indirection',
        `indirection requires pointer operand (${this.quote(pointer.type)} invalid)`,
        loc,
      );
      return this.errorExpr(loc);
    }
    // `*&x` and `*f` stay what they are.
    if (pointer.kind === 'cast' && pointer.how === 'decay' && core(at.pointee).kind === 'function')
      return pointer.operand;
    return { kind: 'deref', pointer, type: at.pointee, lvalue: true, loc };
  }

  protected addressOf(expr: Expr, loc: Location): Expr {
    if (expr.kind === 'error') return expr;
    if (!expr.lvalue) {
      this.error('lvalue', `cannot take the address of an rvalue of type ${this.quote(expr.type)}`, loc);
      return this.errorExpr(loc);
    }
    if (expr.kind === 'member' && expr.field.bitWidth !== null) {
      this.error('bit-field', 'address of bit-field requested', loc);
      return this.errorExpr(loc);
    }
    if (expr.kind === 'decl-ref' && expr.decl.kind === 'var' && expr.decl.register) {
      this.error('register', 'address of register variable requested', loc);
      return this.errorExpr(loc);
    }
    this.noteAddress(expr);
    const type = pointerTo(expr.type);
    if (core(expr.type).kind === 'function') return this.cast('decay', expr, type);
    // `&*p` and `&a[i]` need no node: but a relocatable access keeps it.
    if (expr.kind === 'deref') return expr.pointer;
    return { kind: 'address', operand: expr, type, lvalue: false, loc };
  }

  protected incDec(op: '++' | '--', prefix: boolean, target: Expr, loc: Location): Expr {
    if (target.kind === 'error') return target;
    const at = core(target.type);
    if (at.kind === 'float') return this.noFloat(loc);
    if (!isInteger(at) && at.kind !== 'pointer') {
      this.error(
        'operands',
        `cannot ${op === '++' ? 'increment' : 'decrement'} value of type ${this.quote(target.type)}`,
        loc,
      );
      return this.errorExpr(loc);
    }
    if (!this.modifiable(target, loc)) return this.errorExpr(loc);
    const step = at.kind === 'pointer' ? this.pointeeSize(target, loc) : 1;
    if (step === null) return this.errorExpr(loc);
    return { kind: 'inc-dec', op, prefix, target, step, type: unqualified(target.type), lvalue: false, loc };
  }

  protected assignment(op: string, target: Expr, node: Expr, loc: Location): Expr {
    if (target.kind === 'error' || node.kind === 'error') return this.errorExpr(loc);
    if (!this.modifiable(target, loc)) return this.errorExpr(loc);
    const type = unqualified(target.type);
    if (op === '=') {
      const value = this.assignConvert(node, target.type, { kind: 'assign' });
      if (value.kind === 'error') return value;
      checkSelfAssign(target, value, loc, (shown) => this.quote(shown), this.lint);
      if (target.kind === 'member' && target.field.bitWidth !== null)
        checkBitField(value, target.field.bitWidth, type, loc, (shown) => this.quote(shown), this.lint);
      return { kind: 'assign', target, value, type, lvalue: false, loc };
    }
    const value = this.rvalue(node);
    if (value.kind === 'error') return value;
    const plain = op.slice(0, -1) as ArithmeticOp;
    const at = core(target.type);
    if (at.kind === 'float' || this.isFloat(value)) return this.noFloat(loc);
    if (at.kind === 'pointer') {
      if ((plain !== '+' && plain !== '-') || !isInteger(value.type))
        return this.invalidOperands(target, value, loc);
      const scale = this.pointeeSize(target, loc);
      if (scale === null) return this.errorExpr(loc);
      return {
        kind: 'pointer-assign',
        op: plain,
        target,
        index: this.indexValue(value),
        scale,
        type,
        lvalue: false,
        loc,
      };
    }
    if (!isInteger(at) || !isInteger(value.type)) {
      if (isInteger(at) && core(value.type).kind === 'pointer' && (plain === '+' || plain === '-')) {
        this.error(
          'int-conversion',
          `incompatible pointer to integer conversion assigning to ${this.quote(target.type)} from ${this.quote(value.type)}`,
          loc,
        );
        return this.errorExpr(loc);
      }
      return this.invalidOperands(target, value, loc);
    }
    // The target as an operand decides the type of the computation.
    const operand = this.promoteExpr(this.cast('load', target, type));
    if (plain === '<<' || plain === '>>') {
      const right = this.promoteExpr(value);
      this.checkShift(right, operand.type, loc);
      return {
        kind: 'compound-assign',
        op: plain,
        target,
        value: right,
        computation: operand.type,
        type,
        lvalue: false,
        loc,
      };
    }
    const [, right, computation] = this.usual(operand, value);
    if (
      right.kind === 'int' &&
      right.value === 0n &&
      (plain === '/' || plain === '%') &&
      this.unevaluated === 0
    )
      this.warning(
        'division-by-zero',
        plain === '/' ? 'division by zero is undefined' : 'remainder by zero is undefined',
        loc,
      );
    return {
      kind: 'compound-assign',
      op: plain,
      target,
      value: right,
      computation,
      type,
      lvalue: false,
      loc,
    };
  }

  // -------------------------------------------------------------------------------------------------------------

  /** `cond ? then : otherwise`, or GNU `cond ?: otherwise`. */
  protected conditionalOperation(
    condNode: Expr,
    thenNode: Expr | null,
    otherNode: Expr,
    loc: Location,
  ): Expr {
    const test = this.condition(condNode, condNode.loc);
    const first = thenNode === null ? test : this.rvalue(thenNode);
    const second = this.rvalue(otherNode);
    if (test.kind === 'error' || first.kind === 'error' || second.kind === 'error')
      return this.errorExpr(loc);
    const type = this.conditionalType(first, second, loc);
    if (type === null) return this.errorExpr(loc);
    const value = this.castTo(first, type);
    const otherwise = this.castTo(second, type);
    const [cond, then] = thenNode === null ? [value, null] : [test, value];
    return { kind: 'conditional', cond, then, otherwise, type, lvalue: false, loc };
  }

  private conditionalType(then: Expr, otherwise: Expr, loc: Location): CType | null {
    const a = core(then.type);
    const b = core(otherwise.type);
    if (a.kind === 'float' || b.kind === 'float') return a.kind === 'float' ? then.type : otherwise.type;
    if (isInteger(a) && isInteger(b)) return this.usual(then, otherwise)[2];
    if (a.kind === 'void' || b.kind === 'void') return VOID;
    if (a.kind === 'record' && a === b) return unqualified(then.type);
    if (a.kind === 'pointer' && b.kind === 'pointer')
      return this.conditionalPointer(then, otherwise, a, b, loc);
    if (a.kind === 'pointer' && isInteger(b)) {
      if (!isNullConstant(otherwise)) this.pointerIntegerMix(then, otherwise, loc);
      return then.type;
    }
    if (b.kind === 'pointer' && isInteger(a)) {
      if (!isNullConstant(then)) this.pointerIntegerMix(then, otherwise, loc);
      return otherwise.type;
    }
    this.error(
      'operands',
      `incompatible operand types (${this.quote(then.type)} and ${this.quote(otherwise.type)})`,
      loc,
    );
    return null;
  }

  private pointerIntegerMix(then: Expr, otherwise: Expr, loc: Location): void {
    this.warning(
      'conditional-type-mismatch',
      `pointer/integer type mismatch in conditional expression (${this.quote(then.type)} and ${this.quote(otherwise.type)})`,
      loc,
    );
  }

  private conditionalPointer(
    then: Expr,
    otherwise: Expr,
    a: PointerType,
    b: PointerType,
    loc: Location,
  ): CType {
    if (isNullConstant(then)) return otherwise.type;
    if (isNullConstant(otherwise)) return then.type;
    const quals = (qualifiers(a.pointee) | qualifiers(b.pointee)) & (QUAL_CONST | QUAL_VOLATILE);
    const x = core(a.pointee);
    const y = core(b.pointee);
    if (addressSpace(a.pointee) !== addressSpace(b.pointee))
      this.error(
        'address-space',
        `conditional operator with the second and third operands of type (${this.quote(then.type)} and ${this.quote(otherwise.type)}) which are pointers to non-overlapping address spaces`,
        loc,
      );
    if (x.kind === 'void' || y.kind === 'void') return pointerTo(qualify(VOID, quals));
    if (!compatible(x, y, false)) {
      this.warning(
        'pointer-type-mismatch',
        `pointer type mismatch (${this.quote(then.type)} and ${this.quote(otherwise.type)})`,
        loc,
      );
      return pointerTo(qualify(VOID, quals));
    }
    return quals === (qualifiers(a.pointee) & (QUAL_CONST | QUAL_VOLATILE))
      ? then.type
      : pointerTo(qualify(a.pointee, quals));
  }
}

function isStringLiteral(expr: Expr): boolean {
  return expr.kind === 'cast' && expr.how === 'decay' && expr.operand.kind === 'string';
}
