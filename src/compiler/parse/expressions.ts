/**
 * Expressions (C11 6.5 with GNU extensions) by precedence climbing. Left-associative chains are loops; what nests is
 * counted, and the height of every tree is limited.
 */
import type { Token } from '../preprocess/index.ts';
import type { Location } from '../source/index.ts';
import { Cursor } from './cursor.ts';
import { isReserved } from './keywords.ts';
import { MAX_TREE_DEPTH, type SCompound, type SExpr, type SInitList, type TypeName } from './syntax.ts';

const PRECEDENCE: ReadonlyMap<string, number> = new Map([
  ['||', 4],
  ['&&', 5],
  ['|', 6],
  ['^', 7],
  ['&', 8],
  ['==', 9],
  ['!=', 9],
  ['<', 10],
  ['>', 10],
  ['<=', 10],
  ['>=', 10],
  ['<<', 11],
  ['>>', 11],
  ['+', 12],
  ['-', 12],
  ['*', 13],
  ['/', 13],
  ['%', 13],
]);

const ASSIGNMENT: ReadonlySet<string> = new Set([
  '=',
  '+=',
  '-=',
  '*=',
  '/=',
  '%=',
  '&=',
  '|=',
  '^=',
  '<<=',
  '>>=',
]);

type UnaryOp = '+' | '-' | '~' | '!' | '*' | '&';
const UNARY: ReadonlySet<string> = new Set(['+', '-', '~', '!', '*', '&']);

export abstract class ExpressionParser extends Cursor {
  protected abstract startsType(token: Token): boolean;
  protected abstract typeName(): TypeName;
  protected abstract compound(): SCompound;
  protected abstract initList(): SInitList;

  /** expression: assignment-expression { ',' assignment-expression } */
  protected expression(): SExpr {
    let left = this.assignment();
    while (this.is(',')) {
      const { location } = this.advance();
      const right = this.assignment();
      left = this.limit({
        kind: 'binary',
        op: ',',
        left,
        right,
        begin: left.loc,
        loc: location,
        depth: 1 + Math.max(left.depth, right.depth),
      });
    }
    return left;
  }

  protected assignment(): SExpr {
    const left = this.conditional();
    if (this.tok.kind !== 'punct' || !ASSIGNMENT.has(this.tok.text)) return left;
    const op = this.advance();
    this.enter();
    const right = this.assignment();
    this.leave();
    return this.limit({
      kind: 'assign',
      op: op.text,
      left,
      right,
      begin: beginOf(left),
      loc: op.location,
      depth: 1 + Math.max(left.depth, right.depth),
    });
  }

  protected conditional(): SExpr {
    const cond = this.binary(4);
    if (!this.is('?')) return cond;
    const { location } = this.advance();
    this.enter();
    const then = this.is(':') ? null : this.expression();
    if (!this.accept(':'))
      this.fail('expected', "expected ':'", this.tok.location, [{ message: "to match this '?'", location }]);
    const otherwise = this.conditional();
    this.leave();
    return this.limit({
      kind: 'conditional',
      cond,
      then,
      otherwise,
      loc: location,
      depth: 1 + Math.max(cond.depth, then?.depth ?? 0, otherwise.depth),
    });
  }

  private binary(least: number): SExpr {
    let left = this.unary();
    for (;;) {
      if (this.tok.kind !== 'punct') return left;
      const precedence = PRECEDENCE.get(this.tok.text);
      if (precedence === undefined || precedence < least) return left;
      const op = this.advance();
      const right = this.binary(precedence + 1);
      left = this.limit({
        kind: 'binary',
        op: op.text,
        left,
        right,
        begin: beginOf(left),
        loc: op.location,
        depth: 1 + Math.max(left.depth, right.depth),
      });
    }
  }

  private limit(expr: SExpr): SExpr {
    if (expr.depth <= MAX_TREE_DEPTH) return expr;
    this.diagnostics.fatal(
      'nesting',
      `expression is nested more than ${MAX_TREE_DEPTH} operators deep`,
      expr.loc,
    );
    return { kind: 'error', loc: expr.loc, depth: 1 };
  }

