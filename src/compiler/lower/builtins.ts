/** Builtins to IR. One entry a name: what `sema` leaves of `__builtin_…`, `__sync_…` and `__atomic_…`. */
import { type BuiltinExpr, type CType, core, type Expr } from '../ast/index.ts';
import {
  type AtomicOp,
  type BinaryOp,
  bitsOf,
  constant,
  FLAG,
  Inst,
  type IrType,
  intType,
  isConst,
  type MemType,
  undef,
  type Value,
} from '../ir/index.ts';
import type { LowerContext, Place } from './context.ts';
import { alignOf, isSigned, scalarType, sizeOf } from './types.ts';

/** Functions of the C library that are builtins also when they are called by their own names. */
export const RESULTS_BY_MEMORY: ReadonlySet<string> = new Set([
  'memcpy',
  'memmove',
  'memset',
  'memcmp',
  'strcmp',
  'strncmp',
  'strlen',
]);

const FETCH: Readonly<Record<string, { readonly op: AtomicOp; readonly again: BinaryOp | undefined }>> = {
  atomic_fetch_add: { op: 'add', again: undefined },
  atomic_fetch_sub: { op: 'sub', again: undefined },
  atomic_fetch_and: { op: 'and', again: undefined },
  atomic_fetch_or: { op: 'or', again: undefined },
  atomic_fetch_xor: { op: 'xor', again: undefined },
  atomic_add_fetch: { op: 'add', again: 'add' },
  atomic_sub_fetch: { op: 'sub', again: 'sub' },
  atomic_and_fetch: { op: 'and', again: 'and' },
  atomic_or_fetch: { op: 'or', again: 'or' },
  atomic_xor_fetch: { op: 'xor', again: 'xor' },
  atomic_exchange: { op: 'xchg', again: undefined },
};

/** Numbers of the relocation kinds that the builtins' own kinds stand for (UAPI: enum bpf_core_relo_kind). */
const TYPE_INFO_RELO = [8, 9, 12] as const;
const ENUM_RELO = [10, 11] as const;
const TYPE_ID_RELO = [6, 7] as const;

