/** Expressions to IR: values, casts, conditions, calls. */
import {
  type ArithmeticOp,
  type CallExpr,
  type CType,
  core,
  type Expr,
  type FunctionDecl,
} from '../ast/index.ts';
import {
  type BinaryOp,
  type Block,
  bitsOf,
  type Callee,
  constant,
  FLAG,
  type IrType,
  type Predicate,
  undef,
  type Value,
} from '../ir/index.ts';
import { lowerBuiltin, RESULTS_BY_MEMORY } from './builtins.ts';
import type { Place } from './context.ts';
import { copy, initialise, loadPlace, storePlace, truncateToField } from './memory.ts';
import { PlaceLowering } from './places.ts';
import {
  functionType,
  isAggregate,
  isBool,
  isRecord,
  isSigned,
  isVoid,
  passedType,
  pointsToRecord,
  scalarType,
  sizeOf,
} from './types.ts';

const ARITHMETIC: Readonly<Record<ArithmeticOp, readonly [unsigned: BinaryOp, signed: BinaryOp]>> = {
  '+': ['add', 'add'],
  '-': ['sub', 'sub'],
  '*': ['mul', 'mul'],
  '/': ['udiv', 'sdiv'],
  '%': ['urem', 'srem'],
  '&': ['and', 'and'],
  '|': ['or', 'or'],
  '^': ['xor', 'xor'],
  '<<': ['shl', 'shl'],
  '>>': ['lshr', 'ashr'],
};

const COMPARE: Readonly<Record<string, readonly [unsigned: Predicate, signed: Predicate]>> = {
  '==': ['eq', 'eq'],
  '!=': ['ne', 'ne'],
  '<': ['ult', 'slt'],
  '>': ['ugt', 'sgt'],
  '<=': ['ule', 'sle'],
  '>=': ['uge', 'sge'],
};

