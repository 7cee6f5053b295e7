/** Calls of builtins: what each row of `builtins.ts` takes, and the typed node that it becomes. */

import { utf8 } from '../../util/index.ts';
import {
  type BuiltinName,
  type CType,
  core,
  type EnumType,
  type Expr,
  QUAL_CONST,
  qualifiers,
} from '../ast/index.ts';
import type { SExpr } from '../parse/index.ts';
import type { Location } from '../source/index.ts';
import {
  BOOL,
  CHAR,
  INT,
  integerOf,
  isInteger,
  LONG,
  pointerTo,
  sizeOf,
  UINT,
  ULONG,
  unqualified,
  VOID,
} from './arithmetic-types.ts';
import type { BuiltinRow, SpecialBuiltin } from './builtins.ts';
import { evaluateInteger } from './evaluate.ts';
import { ExpressionSema } from './expressions.ts';

type CallNode = Extract<SExpr, { readonly kind: 'call' }>;

/** What `__builtin_classify_type` gives, by kind of type. */
const TYPE_CLASSES: Readonly<Record<string, bigint>> = {
  void: 0n,
  integer: 1n,
  enum: 1n,
  pointer: 5n,
  float: 8n,
  struct: 12n,
  union: 13n,
};

export abstract class BuiltinSema extends ExpressionSema {
  private builtin(
    name: BuiltinName,
    type: CType,
    args: readonly Expr[],
    loc: Location,
    immediates: readonly number[] = [],
    typeArg: CType | null = null,
  ): Expr {
    if (args.some((arg) => arg.kind === 'error')) return { ...this.errorExpr(loc), type } as Expr;
    return { kind: 'builtin', name, args, immediates, typeArg, type, lvalue: false, loc };
  }

  protected builtinCall(name: string, row: BuiltinRow, node: CallNode): Expr {
    if (row.special === undefined) return this.plainBuiltin(row, node);
    return this.specials[row.special](row, node, name);
  }

  protected plainBuiltin(row: BuiltinRow, node: CallNode): Expr {
    if (!this.count(node, row.parameters.length, row.parameters.length)) return this.errorExpr(node.loc);
    const args = row.parameters.map((type, i) =>
      this.assignConvert(
        this.expr(node.args[i]!),
        type,
        { kind: 'argument', parameter: null, location: 0 },
        this.beginOf(node.args[i]!),
      ),
    );
    const result = this.builtin(row.name!, row.result, args, node.loc);
    if (result.kind === 'builtin' && isInteger(row.result) && args[0]?.kind === 'int') {
      const value = evaluateInteger(result);
      if (value !== null && row.name !== 'expect') return this.intExpr(value, row.result, node.loc);
    }
    return result;
  }

  private count(node: CallNode, least: number, most: number): boolean {
    const have = node.args.length;
    if (have >= least && have <= most) return true;
    const few = have < least;
    this.error(
      'arguments',
      `too ${few ? 'few' : 'many'} arguments to function call, expected ${least === most ? '' : few ? 'at least ' : 'at most '}${few ? least : most}, have ${have}`,
      few ? node.end : this.beginOf(node.args[most]!),
    );
    return false;
  }

  private value(node: SExpr): Expr {
    return this.rvalue(this.expr(node));
  }

  /** A small constant argument (a memory order, a kind). */
  private immediate(node: SExpr | undefined, fallback: number, name: string): number {
    if (node === undefined) return fallback;
    const expr = this.value(node);
    if (expr.kind === 'error') return fallback;
    const value = isInteger(expr.type) ? evaluateInteger(expr) : null;
    if (value !== null) return Number(BigInt.asIntN(32, value));
    this.error('constant', `argument to '${name}' must be a constant integer`, this.beginOf(node));
    return fallback;
  }

  /** A memory order: one that is not constant counts as the strongest. */
  private order(node: SExpr | undefined): number {
    if (node === undefined) return 5;
    const expr = this.value(node);
    const value = expr.kind !== 'error' && isInteger(expr.type) ? evaluateInteger(expr) : null;
    return value === null || value < 0n || value > 5n ? 5 : Number(value);
  }

