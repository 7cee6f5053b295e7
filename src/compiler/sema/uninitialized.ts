/**
 * Uses of local variables before anything was stored (-Wuninitialized). Straight-line knowledge only: a variable is
 * reported where no path at all can have set it, so nothing that may be right is reported.
 */
import { type CompoundStmt, core, type Expr, type Stmt, type VarDecl } from '../ast/index.ts';
import type { Location } from '../source/index.ts';

export function checkUninitialized(
  body: CompoundStmt,
  report: (variable: VarDecl, loc: Location) => void,
): void {
  /** Declared without value and not possibly set so far. */
  const unset = new Set<VarDecl>();
  visitList(body.body);

  function visitList(list: readonly Stmt[]): void {
    for (const item of list) visit(item);
  }

  function visit(stmt: Stmt): void {
    switch (stmt.kind) {
      case 'compound':
        visitList(stmt.body);
        break;
      case 'decl':
        for (const variable of stmt.variables) {
          if (variable.init !== null) for (const entry of variable.init.entries) use(entry.value);
          const { kind } = core(variable.type);
          if (variable.init === null && (kind === 'integer' || kind === 'pointer' || kind === 'enum'))
            unset.add(variable);
        }
        break;
      case 'expr':
        use(stmt.expr);
        break;
      case 'if':
        use(stmt.cond);
        visit(stmt.then);
        if (stmt.otherwise !== null) visit(stmt.otherwise);
        break;
      case 'loop':
        // A later turn may see what the body sets: everything set anywhere inside counts.
        if (stmt.init !== null) visit(stmt.init);
        if (stmt.cond !== null && stmt.form !== 'do') use(stmt.cond);
        visit(stmt.body);
        if (stmt.step !== null) use(stmt.step);
        if (stmt.cond !== null && stmt.form === 'do') use(stmt.cond);
        break;
      case 'switch':
        use(stmt.value);
        visit(stmt.body);
        break;
      case 'case':
      case 'default':
        visit(stmt.body);
        break;
      case 'label':
        // Control may come from anywhere.
        unset.clear();
        visit(stmt.body);
        break;
      case 'return':
        if (stmt.value !== null) use(stmt.value);
        break;
      case 'asm':
        for (const input of stmt.inputs) use(input.expr);
        for (const output of stmt.outputs) set(output.expr);
        break;
      default:
        break;
    }
  }

  function set(target: Expr): void {
    if (target.kind === 'decl-ref' && target.decl.kind === 'var') unset.delete(target.decl);
    else use(target);
  }

  function use(expr: Expr): void {
    switch (expr.kind) {
      case 'cast':
        if (expr.how === 'load' && expr.operand.kind === 'decl-ref' && expr.operand.decl.kind === 'var') {
          const { decl } = expr.operand;
          if (!unset.has(decl)) return;
          unset.delete(decl);
          report(decl, expr.operand.loc);
          return;
        }
        use(expr.operand);
        break;
      case 'decl-ref':
        // Its address goes somewhere: it may be set there.
        if (expr.decl.kind === 'var') unset.delete(expr.decl);
        break;
      case 'unary':
      case 'address':
        use(expr.operand);
        break;
      case 'binary':
      case 'compare':
      case 'logical':
      case 'comma':
      case 'pointer-diff':
        use(expr.left);
        use(expr.right);
        break;
      case 'pointer-add':
        use(expr.pointer);
        use(expr.index);
        break;
      case 'assign':
        use(expr.value);
        set(expr.target);
        break;
      case 'compound-assign':
        use(expr.value);
        useTarget(expr.target);
        break;
      case 'pointer-assign':
        use(expr.index);
        useTarget(expr.target);
        break;
      case 'inc-dec':
        useTarget(expr.target);
        break;
      case 'conditional':
        use(expr.cond);
        if (expr.then !== null) use(expr.then);
        use(expr.otherwise);
        break;
      case 'call':
        use(expr.callee);
        for (const arg of expr.args) use(arg);
        break;
      case 'builtin':
        for (const arg of expr.args) use(arg);
        break;
      case 'member':
        use(expr.record);
        break;
      case 'deref':
        use(expr.pointer);
        break;
      case 'subscript':
        use(expr.base);
        use(expr.index);
        break;
      case 'compound-literal':
        for (const entry of expr.decl.init?.entries ?? []) use(entry.value);
        break;
      case 'statement-expr':
        visitList(expr.body.body);
        if (expr.result !== null) use(expr.result);
        break;
      default:
        break;
    }
  }

  function useTarget(target: Expr): void {
    if (target.kind === 'decl-ref' && target.decl.kind === 'var') {
      if (!unset.has(target.decl)) return;
      unset.delete(target.decl);
      report(target.decl, target.loc);
    } else use(target);
  }
}
