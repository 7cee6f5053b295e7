/** Statements (C11 6.8): scopes, labels, switches, returns. */
import {
  type CaseStmt,
  type CompoundStmt,
  type CType,
  core,
  type DefaultStmt,
  type Expr,
  type FunctionDecl,
  type Label,
  type LoopHint,
  QUAL_VOLATILE,
  qualifiers,
  type Stmt,
  type VarDecl,
} from '../ast/index.ts';
import { nearest, type SCompound, type SExpr, type SLoopHint, type SStmt } from '../parse/index.ts';
import { isMacroLocation, type Location } from '../source/index.ts';
import { integerOf, isInteger, isVoid, VOID, wrap } from './arithmetic-types.ts';
import { AsmSema } from './asm.ts';
import type { LabelState } from './base.ts';
import { fallsThrough } from './flow.ts';
import { checkAddressTest, checkDoubleParentheses, onlyStored } from './lint.ts';
import { checkUninitialized } from './uninitialized.ts';

interface SwitchState {
  readonly type: CType;
  readonly cases: CaseStmt[];
  /** Value → location, of single values; ranges are few and compared one by one. */
  readonly singles: Map<bigint, Location>;
  readonly ranges: { low: bigint; high: bigint; loc: Location }[];
  fallback: DefaultStmt | null;
}

type Node<K extends SStmt['kind']> = Extract<SStmt, { readonly kind: K }>;

export abstract class StatementSema extends AsmSema {
  private readonly switches: SwitchState[] = [];
  private loops = 0;
  /** Errors that the parser reported inside of the function. */
  protected errorsAtStart = 0;
  private readonly localLabels: Map<string, LabelState>[] = [];

  protected functionBody(decl: FunctionDecl, body: SCompound): CompoundStmt {
    const state = this.function!;
    const errors = this.diagnostics.errors;
    const result: CompoundStmt = {
      kind: 'compound',
      body: this.items(body.body),
      loc: body.loc,
      end: body.end,
    };
    for (const label of state.labels.values()) this.finishLabel(label);
    const returnsValue = !isVoid(state.result);
    // With errors inside, what is missing may be missing for that reason.
    if (this.diagnostics.errors > errors || this.errorsAtStart > 0) return result;
    if (returnsValue && !decl.attributes.naked && fallsThrough(result)) {
      const some = containsReturn(body.body);
      this.warning(
        'return-type',
        some
          ? 'non-void function does not return a value in all control paths'
          : 'non-void function does not return a value',
        body.end,
      );
    }
    for (const local of state.locals)
      if (!local.referenced && !local.attributes.unused && !local.attributes.cleanup)
        this.warning('unused-variable', `unused variable '${local.name}'`, local.loc);
      else if (this.isOnlySet(local))
        this.warning('unused-but-set-variable', `variable '${local.name}' set but not used`, local.loc);
    this.reads.clear();
    if (this.diagnostics.isEnabled('unused-parameter'))
      for (const parameter of decl.parameters)
        if (!parameter.referenced && !parameter.attributes.unused && parameter.name !== '')
          this.warning('unused-parameter', `unused parameter '${parameter.name}'`, parameter.loc);
    if (this.diagnostics.isEnabled('uninitialized'))
      checkUninitialized(result, (variable, loc) =>
        this.warning('uninitialized', `variable '${variable.name}' is uninitialized when used here`, loc, [
          {
            message: `initialize the variable '${variable.name}' to silence this warning`,
            location: variable.loc,
          },
        ]),
      );
    return result;
  }

  private isOnlySet(local: VarDecl): boolean {
    const { unused, used, cleanup } = local.attributes;
    if (!local.referenced || unused || used || cleanup || local.storage !== 'local') return false;
    return this.reads.get(local) === 0 && (qualifiers(local.type) & QUAL_VOLATILE) === 0;
  }

