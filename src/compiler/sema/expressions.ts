/** Primary and postfix expressions, casts, sizeof, generic selection (C11 6.5.1 to 6.5.4). */
import {
  addressSpace,
  type CType,
  core,
  type Expr,
  type Field,
  type FunctionDecl,
  type PointerType,
  qualifiers,
  qualify,
  type RecordType,
  type StringExpr,
  type VarDecl,
} from '../ast/index.ts';
import { beginOf, nearest, type SExpr } from '../parse/index.ts';
import { characterValue } from '../preprocess/index.ts';
import type { Location } from '../source/index.ts';
import {
  CHAR,
  compatible,
  INT,
  isComplete,
  isInteger,
  isScalar,
  isVoid,
  LONG,
  sizeOf,
  USHORT,
  unqualified,
} from './arithmetic-types.ts';
import { evaluateInteger } from './evaluate.ts';
import { checkNot, checkPrecedence } from './lint.ts';
import { readNumber, readStrings } from './literals.ts';
import { TypeQuestionSema } from './type-questions.ts';

type Node<K extends SExpr['kind']> = Extract<SExpr, { readonly kind: K }>;

export abstract class ExpressionSema extends TypeQuestionSema {
  protected abstract call(node: Node<'call'>): Expr;
  protected abstract compoundLiteral(node: Node<'compound-literal'>): Expr;

  protected beginOf(node: SExpr): Location {
    return beginOf(node);
  }

  /** The typed tree of an expression: an lvalue where it is one. */
  protected expr(start: SExpr): Expr {
    let node = start;
    while (node.kind === 'paren') node = node.inner;
    switch (node.kind) {
      case 'name':
        return this.name(node.name, node.loc);
      case 'number':
        return this.number(node.text, node.loc);
      case 'char':
        return this.intExpr(characterValue(node.text, node.loc, this.diagnostics), INT, node.loc);
      case 'string':
        return this.string(node);
      case 'function-name':
        return this.functionName(node.loc);
      case 'unary':
        return this.unary(node);
      case 'inc-dec':
        return this.incDec(node.op, node.prefix, this.expr(node.operand), node.loc);
      case 'binary':
        return this.binary(node);
      case 'assign': {
        const target = this.expr(node.left);
        return this.assignment(node.op, target, this.expr(node.right), node.loc);
      }
      case 'conditional': {
        const cond = this.expr(node.cond);
        const then = node.then === null ? null : this.expr(node.then);
        return this.conditionalOperation(cond, then, this.expr(node.otherwise), node.loc);
      }
      case 'cast':
        return this.explicitCast(node);
      case 'call':
        return this.call(node);
      case 'member':
        return this.member(node);
      case 'subscript':
        return this.subscript(node);
      case 'sizeof-expr':
      case 'sizeof-type':
        return this.sizeofExpr(node);
      case 'compound-literal':
        return this.compoundLiteral(node);
      case 'statement-expr':
        if (this.function === null) {
          this.error('statement-expression', 'statement expression not allowed at file scope', node.loc);
          return this.errorExpr(node.loc);
        }
        return this.compoundBody(node.body);
      case 'generic':
        return this.generic(node);
      case 'offsetof':
        return this.offsetOf(node);
      case 'types-compatible': {
        const left = this.typeOfName(node.left);
        const right = this.typeOfName(node.right);
        const same = compatible(unqualified(left), unqualified(right));
        const enums = core(left).kind === 'enum' || core(right).kind === 'enum';
        return this.intExpr(same && (!enums || core(left) === core(right)) ? 1n : 0n, INT, node.loc);
      }
      case 'label-address':
        this.error(
          'computed-goto',
          'the address of a label cannot be taken on BPF: every jump must have a known target',
          node.loc,
        );
        return this.errorExpr(node.loc);
      case 'va-arg':
        this.error('variadic', 'variadic functions are not supported on BPF', node.loc);
        return this.errorExpr(node.loc);
      case 'error':
        return this.errorExpr(node.loc);
    }
  }

  /** Chains of left-associative operators without recursion along the chain. */
  private binary(node: Node<'binary'>): Expr {
    const spine: Node<'binary'>[] = [];
    let at: SExpr = node;
    while (at.kind === 'binary') {
      spine.push(at as Node<'binary'>);
      at = at.left;
    }
    let left = this.expr(at);
    for (let i = spine.length - 1; i >= 0; i--) {
      const link = spine[i]!;
      const right = this.expr(link.right);
      if (link.op === ',') {
        this.unusedValue(left, true);
        left =
          left.lvalue && core(left.type).kind !== 'array' && !isVoid(left.type) ? this.rvalue(left) : left;
      }
      checkPrecedence(link.op, link.left, link.right, link.loc, this.lint);
      checkNot(link.op, link.left, right, this.lint);
      left = this.binaryOperation(link.op, left, right, link.loc);
    }
    return left;
  }

