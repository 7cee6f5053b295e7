/** Calls of functions (C11 6.5.2.2). */
import {
  type CType,
  core,
  type Expr,
  type FunctionDecl,
  type FunctionType,
  QUAL_CONST,
  qualifiers,
} from '../ast/index.ts';
import type { SExpr } from '../parse/index.ts';
import {
  INT,
  isComplete,
  isInteger,
  isVoid,
  pointerTo,
  ULONG,
  unqualified,
  VOID,
} from './arithmetic-types.ts';
import { BuiltinSema } from './builtin-calls.ts';
import { ASM_LABELS, findBuiltin, LIBRARY } from './builtins.ts';
import { evaluateInteger } from './evaluate.ts';

type CallNode = Extract<SExpr, { readonly kind: 'call' }>;

export abstract class CallSema extends BuiltinSema {
  /** Assembler names of functions, where they have one. */
  protected readonly asmLabels = new Map<FunctionDecl, string>();

  protected call(node: CallNode): Expr {
    let callee: SExpr = node.callee;
    while (callee.kind === 'paren') callee = callee.inner;
    const special = this.dialectCall(node);
    if (special !== null) return special;
    if (callee.kind === 'name') {
      const symbol = this.lookup(callee.name);
      if (symbol === undefined) {
        const row = findBuiltin(callee.name);
        if (row !== undefined) return this.builtinCall(callee.name, row, node);
        return this.undeclaredFunction(callee.name, node);
      }
      if (symbol.kind === 'function') {
        const label = this.asmLabels.get(symbol);
        const loads = label === undefined ? undefined : ASM_LABELS[label];
        if (loads !== undefined)
          return this.plainBuiltin(
            { name: loads, result: ULONG, parameters: [pointerTo(VOID), ULONG] },
            node,
          );
        if (
          !this.options.noBuiltin &&
          Object.hasOwn(LIBRARY, callee.name) &&
          !symbol.static &&
          symbol.body === null
        )
          return this.plainBuiltin(LIBRARY[callee.name]!, node);
      }
    }
    return this.ordinaryCall(node, this.rvalue(this.expr(node.callee)));
  }

  /** Reported once a name: from then on it is declared, as `int name()` or as the library has it. */
  private undeclaredFunction(name: string, node: CallNode): Expr {
    const loc = node.callee.loc;
    if (name.startsWith('__builtin_')) {
      for (const arg of node.args) this.expr(arg);
      return this.undeclared(name, loc);
    }
    const row = Object.hasOwn(LIBRARY, name) ? LIBRARY[name]! : null;
    const type: FunctionType = {
      kind: 'function',
      result: row?.result ?? INT,
      parameters: (row?.parameters ?? []).map((parameter) => ({ name: null, type: parameter, declTags: [] })),
      variadic: false,
      prototyped: row !== null,
    };
    if (row !== null)
      this.error(
        'implicit-function-declaration',
        `call to undeclared library function '${name}' with type '${this.spell(type)}'; ISO C99 and later do not support implicit function declarations`,
        loc,
        [{ message: `use '__builtin_${name}', or declare the function`, location: loc }],
      );
    else {
      // Helpers are pointers to functions.
      const near = this.suggestName(
        name,
        (symbol) => symbol.kind === 'function' || (symbol.kind === 'var' && pointsToFunction(symbol.type)),
        this.options.macros?.(),
      );
      const symbol = near === null ? undefined : this.lookup(near);
      this.error(
        'implicit-function-declaration',
        `call to undeclared function '${name}'; ISO C99 and later do not support implicit function declarations`,
        loc,
        [
          ...(near === null ? [] : [{ message: `did you mean '${near}'?`, location: loc }]),
          ...(symbol === undefined
            ? []
            : [{ message: `'${near}' declared here`, location: this.locationOf(symbol) }]),
        ],
        near === null ? [] : [{ range: { begin: loc, end: loc }, text: near }],
      );
    }
    const decl: FunctionDecl = {
      kind: 'function',
      name,
      id: this.nextId++,
      type,
      parameters: [],
      body: null,
      static: false,
      inline: false,
      attributes: {},
      loc,
      end: null,
      referenced: true,
    };
    this.functions.push(decl);
    this.scopes[0]!.names!.set(name, decl);
    return this.call(node);
  }

