/** Conversions (C11 6.3): each becomes an explicit node, and each that C forbids or doubts becomes a message. */
import {
  addressSpace,
  type CastKind,
  type CType,
  core,
  type Expr,
  elementOf,
  type IntegerType,
  QUAL_ATOMIC,
  QUAL_CONST,
  QUAL_VOLATILE,
  qualifiers,
} from '../ast/index.ts';
import type { Location } from '../source/index.ts';
import {
  commonInteger,
  compatible,
  INT,
  integerOf,
  isComplete,
  isInteger,
  isScalar,
  LONG,
  pointerTo,
  promote,
  UINT,
  ULONG,
  unqualified,
  VOID,
  wrap,
} from './arithmetic-types.ts';
import { evaluateInteger, isNullConstant } from './evaluate.ts';
import { TagSema } from './tags.ts';

/** What an implicit conversion is for: it decides the wording. */
export type AssignmentContext =
  | { readonly kind: 'assign' | 'initialize' | 'return' }
  | { readonly kind: 'argument'; readonly parameter: string | null; readonly location: Location };

const COMPARED = QUAL_CONST | QUAL_VOLATILE;

export abstract class ConvertSema extends TagSema {
  protected cast(how: CastKind, operand: Expr, type: CType, explicit = false, loc = operand.loc): Expr {
    return { kind: 'cast', how, operand, type, lvalue: false, explicit, loc };
  }

  /** C11 6.3.2.1: the value of an lvalue, pointers for arrays and functions. */
  protected rvalue(expr: Expr): Expr {
    if (!expr.lvalue) return expr;
    const at = core(expr.type);
    switch (at.kind) {
      case 'array':
        this.noteAddress(expr);
        return this.cast('decay', expr, pointerTo(elementOf(expr.type)));
      case 'function':
        return this.cast('decay', expr, pointerTo(expr.type));
      case 'void':
        return { ...expr, lvalue: false } as Expr;
      default:
        if (!isComplete(expr.type)) {
          this.error(
            'incomplete',
            `incomplete type ${this.quote(expr.type)} where a complete type is required`,
            expr.loc,
            this.forwardNote(expr.type),
          );
          return this.errorExpr(expr.loc);
        }
        return this.cast('load', expr, unqualified(expr.type));
    }
  }

  /** Its address is taken: what is underneath lives in memory. */
  protected noteAddress(expr: Expr): void {
    let at = expr;
    for (;;) {
      if (at.kind === 'member') at = at.record;
      else if (at.kind === 'subscript' && at.base.kind === 'cast' && at.base.how === 'decay')
        at = at.base.operand;
      else break;
    }
    if (at.kind === 'decl-ref' && at.decl.kind === 'var') at.decl.addressTaken = true;
    else if (at.kind === 'compound-literal') at.decl.addressTaken = true;
  }

  /** `expr` (an rvalue) as a value of `type`; any conversion C can do, without asking whether it may. */
  protected castTo(expr: Expr, type: CType, explicit = false, loc = expr.loc): Expr {
    const from = core(expr.type);
    const to = core(type);
    if (expr.kind === 'error') return { ...expr, type };
    if (to.kind === 'void') return this.cast('void', expr, VOID, explicit, loc);
    if (from === to) {
      // A bit-field that is cast to its own type is no bit-field any more: it is promoted as that type.
      const keep = explicit && (expr.type !== type || this.bitFieldWidth(expr) !== null);
      return keep ? this.cast('same', expr, type, true, loc) : expr;
    }
    if (from.kind === 'float' || to.kind === 'float') return this.floatCast(expr, type, loc);
    const fromInteger = from.kind === 'integer' || from.kind === 'enum';
    if (to.kind === 'integer' || to.kind === 'enum') {
      if (fromInteger) {
        const target = integerOf(to);
        if (expr.kind === 'int') return this.intExpr(wrap(expr.value, target), type, loc);
        if (target.bool) return this.cast('to-bool', expr, type, explicit, loc);
        return this.cast(integerOf(from) === target ? 'same' : 'integer', expr, type, explicit, loc);
      }
      if (from.kind === 'pointer') {
        if (integerOf(to).bool) return this.cast('to-bool', expr, type, explicit, loc);
        if (integerOf(to).size === 8) return this.cast('pointer-to-int', expr, type, explicit, loc);
        return this.cast(
          'integer',
          this.cast('pointer-to-int', expr, ULONG, explicit, loc),
          type,
          explicit,
          loc,
        );
      }
    } else if (to.kind === 'pointer') {
      if (from.kind === 'pointer') {
        if (from.pointee === to.pointee && !explicit) return expr;
        if (expr.kind === 'int') return this.intExpr(expr.value, type, loc);
        if (addressSpace(from.pointee) !== addressSpace(to.pointee))
          return this.cast('address-space', expr, type, explicit, loc);
        return this.cast('pointer', expr, type, explicit, loc);
      }
      if (fromInteger) {
        if (expr.kind === 'int') {
          if (expr.value === 0n) return this.cast('null', expr, type, explicit, loc);
          return this.cast(
            'int-to-pointer',
            this.intExpr(wrap(expr.value, LONG), LONG, loc),
            type,
            explicit,
            loc,
          );
        }
        const wide =
          integerOf(from).size === 8 ? expr : this.castTo(expr, integerOf(from).signed ? LONG : ULONG);
        return this.cast('int-to-pointer', wide, type, explicit, loc);
      }
    }
    return this.cast('same', expr, type, explicit, loc);
  }

