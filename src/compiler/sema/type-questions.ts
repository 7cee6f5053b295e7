/** Expressions about types: `sizeof`, `_Alignof`, `_Generic`, `offsetof` (C11 6.5.1.1, 6.5.3.4, 7.19). */
import { type CType, core, type Expr, elementOf, type Field, type RecordType } from '../ast/index.ts';
import { beginOf, type SExpr } from '../parse/index.ts';
import type { Location } from '../source/index.ts';
import { alignOf, compatible, isComplete, sizeOf, ULONG } from './arithmetic-types.ts';
import { evaluateInteger } from './evaluate.ts';
import { OperatorSema } from './operators.ts';

type Node<K extends SExpr['kind']> = Extract<SExpr, { readonly kind: K }>;

export abstract class TypeQuestionSema extends OperatorSema {
  protected abstract findMember(record: RecordType, name: string, loc: Location): readonly Field[] | null;

  protected sizeofExpr(node: Node<'sizeof-expr'> | Node<'sizeof-type'>): Expr {
    const word = node.align ? '_Alignof' : 'sizeof';
    let type: CType;
    if (node.kind === 'sizeof-type') type = this.typeOfName(node.type);
    else {
      this.unevaluated++;
      const expr = this.expr(node.operand);
      this.unevaluated--;
      if (expr.kind === 'error') return this.errorExpr(node.loc);
      if (expr.kind === 'member' && expr.field.bitWidth !== null) {
        this.error('bit-field', `invalid application of '${word}' to bit-field`, node.loc);
        return this.errorExpr(node.loc);
      }
      type = expr.type;
      if (node.align) {
        let align = alignOf(type);
        if (expr.kind === 'decl-ref') align = Math.max(align, expr.decl.attributes.aligned ?? 0);
        else if (expr.kind === 'member') align = Math.max(align, expr.field.alignAttribute);
        return this.intExpr(BigInt(align), ULONG, node.loc);
      }
    }
    const at = core(type);
    if (at.kind === 'array' && at.variable) {
      this.error('variable-array', 'variable length arrays are not supported on BPF', node.loc);
      return this.errorExpr(node.loc);
    }
    if (at.kind === 'array' && node.align) return this.intExpr(BigInt(alignOf(type)), ULONG, node.loc);
    if (at.kind !== 'void' && at.kind !== 'function' && !isComplete(type)) {
      this.error(
        'incomplete',
        `invalid application of '${word}' to an incomplete type ${this.quote(type)}`,
        node.loc,
        this.forwardNote(type),
      );
      return this.errorExpr(node.loc);
    }
    return this.intExpr(BigInt(node.align ? alignOf(type) : sizeOf(type)), ULONG, node.loc);
  }

  protected generic(node: Node<'generic'>): Expr {
    this.unevaluated++;
    const control = this.rvalue(this.expr(node.control));
    this.unevaluated--;
    if (control.kind === 'error') return control;
    let chosen: SExpr | null = null;
    let fallback: SExpr | null = null;
    for (const choice of node.choices) {
      if (choice.type === null) {
        if (fallback !== null) this.error('generic', 'duplicate default generic association', choice.loc);
        fallback = choice.expr;
        continue;
      }
      const type = this.typeOfName(choice.type);
      if (core(control.type) === core(type) || compatible(control.type, type)) {
        if (chosen !== null)
          this.error(
            'generic',
            `type ${this.quote(type)} in generic association compatible with previously specified type`,
            choice.loc,
          );
        else chosen = choice.expr;
      }
    }
    chosen ??= fallback;
    if (chosen === null) {
      this.error(
        'generic',
        `controlling expression type ${this.quote(control.type)} not compatible with any generic association type`,
        beginOf(node.control),
      );
      return this.errorExpr(node.loc);
    }
    return this.expr(chosen);
  }

  protected offsetOf(node: Node<'offsetof'>): Expr {
    let type = this.typeOfName(node.type);
    let bytes = 0;
    let dynamic: Expr | null = null;
    for (const step of node.path) {
      if ('index' in step) {
        const at = core(type);
        if (at.kind !== 'array') {
          this.error('offsetof', `offsetof requires array type, ${this.quote(type)} invalid`, step.index.loc);
          return this.errorExpr(node.loc);
        }
        type = elementOf(type);
        const index = this.rvalue(this.expr(step.index));
        if (index.kind === 'error') return index;
        const value = evaluateInteger(index);
        if (value !== null) bytes += Number(value) * sizeOf(type);
        else {
          const scaled = this.binaryOperation(
            '*',
            this.castTo(index, ULONG),
            this.intExpr(BigInt(sizeOf(type)), ULONG, node.loc),
            node.loc,
          );
          dynamic = dynamic === null ? scaled : this.binaryOperation('+', dynamic, scaled, node.loc);
        }
        continue;
      }
      const record = core(type);
      if (record.kind !== 'record') {
        this.error(
          'offsetof',
          `offsetof requires struct, union, or class type, ${this.quote(type)} invalid`,
          node.loc,
        );
        return this.errorExpr(node.loc);
      }
      if (!record.complete) {
        this.error(
          'incomplete',
          `offsetof of incomplete type ${this.quote(type)}`,
          node.loc,
          this.forwardNote(record),
        );
        return this.errorExpr(node.loc);
      }
      const path = this.findMember(record, step.name, step.loc);
      if (path === null) return this.errorExpr(node.loc);
      for (const field of path) {
        if (field.bitWidth !== null) {
          this.error('offsetof', `cannot compute offset of bit-field '${field.name}'`, step.loc);
          return this.errorExpr(node.loc);
        }
        bytes += field.offset / 8;
        type = field.type;
      }
    }
    const fixed = this.intExpr(BigInt(bytes), ULONG, node.loc);
    return dynamic === null ? fixed : this.binaryOperation('+', fixed, dynamic, node.loc);
  }
}