export function lowerBuiltin(cx: LowerContext, expr: BuiltinExpr): Value {
  const { builder } = cx;
  const { args } = expr;
  const arg = (i: number): Value => cx.value(args[i]!);
  const result = scalarType(expr.type) ?? 'i64';
  const after = (value: Value, signed = false): Value =>
    result === 'void' || value.type === 'void' ? value : builder.resize(value, result, signed);
  switch (expr.name) {
    case 'memcpy':
    case 'memcpy_inline':
    case 'memmove':
    case 'memset': {
      const to = arg(0);
      let from = arg(1);
      const size = builder.resize(arg(2), 'i64', false);
      builder.loc = expr.loc;
      const op = expr.name === 'memcpy_inline' ? 'memcpy' : expr.name;
      if (op === 'memset') from = builder.resize(from, 'i8', false);
      const align =
        op === 'memset' ? alignBehind(args[0]!) : Math.min(alignBehind(args[0]!), alignBehind(args[1]!));
      builder.memory(op, to, from, size, align);
      return to;
    }
    case 'memcmp': {
      const a = arg(0);
      const b = arg(1);
      const size = builder.resize(arg(2), 'i64', false);
      builder.loc = expr.loc;
      const inst = builder.add(new Inst('memcmp', 'i32', [a, b, size]));
      inst.align = Math.min(alignBehind(args[0]!), alignBehind(args[1]!));
      return inst;
    }
    case 'strlen':
    case 'strcmp':
    case 'strncmp': {
      const values = args.map((one) => cx.value(one));
      builder.loc = expr.loc;
      const inst = builder.add(new Inst('libcall', expr.name === 'strlen' ? 'i64' : 'i32', values));
      inst.name = expr.name;
      return after(inst, true);
    }
    case 'bswap16':
    case 'bswap32':
    case 'bswap64': {
      const bits = Number(expr.name.slice(5));
      const value = builder.resize(arg(0), intType(bits), false);
      builder.loc = expr.loc;
      const inst = builder.add(new Inst('bswap', intType(bits), [value]));
      inst.mem = intType(bits) as MemType;
      return after(inst);
    }
    case 'clz':
    case 'ctz':
    case 'ffs':
    case 'popcount':
    case 'parity':
    case 'clrsb':
      return after(bitBuiltin(cx, expr.name, arg(0)), true);
    case 'abs': {
      const value = arg(0);
      const sign = builder.binary('ashr', value, constant(value.type, BigInt(bitsOf(value.type) - 1)));
      return after(builder.binary('sub', builder.binary('xor', value, sign), sign));
    }
    case 'rotate-left':
    case 'rotate-right': {
      const value = arg(0);
      const bits = BigInt(bitsOf(value.type));
      const by = builder.binary(
        'and',
        builder.resize(arg(1), value.type, false),
        constant(value.type, bits - 1n),
      );
      const back = builder.binary(
        'and',
        builder.binary('sub', constant(value.type, 0n), by),
        constant(value.type, bits - 1n),
      );
      const left = expr.name === 'rotate-left';
      const up = builder.binary('shl', value, left ? by : back);
      const down = builder.binary('lshr', value, left ? back : by);
      return after(builder.binary('or', up, down));
    }
    case 'bitreverse': {
      let value = arg(0);
      const { type } = value;
      const bits = bitsOf(type);
      for (let step = 1; step < bits; step *= 2) {
        let mask = 0n;
        for (let at = 0; at < bits; at += 2 * step) mask |= ((1n << BigInt(step)) - 1n) << BigInt(at);
        const low = builder.binary('and', value, constant(type, mask));
        const high = builder.binary(
          'and',
          builder.binary('lshr', value, constant(type, BigInt(step))),
          constant(type, mask),
        );
        value = builder.binary('or', builder.binary('shl', low, constant(type, BigInt(step))), high);
      }
      return after(value);
    }
    case 'add_overflow':
    case 'sub_overflow':
    case 'mul_overflow':
      return overflow(cx, expr);
    case 'expect': {
      const value = arg(0);
      if (args[1] !== undefined && args[1].kind !== 'int') arg(1);
      return after(value);
    }
    case 'assume':
    case 'prefetch':
    case 'signal_fence':
    case 'atomic_fence':
      if (expr.name === 'signal_fence' || expr.name === 'atomic_fence') barrier(cx);
      return undef('i32');
    case 'unreachable':
    case 'trap':
      builder.unreachable();
      builder.start(builder.newBlock('dead'));
      return undef('i32');
    case 'constant_p': {
      const operand = args[0]!;
      if (operand.kind === 'int') return constant('i32', 1n);
      const value = literalBytes(operand) === undefined ? arg(0) : constant('i32', 0n);
      if (isConst(value)) return constant('i32', 1n);
      return builder.add(new Inst('constant_p', 'i32', [value]));
    }
    case 'object_size':
      return constant(result, (expr.immediates[0] ?? 0) >= 2 ? 0n : -1n);
    case 'alloca': {
      const size = arg(0);
      if (!isConst(size)) {
        cx.error('dynamic-alloca', 'unsupported dynamic stack allocation', expr.loc);
        return undef('ptr');
      }
      return builder.alloca(Number(size.value), 8, 'alloca');
    }
    case 'frame_address':
    case 'return_address':
      cx.error('unsupported-builtin', `'__builtin_${expr.name}' is not supported on BPF`, expr.loc);
      return undef(result);
    case 'bpf_load_byte':
    case 'bpf_load_half':
    case 'bpf_load_word': {
      const size = { bpf_load_byte: 1, bpf_load_half: 2, bpf_load_word: 4 }[expr.name];
      const skb = arg(0);
      const offset = builder.resize(arg(1), 'i64', false);
      return packetLoad(cx, expr, skb, offset, size);
    }
    case 'preserve_access_index':
      return arg(0);
    case 'preserve_field_info':
      return fieldInfo(cx, expr);
    case 'preserve_type_info': {
      const kind = expr.immediates[0] ?? 0;
      const local = kind === 1 ? BigInt(sizeOf(expr.typeArg!)) : 1n;
      return after(
        builder.core('i32', { relo: TYPE_INFO_RELO[kind] ?? 8, root: expr.typeArg, access: '0', local }),
      );
    }
    case 'preserve_enum_value': {
      const [index, kind] = expr.immediates;
      const type = core(expr.typeArg!);
      const value = type.kind === 'enum' ? (type.enumerators[index ?? 0]?.value ?? 0n) : 0n;
      return after(
        builder.core('i64', {
          relo: ENUM_RELO[kind ?? 0] ?? 10,
          root: expr.typeArg,
          access: String(index ?? 0),
          local: kind === 1 ? value : 1n,
        }),
      );
    }
    case 'btf_type_id':
      return after(
        builder.core('i64', {
          relo: TYPE_ID_RELO[expr.immediates[0] ?? 0] ?? 6,
          root: expr.typeArg,
          access: '0',
          local: 0n,
        }),
      );
    case 'atomic_load': {
      const pointer = arg(0);
      builder.loc = expr.loc;
      return after(builder.load(memOf(args[0]!), pointer, FLAG.VOLATILE));
    }
    case 'atomic_store': {
      const pointer = arg(0);
      const value = builder.resize(arg(1), memOf(args[0]!), false);
      builder.loc = expr.loc;
      builder.store(value, pointer, FLAG.VOLATILE);
      return undef('i32');
    }
    case 'sync_val_compare_and_swap':
    case 'sync_bool_compare_and_swap': {
      const pointer = arg(0);
      const mem = memOf(args[0]!);
      const expected = builder.resize(arg(1), mem, false);
      const desired = builder.resize(arg(2), mem, false);
      builder.loc = expr.loc;
      const old = builder.atomic('cmpxchg', mem, [pointer, expected, desired], true);
      if (expr.name === 'sync_val_compare_and_swap') return after(old);
      return after(builder.icmp('eq', old, expected));
    }
    case 'atomic_compare_exchange': {
      const pointer = arg(0);
      const mem = memOf(args[0]!);
      const place = arg(1);
      const desired = builder.resize(arg(2), mem, false);
      builder.loc = expr.loc;
      const expected = builder.load(mem, place);
      const old = builder.atomic('cmpxchg', mem, [pointer, expected, desired], true);
      const same = builder.icmp('eq', old, expected);
      const failed = builder.newBlock('failed');
      const end = builder.newBlock('end');
      builder.condbr(same, end, failed);
      builder.start(failed);
      builder.store(old, place);
      builder.br(end);
      builder.start(end);
      return after(same);
    }
    case 'atomic_fetch_nand':
    case 'atomic_nand_fetch':
      return unsupported(cx, expr, result);
    default: {
      const fetch = FETCH[expr.name];
      if (fetch === undefined) return unsupported(cx, expr, result);
      const pointer = arg(0);
      const mem = memOf(args[0]!);
      const value = builder.resize(arg(1), mem, isSigned(args[1]!.type));
      builder.loc = expr.loc;
      const old = builder.atomic(fetch.op, mem, [pointer, value], true);
      if (fetch.again === undefined) return result === 'void' ? old : after(old);
      return after(builder.binary(fetch.again, old, value));
    }
  }
}

