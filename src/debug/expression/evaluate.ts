/**
 * Values of expressions at one step of a recording. Arithmetic is that of 64-bit integers; a value knows its type and, where it lies in
 * memory, its place. Errors: EINVAL where types do not fit, ENOENT names and keys that there are not, EFAULT no memory.
 */
import { type BtfValue, formatValue, readBits } from '../../btf/index.ts';
import { KERNEL_HI } from '../../memory/address.ts';
import type { CtxLayout } from '../../spec/types.ts';
import { BpfError } from '../../util/errors.ts';
import type { Expression, TypeName } from './parse.ts';
import { type CType, namedType, plain, S64, sizeOf, typeText, U64 } from './types.ts';

/** A value: in memory, as bytes, or computed. */
export interface Value {
  readonly type: CType;
  readonly place?: number;
  readonly bytes?: Uint8Array;
  readonly bits?: bigint;
  /** Bits of a bit-field, from `bitOffset` of its bytes on. */
  readonly bitField?: { readonly offset: number; readonly size: number };
}

/** What names mean. */
export interface Scope {
  readonly btf: CType['btf'];
  /** The modelled context of the program; its struct is not laid out as C says. */
  readonly ctx: CtxLayout;
  /** Undefined: there is no such name. */
  name(name: string): Value | undefined;
  register(name: string): bigint | undefined;
  /** Value of a key of a map; undefined: `of` is no map. */
  element(of: Expression, key: Expression, evaluate: (expression: Expression) => Value): Value | undefined;
  read(address: number, size: number): Uint8Array;
}

export function evaluate(expression: Expression, scope: Scope): Value {
  const again = (one: Expression): Value => evaluate(one, scope);
  switch (expression.kind) {
    case 'number':
      return { type: S64, bits: expression.value };
    case 'text':
      throw new BpfError('EINVAL', 'text is only a key of a map, as hex digits');
    case 'register': {
      const bits = scope.register(expression.name);
      if (bits === undefined) throw new BpfError('ENOENT', `there is no register $${expression.name}`);
      return { type: U64, bits };
    }
    case 'name': {
      const value = scope.name(expression.name);
      if (value === undefined)
        throw new BpfError('ENOENT', `there is no variable, argument or map '${expression.name}' here`, {
          hint: 'the compiler keeps no names of local variables; registers are $r0 to $r10',
        });
      return value;
    }
    case 'unary':
      return unary(expression.op, again(expression.of), scope);
    case 'binary':
      return binary(expression.op, expression.left, expression.right, scope);
    case 'choice':
      return again(truth(again(expression.if), scope) ? expression.then : expression.else);
    case 'member':
      return member(again(expression.of), expression.name, scope);
    case 'index':
      return (
        scope.element(expression.of, expression.index, again) ??
        elementOf(again(expression.of), integer(again(expression.index), scope), scope)
      );
    case 'cast':
      return cast(again(expression.of), expression.type, scope);
    case 'sizeof':
      return { type: U64, bits: BigInt(sizeOf(namedType(expression.type, scope.btf))) };
  }
}

/** The bytes of a value that has some. */
export function bytesOf(value: Value, scope: Pick<Scope, 'read'>): Uint8Array {
  if (value.bytes !== undefined) return value.bytes;
  const size = sizeOf(value.type);
  if (value.place !== undefined) return scope.read(value.place, size);
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt.asUintN(64, value.bits ?? 0n), true);
  return bytes.slice(0, size);
}

/** As a number; pointers are addresses. */
export function integer(value: Value, scope: Pick<Scope, 'read'>): bigint {
  if (value.bits !== undefined) return value.bits;
  const type = plain(value.type);
  const kind = type.pointers > 0 || type.btf === undefined ? undefined : type.btf.type(type.id);
  if (kind?.kind === 'array' && value.place !== undefined) return address(value.place);
  if (kind !== undefined && !['int', 'enum', 'enum64'].includes(kind.kind))
    throw new BpfError('EINVAL', `a ${typeText(value.type)} is no number`);
  const bytes = bytesOf(value, scope);
  const bits = value.bitField?.size ?? bytes.length * 8;
  const raw = readBits(bytes, value.bitField?.offset ?? 0, bits);
  const signed = kind !== undefined && 'signed' in kind ? kind.signed : type.integer?.signed === true;
  return signed && type.pointers === 0 ? BigInt.asIntN(bits, raw) : raw;
}