  /** unary-expression and cast-expression */
  protected unary(): SExpr {
    const token = this.tok;
    if (token.kind === 'punct') {
      if (UNARY.has(token.text)) {
        this.advance();
        this.enter();
        const operand = this.unary();
        this.leave();
        return this.limit({
          kind: 'unary',
          op: token.text as UnaryOp,
          operand,
          loc: token.location,
          depth: operand.depth + 1,
        });
      }
      if (token.text === '++' || token.text === '--') {
        this.advance();
        this.enter();
        const operand = this.unary();
        this.leave();
        return this.limit({
          kind: 'inc-dec',
          op: token.text,
          prefix: true,
          operand,
          loc: token.location,
          depth: operand.depth + 1,
        });
      }
      if (token.text === '(' && this.startsType(this.peek())) return this.castOrLiteral();
      if (token.text === '&&' && this.peek().kind === 'identifier') {
        this.advance();
        const label = this.advance();
        return { kind: 'label-address', name: label.text, loc: token.location, depth: 1 };
      }
    } else if (token.kind === 'identifier') {
      switch (token.text) {
        case 'sizeof':
          return this.sizeOf(false);
        case '_Alignof':
        case '__alignof__':
        case '__alignof':
          return this.sizeOf(true);
        case '__extension__': {
          this.advance();
          this.enter();
          const operand = this.unary();
          this.leave();
          return operand;
        }
        case '__real__':
        case '__real':
        case '__imag__':
        case '__imag':
          return this.fail('unsupported', 'complex numbers are not supported on BPF');
      }
    }
    return this.postfix(this.primary());
  }

  private castOrLiteral(): SExpr {
    const open = this.advance();
    this.enter();
    const type = this.typeName();
    this.close(open);
    let result: SExpr;
    if (this.is('{')) {
      const list = this.initList();
      result = this.postfix({ kind: 'compound-literal', type, list, loc: open.location, depth: 2 });
    } else {
      const operand = this.unary();
      result = this.limit({ kind: 'cast', type, operand, loc: open.location, depth: operand.depth + 1 });
    }
    this.leave();
    return result;
  }

  private sizeOf(align: boolean): SExpr {
    const { location } = this.advance();
    if (this.is('(') && this.startsType(this.peek())) {
      const open = this.advance();
      this.enter();
      const type = this.typeName();
      this.close(open);
      this.leave();
      if (!this.is('{')) return { kind: 'sizeof-type', type, align, loc: location, depth: 1 };
      const list = this.initList();
      const operand = this.postfix({ kind: 'compound-literal', type, list, loc: open.location, depth: 2 });
      return { kind: 'sizeof-expr', operand, align, loc: location, depth: operand.depth + 1 };
    }
    this.enter();
    const operand = this.unary();
    this.leave();
    return this.limit({ kind: 'sizeof-expr', operand, align, loc: location, depth: operand.depth + 1 });
  }

  private postfix(start: SExpr): SExpr {
    let expr = start;
    for (;;) {
      if (this.tok.kind !== 'punct') return expr;
      switch (this.tok.text) {
        case '[': {
          const open = this.advance();
          this.enter();
          const index = this.expression();
          this.close(open);
          this.leave();
          expr = this.limit({
            kind: 'subscript',
            object: expr,
            index,
            loc: open.location,
            depth: 1 + Math.max(expr.depth, index.depth),
          });
          break;
        }
        case '(': {
          const open = this.advance();
          this.enter();
          const args: SExpr[] = [];
          let depth = expr.depth;
          if (!this.is(')'))
            do {
              const arg = this.assignment();
              depth = Math.max(depth, arg.depth);
              args.push(arg);
            } while (this.accept(','));
          const end = this.close(open);
          this.leave();
          expr = this.limit({
            kind: 'call',
            callee: expr,
            args,
            end: end.location,
            loc: beginOf(expr),
            depth: depth + 1,
          });
          break;
        }
        case '.':
        case '->': {
          const op = this.advance();
          const name = this.tok;
          if (name.kind !== 'identifier' || isReserved(name.text))
            this.fail('expected', 'expected identifier');
          this.advance();
          expr = this.limit({
            kind: 'member',
            object: expr,
            arrow: op.text === '->',
            name: name.text,
            nameLoc: name.location,
            loc: op.location,
            depth: expr.depth + 1,
          });
          break;
        }
        case '++':
        case '--': {
          const op = this.advance();
          expr = this.limit({
            kind: 'inc-dec',
            op: op.text as '++' | '--',
            prefix: false,
            operand: expr,
            loc: op.location,
            depth: expr.depth + 1,
          });
          break;
        }
        default:
          return expr;
      }
    }
  }