  protected abstract unusedValue(expr: Expr, comma?: boolean): void;

  private name(name: string, loc: Location): Expr {
    const symbol = this.lookup(name);
    switch (symbol?.kind) {
      case 'var':
        return this.reference(symbol, loc);
      case 'function':
        return this.reference(symbol, loc);
      case 'enumerator':
        return this.intExpr(symbol.value, symbol.type, loc);
      case 'typedef':
        this.error('unexpected-type', `unexpected type name '${name}': expected expression`, loc);
        return this.errorExpr(loc);
      case undefined:
        return this.undeclared(name, loc);
    }
  }

  protected reference(decl: VarDecl | FunctionDecl, loc: Location): Expr {
    if (this.unevaluated === 0) {
      decl.referenced = true;
      if (decl.kind === 'var') this.reads.set(decl, (this.reads.get(decl) ?? 0) + 1);
    }
    const { deprecated } = decl.attributes;
    if (deprecated !== undefined)
      this.warning(
        'deprecated-declarations',
        `'${decl.name}' is deprecated${deprecated === '' ? '' : `: ${deprecated}`}`,
        loc,
        [{ message: `'${decl.name}' has been explicitly marked deprecated here`, location: decl.loc }],
      );
    return { kind: 'decl-ref', decl, type: decl.type, lvalue: true, loc };
  }

  protected undeclared(name: string, loc: Location): Expr {
    if (name.startsWith('__builtin_')) {
      this.error('unknown-builtin', `use of unknown builtin '${name}'`, loc);
      return this.errorExpr(loc);
    }
    const near = this.suggestName(name, (symbol) => symbol.kind !== 'typedef');
    const symbol = near === null ? undefined : this.lookup(near);
    if (symbol === undefined || near === null)
      this.error('undeclared-identifier', `use of undeclared identifier '${name}'`, loc);
    else
      this.error(
        'undeclared-identifier',
        `use of undeclared identifier '${name}'; did you mean '${near}'?`,
        loc,
        [{ message: `'${near}' declared here`, location: this.locationOf(symbol) }],
        [{ range: { begin: loc, end: loc }, text: near }],
      );
    if (symbol !== undefined && symbol.kind === 'var') symbol.referenced = true;
    return this.errorExpr(loc);
  }

  private number(text: string, loc: Location): Expr {
    const number = readNumber(text, loc, this.diagnostics);
    if (number === null) return this.errorExpr(loc);
    if (number.kind === 'int') return this.intExpr(number.value, number.type, loc);
    return { ...number, lvalue: false, loc };
  }

  private string(node: Node<'string'>): StringExpr {
    const { bytes, width } = readStrings(node.tokens, this.diagnostics);
    const element = width === 1 ? CHAR : width === 2 ? USHORT : INT;
    const padded = new Uint8Array(bytes.length + width);
    padded.set(bytes);
    return {
      kind: 'string',
      bytes: padded,
      type: { kind: 'array', element, length: padded.length / width, variable: false },
      lvalue: true,
      loc: node.loc,
    };
  }

  private functionName(loc: Location): Expr {
    const name = this.function?.decl.name ?? '';
    if (this.function === null)
      this.warning(
        'predefined-identifier-outside-function',
        'predefined identifier is only valid inside function',
        loc,
      );
    const bytes = new TextEncoder().encode(`${name}\0`);
    return {
      kind: 'string',
      bytes,
      type: { kind: 'array', element: qualify(CHAR, 1), length: bytes.length, variable: false },
      lvalue: true,
      loc,
    };
  }

  private unary(node: Node<'unary'>): Expr {
    const operand = this.expr(node.operand);
    switch (node.op) {
      case '*':
        return this.dereference(operand, node.loc);
      case '&':
        return this.addressOf(operand, node.loc);
      default:
        return this.unaryOperation(node.op, operand, node.loc);
    }
  }