export function truth(value: Value, scope: Pick<Scope, 'read'>): boolean {
  return integer(value, scope) !== 0n;
}

export function address(place: number): bigint {
  return (BigInt(KERNEL_HI) << 32n) | BigInt(place >>> 0);
}

/** Offset in memory that an address of the kernel means. */
export function placeOf(pointer: bigint): number {
  if (pointer === 0n) throw new BpfError('EFAULT', 'NULL points to nothing');
  if (BigInt.asUintN(64, pointer) >> 32n !== BigInt(KERNEL_HI))
    throw new BpfError('EFAULT', `0x${BigInt.asUintN(64, pointer).toString(16)} is no address of the kernel`);
  return Number(pointer & 0xffff_ffffn);
}

function deref(value: Value, scope: Scope): Value {
  const type = plain(value.type);
  if (type.pointers === 0) {
    const array = type.btf?.type(type.id);
    if (array?.kind === 'array') return elementOf(value, 0n, scope);
    throw new BpfError('EINVAL', `a ${typeText(value.type)} is no pointer`, {
      hint: 'cast it: *(struct event *)$r6',
    });
  }
  return { type: { ...type, pointers: type.pointers - 1 }, place: placeOf(integer(value, scope)) };
}

function unary(op: string, of: Value, scope: Scope): Value {
  switch (op) {
    case '*':
      return deref(of, scope);
    case '&':
      if (of.place === undefined)
        throw new BpfError('EINVAL', 'it has no address: it does not lie in memory');
      return { type: { ...of.type, pointers: of.type.pointers + 1 }, bits: address(of.place) };
    case '!':
      return { type: S64, bits: truth(of, scope) ? 0n : 1n };
    case '-':
      return { type: S64, bits: BigInt.asIntN(64, -integer(of, scope)) };
    case '~':
      return { type: S64, bits: BigInt.asIntN(64, ~integer(of, scope)) };
    default:
      return { type: S64, bits: integer(of, scope) };
  }
}

type Arithmetic = (a: bigint, b: bigint) => bigint | boolean;

const ARITHMETIC: Readonly<Record<string, Arithmetic>> = {
  '+': (a, b) => a + b,
  '-': (a, b) => a - b,
  '*': (a, b) => a * b,
  '&': (a, b) => a & b,
  '|': (a, b) => a | b,
  '^': (a, b) => a ^ b,
  '<<': (a, b) => a << (b & 63n),
  '>>': (a, b) => a >> (b & 63n),
  '==': (a, b) => BigInt.asUintN(64, a) === BigInt.asUintN(64, b),
  '!=': (a, b) => BigInt.asUintN(64, a) !== BigInt.asUintN(64, b),
  '<': (a, b) => a < b,
  '>': (a, b) => a > b,
  '<=': (a, b) => a <= b,
  '>=': (a, b) => a >= b,
  '/': (a, b) => a / divisor(b),
  '%': (a, b) => a % divisor(b),
};

function divisor(value: bigint): bigint {
  if (value === 0n) throw new BpfError('EINVAL', 'division by zero');
  return value;
}

function binary(op: string, left: Expression, right: Expression, scope: Scope): Value {
  const a = evaluate(left, scope);
  if (op === '&&' || op === '||') {
    const first = truth(a, scope);
    const decided = op === '&&' ? !first : first;
    return { type: S64, bits: (decided ? first : truth(evaluate(right, scope), scope)) ? 1n : 0n };
  }
  const b = evaluate(right, scope);
  const pointer = plain(a.type);
  const step = pointer.pointers > 0 && (op === '+' || op === '-') ? strideOf(pointer) : 1n;
  const result = ARITHMETIC[op]!(integer(a, scope), integer(b, scope) * step);
  if (typeof result === 'boolean') return { type: S64, bits: result ? 1n : 0n };
  if (pointer.pointers > 0 && (op === '+' || op === '-'))
    return { type: pointer, bits: BigInt.asUintN(64, result) };
  const unsigned = a.type === U64 || b.type === U64;
  return {
    type: unsigned ? U64 : S64,
    bits: unsigned ? BigInt.asUintN(64, result) : BigInt.asIntN(64, result),
  };
}

function strideOf(pointer: CType): bigint {
  const target = { ...pointer, pointers: pointer.pointers - 1 };
  const isVoid = target.pointers === 0 && target.id === 0 && target.integer === undefined;
  return isVoid ? 1n : BigInt(sizeOf(target));
}