function unsupported(cx: LowerContext, expr: BuiltinExpr, type: IrType): Value {
  for (const arg of expr.args) cx.value(arg);
  cx.error('unsupported-builtin', `'__builtin_${expr.name}' is not supported on BPF`, expr.loc);
  return undef(type === 'void' ? 'i32' : type);
}

/** Nothing is moved across. */
export function barrier(cx: LowerContext): void {
  const inst = cx.builder.add(new Inst('asm', 'void', []));
  inst.asm = {
    template: '',
    outputs: [],
    inputs: [],
    clobbers: ['memory'],
    volatile: true,
    calls: new Map(),
    labels: [],
    memory: true,
  };
}

/** Strips casts that only change the type of a pointer. */
function stripped(expr: Expr): Expr {
  let at = expr;
  while (at.kind === 'cast' && (at.how === 'pointer' || at.how === 'same')) at = at.operand;
  return at;
}

function pointeeOf(expr: Expr): CType | undefined {
  const is = core(expr.type);
  return is.kind === 'pointer' ? is.pointee : undefined;
}

/** The alignment that the type of a pointer promises. */
function alignBehind(expr: Expr): number {
  const inner = stripped(expr);
  if (inner.kind === 'address') return alignOf(inner.operand.type);
  if (inner.kind === 'cast' && inner.how === 'decay') return alignOf(inner.operand.type);
  const type = pointeeOf(inner);
  return type === undefined || core(type).kind === 'void' ? 1 : alignOf(type);
}