  /** Constants of floating type may be written as long as they end up as integers. */
  private floatCast(expr: Expr, type: CType, loc: Location): Expr {
    const to = core(type);
    if (expr.kind === 'float') {
      if (to.kind === 'float') return { ...expr, type };
      if (isInteger(to)) {
        const target = integerOf(to);
        if (target.bool) return this.intExpr(expr.value === 0 ? 0n : 1n, type, loc);
        return this.intExpr(wrap(BigInt(Math.trunc(expr.value) || 0), target), type, loc);
      }
    }
    if (to.kind === 'float' && isInteger(expr.type)) {
      const value = evaluateInteger(expr);
      if (value !== null) return { kind: 'float', value: Number(value), type, lvalue: false, loc };
    }
    return this.noFloat(loc);
  }

  protected noFloat(loc: Location): Expr {
    this.error('float', 'floating-point is not supported on BPF: the machine has no such registers', loc);
    return this.errorExpr(loc);
  }

  /** The width of the bit-field that an expression reads, else null. */
  private bitFieldWidth(expr: Expr): number | null {
    if (expr.kind === 'cast' && expr.how === 'load' && expr.operand.kind === 'member')
      return expr.operand.field.bitWidth;
    if (expr.kind === 'assign' && expr.target.kind === 'member') return expr.target.field.bitWidth;
    return null;
  }

  /** Integer promotion of an rvalue. */
  protected promoteExpr(expr: Expr): Expr {
    const width = this.bitFieldWidth(expr);
    if (width !== null && width <= 32) {
      const signed = integerOf(expr.type).signed;
      return this.castTo(expr, width < 32 || signed ? INT : UINT);
    }
    const type = promote(expr.type);
    return type === expr.type ? expr : this.castTo(expr, type);
  }

  /** Both operands in their common type. Integers (floats are refused before). */
  protected usual(left: Expr, right: Expr): [Expr, Expr, CType] {
    const a = this.promoteExpr(left);
    const b = this.promoteExpr(right);
    const type = commonInteger(a.type, b.type);
    return [this.castTo(a, type), this.castTo(b, type), type];
  }

  /** A scalar to be tested against zero. */
  protected condition(node: Expr, loc: Location): Expr {
    const expr = this.rvalue(node);
    if (expr.kind === 'error') return expr;
    if (core(expr.type).kind === 'float') return this.castTo(expr, INT);
    if (!isScalar(expr.type)) {
      this.error(
        'scalar',
        `statement requires expression of scalar type (${this.quote(expr.type)} invalid)`,
        loc,
      );
      return this.errorExpr(loc);
    }
    return expr;
  }