  /** The pointer argument of an atomic; gives the type of the object. */
  private atomicPointer(node: SExpr, writes: boolean): { pointer: Expr; type: CType } | null {
    const pointer = this.value(node);
    if (pointer.kind === 'error') return null;
    const at = core(pointer.type);
    const fail = (message: string): null => {
      this.error('atomic', message, this.beginOf(node));
      return null;
    };
    if (at.kind !== 'pointer')
      return fail(
        `address argument to atomic builtin must be a pointer (${this.quote(pointer.type)} invalid)`,
      );
    const type = core(at.pointee);
    if (!isInteger(type) && type.kind !== 'pointer')
      return fail(
        `address argument to atomic builtin must be a pointer to integer or pointer (${this.quote(pointer.type)} invalid)`,
      );
    if (writes && qualifiers(at.pointee) & QUAL_CONST)
      return fail(
        `address argument to atomic operation must be a pointer to non-const type (${this.quote(pointer.type)} invalid)`,
      );
    if (sizeOf(type) > 8) return fail('atomic operations on more than 8 bytes are not supported on BPF');
    return { pointer, type: unqualified(at.pointee) };
  }

  private atomicValue(node: SExpr, type: CType): Expr {
    return this.assignConvert(
      this.expr(node),
      type,
      { kind: 'argument', parameter: null, location: 0 },
      this.beginOf(node),
    );
  }

  /** An operand of an atomic read-modify-write: pointers count bytes. */
  private atomicOperand(node: SExpr, type: CType): Expr {
    return core(type).kind === 'pointer' ? this.castTo(this.value(node), LONG) : this.atomicValue(node, type);
  }

  /** `*pointer` of a pointer argument whose pointee is `type`. */
  private atomicIndirect(node: SExpr, type: CType): Expr {
    const pointer = this.value(node);
    if (pointer.kind === 'error') return pointer;
    const value = this.rvalue(this.dereference(pointer, node.loc));
    return this.assignConvert(value, type, { kind: 'argument', parameter: null, location: 0 }, node.loc);
  }