function memOf(pointer: Expr): MemType {
  const type = pointeeOf(pointer);
  const is = type === undefined ? undefined : scalarType(type);
  return is === undefined || is === 'void' || is === 'i1' ? 'i64' : is;
}

function literalBytes(expr: Expr): Uint8Array | undefined {
  const inner = stripped(expr);
  if (inner.kind === 'cast' && inner.how === 'decay' && inner.operand.kind === 'string')
    return inner.operand.bytes;
  return undefined;
}

/** Arithmetic without instructions for it: the usual tricks on 64 bits. */
function bitBuiltin(cx: LowerContext, name: string, value: Value): Value {
  const { builder } = cx;
  const width = bitsOf(value.type);
  const { type } = value;
  const c = (n: bigint): Value => constant(type, n);
  const shr = (v: Value, n: number): Value => builder.binary('lshr', v, c(BigInt(n)));
  const popcount = (v: Value): Value => {
    const all = (1n << BigInt(width)) - 1n;
    let x = builder.binary('sub', v, builder.binary('and', shr(v, 1), c(0x5555555555555555n & all)));
    const threes = c(0x3333333333333333n & all);
    x = builder.binary('add', builder.binary('and', x, threes), builder.binary('and', shr(x, 2), threes));
    x = builder.binary('and', builder.binary('add', x, shr(x, 4)), c(0x0f0f0f0f0f0f0f0fn & all));
    return shr(builder.binary('mul', x, c(0x0101010101010101n & all)), width - 8);
  };
  const smear = (v: Value): Value => {
    let x = v;
    for (let n = 1; n < width; n *= 2) x = builder.binary('or', x, shr(x, n));
    return x;
  };
  switch (name) {
    case 'popcount':
      return popcount(value);
    case 'parity':
      return builder.binary('and', popcount(value), c(1n));
    case 'clz':
      return builder.binary('sub', c(BigInt(width)), popcount(smear(value)));
    case 'ctz':
      // Bits below the lowest one that is set.
      return popcount(
        builder.binary('and', builder.binary('xor', value, c(-1n)), builder.binary('sub', value, c(1n))),
      );
    case 'clrsb': {
      const sign = builder.binary('ashr', value, c(BigInt(width - 1)));
      const x = builder.binary('xor', value, sign);
      return builder.binary('sub', c(BigInt(width - 1)), popcount(smear(x)));
    }
    default: {
      // ffs: 0 for 0, else ctz + 1.
      const count = popcount(builder.binary('xor', value, builder.binary('sub', value, c(1n))));
      const zero = builder.icmp('eq', value, c(0n));
      return builder.add(new Inst('select', type, [zero, c(0n), count]));
    }
  }
}