  private primary(): SExpr {
    const token = this.tok;
    const loc = token.location;
    switch (token.kind) {
      case 'number':
        this.advance();
        return { kind: 'number', text: token.text, loc, depth: 1 };
      case 'char':
        this.advance();
        return { kind: 'char', text: token.text, loc, depth: 1 };
      case 'string':
        return { kind: 'string', tokens: this.strings(), loc, depth: 1 };
      case 'punct':
        if (token.text === '(') return this.parenthesised();
        break;
      case 'identifier':
        if (!isReserved(token.text)) {
          this.advance();
          return { kind: 'name', name: token.text, loc, depth: 1 };
        }
        return this.wordPrimary(token);
    }
    return this.fail('expected', 'expected expression');
  }

  private parenthesised(): SExpr {
    const open = this.advance();
    this.enter();
    let result: SExpr;
    if (this.is('{')) {
      const body = this.compound();
      result = { kind: 'statement-expr', body, loc: open.location, depth: 2 };
      this.close(open);
    } else {
      const inner = this.expression();
      this.close(open);
      result = { kind: 'paren', inner, loc: open.location, depth: inner.depth + 1 };
    }
    this.leave();
    return this.limit(result);
  }

  /** Adjacent string literals. */
  protected strings(): Token[] {
    const tokens = [this.advance()];
    while (this.tok.kind === 'string') tokens.push(this.advance());
    return tokens;
  }

  private wordPrimary(token: Token): SExpr {
    const loc = token.location;
    switch (token.text) {
      case '__func__':
      case '__FUNCTION__':
      case '__PRETTY_FUNCTION__':
        this.advance();
        return { kind: 'function-name', loc, depth: 1 };
      case '_Generic':
        return this.generic();
      case '__builtin_offsetof':
        return this.offsetOf();
      case '__builtin_types_compatible_p': {
        this.advance();
        const open = this.expect('(', " after '__builtin_types_compatible_p'");
        const left = this.typeName();
        this.expect(',');
        const right = this.typeName();
        this.close(open);
        return { kind: 'types-compatible', left, right, loc, depth: 1 };
      }
      case '__builtin_va_arg': {
        this.advance();
        const open = this.expect('(', " after '__builtin_va_arg'");
        const list = this.assignment();
        this.expect(',');
        const type = this.typeName();
        this.close(open);
        return { kind: 'va-arg', list, type, loc, depth: list.depth + 1 };
      }
      default:
        return this.fail('expected', 'expected expression');
    }
  }

  private generic(): SExpr {
    const { location } = this.advance();
    const open = this.expect('(', " after '_Generic'");
    this.enter();
    const control = this.assignment();
    let depth = control.depth;
    const choices: { type: TypeName | null; expr: SExpr; loc: Location }[] = [];
    this.expect(',');
    do {
      const at = this.tok.location;
      let type: TypeName | null = null;
      if (this.isWord('default')) this.advance();
      else type = this.typeName();
      this.expect(':');
      const expr = this.assignment();
      depth = Math.max(depth, expr.depth);
      choices.push({ type, expr, loc: at });
    } while (this.accept(','));
    this.close(open);
    this.leave();
    return this.limit({ kind: 'generic', control, choices, loc: location, depth: depth + 1 });
  }

  private offsetOf(): SExpr {
    const { location } = this.advance();
    const open = this.expect('(', " after '__builtin_offsetof'");
    this.enter();
    const type = this.typeName();
    this.expect(',');
    const path: ({ name: string; loc: Location } | { index: SExpr })[] = [];
    const member = () => {
      if (this.tok.kind !== 'identifier' || isReserved(this.tok.text))
        this.fail('expected', 'expected identifier');
      const name = this.advance();
      path.push({ name: name.text, loc: name.location });
    };
    member();
    for (;;) {
      if (this.accept('.')) member();
      else if (this.is('[')) {
        const bracket = this.advance();
        path.push({ index: this.expression() });
        this.close(bracket);
      } else break;
    }
    this.close(open);
    this.leave();
    return { kind: 'offsetof', type, path, loc: location, depth: 2 };
  }
}

/** Where an expression's first token stands. */
export function beginOf(expr: SExpr): Location {
  let at = expr;
  for (;;) {
    switch (at.kind) {
      case 'binary':
      case 'assign':
        return at.begin;
      case 'conditional':
        at = at.cond;
        break;
      case 'member':
      case 'subscript':
        at = at.object;
        break;
      case 'inc-dec':
        if (at.prefix) return at.loc;
        at = at.operand;
        break;
      default:
        return at.loc;
    }
  }
}