function elementOf(of: Value, index: bigint, scope: Scope): Value {
  const type = plain(of.type);
  if (type.pointers > 0) {
    const moved = integer(of, scope) + index * strideOf(type);
    return { type: { ...type, pointers: type.pointers - 1 }, place: placeOf(moved) };
  }
  const array = type.btf?.type(type.id);
  if (array?.kind !== 'array') throw new BpfError('EINVAL', `a ${typeText(of.type)} has no elements`);
  if (index < 0n || (array.count > 0 && index >= BigInt(array.count)))
    throw new BpfError('EINVAL', `element ${index} of an array of ${array.count}`);
  const element = { btf: type.btf, id: array.type, pointers: 0 };
  return part(of, element, Number(index) * sizeOf(element));
}

function part(of: Value, type: CType, offset: number): Value {
  if (of.bytes !== undefined) return { type, bytes: of.bytes.subarray(offset, offset + sizeOf(type)) };
  if (of.place === undefined) throw new BpfError('EINVAL', 'it does not lie in memory');
  return { type, place: of.place + offset };
}

function member(of: Value, name: string, scope: Scope): Value {
  let struct = of;
  for (let i = 0; i < 2 && plain(struct.type).pointers > 0; i++) struct = deref(struct, scope);
  const type = plain(struct.type);
  const { btf } = type;
  const kind = btf?.type(type.id);
  if (btf === undefined || (kind?.kind !== 'struct' && kind?.kind !== 'union'))
    throw new BpfError('EINVAL', `a ${typeText(of.type)} has no members`);
  if (kind.name === scope.ctx.struct && struct.place !== undefined) {
    const modelled = contextMember(struct.place, name, scope);
    if (modelled !== undefined) return modelled;
  }
  const found = btf.findMember(type.id, name);
  if (found === undefined) throw new BpfError('ENOENT', `${typeText(type)} has no member '${name}'`);
  const memberType = { btf, id: found.type, pointers: 0 };
  if (found.bitSize === 0) return part(struct, memberType, found.bitOffset / 8);
  const size = sizeOf(memberType);
  const first = Math.floor(found.bitOffset / 8 / size) * size;
  const bitField = { offset: found.bitOffset - first * 8, size: found.bitSize };
  return { ...part(struct, memberType, first), bitField };
}

/** A field of a context that the kernel keeps in a form of its own. */
function contextMember(place: number, name: string, scope: Scope): Value | undefined {
  const backing = scope.ctx.fields.find((one) => one.name === name)?.backing;
  if (scope.ctx.access === 'raw' || backing === undefined) return undefined;
  const type: CType = { ...U64, integer: { size: backing.size, signed: false } };
  return { type, place: place + backing.offset };
}

function cast(of: Value, name: TypeName, scope: Scope): Value {
  const type = namedType(name, scope.btf);
  const kind = plain(type);
  const composite = kind.pointers === 0 && kind.btf !== undefined && kind.btf.type(kind.id);
  if (
    composite &&
    (composite.kind === 'struct' || composite.kind === 'union' || composite.kind === 'array')
  ) {
    if (of.place === undefined) throw new BpfError('EINVAL', 'only what lies in memory becomes a struct');
    return { type, place: of.place };
  }
  const bits = integer(of, scope);
  const size = sizeOf(type) * 8;
  const signed = kind.integer?.signed ?? (composite && 'signed' in composite ? composite.signed : false);
  return { type, bits: signed ? BigInt.asIntN(size, bits) : BigInt.asUintN(size, bits) };
}

/** For people and JSON. Members of a modelled context are read where they are. */
export function show(value: Value, scope: Scope): BtfValue {
  const type = plain(value.type);
  if (type.pointers > 0) return `0x${BigInt.asUintN(64, integer(value, scope)).toString(16)}`;
  const kind = type.btf?.type(type.id);
  if (kind === undefined || type.id === 0 || value.bitField !== undefined) {
    const bits = integer(value, scope);
    return Number.isSafeInteger(Number(bits)) ? Number(bits) : bits;
  }
  if (
    kind.kind === 'struct' &&
    kind.name === scope.ctx.struct &&
    scope.ctx.access !== 'raw' &&
    value.place !== undefined
  ) {
    const fields = scope.ctx.fields.filter(({ backing }) => backing !== undefined);
    return Object.fromEntries(fields.map(({ name }) => [name, show(member(value, name, scope), scope)]));
  }
  return formatValue(type.btf!, type.id, bytesOf(value, scope));
}