/** In 64 bits, with the range of the result checked; products of 64-bit numbers by the parts. */
function overflow(cx: LowerContext, expr: BuiltinExpr): Value {
  const { builder } = cx;
  const [left, right, out] = expr.args as [Expr, Expr, Expr];
  const target = pointeeOf(out)!;
  const type = scalarType(target) as IrType;
  const bits = bitsOf(type);
  const signed = isSigned(target);
  const a = builder.resize(cx.value(left), 'i64', isSigned(left.type));
  const b = builder.resize(cx.value(right), 'i64', isSigned(right.type));
  const pointer = cx.value(out);
  builder.loc = expr.loc;
  const op = { add_overflow: 'add', sub_overflow: 'sub', mul_overflow: 'mul' }[
    expr.name as 'add_overflow' | 'sub_overflow' | 'mul_overflow'
  ] as 'add' | 'sub' | 'mul';
  const fits = (operand: CType): boolean =>
    sizeOf(operand) < 8 ? signed || !isSigned(operand) : isSigned(operand) === signed;
  const small = sizeOf(left.type) < 8 && sizeOf(right.type) < 8;
  // What 64 bits do not hold is worked out from sign and magnitude.
  if (bits < 64 ? !small : !fits(left.type) || !fits(right.type) || (op === 'mul' && signed)) {
    const exact = exactly(cx, op, [a, isSigned(left.type)], [b, isSigned(right.type)], bits, signed);
    builder.store(builder.resize(exact.value, type, false), pointer);
    return builder.resize(exact.overflows, scalarType(expr.type) ?? 'i8', false);
  }
  const whole = builder.binary(op, a, b);
  const cut = builder.resize(whole, type, false);
  builder.store(cut, pointer);
  let truth: Value;
  if (bits < 64) {
    const back = builder.resize(cut, 'i64', signed);
    truth = builder.icmp('ne', back, whole);
  } else if (op === 'mul') {
    const zero = builder.icmp('eq', a, constant('i64', 0n));
    const safe = builder.add(new Inst('select', 'i64', [zero, constant('i64', 1n), a]));
    const quotient = builder.binary('udiv', whole, safe);
    const differs = builder.icmp('ne', quotient, b);
    truth = builder.add(new Inst('select', 'i1', [zero, constant('i1', 0n), differs]));
  } else if (signed) {
    // The sign of the result is wrong where both operands agree (add) or differ (sub).
    const other = op === 'add' ? b : builder.binary('xor', b, constant('i64', -1n));
    const x = builder.binary('xor', a, whole);
    const y = op === 'add' ? builder.binary('xor', other, whole) : builder.binary('xor', a, b);
    truth = builder.icmp('slt', builder.binary('and', x, y), constant('i64', 0n));
  } else truth = builder.icmp('ult', op === 'add' ? whole : a, op === 'add' ? a : b);
  return builder.resize(truth, scalarType(expr.type) ?? 'i8', false);
}

/** `a op b` of two 64-bit values, each with its sign, and whether the true result does not fit `bits`. */
function exactly(
  cx: LowerContext,
  op: 'add' | 'sub' | 'mul',
  [a, aSigned]: readonly [Value, boolean],
  [b, bSigned]: readonly [Value, boolean],
  bits: number,
  signed: boolean,
): { readonly value: Value; readonly overflows: Value } {
  const { builder } = cx;
  const number = (value: bigint): Value => constant('i64', BigInt.asUintN(64, value));
  const choose = (type: 'i1' | 'i64', cond: Value, yes: Value, no: Value): Value =>
    builder.add(new Inst('select', type, [cond, yes, no]));
  const or = (x: Value, y: Value): Value => choose('i1', x, constant('i1', 1n), y);
  const negated = (value: Value): Value => builder.binary('sub', number(0n), value);
  const below = (value: Value, isSigned: boolean): Value =>
    isSigned ? builder.icmp('slt', value, number(0n)) : constant('i1', 0n);
  const aBelow = below(a, aSigned);
  const bIsBelow = below(b, bSigned);
  const x = aSigned ? choose('i64', aBelow, negated(a), a) : a;
  const y = bSigned ? choose('i64', bIsBelow, negated(b), b) : b;
  const no = constant('i1', 0n);
  const yes = constant('i1', 1n);
  const bBelow = op === 'sub' ? choose('i1', bIsBelow, no, yes) : bIsBelow;
  const differ = choose('i1', aBelow, choose('i1', bBelow, no, yes), bBelow);
  let size: Value;
  let lost: Value;
  let negative: Value;
  if (op === 'mul') {
    size = builder.binary('mul', x, y);
    const zero = builder.icmp('eq', x, number(0n));
    const quotient = builder.binary('udiv', size, choose('i64', zero, number(1n), x));
    lost = choose('i1', zero, no, builder.icmp('ne', quotient, y));
    negative = differ;
  } else {
    const sum = builder.binary('add', x, y);
    const less = builder.icmp('ult', x, y);
    const distance = choose('i64', less, builder.binary('sub', y, x), builder.binary('sub', x, y));
    size = choose('i64', differ, distance, sum);
    lost = choose('i1', differ, no, builder.icmp('ult', sum, x));
    negative = choose('i1', differ, choose('i1', less, bBelow, aBelow), aBelow);
  }
  const most = (1n << BigInt(signed ? bits - 1 : bits)) - 1n;
  const least = signed ? 1n << BigInt(bits - 1) : 0n;
  const limit = choose('i64', negative, number(least), number(most));
  return {
    value: choose('i64', negative, negated(size), size),
    overflows: or(lost, builder.icmp('ugt', size, limit)),
  };
}