  private ordinaryCall(node: CallNode, callee: Expr): Expr {
    const loc = node.loc;
    if (callee.kind === 'error') {
      for (const arg of node.args) this.expr(arg);
      return this.errorExpr(loc);
    }
    const pointer = core(callee.type);
    const type = pointer.kind === 'pointer' ? core(pointer.pointee) : pointer;
    if (type.kind !== 'function') {
      this.error(
        'call',
        `called object type ${this.quote(callee.type)} is not a function or function pointer`,
        loc,
      );
      return this.errorExpr(loc);
    }
    const args = node.args.map((arg) => this.expr(arg));
    const converted = this.arguments(type, args, callee, node);
    if (converted === null) return { ...this.errorExpr(loc), type: type.result } as Expr;
    if (!isVoid(type.result) && !isComplete(type.result)) {
      this.error(
        'incomplete',
        `calling function with incomplete return type ${this.quote(type.result)}`,
        loc,
        this.forwardNote(type.result),
      );
      return this.errorExpr(loc);
    }
    return {
      kind: 'call',
      callee,
      args: converted,
      functionType: type,
      helper: helperNumber(callee),
      type: unqualified(type.result),
      lvalue: false,
      loc,
    };
  }

  private arguments(type: FunctionType, args: readonly Expr[], callee: Expr, node: CallNode): Expr[] | null {
    const decl = directCallee(callee);
    const many = type.parameters.length;
    if (type.prototyped && (args.length < many || (args.length > many && !type.variadic))) {
      const few = args.length < many;
      const least = type.variadic ? 'at least ' : '';
      const named =
        many === 1 && type.parameters[0]!.name !== null && !type.variadic && !few && args.length > 1;
      const message = named
        ? `too many arguments to function call, expected single argument '${type.parameters[0]!.name}', have ${args.length} arguments`
        : many === 1 && few && type.parameters[0]!.name !== null && !type.variadic
          ? `too few arguments to function call, single argument '${type.parameters[0]!.name}' was not specified`
          : `too ${few ? 'few' : 'many'} arguments to function call, expected ${least}${many}, have ${args.length}`;
      this.error(
        'arguments',
        message,
        few ? node.end : this.beginOf(node.args[many]!),
        decl === null ? [] : [{ message: `'${decl.name}' declared here`, location: decl.loc }],
      );
      return null;
    }
    return args.map((arg, i) => {
      const parameter = type.parameters[i];
      if (parameter === undefined) return this.defaultPromotion(arg);
      return this.assignConvert(
        arg,
        parameter.type,
        { kind: 'argument', parameter: parameter.name, location: decl?.parameters[i]?.loc ?? 0 },
        this.beginOf(node.args[i]!),
      );
    });
  }

  /** Arguments without a parameter. */
  private defaultPromotion(arg: Expr): Expr {
    const value = this.rvalue(arg);
    if (value.kind === 'error') return value;
    if (core(value.type).kind === 'float') return this.noFloat(value.loc);
    if (isVoid(value.type)) {
      this.error('arguments', `argument type ${this.quote(value.type)} is incomplete`, value.loc);
      return this.errorExpr(value.loc);
    }
    return isInteger(value.type) ? this.promoteExpr(value) : value;
  }
}

function directCallee(callee: Expr): FunctionDecl | null {
  let at = callee;
  while (at.kind === 'cast') at = at.operand;
  return at.kind === 'decl-ref' && at.decl.kind === 'function' ? at.decl : null;
}

/** `(void *) 12` cast to a function pointer, directly or as the value of a `static … const` variable. */
function pointsToFunction(type: CType): boolean {
  const pointer = core(type);
  return pointer.kind === 'pointer' && core(pointer.pointee).kind === 'function';
}

function helperNumber(callee: Expr): number | null {
  let at = callee;
  if (
    at.kind === 'cast' &&
    at.how === 'load' &&
    at.operand.kind === 'decl-ref' &&
    at.operand.decl.kind === 'var'
  ) {
    const { decl } = at.operand;
    if (decl.storage !== 'static' && decl.storage !== 'local') return null;
    const entries = decl.init?.entries;
    if (entries === undefined || entries.length !== 1) return null;
    at = entries[0]!.value;
    // A variable that may change is no helper's address.
    const pointer = decl.type;
    if (decl.storage === 'local' && !(qualifiers(pointer) & QUAL_CONST)) return null;
  }
  const value = evaluateInteger(at);
  return value === null || value <= 0n || value > 0xffff_ffffn ? null : Number(value);
}