export abstract class ExprLowering extends PlaceLowering {
  /** Object of a call's result by address of memory, made where it is needed. */
  value(expr: Expr): Value {
    const { builder } = this;
    switch (expr.kind) {
      case 'int':
        return this.constantOf(expr.type, expr.value);
      case 'float':
      case 'error':
        return undef(this.typeOf(expr.type, expr));
      case 'string':
      case 'decl-ref':
      case 'member':
      case 'deref':
      case 'subscript':
      case 'compound-literal': {
        // Records are handled by address.
        if (expr.kind === 'member' && !expr.record.lvalue) return this.memberOfValue(expr);
        return this.addressOf(this.place(expr));
      }
      case 'unary': {
        if (expr.op === '!') {
          const truth = this.truth(expr.operand);
          builder.loc = expr.loc;
          return builder.resize(this.not(truth), 'i32', false);
        }
        const operand = this.value(expr.operand);
        builder.loc = expr.loc;
        if (expr.op === '-') {
          const flags = isSigned(expr.type) ? FLAG.NSW : 0;
          return builder.binary('sub', constant(operand.type, 0n), operand, flags);
        }
        return builder.binary('xor', operand, constant(operand.type, -1n));
      }
      case 'binary': {
        const left = this.value(expr.left);
        const right = this.value(expr.right);
        builder.loc = expr.loc;
        return this.arithmetic(expr.op, left, right, expr.type);
      }
      case 'compare':
      case 'logical':
        return builder.resize(this.truth(expr), 'i32', false);
      case 'pointer-add': {
        if (expr.preserve)
          return this.addressOf(this.placeOfElement(expr.pointer, expr.index, expr, expr.op === '-'));
        const base = this.value(expr.pointer);
        const index = this.value(expr.index);
        builder.loc = expr.loc;
        return builder.ptradd(base, this.scaled(index, expr.op === '-' ? -expr.scale : expr.scale));
      }
      case 'pointer-diff': {
        const left = builder.resize(this.value(expr.left), 'i64', false);
        const right = builder.resize(this.value(expr.right), 'i64', false);
        builder.loc = expr.loc;
        const bytes = builder.binary('sub', left, right);
        if (expr.scale <= 1) return bytes;
        const shift = Math.log2(expr.scale);
        if (Number.isInteger(shift)) return builder.binary('ashr', bytes, constant('i64', BigInt(shift)));
        // The distance is a multiple of the scale: multiply with the inverse of its odd part.
        const even = expr.scale & -expr.scale;
        const odd = BigInt(expr.scale / even);
        const down =
          even === 1 ? bytes : builder.binary('ashr', bytes, constant('i64', BigInt(Math.log2(even))));
        return builder.binary('mul', down, constant('i64', inverse64(odd)));
      }
      case 'assign':
        return this.assign(expr.target, expr.value);
      case 'compound-assign': {
        const place = this.fixed(this.place(expr.target));
        const value = this.value(expr.value);
        builder.loc = expr.loc;
        const old = loadPlace(this, place);
        const work = this.typeOf(expr.computation, expr);
        const wide = builder.resize(old, work, isSigned(expr.target.type));
        const result = this.arithmetic(expr.op, wide, value, expr.computation);
        return this.storeResult(place, this.convert(result, expr.computation, expr.target.type));
      }
      case 'pointer-assign': {
        const place = this.fixed(this.place(expr.target));
        const index = this.value(expr.index);
        builder.loc = expr.loc;
        const old = loadPlace(this, place);
        const result = builder.ptradd(old, this.scaled(index, expr.op === '-' ? -expr.scale : expr.scale));
        return this.storeResult(place, result);
      }
      case 'inc-dec': {
        const place = this.fixed(this.place(expr.target));
        builder.loc = expr.loc;
        const old = loadPlace(this, place);
        const step = expr.op === '++' ? expr.step : -expr.step;
        let next: Value;
        if (old.type === 'ptr') next = builder.ptradd(old, BigInt(step));
        else if (isBool(expr.target.type)) {
          next = constant('i8', 1n);
          if (expr.op === '--') next = builder.binary('xor', old, next);
        } else {
          // Small types are promoted first: they wrap.
          const flags = isSigned(expr.target.type) && bitsOf(old.type) >= 32 ? FLAG.NSW : 0;
          next = builder.binary('add', old, constant(old.type, BigInt(step)), flags);
        }
        const stored = this.storeResult(place, next);
        return expr.prefix ? stored : old;
      }
      case 'cast':
        return this.cast(expr);
      case 'conditional':
        return this.conditional(expr);
      case 'comma':
        this.discard(expr.left);
        return this.value(expr.right);
      case 'call':
        return this.call(expr, undefined);
      case 'builtin':
        builder.loc = expr.loc;
        return lowerBuiltin(this, expr);
      case 'address':
        return this.addressOf(this.place(expr.operand));
      case 'statement-expr': {
        this.enterScope(expr.body);
        for (const statement of expr.body.body) this.statement(statement);
        let result: Value = undef('i32');
        if (expr.result !== null) {
          result = this.value(expr.result);
          if (isAggregate(expr.type) && !expr.result.lvalue && isRecord(expr.type)) void 0;
        }
        this.leaveScope();
        return result;
      }
    }
  }

  abstract enterScope(scope: unknown): void;
  abstract leaveScope(): void;

  private typeOf(type: CType, expr: Expr): IrType {
    const is = scalarType(type);
    if (is !== undefined) return is;
    const { kind } = core(type);
    if (kind === 'float')
      this.error('unsupported-float', 'floating-point arithmetic is not supported on BPF', expr.loc);
    else if (kind === 'integer')
      this.error('unsupported-int128', '__int128 is not supported on BPF', expr.loc);
    return isAggregate(type) ? 'ptr' : 'i64';
  }

  constantOf(type: CType, value: bigint): Value {
    return constant(scalarType(type) ?? 'i64', value);
  }

  arithmetic(op: ArithmeticOp, left: Value, right: Value, type: CType): Value {
    const signed = isSigned(type);
    const shift = op === '<<' || op === '>>';
    const by = shift ? this.builder.resize(right, left.type, false) : right;
    const wraps = op === '+' || op === '-' || op === '*' ? signed : false;
    return this.builder.binary(ARITHMETIC[op][signed ? 1 : 0], left, by, wraps ? FLAG.NSW : 0);
  }

