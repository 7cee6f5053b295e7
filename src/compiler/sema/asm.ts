/** Inline assembly: operands, constraints, labels (GNU C, Extended Asm). The template is `codegen`'s. */
import type { AsmOperand, Stmt } from '../ast/index.ts';
import type { SStmt } from '../parse/index.ts';
import type { Location } from '../source/index.ts';
import { INT, isInteger } from './arithmetic-types.ts';
import type { LabelState } from './base.ts';
import { DeclarationSema } from './declarations.ts';
import { evaluateInteger } from './evaluate.ts';
import { stringText } from './literals.ts';

type AsmNode = Extract<SStmt, { readonly kind: 'asm' }>;

export abstract class AsmSema extends DeclarationSema {
  protected abstract findLabel(name: string, loc: Location): LabelState;

  protected asm(node: AsmNode): Stmt {
    const operand = (item: (typeof node.outputs)[number], output: boolean): AsmOperand => {
      const constraint = stringText(item.constraint);
      let expr = this.expr(item.expr);
      if (output) {
        if (!/^[=+]/.test(constraint))
          this.error('asm', `invalid output constraint '${constraint}' in asm`, item.constraint[0]!.location);
        if (expr.kind !== 'error' && !expr.lvalue) {
          this.error('asm', 'invalid lvalue in asm output', this.beginOf(item.expr));
          expr = this.errorExpr(item.loc);
        }
        if (/m/.test(constraint)) this.noteAddress(expr);
      } else if (/m/.test(constraint) && !/[rig]/.test(constraint)) {
        if (expr.kind !== 'error' && !expr.lvalue) {
          this.error(
            'asm',
            `invalid lvalue in asm input for constraint '${constraint}'`,
            this.beginOf(item.expr),
          );
          expr = this.errorExpr(item.loc);
        }
        this.noteAddress(expr);
      } else {
        expr = this.rvalue(expr);
        if (/^i$/.test(constraint)) {
          const value = expr.kind === 'error' ? 0n : evaluateInteger(expr);
          if (value !== null && expr.kind !== 'error')
            expr = this.intExpr(value, isInteger(expr.type) ? expr.type : INT, expr.loc);
        }
      }
      return { name: item.name, constraint, expr };
    };
    return {
      kind: 'asm',
      template: stringText(node.template),
      outputs: node.outputs.map((item) => operand(item, true)),
      inputs: node.inputs.map((item) => operand(item, false)),
      clobbers: node.clobbers.map((tokens) => stringText(tokens)),
      labels: node.labels.map(({ name, loc }) => {
        const label = this.findLabel(name, loc);
        label.used = true;
        return label.label;
      }),
      volatile: node.volatile,
      basic: node.basic,
      loc: node.loc,
    };
  }
}
