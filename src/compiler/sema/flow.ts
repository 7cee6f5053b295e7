/** Whether control can run off the end of a statement: the question behind "does not return a value". */
import type { Expr, Stmt } from '../ast/index.ts';
import { evaluateInteger } from './evaluate.ts';

interface Exits {
  /** Control can reach the end. */
  falls: boolean;
  /** A `break` out of the innermost loop or switch is reachable. */
  breaks: boolean;
}

/** Calls of functions and builtins that never return. */
function endsControl(expr: Expr): boolean {
  switch (expr.kind) {
    case 'builtin':
      return expr.name === 'unreachable' || expr.name === 'trap';
    case 'call': {
      let callee = expr.callee;
      while (callee.kind === 'cast') callee = callee.operand;
      return callee.kind === 'decl-ref' && callee.decl.attributes.noreturn === true;
    }
    case 'cast':
      return endsControl(expr.operand);
    case 'comma':
      return endsControl(expr.left) || endsControl(expr.right);
    case 'statement-expr':
      return !exits(expr.body, true).falls || (expr.result !== null && endsControl(expr.result));
    default:
      return false;
  }
}

/** `reached`: control can get to the start. Labels and cases inside can be reached otherwise. */
function exits(stmt: Stmt, reached: boolean): Exits {
  switch (stmt.kind) {
    case 'compound': {
      let falls = reached;
      let breaks = false;
      for (const item of stmt.body) {
        const result = exits(item, falls);
        falls = result.falls;
        breaks ||= result.breaks;
      }
      return { falls, breaks };
    }
    case 'expr':
      return { falls: reached && !endsControl(stmt.expr), breaks: false };
    case 'if': {
      const known = evaluateInteger(stmt.cond);
      const then = exits(stmt.then, reached && known !== 0n);
      const otherwise =
        stmt.otherwise === null
          ? { falls: reached && (known === null || known === 0n), breaks: false }
          : exits(stmt.otherwise, reached && (known === null || known === 0n));
      return { falls: then.falls || otherwise.falls, breaks: then.breaks || otherwise.breaks };
    }
    case 'loop': {
      const known = stmt.cond === null ? 1n : evaluateInteger(stmt.cond);
      const forever = known !== null && known !== 0n;
      const body = exits(stmt.body, reached);
      if (stmt.form === 'do' && known === 0n) return { falls: body.falls || body.breaks, breaks: false };
      return { falls: body.breaks || (!forever && (reached || body.falls)), breaks: false };
    }
    case 'switch': {
      const body = exits(stmt.body, false);
      return { falls: body.falls || body.breaks || (reached && stmt.fallback === null), breaks: false };
    }
    case 'case':
    case 'default':
    case 'label':
      return exits(stmt.body, true);
    case 'break':
      return { falls: false, breaks: reached };
    case 'goto':
    case 'continue':
    case 'return':
      return { falls: false, breaks: false };
    case 'asm':
      return { falls: reached, breaks: false };
    default:
      return { falls: reached, breaks: false };
  }
}

export function fallsThrough(stmt: Stmt): boolean {
  return exits(stmt, true).falls;
}