  /** A `;` on the line of its `if` or loop, where what comes next looks like the body that was meant. */
  private checkEmptyBody(node: SStmt, next: SStmt | undefined): void {
    const { sources } = this.diagnostics;
    const position = (loc: Location) => (isMacroLocation(loc) ? null : sources.position(loc));
    const test = node.kind === 'switch' ? node.value : 'cond' in node ? node.cond : null;
    const body =
      node.kind === 'if' ? node.then : 'body' in node && !Array.isArray(node.body) ? node.body : null;
    if (body === null || (body as SStmt).kind !== 'null') return;
    // Labels have a body too; where things stand in a long line is dear to ask.
    if (node.kind !== 'if' && node.kind !== 'switch' && node.kind !== 'while' && node.kind !== 'for') return;
    const end = position((body as SStmt).loc);
    const start = position(test?.loc ?? node.loc);
    const own = position(node.loc);
    if (end === null || start === null || own === null || end.line !== start.line) return;
    const name = node.kind;
    if (name === 'if' || name === 'switch') {
      if (name === 'if' && node.otherwise !== null) return;
    } else {
      if (next === undefined) return;
      const after = position(next.loc);
      if (next.kind !== 'compound' && (after === null || after.column <= own.column)) return;
    }
    const what = name === 'if' || name === 'switch' ? `${name} statement` : `${name} loop`;
    this.warning('empty-body', `${what} has empty body`, (body as SStmt).loc, [
      {
        message: 'put the semicolon on a separate line to silence this warning',
        location: (body as SStmt).loc,
      },
    ]);
  }

  private finishLabel(label: LabelState): void {
    if (!label.defined)
      this.error(
        'undeclared-label',
        `use of undeclared label '${label.label.name}'${this.labelHint(label.label.name)}`,
        label.loc,
      );
    else if (!label.used) this.warning('unused-label', `unused label '${label.label.name}'`, label.label.loc);
  }

  private labelHint(name: string): string {
    const defined = [...(this.function?.labels.values() ?? [])].filter((label) => label.defined);
    const near = nearest(
      name,
      defined.map((label) => label.label.name),
    );
    return near === null ? '' : `; did you mean '${near}'?`;
  }

  private items(list: readonly SStmt[]): Stmt[] {
    const result: Stmt[] = [];
    const labels = this.localLabels.length;
    for (const [i, node] of list.entries()) {
      this.checkEmptyBody(node, list[i + 1]);
      const statement = this.statement(node);
      if (statement !== null) result.push(statement);
    }
    while (this.localLabels.length > labels)
      for (const label of this.localLabels.pop()!.values()) this.finishLabel(label);
    return result;
  }

  private compound(node: SCompound): CompoundStmt {
    this.pushScope();
    const body = this.items(node.body);
    this.popScope();
    return { kind: 'compound', body, loc: node.loc, end: node.end };
  }

  /** `({ … })`: the last statement's value is the value of the whole. */
  protected compoundBody(node: SCompound): Expr {
    this.pushScope();
    const labels = this.localLabels.length;
    const last = node.body.at(-1);
    const valued = last !== undefined && last.kind === 'expr';
    const body: Stmt[] = [];
    for (const item of valued ? node.body.slice(0, -1) : node.body) {
      const statement = this.statement(item);
      if (statement !== null) body.push(statement);
    }
    const result = valued ? this.rvalue(this.expr(last.expr)) : null;
    while (this.localLabels.length > labels)
      for (const label of this.localLabels.pop()!.values()) this.finishLabel(label);
    this.popScope();
    if (result?.kind === 'error') return result;
    const inner: CompoundStmt = { kind: 'compound', body, loc: node.loc, end: node.end };
    return {
      kind: 'statement-expr',
      body: inner,
      result,
      type: result === null ? VOID : result.type,
      lvalue: false,
      loc: node.loc,
    };
  }

  /** A statement that must be one, though a declaration may have vanished. */
  private always(node: SStmt): Stmt {
    return this.statement(node) ?? { kind: 'null', loc: node.loc };
  }