  private explicitCast(node: Node<'cast'>): Expr {
    const type = this.typeOfName(node.type);
    const operand = this.rvalue(this.expr(node.operand));
    if (operand.kind === 'error') return { ...operand, type };
    const to = core(type);
    const from = core(operand.type);
    if (to.kind === 'void') return this.castTo(operand, type, true, node.loc);
    const refuse = (message: string): Expr => {
      this.error('cast', message, node.loc);
      return this.errorExpr(node.loc);
    };
    if (!isScalar(to)) {
      if (to.kind === 'record' && from === to) return operand;
      if (to.kind === 'record' && to.union) {
        const field = to.fields.find((candidate) => compatible(candidate.type, operand.type, false));
        if (field !== undefined) return refuse('cast to union type is not supported: use a compound literal');
      }
      return refuse(`used type ${this.quote(type)} where arithmetic or pointer type is required`);
    }
    if (!isScalar(from))
      return refuse(
        `operand of type ${this.quote(operand.type)} where arithmetic or pointer type is required`,
      );
    if (to.kind === 'pointer' && from.kind === 'float')
      return refuse(`operand of type ${this.quote(operand.type)} cannot be cast to a pointer type`);
    if (!isComplete(type) && to.kind === 'enum') return refuse(`cast to incomplete type ${this.quote(type)}`);
    if (
      to.kind === 'pointer' &&
      isInteger(from) &&
      sizeOf(from) < 8 &&
      operand.kind !== 'int' &&
      sizeOf(from) > 0
    ) {
      if (evaluateInteger(operand) === null)
        this.warning(
          'int-to-pointer-cast',
          `cast to ${this.quote(type)} from smaller integer type ${this.quote(operand.type)}`,
          node.loc,
        );
    } else if (
      from.kind === 'pointer' &&
      isInteger(to) &&
      sizeOf(to) < 8 &&
      !(to.kind === 'integer' && to.bool)
    )
      this.warning(
        core(from.pointee).kind === 'void' ? 'void-pointer-to-int-cast' : 'pointer-to-int-cast',
        `cast to smaller integer type ${this.quote(type)} from ${this.quote(operand.type)}`,
        node.loc,
      );
    return this.castTo(operand, unqualified(type), true, node.loc);
  }

  // -------------------------------------------------------------------------------------------------------------
  // Members and elements

  private member(node: Node<'member'>): Expr {
    let object = this.expr(node.object);
    if (object.kind === 'error') return object;
    if (node.arrow) {
      object = this.rvalue(object);
      if (object.kind === 'error') return object;
      const at = core(object.type);
      if (at.kind !== 'pointer') {
        this.error(
          'member',
          at.kind === 'record'
            ? `member reference type ${this.quote(object.type)} is not a pointer; did you mean to use '.'?`
            : `member reference type ${this.quote(object.type)} is not a pointer`,
          node.loc,
        );
        if (at.kind !== 'record') return this.errorExpr(node.loc);
      } else object = { kind: 'deref', pointer: object, type: at.pointee, lvalue: true, loc: node.loc };
    }
    const record = core(object.type);
    if (record.kind !== 'record') {
      const pointer = record.kind === 'pointer' && core(record.pointee).kind === 'record';
      if (pointer && !node.arrow) {
        this.error(
          'member',
          `member reference type ${this.quote(object.type)} is a pointer; did you mean to use '->'?`,
          node.loc,
        );
        const value = this.rvalue(object);
        return this.select(
          {
            kind: 'deref',
            pointer: value,
            type: (record as PointerType).pointee,
            lvalue: true,
            loc: node.loc,
          },
          core((record as PointerType).pointee) as RecordType,
          node,
        );
      }
      this.error(
        'member',
        `member reference base type ${this.quote(object.type)} is not a structure or union`,
        node.loc,
      );
      return this.errorExpr(node.loc);
    }
    return this.select(object, record, node);
  }

  private select(object: Expr, record: RecordType, node: Node<'member'>): Expr {
    if (!record.complete) {
      this.error(
        'incomplete',
        `incomplete definition of type ${this.quote(record)}`,
        node.loc,
        this.forwardNote(record),
      );
      return this.errorExpr(node.loc);
    }
    const path = this.findMember(record, node.name, node.nameLoc);
    return path === null ? this.errorExpr(node.nameLoc) : this.selectPath(object, path, node.nameLoc);
  }

  protected selectPath(object: Expr, path: readonly Field[], loc: Location): Expr {
    let result = object;
    for (const field of path) {
      const quals = qualifiers(result.type);
      const space = addressSpace(field.type) === 0 ? addressSpace(result.type) : 0;
      const preserve = this.preserving > 0 || field.record.attributes.preserveAccessIndex === true;
      result = {
        kind: 'member',
        record: result,
        field,
        preserve,
        type: qualify(field.type, quals & 3, space),
        lvalue: result.lvalue,
        loc,
      };
    }
    return result;
  }