  /** A value of one C type as another: truncated, or extended by the sign of where it comes from. */
  convert(value: Value, from: CType, to: CType): Value {
    const type = scalarType(to);
    if (type === undefined || type === 'void' || value.type === 'void') return value;
    if (isBool(to) && !isBool(from)) {
      const truth = this.builder.icmp('ne', value, constant(value.type, 0n));
      return this.builder.resize(truth, 'i8', false);
    }
    return this.builder.resize(value, type, isSigned(from));
  }

  private storeResult(place: Place, value: Value): Value {
    storePlace(this, place, value);
    return truncateToField(this, place, value);
  }

  /** A place whose address is computed once. */
  private fixed(place: Place): Place {
    return { ...place, address: this.addressOf(place), chain: undefined };
  }

  private assign(target: Expr, value: Expr): Value {
    if (isAggregate(target.type)) {
      const to = this.addressOf(this.place(target));
      if (value.kind === 'call' || value.kind === 'compound-literal' || value.kind === 'statement-expr') {
        // The target may be an operand of the value.
        const temporary = this.temporary(target.type, 'tmp');
        this.evaluateInto(temporary, value);
        copy(this, to, temporary, target.type);
      } else this.evaluateInto(to, value);
      return to;
    }
    const result = this.value(value);
    const place = this.place(target);
    this.builder.loc = target.loc;
    return this.storeResult(place, result);
  }

  evaluateInto(address: Value, expr: Expr): void {
    switch (expr.kind) {
      case 'call':
        this.call(expr, address);
        return;
      case 'conditional': {
        if (expr.then === null) break;
        const yes = this.builder.newBlock('cond.true');
        const no = this.builder.newBlock('cond.false');
        const end = this.builder.newBlock('cond.end');
        this.branch(expr.cond, yes, no);
        this.builder.start(yes);
        this.evaluateInto(address, expr.then);
        this.builder.br(end);
        this.builder.start(no);
        this.evaluateInto(address, expr.otherwise);
        this.builder.br(end);
        this.builder.start(end);
        return;
      }
      case 'comma':
        this.discard(expr.left);
        this.evaluateInto(address, expr.right);
        return;
      case 'compound-literal':
        if (expr.decl.storage === 'local') {
          initialise(this, expr.decl, address);
          return;
        }
        break;
      case 'cast':
        if (expr.how === 'load' || expr.how === 'same') {
          this.evaluateInto(address, expr.operand);
          return;
        }
        break;
      default:
    }
    const from = this.value(expr);
    this.builder.loc = expr.loc;
    copy(this, address, from, expr.type);
  }

  // ---------------------------------------------------------------------------------------------------------------
  // Casts and conditions

  private cast(expr: Extract<Expr, { kind: 'cast' }>): Value {
    const { builder } = this;
    const { operand } = expr;
    switch (expr.how) {
      case 'load': {
        if (isAggregate(expr.type)) return this.value(operand);
        if (operand.kind === 'decl-ref' && operand.decl.kind === 'function') return this.value(operand);
        const place = this.place(operand);
        builder.loc = expr.loc;
        return loadPlace(this, place);
      }
      case 'decay':
        return this.addressOf(this.place(operand));
      case 'integer': {
        const value = this.value(operand);
        builder.loc = expr.loc;
        return this.convert(value, operand.type, expr.type);
      }
      case 'to-bool': {
        const truth = this.truth(operand);
        builder.loc = expr.loc;
        return builder.resize(truth, 'i8', false);
      }
      case 'void':
        this.discard(operand);
        return undef('i32');
      case 'null':
        if (operand.kind !== 'int') this.discard(operand);
        return constant('ptr', 0n);
      case 'int-to-pointer':
      case 'pointer-to-int': {
        const value = this.value(operand);
        builder.loc = expr.loc;
        return markRecord(
          builder.resize(value, scalarType(expr.type) ?? 'i64', isSigned(operand.type)),
          expr.type,
        );
      }
      case 'pointer':
      case 'address-space':
      case 'same': {
        const value = this.value(operand);
        const type = scalarType(expr.type);
        if (type === undefined || type === 'void' || value.type === type) return markRecord(value, expr.type);
        return builder.resize(value, type, isSigned(operand.type));
      }
    }
  }