  private statement(node: SStmt): Stmt | null {
    switch (node.kind) {
      case 'compound':
        return this.compound(node);
      case 'declaration': {
        const variables = this.declaration(node);
        return variables.length > 0 ? { kind: 'decl', variables, loc: node.loc } : null;
      }
      case 'static-assert':
        this.staticAssert(node);
        return null;
      case 'expr':
        return this.expressionStatement(node.expr, node.loc);
      case 'if': {
        const cond = this.test(node.cond, node.loc);
        const then = this.scoped(node.then);
        return {
          kind: 'if',
          cond,
          then,
          otherwise: node.otherwise === null ? null : this.scoped(node.otherwise),
          loc: node.loc,
        };
      }
      case 'while':
      case 'do':
      case 'for':
        return this.loop(node);
      case 'switch':
        return this.switchStatement(node);
      case 'case':
        return this.caseStatement(node);
      case 'default':
        return this.defaultStatement(node);
      case 'label':
        return this.labelStatement(node);
      case 'goto': {
        const label = this.findLabel(node.name, node.nameLoc);
        label.used = true;
        return { kind: 'goto', label: label.label, loc: node.loc };
      }
      case 'break':
        if (this.loops === 0 && this.switches.length === 0) {
          this.error('jump', "'break' statement not in loop or switch statement", node.loc);
          return null;
        }
        return { kind: 'break', loc: node.loc };
      case 'continue':
        if (this.loops === 0) {
          this.error('jump', "'continue' statement not in loop statement", node.loc);
          return null;
        }
        return { kind: 'continue', loc: node.loc };
      case 'return':
        return this.returnStatement(node);
      case 'local-labels': {
        const map = new Map<string, LabelState>();
        for (const { name, loc } of node.names)
          map.set(name, { label: { name, loc }, defined: false, used: true, loc });
        this.localLabels.push(map);
        return null;
      }
      case 'asm':
        return this.asm(node);
      case 'diagnostic-state':
        this.diagnostics.state = node.state;
        return null;
      case 'null':
        return { kind: 'null', loc: node.loc };
    }
  }

  /** The body of an `if` or loop: a scope of its own. */
  private scoped(node: SStmt): Stmt {
    this.pushScope();
    const result = this.always(node);
    this.popScope();
    return result;
  }

  private test(node: SExpr, loc: Location): Expr {
    const expr = this.expr(node);
    checkDoubleParentheses(node, this.lint);
    if (node.kind === 'assign' && node.op === '=')
      this.warning(
        'parentheses',
        'using the result of an assignment as a condition without parentheses',
        node.loc,
        [
          { message: 'place parentheses around the assignment to silence this warning', location: node.loc },
          { message: "use '==' to turn this assignment into an equality comparison", location: node.loc },
        ],
      );
    const tested = this.condition(expr, loc);
    checkAddressTest(tested, this.lint);
    return tested;
  }

  private expressionStatement(node: SExpr, loc: Location): Stmt {
    let expr = this.expr(node);
    this.unusedValue(expr);
    const at = core(expr.type);
    // Reading matters only for what is volatile; the value itself is dropped.
    if (expr.lvalue && at.kind !== 'array' && at.kind !== 'function' && at.kind !== 'void')
      expr = this.rvalue(expr);
    return { kind: 'expr', expr, loc };
  }

  protected unusedValue(expr: Expr, comma = false): void {
    let what: string | null = null;
    const stored = onlyStored(expr);
    if (stored !== null) this.reads.set(stored, (this.reads.get(stored) ?? 0) - 1);
    let at = expr;
    while (at.kind === 'cast' && !at.explicit) at = at.operand;
    switch (at.kind) {
      case 'compare':
        what = `${at.op === '==' ? 'equality' : at.op === '!=' ? 'inequality' : 'relational'} comparison result unused`;
        break;
      case 'binary':
      case 'unary':
      case 'pointer-add':
      case 'int':
      case 'string':
      case 'decl-ref':
      case 'member':
      case 'subscript':
        if (isVoid(at.type)) return;
        what = comma ? 'left operand of comma operator has no effect' : 'expression result unused';
        break;
      case 'call':
        this.unusedCall(at);
        return;
      default:
        return;
    }
    // Macros often have a value nobody wants.
    if (at.loc >= 0x2000_0000) return;
    this.warning(at.kind === 'compare' ? 'unused-comparison' : 'unused-value', what, at.loc);
  }

  private unusedCall(expr: Expr & { kind: 'call' }): void {
    let callee: Expr = expr.callee;
    while (callee.kind === 'cast') callee = callee.operand;
    if (callee.kind !== 'decl-ref') return;
    const { attributes } = callee.decl;
    if (attributes.warnUnusedResult)
      this.warning(
        'unused-result',
        `ignoring return value of function declared with 'warn_unused_result' attribute`,
        expr.loc,
      );
  }

  // -------------------------------------------------------------------------------------------------------------