  /** The fields that lead to a member; a misspelt one is reported and corrected. */
  protected findMember(record: RecordType, name: string, loc: Location): readonly Field[] | null {
    const path = this.findField(record, name);
    if (path !== undefined) return path;
    const near = nearest(name, record.lookup?.keys() ?? []);
    const corrected = near === null ? undefined : this.findField(record, near);
    if (near === null || corrected === undefined) {
      this.error('no-member', `no member named '${name}' in ${this.quote(record)}`, loc);
      return null;
    }
    this.error(
      'no-member',
      `no member named '${name}' in ${this.quote(record)}; did you mean '${near}'?`,
      loc,
      [{ message: `'${near}' declared here`, location: corrected.at(-1)!.location }],
      [{ range: { begin: loc, end: loc }, text: near }],
    );
    return corrected;
  }

  private subscript(node: Node<'subscript'>): Expr {
    let base = this.rvalue(this.expr(node.object));
    let index = this.rvalue(this.expr(node.index));
    if (base.kind === 'error' || index.kind === 'error') return this.errorExpr(node.loc);
    if (core(base.type).kind !== 'pointer' && core(index.type).kind === 'pointer')
      [base, index] = [index, base];
    const at = core(base.type);
    if (at.kind !== 'pointer') {
      this.error('subscript', 'subscripted value is not an array, pointer, or vector', beginOf(node.object));
      return this.errorExpr(node.loc);
    }
    if (!isInteger(index.type)) {
      this.error('subscript', 'array subscript is not an integer', beginOf(node.index));
      return this.errorExpr(node.loc);
    }
    if (core(at.pointee).kind === 'function') {
      this.error('subscript', `subscript of pointer to function type ${this.quote(at.pointee)}`, node.loc);
      return this.errorExpr(node.loc);
    }
    if (core(at.pointee).kind !== 'void' && !isComplete(at.pointee)) {
      this.error(
        'incomplete',
        `subscript of pointer to incomplete type ${this.quote(at.pointee)}`,
        beginOf(node.object),
        this.forwardNote(at.pointee),
      );
      return this.errorExpr(node.loc);
    }
    const constant = evaluateInteger(index);
    if (constant !== null) this.checkBounds(base, constant, beginOf(node.object));
    const preserve = constant !== null && (this.preserving > 0 || relocatableBase(base));
    return {
      kind: 'subscript',
      base,
      index:
        constant !== null ? this.intExpr(constant, indexType(index.type), index.loc) : this.indexValue(index),
      scale: sizeOf(at.pointee),
      preserve,
      type: at.pointee,
      lvalue: true,
      // clang's debug location of a subscript is where it begins.
      loc: beginOf(node),
    };
  }

  private checkBounds(base: Expr, index: bigint, loc: Location): void {
    if (base.kind !== 'cast' || base.how !== 'decay' || this.unevaluated > 0) return;
    const array = core(base.operand.type);
    if (array.kind !== 'array' || array.length === null || base.operand.kind === 'string') return;
    // Arrays of one or no element at the end of a struct are flexible ones in old dress.
    if (base.operand.kind === 'member' && array.length <= 1) return;
    if (index < 0n)
      this.warning(
        'array-bounds',
        `array index ${index} is before the beginning of the array`,
        loc,
        this.declaredHere(base.operand),
      );
    else if (index >= BigInt(array.length))
      this.warning(
        'array-bounds',
        `array index ${index} is past the end of the array (that has type ${this.quote(base.operand.type)})`,
        loc,
        this.declaredHere(base.operand),
      );
  }

  private declaredHere(expr: Expr): { message: string; location: Location }[] {
    if (expr.kind === 'decl-ref')
      return [{ message: `array '${expr.decl.name}' declared here`, location: expr.decl.loc }];
    if (expr.kind === 'member')
      return [{ message: `array '${expr.field.name}' declared here`, location: expr.field.location }];
    return [];
  }
}

function indexType(type: CType): CType {
  return sizeOf(type) === 8 ? type : pointerIndex;
}

const pointerIndex: CType = LONG;

/** What clang makes relocatable without the builtin: elements of members of, and arrays of, attributed records. */
function relocatableBase(base: Expr): boolean {
  let at = base;
  while (at.kind === 'cast' && !at.explicit) at = at.operand;
  if (at.kind === 'member') return at.preserve;
  if (at.kind !== 'decl-ref') return false;
  const pointer = core(at.type);
  if (pointer.kind !== 'pointer') return false;
  const pointee = core(pointer.pointee);
  return pointee.kind === 'record' && pointee.attributes.preserveAccessIndex === true;
}