  not(truth: Value): Value {
    return this.builder.binary('xor', truth, constant('i1', 1n));
  }

  /** The value of a condition as one bit. */
  truth(expr: Expr): Value {
    const { builder } = this;
    if (expr.kind === 'compare') {
      const left = this.value(expr.left);
      const other = this.value(expr.right);
      builder.loc = expr.loc;
      const right = builder.resize(other, left.type, isSigned(expr.right.type));
      return builder.icmp(COMPARE[expr.op]![isSigned(expr.left.type) ? 1 : 0], left, right);
    }
    if (expr.kind === 'logical') {
      const yes = builder.newBlock('true');
      const no = builder.newBlock('false');
      const end = builder.newBlock('end');
      this.branch(expr, yes, no);
      builder.start(yes);
      builder.br(end);
      builder.start(no);
      builder.br(end);
      builder.start(end);
      return builder.phi('i1', [
        [constant('i1', 1n), yes],
        [constant('i1', 0n), no],
      ]);
    }
    if (expr.kind === 'unary' && expr.op === '!') return this.not(this.truth(expr.operand));
    if (expr.kind === 'cast' && expr.how === 'to-bool') return this.truth(expr.operand);
    if (expr.kind === 'cast' && expr.how === 'integer' && sizeOf(expr.type) >= sizeOf(expr.operand.type))
      return this.truth(expr.operand);
    const value = this.value(expr);
    if (value.type === 'void') return constant('i1', 0n);
    builder.loc = expr.loc;
    return builder.icmp('ne', value, constant(value.type, 0n));
  }

  /** Goes to `yes` where the condition holds, else to `no`. */
  branch(expr: Expr, yes: Block, no: Block): void {
    const { builder } = this;
    if (expr.kind === 'logical') {
      const second = builder.newBlock(expr.op === '&&' ? 'and' : 'or');
      if (expr.op === '&&') this.branch(expr.left, second, no);
      else this.branch(expr.left, yes, second);
      builder.start(second);
      this.branch(expr.right, yes, no);
      return;
    }
    if (expr.kind === 'unary' && expr.op === '!') {
      this.branch(expr.operand, no, yes);
      return;
    }
    if (
      expr.kind === 'cast' &&
      (expr.how === 'to-bool' || (expr.how === 'integer' && sizeOf(expr.type) >= sizeOf(expr.operand.type)))
    ) {
      this.branch(expr.operand, yes, no);
      return;
    }
    if (expr.kind === 'builtin' && expr.name === 'expect') {
      const expected = expr.args[1];
      if (expected !== undefined && expected.kind !== 'int') this.discard(expected);
      this.branch(expr.args[0]!, yes, no);
      return;
    }
    const truth = this.truth(expr);
    builder.loc = expr.loc;
    builder.condbr(truth, yes, no);
  }

  private conditional(expr: Extract<Expr, { kind: 'conditional' }>): Value {
    const { builder } = this;
    const yes = builder.newBlock('cond.true');
    const no = builder.newBlock('cond.false');
    const end = builder.newBlock('cond.end');
    let first: Value | undefined;
    if (expr.then === null) {
      first = this.value(expr.cond);
      builder.condbr(builder.icmp('ne', first, constant(first.type, 0n)), yes, no);
    } else this.branch(expr.cond, yes, no);
    const isValue = !isVoid(expr.type);
    builder.start(yes);
    const a = first ?? (expr.then === null ? undefined : this.value(expr.then));
    const fromYes = builder.block;
    builder.br(end);
    builder.start(no);
    const b = this.value(expr.otherwise);
    const fromNo = builder.block;
    builder.br(end);
    builder.start(end);
    builder.loc = expr.loc;
    if (!isValue || a === undefined || a.type === 'void') return undef('i32');
    const incoming: [Value, Block][] = [];
    if (fromYes.terminator?.targets.includes(end) === true) incoming.push([a, fromYes]);
    if (fromNo.terminator?.targets.includes(end) === true) incoming.push([b, fromNo]);
    if (incoming.length === 0) return undef(a.type);
    return builder.phi(a.type, incoming);
  }