  private readonly specials: Readonly<
    Record<SpecialBuiltin, (row: BuiltinRow, node: CallNode, name: string) => Expr>
  > = {
    'constant-p': (row, node) => {
      if (!this.count(node, 1, 1)) return this.errorExpr(node.loc);
      const arg = this.value(node.args[0]!);
      if (arg.kind === 'error') return arg;
      const result = this.builtin(row.name!, INT, [arg], node.loc);
      const known = evaluateInteger(result);
      return known === null ? result : this.intExpr(known, INT, node.loc);
    },
    'choose-expr': (_row, node, name) => {
      if (!this.count(node, 3, 3)) return this.errorExpr(node.loc);
      const cond = this.value(node.args[0]!);
      if (cond.kind === 'error') return cond;
      const value = isInteger(cond.type) ? evaluateInteger(cond) : null;
      if (value === null) {
        this.error('constant', `'${name}' requires a constant expression`, this.beginOf(node.args[0]!));
        return this.errorExpr(node.loc);
      }
      return this.expr(node.args[value !== 0n ? 1 : 2]!);
    },
    'object-size': (row, node, name) => {
      if (!this.count(node, 2, 2)) return this.errorExpr(node.loc);
      const pointer = this.value(node.args[0]!);
      const kind = this.immediate(node.args[1], 0, name);
      return this.builtin(row.name!, ULONG, [pointer], node.loc, [kind & 3]);
    },
    'expect-probability': (row, node) => {
      if (!this.count(node, 3, 3)) return this.errorExpr(node.loc);
      const args = node.args.slice(0, 2).map((arg) => this.atomicValue(arg, LONG));
      return this.builtin(row.name!, LONG, args, node.loc);
    },
    // The first argument as the result's type; `detail`: how many arguments there may be.
    value: (row, node) => {
      const counts = (row.detail ?? '').split(' ').map(Number);
      if (!this.count(node, counts[0]!, counts.at(-1)!)) return this.errorExpr(node.loc);
      for (const arg of node.args.slice(1)) this.value(arg);
      return this.atomicValue(node.args[0]!, row.result);
    },
    'classify-type': (_row, node) => {
      if (!this.count(node, 1, 1)) return this.errorExpr(node.loc);
      this.unevaluated++;
      const type = core(this.value(node.args[0]!).type);
      this.unevaluated--;
      const kind = type.kind === 'record' ? (type.union ? 'union' : 'struct') : type.kind;
      return this.intExpr(TYPE_CLASSES[kind] ?? -1n, INT, node.loc);
    },
    align: (row, node, name) => {
      if (!this.count(node, 2, 2)) return this.errorExpr(node.loc);
      const value = this.value(node.args[0]!);
      const bytes = this.immediate(node.args[1], 1, name);
      if (value.kind === 'error') return value;
      if (bytes <= 0 || (bytes & (bytes - 1)) !== 0) {
        this.error('alignment', 'requested alignment is not a power of 2', this.beginOf(node.args[1]!));
        return this.errorExpr(node.loc);
      }
      if (!isInteger(value.type) && core(value.type).kind !== 'pointer') {
        this.error(
          'arguments',
          `operand of type ${this.quote(value.type)} where arithmetic or pointer type is required`,
          this.beginOf(node.args[0]!),
        );
        return this.errorExpr(node.loc);
      }
      const number = this.castTo(value, ULONG);
      const constant = (n: number): Expr => this.intExpr(BigInt.asUintN(64, BigInt(n)), ULONG, node.loc);
      const operation = (op: string, left: Expr, right: Expr): Expr =>
        this.binaryOperation(op, left, right, node.loc);
      if (row.detail === 'is_aligned')
        return this.castTo(operation('==', operation('&', number, constant(bytes - 1)), constant(0)), BOOL);
      const raised = row.detail === 'align_up' ? operation('+', number, constant(bytes - 1)) : number;
      return this.castTo(operation('&', raised, constant(-bytes)), value.type);
    },
    place: (row, node) => {
      if (!this.count(node, 0, 0)) return this.errorExpr(node.loc);
      if (row.detail === 'FUNCTION') return this.expr({ kind: 'function-name', loc: node.loc, depth: 1 });
      const at = this.diagnostics.sources.position(this.diagnostics.sources.expansion(node.loc));
      if (row.detail === 'LINE') return this.intExpr(BigInt(at?.line ?? 0), UINT, node.loc);
      const bytes = utf8(`${at?.path ?? ''}\0`);
      const type: CType = { kind: 'array', element: CHAR, length: bytes.length, variable: false };
      return { kind: 'string', bytes, type, lvalue: true, loc: node.loc };
    },
    overflow: (row, node) => {
      if (!this.count(node, 3, 3)) return this.errorExpr(node.loc);
      const [left, right, result] = node.args.map((arg) => this.value(arg)) as [Expr, Expr, Expr];
      if (left.kind === 'error' || right.kind === 'error' || result.kind === 'error')
        return this.errorExpr(node.loc);
      for (const [i, operand] of [left, right].entries())
        if (!isInteger(operand.type)) {
          this.error(
            'arguments',
            `operand argument to overflow builtin must be an integer (${this.quote(operand.type)} invalid)`,
            this.beginOf(node.args[i]!),
          );
          return this.errorExpr(node.loc);
        }
      const pointer = core(result.type);
      if (
        pointer.kind !== 'pointer' ||
        !isInteger(pointer.pointee) ||
        qualifiers(pointer.pointee) & QUAL_CONST
      ) {
        this.error(
          'arguments',
          `result argument to overflow builtin must be a pointer to a non-const integer (${this.quote(result.type)} invalid)`,
          this.beginOf(node.args[2]!),
        );
        return this.errorExpr(node.loc);
      }
      return this.builtin(row.name!, BOOL, [left, right, result], node.loc);
    },
    'bit-generic': (row, node) => {
      if (!this.count(node, 1, 2)) return this.errorExpr(node.loc);
      const arg = this.value(node.args[0]!);
      if (arg.kind === 'error') return arg;
      if (!isInteger(arg.type) || integerOf(arg.type).signed) {
        this.error(
          'arguments',
          `1st argument must be a type of unsigned integer (was ${this.quote(arg.type)})`,
          this.beginOf(node.args[0]!),
        );
        return this.errorExpr(node.loc);
      }
      const bits = this.builtin(row.name!, INT, [arg], node.loc);
      if (node.args[1] === undefined) return bits;
      return this.conditionalOperation(arg, bits, this.expr(node.args[1]), node.loc);
    },
    prefetch: (row, node) => {
      if (!this.count(node, 1, 3)) return this.errorExpr(node.loc);
      return this.builtin(row.name!, VOID, [this.value(node.args[0]!)], node.loc);
    },
    frame: (row, node, name) => {
      if (!this.count(node, 1, 1)) return this.errorExpr(node.loc);
      const level = this.immediate(node.args[0], 0, name);
      return this.builtin(row.name!, row.result, [], node.loc, [level]);
    },
    'preserve-access-index': (row, node) => {
      if (!this.count(node, 1, 1)) return this.errorExpr(node.loc);
      this.preserving++;
      const arg = this.value(node.args[0]!);
      this.preserving--;
      return arg.kind === 'error' ? arg : this.builtin(row.name!, arg.type, [arg], node.loc);
    },
    'preserve-field-info': (row, node, name) => {
      if (!this.count(node, 2, 2)) return this.errorExpr(node.loc);
      this.preserving++;
      let arg = this.expr(node.args[0]!);
      this.preserving--;
      const kind = this.immediate(node.args[1], 0, name);
      while (arg.kind === 'cast' && (arg.how === 'load' || arg.how === 'decay' || arg.how === 'same'))
        arg = arg.operand;
      if (arg.kind !== 'error' && arg.kind !== 'member' && arg.kind !== 'subscript') {
        this.error('arguments', `${name} argument 1 not a field access`, this.beginOf(node.args[0]!));
        return this.errorExpr(node.loc);
      }
      return this.builtin(row.name!, UINT, [arg], node.loc, [kind]);
    },
    'preserve-type-info': (row, node, name) => this.typeQuestion(row, node, name, UINT),
    'btf-type-id': (row, node, name) => {
      if (!this.count(node, 2, 2)) return this.errorExpr(node.loc);
      this.unevaluated++;
      const arg = this.expr(node.args[0]!);
      this.unevaluated--;
      if (arg.kind === 'error') return arg;
      const kind = this.immediate(node.args[1], 0, name);
      return this.builtin(row.name!, ULONG, [], node.loc, [kind], questionType(arg));
    },
    'preserve-enum-value': (row, node, name) => {
      if (!this.count(node, 2, 2)) return this.errorExpr(node.loc);
      this.unevaluated++;
      const arg = this.expr(node.args[0]!);
      this.unevaluated--;
      if (arg.kind === 'error') return arg;
      const kind = this.immediate(node.args[1], 0, name);
      // libbpf writes *(typeof(E) *)VALUE: an enumerator cast to a pointer, read.
      const pointer = arg.kind === 'deref' ? arg.pointer : null;
      const type = core(arg.type);
      const value = pointer === null ? null : evaluateInteger(pointer);
      const index =
        type.kind === 'enum' && value !== null
          ? type.enumerators.findIndex(
              (candidate) => BigInt.asIntN(64, candidate.value) === BigInt.asIntN(64, value),
            )
          : -1;
      if (index < 0) {
        this.error('arguments', `${name} argument 1 invalid`, this.beginOf(node.args[0]!));
        return this.errorExpr(node.loc);
      }
      return this.builtin(
        row.name!,
        ULONG,
        [],
        node.loc,
        [index, kind],
        this.enumWithName(arg.type, type as EnumType),
      );
    },
    'sync-rmw': (row, node) => {
      if (!this.count(node, 2, 64)) return this.errorExpr(node.loc);
      const target = this.atomicPointer(node.args[0]!, true);
      const exchange = row.name === 'atomic_exchange';
      if (target === null) return this.errorExpr(node.loc);
      const value = exchange
        ? this.atomicValue(node.args[1]!, target.type)
        : this.atomicOperand(node.args[1]!, target.type);
      return this.builtin(row.name!, target.type, [target.pointer, value], node.loc, [5]);
    },
    'sync-cas': (row, node) => {
      if (!this.count(node, 3, 64)) return this.errorExpr(node.loc);
      const target = this.atomicPointer(node.args[0]!, true);
      if (target === null) return this.errorExpr(node.loc);
      const values = node.args.slice(1, 3).map((arg) => this.atomicValue(arg, target.type));
      const type = row.name === 'sync_bool_compare_and_swap' ? BOOL : target.type;
      return this.builtin(row.name!, type, [target.pointer, ...values], node.loc);
    },
    'sync-release': (row, node) => {
      if (!this.count(node, 1, 64)) return this.errorExpr(node.loc);
      const target = this.atomicPointer(node.args[0]!, true);
      if (target === null) return this.errorExpr(node.loc);
      const zero = this.castTo(this.intExpr(0n, INT, node.loc), target.type);
      return this.builtin(row.name!, VOID, [target.pointer, zero], node.loc, [3]);
    },
    'atomic-rmw': (row, node) => {
      if (!this.count(node, 3, 3)) return this.errorExpr(node.loc);
      const target = this.atomicPointer(node.args[0]!, true);
      if (target === null) return this.errorExpr(node.loc);
      const value = this.atomicOperand(node.args[1]!, target.type);
      return this.builtin(row.name!, target.type, [target.pointer, value], node.loc, [
        this.order(node.args[2]),
      ]);
    },
    'atomic-load': (row, node) => {
      const plain = row.detail === 'n';
      if (!this.count(node, plain ? 2 : 3, plain ? 2 : 3)) return this.errorExpr(node.loc);
      const target = this.atomicPointer(node.args[0]!, false);
      if (target === null) return this.errorExpr(node.loc);
      const order = this.order(node.args.at(-1));
      const loaded = this.builtin(row.name!, target.type, [target.pointer], node.loc, [order]);
      if (plain) return loaded;
      const result = this.dereference(this.value(node.args[1]!), node.loc);
      return this.castTo(this.assignment('=', result, loaded, node.loc), VOID);
    },
    'atomic-store': (row, node) => {
      const many = row.detail === 'init' ? 2 : 3;
      if (!this.count(node, many, many)) return this.errorExpr(node.loc);
      const target = this.atomicPointer(node.args[0]!, row.detail !== 'init');
      if (target === null) return this.errorExpr(node.loc);
      const value =
        row.detail === ''
          ? this.atomicIndirect(node.args[1]!, target.type)
          : this.atomicValue(node.args[1]!, target.type);
      const order = row.detail === 'init' ? 0 : this.order(node.args[2]);
      return this.builtin(row.name!, VOID, [target.pointer, value], node.loc, [order]);
    },
    'atomic-exchange': (row, node) => {
      const plain = row.detail === 'n';
      if (!this.count(node, plain ? 3 : 4, plain ? 3 : 4)) return this.errorExpr(node.loc);
      const target = this.atomicPointer(node.args[0]!, true);
      if (target === null) return this.errorExpr(node.loc);
      const value = plain
        ? this.atomicValue(node.args[1]!, target.type)
        : this.atomicIndirect(node.args[1]!, target.type);
      const old = this.builtin(row.name!, target.type, [target.pointer, value], node.loc, [
        this.order(node.args.at(-1)),
      ]);
      if (plain) return old;
      const result = this.dereference(this.value(node.args[2]!), node.loc);
      return this.castTo(this.assignment('=', result, old, node.loc), VOID);
    },
    'atomic-cas': (row, node) => {
      const many = row.detail === 'c11' ? 5 : 6;
      if (!this.count(node, many, many)) return this.errorExpr(node.loc);
      const target = this.atomicPointer(node.args[0]!, true);
      if (target === null) return this.errorExpr(node.loc);
      const expected = this.atomicValue(node.args[1]!, pointerTo(target.type));
      const desired =
        row.detail === ''
          ? this.atomicIndirect(node.args[2]!, target.type)
          : this.atomicValue(node.args[2]!, target.type);
      const orders = node.args.slice(-2).map((arg) => this.order(arg));
      return this.builtin(row.name!, BOOL, [target.pointer, expected, desired], node.loc, orders);
    },
    'atomic-lock-free': (_row, node, name) => {
      if (!this.count(node, 2, 2)) return this.errorExpr(node.loc);
      const size = this.immediate(node.args[0], 8, name);
      this.value(node.args[1]!);
      return this.intExpr([1, 2, 4, 8].includes(size) ? 1n : 0n, BOOL, node.loc);
    },
    fence: (row, node) => {
      if (!this.count(node, 1, 1)) return this.errorExpr(node.loc);
      return this.builtin(row.name!, VOID, [], node.loc, [this.order(node.args[0])]);
    },
    variadic: (_row, node) => {
      this.error('variadic', 'variadic functions are not supported on BPF', node.loc);
      return this.errorExpr(node.loc);
    },
    float: (_row, node) => this.noFloat(node.loc),
  };