  /** C11 6.5.16.1: `value` where a `target` is wanted. Says what is wrong and converts all the same. */
  protected assignConvert(node: Expr, target: CType, context: AssignmentContext, at?: Location): Expr {
    const value = this.rvalue(node);
    const loc = at ?? value.loc;
    if (value.kind === 'error') return { ...value, type: target };
    const from = core(value.type);
    const to = core(target);
    const type = unqualified(target);
    // Messages show arrays as what they were.
    const shown =
      value.kind === 'cast' && value.how === 'decay' && !value.explicit ? value.operand.type : value.type;
    if (from === to && from.kind !== 'void') return value;
    if (to.kind === 'integer' || to.kind === 'enum') {
      if (from.kind === 'integer' || from.kind === 'enum') {
        this.checkConstantFits(value, to.kind === 'enum' ? to.underlying : to, target, value.loc);
        return this.castTo(value, type);
      }
      if (from.kind === 'float') return this.castTo(value, type);
      if (from.kind === 'pointer') {
        if (to.kind === 'integer' && to.bool) return this.castTo(value, type);
        this.conversion(
          'error',
          'int-conversion',
          'incompatible pointer to integer conversion',
          shown,
          target,
          context,
          loc,
          node.lvalue &&
            core(node.type).kind === 'pointer' &&
            compatible(unqualified(from.pointee), to, false)
            ? '; dereference with *'
            : '',
        );
        return this.castTo(value, type);
      }
    } else if (to.kind === 'pointer') {
      if (from.kind === 'pointer') {
        this.pointerConversion(value, from.pointee, to.pointee, target, context, loc);
        return this.castTo(value, type);
      }
      if (from.kind === 'integer' || from.kind === 'enum') {
        if (!isNullConstant(value))
          this.conversion(
            'error',
            'int-conversion',
            'incompatible integer to pointer conversion',
            shown,
            target,
            context,
            loc,
            node.lvalue && compatible(from, to.pointee, false) ? '; take the address with &' : '',
          );
        return this.castTo(value, type);
      }
    } else if (to.kind === 'record') {
      if (from === to) return value;
      if (to.attributes.transparentUnion)
        for (const field of to.fields) if (compatible(field.type, value.type, false)) return value;
    } else if (to.kind === 'float') return this.castTo(value, type);
    else if (compatible(to, from, false) && to.kind !== 'void') return value;
    this.incompatible(value.type, target, context, loc);
    return { ...this.errorExpr(loc), type: target } as Expr;
  }

  private incompatible(from: CType, to: CType, context: AssignmentContext, loc: Location): void {
    const a = this.quote(from);
    const b = this.quote(to);
    const message =
      context.kind === 'assign'
        ? `assigning to ${b} from incompatible type ${a}`
        : context.kind === 'initialize'
          ? `initializing ${b} with an expression of incompatible type ${a}`
          : context.kind === 'return'
            ? `returning ${a} from a function with incompatible result type ${b}`
            : `passing ${a} to parameter of incompatible type ${b}`;
    this.error('incompatible', message, loc, this.parameterNote(context));
  }

  private parameterNote(context: AssignmentContext): { message: string; location: Location }[] {
    if (context.kind !== 'argument' || context.location === 0) return [];
    const message =
      context.parameter === null
        ? 'passing argument to parameter here'
        : `passing argument to parameter '${context.parameter}' here`;
    return [{ message, location: context.location }];
  }

  private conversion(
    severity: 'error' | 'warning',
    code: string,
    what: string,
    from: CType,
    to: CType,
    context: AssignmentContext,
    loc: Location,
    tail = '',
  ): void {
    const a = this.quote(from);
    const b = this.quote(to);
    const doing =
      context.kind === 'assign'
        ? `assigning to ${b} from ${a}`
        : context.kind === 'initialize'
          ? `initializing ${b} with an expression of type ${a}`
          : context.kind === 'return'
            ? `returning ${a} from a function with result type ${b}`
            : `passing ${a} to parameter of type ${b}`;
    const message = `${what === '' ? '' : `${what} `}${doing}${tail}`;
    this.diagnostics.report(severity, code, message, loc, { notes: this.parameterNote(context) });
  }