  /** For its effects alone. */
  discard(expr: Expr): void {
    if (expr.kind === 'cast' && (expr.how === 'void' || expr.how === 'load' || expr.how === 'same')) {
      // A volatile object is read all the same.
      const { operand } = expr;
      if (expr.how === 'load' && operand.lvalue) {
        const place = this.place(operand);
        if (place.volatile && !isAggregate(expr.type)) loadPlace(this, place);
        return;
      }
      this.discard(operand);
      return;
    }
    if (expr.kind === 'decl-ref' || expr.kind === 'string') return;
    this.value(expr);
  }

  // ---------------------------------------------------------------------------------------------------------------
  // Calls

  private call(expr: CallExpr, into: Value | undefined): Value {
    const { builder } = this;
    const type = functionType(expr.callee.type) ?? expr.functionType;
    const direct = directCallee(expr.callee);
    if (
      direct !== undefined &&
      direct.body === null &&
      RESULTS_BY_MEMORY.has(direct.name) &&
      expr.helper === null
    ) {
      builder.loc = expr.loc;
      return lowerBuiltin(this, {
        kind: 'builtin',
        name: direct.name as 'memcpy',
        args: expr.args,
        immediates: [],
        typeArg: null,
        type: expr.type,
        lvalue: false,
        loc: expr.loc,
      });
    }
    const args: Value[] = [];
    let callee: Callee;
    if (expr.helper !== null) callee = { kind: 'helper', id: expr.helper };
    else if (direct !== undefined) callee = { kind: 'function', func: this.module.funcOf(direct) };
    else {
      const pointer = this.value(expr.callee);
      if (pointer.kind === 'const') callee = { kind: 'helper', id: Number(pointer.value & 0x7fff_ffffn) };
      else {
        callee = { kind: 'pointer' };
        args.push(pointer);
      }
    }
    const byMemory = isAggregate(expr.type);
    let result: Value | undefined;
    if (byMemory) {
      result = into ?? this.temporary(expr.type, 'result');
      args.push(result);
    }
    for (const arg of expr.args) {
      if (isAggregate(arg.type)) {
        const room = this.temporary(arg.type, 'argument');
        this.evaluateInto(room, arg);
        args.push(room);
        continue;
      }
      const value = this.value(arg);
      const passed = passedType(arg.type);
      args.push(value.type === passed ? value : builder.resize(value, passed, isSigned(arg.type)));
    }
    builder.loc = expr.loc;
    const returned = byMemory ? 'void' : passedType(type.result);
    const inst = builder.call(returned, callee, args);
    if (result !== undefined) return result;
    const wanted = scalarType(expr.type);
    if (wanted === undefined || wanted === 'void' || wanted === inst.type) return inst;
    return builder.resize(inst, wanted, isSigned(type.result));
  }
}

function directCallee(callee: Expr): FunctionDecl | undefined {
  let at = callee;
  while (at.kind === 'cast' && (at.how === 'decay' || at.how === 'pointer' || at.how === 'same'))
    at = at.operand;
  if (at.kind === 'address') at = at.operand;
  return at.kind === 'decl-ref' && at.decl.kind === 'function' ? at.decl : undefined;
}

/** The number whose product with an odd one is 1, modulo 2^64. */
function inverse64(odd: bigint): bigint {
  let x = odd;
  for (let i = 0; i < 6; i++) x = BigInt.asUintN(64, x * (2n - odd * x));
  return x;
}

/** A number that becomes a pointer, at once or by a second cast: the type says what it points to. */
function markRecord(value: Value, type: CType): Value {
  if (value.kind === 'inst' && value.op === 'inttoptr' && pointsToRecord(type)) value.flags |= FLAG.RECORD;
  return value;
}