  private loop(node: Node<'while'> | Node<'do'> | Node<'for'>): Stmt {
    this.pushScope();
    let init: Stmt | null = null;
    if (node.kind === 'for' && node.init !== null)
      init =
        node.init.kind === 'declaration'
          ? this.statement(node.init)
          : this.expressionStatement(node.init, node.init.loc);
    let cond: Expr | null = null;
    if (node.kind !== 'do' && node.cond !== null)
      cond = this.test(node.cond, node.kind === 'for' ? this.beginOf(node.cond) : node.loc);
    let step: Expr | null = null;
    if (node.kind === 'for' && node.step !== null) {
      step = this.expr(node.step);
      this.unusedValue(step);
    }
    this.loops++;
    const body = this.scoped(node.body);
    this.loops--;
    if (node.kind === 'do') cond = this.test(node.cond, node.loc);
    this.popScope();
    return {
      kind: 'loop',
      form: node.kind,
      init,
      cond,
      step,
      body,
      hint: this.hint(node.hint),
      loc: node.loc,
    };
  }

  private hint(hint: SLoopHint | null): LoopHint | null {
    if (hint === null) return null;
    if (hint.unroll !== 'count') return { unroll: hint.unroll, count: null };
    const value =
      hint.count === null ? null : this.integerConstant(hint.count, 'integer constant expression');
    if (value === null) return null;
    if (value <= 0n || value > 0x7fff_ffffn) {
      this.error('pragma-loop', `invalid value '${value}'; must be positive`, hint.count!.loc);
      return null;
    }
    return { unroll: 'count', count: Number(value) };
  }

  private switchStatement(node: Node<'switch'>): Stmt {
    let value = this.rvalue(this.expr(node.value));
    if (value.kind !== 'error' && !isInteger(value.type)) {
      this.error(
        'switch',
        `statement requires expression of integer type (${this.quote(value.type)} invalid)`,
        node.loc,
      );
      value = this.errorExpr(node.loc);
    }
    const enumerated = core(value.type);
    value = value.kind === 'error' ? value : this.promoteExpr(value);
    const state: SwitchState = {
      type: value.type,
      cases: [],
      singles: new Map(),
      ranges: [],
      fallback: null,
    };
    this.switches.push(state);
    const body = this.scoped(node.body);
    this.switches.pop();
    if (
      enumerated.kind === 'enum' &&
      state.fallback === null &&
      enumerated.enumerators.length > 0 &&
      enumerated.enumerators.length <= 200
    )
      this.checkEnumCases(enumerated.enumerators, state, node.loc);
    return { kind: 'switch', value, body, cases: state.cases, fallback: state.fallback, loc: node.loc };
  }

  private checkEnumCases(
    list: readonly { name: string; value: bigint }[],
    state: SwitchState,
    loc: Location,
  ): void {
    const missing: string[] = [];
    for (const { name, value } of list)
      if (
        !state.singles.has(value) &&
        !state.ranges.some((range) => value >= range.low && value <= range.high)
      )
        missing.push(name);
    if (missing.length === 0) return;
    const text =
      missing.length === 1
        ? `enumeration value '${missing[0]}' not handled in switch`
        : missing.length === 2
          ? `enumeration values '${missing[0]}' and '${missing[1]}' not handled in switch`
          : missing.length === 3
            ? `enumeration values '${missing[0]}', '${missing[1]}', and '${missing[2]}' not handled in switch`
            : `${missing.length} enumeration values not handled in switch: '${missing[0]}', '${missing[1]}', '${missing[2]}'...`;
    this.warning('switch', text, loc);
  }

  private caseStatement(node: Node<'case'>): Stmt | null {
    const state = this.switches.at(-1);
    if (state === undefined) {
      this.error('switch', "'case' statement not in switch statement", node.loc);
      return this.always(node.body);
    }
    const type = integerOf(state.type);
    const lowValue = this.integerConstant(node.low, 'integer constant expression');
    const highValue =
      node.high === null ? lowValue : this.integerConstant(node.high, 'integer constant expression');
    if (lowValue === null || highValue === null) return this.always(node.body);
    const low = wrap(lowValue, type);
    const high = wrap(highValue, type);
    const statement: CaseStmt = {
      kind: 'case',
      low,
      high,
      body: { kind: 'null', loc: node.loc },
      loc: node.loc,
    };
    if (high < low) this.warning('switch', 'empty case range specified', node.low.loc);
    else {
      const before = this.overlap(state, low, high);
      if (before !== null) {
        this.error(
          'duplicate-case',
          low === high
            ? `duplicate case value '${this.caseText(node.low, low)}'`
            : `duplicate case value '${low}'`,
          this.beginOf(node.low),
          [{ message: 'previous case defined here', location: before }],
        );
        return this.always(node.body);
      }
      if (low === high) state.singles.set(low, this.beginOf(node.low));
      else state.ranges.push({ low, high, loc: this.beginOf(node.low) });
      state.cases.push(statement);
    }
    statement.body = this.always(node.body);
    return statement;
  }