/** LD_ABS and LD_IND: the context has to be in r6, the result is in r0. */
function packetLoad(cx: LowerContext, expr: BuiltinExpr, skb: Value, offset: Value, size: number): Value {
  const { builder } = cx;
  builder.loc = expr.loc;
  const letter = { 1: 'u8', 2: 'u16', 4: 'u32' }[size];
  const fixed = isConst(offset);
  const inst = builder.add(new Inst('asm', 'void', fixed ? [skb] : [skb, offset]));
  inst.asm = {
    template: fixed ? `r0 = *(${letter} *)skb[${offset.value}]` : `r0 = *(${letter} *)skb[%2]`,
    outputs: [{ constraint: '{r0}', name: undefined, memory: false, readWrite: false, type: 'i64' }],
    inputs: [
      { constraint: '{r6}', name: undefined, memory: false },
      ...(fixed ? [] : [{ constraint: 'r', name: undefined, memory: false }]),
    ],
    clobbers: ['r1', 'r2', 'r3', 'r4', 'r5'],
    volatile: true,
    calls: new Map(),
    labels: [],
    memory: false,
  };
  return opaqueResult(cx, inst, 0, scalarType(expr.type) ?? 'i64');
}

export function opaqueResult(cx: LowerContext, asm: Inst, index: number, type: IrType): Value {
  const inst = cx.builder.add(new Inst('opaque', type, [asm]));
  inst.size = index;
  return inst;
}

function fieldInfo(cx: LowerContext, expr: BuiltinExpr): Value {
  const kind = expr.immediates[0] ?? 0;
  let operand = stripped(expr.args[0]!);
  if (operand.kind === 'address') operand = stripped(operand.operand);
  if (operand.kind === 'cast' && (operand.how === 'decay' || operand.how === 'load'))
    operand = operand.operand;
  if (operand.kind === 'builtin' && operand.name === 'preserve_access_index')
    operand = stripped(operand.args[0]!);
  if (operand.kind === 'address') operand = stripped(operand.operand);
  const place: Place = cx.place(operand);
  const { chain } = place;
  if (chain === undefined) {
    cx.error('bad-core', 'the argument of __builtin_preserve_field_info is not a field access', expr.loc);
    return undef('i32');
  }
  const field = operand.kind === 'member' ? operand.field : undefined;
  const size = sizeOf(operand.type);
  const width = field?.bitWidth ?? null;
  // Like libbpf: the aligned unit of the field's type that holds the bits.
  const start =
    field === undefined || width === null ? chain.offset : chain.offset + (place.bits?.offset ?? 0);
  let unit = size;
  let at = Math.floor(start / 8);
  if (width !== null) {
    at = Math.floor(start / 8 / unit) * unit;
    while (start + width - at * 8 > unit * 8 && unit < 8) {
      unit *= 2;
      at = Math.floor(start / 8 / unit) * unit;
    }
  }
  const bits = width ?? size * 8;
  const local = [
    BigInt(at),
    BigInt(unit),
    1n,
    isSigned(operand.type) ? 1n : 0n,
    width === null ? BigInt(64 - bits) : BigInt(64 - (start + bits - at * 8)),
    BigInt(64 - bits),
  ][kind];
  const value = cx.builder.core('i32', {
    relo: kind,
    root: chain.root,
    access: chain.path.join(':'),
    local: local ?? 0n,
  });
  return cx.builder.resize(value, scalarType(expr.type) ?? 'i32', false);
}