  private typeQuestion(row: BuiltinRow, node: CallNode, name: string, result: CType): Expr {
    if (!this.count(node, 2, 2)) return this.errorExpr(node.loc);
    this.unevaluated++;
    const arg = this.expr(node.args[0]!);
    this.unevaluated--;
    if (arg.kind === 'error') return arg;
    const kind = this.immediate(node.args[1], 0, name);
    const type = questionType(arg);
    const at = core(type);
    const named =
      type.kind === 'typedef' || ((at.kind === 'record' || at.kind === 'enum') && at.tag !== null);
    if (!named) {
      this.error('arguments', `${name} argument 1 invalid`, this.beginOf(node.args[0]!));
      return this.errorExpr(node.loc);
    }
    return this.builtin(row.name!, result, [], node.loc, [kind], type);
  }

  private enumWithName(type: CType, fallback: EnumType): CType {
    const named = unqualified(type);
    return named.kind === 'typedef' || named.kind === 'enum' ? named : fallback;
  }
}

/** `*(T *)0` asks about T. */
function questionType(arg: Expr): CType {
  let at = arg;
  while (at.kind === 'cast' && at.how === 'load') at = at.operand;
  let { type } = at;
  while (type.kind === 'qualified' || type.kind === 'tagged') type = type.base;
  return type;
}