  private caseText(node: SExpr, value: bigint): string {
    return node.kind === 'name' ? node.name : String(value);
  }

  private overlap(state: SwitchState, low: bigint, high: bigint): Location | null {
    if (low === high) {
      const single = state.singles.get(low);
      if (single !== undefined) return single;
    } else for (const [value, loc] of state.singles) if (value >= low && value <= high) return loc;
    for (const range of state.ranges) if (low <= range.high && high >= range.low) return range.loc;
    return null;
  }

  private defaultStatement(node: Node<'default'>): Stmt | null {
    const state = this.switches.at(-1);
    if (state === undefined) {
      this.error('switch', "'default' statement not in switch statement", node.loc);
      return this.always(node.body);
    }
    const statement: DefaultStmt = { kind: 'default', body: { kind: 'null', loc: node.loc }, loc: node.loc };
    if (state.fallback !== null)
      this.error('duplicate-default', 'multiple default labels in one switch', state.fallback.loc, [
        { message: 'previous case defined here', location: node.loc },
      ]);
    else state.fallback = statement;
    statement.body = this.always(node.body);
    return statement;
  }

  protected findLabel(name: string, loc: Location): LabelState {
    for (let i = this.localLabels.length - 1; i >= 0; i--) {
      const local = this.localLabels[i]!.get(name);
      if (local !== undefined) return local;
    }
    const { labels } = this.function!;
    let found = labels.get(name);
    if (found === undefined) {
      found = { label: { name, loc }, defined: false, used: false, loc };
      labels.set(name, found);
    }
    return found;
  }

  private labelStatement(node: Node<'label'>): Stmt {
    const state = this.findLabel(node.name, node.loc);
    if (state.defined)
      this.error('redefinition', `redefinition of label '${node.name}'`, node.loc, [
        { message: 'previous definition is here', location: state.label.loc },
      ]);
    state.defined = true;
    (state.label as { loc: Location }).loc = node.loc;
    if (node.attributes.some((attribute) => attribute.name === 'unused')) state.used = true;
    const label: Label = state.label;
    return { kind: 'label', label, body: this.always(node.body), loc: node.loc };
  }

  private returnStatement(node: Node<'return'>): Stmt {
    const { decl, result } = this.function!;
    if (node.value === null) {
      if (!isVoid(result))
        this.error('return-mismatch', `non-void function '${decl.name}' should return a value`, node.loc);
      return { kind: 'return', value: null, loc: node.loc };
    }
    const expr = this.expr(node.value);
    if (isVoid(result)) {
      if (isVoid(expr.type)) return { kind: 'return', value: this.rvalue(expr), loc: node.loc };
      if (expr.kind !== 'error')
        this.error('return-mismatch', `void function '${decl.name}' should not return a value`, node.loc);
      return { kind: 'return', value: null, loc: node.loc };
    }
    const value = this.assignConvert(expr, result, { kind: 'return' }, this.beginOf(node.value));
    this.returnedAddress(value);
    return { kind: 'return', value, loc: node.loc };
  }

  /** `return &local;` */
  private returnedAddress(value: Expr): void {
    let at = value;
    while (at.kind === 'cast' && at.how === 'pointer') at = at.operand;
    if (at.kind === 'address' || (at.kind === 'cast' && at.how === 'decay')) at = at.operand;
    else return;
    while (at.kind === 'member') at = at.record;
    if (
      at.kind === 'decl-ref' &&
      at.decl.kind === 'var' &&
      (at.decl.storage === 'local' || at.decl.storage === 'parameter')
    )
      this.warning(
        'return-stack-address',
        `address of stack memory associated with ${at.decl.storage === 'local' ? 'local variable' : 'parameter'} '${at.decl.name}' returned`,
        at.loc,
      );
  }
}

function containsReturn(list: readonly SStmt[]): boolean {
  return list.some(function visit(node: SStmt): boolean {
    switch (node.kind) {
      case 'return':
        return true;
      case 'compound':
        return node.body.some(visit);
      case 'if':
        return visit(node.then) || (node.otherwise !== null && visit(node.otherwise));
      case 'while':
      case 'do':
      case 'for':
      case 'switch':
      case 'case':
      case 'default':
      case 'label':
        return visit(node.body);
      default:
        return false;
    }
  });
}