  private pointerConversion(
    value: Expr,
    from: CType,
    to: CType,
    target: CType,
    context: AssignmentContext,
    loc: Location,
  ): void {
    if (isNullConstant(value)) return;
    const a = core(from);
    const b = core(to);
    const report = (severity: 'error' | 'warning', code: string, what: string, tail = '') =>
      this.conversion(severity, code, what, value.type, target, context, loc, tail);
    if (addressSpace(from) !== addressSpace(to) && b.kind !== 'function') {
      report('error', 'address-space', '', ' changes address space of pointer');
      return;
    }
    const lost = qualifiers(from) & ~qualifiers(to) & COMPARED;
    if (a.kind === 'void' || b.kind === 'void' || compatible(a, b, false)) {
      if (lost !== 0 && a.kind !== 'function')
        report('warning', 'incompatible-pointer-types-discards-qualifiers', '', ' discards qualifiers');
      return;
    }
    if (a.kind === 'function' || b.kind === 'function') {
      report('error', 'incompatible-function-pointer-types', 'incompatible function pointer types');
      return;
    }
    if (isInteger(a) && isInteger(b) && integerOf(a).size === integerOf(b).size && !integerOf(a).bool) {
      report(
        'warning',
        'pointer-sign',
        '',
        a.kind === 'integer' && b.kind === 'integer' && a.char !== b.char
          ? " converts between pointers to integer types where one is of the unique plain 'char' type and the other is not"
          : ' converts between pointers to integer types with different sign',
      );
      return;
    }
    if (
      a.kind === 'pointer' &&
      b.kind === 'pointer' &&
      compatible(a.pointee, b.pointee, false) &&
      addressSpace(a.pointee) === addressSpace(b.pointee)
    ) {
      report(
        'warning',
        'incompatible-pointer-types-discards-qualifiers',
        '',
        ' discards qualifiers in nested pointer types',
      );
      return;
    }
    report('warning', 'incompatible-pointer-types', 'incompatible pointer types');
  }

  private checkConstantFits(value: Expr, to: IntegerType, target: CType, loc: Location): void {
    if (value.kind !== 'int' || to.bool) return;
    const wrapped = wrap(value.value, to);
    if (wrapped === value.value) return;
    const from = integerOf(value.type);
    // Reinterpreting the same bits (u32 x = -1, int x = 0xffffffff) is idiom.
    if (from.size <= to.size || wrap(wrapped, from) === value.value) return;
    // The bits have room, and are those of an unsigned number that was written as one.
    if (BigInt.asUintN(to.size * 8, value.value) === value.value && !from.signed) return;
    if (value.value < 0n && BigInt.asIntN(to.size * 8, value.value) === value.value) return;
    this.warning(
      'constant-conversion',
      `implicit conversion from ${this.quote(value.type)} to ${this.quote(target)} changes value from ${value.value} to ${wrapped}`,
      loc,
    );
  }

  /** An lvalue that may be written to. */
  protected modifiable(expr: Expr, loc: Location): boolean {
    if (expr.kind === 'error') return false;
    if (!expr.lvalue || core(expr.type).kind === 'function') {
      this.error('lvalue', 'expression is not assignable', loc);
      return false;
    }
    const at = core(expr.type);
    if (at.kind === 'array') {
      this.error('lvalue', `array type ${this.quote(expr.type)} is not assignable`, loc);
      return false;
    }
    if (qualifiers(expr.type) & QUAL_CONST) {
      this.constAssignment(expr, loc);
      return false;
    }
    if (at.kind === 'record' && hasConstField(at, 0)) {
      this.error(
        'const',
        `cannot assign to lvalue of ${this.quote(expr.type)} with const-qualified members`,
        loc,
      );
      return false;
    }
    if (!isComplete(expr.type)) {
      this.error('incomplete', `incomplete type ${this.quote(expr.type)} is not assignable`, loc);
      return false;
    }
    return true;
  }

  private constAssignment(expr: Expr, loc: Location): void {
    if (expr.kind === 'decl-ref' && expr.decl.kind === 'var')
      this.error(
        'const',
        `cannot assign to variable '${expr.decl.name}' with const-qualified type ${this.quote(expr.type)}`,
        loc,
        [{ message: `variable '${expr.decl.name}' declared const here`, location: expr.decl.loc }],
      );
    else if (expr.kind === 'member' && (qualifiers(expr.field.type) & QUAL_CONST) !== 0)
      this.error(
        'const',
        `cannot assign to non-static data member '${expr.field.name}' with const-qualified type ${this.quote(expr.field.type)}`,
        loc,
        [
          {
            message: `non-static data member '${expr.field.name}' declared const here`,
            location: expr.field.location,
          },
        ],
      );
    else this.error('const', 'read-only variable is not assignable', loc);
  }

  protected isAtomic(type: CType): boolean {
    return (qualifiers(type) & QUAL_ATOMIC) !== 0;
  }
}

function hasConstField(record: CType & { kind: 'record' }, depth: number): boolean {
  if (depth > 32) return false;
  return record.fields.some((field) => {
    if (qualifiers(field.type) & QUAL_CONST) return true;
    const at = core(field.type);
    return at.kind === 'record' && hasConstField(at, depth + 1);
  });
}
